//! Computes the truncated value of an opened word in another ring: a narrower `Z_2^bits`, or that
//! of the other word.
//!
//! The formula of [`super::truncate`], `y = C - [h] + Q [m]`, holds in any ring; only what is dealt
//! changes.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte beyond the word's opening. Dealt for a word of `n` bits and the
//!   ring `Z_2^bits`, `bits <= k`: `2 (bits - n + 1)` bits, none at all where that is not positive.
//!   For 64 bits from 32: four words.
//! - **Result:** that of [`super::truncate`], with its sign in a wider ring.
//! - **Needs:** what the word's opening needed, and no more: a value that the narrower ring does not hold is reduced.
//! - **Memory:** three words of scratch an element, five into the wider ring; no heap.

use super::truncate::{Cut, Opened, clear, open, take_parts};
use crate::{
    correlation::{Draw, request::TruncationWide},
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
/// If lengths differ or `bits > k`.
pub fn truncated_narrow<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    bits: u32,
    z: &mut [W],
) -> Result<(), Error> {
    assert!(bits <= W::BITS, "the ring of the result is wider than the word");
    assert!(z.len() == word.c.len(), "truncated: lengths differ");
    if party.is_clear() {
        clear(party, word, z);
        return Ok(());
    }
    let ([h, m], mut party) = party.scratch([z.len(); 2])?;
    take_parts(&mut party, draw, word, bits, h, m)?;
    party.kernels.truncated(z, word.opening(), h, m, party.role.first_mask());
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
/// If lengths differ.
pub fn truncated_other<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    z: &mut [W::Other],
) -> Result<(), Error> {
    let (n, k, other) = (word.c.len(), W::BITS, W::Other::BITS);
    assert!(z.len() == n, "truncated_other: lengths differ");
    if party.is_clear() || other < k {
        let ([y], mut party) = party.scratch([n])?;
        truncated_narrow(&mut party, draw, word, k.min(other), y)?;
        for (z, y) in z.iter_mut().zip(y) {
            // The sign of a whole value, where there are bits above.
            let above = other.saturating_sub(k);
            *z = image::<W, W::Other>(&[*y]).shl(above).sar(above);
        }
        return Ok(());
    }
    truncated_wide(party, draw, word, z)
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
    let ([c], mut party) = party.scratch([n])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, z, Cut::signed(0), c)?; // the one round
    if party.is_clear() {
        extend();
        return Ok(());
    }
    truncated_wide(&mut party, &mut draw, &word, out)
}

/// `C - [h] + Q [m]` in a wider ring, from words that are halves of `o` and `m`.
fn truncated_wide<W: Word, V: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    z: &mut [V],
) -> Result<(), Error> {
    let (len, n) = (z.len(), word.cut.bits());
    let ([r, o, m], mut party) = party.scratch([len, 2 * len, 2 * len])?;
    let request = TruncationWide { mask: word.mask, bits: n };
    party.take(draw, request, &mut [&mut *o, &mut *m])?;
    party.expand(word.mask, r);
    let (offset, role): (V, Role) = (image(&[word.cut.offset()]), party.role);
    let dealt = o.chunks_exact(2).zip(m.chunks_exact(2));
    for ((z, (c, r)), (o, m)) in z.iter_mut().zip(word.c.iter().zip(r)).zip(dealt) {
        let (c, r): (V, V) = (image(&[*c]), image(&[*r]));
        let h = r.and(V::low_mask(n - 1)).sub(image::<W, V>(o).shl(n - 1));
        let carry = V::from_u64(1).shl(n - 1).sub(c.shr(n - 1).shl(n));
        *z = role.first(c.sub(offset)).sub(h).add(carry.mul(image(m)));
    }
    Ok(())
}

/// The word of another ring with the same memory image: its upper bits 0, or those that it does not hold gone.
fn image<W: Word, V: Word>(words: &[W]) -> V {
    let mut out = [V::default()];
    for (out, byte) in V::bytes_mut(&mut out).iter_mut().zip(W::bytes(words)) {
        *out = *byte;
    }
    out[0]
}
