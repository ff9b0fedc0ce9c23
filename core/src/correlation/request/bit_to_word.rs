//! A bit mask as words.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals the bits of a plane of a mask, additively shared.
///
/// - **Formula:** `ρ_i`, of the bit mask `ρ`.
/// - **Shape:** `len` values, in the order of the plane's bits.
/// - **Dealt:** `width` bits a value, packed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct BitToWord<'a> {
    /// Names the plane.
    pub bits: View<'a>,
    /// Elements of the plane.
    pub len: usize,
    /// Width of the values, at most `k`.
    pub width: u32,
}

impl Deal for BitToWord<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::narrow::<W>(self.len, self.width)), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.bits.len()
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [values] = outputs(out);
        let plane = &mut scratch[..self.bits.len()];
        masks.planes(self.bits, plane);
        kernels.spread(values, plane);
    }
}
