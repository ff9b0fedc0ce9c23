//! Which line leads to which device: the one on which it was last heard.
//!
//! Devices are named by frames that anyone can send, so the map is bounded and holds no more than a hint. Who poses as a device draws its answers to himself for as long as the device
//! is silent; the device then sends again and is answered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use symbolon_core::report::header::DeviceId;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Devices of a generation. Two are kept: who is heard moves to the younger one, and the older is forgotten when that is full.
const GENERATION: usize = 1 << 18;
/// A server's answer on its way.
pub(super) struct Answer {
    /// For whom.
    pub(super) device: DeviceId,
    /// As [`symbolon_core::report::frame::Frame::encode`] wrote it.
    pub(super) frame: Vec<u8>,
}

/// All lines, and which devices were heard where.
#[derive(Default)]
pub(super) struct Routes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: HashMap<u64, Sender<Answer>>,
    next: u64,
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

/// A line that is open; closed when dropped.
pub(super) struct Line {
    id: u64,
    routes: Arc<Routes>,
}

impl Routes {
    /// Opens a line, whose answers the receiver gets; `waiting` of them wait at most. A line that takes none loses what comes then: devices send again.
    pub(super) fn open(self: &Arc<Self>, waiting: usize) -> (Line, Receiver<Answer>) {
        let (sender, receiver) = channel(waiting);
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.lines.insert(id, sender);
        (Line { id, routes: Arc::clone(self) }, receiver)
    }

    /// Passes an answer on; says whether a line took it.
    pub(super) fn answer(&self, answer: Answer) -> bool {
        let state = self.lock();
        let device = answer.device.0;
        let line = state.young.get(&device).or_else(|| state.old.get(&device));
        line.and_then(|line| state.lines.get(line)).is_some_and(|line| line.try_send(answer).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Notes that a device was heard here.
    pub(super) fn heard(&self, device: DeviceId) {
        let mut state = self.routes.lock();
        if state.young.insert(device.0, self.id).is_none() && state.young.len() >= GENERATION {
            state.old = std::mem::take(&mut state.young);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.routes.lock().lines.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(device: u64) -> Answer {
        Answer { device: DeviceId(device), frame: Vec::new() }
    }

    #[test]
    fn answers_go_where_a_device_was_last_heard() {
        let routes = Arc::new(Routes::default());
        let ((one, mut at_one), (two, mut at_two)) = (routes.open(1), routes.open(1));
        assert!(!routes.answer(answer(7)));
        one.heard(DeviceId(7));
        assert!(routes.answer(answer(7)));
        at_one.try_recv().unwrap();
        two.heard(DeviceId(7));
        assert!(routes.answer(answer(7)));
        assert!(at_one.try_recv().is_err());
        at_two.try_recv().unwrap();
        drop(two);
        assert!(!routes.answer(answer(7)));
    }

    #[test]
    fn strangers_names_cost_bounded_memory_and_a_line_that_takes_nothing_too() {
        let routes = Arc::new(Routes::default());
        let (line, _answers) = routes.open(9);
        (0..3 * GENERATION as u64).for_each(|device| line.heard(DeviceId(device)));
        let state = routes.lock();
        assert!(state.young.len() + state.old.len() <= 2 * GENERATION);
        drop(state);
        assert!(!routes.answer(answer(0)));
        let last = 3 * GENERATION as u64 - 1;
        let taken = (0..20).filter(|_| routes.answer(answer(last))).count();
        assert_eq!(taken, 9);
    }
}
