//! ReLU, fused with the truncation before it, and its gradient.
//!
//! One opened word gives the truncated value and its sign; the sign is opened under a bit mask, and the value is kept where it is set
//! ([`super::select`]). The gradient goes through the same bit, which needs no further opening.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** forward 3 rounds, 4 where more than 22 bits are opened: `k - f` bits, those of the
//!   comparison ([`super::compare`]) and one each way; dealt 2 words, `3 (f + 1) + 1` bits and
//!   those of the comparison. Backward 1 round, `k - f` bits each way; one word and `3 (f + 1)`
//!   bits dealt. For `k = 32`, `f = 11`, forward: 3.75 bytes each way, 25.6 dealt.
//! - **Result:** `s y`, with `y` the value of [`super::truncate`] and `s = [y >= 0]`; unbiased,
//!   within one unit.
//! - **Needs:** `-2^(k-2) <= z <= 2^(k-2) - 2^f`.
//! - **Alarms:** forward, of each word, for 2 bits dealt ([`super::alarm`]).
//! - **Memory:** beside the scratch, a bit and a word an element live on between forward and backward.

use super::{
    alarm::compared,
    select::{Selector, open_selector, select},
    sign::sign,
    truncate::{Cut, open, open_compared, truncated},
};
use crate::{
    correlation::{View, Words},
    link::Error,
    party::Party,
    word::Word,
};

/// `z = max(0, z / 2^frac_bits)` in place. The bit goes to `bit` (a plane) and `rho` (a word an element): with the name returned they make the
/// [`Selector`] of [`relu_backward`].
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, or `frac_bits > k - 2`.
pub fn relu<W: Word>(
    party: &mut Party<'_, W>,
    z: &mut [W],
    frac_bits: u32,
    bit: &mut [W],
    rho: &mut [W],
) -> Result<View<'static>, Error> {
    relu_into(party, (z, None), frac_bits, bit, rho)
}

/// [`relu`] that keeps both: `z` becomes the truncated value, `kept` what a ReLU lets through.
///
/// # Errors
///
/// As [`relu`].
///
/// # Panics
///
/// As [`relu`].
pub fn relu_apart<W: Word>(
    party: &mut Party<'_, W>,
    (z, kept): (&mut [W], &mut [W]),
    frac_bits: u32,
    bit: &mut [W],
    rho: &mut [W],
) -> Result<View<'static>, Error> {
    relu_into(party, (z, Some(kept)), frac_bits, bit, rho)
}

fn relu_into<W: Word>(
    party: &mut Party<'_, W>,
    (z, kept): (&mut [W], Option<&mut [W]>),
    frac_bits: u32,
    bit: &mut [W],
    rho: &mut [W],
) -> Result<View<'static>, Error> {
    assert!(rho.len() == z.len(), "relu: lengths differ");
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let word = open_compared(&mut party, &mut draw, z, Cut::signed(frac_bits), c)?; // round 1
    sign(&mut party, &mut draw, &word, bit)?; // round 2, or 2 and 3
    let mask = open_selector(&mut party, &mut draw, bit, rho)?; // the last round
    compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), word.c.len(), word.cut.bits()), (bit, mask))?;
    truncated(&mut party, &mut draw, &word, z)?;
    let kept = copied(z, kept);
    select(&mut party, &mut draw, &word, Selector { open: bit, mask, rho }, kept)?;
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
/// If lengths do not fit, or `frac_bits > k - 2`.
pub fn relu_backward<W: Word>(
    party: &mut Party<'_, W>,
    d: &mut [W],
    frac_bits: u32,
    bit: Selector<'_, W>,
) -> Result<(), Error> {
    backward_into(party, (d, None), frac_bits, bit)
}

/// [`relu_backward`] that keeps both: `d` becomes the truncated gradient, `kept` the part of it
/// that the ReLU let through.
///
/// # Errors
///
/// As [`relu_backward`].
///
/// # Panics
///
/// As [`relu_backward`].
pub fn relu_backward_apart<W: Word>(
    party: &mut Party<'_, W>,
    (d, kept): (&mut [W], &mut [W]),
    frac_bits: u32,
    bit: Selector<'_, W>,
) -> Result<(), Error> {
    backward_into(party, (d, Some(kept)), frac_bits, bit)
}

fn backward_into<W: Word>(
    party: &mut Party<'_, W>,
    (d, kept): (&mut [W], Option<&mut [W]>),
    frac_bits: u32,
    bit: Selector<'_, W>,
) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([d.len()])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, d, Cut::signed(frac_bits), c)?; // the one round
    truncated(&mut party, &mut draw, &word, d)?;
    select(&mut party, &mut draw, &word, bit, copied(d, kept))
}

/// The words to select from: `z` itself, or its copy in `kept`.
fn copied<'a, W: Word>(z: &'a mut [W], kept: Option<&'a mut [W]>) -> &'a mut [W] {
    match kept {
        None => z,
        Some(kept) => {
            kept.copy_from_slice(z);
            kept
        }
    }
}
