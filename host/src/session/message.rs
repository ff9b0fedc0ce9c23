//! Messages between roles, other than shares and masked words: one type per awaited message.

use super::{
    SessionError, SessionId,
    batch_queue::{BatchSlice, QueryId},
    heartbeat::Alive,
    one_line,
};
use crate::{
    intake::wire::Request,
    job::Job,
    job_store::{CheckpointName, JobId, JobState},
    model_store::{Keep, ModelState, ModelVersion, PublicPart, Terms},
    net::{Refusal, Role},
    train::{AnswerKind, Position, Serving},
};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// No message is longer, encoded.
pub(super) const MAX_MESSAGE_BYTES: usize = crate::job::MAX_ENCODED_BYTES + 1024;

/// Client to server: a job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Fresh random number of the job.
    pub(super) id: JobId,
    /// [`crate::job::Job::encode`].
    pub(super) job: Vec<u8>,
    /// Name for the kept model; `None` keeps no model.
    pub(super) keep: Option<Keep>,
    /// Public key to which the job's outputs are sealed.
    pub(super) output_key: [u8; 32],
}

/// Client to server, first on each connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Takes a job; its data follow, then the client watches it.
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
    /// About the client's jobs.
    Jobs(JobsRequest),
    /// Asks a published model for predictions: [`Query`]s follow, once the server has answered
    /// with its [`SessionInfo`].
    Predict {
        /// Serial number of the owner's certificate; `None` for the client's own model.
        owner: Option<String>,
        model: ModelVersion,
    },
}

/// Server to client: the session of a model's predictions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionInfo {
    /// The session: the same at both servers.
    pub(super) session: SessionId,
    pub(super) public: PublicPart,
    /// The kind of its answers.
    pub(super) answer: AnswerKind,
    /// Rows of the largest batch.
    pub(super) most_rows: u16,
}

/// Client to server: this server's share of rows, for predictions.
#[derive(Serialize, Deserialize)]
pub(super) struct Query {
    /// Drawn by the client; the same at both servers.
    pub(super) number: [u8; 16],
    /// Rows, at most [`MAX_QUERY_ROWS`].
    pub(super) rows: u32,
    /// To server 0: the seed of its shares. To server 1 nothing: the words follow this message.
    pub(super) seed: Option<Box<Zeroizing<[u8; 32]>>>,
}

/// Most rows of a [`Query`].
pub(super) const MAX_QUERY_ROWS: u32 = 4096;
/// Most bytes of a [`Query`]'s rows and their answers.
pub(super) const MAX_QUERY_BYTES: usize = 16 << 20;

/// Server to client, after a [`Query`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answered {
    /// This server's shares of the answers follow, of so many bytes.
    Shares(u64),
    /// The query is refused, or the session has ended.
    No(No),
    /// Reports that the server lives; sent at fixed intervals.
    Alive,
}

/// Client to server: about the client's jobs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum JobsRequest {
    /// Lists them.
    List,
    /// Watches a job from its beginning, after an [`Answer`]; an interrupted one is queued again.
    Watch(JobId),
    /// Ends a job.
    Cancel(JobId),
    /// Deletes the outputs of a job: the client has them.
    Fetched(JobId),
    /// Ends a job that has not ended, and deletes its outputs.
    Discard(JobId),
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
    /// Publishes the client's model for predictions.
    Publish { model: ModelVersion, digest: [u8; 32], terms: Terms },
}

/// A peer's rejection, with its reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum No {
    /// Its rules forbid the request.
    Refused(String),
    /// An error prevents it.
    Failed(String),
    /// It has no place at the moment.
    Busy(String),
}

impl No {
    /// Makes the rejection that a peer receives for an error here.
    pub(super) fn new(error: &SessionError) -> Self {
        let text = error.to_string();
        match error {
            SessionError::Policy(Refusal::Places { .. }) | SessionError::Busy => Self::Busy(text),
            error if error.is_refusal() => Self::Refused(text),
            _ => Self::Failed(text),
        }
    }

    /// Returns the error that a rejection by `peer` becomes.
    pub(super) fn from(self, peer: Role) -> SessionError {
        match self {
            Self::Refused(reason) => SessionError::Refused { by: peer, reason },
            Self::Failed(reason) => SessionError::Failed { at: peer, reason },
            Self::Busy(reason) => SessionError::NoPlace { at: peer, reason },
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
    /// To both servers, in a job that learns from reports: both have accepted it.
    Confirm,
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

/// Server to a client that watches a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Update {
    /// The server has the job and its data: the job runs whatever becomes of the client.
    Taken,
    /// The dealer and both servers agree on a run; data and weights are open. With the hash of the
    /// whole job's plan.
    Ready { plan_hash: [u8; 32] },
    /// `done` steps are complete; the run has sent so many bytes.
    Step { done: u64, bytes_sent: u64 },
    /// A sealed [`Output`]: of an epoch by its number, or [`OutputPlace::END`].
    ///
    /// [`OutputPlace::END`]: crate::job_store::OutputPlace::END
    Output { number: u32, sealed: Vec<u8> },
    /// The job is done. So many bytes of the model's sealed share follow.
    Done { model_bytes: u64 },
    /// The job ended without a result, or is interrupted.
    No(No),
    /// Reports that the server lives; sent at fixed intervals.
    Alive(Alive),
    /// A peer was lost, with the reason: the job goes on when it is back.
    Retry(String),
}

/// This server's shares of outputs, as they are sealed to the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Output {
    /// Of an epoch: the numbers that the job opens in it, in the order of
    /// [`Kind::all`](crate::job::form::Kind::all).
    Epoch { epoch: u32, numbers: Vec<u64> },
    /// Of the whole job.
    End {
        /// The range alarm, if the job reveals it.
        alarm: Option<bool>,
        /// The figures of the last run.
        report: Report,
        /// The version of the kept model, or why none is kept.
        kept: Option<Result<u32, String>>,
    },
}

/// Server to server: the public part and the version that the sender would keep.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct KeepProposal {
    /// Digest of the public part.
    pub(super) digest: [u8; 32],
    /// The lowest version that the name has not had.
    pub(super) next: u32,
    /// The version under which the sender has kept this very model.
    pub(super) held: Option<u32>,
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
    /// A lane of a session.
    Lane(LaneHello),
    /// A manifest is proposed.
    Manifest,
    /// A run of a job is proposed.
    Run(RunProposal),
    /// A job has ended at server 1 without a result.
    Ended { job: JobId, state: JobState },
    /// Asks for the jobs that wait at server 0 and never ran; then server 1 sends the numbers of
    /// those that it has not.
    Missing,
    /// A session of predictions is proposed.
    Serve(ServeProposal),
}

