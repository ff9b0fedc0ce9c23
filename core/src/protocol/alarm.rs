//! Computes range alarms: bits that are 1 where a word has left the range of its opening.
//!
//! A word opened as `c = Y + r mod 2^n` needs `0 <= Y < 2^(n-1)`; its alarm is bit `n - 1` of
//! `c - r`. Where a protocol compares the word, it has opened bit `n - 2` of `c - r` as `β` under a
//! mask `ρ`, and the borrow into bit `n - 1` follows from that bit. With dealt
//! `q = r_{n-1} ^ r_{n-2} ρ` and `r_{n-2}` the alarm is
//! `c_{n-1} ^ ¬c_{n-2} (β ^ ρ) ^ ¬(β ^ c_{n-2}) r_{n-2} ^ q`, which is linear in the shared values
//! (derived here from the borrow `¬c_{n-2} (r_{n-2} ^ b) ^ r_{n-2} b`, where `b` is the borrow into
//! bit `n - 2`). All other words are offered to the lane's [`Alarms`](crate::party::Alarms), which
//! keep a sample; [`check_kept`] opens that sample under fresh masks and compares it.
//!
//! Alarms are folded over [`SUBSETS`] random subsets into as many parities
//! ([`crate::kernel::portable::fold_alarms`]). If there is any alarm, each parity is odd with
//! probability one half, independently; so the disjunction of all ([`any`]) misses it with
//! probability `2^-40`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Both servers know the subsets
//!   and the sample's places; clients and the dealer must not. With a client, a server learns from
//!   the bit about the words at those places.
//! - **Cost:** [`compared`]: no round, no byte; 2 bits dealt a word. [`check_kept`]: 3 rounds, one
//!   word and 42 (`k = 64`) or 23 (`k = 32`) bits each way a word kept. [`any`]: 3 rounds, 56 words
//!   each way.
//! - **Result:** exact alarms, as XOR shares; nothing is opened. A job opens one bit, of all its
//!   words together.
//! - **Memory:** [`compared`]: a word and six bits of scratch a word; [`check_kept`]: a word more
//!   than [`super::compare`].
//! - **Clear engine:** alarms from whole values, folded and sampled alike.

