//! A job between processes: the connections between roles, and their messages.
//!
//! 1. The client orders the job at both servers, which accept or refuse it by their policies. Then
//!    it sends each server its share of the data. A job that learns from reports needs no upload:
//!    the servers hold the shares.
//! 2. Both servers connect to the dealer, also with one connection for each lane whose corrections
//!    they receive: server 1 the even lanes, server 0 the odd ones. Then server 1 connects to
//!    server 0, with one connection a lane.
//! 3. Before any mask is used, both servers and the dealer must have made the same plan. Each
//!    server draws a seed for the session and sends it to the dealer, which deals by both.
//! 4. An auditor, if the deployment has one, gets the seeds too and evaluates the dealer's
//!    corrections again. A server compares the auditor's hash with the hash of the corrections that
//!    it received. It sends no output before they are equal.
//! 5. Each server seals its outputs to the client's key and stores them. It sends them, and a
//!    heartbeat every second or so, to each client that watches the job.
//!
//! A session ends with its peers, and the job goes on in another one; dealer and auditor watch both
//! servers. The client is no part of it.
//!
//! A published model has a session of predictions, which begins in the same way and lasts as long
//! as the model is published and no peer is lost. An asker sends each server its share of rows, and
//! both answer it alone.

mod attend;
pub mod auditor;
mod batch_queue;
pub mod client;
pub mod dealer;
mod heartbeat;
pub mod jobs;
mod lane_connections;
mod message;
pub mod models;
mod pairing;
mod predict_error;
pub mod releases;
mod rendezvous;
pub mod reports;
pub mod server;
mod veil;

use crate::data::{ListFacts, ShelfError};
pub use crate::engine::SessionId;
use crate::engine::plan::PlanError;
use crate::engine::prg;
use crate::intake::{IntakeError, store::StoreError};
use crate::job::JobError;
use crate::job_store::{JobState, JobStoreError, SealError};
use crate::model_store::{ModelStoreError, ModelVersion};
use crate::net::{Cause, ConfigError, NetError, Refusal, Role};
use crate::plain::Plain;
use crate::release::{allowed::AllowedError, ledger::LedgerError};
use crate::storage::StorageError;
use crate::train::{Impossible, NotServed, StateError};
use message::NoRun;
pub use predict_error::PredictError;
use std::fmt;
use symbolon_core::{party::Role as Party, prg::Seed};
use zeroize::Zeroizing;

/// Stack that is wiped below a function whose callees handled seeds: more than they use.
const STACK_BYTES: usize = 64 << 10;

/// Returns the server that receives the corrections of `lane`.
fn receiver(lane: u16) -> Role {
    match symbolon_core::correlation::receiver(lane) {
        Party::Server0 => Role::Server0,
        _ => Role::Server1,
    }
}

