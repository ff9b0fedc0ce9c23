//! The secure engine's ends: a protocol's link and its corrections over connections.

use super::audit::LaneHash;
use crate::net::{Connection, NetError};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use symbolon_core::{
    correlation::Corrections,
    link::{Error, Fold, Link, Part, Peer},
    word::Word,
};

/// Parts of a round up to this many bytes together are sent as one piece, so that a round is one flight on the wire.
const GATHER_BYTES: usize = 1 << 18;

/// The first failure of any of a party's connections: what a core error has no room for.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    error: NetError,
    /// Whether it follows from another failure, which takes its place once that is known.
    follows: bool,
}

impl Fault {
    /// Keeps `error` if it is the first, or if what is kept follows from another failure.
    pub fn keep(&self, error: NetError) {
        let follows = error.is_consequence();
        self.put(Kept { error, follows });
    }
    /// Keeps `error` as one that may follow from another failure: a peer that has lost another role
    /// drops its lanes.
    pub fn keep_lane(&self, error: NetError) {
        self.put(Kept { error, follows: true });
    }
    fn put(&self, new: Kept) {
        let mut kept = self.lock();
        if kept.as_ref().is_none_or(|kept| kept.follows && !new.follows) {
            *kept = Some(new);
        }
    }
    /// Waits for at most a third of a second as long as what is kept follows from another failure:
    /// the connection to a peer that was lost before may still be about to fail.
    pub fn settle(&self) {
        for _ in 0..30 {
            if !self.lock().as_ref().is_some_and(|kept| kept.follows) {
                return;
            }
            thread::sleep(Duration::from_millis(11));
        }
    }
    /// Returns whether a failure is kept.
    pub fn is_kept(&self) -> bool {
        self.lock().is_some()
    }
    /// The first failure.
    pub fn take(&self) -> Option<NetError> {
        self.lock().take().map(|kept| kept.error)
    }
    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a party's lanes, for a thread that reports it: payload exchanged, and lanes that
/// wait for a peer.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Gauges>);

#[derive(Debug, Default)]
struct Gauges {
    bytes_exchanged: AtomicU64,
    waits_for_server: AtomicU32,
    waits_for_dealer: AtomicU32,
}

impl Activity {
    /// Payload bytes that all lanes have exchanged with the other server, each way.
    pub fn bytes_exchanged(&self) -> u64 {
        self.0.bytes_exchanged.load(Ordering::Relaxed)
    }

    /// The peer that a lane waits for now. The dealer comes first: a lane that waits for the other
    /// server may wait because of it.
    pub fn waits_for(&self) -> Option<Peer> {
        let waits = |gauge: &AtomicU32| gauge.load(Ordering::Relaxed) > 0;
        let server = waits(&self.0.waits_for_server).then_some(Peer::Server);
        waits(&self.0.waits_for_dealer).then_some(Peer::Dealer).or(server)
    }

    fn wait<T>(gauge: &AtomicU32, transfer: impl FnOnce() -> T) -> T {
        gauge.fetch_add(1, Ordering::Relaxed);
        let done = transfer();
        gauge.fetch_sub(1, Ordering::Relaxed);
        done
    }
}

/// One lane's link to the other server.
pub struct NetLink<'a> {
    connection: &'a mut Connection,
    fault: Fault,
    activity: Activity,
    gathered: Vec<u8>,
}

impl<'a> NetLink<'a> {
    /// A link over `connection`.
    pub fn new(connection: &'a mut Connection, fault: Fault) -> Self {
        Self { connection, fault, activity: Activity::default(), gathered: Vec::new() }
    }

    /// The same link, which reports to `activity`.
    #[must_use]
    pub fn reporting(self, activity: Activity) -> Self {
        Self { activity, ..self }
    }

    fn swap(&mut self, bytes: &mut [u8], fold: &mut dyn FnMut(&mut [u8], &[u8])) -> Result<(), Error> {
        let len = bytes.len() as u64;
        let gauges = &self.activity.0;
        let swapped = Activity::wait(&gauges.waits_for_server, || self.connection.exchange_in_place(bytes, fold));
        swapped.map_err(|error| {
            self.fault.keep(error);
            Error::Lost(Peer::Server)
        })?;
        gauges.bytes_exchanged.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }
}

impl<W: Word> Link<W> for NetLink<'_> {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let total: usize = parts.iter().map(|(_, words)| W::bytes(words).len()).sum();
        if parts.len() == 1 || total > GATHER_BYTES {
            for (kind, words) in parts {
                self.swap(W::bytes_mut(words), &mut |mine, theirs| fold::<W>(*kind, mine, theirs))?;
            }
            return Ok(());
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.clear();
        for (_, words) in &*parts {
            gathered.extend_from_slice(W::bytes(words));
        }
        self.swap(&mut gathered, &mut |mine, theirs| mine.copy_from_slice(theirs))?;
        let mut theirs = &gathered[..];
        for (kind, words) in parts {
            let mine = W::bytes_mut(words);
            let (head, tail) = theirs.split_at(mine.len());
            fold::<W>(*kind, mine, head);
            theirs = tail;
        }
        self.gathered = gathered;
        Ok(())
    }
}

/// Folds the peer's words, at any address, into this party's.
fn fold<W: Word>(kind: Fold, mine: &mut [u8], theirs: &[u8]) {
    match kind {
        Fold::Swap => mine.copy_from_slice(theirs),
        Fold::Xor => {
            for (m, t) in mine.iter_mut().zip(theirs) {
                *m ^= t;
            }
        }
        Fold::Add if W::BITS == 32 => {
            for (m, t) in mine.as_chunks_mut::<4>().0.iter_mut().zip(theirs.as_chunks::<4>().0) {
                *m = u32::from_le_bytes(*m).wrapping_add(u32::from_le_bytes(*t)).to_le_bytes();
            }
        }
        Fold::Add => {
            for (m, t) in mine.as_chunks_mut::<8>().0.iter_mut().zip(theirs.as_chunks::<8>().0) {
                *m = u64::from_le_bytes(*m).wrapping_add(u64::from_le_bytes(*t)).to_le_bytes();
            }
        }
    }
}

/// One lane's corrections, at the server that receives them.
pub struct NetCorrections<'a> {
    connection: &'a mut Connection,
    fault: Fault,
    activity: Activity,
    hash: Option<LaneHash>,
}

impl<'a> NetCorrections<'a> {
    /// Corrections that arrive over `connection`.
    pub fn new(connection: &'a mut Connection, fault: Fault) -> Self {
        Self { connection, fault, activity: Activity::default(), hash: None }
    }

    /// The same corrections; all of them enter `hash`, if there is one.
    #[must_use]
    pub fn hashing(self, hash: Option<LaneHash>) -> Self {
        Self { hash, ..self }
    }

    /// The same corrections, which report to `activity`.
    #[must_use]
    pub fn reporting(self, activity: Activity) -> Self {
        Self { activity, ..self }
    }
}

impl<W: Word> Corrections<W> for NetCorrections<'_> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let gauge = &self.activity.0.waits_for_dealer;
        Activity::wait(gauge, || self.connection.recv_exact(W::bytes_mut(out))).map_err(|error| {
            self.fault.keep(error);
            Error::Lost(Peer::Dealer)
        })?;
        if let Some(hash) = &self.hash {
            hash.update(W::bytes(out));
        }
        Ok(())
    }
}
