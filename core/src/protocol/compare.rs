//! Compares public words with masks.
//!
//! Dealt: each digit of the mask `r` as a shared one-hot vector, from which `[c = r]` and `[c < r]`
//! of that digit are local. A tree joins them: a node over `d` digits, the lowest first, has `lt =
//! ⊕_i l_i ∏_{j>i} e_j` and `eq = ∏ e_i`. Each node is one conjunction and all nodes of a level are
//! one round. Nothing but masked bits is opened.
//!
//! Up to 5 bits are one digit, up to 20 bits one level, more are two. Within that, `Layout`
//! takes the digits and nodes that cost least.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** one round a level. Bits each way / dealt, an element, with `lt` alone:
//!
//!   | bits | rounds | each way | dealt |
//!   | --- | --- | --- | --- |
//!   | 5 | 0 | 0 | 31 |
//!   | 8 | 1 | 4 | 22 |
//!   | 19 | 1 | 8 | 104 |
//!   | 30 | 2 | 21 | 104 |
//!   | 50 | 2 | 34 | 216 |
//!   | 62 | 2 | 42 | 296 |
//!
//!   rounded up to whole words of a plane.
//! - **Result:** exact.
//! - **Memory:** at most 5.3 words of scratch an element; no heap.
//! - **Clear engine:** runs this way too; its callers take shorter ones.

use super::conjunction::{conjunctions, hide_bits};
use crate::{
    correlation::{
        Draw, View, Words,
        request::{Digits, digit_planes},
    },
    kernel::{plane_words, portable::MAX_DIGIT_BITS},
    link::Error,
    party::{Party, Role},
    word::Word,
};

/// Digits of a word at most, and children of a node.
const DIGITS: u32 = 25;
const CHILDREN: u32 = 5;
/// Bits that one level joins.
const ONE_LEVEL: u32 = 20;

/// XOR shares of `[c mod 2^bits < r mod 2^bits]` as a plane, for public words `c` and the masks `r` that `words` names.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or `bits` is 0 or more than a word has.
pub fn less<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    c: &[W],
    words: Words<'_>,
    bits: u32,
    out: &mut [W],
) -> Result<(), Error> {
    assert!(bits > 0, "compare: no such bits");
    compare(party, draw, c, words, (bits, false), out)
}

/// XOR shares of bit `bit` of `c - r` as a plane: `c_bit ^ r_bit ^ [c mod 2^bit < r mod 2^bit]`. Costs what [`less`] of `bit` bits does, and
/// one dealt bit.
///
/// # Errors
///
/// As [`less`].
///
/// # Panics
///
/// If lengths differ, or `bit` is not one of a word's.
pub fn difference_bit<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    c: &[W],
    words: Words<'_>,
    bit: u32,
    out: &mut [W],
) -> Result<(), Error> {
    compare(party, draw, c, words, (bit, true), out)
}

/// [`less`] of `bits` bits, with `top` the bit above them folded in.
fn compare<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    c: &[W],
    words: Words<'_>,
    (bits, top): (u32, bool),
    out: &mut [W],
) -> Result<(), Error> {
    let lanes = plane_words::<W>(c.len());
    assert!(bits + u32::from(top) <= W::BITS, "compare: no such bits");
    let comparison = Comparison { layout: Layout::new(bits), top };
    let ([lt, eq], mut party) = party.scratch([comparison.digits() * lanes; 2])?;
    comparison.leaves(&mut party, draw, (c, words), [lt, eq, out])?;
    for level in comparison.levels() {
        let ([variables], mut party) = party.scratch([level.variables() * lanes])?;
        level.prepare(lanes, [lt, eq], variables);
        let masks = hide_bits(&mut party, draw, variables)?;
        party.open_bits(variables)?; // the one round
        level.complete(&mut party, draw, lanes, (variables, masks), [lt, eq])?;
    }
    comparison.finish(&party, lt, out);
    Ok(())
}

/// A comparison whose rounds the caller runs, side by side with others.
#[derive(Clone, Copy)]
pub(crate) struct Comparison {
    layout: Layout,
    /// Whether the bit above is folded in.
    top: bool,
}

impl Comparison {
    /// That of [`difference_bit`].
    pub(crate) fn of_bit(bit: u32) -> Self {
        Self { layout: Layout::new(bit), top: true }
    }

    /// Planes of `lt`, and of `eq`.
    pub(crate) fn digits(&self) -> usize {
        self.layout.digits as usize
    }

    /// Levels of the tree: a round each, two at most.
    pub(crate) fn levels(&self) -> impl Iterator<Item = Level> + use<> {
        let [digits, nodes] = [self.layout.digits, self.layout.nodes].map(|n| n as usize);
        [Level { digits, nodes }, Level { digits: nodes, nodes: 1 }].into_iter().filter(|level| level.digits > 1)
    }

