//! The product of two masks.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `a b`, element by element.
///
/// - **Formula:** `c_i = a_i b_i`.
/// - **Shape:** a value for each word of `a`; `b` has as many.
/// - **Dealt:** a word a value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Product<'a> {
    /// Names `a`.
    pub a: View<'a>,
    /// Names `b`.
    pub b: View<'a>,
}

impl Deal for Product<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Words(self.a.len())), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.a.len()
    }
    fn evaluate<W: Word>(&self, masks: &WholeMasks<'_>, _: &dyn Kernels<W>, scratch: &mut [W], out: &mut [&mut [W]]) {
        let [c] = outputs(out);
        let y = &mut scratch[..self.b.len()];
        masks.words(self.b, y);
        masks.words(self.a, c);
        for (c, y) in c.iter_mut().zip(y) {
            *c = c.mul(*y);
        }
    }
}
