//! The product of a mask's lower bits with another mask.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `h p` and `m p`, for the product of a truncated word with a masked one.
///
/// - **Formula:** `h = r mod 2^(n-1)`, `m = r_{n-1}`, times the mask `p`.
/// - **Shape:** for each word of `mask`, one value `h p`, then one `m p`.
/// - **Dealt:** a word, and `k - n + 1` bits, packed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct TruncatedProduct<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// `n`.
    pub bits: u32,
    /// Names `p`.
    pub factor: View<'a>,
}

impl Deal for TruncatedProduct<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let n = self.mask.len();
        [Some(Dealt::Words(n)), Some(Dealt::narrow::<W>(n, W::BITS - self.bits + 1))]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.mask.len()
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [hp, mp] = outputs(out);
        let p = &mut scratch[..self.factor.len()];
        masks.words(self.factor, p);
        masks.words(self.mask, hp);
        kernels.mask_parts(hp, mp, self.bits);
        for ((h, m), p) in hp.iter_mut().zip(mp.iter_mut()).zip(p) {
            (*h, *m) = (h.mul(*p), m.mul(*p));
        }
    }
}
