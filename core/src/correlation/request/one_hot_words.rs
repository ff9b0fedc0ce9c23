//! One-hot vectors of masks in words.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals the one-hot vector of `(r >> low) mod 2^bits` in words of the ring.
///
/// - **Formula:** `[(r >> low) mod 2^bits = j]` for `j` from 0 on.
/// - **Shape:** entry after entry, `2^bits` of them, each for all words of `mask`.
/// - **Dealt:** `2^bits` words for each word of `mask`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct OneHotWords<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// Bits of `r` below.
    pub low: u32,
    /// At most 8.
    pub bits: u32,
}

impl Deal for OneHotWords<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Words(self.mask.len() << self.bits)), None]
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
        let [hot] = outputs(out);
        let r = &mut scratch[..self.mask.len()];
        masks.words(self.mask, r);
        kernels.one_hot_words(hot, r, self.low, self.bits);
    }
}
