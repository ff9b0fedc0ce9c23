//! Messages between roles, other than shares and masked words: one type per awaited message.

use super::{SessionError, SessionId, heartbeat::Alive};
use crate::{
    intake::wire::Request,
    model_store::{ModelState, ModelVersion},
    net::Role,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// No message is longer, encoded.
pub(super) const MAX_MESSAGE_BYTES: usize = crate::job::MAX_ENCODED_BYTES + 1024;

/// Client to server: the job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) session: SessionId,
    /// [`crate::job::Job::encode`].
    pub(super) job: Vec<u8>,
    /// Name for the kept model; `None` keeps no model.
    pub(super) keep: Option<Keep>,
}

/// A client's wish that the servers keep the model.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// The model's name.
    pub name: String,
    /// Whether a store without room refuses the job; otherwise the job runs, and its model is not
    /// kept.
    pub required: bool,
}

/// Client to server, first on each connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Run a job.
    Train(Order),
    /// About stored reports.
    Reports(Request),
    /// Asks for the outputs released to this client, and for the budgets of a manifest.
    Releases {
        /// Digest of the manifest.
        manifest: Option<[u8; 32]>,
    },
    /// Reads or changes kept models.
    Models(ModelsRequest),
}

/// Client to server: reads or changes kept models. A digest is that of the public part that the
/// client saw.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ModelsRequest {
    /// Lists the client's models.
    List,
    /// Asks for a model's entry.
    Show(ModelVersion),
    /// Changes the state of the client's model.
    SetState { model: ModelVersion, digest: [u8; 32], state: ModelState },
    /// Deletes the client's model.
    Delete { model: ModelVersion, digest: [u8; 32] },
    /// Opens the client's model: the words of the server's share follow the answer.
    Open { model: ModelVersion, digest: [u8; 32] },
    /// Asks for the lowest version that the client's name has not had.
    Next { name: String },
    /// Keeps a model of the client's own: after the answer, the server's share follows as
    /// [`Data`], then comes a second answer.
    Import { model: ModelVersion, import: SessionId, job: Vec<u8> },
}

/// A peer's rejection, with its reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum No {
    /// Its rules forbid the request.
    Refused(String),
    /// An error prevents it.
    Failed(String),
}

impl No {
    /// Makes the rejection that a peer receives for an error here.
    pub(super) fn new(error: &SessionError) -> Self {
        let text = error.to_string();
        if error.is_refusal() { Self::Refused(text) } else { Self::Failed(text) }
    }

    /// Returns the error that a rejection by `peer` becomes.
    pub(super) fn from(self, peer: Role) -> SessionError {
        match self {
            Self::Refused(reason) => SessionError::Refused { by: peer, reason },
            Self::Failed(reason) => SessionError::Failed { at: peer, reason },
        }
    }
}

/// An answer to an order or a lane: yes, or why not.
pub(super) type Answer = Result<(), No>;

/// Client to server, once both have accepted.
#[derive(Serialize, Deserialize)]
pub(super) enum Data {
    /// To server 0, while server 1 receives: the seed is still to come.
    Wait,
    /// To server 0: the seed of its shares.
    Seed(Zeroizing<[u8; 32]>),
    /// To server 1: the words of all tables follow this message.
    Words,
    /// To both servers, first, in a job with lengths: how many lengths of training records, their
    /// labels, test records and their labels follow. Each takes two bytes, little-endian.
    Lengths {
        /// Lengths of each list.
        counts: [u64; 4],
    },
}

/// Client to server, after every epoch from which on a job with early stopping may end; then server
/// to dealer and auditor, as [`Call::Decided`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Decision {
    /// Number of the epoch, from 1.
    pub(super) epoch: u32,
    /// Whether training goes on; otherwise the job ends as after its last epoch.
    pub(super) goes_on: bool,
}

/// Server to client, while the job runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Update {
    /// The dealer and both servers agree; data and weights are open.
    Ready { plan_hash: [u8; 32] },
    /// `done` steps are complete.
    Step { done: u64, bytes_sent: u64 },
    /// An epoch is evaluated: this server's shares of the numbers that the job opens in it, in the
    /// order of [`Kind::all`](crate::job::form::Kind::all).
    Epoch { epoch: u32, numbers: Vec<u64> },
    /// After the last epoch: this server's share of the range alarm.
    Alarm { share: bool },
    /// The job is done. The words of the parameters' shares follow if the job reveals the model.
    Done(Report),
    /// The job ended here without a result.
    No(No),
    /// Reports that the server lives; sent at fixed intervals.
    Alive(Alive),
    /// Before [`Update::Done`], if the client wants the model kept: its version, or why it is not
    /// kept.
    Kept(Result<u32, String>),
}

/// Server to server: the public part and the version that the sender would keep.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct KeepProposal {
    /// Digest of the public part.
    pub(super) digest: [u8; 32],
    /// The lowest version that the name has not had.
    pub(super) next: u32,
}

/// A server's figures.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Link payload to the other server.
    pub bytes_sent: u64,
    /// Longest chain of rounds.
    pub rounds: u64,
    /// Seconds of the training steps.
    pub seconds_train: f64,
    /// Peak resident memory.
    pub peak_rss_bytes: Option<u64>,
    /// The dealer's figures, as it told this server.
    pub dealer: Dealt,
}

/// Server 1 to server 0, first on each connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum PeerHello {
    /// A lane of a job.
    Lane(LaneHello),
    /// A manifest is proposed.
    Manifest,
}

/// A lane of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaneHello {
    pub(super) session: SessionId,
    pub(super) lane: u16,
    pub(super) plan_hash: [u8; 32],
    /// The client's wish that the model be kept, as it reached server 1.
    pub(super) keep: Option<Keep>,
}

/// Server to dealer or auditor: the first message of each connection.
#[derive(Serialize, Deserialize)]
pub(super) enum DealerHello {
    /// A server joins a session.
    Join(Join),
    /// The receiver's connection for one lane's corrections.
    Lane { session: SessionId, lane: u16 },
}

/// A server's request to join a session. It has no `Debug`: the seed is secret.
#[derive(Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) session: SessionId,
    /// The encoded job: [`crate::job::Job::encode`].
    pub(super) job: Vec<u8>,
    pub(super) plan_hash: [u8; 32],
    /// Public; fresh for each session.
    pub(super) nonce: [u8; 32],
    /// The seed that the server drew for this session; its streams' seed is derived from it. Boxed:
    /// a move would copy it.
    pub(super) seed: Box<Zeroizing<[u8; 32]>>,
}

/// Dealer or auditor to server: both nonces, once both servers have joined with equal plans; or the
/// reason why the session does not begin.
pub(super) type Paired = Result<[[u8; 32]; 2], No>;

/// Server to dealer or auditor, while a session runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Call {
    /// Reports that the server lives; sent at fixed intervals.
    Alive,
    /// Asks for the next result: the auditor's release hashes in their order, or the dealer's
    /// figures at the end.
    Next,
    /// Passes on the client's decision.
    Decided(Decision),
}

/// Dealer or auditor to server, after [`Call::Next`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply<T> {
    /// Reports that the role lives and still computes; sent at fixed intervals.
    Alive,
    /// The result.
    Next(T),
    /// The role's part of the job failed.
    No(No),
}

/// Dealer to both servers, at the end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Dealt {
    /// Corrections sent.
    pub bytes_sent: u64,
    /// Peak resident memory.
    pub peak_rss_bytes: Option<u64>,
}
