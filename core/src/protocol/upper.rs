//! Joins the digits of a mask above a public position, to find whether the upper part of a word is
//! zero.
//!
//! `c = u + r` is public, `r` the mask. Above bit `b`, `u` is zero exactly where
//!
//! ```text
//! [u >> b = 0] = E ¬β ⊕ F β
//! E = [r >> b = c >> b],  F = [r >> b = (c >> b) - 1],  β = [c mod 2^b < r mod 2^b]
//! ```
//!
//! These use all bits of the word, so that no index and no threshold wraps. `E` and `F` are
//! products over digits: `E = ∏ e_i`, and `F = z_b ∏ w_i`, where `w_i` is `z_i` if all digits of
//! `c` between are zero and `e_i` otherwise. The choice between both is public, since `c` is. The
//! leaves `e`, `z` of a digit are local ([`digit_leaves`](crate::kernel::portable::digit_leaves)).
//! Digits are joined in groups, each by conjunctions of one and the same round; the caller joins
//! the groups ([`super::buckets`], [`crate::mapping`]).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** one round, none if every group has one digit. A group of `n` digits without
//!   thresholds opens `2 n` bits and is dealt `2 (2^n - 1 - n)`; thresholds take three more for
//!   each digit below the group's topmost, and chains of their own.
//! - **Result:** exact.
//! - **Memory:** 7 planes a digit, and a plane a variable and product; no heap.
//! - **Source:** derived here from the comparison of [`super::compare`].

use super::conjunction::{conjunctions, hide_bits};
use crate::{
    correlation::{Draw, View},
    kernel::portable::{DIGIT, LEAVES, THRESHOLD_LEAVES},
    link::Error,
    party::Party,
    word::Word,
};

/// Digits of a word at most.
const DIGITS: usize = 16;
/// Groups of digits at most: five of three digits, and what is left.
const GROUPS: usize = 6;
/// Digits of a group that has thresholds, at most; and of one that has none.
const THRESHOLD_GROUP: usize = 3;
const PLAIN_GROUP: usize = 4;

/// Digits that are joined.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Group {
    digits: usize,
    /// Number of digits, from the lowest on, that have thresholds.
    pub(crate) marked: usize,
    /// Whether the caller wants `x` and `y` of the group.
    total: bool,
}

impl Group {
    /// MaskTracker digits that have others above them in the group: their products need the round.
    fn inner(self) -> usize {
        self.marked.min(self.digits - 1)
    }
    /// The lowest digit whose `e` is opened.
    fn lowest(self) -> usize {
        usize::from(!self.total)
    }
    /// Variables of the conjunctions: `e` of each digit, `a`, `l` and `b` of each inner one, then
    /// chains.
    fn variables(self) -> usize {
        if self.digits == 1 { 0 } else { self.digits - self.lowest() + 3 * self.inner() + self.chains().sum::<usize>() }
    }
    /// Lengths of the chains `z w w …`: from digit 0 for the total, from the digit above each inner
    /// one.
    fn chains(self) -> impl Iterator<Item = usize> {
        (usize::from(!self.total)..=self.inner()).map(move |from| self.digits - from)
    }
    /// Products of the `e`: of all, and for each inner digit of those above, alone and with `a`,
    /// `l`.
    fn equal_terms(self) -> usize {
        usize::from(self.total) + 3 * self.inner()
    }
    /// Products of the chains: of the total's, and of each inner digit's with `b`, `l`.
    fn less_terms(self) -> usize {
        usize::from(self.total) + 2 * self.inner()
    }
    /// Planes of [`Upper::join`]'s result.
    pub(crate) fn planes(self) -> usize {
        TOTAL + THRESHOLDS * self.marked
    }
}

/// Planes `x`, `y`, `n` of a group's result.
pub(crate) const TOTAL: usize = 3;
/// Planes of a marked digit's result: `A`, `B` of the threshold in its middle, `A`, `B` of the one
/// on its top.
pub(crate) const THRESHOLDS: usize = 4;

/// The digits from some bit to the top of a word, in groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upper {
    widths: [u8; DIGITS],
    digits: usize,
    groups: [Group; GROUPS],
    count: usize,
}

impl Upper {
    /// The digits from bit `low` on of a word of `bits` bits, thresholds in the lowest `marked`.
    ///
    /// # Panics
    ///
    /// If a word has fewer whole digits from `low` on than `marked`.
    pub(crate) fn with_thresholds((low, bits): (u32, u32), marked: usize) -> Self {
        let mut upper = Self::new(low, bits);
        assert!(marked > 0 && low as usize + DIGIT * marked <= bits as usize, "thresholds beyond the word");
        let (mut at, mut left) = (0, marked);
        while at < upper.digits {
            let most = if left > 0 { THRESHOLD_GROUP } else { PLAIN_GROUP };
            let digits = most.min(upper.digits - at);
            upper.push(Group { digits, marked: left.min(digits), total: at > 0 });
            (at, left) = (at + digits, left.saturating_sub(digits));
        }
        upper
    }

