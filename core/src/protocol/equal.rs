//! Compares two shared vectors for equality, element by element.
//!
//! The difference is opened as `c = x - y + r` under a fresh mask `r`, whose digits are all dealt
//! as one-hot vectors: `[x = y] = [c = r]` is the conjunction of `[c_i = r_i]` over the digits,
//! which are local. Conjunctions over groups of digits are one round; one more joins the groups of
//! a word of more than 32 bits. Without an order of the digits there is less to open than for a
//! comparison, and nothing wraps.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** an element, a bit being a plane's, rounded up to whole words:
//!
//!   | `k` | rounds | each way | dealt |
//!   | --- | --- | --- | --- |
//!   | 32 | 2 | a word, 7 bits | 289 bits |
//!   | 64 | 3 | a word, 26 bits | 251 bits |
//!
//!   and, for words instead of bits, one round, one bit each way and one word dealt.
//! - **Result:** exact, of any words of the ring.
//! - **Memory:** 9.9 words of scratch an element for `k = 32`, 7 for `k = 64`; no heap.
//! - **Clear engine:** compares the words.

use super::{
    bit::bits_to_words,
    conjunction::{conjunctions, hide_bits},
};
use crate::{
    correlation::{
        Draw, View, Words,
        request::{Digits, digit_planes},
    },
    kernel::{plane_words, portable::MAX_DIGIT_BITS},
    link::Error,
    party::Party,
    word::Word,
};

/// Digits that one conjunction joins, at most.
const GROUP: u32 = 9;
/// Digits of a word, at most.
const DIGITS: u32 = 32;
/// Bits that one level joins.
const ONE_LEVEL: u32 = 32;

/// XOR shares of `[x = y]`, a plane: two rounds for `k = 32`, three for `k = 64`.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ, or `out` is not one plane.
pub fn equal<W: Word>(party: &mut Party<'_, W>, x: &[W], y: &[W], out: &mut [W]) -> Result<(), Error> {
    let (n, lanes) = (x.len(), plane_words::<W>(x.len()));
    assert!(y.len() == n && out.len() == lanes, "equal: lengths differ");
    let layout = DigitGroups::new(W::BITS);
    let ([c, r, eq], mut party) = party.scratch([n, n, layout.digits as usize * lanes])?;
    let mut draw = party.draw()?;
    c.copy_from_slice(x);
    party.kernels.sub(c, y);
    if party.is_clear() {
        return clear(&mut party, c, out);
    }
    let mask = draw.mask(n).view();
    party.expand(mask, r);
    party.kernels.add(c, r);
    party.open(c)?; // round 1
    equal_digits(&mut party, &mut draw, (c, mask), layout, eq)?;
    let mut left = layout.digits as usize;
    for groups in [layout.groups as usize, 1] {
        if left > 1 {
            join(&mut party, &mut draw, eq, (left, groups, lanes))?; // a round
            left = groups;
        }
    }
    out.copy_from_slice(&eq[..lanes]);
    Ok(())
}

/// Shares of `[x = y]`, a word of 0 or 1 for each element: one round more than [`equal`].
///
/// # Errors
///
/// As [`equal`].
///
/// # Panics
///
/// If lengths differ.
pub fn equal_words<W: Word>(party: &mut Party<'_, W>, x: &[W], y: &[W], out: &mut [W]) -> Result<(), Error> {
    assert!(out.len() == x.len(), "equal: lengths differ");
    let ([bit], mut party) = party.scratch([plane_words::<W>(x.len())])?;
    equal(&mut party, x, y, bit)?;
    bits_to_words(&mut party, bit, &[0], out) // the last round
}

/// The plane `[d = 0]` of whole words.
fn clear<W: Word>(party: &mut Party<'_, W>, d: &[W], out: &mut [W]) -> Result<(), Error> {
    let lanes = out.len();
    let ([planes], party) = party.scratch([W::BITS as usize * lanes])?;
    party.kernels.to_planes(planes, d, 0);
    out.fill(W::default().not());
    for plane in planes.chunks_exact(lanes.max(1)) {
        out.iter_mut().zip(plane).for_each(|(out, bit)| *out = out.and(bit.not()));
    }
    Ok(())
}

/// Widths of the digits of a word, and groups of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct DigitGroups {
    bits: u32,
    digits: u32,
    groups: u32,
}

