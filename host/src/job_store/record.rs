//! A job as it was ordered, and its state.

use crate::{model_store::Keep, session::SessionId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Random number of a job, drawn by its client. Each of its runs is a session with a number of its
/// own.
pub type JobId = [u8; 16];

/// A job as its client ordered it; it does not change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct StoredJob {
    /// The job's number.
    pub id: JobId,
    /// Serial number of the client's certificate.
    pub client: String,
    /// The encoded job: [`crate::job::Job::encode`].
    pub encoded: Vec<u8>,
    /// The client's wish that the model be kept.
    pub keep: Option<Keep>,
    /// Public key to which the job's outputs are sealed.
    pub output_key: [u8; 32],
    /// When all its data had arrived, in seconds since 1970.
    pub received_at: i64,
    /// Bytes of memory that it takes while it runs.
    pub memory_bytes: u64,
    /// Hash of the plan of the whole job.
    pub plan_hash: [u8; 32],
    /// The kept model with which the job begins, if it names one.
    pub from: Option<InitialModel>,
}

/// The public facts of the kept model with which a job begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct InitialModel {
    /// Digest of its public part.
    pub digest: [u8; 32],
    /// Whether it learned from reports.
    pub from_reports: bool,
}

impl StoredJob {
    /// Returns the digest of what both servers must have received alike.
    pub fn digest(&self) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        let Self { id, client, encoded, keep, output_key, received_at: _, memory_bytes: _, plan_hash, from } = self;
        let bytes =
            postcard::to_stdvec(&(id, client, encoded, keep, output_key, plan_hash, from)).expect("a job encodes");
        Sha256::new_with_prefix("symbolon order v1").chain_update(bytes).finalize().into()
    }
}

/// The state of a job at a server.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum JobState {
    /// It waits for its turn, or for a peer to come back.
    Queued,
    /// It runs.
    Running,
    /// A peer was lost, for the stated reason; the job goes on when its client asks for that.
    Interrupted(String),
    /// Its outputs wait for the client.
    Done,
    /// It cannot go on, for the stated reason.
    Failed(String),
    /// A rule forbids it, for the stated reason.
    Refused(String),
    /// The client ended it.
    Cancelled,
    /// The client has its outputs; they are deleted.
    Fetched,
    /// It waited for its turn, for its client or to be resumed longer than `jobs.keep_days`.
    Expired,
}

impl JobState {
    /// Returns whether the job will never run again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Interrupted(_))
    }

    /// A word for lists and for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Interrupted(_) => "interrupted",
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Cancelled => "cancelled",
            Self::Fetched => "fetched",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(reason) | Self::Failed(reason) | Self::Refused(reason) => {
                write!(f, "{}: {reason}", self.word())
            }
            _ => f.write_str(self.word()),
        }
    }
}

/// The changing part of a job.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its place in the order of arrival at this server, from 1.
    pub arrival: u64,
    /// Its state.
    pub state: JobState,
    /// Time of the last change, in seconds since 1970.
    pub since: i64,
    /// Runs that have begun.
    pub runs: u32,
    /// Session whose results were released; `None` until the job is done.
    pub finished: Option<SessionId>,
    /// The version of the kept model, or why none is kept.
    pub kept: Option<Result<u32, String>>,
}