    /// The digits from bit `low` on of a word of `bits` bits: each its own group if they are few,
    /// which saves the round.
    pub(crate) fn plain(low: u32, bits: u32) -> Self {
        let mut upper = Self::new(low, bits);
        let most = if upper.digits <= PLAIN_GROUP { 1 } else { PLAIN_GROUP };
        for at in (0..upper.digits).step_by(most) {
            upper.push(Group { digits: most.min(upper.digits - at), marked: 0, total: true });
        }
        upper
    }

    fn new(low: u32, bits: u32) -> Self {
        let bits = bits.saturating_sub(low) as usize;
        let digits = bits.div_ceil(DIGIT);
        let mut widths = [4; DIGITS];
        if !bits.is_multiple_of(DIGIT) {
            widths[digits - 1] = [4, 1, 2, 3][bits % DIGIT];
        }
        Self { widths, digits, groups: [Group::default(); GROUPS], count: 0 }
    }

    fn push(&mut self, group: Group) {
        self.groups[self.count] = group;
        self.count += 1;
    }

    /// Widths of the digits, lowest first.
    pub(crate) fn widths(&self) -> &[u8] {
        &self.widths[..self.digits]
    }
    /// The groups, lowest first.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups[..self.count]
    }
    /// Bits of all digits.
    pub(crate) fn bits(&self) -> usize {
        self.widths().iter().map(|w| usize::from(*w)).sum()
    }
    /// Planes of the result.
    pub(crate) fn planes(&self) -> usize {
        self.groups().iter().map(|g| g.planes()).sum()
    }

    /// From the planes `c` of the public word and the dealt planes `hot` of its mask's digits,
    /// group after group into `out`: `x`, `y`, `n`, then for each marked digit `A`, `B` in its
    /// middle and on its top. With `E`, `F` of the groups above, those of a group and all above are
    /// `x E` and `y (n ? F : E)`, and a threshold is `A E ⊕ B F`; for the topmost group
    /// `E = F = 1`. One round, or none.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub(crate) fn join<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        (c, hot): (&[W], &[W]),
        out: &mut [W],
    ) -> Result<(), Error> {
        let lanes = out.len() / self.planes();
        let ([state, variables], mut party) =
            party.scratch([self.state_planes(), self.variables()].map(|planes| planes * lanes))?;
        self.prepare(&mut party, (c, hot), state, variables)?;
        let masks = hide_bits(&mut party, draw, variables)?;
        if !variables.is_empty() {
            party.open_bits(variables)?; // the one round
        }
        self.complete(&mut party, draw, state, (variables, masks), out)
    }

    /// Planes that the round of [`Self::join`] opens.
    pub(crate) fn variables(&self) -> usize {
        self.groups().iter().map(|g| g.variables()).sum()
    }

    /// Planes of what [`Self::complete`] needs of [`Self::prepare`].
    pub(crate) fn state_planes(&self) -> usize {
        self.digits * (THRESHOLD_LEAVES + 1)
    }

    /// [`Self::join`] before its round: writes `state`, and the planes to open, unmasked.
    ///
    /// # Errors
    ///
    /// [`Error::Scratch`].
    pub(crate) fn prepare<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (c, hot): (&[W], &[W]),
        state: &mut [W],
        variables: &mut [W],
    ) -> Result<(), Error> {
        let lanes = state.len() / self.state_planes();
        let (leaves, zeros) = state.split_at_mut(self.digits * THRESHOLD_LEAVES * lanes);
        let ([run], mut party) = party.scratch([lanes])?;
        self.leaves(&mut party, (c, hot), leaves, lanes);
        let joints = Joints { leaves, lanes };
        let (mut digit, mut rest) = (0, variables);
        for group in self.groups() {
            let (own, others) = rest.split_at_mut(group.variables() * lanes);
            joints.variables(&mut party, *group, digit, own, (&mut zeros[digit * lanes..], &mut *run));
            (digit, rest) = (digit + group.digits, others);
        }
        Ok(())
    }

    /// [`Self::join`] after its round, from the opened planes and the view that [`hide_bits`] gave.
    ///
    /// # Errors
    ///
    /// The dealer's, and [`Error::Scratch`].
    pub(crate) fn complete<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        state: &[W],
        (open, masks): (&[W], View<'_>),
        out: &mut [W],
    ) -> Result<(), Error> {
        let lanes = state.len() / self.state_planes();
        let (leaves, zeros) = state.split_at(self.digits * THRESHOLD_LEAVES * lanes);
        let products = self.groups().iter().map(|g| g.equal_terms() + g.less_terms()).max().unwrap_or(0);
        let ([products], mut party) = party.scratch([products * lanes])?;
        let joints = Joints { leaves, lanes };
        let (mut digit, mut at, mut out) = (0, 0, out);
        for group in self.groups() {
            let len = group.variables() * lanes;
            let open = (&open[at..at + len], masks.slice(at, len));
            let (own, others) = out.split_at_mut(group.planes() * lanes);
            group_products(&mut party, draw, *group, lanes, open, products)?;
            joints.results(&party, *group, digit, products, zeros, own);
            (digit, at, out) = (digit + group.digits, at + len, others);
        }
        Ok(())
    }

    /// Leaves of all digits, [`THRESHOLD_LEAVES`] planes each.
    fn leaves<W: Word>(&self, party: &mut Party<'_, W>, (c, hot): (&[W], &[W]), leaves: &mut [W], lanes: usize) {
        let first = party.role.first_mask();
        let marked = self.groups().iter().flat_map(|g| (0..g.digits).map(|i| i < g.marked));
        let (mut c, mut hot) = (c, hot);
        let all = leaves.chunks_exact_mut((THRESHOLD_LEAVES * lanes).max(1));
        for ((leaves, marked), width) in all.zip(marked).zip(self.widths()) {
            let (own, c_rest) = c.split_at(usize::from(*width) * lanes);
            let (own_hot, hot_rest) = hot.split_at(((1 << width) - 1) * lanes);
            let len = if marked { THRESHOLD_LEAVES } else { LEAVES } * lanes;
            party.kernels.digit_leaves(&mut leaves[..len], own, own_hot, (*width).into(), first);
            (c, hot) = (c_rest, hot_rest);
        }
    }
}

