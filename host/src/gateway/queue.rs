//! Parts that wait in memory for a server.

use super::pool::{Pool, Source};
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

/// Bytes of parts in memory at most: of those that wait, and of those on their way. One source alone gets half.
const MOST_BYTES: u64 = 16 << 20;
/// A part counts as no fewer bytes than these: what it takes beside its own, and a bound of parts.
const LEAST_BYTES: u64 = 256;
/// Lines that can wait do so above this.
const PRESSED_BYTES: u64 = MOST_BYTES / 4;
/// Parts move to the disk above this, which one source alone can reach.
const CROWDED_BYTES: u64 = MOST_BYTES / 8 * 3;
/// What a batch's encoding takes beside a part's bytes: its length.
const PREFIX_BYTES: usize = 3;

/// A part that waits.
pub(super) struct Waiting {
    pub(super) key: Key,
    pub(super) source: Source,
    pub(super) bytes: Vec<u8>,
}

/// What a part occupies while its bytes are elsewhere.
struct Claim {
    key: Key,
    source: Source,
    bytes: u64,
}

impl Claim {
    fn of(part: &Waiting) -> Self {
        Self { key: part.key, source: part.source, bytes: claimed(part.bytes.len()) }
    }
}

/// What a part of so many bytes counts as.
fn claimed(len: usize) -> u64 {
    LEAST_BYTES.max(len as u64)
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
    claims: Vec<Claim>,
    /// What is sent.
    pub(super) batch: Batch,
    bytes: usize,
}

impl Load {
    /// Adds a part if the batch has room for it.
    pub(super) fn add(&mut self, part: Waiting) -> Result<(), Waiting> {
        let bytes = self.bytes + part.bytes.len() + PREFIX_BYTES;
        if self.len() == MAX_PARTS || bytes + PREFIX_BYTES > MAX_BATCH_BYTES {
            return Err(part);
        }
        self.bytes = bytes;
        self.claims.push(Claim::of(&part));
        self.batch.parts.push(part.bytes);
        Ok(())
    }

    /// How many parts.
    pub(super) fn len(&self) -> usize {
        self.claims.len()
    }
}

/// A queue between the lines and a server's courier.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    parts: VecDeque<Waiting>,
    /// Of the parts that wait and of those on their way to the server.
    keys: HashSet<Key>,
    /// The same parts' bytes.
    pool: Pool,
    here: bool,
    stopped: bool,
}

impl Default for State {
    fn default() -> Self {
        let (parts, keys, pool) = (VecDeque::new(), HashSet::new(), Pool::new(MOST_BYTES));
        Self { parts, keys, pool, here: false, stopped: false }
    }
}

impl State {
    /// Forgets parts; neighbours of one source at once.
    fn release(&mut self, claims: &[Claim]) {
        for run in claims.chunk_by(|a, b| a.source == b.source) {
            self.pool.give_back(run[0].source, run.iter().map(|claim| claim.bytes).sum());
        }
        for claim in claims {
            self.keys.remove(&claim.key);
        }
    }
}

impl Queue {
    /// Takes a part unless it is there already or there is no room for its source.
    pub(super) fn offer(&self, key: Key, source: Source, bytes: Vec<u8>) -> Offer {
        let mut state = self.lock();
        if state.keys.contains(&key) {
            return Offer::Known;
        }
        if !state.pool.take(source, claimed(bytes.len())) {
            return Offer::Full;
        }
        state.keys.insert(key);
        state.parts.push_back(Waiting { key, source, bytes });
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
        while let Some(part) = state.parts.pop_front() {
            if let Err(part) = load.add(part) {
                state.parts.push_front(part);
                break;
            }
        }
        load
    }

    /// The server has answered for these.
    pub(super) fn done(&self, load: &Load) {
        self.lock().release(&load.claims);
    }

    /// The server has not answered for these.
    pub(super) fn put_back(&self, load: Load) {
        let mut state = self.lock();
        for (Claim { key, source, .. }, bytes) in load.claims.into_iter().zip(load.batch.parts).rev() {
            state.parts.push_front(Waiting { key, source, bytes });
        }
    }

    /// Moves the parts that wait, through `keep`, which leaves those that it does not take, in order.
    pub(super) fn drain<T>(&self, keep: impl FnOnce(&mut VecDeque<Waiting>) -> T) -> T {
        let mut parts = std::mem::take(&mut self.lock().parts);
        let mut gone: Vec<Claim> = parts.iter().map(Claim::of).collect();
        let result = keep(&mut parts);
        let mut left = parts.iter().map(|part| part.key).peekable();
        gone.retain(|claim| left.next_if_eq(&claim.key).is_none());
        let mut state = self.lock();
        state.release(&gone);
        // What came meanwhile is younger.
        parts.append(&mut state.parts);
        state.parts = parts;
        result
    }

    /// Parts that wait in memory or are on their way.
    pub(super) fn len(&self) -> usize {
        self.lock().keys.len()
    }

