//! The largest of several words that are open already, which it is, and how often that is right.
//!
//! `y_i - y_j` is under the mask `r_i - r_j`, whose digits are dealt: all pairs are compared at
//! once and no word is opened again. One bit a pair, its complement for the other order (on ties
//! the lower class wins), then the conjunction of each class's bits.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** of `n` classes: the comparison of `n (n - 1) / 2` pairs ([`super::sign`]), then a
//!   bit a pair in the first and a bit a group of at most nine in each further round, `ceil(log_9
//!   (n - 1))` rounds. Of ten classes, words of 21 bits: 2 rounds, 405 bits each way a row, rounded
//!   up to whole words of a plane.
//! - **Result:** exact, of the truncated values; exactly one class wins.
//! - **Needs:** signed words of `n` bits, `-2^(n-2) <= y_i - y_j < 2^(n-2)`.
//! - **Alarms:** of each pair's difference, for 2 bits dealt ([`super::alarm`]); of two classes, of
//!   a sample.
//! - **Memory:** 6.5 words of scratch a pair and row, rows in whole planes; no heap.

use super::{
    alarm::{self, compared},
    bit::bits_to_words,
    compare::difference_bit,
    conjunction::{conjunctions, hide_bits},
    select::{Selector, open_selector, select},
    truncate::{Opened, clear as truncated_value, half, truncated},
};
use crate::{
    correlation::{Draw, View, Words},
    kernel::{pair_count, pair_words, plane_words},
    link::Error,
    party::Party,
    word::Word,
};

/// Bits that one conjunction takes at most: those of ten classes in one round, for 502 dealt bits a
/// class. What is dealt doubles with each bit more.
const GROUP: usize = 9;

/// Rows and classes of opened words.
fn shape<W: Word>(word: &Opened<'_, W>, classes: usize) -> (usize, usize) {
    let rows = word.c.len().checked_div(classes).unwrap_or(0);
    assert!(rows * classes == word.c.len(), "the words are not rows of so many classes");
    (rows, plane_words::<W>(rows))
}

/// XOR shares of the one-hot vector of the first largest word in each row of `classes` words: a plane of the rows for each class.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, or the view of the words' mask is not flat.
pub fn argmax<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    classes: usize,
    hot: &mut [W],
) -> Result<(), Error> {
    let (rows, lanes) = shape(word, classes);
    assert!(hot.len() == classes * lanes, "argmax: one plane a class");
    let ([wins], mut party) = party.scratch([pair_count(classes) * lanes])?;
    let mut draw = party.draw()?;
    if rows == 0 || classes == 1 {
        hot.fill(party.role.first_mask());
        return Ok(());
    }
    if classes == 2 {
        offer_pairs(&mut party, &mut draw, word)?; // their bits are not opened
    }
    let (bits, half) = difference_bits(word);
    if party.is_clear() {
        return clear(&mut party, word, classes, wins, hot);
    }
    let ([c], mut party) = party.scratch([pair_words::<W>(rows, classes)])?;
    party.kernels.pairs(c, word.c, classes);
    party.kernels.add_constant(c, half);
    let pairs = Words::Pairs(word.mask.matrix(classes));
    difference_bit(&mut party, &mut draw, c, pairs, bits - 2, wins)?; // [y_i >= y_j], one or two rounds
    let of_pairs = Bits { each: classes - 1, of_pairs: true };
    if classes == 2 {
        last(&party, wins, of_pairs, hot, classes);
        return Ok(());
    }
    let masks = hide_bits(&mut party, &mut draw, wins)?;
    party.open_bits(wins)?; // the first round of the conjunctions
    compared(&mut party, &mut draw, (c, pairs, rows, bits), (wins, masks))?;
    conjoin(&mut party, &mut draw, (wins, masks), of_pairs, hot, classes)
}

/// Bits of the differences of words, and what makes the least of them 0.
fn difference_bits<W: Word>(word: &Opened<'_, W>) -> (u32, W) {
    let bits = word.cut.bits();
    (bits, W::from_u64(1).shl(bits - 2))
}

