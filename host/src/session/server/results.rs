//! The results of a job: the range alarm, the figures, and the share of the model.
//!
//! They leave in this order, so that a crash at any point neither releases two versions nor loses
//! one:
//!
//! 1. Each server stores its results, refreshed, with the number of the session.
//! 2. Each tells the other that it has them. From then on the job never runs again: both release
//!    the results of this session.
//! 3. The ledger has the release. The model is kept, if the client wants that and both stores can.
//! 4. At server 0, the outputs, sealed to the client, are in the job store, and the job is done.
//! 5. Then at server 1: as long as server 0 is not done, server 1 proposes to release the results.

use super::{Server, Session, heartbeats::Heartbeats, keeping::KeepOutcome};
use crate::{
    job::{Job, form::numbers_after},
    job_store::{Final, OutputPlace, StoredJob},
    kernel::HostWord,
    model_store::{ModelOrigin, PublicPart},
    net::{Connection, Role},
    secret::Secret,
    session::{
        SessionError, SessionId,
        heartbeat::Phase,
        message::{MAX_MESSAGE_BYTES, Output, Report},
        models::writing_timeout,
    },
};
use symbolon_core::word::{Word, word_bytes};
use zeroize::Zeroizing;

/// The results of a run, beside the model.
pub(super) struct Results {
    /// Epochs that ran.
    pub(super) epochs: u32,
    /// The refreshed share of the range alarm.
    pub(super) alarm: Option<bool>,
    pub(super) report: Report,
}

impl Server {
    /// Stores the results of a run.
    pub(super) fn store_results<W: Word>(
        &self,
        session: &Session<'_>,
        Results { epochs, alarm, report }: Results,
        parameters: &[W],
    ) -> Result<(), SessionError> {
        let end = Output::End { alarm, report, kept: None };
        let outputs = Zeroizing::new(postcard::to_stdvec(&end).map_err(|_| SessionError::Encoding)?);
        let mut model = Zeroizing::new(Vec::new());
        if session.model_leaves() {
            model.reserve_exact(size_of_val(parameters));
            model.extend_from_slice(W::bytes(parameters));
        }
        let results = Final { session: session.id, epochs, outputs, model };
        Ok(self.jobs.write_final(&session.stored.id, &results)?)
    }

    /// Releases the stored results of `session`, once both servers have them.
    pub(super) fn release_results(
        &self,
        stored: &StoredJob,
        job: &Job,
        heartbeats: &Heartbeats<'_>,
        control: &mut Connection,
        session: SessionId,
    ) -> Result<(), SessionError> {
        heartbeats.begin(Phase::Ending, 0, Some(heartbeats.other()));
        let theirs: SessionId = self.exchange(control, &session, MAX_MESSAGE_BYTES)?;
        if theirs != session {
            return Err(SessionError::Unexpected { from: heartbeats.other(), wanted: "the results of this session" });
        }
        let results = self.results(stored, session)?;
        self.account_for_all(stored, job, &results)?;
        let kept = match job.numbers.ring_bits {
            32 => self.keep_results::<u32>(stored, job, heartbeats, control, &results)?,
            _ => self.keep_results::<u64>(stored, job, heartbeats, control, &results)?,
        };
        // Server 1 leads: a job that was done there before would never be done at server 0.
        if self.config.role == Role::Server0 {
            self.release(stored, job, &results, kept)?;
            return Ok(control.send(&session)?);
        }
        control.set_idle_timeout(writing_timeout(self.peer_timeout(), results.model.len()));
        let _: SessionId = heartbeats.wait_for(heartbeats.other(), || control.recv(MAX_MESSAGE_BYTES))?;
        self.release(stored, job, &results, kept)
    }

    /// Releases the stored results of `session`, which the other server has released already, and
    /// whose model was `kept` so.
    pub(super) fn release_kept(
        &self,
        stored: &StoredJob,
        job: &Job,
        session: SessionId,
        kept: Option<KeepOutcome>,
    ) -> Result<(), SessionError> {
        let results = self.results(stored, session)?;
        self.account_for_all(stored, job, &results)?;
        self.release(stored, job, &results, kept)
    }

