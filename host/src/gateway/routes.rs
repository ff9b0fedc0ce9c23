//! Which lines lead to which device: those on which it was last heard.
//!
//! Devices are named by frames that anyone can send, so the map is bounded and holds no more than a hint. An answer goes out on the last [`LINES`] open lines that named its device: who
//! names another's device on a line gets copies of its answers, which tell him no more than his guess did, but takes none away. With [`LINES`] open lines of his own he does, until the device
//! speaks again; a broker's topic is bound to its device, and nobody is heard there under another name.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use symbolon_core::report::header::DeviceId;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Devices of a generation. Two are kept: who is heard moves to the younger one, and the older is forgotten when that is full.
const GENERATION: usize = 1 << 18;
/// Lines of a device that are answered on.
const LINES: usize = 4;

/// A server's answer on its way.
#[derive(Clone)]
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
    lines: HashMap<NonZeroU64, Sender<Answer>>,
    last: u64,
    young: HashMap<u64, Lines>,
    old: HashMap<u64, Lines>,
}

/// A device's lines, the last one first.
#[derive(Clone, Copy, Default)]
struct Lines([Option<NonZeroU64>; LINES]);

impl Lines {
    /// These, with `line` in front; lines that are closed go.
    fn heard(self, line: NonZeroU64, is_open: impl Fn(NonZeroU64) -> bool) -> Self {
        let mut lines = Self::default();
        let others = self.0.into_iter().flatten().filter(|other| *other != line && is_open(*other));
        for (place, line) in lines.0.iter_mut().zip(std::iter::once(line).chain(others)) {
            *place = Some(line);
        }
        lines
    }
}

/// A line that is open; closed when dropped.
pub(super) struct Line {
    id: NonZeroU64,
    routes: Arc<Routes>,
}

impl Routes {
    /// Opens a line, whose answers the receiver gets; `waiting` of them wait at most. A line that takes none loses what comes then: devices send again.
    pub(super) fn open(self: &Arc<Self>, waiting: usize) -> (Line, Receiver<Answer>) {
        let (sender, receiver) = channel(waiting);
        let mut state = self.lock();
        let id = NonZeroU64::MIN.saturating_add(state.last); // a gateway opens no 2^64 lines
        state.last += 1;
        state.lines.insert(id, sender);
        (Line { id, routes: Arc::clone(self) }, receiver)
    }

    /// Passes an answer on to its device's lines; says whether one took it.
    pub(super) fn answer(&self, answer: Answer) -> bool {
        let state = self.lock();
        let device = answer.device.0;
        let Some(lines) = state.young.get(&device).or_else(|| state.old.get(&device)) else { return false };
        let open = lines.0.iter().flatten().filter_map(|line| state.lines.get(line));
        open.filter(|line| line.try_send(answer.clone()).is_ok()).count() > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Notes that a device was heard here.
    pub(super) fn heard(&self, device: DeviceId) {
        let mut state = self.routes.lock();
        let State { lines, young, old, .. } = &mut *state;
        let before = young.get(&device.0).or_else(|| old.get(&device.0)).copied().unwrap_or_default();
        if before.0[0] == Some(self.id) && young.contains_key(&device.0) {
            return;
        }
        let now = before.heard(self.id, |line| lines.contains_key(&line));
        if young.insert(device.0, now).is_none() && young.len() >= GENERATION {
            *old = std::mem::take(young);
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
    fn answers_go_where_a_device_was_heard() {
        let routes = Arc::new(Routes::default());
        let ((one, mut at_one), (two, mut at_two)) = (routes.open(1), routes.open(1));
        assert!(!routes.answer(answer(7)));
        one.heard(DeviceId(7));
        assert!(routes.answer(answer(7)));
        at_one.try_recv().unwrap();
        two.heard(DeviceId(7));
        assert!(routes.answer(answer(7)));
        at_one.try_recv().unwrap();
        at_two.try_recv().unwrap();
        drop(one);
        assert!(routes.answer(answer(7)));
        drop(two);
        assert!(!routes.answer(answer(7)));
    }

    #[test]
    fn a_stranger_who_names_a_device_takes_no_answer_away() {
        let routes = Arc::new(Routes::default());
        let (own, mut answers) = routes.open(9);
        own.heard(DeviceId(7));
        let strangers: Vec<_> = (0..LINES).map(|_| routes.open(9)).collect();
        for (stranger, _) in &strangers[1..] {
            (0..9).for_each(|_| stranger.heard(DeviceId(7)));
        }
        assert!(routes.answer(answer(7)));
        answers.try_recv().unwrap();
        // One line more does, until the device speaks again. Lines that are closed count no more.
        strangers[0].0.heard(DeviceId(7));
        assert!(routes.answer(answer(7)) && answers.try_recv().is_err());
        own.heard(DeviceId(7));
        drop(strangers);
        routes.open(1).0.heard(DeviceId(7));
        assert!(routes.answer(answer(7)));
        answers.try_recv().unwrap();
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
