//! The models that answer predictions at this server: each has a session with the other server and
//! the dealer, for as long as it is published.
//!
//! Server 1 leads: it proposes a session for each model that has none, and again when one has ended
//! with a peer. Every session has fresh seeds; what was dealt for another one is never used.

use super::{Notice, Server, serving_session::MODEL_COPIES};
use crate::{
    engine::plan::serving_plan,
    job::{Format, Job},
    model_store::{Askers, ModelOrigin, ModelStoreError, ModelVersion, PublicPart, Terms},
    net::{Cancel, Connection, Refusal, Reveal, Role},
    session::{
        PredictError, SessionError, SessionId,
        batch_queue::BatchQueue,
        message::{Answer, MAX_MESSAGE_BYTES, No, PeerHello, QueryEvent, ServeProposal},
        random_bytes,
    },
    train::{NotServed, Serving},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The least time between two attempts to begin a model's session; each failure doubles it.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest, while a peer is away: its models answer soon after it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The pause after any other failure, which takes an operator.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// The time for which server 0 waits for the end of a model's last session.
const SETTLE: Duration = Duration::from_secs(2);

/// Owner and version of a model.
pub(super) type Key = (String, ModelVersion);

/// The sessions of models at this server.
#[derive(Default)]
pub(super) struct Served {
    models: Mutex<BTreeMap<Key, Entry>>,
    /// The last attempt for each model.
    attempts: Mutex<BTreeMap<Key, Attempts>>,
}

/// Attempts to begin a model's session.
struct Attempts {
    /// Those in a row that lost a peer.
    lost: u32,
    /// The time of the last one.
    last: Instant,
    pause: Duration,
}

/// The end of an attempt.
enum Attempt {
    /// It begins, or has lost a peer.
    Lost,
    /// The session took rows.
    Served,
    /// Another failure.
    Failed,
}

/// A model's session, from its proposal on.
struct Entry {
    cancel: Cancel,
    /// Once it takes rows.
    open: Option<Arc<OpenSession>>,
}

/// The place of a session; free again when dropped.
pub(super) struct ServingSlot<'a> {
    served: &'a Served,
    key: Key,
    pub(super) cancel: Cancel,
}

impl Drop for ServingSlot<'_> {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.served.lock().remove(&self.key);
    }
}

/// A session that takes rows.
pub(super) struct OpenSession {
    pub(super) session: SessionId,
    pub(super) public: PublicPart,
    /// Of the public part.
    pub(super) digest: [u8; 32],
    pub(super) terms: Terms,
    pub(super) most_rows: u16,
    /// Bytes of a row, and of its answer.
    pub(super) bytes: [usize; 2],
    pub(super) queue: BatchQueue,
    /// At server 0: to server 1.
    pub(super) seen: Option<Mutex<Connection>>,
}

impl OpenSession {
    /// Server 0: tells server 1 of a query.
    pub(super) fn tell(&self, seen: &QueryEvent) -> Result<(), SessionError> {
        let Some(connection) = &self.seen else { return Ok(()) };
        Ok(connection.lock().unwrap_or_else(PoisonError::into_inner).send(seen)?)
    }
}

impl Served {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a model that takes rows.
    pub(super) fn session(&self, key: &Key) -> Option<Arc<OpenSession>> {
        self.lock().get(key)?.open.clone()
    }

    /// A session begins to take rows.
    pub(super) fn open(&self, key: &Key, open: &Arc<OpenSession>) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.open = Some(Arc::clone(open));
        }
    }

    /// Whether a model has a session, or one begins.
    fn has(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// Ends the session of a model, if it has one.
    pub(super) fn end(&self, key: &Key) {
        if let Some(entry) = self.lock().get(key) {
            entry.cancel.cancel();
        }
    }

    /// Takes the place of a session. `None` if the model has one, or too many models have.
    fn begin(&self, key: &Key, most: usize) -> Option<ServingSlot<'_>> {
        let mut models = self.lock();
        if models.contains_key(key) || models.len() >= most {
            return None;
        }
        let cancel = Cancel::default();
        models.insert(key.clone(), Entry { cancel: cancel.clone(), open: None });
        Some(ServingSlot { served: self, key: key.clone(), cancel })
    }

    /// Returns the time until another attempt.
    fn pause(&self, key: &Key) -> Duration {
        self.attempts().get(key).map_or(Duration::ZERO, |own| own.pause.saturating_sub(own.last.elapsed()))
    }

    /// Notes an attempt.
    fn note(&self, key: &Key, attempt: &Attempt) {
        let mut attempts = self.attempts();
        let before = attempts.get(key).map_or(0, |attempts| attempts.lost);
        let (lost, pause) = match attempt {
            Attempt::Served => (0, PAUSE),
            Attempt::Lost => (before + 1, PAUSE.saturating_mul(1 << before.min(8)).min(LONGEST_PAUSE)),
            Attempt::Failed => (before, LONG_PAUSE),
        };
        attempts.insert(key.clone(), Attempts { lost: lost.min(8), last: Instant::now(), pause });
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<Key, Attempts>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next attempt follow at once: the owner has changed something.
    pub(super) fn forget_attempts(&self, key: &Key) {
        self.attempts().remove(key);
    }
}

