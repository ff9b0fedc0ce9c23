//! ReLU, fused with the truncation before it, and its gradient.
//!
//! One opened word gives the truncated value and its sign; the sign is opened under a bit mask, and the value is kept where it is set
//! ([`super::select`]). The gradient goes through the same bit, which needs no further opening (DESIGN.md, section 5).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** forward 4 rounds, one word and 34 (`k = 64`) or 16 (`k = 32`) bits each way; dealt 3 words, 2 (f + 1) bits and those of
//!   [`super::sign`]. Backward 1 round, one word each way; 2 words and 2 (f + 1) bits dealt.
//! - **Result:** `s y`, with `s = [z >= 0]` exact and `y` the value of [`super::truncate`]; unbiased, within one unit.
//! - **Needs:** `-2^(k-2) <= z < 2^(k-2)`.
//! - **Alarms:** forward, of each word, for 2 bits dealt ([`super::alarm`]).
//! - **Memory:** beside the scratch, a bit and a word an element live on between forward and backward.

use super::{
    alarm::compared,
    select::{Selector, open_selector, select},
    sign::sign,
    truncate::{Opened, blind, blind_compared, half, truncated},
};
use crate::{
    correlation::{View, Words},
    link::Error,
    party::Party,
    word::Word,
};

/// `z = max(0, z / 2^frac_bits)` in place. The bit goes to `bit` (a plane) and `rho` (a word an element): with the name returned they make the
/// [`Selector`] of [`relu_backward`]. Four rounds.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, or `frac_bits >= k - 1`.
pub fn relu<W: Word>(
    party: &mut Party<'_, W>,
    z: &mut [W],
    frac_bits: u32,
    bit: &mut [W],
    rho: &mut [W],
) -> Result<View<'static>, Error> {
    assert!(rho.len() == z.len(), "relu: lengths differ");
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let mask = blind_compared(&mut party, &mut draw, z, half::<W>(), c);
    party.open(c)?; // round 1
    let word = Opened { c, mask, offset: half::<W>() };
    sign(&mut party, &mut draw, &word, bit)?; // rounds 2 and 3
    let mask = open_selector(&mut party, &mut draw, bit, rho)?; // round 4
    compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), word.c.len()), (bit, mask))?;
    truncated(&mut party, &mut draw, &word, frac_bits, z)?;
    select(&mut party, &mut draw, &word, frac_bits, Selector { open: bit, mask, rho }, z)?;
    Ok(mask)
}

/// The gradient `d` behind the ReLU whose bit is given: `d / 2^frac_bits` where that let its value through, else 0; in place. One round.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, or `frac_bits >= k - 1`.
pub fn relu_backward<W: Word>(
    party: &mut Party<'_, W>,
    d: &mut [W],
    frac_bits: u32,
    bit: Selector<'_, W>,
) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([d.len()])?;
    let mut draw = party.draw()?;
    let mask = blind(&mut party, &mut draw, d, half::<W>(), c);
    party.open(c)?; // the one round
    let word = Opened { c, mask, offset: half::<W>() };
    truncated(&mut party, &mut draw, &word, frac_bits, d)?;
    select(&mut party, &mut draw, &word, frac_bits, bit, d)
}
