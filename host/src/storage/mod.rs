//! Tables of a job, in memory or in scratch files.
//!
//! A job's smallest tables are in memory, up to [`Storage::memory_bytes`] in all. Each of the
//! others has a scratch file. So the data's memory is bounded for any number of records.
//!
//! | module | what |
//! | --- | --- |
//! | `scratch` | an unnamed file, encrypted with a key that is only in memory |
//! | `words` | a table's words, in memory or in a scratch file |

mod scratch;
mod words;

pub use scratch::ScratchFailed;
pub use words::{Words, Writer};

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where a role keeps the tables of its jobs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StorageConfig {
    /// The folder of scratch files.
    pub directory: PathBuf,
    /// Most bytes of a job's tables in memory.
    pub memory_bytes: u64,
}

impl Default for StorageConfig {
    /// 512 MiB in memory; files in `$TMPDIR`, or in `/var/tmp`, since `/tmp` is memory on some
    /// systems.
    fn default() -> Self {
        let lasting = Path::new("/var/tmp");
        let directory = match std::env::var_os("TMPDIR") {
            None if cfg!(unix) && lasting.is_dir() => lasting.to_owned(),
            _ => std::env::temp_dir(),
        };
        Self { directory, memory_bytes: 512 << 20 }
    }
}

/// The storage of one job's tables.
#[derive(Clone, Debug)]
pub struct Storage {
    config: StorageConfig,
    /// The first failure of a scratch file, until [`Self::take_fault`] returns it.
    fault: Arc<Mutex<Option<StorageError>>>,
}

impl Default for Storage {
    fn default() -> Self {
        Self::new(StorageConfig::default())
    }
}

impl Storage {
    /// Storage as `config` says.
    pub fn new(config: StorageConfig) -> Self {
        Self { config, fault: Arc::default() }
    }

    /// Storage in scratch files in `directory` alone.
    pub fn on_disk(directory: PathBuf) -> Self {
        Self::new(StorageConfig { directory, memory_bytes: 0 })
    }

    /// Most bytes of the tables in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.config.memory_bytes
    }

    /// Returns the first failure of a scratch file since the last call.
    pub fn take_fault(&self) -> Option<StorageError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the reason of a [`ScratchFailed`].
    pub(crate) fn failure(&self) -> StorageError {
        self.take_fault().unwrap_or_else(|| StorageError::Access {
            directory: self.config.directory.clone(),
            source: io::Error::other("an earlier failure was already reported; its tables are lost"),
        })
    }

    /// Records a failure for [`Self::take_fault`].
    pub(crate) fn note(&self, error: StorageError) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Returns for each table, of `bytes[i]` bytes, whether it is in memory. The smallest tables
    /// are, while their sum is at most `memory_bytes`.
    pub fn in_memory<const N: usize>(memory_bytes: u64, bytes: [u64; N]) -> [bool; N] {
        let mut order: [usize; N] = std::array::from_fn(|i| i);
        order.sort_by_key(|i| bytes[*i]);
        let (mut fits, mut taken) = ([false; N], 0u64);
        for i in order {
            taken = taken.saturating_add(bytes[i]);
            fits[i] = taken <= memory_bytes;
        }
        fits
    }
}

/// An error of creating, reading or writing a scratch file.
#[derive(Debug)]
pub enum StorageError {
    /// The file cannot be created.
    Create {
        /// The folder of scratch files.
        directory: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The disk has no room for a table.
    Full {
        /// The folder of scratch files.
        directory: PathBuf,
        /// Bytes of the table.
        bytes: u64,
    },
    /// A file cannot be read or written.
    Access {
        /// The folder of scratch files.
        directory: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The operating system has no randomness for a file's key.
    Randomness,
    /// The system gives no thread that reads ahead.
    Thread(io::Error),
}

impl StorageError {
    /// The error of a file for `bytes` bytes in `directory`.
    fn of(directory: &Path, bytes: u64, source: io::Error) -> Self {
        let directory = directory.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { directory, bytes }
            }
            _ => Self::Access { directory, source },
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { directory, source } => write!(
                f,
                "cannot create a scratch file in {}: {source}; set storage.directory or TMPDIR to another folder",
                directory.display()
            ),
            Self::Full { directory, bytes } => write!(
                f,
                "no space for a scratch file of {} MiB in {}; free that much, or set storage.directory or TMPDIR to a \
                 folder on another disk",
                bytes.div_ceil(1 << 20),
                directory.display()
            ),
            Self::Access { directory, source } => {
                write!(f, "cannot read or write a scratch file in {}: {source}; check the disk", directory.display())
            }
            Self::Randomness => f.write_str("the operating system gives no random bytes for a scratch file's key"),
            Self::Thread(source) => write!(f, "the system starts no thread to read a scratch file: {source}"),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Create { source, .. } | Self::Access { source, .. } | Self::Thread(source) => Some(source),
            Self::Full { .. } | Self::Randomness => None,
        }
    }
}

#[cfg(test)]
mod tests;
