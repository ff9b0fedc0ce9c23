//! Divides shared words by `2^f` and rounds down: the deterministic truncation.
//!
//! The dithered truncation rounds up exactly where the low bits of `c - r` borrow, `[c mod 2^f < r mod 2^f]`, so that bit is taken off
//! again (DESIGN.md, section 4).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** what [`super::truncate`] costs; for `f > 0` one round more, one bit each way, one word dealt, and the comparison of `f` bits
//!   ([`super::compare`]: none to two rounds).
//! - **Result:** `floor(z / 2^f)`: at most one unit below `z / 2^f`, half a unit on average.
//! - **Needs:** `-offset <= z < 2^(k-1) - offset`, and an offset that `2^f` divides.

use super::{
    bit::opened_bits_to_words,
    compare::less,
    conjunction::hide_bits,
    truncate::{Opened, blind, half, truncated},
};
use crate::{
    correlation::{Draw, Words},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// `z = floor(z / 2^frac_bits)` in place, for `-2^(k-2) <= z < 2^(k-2)`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `frac_bits > k - 2`.
pub fn floor<W: Word>(party: &mut Party<'_, W>, z: &mut [W], frac_bits: u32) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let mask = blind(&mut party, &mut draw, z, half::<W>(), c);
    party.open(c)?; // the first round
    floored(&mut party, &mut draw, &Opened { c, mask, offset: half::<W>() }, frac_bits, z)
}

/// Shares of `floor(z / 2^frac_bits)` of a word that is open.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `frac_bits > k - 2`.
pub fn floored<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    frac_bits: u32,
    z: &mut [W],
) -> Result<(), Error> {
    if party.is_clear() {
        return clear(party, word, frac_bits, z);
    }
    truncated(party, draw, word, frac_bits, z)?;
    if frac_bits == 0 {
        return Ok(());
    }
    let ([excess, borrow], mut party) = party.scratch([z.len(), plane_words::<W>(z.len())])?;
    less(&mut party, draw, word.c, Words::Mask(word.mask), frac_bits, borrow)?;
    let mask = hide_bits(&mut party, draw, borrow)?;
    party.open_bits(borrow)?; // the last round
    excess.fill(W::default());
    opened_bits_to_words(&mut party, draw, (borrow, mask), &[0], excess)?;
    party.kernels.sub(z, excess);
    Ok(())
}

fn clear<W: Word>(party: &mut Party<'_, W>, word: &Opened<'_, W>, frac_bits: u32, z: &mut [W]) -> Result<(), Error> {
    let ([r], party) = party.scratch([z.len()])?;
    party.expand(word.mask, r);
    z.copy_from_slice(word.c);
    party.kernels.sub(z, r);
    party.kernels.add_constant(z, W::default().sub(word.offset));
    for z in z {
        *z = z.sar(frac_bits);
    }
    Ok(())
}
