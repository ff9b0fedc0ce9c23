//! The auditor's agreement, which a server needs before an output leaves.

use super::dealing::Helper;
use crate::{
    engine::{
        SessionId,
        audit::{LaneHash, ReleaseHash, release_hash},
    },
    net::Role,
    session::{Disagreement, SessionError, heartbeat::Heart},
};

/// The check of this server's corrections; none in a deployment without an auditor.
pub(super) struct Audit(Option<Audited>);

struct Audited {
    auditor: Helper,
    session: SessionId,
    own: Role,
    /// The running hash of each lane's corrections.
    lanes: Vec<LaneHash>,
    /// Releases that are confirmed.
    confirmed: u64,
}

impl Audit {
    /// For server `own`, whose session the auditor has joined, if there is one.
    pub(super) fn new(auditor: Option<Helper>, session: SessionId, own: Role, lanes: u16) -> Self {
        let lanes = (0..lanes).map(|_| LaneHash::default()).collect();
        Self(auditor.map(|auditor| Audited { auditor, session, own, lanes, confirmed: 0 }))
    }

    /// The hash that lane `i`'s corrections enter.
    pub(super) fn lane(&self, i: usize) -> Option<LaneHash> {
        self.0.as_ref().map(|audited| audited.lanes[i].clone())
    }

    /// Waits for the auditor's hash of all corrections so far. Called at each of
    /// [`releases`](crate::train::releases), before an output leaves.
    ///
    /// # Errors
    ///
    /// [`SessionError::Audit`] if the corrections that this server has received are others; an
    /// auditor that is lost or silent.
    pub(super) fn confirm(&mut self, heart: &Heart<'_>) -> Result<(), SessionError> {
        let Some(Audited { auditor, session, own, lanes, confirmed }) = &mut self.0 else { return Ok(()) };
        let theirs: ReleaseHash = heart.wait_for(Role::Auditor, || auditor.next())?;
        let ours = release_hash(session, *own, *confirmed, lanes.iter().map(LaneHash::so_far));
        *confirmed += 1;
        match ours == theirs {
            true => Ok(()),
            false => Err(SessionError::Audit(Disagreement::Corrections { release: *confirmed })),
        }
    }
}
