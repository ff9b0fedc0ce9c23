//! Heartbeats: while a job runs, a server reports to its client, at fixed intervals, that it lives,
//! its phase, and the role for which it waits.
//!
//! The job's thread blocks in rounds. A second thread therefore sends the heartbeats; both share
//! the client's connection. A frozen server sends nothing, and the client's idle time-out finds it;
//! a server that waits says so until its own time-out names the peer. A client that has left is
//! found at the next heartbeat, which cancels the session: its place is free for others.

use super::message::{Decision, Update};
use crate::{
    engine::secure::Activity,
    net::{Cancel, Connection, NetError, Role},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::link::Peer;

/// Most bytes of an encoded [`Decision`].
const MAX_DECISION_BYTES: usize = 8;
/// The longest time between two messages to the client, unless its idle time-out is short.
const LONGEST_BEAT: Duration = Duration::from_secs(1);

/// Returns the time between two signs of life to a peer whose idle time-out is about `idle`.
pub(super) fn beat(idle: Duration) -> Duration {
    LONGEST_BEAT.min(idle / 4)
}

/// The least length of a wait that a role logs.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(5);

/// The phase of a server's job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Receives its share of the client's data.
    Receiving,
    /// Reads its records off the disk.
    Reading,
    /// Joins the session of dealer and other server.
    Joining,
    /// Masks and opens data and initial weights.
    Opening,
    /// The server trains.
    Training,
    /// Evaluates an epoch.
    Evaluating,
    /// Has trained; collects the dealer's figures.
    Ending,
}

/// A heartbeat: the phase of a server's job, how far it is, and for whom it waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Alive {
    /// The phase.
    pub phase: Phase,
    /// Payload bytes that the servers have exchanged in this phase, each way. While it receives,
    /// the bytes of the data that server 1 has received.
    pub bytes_done: u64,
    /// Payload bytes of the whole phase by the plan; 0 in phases without payload.
    pub bytes_planned: u64,
    /// The role that this server waits for; none while bytes move.
    pub waits_for: Option<Role>,
}

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.phase {
            Phase::Receiving => "receiving data",
            Phase::Reading => "reading records",
            Phase::Joining => "joining the session",
            Phase::Opening => "opening data",
            Phase::Training => "training",
            Phase::Evaluating => "evaluating",
            Phase::Ending => "ending",
        })?;
        // While training, the steps say how far.
        if matches!(self.phase, Phase::Receiving | Phase::Opening | Phase::Evaluating) && self.bytes_planned > 0 {
            let percent = u128::from(self.bytes_done.min(self.bytes_planned)) * 100 / u128::from(self.bytes_planned);
            write!(f, " {percent} %")?;
        }
        match self.waits_for {
            Some(role) => write!(f, ", waiting for {role}"),
            None => Ok(()),
        }
    }
}

/// A client's connection during a job, and what its heartbeats say.
pub(super) struct Heart<'a> {
    state: Mutex<State<'a>>,
    activity: Activity,
    /// The other server.
    other: Role,
    idle: Duration,
    beat: Duration,
    cancel: Cancel,
    log: &'a (dyn Fn(&Alive) + Sync),
}

struct State<'a> {
    client: &'a mut Connection,
    failed: Option<NetError>,
    /// Whether the client's decision may have arrived.
    awaits_decision: bool,
    /// The role for which this server has waited at each heartbeat, since when, and whether it was
    /// logged.
    waiting: Option<(Role, Instant, bool)>,
    last_sent: Instant,
    phase: Phase,
    waits_for: Option<Role>,
    bytes_planned: u64,
    /// Bytes that were exchanged when the phase began.
    bytes_before: u64,
    /// Bytes that were exchanged at the last heartbeat.
    bytes_seen: u64,
}

impl<'a> Heart<'a> {
    /// Starts the heartbeats of server `own`. `idle` is about the client's idle time-out. If the
    /// client is lost, they cancel `cancel`. `log` is called once for each long wait.
    pub(super) fn new(
        client: &'a mut Connection,
        own: Role,
        idle: Duration,
        cancel: Cancel,
        log: &'a (dyn Fn(&Alive) + Sync),
    ) -> Self {
        let state = State {
            client,
            failed: None,
            awaits_decision: false,
            waiting: None,
            last_sent: Instant::now(),
            phase: Phase::Reading,
            waits_for: None,
            bytes_planned: 0,
            bytes_before: 0,
            bytes_seen: 0,
        };
        let other = if own == Role::Server0 { Role::Server1 } else { Role::Server0 };
        let (state, activity, beat) = (Mutex::new(state), Activity::default(), beat(idle));
        Self { state, activity, other, idle, beat, cancel, log }
    }

    /// The other server.
    pub(super) fn other(&self) -> Role {
        self.other
    }

