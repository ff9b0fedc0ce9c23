//! `symbolon audit`.

use super::{exit::Failure, train::clear_run};
use crate::{
    data,
    engine::clear::{Audit, Range},
    job::Job,
    report::write_atomic,
};
use serde_json::json;
use std::path::Path;

/// Doublings that a recommendation leaves for data that the audit has not seen.
const MARGIN_BITS: f64 = 1.0;
/// Fewest fraction bits with which training keeps its accuracy.
const LEAST_FRAC_BITS: u32 = 8;

/// Trains in the clear and prints the headroom of every tensor.
pub(super) fn run(file: &Path, dir: &Path, json: Option<&Path>) -> Result<(), Failure> {
    let job = Job::load(file)?;
    let (train, test) = data::load(&job, dir)?;
    let audit = Audit::default();
    let threads = usize::from(job.lanes.lanes);
    match job.numbers.ring_bits {
        32 => drop(clear_run::<u32>(&job, &train, &test, threads, &audit)?),
        _ => drop(clear_run::<u64>(&job, &train, &test, threads, &audit)?),
    }
    let ranges = audit.ranges();
    say!("{:>5}  {:<24}{:>24}{:>24}{:>16}", "layer", "operation", "least", "greatest", "headroom, bits");
    for range in &ranges {
        say!(
            "{:>5}  {:<24}{:>24}{:>24}{:>16.1}",
            range.layer,
            range.name,
            range.least,
            range.greatest,
            range.headroom_bits
        );
    }
    say!(
        "\nLeast and greatest are the words that were opened or looked up; headroom is how often they may double within their range. \
         Tables have ranges of their own, which ring and fraction bits do not move."
    );
    // The recommendation leaves tables out.
    let Some(least) = ranges.iter().find(|range| range.is_opening(job.numbers.ring_bits)) else { return Ok(()) };
    let (ring_bits, frac_bits) = recommend(&job, least);
    say!(
        "\nleast headroom: layer {}, {}: {:.1} bits. Recommended: ring_bits = {ring_bits}, frac_bits = {frac_bits}",
        least.layer,
        least.name,
        least.headroom_bits
    );
    let Some(path) = json else { return Ok(()) };
    let value = json!({ "ranges": ranges, "recommended": { "ring_bits": ring_bits, "frac_bits": frac_bits } });
    write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}

/// Ring and fraction bits that leave the margin: products carry `2 f`, so a fraction bit less frees two bits.
fn recommend(job: &Job, least: &Range) -> (u32, u32) {
    let numbers = &job.numbers;
    let spare = |ring_bits: u32| least.headroom_bits + f64::from(ring_bits) - f64::from(numbers.ring_bits);
    for ring_bits in [32, 64] {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a few bits
        let excess = ((MARGIN_BITS - spare(ring_bits)) / 2.0).ceil().max(0.0) as u32;
        if let Some(frac_bits) = numbers.frac_bits.checked_sub(excess).filter(|f| *f >= LEAST_FRAC_BITS) {
            return (ring_bits, frac_bits);
        }
    }
    (64, LEAST_FRAC_BITS)
}
