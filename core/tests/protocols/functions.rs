//! Functions by mapping: their stated errors, over their whole ranges.

use crate::harness::*;
use symbolon_core::{
    function::{
        Table,
        exponential::{self, exponential},
        logarithm,
        reciprocal::{self, reciprocal},
    },
    link::Error,
    mapping::Domain,
    party::Party,
    word::Word,
};

enum Function {
    Exponential,
    Reciprocal { largest: u32, bits: u32 },
}

struct Apply {
    function: Function,
    frac_bits: [u32; 2],
}

impl Job for Apply {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let x = inputs.remove(0);
        let mut out = vec![W::default(); x.len()];
        let f = self.frac_bits;
        match self.function {
            Function::Exponential => exponential(party, &x, f, &mut out)?,
            Function::Reciprocal { largest, bits } => reciprocal(party, &x, f, (largest, bits), &mut out)?,
        }
        Ok(vec![Shared::Words(out)])
    }
}

/// Holds each result for the values in `units` against `bounds`, which gives the least and the largest allowed.
fn within<W: Word>(job: &Apply, units: impl Iterator<Item = i64>, bounds: impl Fn(f64) -> [f64; 2]) {
    let [input, output] = job.frac_bits.map(|f| f64::from(1u32 << f));
    let units: Vec<i64> = units.collect();
    let got = play(job, &[Shared::Words(units.iter().map(|u| W::from_i64(*u)).collect())], 40);
    for (u, y) in units.iter().zip(got.outputs[0].clone().words()) {
        let (x, y) = (*u as f64 / input, as_i64(y) as f64 / output);
        let ([least, most], last_place) = (bounds(x), 0.5001 / output);
        assert!(y >= least - last_place && y <= most + last_place, "{x} gave {y}, not in [{least}, {most}]");
    }
}

/// Holds the mean over the dither, which is the linear interpolation of the entries, against `bounds`.
fn mean_within(domain: Domain, table: &Table, frac_bits: [u32; 2], from: f64, bounds: impl Fn(f64) -> [f64; 2]) {
    let [input, output] = frac_bits.map(|f| f64::from(1u32 << f));
    for cell in 0..domain.cells() - 1 {
        for part in 0..16 {
            let part = f64::from(part) / 16.0;
            let x = (domain.centre(cell) as f64 + part * (1u64 << domain.shift) as f64) / input;
            let y = ((1.0 - part) * table[cell] as f64 + part * table[cell + 1] as f64) / output;
            let ([least, most], last_place) = (bounds(x), 0.5001 / output);
            let fits = y >= least - last_place && y <= most + last_place;
            assert!(x < from || fits, "{x} gives {y} in the mean, not in [{least}, {most}]");
        }
    }
}

fn exponentials<W: Word>(frac_bits: [u32; 2]) {
    let one = |x: f64| {
        let y = (-x).exp();
        if x < 7.5 { [y * (1.0 - 0.394), y * 1.649] } else { [y - 0.00056, y + 0.00056] }
    };
    let job = Apply { function: Function::Exponential, frac_bits };
    let (largest, step) = (i64::MAX >> (64 - W::BITS), 1i64 << (frac_bits[0] - 6));
    let upwards = core::iter::successors(Some(16 * step), |x| x.checked_mul(2)).take_while(|x| *x < largest);
    let limit = 8 << frac_bits[0];
    within::<W>(&job, (0..=limit).step_by(step as usize).chain([1, limit - 1, limit + 1, largest]).chain(upwards), one);
    let domain = exponential::domain(frac_bits[0]);
    let table = exponential::table(&domain, frac_bits[0], frac_bits[1]);
    assert_eq!(table[0], 1 << frac_bits[1]);
    mean_within(domain, &table, frac_bits, 0.0, |x| {
        let y = (-x).exp();
        if x < 7.5 { [y, y * (1.0 + 1.0 / 31.0)] } else { [y - 0.00056, y + 0.00056] }
    });
}

#[test]
fn exponential_keeps_its_error() {
    exponentials::<u32>([11, 11]);
    exponentials::<u32>([22, 11]);
    exponentials::<u64>([20, 24]);
}

/// The width of cells for values up to `largest`.
fn width(largest: u32, bits: u32) -> f64 {
    f64::from(largest + 1).log2().ceil().exp2() / f64::from(1u32 << bits)
}

/// `1 / x` at the centre of the last cell.
fn as_last(largest: u32, bits: u32) -> f64 {
    1.0 / (width(largest, bits) * f64::from((1u32 << bits) - 1))
}

fn reciprocals<W: Word>(frac_bits: [u32; 2]) {
    for (largest, bits) in [(10, 4), (15, 4), (10, 6), (3, 8), (16, 8), (200, 8)] {
        let w = width(largest, bits);
        let function = Function::Reciprocal { largest, bits };
        let job = Apply { function, frac_bits };
        let (one, step) = (1i64 << frac_bits[0], 1 << (frac_bits[0] - 4));
        let range = (one..=i64::from(largest) * one).step_by(step).chain([one + 1]);
        within::<W>(&job, range, |x| {
            let up = if x > w + 1.0 { w / (x * (x - w)) } else { w / (1.0 + w) };
            [1.0 / (x + w), 1.0 / x + up]
        });
        // Past the table, the result is its last entry, and never the entry of a wrapped index.
        let past = ((f64::from(largest + 1).log2().ceil().exp2() + 1.0) * one as f64) as i64;
        let last = as_last(largest, bits);
        within::<W>(&job, [past, 2 * past, i64::MAX >> (64 - W::BITS), -past].into_iter(), |_| [last, last]);
        let domain = reciprocal::domain(largest, frac_bits[0], bits);
        let table = reciprocal::table(&domain, frac_bits[0], frac_bits[1]);
        mean_within(domain, &table, frac_bits, 1.0, |x| [1.0 / x, 1.0 / x + w * w / 4.0]);
        let table = logarithm::table(&domain, frac_bits[0], frac_bits[1]);
        mean_within(domain, &table, frac_bits, 1.0, |x| [x.ln() - w * w / 8.0, x.ln()]);
        for (cell, entry) in table.iter().enumerate().take(domain.cells()) {
            let next = table[(cell + 1).min(domain.cells() - 1)] - entry;
            assert!(next as f64 <= w.ln_1p() * f64::from(1u32 << frac_bits[1]) + 1.0);
        }
    }
}

#[test]
fn reciprocal_and_logarithm_keep_their_errors() {
    reciprocals::<u32>([11, 11]);
    reciprocals::<u64>([20, 24]);
}
