//! Convolutions of masked values, and their adjoints.
//!
//! A convolution is bilinear, and so are the functions that take gradients back to its input and to
//! its weights. With `X = x - a` and `Y = y - b` open and `c = f(a, b)` dealt, server 0 computes
//! `f(X, Y + [b]) + f([a], Y) + [c]` and server 1 `f(X, [b]) + f([a], Y) + [c]`
//! ([`super::product`]). The image is opened once, never its windows: they are unfolded from the
//! open image and from the mask alike, one image at a time.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte; one word dealt an output.
//! - **Result:** exact in the ring; it has the sum of the factors' fraction bits.
//! - **Memory:** scratch for `[a]`, `[b]` and the windows of one image.
//! - **Source:** Beaver, CRYPTO '91, for any bilinear function.

use super::masked::Masked;
use crate::{
    correlation::request::Convolution,
    kernel::{Convolved, Filters},
    link::Error,
    party::Party,
    word::Word,
};

/// `c = f(a, b)`, the result that `of` names; `a` is a matrix of the rows.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn convolve<W: Word>(
    party: &mut Party<'_, W>,
    (filters, of): (Filters, Convolved),
    a: Masked<'_, W>,
    b: Masked<'_, W>,
    c: &mut [W],
) -> Result<(), Error> {
    assert!(c.len() == filters.result_words(of, a.mask.rows.len()), "convolve: the output has another shape");
    assert!(a.words.len() == a.mask.len() && b.words.len() == b.mask.len(), "convolve: words and mask differ");
    let lens = [a.words.len(), b.words.len(), filters.matrix_words()];
    let ([a_share, b_share, matrix], mut party) = party.scratch(lens)?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        c.fill(W::default());
        filters.add(party.kernels, of, (a.words, b.words), c, matrix);
        return Ok(());
    }
    party.take(&mut draw, Convolution { a: a.mask, b: b.mask, filters, of }, &mut [&mut *c])?;
    party.expand(a.mask, a_share);
    b.share(&party, b_share);
    filters.add(party.kernels, of, (a.words, b_share), c, matrix);
    filters.add(party.kernels, of, (a_share, b.words), c, matrix);
    Ok(())
}
