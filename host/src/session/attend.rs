//! The servers' connections at dealer and auditor while the lanes of a session run.
//!
//! A server reports at fixed intervals that it lives, and asks for results in their order. A thread
//! for each server answers. So a lost or silent server ends the session, however long a phase
//! without other messages is. While a server waits for a result, the role reports to it, at the
//! same intervals, that the role lives.
//!
//! In a job that may end early, the servers pass on the client's decision after each epoch; lanes
//! wait for it. Both servers must pass on the same one.

use super::{
    SessionError,
    heartbeat::beat,
    message::{Call, Decision, No, Reply},
};
use crate::{
    engine::secure::Fault,
    job::Job,
    net::{AbortHandle, Connection, Role},
    train::{Halt, Orders, Position, SharedOrders},
};
use serde::Serialize;
use std::{
    ops::ControlFlow,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Results queued per server; lanes block beyond that.
pub(super) const LEAD: usize = 2;
/// Most bytes of an encoded [`Call`].
const MAX_CALL_BYTES: usize = 16;
/// The time after which a lane that waits for a decision looks for a failure.
const LOOK: Duration = Duration::from_millis(50);

/// The results for a server, or the reason why they are missing.
type Results<T> = SyncSender<Result<T, No>>;

/// Sends a session's results to each server's thread.
pub(super) struct Replies<T>([Results<T>; 2]);

impl<T> Replies<T> {
    /// Queues the next result for each server; blocks while [`LEAD`] results wait. Returns whether
    /// both servers' threads still run.
    pub(super) fn send(&self, results: [T; 2]) -> bool {
        self.0.iter().zip(results).all(|(server, result)| server.send(Ok(result)).is_ok())
    }
}

/// The state that a session's servers and lanes share: the first failure ends all of them.
pub(super) struct Attended {
    /// The first epoch after which the servers decide.
    first_decision: u32,
    /// The first failure.
    pub(super) fault: Fault,
    aborts: Mutex<Aborts>,
    decisions: Mutex<Decisions>,
    decided: Condvar,
}

/// The decisions after each epoch from which on the job may end, by server.
#[derive(Default)]
struct Decisions {
    by_server: [Vec<bool>; 2],
    /// An invalid decision, or two that differ.
    error: Option<SessionError>,
}

/// The servers' connections for corrections, and the servers that are lost.
#[derive(Default)]
struct Aborts {
    handles: Vec<(Role, AbortHandle)>,
    ended: Vec<Role>,
}

impl Attended {
    /// Makes the state of a session of `job` from `position` on.
    fn new(job: &Job, position: Position) -> Self {
        let patience = job.training.early_stop.map_or(0, |stop| stop.patience);
        let first = position.epochs(job).saturating_add(u32::from(!position.is_epoch_end(job)));
        Self {
            first_decision: first.max(patience),
            fault: Fault::default(),
            aborts: Mutex::default(),
            decisions: Mutex::default(),
            decided: Condvar::new(),
        }
    }

    /// Aborts `connection`, a server's, at the first failure of that server or of a lane to it.
    pub(super) fn end_with(&self, connection: &Connection) {
        let (role, mut aborts) = (connection.role(), self.aborts());
        let handle = connection.abort_handle();
        if aborts.ended.contains(&role) {
            handle.abort(); // it came before
        }
        aborts.handles.push((role, handle));
    }

    /// Aborts the lanes to one server. The other server detects the loss by itself, and must not
    /// take this role for lost.
    pub(super) fn end(&self, server: Role) {
        let mut aborts = self.aborts();
        aborts.ended.push(server);
        aborts.handles.iter().filter(|(role, _)| *role == server).for_each(|(_, abort)| abort.abort());
    }

    /// Keeps a failure of a server's own connection.
    fn fail(&self, error: SessionError) {
        match error {
            SessionError::Net(error) => self.fault.keep(*error),
            error => {
                self.decisions().error.get_or_insert(error);
            }
        }
    }

    fn decisions(&self) -> MutexGuard<'_, Decisions> {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn aborts(&self) -> MutexGuard<'_, Aborts> {
        self.aborts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the decision that a server passes on; an error if it is not about the next epoch.
    fn decide(&self, server: Role, decision: Decision, job: &Job) -> Result<(), SessionError> {
        let mut decisions = self.decisions();
        let own = &mut decisions.by_server[usize::from(server == Role::Server1)];
        let ended = own.last() == Some(&false);
        if ended
            || decision.epoch as usize != own.len() + self.first_decision as usize
            || !job.may_end_after(decision.epoch)
        {
            return Err(SessionError::Unexpected { from: server, wanted: "a decision about the next epoch" });
        }
        own.push(decision.goes_on);
        self.decided.notify_all();
        Ok(())
    }

    /// Waits for both servers' decision after epoch `epoch`: whether training goes on. Breaks if
    /// the decisions differ, or the session has failed.
    pub(super) fn goes_on(&self, epoch: u32) -> ControlFlow<(), bool> {
        let mut decisions = self.decisions();
        let at = epoch.saturating_sub(self.first_decision) as usize;
        loop {
            match decisions.by_server.each_ref().map(|own| own.get(at).copied()) {
                [Some(a), Some(b)] if a == b => return ControlFlow::Continue(a),
                [Some(_), Some(_)] => {
                    decisions.error.get_or_insert(SessionError::Decisions { epoch });
                    return ControlFlow::Break(());
                }
                _ if decisions.error.is_some() || self.fault.is_kept() => return ControlFlow::Break(()),
                _ => {}
            }
            let waited = self.decided.wait_timeout(decisions, LOOK).unwrap_or_else(PoisonError::into_inner);
            decisions = waited.0;
        }
    }

    /// Runs `lane` for each of `lanes`, each on a thread, and `meanwhile` on the caller's thread.
    /// The lanes share the order of records.
    ///
    /// # Errors
    ///
    /// The error of the first lane that failed by itself; the loss of a server.
    pub(super) fn each_lane<L: Send>(
        &self,
        lanes: impl ExactSizeIterator<Item = L>,
        lane: impl Fn(u16, L, Orders<'_>) -> Result<(), Halt> + Sync,
        meanwhile: impl FnOnce(),
    ) -> Result<(), SessionError> {
        let orders = SharedOrders::new(lanes.len());
        let run = &|i, own| {
            let done = lane(i, own, Orders::Shared(&orders));
            if done.is_err() {
                orders.fail(); // other lanes may wait for this one
            }
            done
        };
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0u16..).zip(lanes).map(|(i, own)| scope.spawn(move || run(i, own))).collect();
            meanwhile();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut halts = results.into_iter().filter_map(Result::err);
        self.fault.settle();
        let cause = self.fault.take();
        if let Some(error) = self.decisions().error.take() {
            return Err(error);
        }
        match halts.find(|halt| *halt != Halt::Stopped).or(halts.next()) {
            Some(Halt::Protocol { error, step }) => {
                Err(SessionError::Protocol { error, step, cause: cause.map(Box::new) })
            }
            Some(Halt::Stopped) => Err(cause.map_or(SessionError::Stopped, SessionError::from)),
            None => cause.map_or(Ok(()), |cause| Err(cause.into())),
        }
    }
}

/// The number of results that a server receives.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// Results of a job that runs all epochs.
    pub(super) all: u64,
    /// Results of one epoch, subtracted for each epoch that does not run.
    pub(super) per_epoch: u64,
}

/// Runs `work` while a thread for each of `servers` answers its calls about `job`.
///
/// # Errors
///
/// The error of `work`, which the servers receive with their next call; the loss of a server.
pub(super) fn attended<T: Serialize + Send>(
    servers: [Connection; 2],
    (job, position, expected): (&Job, Position, Expected),
    idle: Duration,
    work: impl FnOnce(&Attended, &Replies<T>) -> Result<(), SessionError>,
) -> Result<(), SessionError> {
    let attended = Attended::new(job, position);
    let result = thread::scope(|scope| {
        let attended = &attended;
        let senders = servers.map(|server| {
            let (to, results) = sync_channel(LEAD);
            scope.spawn(move || {
                let role = server.role();
                if let Err(error) = attend(server, &results, (attended, job, expected), beat(idle)) {
                    attended.fail(error);
                    attended.end(role);
                }
            });
            to
        });
        let replies = Replies(senders);
        let result = work(attended, &replies);
        if let Err(error) = &result {
            for server in &replies.0 {
                let _ = server.send(Err(No::new(error))); // a lost server cannot be told
            }
        }
        result
    });
    result.and_then(|()| attended.fault.take().map_or(Ok(()), |error| Err(error.into())))
}

/// Answers one server's calls until it has all its results.
fn attend<T: Serialize>(
    mut server: Connection,
    results: &Receiver<Result<T, No>>,
    (attended, job, expected): (&Attended, &Job, Expected),
    beat: Duration,
) -> Result<(), SessionError> {
    let (mut all, mut sent) = (expected.all, 0);
    while sent < all {
        match server.recv::<Call>(MAX_CALL_BYTES)? {
            Call::Alive => continue,
            Call::Decided(decision) => {
                attended.decide(server.role(), decision, job)?;
                if !decision.goes_on {
                    all = all.saturating_sub(expected.per_epoch * u64::from(job.training.epochs - decision.epoch));
                }
                continue;
            }
            Call::Next => sent += 1,
        }
        loop {
            match results.recv_timeout(beat) {
                Ok(Ok(result)) => break server.send(&Reply::Next(result))?,
                Ok(Err(no)) => {
                    server.send(&Reply::<T>::No(no))?;
                    return Ok(server.close()?);
                }
                Err(RecvTimeoutError::Timeout) => server.send(&Reply::<T>::Alive)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
    Ok(server.close()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::job::{EarlyStop, Watched};
    use symbolon_core::dyadic::Dyadic;

    fn job() -> Job {
        let mut job = Job::digits().unwrap();
        job.training.epochs = 6;
        job.training.early_stop = Some(EarlyStop { metric: Watched::Loss, patience: 2, least_gain: Dyadic::ZERO });
        job
    }

    #[test]
    fn lanes_go_on_as_both_servers_say() {
        let job = job();
        let attended = Attended::new(&job, Position::START);
        let say = |server, epoch, goes_on| attended.decide(server, Decision { epoch, goes_on }, &job);
        for (server, epoch, goes_on) in
            [(Role::Server0, 2, true), (Role::Server0, 3, false), (Role::Server1, 2, true), (Role::Server1, 3, false)]
        {
            say(server, epoch, goes_on).unwrap();
        }
        assert_eq!(attended.goes_on(2), ControlFlow::Continue(true));
        assert_eq!(attended.goes_on(3), ControlFlow::Continue(false));
        assert!(say(Role::Server0, 4, false).is_err(), "training has ended");
    }

    #[test]
    fn decisions_that_differ_end_the_session() {
        let job = job();
        let attended = Attended::new(&job, Position::START);
        attended.decide(Role::Server0, Decision { epoch: 2, goes_on: true }, &job).unwrap();
        attended.decide(Role::Server1, Decision { epoch: 2, goes_on: false }, &job).unwrap();
        assert_eq!(attended.goes_on(2), ControlFlow::Break(()));
        assert!(matches!(attended.decisions().error, Some(SessionError::Decisions { epoch: 2 })));
    }

    #[test]
    fn decisions_out_of_turn_are_refused() {
        let job = job();
        let attended = Attended::new(&job, Position::START);
        let say = |epoch| attended.decide(Role::Server1, Decision { epoch, goes_on: true }, &job);
        assert!(say(1).is_err() && say(3).is_err() && say(0).is_err(), "the first is about epoch 2");
        (2..6).for_each(|epoch| say(epoch).unwrap());
        assert!(say(6).is_err(), "the last epoch ends training anyway");
    }

    /// A lane that waits ends with the session.
    #[test]
    fn a_lane_waits_no_longer_than_the_session() {
        let job = job();
        let attended = Attended::new(&job, Position::START);
        attended.fail(SessionError::Unexpected { from: Role::Server1, wanted: "a decision" });
        assert_eq!(attended.goes_on(2), ControlFlow::Break(()));
    }
}
