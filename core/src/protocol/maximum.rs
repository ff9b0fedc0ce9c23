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
    kernel::{Kernels, pair_count, pair_words, plane_words},
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
    let mut draw = party.draw()?;
    if rows == 0 || classes == 1 {
        hot.fill(party.role.first_mask());
        return Ok(());
    }
    if classes == 2 {
        offer_pairs(party, &mut draw, word, |kernels, out, y| kernels.pairs(out, y, 2))?; // their bits are not opened
    }
    let ([pairs], mut party) = party.scratch([pair_words::<W>(rows, classes)])?;
    if party.is_clear() {
        let ([y], mut party) = party.scratch([word.c.len()])?;
        truncated_value(&party, word, y);
        party.kernels.pairs(pairs, y, classes);
        return clear(&mut party, (pairs, rows, classes), difference_bits(word), hot);
    }
    party.kernels.pairs(pairs, word.c, classes);
    let words = Words::Pairs(word.mask.matrix(classes));
    first_largest(&mut party, &mut draw, (pairs, words, rows, classes), difference_bits(word), hot)
}

/// [`argmax`] of words that lie class by class, all rows of the first class first. With `zero`, a
/// last class of public zeros is compared too, and has no plane: no class wins in a row of negative
/// words, and a word that is zero wins over the zeros. Alarms are those of [`argmax`].
///
/// # Errors
///
/// As [`argmax`].
///
/// # Panics
///
/// As [`argmax`], and if there are fewer than two classes with the zeros.
pub fn argmax_of_columns<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    (classes, zero): (usize, bool),
    hot: &mut [W],
) -> Result<(), Error> {
    let ((rows, lanes), all) = (shape(word, classes), classes + usize::from(zero));
    assert!(hot.len() == classes * lanes && all > 1, "argmax: one plane a class, of two or more");
    let mut draw = party.draw()?;
    if rows == 0 {
        return Ok(());
    }
    if all == 2 {
        offer_pairs(party, &mut draw, word, |kernels, out, y| kernels.pairs_of_columns(out, y, rows, zero))?;
    }
    let ([pairs, c], mut party) = party.scratch([pair_words::<W>(rows, all), word.c.len()])?;
    if party.is_clear() {
        truncated_value(&party, word, c);
        party.kernels.pairs_of_columns(pairs, c, rows, zero);
        return clear(&mut party, (pairs, rows, all), difference_bits(word), hot);
    }
    // Without its offset, an opened word compares with zero as its value does.
    c.copy_from_slice(word.c);
    party.kernels.add_constant(c, W::default().sub(word.cut.offset()));
    party.kernels.pairs_of_columns(pairs, c, rows, zero);
    let words = Words::Columns { mask: word.mask, rows, zero };
    first_largest(&mut party, &mut draw, (pairs, words, rows, all), difference_bits(word), hot)
}

/// From the open differences of all pairs of `classes` words to the one-hot planes.
fn first_largest<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    (c, pairs, rows, classes): (&mut [W], Words<'_>, usize, usize),
    (bits, half): (u32, W),
    hot: &mut [W],
) -> Result<(), Error> {
    let lanes = plane_words::<W>(rows);
    party.kernels.add_constant(c, half);
    let ([wins], mut party) = party.scratch([pair_count(classes) * lanes])?;
    difference_bit(&mut party, draw, c, pairs, bits - 2, wins)?; // [y_i >= y_j], one or two rounds
    let of_pairs = Bits { classes, each: classes - 1, of_pairs: true };
    if classes == 2 {
        last(&party, wins, of_pairs, hot, lanes);
        return Ok(());
    }
    let masks = hide_bits(&mut party, draw, wins)?;
    party.open_bits(wins)?; // the first round of the conjunctions
    compared(&mut party, draw, (c, pairs, rows, bits), (wins, masks))?;
    conjoin(&mut party, draw, (wins, masks), of_pairs, hot, lanes)
}

/// Bits of the differences of words, and what makes the least of them 0.
fn difference_bits<W: Word>(word: &Opened<'_, W>) -> (u32, W) {
    let bits = word.cut.bits();
    (bits, W::from_u64(1).shl(bits - 2))
}

