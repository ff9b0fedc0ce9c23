//! A lane's corrections, received ahead of their use: a request then waits for no dealer.
//!
//! A thread receives them into pieces of bounded number and size. They are in memory alone and are
//! used once: what is left when the session ends is wiped.

use super::secure::Fault;
use crate::net::Connection;
use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};
use symbolon_core::{
    correlation::Corrections,
    link::{Error, Peer},
    word::Word,
};
use zeroize::Zeroizing;

/// Most bytes of a piece.
const PIECE: u64 = 1 << 20;

type Piece = Zeroizing<Vec<u8>>;

/// One lane's corrections.
pub struct Pool {
    pieces: Receiver<Piece>,
    /// The longest wait for a dealer that is behind.
    idle: Duration,
    piece: Piece,
    /// Bytes of the piece that are used.
    used: usize,
}

impl Pool {
    /// Receives over `connection`, on a thread of its own: `first` bytes, then batches of `each`
    /// bytes, of which at most `batches` wait. The thread ends with the connection or the pool; a
    /// failure enters `fault`. A caller waits at most `idle` for a piece.
    #[must_use]
    pub fn new(
        connection: Connection,
        fault: Fault,
        [first, each]: [u64; 2],
        (batches, idle): (u64, Duration),
    ) -> Self {
        let (to, pieces) = sync_channel(usize::try_from(batches * each.div_ceil(PIECE)).unwrap_or(usize::MAX));
        thread::spawn(move || receive(connection, &fault, [first, each], &to));
        Self { pieces, idle, piece: Piece::default(), used: 0 }
    }
}

fn receive(mut connection: Connection, fault: &Fault, [first, each]: [u64; 2], to: &SyncSender<Piece>) {
    let mut left = first;
    loop {
        if left == 0 {
            left = each;
        }
        let len = left.min(PIECE);
        let mut piece = Piece::new(vec![0; usize::try_from(len).unwrap_or(usize::MAX)]);
        if let Err(error) = connection.recv_exact(&mut piece) {
            return fault.keep(error);
        }
        left -= len;
        if to.send(piece).is_err() {
            return; // the pool was dropped
        }
    }
}

impl<W: Word> Corrections<W> for Pool {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let mut out = W::bytes_mut(out);
        while !out.is_empty() {
            if self.used == self.piece.len() {
                self.piece = self.pieces.recv_timeout(self.idle).map_err(|_| Error::Lost(Peer::Dealer))?;
                self.used = 0;
            }
            let len = out.len().min(self.piece.len() - self.used);
            let (own, rest) = std::mem::take(&mut out).split_at_mut(len);
            own.copy_from_slice(&self.piece[self.used..][..len]);
            (out, self.used) = (rest, self.used + len);
        }
        Ok(())
    }
}
