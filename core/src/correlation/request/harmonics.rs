//! Sines and cosines of multiples of a mask.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    turns,
    word::Word,
};
use serde::Serialize;

/// Deals sines and cosines of the odd multiples of a mask's lower bits, for a series of them.
///
/// - **Formula:** `round(2^s sin(j θ))` and `round(2^s cos(j θ))` for `j = 1, 3, …, 2 J - 1`, with
///   `θ = 2 π (r mod 2^n) / 2^n`; integer arithmetic ([`turns`]).
/// - **Shape:** for each `j`, a sine for each word of `mask`; then the cosines alike.
/// - **Dealt:** two values of `width` bits for each `j` and word, packed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Harmonics<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// `n`, 1 to `k`.
    pub bits: u32,
    /// `J`, the number of multiples.
    pub terms: u8,
    /// `s`, at most 61.
    pub frac_bits: u32,
    /// Bits of the ring of the shares, at most `k`.
    pub width: u32,
}

impl Deal for Harmonics<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::narrow::<W>(usize::from(self.terms) * self.mask.len(), self.width)); 2]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.mask.len()
    }
    fn evaluate<W: Word>(&self, masks: &WholeMasks<'_>, _: &dyn Kernels<W>, scratch: &mut [W], out: &mut [&mut [W]]) {
        let [sines, cosines] = outputs(out);
        let r = &mut scratch[..self.mask.len()];
        masks.words(self.mask, r);
        turns::harmonics([sines, cosines], r, self.bits, self.frac_bits);
    }
}
