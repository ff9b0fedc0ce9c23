//! The sign of a word that is open already.
//!
//! `z + 2^(k-2)` has bit `k - 2` set iff `z >= 0`, and that bit of `c - r` comes from comparing the bits below (DESIGN.md, section 5).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 2 rounds; 33 bits each way and 325 bits dealt for `k = 64`, 15 and 147 for `k = 32`, rounded up to whole words of a plane.
//! - **Result:** exact, as XOR shares of a plane.
//! - **Needs:** the usual offset `2^(k-2)`.
//! - **Memory:** see [`super::compare`].

use super::{
    compare::difference_bit,
    truncate::{Opened, half},
};
use crate::{
    correlation::{Draw, Words},
    link::Error,
    party::Party,
    word::Word,
};

/// XOR shares of `[z >= 0]`, a plane, for the opened `word`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If the word was opened under another offset than `2^(k-2)`, or `out` is not one plane.
pub fn sign<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    out: &mut [W],
) -> Result<(), Error> {
    assert!(W::bytes(&[word.offset]) == W::bytes(&[half::<W>()]), "sign: the word has another offset");
    if party.is_clear() {
        return clear(party, word, out);
    }
    difference_bit(party, draw, word.c, Words::Mask(word.mask), W::BITS - 2, out)
}

fn clear<W: Word>(party: &mut Party<'_, W>, word: &Opened<'_, W>, out: &mut [W]) -> Result<(), Error> {
    let ([z, r], party) = party.scratch([word.c.len(); 2])?;
    party.expand(word.mask, r);
    z.copy_from_slice(word.c);
    party.kernels.sub(z, r);
    party.kernels.to_planes(out, z, W::BITS - 2);
    Ok(())
}
