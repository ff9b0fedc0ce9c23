//! Finds the bucket of a word, as nested bits.
//!
//! For thresholds a factor of four apart, `t_j = [U < 4^j 2^first_threshold_log2]`, `j` from 1,
//! from the word `c = U + r` that is open anyway for its own sake. `t_j = E ¬β ⊕ F β`, where `E` is
//! 1 if all digits of `r` above equal those of `c`, and `F` if they equal those of `c - 1`
//! (`upper.rs`). `β` is the borrow of the one base-4 digit below. A threshold is
//! compared with the whole word: the topmost bucket has no upper end.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 2 rounds. Bits each way / dealt, for `first_threshold_log2` and the number of
//!   thresholds: words of 22 bits (`k = 32`): 2, 6: 29 / 107; 0, 6: 31 / 116; 0, 10 (all that they
//!   have room for): 40 / 133. Words of 54 bits (`k = 64`): 10, 6: 43 / 265; 0, 26 (all): 132 /
//!   641.
//! - **Result:** each threshold with a public dither of less than a quarter of it: `t_j = [U + d -
//!   1 - (c mod d) < 4 d]`, `d = 4^(j-1) 2^first_threshold_log2`. So `t_j` is 1 where `U <= 3 d`, 0
//!   where `4 d <= U <= 2^n - d`, and nested always. `U` is read as an unsigned word of `n` bits.
//! - **Needs:** a word opened as one that is never negative
//!   ([`Cut::unsigned`](crate::protocol::truncate::Cut::unsigned)), whose value is `U`; the digits
//!   of four bits from `first_threshold_log2` on that hold thresholds, two each, inside the word.
//! - **Memory:** about 400 planes of scratch for all thresholds of `k = 64`, 200 for a window of
//!   six; no heap.

use super::{
    conjunction::{conjunctions, hide_bits},
    truncate::Opened,
    upper::{Group, THRESHOLDS, TOTAL, Upper, chain},
};
use crate::{
    correlation::{Draw, View, Words, request::Digits},
    kernel::{plane_words, portable::DIGIT},
    link::Error,
    party::Party,
    word::Word,
};

/// Thresholds at most: every even position of a 64-bit word.
pub const MOST: usize = 32;

/// XOR shares of the bits of `thresholds` thresholds, plane after plane, into `t`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, there is no threshold, or a word has too few bits above
/// `first_threshold_log2`.
pub fn buckets<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    (first_threshold_log2, thresholds): (u32, usize),
    t: &mut [W],
) -> Result<(), Error> {
    let (lanes, bits) = (plane_words::<W>(word.c.len()), word.cut.bits());
    assert!(t.len() == thresholds * lanes, "buckets: lengths differ");
    let buckets = Buckets::new((first_threshold_log2, bits), thresholds);
    let mut draw = party.draw()?;
    if party.is_clear() {
        return buckets.clear(party, word, t);
    }
    let ([state, joined, variables], mut party) =
        party.scratch([buckets.state_planes(), buckets.joined_planes(), buckets.variables()].map(|n| n * lanes))?;
    let (first, last) = variables.split_at_mut(buckets.upper.variables() * lanes);
    buckets.prepare(&mut party, &mut draw, word, state, first)?;
    let masks = hide_bits(&mut party, &mut draw, first)?;
    party.open_bits(first)?; // the first round
    buckets.upper.complete(&mut party, &mut draw, state, (first, masks), joined)?;
    buckets.prepare_last(&mut party, joined, last)?;
    let masks = hide_bits(&mut party, &mut draw, last)?;
    party.open_bits(last)?; // the second
    buckets.complete_last(&mut party, &mut draw, joined, (last, masks), t)
}

/// Thresholds whose two rounds the caller runs, side by side with others'.
pub(crate) struct Buckets {
    first_threshold_log2: u32,
    bits: u32,
    /// The digits; its round is the first.
    pub(crate) upper: Upper,
}

impl Buckets {
    /// `thresholds` thresholds in words of `bits` bits.
    pub(crate) fn new((first_threshold_log2, bits): (u32, u32), thresholds: usize) -> Self {
        let upper = Upper::with_thresholds((first_threshold_log2, bits), thresholds.div_ceil(2));
        Self { first_threshold_log2, bits, upper }
    }

    /// Planes of state between the beginning and the end of the first round.
    pub(crate) fn state_planes(&self) -> usize {
        self.upper.state_planes()
    }
    /// Planes of the first round's result.
    pub(crate) fn joined_planes(&self) -> usize {
        self.upper.planes()
    }
    /// Planes that the second round opens.
    pub(crate) fn last_variables(&self) -> usize {
        let groups = self.upper.groups();
        (1..).zip(groups).map(|(next, group)| variables(*group, groups.len() - next)).sum()
    }
    /// Planes that both rounds open.
    fn variables(&self) -> usize {
        self.upper.variables() + self.last_variables()
    }

