//! The list of a backup's files: its last entry, in JSON.

use super::sources::Moved;
use crate::net::Role;
use serde::{Deserialize, Serialize};

/// Name of the manifest in the archive. No file of a server has it: these lie in [`FILES`].
pub(super) const MANIFEST: &str = "manifest.json";
/// Folder of the server's files in the archive.
pub(super) const FILES: &str = "files";
/// Version of the fields below.
pub(super) const VERSION: u32 = 1;

/// The content of a backup.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this list.
    pub version: u32,
    /// The server's role.
    pub role: Role,
    /// The digest of [`Identity::deployment`](crate::net::Identity::deployment), in hexadecimal.
    pub deployment: String,
    /// When the backup was made, in UTC.
    pub made: String,
    /// Version of the program that made it.
    pub program: String,
    /// Name of the configuration file.
    pub configuration: String,
    /// Keys of the configuration whose files get another place.
    pub moved: Vec<Moved>,
    /// All files but the manifest.
    pub files: Vec<StoredFile>,
}

/// A file in a backup.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Path relative to the configuration's folder, with `/` between names.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}
