//! The board of a job: its run writes there, and clients that watch the job read.
//!
//! Neither waits for the other, except for a client's decision after an epoch.

use crate::{
    net::Cancel,
    session::heartbeat::{Alive, Phase},
};
use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The progress of a job that clients see.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Counts changes.
    pub(super) revision: u64,
    /// Counts changes of the job's state and outputs in the job store.
    pub(super) stored: u64,
    /// Its phase.
    pub(super) alive: Alive,
    /// Whether a run has opened data and weights.
    pub(super) is_ready: bool,
    /// Steps that are done, and bytes that the run has sent.
    pub(super) step: (u64, u64),
    /// The reason for which the job waits for a peer.
    pub(super) trouble: Option<String>,
}

/// A job's board.
pub(super) struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    view: View,
    /// The client's decisions, by epoch.
    decisions: BTreeMap<u32, bool>,
    /// Of the current run.
    run: Option<Cancel>,
    /// Since when runs fail.
    failing_since: Option<Instant>,
    /// No run begins before.
    not_before: Option<Instant>,
    /// Runs that failed one after the other.
    failures: u32,
}

impl Default for Board {
    fn default() -> Self {
        let alive = Alive { phase: Phase::Queued, bytes_done: 0, bytes_planned: 0, waits_for: None };
        let view = View { revision: 1, stored: 1, alive, is_ready: false, step: (0, 0), trouble: None };
        let inner =
            Inner { view, decisions: BTreeMap::new(), run: None, failing_since: None, not_before: None, failures: 0 };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }
}

/// The time before a run is proposed again to a server that had no place.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// The shortest time before a failed run is tried again: a role that starts again is there by then.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// The longest time before a failed run is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        inner.view.revision += 1;
        self.changed.notify_all();
        result
    }

    /// Changes what is seen.
    pub(super) fn post(&self, change: impl FnOnce(&mut View)) {
        self.change(|inner| change(&mut inner.view));
    }

    /// Says that the job's state or outputs have changed in the store.
    pub(super) fn post_stored(&self) {
        self.post(|view| view.stored += 1);
    }

    /// Says that a run has opened data and weights: if it fails, it is tried again soon.
    pub(super) fn post_ready(&self) {
        self.change(|inner| (inner.view.is_ready, inner.failures) = (true, 0));
    }

    /// Waits until more has changed than `revision`, at most for `timeout`.
    pub(super) fn watch(&self, revision: u64, timeout: Duration) -> View {
        let is_old = |inner: &mut Inner| inner.view.revision == revision;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, is_old);
        waited.unwrap_or_else(PoisonError::into_inner).0.view.clone()
    }

    /// Returns whether there is a run.
    pub(super) fn runs(&self) -> bool {
        self.lock().run.is_some()
    }

    /// Begins a run; `None` if one runs already.
    pub(super) fn begin(&self) -> Option<Cancel> {
        self.change(|inner| {
            if inner.run.is_some() {
                return None;
            }
            (inner.view.is_ready, inner.view.trouble) = (false, None);
            inner.view.alive.phase = Phase::Reading;
            Some(inner.run.insert(Cancel::default()).clone())
        })
    }

    /// Ends a run, after which the job's state has changed.
    pub(super) fn end(&self) {
        self.change(|inner| {
            inner.run = None;
            inner.view.stored += 1;
            inner.view.alive = Alive { phase: Phase::Queued, bytes_done: 0, bytes_planned: 0, waits_for: None };
        });
    }

    /// Cancels the current run, if there is one, and returns whether it has ended within `timeout`.
    pub(super) fn cancel(&self, timeout: Duration) -> bool {
        let inner = self.lock();
        if let Some(run) = &inner.run {
            run.cancel();
        }
        let runs = |inner: &mut Inner| inner.run.is_some();
        let waited = self.changed.wait_timeout_while(inner, timeout, runs);
        waited.unwrap_or_else(PoisonError::into_inner).0.run.is_none()
    }

    /// Notes that a run failed for `reason`; returns since when runs fail without progress.
    pub(super) fn note_failure(&self, reason: String) -> Duration {
        self.change(|inner| {
            let now = Instant::now();
            let since = *inner.failing_since.get_or_insert(now);
            let pause = LONGEST_PAUSE.min(SHORTEST_PAUSE * (1 << inner.failures.min(8)));
            inner.failures += 1;
            inner.not_before = Some(now + pause);
            inner.view.trouble = Some(reason);
            now - since
        })
    }

    /// Notes that the other server has no place yet.
    pub(super) fn note_wait(&self) {
        self.change(|inner| inner.not_before = Some(Instant::now() + BUSY_PAUSE));
    }

    /// Notes progress: a checkpoint or an output.
    pub(super) fn note_progress(&self) {
        self.change(|inner| (inner.failing_since, inner.not_before, inner.failures) = (None, None, 0));
    }

    /// Returns the time before which no run begins; `None` if one may begin now.
    pub(super) fn pause(&self) -> Option<Duration> {
        let not_before = self.lock().not_before?;
        not_before.checked_duration_since(Instant::now()).filter(|pause| !pause.is_zero())
    }

    /// Returns for how long runs have failed.
    pub(super) fn trouble(&self) -> Option<Duration> {
        self.lock().failing_since.map(|since| since.elapsed())
    }

    /// Forgets earlier failures, as a client asks.
    pub(super) fn resume(&self) {
        self.change(|inner| {
            (inner.failing_since, inner.not_before, inner.failures) = (None, None, 0);
            inner.view.trouble = None;
            inner.view.stored += 1;
        });
    }

    /// Notes the client's decision after an epoch.
    pub(super) fn decide(&self, epoch: u32, goes_on: bool) {
        self.change(|inner| inner.decisions.insert(epoch, goes_on));
    }

    /// Waits for the client's decision after `epoch`, at most for `timeout` and until `cancel`.
    pub(super) fn decision(&self, epoch: u32, timeout: Duration, cancel: &Cancel) -> Option<bool> {
        let (started, mut inner) = (Instant::now(), self.lock());
        loop {
            if let Some(goes_on) = inner.decisions.get(&epoch) {
                return Some(*goes_on);
            }
            if started.elapsed() >= timeout || cancel.is_cancelled() {
                return None;
            }
            let waited = self.changed.wait_timeout(inner, Duration::from_millis(100));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
