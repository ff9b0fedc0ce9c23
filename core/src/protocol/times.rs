//! Product of a truncated value with a masked one, from the truncation's opened word.
//!
//! With `y = C - [h] + Q [m]` and `P` open as `P̂ = P - p`: `y P = y P̂ + C [p] - [h p] + Q [m p]`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte; one word and `k - n + 1` bits dealt for a word of `n` bits.
//! - **Result:** exact in the ring.
//! - **Memory:** three words of scratch an element, four with a factor a row, and one for the
//!   dealer's correction.

use super::{masked::Masked, truncate::Opened};
use crate::{
    correlation::{
        Draw,
        request::{TruncatedProduct, TruncatedRowProduct},
    },
    link::Error,
    party::Party,
    word::Word,
};

/// `y = y factor`, where `y` is the truncated value of `word`.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn times_masked<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    factor: Masked<'_, W>,
    y: &mut [W],
) -> Result<(), Error> {
    let n = word.c.len();
    assert!(y.len() == n && factor.words.len() == n && factor.mask.len() == n, "times_masked: lengths differ");
    if party.is_clear() {
        party.kernels.multiply(y, factor.words);
        return Ok(());
    }
    let ([p, hp, mp], mut party) = party.scratch([n; 3])?;
    let request = TruncatedProduct { mask: word.mask, bits: word.cut.bits(), factor: factor.mask };
    party.take(draw, request, &mut [&mut *hp, &mut *mp])?;
    party.expand(factor.mask, p);
    party.kernels.times_masked(y, word.opening(), factor.words, p, hp, mp);
    Ok(())
}

/// `y_ij = y_ij s_i`, where `y` is the truncated value of `word`, row after row with as many rows
/// as `s` has words.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn times_rows<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    s: Masked<'_, W>,
    y: &mut [W],
) -> Result<(), Error> {
    let (n, rows) = (word.c.len(), s.words.len());
    let cols = n.checked_div(rows).unwrap_or(0);
    assert!(y.len() == n && rows * cols == n && s.mask.len() == rows, "times_rows: not a word a row");
    let ([repeated], mut party) = party.scratch([n])?;
    repeat(s.words, cols, repeated);
    if party.is_clear() {
        party.kernels.multiply(y, repeated);
        return Ok(());
    }
    let ([own, p, hp, mp], mut party) = party.scratch([rows, n, n, n])?;
    let request = TruncatedRowProduct { mask: word.mask, bits: word.cut.bits(), factor: s.mask };
    party.take(draw, request, &mut [&mut *hp, &mut *mp])?;
    party.expand(s.mask, own);
    repeat(own, cols, p);
    party.kernels.times_masked(y, word.opening(), repeated, p, hp, mp);
    Ok(())
}

/// Writes each of `words` to `cols` words of `out`.
fn repeat<W: Word>(words: &[W], cols: usize, out: &mut [W]) {
    for (out, word) in out.chunks_exact_mut(cols.max(1)).zip(words) {
        out.fill(*word);
    }
}
