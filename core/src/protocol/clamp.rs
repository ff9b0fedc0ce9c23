//! Holds shared values within public limits.
//!
//! `low + max(0, z - low) - max(0, z - high)`, by two [knots](super::knots). What goes before a
//! [mapping](crate::mapping) whose domain does not cover the audited range.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 4 rounds, one word and two signs ([`super::sign`]) and bits each way; two words and
//!   a bit each, and what the signs need, dealt.
//! - **Result:** exactly `min(max(z, low), high)`.
//! - **Needs:** `low <= high`; `z`, `z - low` and `z - high` in `[-2^(k-2), 2^(k-2))`.
//! - **Alarms:** of `z - low` and `z - high`, for 2 bits dealt each ([`super::alarm`]).
//! - **Memory:** eleven words of scratch an element beside the sign's; no heap.

use super::knots::above;
use crate::{link::Error, party::Party, word::Word};

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
    let ([over], mut party) = party.scratch([2 * n])?;
    above(&mut party, (z, frac_bits), &limits, over, &mut [])?;
    y.copy_from_slice(&over[..n]);
    party.kernels.sub(y, &over[n..]);
    party.kernels.add_constant(y, party.role.first(limits[0]));
    Ok(())
}
