//! The computation: a product, a sign, a ReLU, a secure mapping, and the inference of a small
//! convolutional network.
//!
//! - **Words:** `u32`, 8 fraction bits.
//! - **Memory:** [`INPUT_WORDS`] and [`OUTPUT_WORDS`], and an arena of [`ARENA_WORDS`], which tests hold against a dry run.

use symbolon_core::{
    layer::{
        AveragePool, Convolution, Dense, Flatten, Graph, Model, Node, NodeState, Origin, Pass, Placement, Relu, Shape,
        Size,
    },
    layers,
    link::{Error, Fold},
    mapping::{Domain, Mapping, map},
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::multiply,
        relu::relu,
        sign::sign,
        truncate::{Cut, open, truncate},
    },
    word::Word,
};

/// Fraction bits.
pub const FRAC_BITS: u32 = 8;
/// Elements of the first four parts.
pub const ELEMENTS: usize = 32;
/// Words of a bit plane of so many elements, for either word: what a plane of `u32` takes.
const PLANE: usize = 1;
/// Fraction bits that the ReLU takes off.
pub const RELU_BITS: u32 = 3;

layers! {
    /// The layers that a compute node links.
    pub enum ComputeLayer {
        0 "dense" Dense(Dense),
        1 "relu" Relu(Relu),
        2 "convolution" Convolution(Convolution),
        4 "average-pool" AveragePool(AveragePool),
        6 "flatten" Flatten(Flatten),
    }
}

/// Records that the network sees at once: images of digits.
pub const RECORDS: usize = 2;
/// Shape of a record.
pub const IMAGE: Shape = Shape([1, 8, 8]);
/// Scores of a record: classes.
pub const OUTPUTS: usize = 10;
/// A small convolutional network: the job `digits-conv` of the host.
pub const NETWORK: [Node<ComputeLayer>; 5] = [
    Node::new(
        ComputeLayer::Convolution(Convolution {
            filters: 4,
            kernel: Size([3; 2]),
            stride: Size::ONE,
            padding: Size::ZERO,
            groups: 1,
        }),
        Origin::Data,
    ),
    Node::new(ComputeLayer::AveragePool(AveragePool { window: Size([2; 2]), stride: None }), Origin::Node(0)),
    Node::new(ComputeLayer::Relu(Relu {}), Origin::Node(1)),
    Node::new(ComputeLayer::Flatten(Flatten {}), Origin::Node(2)),
    Node::new(ComputeLayer::Dense(Dense::new(10)), Origin::Node(3)),
];
/// Weights and biases of the network.
pub const PARAMETERS: usize = 4 * (9 + 1) + (36 + 1) * OUTPUTS;

/// The places of the network's nodes, as [`Graph::new`] finds them; a constant, so that a device
/// links no code that finds them.
pub const PLACES: [Placement; NETWORK.len()] = {
    const fn place(inputs: Shape, output: Shape, frac_bits: u32) -> Placement {
        Placement {
            inputs: [inputs; 2],
            first_step: 0,
            output,
            frac_bits,
            parameter: 40, // those of the convolution lie before
            parameters: 0,
            statistic: 0,
            statistics: 0,
            is_opened: false,
            trains: true,
            last: 0,
            value: 0,
            gradient: 0,
        }
    }
    let (filtered, pooled, flat) = (Shape([4, 6, 6]), Shape([4, 3, 3]), Shape::vector(36));
    [
        Placement { parameter: 0, parameters: 40, last: 1, ..place(IMAGE, filtered, 16) },
        Placement { last: 2, value: 144, gradient: 144, ..place(filtered, pooled, 18) },
        Placement { last: 3, ..place(pooled, pooled, 8) },
        Placement { is_opened: true, last: 4, value: 36, gradient: 36, ..place(pooled, flat, 8) },
        Placement { parameters: 370, last: u16::MAX, ..place(flat, Shape::vector(10), 16) },
    ]
};

