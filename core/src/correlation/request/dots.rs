//! Sums of products of the words of two masks.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals sums of products of two masks' words.
///
/// - **Formula:** `c_ig = Σ_t a_i(g + t G) b_i(g + t G)`, for `G` sums a row of `cols` words.
/// - **Shape:** `G` values for each `cols` words of `a`; `b` has as many.
/// - **Dealt:** a word a value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Dots<'a> {
    /// Names `a`.
    pub a: View<'a>,
    /// Names `b`.
    pub b: View<'a>,
    /// Words of a row.
    pub cols: usize,
    /// `G`, at most `cols`.
    pub sums: usize,
}

impl Deal for Dots<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Words(self.a.len().checked_div(self.cols).unwrap_or(0) * self.sums)), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        2 * self.a.len()
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [c] = outputs(out);
        let (x, y) = scratch[..2 * self.a.len()].split_at_mut(self.a.len());
        masks.words(self.a, x);
        masks.words(self.b, y);
        kernels.multiply(x, y);
        fold_rows(kernels, c, x, self.cols);
    }
}

/// `c_ig = Σ_t x_i(g + t G)`, for rows of `cols` words and as many sums a row as `c` has room for.
pub(crate) fn fold_rows<W: Word>(kernels: &dyn Kernels<W>, c: &mut [W], x: &[W], cols: usize) {
    if c.is_empty() || size_of::<W>() == 0 {
        return; // a dry run
    }
    let sums = c.len() / (x.len() / cols);
    if sums == 1 {
        return kernels.sum_rows(c, x, cols);
    }
    c.fill(W::default());
    for (c, x) in c.chunks_exact_mut(sums).zip(x.chunks_exact(cols)) {
        x.chunks(sums).for_each(|x| kernels.add(&mut c[..x.len()], x));
    }
}
