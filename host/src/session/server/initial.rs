//! The kept model with which a job begins: its use is checked when the job is admitted, and this
//! server's share is copied to the job's folder. Later changes of the model, also its
//! deletion, do not affect the job.
//!
//! - **Both servers** check the same public facts; the digest of the model's public part is part of
//!   the job that they compare before each run.
//! - **Secret:** the share, as in the model store. Each run masks it afresh before anything is
//!   opened, so any number of runs may begin with it.
//! - **A closed model stays closed:** a job cannot reveal a model that began with one whose own job
//!   does not. A job of one tiny step would otherwise reveal the closed model.
//! - **Models that learned from reports** begin only jobs that the operator lists together with the
//!   model, and so do all models in jobs on reports: after one step from weights that a client has
//!   chosen, a model tells much about the few records of that step.

use super::Server;
use crate::{
    job::{Job, ModelVersion},
    job_store::{InitialModel, JobId, Upload},
    kernel::HostWord,
    model_store::ModelStoreError,
    net::{Refusal, Reveal, Role},
    release::allowed::{Allowed, listed_with},
    secret::Secret,
    session::{STACK_BYTES, SessionError},
    train::Start,
};
use symbolon_core::{wipe::wipe_stack, word::Word};

impl Server {
    /// Checks that `job` may begin with the kept model that it names, and returns its facts; `None`
    /// if the job names none.
    pub(super) fn check_initial(&self, job: &Job, client: &str) -> Result<Option<InitialModel>, SessionError> {
        let Some(from) = &job.from else { return Ok(None) };
        let public = self.models.show(from, client)?.public;
        let source = public.job().map_err(|_| ModelStoreError::Version(from.clone()))?;
        if let Some(key) = difference(job, &source) {
            return Err(ModelStoreError::Unfit { model: from.clone(), key }.into());
        }
        if (job.reveal.model || job.reveal.standard_errors) && !source.reveal.model {
            return Err(ModelStoreError::Closed(from.clone()).into());
        }
        let initial = InitialModel { digest: public.digest(), from_reports: public.learned_from_reports() };
        self.check_listing(job, &initial)?;
        Ok(Some(initial))
    }

    /// Checks that the operator has listed a job that begins with `model`, if it has to be:
    /// together with the model, since each client may have one of that name.
    pub(super) fn check_listing(&self, job: &Job, model: &InitialModel) -> Result<(), SessionError> {
        if !job.data.is_stored() && !model.from_reports {
            return Ok(());
        }
        // Metrics on records that a client chose reveal as much as predictions do.
        if !job.data.is_stored() && !self.config.policy.reveals.contains(&Reveal::Predictions) {
            return Err(SessionError::Policy(Refusal::Reveal(Reveal::Predictions)));
        }
        let listed = job.listed_hash().map_err(SessionError::job(Role::Client))?;
        let hash = listed_with(&listed, &model.digest);
        match Allowed::load(&self.config.policy_files.allowed)?.has(&hash) {
            true => Ok(()),
            false => Err(SessionError::Policy(Refusal::Job(hash))),
        }
    }

    /// Copies this server's share of the model with which `job` begins to the job's folder.
    pub(super) fn copy_initial(
        &self,
        job: &Job,
        client: &str,
        digest: &[u8; 32],
        upload: &Upload,
    ) -> Result<(), SessionError> {
        let Some(from) = &job.from else { return Ok(()) };
        let copied = match job.numbers.ring_bits {
            32 => self.copy_share::<u32>(job, (from, digest, client), upload),
            _ => self.copy_share::<u64>(job, (from, digest, client), upload),
        };
        wipe_stack::<STACK_BYTES>();
        copied
    }

    fn copy_share<W: HostWord + Word>(
        &self,
        job: &Job,
        (from, digest, client): (&ModelVersion, &[u8; 32], &str),
        upload: &Upload,
    ) -> Result<(), SessionError> {
        let share: Secret<W> = self.models.read_share(from, digest, client)?;
        // The share may end with variances, which a run does not use.
        let own = share.get(..job.initial_words()).ok_or(ModelStoreError::Differs(from.clone()))?;
        Ok(upload.write_initial(W::bytes(own))?)
    }

    /// Returns where a run of `job` begins that has no checkpoint.
    pub(super) fn initial<W: HostWord + Word>(&self, job: &Job, id: &JobId) -> Result<Start<W>, SessionError> {
        if job.from.is_none() {
            return Ok(Start::Fresh);
        }
        let mut share = Secret::zeros(job.initial_words());
        self.jobs.read_initial(id, W::bytes_mut(&mut share))?;
        Ok(Start::From(share))
    }
}

/// Returns the first key in which a job and the job of the model with which it begins have to agree
/// and do not.
fn difference(job: &Job, source: &Job) -> Option<&'static str> {
    let (own, other) = (&job.data, &source.data);
    let agree = [
        ("network", job.network == source.network),
        ("data.shape", own.shape == other.shape),
        ("data.classes or data.target", own.task == other.task),
        ("data.labels_per_record", own.labels_per_record == other.labels_per_record),
        ("data.scale", own.scale == other.scale),
        ("numbers.ring_bits", job.numbers.ring_bits == source.numbers.ring_bits),
        ("numbers.frac_bits", job.numbers.frac_bits == source.numbers.frac_bits),
    ];
    agree.into_iter().find(|(_, agrees)| !agrees).map(|(key, _)| key)
}
