//! Where connections of one session wait for each other.

use super::{SessionError, SessionId};
use crate::net::{Connection, Role};
use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Connections that may wait at a time; more are refused, so that nobody fills the memory.
const MAX_WAITING: usize = 1024;

/// Since when a connection waits, and what its peer said.
type Waiting<P, T> = HashMap<(SessionId, P), (Instant, Connection, T)>;

/// Waiting connections, by session and place.
pub(super) struct Rendezvous<P, T> {
    waiting: Mutex<Waiting<P, T>>,
    came: Condvar,
    patience: Duration,
}

impl<P: Eq + std::hash::Hash + Copy, T> Rendezvous<P, T> {
    pub(super) fn new(patience: Duration) -> Self {
        Self { waiting: Mutex::default(), came: Condvar::new(), patience }
    }

    /// Leaves a connection for whoever waits for it; forgets those that nobody fetched in time.
    pub(super) fn leave(
        &self,
        session: SessionId,
        place: P,
        connection: Connection,
        what: T,
    ) -> Result<(), SessionError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (since, ..)| since.elapsed() < 2 * self.patience);
        if waiting.len() >= MAX_WAITING {
            return Err(SessionError::Busy);
        }
        waiting.insert((session, place), (Instant::now(), connection, what));
        self.came.notify_all();
        Ok(())
    }

    /// Fetches a connection, or waits for it.
    pub(super) fn fetch(&self, session: SessionId, place: P, peer: Role) -> Result<(Connection, T), SessionError> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = |w: &mut Waiting<P, T>| !w.contains_key(&(session, place));
        let (mut waiting, _) =
            self.came.wait_timeout_while(waiting, self.patience, absent).unwrap_or_else(PoisonError::into_inner);
        let (_, connection, what) = waiting
            .remove(&(session, place))
            .ok_or(SessionError::Absent { peer, waited_s: self.patience.as_secs() })?;
        Ok((connection, what))
    }
}
