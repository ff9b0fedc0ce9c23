//! Divides an opened word by `2^f` and lands in another ring: a narrower `Z_2^bits`, or that of the other word.
//!
//! The formula of [`super::truncate`], `[z >> f] = C - [h] + Q [m]`, holds in any ring; only what is dealt changes (DESIGN.md, section 4).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte beyond the word's opening. Dealt for `Z_2^bits`, `bits <= k`: `h` in `bits` bits and `m` in the `bits - (k-1-f)` that
//!   its factor leaves, none at all where that is not positive. For 64 bits from 32: both in 64 bits.
//! - **Result:** `floor((z + 2^f - 1 - u) / 2^f)`, `u = c mod 2^f` public and uniform, with its sign in a wider ring.
//! - **Needs:** what the word's opening needed, and no more: a value that the narrower ring does not hold is reduced.
//! - **Memory:** two words of scratch an element, four into the wider ring; no heap.

use super::truncate::{self, Opened, blind, half};
use crate::{
    correlation::{Draw, Request},
    kernel::Opening,
    link::Error,
    party::{Party, Role},
    word::Word,
};

/// Shares modulo `2^bits` of the truncated value of a word that is open. Bits of `z` above `bits` are noise.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `frac_bits >= k - 1` or `bits > k`.
pub fn truncated_narrow<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    frac_bits: u32,
    bits: u32,
    z: &mut [W],
) -> Result<(), Error> {
    assert!(frac_bits < W::BITS - 1, "a word has no so many bits to truncate");
    assert!(bits <= W::BITS, "the ring of the result is wider than the word");
    if party.is_clear() {
        return truncate::clear(party, word, frac_bits, z);
    }
    let ([h, m], mut party) = party.scratch([z.len(); 2])?;
    let request = Request::Truncation { mask: word.mask, frac_bits, bits };
    if request.dealt::<W>()[1].is_some() {
        party.take(draw, &request, &mut [&mut *h, &mut *m])?;
    } else {
        party.take(draw, &request, &mut [&mut *h])?;
        m.fill(W::default());
    }
    party.kernels.truncated(z, word.by(frac_bits), h, m, party.role.first_mask());
    Ok(())
}

/// Shares, in the ring of the other word, of the truncated value of a word that is open.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ or `frac_bits >= k - 1`.
pub fn truncated_other<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    frac_bits: u32,
    z: &mut [W::Other],
) -> Result<(), Error> {
    let (n, k, other) = (word.c.len(), W::BITS, W::Other::BITS);
    assert!(z.len() == n, "truncated_other: lengths differ");
    assert!(frac_bits < k - 1, "a word has no so many bits to truncate");
    if party.is_clear() || other < k {
        let ([y], mut party) = party.scratch([n])?;
        truncated_narrow(&mut party, draw, word, frac_bits, k.min(other), y)?;
        for (z, y) in z.iter_mut().zip(y) {
            // The sign of a whole value, where there are bits above.
            let above = other.saturating_sub(k);
            *z = image::<W, W::Other>(&[*y]).shl(above).sar(above);
        }
        return Ok(());
    }
    let ([h, m], mut party) = party.scratch([2 * n; 2])?;
    party.take(draw, &Request::TruncationWide { mask: word.mask, frac_bits }, &mut [&mut *h, &mut *m])?;
    wide(z, word.by(frac_bits), h, m, party.role);
    Ok(())
}

/// Returns shares, in the ring of 64 bits, of the same signed values. Callers use it for sums that
/// their own ring cannot hold.
///
/// - **Cost:** for 32 bits one round, one word each way and four words dealt a value; for 64 bits
///   nothing.
/// - **Result:** exact.
/// - **Needs:** `|z| < 2^(k-2)`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn widen<W: Word>(party: &mut Party<'_, W>, z: &[W], out: &mut [W::Wide]) -> Result<(), Error> {
    let (n, above) = (z.len(), W::Wide::BITS - W::BITS);
    assert!(out.len() == n, "widen: lengths differ");
    let mut extend = || {
        for (out, z) in out.iter_mut().zip(z) {
            *out = image::<W, W::Wide>(&[*z]).shl(above).sar(above);
        }
    };
    if above == 0 {
        extend();
        return Ok(());
    }
    let ([c, h, m], mut party) = party.scratch([n, 2 * n, 2 * n])?;
    let mut draw = party.draw()?;
    let mask = blind(&mut party, &mut draw, z, half(), c);
    if party.is_clear() {
        extend();
        return Ok(());
    }
    party.open(c)?; // the one round
    party.take(&mut draw, &Request::TruncationWide { mask, frac_bits: 0 }, &mut [&mut *h, &mut *m])?;
    wide(out, Opened { c, mask, offset: half() }.by(0), h, m, party.role);
    Ok(())
}

/// `z = C - [h] + Q [m]` in the wider ring, from words that are halves of `h` and `m`.
fn wide<W: Word, V: Word>(z: &mut [V], o: Opening<'_, W>, h: &[W], m: &[W], role: Role) {
    let (k, f) = (W::BITS, o.frac_bits);
    let offset = image::<W, V>(&[o.offset]).shr(f);
    for ((z, c), (h, m)) in z.iter_mut().zip(o.c).zip(h.chunks_exact(2).zip(m.chunks_exact(2))) {
        let c: V = image(&[*c]);
        let msb = c.shr(k - 1);
        let public = c.and(V::low_mask(k - 1)).shr(f).sub(offset).add(msb.shl(k - 1 - f));
        let carry = V::from_u64(1).shl(k - 1 - f).sub(msb.shl(k - f));
        *z = role.first(public).sub(image(h)).add(carry.mul(image(m)));
    }
}

/// The word of another ring with the same memory image: its upper bits 0, or those that it does not hold gone.
fn image<W: Word, V: Word>(words: &[W]) -> V {
    let mut out = [V::default()];
    for (out, byte) in V::bytes_mut(&mut out).iter_mut().zip(W::bytes(words)) {
        *out = *byte;
    }
    out[0]
}