/// A proposal that this server has found to agree with its own store.
pub(super) struct AgreedProposal {
    pub(super) key: Key,
    pub(super) session: SessionId,
    pub(super) public: PublicPart,
    pub(super) terms: Terms,
    pub(super) job: Job,
    pub(super) serving: Serving,
    pub(super) cancel: Cancel,
}

impl Server {
    /// Server 1: begins a session for each model that answers predictions and has none. Returns
    /// whether one is still to begin.
    pub(super) fn begin_serving(self: &Arc<Self>) -> bool {
        let Ok(models) = self.models.served() else { return true };
        let mut waits = false;
        for key in models {
            if self.served.has(&key) {
                continue;
            }
            let pause = self.served.pause(&key);
            // What takes an operator needs no close look.
            waits |= pause <= LONGEST_PAUSE;
            if !pause.is_zero() {
                continue;
            }
            let server = Arc::clone(self);
            self.served.note(&key, &Attempt::Lost); // until it has ended otherwise
            thread::spawn(move || {
                let (has_served, result) = server.lead_serving(&key);
                match &result {
                    _ if has_served => server.served.note(&key, &Attempt::Served),
                    Err(error) if !error.is_passing() => server.served.note(&key, &Attempt::Failed),
                    _ => {}
                }
                if let Err(error) = &result
                    && !matches!(error, SessionError::Stopped)
                {
                    (server.tell)(Notice::NotServed { model: &key.1, error });
                }
                server.wake_queue();
            });
        }
        waits
    }

    /// Runs a session; returns whether it took rows, and its end.
    fn lead_serving(&self, key: &Key) -> (bool, Result<(), SessionError>) {
        let most = self.config.serve.most_models;
        let Some(slot) = self.served.begin(key, most) else {
            return (false, Err(PredictError::Places { most }.into()));
        };
        let result = self.propose_serving(key, &slot);
        (self.served.session(key).is_some(), result)
    }

    fn propose_serving(&self, key: &Key, slot: &ServingSlot<'_>) -> Result<(), SessionError> {
        let batches = self.config.serve.batches.clone();
        let (public, terms, job) = self.terms_of(key)?;
        let proposal = ServeProposal {
            session: random_bytes()?,
            owner: key.0.clone(),
            model: key.1.clone(),
            digest: public.digest(),
            terms: terms.clone(),
            batches: batches.clone(),
        };
        let session = proposal.session;
        let mut control = self.reach(&slot.cancel, Role::Server0)?;
        slot.cancel.guard(control.abort_handle());
        control.send(&PeerHello::Serve(proposal))?;
        let answer: Answer = control.recv(MAX_MESSAGE_BYTES)?;
        answer.map_err(|no| no.from(Role::Server0))?;
        let serving = Serving { answer: terms.answer, batches };
        let (key, cancel) = (key.clone(), slot.cancel.clone());
        self.serve_model(&AgreedProposal { key, session, public, terms, job, serving, cancel }, control)
    }

    /// Server 0: answers a proposal and takes part in the session.
    pub(super) fn follow_serving(&self, proposal: ServeProposal, mut control: Connection) -> Result<(), SessionError> {
        let key = (proposal.owner.clone(), proposal.model.clone());
        let agreed = self.agree_serving(&key, proposal);
        control.send(&agreed.as_ref().map(drop).map_err(No::new))?;
        let (_slot, agreed) = agreed?;
        agreed.cancel.guard(control.abort_handle());
        let result = self.serve_model(&agreed, control);
        // Server 1 ends a session by leaving, and says why.
        result.or_else(|error| if error.loses_server1() { Ok(()) } else { Err(error) })
    }

