//! How many reports a device may add: a token bucket for each.
//!
//! A bucket holds an hour's reports and fills at that rate. Only authentic reports and starts that are new take from it, one each, so nobody else can empty it. Buckets are full after a restart.
//! A clock that steps back fills nothing until it is again where it was.

use std::{collections::HashMap, num::NonZeroU32};
use symbolon_core::report::header::DeviceId;

const HOUR_MS: u64 = 3_600_000;

/// What is left of each device's quota.
#[derive(Default)]
pub(super) struct Quotas(HashMap<DeviceId, Bucket>);

struct Bucket {
    /// In units of a report's 3,600,000th part, so that a millisecond adds whole ones.
    level: u64,
    /// The latest time that it was filled at: what a clock that steps back passes a second time adds nothing.
    filled_ms: u64,
}

impl Quotas {
    /// Takes one unit, if there is one to be had.
    pub(super) fn take(&mut self, device: DeviceId, per_hour: NonZeroU32, now_ms: u64) -> bool {
        let rate = u64::from(per_hour.get());
        let full = rate * HOUR_MS;
        let bucket = self.0.entry(device).or_insert(Bucket { level: full, filled_ms: now_ms });
        let gained = now_ms.saturating_sub(bucket.filled_ms).saturating_mul(rate);
        let filled_ms = now_ms.max(bucket.filled_ms);
        *bucket = Bucket { level: bucket.level.saturating_add(gained).min(full), filled_ms };
        let left = bucket.level.checked_sub(HOUR_MS);
        bucket.level = left.unwrap_or(bucket.level);
        left.is_some()
    }

    /// Gives reports back that could not be stored.
    pub(super) fn give_back(&mut self, device: DeviceId, reports: u64) {
        if let Some(bucket) = self.0.get_mut(&device) {
            bucket.level = bucket.level.saturating_add(reports.saturating_mul(HOUR_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hours_reports_then_its_rate() {
        let (mut quotas, device) = (Quotas::default(), DeviceId(1));
        let rate = NonZeroU32::new(60).unwrap_or(NonZeroU32::MIN);
        assert!((0..60).all(|_| quotas.take(device, rate, 1_000_000)));
        assert!(!quotas.take(device, rate, 1_059_999));
        assert!(quotas.take(device, rate, 1_060_000), "one a minute");
        assert!(!quotas.take(device, rate, 0), "a clock that goes back gives nothing");
        assert!(!quotas.take(device, rate, 1_060_000), "nor when it is back where it was");
        quotas.give_back(device, 1);
        assert!(quotas.take(device, rate, 1_060_000));
        assert!((0..60).all(|_| quotas.take(device, rate, u64::MAX)));
        assert!(!quotas.take(device, rate, u64::MAX));
    }
}
