//! The catalogue of a server's jobs, and their sealed outputs.

use super::{
    JobStoreError,
    error::job_hex,
    files::Upload,
    record::{JobId, JobState, JobStatus, StoredJob},
    seal::OutputPlace,
};
use crate::{
    intake::{store::StoreError, validity::UnixSeconds},
    net::{JobsConfig, Role},
    release::database::{SharedDatabase, begin_durable, check_owner, decode, encode},
    secret::lock_folder,
    session::SessionId,
};
use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::{
    collections::HashMap,
    fs::{self, File},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Version of the tables below.
const VERSION: u64 = 1;
/// Seconds for which a job waits at least for its turn before it expires: a day.
const LEAST_WAIT_S: i64 = 24 * 3600;

/// Job -> [`StoredJob`].
const JOBS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("jobs");
/// Job -> [`JobStatus`].
const STATUS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("status");
/// Job and number -> a sealed output.
const OUTPUTS: TableDefinition<(&[u8; 16], u32), &[u8]> = TableDefinition::new("outputs");

/// A server's jobs.
pub struct JobStore {
    directory: PathBuf,
    queue: usize,
    keep_seconds: i64,
    catalogue: SharedDatabase,
    per_client: usize,
    /// Jobs whose data arrive, and their clients. Held while jobs are added.
    arriving: Mutex<HashMap<JobId, String>>,
    /// Locked by this process.
    _lock: File,
}

fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(JOBS)?;
    transaction.open_table(STATUS)?;
    transaction.open_table(OUTPUTS)?;
    Ok(())
}

/// A job that arrives: it counts as one of the queue until this is dropped.
pub struct Arriving<'a> {
    store: &'a JobStore,
    id: JobId,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.store.arriving().remove(&self.id);
    }
}

impl JobStore {
    /// Opens the store of server `role`; makes a missing one. One process at a time has it open.
    /// Deletes what jobs that have no entry, or have ended, left behind.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::InUse`]; a folder or a catalogue that cannot be used, or is the other
    /// server's.
    pub fn open(config: &JobsConfig, role: Role) -> Result<Self, JobStoreError> {
        let directory = config.directory.clone();
        let failed = |source| JobStoreError::Files { path: directory.clone(), source };
        let lock = lock_folder(&directory).map_err(failed)?;
        let lock = lock.ok_or_else(|| JobStoreError::InUse(directory.clone()))?;
        let catalogue = SharedDatabase::open(&directory.join("jobs.redb"), VERSION, create)?;
        let keep_seconds = i64::try_from(config.keep.as_secs()).unwrap_or(i64::MAX);
        let arriving = Mutex::default();
        let (queue, per_client) = (config.queue, config.per_client);
        let store = Self { directory, queue, per_client, keep_seconds, catalogue, arriving, _lock: lock };
        store.change(|transaction| Ok(check_owner(transaction, role)?))?;
        store.sweep()?;
        Ok(store)
    }

