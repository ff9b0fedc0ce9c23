//! Adam by a mapped inverse root: its path is that of floating point, and its cost.

use crate::{
    harness::*,
    optimizer::{CHOOSE, Steps, path_against_float, whole},
};
use symbolon_core::{optimizer::Adam, word::Word};

/// Not only within a factor of two, as by buckets.
#[test]
fn precise_paths_are_those_of_float() {
    let close = |ratios: Vec<f64>, of: &str| {
        assert!(ratios.iter().all(|r| (0.95..=1.05).contains(r)), "{of}: {ratios:?}");
    };
    // From near the smallest second moments that have a root of their own to near the largest.
    for exponent in [-6, 0, 6] {
        let adam = Adam { shift: -2, mapped_root: Some(8), ..whole::<u64>() };
        close(path_against_float::<u64>(adam, 12, f64::from(exponent + 22).exp2()), "64 bits");
    }
    let narrow = Adam { shift: -1, mapped_root: Some(4), ..whole::<u32>() };
    close(path_against_float::<u32>(narrow, 11, f64::from(15).exp2()), "32 bits");
}

/// Rounds, and bytes each way and dealt a parameter, of a step by a mapped inverse root.
#[test]
fn precise_steps_cost_what_the_documentation_says() {
    fn cost<W: Word>(rounds: u64, figures: [f64; 2]) {
        let (n, turns) = (640, [CHOOSE]);
        let adam = Adam { mapped_root: Some(if W::BITS == 32 { 4 } else { 8 }), ..whole::<W>() };
        let inputs = vec![Shared::Words(vec![W::default(); n]); 4];
        let got = play(&Steps { adam, maximum: false, turns: &turns }, &inputs, 4).cost;
        let each = [got.bytes, got.dealt_bytes].map(|bytes| bytes as f64 / n as f64);
        assert!(
            got.rounds == rounds && each.iter().zip(figures).all(|(got, figure)| (got - figure).abs() < 0.06),
            "{} {each:?}",
            got.rounds
        );
    }
    cost::<u32>(14, [52.625, 267.375]);
    cost::<u64>(16, [140.375, 1073.25]);
}
