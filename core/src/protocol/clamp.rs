//! Holds shared values within public limits.
//!
//! The word is opened once; `z - low` and `z - high` are under the same mask, so one comparison each, side by side, says whether to keep them:
//! `low + max(0, z - low) - max(0, z - high)`. What goes before a [mapping](crate::mapping) whose domain does not cover the audited range.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 4 rounds, one word and two signs ([`super::sign`]) and bits each way; two words and
//!   a bit each, and what the signs need, dealt.
//! - **Result:** exactly `min(max(z, low), high)`.
//! - **Needs:** `low <= high`; `z`, `z - low` and `z - high` in `[-2^(k-2), 2^(k-2))`.
//! - **Alarms:** of `z - low` and `z - high`, for 2 bits dealt each ([`super::alarm`]).
//! - **Memory:** eleven words of scratch an element beside the sign's; no heap.

use super::{
    alarm::compared,
    narrow::open_narrow,
    select::{Selector, open_selector, select},
    sign::sign,
    truncate::{Cut, Opened, blind_compared, truncated},
};
use crate::{
    correlation::{Rows, View, Words},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// `z = min(max(z, low), high)` in place: four rounds.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
pub fn clamp<W: Word>(party: &mut Party<'_, W>, z: &mut [W], low: W, high: W) -> Result<(), Error> {
    let ([y], mut party) = party.scratch([z.len()])?;
    clamped(&mut party, z, 0, [low, high], y)?;
    z.copy_from_slice(y);
    Ok(())
}

/// Truncates `z` by `frac_bits` and clamps the truncated value, from one opening: `z` becomes the
/// truncated value, `y` is `min(max(z, low), high)`. Three rounds, four where more than 22 bits are
/// opened. For `frac_bits = 0`, `z` stays.
///
/// Cost beside the signs: `k - frac_bits` bits each way; `2 (frac_bits + 1)` bits dealt for the
/// truncation and, for each limit, a word and `frac_bits + 1` bits. The truncated value has to be
/// within a quarter of the range of its words, as the differences to both limits.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or `frac_bits > k - 2`.
pub fn clamped<W: Word>(
    party: &mut Party<'_, W>,
    z: &mut [W],
    frac_bits: u32,
    limits: [W; 2],
    y: &mut [W],
) -> Result<(), Error> {
    let n = z.len();
    let ([c, above, rho, bit], mut party) = party.scratch([2 * n, 2 * n, 2 * n, plane_words::<W>(2 * n)])?;
    let mut draw = party.draw()?;
    let cut = Cut::signed(frac_bits);
    let mask = blind_compared(&mut party, &mut draw, z, cut, &mut c[..n]);
    open_narrow(&mut party, &mut c[..n], cut.bits())?; // round 1
    if frac_bits > 0 {
        truncated(&mut party, &mut draw, &Opened { c: &c[..n], mask, cut }, z)?;
    }
    let (at_low, at_high) = c.split_at_mut(n);
    at_high.copy_from_slice(at_low);
    let (over_low, over_high) = above.split_at_mut(n);
    for (c, over, limit) in [(at_low, over_low, limits[0]), (at_high, over_high, limits[1])] {
        let minus = W::default().sub(limit);
        party.kernels.add_constant(c, minus);
        party.kernels.keep_low(c, cut.bits());
        over.copy_from_slice(z);
        party.kernels.add_constant(over, party.role.first(minus));
    }
    let word = Opened { c, mask: View { rows: Rows::Which(&[0, 0]), ..mask }, cut };
    sign(&mut party, &mut draw, &word, bit)?; // round 2, or 2 and 3
    let mask = open_selector(&mut party, &mut draw, bit, rho)?; // the last round
    compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), word.c.len(), cut.bits()), (bit, mask))?;
    select(&mut party, &mut draw, &word, Selector { open: bit, mask, rho }, above)?;
    y.copy_from_slice(&above[..n]);
    party.kernels.sub(y, &above[n..]);
    party.kernels.add_constant(y, party.role.first(limits[0]));
    Ok(())
}