    /// Writes the result to `out` after all levels.
    pub(crate) fn finish<W: Word>(&self, party: &Party<'_, W>, lt: &[W], out: &mut [W]) {
        // Nothing lies below bit 0.
        let Some(lt) = lt.get(..out.len()) else { return };
        if self.top {
            party.kernels.xor(out, lt);
        } else {
            out.copy_from_slice(lt);
        }
    }
}

/// How bits are compared: digits of almost equal width, joined by nodes of almost equal size, which
/// a last node joins if there are several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Layout {
    bits: u32,
    digits: u32,
    nodes: u32,
}

impl Layout {
    /// Returns the cheapest layout with the fewest levels.
    fn new(bits: u32) -> Self {
        let nodes = if bits > ONE_LEVEL { 2..=CHILDREN } else { 1..=1 };
        let least = bits.div_ceil(MAX_DIGIT_BITS);
        let most = |nodes| if least > 1 { DIGITS.min(CHILDREN * nodes) } else { least };
        nodes
            .flat_map(|nodes| (least.max(nodes)..=most(nodes)).map(move |digits| Self { bits, digits, nodes }))
            .min_by_key(Self::cost)
            .unwrap_or(Self { bits, digits: 0, nodes: 1 })
    }

    /// Bits that are opened and bits that are dealt.
    fn cost(&self) -> u32 {
        let (nodes, digits) = (self.nodes as usize, self.digits as usize);
        let last = (nodes > 1).then_some((nodes, 1));
        let joins = core::iter::once((digits, nodes)).chain(last);
        let joined: usize = joins.flat_map(|(d, n)| Node::all(d, n)).map(|n| n.variables() + n.subsets()).sum();
        self.widths().map(|w| (1 << w) - 1).sum::<u32>() + u32::try_from(joined).unwrap_or(u32::MAX)
    }

    /// Widths of the digits, lowest first.
    fn widths(&self) -> impl Iterator<Item = u32> + use<> {
        let Self { bits, digits, .. } = *self;
        (0..digits).map(move |i| (i + 1) * bits / digits - i * bits / digits)
    }
}

impl Comparison {
    /// Shares of `lt` and `eq` of each digit; if the bit above is folded in, of `c_bits ^ r_bits`
    /// in `top`.
    ///
    /// # Errors
    ///
    /// The dealer's, and [`Error::Scratch`].
    pub(crate) fn leaves<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        (c, words): (&[W], Words<'_>),
        [lt, eq, top]: [&mut [W]; 3],
    ) -> Result<(), Error> {
        let (Self { layout, top: with_top }, lanes) = (*self, top.len());
        assert!(c.len() == words.len::<W>() && lanes == plane_words::<W>(c.len()), "compare: lengths differ");
        let mut widths = [1; DIGITS as usize + 1];
        for (place, width) in widths.iter_mut().zip(layout.widths()) {
            #[allow(clippy::cast_possible_truncation)] // at most MAX_DIGIT_BITS
            let width = width as u8;
            *place = width;
        }
        let (digits, bits) = (layout.digits as usize, layout.bits as usize + usize::from(with_top));
        let widths = &widths[..digits + usize::from(with_top)];
        let ([hot], mut party) = party.scratch([digit_planes(widths) * lanes])?;
        party.take(draw, Digits { words, low: 0, widths }, &mut [&mut *hot])?;
        let ([c_planes], party) = party.scratch([bits * lanes])?;
        party.kernels.to_planes(c_planes, c, 0);
        let first = party.role.first_mask();
        let (mut c, mut hot) = (&*c_planes, &*hot);
        for (i, width) in widths[..digits].iter().enumerate() {
            let at = i * lanes;
            let (c_digit, c_rest) = c.split_at(usize::from(*width) * lanes);
            let (hot_digit, hot_rest) = hot.split_at(((1 << width) - 1) * lanes);
            let (lt, eq) = (&mut lt[at..at + lanes], &mut eq[at..at + lanes]);
            party.kernels.digit_less_equal(lt, eq, c_digit, hot_digit, u32::from(*width), first);
            (c, hot) = (c_rest, hot_rest);
        }
        if with_top {
            // The one-hot vector of one bit is that bit.
            top.copy_from_slice(hot);
            if party.role != Role::Server1 {
                party.kernels.xor(top, c);
            }
        }
        Ok(())
    }
}

/// A node over `children` digits: its variables are the `eq` of all but the lowest child, the `lt` of all but the highest, and, unless it
/// is the lowest of its level, the `eq` of the lowest child.
#[derive(Clone, Copy)]
struct Node {
    child: usize,
    children: usize,
}

