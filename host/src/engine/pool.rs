//! A lane's corrections, received ahead of their use: a request then waits for no dealer.
//!
//! A thread receives them into pieces of bounded number and size. They are in memory alone and are
//! used once: what is left when the session ends is wiped.
//!
//! With an auditor, a block (the beginning's corrections, or a batch's) is used only once its hash
//! is the auditor's: the thread asks for hashes a few blocks ahead, compares, and keeps the block
//! back until then.

use super::{
    SessionId,
    audit::{LaneHash, ReleaseHash, release_hash},
    secure::Fault,
};
use crate::net::{Connection, NetError, Role};
use std::{
    iter,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
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

/// Blocks of which the auditor may send the hashes ahead.
const LEAD: usize = 2;

type Piece = Zeroizing<Vec<u8>>;

/// The block, counted from 1, whose corrections are not the auditor's; shared by a session's lanes.
pub type Differing = Arc<OnceLock<u64>>;

/// The auditor's check of one lane.
pub struct BlockCheck {
    /// The lane's connection to the auditor.
    auditor: Connection,
    session: SessionId,
    server: Role,
    hash: LaneHash,
    differing: Differing,
}

impl BlockCheck {
    /// Makes the check of `server` by the `auditor`'s hashes, each of which comes within `idle`.
    #[must_use]
    pub fn new(
        mut auditor: Connection,
        (session, server): (SessionId, Role),
        differing: Differing,
        idle: Duration,
    ) -> Self {
        auditor.set_idle_timeout(idle);
        Self { auditor, session, server, hash: LaneHash::default(), differing }
    }

    /// Asks for the hash of another block.
    fn ask(&mut self) -> Result<(), NetError> {
        self.auditor.buffer_bytes(&[1])?;
        self.auditor.flush()
    }

    /// Compares block `block`, from 0; returns whether its corrections are the auditor's.
    fn confirm(&mut self, block: u64) -> Result<bool, NetError> {
        let mut theirs = ReleaseHash::default();
        self.auditor.recv_exact(&mut theirs)?;
        let is_equal = theirs == release_hash(&self.session, self.server, block, [self.hash.so_far()]);
        if is_equal {
            self.ask()?;
        } else {
            let _ = self.differing.set(block + 1); // another lane's may be there already
        }
        Ok(is_equal)
    }
}

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
    /// failure enters `fault`. A caller waits at most `idle` for a piece. With a `check`, blocks
    /// that differ from the auditor's are not used.
    #[must_use]
    pub fn new(
        connection: Connection,
        fault: Fault,
        [first, each]: [u64; 2],
        (batches, idle): (u64, Duration),
        check: Option<BlockCheck>,
    ) -> Self {
        let (to, pieces) = sync_channel(usize::try_from(batches * each.div_ceil(PIECE)).unwrap_or(usize::MAX));
        thread::spawn(move || match receive(connection, [first, each], &to, check) {
            Ok(()) => {}
            Err(error) => fault.keep(error),
        });
        Self { pieces, idle, piece: Piece::default(), used: 0 }
    }
}

/// Receives blocks until the pool is dropped, or one differs from the auditor's.
fn receive(
    mut connection: Connection,
    [first, each]: [u64; 2],
    to: &SyncSender<Piece>,
    mut check: Option<BlockCheck>,
) -> Result<(), NetError> {
    if let Some(check) = &mut check {
        (0..LEAD).try_for_each(|_| check.ask())?;
    }
    let sizes = Some(first).filter(|first| *first > 0).into_iter().chain(iter::repeat(each));
    for (block, size) in (0..).zip(sizes) {
        let (mut left, mut held) = (size, Vec::new());
        while left > 0 {
            let len = left.min(PIECE);
            let mut piece = Piece::new(vec![0; usize::try_from(len).unwrap_or(usize::MAX)]);
            connection.recv_exact(&mut piece)?;
            left -= len;
            match &check {
                Some(check) => {
                    check.hash.update(&piece);
                    held.push(piece);
                }
                None if to.send(piece).is_err() => return Ok(()), // the pool was dropped
                None => {}
            }
        }
        if let Some(check) = &mut check
            && !check.confirm(block)?
        {
            return Ok(());
        }
        if held.into_iter().any(|piece| to.send(piece).is_err()) {
            return Ok(());
        }
    }
    Ok(())
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
