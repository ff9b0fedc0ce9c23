//! Sorts short rows of shared words by a network of comparisons.
//!
//! Batcher's merge exchange takes a row of any length through `t (t + 1) / 2` layers, `t =
//! ceil(log2 n)`; which places a layer compares is public. All pairs of a layer, of all rows, are
//! [ordered](super::pair::order_with) at once: the difference of each pair is opened, which is one
//! word a pair, whereas the places themselves would be two.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** four rounds a layer, `2 t (t + 1)`; for each pair of places that the network
//!   compares what [`super::pair`] says: a word and 22 bits (`k = 32`) or 43 (`k = 64`) each way,
//!   two words and 106 or 298 bits dealt. Second values add a word each way, and a word and a bit
//!   dealt. Bits are rounded up to whole words for each layer.
//!
//!   | `n` | 2 | 3 | 4 | 7 | 8 | 10 | 16 | 32 |
//!   | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//!   | pairs | 1 | 3 | 5 | 16 | 19 | 31 | 63 | 191 |
//!   | layers | 1 | 3 | 3 | 6 | 6 | 10 | 10 | 15 |
//!   | rounds | 4 | 12 | 12 | 24 | 24 | 40 | 40 | 60 |
//!
//!   By ranks, [`top_k`](crate::function::top_k) of all places sorts in six rounds, for all
//!   `n (n - 1) / 2` comparisons and `n^2` selections.
//! - **Result:** exact. Equal words that are compared stay where they are, with their second
//!   values; the order of second values of equal words is that of the network.
//! - **Needs:** `-2^(k-2) <= z_i - z_j < 2^(k-2)` within a row. Second values are any words.
//! - **Alarms:** of each compared difference, for 2 bits dealt ([`super::alarm`]).
//! - **Memory:** 4.7 words of scratch for each word of a row, 6.7 with second values; no heap.
//! - **Source:** K. E. Batcher, Sorting networks and their applications, AFIPS 1968; for any number
//!   of places D. E. Knuth, The Art of Computer Programming 3, section 5.2.2, Algorithm M.

use super::pair::order_with;
use crate::{link::Error, party::Party, word::Word};

/// The order of sorted rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The smallest word is the first.
    Ascending,
    /// The largest word is the first.
    Descending,
}

/// Places a row, at most.
pub const MAX_ROW_WORDS: usize = 1 << 10;

/// Sorts each row of `cols` words of `z`, in place.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If the words are not whole rows, or rows have more than [`MAX_ROW_WORDS`] words.
pub fn sort<W: Word>(party: &mut Party<'_, W>, z: &mut [W], cols: usize, direction: Direction) -> Result<(), Error> {
    sort_with(party, (z, &mut []), cols, direction)
}

/// [`sort`] that moves the second values `with` along with the words of `z`, for example the class
/// of each; without them, this is [`sort`].
///
/// # Errors
///
/// As [`sort`].
///
/// # Panics
///
/// As [`sort`], and if lengths differ.
pub fn sort_with<W: Word>(
    party: &mut Party<'_, W>,
    (z, with): (&mut [W], &mut [W]),
    cols: usize,
    direction: Direction,
) -> Result<(), Error> {
    let rows = z.len().checked_div(cols).unwrap_or(0);
    assert!(rows * cols == z.len() && cols <= MAX_ROW_WORDS, "sort: values are not whole rows, or rows are too long");
    assert!([0, z.len()].contains(&with.len()), "sort: lengths differ");
    for layer in layers(cols) {
        let n = rows * layer.pairs(cols).count();
        let carried = if with.is_empty() { 0 } else { n };
        let ([low, high, low_with, high_with], mut party) = party.scratch([n, n, carried, carried])?;
        layer.gather(z, cols, [low, high]);
        layer.gather(with, cols, [low_with, high_with]);
        match direction {
            Direction::Ascending => order_with(&mut party, [&mut *high, &mut *low], [&mut *high_with, &mut *low_with])?,
            Direction::Descending => {
                order_with(&mut party, [&mut *low, &mut *high], [&mut *low_with, &mut *high_with])?
            }
        }
        layer.scatter(z, cols, [low, high]);
        layer.scatter(with, cols, [low_with, high_with]);
    }
    Ok(())
}

/// The pairs of places `(i, i + distance)` that are compared at once: those with
/// `i & mask == equal`.
#[derive(Clone, Copy, Debug)]
struct NetworkLayer {
    mask: usize,
    equal: usize,
    distance: usize,
}

impl NetworkLayer {
    /// The lower place of each pair.
    fn pairs(self, cols: usize) -> impl Iterator<Item = usize> {
        (0..cols.saturating_sub(self.distance)).filter(move |i| i & self.mask == self.equal)
    }

    /// Copies the words of all pairs, row after row.
    fn gather<W: Word>(self, z: &[W], cols: usize, [low, high]: [&mut [W]; 2]) {
        // Dry words have no use for what would take most of a dry run's time.
        if size_of::<W>() == 0 {
            return;
        }
        let places =
            z.chunks_exact(cols).flat_map(|row| self.pairs(cols).map(move |i| (row[i], row[i + self.distance])));
        for ((low, high), words) in low.iter_mut().zip(high).zip(places) {
            (*low, *high) = words;
        }
    }

    /// Copies them back.
    fn scatter<W: Word>(self, z: &mut [W], cols: usize, [low, high]: [&[W]; 2]) {
        if size_of::<W>() == 0 {
            return;
        }
        let mut words = low.iter().zip(high);
        for row in z.chunks_exact_mut(cols) {
            for (i, (low, high)) in self.pairs(cols).zip(words.by_ref()) {
                (row[i], row[i + self.distance]) = (*low, *high);
            }
        }
    }
}

/// The layers of the network for rows of `cols` words.
fn layers(cols: usize) -> impl Iterator<Item = NetworkLayer> {
    let steps = cols.next_power_of_two().trailing_zeros();
    (0..steps).rev().flat_map(move |step| {
        let mask = 1 << step;
        // The first layer of a step, then merges at falling distances.
        let first = NetworkLayer { mask, equal: 0, distance: mask };
        let merges = (step + 1..steps).rev();
        core::iter::once(first).chain(merges.map(move |q| NetworkLayer {
            mask,
            equal: mask,
            distance: (1 << q) - mask,
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorts all rows of zeros and ones, and so all rows (Knuth, 5.3.4, Theorem Z); and has the
    /// cost of the documentation.
    #[test]
    fn the_network_sorts() {
        for cols in 1..=16 {
            for bits in 0..1u32 << cols {
                let mut row: Vec<u32> = (0..cols).map(|i| bits >> i & 1).collect();
                for layer in layers(cols) {
                    let mut seen = vec![false; cols];
                    for i in layer.pairs(cols) {
                        for place in [i, i + layer.distance] {
                            assert!(!core::mem::replace(&mut seen[place], true), "{cols}: two pairs share a place");
                        }
                        if row[i] > row[i + layer.distance] {
                            row.swap(i, i + layer.distance);
                        }
                    }
                }
                assert!(row.is_sorted(), "{cols} places, {bits:b}");
            }
        }
        let cost = |cols| [layers(cols).map(|l| l.pairs(cols).count()).sum(), layers(cols).count()];
        let documented = [(2, [1, 1]), (3, [3, 3]), (4, [5, 3]), (7, [16, 6]), (8, [19, 6])];
        for (cols, expected) in documented.into_iter().chain([(10, [31, 10]), (16, [63, 10]), (32, [191, 15])]) {
            assert_eq!(cost(cols), expected, "{cols}");
        }
    }
}
