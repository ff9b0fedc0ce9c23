//! Admission of a job: the policy, the schema, the plan, and the ledger; and the places of runs.

use super::Server;
use crate::{
    data::ShelfError,
    engine::{
        memory::{disk_bytes, server_bytes},
        plan::plan,
    },
    intake::{manifest::Manifest, validity::UnixSeconds},
    job::form::{Kind, outputs},
    job::{Format, Invalid, Job, JobError, RevealLoss, Rule, check_name},
    job_store::{InitialModel, JobId},
    model_store::Keep,
    net::{Facts, Policy, Refusal, Reveal, Role, StoredFacts},
    release::{
        allowed::Allowed,
        ledger::{Account, Budgets, Charge},
        schema,
        selection::Selection,
    },
    session::{SessionError, jobs::WaitsFor, message::Order},
    train::{Inputs, State},
};
use std::sync::{Arc, Mutex, PoisonError};
use symbolon_core::word::{Word, word_bytes};

/// A job that the server has admitted.
pub(super) struct Admitted {
    pub(super) job: Job,
    pub(super) plan_hash: [u8; 32],
    /// Bytes of memory that it takes while it runs.
    pub(super) memory_bytes: u64,
    pub(super) account: Account,
    /// The kept model with which it begins.
    pub(super) from: Option<InitialModel>,
}

impl Server {
    /// Checks an order against the policy, makes its plan, and charges the ledger.
    pub(super) fn admit(&self, order: &Order, client: &str) -> Result<Admitted, SessionError> {
        let job = Job::decode(&order.job).map_err(SessionError::job(Role::Client))?;
        // Before the plan, which takes time.
        self.check_policy(&job, order.job.len(), 0)?;
        if let Some(Keep { name, required }) = &order.keep {
            if job.is_evaluation() {
                let rule = Rule::Evaluation { reason: "it has no other to keep" };
                let invalid = Invalid { key: "keep".to_owned(), rule };
                return Err(SessionError::job(Role::Client)(JobError::Sent(invalid)));
            }
            check_name(name).map_err(SessionError::job(Role::Client))?;
            let bytes = job.model_bytes() + order.job.len() as u64;
            let room = self.models.check_room(client, name, bytes);
            if *required {
                room?; // otherwise the client is told at the end
            }
        }
        let from = self.check_initial(&job, client)?;
        let plan = plan(&job)?;
        let memory_bytes = self.check_policy(&job, order.job.len(), plan.arena_bytes)?;
        let account = self.charge(&job, order, client)?;
        Ok(Admitted { job, plan_hash: plan.hash, memory_bytes, account, from })
    }

    /// Checks a job of `encoded` bytes, whose lanes need arenas of `arena_bytes`, against the
    /// policy and the schema; returns the bytes of memory that it takes.
    pub(super) fn check_policy(&self, job: &Job, encoded: usize, arena_bytes: u64) -> Result<u64, SessionError> {
        if job.data.is_stored() && self.shelf.is_none() {
            return Err(SessionError::Shelf(ShelfError::None));
        }
        let mut reveals = Vec::new();
        reveals.extend(job.measured().iter().map(|metric| Reveal::Metric(metric.kind())));
        reveals.extend((job.reveal.loss == RevealLoss::Epoch).then_some(Reveal::Loss));
        reveals.extend(job.reveal.model.then_some(Reveal::Model));
        reveals.extend(job.reveal.standard_errors.then_some(Reveal::StandardErrors));
        let data_memory = self.data_memory(job);
        let listed = job.listed_hash().map_err(SessionError::job(Role::Client))?;
        let memory_bytes = server_bytes(job, encoded, arena_bytes, data_memory);
        let facts = Facts {
            job: &listed,
            listed: Allowed::load(&self.config.policy_files.allowed)?.has(&listed),
            stored: job.data.is_stored().then(|| StoredFacts {
                outputs: outputs(job),
                steps: job.steps(),
                epsilon_milli: job.reveal.noise.map(|noise| noise.epsilon_milli),
                opens_numbers: Kind::all(job).any(|kind| kind.times(job) > 0),
            }),
            reveals: &reveals,
            batch: job.smallest_batch() as u64,
            records: (!job.is_evaluation()).then_some(job.records_per_epoch() as u64),
            scored: (!job.measured().is_empty()).then_some(job.data.test_records as u64),
            alarm: job.reveal.alarm,
            memory_bytes,
            disk_bytes: disk_bytes(job, data_memory).saturating_add(stored_bytes(job)),
        };
        self.config.policy.check(&facts).map_err(SessionError::Policy)?;
        let known = |hash: &_| self.shelf.as_ref()?.schema(hash);
        schema::hold(job, &known).map_err(SessionError::Policy)?;
        Ok(memory_bytes)
    }