    /// Deletes what a crash left behind.
    fn sweep(&self) -> Result<(), JobStoreError> {
        let jobs = self.all()?;
        for (job, status) in &jobs {
            match status.state {
                JobState::Fetched | JobState::Expired => drop(fs::remove_dir_all(self.folder(&job.id))),
                _ if status.state.has_ended() => self.clear(&job.id),
                _ => {}
            }
        }
        let failed = |source| JobStoreError::Files { path: self.directory.clone(), source };
        for file in fs::read_dir(&self.directory).map_err(failed)? {
            let file = file.map_err(failed)?;
            let id = file.file_name().to_str().and_then(crate::intake::hex::parse::<16>);
            if id.is_some_and(|id| jobs.iter().all(|(job, _)| job.id != id)) {
                fs::remove_dir_all(file.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    pub(super) fn folder(&self, id: &JobId) -> PathBuf {
        self.directory.join(job_hex(id))
    }

    fn arriving(&self) -> MutexGuard<'_, HashMap<JobId, String>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in the queue for a job of `client` that arrives.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Full`], [`JobStoreError::Taken`]; an unreadable catalogue.
    pub fn arrive(&self, id: JobId, client: &str) -> Result<Arriving<'_>, JobStoreError> {
        let mut arriving = self.arriving();
        let all = self.all()?;
        if arriving.contains_key(&id) || all.iter().any(|(job, _)| job.id == id) {
            return Err(JobStoreError::Taken(id));
        }
        let waits = |(_, status): &&(StoredJob, JobStatus)| status.state == JobState::Queued;
        if all.iter().filter(waits).count() + arriving.len() >= self.queue {
            return Err(JobStoreError::Full { key: "queue", most: self.queue });
        }
        let holds = |(job, status): &&(StoredJob, JobStatus)| {
            job.client == client && (!status.state.has_ended() || status.state == JobState::Done)
        };
        let own = arriving.values().filter(|own| *own == client).count();
        if all.iter().filter(holds).count() + own >= self.per_client {
            return Err(JobStoreError::Full { key: "per_client", most: self.per_client });
        }
        arriving.insert(id, client.to_owned());
        Ok(Arriving { store: self, id })
    }

    /// Returns whether the data of a job arrive.
    pub fn is_arriving(&self, id: &JobId) -> bool {
        self.arriving().contains_key(id)
    }

    /// Begins to store the data of a job that arrives.
    ///
    /// # Errors
    ///
    /// A full disk.
    pub fn begin_upload(&self, id: JobId) -> Result<Upload, JobStoreError> {
        Upload::begin(self.folder(&id), id)
    }

    /// Makes a job whose data have arrived, durably: it waits for its turn.
    ///
    /// # Errors
    ///
    /// A full disk; there is no such job then.
    pub fn insert(&self, job: &StoredJob, mut upload: Upload) -> Result<(), JobStoreError> {
        assert_eq!(job.id, upload.id, "data of another job");
        upload.sync(&self.directory)?;
        let (state, since) = (JobState::Queued, UnixSeconds::now().0);
        let inserted = self.change(|transaction| {
            transaction.open_table(JOBS)?.insert(&job.id, &encode(job, "jobs")?[..])?;
            let mut table = transaction.open_table(STATUS)?;
            let mut arrival = 1;
            for entry in table.iter()? {
                let earlier: JobStatus = decode(entry?.1.value(), "status")?;
                arrival = arrival.max(earlier.arrival.saturating_add(1));
            }
            let status = JobStatus { arrival, state, since, runs: 0, finished: None, kept: None };
            table.insert(&job.id, &encode(&status, "status")?[..])?;
            Ok(())
        });
        // A commit that failed may have reached the disk all the same.
        if inserted.is_ok() || self.get(&job.id).is_ok() {
            upload.keep();
            return Ok(());
        }
        inserted
    }

    /// Runs `work` in a transaction that is on the disk when this returns.
    fn change<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T, JobStoreError>) -> Result<T, JobStoreError> {
        let database = self.catalogue.get()?;
        let transaction = begin_durable(&database)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Returns the states of all jobs.
    fn statuses(&self) -> Result<Vec<(JobId, JobStatus)>, JobStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let mut all = Vec::new();
        for entry in view.open_table(STATUS)?.iter()? {
            let (id, status) = entry?;
            all.push((*id.value(), decode(status.value(), "status")?));
        }
        Ok(all)
    }

    /// Returns the jobs that wait for their turn or run, in the order of their arrival. One that
    /// seems to run may have ended its run while the disk was full.
    ///
    /// # Errors
    ///
    /// If the catalogue cannot be read.
    pub fn unended(&self) -> Result<Vec<StoredJob>, JobStoreError> {
        let mut waiting = self.statuses()?;
        waiting.retain(|(_, status)| matches!(status.state, JobState::Queued | JobState::Running));
        waiting.sort_by_key(|(_, status)| status.arrival);
        waiting.iter().map(|(id, _)| Ok(self.get(id)?.0)).collect()
    }

    /// Returns all jobs, in the order of their arrival.
    ///
    /// # Errors
    ///
    /// If the catalogue cannot be read.
    pub fn all(&self) -> Result<Vec<(StoredJob, JobStatus)>, JobStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let status = view.open_table(STATUS)?;
        let mut all = Vec::new();
        for entry in view.open_table(JOBS)?.iter()? {
            let (id, job) = entry?;
            let own = status.get(id.value())?.ok_or(StoreError::Damaged("status"))?;
            all.push((decode::<StoredJob>(job.value(), "jobs")?, decode::<JobStatus>(own.value(), "status")?));
        }
        all.sort_by_key(|(_, status)| status.arrival);
        Ok(all)
    }

    /// Returns a job and its status.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Unknown`]; an unreadable catalogue.
    pub fn get(&self, id: &JobId) -> Result<(StoredJob, JobStatus), JobStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let job = view.open_table(JOBS)?.get(id)?.ok_or(JobStoreError::Unknown(*id))?;
        let status = view.open_table(STATUS)?.get(id)?.ok_or(StoreError::Damaged("status"))?;
        Ok((decode(job.value(), "jobs")?, decode(status.value(), "status")?))
    }

