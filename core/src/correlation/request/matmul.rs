//! The product of two masks as matrices.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::{Kernels, Matrix},
    word::Word,
};
use serde::Serialize;

/// Deals `a b` of matrices, after the transpositions.
///
/// - **Formula:** `c = a b`, with `a` and `b` transposed where `transposed` says so.
/// - **Shape:** `m n` values, row after row, for `m × k` times `k × n`.
/// - **Dealt:** a word a value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct MatMul<'a> {
    /// Names `a`.
    pub a: View<'a>,
    /// Names `b`.
    pub b: View<'a>,
    /// Whether the rows of `a`, of `b` are columns of the factor.
    pub transposed: [bool; 2],
    /// Rows that each row of the view of `a`, of `b` is cut into, before a transposition.
    pub cuts: [usize; 2],
}

impl MatMul<'_> {
    /// `[m, k, n]`.
    ///
    /// # Panics
    ///
    /// If the inner dimensions differ.
    pub(crate) fn dims(&self) -> [usize; 3] {
        let shape = |v: View<'_>, i: usize| {
            let (rows, cols) = (v.rows.len() * self.cuts[i], v.cols / self.cuts[i]);
            if self.transposed[i] { (cols, rows) } else { (rows, cols) }
        };
        let (m, k) = shape(self.a, 0);
        let (inner, n) = shape(self.b, 1);
        assert!(k == inner, "inner dimensions of a product differ");
        [m, k, n]
    }
}

impl Deal for MatMul<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let [m, _, n] = self.dims();
        [Some(Dealt::Words(m * n)), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.a.len() + self.b.len()
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
        let y = &mut rest[..self.b.len()];
        masks.words(self.a, x);
        masks.words(self.b, y);
        c.fill(W::default());
        let x = Matrix { words: x, stride: self.a.cols / self.cuts[0], transposed: self.transposed[0] };
        let y = Matrix { words: y, stride: self.b.cols / self.cuts[1], transposed: self.transposed[1] };
        kernels.gemm(c, x, y, self.dims());
    }
}
