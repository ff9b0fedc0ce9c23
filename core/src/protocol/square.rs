//! A truncated value and its square, from one opened word.
//!
//! `y = C - [h] + Q [m]` with `C` and `Q` public, so `y^2` is linear in dealt `[h]`, `[m]`, `[h^2]` and `[h m]` (DESIGN.md, section 5).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte beyond the word's opening; two words and `2 f + 1` bits dealt.
//! - **Result:** the square of the very value that the truncation gives.
//! - **Needs:** `1 <= f`, `2 f <= k - 2` (then `Q^2 = 0`); `|y| < 2^(k/2 - 1)`, or its square leaves
//!   its range: such values are offered to the range alarms.
//! - **Memory:** five words of scratch an element.

use super::{
    alarm,
    scaled::truncated_in_place,
    truncate::{Opened, take_parts},
};
use crate::{
    correlation::{Draw, Request},
    link::Error,
    party::Party,
    word::Word,
};

/// `y` becomes its value divided by `2^frac_bits`, `squared` the square of that. `y` comes as it was opened in `word`.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or `frac_bits` is 0 or above `k / 2 - 1`.
pub fn square<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    frac_bits: u32,
    y: &mut [W],
    squared: &mut [W],
) -> Result<(), Error> {
    let n = word.c.len();
    assert!(y.len() == n && squared.len() == n, "square: lengths differ");
    assert!((1..W::BITS / 2).contains(&frac_bits), "square: not so many bits to truncate");
    if party.is_clear() {
        truncated_in_place(party, draw, word, frac_bits, y)?;
        squared.copy_from_slice(y);
        party.kernels.multiply(squared, y);
        return alarm::squared(party, y);
    }
    let ([h, m, hh, hm], mut party) = party.scratch([n; 4])?;
    take_parts(&mut party, draw, word, frac_bits, h, m)?;
    party.take(draw, &Request::Square { mask: word.mask, frac_bits }, &mut [&mut *hh, &mut *hm])?;
    let (by, first) = (word.by(frac_bits), party.role.first_mask());
    party.kernels.truncated(y, by, h, m, first);
    party.kernels.squared(squared, by, h, m, hh, hm, first);
    alarm::squared(&mut party, y)
}