/// Offers the differences of two classes to the party's alarms, shifted so that theirs is a whole
/// word's.
fn offer_pairs<W: Word>(
    party: &mut Party<'_, W>,
    draw: &mut Draw,
    word: &Opened<'_, W>,
    pairs: impl Fn(&dyn Kernels<W>, &mut [W], &[W]),
) -> Result<(), Error> {
    if party.alarms.is_none() {
        return Ok(());
    }
    let (rows, _) = shape(word, 2);
    let ([y, differences], mut party) = party.scratch([word.c.len(), pair_words::<W>(rows, 2)])?;
    truncated(&mut party, draw, word, y)?;
    pairs(party.kernels, differences, y);
    party.kernels.scale(differences, W::from_u64(1).shl(W::BITS - word.cut.bits()));
    alarm::offer(&mut party, &differences[..rows], half());
    Ok(())
}

/// [`first_largest`] of the differences themselves.
fn clear<W: Word>(
    party: &mut Party<'_, W>,
    (pairs, rows, classes): (&mut [W], usize, usize),
    (bits, half): (u32, W),
    hot: &mut [W],
) -> Result<(), Error> {
    let lanes = plane_words::<W>(rows);
    let ([wins, alarms], mut party) = party.scratch([pair_count(classes) * lanes; 2])?;
    party.trace.opened(pairs, half, bits);
    party.kernels.add_constant(pairs, half);
    party.kernels.to_planes(wins, pairs, bits - 2);
    if classes > 2 {
        party.kernels.to_planes(alarms, pairs, bits - 1);
        alarm::raise(&mut party, alarms, rows);
    }
    let bits = Bits { classes, each: classes - 1, of_pairs: true };
    for (class, hot) in hot.chunks_exact_mut(lanes).enumerate() {
        hot.fill(W::default().not());
        for (pair, lost) in (0..bits.each).map(|t| bits.place(class, t)) {
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
    /// Classes that are compared.
    classes: usize,
    /// Planes a class.
    each: usize,
    /// Whether they are the bits of pairs, each of which serves two classes; else every class has its own, in order.
    of_pairs: bool,
}

impl Bits {
    /// Where plane `t` of `class` is, and whether its complement is meant.
    fn place(self, class: usize, t: usize) -> (usize, bool) {
        if !self.of_pairs {
            return (class * self.each + t, false);
        }
        let other = t + usize::from(t >= class);
        let (i, j) = (class.min(other), class.max(other));
        (i * (2 * self.classes - i - 1) / 2 + j - i - 1, class == j)
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
    lanes: usize,
) -> Result<(), Error> {
    let (classes, groups) = (hot.len() / lanes, bits.groups());
    let ([joined, open], mut party) = party.scratch([classes * groups * lanes, GROUP * lanes])?;
    let masks = masks.matrix(lanes);
    for (at, joined) in joined.chunks_exact_mut(lanes).enumerate() {
        let (class, group) = (at / groups, at % groups);
        let (from, to) = (group * bits.each / groups, (group + 1) * bits.each / groups);
        let (mut which, size) = ([0; GROUP], to - from);
        let open = &mut open[..size * lanes];
        for ((t, which), open) in (from..to).zip(&mut which).zip(open.chunks_exact_mut(lanes)) {
            let (plane, complement) = bits.place(class, t);
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
    let bits = Bits { each: groups, of_pairs: false, ..bits };
    if groups == 1 {
        last(&party, joined, bits, hot, lanes);
        return Ok(());
    }
    let masks = hide_bits(&mut party, draw, joined)?;
    party.open_bits(joined)?; // the one round of this level
    conjoin(&mut party, draw, (joined, masks), bits, hot, lanes)
}

/// The one bit that each class has left.
fn last<W: Word>(party: &Party<'_, W>, planes: &[W], bits: Bits, hot: &mut [W], lanes: usize) {
    let first = party.role.first_mask::<W>();
    for (class, hot) in hot.chunks_exact_mut(lanes).enumerate() {
        let (plane, complement) = bits.place(class, 0);
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
