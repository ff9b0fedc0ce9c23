//! Public numbers that look random: records for audits, benches and studies.

/// A small generator of public test values (splitmix64).
pub(crate) struct Values(pub(crate) u64);

impl Values {
    /// Below `2^bits`.
    pub(crate) fn bits(&mut self, bits: u32) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> (u64::BITS - bits)
    }

    /// Uniform from -1 to 1.
    #[allow(clippy::cast_precision_loss)] // 24 bits are exact
    pub(crate) fn unit(&mut self) -> f32 {
        self.bits(24) as f32 / (1u32 << 23) as f32 - 1.0
    }
}
