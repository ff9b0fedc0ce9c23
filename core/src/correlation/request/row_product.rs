//! The product of a masked matrix with a masked word a row.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals the rows of `a`, each times one word of `b`.
///
/// - **Formula:** `c_ij = a_ij b_i`.
/// - **Shape:** a value for each word of `a`, which has as many rows as `b` has words.
/// - **Dealt:** a word a value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct RowProduct<'a> {
    /// Names `a`.
    pub a: View<'a>,
    /// Names `b`.
    pub b: View<'a>,
}

impl Deal for RowProduct<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Words(self.a.len())), None]
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
        kernels.mul_add_rows(c, x, y, x.len().checked_div(y.len()).unwrap_or(0));
    }
}
