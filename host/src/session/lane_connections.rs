//! Connections of servers at dealer and auditor that are for one lane each.

use super::{SessionError, SessionId, attend::Attended, pairing::Pairing, receiver, rendezvous::Rendezvous};
use crate::net::{Connection, Role};
use std::time::Duration;

/// Idle time-out of a lane's connection. It is long because a server takes no corrections in some
/// phases, for instance while data are opened. Servers report on another connection that they
/// live.
const LANE_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The connections that wait for their session.
pub(super) struct LaneConnections(Rendezvous<u16, ()>);

impl LaneConnections {
    /// Connections wait as long as `connect`.
    pub(super) fn new(connect: Duration) -> Self {
        Self(Rendezvous::new(connect))
    }

    /// Takes the connection of server `role` for `lane`, whose corrections it receives.
    ///
    /// # Errors
    ///
    /// If it does not receive them; if no session fetches the connection in time.
    pub(super) fn offer(
        &self,
        role: Role,
        (session, lane): (SessionId, u16),
        connection: Connection,
    ) -> Result<(), SessionError> {
        if role != receiver(lane) {
            return Err(SessionError::Unexpected { from: role, wanted: "a server's request to join a session" });
        }
        let offered = self.0.offer(session, lane, (connection, ()), Role::Server0, &mut |_| {});
        offered.map_err(|(error, _)| error)
    }

    /// Fetches a session's connections, which end with it. Waits as long as both servers and the
    /// lanes fetched so far stay connected.
    ///
    /// # Errors
    ///
    /// The loss or the silence of a server.
    pub(super) fn fetch(
        &self,
        pairing: &Pairing,
        (session, lanes): (SessionId, u16),
        attended: &Attended,
    ) -> Result<Vec<Connection>, SessionError> {
        let (mut connections, mut said): (Vec<Connection>, _) = (Vec::new(), false);
        for lane in 0..lanes {
            let to = receiver(lane);
            let mut go_on = |waited| {
                pairing.say(waited, &mut said, to);
                attended.fault.take().map_or(Ok(()), Err)?;
                Ok(connections.iter().try_for_each(Connection::check_peer)?)
            };
            let (mut connection, ()) = self.0.fetch(session, lane, to, &mut go_on)?;
            connection.set_idle_timeout(LANE_IDLE);
            connections.push(connection);
        }
        connections.iter().for_each(|connection| attended.end_with(connection));
        Ok(connections)
    }
}
