//! The start of a session: a server joins it at dealer and auditor, and meets the other server.

use super::{
    Server,
    audit::Audit,
    dealing::{Helper, Joined},
    heartbeats::Heartbeats,
};
use crate::{
    engine::plan::hex,
    job::Job,
    net::{Cancel, Connection, NetError, Role},
    session::{
        STACK_BYTES, SessionError, SessionId,
        heartbeat::Phase,
        message::{Answer, DealerHello, LaneHello, MAX_MESSAGE_BYTES, No, PeerHello, Work},
        random_seed, receiver,
        veil::{Veil, VeilSeed},
    },
};
use std::{sync::mpsc, thread, time::Duration};
use symbolon_core::{prg::Prg, wipe::wipe_stack};
use zeroize::Zeroizing;

/// The time between two looks at the other server.
const LOOK: Duration = Duration::from_millis(100);

/// A session of training or of predictions, as other roles meet it.
pub(super) struct Meeting<'a> {
    pub(super) id: SessionId,
    pub(super) job: &'a Job,
    pub(super) encoded: &'a [u8],
    pub(super) work: &'a Work,
    pub(super) plan_hash: [u8; 32],
    pub(super) lanes: u16,
    /// Connections to the other server: one a lane, and one more in a session of predictions.
    pub(super) peers: u16,
    pub(super) cancel: &'a Cancel,
}

/// The parts of a session once all roles have met.
pub(super) struct Met {
    /// This server's masks.
    pub(super) prg: Box<dyn Prg>,
    pub(super) dealer: Helper,
    pub(super) audit: Audit,
    /// The dealer's corrections, one connection a lane; `None` where the other server receives
    /// them.
    pub(super) streams: Vec<Option<Connection>>,
    /// The auditor's hashes of predictions, as [`Self::streams`]; none in other sessions, nor
    /// without an auditor.
    pub(super) checks: Vec<Option<Connection>>,
    /// The other server: as many connections as [`Meeting::peers`].
    pub(super) peers: Vec<Connection>,
    pub(super) veil: Veil,
}

impl Server {
    /// Connects to dealer, auditor and the other server, to which `control` leads, and shares the
    /// veil with it.
    #[inline(never)] // the stack below its frame is wiped here
    pub(super) fn meet(
        &self,
        session: &Meeting<'_>,
        heartbeats: &Heartbeats<'_>,
        control: &mut Connection,
    ) -> Result<Met, SessionError> {
        heartbeats.begin(Phase::Joining, 0, Some(Role::Dealer));
        let (Joined { prg, dealer, audit }, [streams, checks], peers) =
            while_connected(control, session.cancel, || {
                let joined = self.join(session, heartbeats)?;
                // Before the servers meet, so that neither blames the other for the dealer's time.
                let streams = self.open_streams(session, Role::Dealer)?;
                let is_checked = is_checked_by_block(session, &joined);
                let checks = if is_checked { self.open_streams(session, Role::Auditor)? } else { Vec::new() };
                heartbeats.begin(Phase::Joining, 0, Some(heartbeats.other()));
                let peers = self.meet_peer(session, &joined.dealer)?;
                Ok((joined, [streams, checks], peers))
            })?;
        let veil = self.share_veil(&session.id, control)?;
        wipe_stack::<STACK_BYTES>(); // the veil's seed
        Ok(Met { prg, dealer, audit, streams, checks, peers, veil })
    }

    /// Opens a connection to `helper` for each lane whose corrections this server receives.
    fn open_streams(&self, session: &Meeting<'_>, helper: Role) -> Result<Vec<Option<Connection>>, SessionError> {
        (0..session.lanes)
            .map(|lane| {
                if receiver(lane) != self.config.role {
                    return Ok(None);
                }
                let mut connection = self.reach(session.cancel, helper)?;
                connection.send(&DealerHello::Lane { session: session.id, lane })?;
                Ok(Some(connection))
            })
            .collect()
    }

    /// Opens the connections between the servers. Server 0 waits for them as long as the
    /// dealer and the first lanes stay connected.
    fn meet_peer(&self, session: &Meeting<'_>, dealer: &Helper) -> Result<Vec<Connection>, SessionError> {
        let (ours, times) = (session.plan_hash, self.config.timeouts);
        let check = |LaneHello { plan_hash: theirs, .. }: LaneHello| match theirs == ours {
            true => Ok(()),
            false => Err(SessionError::Plan { peer: Role::Server1, ours: hex(&ours), theirs: hex(&theirs) }),
        };
        let timeout = self.peer_timeout();
        let mut met: Vec<Connection> = Vec::new();
        for lane in 0..session.peers {
            if self.config.role == Role::Server0 {
                let mut go_on = |_| {
                    if session.cancel.is_cancelled() {
                        return Err(SessionError::Stopped);
                    }
                    dealer.check()?;
                    Ok(met.iter().try_for_each(Connection::check_peer)?)
                };
                let (mut connection, theirs) = self.lanes.fetch(session.id, lane, Role::Server1, &mut go_on)?;
                session.cancel.guard(connection.abort_handle());
                let answer = check(theirs);
                connection.send(&answer.as_ref().map_err(No::new))?;
                connection.set_idle_timeout(timeout);
                answer?;
                met.push(connection);
                continue;
            }
            let mut connection = self.reach(session.cancel, Role::Server0)?;
            connection.set_idle_timeout(times.connect + times.idle);
            connection.send(&PeerHello::Lane(LaneHello { session: session.id, lane, plan_hash: ours }))?;
            let answer: Result<Answer, NetError> = connection.recv(MAX_MESSAGE_BYTES);
            if !matches!(answer, Ok(Ok(()))) {
                dealer.check()?; // server 0 may have waited for it
            }
            answer?.map_err(|no| no.from(Role::Server0))?;
            connection.set_idle_timeout(timeout);
            met.push(connection);
        }
        Ok(met)
    }

    /// Shares the seed that refreshes output shares; the dealer must not know it.
    #[inline(never)] // the caller wipes the stack below its own frame
    fn share_veil(&self, session: &SessionId, control: &mut Connection) -> Result<Veil, SessionError> {
        let seed = match self.config.role {
            Role::Server0 => {
                let seed = VeilSeed(Zeroizing::new(*random_seed()?.expose()));
                control.send(&seed)?;
                seed
            }
            _ => control.recv(MAX_MESSAGE_BYTES)?,
        };
        Ok(Veil::new(&seed, session, self.config.role))
    }
}

/// Returns whether an auditor checks each block of corrections as it arrives: in sessions of
/// predictions, where there is an auditor.
fn is_checked_by_block(session: &Meeting<'_>, joined: &Joined) -> bool {
    matches!(session.work, Work::Serve(_)) && joined.audit.is_audited()
}

/// Runs `wait`, and cancels the session once the peer of `control` has left: dealer, auditor and
/// this server wait for a server that is gone as long as for one that is late.
fn while_connected<T>(
    control: &mut Connection,
    cancel: &Cancel,
    wait: impl FnOnce() -> Result<T, SessionError>,
) -> Result<T, SessionError> {
    let (waiting, ended) = mpsc::channel::<()>();
    let goes_on = move || ended.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout);
    thread::scope(|scope| {
        let peer = scope.spawn(move || {
            while goes_on() {
                // A reason that a helper has told both comes at once, and says more.
                if let Err(lost) = control.check_open()
                    && goes_on()
                {
                    cancel.cancel();
                    return Some(lost);
                }
            }
            None
        });
        let result = wait();
        drop(waiting);
        match peer.join() {
            Ok(Some(lost)) => Err(lost.into()),
            _ => result,
        }
    })
}
