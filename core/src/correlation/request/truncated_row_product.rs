//! The product of the lower bits of a masked matrix with a masked word a row.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `h_ij p_i` and `m_ij p_i`, for the product of truncated rows with a masked word each.
///
/// - **Formula:** `h = r mod 2^(n-1)`, `m = r_{n-1}`, times the mask `p` of the row.
/// - **Shape:** for each word of `mask`, which has as many rows as `factor` has words, one value
///   `h_ij p_i`, then one `m_ij p_i`.
/// - **Dealt:** a word, and `k - n + 1` bits, packed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct TruncatedRowProduct<'a> {
    /// Names `r`, row after row.
    pub mask: View<'a>,
    /// `n`.
    pub bits: u32,
    /// Names `p`, a word a row.
    pub factor: View<'a>,
}

impl Deal for TruncatedRowProduct<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let n = self.mask.len();
        [Some(Dealt::Words(n)), Some(Dealt::narrow::<W>(n, W::BITS - self.bits + 1))]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.factor.len()
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
        let cols = hp.len().checked_div(p.len()).unwrap_or(0).max(1);
        for ((h, m), p) in hp.chunks_exact_mut(cols).zip(mp.chunks_exact_mut(cols)).zip(p) {
            kernels.scale(h, *p);
            kernels.scale(m, *p);
        }
    }
}