/// Why a session ended without its result. Says who, what, and what to do; never a share.
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// A connection failed.
    Net(Box<NetError>),
    /// A peer refused, in its own words.
    Refused {
        /// Who.
        by: Role,
        /// Why.
        reason: String,
    },
    /// A peer's part of the job failed, in its own words.
    Failed {
        /// Where.
        at: Role,
        /// Why.
        reason: String,
    },
    /// A peer has no place at the moment.
    NoPlace {
        /// The peer.
        at: Role,
        /// Its words.
        reason: String,
    },
    /// This server's policy does not permit the job.
    Policy(Refusal),
    /// This server's ledger cannot be used.
    Ledger(StoreError),
    /// This server's ledger has no entry of the job.
    NoAccount,
    /// This server's list of allowed jobs cannot be used.
    Allowed(Box<AllowedError>),
    /// The records of the job cannot be had here.
    Shelf(ShelfError),
    /// The job's tables cannot be stored here.
    Storage(StorageError),
    /// The store of models refused or failed.
    Models(Box<ModelStoreError>),
    /// The store of jobs refused or failed.
    Jobs(Box<JobStoreError>),
    /// A job's checkpoint cannot be used.
    State(StateError),
    /// Server 0 does not begin the proposed run.
    NoRun(NoRun),
    /// A server lacks a model that the other one has.
    ModelIncomplete {
        /// The model.
        model: ModelVersion,
        /// The server without it.
        lacks: Role,
    },
    /// The intake stopped, or cannot do what was asked.
    Intake(Box<IntakeError>),
    /// This role's configuration file lacks something that the session needs, such as a peer's
    /// address.
    Config(Box<ConfigError>),
    /// A peer sent an invalid job.
    Job {
        /// The peer.
        from: Role,
        /// The invalid part.
        error: Box<JobError>,
    },
    /// The job has no plan within bounds.
    NoPlan(PlanError),
    /// A model answers no such predictions.
    NotServed(NotServed),
    /// Rows are not answered.
    Predict(PredictError),
    /// This client's own job has no encoding.
    Encoding,
    /// Only server 1 makes manifests; this one is another.
    NotServer1 {
        /// The server that was asked.
        asked: Role,
    },
    /// The two servers hold different manifests under one digest.
    Manifests,
    /// The servers passed on different decisions of the client.
    Decisions {
        /// Number of the epoch, from 1.
        epoch: u32,
    },
    /// A session with this number already runs.
    Repeated,
    /// The peer made another plan: another job, version or build.
    Plan {
        /// Whose.
        peer: Role,
        /// Ours, in hexadecimal.
        ours: String,
        /// Theirs.
        theirs: String,
    },
    /// A peer that this role waits for did not come.
    Absent {
        /// Who.
        peer: Role,
        /// Seconds that it had.
        waited_s: u64,
    },
    /// The client sent more `Data::Wait` messages than its data have pieces.
    Waits {
        /// The number of pieces.
        most: u64,
    },
    /// The client sent another number of lengths of sequences than the job has records.
    LengthCount {
        /// Key of the lengths in the job.
        key: &'static str,
        /// Lengths that the client announced.
        got: u64,
        /// Lengths that the job has.
        want: u64,
    },
    /// The client sent a length of a sequence that is out of range.
    Length {
        /// Record, from 0.
        record: u64,
        /// The length.
        got: u16,
        /// The list of lengths, and its range.
        facts: ListFacts,
    },
    /// A message that does not belong here.
    Unexpected {
        /// Whose.
        from: Role,
        /// What was due.
        wanted: &'static str,
    },
    /// The auditor does not confirm the dealer's part: this server releases no more outputs.
    Audit(Disagreement),
    /// A protocol stopped.
    Protocol {
        /// How.
        error: symbolon_core::link::Error,
        /// Steps done before.
        step: u64,
        /// What the connection said, if it was one.
        cause: Option<Box<NetError>>,
    },
    /// The job's range alarm is set.
    OutOfRange,
    /// An output cannot be: no result of the job is right.
    Impossible(Impossible),
    /// Both servers failed; the first failure comes first.
    Both(Box<[SessionError; 2]>),
    /// Too many connections wait for their sessions.
    Busy,
    /// The operating system has no randomness.
    Randomness,
    /// The user or the client ended it.
    Stopped,
    /// This program has a fault, and said so on its standard error.
    Panicked,
}

/// A disagreement between dealer and auditor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disagreement {
    /// Dealer and auditor reported different nonces of the servers, before anything was computed.
    Nonces,
    /// The corrections that this server has received differ from the auditor's.
    Corrections {
        /// Number of the first release at which they differ, from 1; each epoch's end is a release.
        release: u64,
    },
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonces => f.write_str("dealer and auditor report different nonces")?,
            Self::Corrections { release } => {
                write!(f, "the dealer's corrections are not the auditor's, found before release {release}")?;
            }
        }
        f.write_str(
            ": one of the two, or the other server, deviates or runs another build; this server's outputs are withheld; \
             have dealer and auditor compare their builds before any job runs again",
        )
    }
}

