//! A recurrent network on a microcontroller as one of the two parties, on emulated boards: bit for
//! bit what the host's own layer computes, on shares and in the clear.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::time::{Duration, Instant};
use symbolon_core::{
    function::scalar::{Scalar, Sigmoid, Tanh},
    layer::{AnyLayer, Graph, Model, Node as Place, NodeState, Origin, Pass, Placement},
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        truncate::truncate,
    },
    word::Word,
};
use symbolon_firmware::compute::sequence::{
    ARENA_WORDS, DENSE, FRAC_BITS, FUNCTIONS, GRU, INPUT_WORDS, NETWORK, OUTPUT_WORDS, OUTPUTS, PARAMETERS, PLACES,
    RECORDS, SEQUENCE,
};
use symbolon_parties::{Program, planned};
use symbolon_tests::{
    compute::{Engines, Joint, Node, Secrets, Tape, against_device, by_both_engines},
    emulator::{Board, Emulated, Files, sizes},
};

const LONG: Duration = Duration::from_secs(60);
const BOARDS: [Board; 2] = [Board::CortexM4, Board::RiscV32];

/// Features and parameters of either sign, below 1; large ones saturate both functions.
fn inputs(salt: u64, bound: f64) -> Vec<u32> {
    let mut state = salt;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let real = (state >> 33) as f64 / f64::from(1u32 << 31) * 2.0 - 1.0;
        u32::from_i64((real * bound * f64::from(1u32 << FRAC_BITS)).round() as i64)
    };
    (0..INPUT_WORDS).map(|_| next()).collect()
}

/// The same network of the host's layers.
struct OfHost;

