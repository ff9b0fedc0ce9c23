//! The queue of jobs, and the agreement of both servers on each run.
//!
//! Server 1 leads: it takes the next job of its queue (the greatest priority first, then the
//! earliest), and proposes a run to server 0, in a new session. Server 0 answers where both begin:
//! at the latest checkpoint that both have, or at the results that both have and not yet released.
//! A client has no say in that, so that it cannot make the servers release an epoch twice.
//!
//! A run that loses a peer, or finds no room on a disk, is tried again for the time of
//! `jobs.retry_s` without progress, with growing pauses. Then the job is interrupted at server 1,
//! until its client resumes it. Every other failure ends the job.

use super::{Notice, Server, admission::Place, board::Board};
use crate::{
    intake::validity::UnixSeconds,
    job::Job,
    job_store::{JobId, JobState, JobStatus, JobStoreError, StoredJob},
    net::{Cancel, Connection, Role},
    session::{
        SessionError, SessionId,
        message::{Beginning, MAX_MESSAGE_BYTES, NoRun, PeerHello, RunAnswer, RunProposal},
        random_bytes,
    },
};
use std::{
    cmp::Reverse,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The longest time between two looks at the queue.
const LOOK: Duration = Duration::from_secs(5);
/// The time between two deletions of what has expired.
const SWEEP: Duration = Duration::from_secs(60);
/// The time between two reports of jobs that have not arrived at server 1: longer than an attempt
/// to reach server 0 usually takes.
const REPORT: Duration = Duration::from_secs(60);
/// The time between two looks while a job waits for a place or a pause.
const SHORT_LOOK: Duration = Duration::from_millis(100);
/// The time for which server 0 waits for a job's data, or for the end of an earlier run.
const SETTLE: Duration = Duration::from_secs(2);
/// Characters of a stored reason.
const MOST_REASON: usize = 2000;

impl Server {
    /// Runs the queue: starts jobs at server 1, deletes what has expired, and has devices' queries
    /// answered. Does not return.
    pub fn run_queue(self: &Arc<Self>) {
        let server = Arc::clone(self);
        thread::spawn(move || server.answer_devices());
        let (mut swept, mut reported) = (None, Instant::now());
        loop {
            if swept.is_none_or(|at: Instant| at.elapsed() >= SWEEP) {
                swept = Some(Instant::now());
                self.expire();
            }
            if self.config.role == Role::Server1 && reported.elapsed() >= REPORT {
                reported = Instant::now();
                let server = Arc::clone(self);
                // Jobs do not wait for this; a lost server 0 is asked again.
                thread::spawn(move || drop(server.report_missing()));
            }
            let waits = match self.config.role {
                Role::Server1 => {
                    let begins = self.begin_serving();
                    self.start_jobs() || begins
                }
                _ => {
                    self.give_up_late();
                    false
                }
            };
            let timeout = if waits { SHORT_LOOK } else { LOOK };
            let queue = self.queue.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.queue.1.wait_timeout_while(queue, timeout, |woken| !*woken);
            *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
        }
    }

    /// Deletes what has waited too long for its client, and gives back the budgets of jobs that were
    /// not done.
    fn expire(&self) {
        // An unreadable catalogue is tried again; whoever orders or fetches is told.
        for job in self.jobs.expire(UnixSeconds::now()).unwrap_or_default() {
            (self.tell)(Notice::JobExpired { job: &job });
            let board = self.boards().remove(&job);
            if let Some(board) = board {
                board.post_stored(); // clients may watch it
            }
            let ended = self.account(&job).and_then(|account| Ok(account.end()?));
            if let Err(error) = ended {
                (self.tell)(Notice::Failed { job: &job, error: &error });
            }
        }
    }

    /// Has the queue look at once.
    pub(super) fn wake_queue(&self) {
        *self.queue.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.queue.1.notify_all();
    }

    /// Starts as many jobs as have places; returns whether others wait.
    fn start_jobs(self: &Arc<Self>) -> bool {
        let Ok(queued) = self.queued_jobs() else { return true };
        let mut waits = false;
        for job in queued {
            let board = self.board(&job.id);
            if board.runs() {
                continue;
            }
            if board.pause().is_some() {
                waits = true;
                continue; // it waits for a peer; others need not
            }
            let Ok(place) = self.place(job.memory_bytes) else { return true };
            let Some(cancel) = board.begin() else { continue };
            let server = Arc::clone(self);
            thread::spawn(move || {
                server.next_as_leader(&job, (&board, &cancel), place);
                server.wake_queue();
            });
        }
        waits
    }

    /// Returns the jobs that have not ended, in the order of the queue.
    pub(super) fn queued_jobs(&self) -> Result<Vec<StoredJob>, JobStoreError> {
        let mut queued = self.jobs.unended()?;
        let priority = |job: &StoredJob| self.config.jobs.priorities.get(&job.client).copied().unwrap_or_default();
        queued.sort_by_key(|job| Reverse(priority(job))); // stable: in the order of arrival
        Ok(queued)
    }

    /// Returns a job's board.
    pub(super) fn board(&self, id: &JobId) -> Arc<Board> {
        Arc::clone(self.boards().entry(*id).or_default())
    }

    pub(super) fn boards(&self) -> MutexGuard<'_, super::Boards> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Server 1: proposes a run and takes part in it.
    fn next_as_leader(&self, job: &StoredJob, (board, cancel): (&Board, &Cancel), place: Place) {
        self.guarded(job, board, || {
            let (mut control, session, beginning) = self.propose(job, cancel)?;
            self.jobs.set_state(&job.id, JobState::Running)?;
            self.run_job(job, board, cancel, (&mut control, session), beginning)
        });
        drop(place);
    }

    /// Runs `run` and notes its end, also if it panics.
    fn guarded(&self, job: &StoredJob, board: &Board, run: impl FnOnce() -> Result<(), SessionError>) {
        // The state that a panic leaves is that of the stores: they write whole or not at all.
        let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(SessionError::Panicked));
        self.end_run(job, board, result);
    }

    fn propose(&self, job: &StoredJob, cancel: &Cancel) -> Result<(Connection, SessionId, Beginning), SessionError> {
        let proposal = RunProposal {
            job: job.id,
            digest: job.digest(),
            session: random_bytes()?,
            checkpoints: self.jobs.checkpoints(&job.id)?,
            results: self.jobs.read_final(&job.id)?.map(|results| results.session),
            last_epoch: self.jobs.last_epoch(&job.id)?,
        };
        let session = proposal.session;
        let mut control = self.reach(cancel, Role::Server0)?;
        cancel.guard(control.abort_handle());
        control.send(&PeerHello::Run(proposal))?;
        control.set_idle_timeout(self.config.timeouts.connect + self.config.timeouts.idle);
        let answer: RunAnswer = control.recv(MAX_MESSAGE_BYTES)?;
        control.set_idle_timeout(self.peer_timeout());
        Ok((control, session, answer.map_err(SessionError::NoRun)?))
    }

    /// The idle time-out of connections between servers. The other server may wait for the dealer,
    /// and is the one to report that: its time-out comes first.
    pub(super) fn peer_timeout(&self) -> Duration {
        self.config.timeouts.idle + self.config.timeouts.idle / 4
    }

    /// Server 0: answers a proposal and takes part in the run.
    pub(super) fn follow(&self, proposal: RunProposal, mut control: Connection) -> Result<(), SessionError> {
        let begun = self.await_job(&proposal.job).and_then(|job| self.begin(job, &proposal));
        let (job, board, cancel, place, beginning) = match begun {
            Ok(begun) => begun,
            Err(no) => {
                let _ = control.send(&RunAnswer::Err(no.clone())); // the error matters more
                let _ = control.close();
                return match no {
                    NoRun::Busy | NoRun::Ended(_) => Ok(()),
                    no => Err(SessionError::NoRun(no)),
                };
            }
        };
        if matches!(beginning, Beginning::Released { .. }) {
            // The job has ended here, and server 1 releases its own results.
            let told = control.send(&RunAnswer::Ok(beginning));
            let _ = control.close(); // server 1 has the answer, or proposes again
            self.boards().remove(&job.id);
            board.end();
            return Ok(told?);
        }
        cancel.guard(control.abort_handle());
        control.set_idle_timeout(self.peer_timeout());
        self.guarded(&job, &board, || {
            self.jobs.set_state(&job.id, JobState::Running)?;
            control.send(&RunAnswer::Ok(beginning.clone()))?;
            self.run_job(&job, &board, &cancel, (&mut control, proposal.session), beginning)
        });
        drop(place);
        Ok(())
    }

    /// Waits until the data of a job have arrived.
    fn await_job(&self, id: &JobId) -> Result<StoredJob, NoRun> {
        let started = Instant::now();
        loop {
            match self.jobs.get(id) {
                Ok((job, _)) => return Ok(job),
                // The client sends its order to server 0 first.
                Err(JobStoreError::Unknown(_)) if self.jobs.is_arriving(id) => {
                    if started.elapsed() >= SETTLE {
                        return Err(NoRun::Busy);
                    }
                }
                // Looked at in this order, it may have arrived in between.
                Err(JobStoreError::Unknown(_)) => {
                    return self.jobs.get(id).map(|(job, _)| job).map_err(|_| NoRun::Unknown);
                }
                Err(error) => return Err(NoRun::Failed(error.to_string())),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Begins a run of `job` at server 0.
    #[allow(clippy::type_complexity)] // the parts of a run, for one caller
    fn begin(
        &self,
        job: StoredJob,
        proposal: &RunProposal,
    ) -> Result<(StoredJob, Arc<Board>, Cancel, Place, Beginning), NoRun> {
        let failed = |error: SessionError| NoRun::Failed(error.to_string());
        if job.digest() != proposal.digest {
            return Err(NoRun::Differs);
        }
        let board = self.board(&job.id);
        // A run that has lost server 1 may not have noticed yet.
        if !board.cancel(SETTLE) {
            return Err(NoRun::Busy);
        }
        let (_, status) = self.jobs.get(&job.id).map_err(|error| failed(error.into()))?;
        let place = match self.place(job.memory_bytes) {
            Ok(place) => place,
            Err(SessionError::Policy(_)) => return Err(NoRun::Busy),
            Err(error) => return Err(failed(error)),
        };
        let beginning = self.beginning(&job, &status, proposal)?;
        let cancel = board.begin().ok_or(NoRun::Busy)?;
        Ok((job, board, cancel, place, beginning))
    }

    /// Returns where a run begins, by what both servers have.
    fn beginning(&self, job: &StoredJob, status: &JobStatus, proposal: &RunProposal) -> Result<Beginning, NoRun> {
        let failed = |error: SessionError| NoRun::Failed(error.to_string());
        if let (JobState::Done | JobState::Fetched, Some(session)) = (&status.state, status.finished)
            && proposal.results == Some(session)
        {
            return Ok(Beginning::Released { session, kept: status.kept.clone() });
        }
        if status.state.has_ended() {
            return Err(NoRun::Ended(status.state.clone()));
        }
        let results = self.jobs.read_final(&job.id).map_err(|error| failed(error.into()))?;
        let own = results.map(|results| results.session);
        if let Some(session) = own.filter(|own| proposal.results == Some(*own)) {
            return Ok(Beginning::Results(session));
        }
        let stored = |error: JobStoreError| failed(error.into());
        let own = self.jobs.checkpoints(&job.id).map_err(stored)?;
        let last_epoch = self.jobs.last_epoch(&job.id).map_err(stored)?.max(proposal.last_epoch);
        let decoded = Job::decode(&job.encoded).map_err(|error| NoRun::Failed(error.to_string()))?;
        let least = u64::from(last_epoch).saturating_mul(decoded.steps_per_epoch().max(1) as u64);
        let common = own.iter().rev().find(|name| proposal.checkpoints.contains(name));
        match common {
            // An older copy of a server's jobs would have both release an epoch again.
            common if common.map_or(0, |common| common.steps) < least => Err(NoRun::NoCheckpoint),
            Some(common) => Ok(Beginning::Checkpoint(*common)),
            None => Ok(Beginning::Start),
        }
    }

    /// Notes the end of a run.
    fn end_run(&self, job: &StoredJob, board: &Board, result: Result<(), SessionError>) {
        let state = match &result {
            Ok(()) => JobState::Done,
            Err(error) => self.after(error, board),
        };
        if let Err(error) = &result {
            let noted = match (error, state.has_ended()) {
                (SessionError::NoRun(NoRun::Busy), _) => Ok(()), // the job waits as before
                (_, true) => self.end_job(&job.id, state.clone()),
                (_, false) => self.jobs.set_state(&job.id, state.clone()).map_err(SessionError::from),
            };
            // The client may have ended the job meanwhile.
            let has_ended = |error: &SessionError| matches!(error, SessionError::Jobs(error) if matches!(**error, JobStoreError::Ended { .. }));
            match noted {
                Err(noted) if has_ended(&noted) => {}
                Err(noted) => (self.tell)(Notice::Failed { job: &job.id, error: &noted }),
                Ok(()) if matches!(error, SessionError::NoRun(NoRun::Busy)) => {}
                Ok(()) if state == JobState::Queued => (self.tell)(Notice::Again { job: &job.id, error }),
                Ok(()) => (self.tell)(Notice::Failed { job: &job.id, error }),
            }
        }
        // A checkpoint may have been stored after the client had ended the job.
        self.jobs.clear_ended(&job.id);
        if state.has_ended() {
            self.boards().remove(&job.id);
        }
        board.end();
        if state.has_ended() && result.is_err() && self.config.role == Role::Server1 {
            self.tell_other(&job.id, state);
        }
    }

    /// Returns the state of a job after a failed run.
    fn after(&self, error: &SessionError, board: &Board) -> JobState {
        // It is stored, and a peer's words can be long.
        let reason: String = error.to_string().chars().take(MOST_REASON).collect();
        match error {
            SessionError::NoRun(NoRun::Busy) => {
                board.note_wait();
                JobState::Queued
            }
            // Both would have the results otherwise.
            SessionError::NoRun(NoRun::Ended(JobState::Done | JobState::Fetched)) => JobState::Failed(reason),
            SessionError::NoRun(NoRun::Ended(state)) => state.clone(),
            SessionError::Absent { peer: Role::Client, .. } => JobState::Interrupted(reason),
            error if error.is_passing() => {
                let since = board.note_failure(reason.clone());
                if since < self.config.jobs.retry { JobState::Queued } else { JobState::Interrupted(reason) }
            }
            error if error.is_refusal() => JobState::Refused(reason),
            _ => JobState::Failed(reason),
        }
    }

    /// Server 0: interrupts the jobs whose server 1 has not come back in time.
    fn give_up_late(&self) {
        let boards: Vec<_> = self.boards().iter().map(|(id, board)| (*id, Arc::clone(board))).collect();
        for (id, board) in boards {
            let is_late = board.trouble().is_some_and(|trouble| trouble >= self.config.jobs.retry);
            if !is_late || board.runs() {
                continue;
            }
            let reason = board.watch(0, Duration::ZERO).trouble.unwrap_or_default();
            match self.jobs.interrupt_idle(&id, reason) {
                Ok(()) => board.note_progress(), // once is enough
                Err(error) => (self.tell)(Notice::Failed { job: &id, error: &error.into() }),
            }
            board.post_stored();
        }
    }

    /// Ends a job without results, and gives back its budget.
    fn end_job(&self, id: &JobId, state: JobState) -> Result<(), SessionError> {
        self.jobs.set_state(id, state)?;
        Ok(self.account(id)?.end()?)
    }

    /// Ends a job without results, also while it runs.
    pub(super) fn stop_job(&self, id: &JobId, state: JobState) -> Result<(), SessionError> {
        // From here on the run releases nothing more.
        self.jobs.set_state(id, state)?;
        let board = self.boards().remove(id);
        if let Some(board) = board {
            board.cancel(SETTLE);
            board.post_stored();
        }
        Ok(self.account(id)?.end()?)
    }

    /// Server 1: tells server 0 that a job has ended here. Server 0 may be away: then it learns it
    /// from its client, or the job expires there.
    fn tell_other(&self, id: &JobId, state: JobState) {
        if let Ok(mut other) = self.reach(&Cancel::default(), Role::Server0) {
            let _ = other.send(&PeerHello::Ended { job: *id, state });
            let _ = other.close();
        }
    }

    /// Server 0: server 1 has ended a job without results.
    pub(super) fn ended_at_server1(&self, id: &JobId, state: JobState) -> Result<(), SessionError> {
        let fails = matches!(state, JobState::Failed(_) | JobState::Refused(_) | JobState::Cancelled);
        match self.jobs.get(id) {
            Ok((_, status)) if !status.state.has_ended() && fails => self.stop_job(id, state),
            _ => Ok(()),
        }
    }

    /// Puts the jobs that ran when the process ended back into the queue, and ends the accounts of
    /// those that had ended.
    pub(super) fn recover(&self) -> Result<(), SessionError> {
        for (job, status) in self.jobs.all()? {
            if status.state == JobState::Running {
                let reason = format!("{} ended while the job ran", self.config.role);
                let state = if self.config.jobs.retry.is_zero() {
                    JobState::Interrupted(reason)
                } else {
                    self.board(&job.id).note_failure(reason);
                    JobState::Queued
                };
                self.jobs.set_state(&job.id, state)?;
            } else if status.state.has_ended() {
                match self.account(&job.id) {
                    Ok(account) if account.is_open()? => account.end()?,
                    Ok(_) | Err(SessionError::NoAccount) => {} // the ledger may be an older copy
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl SessionError {
    /// Whether server 1 was lost, or has left.
    pub(super) fn loses_server1(&self) -> bool {
        match self {
            Self::Net(error) => error.peer.role == Some(Role::Server1) || error.is_consequence(),
            Self::Protocol { error, .. } => {
                *error == symbolon_core::link::Error::Lost(symbolon_core::link::Peer::Server)
            }
            Self::Stopped => true,
            _ => false,
        }
    }

    /// Whether the same run may succeed later: a peer was lost or has no place, or a disk is full.
    pub(in crate::session) fn is_passing(&self) -> bool {
        match self {
            // Also a certificate that has expired: its owner makes a new one, and the job goes on.
            Self::Net(_) | Self::State(_) => true,
            Self::Protocol { error, .. } => matches!(error, symbolon_core::link::Error::Lost(_)),
            Self::Absent { .. } | Self::Busy | Self::NoPlace { .. } | Self::Stopped => true,
            Self::Storage(_) | Self::Ledger(_) => true,
            Self::NoRun(no) => matches!(no, NoRun::Busy | NoRun::Failed(_)),
            Self::Jobs(error) => !error.is_refusal(),
            // The dealer or the other server lost a peer, and says so.
            Self::Failed { at, .. } => *at != Role::Client,
            _ => false,
        }
    }
}
