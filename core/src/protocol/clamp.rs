//! Holds shared values within public limits.
//!
//! The word is opened once; `z - low` and `z - high` are under the same mask, so one comparison each, side by side, says whether to keep them:
//! `low + max(0, z - low) - max(0, z - high)`. What goes before a [mapping](crate::mapping) whose domain does not cover the audited range.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 4 rounds, one word and two signs ([`super::sign`]) and bits each way; two words and
//!   a bit each, and what the signs need, dealt.
//! - **Result:** exactly `min(max(z, low), high)`.
//! - **Needs:** `low <= high`; `z`, `z - low` and `z - high` in `[-2^(k-2), 2^(k-2))`.
//! - **Alarms:** of `z - low` and `z - high`, for 2 bits dealt each ([`super::alarm`]).
//! - **Memory:** ten words of scratch an element beside the sign's; no heap.

use super::{
    alarm::compared,
    select::{Selector, open_selector, select},
    sign::sign,
    truncate::{Cut, Opened, blind_compared},
};
use crate::{
    correlation::{Rows, View, Words},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// `z = min(max(z, low), high)` in place: four rounds.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
pub fn clamp<W: Word>(party: &mut Party<'_, W>, z: &mut [W], low: W, high: W) -> Result<(), Error> {
    let n = z.len();
    let ([c, above, rho, bit], mut party) = party.scratch([2 * n, 2 * n, 2 * n, plane_words::<W>(2 * n)])?;
    let mut draw = party.draw()?;
    let cut = Cut::signed(0);
    let mask = blind_compared(&mut party, &mut draw, z, cut, &mut c[..n]);
    party.open(&mut c[..n])?; // round 1
    let (at_low, at_high) = c.split_at_mut(n);
    at_high.copy_from_slice(at_low);
    let (over_low, over_high) = above.split_at_mut(n);
    for (c, over, limit) in [(at_low, over_low, low), (at_high, over_high, high)] {
        let minus = W::default().sub(limit);
        party.kernels.add_constant(c, minus);
        over.copy_from_slice(z);
        party.kernels.add_constant(over, party.role.first(minus));
    }
    let word = Opened { c, mask: View { rows: Rows::Which(&[0, 0]), ..mask }, cut };
    sign(&mut party, &mut draw, &word, bit)?; // rounds 2 and 3
    let mask = open_selector(&mut party, &mut draw, bit, rho)?; // round 4
    compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), word.c.len(), W::BITS), (bit, mask))?;
    select(&mut party, &mut draw, &word, Selector { open: bit, mask, rho }, above)?;
    z.copy_from_slice(&above[..n]);
    party.kernels.sub(z, &above[n..]);
    party.kernels.add_constant(z, party.role.first(low));
    Ok(())
}
