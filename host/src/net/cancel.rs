//! Cancellation of a session from another thread: of its connections and of its waits.

use super::connection::AbortHandle;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// Cancels a session. Clones cancel the same one.
///
/// After cancellation, guarded connections fail with [`Cause::Aborted`](super::Cause::Aborted),
/// also those that are guarded later. Attempts to connect end, and so do waits that check
/// [`is_cancelled`](Self::is_cancelled).
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    guarded: Mutex<Vec<AbortHandle>>,
}

impl Cancel {
    /// Cancels the session permanently.
    pub fn cancel(&self) {
        let guarded = self.0.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.cancelled.store(true, Ordering::Release);
        guarded.iter().for_each(AbortHandle::abort);
    }

    /// Returns whether the session is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Aborts the connection of `handle` when the session is cancelled; at once if it is already.
    pub fn guard(&self, handle: AbortHandle) {
        let mut guarded = self.0.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            handle.abort();
        }
        guarded.push(handle);
    }
}
