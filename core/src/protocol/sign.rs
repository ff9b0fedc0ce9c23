//! The sign of a word that is open already.
//!
//! The opened `Y = y + 2^(n-2)` has bit `n - 2` set iff `y >= 0`, and that bit of `c - r` comes
//! from comparing the bits below.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** that of [`difference_bit`] for `n - 2` bits.
//! - **Result:** exactly the sign of the truncated value, as XOR shares of a plane. A `z` that is
//!   not negative gives a `y` that is not; one between `-2^t` and 0 may give 0.
//! - **Needs:** a word opened as a signed one, `z <= 2^(k-1) - offset - 2^t`
//!   ([`Cut::signed`](super::truncate::Cut::signed),
//!   [`Cut::within`](super::truncate::Cut::within)).
//! - **Memory:** see [`super::compare`].

use super::{compare::difference_bit, truncate::Opened};
use crate::{
    correlation::{Draw, Words},
    link::Error,
    party::Party,
    word::Word,
};

/// XOR shares of `[y >= 0]`, a plane, for the truncated value `y` of the opened `word`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If the word was opened as one that is never negative, or `out` is not one plane.
pub fn sign<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    out: &mut [W],
) -> Result<(), Error> {
    let bit = word.cut.bits() - 2;
    let signed = W::from_u64(1).shl(bit);
    assert!(W::bytes(&[word.cut.offset()]) == W::bytes(&[signed]), "sign: the word is not a signed one");
    if party.is_clear() {
        return clear(party, word, bit, out);
    }
    difference_bit(party, draw, word.c, Words::Mask(word.mask), bit, out)
}

fn clear<W: Word>(party: &mut Party<'_, W>, word: &Opened<'_, W>, bit: u32, out: &mut [W]) -> Result<(), Error> {
    let ([z, r], party) = party.scratch([word.c.len(); 2])?;
    party.expand(word.mask, r);
    z.copy_from_slice(word.c);
    party.kernels.sub(z, r);
    party.kernels.to_planes(out, z, bit);
    Ok(())
}
