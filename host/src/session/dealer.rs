//! The dealer of a session: it sees a job and nothing of its data.

use super::{
    SessionError,
    attend::{Attended, Expected, Replies},
    lane_connections::LaneConnections,
    message::{DealerHello, Dealt, Work},
    pairing::{Pairing, Session},
    receiver,
    server::Notice,
};
use crate::{
    engine::dealer::{deal_lane, deal_serving_lane},
    kernel::HostWord,
    net::{Config, Connection, NetError, Role},
    report::peak_rss,
    train::{Deciding, Halt, Orders},
};
use std::{
    ops::ControlFlow,
    sync::{Mutex, PoisonError},
};
use symbolon_core::{
    link::{Error, Peer},
    word::Word,
};

/// A dealer for any number of sessions, one after the other or side by side. It keeps no secret
/// from one session to the next.
pub struct Dealer {
    pairing: Pairing,
    lanes: LaneConnections,
}

impl Dealer {
    /// Makes the dealer that `config` describes.
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

    /// Serves one connection of a server: joins it to its session. Server 0's own connection runs the session, on this thread.
    ///
    /// # Errors
    ///
    /// What ended the session, after both servers were told.
    pub fn serve(&self, mut connection: Connection, role: Role) -> Result<(), SessionError> {
        match Pairing::receive(&mut connection)? {
            DealerHello::Join(join) => self.pairing.join(
                role,
                connection,
                join,
                |_, _| Expected { all: 1, per_epoch: 0 },
                |session, attended, replies: &Replies<Dealt>| match session.job.numbers.ring_bits {
                    32 => self.deal::<u32>(session, attended, replies),
                    _ => self.deal::<u64>(session, attended, replies),
                },
            ),
            DealerHello::Lane { session, lane } => self.lanes.offer(role, (session, lane), connection),
        }
    }

    /// Sends all corrections, each lane's to its receiver on its connection.
    fn deal<W: HostWord + Word>(
        &self,
        session: Session<'_>,
        attended: &Attended,
        replies: &Replies<Dealt>,
    ) -> Result<(), SessionError> {
        let position = session.position();
        let serving = match &session.work {
            Work::Train(_) => None,
            Work::Serve(serving) => Some(serving.clone()),
        };
        let serving = serving.as_ref();
        let lanes = (session.id, session.work.lanes(&session.job));
        let mut connections = self.lanes.fetch(&self.pairing, lanes, attended)?;
        let prgs = [&*session.prgs[0], &*session.prgs[1]];
        let lost = |lane, error: NetError| {
            attended.fault.keep_lane(error);
            attended.end(receiver(lane)); // its other lanes do not wait for it
            Error::Lost(Peer::Server)
        };
        let lane = |lane, connection: &mut Connection, orders: Orders<'_>| {
            let connection = Mutex::new(connection);
            let lock = || connection.lock().unwrap_or_else(PoisonError::into_inner);
            let outlet = |bytes: &[u8]| lock().buffer_bytes(bytes).map_err(|error| lost(lane, error));
            // The servers decide once they have all of the epoch.
            let goes_on = |epoch| match lock().flush() {
                Ok(()) => attended.goes_on(epoch),
                Err(error) => {
                    lost(lane, error);
                    ControlFlow::Break(())
                }
            };
            let mut observer = Deciding(|_, _| ControlFlow::Continue(()), goes_on);
            let step = session.job.steps_per_epoch() as u64 * u64::from(session.job.training.epochs);
            match serving {
                None => deal_lane::<W>(&session.job, position, prgs, lane, orders, outlet, &mut observer)?,
                Some(serving) => {
                    deal_serving_lane::<W>(&session.job, serving, session.most_batches, prgs, lane, outlet)
                        .map_err(|error| Halt::Protocol { error, step: 0 })?
                }
            }
            lock().flush().map_err(|error| Halt::Protocol { error: lost(lane, error), step })
        };
        attended.each_lane(connections.iter_mut(), lane, || ())?;
        let bytes_sent = connections.iter().map(|c| c.traffic().payload_sent).sum();
        drop(session); // the place is free before a server may start another job
        replies.send([Dealt { bytes_sent, peak_rss_bytes: peak_rss() }; 2]);
        connections.into_iter().try_for_each(Connection::close)?;
        Ok(())
    }
}