    /// Returns a job of `client` and its status.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Unknown`], also for another client's job; an unreadable catalogue.
    pub fn of_client(&self, id: &JobId, client: &str) -> Result<(StoredJob, JobStatus), JobStoreError> {
        let (job, status) = self.get(id)?;
        if job.client == client { Ok((job, status)) } else { Err(JobStoreError::Unknown(*id)) }
    }

    /// Changes the status of a job that has not ended. A job that ends loses its data and
    /// checkpoints.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Ended`], [`JobStoreError::Unknown`]; a full disk.
    pub fn set_state(&self, id: &JobId, state: JobState) -> Result<(), JobStoreError> {
        self.update(id, |status| {
            status.runs += u32::from(state == JobState::Running);
            status.state = state;
        })
    }

    /// Ends a job well, by the results of `session`, with its last sealed output.
    ///
    /// # Errors
    ///
    /// As [`set_state`](Self::set_state).
    pub fn finish(
        &self,
        id: &JobId,
        session: SessionId,
        kept: Option<Result<u32, String>>,
        end: &[u8],
    ) -> Result<(), JobStoreError> {
        self.change(|transaction| {
            running(transaction, id)?;
            transaction.open_table(OUTPUTS)?.insert((id, OutputPlace::END), end)?;
            let done = |status: &mut JobStatus| {
                (status.state, status.finished, status.kept) = (JobState::Done, Some(session), kept);
                true
            };
            change_status(transaction, id, done).map(drop)
        })?;
        self.clear(id);
        Ok(())
    }

    fn update(&self, id: &JobId, change: impl FnOnce(&mut JobStatus)) -> Result<(), JobStoreError> {
        let ended = self.change(|transaction| {
            running(transaction, id)?;
            let changed = change_status(transaction, id, |status| {
                change(status);
                true
            })?;
            Ok(changed.is_some_and(|status| status.state.has_ended()))
        })?;
        if ended {
            self.clear(id);
        }
        Ok(())
    }

    /// Deletes the files that a run stored after its job had ended.
    pub fn clear_ended(&self, id: &JobId) {
        // Without an entry there is no folder.
        if self.get(id).is_ok_and(|(_, status)| status.state.has_ended()) {
            self.clear(id);
        }
    }

    /// Interrupts a job that has no run; does nothing if it is interrupted or has ended.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Unknown`]; a full disk.
    pub fn interrupt_idle(&self, id: &JobId, reason: String) -> Result<(), JobStoreError> {
        self.change(|transaction| {
            let interrupt = |status: &mut JobStatus| {
                let waits = matches!(status.state, JobState::Queued | JobState::Running);
                if waits {
                    status.state = JobState::Interrupted(reason);
                }
                waits
            };
            change_status(transaction, id, interrupt).map(drop)
        })
    }

    /// Adds a sealed output of a job that has not ended, durably. One that is there stays as it is.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Ended`]; a full disk; the output must not leave then.
    pub fn add_output(&self, id: &JobId, number: u32, sealed: &[u8]) -> Result<(), JobStoreError> {
        self.change(|transaction| {
            running(transaction, id)?;
            let mut table = transaction.open_table(OUTPUTS)?;
            if table.get((id, number))?.is_none() {
                table.insert((id, number), sealed)?;
            }
            Ok(())
        })
    }

