//! The auditor of a session. It evaluates the dealer's corrections again, from the same seeds, and
//! sends each server the hash of the corrections that the server should have received.
//!
//! A server sends no output before the hashes agree. So a dealer that deviates alone is found with
//! certainty before anything that depends on its corrections leaves a server.
//!
//! In a session of predictions, each lane is checked by itself, block by block: what is dealt for
//! the beginning, then for each batch. A server uses no block before the auditor's hash of it
//! agrees; it asks for hashes as its pool fills, so that the auditor evaluates no more than that.
//!
//! - **Adversary:** the dealer may deviate in any way. The auditor follows the protocol. It knows
//!   both servers' masks, as the dealer does, so that together with one server it can read the
//!   data.
//! - **Cost:** 32 bytes to each server and one round with the auditor for each release; for
//!   predictions, for each batch, ahead of its rows. The auditor repeats the dealer's arithmetic.
//! - **Memory:** as much as the dealer. Lanes run ahead of the servers by a few releases.

use super::{
    SessionError, SessionId,
    attend::{Attended, Expected, LEAD, Replies},
    lane_connections::LaneConnections,
    message::{DealerHello, Work},
    pairing::{Pairing, Session},
    receiver,
    server::Notice,
};
use crate::{
    engine::{
        audit::{LaneHash, ReleaseHash, release_hash},
        dealer::{deal_lane, deal_serving_lane},
    },
    job::Job,
    kernel::HostWord,
    net::{Config, Connection, NetError, Role},
    train::{Deciding, Event, Halt, Orders, Serving, releases},
};
use std::{
    ops::ControlFlow,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};
use symbolon_core::{
    link::{Count, Error, Peer},
    word::Word,
};

/// The servers, in the order of their hashes.
const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];

/// The hashes of one lane's corrections at a release, to each server.
type LaneHashes = [[u8; 32]; 2];

/// An auditor for any number of sessions. It keeps no secret from one session to the next.
pub struct Auditor {
    pairing: Pairing,
    lanes: LaneConnections,
}

impl Auditor {
    /// Makes the auditor that `config` describes.
    pub fn new(config: &Config) -> Self {
        Self { pairing: Pairing::new(config), lanes: LaneConnections::new(config.timeouts.connect) }
    }

    /// Sets `tell`, which is called when a job begins and ends.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(Notice<'_>) + Send + Sync + 'static) -> Self {
        self.pairing.tell = Box::new(tell);
        self
    }

    /// Sets `waiting`, which is called with the missing role, once for each long wait of a session.
    #[must_use]
    pub fn telling_waits(mut self, waiting: fn(Role)) -> Self {
        self.pairing.waiting = waiting;
        self
    }

    /// Serves one connection of a server: joins it to its session. Server 0's own connection runs
    /// the session, on the calling thread.
    ///
    /// # Errors
    ///
    /// The error that ended the session; the servers have received it too.
    pub fn serve(&self, mut connection: Connection, role: Role) -> Result<(), SessionError> {
        let join = match Pairing::receive(&mut connection)? {
            DealerHello::Join(join) => join,
            DealerHello::Lane { session, lane } => return self.lanes.offer(role, (session, lane), connection),
        };
        let expected = |job: &Job, position| Expected { all: releases(job, position), per_epoch: 1 };
        self.pairing.join(role, connection, join, expected, |session, attended, replies| {
            match (&session.work, session.job.numbers.ring_bits) {
                (Work::Train(_), 32) => audit::<u32>(&session, attended, replies),
                (Work::Train(_), _) => audit::<u64>(&session, attended, replies),
                (Work::Serve(serving), 32) => self.audit_serving::<u32>(&session, serving, attended),
                (Work::Serve(serving), _) => self.audit_serving::<u64>(&session, serving, attended),
            }
        })
    }

    /// Evaluates the corrections of predictions, and sends the hash of each block on its lane's
    /// connection when the lane's receiver asks for it.
    fn audit_serving<W: HostWord + Word>(
        &self,
        session: &Session<'_>,
        serving: &Serving,
        attended: &Attended,
    ) -> Result<(), SessionError> {
        let lanes = (session.id, session.work.lanes(&session.job));
        let mut connections = self.lanes.fetch(&self.pairing, lanes, attended)?;
        let prgs = [&*session.prgs[0], &*session.prgs[1]];
        let lane = |lane, connection: &mut Connection, _: Orders<'_>| {
            let [first, each] = session.blocks[usize::from(lane)];
            let left = if first > 0 { first } else { each };
            let mut blocks =
                Blocks { connection, session: session.id, hash: LaneHash::default(), lane, left, each, block: 0 };
            let outlet = |bytes: &[u8]| {
                blocks.add(bytes).map_err(|error| {
                    attended.fault.keep_lane(error);
                    attended.end(receiver(lane));
                    Error::Lost(Peer::Server)
                })
            };
            deal_serving_lane::<W>(&session.job, serving, session.most_batches, prgs, lane, outlet)
                .map_err(|error| Halt::Protocol { error, step: 0 })
        };
        attended.each_lane(connections.iter_mut(), lane, || ())
    }
}

