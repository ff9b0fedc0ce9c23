//! The square of a mask's lower bits.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `h^2` and `h m`, for the square of a truncated word.
///
/// - **Formula:** `h = r mod 2^(n-1)`, `m = r_{n-1}`.
/// - **Shape:** for each word of `mask`, one value `h^2`, then one `h m`.
/// - **Dealt:** a word, and `k - n` bits, packed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Square<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// `n`, below `k`.
    pub bits: u32,
}

impl Deal for Square<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let n = self.mask.len();
        [Some(Dealt::Words(n)), Some(Dealt::narrow::<W>(n, W::BITS - self.bits))]
    }
    fn scratch<W: Word>(&self) -> usize {
        0
    }
    fn evaluate<W: Word>(&self, masks: &WholeMasks<'_>, kernels: &dyn Kernels<W>, _: &mut [W], out: &mut [&mut [W]]) {
        let [hh, hm] = outputs(out);
        masks.words(self.mask, hh);
        kernels.mask_parts(hh, hm, self.bits);
        for (h, m) in hh.iter_mut().zip(hm.iter_mut()) {
            (*h, *m) = (h.mul(*h), h.mul(*m));
        }
    }
}