    fn results(&self, stored: &StoredJob, session: SessionId) -> Result<Final, SessionError> {
        let results = self.jobs.read_final(&stored.id)?.filter(|results| results.session == session);
        results.ok_or(SessionError::Unexpected { from: self.config.role, wanted: "the results of this session" })
    }

    /// Accounts for all outputs of the job. This comes before keeping: from then on the client may
    /// open the model.
    fn account_for_all(&self, stored: &StoredJob, job: &Job, results: &Final) -> Result<(), SessionError> {
        let last = u64::from(job.reveal.alarm) + u64::from(job.reveal.model);
        Ok(self.account(&stored.id)?.release_up_to(numbers_after(job, results.epochs) + last)?)
    }

    fn keep_results<W: HostWord + Word>(
        &self,
        stored: &StoredJob,
        job: &Job,
        heartbeats: &Heartbeats<'_>,
        control: &mut Connection,
        results: &Final,
    ) -> Result<Option<KeepOutcome>, SessionError> {
        let Some(keep) = &stored.keep else { return Ok(None) };
        let mut share = Secret::<W>::zeros(results.model.len() / word_bytes::<W>());
        W::bytes_mut(&mut share).copy_from_slice(&results.model);
        let public = PublicPart {
            name: keep.name.clone(),
            job: stored.encoded.clone(),
            job_hash: job.hash().map_err(SessionError::job(Role::Client))?,
            origin: origin(stored, results),
            client: stored.client.clone(),
            deployment: self.tls.deployment(),
        };
        self.keep(&public, heartbeats, &share, control).map(Some)
    }

    /// Seals the outputs to the client and ends the job.
    fn release(
        &self,
        stored: &StoredJob,
        job: &Job,
        results: &Final,
        kept: Option<KeepOutcome>,
    ) -> Result<(), SessionError> {
        let end = postcard::from_bytes(&results.outputs).map_err(|_| SessionError::Encoding)?;
        let Output::End { alarm, report, .. } = end else { return Err(SessionError::Encoding) };
        if job.reveal.model {
            let sealed = self.place_of(stored, OutputPlace::MODEL).seal(&stored.output_key, &results.model)?;
            self.jobs.write_model(&stored.id, &sealed)?;
        }
        let end = self.seal(stored, OutputPlace::END, &Output::End { alarm, report, kept: kept.clone() })?;
        self.jobs.finish(&stored.id, results.session, kept, &end)?;
        Ok(self.account(&stored.id)?.end()?)
    }

    /// The place of one of this server's outputs.
    fn place_of(&self, stored: &StoredJob, number: u32) -> OutputPlace {
        OutputPlace::of(stored.id, self.config.role, number)
    }

    /// Seals an output to the client.
    fn seal(&self, stored: &StoredJob, number: u32, output: &Output) -> Result<Vec<u8>, SessionError> {
        let output = Zeroizing::new(postcard::to_stdvec(output).map_err(|_| SessionError::Encoding)?);
        Ok(self.place_of(stored, number).seal(&stored.output_key, &output)?)
    }

    /// Seals an output to the client and stores it durably.
    pub(super) fn add_output(&self, stored: &StoredJob, number: u32, output: &Output) -> Result<(), SessionError> {
        Ok(self.jobs.add_output(&stored.id, number, &self.seal(stored, number, output)?)?)
    }
}

/// The origin of the model of a job's results.
fn origin(stored: &StoredJob, results: &Final) -> ModelOrigin {
    let (session, plan_hash, epochs) = (results.session, stored.plan_hash, results.epochs);
    match stored.from {
        None => ModelOrigin::Trained { session, plan_hash, epochs },
        Some(from) => ModelOrigin::Continued { session, plan_hash, epochs, from_reports: from.from_reports },
    }
}
