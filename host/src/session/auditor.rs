//! The auditor of a session. It evaluates the dealer's corrections again, from the same seeds, and
//! sends each server the hash of the corrections that the server should have received.
//!
//! A server sends no output before the hashes agree. So a dealer that deviates alone is found with
//! certainty before anything that depends on its corrections leaves a server.
//!
//! - **Adversary:** the dealer may deviate in any way. The auditor follows the protocol. It knows
//!   both servers' masks, as the dealer does, so that together with one server it can read the
//!   data.
//! - **Cost:** 32 bytes to each server and one round with the auditor for each release. The auditor
//!   repeats the dealer's arithmetic.
//! - **Memory:** as much as the dealer. Lanes run ahead of the servers by a few releases.

use super::{
    SessionError,
    attend::{Attended, Expected, LEAD, Replies},
    message::DealerHello,
    pairing::{Pairing, Session},
    receiver,
    server::Notice,
};
use crate::{
    engine::{
        audit::{LaneHash, ReleaseHash, release_hash},
        dealer::deal_lane,
    },
    job::Job,
    kernel::HostWord,
    net::{Config, Connection, Role},
    train::{Deciding, Event, Halt, Orders, releases},
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
pub struct Auditor(Pairing);

impl Auditor {
    /// Makes the auditor that `config` describes.
    pub fn new(config: &Config) -> Self {
        let mut pairing = Pairing::new(config);
        pairing.serves = false;
        Self(pairing)
    }

    /// Sets `tell`, which is called when a job begins and ends.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(Notice<'_>) + Send + Sync + 'static) -> Self {
        self.0.tell = Box::new(tell);
        self
    }

    /// Sets `waiting`, which is called with the missing role, once for each long wait of a session.
    #[must_use]
    pub fn telling_waits(mut self, waiting: fn(Role)) -> Self {
        self.0.waiting = waiting;
        self
    }

    /// Serves one connection of a server: joins it to its session. Server 0's own connection runs
    /// the session, on the calling thread.
    ///
    /// # Errors
    ///
    /// The error that ended the session; the servers have received it too.
    pub fn serve(&self, mut connection: Connection, role: Role) -> Result<(), SessionError> {
        let DealerHello::Join(join) = Pairing::receive(&mut connection)? else {
            return Err(SessionError::Unexpected { from: role, wanted: "a server's request to join a session" });
        };
        let expected = |job: &Job, position| Expected { all: releases(job, position), per_epoch: 1 };
        self.0.join(role, connection, join, expected, |session, attended, replies| {
            match session.job.numbers.ring_bits {
                32 => audit::<u32>(&session, attended, replies),
                _ => audit::<u64>(&session, attended, replies),
            }
        })
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
