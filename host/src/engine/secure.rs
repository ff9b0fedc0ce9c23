//! The secure engine's ends: a protocol's link and its corrections over connections.

use crate::net::{Connection, NetError};
use std::sync::{Arc, Mutex, PoisonError};
use symbolon_core::{
    correlation::Corrections,
    link::{Error, Fold, Link, Part, Peer},
    word::Word,
};

/// Parts of a round up to this many bytes together are sent as one piece, so that a round is one flight on the wire.
const GATHER_BYTES: usize = 1 << 18;

/// The first failure of any of a party's connections: what a core error has no room for.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<Mutex<Option<NetError>>>);

impl Fault {
    /// Keeps `error` if it is the first.
    pub fn keep(&self, error: NetError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
    /// The first failure.
    pub fn take(&self) -> Option<NetError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// One lane's link to the other server.
pub struct NetLink<'a> {
    connection: &'a mut Connection,
    fault: Fault,
    gathered: Vec<u8>,
}

impl<'a> NetLink<'a> {
    /// A link over `connection`.
    pub fn new(connection: &'a mut Connection, fault: Fault) -> Self {
        Self { connection, fault, gathered: Vec::new() }
    }

    fn swap(&mut self, bytes: &mut [u8], fold: &mut dyn FnMut(&mut [u8], &[u8])) -> Result<(), Error> {
        self.connection.exchange_in_place(bytes, fold).map_err(|error| {
            self.fault.keep(error);
            Error::Lost(Peer::Server)
        })
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

/// One lane's corrections at server 1.
pub struct NetCorrections<'a> {
    connection: &'a mut Connection,
    fault: Fault,
}

impl<'a> NetCorrections<'a> {
    /// Corrections that arrive over `connection`.
    pub fn new(connection: &'a mut Connection, fault: Fault) -> Self {
        Self { connection, fault }
    }
}

impl<W: Word> Corrections<W> for NetCorrections<'_> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        self.connection.recv_exact(W::bytes_mut(out)).map_err(|error| {
            self.fault.keep(error);
            Error::Lost(Peer::Dealer)
        })
    }
}
