//! Clients that watch their jobs, and their other requests about jobs.
//!
//! A client receives all outputs from the first on, sealed to it, as often as it watches: they are
//! the same bytes each time. Whether it watches, or leaves, changes nothing for the job.

use super::{
    Server,
    board::{Board, View},
};
use crate::{
    job::Job,
    job_store::{JobId, JobState, JobStoreError, OutputPlace, StoredJob, read_part},
    net::{Connection, Role},
    session::{
        SessionError,
        heartbeat::beat,
        message::{Answer, Decision, JobsRequest, No, Update},
    },
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Most bytes of an encoded [`Decision`].
const MAX_DECISION_BYTES: usize = 8;
/// The longest that a client which ends a job waits for its arrival.
const ARRIVAL: Duration = Duration::from_secs(2);
/// Bytes of a model's share that are read and sent together.
const PIECE: usize = 256 << 10;

/// The updates that a client has received.
#[derive(Default)]
struct Delivered {
    /// The first output that it lacks.
    next: u32,
    /// Whether it has the last.
    has_end: bool,
    is_ready: bool,
    step: u64,
    trouble: Option<String>,
}

impl Server {
    /// Answers a client's request about its jobs.
    pub(super) fn jobs_request(&self, request: JobsRequest, mut client: Connection) -> Result<(), SessionError> {
        let serial = client.serial().to_owned();
        let result = match request {
            JobsRequest::List => {
                let listed = self.list_jobs(&serial);
                client.send(&listed.as_ref().map_err(No::new))?;
                listed.map(drop)
            }
            JobsRequest::Watch(job) => match self.find_job(&job, &serial) {
                Ok(stored) => {
                    client.send(&Answer::Ok(()))?;
                    self.watch(&stored, &mut client)
                }
                Err(error) => {
                    client.send(&Answer::Err(No::new(&error)))?;
                    Err(error)
                }
            },
            JobsRequest::Cancel(job) => self.reply(&mut client, self.cancel_job(&job, &serial)),
            JobsRequest::Fetched(job) => self.reply(&mut client, self.forget_outputs(&job, &serial)),
            JobsRequest::Discard(job) => self.reply(&mut client, self.discard_job(&job, &serial)),
        };
        let _ = client.close(); // the client may have closed it before
        result
    }

    #[allow(clippy::unused_self)] // read as a part of the server
    fn reply(&self, client: &mut Connection, done: Result<(), SessionError>) -> Result<(), SessionError> {
        client.send(&done.as_ref().map_err(No::new))?;
        done
    }

    /// Finds a client's job; queues an interrupted one again.
    fn find_job(&self, id: &JobId, client: &str) -> Result<StoredJob, SessionError> {
        let (job, status) = self.jobs.of_client(id, client)?;
        if status.state == JobState::Expired {
            return Err(JobStoreError::Expired(*id).into());
        }
        if matches!(status.state, JobState::Interrupted(_)) {
            self.jobs.set_state(id, JobState::Queued)?;
            self.board(id).resume();
            self.wake_queue();
        }
        Ok(job)
    }

    /// Waits for the arrival of a job: an order that its client has given up may arrive whole.
    fn await_arrival(&self, id: &JobId) {
        let since = Instant::now();
        while self.jobs.is_arriving(id) && since.elapsed() < ARRIVAL {
            thread::sleep(ARRIVAL / 100);
        }
    }

    fn cancel_job(&self, id: &JobId, client: &str) -> Result<(), SessionError> {
        self.await_arrival(id);
        let (_, status) = self.jobs.of_client(id, client)?;
        if status.state == JobState::Cancelled {
            return Ok(self.account(id)?.end()?); // again, if it failed before
        }
        self.stop_job(id, JobState::Cancelled)
    }

    /// Cancels a job that has not ended, and deletes its outputs.
    fn discard_job(&self, id: &JobId, client: &str) -> Result<(), SessionError> {
        self.await_arrival(id);
        let (_, status) = self.jobs.of_client(id, client)?;
        if !status.state.has_ended() {
            match self.stop_job(id, JobState::Cancelled) {
                // It has ended meanwhile.
                Err(SessionError::Jobs(error)) if matches!(*error, JobStoreError::Ended { .. }) => {}
                stopped => stopped?,
            }
        }
        self.jobs.discard(id)?;
        Ok(self.account(id)?.end()?)
    }

    fn forget_outputs(&self, id: &JobId, client: &str) -> Result<(), SessionError> {
        self.jobs.of_client(id, client)?;
        Ok(self.jobs.forget(id)?)
    }

    /// Tells a client of its job until the job has ended or the client leaves.
    pub(super) fn watch(&self, job: &StoredJob, client: &mut Connection) -> Result<(), SessionError> {
        let has_ended = self.jobs.get(&job.id)?.1.state.has_ended();
        let board = if has_ended { Arc::default() } else { self.board(&job.id) };
        let beat = beat(self.config.timeouts.idle);
        let decoded = Job::decode(&job.encoded).map_err(SessionError::job(Role::Client))?;
        let (mut delivered, mut view, mut stored) = (Delivered::default(), board.watch(0, beat), 0);
        let mut last_beat = Instant::now();
        loop {
            if has_left(client)? {
                return Ok(());
            }
            if stored != view.stored {
                stored = view.stored;
                let state = self.jobs.get(&job.id)?.1.state;
                self.tell_outputs((job, &board), &decoded, &mut delivered, client)?;
                if self.tell_end(job, &state, client)? {
                    return Ok(());
                }
            }
            self.tell_progress(job, &view, &mut delivered, client)?;
            if last_beat.elapsed() >= beat {
                last_beat = Instant::now();
                client.send(&Update::Alive(view.alive))?;
            }
            view = board.watch(view.revision, beat.saturating_sub(last_beat.elapsed()));
        }
    }

    /// Sends the outputs that the client lacks, and receives its decisions.
    fn tell_outputs(
        &self,
        (job, board): (&StoredJob, &Board),
        decoded: &Job,
        delivered: &mut Delivered,
        client: &mut Connection,
    ) -> Result<(), SessionError> {
        for (number, sealed) in self.jobs.outputs(&job.id, delivered.next)? {
            if number == OutputPlace::END {
                if !std::mem::replace(&mut delivered.has_end, true) {
                    self.tell_ready(job, delivered, client)?;
                    client.send(&Update::Output { number, sealed })?;
                }
                continue;
            }
            client.send(&Update::Output { number, sealed })?;
            delivered.next = number + 1;
            if decoded.may_end_after(number) {
                client.set_transfer_limit(self.config.timeouts.idle, Instant::now(), 0);
                let decision: Decision = client.recv(MAX_DECISION_BYTES)?;
                client.set_idle_timeout(self.config.timeouts.idle);
                if decision.epoch != number {
                    let wanted = "a decision about this epoch";
                    return Err(SessionError::Unexpected { from: Role::Client, wanted });
                }
                board.decide(number, decision.goes_on);
            }
        }
        Ok(())
    }

    #[allow(clippy::unused_self)] // read as a part of the server
    fn tell_ready(
        &self,
        job: &StoredJob,
        delivered: &mut Delivered,
        client: &mut Connection,
    ) -> Result<(), SessionError> {
        if !std::mem::replace(&mut delivered.is_ready, true) {
            client.send(&Update::Ready { plan_hash: job.plan_hash })?;
        }
        Ok(())
    }

    fn tell_progress(
        &self,
        job: &StoredJob,
        view: &View,
        delivered: &mut Delivered,
        client: &mut Connection,
    ) -> Result<(), SessionError> {
        if view.is_ready {
            self.tell_ready(job, delivered, client)?;
        }
        if view.trouble.is_some() && delivered.trouble != view.trouble {
            client.send(&Update::Retry(view.trouble.clone().unwrap_or_default()))?;
        }
        delivered.trouble.clone_from(&view.trouble);
        let (done, bytes_sent) = view.step;
        if std::mem::replace(&mut delivered.step, done) != done {
            client.send(&Update::Step { done, bytes_sent })?;
        }
        Ok(())
    }

    /// Tells the end of a job, with the sealed model; returns whether it has ended.
    fn tell_end(&self, job: &StoredJob, state: &JobState, client: &mut Connection) -> Result<bool, SessionError> {
        let no = match state {
            JobState::Queued | JobState::Running => return Ok(false),
            JobState::Done => {
                self.tell_model(job, client)?;
                return Ok(true);
            }
            JobState::Interrupted(reason) | JobState::Failed(reason) => No::Failed(reason.clone()),
            JobState::Refused(reason) => No::Refused(reason.clone()),
            JobState::Cancelled | JobState::Fetched => {
                No::new(&JobStoreError::Ended { id: job.id, state: state.word() }.into())
            }
            JobState::Expired => No::new(&JobStoreError::Expired(job.id).into()),
        };
        client.send(&Update::No(no))?;
        Ok(true)
    }

    fn tell_model(&self, job: &StoredJob, client: &mut Connection) -> Result<(), SessionError> {
        let has_model = Job::decode(&job.encoded).is_ok_and(|job| job.reveal.model);
        if !has_model {
            return Ok(client.send(&Update::Done { model_bytes: 0 })?);
        }
        let (mut file, len) = self.jobs.open_model(&job.id)?;
        client.set_transfer_limit(self.config.timeouts.idle, Instant::now(), len);
        client.send(&Update::Done { model_bytes: len })?;
        let (mut rest, mut piece) = (len, vec![0; PIECE]);
        while rest > 0 {
            let bytes = &mut piece[..PIECE.min(usize::try_from(rest).unwrap_or(PIECE))];
            read_part(&mut file, bytes, &self.jobs.model_path(&job.id))?;
            client.send_bytes(bytes)?;
            rest -= bytes.len() as u64;
        }
        Ok(())
    }
}

/// Returns whether a client has closed its connection in good order.
///
/// # Errors
///
/// If the connection is lost.
fn has_left(client: &mut Connection) -> Result<bool, SessionError> {
    let Err(lost) = client.check_peer() else { return Ok(false) };
    match client.recv::<Decision>(MAX_DECISION_BYTES) {
        Err(error) if error.is_consequence() => Ok(true),
        _ => Err(lost.into()),
    }
}
