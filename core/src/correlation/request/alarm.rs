//! The two highest bits of masks, for range alarms.

use super::{Deal, Dealt, Words, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::{Kernels, plane_words},
    word::Word,
};
use serde::Serialize;

/// Deals `q = r_{n-1} ^ r_{n-2} ρ` and `r_{n-2}`, for a bit mask `ρ`.
///
/// - **Formula:** see [`alarm`](crate::protocol::alarm).
/// - **Shape:** a bit for each of `words`: those of `q`, then those of `r_{n-2}`.
/// - **Dealt:** two planes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Alarm<'a> {
    /// The mask words with bits `n - 1` and `n - 2`.
    pub words: Words<'a>,
    /// `n`.
    pub bits: u32,
    /// Names `ρ`, a plane.
    pub bit: View<'a>,
}

impl Deal for Alarm<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Planes(plane_words::<W>(self.words.len::<W>()))); 2]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.words.len::<W>() + self.words.scratch().max(self.bit.len())
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [q, r] = outputs(out);
        let (mask, rest) = scratch.split_at_mut(self.words.len::<W>());
        masks.word_source(self.words, kernels, mask, rest);
        kernels.to_planes(q, mask, self.bits - 1);
        kernels.to_planes(r, mask, self.bits - 2);
        let rho = &mut rest[..self.bit.len()];
        masks.planes(self.bit, rho);
        for ((q, r), rho) in q.iter_mut().zip(r.iter()).zip(rho) {
            *q = q.xor(r.and(*rho));
        }
    }
}
