//! The inverse root of second moments by a mapping, where buckets are within a factor of two.

use super::Kept;
use crate::{
    function::{
        Numbers,
        method::{Function, Method, mapping::Mapping},
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
/// - **Result:** the function's, of `v / 2^dropped` rounded: within a few percent for `2^(dropped +
///   10) <= v < 2^(dropped + 36)` units, of `k = 32` from `2^(dropped + 6)` to `2^(dropped + 16)`.
///   Smaller `v` are noisier, down to `2^dropped`; other `v` have the result at the nearer end.
pub(super) struct InverseRoot {
    numbers: Numbers,
    /// Low bits of `v` that are dropped.
    dropped: u32,
    /// Bits of the result beyond its scale.
    pub(super) surplus: u32,
}

impl InverseRoot {
    /// For the scale that the buckets' thresholds stand for.
    pub(super) fn new(ring_bits: u32, dropped: u32, (thresholds, first_threshold_log2): (u32, u32)) -> Self {
        let numbers = Numbers { ring_bits, frac_bits: if ring_bits == 32 { 10 } else { 20 } };
        // Of `v / 2^dropped` units, the function is 2^(3/2 frac_bits) / sqrt(v / 2^dropped).
        let own = 3 * numbers.frac_bits / 2 + dropped / 2;
        let scale = thresholds + first_threshold_log2 / 2 - 1;
        let is_even = first_threshold_log2.is_multiple_of(2) && dropped.is_multiple_of(2);
        assert!(is_even && own >= scale, "adam: a mapped root needs all buckets");
        Self { numbers, dropped, surplus: own - scale }
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
        truncate_unsigned(&mut party, z, self.dropped)?; // a round
        let scalar = AnyScalar::InverseSquareRoot(InverseSquareRoot {});
        let function = Function { scalar, method: Method::Mapping(Mapping::of_octaves(&self.numbers)) };
        function.apply(&mut party, &self.numbers, (z, kept.words), None)?;
        let mask = party.draw()?.mask(v.len());
        *kept.mask = Some(mask_and_open(&mut party, kept.words, mask)?); // a round
        Ok(())
    }
}
