//! What a server remembers of a device.

use serde::{Deserialize, Serialize};
use symbolon_core::report::{Reason, header::Header};

/// Counts and marks of a device.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// The highest boot whose start was authentic.
    pub(super) newest_boot: Option<u32>,
    /// Records stored.
    pub(super) stored: u64,
    /// Reports that were stored before.
    pub(super) duplicates: u64,
    /// Boot and number of the newest report, and what it said was dropped.
    told: (u32, u32, u32),
    /// When the server last took a report or a start, milliseconds since 1970.
    pub(super) last_ms: u64,
    /// Parts refused, by code of the reason less 1. The last field: see [`Self::decode`].
    refused: [u64; Reason::ALL.len()],
}

impl Ledger {
    /// Counts a refused part.
    pub(super) fn refuse(&mut self, reason: Reason) {
        if let Some(count) = self.refused.get_mut(usize::from(reason.code()) - 1) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts by reason, those that are not 0.
    pub(super) fn refused(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.refused).filter(|(_, count)| *count > 0)
    }

    /// Takes note of an authentic report.
    pub(super) fn hear(&mut self, header: &Header, now_ms: u64) {
        let id = (header.id.boot, header.id.sequence);
        if id > (self.told.0, self.told.1) {
            self.told = (id.0, id.1, header.dropped);
        }
        self.last_ms = self.last_ms.max(now_ms);
    }

    /// Records that the newest report said were dropped.
    pub(super) fn dropped(&self) -> u32 {
        self.told.2
    }

    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_stdvec(self).ok()
    }

    /// Reads a ledger, also one of a version that knew fewer reasons: their counts are then 0, each
    /// a byte.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let padded = [bytes, &[0; Reason::ALL.len()]].concat();
        let (ledger, rest) = postcard::take_from_bytes(&padded).ok()?;
        (rest.len() <= Reason::ALL.len()).then_some(ledger)
    }
}