impl DigitGroups {
    /// Returns the cheapest layout with the fewest levels.
    fn new(bits: u32) -> Self {
        let groups = if bits > ONE_LEVEL { 2..=GROUP } else { 1..=1 };
        groups
            .flat_map(|groups| {
                let least = bits.div_ceil(MAX_DIGIT_BITS).max(2 * groups);
                (least..=DIGITS.min(GROUP * groups)).map(move |digits| Self { bits, digits, groups })
            })
            .min_by_key(Self::cost)
            .unwrap_or(Self { bits, digits: 1, groups: 1 })
    }

    /// Bits that are opened and bits that are dealt.
    fn cost(&self) -> u32 {
        self.opened() + self.dealt()
    }

    /// Bits that are opened after the word.
    fn opened(&self) -> u32 {
        self.digits + if self.groups > 1 { self.groups } else { 0 }
    }

    fn dealt(&self) -> u32 {
        let subsets = |n: u32| (1 << n) - 1 - n;
        let last = if self.groups > 1 { subsets(self.groups) } else { 0 };
        let digits: u32 = self.widths().map(|w| (1 << w) - 1).sum();
        digits + last + parts(self.digits, self.groups).map(subsets).sum::<u32>()
    }

    /// Widths of the digits, lowest first.
    fn widths(&self) -> impl Iterator<Item = u32> + use<> {
        parts(self.bits, self.digits)
    }
}

/// Sizes of `count` almost equal parts of `n`.
fn parts(n: u32, count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |i| (i + 1) * n / count - i * n / count)
}

/// Shares of `[c_i = r_i]`, a plane a digit.
fn equal_digits<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (c, mask): (&[W], View<'_>),
    layout: DigitGroups,
    eq: &mut [W],
) -> Result<(), Error> {
    let lanes = plane_words::<W>(c.len());
    let mut widths = [1; DIGITS as usize];
    for (place, width) in widths.iter_mut().zip(layout.widths()) {
        #[allow(clippy::cast_possible_truncation)] // at most MAX_DIGIT_BITS
        let width = width as u8;
        *place = width;
    }
    let widths = &widths[..layout.digits as usize];
    let ([hot, planes, less], mut party) =
        party.scratch([digit_planes(widths) * lanes, layout.bits as usize * lanes, lanes])?;
    party.take(draw, Digits { words: Words::Mask(mask), low: 0, widths }, &mut [&mut *hot])?;
    party.kernels.to_planes(planes, c, 0);
    let first = party.role.first_mask();
    let (mut c, mut hot) = (&*planes, &*hot);
    for (eq, width) in eq.chunks_exact_mut(lanes.max(1)).zip(widths) {
        let (c_digit, c_rest) = c.split_at(usize::from(*width) * lanes);
        let (hot_digit, hot_rest) = hot.split_at(((1 << width) - 1) * lanes);
        less.fill(W::default());
        party.kernels.digit_less_equal(less, eq, c_digit, hot_digit, u32::from(*width), first);
        (c, hot) = (c_rest, hot_rest);
    }
    Ok(())
}

/// Joins the first `count` planes of `eq` by `groups` conjunctions, in place: one round.
fn join<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    eq: &mut [W],
    (count, groups, lanes): (usize, usize, usize),
) -> Result<(), Error> {
    let ([open, joined], mut party) = party.scratch([count * lanes, groups * lanes])?;
    open.copy_from_slice(&eq[..count * lanes]);
    let masks = hide_bits(&mut party, draw, open)?;
    party.open_bits(open)?; // the one round
    for (i, joined) in joined.chunks_exact_mut(lanes.max(1)).enumerate() {
        let (from, to) = (i * count / groups, (i + 1) * count / groups);
        let (at, len) = (from * lanes, (to - from) * lanes);
        let term = (1u16 << (to - from)) - 1;
        conjunctions(&mut party, draw, (&open[at..at + len], masks.slice(at, len)), lanes, &[term], joined)?;
    }
    eq[..groups * lanes].copy_from_slice(joined);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_cost_what_the_documentation_says() {
        let cost = |bits| {
            let layout = DigitGroups::new(bits);
            [layout.opened(), layout.dealt()]
        };
        assert_eq!([cost(32), cost(64)], [[7, 289], [26, 251]]);
        for bits in [8, 16, 32, 64] {
            let layout = DigitGroups::new(bits);
            assert_eq!(layout.widths().sum::<u32>(), bits, "{layout:?}");
            assert!(layout.widths().all(|w| (1..=MAX_DIGIT_BITS).contains(&w)), "{layout:?}");
            assert!(parts(layout.digits, layout.groups).all(|n| (2..=GROUP).contains(&n)), "{layout:?}");
        }
    }
}