impl SessionError {
    /// Whether somebody could have done what was asked, and would not.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::NoPlace { .. }
            | Self::Policy(_)
            | Self::Job { .. }
            | Self::Plan { .. }
            | Self::Busy => true,
            Self::NotServer1 { .. } | Self::Repeated | Self::NoPlan(_) | Self::NotServed(_) => true,
            Self::Predict(error) => error.is_refusal(),
            Self::Both(errors) => errors.iter().any(Self::is_refusal),
            Self::Shelf(error) => error.is_refusal(),
            Self::Models(error) => error.is_refusal(),
            Self::Jobs(error) => error.is_refusal(),
            Self::NoRun(error) => matches!(error, NoRun::Ended(JobState::Refused(_))),
            Self::ModelIncomplete { .. } | Self::Decisions { .. } => true,
            Self::Intake(error) => matches!(**error, IntakeError::NoRecords { .. } | IntakeError::NoManifest { .. }),
            _ => false,
        }
    }

    /// Whether this side ended a connection that had not failed.
    pub(crate) fn is_abort(&self) -> bool {
        matches!(self, Self::Net(error) if matches!(error.cause, Cause::Aborted))
    }
}

/// A peer's words on one line, so that they cannot pass for lines of this program.
fn one_line(words: &str) -> String {
    Plain(words).to_string().replace('\n', " ")
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => error.fmt(f),
            Self::NoPlace { at, reason } => write!(f, "{at} refused: {}", one_line(reason)),
            Self::Refused { by, reason } => write!(f, "{by} refused: {}", one_line(reason)),
            Self::Failed { at, reason } => write!(f, "{at} failed: {}", one_line(reason)),
            Self::Policy(refusal @ Refusal::Places { .. }) => write!(f, "no place: {refusal}"),
            Self::Policy(refusal) => {
                write!(
                    f,
                    "the policy forbids the job: {refusal}; change the job, or have the operator change the rule"
                )
            }
            Self::Ledger(error) => {
                write!(f, "this server's ledger: {error}; it releases nothing without")
            }
            Self::NoAccount => f.write_str(
                "this server's ledger has no entry of the job: it is an older copy; start the job again",
            ),
            Self::Allowed(error) => write!(f, "this server's list of jobs: {error}"),
            Self::Shelf(error) => error.fmt(f),
            Self::Storage(error) => error.fmt(f),
            Self::Models(error) => error.fmt(f),
            Self::Jobs(error) => error.fmt(f),
            Self::State(error) => error.fmt(f),
            Self::NoRun(error) => error.fmt(f),
            Self::ModelIncomplete { model, lacks } => write!(
                f,
                "model-incomplete: {lacks} lacks {model}, which can only be retired and deleted; `symbolon models list` shows both servers"
            ),
            Self::Intake(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Job { from, error } => write!(f, "the job from {from}: {error}"),
            Self::NoPlan(error) => error.fmt(f),
            Self::NotServed(error) => error.fmt(f),
            Self::Predict(error) => error.fmt(f),
            Self::Encoding => f.write_str("this job cannot be encoded for the servers; check it with `symbolon plan`"),
            Self::NotServer1 { asked } => write!(f, "{asked} makes no manifests; ask server1"),
            Self::Manifests => f.write_str(
                "server0 and server1 hold different manifests under one digest; check under `peers` that both belong to one deployment",
            ),
            Self::Decisions { epoch } => write!(
                f,
                "the servers passed on different decisions after epoch {epoch}; check the client, and start the job again"
            ),
            Self::Repeated => f.write_str("a session with this number runs already; start the job again"),
            Self::Plan { peer, ours, theirs } => write!(
                f,
                "{peer} made another plan ({theirs}, here {ours}): use the same job and the same version everywhere"
            ),
            Self::Absent { peer: Role::Client, waited_s } => write!(
                f,
                "client did not decide within {waited_s} s whether training goes on; watch the job with \
                 `symbolon train --resume`, and it goes on"
            ),
            Self::Absent { peer, waited_s } => {
                write!(
                    f,
                    "{peer} did not join the session within {waited_s} s; check that it runs and reaches this host"
                )
            }
            Self::Waits { most } => write!(
                f,
                "client sent more than {most} messages that its data are on their way, one for each piece; use the same \
                 version everywhere"
            ),
            Self::LengthCount { key, got, want } => write!(
                f,
                "client sent {got} lengths where the job has {want} ({key}); use the same version everywhere"
            ),
            Self::Length { record, got, facts: ListFacts { key, least, greatest, .. } } => write!(
                f,
                "client sent {got} as the length of record {record} ({key}), and the job takes {least} to {greatest}; use \
                 the same version everywhere"
            ),
            Self::Unexpected { from, wanted } => {
                write!(f, "{from} sent something else where {wanted} was due; use the same version everywhere")
            }
            Self::Audit(disagreement) => disagreement.fmt(f),
            Self::Protocol { error, step, cause: Some(cause) } => write!(f, "after step {step}: {cause} ({error})"),
            Self::Protocol { error, step, cause: None } => write!(f, "after step {step}: {error}"),
            Self::OutOfRange => f.write_str(
                "words left their range while the job ran: its results are wrong, and none is given; take fewer fraction \
                 bits, smaller features and targets, or ring_bits = 64 (`symbolon audit` says which, for a job that learns \
                 from files)",
            ),
            Self::Impossible(error) => error.fmt(f),
            Self::Both(errors) => write!(f, "{}; {}", errors[0], errors[1]),
            Self::Busy => f.write_str("too many connections wait here, or this one twice; try again later"),
            Self::Randomness => {
                f.write_str("the operating system gives no random bytes; nothing can be hidden without")
            }
            Self::Stopped => f.write_str("the session was ended on purpose"),
            Self::Panicked => f.write_str("a fault of this program, which its log describes; please report it"),
        }
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Net(error) | Self::Protocol { cause: Some(error), .. } => Some(&**error),
            Self::Shelf(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::Models(error) => Some(&**error),
            Self::Jobs(error) => Some(&**error),
            Self::State(error) => Some(error),
            Self::Intake(error) => Some(&**error),
            Self::Config(error) => Some(&**error),
            Self::Job { error, .. } => Some(&**error),
            Self::Impossible(error) => Some(error),
            Self::NoPlan(error) => Some(error),
            _ => None,
        }
    }
}

