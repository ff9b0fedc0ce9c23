//! Stored records, as a job reads them: shares at a server, whole codes for the clear engine and in tests.

use std::{error::Error, fmt};

use symbolon_core::report::{
    header::{DeviceId, ReportId},
    schema::SchemaHash,
};

use crate::job::{Records, Reports, Set};
use crate::{schema::SchemaFile, storage::StorageError};

/// A record of a manifest.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// Who sent it.
    pub device: DeviceId,
    /// The packed record: this server's share, or whole codes.
    pub record: &'a [u8],
    /// The packed record of the report about it, which has its label; empty if the job wants none.
    pub about: &'a [u8],
}

/// Takes records one by one. An error ends the reading and is passed on.
pub type Take<'a> = dyn FnMut(Stored<'_>) -> Result<(), ShelfError> + 'a;

/// Where records are kept.
pub trait Shelf: Send + Sync {
    /// Gives `take` each record of the manifest `reports.manifest`, in its order, with the record about it if `reports.about` asks for one.
    ///
    /// # Errors
    ///
    /// [`ShelfError::Manifest`], [`ShelfError::Schema`], [`ShelfError::Missing`], [`ShelfError::Store`], and those of `take`.
    fn read(&self, reports: &Reports, take: &mut Take<'_>) -> Result<(), ShelfError>;

    /// Returns the schema of this hash, if it is known here.
    fn schema(&self, hash: &SchemaHash) -> Option<SchemaFile>;
}

/// Why the records of a job cannot be read. Never holds a record.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShelfError {
    /// No store is here.
    None,
    /// No manifest of this digest is here.
    Manifest {
        /// Digest in the job.
        digest: [u8; 32],
    },
    /// The manifest's records follow another schema.
    Schema {
        /// Hash in the job.
        job: [u8; 32],
        /// Hash in the manifest.
        manifest: [u8; 32],
    },
    /// A record of the manifest is not in the store.
    Missing {
        /// Which.
        report: ReportId,
    },
    /// A record of another length than the job's.
    Length {
        /// Its place in the manifest, from 0.
        index: u64,
        /// Bytes in the job.
        want: u32,
        /// Bytes in the store.
        got: usize,
    },
    /// Another number of records than the job's.
    Count {
        /// Of which set.
        set: Set,
        /// Records in the job.
        want: usize,
        /// Records in the store, or one more than wanted.
        got: usize,
    },
    /// The job's tables cannot be stored.
    Table(StorageError),
    /// The store failed.
    Store(Box<dyn Error + Send + Sync>),
}

impl ShelfError {
    /// Whether somebody else can help: another job, or another server.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Table(_) | Self::Missing { .. })
    }
}

impl fmt::Display for ShelfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no reports are stored here; configure an intake, or train on files"),
            Self::Manifest { digest } => {
                write!(f, "manifest {} is not known here; make one that both servers agree on", Hex(digest))
            }
            Self::Schema { job, manifest } => write!(
                f,
                "the manifest's records follow schema {}, the job's {}; use the schema of the task",
                Hex(manifest),
                Hex(job)
            ),
            Self::Missing { report: ReportId { device, boot, sequence } } => {
                write!(
                    f,
                    "report {sequence} of boot {boot} of device {device} is in the manifest and not in the store; \
                     make a new manifest"
                )
            }
            Self::Length { index, want, got } => {
                write!(f, "record {index} of the manifest has {got} bytes, the job's have {want}; make a new manifest")
            }
            Self::Count { set, want, got } => {
                let set = if *set == Set::Train { "training" } else { "test" };
                let least = if got > want { "at least " } else { "" };
                write!(
                    f,
                    "the manifest has {least}{got} {set} records, the job {want}; make the job from this manifest"
                )
            }
            Self::Table(error) => error.fmt(f),
            Self::Store(error) => write!(f, "the store cannot be read: {error}"),
        }
    }
}

impl Error for ShelfError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(&**error),
            Self::Table(error) => Some(error),
            _ => None,
        }
    }
}

struct Hex<'a>(&'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Packed records in memory, in the order of a manifest that is not looked at: for the clear engine and for tests. Wiping them is their owner's.
#[derive(Clone, Default)]
pub struct Pile {
    /// The known schemas.
    pub schemas: Vec<SchemaFile>,
    /// Who sent each record, the record, and the record about it, empty where there is none.
    pub records: Vec<(DeviceId, Vec<u8>, Vec<u8>)>,
}

impl Shelf for Pile {
    fn read(&self, _: &Reports, take: &mut Take<'_>) -> Result<(), ShelfError> {
        self.records.iter().try_for_each(|(device, record, about)| take(Stored { device: *device, record, about }))
    }

    fn schema(&self, hash: &SchemaHash) -> Option<SchemaFile> {
        self.schemas.iter().find(|schema| schema.hash() == *hash).cloned()
    }
}

/// Reads a job's records. `place` gets each used record with its set; each set's are in manifest
/// order. Checks lengths and counts against the job.
pub(crate) fn read(
    shelf: &dyn Shelf,
    reports: &Reports,
    counts: [usize; 2],
    place: &mut dyn FnMut(Set, Stored<'_>) -> Result<(), ShelfError>,
) -> Result<(), ShelfError> {
    let (mut sorter, mut index, mut got) = (reports.sorter(), 0, [0; 2]);
    let length = |index, want: Option<Records>, got: usize| match want.map_or(0, |records| records.bytes) {
        want if want as usize == got => Ok(()),
        want => Err(ShelfError::Length { index, want, got }),
    };
    shelf.read(reports, &mut |stored| {
        length(index, Some(reports.records), stored.record.len())?;
        length(index, reports.about, stored.about.len())?;
        index += 1;
        let Some(set) = sorter.next(stored.device) else { return Ok(()) };
        let (at, want) = (&mut got[set as usize], counts[set as usize]);
        *at += 1;
        if *at > want {
            return Err(ShelfError::Count { set, want, got: *at });
        }
        place(set, stored)
    })?;
    for set in [Set::Train, Set::Test] {
        let (want, got) = (counts[set as usize], got[set as usize]);
        if want != got {
            return Err(ShelfError::Count { set, want, got });
        }
    }
    Ok(())
}
