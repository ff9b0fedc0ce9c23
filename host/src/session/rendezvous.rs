//! Where connections of one session wait for each other.

use super::{SessionError, SessionId};
use crate::net::{Connection, Role};
use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most connections that wait at a time; more are refused, so that a peer cannot fill the memory.
const MAX_WAITING: usize = 1024;
/// Time between two checks of a waiting thread.
const LOOK: Duration = Duration::from_millis(100);

/// A waiting connection, its peer's message, and its unique ticket.
type Waiting<P, T> = HashMap<(SessionId, P), (Connection, T, u64)>;

/// Waiting connections, by session and place.
pub(super) struct Rendezvous<P, T> {
    waiting: Mutex<(Waiting<P, T>, u64)>,
    /// Notified when a connection arrives or leaves.
    moved: Condvar,
    timeout: Duration,
}

impl<P: Eq + std::hash::Hash + Copy, T> Rendezvous<P, T> {
    /// Makes a place where connections wait for at most `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { waiting: Mutex::default(), moved: Condvar::new(), timeout }
    }

    /// Leaves a connection for the thread of `for_whom` and returns when that thread has fetched
    /// it. An unfetched connection comes back, with the reason. Its peer must send nothing
    /// meanwhile; if the peer leaves, the wait ends. About ten times a second, `waits` gets the
    /// time waited so far.
    #[allow(clippy::result_large_err)] // an unfetched connection comes back
    pub(super) fn offer(
        &self,
        session: SessionId,
        place: P,
        (connection, what): (Connection, T),
        for_whom: Role,
        waits: &mut dyn FnMut(Duration),
    ) -> Result<(), (SessionError, Connection)> {
        let started = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session, place);
        if waiting.0.len() >= MAX_WAITING || waiting.0.contains_key(&key) {
            return Err((SessionError::Busy, connection));
        }
        waiting.1 += 1;
        let ticket = waiting.1;
        waiting.0.insert(key, (connection, what, ticket));
        self.moved.notify_all();
        loop {
            let Some((connection, ..)) = waiting.0.get(&key).filter(|(.., t)| *t == ticket) else { return Ok(()) };
            let ended = match connection.check_peer() {
                Err(error) => Some(error.into()),
                Ok(()) if started.elapsed() >= self.timeout => Some(self.absent(for_whom)),
                Ok(()) => None,
            };
            if let Some((error, (connection, ..))) = ended.and_then(|error| Some((error, waiting.0.remove(&key)?))) {
                return Err((error, connection));
            }
            waits(started.elapsed());
            waiting = self.look(waiting, started);
        }
    }

    /// Fetches the connection of `peer`; waits for it until `go_on` returns an error. About ten
    /// times a second, `go_on` gets the time waited so far.
    pub(super) fn fetch(
        &self,
        session: SessionId,
        place: P,
        peer: Role,
        go_on: &mut dyn FnMut(Duration) -> Result<(), SessionError>,
    ) -> Result<(Connection, T), SessionError> {
        let started = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((connection, what, _)) = waiting.0.remove(&(session, place)) {
                self.moved.notify_all();
                return Ok((connection, what));
            }
            go_on(started.elapsed())?;
            if started.elapsed() >= self.timeout {
                return Err(self.absent(peer));
            }
            waiting = self.look(waiting, started);
        }
    }

    /// Waits until a connection arrives or leaves, or the next check is due.
    fn look<'a>(&self, waiting: Guard<'a, P, T>, started: Instant) -> Guard<'a, P, T> {
        let left = self.timeout.saturating_sub(started.elapsed()).min(LOOK);
        self.moved.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
    }

    fn absent(&self, peer: Role) -> SessionError {
        SessionError::Absent { peer, waited_s: self.timeout.as_secs() }
    }
}

type Guard<'a, P, T> = std::sync::MutexGuard<'a, (Waiting<P, T>, u64)>;
