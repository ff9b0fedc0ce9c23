//! Who may report: `devices.toml`.
//!
//! ```toml
//! [[device]]
//! id = "00000000000000a1" # 16 hexadecimal digits
//! name = "kitchen"
//! tasks = ["occupancy"]
//! reports_per_hour = 3600 # `intake.reports_per_hour`, if left out; a start counts as one
//! revoked = false         # may be left out
//! labels = false          # whether it may label other devices' reports: a data owner, no sensor
//!
//! [[device.key]] # at most 4; two while one replaces the other
//! public = "..." # 64 hexadecimal digits
//! not_before = 2026-01-01T00:00:00Z # these two may be left out
//! not_after = 2027-01-01T00:00:00Z
//! ```

use super::{
    hex,
    rules::{FileError, FileFault},
    validity::{UnixSeconds, Validity},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::Path,
};
use symbolon_core::report::{header::DeviceId, identity::PublicKey};
use toml::Spanned;

/// Keys that a device may have at a time: each costs a forged start's opening a curve product more.
pub const MAX_KEYS: usize = 4;

/// A device that may report, or could once.
#[derive(Clone, Debug)]
pub struct Device {
    /// For people.
    pub name: String,
    /// Tasks whose schemas it may use.
    pub tasks: BTreeSet<String>,
    /// Reports an hour that the device may add; `None`: the configuration's `reports_per_hour`.
    pub reports_per_hour: Option<NonZeroU32>,
    /// It may not report any more.
    pub revoked: bool,
    /// It may label other devices' reports.
    pub labels: bool,
    /// Its keys.
    pub keys: Vec<(PublicKey, Validity)>,
}

impl Device {
    /// Its keys that are valid now.
    pub fn keys(&self, now: UnixSeconds) -> impl Iterator<Item = &PublicKey> {
        let valid = self.keys.iter().filter(move |(_, validity)| validity.has(now));
        valid.map(|(key, _)| key)
    }

    /// Whether `key` is one of them.
    pub fn has_key(&self, key: &PublicKey, now: UnixSeconds) -> bool {
        self.keys(now).any(|own| own == key)
    }
}

/// Devices by id.
pub type Devices = BTreeMap<DeviceId, Device>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    device: Vec<RawDevice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    id: Spanned<String>,
    name: String,
    #[serde(default)]
    tasks: BTreeSet<String>,
    reports_per_hour: Option<NonZeroU32>,
    #[serde(default)]
    revoked: bool,
    #[serde(default)]
    labels: bool,
    #[serde(default)]
    key: Vec<RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    public: Spanned<String>,
    not_before: Option<UnixSeconds>,
    not_after: Option<UnixSeconds>,
}

/// Parses a registry; `file` serves errors.
///
/// # Errors
///
/// What is wrong, and in which line.
pub fn parse(text: &str, file: &Path) -> Result<Devices, FileError> {
    let raw: Raw = toml::from_str(text).map_err(|error| FileError::parse(file, error))?;
    let mut devices = Devices::new();
    for device in raw.device {
        let fault = |at: &Spanned<String>, fault| FileError::at(file, text, at.span().start, fault);
        let id = hex::parse(device.id.as_ref()).map(|bytes| DeviceId(u64::from_be_bytes(bytes)));
        let id = id.ok_or_else(|| fault(&device.id, FileFault::DeviceId(device.id.as_ref().clone())))?;
        if device.key.len() > MAX_KEYS {
            return Err(fault(&device.id, FileFault::Keys(device.key.len())));
        }
        let keys = device.key.into_iter().map(|RawKey { public, not_before, not_after }| {
            let key = hex::parse(public.as_ref()).ok_or_else(|| fault(&public, FileFault::PublicKey))?;
            Ok((PublicKey(key), Validity { not_before, not_after }))
        });
        let entry = Device {
            name: device.name,
            tasks: device.tasks,
            reports_per_hour: device.reports_per_hour,
            revoked: device.revoked,
            labels: device.labels,
            keys: keys.collect::<Result<_, FileError>>()?,
        };
        if devices.insert(id, entry).is_some() {
            return Err(fault(&device.id, FileFault::DeviceTwice(id)));
        }
    }
    Ok(devices)
}
