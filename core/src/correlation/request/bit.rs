//! One bit of masks.

use super::{Deal, Dealt, Words, outputs};
use crate::{
    correlation::WholeMasks,
    kernel::{Kernels, plane_words},
    word::Word,
};
use serde::Serialize;

/// Deals one bit of words, as a plane.
///
/// - **Formula:** `r_b`, of each word `r`.
/// - **Shape:** a bit for each of `words`.
/// - **Dealt:** one plane.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Bit<'a> {
    /// The words that have the bit.
    pub words: Words<'a>,
    /// `b`, from 0 for the lowest bit.
    pub bit: u32,
}

impl Deal for Bit<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Planes(plane_words::<W>(self.words.len::<W>()))), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.words.len::<W>() + self.words.scratch()
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [plane] = outputs(out);
        let (r, rest) = scratch.split_at_mut(self.words.len::<W>());
        masks.word_source(self.words, kernels, r, rest);
        kernels.to_planes(plane, r, self.bit);
    }
}
