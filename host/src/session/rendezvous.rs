//! Where connections of one session wait for each other.

use super::{SessionError, SessionId};
use crate::net::{Connection, Role};
use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Connections that may wait at a time; more are refused, so that nobody fills the memory.
const MAX_WAITING: usize = 1024;

/// A connection that waits, what its peer said, and a ticket that no other has.
type Waiting<P, T> = HashMap<(SessionId, P), (Connection, T, u64)>;

/// Waiting connections, by session and place.
pub(super) struct Rendezvous<P, T> {
    waiting: Mutex<(Waiting<P, T>, u64)>,
    /// Somebody came, or went.
    moved: Condvar,
    patience: Duration,
}

impl<P: Eq + std::hash::Hash + Copy, T> Rendezvous<P, T> {
    pub(super) fn new(patience: Duration) -> Self {
        Self { waiting: Mutex::default(), moved: Condvar::new(), patience }
    }

    /// Leaves a connection for whoever is to fetch it: `for_whom`. Returns when it is fetched, or gives it back with the reason
    /// why it is not.
    #[allow(clippy::result_large_err)] // a connection that nobody wants comes back
    pub(super) fn offer(
        &self,
        session: SessionId,
        place: P,
        (connection, what): (Connection, T),
        for_whom: Role,
    ) -> Result<(), (SessionError, Connection)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session, place);
        if waiting.0.len() >= MAX_WAITING || waiting.0.contains_key(&key) {
            return Err((SessionError::Busy, connection));
        }
        waiting.1 += 1;
        let ticket = waiting.1;
        waiting.0.insert(key, (connection, what, ticket));
        self.moved.notify_all();
        let unfetched = |w: &mut (Waiting<P, T>, u64)| w.0.get(&key).is_some_and(|(.., t)| *t == ticket);
        let (mut waiting, timed_out) =
            self.moved.wait_timeout_while(waiting, self.patience, unfetched).unwrap_or_else(PoisonError::into_inner);
        match timed_out.timed_out().then(|| waiting.0.remove(&key)).flatten() {
            Some((connection, ..)) => Err((self.absent(for_whom), connection)),
            None => Ok(()),
        }
    }

    /// Fetches the connection of `peer`, or waits for it.
    pub(super) fn fetch(&self, session: SessionId, place: P, peer: Role) -> Result<(Connection, T), SessionError> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session, place);
        let absent = |w: &mut (Waiting<P, T>, u64)| !w.0.contains_key(&key);
        let (mut waiting, _) =
            self.moved.wait_timeout_while(waiting, self.patience, absent).unwrap_or_else(PoisonError::into_inner);
        let (connection, what, _) = waiting.0.remove(&key).ok_or_else(|| self.absent(peer))?;
        self.moved.notify_all();
        Ok((connection, what))
    }

    fn absent(&self, peer: Role) -> SessionError {
        SessionError::Absent { peer, waited_s: self.patience.as_secs() }
    }
}
