//! Functions on a microcontroller as one of the two parties, on emulated boards: bit for bit what
//! two parties on the host compute, and within the functions' bounds.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::time::Duration;
use symbolon_core::{
    function::{
        method::{Function, Method, mapping::Mapping},
        scalar::{AnyScalar, Reciprocal, Sigmoid, SquareRoot},
    },
    word::Word,
};
use symbolon_firmware::compute::functions::{ARENA_WORDS, ELEMENTS, FUNCTIONS, NUMBERS};
use symbolon_tests::{
    compute::{Joint, Node, Secrets, Tape, against_device, on_the_host},
    emulator::{Board, Emulated, Files, sizes},
};

const LONG: Duration = Duration::from_secs(60);
const BOARDS: [Board; 2] = [Board::CortexM4, Board::RiscV32];

/// Inside all domains, at their ends, far beyond, and at the ring's edges.
const INPUTS: [i64; ELEMENTS] = [
    0,
    1,
    -1,
    2,
    3,
    4,
    1000,
    2048,
    -2048,
    3000,
    8191,
    -8000,
    16_383,
    16_384,
    -16_384,
    -16_385,
    40_000,
    65_535,
    65_536,
    70_000,
    655_360,
    -655_360,
    (1 << 29) - 1,
    -(1 << 29),
];

fn functions() -> [Function; 3] {
    let scalars =
        [AnyScalar::Sigmoid(Sigmoid {}), AnyScalar::Reciprocal(Reciprocal {}), AnyScalar::SquareRoot(SquareRoot {})];
    scalars.map(|scalar| Function::by_default(scalar, &NUMBERS))
}

#[test]
fn the_mappings_are_the_default_ones() {
    for (function, (_, mapping)) in functions().into_iter().zip(FUNCTIONS) {
        let Method::Mapping(Mapping { bits, degree, interval }) = function.method else { panic!("a mapping") };
        assert_eq!((bits, degree), (mapping.bits, mapping.degree), "{function:?}");
        assert!(interval == mapping.interval, "{function:?}");
    }
}

#[test]
fn the_arena_is_as_large_as_the_dry_run_says() {
    let (peak, count) = Node::Function.dry_run();
    assert_eq!(ARENA_WORDS, peak);
    println!("{} rounds, {} bytes each way", count.rounds, count.bytes);
}

#[test]
fn boards_compute_what_the_host_computes() {
    let inputs = INPUTS.map(u32::from_i64);
    for board in BOARDS.into_iter().filter(|b| b.available()) {
        let mut secrets = Secrets::new(7);
        let files = Files { seed: Some([9; 32]), blob: Some(secrets.blob()), ..Files::default() };
        let device = Emulated::boot(board, Node::Function.program(), files);
        let mut tape = Tape::new(device.serial.try_clone().unwrap(), None);
        let joint = against_device(&mut tape, &mut secrets, Node::Function, &inputs);
        let outcome = device.wait(LONG);
        assert_eq!(outcome.status, Some(0), "{board:?}: {outcome:?}");
        let Joint { session, device, host } = joint.unwrap();
        let [zero, one] = on_the_host(&secrets, &session, Node::Function, &inputs);
        assert_eq!(device, zero, "{board:?}: server 0's shares");
        assert_eq!(host, one, "{board:?}: server 1's shares");
        assert_right(&device, &host);
        assert_eq!(outcome.number("arena words left"), Some(0), "{board:?}: {:?}", outcome.log);
        let sizes = sizes(&board.build(Node::Function.program()));
        let stack = outcome.number("stack").unwrap();
        println!("{board:?}: {} bytes of flash, {} of RAM, {stack} of stack", sizes.flash_bytes, sizes.ram_bytes);
    }
}

/// Results are within their bounds; beyond the domains they saturate.
fn assert_right(zero: &[u32], one: &[u32]) {
    let unit = 1.0 / f64::from(1u32 << NUMBERS.frac_bits);
    let joined: Vec<u32> = zero.iter().zip(one).map(|(zero, one)| zero.wrapping_add(*one)).collect();
    for (function, results) in functions().iter().zip(joined.chunks_exact(ELEMENTS)) {
        let bound = function.bound(&NUMBERS);
        for (x, y) in INPUTS.iter().zip(results) {
            let ideal = function.ideal(&NUMBERS, *x as f64 * unit) / unit;
            let error = (f64::from(y.cast_signed()) - ideal).abs();
            assert!(error <= bound.units + bound.relative * ideal.abs(), "{function:?} of {x}: {y}, not {ideal}");
        }
    }
}
