//! Parts that wait in memory for a server.

use crate::intake::wire::{Batch, MAX_BATCH_BYTES, MAX_PARTS};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bytes of a part's key.
pub(super) const KEY_BYTES: usize = 32;
/// SHA-256 of an encoded part. A part that is sent again has the same key; one that somebody forged does not stand in its way.
pub(super) type Key = [u8; KEY_BYTES];

/// Parts that wait in memory at most.
const MOST_PARTS: usize = 8 * MAX_PARTS;
/// Bytes that wait in memory at most.
const MOST_BYTES: usize = 8 << 20;
/// What a batch's encoding takes beside a part's bytes: its length.
const PREFIX_BYTES: usize = 3;

/// A part that waits.
pub(super) struct Waiting {
    pub(super) key: Key,
    pub(super) bytes: Vec<u8>,
}

/// What became of a part that was offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offer {
    /// It waits.
    Taken,
    /// It waits already.
    Known,
    /// There is no room: the device sends it again.
    Full,
}

/// Some parts, in order, as a server takes them.
#[derive(Default)]
pub(super) struct Load {
    keys: Vec<Key>,
    /// What is sent.
    pub(super) batch: Batch,
    bytes: usize,
}

impl Load {
    /// Adds a part if the batch has room for it.
    pub(super) fn add(&mut self, key: Key, part: Vec<u8>) -> Result<(), Waiting> {
        let bytes = self.bytes + part.len() + PREFIX_BYTES;
        if self.keys.len() == MAX_PARTS || bytes + PREFIX_BYTES > MAX_BATCH_BYTES {
            return Err(Waiting { key, bytes: part });
        }
        self.bytes = bytes;
        self.keys.push(key);
        self.batch.parts.push(part);
        Ok(())
    }

    /// How many parts.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// A queue between the lines and a server's courier.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Waiting>,
    bytes: usize,
    /// Of the parts that wait and of those on their way to the server.
    keys: HashSet<Key>,
    here: bool,
    stopped: bool,
}

impl State {
    fn is_over(&self, num: usize, den: usize) -> bool {
        self.keys.len() * den > MOST_PARTS * num || self.bytes * den > MOST_BYTES * num
    }
}

impl Queue {
    /// Takes a part unless it is there already or there is no room.
    pub(super) fn offer(&self, key: Key, encode: impl FnOnce() -> Vec<u8>) -> Offer {
        let mut state = self.lock();
        if state.keys.contains(&key) {
            return Offer::Known;
        }
        if state.is_over(1, 1) {
            return Offer::Full;
        }
        let bytes = encode();
        state.bytes += bytes.len();
        state.keys.insert(key);
        state.parts.push_back(Waiting { key, bytes });
        drop(state);
        self.changed.notify_one();
        Offer::Taken
    }

    /// Waits for parts, not longer than `patience`, and takes as many as a batch holds. They remain known until [`Self::done`].
    pub(super) fn take(&self, patience: Duration) -> Load {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, patience, |s| s.parts.is_empty() && !s.stopped);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut load = Load::default();
        while let Some(Waiting { key, bytes }) = state.parts.pop_front() {
            let len = bytes.len();
            if let Err(waiting) = load.add(key, bytes) {
                state.parts.push_front(waiting);
                break;
            }
            state.bytes -= len;
        }
        load
    }

    /// The server has answered for these.
    pub(super) fn done(&self, load: &Load) {
        let mut state = self.lock();
        for key in &load.keys {
            state.keys.remove(key);
        }
    }

    /// The server has not answered for these.
    pub(super) fn put_back(&self, load: Load) {
        let mut state = self.lock();
        for (key, bytes) in load.keys.into_iter().zip(load.batch.parts).rev() {
            state.bytes += bytes.len();
            state.parts.push_front(Waiting { key, bytes });
        }
    }

    /// Moves the parts that wait, through `keep`, which leaves those that it does not take.
    pub(super) fn drain<T>(&self, keep: impl FnOnce(&mut VecDeque<Waiting>) -> T) -> T {
        let mut parts = std::mem::take(&mut self.lock().parts);
        let all: Vec<(Key, usize)> = parts.iter().map(|part| (part.key, part.bytes.len())).collect();
        let result = keep(&mut parts);
        let gone = all.len() - parts.len();
        let mut state = self.lock();
        for (key, len) in &all[..gone] {
            state.keys.remove(key);
            state.bytes -= len;
        }
        // What came meanwhile is younger.
        parts.append(&mut state.parts);
        state.parts = parts;
        result
    }

    /// Parts that wait in memory or are on their way.
    pub(super) fn len(&self) -> usize {
        self.lock().keys.len()
    }

    /// Whether the server cannot keep up, so that lines that can wait should.
    pub(super) fn is_pressed(&self) -> bool {
        let state = self.lock();
        state.here && state.is_over(1, 2)
    }

    /// Whether it is time to move parts to the disk, though the server is there.
    pub(super) fn is_crowded(&self) -> bool {
        self.lock().is_over(3, 4)
    }

    /// Notes whether the server is there.
    pub(super) fn set_here(&self, here: bool) {
        self.lock().here = here;
    }

    /// Wakes who waits, for good.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Whether the gateway stops.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Pauses, unless the gateway stops.
    pub(super) fn pause(&self, pause: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout_while(state, pause, |state| !state.stopped));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        let mut key = [0; KEY_BYTES];
        key[..8].copy_from_slice(&n.to_le_bytes());
        key
    }

    #[test]
    fn parts_are_taken_once_in_order_and_come_back_in_front() {
        let queue = Queue::default();
        for n in 0..6000 {
            assert_eq!(queue.offer(key(n), || n.to_le_bytes().to_vec()), Offer::Taken);
            assert_eq!(queue.offer(key(n), Vec::new), Offer::Known);
        }
        let load = queue.take(Duration::ZERO);
        assert_eq!(load.len(), MAX_PARTS);
        assert_eq!(queue.offer(key(0), Vec::new), Offer::Known); // on its way
        queue.put_back(load);
        let load = queue.take(Duration::ZERO);
        assert_eq!(load.batch.parts[1], 1usize.to_le_bytes());
        queue.done(&load);
        assert_eq!(queue.offer(key(0), Vec::new), Offer::Taken);
        let rest = queue.take(Duration::ZERO);
        assert_eq!((rest.len(), queue.len()), (6001 - MAX_PARTS, 6001 - MAX_PARTS));
        queue.done(&rest);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn memory_is_bounded_by_parts_and_by_bytes() {
        for len in [1, 4096] {
            let queue = Queue::default();
            let full = (0..).find(|n| queue.offer(key(*n), || vec![0; len]) == Offer::Full);
            assert!(full.is_some_and(|n| n <= MOST_PARTS + 1 && n * len <= MOST_BYTES + 2 * len), "{full:?}");
            let load = queue.take(Duration::ZERO);
            assert!(load.batch.parts.iter().map(Vec::len).sum::<usize>() < MAX_BATCH_BYTES && load.len() > 200);
        }
    }

    #[test]
    fn what_is_not_moved_stays_before_what_came_meanwhile() {
        let queue = Queue::default();
        assert!((0..3).all(|n| queue.offer(key(n), || vec![0]) == Offer::Taken));
        queue.drain(|parts| {
            drop(parts.pop_front());
            queue.offer(key(3), || vec![0]);
        });
        assert_eq!(queue.take(Duration::ZERO).keys, [1, 2, 3].map(key));
        assert_eq!(queue.offer(key(0), || vec![0]), Offer::Taken);
    }
}