/// Lengths of the inputs: two factors, then the network's records and parameters.
pub const INPUT: [usize; 4] = [ELEMENTS, ELEMENTS, RECORDS * IMAGE.words(), PARAMETERS];
/// Outputs: product, sign (a bit plane), ReLU and mapping of the first factor, scores; and how their shares join.
pub const OUTPUT: [(Fold, usize); 5] = [
    (Fold::Add, ELEMENTS),
    (Fold::Xor, PLANE),
    (Fold::Add, ELEMENTS),
    (Fold::Add, ELEMENTS),
    (Fold::Add, RECORDS * OUTPUTS),
];
/// Words of all inputs.
pub const INPUT_WORDS: usize = 2 * ELEMENTS + RECORDS * IMAGE.words() + PARAMETERS;
/// Words of all outputs.
pub const OUTPUT_WORDS: usize = 3 * ELEMENTS + PLANE + RECORDS * OUTPUTS;
/// Words of the arena.
pub const ARENA_WORDS: usize = 1746;

/// The logistic function at sixteen places from -2 to 1.75.
const TABLE: [i64; 16] = [31, 38, 47, 57, 69, 82, 97, 112, 128, 144, 159, 174, 187, 199, 209, 218];
/// Which bits of a word choose the place.
pub const DOMAIN: Domain = Domain { shift: 6, bits: 4, signed: true };

/// Computes all outputs.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If inputs or outputs have another length.
pub fn run<W: Word>(party: &mut Party<'_, W>, inputs: &mut [W], outputs: &mut [W]) -> Result<(), Error> {
    let [x, y, records, parameters] = split(inputs, INPUT);
    let [product_z, sign_z, relu_z, map_z, scores] = split(outputs, OUTPUT.map(|(_, len)| len));
    relu_z.copy_from_slice(x);
    let ([bit, rho], mut scratch) = party.scratch([PLANE, ELEMENTS])?;
    relu(&mut scratch, relu_z, RELU_BITS, bit, rho)?;
    signs(party, x, sign_z)?;
    map(party, &Mapping { domain: DOMAIN, tables: &[&TABLE], one_hot: None, beyond: None }, x, map_z)?;
    infer(party, records, parameters, scores)?;
    product(party, x, y, product_z) // last: it overwrites its factors
}

/// The parts of `words`, of these lengths.
pub(super) fn split<W, const N: usize>(words: &mut [W], lens: [usize; N]) -> [&mut [W]; N] {
    assert!(words.len() == lens.iter().sum::<usize>(), "the job has inputs and outputs of fixed lengths");
    let mut rest = words;
    lens.map(|len| rest.split_off_mut(..len).unwrap_or_default())
}

/// Opens `x` under a fresh mask, in place.
pub(super) fn masked<'a, W: Word>(party: &mut Party<'_, W>, x: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
    let mask = party.draw()?.mask(x.len());
    let mask = mask_and_open(party, x, mask)?; // a round
    Ok(Masked { words: x, mask })
}

fn product<W: Word>(party: &mut Party<'_, W>, x: &mut [W], y: &mut [W], z: &mut [W]) -> Result<(), Error> {
    let x = masked(party, x)?;
    let y = masked(party, y)?;
    multiply(party, x, y, z)
}

/// Bits `[x >= 0]`.
fn signs<W: Word>(party: &mut Party<'_, W>, x: &[W], out: &mut [W]) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([x.len()])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, x, Cut::signed(0), c)?; // a round
    sign(&mut party, &mut draw, &word, out)
}

/// Scores of all records.
fn infer<W: Word>(
    party: &mut Party<'_, W>,
    records: &mut [W],
    parameters: &mut [W],
    scores: &mut [W],
) -> Result<(), Error> {
    let graph = Graph { nodes: &NETWORK, places: &PLACES, input: IMAGE, frac_bits: FRAC_BITS };
    let records = masked(party, records)?;
    let ([open], mut party) = party.scratch([PARAMETERS])?;
    open.copy_from_slice(parameters);
    let open = masked(&mut party, open)?;
    let data = Masked { mask: records.mask.matrix(IMAGE.words()), ..records };
    let pass = Pass { model: Model { shares: parameters, open }, data, moment: None, met: &[], lengths: None };
    let mut states: [NodeState<'_, W>; NETWORK.len()] = core::array::from_fn(|_| NodeState::default());
    graph.infer(&mut party, &pass, &mut states, scores)?;
    truncate(&mut party, scores, graph.output_frac_bits() - FRAC_BITS)
}