    /// Whether the server cannot keep up and this source is among those who bring it the most, so that its lines should wait if they can.
    pub(super) fn is_pressed(&self, source: Source) -> bool {
        let state = self.lock();
        state.here && state.pool.used() > PRESSED_BYTES && state.pool.is_heavy(source)
    }

    /// Whether it is time to move parts to the disk, though the server is there.
    pub(super) fn is_crowded(&self) -> bool {
        self.lock().pool.used() > CROWDED_BYTES
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

    fn offer(queue: &Queue, n: usize, len: usize, source: Source) -> Offer {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.resize(len, 0);
        queue.offer(key(n), source, bytes)
    }

    #[test]
    fn parts_are_taken_once_in_order_and_come_back_in_front() {
        let queue = Queue::default();
        for n in 0..6000 {
            assert_eq!(offer(&queue, n, 8, Source::Broker), Offer::Taken);
            assert_eq!(offer(&queue, n, 8, Source::Broker), Offer::Known);
        }
        let load = queue.take(Duration::ZERO);
        assert_eq!(load.len(), MAX_PARTS);
        assert_eq!(offer(&queue, 0, 8, Source::Broker), Offer::Known); // on its way
        queue.put_back(load);
        let load = queue.take(Duration::ZERO);
        assert_eq!(load.batch.parts[1], 1usize.to_le_bytes());
        queue.done(&load);
        assert_eq!(offer(&queue, 0, 8, Source::Broker), Offer::Taken);
        let rest = queue.take(Duration::ZERO);
        assert_eq!((rest.len(), queue.len()), (6001 - MAX_PARTS, 6001 - MAX_PARTS));
        queue.done(&rest);
        assert_eq!((queue.len(), queue.lock().pool.used()), (0, 0));
    }

    #[test]
    fn a_source_alone_gets_half_of_the_memory_whatever_the_size_of_its_parts() {
        for len in [8, 256, 4096] {
            let queue = Queue::default();
            let half = MOST_BYTES / 2 / claimed(len);
            let full = (0..).find(|n| offer(&queue, *n, len, Source::Broker) == Offer::Full);
            assert_eq!(full.map(|n| n as u64), Some(half));
            // Others still get in, until the last byte.
            assert_eq!(offer(&queue, 1 << 30, len, Source::Serial(0)), Offer::Taken);
            let of = |n: usize| Source::Serial(u16::try_from(n % 1000).unwrap_or(0));
            assert!((0..1 << 20).any(|n| offer(&queue, (1 << 31) + n, len, of(n)) == Offer::Full));
            let used = queue.lock().pool.used();
            assert!(used <= MOST_BYTES && used > MOST_BYTES / 100 * 99, "{used}");
            // What is on its way counts until its server has answered.
            let load = queue.take(Duration::ZERO);
            assert!(load.batch.parts.iter().map(Vec::len).sum::<usize>() < MAX_BATCH_BYTES && load.len() > 200);
            assert_eq!(queue.lock().pool.used(), used);
            queue.done(&load);
            assert_eq!(queue.lock().pool.used(), used - load.len() as u64 * claimed(len));
        }
    }

    #[test]
    fn who_brings_the_most_waits_alone() {
        let queue = Queue::default();
        queue.set_here(true);
        assert_eq!(offer(&queue, 0, 256, Source::Serial(0)), Offer::Taken);
        let pressed = (1..).find(|n| {
            assert_eq!(offer(&queue, *n, 4096, Source::Broker), Offer::Taken);
            queue.is_pressed(Source::Broker)
        });
        assert_eq!(pressed, Some(1024));
        assert!(!queue.is_pressed(Source::Serial(0)) && !queue.is_pressed(Source::Serial(1)) && !queue.is_crowded());
        queue.set_here(false);
        assert!(!queue.is_pressed(Source::Broker)); // the disk takes them
        // A source alone gets as far as the disk.
        assert!((1025..2000).any(|n| offer(&queue, n, 4096, Source::Broker) == Offer::Taken && queue.is_crowded()));
    }

    #[test]
    fn what_is_not_moved_stays_before_what_came_meanwhile() {
        let queue = Queue::default();
        assert!((0..5).all(|n| offer(&queue, n, 8, Source::Broker) == Offer::Taken));
        queue.drain(|parts| {
            parts.retain(|part| part.key[0] % 2 == 1);
            offer(&queue, 5, 8, Source::Serial(0));
        });
        let load = queue.take(Duration::ZERO);
        assert!(load.claims.iter().map(|claim| claim.key).eq([1, 3, 5].map(key)));
        assert_eq!(offer(&queue, 3, 8, Source::Broker), Offer::Known);
        assert_eq!(offer(&queue, 2, 8, Source::Broker), Offer::Taken);
        assert_eq!(queue.lock().pool.used(), 4 * LEAST_BYTES);
    }
}
