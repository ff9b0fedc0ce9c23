//! Public numbers that look random: records for audits and benches.

/// A small generator of public test values (splitmix64).
pub(super) struct Values(pub(super) u64);

impl Values {
    /// Below `2^bits`.
    pub(super) fn bits(&mut self, bits: u32) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> (u64::BITS - bits)
    }
}
