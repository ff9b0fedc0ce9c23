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
        assert!(ratios.iter().all(|r| (0.97..=1.03).contains(r)), "{of}: {ratios:?}");
    };
    for exponent in [-4, 0, 4] {
        let adam = Adam { shift: -2, precise: true, ..whole::<u64>() };
        close(path_against_float::<u64>(adam, 12, f64::from(exponent + 22).exp2()), "64 bits");
    }
    let narrow = Adam { shift: -1, precise: true, ..whole::<u32>() };
    close(path_against_float::<u32>(narrow, 11, f64::from(15).exp2()), "32 bits");
}

/// Rounds, and bytes each way and dealt a parameter, of a step by a mapped inverse root.
#[test]
fn precise_steps_cost_what_the_documentation_says() {
    fn cost<W: Word>(rounds: u64, figures: [f64; 2]) {
        let (n, turns) = (640, [CHOOSE]);
        let adam = Adam { precise: true, ..whole::<W>() };
        let inputs = vec![Shared::Words(vec![W::default(); n]); 4];
        let got = play(&Steps { adam, maximum: false, turns: &turns }, &inputs, 4).cost;
        let each = [got.bytes, got.dealt_bytes].map(|bytes| bytes as f64 / n as f64);
        assert!(
            got.rounds == rounds && each.iter().zip(figures).all(|(got, figure)| (got - figure).abs() < 0.06),
            "{} {each:?}",
            got.rounds
        );
    }
    cost::<u32>(14, [52.625, 268.125]);
    cost::<u64>(16, [138.125, 1052.0]);
}
