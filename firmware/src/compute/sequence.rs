//! The computation of a sequence node: a gated recurrent unit over the steps of a sequence, and a
//! dense layer of the last state.
//!
//! - **Words:** `u32`, 11 fraction bits.
//! - **Functions:** sigmoid and tanh by 64 constants, from tables in flash.
//!   Three segments would have no tables, and errors of a tenth.
//! - **Memory:** [`INPUT_WORDS`] and [`OUTPUT_WORDS`], and an arena of [`ARENA_WORDS`], which tests
//!   hold against a dry run.

use super::job::{masked, split};
use symbolon_core::{
    function::{
        method::{Function, Method, constants::Constants, mapping::Mapping},
        scalar::{AnyScalar, Sigmoid, Tanh},
    },
    layer::{
        CellKind, Dense, Graph, Model, Node, NodeState, Origin, Pass, Placement, Recurrent, Shape,
        recurrent::{gru::Gru, single::SingleCell},
    },
    layers,
    link::Error,
    mapping::Domain,
    party::Party,
    protocol::{masked::Masked, truncate::truncate},
    word::Word,
};

/// Fraction bits.
pub const FRAC_BITS: u32 = 11;

layers! {
    /// The layers that a sequence node links.
    pub enum SequenceLayer {
        0 "dense" Dense(Dense),
        15 "recurrent" Recurrent(SingleCell<Gru, Constants<'static>>),
    }
}

/// Sequences that the network sees at once.
pub const RECORDS: usize = 1;
/// Shape of a sequence: 8 steps of 6 features.
pub const SEQUENCE: Shape = Shape([1, 8, 6]);
/// The recurrent layer, with its functions by constants on cells.
pub const GRU: Recurrent = {
    const fn constants(scalar: AnyScalar, interval: [f64; 2]) -> Function {
        Function { scalar, method: Method::Mapping(Mapping { bits: 6, degree: 0, interval }) }
    }
    Recurrent {
        sigmoid: constants(AnyScalar::Sigmoid(Sigmoid {}), [-8.0, 8.0]),
        tanh: constants(AnyScalar::Tanh(Tanh {}), [-4.0, 4.0]),
        ..Recurrent::new(CellKind::Gru, 8)
    }
};
/// The dense layer: a score for each of 6 classes.
pub const DENSE: Dense = Dense::new(6);
/// Scores of a sequence: classes.
pub const OUTPUTS: usize = 6;

/// The logistic function at 64 places from -8 to 7.75.
const SIGMOID: [i64; 64] = [
    1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 11, 14, 18, 23, 29, 37, 47, 60, 76, 97, 123, 155, 195, 244, 303, 374, 456, 551,
    657, 773, 897, 1024, 1151, 1275, 1391, 1497, 1592, 1674, 1745, 1804, 1853, 1893, 1925, 1951, 1972, 1988, 2001,
    2011, 2019, 2025, 2030, 2034, 2037, 2040, 2042, 2043, 2044, 2045, 2046, 2046, 2047, 2047, 2047,
];
/// The hyperbolic tangent at 64 places from -4 to 3.875.
const TANH: [i64; 64] = [
    -2047, -2046, -2046, -2045, -2044, -2043, -2042, -2040, -2038, -2035, -2031, -2027, -2021, -2013, -2003, -1990,
    -1974, -1954, -1928, -1895, -1854, -1802, -1737, -1657, -1560, -1442, -1301, -1136, -946, -734, -502, -255, 0, 255,
    502, 734, 946, 1136, 1301, 1442, 1560, 1657, 1737, 1802, 1854, 1895, 1928, 1954, 1974, 1990, 2003, 2013, 2021,
    2027, 2031, 2035, 2038, 2040, 2042, 2043, 2044, 2045, 2046, 2046,
];
/// The functions of the recurrent layer: constants, so that a device links nothing that finds them.
pub const FUNCTIONS: [Constants<'static>; 2] = [
    Constants {
        domain: Domain { shift: FRAC_BITS - 2, bits: 6, signed: false },
        low: -8 << FRAC_BITS,
        table: &SIGMOID,
        beyond: [0, 1 << FRAC_BITS],
    },
    Constants {
        domain: Domain { shift: FRAC_BITS - 3, bits: 6, signed: false },
        low: -4 << FRAC_BITS,
        table: &TANH,
        beyond: [-1 << FRAC_BITS, 1 << FRAC_BITS],
    },
];

/// The network.
pub const NETWORK: [Node<SequenceLayer>; 2] = {
    let [sigmoid, tanh] = FUNCTIONS;
    let gru = SingleCell { cell: Gru, layer: GRU, sigmoid, tanh };
    [Node::new(SequenceLayer::Recurrent(gru), Origin::Data), Node::new(SequenceLayer::Dense(DENSE), Origin::Node(0))]
};
/// Weights and biases of the recurrent layer, then of all.
const GRU_PARAMETERS: usize = 3 * 8 * (6 + 8 + 1) + 8;
/// Weights and biases of the network.
pub const PARAMETERS: usize = GRU_PARAMETERS + (8 + 1) * OUTPUTS;

/// The places of the network's nodes, as [`Graph::new`] finds them; a constant, so that a device
/// links no code that finds them.
pub const PLACES: [Placement; NETWORK.len()] = {
    let state = Shape::vector(GRU.units);
    let recurrent = Placement {
        inputs: [SEQUENCE; 2],
        first_step: 0,
        output: state,
        frac_bits: FRAC_BITS,
        parameter: 0,
        parameters: GRU_PARAMETERS,
        statistic: 0,
        statistics: 0,
        is_opened: true,
        trains: true,
        last: 1,
        value: 0,
        gradient: 0,
    };
    let dense = Placement {
        inputs: [state; 2],
        output: Shape::vector(DENSE.units),
        frac_bits: 2 * FRAC_BITS,
        parameter: GRU_PARAMETERS,
        parameters: PARAMETERS - GRU_PARAMETERS,
        is_opened: false,
        last: u16::MAX,
        value: 8,
        gradient: 8,
        ..recurrent
    };
    [recurrent, dense]
};

/// Words of all inputs: the sequences, then the parameters.
pub const INPUT_WORDS: usize = RECORDS * SEQUENCE.words() + PARAMETERS;
/// Words of all outputs: the scores.
pub const OUTPUT_WORDS: usize = RECORDS * OUTPUTS;
/// Words of the arena.
pub const ARENA_WORDS: usize = 1223;

/// Computes the scores of all sequences.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If inputs or outputs have another length.
pub fn run<W: Word>(party: &mut Party<'_, W>, inputs: &mut [W], outputs: &mut [W]) -> Result<(), Error> {
    let [records, parameters] = split(inputs, [RECORDS * SEQUENCE.words(), PARAMETERS]);
    let graph = Graph { nodes: &NETWORK, places: &PLACES, input: SEQUENCE, frac_bits: FRAC_BITS };
    let records = masked(party, records)?;
    let ([open], mut party) = party.scratch([PARAMETERS])?;
    open.copy_from_slice(parameters);
    let open = masked(&mut party, open)?;
    let data = Masked { mask: records.mask.matrix(SEQUENCE.words()), ..records };
    let pass = Pass { model: Model { shares: parameters, open }, data, moment: None, met: &[], lengths: None };
    let mut states: [NodeState<'_, W>; NETWORK.len()] = core::array::from_fn(|_| NodeState::default());
    graph.infer(&mut party, &pass, &mut states, outputs)?;
    truncate(&mut party, outputs, graph.output_frac_bits() - FRAC_BITS)
}
