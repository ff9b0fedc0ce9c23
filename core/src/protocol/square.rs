//! A truncated value and its square, from one opened word.
//!
//! `y = C - [h] + Q [m]` with `C` and `Q` public, so `y^2` is linear in dealt `[h]`, `[m]`, `[h^2]`
//! and `[h m]`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte beyond the word's opening; for a word of `n = k - t` bits a word
//!   and `3 t + 2` bits dealt.
//! - **Result:** the square of the very value that the truncation gives.
//! - **Needs:** `1 <= t`, `2 t <= k - 2` (then `Q^2 = 0`); `|y| < 2^(k/2 - 1)`, or its square
//!   leaves its range: such values are offered to the range alarms.
//! - **Memory:** six words of scratch an element.

use super::{
    alarm,
    masked::{Masked, mask_and_open},
    product::multiply,
    truncate::{Opened, clear, take_parts, truncate},
};
use crate::{
    correlation::{Draw, request::Square},
    link::Error,
    party::Party,
    word::Word,
};

/// `y` becomes the truncated value of `word`, `squared` the square of that.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or the word has all its bits, or less than half of them and one.
pub fn square<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    y: &mut [W],
    squared: &mut [W],
) -> Result<(), Error> {
    let (n, bits) = (word.c.len(), word.cut.bits());
    assert!(y.len() == n && squared.len() == n, "square: lengths differ");
    assert!((W::BITS / 2 + 1..W::BITS).contains(&bits), "square: a word of k/2 + 1 to k - 1 bits is needed");
    if party.is_clear() {
        clear(party, word, y);
        squared.copy_from_slice(y);
        party.kernels.multiply(squared, y);
        return alarm::squared(party, y);
    }
    let ([h, m, hh, hm], mut party) = party.scratch([n; 4])?;
    take_parts(&mut party, draw, word, W::BITS, h, m)?;
    party.take(draw, Square { mask: word.mask, bits }, &mut [&mut *hh, &mut *hm])?;
    let (o, first) = (word.opening(), party.role.first_mask());
    party.kernels.truncated(y, o, h, m, first);
    party.kernels.squared(squared, o, h, m, hh, hm, first);
    alarm::squared(&mut party, y)
}

/// Shares of all `e² / 2^shift`, from the error `e`: opens it masked, one product, one truncation.
/// Two rounds; needs `|e| < 2^(k/2 - 1)` units.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or `shift > k - 2`.
pub fn squares<W: Word>(party: &mut Party<'_, W>, e: &[W], shift: u32, squares: &mut [W]) -> Result<(), Error> {
    alarm::squared(party, e)?;
    let ([open], mut party) = party.scratch([e.len()])?;
    open.copy_from_slice(e);
    let mask = party.draw()?.mask(e.len());
    let mask = mask_and_open(&mut party, open, mask)?;
    let e = Masked { words: open, mask };
    multiply(&mut party, e, e, squares)?;
    truncate(&mut party, squares, shift)
}
