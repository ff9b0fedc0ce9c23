//! Devices' queries, on their way to a model's session and back.
//!
//! A device sends a query again until it is answered. The first time, its number becomes the
//! device's newest in the store; once that is durable, the query is handed over. Each time after
//! that, the same number draws the answer, if there is one yet. A query that is older than the
//! device's newest, or that this server has forgotten, is a replay.

use symbolon_core::report::{Reason, header::ReportId, schema::SchemaHash};
use zeroize::Zeroizing;

/// A query that was authentic, new, and within its device's quota.
pub struct Query {
    /// Its name.
    pub id: ReportId,
    /// Random bytes of the device's start: servers join shares of one start alone.
    pub started: [u8; 16],
    /// The schema of its record.
    pub schema: SchemaHash,
    /// This server's share of the record.
    pub share: Zeroizing<Vec<u8>>,
}

/// This server's part of an answer.
#[derive(Clone)]
pub struct Answer {
    /// The nonce that seals it, and no other answer.
    pub nonce: [u8; 12],
    /// A [`symbolon_core::report::question::Part`].
    pub part: Zeroizing<Vec<u8>>,
}

/// The state of a query.
pub enum Outcome {
    /// It has no answer yet.
    Waits,
    /// It is answered.
    Answered(Answer),
    /// It will have no answer.
    Refused(Reason),
}

/// The models that answer devices. Its functions must not wait for a peer.
pub trait Predictions: Send + Sync {
    /// Takes a query, which replaces its device's last one.
    fn ask(&self, query: Query);

    /// Returns the state of a query; `None` if it is forgotten.
    fn outcome(&self, id: &ReportId) -> Option<Outcome>;
}