/// Offers the differences of two classes to the party's alarms, shifted so that theirs is a whole
/// word's.
fn offer_pairs<W: Word>(party: &mut Party<'_, W>, draw: &mut Draw, word: &Opened<'_, W>) -> Result<(), Error> {
    if party.alarms.is_none() {
        return Ok(());
    }
    let (rows, _) = shape(word, 2);
    let ([y, differences], mut party) = party.scratch([word.c.len(), pair_words::<W>(rows, 2)])?;
    truncated(&mut party, draw, word, y)?;
    party.kernels.pairs(differences, y, 2);
    party.kernels.scale(differences, W::from_u64(1).shl(W::BITS - word.cut.bits()));
    alarm::offer(&mut party, &differences[..rows], half());
    Ok(())
}

fn clear<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    classes: usize,
    wins: &mut [W],
    hot: &mut [W],
) -> Result<(), Error> {
    let (rows, lanes) = shape(word, classes);
    let words = [word.c.len(), pair_words::<W>(rows, classes), wins.len()];
    let ([y, pairs, alarms], mut party) = party.scratch(words)?;
    truncated_value(&party, word, y);
    let (bits, half) = difference_bits(word);
    party.kernels.pairs(pairs, y, classes);
    party.trace.opened(pairs, half, bits);
    party.kernels.add_constant(pairs, half);
    party.kernels.to_planes(wins, pairs, bits - 2);
    if classes > 2 {
        party.kernels.to_planes(alarms, pairs, bits - 1);
        alarm::raise(&mut party, alarms, rows);
    }
    let bits = Bits { each: classes - 1, of_pairs: true };
    for (class, hot) in hot.chunks_exact_mut(lanes).enumerate() {
        hot.fill(W::default().not());
        for (pair, lost) in (0..bits.each).map(|t| bits.place(classes, class, t)) {
            let flip = if lost { W::default().not() } else { W::default() };
            for (hot, win) in hot.iter_mut().zip(&wins[pair * lanes..]) {
                *hot = hot.and(win.xor(flip));
            }
        }
    }
    Ok(())
}

/// Planes whose conjunction, class by class, is wanted.
#[derive(Clone, Copy)]
struct Bits {
    /// Planes a class.
    each: usize,
    /// Whether they are the bits of pairs, each of which serves two classes; else every class has its own, in order.
    of_pairs: bool,
}

impl Bits {
    /// Where plane `t` of `class` is, and whether its complement is meant.
    fn place(self, classes: usize, class: usize, t: usize) -> (usize, bool) {
        if !self.of_pairs {
            return (class * self.each + t, false);
        }
        let other = t + usize::from(t >= class);
        let (i, j) = (class.min(other), class.max(other));
        (i * (2 * classes - i - 1) / 2 + j - i - 1, class == j)
    }

    /// The conjunctions of one round for each class: as few rounds as groups of [`GROUP`] allow, then as small groups as so many rounds do.
    fn groups(self) -> usize {
        let rounds = (1u32..).find(|r| GROUP.pow(*r) >= self.each).unwrap_or(1);
        let size = (2..GROUP).find(|s| s.pow(rounds) >= self.each).unwrap_or(GROUP);
        self.each.div_ceil(size)
    }
}

/// XOR shares of the conjunction of each class's bits, whose planes are open under `masks`: one
/// round for each level of groups above the first.
fn conjoin<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (planes, masks): (&[W], View<'_>),
    bits: Bits,
    hot: &mut [W],
    classes: usize,
) -> Result<(), Error> {
    let (lanes, groups) = (hot.len() / classes, bits.groups());
    let ([joined, open], mut party) = party.scratch([classes * groups * lanes, GROUP * lanes])?;
    let masks = masks.matrix(lanes);
    for (at, joined) in joined.chunks_exact_mut(lanes).enumerate() {
        let (class, group) = (at / groups, at % groups);
        let (from, to) = (group * bits.each / groups, (group + 1) * bits.each / groups);
        let (mut which, size) = ([0; GROUP], to - from);
        let open = &mut open[..size * lanes];
        for ((t, which), open) in (from..to).zip(&mut which).zip(open.chunks_exact_mut(lanes)) {
            let (plane, complement) = bits.place(classes, class, t);
            *which = u32::try_from(plane).unwrap_or(u32::MAX); // a view has no more rows
            open.copy_from_slice(&planes[plane * lanes..][..lanes]);
            if complement {
                // The same mask hides the complement.
                open.iter_mut().for_each(|o| *o = o.not());
            }
        }
        let open = (&*open, masks.gather(&which[..size]));
        conjunctions(&mut party, draw, open, lanes, &[(1 << size) - 1], joined)?;
    }
    let bits = Bits { each: groups, of_pairs: false };
    if groups == 1 {
        last(&party, joined, bits, hot, classes);
        return Ok(());
    }
    let masks = hide_bits(&mut party, draw, joined)?;
    party.open_bits(joined)?; // the one round of this level
    conjoin(&mut party, draw, (joined, masks), bits, hot, classes)
}

