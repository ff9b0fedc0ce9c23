//! The parts of a mask that a truncation takes off.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `o` and `m`, for a truncation within the ring.
///
/// - **Formula:** `m = r_{n-1}`; `o` is the carry into bit `n - 1` of the sum of both servers'
///   shares of `r`.
/// - **Shape:** for each word of `mask`, one value `o`, then one `m`.
/// - **Dealt:** both in the `K - n + 1` bits that their factor `2^(n-1)` leaves of `Z_2^K`, packed;
///   nothing where that is not positive.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Truncation<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// `n`.
    pub bits: u32,
    /// `K`, of the ring of the result, at most `k`.
    pub ring: u32,
}

impl Deal for Truncation<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let carries = (self.ring + 1).saturating_sub(self.bits);
        [(carries > 0).then(|| Dealt::narrow::<W>(self.mask.len(), carries)); 2]
    }
    fn scratch<W: Word>(&self) -> usize {
        0
    }
    fn evaluate<W: Word>(&self, masks: &WholeMasks<'_>, kernels: &dyn Kernels<W>, _: &mut [W], out: &mut [&mut [W]]) {
        if out.is_empty() {
            return; // the ring of the result has no room for them
        }
        let [o, m] = outputs(out);
        masks.apart(self.mask, [&mut **o, &mut **m]);
        kernels.mask_carry_and_top(o, m, self.bits);
    }
}