/// Order of a digit's leaves.
#[derive(Clone, Copy)]
enum Leaf {
    E,
    Z,
    N,
    L,
    A,
    B,
}

/// Inputs of a group's variables and results.
struct Joints<'a, W> {
    leaves: &'a [W],
    lanes: usize,
}

impl<'a, W: Word> Joints<'a, W> {
    fn leaf(&self, digit: usize, leaf: Leaf) -> &'a [W] {
        &self.leaves[(THRESHOLD_LEAVES * digit + leaf as usize) * self.lanes..][..self.lanes]
    }

    /// `e… a… l… b…`, then the chains, of a group whose lowest digit is `at`. For each start,
    /// `zeros` receives whether all digits of `c` of its chain are zero.
    fn variables(
        &self,
        party: &mut Party<'_, W>,
        group: Group,
        at: usize,
        out: &mut [W],
        (zeros, run): (&mut [W], &mut [W]),
    ) {
        let lanes = self.lanes;
        let mut planes = out.chunks_exact_mut(lanes.max(1));
        let mut put = |plane: &[W]| {
            if let Some(next) = planes.next() {
                next.copy_from_slice(plane);
            }
        };
        if group.digits > 1 {
            (group.lowest()..group.digits).for_each(|i| put(self.leaf(at + i, Leaf::E)));
            for leaf in [Leaf::A, Leaf::L, Leaf::B] {
                (0..group.inner()).for_each(|i| put(self.leaf(at + i, leaf)));
            }
        }
        for from in group.lowest()..=group.inner() {
            run.copy_from_slice(self.leaf(at + from, Leaf::N));
            if let Some(next) = planes.next().filter(|_| group.digits > 1) {
                next.copy_from_slice(self.leaf(at + from, Leaf::Z));
            }
            for i in at + from + 1..at + group.digits {
                if let Some(next) = planes.next() {
                    party.kernels.choose(next, run, self.leaf(i, Leaf::Z), self.leaf(i, Leaf::E));
                }
                party.kernels.keep_planes(run, self.leaf(i, Leaf::N));
            }
            zeros[from * lanes..][..lanes].copy_from_slice(run);
        }
    }

    /// The planes of [`Upper::join`] for one group, from its products.
    fn results(&self, party: &Party<'_, W>, group: Group, at: usize, products: &[W], zeros: &[W], out: &mut [W]) {
        let lanes = self.lanes;
        let product = |i: usize| &products[i * lanes..][..lanes];
        let zero = |i: usize| &zeros[(at + i) * lanes..][..lanes];
        let (totals, thresholds) = out.split_at_mut(TOTAL * lanes);
        let mut totals = totals.chunks_exact_mut(lanes.max(1));
        if let (true, [Some(x), Some(y), Some(n)]) = (group.total, [(); 3].map(|()| totals.next())) {
            let single = group.digits == 1;
            x.copy_from_slice(if single { self.leaf(at, Leaf::E) } else { product(0) });
            y.copy_from_slice(if single { self.leaf(at, Leaf::Z) } else { product(group.equal_terms()) });
            n.copy_from_slice(zero(0));
        }
        let skip = usize::from(group.total);
        for (i, planes) in thresholds.chunks_exact_mut((THRESHOLDS * lanes).max(1)).enumerate() {
            let (middle, top) = planes.split_at_mut(2 * lanes);
            let (([a, b], [top_a, top_b]), first) = ((halves(middle), halves(top)), party.role.first_mask::<W>());
            if i < group.inner() {
                // E, E a, E l; F b, F l.
                let (equal, less) = (skip + 3 * i, group.equal_terms() + skip + 2 * i);
                a.copy_from_slice(product(equal + 1));
                b.copy_from_slice(product(less));
                top_a.copy_from_slice(product(equal));
                party.kernels.xor(top_a, product(equal + 2));
                top_b.copy_from_slice(product(less + 1));
                party.kernels.move_planes(a, b, zero(i + 1));
                party.kernels.move_planes(top_a, top_b, zero(i + 1));
            } else {
                a.copy_from_slice(self.leaf(at + i, Leaf::A));
                b.copy_from_slice(self.leaf(at + i, Leaf::B));
                top_a.fill(first);
                party.kernels.xor(top_a, self.leaf(at + i, Leaf::L));
                top_b.copy_from_slice(self.leaf(at + i, Leaf::L));
            }
        }
    }
}