impl Program for OfHost {
    type Output<W: Word> = Vec<W>;

    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<W>, Error> {
        let nodes =
            [Place::new(AnyLayer::Recurrent(GRU), Origin::Data), Place::new(AnyLayer::Dense(DENSE), Origin::Node(0))];
        let mut places = [Placement::default(); 2];
        let graph = Graph::new(&nodes, SEQUENCE, FRAC_BITS, &mut places).unwrap();
        let (records, parameters) = inputs[0].split_at_mut(RECORDS * SEQUENCE.words());
        let mask = party.draw()?.mask(records.len());
        let mask = mask_and_open(party, records, mask)?.matrix(SEQUENCE.words());
        let (mut open, right) = (parameters.to_vec(), party.draw()?.mask(PARAMETERS));
        let own = mask_and_open(party, &mut open, right)?;
        let model = Model { shares: parameters, open: Masked { words: &open, mask: own } };
        let pass = Pass { model, data: Masked { words: records, mask }, moment: None, met: &[], lengths: None };
        let mut states: [NodeState<'_, W>; 2] = std::array::from_fn(|_| NodeState::default());
        let mut out = vec![W::default(); OUTPUT_WORDS];
        graph.infer(party, &pass, &mut states, &mut out)?;
        truncate(party, &mut out, graph.output_frac_bits() - FRAC_BITS)?;
        Ok(out)
    }
}

/// The scores, in floating point.
fn scores(inputs: &[u32]) -> Vec<f64> {
    let reals: Vec<f64> = inputs.iter().map(|w| f64::from(w.cast_signed()) / f64::from(1u32 << FRAC_BITS)).collect();
    let (records, parameters) = reals.split_at(RECORDS * SEQUENCE.words());
    let ([steps, features], units) = (SEQUENCE.image(), GRU.units as usize);
    let (w, rest) = parameters.split_at(features * 3 * units);
    let (u, rest) = rest.split_at(units * 3 * units);
    let (bias, rest) = rest.split_at(3 * units);
    let (own, dense) = rest.split_at(units);
    let product = |x: &[f64], w: &[f64], column: usize| -> f64 {
        x.iter().enumerate().map(|(i, x)| x * w[i * 3 * units + column]).sum()
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let of = |record: &[f64]| {
        let mut h = vec![0.0; units];
        for x in record.chunks(features).take(steps) {
            let unit = |j: usize| {
                let a = |g: usize| product(x, w, g * units + j) + bias[g * units + j];
                let s = |g: usize| product(&h, u, g * units + j);
                let [r, z] = [0, 1].map(|g| sigmoid(a(g) + s(g)));
                let n = (a(2) + r * (s(2) + own[j])).tanh();
                n + z * (h[j] - n)
            };
            h = (0..units).map(unit).collect();
        }
        let score = |class: usize| {
            let weighed = h.iter().enumerate().map(|(j, h)| h * dense[j * OUTPUTS + class]);
            weighed.sum::<f64>() + dense[units * OUTPUTS + class]
        };
        (0..OUTPUTS).map(score).collect::<Vec<f64>>()
    };
    records.chunks(SEQUENCE.words()).flat_map(of).collect()
}

#[test]
fn the_places_are_those_of_the_graph() {
    let mut places = [Placement::default(); NETWORK.len()];
    let graph = Graph::new(&NETWORK, SEQUENCE, FRAC_BITS, &mut places).unwrap();
    assert_eq!((graph.places, graph.parameters()), (&PLACES[..], PARAMETERS));
}

#[test]
fn the_tables_are_those_of_the_functions() {
    let scalars: [(&dyn Scalar, f64); 2] = [(&Sigmoid {}, -8.0), (&Tanh {}, -4.0)];
    let unit = f64::from(1u32 << FRAC_BITS);
    for (constants, (scalar, low)) in FUNCTIONS.iter().zip(scalars) {
        assert!(constants.low as f64 == low * unit);
        let entry = |cell: usize| {
            let x = low + constants.domain.centre(cell) as f64 / unit;
            (scalar.value(x) * unit).round() as i64
        };
        assert_eq!(constants.table, (0..constants.domain.cells()).map(entry).collect::<Vec<_>>());
        assert_eq!(constants.beyond, scalar.ends([low, -low]).values.map(|end| (end * unit).round() as i64));
    }
}

#[test]
fn the_arena_is_as_large_as_the_dry_run_says() {
    let (peak, count) = Node::Sequence.dry_run();
    assert_eq!(ARENA_WORDS, peak);
    println!("{} rounds, {} bytes each way", count.rounds, count.bytes);
    let own = planned::<u32>(&OfHost, &[INPUT_WORDS]).unwrap();
    let lean = planned::<u32>(&Node::Sequence, &[INPUT_WORDS]).unwrap();
    assert_eq!((own.count, own.dealt_bytes), (lean.count, lean.dealt_bytes));
}

#[test]
fn boards_compute_what_the_host_computes() {
    for board in BOARDS.into_iter().filter(|b| b.available()) {
        let program = board.build(Node::Sequence.program());
        for (salt, bound) in [(1, 1.0), (2, 3.5)] {
            let (mut secrets, inputs) = (Secrets::new(8), inputs(salt, bound));
            let files = Files { seed: Some([9; 32]), blob: Some(secrets.blob()), ..Files::default() };
            let device = Emulated::boot(board, Node::Sequence.program(), files);
            let mut tape = Tape::new(device.serial.try_clone().unwrap(), None);
            let from = Instant::now();
            let joint = against_device(&mut tape, &mut secrets, Node::Sequence, &inputs);
            let (took, outcome) = (from.elapsed(), device.wait(LONG));
            assert_eq!(outcome.status, Some(0), "{board:?}: {outcome:?}");
            let Joint { session, device, host } = joint.unwrap();

            // The host's layer, which finds its own tables.
            let Engines { shares, clear } = by_both_engines(&secrets, &session, &OfHost, &inputs);
            let joined: Vec<u32> = device.iter().zip(&host).map(|(zero, one)| zero.wrapping_add(*one)).collect();
            assert_eq!([device, host], shares, "{board:?}: shares");
            assert_eq!(joined, clear, "{board:?}: the clear engine");
            let errors = joined
                .iter()
                .zip(scores(&inputs))
                .map(|(got, exact)| (f64::from(got.cast_signed()) / f64::from(1u32 << FRAC_BITS) - exact).abs());
            let largest = errors.fold(0.0, f64::max);

            assert_eq!(outcome.number("arena words left"), Some(0), "{board:?}: {:?}", outcome.log);
            let (sizes, stack) = (sizes(&program), outcome.number("stack").unwrap());
            println!("{board:?}: {} bytes of flash, {} of RAM, {stack} of stack", sizes.flash_bytes, sizes.ram_bytes);
            println!("{board:?}: {} bytes on the line in {took:?}, largest error {largest:.4}", tape.bytes.len());
            assert!(largest < 0.2 * bound, "{board:?}: an error of {largest}");
        }
    }
}
