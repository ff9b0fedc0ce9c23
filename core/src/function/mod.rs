//! Functions of shared fixed-point values, by [mapping](crate::mapping).
//!
//! Each file states a function's range and its largest error there. A table is made by [`tabulate`] from any function of a real, in public and
//! with no randomness, so that all parties make the same one.
//!
//! An entry is right at the centre of its index. A value between two centres takes either index, by
//! the dither of its truncation, so a single result is off by as much as the function changes over
//! one cell, and the mean of many results is the function's linear interpolation.

pub mod classify;
pub mod exponential;
pub mod inverse_sqrt;
pub mod logarithm;
pub mod reciprocal;
pub mod softmax;

use crate::mapping::Domain;

/// Room for the entries of a table; the first [`Domain::cells`] are used.
pub type Table = [i64; 256];

/// `round(function(v) 2^out_frac_bits)` for the value `v` at which each index is centred; values have `in_frac_bits` fraction bits. Entries that no
/// 64-bit word holds, or that are not a number, are an error of the function's: they saturate, or become 0.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // centres have few bits; `as` saturates
pub fn tabulate(domain: &Domain, in_frac_bits: u32, out_frac_bits: u32, function: impl Fn(f64) -> f64) -> Table {
    let mut table = [0; 256];
    let (unit_in, unit_out) = (pow2(in_frac_bits), pow2(out_frac_bits));
    for (cell, entry) in table.iter_mut().enumerate().take(domain.cells()) {
        let scaled = function(domain.centre(cell) as f64 / unit_in) * unit_out;
        *entry = (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i64;
    }
    table
}

/// `2^n`.
pub(crate) fn pow2(n: u32) -> f64 {
    (0..n).fold(1.0, |p, _| p * 2.0)
}

/// `e^x` for small `|x|`, without the standard library: a Taylor series of `x / 2^10`, squared ten times. Relative error below 1e-12 for `|x| <= 16`.
pub(crate) fn exp(x: f64) -> f64 {
    let y = x / pow2(10);
    let series = (1..=8).rev().fold(1.0, |sum, n| 1.0 + sum * y / f64::from(n));
    (0..10).fold(series, |e, _| e * e)
}

/// `ln x` for `x > 0`, without the standard library: `x = 2^n m` with `m` in `[3/4, 3/2)`, and `ln m = 2 artanh((m - 1) / (m + 1))`.
pub(crate) fn ln(x: f64) -> f64 {
    let (mut m, mut n) = (x, 0.0);
    while m >= 1.5 {
        (m, n) = (m / 2.0, n + 1.0);
    }
    while m < 0.75 {
        (m, n) = (m * 2.0, n - 1.0);
    }
    let t = (m - 1.0) / (m + 1.0);
    let artanh = (0..16).rev().fold(0.0, |sum, i| sum * t * t + 1.0 / f64::from(2 * i + 1)) * t;
    n * core::f64::consts::LN_2 + 2.0 * artanh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_ln_are_those_of_the_standard_library() {
        for i in -1600..=1600 {
            let x = f64::from(i) / 100.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "exp {x}");
            let x = x.exp();
            assert!((ln(x) - x.ln()).abs() < 1e-13, "ln {x}");
        }
    }

    #[test]
    fn tables_round_and_saturate() {
        let domain = Domain { shift: 2, bits: 3, signed: true };
        let table = tabulate(&domain, 2, 1, |v| if v < -3.5 { f64::INFINITY } else { v * 0.3 });
        assert_eq!(table[..8], [i64::MAX, -2, -1, -1, 0, 1, 1, 2]);
    }
}
