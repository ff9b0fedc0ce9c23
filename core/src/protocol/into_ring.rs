//! Divides an opened word by `2^f` and lands in a narrower ring `Z_2^bits`.
//!
//! The formula of [`truncate`](super::truncate), `[z >> f] = C - [h] + Q [m]`, holds modulo any `2^bits`, `bits <= k`; only what is dealt shrinks: `h` to
//! `bits` bits and `m` to the `bits - (k-1-f)` that its factor leaves, none at all where that is not positive.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round, no byte beyond the word's opening; `bits + max(0, bits - (k-1-f))` bits dealt.
//! - **Result:** `floor((z + 2^f - 1 - u) / 2^f) mod 2^bits`, `u = c mod 2^f` public and uniform.
//! - **Needs:** what the word's opening needed, and no more: a value that `bits` bits do not hold is reduced.
//! - **Memory:** two words of scratch an element; no heap.

use super::truncate::{self, Opened};
use crate::{
    correlation::{Draw, Request},
    link::Error,
    party::Party,
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
