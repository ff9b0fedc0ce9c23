//! Compares public words with masks.
//!
//! Dealt: each 4-bit digit of the mask `r` as a shared one-hot vector, from which `[c = r]` and `[c < r]` of that digit are local. A
//! tree of nodes with four children joins them, `lt = l3 ^ e3 l2 ^ e3 e2 l1 ^ e3 e2 e1 l0` and `eq = e3 e2 e1 e0`, each node one conjunction and
//! all nodes of a level one round (DESIGN.md, section 5). Nothing but masked bits is opened.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** one round a level of the tree. Bits each way, an element: 62 bits 33 in two rounds, 30 bits 15 in two, 8 bits 2 in one, 4 bits and
//!   fewer none; rounded up to whole words of a plane. Dealt: 324, 146 and 31 bits, 15 for 4 bits.
//! - **Result:** exact.
//! - **Memory:** at most 5.3 words of scratch an element; no heap.
//! - **Clear engine:** runs this way too; its callers take shorter ones.

use super::conjunction::{conjunctions, hide_bits};
use crate::{
    correlation::{Draw, Request, Words, digit_planes},
    kernel::plane_words,
    link::Error,
    party::{Party, Role},
    word::Word,
};

/// Bits of a digit, and digits of a word at most.
const DIGIT: u32 = 4;
const DIGITS: usize = 16;

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
/// If lengths differ, or `bit` is 0 or not one of a word's.
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
    assert!(c.len() == words.len::<W>() && out.len() == lanes, "compare: lengths differ");
    assert!(0 < bits && bits + u32::from(top) <= W::BITS, "compare: no such bits");
    let mut digits = bits.div_ceil(DIGIT) as usize;
    let ([lt, eq], mut party) = party.scratch([digits * lanes; 2])?;
    leaves(&mut party, draw, c, words, (bits, top), [lt, eq, out])?;
    while digits > 1 {
        digits = level(&mut party, draw, lanes, digits, [lt, eq])?; // a round
    }
    let lt = &lt[..lanes];
    if top {
        party.kernels.xor(out, lt);
    } else {
        out.copy_from_slice(lt);
    }
    Ok(())
}

/// Shares of `lt` and `eq` of each digit, and with `with_top` of `c_bits ^ r_bits` in `top`.
fn leaves<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    c: &[W],
    words: Words<'_>,
    (bits, with_top): (u32, bool),
    [lt, eq, top]: [&mut [W]; 3],
) -> Result<(), Error> {
    let lanes = top.len();
    let (widths, digits) = widths(bits);
    let widths = &widths[..digits + usize::from(with_top)];
    let ([hot], mut party) = party.scratch([digit_planes(widths) * lanes])?;
    party.take(draw, &Request::Digits { words, low: 0, widths }, &mut [&mut *hot])?;
    let ([c_planes], party) = party.scratch([(bits + u32::from(with_top)) as usize * lanes])?;
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

/// Widths of the digits of `bits` bits, lowest first and the top one narrower, then 1 for the bit above; and how many digits there are.
fn widths(bits: u32) -> ([u8; DIGITS + 1], usize) {
    let digits = bits.div_ceil(DIGIT) as usize;
    let mut widths = [4; DIGITS + 1];
    widths[digits - 1] = [4, 1, 2, 3][(bits % DIGIT) as usize];
    widths[digits] = 1;
    (widths, digits)
}

/// A node over `children` digits: its variables are the `eq` of all but the lowest child, the `lt` of all but the highest, and, unless it
/// is the lowest of its level, the `eq` of the lowest child.
#[derive(Clone, Copy)]
struct Node {
    child: usize,
    children: usize,
}

impl Node {
    /// Nodes over `digits` digits.
    fn all(digits: usize) -> impl Iterator<Item = Self> + Clone {
        (0..digits).step_by(4).map(move |child| Self { child, children: 4.min(digits - child) })
    }
    fn is_lowest(self) -> bool {
        self.child == 0
    }
    fn variables(self) -> usize {
        match self.children {
            1 => 0,
            n => 2 * (n - 1) + usize::from(!self.is_lowest()),
        }
    }
    /// Products wanted: `lt` of each child but the highest times the `eq` of those above it, then `eq` of all.
    fn terms(self) -> &'static [u16] {
        let terms: &[u16] = match self.children {
            2 => &[0b011, 0b101],
            3 => &[0b0_01_11, 0b0_10_10, 0b1_00_11],
            4 => &[0b0_001_111, 0b0_010_110, 0b0_100_100, 0b1_000_111],
            _ => &[],
        };
        if self.is_lowest() { &terms[..self.children - 1] } else { terms }
    }
}

/// Joins four digits each into one, in place: one round. How many are left.
fn level<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    lanes: usize,
    digits: usize,
    [lt, eq]: [&mut [W]; 2],
) -> Result<usize, Error> {
    let count: usize = Node::all(digits).map(Node::variables).sum();
    let ([variables, products], mut party) = party.scratch([count * lanes, 4 * lanes])?;
    let mut rest = &mut *variables;
    for node in Node::all(digits).filter(|n| n.children > 1) {
        let (at, e, l) = (node.child * lanes, (node.children - 1) * lanes, if node.is_lowest() { 0 } else { lanes });
        let (mine, others) = core::mem::take(&mut rest).split_at_mut(node.variables() * lanes);
        mine[..e].copy_from_slice(&eq[at + lanes..][..e]);
        mine[e..2 * e].copy_from_slice(&lt[at..][..e]);
        mine[2 * e..].copy_from_slice(&eq[at..][..l]);
        rest = others;
    }
    let masks = hide_bits(&mut party, draw, variables)?;
    party.open_bits(variables)?; // the one round
    let mut at = 0;
    for (i, node) in Node::all(digits).enumerate() {
        let highest = (node.child + node.children - 1) * lanes;
        lt.copy_within(highest..highest + lanes, i * lanes);
        let (len, terms) = (node.variables() * lanes, node.terms());
        let products = &mut products[..terms.len() * lanes];
        let open = (&variables[at..at + len], masks.slice(at, len));
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
    Ok(Node::all(digits).count())
}