    /// Charges the job to the ledger.
    fn charge(&self, job: &Job, order: &Order, client: &str) -> Result<Account, SessionError> {
        let selection = match &job.data.format {
            Format::Reports(reports) => Some(Selection::of(reports)),
            Format::Idx(_)
            | Format::Csv(_)
            | Format::Cifar10(_)
            | Format::Cifar100(_)
            | Format::Npy(_)
            | Format::Npz(_) => None,
        };
        let charge = Charge {
            session: order.id,
            at: UnixSeconds::now().0,
            client: client.to_owned(),
            job: job.name.clone(),
            hash: job.hash().map_err(SessionError::job(Role::Client))?,
            selection,
            records: [job.records_per_epoch() as u64, job.data.test_records as u64],
            outputs: outputs(job),
            epsilon_milli: job.reveal.noise.map_or(0, |noise| noise.epsilon_milli),
        };
        Ok(self.ledger.admit(&charge, budgets(&self.config.policy), &|digest| self.manifest(digest))?)
    }

    /// Returns the manifest of this digest, if the server has it.
    pub(super) fn manifest(&self, digest: &[u8; 32]) -> Option<Manifest> {
        self.intake.as_ref()?.manifest(digest).ok()
    }

    /// Returns the account of a job that was admitted.
    pub(super) fn account(&self, id: &JobId) -> Result<Account, SessionError> {
        Ok(self.ledger.resume(id, budgets(&self.config.policy))?)
    }

    /// Takes a place for a run that needs `memory_bytes`, or for the import of a model.
    pub(super) fn place(&self, memory_bytes: u64) -> Result<Place, SessionError> {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lack(&taken, memory_bytes).is_some() {
            return Err(SessionError::Policy(Refusal::Places { most: self.config.policy.limits.places }));
        }
        taken.runs += 1;
        taken.bytes = taken.bytes.saturating_add(memory_bytes);
        Ok(Place { places: self.places.clone(), memory_bytes })
    }

    /// Returns the resource that a run with `memory_bytes` lacks now.
    pub(super) fn lacks(&self, memory_bytes: u64) -> Option<WaitsFor> {
        self.lack(&self.places.lock().unwrap_or_else(PoisonError::into_inner), memory_bytes)
    }

    fn lack(&self, taken: &Taken, memory_bytes: u64) -> Option<WaitsFor> {
        let bytes = taken.bytes.saturating_add(memory_bytes);
        // A job that is larger than the limit runs alone.
        let fits = taken.runs == 0 || self.config.jobs.running_bytes.is_none_or(|most| bytes <= most);
        match taken.runs < self.config.policy.limits.places {
            false => Some(WaitsFor::Place),
            true => (!fits).then_some(WaitsFor::Memory),
        }
    }
}

/// Most bytes that a job stores beside its tables: the data as they arrive, the model with which it
/// begins, its checkpoints (one more than are kept, while it is written), the results, and the
/// sealed model.
fn stored_bytes(job: &Job) -> u64 {
    fn of<W: Word>(job: &Job) -> u64 {
        let data: usize = if job.data.is_stored() { 0 } else { Inputs::<W>::lens(job).iter().sum() };
        let model = if job.reveal.model { job.model_words() } else { 0 };
        let initial = if job.from.is_some() { job.initial_words() } else { 0 };
        let words = data + initial + 5 * State::<W>::most_words(job) + 2 * model;
        (words * word_bytes::<W>()) as u64
    }
    if job.numbers.ring_bits == 32 { of::<u32>(job) } else { of::<u64>(job) }
}

/// Returns the limits of a policy that the ledger enforces.
fn budgets(policy: &Policy) -> Budgets {
    Budgets {
        jobs_per_day: policy.jobs_per_day,
        outputs_per_manifest: policy.outputs_per_manifest,
        epsilon_milli: policy.epsilon_milli,
        smallest_difference: policy.smallest_difference,
    }
}

/// Places that are taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    runs: usize,
    bytes: u64,
}

/// The place of a run; freed when dropped.
pub(super) struct Place {
    places: Arc<Mutex<Taken>>,
    memory_bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        taken.runs -= 1;
        taken.bytes -= self.memory_bytes;
    }
}
