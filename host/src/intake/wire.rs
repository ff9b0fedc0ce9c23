//! What gateways, clients and servers tell an intake, and its answers.

use super::{devices::DeviceReports, manifest::Manifest};
use serde::{Deserialize, Serialize};
use symbolon_core::report::schema::SchemaHash;

/// Parts of a batch.
pub const MAX_PARTS: usize = 4096;
/// Bytes of an encoded batch.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// Bytes of the answers to a batch: a frame of at most 192 bytes each.
pub const MAX_ANSWER_BYTES: usize = 208 * MAX_PARTS;
/// Bytes of an encoded reply, or of a manifest between servers.
pub(crate) const MAX_REPLY_BYTES: usize = 256 << 20;

/// Gateway to server: any number of parts, even none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Each the postcard encoding of a [`symbolon_core::report::frame::Part`] for this server.
    pub parts: Vec<Vec<u8>>,
}

/// Server to gateway, once what it answers is on the disk.
///
/// A part whose header can be read is answered: by a bit of an acknowledgement, an acknowledgement
/// of its start, or a refusal with its number (0 for a start). A query has no answer while it is
/// evaluated; sent again, it draws the sealed answer. Other parts are counted and have no answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    /// Each an encoded [`symbolon_core::report::frame::Frame`], for the device that it names.
    pub frames: Vec<Vec<u8>>,
}

/// Client to server: about its reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// What became of each device's reports.
    Devices,
    /// The registered devices' names.
    Names,
    /// Make a manifest; server 1 does, with server 0.
    Freeze(Wanted),
    /// The manifest of this digest.
    Manifest([u8; 32]),
}

/// Which records a manifest is to have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// Those of this schema,
    pub schema: SchemaHash,
    /// and only those that a report of this schema is about.
    pub labels: Option<SchemaHash>,
}

/// Server to client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Devices`].
    Devices(DeviceReports),
    /// To [`Request::Names`]: each device's id and name.
    Names(Vec<(u64, String)>),
    /// To [`Request::Freeze`] and [`Request::Manifest`].
    Manifest(Manifest),
    /// The request cannot be met; why, and what to do.
    No(String),
}
