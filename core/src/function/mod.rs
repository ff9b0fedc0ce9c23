//! Functions of shared fixed-point values, by [mapping](crate::mapping).
//!
//! Each file states a function's range and its largest error there. A table is made by [`tabulate`] from any function of a real, in public and
//! with no randomness, so that all parties make the same one.
//!
//! An entry is right at the centre of its index. A value between two centres takes either index, by
//! the dither of its truncation, so a single result is off by as much as the function changes over
//! one cell, and the mean of many results is the function's linear interpolation.

pub mod classify;
pub mod division;
pub mod exponential;
pub mod fit;
pub mod inverse_sqrt;
pub mod leading_one;
pub mod linear_system;
pub mod log_softmax;
pub mod logarithm;
pub mod method;
pub mod norm;
pub mod reciprocal;
pub mod scalar;
pub mod softmax;
pub mod softmax_methods;
pub mod top_k;

use crate::mapping::Domain;

/// Width of the ring and fraction bits, of the argument and of the result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Numbers {
    /// `k`.
    pub ring_bits: u32,
    /// `f`.
    pub frac_bits: u32,
}

impl Numbers {
    /// Octaves of positive arguments: `x < 2^n` units.
    pub fn octaves(&self) -> u32 {
        if self.ring_bits == 32 { 16 } else { (self.frac_bits + 16).next_multiple_of(2).min(36) }
    }
    /// Fraction bits of a mantissa's function: a product of it with a weight has room.
    pub fn mantissa_bits(&self) -> u32 {
        if self.ring_bits == 32 { 13 } else { (self.frac_bits + 8).min(24) }
    }
}

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

pub(crate) use libm::{exp, log as ln};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_round_and_saturate() {
        let domain = Domain { shift: 2, bits: 3, signed: true };
        let table = tabulate(&domain, 2, 1, |v| if v < -3.5 { f64::INFINITY } else { v * 0.3 });
        assert_eq!(table[..8], [i64::MAX, -2, -1, -1, 0, 1, 1, 2]);
    }
}
