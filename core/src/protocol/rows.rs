//! Products of a masked matrix with a masked word a row.
//!
//! As [`super::product`]: for `x` open as `X = x - a`, `s` as `S = s - b` and dealt `c_ij = a_ij b_i`, server 0 computes
//! `X_ij (S_i + [b_i]) + [a_ij] S_i + [c_ij]` and server 1 `X_ij [b_i] + [a_ij] S_i + [c_ij]`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte; one word dealt an output.
//! - **Result:** exact in the ring.
//! - **Memory:** scratch for `[a]`, `[b]`.

use super::masked::Masked;
use crate::{correlation::request::RowProduct, link::Error, party::Party, word::Word};

/// `z_ij = x_ij s_i`, `x` row after row with as many rows as `s` has words.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn multiply_rows<W: Word>(
    party: &mut Party<'_, W>,
    x: Masked<'_, W>,
    s: Masked<'_, W>,
    z: &mut [W],
) -> Result<(), Error> {
    let (n, rows) = (z.len(), s.words.len());
    let cols = n.checked_div(rows).unwrap_or(0);
    assert!(x.words.len() == n && x.mask.len() == n && s.mask.len() == rows, "multiply_rows: lengths differ");
    assert!(rows * cols == n, "multiply_rows: not a word a row");
    let ([a, b], mut party) = party.scratch([n, rows])?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        z.fill(W::default());
        party.kernels.mul_add_rows(z, x.words, s.words, cols);
        return Ok(());
    }
    party.take(&mut draw, RowProduct { a: x.mask, b: s.mask }, &mut [&mut *z])?;
    party.expand(x.mask, a);
    s.share(&party, b);
    party.kernels.mul_add_rows(z, x.words, b, cols);
    party.kernels.mul_add_rows(z, a, s.words, cols);
    Ok(())
}
