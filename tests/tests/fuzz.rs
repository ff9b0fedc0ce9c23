//! Every parser of what strangers send, on mutated input. `SYMBOLON_FUZZ` multiplies the runs.
#![allow(missing_docs)]

use std::{env, time::Instant};
use symbolon_tests::fuzz::{drive, targets};

const RUNS: u32 = 12_000;

#[test]
fn no_parser_panics_and_what_parses_is_canonical() {
    let more = env::var("SYMBOLON_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for target in targets() {
        let started = Instant::now();
        drive(&target, 2026, RUNS.saturating_mul(more));
        println!("{}: {} runs, {} ms", target.name, RUNS * more, started.elapsed().as_millis());
    }
}

/// A parser that panics is found.
#[test]
#[should_panic(expected = "broken")]
fn the_driver_finds_a_panic() {
    let mut targets = targets();
    let mut broken = targets.remove(0);
    broken.name = "broken";
    broken.run = |bytes| assert!(bytes.len() != 41, "broken");
    drive(&broken, 1, 4000);
}
