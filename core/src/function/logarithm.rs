//! `ln x` for `x >= 1`, by constants on the cells of [`reciprocal::domain`](super::reciprocal::domain): both are had for one opening.
//!
//! - **Range:** that of the reciprocal; below 1 the result is 0.
//! - **Error:** with cells of width `w <= 1`, one result is off by less than `ln(1 + w)`; the mean over the dither by less than `w^2 / 8`, always down. Half a
//!   unit of the last place comes on top. Exact at multiples of `w`.
//! - **Cost:** that of a [mapping](crate::mapping).

use super::{Table, ln, tabulate};
use crate::mapping::Domain;

/// The table for values of `in_frac_bits` fraction bits and results of `out_frac_bits`.
pub fn table(domain: &Domain, in_frac_bits: u32, out_frac_bits: u32) -> Table {
    tabulate(domain, in_frac_bits, out_frac_bits, |x| if x > 1.0 { ln(x) } else { 0.0 })
}
