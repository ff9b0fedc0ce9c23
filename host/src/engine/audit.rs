//! Hashes of corrections: of the ones that a server receives, and of the ones that an auditor
//! evaluates.
//!
//! Each lane has a running SHA-256 of all corrections to a server. Before an output leaves, the
//! hashes of all lanes are combined with the session, the server and the number of the release. The
//! server compares its own hash with the auditor's: equal hashes mean equal corrections.
//!
//! - **Adversary:** a dealer that deviates alone. The auditor evaluates the corrections from the
//!   same seeds. Any other correction is therefore found with certainty, except for a collision of
//!   SHA-256.
//! - **Cost:** each server hashes the corrections that it receives, the auditor all of them.

#[cfg(test)]
mod tests;

use super::SessionId;
use crate::net::Role;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};

/// A release's hash: 32 bytes.
pub type ReleaseHash = [u8; 32];

/// The running hash of one lane's corrections to a server. Clones share it.
#[derive(Clone, Default)]
pub struct LaneHash(Arc<Mutex<Sha256>>);

impl LaneHash {
    /// Adds the next bytes of the lane's corrections.
    pub fn update(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
    }

    /// Returns the hash of all bytes so far.
    pub fn so_far(&self) -> [u8; 32] {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize().into()
    }
}

/// Combines the hashes of a server's lanes, in their order, before release `release` (from 0).
pub fn release_hash(
    session: &SessionId,
    server: Role,
    release: u64,
    lanes: impl IntoIterator<Item = [u8; 32]>,
) -> ReleaseHash {
    let mut hash = Sha256::new();
    hash.update(b"symbolon audit v1");
    hash.update(session);
    hash.update([u8::from(server == Role::Server1)]);
    hash.update(release.to_le_bytes());
    lanes.into_iter().for_each(|lane| hash.update(lane));
    hash.finalize().into()
}