    /// The thresholds from whole values.
    pub(crate) fn clear<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        word: &Opened<'_, W>,
        t: &mut [W],
    ) -> Result<(), Error> {
        let ([r], party) = party.scratch([word.c.len()])?;
        party.expand(word.mask, r);
        party.kernels.cells_clear(t, word.c, r, self.first_threshold_log2, self.bits);
        Ok(())
    }

    /// Takes the digits of the mask, and writes the planes that the first round opens, unmasked.
    pub(crate) fn prepare<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        word: &Opened<'_, W>,
        state: &mut [W],
        variables: &mut [W],
    ) -> Result<(), Error> {
        let (lanes, widths) = (plane_words::<W>(word.c.len()), self.upper.widths());
        let hot_planes = widths.iter().map(|w| (1 << w) - 1).sum::<usize>();
        let ([hot, c], mut party) = party.scratch([hot_planes, self.upper.bits()].map(|planes| planes * lanes))?;
        party.kernels.to_planes(c, word.c, self.first_threshold_log2);
        let request = Digits { words: Words::Mask(word.mask), low: self.first_threshold_log2, widths };
        party.take(draw, request, &mut [&mut *hot])?;
        self.upper.prepare(&mut party, (c, hot), state, variables)
    }

    /// Writes the planes that the second round opens, unmasked.
    pub(crate) fn prepare_last<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        joined: &[W],
        open: &mut [W],
    ) -> Result<(), Error> {
        let (groups, lanes) = (self.upper.groups(), joined.len() / self.joined_planes());
        let ([run], party) = party.scratch([lanes])?;
        let (mut at, mut rest) = (0, open);
        for (i, group) in groups.iter().enumerate() {
            let (own, above) = joined[at..].split_at(group.planes() * lanes);
            let (planes, others) = rest.split_at_mut(variables(*group, groups.len() - 1 - i) * lanes);
            if !planes.is_empty() {
                last_variables(&party, own, (&groups[i + 1..], above), lanes, planes, run);
            }
            (at, rest) = (at + own.len(), others);
        }
        Ok(())
    }

    /// `t = A E ⊕ B F`, with `E` and `F` of all groups above, from the opened planes and the view
    /// that [`hide_bits`] gave.
    pub(crate) fn complete_last<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        joined: &[W],
        (open, masks): (&[W], View<'_>),
        t: &mut [W],
    ) -> Result<(), Error> {
        let (groups, lanes) = (self.upper.groups(), joined.len() / self.joined_planes());
        let most = groups.iter().map(|g| THRESHOLDS * g.marked).max().unwrap_or(0) * lanes;
        let ([products], mut party) = party.scratch([most])?;
        let (mut at, mut from, mut t) = (0, 0, t);
        for (i, group) in groups.iter().enumerate() {
            let (own, above) =
                (&joined[at + TOTAL * lanes..][..THRESHOLDS * group.marked * lanes], groups.len() - 1 - i);
            let wanted = (2 * group.marked * lanes).min(t.len());
            let (bits, others) = t.split_at_mut(wanted);
            let len = variables(*group, above) * lanes;
            let opened = (&open[from..from + len], masks.slice(from, len));
            if above == 0 {
                // Nothing is above: E and F are 1.
                for (bit, pair) in bits.chunks_exact_mut(lanes.max(1)).zip(own.chunks_exact((2 * lanes).max(1))) {
                    bit.copy_from_slice(&pair[..lanes]);
                    party.kernels.xor(bit, &pair[lanes..]);
                }
            } else if len > 0 {
                let (equal, less) = products.split_at_mut(2 * group.marked * lanes);
                last_products(&mut party, draw, (*group, above), lanes, opened, [&mut *equal, &mut *less])?;
                bits.copy_from_slice(&equal[..wanted]);
                party.kernels.xor(bits, &less[..wanted]);
            }
            (at, from, t) = (at + group.planes() * lanes, from + len, others);
        }
        Ok(())
    }
}

/// Variables of a group's last conjunctions: `x…` of the groups above, `A…`, `B…`, then the chain
/// `y v…` of those groups.
fn variables(group: Group, above: usize) -> usize {
    if above == 0 || group.marked == 0 { 0 } else { 2 * above + THRESHOLDS * group.marked }
}

/// `A E` and `B F` of each threshold of a group.
fn last_products<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (group, above): (Group, usize),
    lanes: usize,
    (open, masks): (&[W], View<'_>),
    [equal, less]: [&mut [W]; 2],
) -> Result<(), Error> {
    let thresholds = 2 * group.marked;
    let mut terms = [0u16; 2 * DIGIT];
    let all = (1 << above) - 1;
    (0..thresholds).for_each(|j| terms[j] = all | 1 << (above + j));
    let first = (above + thresholds) * lanes;
    conjunctions(party, draw, (&open[..first], masks.slice(0, first)), lanes, &terms[..thresholds], equal)?;
    (0..thresholds).for_each(|j| terms[j] = all << thresholds | 1 << j);
    let second = (&open[first..], masks.slice(first, open.len() - first));
    conjunctions(party, draw, second, lanes, &terms[..thresholds], &mut less[..thresholds * lanes])
}

/// Writes the variables of one group: see [`variables`].
fn last_variables<W: Word>(
    party: &Party<'_, W>,
    own: &[W],
    (groups, above): (&[Group], &[W]),
    lanes: usize,
    out: &mut [W],
    run: &mut [W],
) {
    let thresholds = own[TOTAL * lanes..].chunks_exact((2 * lanes).max(1));
    let (x, rest) = out.split_at_mut(groups.len() * lanes);
    let (a, rest) = rest.split_at_mut(thresholds.len() * lanes);
    let (b, v) = rest.split_at_mut(thresholds.len() * lanes);
    for (pair, (a, b)) in thresholds.zip(a.chunks_exact_mut(lanes).zip(b.chunks_exact_mut(lanes))) {
        a.copy_from_slice(&pair[..lanes]);
        b.copy_from_slice(&pair[lanes..]);
    }
    chain(party, (groups, above), lanes, (x, v), run);
}
