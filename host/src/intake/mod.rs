//! A server's intake: verifies reports' parts, stores this server's shares durably, and then says so.
//!
//! | module | what |
//! | --- | --- |
//! | [`validity`], [`keys`], [`registry`], [`rules`] | keys and their times, devices, schemas: what an operator permits, read again when it changes |
//! | [`store`] | the database: starts, records, counts, manifests |
//! | `sessions`, `quota`, `answers`, `batch` | one batch of parts: open, deduplicate, store, answer |
//! | [`queries`] | devices' queries, which the intake hands over to models and does not store |
//! | [`manifest`] | the records that both servers hold, and how they agree on them; a job reads its records by it |
//! | [`devices`] | what became of each device's reports |
//! | [`wire`] | messages |
//!
//! - **Adversary:** devices, gateways and whatever lies between are malicious. What is not authentic changes counts alone, of the device that it names if that is known, and draws
//!   no authentic refusal. Devices do not reach each other's records, numbers or quotas.
//! - **Cost:** a batch is one durable transaction, or none if all of it is strangers'; a start at most a curve product and an opening for each valid key of its device; a report one pass
//!   of ChaCha20-Poly1305, and three curve products if its session is not among the last [`wire::MAX_PARTS`]. What forged parts cost a batch is bounded.
//! - **Exactly once:** a report that was acknowledged is stored, once, under (device, boot, number). One that is stored was acknowledged, or its acknowledgement was lost, or its
//!   commit failed after the first phase and it was answered [`Reason::Full`]: the same again is acknowledged. Another report of its number is refused.

mod answers;
mod batch;
pub mod devices;
pub(crate) mod hex;
pub mod keys;
mod ledger;
pub mod manifest;
pub mod queries;
mod quota;
pub mod registry;
pub mod rules;
mod sessions;
mod shelf;
pub mod store;
pub mod validity;
pub mod wire;

use crate::{
    net::{Cause, Connection, IntakeFiles, NetError, Role},
    plain::Plain,
};
use answers::Answers;
use batch::Work;
use queries::Predictions;
use quota::Quotas;
use rules::{FileError, Rules, Watch};
use sessions::Sessions;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError},
    time::{Duration, SystemTime},
};
use store::{Store, StoreError};
use symbolon_core::report::{Reason, frame::Part, header::ReportId, schema::SchemaHash};
use validity::UnixSeconds;
use wire::{Batch, MAX_BATCH_BYTES, MAX_PARTS};

/// A server's intake.
pub struct Intake {
    /// 0 or 1.
    server: u8,
    store: Store,
    watch: Watch,
    state: Mutex<State>,
    /// Held by who walks through all records.
    walk: Mutex<()>,
    /// Answers queries; a server without it refuses them.
    predictions: OnceLock<Arc<dyn Predictions>>,
}

/// What outlives a batch in memory.
struct State {
    sessions: Sessions,
    quotas: Quotas,
    /// Parts of strangers, by code of the reason, that were refused since something was stored last. Counted with what is stored next: nobody whom no operator knows costs the
    /// disk a transaction. A server that dies forgets them.
    strangers: BTreeMap<u8, u64>,
    /// The store failed and has not worked since: told once.
    failing: bool,
}

impl Intake {
    /// The intake of the server that `role` is, with these files.
    ///
    /// # Errors
    ///
    /// If a file cannot be used, or `role` is no server.
    pub fn open(files: &IntakeFiles, role: Role) -> Result<Self, IntakeError> {
        let server = match role {
            Role::Server0 => 0,
            Role::Server1 => 1,
            _ => return Err(IntakeError::NoServer(role)),
        };
        Self::with(files, Store::open(&files.store, server)?, server)
    }

    /// The intake of server `server` with a store that is open.
    ///
    /// # Errors
    ///
    /// If a file cannot be used.
    pub fn with(files: &IntakeFiles, store: Store, server: u8) -> Result<Self, IntakeError> {
        let (sessions, quotas) = (Sessions::new(MAX_PARTS), Quotas::default());
        let state = State { sessions, quotas, strangers: BTreeMap::new(), failing: false };
        let (watch, predictions) = (Watch::new(files.clone())?, OnceLock::new());
        Ok(Self { server, store, watch, state: Mutex::new(state), walk: Mutex::default(), predictions })
    }

    /// Has `predictions` answer devices' queries, once and for all.
    pub fn answer_by(&self, predictions: Arc<dyn Predictions>) {
        let _ = self.predictions.set(predictions); // the first stays
    }

