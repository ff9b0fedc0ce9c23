//! A client's list of its jobs: how far each is, and for what it waits.

use super::{Server, board::View};
use crate::{
    job::Job,
    job_store::{JobState, JobStatus, StoredJob},
    net::Role,
    session::{
        SessionError,
        jobs::{JobFacts, WaitsFor},
    },
};
use std::time::Duration;

impl Server {
    /// Lists a client's jobs.
    pub(super) fn list_jobs(&self, client: &str) -> Result<Vec<JobFacts>, SessionError> {
        let waiting = self.waiting_jobs()?;
        let facts = |(stored, status): (StoredJob, JobStatus)| {
            let (name, steps) = Job::decode(&stored.encoded).map_or_else(
                |_| (String::new(), 0),
                |job| {
                    let steps = u64::from(job.training.epochs) * job.steps_per_epoch() as u64;
                    (job.name, steps)
                },
            );
            let view = self.boards().get(&stored.id).map(|board| board.watch(0, Duration::ZERO));
            let step = view.as_ref().map_or(0, |view| view.step.0);
            let waits_for = self.waits_for(&stored, &status.state, view.as_ref());
            let is_queued = status.state == JobState::Queued;
            let place = waiting.iter().position(|other| is_queued && other.id == stored.id);
            let place = place.and_then(|place| u32::try_from(place + 1).ok());
            JobFacts { id: stored.id, name, received_at: stored.received_at, status, step, steps, place, waits_for }
        };
        Ok(self.jobs.all()?.into_iter().filter(|(job, _)| job.client == client).map(facts).collect())
    }

    /// Returns all clients' jobs that wait for their turn, in the order of the queue.
    fn waiting_jobs(&self) -> Result<Vec<StoredJob>, SessionError> {
        let mut waiting = self.queued_jobs()?;
        waiting.retain(|job| !self.boards().get(&job.id).is_some_and(|board| board.runs()));
        Ok(waiting)
    }

    fn waits_for(&self, job: &StoredJob, state: &JobState, view: Option<&View>) -> Option<WaitsFor> {
        match state {
            JobState::Running => view?.alive.waits_for.map(WaitsFor::Role),
            JobState::Queued => {
                if let Some(reason) = view.and_then(|view| view.trouble.clone()) {
                    return Some(WaitsFor::Lost(reason));
                }
                let other = if self.config.role == Role::Server0 { Role::Server1 } else { Role::Server0 };
                Some(self.lacks(job.memory_bytes).unwrap_or(WaitsFor::Role(other)))
            }
            _ => None,
        }
    }
}