impl SessionError {
    /// Blames `from` for an invalid job.
    pub(crate) fn job(from: Role) -> impl Fn(JobError) -> Self {
        move |error| Self::Job { from, error: Box::new(error) }
    }
}

impl From<NotServed> for SessionError {
    fn from(error: NotServed) -> Self {
        Self::NotServed(error)
    }
}

impl From<PredictError> for SessionError {
    fn from(error: PredictError) -> Self {
        Self::Predict(error)
    }
}

impl From<PlanError> for SessionError {
    fn from(error: PlanError) -> Self {
        Self::NoPlan(error)
    }
}

impl From<ConfigError> for SessionError {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

impl From<LedgerError> for SessionError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(refusal) => Self::Policy(refusal),
            LedgerError::Repeated => Self::Repeated,
            LedgerError::Missing => Self::NoAccount,
            LedgerError::Ended => Self::Stopped,
            LedgerError::Store(error) => Self::Ledger(error),
        }
    }
}

impl From<AllowedError> for SessionError {
    fn from(error: AllowedError) -> Self {
        Self::Allowed(Box::new(error))
    }
}

impl From<StorageError> for SessionError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<ModelStoreError> for SessionError {
    fn from(error: ModelStoreError) -> Self {
        Self::Models(Box::new(error))
    }
}

impl From<JobStoreError> for SessionError {
    fn from(error: JobStoreError) -> Self {
        Self::Jobs(Box::new(error))
    }
}

impl From<SealError> for SessionError {
    fn from(error: SealError) -> Self {
        JobStoreError::Seal(error).into()
    }
}

impl From<ShelfError> for SessionError {
    fn from(error: ShelfError) -> Self {
        Self::Shelf(error)
    }
}

impl From<NetError> for SessionError {
    fn from(error: NetError) -> Self {
        Self::Net(Box::new(error))
    }
}

/// Public bytes from the operating system. No flag and no variable changes that.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], SessionError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| SessionError::Randomness)?;
    Ok(bytes)
}

/// A seed from the operating system.
pub(crate) fn random_seed() -> Result<Seed, SessionError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|_| SessionError::Randomness)?;
    Ok(Seed::from_bytes(&bytes))
}
