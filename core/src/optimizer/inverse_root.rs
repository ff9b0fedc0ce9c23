//! The inverse root of second moments by a mapping, where buckets are within a factor of two.

use super::Kept;
use crate::{
    function::{
        Numbers,
        method::Function,
        scalar::{AnyScalar, InverseSquareRoot},
    },
    link::Error,
    party::Party,
    protocol::{masked::mask_and_open, truncate::truncate_unsigned},
    word::Word,
};

/// `P = 2^(scale + surplus) / sqrt(v)`, opened as `P - p`.
///
/// - **Cost:** 11 rounds for `k = 32`, 13 for `k = 64`: the function's, and two.
/// - **Result:** the function's, for `2^dropped <= v < 2^20` units (`2^40` for `k = 64`); other `v`
///   have the result at the nearer end.
pub(super) struct InverseRoot {
    numbers: Numbers,
    /// Low bits of `v` that are dropped.
    dropped: u32,
    /// Bits of the result beyond its scale.
    pub(super) surplus: u32,
}

impl InverseRoot {
    /// For the scale that the buckets' thresholds stand for.
    pub(super) fn new(ring_bits: u32, (thresholds, first_threshold_log2): (u32, u32)) -> Self {
        let (dropped, frac_bits) = if ring_bits == 32 { (4, 8) } else { (8, 16) };
        // Of `v / 2^dropped` units, the function is 2^(3/2 frac_bits) / sqrt(v / 2^dropped).
        let own = 3 * frac_bits / 2 + dropped / 2;
        let scale = thresholds + first_threshold_log2 / 2 - 1;
        assert!(first_threshold_log2.is_multiple_of(2) && own >= scale, "adam: a precise root needs all buckets");
        Self { numbers: Numbers { ring_bits, frac_bits }, dropped, surplus: own - scale }
    }

    /// Computes `P` of the moments `v`.
    pub(super) fn choose<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        v: &[W],
        kept: &mut Kept<'_, W>,
    ) -> Result<(), Error> {
        let ([z], mut party) = party.scratch([v.len()])?;
        z.copy_from_slice(v);
        truncate_unsigned(&mut party, z, self.dropped)?;
        let function = Function::by_default(AnyScalar::InverseSquareRoot(InverseSquareRoot {}), &self.numbers);
        function.apply(&mut party, &self.numbers, (z, kept.words), None)?;
        let mask = party.draw()?.mask(v.len());
        *kept.mask = Some(mask_and_open(&mut party, kept.words, mask)?);
        Ok(())
    }
}
