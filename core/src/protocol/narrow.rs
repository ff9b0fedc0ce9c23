//! Opens words of a narrow ring `Z_2^bits`, with no more than `bits` bits each on the wire.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. As with every opening, the words must be masked in `Z_2^bits`.
//! - **Cost:** 1 round, `bits` bits each way a word (a whole word where packing saves nothing, for fewer words than a plane has rows).
//! - **Result:** exact. The bits above `bits` are cleared before anything is sent, so shares may carry noise there.
//! - **Memory:** [`packed_words`] and one word of scratch an element; no heap.

use crate::{
    kernel::packed_words,
    link::{Error, Fold},
    party::Party,
    word::Word,
};

/// Opens additive shares modulo `2^bits` in place: one round.
///
/// # Errors
///
/// The link's, and [`Error::Scratch`].
pub fn open_narrow<W: Word>(party: &mut Party<'_, W>, words: &mut [W], bits: u32) -> Result<(), Error> {
    if bits == W::BITS {
        return party.open(words);
    }
    let ([packed], mut party) = party.scratch([packed_words::<W>(words.len(), bits)])?;
    prepare_narrow(&party, words, bits, packed);
    party.exchange(&mut [(Fold::Swap, packed)])?; // the one round
    finish_narrow(&mut party, words, bits, packed)
}

/// Opens two vectors of shares, each modulo its own `2^bits`, below the width of a word, in place:
/// one round.
///
/// # Errors
///
/// As [`open_narrow`].
pub fn open_two_narrow<W: Word>(
    party: &mut Party<'_, W>,
    [(x, x_bits), (y, y_bits)]: [(&mut [W], u32); 2],
) -> Result<(), Error> {
    let lens = [packed_words::<W>(x.len(), x_bits), packed_words::<W>(y.len(), y_bits)];
    let ([x_packed, y_packed], mut party) = party.scratch(lens)?;
    prepare_narrow(&party, x, x_bits, x_packed);
    prepare_narrow(&party, y, y_bits, y_packed);
    party.exchange(&mut [(Fold::Swap, &mut *x_packed), (Fold::Swap, &mut *y_packed)])?; // the one round
    finish_narrow(&mut party, x, x_bits, x_packed)?;
    finish_narrow(&mut party, y, y_bits, y_packed)
}

/// Reduces this party's shares modulo `2^bits` and writes what goes over the wire: `packed`, [`packed_words`] long, which the caller exchanges under
/// [`Fold::Swap`], together with what else goes in that round. Then [`finish_narrow`].
pub fn prepare_narrow<W: Word>(party: &Party<'_, W>, words: &mut [W], bits: u32, packed: &mut [W]) {
    party.kernels.keep_low(words, bits);
    party.kernels.pack(packed, words, bits);
}

/// From the peer's `packed` words to the opened ones.
///
/// # Errors
///
/// [`Error::Scratch`] for a word an element.
pub fn finish_narrow<W: Word>(party: &mut Party<'_, W>, words: &mut [W], bits: u32, packed: &[W]) -> Result<(), Error> {
    let ([theirs], party) = party.scratch([words.len()])?;
    party.kernels.unpack(theirs, packed, bits);
    party.kernels.add(words, theirs);
    party.kernels.keep_low(words, bits);
    Ok(())
}