    /// Returns a job's sealed outputs from `first` on, with their numbers.
    ///
    /// # Errors
    ///
    /// An unreadable catalogue.
    pub fn outputs(&self, id: &JobId, first: u32) -> Result<Vec<(u32, Vec<u8>)>, JobStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let mut outputs = Vec::new();
        for entry in view.open_table(OUTPUTS)?.range((id, first)..=(id, u32::MAX))? {
            let (key, sealed) = entry?;
            outputs.push((key.value().1, sealed.value().to_vec()));
        }
        Ok(outputs)
    }

    /// Returns the last epoch whose output is here; 0 if none is.
    ///
    /// # Errors
    ///
    /// An unreadable catalogue.
    pub fn last_epoch(&self, id: &JobId) -> Result<u32, JobStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let last = view.open_table(OUTPUTS)?.range((id, 0)..(id, OutputPlace::MODEL))?.next_back();
        Ok(last.transpose()?.map_or(0, |(key, _)| key.value().1))
    }

    /// Deletes the outputs of a job that is done: its client has them. Does nothing if they are
    /// deleted.
    ///
    /// # Errors
    ///
    /// A catalogue that cannot be changed.
    pub fn forget(&self, id: &JobId) -> Result<(), JobStoreError> {
        self.retire(id, JobState::Fetched, |status| status.state == JobState::Done).map(drop)
    }

    /// Deletes the outputs of an ended job, which its client does not want. One that was done is
    /// cancelled then.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Ended`] if its outputs were fetched or have expired; a catalogue that
    /// cannot be changed.
    pub fn discard(&self, id: &JobId) -> Result<(), JobStoreError> {
        self.change(|transaction| {
            let mut deleted = None;
            change_status(transaction, id, |status| {
                if matches!(status.state, JobState::Fetched | JobState::Expired) {
                    deleted = Some(status.state.word());
                }
                let is_done = status.state == JobState::Done;
                if is_done {
                    status.state = JobState::Cancelled;
                }
                is_done
            })?;
            if let Some(state) = deleted {
                return Err(JobStoreError::Ended { id: *id, state });
            }
            delete_outputs(transaction, id)
        })?;
        let _ = fs::remove_dir_all(self.folder(id)); // the next start clears it again
        Ok(())
    }

    /// Gives a job its last state, if `is_due`, and deletes its outputs and its folder; returns
    /// whether it was due.
    fn retire(
        &self,
        id: &JobId,
        state: JobState,
        is_due: impl FnOnce(&JobStatus) -> bool,
    ) -> Result<bool, JobStoreError> {
        let due = self.change(|transaction| {
            let changed = change_status(transaction, id, |status| {
                let due = is_due(status);
                if due {
                    status.state = state;
                }
                due
            })?;
            if changed.is_some() {
                delete_outputs(transaction, id)?;
            }
            Ok(changed.is_some())
        })?;
        if due {
            let _ = fs::remove_dir_all(self.folder(id)); // the next start clears it again
        }
        Ok(due)
    }

    /// Expires jobs whose outputs wait for their client, or that have not run, for as long as the
    /// configuration says: deletes their files and outputs, and returns their numbers. Forgets jobs
    /// that ended otherwise, or expired, as long ago.
    ///
    /// # Errors
    ///
    /// A catalogue that cannot be changed.
    pub fn expire(&self, now: UnixSeconds) -> Result<Vec<JobId>, JobStoreError> {
        let old = |status: &JobStatus| now.0.saturating_sub(status.since) >= self.keep_seconds;
        let waits = |status: &JobStatus| {
            match status.state {
                JobState::Done | JobState::Interrupted(_) => old(status),
                // It may wait for a long job, or for a server.
                JobState::Queued => old(status) && now.0.saturating_sub(status.since) >= LEAST_WAIT_S,
                _ => false,
            }
        };
        let mut expired = Vec::new();
        for (id, status) in self.statuses()?.into_iter().filter(|(_, status)| old(status)) {
            if waits(&status) {
                // It may have begun to run meanwhile.
                if self.retire(&id, JobState::Expired, waits)? {
                    expired.push(id);
                }
            } else if status.state.has_ended() {
                self.change(|transaction| {
                    transaction.open_table(JOBS)?.remove(&id)?;
                    transaction.open_table(STATUS)?.remove(&id)?;
                    delete_outputs(transaction, &id)
                })?;
                let _ = fs::remove_dir_all(self.folder(&id)); // the next start deletes it again
            }
        }
        Ok(expired)
    }
}

fn delete_outputs(transaction: &WriteTransaction, id: &JobId) -> Result<(), JobStoreError> {
    Ok(transaction.open_table(OUTPUTS)?.retain_in((id, 0)..=(id, u32::MAX), |_, _| false)?)
}

/// Checks that a job has not ended.
fn running(transaction: &WriteTransaction, id: &JobId) -> Result<(), JobStoreError> {
    let table = transaction.open_table(STATUS)?;
    let status: JobStatus = decode(table.get(id)?.ok_or(JobStoreError::Unknown(*id))?.value(), "status")?;
    match status.state.has_ended() {
        true => Err(JobStoreError::Ended { id: *id, state: status.state.word() }),
        false => Ok(()),
    }
}

/// Changes the status of a job, if `change` says that it did; returns the new one.
fn change_status(
    transaction: &WriteTransaction,
    id: &JobId,
    change: impl FnOnce(&mut JobStatus) -> bool,
) -> Result<Option<JobStatus>, JobStoreError> {
    let mut table = transaction.open_table(STATUS)?;
    let mut status: JobStatus = decode(table.get(id)?.ok_or(JobStoreError::Unknown(*id))?.value(), "status")?;
    if !change(&mut status) {
        return Ok(None);
    }
    status.since = UnixSeconds::now().0;
    table.insert(id, &encode(&status, "status")?[..])?;
    Ok(Some(status))
}