    /// The activity of the job's lanes, by which the heart knows how far the job is.
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Runs `job` and sends heartbeats until it returns.
    pub(super) fn beat_during<T>(&self, job: impl FnOnce() -> T) -> T {
        let (running, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while ended.recv_timeout(self.beat) == Err(mpsc::RecvTimeoutError::Timeout) {
                    self.beat();
                }
            });
            let result = job();
            drop(running);
            result
        })
    }

    /// A phase begins in which the servers exchange `bytes_planned`, or in which this server waits
    /// for a role.
    pub(super) fn begin(&self, phase: Phase, bytes_planned: u64, waits_for: Option<Role>) {
        let mut state = self.lock();
        (state.phase, state.waits_for, state.bytes_planned) = (phase, waits_for, bytes_planned);
        state.bytes_before = self.activity.bytes_exchanged();
    }

    /// Runs `wait`, in which this server waits for `role`.
    pub(super) fn wait_for<T>(&self, role: Role, wait: impl FnOnce() -> T) -> T {
        let before = self.lock().waits_for.replace(role);
        let done = wait();
        self.lock().waits_for = before;
        done
    }

    /// Sends an update.
    ///
    /// # Errors
    ///
    /// If the client is lost, perhaps since an earlier heartbeat.
    pub(super) fn send(&self, update: &Update) -> Result<(), NetError> {
        self.lock().send(update)
    }

    /// Sends an update that the client answers with a decision.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub(super) fn ask(&self, update: &Update) -> Result<(), NetError> {
        let mut state = self.lock();
        state.awaits_decision = true; // before the client can have answered
        state.send(update)
    }

    /// Receives the client's decision after an epoch. No heartbeat is sent meanwhile: the client,
    /// which decides, does not read.
    ///
    /// # Errors
    ///
    /// If the client is lost, or takes longer than its idle time-out and a second.
    pub(super) fn receive_decision(&self) -> Result<Decision, NetError> {
        let mut state = self.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => {
                state.client.set_transfer_limit(self.idle, Instant::now(), 0);
                let decision = state.client.recv(MAX_DECISION_BYTES);
                state.client.set_idle_timeout(self.idle);
                state.awaits_decision = false;
                decision
            }
        }
    }

    /// Returns the loss of the client, if it is lost: it is the cause of later failures.
    pub(super) fn into_failure(self) -> Option<NetError> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).failed
    }

    fn beat(&self) {
        let mut state = self.lock();
        let bytes = self.activity.bytes_exchanged();
        let stands_still = std::mem::replace(&mut state.bytes_seen, bytes) == bytes;
        let client = match state.awaits_decision {
            true => state.client.check_open(),
            false => state.client.check_peer(),
        };
        if let (None, Err(error)) = (&state.failed, client) {
            state.failed = Some(error);
            self.cancel.cancel();
        }
        if state.failed.is_some() {
            return;
        }
        let waits_for = self.activity.waits_for().filter(|_| stands_still).map(|peer| match peer {
            Peer::Server => self.other,
            Peer::Dealer => Role::Dealer,
        });
        let alive = Alive {
            phase: state.phase,
            bytes_done: bytes - state.bytes_before,
            bytes_planned: state.bytes_planned,
            waits_for: state.waits_for.or(waits_for),
        };
        if state.waits(alive.waits_for) {
            (self.log)(&alive);
        }
        if state.last_sent.elapsed() < self.beat {
            return;
        }
        if let Err(error) = state.send(&Update::Alive(alive)) {
            state.failed = Some(error);
            self.cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State<'_> {
    /// Notes the role that this server waits for; returns whether the wait is long and not yet
    /// logged.
    fn waits(&mut self, waits_for: Option<Role>) -> bool {
        self.waiting = waits_for.map(|role| match self.waiting {
            Some((same, since, logged)) if same == role => (role, since, logged),
            _ => (role, Instant::now(), false),
        });
        let Some((_, since, logged @ false)) = &mut self.waiting else { return false };
        *logged = since.elapsed() >= LONG_WAIT;
        *logged
    }

    fn send(&mut self, update: &Update) -> Result<(), NetError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.last_sent = Instant::now();
        self.client.send(update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_read_as_a_line() {
        let alive = |phase, done, planned, waits_for| {
            Alive { phase, bytes_done: done, bytes_planned: planned, waits_for }.to_string()
        };
        assert_eq!(alive(Phase::Opening, 50, 200, None), "opening data 25 %");
        assert_eq!(alive(Phase::Evaluating, u64::MAX, 3, Some(Role::Dealer)), "evaluating 100 %, waiting for dealer");
        assert_eq!(alive(Phase::Joining, 0, 0, Some(Role::Server1)), "joining the session, waiting for server1");
    }
}
