//! `e^-x` for `x >= 0`: constants on cells of a half below [`LIMIT`], zero from there on.
//!
//! - **Range:** every `x >= 0`. Negative words are read as unsigned and therefore give 0, but within
//!   a cell below 0 the dither may give 1.
//! - **Error:** below 7.5, one result is off by less than `0.394 e^-x` down and `0.649 e^-x` up, at most by `1 - e^(-1/2)`; the mean over the dither by less than `e^-x / 31`, always up.
//!   From 7.5 on all errors are below `e^-7.5 = 0.00056`. Half a unit of the last place comes on top. Exact at multiples of a half, `e^0 = 1` among them:
//!   where the maximum of the logits is subtracted first, the largest term of a softmax is exact.
//! - **Cost:** that of a [mapping](crate::mapping) of `out_frac_bits + 1` bits that saturates.

use super::{Table, exp, tabulate};
use crate::{
    link::Error,
    mapping::{Domain, Mapping, Saturation, map},
    party::Party,
    word::Word,
};

/// From here on the result is 0; there are as many cells below as indices for it, sixteen.
pub const LIMIT: f64 = 8.0;
/// Bits of the index: cells of a half below [`LIMIT`].
const BITS: u32 = 4;

/// Sixteen cells of a half, for values of `in_frac_bits` fraction bits.
///
/// # Panics
///
/// If values have no fraction bit.
pub const fn domain(in_frac_bits: u32) -> Domain {
    Domain { shift: in_frac_bits - 1, bits: BITS, signed: false }
}

/// The table for values of `in_frac_bits` fraction bits and results of `out_frac_bits`.
pub fn table(domain: &Domain, in_frac_bits: u32, out_frac_bits: u32) -> Table {
    tabulate(domain, in_frac_bits, out_frac_bits, |x| exp(-x))
}

/// `out = e^-x`, element by element; `frac_bits` are those of `x` and of the result.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn exponential<W: Word>(
    party: &mut Party<'_, W>,
    x: &[W],
    frac_bits: [u32; 2],
    out: &mut [W],
) -> Result<(), Error> {
    let domain = domain(frac_bits[0]);
    let table = table(&domain, frac_bits[0], frac_bits[1]);
    mapped(party, (&domain, &table), None, x, out)
}

/// Computes [`exponential`] by a given table, of values in `[0, 2^range)` if that is given.
///
/// # Errors
///
/// As [`exponential`].
///
/// # Panics
///
/// As [`exponential`].
pub fn mapped<W: Word>(
    party: &mut Party<'_, W>,
    (domain, table): (&Domain, &Table),
    range: Option<u32>,
    x: &[W],
    out: &mut [W],
) -> Result<(), Error> {
    let tables = [&table[..domain.cells()]];
    let beyond = Some(Saturation { below: &[0], above: &[0], range });
    map(party, &Mapping { domain: *domain, tables: &tables, one_hot: None, beyond }, x, out)
}