use super::{
    compare::difference_bit,
    conjunction::{conjunctions, hide_bits},
    truncate::half,
};
use crate::{
    correlation::{Draw, View, Words, request::Alarm},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// Random subsets over which alarms are folded.
pub const SUBSETS: usize = 40;
/// Bits that one conjunction of [`any`] takes.
const GROUP: usize = 4;

/// Raises the alarms of compared words: `rows` a plane, of `bits` bits, `c` opened under the masks
/// that `words` names. Their bits `bits - 2` of `c - r` are open under the bit mask that `bit`
/// names. Takes no round. Does nothing for a party without alarms.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn compared<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (c, words, rows, bits): (&[W], Words<'_>, usize, u32),
    (open, bit): (&[W], View<'_>),
) -> Result<(), Error> {
    if party.alarms.is_none() {
        return Ok(());
    }
    let lanes = open.len();
    assert!(lanes == plane_words::<W>(c.len()) && bit.len() == lanes, "compared: lengths differ");
    let ([alarms, rho, r, q, planes], mut party) = party.scratch([lanes, lanes, lanes, lanes, 2 * lanes])?;
    match words {
        Words::Mask(mask) if party.is_clear() => {
            let ([z, r], party) = party.scratch([c.len(); 2])?;
            party.expand(mask, r);
            z.copy_from_slice(c);
            party.kernels.sub(z, r);
            party.kernels.to_planes(alarms, z, bits - 1);
        }
        _ => {
            party.take(draw, Alarm { words, bits, bit }, &mut [&mut *q, &mut *r])?;
            party.correlations.expand_bits(bit, rho);
            party.kernels.to_planes(planes, c, bits - 2);
            party.kernels.alarms(alarms, planes, open, rho, r, q, party.role.first_mask());
        }
    }
    raise(&mut party, alarms, rows);
    Ok(())
}

/// Hands planes of alarms to the party's [`Alarms`](crate::party::Alarms).
pub(crate) fn raise<W: Word>(party: &mut Party<'_, W>, planes: &mut [W], rows: usize) {
    if let Some(alarms) = &mut party.alarms {
        alarms.raise(party.kernels, planes, rows);
    }
}

/// Offers words that are about to be opened under `offset` to the party's
/// [`Alarms`](crate::party::Alarms).
pub(crate) fn offer<W: Word>(party: &mut Party<'_, W>, z: &[W], offset: W) {
    let shift = party.role.first(offset.sub(half()));
    if let Some(alarms) = &mut party.alarms {
        alarms.offer(z, shift);
    }
}

/// Offers words that are about to be squared to the party's [`Alarms`](crate::party::Alarms):
/// [`bounded`] by `2^(k/2 - 1)`, from twice which on a square wraps.
///
/// # Errors
///
/// As [`bounded`].
pub fn squared<W: Word>(party: &mut Party<'_, W>, y: &[W]) -> Result<(), Error> {
    bounded(party, y, W::BITS / 2 - 1)
}

/// Offers words that should be below `2^bits` to the party's [`Alarms`](crate::party::Alarms),
/// times `2^(k - 2 - bits)`: the alarm of such a word is set where `2^bits <= |y| < 2^(bits + 1)`. No
/// round.
///
/// # Errors
///
/// [`Error::Scratch`] for a word an element.
pub fn bounded<W: Word>(party: &mut Party<'_, W>, y: &[W], bits: u32) -> Result<(), Error> {
    if party.is_clear() {
        party.trace.bounded(y, bits);
    }
    if party.alarms.is_some() {
        let ([scaled], mut party) = party.scratch([y.len()])?;
        scaled.copy_from_slice(y);
        party.kernels.scale(scaled, W::from_u64(1).shl(W::BITS - 2 - bits));
        offer(&mut party, scaled, half());
    }
    Ok(())
}

/// Opens the kept words under fresh masks and raises their alarms, in three rounds. Does nothing if
/// fewer than `least` words are kept.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
pub fn check_kept<W: Word>(party: &mut Party<'_, W>, least: usize) -> Result<(), Error> {
    let kept = party.alarms.as_ref().map_or(0, |alarms| alarms.kept());
    if kept < least.max(1) {
        return Ok(());
    }
    party.trace.enter(0, "range alarms");
    let ([z, c, alarms], mut party) = party.scratch([kept, kept, plane_words::<W>(kept)])?;
    let mut draw = party.draw()?;
    if let Some(alarms) = &mut party.alarms {
        alarms.take(z);
    }
    let mask = draw.mask(kept).view();
    if party.is_clear() {
        party.kernels.add_constant(z, half());
        party.kernels.to_planes(alarms, z, W::BITS - 1);
    } else {
        party.expand(mask, c);
        party.kernels.blind(c, z, party.role.first(half()), 0);
        party.open(c)?; // the first round
        difference_bit(&mut party, &mut draw, c, Words::Mask(mask), W::BITS - 1, alarms)?; // two rounds
    }
    raise(&mut party, alarms, kept);
    Ok(())
}

/// Returns, in bit 0, an XOR share of whether any of the [`SUBSETS`] shared words `sums` has odd
/// parity. Takes three rounds and overwrites `sums`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If `sums` has another length.
pub fn any<W: Word>(party: &mut Party<'_, W>, sums: &mut [W]) -> Result<W, Error> {
    assert!(sums.len() == SUBSETS, "any: one word a subset");
    party.trace.enter(0, "range alarms");
    let ones = party.role.first_mask::<W>();
    for sum in sums.iter_mut() {
        let halves = core::iter::successors(Some(W::BITS / 2), |shift| Some(shift / 2).filter(|shift| *shift > 0));
        *sum = halves.fold(*sum, |sum, shift| sum.xor(sum.shr(shift))).xor(ones);
    }
    let mut draw = party.draw()?;
    let mut left = SUBSETS;
    while left > 1 {
        let lanes = left.div_ceil(GROUP);
        let ([even, joined], mut party) = party.scratch([GROUP * lanes, lanes])?;
        even[..left].copy_from_slice(&sums[..left]);
        even[left..].fill(ones);
        let masks = hide_bits(&mut party, &mut draw, even)?;
        party.open_bits(even)?; // one of three rounds
        conjunctions(&mut party, &mut draw, (even, masks), lanes, &[(1 << GROUP) - 1], joined)?;
        sums[..lanes].copy_from_slice(joined);
        left = lanes;
    }
    Ok(sums[0].xor(ones).and(W::from_u64(1)))
}