    /// Leave to walk through all records, which takes seconds and holds on to the pages that are replaced meanwhile: one at a time.
    fn walk(&self) -> Result<MutexGuard<'_, ()>, IntakeError> {
        match self.walk.try_lock() {
            Err(TryLockError::WouldBlock) => Err(IntakeError::Busy),
            Err(TryLockError::Poisoned(walk)) => Ok(walk.into_inner()),
            Ok(walk) => Ok(walk),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refused parts of strangers that are not in the store yet, by code of the reason.
    fn new_strangers(&self) -> BTreeMap<u8, u64> {
        self.lock().strangers.clone()
    }

    /// What is permitted now.
    pub fn rules(&self) -> Arc<Rules> {
        self.watch.rules()
    }

    /// Reads the files again at once if they have changed.
    pub fn reload(&self) {
        self.watch.rules_at(Duration::ZERO);
    }

    /// Serves a gateway until it leaves: takes its batches, answers each.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or a batch has more than [`MAX_PARTS`].
    pub fn serve(&self, mut gateway: Connection) -> Result<(), IntakeError> {
        loop {
            let Batch { parts } = match gateway.recv(MAX_BATCH_BYTES) {
                Err(NetError { cause: Cause::Closed, .. }) => return Ok(()),
                batch => batch?,
            };
            if parts.len() > MAX_PARTS {
                return Err(IntakeError::Batch { got: parts.len() });
            }
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let frames = self.batch(&parts, u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
            gateway.send(&wire::Answers { frames })?;
        }
    }

    /// Takes a batch of at most [`MAX_PARTS`] encoded parts at `now_ms` since 1970: verifies, deduplicates, stores; what it returns, encoded frames, may be said from then on. If nothing can be stored, all that
    /// could have been is refused with [`Reason::Full`].
    pub fn batch<B: AsRef<[u8]>>(&self, parts: &[B], now_ms: u64) -> Vec<Vec<u8>> {
        if parts.is_empty() {
            return Vec::new();
        }
        let rules = self.watch.rules();
        let mut state = self.lock();
        let (mut known, mut strangers) = (Vec::new(), Vec::new());
        for part in parts {
            let reason = match batch::parse(part.as_ref()) {
                Ok((part, id)) if rules.devices.contains_key(&id.device) => {
                    known.push((part, id));
                    continue;
                }
                Ok((_, id)) => {
                    strangers.push(id);
                    Reason::UnknownDevice
                }
                Err(reason) => reason,
            };
            let count = state.strangers.entry(reason.code()).or_default();
            *count = count.saturating_add(1);
        }
        let mut answers =
            if known.is_empty() { Answers::default() } else { self.take(&mut state, &rules, &known, now_ms) };
        strangers.into_iter().for_each(|id| answers.refuse(id, Reason::UnknownDevice.into()));
        answers.frames(self.server, &state.sessions)
    }

    /// Takes parts of devices that are known, in one durable transaction.
    fn take(&self, state: &mut State, rules: &Rules, parts: &[(Part<'_>, ReportId)], now_ms: u64) -> Answers {
        let State { sessions, quotas, strangers, failing } = state;
        let (mut answers, mut touched, mut asked) = (Answers::default(), BTreeMap::new(), Vec::new());
        let predictions = self.predictions.get();
        let stored = self.store.write(|tables| {
            for (reason, count) in &*strangers {
                tables.count_stranger(*reason, *count)?;
            }
            let mut work = Work {
                server: self.server,
                now_ms,
                now: UnixSeconds(i64::try_from(now_ms / 1000).unwrap_or(i64::MAX)),
                rules,
                sessions: &mut *sessions,
                quotas: &mut *quotas,
                tables,
                answers: &mut answers,
                touched: &mut touched,
                predictions: predictions.map(|predictions| &**predictions),
                asked: &mut asked,
                failures: 0,
            };
            parts.iter().try_for_each(|(part, id)| work.part(part, *id))?;
            work.finish()
        });
        match stored {
            Ok(()) => {
                strangers.clear();
                *failing = false;
                // Not before their numbers are durable: after a crash they would be answered again.
                asked.into_iter().zip(predictions.into_iter().cycle()).for_each(|(query, to)| to.ask(query));
            }
            Err(error) => {
                if !std::mem::replace(failing, true) {
                    eprintln!("intake: nothing can be stored, and nothing is acknowledged: store: {}", Plain(error));
                }
                // Sessions of starts that were not stored must not be used.
                sessions.clear();
                touched.iter().for_each(|(device, (_, taken))| quotas.give_back(*device, *taken));
                let ids: Vec<_> = parts.iter().map(|(_, id)| *id).collect();
                answers.fail(&ids);
            }
        }
        answers
    }
}

/// Why an intake stopped, or cannot do what was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum IntakeError {
    /// A connection failed.
    Net(Box<NetError>),
    /// A file of the intake cannot be used.
    File(Box<FileError>),
    /// The store cannot be used.
    Store(StoreError),
    /// A role that takes no reports.
    NoServer(Role),
    /// A batch of too many parts.
    Batch {
        /// How many.
        got: usize,
    },
    /// No record of this schema is here.
    NoRecords {
        /// Its hash.
        schema: SchemaHash,
    },
    /// No manifest of this digest is here.
    NoManifest {
        /// The digest.
        digest: [u8; 32],
    },
    /// What the other server sent is no manifest, or not of records that both hold.
    Manifest,
    /// All records are being walked through for another request.
    Busy,
    /// The other server could not agree, in its own words.
    Peer(String),
}

impl From<NetError> for IntakeError {
    fn from(error: NetError) -> Self {
        Self::Net(Box::new(error))
    }
}

impl From<FileError> for IntakeError {
    fn from(error: FileError) -> Self {
        Self::File(Box::new(error))
    }
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for IntakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::Store(error) => write!(f, "the store of reports: {error}"),
            Self::NoServer(role) => write!(f, "{role} takes no reports; servers do"),
            Self::Batch { got } => {
                write!(f, "a batch of {got} parts, at most {MAX_PARTS} may be; use the same version everywhere")
            }
            Self::NoRecords { schema } => write!(
                f,
                "no record that both servers hold follows schema {}; see `symbolon devices` for what has arrived",
                hex::print(schema)
            ),
            Self::NoManifest { digest } => {
                write!(f, "manifest {} is not known here; make one that both servers agree on", hex::print(digest))
            }
            Self::Manifest => {
                f.write_str("the other server's manifest is none, or has records that are not here; try again")
            }
            Self::Busy => f.write_str("the records are being walked through for another request; try again soon"),
            Self::Peer(reason) => write!(f, "the other server: {reason}"),
        }
    }
}

impl std::error::Error for IntakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Net(error) => Some(&**error),
            Self::File(error) => Some(&**error),
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
