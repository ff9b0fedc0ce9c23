//! Conjunctions of XOR-shared bits: several products over the same variables, each variable opened once.
//!
//! A variable `v` is opened as `v ^ α` under a free mask `α`; the products of the masks over all subsets that the wanted terms need are dealt, and
//! `∏ ((v ^ α) ^ α)` is multiplied out. Prepare, open, finish are separate, so that many
//! conjunctions share a round.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, one bit each way a variable; one bit dealt for each subset of two or more variables of a term.
//! - **Result:** exact.
//! - **Clear engine:** runs this way too; its callers take shorter ones.

use crate::{
    correlation::{Draw, View, request::Subsets},
    kernel::portable::needed_subset_count,
    link::Error,
    party::Party,
    word::Word,
};

/// Hides planes of variables for the opening, in place, and names their masks. The caller opens them by
/// [`Party::open_bits`] or with what else goes in that round.
///
/// # Errors
///
/// [`Error::Scratch`] for as many words.
pub fn hide_bits<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    variables: &mut [W],
) -> Result<View<'static>, Error> {
    let mask = draw.mask(variables.len()).view();
    let ([share], party) = party.scratch([variables.len()])?;
    party.correlations.expand_bits(mask, share);
    party.kernels.xor(variables, share);
    Ok(mask)
}

/// XOR shares of the product of the variables in each of `terms` (bit `v` of a term stands for variable `v`), from the opened
/// variables, `lanes` words each, and the view that [`hide_bits`] gave.
///
/// # Errors
///
/// The dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or a term has more than nine variables.
pub fn conjunctions<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (open, masks): (&[W], View<'_>),
    lanes: usize,
    terms: &[u16],
    out: &mut [W],
) -> Result<(), Error> {
    assert!(open.len() == masks.len() && out.len() == terms.len() * lanes, "conjunctions: lengths differ");
    let ([shares, products], mut party) = party.scratch([open.len(), needed_subset_count(terms) * lanes])?;
    party.take(draw, Subsets { bits: masks, lanes, terms }, &mut [products])?;
    party.correlations.expand_bits(masks, shares);
    party.kernels.conjunctions(out, open, shares, products, lanes, terms, party.role.first_mask());
    Ok(())
}
