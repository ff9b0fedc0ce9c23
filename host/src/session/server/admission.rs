//! Admission of a job: the policy, the schema, the plan, a place, and the ledger.

use super::Server;
use crate::{
    data::ShelfError,
    engine::{
        memory::{disk_bytes, server_bytes},
        plan::{Plan, plan},
    },
    intake::{manifest::Manifest, validity::UnixSeconds},
    job::form::{Kind, outputs},
    job::{Format, Job, RevealLoss, check_name},
    net::{Facts, Policy, Refusal, Reveal, Role, StoredFacts},
    release::{
        allowed::Allowed,
        ledger::{Account, Budgets, Charge},
        schema,
        selection::Selection,
    },
    session::{
        SessionError,
        message::{Keep, Order},
    },
};
use std::sync::{Mutex, PoisonError};

/// A job that the server has admitted.
pub(super) struct Admitted<'a> {
    pub(super) job: Job,
    pub(super) hash: [u8; 32],
    pub(super) plan: Plan,
    pub(super) place: Place<'a>,
    pub(super) account: Account,
}

impl Server {
    /// Checks an order against the policy, makes its plan, and charges the ledger. The plan needs a
    /// place too, so that planning is bounded.
    pub(super) fn admit(&self, order: &Order, client: &str) -> Result<Admitted<'_>, SessionError> {
        let job = Job::decode(&order.job).map_err(SessionError::job(Role::Client))?;
        let hash = job.hash().map_err(SessionError::job(Role::Client))?;
        if job.data.is_stored() && self.shelf.is_none() {
            return Err(SessionError::Shelf(ShelfError::None));
        }
        let mut reveals = Vec::new();
        reveals.extend(job.measured().iter().map(|metric| Reveal::Metric(metric.kind())));
        reveals.extend((job.reveal.loss == RevealLoss::Epoch).then_some(Reveal::Loss));
        reveals.extend(job.reveal.model.then_some(Reveal::Model));
        reveals.extend(job.reveal.standard_errors.then_some(Reveal::StandardErrors));
        let data_memory = self.data_memory(&job);
        let listed = job.listed_hash().map_err(SessionError::job(Role::Client))?;
        let facts = Facts {
            job: &listed,
            listed: Allowed::load(&self.config.policy_files.allowed)?.has(&listed),
            stored: job.data.is_stored().then(|| StoredFacts {
                outputs: outputs(&job),
                steps: job.steps(),
                epsilon_milli: job.reveal.noise.map(|noise| noise.epsilon_milli),
                opens_numbers: Kind::all(&job).any(|kind| kind.times(&job) > 0),
            }),
            reveals: &reveals,
            batch: job.smallest_batch() as u64,
            records: job.records_per_epoch() as u64,
            scored: (!job.measured().is_empty()).then_some(job.data.test_records as u64),
            alarm: job.reveal.alarm,
            memory_bytes: server_bytes(&job, order.job.len(), 0, data_memory),
            disk_bytes: disk_bytes(&job, data_memory),
        };
        self.config.policy.check(&facts).map_err(SessionError::Policy)?;
        let known = |hash: &_| self.shelf.as_ref()?.schema(hash);
        schema::hold(&job, &known).map_err(SessionError::Policy)?;
        if let Some(Keep { name, required }) = &order.keep {
            check_name(name).map_err(SessionError::job(Role::Client))?;
            let bytes = job.model_bytes() + order.job.len() as u64;
            let room = self.models.check_room(client, name, bytes);
            if *required {
                room?; // otherwise the client is told at the end
            }
        }
        let place = self.place()?;
        let plan = plan(&job)?;
        let memory_bytes = server_bytes(&job, order.job.len(), plan.arena_bytes, data_memory);
        self.config.policy.check(&Facts { memory_bytes, ..facts }).map_err(SessionError::Policy)?;
        let account = self.charge(&job, order, client)?;
        Ok(Admitted { job, hash, plan, place, account })
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
            session: order.session,
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

    /// Takes a place for one more session, or for the import of a model.
    pub(super) fn place(&self) -> Result<Place<'_>, SessionError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.config.policy.limits.places;
        if *running >= most {
            return Err(SessionError::Policy(Refusal::Places { most }));
        }
        *running += 1;
        Ok(Place(&self.running))
    }
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

/// A running session's place; freed when dropped.
pub(super) struct Place<'a>(&'a Mutex<usize>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
