//! The lower bits of a mask.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::Kernels,
    word::Word,
};
use serde::Serialize;

/// Deals `r mod 2^bits` in the ring.
///
/// - **Formula:** `r mod 2^bits`.
/// - **Shape:** a value for each word of `mask`.
/// - **Dealt:** a word a value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Residue<'a> {
    /// Names `r`.
    pub mask: View<'a>,
    /// Width of the narrow ring.
    pub bits: u32,
}

impl Deal for Residue<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Words(self.mask.len())), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        0
    }
    fn evaluate<W: Word>(&self, masks: &WholeMasks<'_>, _: &dyn Kernels<W>, _: &mut [W], out: &mut [&mut [W]]) {
        let [words] = outputs(out);
        masks.words(self.mask, words);
        for r in words.iter_mut() {
            *r = r.and(W::low_mask(self.bits));
        }
    }
}