/// Server 1 to server 0: a session of predictions by a published model.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ServeProposal {
    pub(super) session: SessionId,
    /// Serial number of the owner's certificate.
    pub(super) owner: String,
    pub(super) model: ModelVersion,
    /// Digest of the public part at server 1.
    pub(super) digest: [u8; 32],
    /// The terms at server 1.
    pub(super) terms: Terms,
    /// Rows of a batch, lane by lane.
    pub(super) batches: Vec<u16>,
}

/// Server 1 to server 0, while a session of predictions runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum BatchAssignment {
    /// A batch of a lane.
    Batch { lane: u16, parts: Vec<BatchSlice> },
    /// Reports that the server lives; sent at fixed intervals.
    Alive,
}

/// Server 0 to server 1, while a session of predictions runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum QueryEvent {
    /// A query has arrived.
    Arrived { query: QueryId, rows: u32 },
    /// A query was given up.
    Gone(QueryId),
    /// Reports that the server lives; sent at fixed intervals.
    Alive,
}

/// A lane of a session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaneHello {
    pub(super) session: SessionId,
    pub(super) lane: u16,
    pub(super) plan_hash: [u8; 32],
}

/// Server 1 to server 0: a run of a job, in a new session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunProposal {
    pub(super) job: JobId,
    /// [`StoredJob::digest`](crate::job_store::StoredJob::digest) at server 1.
    pub(super) digest: [u8; 32],
    pub(super) session: SessionId,
    /// The checkpoints that server 1 has.
    pub(super) checkpoints: Vec<CheckpointName>,
    /// The session whose results wait at server 1 for their release.
    pub(super) results: Option<SessionId>,
    /// The last epoch of which server 1 has an output.
    pub(super) last_epoch: u32,
}

/// Server 0 to server 1: where both begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Beginning {
    /// At the start of the job.
    Start,
    /// At a checkpoint that both have.
    Checkpoint(CheckpointName),
    /// At the end: the results of this session are released.
    Results(SessionId),
    /// Nowhere: server 0 has released these results, and the model was kept so.
    Released { session: SessionId, kept: Option<Result<u32, String>> },
}

/// Server 0's answer to a proposal.
pub(super) type RunAnswer = Result<Beginning, NoRun>;

/// The reason why a proposed run does not begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NoRun {
    /// Server 0 has no place at the moment, or the job still runs there.
    Busy,
    /// Server 0 has received no such job.
    Unknown,
    /// Server 0 has received another order under this number.
    Differs,
    /// The job has ended there.
    Ended(JobState),
    /// The servers have no checkpoint in common, and outputs have left.
    NoCheckpoint,
    /// Server 0 failed.
    Failed(String),
}

impl fmt::Display for NoRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("server0 has no place at the moment"),
            Self::Unknown => f.write_str("server0 has no such job: its data have not arrived there; start it again"),
            Self::Differs => f.write_str("server0 has another order under this number; start the job again"),
            Self::Ended(state) => write!(
                f,
                "the job has ended at server0 ({state}); if server1 was restored from a backup, its jobs are an older copy"
            ),
            Self::NoCheckpoint => f.write_str(
                "the servers have no checkpoint in common, and outputs have left: the job cannot go on, and its outputs \
                 stand as they are; start it again",
            ),
            Self::Failed(reason) => write!(f, "server0 failed: {}", one_line(reason)),
        }
    }
}

/// Server to dealer or auditor: the first message of each connection.
#[derive(Serialize, Deserialize)]
pub(super) enum DealerHello {
    /// A server joins a session.
    Join(Join),
    /// The receiver's connection for one lane's corrections.
    Lane { session: SessionId, lane: u16 },
}

/// The work of a session.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Work {
    /// The job's training, from this position on.
    Train(Position),
    /// Predictions by a model of the job.
    Serve(Serving),
}

impl Work {
    /// Lanes of the session.
    pub(super) fn lanes(&self, job: &Job) -> u16 {
        match self {
            Self::Train(_) => job.lanes.lanes,
            Self::Serve(serving) => serving.lanes(),
        }
    }
}

/// A server's request to join a session. It has no `Debug`: the seed is secret.
#[derive(Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) session: SessionId,
    /// The encoded job: [`crate::job::Job::encode`].
    pub(super) job: Vec<u8>,
    pub(super) work: Work,
    /// Of the work's plan.
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
