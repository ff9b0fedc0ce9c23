//! The messages between roles, written down once more: a test can speak them by hand, and notices when they change.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::atomic::{AtomicU64, Ordering};
use symbolon::{
    job::Job,
    net::Connection,
    session::client::{Alive, Dealt, Keep},
};

/// More than any message has.
pub const MAX_BYTES: usize = 1 << 22;

/// Client to server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Which of a client's requests: 0, train.
    pub ask: u8,
    /// The job's number.
    pub id: [u8; 16],
    /// The job, encoded.
    pub job: Vec<u8>,
    /// The wish that the model be kept.
    pub keep: Option<Keep>,
    /// Public key of its outputs.
    pub output_key: [u8; 32],
}

impl Order {
    /// An order of `job`.
    #[must_use]
    pub fn of(id: [u8; 16], job: &Job) -> Self {
        Self { ask: 0, id, job: job.encode().unwrap(), keep: None, output_key: [9; 32] }
    }
}

/// Client to server: a model of the client's own is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportRequest {
    /// Number of the request: 3, about kept models.
    pub ask: u8,
    /// Number among these: 6, import.
    pub request: u8,
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: u32,
    /// The import's number.
    pub import: [u8; 16],
    /// The job, encoded.
    pub job: Vec<u8>,
}

impl ImportRequest {
    /// An import of a model of `job`.
    #[must_use]
    pub fn of(name: &str, version: u32, job: &Job) -> Self {
        let job = job.encode().unwrap();
        Self { ask: 3, request: 6, name: name.to_owned(), version, import: fresh_session(), job }
    }
}

/// Client to server: about jobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobsRequest {
    /// Number of the request: 4, about jobs.
    pub ask: u8,
    /// Number among these: 0, list; 1, watch; 2, cancel; 3, fetched; 4, discard.
    pub request: u8,
}

impl JobsRequest {
    /// A request for the list, which needs no job.
    #[must_use]
    pub fn list() -> Self {
        Self { ask: 4, request: 0 }
    }
}

/// Client to server: about a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRequest {
    /// The head of the request.
    pub request: JobsRequest,
    /// The job's number.
    pub job: [u8; 16],
}

/// A session's number that no other test has, nor this one before: servers run none twice.
#[must_use]
pub fn fresh_session() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut session = [0xa5; 16];
    session[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    session
}

/// Why a peer says no.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum No {
    /// It does not want to.
    Refused(String),
    /// It cannot.
    Failed(String),
    /// Not now.
    Busy(String),
}

/// Server to client, or to server 1.
pub type Answer = Result<(), No>;

/// Client to server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Data {
    /// To server 0: not yet.
    Wait,
    /// To server 0.
    Seed([u8; 32]),
    /// To server 1; they follow.
    Words,
    /// To both, in a job on reports.
    Confirm,
    /// To both, first, in a job with lengths; they follow, two bytes each.
    Lengths {
        /// Lengths of each list.
        counts: [u64; 4],
    },
}

/// Server 0 to server 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VeilSeed(pub [u8; 32]);

/// Server to client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Update {
    /// The server has the job.
    Taken,
    /// Data and weights are open.
    Ready {
        /// The plan's hash.
        plan_hash: [u8; 32],
    },
    /// Steps.
    Step {
        /// So many.
        done: u64,
        /// Payload.
        bytes_sent: u64,
    },
    /// A sealed output.
    Output {
        /// An epoch's, or the last.
        number: u32,
        /// To the client.
        sealed: Vec<u8>,
    },
    /// The end.
    Done {
        /// They follow.
        model_bytes: u64,
    },
    /// The end, too.
    No(No),
    /// A sign of life.
    Alive(Alive),
    /// A peer is lost.
    Retry(String),
}

/// Server 1 to server 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneHello {
    /// What the connection is for: 0, a lane.
    pub hello: u8,
    /// Session.
    pub session: [u8; 16],
    /// Lane.
    pub lane: u16,
    /// The plan's hash.
    pub plan_hash: [u8; 32],
}

/// Server 1 to server 0: a run is proposed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunProposal {
    /// The purpose of the connection: 2, a run.
    pub hello: u8,
    /// Of which job.
    pub job: [u8; 16],
    /// Of the order.
    pub digest: [u8; 32],
    /// Of the run.
    pub session: [u8; 16],
    /// The checkpoints that server 1 has.
    pub states: Vec<(u64, [u8; 16])>,
    /// The session of results that wait.
    pub results: Option<[u8; 16]>,
    /// The last epoch of which outputs have left.
    pub last_epoch: u32,
}

/// Server 0 to server 1: where a run begins.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Beginning {
    /// At the start of the job.
    Start,
    /// At a checkpoint.
    State(u64, [u8; 16]),
}

/// Server to dealer or auditor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DealerHello {
    /// A server joins.
    Join {
        /// Session.
        session: [u8; 16],
        /// The job, encoded.
        job: Vec<u8>,
        /// The session's work: 0, training.
        work: u8,
        /// Steps before the position from which it goes on.
        position: u64,
        /// The plan's hash.
        plan_hash: [u8; 32],
        /// Of this server.
        nonce: [u8; 32],
        /// This server's, from which its streams' seed is derived.
        seed: [u8; 32],
    },
    /// The receiver's stream of a lane.
    Lane {
        /// Session.
        session: [u8; 16],
        /// Lane.
        lane: u16,
    },
}

/// Dealer or auditor to server: both nonces.
pub type Paired = Result<[[u8; 32]; 2], No>;

/// Server to dealer or auditor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// A sign of life.
    Alive,
    /// For the next result.
    Next,
    /// The client's decision after an epoch: its number, and whether training goes on.
    Decided(u32, bool),
}

/// Dealer or auditor to server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply<T> {
    /// A sign of life.
    Alive,
    /// A result.
    Next(T),
    /// The end.
    No(No),
}

/// A greeting's length, at the head of each direction of a connection.
pub const GREETING: usize = 8;

/// Takes a greeting off the head of a recording.
///
/// # Panics
///
/// If there is none.
pub fn take_greeting(bytes: &mut &[u8]) {
    assert!(bytes.starts_with(b"SYMB\x0e\0\0\0"), "no greeting: {:?}", &bytes[..bytes.len().min(GREETING)]);
    *bytes = &bytes[GREETING..];
}

/// Takes a message off the head of a recording.
///
/// # Panics
///
/// If there is none, or another.
pub fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> T {
    let (len, rest) = bytes.split_first_chunk::<4>().expect("a message's length");
    let (frame, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
    *bytes = rest;
    let (message, behind) = postcard::take_from_bytes(frame).expect("a message of this kind");
    assert!(behind.is_empty(), "bytes behind a message");
    message
}

/// A message as it is sent.
#[must_use]
pub fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let body = postcard::to_stdvec(message).unwrap();
    let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(body);
    frame
}

/// Receives updates until the server has no more; returns the last.
///
/// # Panics
///
/// If the connection fails before.
pub fn last_update(connection: &mut Connection) -> Update {
    loop {
        let update: Update = connection.recv(MAX_BYTES).unwrap();
        if matches!(update, Update::Done { .. } | Update::No(_)) {
            return update;
        }
    }
}

/// What the dealer says at the end.
pub type Ended = Dealt;
