//! The product of a mask's lower bits with a bit mask.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `ρ h` and `ρ m`, for a truncated word that a shared bit keeps or clears.
///
/// - **Formula:** `h = r mod 2^(n-1)`, `m = r_{n-1}`, times the bit mask `ρ`.
/// - **Shape:** for each word of `mask`, one value `ρ h`, then one `ρ m`.
/// - **Dealt:** a word, and `k - n + 1` bits, packed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Select<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// `n`.
    pub bits: u32,
    /// Names `ρ`, one plane.
    pub bit: View<'a>,
}

impl Deal for Select<'_> {
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
        let [rho_h, rho_m] = outputs(out);
        let (plane, _) = scratch.split_at_mut(self.bit.len());
        masks.planes(self.bit, plane);
        masks.words(self.mask, rho_h);
        // A plane is short: its words come first, the spread bits replace m by m's product.
        kernels.mask_parts(rho_h, rho_m, self.bits);
        kernels.keep_where(rho_h, plane);
        kernels.keep_where(rho_m, plane);
    }
}
