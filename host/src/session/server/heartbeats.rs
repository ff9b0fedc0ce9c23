//! Heartbeats: while a job runs, a server posts, at fixed intervals, its phase and the role for
//! which it waits. Clients that watch the job are told.
//!
//! The run's thread blocks in rounds. A second thread therefore makes the heartbeats. A frozen
//! server tells its clients nothing, and their idle time-out finds it; a server that waits says so
//! until its own time-out names the peer.

use super::board::Board;
use crate::{
    engine::secure::{Activity, Fault},
    net::{Cancel, Role},
    session::heartbeat::{Alive, LONG_WAIT, Phase, beat},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::link::Peer;

/// The heartbeats of a run.
pub(super) struct Heartbeats<'a> {
    state: Mutex<State>,
    activity: Activity,
    /// The first failure of a lane.
    fault: Fault,
    cancel: Cancel,
    /// The other server.
    other: Role,
    beat: Duration,
    board: &'a Board,
    log: &'a (dyn Fn(&Alive) + Sync),
}

struct State {
    /// The role for which this server has waited at each heartbeat, since when, and whether it was
    /// logged.
    waiting: Option<(Role, Instant, bool)>,
    phase: Phase,
    waits_for: Option<Role>,
    bytes_planned: u64,
    /// Bytes that were exchanged when the phase began.
    bytes_before: u64,
    /// Bytes that were exchanged at the last heartbeat.
    bytes_seen: u64,
    /// Whether a lane had failed at the last heartbeat.
    has_failed: bool,
}

impl<'a> Heartbeats<'a> {
    /// Makes the heartbeats of a run at server `own`, which go to `board`. `idle` is about the idle
    /// time-out of clients. `log` is called once for each long wait. A run that still goes on a
    /// heartbeat after one of its lanes has failed is cancelled: both servers' other lanes may wait
    /// for each other's failed ones.
    pub(super) fn new(
        board: &'a Board,
        cancel: &Cancel,
        (own, idle): (Role, Duration),
        log: &'a (dyn Fn(&Alive) + Sync),
    ) -> Self {
        let state = State {
            waiting: None,
            phase: Phase::Reading,
            waits_for: None,
            bytes_planned: 0,
            bytes_before: 0,
            bytes_seen: 0,
            has_failed: false,
        };
        let other = if own == Role::Server0 { Role::Server1 } else { Role::Server0 };
        Self {
            state: Mutex::new(state),
            activity: Activity::default(),
            fault: Fault::default(),
            cancel: cancel.clone(),
            other,
            beat: beat(idle),
            board,
            log,
        }
    }

    /// The other server.
    pub(super) fn other(&self) -> Role {
        self.other
    }

    /// The activity of the run's lanes, by which the heartbeats know how far the run is.
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Where the run's lanes keep the first failure.
    pub(super) fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Runs `job` and posts heartbeats until it returns.
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

    fn beat(&self) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.has_failed, self.fault.is_kept()) {
            self.cancel.cancel();
        }
        let bytes = self.activity.bytes_exchanged();
        let stands_still = std::mem::replace(&mut state.bytes_seen, bytes) == bytes;
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
        self.board.post(|view| view.alive = alive);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
}
