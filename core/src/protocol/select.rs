//! Keeps truncated values where a shared bit is set.
//!
//! The bit `s` is opened once as `β = s ^ ρ` under a free bit mask `ρ`, which is dealt as a word too. For a word opened as `c`, with dealt `[ρ h]`
//! and `[ρ m]`, `s y = β y + (1 - 2 β) (C [ρ] - [ρ h] + Q [ρ m])` ([`crate::kernel::portable::selected`]). The opened bit stays good for any
//! number of words, as for the backward pass of a ReLU.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** opening a bit: 1 round, one bit each way, one word dealt. Selecting: no round, no
//!   byte; one word and `k - n + 1` bits dealt for a word of `n` bits.
//! - **Result:** exactly `s y`.
//! - **Clear engine:** the open bit is the bit itself.

use super::{conjunction::hide_bits, truncate::Opened};
use crate::{
    correlation::{
        Draw, View,
        request::{BitToWord, Select},
    },
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// A shared bit an element, as a factor.
#[derive(Clone, Copy)]
pub struct Selector<'a, W> {
    /// `β = s ^ ρ`, a public plane.
    pub open: &'a [W],
    /// Names `ρ`.
    pub mask: View<'a>,
    /// This party's share of `ρ`, in words.
    pub rho: &'a [W],
}

impl<W: Word> Selector<'_, W> {
    /// Shares of the bits as words: free.
    pub fn words(&self, party: &Party<'_, W>, out: &mut [W]) {
        if party.is_clear() {
            party.kernels.spread(out, self.open);
            return;
        }
        out.fill(W::default());
        party.kernels.bit_to_word(out, self.open, self.rho, 0, party.role.first_mask());
    }
}

/// Opens the shared plane `bit` in place as `β = s ^ ρ`, writes the share of `ρ` to `rho` and names it: a [`Selector`] of what the
/// caller keeps. One round.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `bit` is not a plane of `rho.len()` elements.
pub fn open_selector<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    bit: &mut [W],
    rho: &mut [W],
) -> Result<View<'static>, Error> {
    assert!(bit.len() == plane_words::<W>(rho.len()), "a selector has one bit for each of its words");
    if party.is_clear() {
        rho.fill(W::default());
        return Ok(draw.mask(bit.len()).view());
    }
    let mask = hide_bits(party, draw, bit)?;
    party.open_bits(bit)?; // the one round
    let request = BitToWord { bits: mask, len: rho.len(), width: W::BITS };
    party.take(draw, request, &mut [rho])?;
    Ok(mask)
}

/// `y` becomes `s y`, where `y` are shares of the truncated value of `word`.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn select<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    bit: Selector<'_, W>,
    y: &mut [W],
) -> Result<(), Error> {
    assert!(y.len() == word.c.len() && bit.open.len() == plane_words::<W>(y.len()), "select: lengths differ");
    if party.is_clear() {
        party.kernels.keep_where(y, bit.open);
        return Ok(());
    }
    assert!(bit.rho.len() == y.len(), "select: lengths differ");
    let ([rho_h, rho_m], mut party) = party.scratch([y.len(); 2])?;
    let request = Select { mask: word.mask, bits: word.cut.bits(), bit: bit.mask };
    party.take(draw, request, &mut [&mut *rho_h, &mut *rho_m])?;
    party.kernels.selected(y, word.opening(), bit.open, bit.rho, rho_h, rho_m);
    Ok(())
}
