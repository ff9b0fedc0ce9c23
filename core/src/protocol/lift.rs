//! Lifts shares from a narrow ring `Z_2^b` to the ring of the words.
//!
//! Opens `c = x + r mod 2^b`, then `x = c - r + 2^b [c < r]` with `r mod 2^b` dealt in the wide
//! ring.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 8 bits: 3 rounds, 13 bits each way; 1 bit: 2 rounds, 2 bits; 16 bits: 3 rounds, 23
//!   bits; 32 bits: 4 rounds, 56 bits; rounded up to whole words of a plane. Dealt: a word, `k - b`
//!   bits and the comparison's bits ([`super::compare`]).
//! - **Result:** exact, in `[0, 2^b)`.

use super::{bit::opened_bits_to_words, compare::less, conjunction::hide_bits, narrow::open_narrow};
use crate::{
    correlation::{Words, request::Residue},
    kernel::plane_words,
    link::Error,
    party::{Party, Role},
    word::Word,
};

/// Shares modulo `2^bits`, the low bits of `x`, become shares of the same value in the ring; in place. What shares hold above these bits is ignored.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `bits` is 0 or not below the width of the ring.
pub fn lift<W: Word>(party: &mut Party<'_, W>, x: &mut [W], bits: u32) -> Result<(), Error> {
    assert!(0 < bits && bits < W::BITS, "lift: the ring is no narrower one");
    let n = x.len();
    let ([c, r, below], mut party) = party.scratch([n, n, plane_words::<W>(n)])?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        party.kernels.keep_low(x, bits);
        return Ok(());
    }
    let mask = draw.mask(n).view();
    party.expand(mask, c);
    party.kernels.add(c, x);
    open_narrow(&mut party, c, bits)?; // the first round
    less(&mut party, &mut draw, c, Words::Mask(mask), bits, below)?; // one for 6 to 20 bits, two for more
    let bit = hide_bits(&mut party, &mut draw, below)?;
    party.open_bits(below)?; // the last round
    party.take(&mut draw, Residue { mask, bits }, &mut [&mut *r])?;
    if party.role == Role::Server1 {
        x.fill(W::default());
    } else {
        x.copy_from_slice(c);
    }
    party.kernels.sub(x, r);
    opened_bits_to_words(&mut party, &mut draw, (below, bit), &[bits], x)
}