    fn agree_serving(
        &self,
        key: &Key,
        proposal: ServeProposal,
    ) -> Result<(ServingSlot<'_>, AgreedProposal), SessionError> {
        // The last session may not have ended here yet.
        self.served.end(key);
        let (begun, most) = (Instant::now(), self.config.serve.most_models);
        let slot = loop {
            match self.served.begin(key, most) {
                Some(slot) => break slot,
                None if begun.elapsed() > SETTLE && self.served.has(key) => {
                    return Err(PredictError::Waits(key.1.clone()).into());
                }
                None if !self.served.has(key) => return Err(PredictError::Places { most }.into()),
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        // Read once the slot is taken: a publication from here on ends the session.
        let (public, terms, job) = self.terms_of(key)?;
        if public.digest() != proposal.digest || terms != proposal.terms {
            return Err(PredictError::Waits(key.1.clone()).into()); // it is being published
        }
        let serving = Serving { answer: terms.answer, batches: proposal.batches };
        serving.check(&job)?;
        let (key, session, cancel) = (key.clone(), proposal.session, slot.cancel.clone());
        Ok((slot, AgreedProposal { key, session, public, terms, job, serving, cancel }))
    }

    /// Returns a model that answers predictions here, its terms and its job.
    pub(super) fn terms_of(&self, (owner, model): &Key) -> Result<(PublicPart, Terms, Job), SessionError> {
        let unserved = || PredictError::Unserved(model.clone());
        let terms = self.models.terms(model, owner)?.ok_or_else(unserved)?;
        let public = self.models.show(model, owner)?.public;
        let job = public.job().map_err(|_| ModelStoreError::Version(model.clone()))?;
        self.may_serve(&terms, (&public, &job))?;
        Ok((public, terms, job))
    }

    /// Checks that a client's model may be published on these terms.
    pub(super) fn check_terms(&self, model: &ModelVersion, terms: &Terms, client: &str) -> Result<(), SessionError> {
        let public = self.models.show(model, client)?.public;
        let job = public.job().map_err(|_| ModelStoreError::Version(model.clone()))?;
        self.may_serve(terms, (&public, &job))?;
        let (key, most) = ((client.to_owned(), model.clone()), self.config.serve.most_models);
        let mut others = self.models.served()?;
        others.retain(|other| *other != key);
        if others.len() >= most {
            return Err(PredictError::Places { most }.into());
        }
        let same = |other| self.terms_of(other).is_ok_and(|(_, terms, own)| answers_same_devices(&terms, [&own, &job]));
        if terms.askers == Askers::Devices && others.iter().any(same) {
            return Err(NotServed::SchemaTaken.into());
        }
        // A session that has no room would be tried again and again.
        let limits = &self.config.policy.limits;
        limits.check_memory(job.model_bytes().saturating_mul(MODEL_COPIES)).map_err(SessionError::Policy)?;
        let serving = Serving { answer: terms.answer, batches: self.config.serve.batches.clone() };
        let plan = serving_plan(&job, &serving)?;
        limits.check_memory(self.serving_bytes(&job, &serving, &plan)).map_err(SessionError::Policy)
    }

    /// Checks that this server lets a model answer predictions on these terms.
    fn may_serve(&self, terms: &Terms, (public, job): (&PublicPart, &Job)) -> Result<(), SessionError> {
        if !self.config.policy.reveals.contains(&Reveal::Predictions) {
            return Err(SessionError::Policy(Refusal::Reveal(Reveal::Predictions)));
        }
        terms.check(job)?;
        match terms.askers {
            // Its weights may be anything.
            Askers::Devices if matches!(public.origin, ModelOrigin::Imported { .. }) => Err(NotServed::Files.into()),
            Askers::Devices => Ok(()),
            // Also one that was trained further on files.
            _ if public.learned_from_reports() => Err(NotServed::Reports.into()),
            _ => Ok(()),
        }
    }
}

/// Whether the models of two jobs answer devices of the same schema, the first on these terms.
fn answers_same_devices(terms: &Terms, jobs: [&Job; 2]) -> bool {
    let [own, other] = jobs.map(|job| match &job.data.format {
        Format::Reports(reports) => Some(reports.records.schema),
        _ => None,
    });
    terms.askers == Askers::Devices && own.is_some() && own == other
}
