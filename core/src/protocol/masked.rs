//! Values hidden once, for any number of products.
//!
//! Opens `X = x - a` under a fresh mask `a`. `X` is public and `a` has a name, so whoever holds a
//! [`Masked`] holds the share too: `X` (at server 0 alone) plus `[a]` (Beaver, CRYPTO '91).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, one word each way; nothing dealt.
//! - **Clear engine:** `X` is the value itself.

use crate::{
    correlation::{Mask, View},
    link::{Error, Fold},
    party::{Party, Role},
    word::Word,
};

/// A masked matrix or vector as an argument: public words without gaps, and the view of the mask
/// that hides them.
#[derive(Clone, Copy, Debug)]
pub struct Masked<'a, W> {
    /// `x - a`, public.
    pub words: &'a [W],
    /// Names `a`.
    pub mask: View<'a>,
}

/// Opens the shared `share` as `x - a`, in place, and names `a`. The mask is consumed: it can hide
/// nothing else.
///
/// # Errors
///
/// The link's, and [`Error::Scratch`] for `share.len()` words.
///
/// # Panics
///
/// If mask and value differ in length.
pub fn mask_and_open<W: Word>(party: &mut Party<'_, W>, share: &mut [W], mask: Mask) -> Result<View<'static>, Error> {
    assert!(share.len() == mask.len(), "mask and value differ in length");
    let view = mask.view();
    if !party.is_clear() {
        hide(party, share, view)?;
        party.open(share)?;
    }
    Ok(view)
}

/// Opens several shared values at once, as [`mask_and_open`] does: one round.
///
/// # Errors
///
/// As [`mask_and_open`].
///
/// # Panics
///
/// If a mask and its value differ in length.
pub fn mask_and_open_all<W: Word, const N: usize>(
    party: &mut Party<'_, W>,
    shares: [&mut [W]; N],
    masks: [Mask; N],
) -> Result<(), Error> {
    if party.is_clear() {
        return Ok(());
    }
    let mut shares = shares;
    for (share, mask) in shares.iter_mut().zip(masks) {
        assert!(share.len() == mask.len(), "mask and value differ in length");
        hide(party, share, mask.view())?;
    }
    party.exchange(&mut shares.map(|share| (Fold::Add, share)))
}

/// `share -= [a]`: what is sent to open `x - a`, for protocols that open more in the same round.
pub(crate) fn hide<W: Word>(party: &mut Party<'_, W>, share: &mut [W], mask: View<'_>) -> Result<(), Error> {
    let ([a], party) = party.scratch([share.len()])?;
    party.expand(mask, a);
    party.kernels.sub(share, a);
    Ok(())
}

impl<W: Word> Masked<'_, W> {
    /// This party's share of the value, again: free.
    pub fn share(&self, party: &Party<'_, W>, out: &mut [W]) {
        if party.is_clear() {
            out.copy_from_slice(self.words);
            return;
        }
        party.expand(self.mask, out);
        if party.role != Role::Server1 {
            party.kernels.add(out, self.words);
        }
    }
}
