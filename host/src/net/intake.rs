//! Where a server that takes reports keeps its files.

use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Files of a server's intake; the paths are ready to open.
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
}

impl RawIntake {
    pub(super) fn check(self, directory: &Path) -> IntakeFiles {
        let path = |given: Option<PathBuf>, default: &str| directory.join(given.unwrap_or_else(|| default.into()));
        IntakeFiles {
            store: path(self.store, "store.redb"),
            devices: path(self.devices, "devices.toml"),
            keys: path(self.keys, "keys"),
            schemas: path(self.schemas, "schemas"),
        }
    }
}
