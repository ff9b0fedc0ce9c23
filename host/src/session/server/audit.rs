//! The auditor's agreement: a server needs it before an output leaves.

use super::{dealing::Helper, heartbeats::Heartbeats};
use crate::{
    engine::{
        SessionId,
        audit::{LaneHash, ReleaseHash, release_hash},
    },
    net::Role,
    session::{Disagreement, SessionError, message::Decision},
};

/// Checks the corrections of this server; empty in a deployment without an auditor.
pub(super) struct Audit(Option<Audited>);

struct Audited {
    auditor: Helper,
    session: SessionId,
    own: Role,
    /// The running hash of each lane's corrections.
    lanes: Vec<LaneHash>,
    /// Number of confirmed releases.
    confirmed: u64,
}

impl Audit {
    /// Makes the check of server `own`, whose session `auditor` has joined; empty without an
    /// auditor.
    pub(super) fn new(auditor: Option<Helper>, session: SessionId, own: Role, lanes: u16) -> Self {
        let lanes = (0..lanes).map(|_| LaneHash::default()).collect();
        Self(auditor.map(|auditor| Audited { auditor, session, own, lanes, confirmed: 0 }))
    }

    /// Returns whether there is an auditor.
    pub(super) fn is_audited(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the running hash of lane `i`'s corrections; `None` without an auditor.
    pub(super) fn lane(&self, i: usize) -> Option<LaneHash> {
        self.0.as_ref().map(|audited| audited.lanes[i].clone())
    }

    /// Checks, without waiting, that the auditor is still connected.
    ///
    /// # Errors
    ///
    /// The loss of the auditor.
    pub(super) fn check(&self) -> Result<(), SessionError> {
        self.0.as_ref().map_or(Ok(()), |audited| audited.auditor.check())
    }

    /// Passes on the client's decision.
    ///
    /// # Errors
    ///
    /// The loss of the auditor.
    pub(super) fn decided(&self, decision: Decision) -> Result<(), SessionError> {
        self.0.as_ref().map_or(Ok(()), |audited| audited.auditor.decided(decision))
    }

    /// Waits for the auditor's hash of all corrections so far and compares it. The server calls
    /// this at each of [`releases`](crate::train::releases), before an output leaves.
    ///
    /// # Errors
    ///
    /// [`SessionError::Audit`] if the corrections that this server has received differ; the loss or
    /// the silence of the auditor.
    pub(super) fn confirm(&mut self, heartbeats: &Heartbeats<'_>) -> Result<(), SessionError> {
        let Some(Audited { auditor, session, own, lanes, confirmed }) = &mut self.0 else { return Ok(()) };
        let theirs: ReleaseHash = heartbeats.wait_for(Role::Auditor, || auditor.next())?;
        let ours = release_hash(session, *own, *confirmed, lanes.iter().map(LaneHash::so_far));
        *confirmed += 1;
        match ours == theirs {
            true => Ok(()),
            false => Err(SessionError::Audit(Disagreement::Corrections { release: *confirmed })),
        }
    }
}
