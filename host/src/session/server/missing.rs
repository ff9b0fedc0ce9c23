//! Jobs that wait at server 0 and never arrived at server 1.
//!
//! A client may die after its last bytes to server 0 and before those to server 1. Server 1 then
//! never proposes a run. It asks server 0 for the jobs that wait there and never ran, and names
//! those that it has not.
//!
//! No job is ended that server 1 has: a client sends data only after both servers have accepted its
//! order, and server 0 lists a job only once its data are there. So server 1 has each listed job,
//! or receives it, unless its part of the order has failed.

use super::{Notice, Server};
use crate::{
    job_store::{JobId, JobState, JobStoreError},
    net::{Cancel, Connection, Role},
    session::{
        SessionError,
        message::{MAX_MESSAGE_BYTES, PeerHello},
    },
};

/// Most jobs that are asked about at once.
const MOST_JOBS: usize = 1000;

impl Server {
    /// Server 1: names the jobs at server 0 that are not here.
    ///
    /// # Errors
    ///
    /// The loss of server 0: it is asked again later.
    pub(super) fn report_missing(&self) -> Result<(), SessionError> {
        let mut other = self.reach(&Cancel::default(), Role::Server0)?;
        other.send(&PeerHello::Missing)?;
        let waiting: Vec<JobId> = other.recv(MAX_MESSAGE_BYTES)?;
        let missing: Vec<_> = waiting.into_iter().filter(|id| self.is_missing(id)).collect();
        other.send(&missing)?;
        Ok(other.close()?)
    }

    fn is_missing(&self, id: &JobId) -> bool {
        // In this order: an arriving job is in the store before it arrives no more.
        !self.jobs.is_arriving(id) && matches!(self.jobs.get(id), Err(JobStoreError::Unknown(_)))
    }

    /// Server 0: ends the jobs that server 1 names.
    ///
    /// # Errors
    ///
    /// The loss of server 1; a store that cannot be changed.
    pub(super) fn end_missing(&self, mut other: Connection) -> Result<(), SessionError> {
        let waiting = self.never_run()?;
        other.send(&waiting)?;
        let missing: Vec<JobId> = other.recv(MAX_MESSAGE_BYTES)?;
        let _ = other.close(); // it has sent all
        let still_waits = self.never_run()?;
        for id in missing.iter().filter(|id| waiting.contains(id) && still_waits.contains(id)) {
            let reason = "the data of this job have not arrived there; start it again".to_owned();
            let error = SessionError::Failed { at: Role::Server1, reason };
            self.stop_job(id, JobState::Failed(error.to_string()))?;
            (self.tell)(Notice::Failed { job: id, error: &error });
        }
        Ok(())
    }

    /// Returns jobs that wait and of which no run has begun.
    fn never_run(&self) -> Result<Vec<JobId>, SessionError> {
        let waits =
            self.jobs.all()?.into_iter().filter(|(_, status)| status.state == JobState::Queued && status.runs == 0);
        let idle = waits.map(|(job, _)| job.id).filter(|id| !self.boards().get(id).is_some_and(|board| board.runs()));
        Ok(idle.take(MOST_JOBS).collect())
    }
}
