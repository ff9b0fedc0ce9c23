//! A public multiple of a mask's lower bits, truncated.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `floor(factor h / 2^f)` and `m`, for a product with a public factor.
///
/// - **Formula:** `h = r mod 2^(n-1)`, `m = r_{n-1}`.
/// - **Shape:** for each word of `mask`, one value `floor(factor h / 2^f)`, then one `m`.
/// - **Dealt:** a word, and the `k - n + 1 + f` bits that `m`'s factor leaves, packed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Scaled<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// `n`.
    pub bits: u32,
    /// Below 2^16.
    pub factor: u32,
    /// `f`, below `n`.
    pub frac_bits: u32,
}

impl Deal for Scaled<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let n = self.mask.len();
        [Some(Dealt::Words(n)), Some(Dealt::narrow::<W>(n, W::BITS - self.bits + 1 + self.frac_bits))]
    }
    fn scratch<W: Word>(&self) -> usize {
        0
    }
    fn evaluate<W: Word>(&self, masks: &WholeMasks<'_>, kernels: &dyn Kernels<W>, _: &mut [W], out: &mut [&mut [W]]) {
        let [h, m] = outputs(out);
        masks.words(self.mask, h);
        kernels.scaled_parts(h, m, self.factor, self.frac_bits, self.bits);
    }
}
