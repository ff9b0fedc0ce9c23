//! The parts of a mask that a truncation into the ring of twice the width takes off.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `o` and `m` in `Z_2^(2k)`, for a truncation into that ring.
///
/// - **Formula:** as [`Truncation`](super::Truncation).
/// - **Shape:** for each word of `mask`, one value `o`, then one `m`, each of two words.
/// - **Dealt:** four words for each word of `mask`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct TruncationWide<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// `n`.
    pub bits: u32,
}

impl Deal for TruncationWide<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Wide(self.mask.len())); 2]
    }
    fn scratch<W: Word>(&self) -> usize {
        2 * self.mask.len()
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [o, m] = outputs(out);
        let n = self.mask.len();
        let (low_o, low_m) = scratch[..2 * n].split_at_mut(n);
        masks.apart(self.mask, [&mut *low_o, &mut *low_m]);
        kernels.mask_carry_and_top(low_o, low_m, self.bits);
        kernels.widen(o, low_o);
        kernels.widen(m, low_m);
    }
}
