//! Divides shared words by `2^f`.
//!
//! Opens `c = z + r + offset` under a fresh mask `r`; with dealt `h = (r mod 2^(k-1)) >> f` and `m = msb(r)`,
//! `[z >> f] = C - [h] + Q [m]` with public `C` and `Q` (DESIGN.md, section 4; [`crate::kernel::portable::truncated`] has them).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, one word each way; one word and `f + 1` bits dealt.
//! - **Result:** `floor((z + 2^f - 1 - u) / 2^f)`, `u = c mod 2^f` public and uniform: unbiased, within one unit, never a wrap.
//! - **Needs:** `-offset <= z < 2^(k-1) - offset`; the usual offset is `2^(k-2)`, words that are never negative take 0.
//! - **Memory:** see [`truncate`]; no heap.

use crate::{
    correlation::{Draw, Request, View},
    kernel::Opening,
    link::Error,
    party::Party,
    word::Word,
};

/// The usual offset `2^(k-2)`.
pub fn half<W: Word>() -> W {
    W::from_u64(1 << (W::BITS - 2))
}

/// A word opened as `c = z + r + offset`: everything that can be had from that one opening.
///
/// What is public stays valid: protocols that reuse the word ([`super::sign`], [`super::square`], …) take it by reference and open no
/// word again.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a, W> {
    /// `c`, public.
    pub c: &'a [W],
    /// Names `r`.
    pub mask: View<'a>,
    /// `offset`.
    pub offset: W,
}

impl<'a, W: Word> Opened<'a, W> {
    /// As an argument of the kernels.
    pub fn by(&self, frac_bits: u32) -> Opening<'a, W> {
        Opening { c: self.c, offset: self.offset, frac_bits }
    }
}

/// Prepares the opening of `z`: writes this party's share of `c = z + r + offset` and names `r`. The caller opens it, together with
/// what else goes in that round. Offers `z` to the party's [`Alarms`](crate::party::Alarms).
pub fn blind<W: Word>(party: &mut Party<'_, W>, draw: &mut Draw, z: &[W], offset: W, c: &mut [W]) -> View<'static> {
    super::alarm::offer(party, z, offset);
    blind_compared(party, draw, z, offset, c)
}

/// [`blind`] for a caller that raises the word's alarm itself, by
/// [`compared`](super::alarm::compared).
pub fn blind_compared<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    z: &[W],
    offset: W,
    c: &mut [W],
) -> View<'static> {
    if party.is_clear() {
        party.trace.opened(z, offset);
    }
    let mask = draw.mask(z.len()).view();
    party.expand(mask, c);
    party.kernels.blind(c, z, party.role.first(offset));
    mask
}

/// Divides `z` by `2^frac_bits` in place: one round.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `frac_bits >= k - 1`.
pub fn truncate<W: Word>(party: &mut Party<'_, W>, z: &mut [W], frac_bits: u32) -> Result<(), Error> {
    truncate_offset(party, z, half::<W>(), frac_bits)
}

/// [`truncate`] for words that are never negative, which gain a bit: `0 <= z < 2^(k-1)`.
///
/// # Errors
///
/// As [`truncate`].
pub fn truncate_unsigned<W: Word>(party: &mut Party<'_, W>, z: &mut [W], frac_bits: u32) -> Result<(), Error> {
    truncate_offset(party, z, W::default(), frac_bits)
}

fn truncate_offset<W: Word>(party: &mut Party<'_, W>, z: &mut [W], offset: W, frac_bits: u32) -> Result<(), Error> {
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let mask = blind(&mut party, &mut draw, z, offset, c);
    party.open(c)?; // the one round
    truncated(&mut party, &mut draw, &Opened { c, mask, offset }, frac_bits, z)
}

/// Shares of the truncated value of a word that is open: no round. `h` and `m` are dealt here.
///
/// # Errors
///
/// As [`truncate`].
pub fn truncated<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    frac_bits: u32,
    z: &mut [W],
) -> Result<(), Error> {
    if party.is_clear() {
        return clear(party, word, frac_bits, z);
    }
    let ([h, m], mut party) = party.scratch([z.len(); 2])?;
    take_parts(&mut party, draw, word, frac_bits, h, m)?;
    party.kernels.truncated(z, word.by(frac_bits), h, m, party.role.first_mask());
    Ok(())
}

/// What [`truncated`] ideally does.
pub(crate) fn clear<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    frac_bits: u32,
    z: &mut [W],
) -> Result<(), Error> {
    let ([r], party) = party.scratch([z.len()])?;
    party.expand(word.mask, r);
    party.kernels.truncated_clear(z, word.by(frac_bits), r);
    Ok(())
}

/// Shares of `h` and `m`, for protocols that need them for more than the truncated value.
pub(crate) fn take_parts<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    frac_bits: u32,
    h: &mut [W],
    m: &mut [W],
) -> Result<(), Error> {
    assert!(frac_bits < W::BITS - 1, "a word has no so many bits to truncate");
    let request = Request::Truncation { mask: word.mask, frac_bits, bits: W::BITS };
    party.take(draw, &request, &mut [h, m])
}
