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
