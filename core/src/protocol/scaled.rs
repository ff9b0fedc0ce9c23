//! Multiplies shared words by a public constant `factor / 2^shift`.
//!
//! The truncation's opening, of no more bits than the constant's precision needs: `t` low bits are
//! dropped, as many as are worth, `factor 2^t / 2^shift`, at most [`MAX_DROP_ERROR`] of a unit.
//! From the opened word of `n = k - t` bits the dealer gives `h = floor(factor (r mod 2^(n-1)) /
//! 2^f)`, `f = shift - t`, and the public part is scaled alike ([`crate::kernel::portable::scaled`]
//! has the formula). So the product never exists as a word, and a learning rate costs no headroom.
//! For a constant `2^-shift`, `f = 0`, and this is a truncation.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, `n` bits each way; one word and `t + f + 1` bits dealt, for `2^-shift`
//!   `2 (t + 1)` bits. Nothing but the dealing for a word that is open already.
//! - **Result:** for `2^-shift` that of [`super::truncate`]. Else, of the truncated value `y`,
//!   `floor((factor y + 2^f - 1 - u) / 2^f)`, `u = factor c mod 2^f` public: within `1 +
//!   MAX_DROP_ERROR` units, never a wrap. Unbiased where the truncation is: over all `c` the errors
//!   sum to zero.
//! - **Needs:** `-2^(k-2) <= z < 2^(k-2)`, `factor < 2^16`, `shift <= k - 2`.
//! - **Memory:** three words of scratch an element.

use super::truncate::{Cut, Opened, open, truncated};
use crate::{
    correlation::{Draw, request},
    link::Error,
    party::Party,
    word::Word,
};

/// Upper bound of the error that dropped bits make, in units of the result.
pub const MAX_DROP_ERROR: f64 = 1.0 / (1 << DROP_ERROR_BITS) as f64;
const DROP_ERROR_BITS: u32 = 2;

pub use crate::dyadic::Dyadic;

impl Dyadic {
    /// Which bits of a signed word its product with this constant needs.
    ///
    /// # Panics
    ///
    /// If the constant is out of range; [`Dyadic::over`] brings it there.
    pub fn cut<W: Word>(self) -> Cut<W> {
        let Self { factor, shift } = self.reduced(0);
        assert!(factor >> Self::FACTOR_BITS == 0 && shift <= W::BITS - 2, "scaled: the constant is out of range");
        let kept = if factor <= 1 { 0 } else { u32::BITS - factor.leading_zeros() + DROP_ERROR_BITS };
        Cut::signed(shift.saturating_sub(kept))
    }

    /// This constant divided by `2^bits`, as far as words of the ring have the bits.
    pub fn over<W: Word>(self, bits: u32) -> Self {
        self.divided(bits, W::BITS - 2)
    }
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
    let word = open(&mut party, &mut draw, z, constant.cut(), c)?; // the one round
    scaled(&mut party, &mut draw, &word, constant, z)
}

/// [`scale`] of a word that is open: no round. Bits that its opening dropped count for the
/// constant's shift.
///
/// # Errors
///
/// As [`scale`].
///
/// # Panics
///
/// If the constant is out of range, its shift is less than the bits that were dropped, or lengths
/// differ.
pub fn scaled<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    constant: Dyadic,
    z: &mut [W],
) -> Result<(), Error> {
    let (dropped, bits) = (word.cut.dropped(), word.cut.bits());
    assert!(constant.shift >= dropped, "scaled: the word has fewer bits than the constant needs");
    let Dyadic { factor, shift } = constant.reduced(dropped);
    let frac_bits = shift - dropped;
    assert!(factor >> Dyadic::FACTOR_BITS == 0 && frac_bits + 2 <= bits, "scaled: the constant is out of range");
    assert!(z.len() == word.c.len(), "scaled: lengths differ");
    if (factor, frac_bits) == (1, 0) {
        return truncated(party, draw, word, z);
    }
    if party.is_clear() {
        party.expand(word.mask, z);
        party.kernels.keep_low(z, bits);
        party.kernels.scaled_clear(z, word.opening(), factor, frac_bits);
        return Ok(());
    }
    let ([h, m], mut party) = party.scratch([z.len(); 2])?;
    let request = request::Scaled { mask: word.mask, bits, factor, frac_bits };
    party.take(draw, request, &mut [&mut *h, &mut *m])?;
    party.kernels.scaled(z, word.opening(), factor, frac_bits, h, m, party.role.first_mask());
    Ok(())
}
