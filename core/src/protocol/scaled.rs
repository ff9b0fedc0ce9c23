//! Multiplies shared words by a public constant `factor / 2^shift`.
//!
//! The truncation's opening `c = z + r + offset`, but the dealer gives `h = floor(factor (r mod 2^(k-1)) / 2^f)`, and the public part is scaled
//! alike ([`crate::kernel::portable::scaled`] has the formula). So the product never exists as a word, and a learning rate costs no headroom.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, one word each way; one word and `f + 1` bits dealt. Nothing but the dealing for a word that is open already.
//! - **Result:** `floor((factor z + 2^f - 1 - u) / 2^f)`, `u = factor c mod 2^f` public: within one unit, never a wrap. Unbiased: over all `c` the
//!   errors sum to zero.
//! - **Needs:** `-offset <= z < 2^(k-1) - offset`, `factor < 2^16`, `f <= k - 2`.
//! - **Memory:** three words of scratch an element.

use super::truncate::{Opened, blind, half, truncated};
use crate::{
    correlation::{Draw, Request},
    link::Error,
    party::Party,
    word::Word,
};

/// A public constant `factor / 2^shift`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dyadic {
    /// Below 2^16.
    pub factor: u32,
    /// Bits to divide by.
    pub shift: u32,
}

impl Dyadic {
    /// 1.
    pub const ONE: Self = Self { factor: 1, shift: 0 };
    /// Factors are below `2^FACTOR_BITS`.
    pub const FACTOR_BITS: u32 = 16;

    /// The product, its factor rounded to [`Self::FACTOR_BITS`] bits (and no more than they hold).
    ///
    /// # Panics
    ///
    /// If a factor has more bits.
    pub fn times(self, other: Self) -> Self {
        assert!((self.factor | other.factor) >> Self::FACTOR_BITS == 0, "a factor has at most 16 bits");
        let (factor, shift) = (u64::from(self.factor) * u64::from(other.factor), self.shift + other.shift);
        let bits = u64::BITS - factor.leading_zeros();
        let drop = bits.saturating_sub(Self::FACTOR_BITS).min(shift);
        Self { factor: rounded(factor, drop), shift: shift - drop }
    }

    /// This constant divided by `2^bits`, as far as words of the ring have the bits: where more than `k - 2` are to be truncated, the factor is
    /// rounded to fewer, and is 0 where none are left.
    pub fn over<W: Word>(self, bits: u32) -> Self {
        let shift = self.shift + bits;
        let drop = shift.saturating_sub(W::BITS - 2);
        Self { factor: rounded(u64::from(self.factor), drop), shift: shift - drop }
    }
}

/// `x / 2^drop`, to the nearest that a factor holds.
fn rounded(x: u64, drop: u32) -> u32 {
    let nearest = ((x << 1).checked_shr(drop).unwrap_or(0) + 1) >> 1;
    u32::try_from(nearest.min(u64::from(u16::MAX))).unwrap_or(0)
}

/// Multiplies `z` by `constant`, in place: one round.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If the constant is out of range; [`Dyadic::over`] brings it there.
pub fn scale<W: Word>(party: &mut Party<'_, W>, z: &mut [W], constant: Dyadic) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let mask = blind(&mut party, &mut draw, z, half::<W>(), c);
    party.open(c)?; // the one round
    scaled(&mut party, &mut draw, &Opened { c, mask, offset: half::<W>() }, constant, z)
}

/// [`scale`] of a word that is open: no round. `z` comes as it was opened in `word`.
///
/// # Errors
///
/// As [`scale`].
///
/// # Panics
///
/// If the constant is out of range or lengths differ.
pub fn scaled<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    constant: Dyadic,
    z: &mut [W],
) -> Result<(), Error> {
    let Dyadic { factor, shift: frac_bits } = constant;
    assert!(factor >> Dyadic::FACTOR_BITS == 0 && frac_bits <= W::BITS - 2, "scaled: the constant is out of range");
    assert!(z.len() == word.c.len(), "scaled: lengths differ");
    if party.is_clear() {
        party.kernels.scaled_clear(z, word.by(frac_bits), factor);
        return Ok(());
    }
    let ([h, m], mut party) = party.scratch([z.len(); 2])?;
    party.take(draw, &Request::Scaled { mask: word.mask, factor, frac_bits }, &mut [&mut *h, &mut *m])?;
    party.kernels.scaled(z, word.by(frac_bits), factor, h, m, party.role.first_mask());
    Ok(())
}

/// [`truncated`] of a value that comes as it was opened: the clear engine need not expand the mask again.
pub(crate) fn truncated_in_place<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    frac_bits: u32,
    z: &mut [W],
) -> Result<(), Error> {
    if party.is_clear() {
        party.kernels.truncated_whole(z, word.by(frac_bits));
        return Ok(());
    }
    truncated(party, draw, word, frac_bits, z)
}
