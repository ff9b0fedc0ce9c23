//! Ranks of several words that are open already.
//!
//! `y_i - y_j` is under the mask `r_i - r_j`, whose digits are dealt: all pairs are compared at
//! once, as for the [largest](super::maximum). Each bit `[y_i >= y_j]`, `i < j`, becomes a word,
//! which counts for `i`; its complement counts for `j`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** of `n` classes: the comparison of `n (n - 1) / 2` pairs ([`super::sign`]), one or
//!   two rounds; then one round, a bit each way and a word dealt for each pair. Rows are rounded up
//!   to whole words of a plane.
//! - **Result:** exact, of the truncated values: 1 for the smallest to `n` for the largest; of
//!   equal words the one of the lower class is the larger.
//! - **Needs:** signed words of `n` bits, `-2^(n-2) <= y_i - y_j < 2^(n-2)`.
//! - **Alarms:** of each pair's difference, for 2 bits dealt ([`super::alarm`]).
//! - **Memory:** 8.5 words of scratch a pair and row, rows in whole planes; no heap.

use super::{
    alarm::{self, compared},
    compare::difference_bit,
    select::open_selector,
    truncate::{Opened, clear as truncated_value},
};
use crate::{
    correlation::Words,
    kernel::{pair_count, pair_words, plane_words},
    link::Error,
    party::Party,
    word::Word,
};

/// Shares of the rank of each word in its row of `classes` words.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths do not fit, or the view of the words' mask is not flat.
pub fn ranks<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    classes: usize,
    out: &mut [W],
) -> Result<(), Error> {
    let rows = word.c.len().checked_div(classes).unwrap_or(0);
    assert!(rows * classes == word.c.len() && out.len() == word.c.len(), "ranks: lengths differ");
    let (lanes, pairs) = (plane_words::<W>(rows), pair_words::<W>(rows, classes));
    let planes = pair_count(classes) * lanes;
    let ([c, wins, rho, bits], mut party) = party.scratch([pairs, pairs, pairs, planes])?;
    let mut draw = party.draw()?;
    let width = word.cut.bits();
    let half = W::from_u64(1).shl(width - 2);
    wins.fill(W::default());
    if party.is_clear() {
        clear(&mut party, word, classes, c, bits)?;
        party.kernels.spread(wins, bits);
    } else {
        party.kernels.pairs(c, word.c, classes);
        party.kernels.add_constant(c, half);
        let words = Words::Pairs(word.mask.matrix(classes));
        difference_bit(&mut party, &mut draw, c, words, width - 2, bits)?; // [y_i >= y_j], one or two rounds
        let mask = open_selector(&mut party, &mut draw, bits, rho)?; // the last round
        compared(&mut party, &mut draw, (c, words, rows, width), (bits, mask))?;
        party.kernels.bit_to_word(wins, bits, rho, 0, party.role.first_mask());
    }
    add_up(wins, (lanes, classes), party.role.first(W::from_u64(1)), out);
    Ok(())
}

/// The bits of all pairs from whole values, with their alarms.
fn clear<W: Word>(
    party: &mut Party<'_, W>,
    word: &Opened<'_, W>,
    classes: usize,
    pairs: &mut [W],
    bits: &mut [W],
) -> Result<(), Error> {
    let ([y, alarms], mut party) = party.scratch([word.c.len(), bits.len()])?;
    truncated_value(&party, word, y);
    let (width, rows) = (word.cut.bits(), word.c.len() / classes.max(1));
    let half = W::from_u64(1).shl(width - 2);
    party.kernels.pairs(pairs, y, classes);
    party.trace.opened(pairs, half, width);
    party.kernels.add_constant(pairs, half);
    party.kernels.to_planes(bits, pairs, width - 2);
    party.kernels.to_planes(alarms, pairs, width - 1);
    alarm::raise(&mut party, alarms, rows);
    Ok(())
}

/// Adds the words of pairs, which lie as [`pairs`](crate::kernel::portable::pairs) has them, to the
/// ranks of their classes.
fn add_up<W: Word>(wins: &[W], (lanes, classes): (usize, usize), one: W, out: &mut [W]) {
    out.fill(one);
    // Dry words have no use for what would take most of a dry run's time.
    if size_of::<W>() == 0 || lanes == 0 {
        return;
    }
    let blocks = wins.chunks_exact((pair_count(classes) * lanes).max(1));
    for (block, rows) in blocks.zip(out.chunks_mut(lanes * classes)) {
        let pairs = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j)));
        for (wins, (i, j)) in block.chunks_exact(lanes).zip(pairs) {
            for (win, row) in wins.iter().zip(rows.chunks_exact_mut(classes)) {
                row[i] = row[i].add(*win);
                row[j] = row[j].add(one.sub(*win));
            }
        }
    }
}
