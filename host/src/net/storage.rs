//! The `[storage]` and `[models]` sections of a configuration.

use crate::storage::StorageConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStorage {
    /// Most MiB of a job's tables in memory, the smallest first; 512, if left out. The others go to
    /// scratch files.
    memory_mib: Option<u64>,
    /// The folder of scratch files; `$TMPDIR`, or `/var/tmp`, if left out.
    directory: Option<PathBuf>,
}

impl RawStorage {
    pub(super) fn check(self, beside: &Path) -> StorageConfig {
        let default = StorageConfig::default();
        StorageConfig {
            memory_bytes: self.memory_mib.map_or(default.memory_bytes, |mib| mib.saturating_mul(1 << 20)),
            directory: self.directory.map_or(default.directory, |directory| beside.join(directory)),
        }
    }
}

/// The folder and the limits of a server's model store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelsConfig {
    /// The folder of shares and catalogue.
    pub directory: PathBuf,
    /// Largest number of kept versions of a client.
    pub most_versions: u64,
    /// Largest total of a client's shares and public parts, in bytes.
    pub most_bytes: u64,
}

/// `[models]` in a configuration file.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModels {
    /// The folder of the server's shares of models; `models`, if left out.
    directory: Option<PathBuf>,
    /// Largest number of kept versions of a client; 256, if left out.
    most_versions: Option<u64>,
    /// Largest total of a client's shares and public parts, in MiB; 4096, if left out.
    most_mib: Option<u64>,
}

impl RawModels {
    pub(super) fn check(self, beside: &Path) -> ModelsConfig {
        ModelsConfig {
            directory: beside.join(self.directory.unwrap_or_else(|| "models".into())),
            most_versions: self.most_versions.unwrap_or(256),
            most_bytes: self.most_mib.unwrap_or(4096).saturating_mul(1 << 20),
        }
    }
}
