//! A server's jobs on its disk, so that they outlive connections and processes.
//!
//! | module | what |
//! | --- | --- |
//! | `record` | a job as it was ordered, and its state |
//! | `store` | the catalogue, and the sealed outputs |
//! | `files` | this server's share of the data, its checkpoints, and the results that wait for the end |
//! | `seal` | outputs, sealed to the client of the job |
//! | `error` | refusals, each with a code |
//!
//! - **Secret:** shares: of the data (at server 0 the seed of its share), of the trained state, and
//!   of outputs that are about to leave. One server's files reveal nothing without the other's. Only
//!   the server's user can read them. Outputs that wait for their client are sealed to a key that
//!   the client drew for the job: once the job has ended, both servers' files together do not reveal
//!   them, except for a model that they keep.
//! - **Durability:** a job exists once its order and all its data are on the disk; a crash before
//!   that leaves a folder that the next start deletes. An output is in the catalogue before it
//!   leaves, and leaves again as the same bytes.
//! - **End:** once a job has ended, its data and its checkpoints are deleted. Its outputs wait for
//!   a stated time, then they are deleted too, and the catalogue knows that they have expired.

mod error;
mod files;
mod record;
mod seal;
mod store;
#[cfg(test)]
mod tests;

pub use error::JobStoreError;
pub use files::{CheckpointName, Final, Upload};
pub use record::{InitialModel, JobId, JobState, JobStatus, StoredJob};
pub use seal::{OutputKey, OutputPlace, SealError};
pub use store::{Arriving, JobStore};
pub(crate) use {error::job_hex, files::read_part};
