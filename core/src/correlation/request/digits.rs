//! One-hot vectors of digits of masks.

use super::{Deal, Dealt, Words, outputs};
use crate::{
    correlation::WholeMasks,
    kernel::{Kernels, plane_words},
    word::Word,
};
use serde::Serialize;

/// Deals the one-hot vectors of digits of words, from bit `low` on.
///
/// - **Formula:** for the digit `d` of each width, the planes `[d = 1], …, [d = 2^width - 1]`; that
///   of 0 is left out.
/// - **Shape:** digit after digit, the lowest first; each plane has a bit for each of `words`.
/// - **Dealt:** `2^width - 1` planes a digit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Digits<'a> {
    /// The words that have the digits.
    pub words: Words<'a>,
    /// Lowest bit of the lowest digit.
    pub low: u32,
    /// Width of each digit, lowest digit first; at most 8 each.
    pub widths: &'a [u8],
}

/// Planes of the one-hot vectors of digits.
pub(crate) fn digit_planes(widths: &[u8]) -> usize {
    widths.iter().map(|w| (1 << w) - 1).sum()
}

impl Deal for Digits<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        let lanes = plane_words::<W>(self.words.len::<W>());
        [Some(Dealt::Planes(digit_planes(self.widths) * lanes)), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        let n = self.words.len::<W>();
        n + self.words.scratch() + 8 * plane_words::<W>(n)
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [hots] = outputs(out);
        let n = self.words.len::<W>();
        let lanes = plane_words::<W>(n);
        let (r, rest) = scratch.split_at_mut(n);
        let (planes, rest) = rest.split_at_mut(8 * lanes);
        masks.word_source(self.words, kernels, r, rest);
        let (mut low, mut hots) = (self.low, &mut **hots);
        for width in self.widths {
            let bits = &mut planes[..*width as usize * lanes];
            kernels.to_planes(bits, r, low);
            let (hot, rest) = core::mem::take(&mut hots).split_at_mut(((1 << width) - 1) * lanes);
            kernels.one_hot(hot, bits, u32::from(*width));
            (low, hots) = (low + u32::from(*width), rest);
        }
    }
}