fn halves<W>(planes: &mut [W]) -> [&mut [W]; 2] {
    let (a, b) = planes.split_at_mut(planes.len() / 2);
    [a, b]
}

/// All products of a group: first those of the `e`, then those of the chains.
fn group_products<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    group: Group,
    lanes: usize,
    (open, masks): (&[W], View<'_>),
    products: &mut [W],
) -> Result<(), Error> {
    if group.digits == 1 {
        return Ok(());
    }
    let (inner, total) = (group.inner(), usize::from(group.total));
    let equal = group.digits - group.lowest();
    let all = |from: usize, len: usize| ((1u16 << len) - 1) << from;
    let mut terms = [0; TERMS];
    // Variables e… a… l….
    terms[0] = all(0, equal);
    for i in 0..inner {
        let above = group.digits - 1 - i;
        let e = all(equal - above, above);
        terms[total + 3 * i..][..3].copy_from_slice(&[e, e | 1 << (equal + i), e | 1 << (equal + inner + i)]);
    }
    let (len, count) = ((equal + 2 * inner) * lanes, group.equal_terms());
    let (out, products) = products.split_at_mut(count * lanes);
    conjunctions(party, draw, (&open[..len], masks.slice(0, len)), lanes, &terms[..count], out)?;
    // Variables l… b…, then the chains.
    let mut at = 2 * inner;
    for (i, chain) in group.chains().enumerate() {
        let chain_term = all(at, chain);
        match i.checked_sub(total) {
            None => terms[0] = chain_term,
            Some(i) => {
                terms[total + 2 * i..][..2].copy_from_slice(&[chain_term | 1 << (inner + i), chain_term | 1 << i])
            }
        }
        at += chain;
    }
    let (from, count) = ((equal + inner) * lanes, group.less_terms());
    let open = (&open[from..], masks.slice(from, open.len() - from));
    conjunctions(party, draw, open, lanes, &terms[..count], &mut products[..count * lanes])
}

/// `x` of each group, and the chain of which `F` of all of them is the product: `y` of the lowest,
/// then of each group above `y` or `x`, chosen by the digits of `c` below.
pub(crate) fn chain<W: Word>(
    party: &Party<'_, W>,
    (groups, joined): (&[Group], &[W]),
    lanes: usize,
    (x, v): (&mut [W], &mut [W]),
    run: &mut [W],
) {
    let mut at = 0;
    run.fill(W::default().not());
    for (group, (x, v)) in groups.iter().zip(x.chunks_exact_mut(lanes.max(1)).zip(v.chunks_exact_mut(lanes.max(1)))) {
        let plane = |i: usize| &joined[at + i * lanes..][..lanes];
        x.copy_from_slice(plane(0));
        party.kernels.choose(v, run, plane(1), plane(0));
        party.kernels.keep_planes(run, plane(2));
        at += group.planes() * lanes;
    }
}

/// Products of one kind in a group, at most.
const TERMS: usize = 1 + 3 * (THRESHOLD_GROUP - 1);
