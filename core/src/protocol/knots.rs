//! How far values lie above public knots: `max(0, z - t_j)` for each, and whether they do.
//!
//! The word is opened once; `z - t_j` are all under the same mask, so one comparison each, side by
//! side, says whether to keep them. Clamping ([`super::clamp`]) and every piecewise linear function
//! are sums of these.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 3 rounds, 4 where more than 22 bits are opened. Each way `k - t` bits and, for each
//!   knot, a sign ([`super::sign`]) and a bit; dealt `2 (t + 1)` bits for the truncation and, for
//!   each knot, two words, `t + 1` bits and what the sign needs.
//! - **Result:** exact, of the truncated value.
//! - **Needs:** the truncated value, and its differences to all knots, within a quarter of the
//!   range of its words.
//! - **Alarms:** of each difference, for 2 bits dealt ([`super::alarm`]).
//! - **Memory:** four words of scratch an element and knot beside the sign's, and one; no heap.

use super::{
    alarm::compared,
    narrow::open_narrow,
    select::{Selector, open_selector, select},
    sign::sign,
    truncate::{Cut, Opened, blind_compared, truncated},
};
use crate::{
    correlation::{Rows, View, Words},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};

/// Knots at most.
pub const MOST: usize = 16;

/// Truncates `z` by `frac_bits`; for each knot `t`, in units of the truncated value, `over` becomes
/// `max(0, z - t)` and, if it has room, `steps` the word `[z >= t]`: knot after knot.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, there are more than [`MOST`] knots, or `frac_bits > k - 2`.
pub fn above<W: Word>(
    party: &mut Party<'_, W>,
    (z, frac_bits): (&mut [W], u32),
    knots: &[W],
    over: &mut [W],
    steps: &mut [W],
) -> Result<(), Error> {
    let (n, all) = (z.len(), knots.len() * z.len());
    assert!(knots.len() <= MOST && over.len() == all, "knots: lengths differ");
    assert!([0, all].contains(&steps.len()), "knots: lengths differ");
    let ([c, rho, bit], mut party) = party.scratch([all, all, plane_words::<W>(all)])?;
    let mut draw = party.draw()?;
    let cut = Cut::signed(frac_bits);
    let (first, others) = c.split_at_mut(n.min(all));
    let mask = blind_compared(&mut party, &mut draw, z, cut, first);
    open_narrow(&mut party, first, cut.bits())?; // round 1
    if frac_bits > 0 {
        truncated(&mut party, &mut draw, &Opened { c: first, mask, cut }, z)?;
    }
    others.chunks_exact_mut(n.max(1)).for_each(|c| c.copy_from_slice(first));
    for ((c, over), knot) in c.chunks_exact_mut(n.max(1)).zip(over.chunks_exact_mut(n.max(1))).zip(knots) {
        let minus = W::default().sub(*knot);
        party.kernels.add_constant(c, minus);
        party.kernels.keep_low(c, cut.bits());
        over.copy_from_slice(z);
        party.kernels.add_constant(over, party.role.first(minus));
    }
    let mask = View { rows: Rows::Which(&[0; MOST][..knots.len()]), ..mask };
    let word = Opened { c, mask, cut };
    sign(&mut party, &mut draw, &word, bit)?; // round 2, or 2 and 3
    let mask = open_selector(&mut party, &mut draw, bit, rho)?; // the last round
    compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), word.c.len(), cut.bits()), (bit, mask))?;
    let selector = Selector { open: bit, mask, rho };
    select(&mut party, &mut draw, &word, selector, over)?;
    if !steps.is_empty() {
        selector.words(&party, steps);
    }
    Ok(())
}
