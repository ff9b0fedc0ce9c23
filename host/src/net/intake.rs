//! The files of a server that takes reports, and the default quota of devices.

use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

/// Default reports an hour of a device: 100 a second.
const REPORTS_PER_HOUR: NonZeroU32 = NonZeroU32::new(360_000).unwrap();

/// The files of a server's intake, whose paths are ready to open, and the default quota of devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IntakeFiles {
    /// The database of records.
    pub store: PathBuf,
    /// The registry of devices.
    pub devices: PathBuf,
    /// The folder of this server's keys.
    pub keys: PathBuf,
    /// The folder of schemas.
    pub schemas: PathBuf,
    /// Reports an hour of a device whose registry entry has no `reports_per_hour`.
    pub reports_per_hour: NonZeroU32,
}

impl IntakeFiles {
    /// The files of an intake whose section says nothing, beside the configuration in `directory`.
    #[must_use]
    pub fn beside(directory: &Path) -> Self {
        RawIntake::default().check(directory)
    }
}

/// `[intake]` as it is written.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIntake {
    /// The database of records; `store.redb`, if left out.
    store: Option<PathBuf>,
    /// The registry of devices; `devices.toml`, if left out.
    devices: Option<PathBuf>,
    /// The folder of this server's keys; `keys`, if left out.
    keys: Option<PathBuf>,
    /// The folder of schemas; `schemas`, if left out.
    schemas: Option<PathBuf>,
    /// Reports an hour of a device whose registry entry has no `reports_per_hour`, at least 1;
    /// 360,000 (100 a second), if left out.
    reports_per_hour: Option<NonZeroU32>,
}

impl RawIntake {
    pub(super) fn check(self, directory: &Path) -> IntakeFiles {
        let path = |given: Option<PathBuf>, default: &str| directory.join(given.unwrap_or_else(|| default.into()));
        IntakeFiles {
            store: path(self.store, "store.redb"),
            devices: path(self.devices, "devices.toml"),
            keys: path(self.keys, "keys"),
            schemas: path(self.schemas, "schemas"),
            reports_per_hour: self.reports_per_hour.unwrap_or(REPORTS_PER_HOUR),
        }
    }
}
