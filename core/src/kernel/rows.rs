//! Kernels over the rows of a matrix that lies row after row.

use super::{pair_count, plane_words};
use crate::word::Word;

/// `x_i - x_j` for all `i < j` in each row of `cols` words, so ordered that every bit of a pair fills planes of its own: with `P` pairs (`j` runs
/// first) and `L` lanes of a plane of as many elements as there are rows, pair `p` of row `s` is word `(s / L) P L + p L + s % L`. So planes
/// of all these words hold, pair after pair, a plane of the rows. What fills the last rows is 0.
#[inline(always)]
pub fn pairs<W: Word>(out: &mut [W], words: &[W], cols: usize) {
    let rows = words.len().checked_div(cols).unwrap_or(0);
    let lanes = plane_words::<W>(rows);
    if lanes == 0 || cols < 2 {
        return;
    }
    for (block, out) in out.chunks_exact_mut(pair_count(cols) * lanes).enumerate() {
        let from = (block * lanes).min(rows);
        let present = &words[from * cols..(from + lanes).min(rows) * cols];
        let mut out = out.chunks_exact_mut(lanes);
        for (i, j) in (0..cols).flat_map(|i| (i + 1..cols).map(move |j| (i, j))) {
            let Some(out) = out.next() else { return };
            let (head, tail) = out.split_at_mut(present.len() / cols);
            for (out, row) in head.iter_mut().zip(present.chunks_exact(cols)) {
                *out = row[i].sub(row[j]);
            }
            tail.fill(W::default());
        }
    }
}

/// `z_ij += s_i`: a word to each row of `cols` words.
#[inline(always)]
pub fn add_rows<W: Word>(z: &mut [W], s: &[W], cols: usize) {
    for (z, s) in z.chunks_exact_mut(cols.max(1)).zip(s) {
        for z in z {
            *z = z.add(*s);
        }
    }
}

/// `z_ij += x_ij s_i`.
#[inline(always)]
pub fn mul_add_rows<W: Word>(z: &mut [W], x: &[W], s: &[W], cols: usize) {
    let cols = cols.max(1);
    for ((z, x), s) in z.chunks_exact_mut(cols).zip(x.chunks_exact(cols)).zip(s) {
        for (z, x) in z.iter_mut().zip(x) {
            *z = z.add(x.mul(*s));
        }
    }
}

/// The sum of each row of `cols` words.
#[inline(always)]
pub fn sum_rows<W: Word>(sums: &mut [W], words: &[W], cols: usize) {
    sums.fill(W::default());
    for (sum, row) in sums.iter_mut().zip(words.chunks_exact(cols.max(1))) {
        *sum = row.iter().fold(W::default(), |sum, x| sum.add(*x));
    }
}

/// From one plane of the rows for each of `cols` columns to one plane of the whole matrix, row after row. Padding bits become 0.
#[inline(always)]
pub fn interleave<W: Word>(plane: &mut [W], columns: &[W], rows: usize, cols: usize) {
    plane.fill(W::default());
    let (lanes, all) = (plane_words::<W>(rows), plane_words::<W>(rows * cols));
    let one = W::from_u64(1);
    // Of the element: its column, its row as lane and bit of a plane, and its own lane and bit.
    let (mut column, mut lane, mut row) = (0, 0, 0);
    let (mut at, mut bit) = (0, 0);
    for _ in 0..rows * cols {
        plane[at] = plane[at].or(columns[column * lanes + lane].shr(row).and(one).shl(bit));
        at += 1;
        if at == all {
            (at, bit) = (0, bit + 1);
        }
        column += 1;
        if column == cols {
            (column, lane) = (0, lane + 1);
        }
        if lane == lanes {
            (lane, row) = (0, row + 1);
        }
    }
}
