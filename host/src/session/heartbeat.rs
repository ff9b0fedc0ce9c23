//! Signs of life: how often roles send them, and what a server's say.

use crate::net::Role;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// The longest time between two messages to the client, unless its idle time-out is short.
const LONGEST_BEAT: Duration = Duration::from_secs(1);

/// Returns the time between two signs of life to a peer whose idle time-out is about `idle`.
pub(super) fn beat(idle: Duration) -> Duration {
    LONGEST_BEAT.min(idle / 4)
}

/// The least length of a wait that a role logs.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(5);

/// The phase of a server's job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for its turn, or for a peer to come back.
    Queued,
    /// Receives its share of the client's data.
    Receiving,
    /// Reads its records off the disk.
    Reading,
    /// Joins the session of dealer and other server.
    Joining,
    /// Masks and opens data and initial weights.
    Opening,
    /// The server trains.
    Training,
    /// Evaluates an epoch.
    Evaluating,
    /// Collects the dealer's figures; exchanges, keeps and releases the results.
    Ending,
}

/// A heartbeat: the phase of a server's job, how far it is, and for whom it waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Alive {
    /// The phase.
    pub phase: Phase,
    /// Payload bytes that the servers have exchanged in this phase, each way. While it receives,
    /// the bytes of the data that server 1 has received.
    pub bytes_done: u64,
    /// Payload bytes of the whole phase by the plan; 0 in phases without payload.
    pub bytes_planned: u64,
    /// The role that this server waits for; none while bytes move.
    pub waits_for: Option<Role>,
}

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.phase {
            Phase::Queued => "waiting for its turn",
            Phase::Receiving => "receiving data",
            Phase::Reading => "reading records",
            Phase::Joining => "joining the session",
            Phase::Opening => "opening data",
            Phase::Training => "training",
            Phase::Evaluating => "evaluating",
            Phase::Ending => "ending",
        })?;
        // While training, the steps say how far.
        if matches!(self.phase, Phase::Receiving | Phase::Opening | Phase::Evaluating) && self.bytes_planned > 0 {
            let percent = u128::from(self.bytes_done.min(self.bytes_planned)) * 100 / u128::from(self.bytes_planned);
            write!(f, " {percent} %")?;
        }
        match self.waits_for {
            Some(role) => write!(f, ", waiting for {role}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_read_as_a_line() {
        let alive = |phase, done, planned, waits_for| {
            Alive { phase, bytes_done: done, bytes_planned: planned, waits_for }.to_string()
        };
        assert_eq!(alive(Phase::Opening, 50, 200, None), "opening data 25 %");
        assert_eq!(alive(Phase::Evaluating, u64::MAX, 3, Some(Role::Dealer)), "evaluating 100 %, waiting for dealer");
        assert_eq!(alive(Phase::Joining, 0, 0, Some(Role::Server1)), "joining the session, waiting for server1");
    }
}
