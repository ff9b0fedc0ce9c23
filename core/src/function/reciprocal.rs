//! `1 / x` for `x >= 1`, by constants on `2^bits` cells.
//!
//! - **Range:** `1 <= x <= largest`; below 1 the result is 1, from `2^m` on (and for negative
//!   words) the last cell's. The cells are `2^m / 2^bits` wide, `2^m > largest`: 16 of width 1 for
//!   `largest` from 8 to 15 and 4 bits, 64 of a quarter for 6 bits.
//! - **Error:** with cells of width `w <= 1`, one result is off by less than `w / (x (x - w))` where `x > w + 1`, `w / (1 + w)` below; the mean over the dither by less than `w^2 / 4`, always up.
//!   Half a unit of the last place comes on top. Exact at multiples of `w`.
//! - **Cost:** that of a [mapping](crate::mapping) that saturates. Where `x <= largest` by
//!   construction, as a softmax's sum is, a mapping that does not costs less, and with few bits of
//!   index the arithmetic one-hot vector saves a round.

use super::{Table, tabulate};
use crate::{
    link::Error,
    mapping::{Domain, Mapping, Saturation, map},
    party::Party,
    word::Word,
};

/// `2^bits` cells over `[0, 2^m)`, `2^m` the least power of two above `largest`.
///
/// # Panics
///
/// If values have too few fraction bits for cells as narrow.
pub const fn domain(largest: u32, in_frac_bits: u32, bits: u32) -> Domain {
    let whole = u32::BITS - largest.leading_zeros();
    assert!(in_frac_bits + whole >= bits, "cells narrower than a unit");
    Domain { shift: in_frac_bits + whole - bits, bits, signed: false }
}

/// The table for values of `in_frac_bits` fraction bits and results of `out_frac_bits`.
pub fn table(domain: &Domain, in_frac_bits: u32, out_frac_bits: u32) -> Table {
    tabulate(domain, in_frac_bits, out_frac_bits, |x| if x > 1.0 { 1.0 / x } else { 1.0 })
}

/// `out = 1 / x`, element by element, for `x` up to `largest`; `frac_bits` are those of `x` and of the result, the index has `bits` bits.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn reciprocal<W: Word>(
    party: &mut Party<'_, W>,
    x: &[W],
    frac_bits: [u32; 2],
    (largest, bits): (u32, u32),
    out: &mut [W],
) -> Result<(), Error> {
    let domain = domain(largest, frac_bits[0], bits);
    let table = table(&domain, frac_bits[0], frac_bits[1]);
    let table = &table[..domain.cells()];
    let last = &table[table.len() - 1..];
    let beyond = Some(Saturation { below: last, above: last, range: None });
    map(party, &Mapping { domain, tables: &[table], one_hot: None, beyond }, x, out)
}
