//! The ticket of a job: everything that a client needs to watch the job and to read its outputs.
//!
//! It is stored as a file that only its owner can read: `symbolon ticket1`, the encoded fields, and
//! their SHA-256. Without it the outputs of the job cannot be read by anybody.

use super::{Keep, TrainRequest};
use crate::{
    data::Lengths,
    job::Job,
    job_store::{JobId, OutputKey},
    secret::{PrivateFileError, read_private, replace_private},
    session::{SessionError, random_bytes},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt, io,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

const MAGIC: &[u8; 16] = b"symbolon ticket1";

/// A job that a client has ordered.
pub struct Ticket {
    /// The job's number.
    pub id: JobId,
    /// The job.
    pub job: Job,
    /// The wish that the servers keep the model.
    pub keep: Option<Keep>,
    /// Public lengths of its sequences.
    pub lengths: Lengths,
    /// Variance of the test targets, where the client knows them.
    pub variance: Option<f64>,
    pub(super) key: Arc<OutputKey>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    id: JobId,
    job: Vec<u8>,
    keep: Option<Keep>,
    lengths: [Vec<u16>; 4],
    variance: Option<f64>,
    key: Zeroizing<[u8; 32]>,
}

impl Ticket {
    /// Makes the ticket of a new job, with a fresh key.
    ///
    /// # Errors
    ///
    /// If the operating system has no randomness.
    pub fn new(TrainRequest { job, keep }: TrainRequest<'_>, lengths: &Lengths) -> Result<Self, SessionError> {
        let key = Arc::new(OutputKey::generate()?);
        let (job, keep, lengths) = (job.clone(), keep.cloned(), lengths.clone());
        Ok(Self { id: random_bytes()?, job, keep, lengths, variance: None, key })
    }

    /// Returns the file of job `id` in `folder`.
    #[must_use]
    pub fn path(folder: &Path, id: &JobId) -> PathBuf {
        folder.join(format!("{}.ticket", crate::job_store::job_hex(id)))
    }

    /// Returns the job whose ticket the file `path` is, by its name.
    #[must_use]
    pub fn id_of(path: &Path) -> Option<JobId> {
        crate::intake::hex::parse(path.file_name()?.to_str()?.strip_suffix(".ticket")?)
    }

    /// Stores the ticket in `folder`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`TicketError`].
    pub fn store(&self, folder: &Path) -> Result<PathBuf, TicketError> {
        let path = Self::path(folder, &self.id);
        let failed = |source| TicketError::Files { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let stored = Stored {
            id: self.id,
            job: self.job.encode().map_err(|_| TicketError::Damaged(path.clone()))?,
            keep: self.keep.clone(),
            lengths: self.lengths.lists().map(Clone::clone),
            variance: self.variance,
            key: Zeroizing::new(*self.key.expose()),
        };
        let encoded = postcard::to_stdvec(&stored).map_err(|_| TicketError::Damaged(path.clone()))?;
        let encoded = Zeroizing::new(encoded);
        replace_private(&path, |file| {
            file.write_all(MAGIC)?;
            file.write_all(&encoded)?;
            file.write_all(&Sha256::digest(&encoded))
        })
        .map_err(failed)?;
        Ok(path)
    }

    /// Reads a ticket.
    ///
    /// # Errors
    ///
    /// [`TicketError`].
    pub fn load(path: &Path) -> Result<Self, TicketError> {
        let bytes = read_private(path).map_err(|error| match error {
            PrivateFileError::Read(source) if source.kind() == io::ErrorKind::NotFound => {
                TicketError::Missing(path.to_owned())
            }
            PrivateFileError::Read(source) => TicketError::Files { path: path.to_owned(), source },
            exposed @ PrivateFileError::Exposed => {
                TicketError::Files { path: path.to_owned(), source: io::Error::other(exposed) }
            }
        })?;
        let damaged = || TicketError::Damaged(path.to_owned());
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (encoded, digest) = rest.split_last_chunk::<32>().ok_or_else(damaged)?;
        if Sha256::digest(encoded)[..] != digest[..] {
            return Err(damaged());
        }
        let stored: Stored = postcard::from_bytes(encoded).map_err(|_| damaged())?;
        let job = Job::decode(&stored.job).map_err(|_| damaged())?;
        let mut lengths = Lengths::default();
        for (list, stored) in lengths.lists_mut().into_iter().zip(stored.lengths) {
            *list = stored;
        }
        let key = Arc::new(OutputKey::from_bytes(&stored.key));
        Ok(Self { id: stored.id, job, keep: stored.keep, lengths, variance: stored.variance, key })
    }
}

/// The reason why a ticket cannot be stored or read.
#[derive(Debug)]
pub enum TicketError {
    /// There is no such file.
    Missing(PathBuf),
    /// It is truncated, corrupt, or of another version.
    Damaged(PathBuf),
    /// The file system failed.
    Files {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(
                f,
                "job-ticket: {} is missing; outputs can be read only where the job was ordered, with its ticket",
                path.display()
            ),
            Self::Damaged(path) => {
                write!(
                    f,
                    "job-ticket: {} is truncated, corrupt, or of another version; restore a copy of the file",
                    path.display()
                )
            }
            Self::Files { path, source } => write!(f, "job-ticket: cannot use {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for TicketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Files { source, .. } => Some(source),
            _ => None,
        }
    }
}