impl Node {
    /// Returns `nodes` nodes over `digits` digits.
    fn all(digits: usize, nodes: usize) -> impl Iterator<Item = Self> + Clone {
        let at = move |node| node * digits / nodes;
        (0..nodes).map(move |node| Self { child: at(node), children: at(node + 1) - at(node) })
    }
    fn is_lowest(self) -> bool {
        self.child == 0
    }
    fn variables(self) -> usize {
        match self.children {
            0 | 1 => 0,
            n => 2 * (n - 1) + usize::from(!self.is_lowest()),
        }
    }
    /// Products: `lt` of each child but the highest times the `eq` of those above it, then, if it
    /// is wanted, `eq` of all.
    fn terms(self) -> usize {
        match self.children {
            0 | 1 => 0,
            n => n - usize::from(self.is_lowest()),
        }
    }
    /// Variables of product `term`.
    fn term(self, term: usize) -> u16 {
        let above = self.children - 1;
        let equal = (1 << above) - 1;
        if term == above { equal | 1 << (2 * above) } else { (equal >> term << term) | 1 << (above + term) }
    }
    /// Products of masks that are dealt for it.
    fn subsets(self) -> usize {
        let Some(above) = self.children.checked_sub(1).filter(|above| *above > 0) else { return 0 };
        let equal = above + usize::from(!self.is_lowest());
        (1 << equal) - 1 - equal + (1..=above).map(|n| (1 << n) - 1).sum::<usize>()
    }
}

/// A level of the tree: digits that nodes join, in one round.
#[derive(Clone, Copy)]
pub(crate) struct Level {
    digits: usize,
    nodes: usize,
}

impl Level {
    fn nodes(self) -> impl Iterator<Item = Node> + Clone {
        Node::all(self.digits, self.nodes)
    }

    /// Planes that the round opens.
    pub(crate) fn variables(self) -> usize {
        self.nodes().map(Node::variables).sum()
    }

    /// Writes the planes that the round opens, unmasked.
    pub(crate) fn prepare<W: Word>(self, lanes: usize, [lt, eq]: [&[W]; 2], variables: &mut [W]) {
        let mut rest = variables;
        for node in self.nodes().filter(|n| n.children > 1) {
            let (at, e, l) =
                (node.child * lanes, (node.children - 1) * lanes, if node.is_lowest() { 0 } else { lanes });
            let (mine, others) = rest.split_at_mut(node.variables() * lanes);
            mine[..e].copy_from_slice(&eq[at + lanes..][..e]);
            mine[e..2 * e].copy_from_slice(&lt[at..][..e]);
            mine[2 * e..].copy_from_slice(&eq[at..][..l]);
            rest = others;
        }
    }

    /// Joins the digits, in place, from the opened planes and the view that [`hide_bits`] gave.
    ///
    /// # Errors
    ///
    /// The dealer's, and [`Error::Scratch`].
    pub(crate) fn complete<W: Word>(
        self,
        party: &mut Party<'_, W>,
        draw: &mut Draw,
        lanes: usize,
        (open, masks): (&[W], View<'_>),
        [lt, eq]: [&mut [W]; 2],
    ) -> Result<(), Error> {
        let ([products], mut party) = party.scratch([CHILDREN as usize * lanes])?;
        let mut at = 0;
        for (i, node) in self.nodes().enumerate() {
            let highest = (node.child + node.children - 1) * lanes;
            lt.copy_within(highest..highest + lanes, i * lanes);
            let (len, mut terms) = (node.variables() * lanes, [0; CHILDREN as usize]);
            let terms = &mut terms[..node.terms()];
            terms.iter_mut().enumerate().for_each(|(i, term)| *term = node.term(i));
            let products = &mut products[..terms.len() * lanes];
            let open = (&open[at..at + len], masks.slice(at, len));
            if node.children > 1 {
                conjunctions(&mut party, draw, open, lanes, terms, products)?;
            } else {
                eq.copy_within(highest..highest + lanes, i * lanes);
            }
            for (t, product) in products.chunks_exact(lanes.max(1)).enumerate() {
                let to = i * lanes..(i + 1) * lanes;
                if t + 1 < node.children {
                    party.kernels.xor(&mut lt[to], product);
                } else {
                    eq[to].copy_from_slice(product);
                }
            }
            at += len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::portable::needed_subsets;

    /// The cost that is minimised is that of what is opened and dealt.
    #[test]
    fn layouts_cost_what_they_say() {
        for bits in 0..64 {
            let layout = Layout::new(bits);
            assert_eq!(layout.widths().sum::<u32>(), bits, "{layout:?}");
            assert!(layout.widths().all(|w| (1..=MAX_DIGIT_BITS).contains(&w)), "{layout:?}");
            assert_eq!(layout.nodes == 1, bits <= ONE_LEVEL, "{layout:?}");
            let (mut digits, mut cost) =
                (layout.digits as usize, layout.widths().map(|w| (1usize << w) - 1).sum::<usize>());
            for nodes in [layout.nodes as usize, 1] {
                for node in Node::all(digits, nodes).filter(|_| digits > 1) {
                    assert!(node.children <= CHILDREN as usize, "{layout:?}");
                    let mut terms = [0; CHILDREN as usize];
                    terms.iter_mut().enumerate().take(node.terms()).for_each(|(i, t)| *t = node.term(i));
                    cost += node.variables() + needed_subsets(&terms[..node.terms()]).count();
                }
                digits = digits.min(nodes);
            }
            assert_eq!(layout.cost() as usize, cost, "{layout:?}");
        }
    }
}
