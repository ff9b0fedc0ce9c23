//! The convolution of two masks, and its adjoints.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::{Convolved, Filters, Kernels},
    word::Word,
};
use serde::Serialize;

/// Deals a bilinear function of two masks: a convolution, or one of its adjoints.
///
/// - **Formula:** `c = f(a, b)` as [`Filters`] has it, for the result that `of` names.
/// - **Shape:** that of the result, row after row.
/// - **Dealt:** a word a value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Convolution<'a> {
    /// Names `a`, a matrix of the rows.
    pub a: View<'a>,
    /// Names `b`.
    pub b: View<'a>,
    /// The filters' shape.
    pub filters: Filters,
    /// The result.
    pub of: Convolved,
}

impl Deal for Convolution<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Words(self.filters.result_words(self.of, self.a.rows.len()))), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.a.len() + self.b.len() + self.filters.matrix_words()
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [c] = outputs(out);
        let (x, rest) = scratch.split_at_mut(self.a.len());
        let (y, rest) = rest.split_at_mut(self.b.len());
        masks.words(self.a, x);
        masks.words(self.b, y);
        c.fill(W::default());
        self.filters.add(kernels, self.of, (x, y), c, &mut rest[..self.filters.matrix_words()]);
    }
}