/// The blocks of one lane's corrections, hashed as they are evaluated.
struct Blocks<'a> {
    /// To the lane's receiver.
    connection: &'a mut Connection,
    session: SessionId,
    hash: LaneHash,
    lane: u16,
    /// Bytes of the block that are still to come.
    left: u64,
    /// Bytes of a batch's block.
    each: u64,
    /// Number of the block, from 0.
    block: u64,
}

impl Blocks<'_> {
    /// Adds corrections; at each block's end, waits until its hash is asked for, and sends it.
    fn add(&mut self, mut bytes: &[u8]) -> Result<(), NetError> {
        while !bytes.is_empty() {
            let len = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (own, rest) = bytes.split_at(len);
            self.hash.update(own);
            (bytes, self.left) = (rest, self.left - len as u64);
            if self.left == 0 {
                self.connection.recv_exact(&mut [0])?;
                let hash = release_hash(&self.session, receiver(self.lane), self.block, [self.hash.so_far()]);
                self.connection.buffer_bytes(&hash)?;
                self.connection.flush()?;
                (self.left, self.block) = (self.each, self.block + 1);
            }
        }
        Ok(())
    }
}

/// Evaluates all corrections of a session and queues the hash of each release for the servers.
fn audit<W: HostWord + Word>(
    session: &Session<'_>,
    attended: &Attended,
    replies: &Replies<ReleaseHash>,
) -> Result<(), SessionError> {
    let (to, from): (Vec<_>, Vec<_>) = (0..session.job.lanes.lanes).map(|_| sync_channel(LEAD)).unzip();
    let lane = |lane, to, orders: Orders<'_>| audit_lane::<W>(session, attended, lane, orders, &to);
    attended.each_lane(to.into_iter(), lane, || {
        for release in 0..releases(&session.job, session.position()) {
            let Some(hashes) = combined(session, release, &from) else { break };
            if !replies.send(hashes) {
                break;
            }
        }
        drop(from); // lanes that still run find it out
    })
}

/// Combines the lanes' hashes before a release, for each server; `None` if a lane has failed.
fn combined(session: &Session<'_>, release: u64, lanes: &[Receiver<LaneHashes>]) -> Option<[ReleaseHash; 2]> {
    let lanes = lanes.iter().map(|lane| lane.recv().ok()).collect::<Option<Vec<_>>>()?;
    let hash = |j: usize| release_hash(&session.id, SERVERS[j], release, lanes.iter().map(|hashes| hashes[j]));
    Some([hash(0), hash(1)])
}

/// Hashes one lane's corrections; sends the hash so far to `to` at each release.
fn audit_lane<W: HostWord + Word>(
    session: &Session<'_>,
    attended: &Attended,
    lane: u16,
    orders: Orders<'_>,
    to: &SyncSender<LaneHashes>,
) -> Result<(), Halt> {
    let hashes = [LaneHash::default(), LaneHash::default()];
    let own = &hashes[usize::from(receiver(lane) == Role::Server1)];
    let outlet = |bytes: &[u8]| match attended.fault.is_kept() {
        true => Err(Error::Lost(Peer::Server)),
        false => {
            own.update(bytes);
            Ok(())
        }
    };
    let release = || to.send(hashes.each_ref().map(LaneHash::so_far)).map_err(|_| Halt::Stopped);
    let event = |event: Event<W::Dry>, _: Count| match event.is_release() && release().is_err() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let mut observer = Deciding(event, |epoch| attended.goes_on(epoch));
    let prgs = [&*session.prgs[0], &*session.prgs[1]];
    deal_lane::<W>(&session.job, session.position(), prgs, lane, orders, outlet, &mut observer)?;
    release()
}
