//! Errors of the job store, each with a code that does not change.

use super::{record::JobId, seal::SealError};
use crate::{intake::store::StoreError, plain::Plain};
use std::{fmt, io, path::PathBuf};

/// The reason why the job store refused or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobStoreError {
    /// The client has no such job here.
    Unknown(JobId),
    /// The job waited, was interrupted, or had its outputs unfetched, for too long.
    Expired(JobId),
    /// The job has ended, and the command needs one that has not.
    Ended {
        /// The job.
        id: JobId,
        /// How it ended.
        state: &'static str,
    },
    /// A job with this number was here before.
    Taken(JobId),
    /// As many jobs arrive or wait as may.
    Full {
        /// The key of the limit: `queue`, or `per_client`.
        key: &'static str,
        /// The limit.
        most: usize,
    },
    /// A file is truncated, corrupt, or another job's.
    Damaged(PathBuf),
    /// Another process uses the folder.
    InUse(PathBuf),
    /// The file system failed.
    Files {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An output cannot be sealed to the job's key, or opened with it.
    Seal(SealError),
    /// The catalogue cannot be used.
    Catalogue(StoreError),
}

impl JobStoreError {
    /// Returns a code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "job-unknown",
            Self::Expired(_) => "job-expired",
            Self::Ended { .. } => "job-ended",
            Self::Taken(_) => "job-taken",
            Self::Full { .. } => "job-queue-full",
            Self::Damaged(_) => "job-damaged",
            Self::InUse(_) => "job-store-in-use",
            Self::Files { .. } => "job-files",
            Self::Seal(_) => "job-seal",
            Self::Catalogue(_) => "job-catalogue",
        }
    }

    /// Returns whether the server refused the request; a failure of the server gives `false`.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Expired(_) | Self::Ended { .. } | Self::Taken(_) | Self::Full { .. })
    }
}

/// A job's number as people see it.
pub(crate) fn job_hex(id: &JobId) -> String {
    crate::intake::hex::print(id)
}

impl fmt::Display for JobStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        match self {
            Self::Unknown(id) => write!(f, "this client has no job {} here; see `symbolon jobs list`", job_hex(id)),
            Self::Expired(id) => write!(f, "job {} waited too long and is deleted; run it again", job_hex(id)),
            Self::Ended { id, state } => write!(f, "job {} has ended ({state}); see `symbolon jobs list`", job_hex(id)),
            Self::Taken(id) => write!(f, "a job {} was here before; start it again", job_hex(id)),
            Self::Full { key: "queue", most } => {
                write!(f, "{most} jobs arrive or wait here, as many as `jobs.queue` permits; try again later")
            }
            Self::Full { key, most } => write!(
                f,
                "this client has {most} jobs here, as many as `jobs.{key}` permits; fetch or cancel some (`symbolon jobs list`)"
            ),
            Self::Damaged(path) => {
                write!(f, "{} is truncated, corrupt, or another job's", Plain(path.display()))
            }
            Self::InUse(path) => write!(
                f,
                "another process uses {}; stop it, or name another folder under `jobs.directory`",
                Plain(path.display())
            ),
            Self::Files { path, source } => write!(f, "{}: {source}", Plain(path.display())),
            Self::Seal(error) => error.fmt(f),
            Self::Catalogue(error) => write!(f, "the catalogue of jobs: {error}"),
        }
    }
}

impl std::error::Error for JobStoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Files { source, .. } => Some(source),
            Self::Catalogue(error) => Some(error),
            Self::Seal(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> From<E> for JobStoreError
where
    StoreError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Catalogue(error.into())
    }
}