/// The one bit that each class has left.
fn last<W: Word>(party: &Party<'_, W>, planes: &[W], bits: Bits, hot: &mut [W], classes: usize) {
    let first = party.role.first_mask::<W>();
    let lanes = hot.len() / classes;
    for (class, hot) in hot.chunks_exact_mut(lanes).enumerate() {
        let (plane, complement) = bits.place(classes, class, 0);
        hot.copy_from_slice(&planes[plane * lanes..][..lanes]);
        if complement {
            hot.iter_mut().for_each(|h| *h = h.xor(first));
        }
    }
}

/// Shares of the largest truncated value of each row: [`argmax`], then [`choose`]; one round more.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, or the view of the words' mask is not flat.
pub fn maximum<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    classes: usize,
    out: &mut [W],
) -> Result<(), Error> {
    let (_, lanes) = shape(word, classes);
    let ([hot, y], mut party) = party.scratch([classes * lanes, word.c.len()])?;
    let mut draw = party.draw()?;
    truncated(&mut party, &mut draw, word, y)?;
    argmax(&mut party, word, classes, hot)?;
    choose(&mut party, (word, y), classes, hot, out)
}

/// Shares of the word of each row that the one-hot planes of [`argmax`] choose: the largest, of the
/// truncated values `y` of `word`. One round; a bit each way a word, two words and `t + 1` bits
/// dealt.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn choose<W: Word>(
    party: &mut Party<'_, W>,
    (word, y): (&Opened<'_, W>, &[W]),
    classes: usize,
    hot: &[W],
    out: &mut [W],
) -> Result<(), Error> {
    let (rows, lanes) = shape(word, classes);
    assert!(hot.len() == classes * lanes && out.len() == rows, "choose: lengths differ");
    let n = word.c.len();
    let ([bit, rho, z], mut party) = party.scratch([plane_words::<W>(n), n, n])?;
    let mut draw = party.draw()?;
    party.kernels.interleave(bit, hot, rows, classes);
    let mask = open_selector(&mut party, &mut draw, bit, rho)?; // the one round
    z.copy_from_slice(y);
    select(&mut party, &mut draw, word, Selector { open: bit, mask, rho }, z)?;
    party.kernels.sum_rows(out, z, classes);
    Ok(())
}

/// A share of the number of rows in which the one-hot planes `predicted` and `labels` (XOR shares, a plane a class) agree. Two rounds, two bits
/// a class and one each way a row; opening the count is the caller's.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit.
pub fn count_matches<W: Word>(
    party: &mut Party<'_, W>,
    predicted: &[W],
    labels: &[W],
    rows: usize,
) -> Result<W, Error> {
    let (n, lanes) = (predicted.len(), plane_words::<W>(rows));
    assert!(labels.len() == n && n >= lanes && n.is_multiple_of(lanes.max(1)), "count_matches: lengths differ");
    let ([variables, both, words], mut party) = party.scratch([2 * n, n, rows])?;
    let mut draw = party.draw()?;
    if party.is_clear() {
        for (both, (p, l)) in both.iter_mut().zip(predicted.iter().zip(labels)) {
            *both = p.and(*l);
        }
    } else {
        variables[..n].copy_from_slice(predicted);
        variables[n..].copy_from_slice(labels);
        let masks = hide_bits(&mut party, &mut draw, variables)?;
        party.open_bits(variables)?; // the first round
        conjunctions(&mut party, &mut draw, (variables, masks), n, &[0b11], both)?;
    }
    let (sum, rest) = both.split_at_mut(lanes);
    for plane in rest.chunks_exact(lanes.max(1)) {
        party.kernels.xor(sum, plane);
    }
    bits_to_words(&mut party, sum, &[0], words)?; // the second
    let mut count = [W::default()];
    party.kernels.sum_rows(&mut count, words, rows);
    Ok(count[0])
}
