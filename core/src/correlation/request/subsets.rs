//! Products of planes of a bit mask.

use super::{Deal, Dealt, outputs};
use crate::{
    correlation::{View, WholeMasks},
    kernel::{Kernels, portable::needed_subset_count},
    word::Word,
};
use serde::Serialize;

/// Deals the products of planes of a bit mask over all the sets that `terms` need.
///
/// - **Formula:** `∏_{i ∈ s} ρ_i` for each set `s` of at least two planes that is a part of a term.
/// - **Shape:** a plane a set, in the order of
///   [`needed_subsets`](crate::kernel::portable::needed_subsets).
/// - **Dealt:** `lanes` words a set.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Subsets<'a> {
    /// Names the planes, all of the same length.
    pub bits: View<'a>,
    /// Words of each plane.
    pub lanes: usize,
    /// Sets of planes whose products are wanted.
    pub terms: &'a [u16],
}

impl Deal for Subsets<'_> {
    fn dealt<W: Word>(&self) -> [Option<Dealt>; 2] {
        [Some(Dealt::Planes(needed_subset_count(self.terms) * self.lanes)), None]
    }
    fn scratch<W: Word>(&self) -> usize {
        self.bits.len()
    }
    fn packed<W: Word>(&self) -> usize {
        0 // planes come as they are, and are long to count
    }
    fn evaluate<W: Word>(
        &self,
        masks: &WholeMasks<'_>,
        kernels: &dyn Kernels<W>,
        scratch: &mut [W],
        out: &mut [&mut [W]],
    ) {
        let [products] = outputs(out);
        let planes = &mut scratch[..self.bits.len()];
        masks.planes(self.bits, planes);
        kernels.subsets(products, planes, self.lanes, self.terms);
    }
}
