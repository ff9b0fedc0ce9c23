//! A server's ledger: the jobs that it admitted, the outputs that it released, and the budgets that
//! these spend.
//!
//! - **Durability:** the whole charge of a job is on the disk before the job begins, the record of
//!   an output before the output leaves. If the server dies in between, the charge stays. A job
//!   that ends early gets back its unreleased outputs and, if it released nothing, its `ε`. It
//!   remains one of the day's jobs.
//! - **Budgets** bind jobs that learn from reports, not jobs on a client's own upload. A client is
//!   the serial number of its certificate, a day is one of UTC. `ε` composes by addition, over all
//!   manifests of one schema: a client can have a new manifest made of nearly the same records.
//! - **An older copy** of the ledger, restored from a backup, lacks the charges since then. Before
//!   a job begins, the servers therefore exchange their entries that concern its client or its
//!   manifest, and each charges the missing ones ([`Account::reconcile`]). The servers do not
//!   notice two ledgers that are restored together.
//! - **Sharing:** the file is open only while jobs run, so that `symbolon releases` can read it.

mod quota;

use super::{
    database::{SharedDatabase, begin_durable, decode, encode},
    selection::{Selection, difference},
};
use crate::{
    intake::{manifest::Manifest, store::StoreError, validity::UnixSeconds},
    net::Refusal,
    session::SessionId,
};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

pub use quota::Quotas;

/// Version of the tables below.
const VERSION: u64 = 1;
/// Most entries that a server sends to the other.
const MOST_TOLD: usize = 1024;
/// Most bytes of these entries, encoded.
pub const MAX_STANDING_BYTES: usize = 4 << 20;

/// Number -> [`Entry`].
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
/// Session -> number of its entry.
const SESSIONS: TableDefinition<&[u8; 16], u64> = TableDefinition::new("sessions");
/// Name of a budget -> its spent amount.
const SPENT: TableDefinition<&str, u64> = TableDefinition::new("spent");
/// Client and hash of a selection -> the number of its first entry.
const SELECTIONS: TableDefinition<(&str, &[u8; 32]), u64> = TableDefinition::new("selections");
/// Digest -> encoded manifest.
const MANIFESTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("manifests");

/// The charge of a job.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// The job's session.
    pub session: SessionId,
    /// Time of admission, in seconds since 1970.
    pub at: i64,
    /// Serial number of the client's certificate, in hexadecimal.
    pub client: String,
    /// Name of the job.
    pub job: String,
    /// Hash of the job.
    pub hash: [u8; 32],
    /// The records of a manifest that the job covers; `None` for a job on the client's own upload.
    pub selection: Option<Selection>,
    /// Numbers of training and test records.
    pub records: [u64; 2],
    /// Number of outputs that the job opens.
    pub outputs: u64,
    /// `ε` that the outputs spend together, in thousandths; 0 without noise.
    pub epsilon_milli: u32,
}

/// A charge and its outcome.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The charge; its outputs and `ε` are reduced when the job ends early.
    pub charge: Charge,
    /// Number of released outputs.
    pub released: u64,
    /// The job's state.
    pub state: State,
}

/// The state of a job in the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// The job runs, or the server died while the job ran.
    Open,
    /// The job has ended.
    Ended,
    /// The entry comes from the other server's ledger: this one lacked it.
    Adopted,
}

/// Limits on what a ledger admits, for jobs that learn from reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budgets {
    /// Most jobs of a client in a day.
    pub jobs_per_day: u64,
    /// Most outputs about the records of a manifest, all clients together.
    pub outputs_per_manifest: u64,
    /// Most `ε` of a client on the records of a schema in a day, in thousandths; `None` without
    /// noise.
    pub epsilon_milli: Option<u32>,
    /// Fewest records by which two different training sets of a client differ, or two different
    /// test sets.
    pub smallest_difference: u64,
}

/// The spent amounts of a client's budgets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Jobs today.
    pub jobs: u64,
    /// Outputs about the manifest, all clients together.
    pub outputs: u64,
    /// `ε` on the records of the manifest's schema today, in thousandths.
    pub epsilon_milli: u64,
}

/// The reason why the ledger refuses a job or an output.
#[derive(Debug)]
pub enum LedgerError {
    /// A budget does not cover the job.
    Refused(Refusal),
    /// A session with this number ran before.
    Repeated,
    /// The job has no entry: this is an older copy of the ledger.
    Missing,
    /// The job has ended, and its budget was given back.
    Ended,
    /// The ledger cannot be used; without it no output leaves.
    Store(StoreError),
}

impl<E> From<E> for LedgerError
where
    StoreError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Ended => f.write_str("the job has ended; it releases nothing any more"),
            Self::Missing => f.write_str("the job has no entry here; this is an older copy of the ledger"),
            Self::Repeated => f.write_str("a session with this number has run before; start the job again"),
            Self::Store(error) => write!(f, "the ledger of releases: {error}; nothing is released without it"),
        }
    }
}

impl std::error::Error for LedgerError {}

/// A server's ledger of releases.
pub struct Ledger {
    database: SharedDatabase,
    /// Held while a job is admitted: what two jobs differ by takes long to find, and outputs of
    /// others need not wait for it.
    admitting: Mutex<()>,
}

/// Finds a manifest by its digest.
pub type Known<'a> = dyn Fn(&[u8; 32]) -> Option<Manifest> + 'a;

/// The entry of a running job.
pub struct Account {
    database: Arc<Database>,
    number: u64,
    budgets: Budgets,
}

impl Charge {
    fn day(&self) -> i64 {
        day(self.at)
    }

    /// Returns the names of the budgets that the charge draws on, with the amounts: jobs, outputs,
    /// `ε`.
    fn draws(&self) -> [(String, u64); 3] {
        let Self { client, selection, .. } = self;
        let [manifest, schema] =
            selection.as_ref().map_or([[0; 32]; 2], |selection| [selection.manifest, selection.schema]);
        let [jobs, outputs, epsilon] = names(client, [&manifest, &schema], self.day());
        [(jobs, 1), (outputs, self.outputs), (epsilon, u64::from(self.epsilon_milli))]
    }
}

fn day(at: i64) -> i64 {
    at.div_euclid(24 * 3600)
}

fn names(client: &str, hashes: [&[u8; 32]; 2], day: i64) -> [String; 3] {
    let [manifest, schema] = hashes.map(|hash| crate::intake::hex::print(hash));
    [format!("jobs {client} {day}"), format!("outputs {manifest}"), format!("epsilon {schema} {client} {day}")]
}

impl Ledger {
    /// Opens the ledger at `path`; creates a missing file.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let create = |transaction: &WriteTransaction| Tables::open(transaction).map(drop);
        Ok(Self { database: SharedDatabase::open(path, VERSION, create)?, admitting: Mutex::default() })
    }

    /// Charges a job, if its budgets permit. `known` finds manifests that the ledger has not seen.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; the ledger is then unchanged.
    pub fn admit(&self, charge: &Charge, budgets: Budgets, known: &Known<'_>) -> Result<Account, LedgerError> {
        let database = self.database.get()?;
        let _one = self.admitting.lock().unwrap_or_else(PoisonError::into_inner);
        differs(&database.begin_read()?, charge, budgets.smallest_difference, known)?;
        let manifest = charge.selection.as_ref().and_then(|selection| known(&selection.manifest));
        let number = write(&database, |tables| {
            if tables.sessions.get(&charge.session)?.is_some() {
                return Err(LedgerError::Repeated);
            }
            tables.check(charge, &budgets)?;
            tables.insert(&Entry { charge: charge.clone(), released: 0, state: State::Open }, manifest.as_ref())
        })?;
        Ok(Account { database, number, budgets })
    }

    /// Returns the account of a job that was admitted before, by its charge's session.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Missing`]; a ledger that cannot be used.
    pub fn resume(&self, session: &SessionId, budgets: Budgets) -> Result<Account, LedgerError> {
        let database = self.database.get()?;
        let number = database.begin_read()?.open_table(SESSIONS)?.get(session)?.map(|number| number.value());
        Ok(Account { number: number.ok_or(LedgerError::Missing)?, database, budgets })
    }

    /// Returns at most `most` entries, the newest first; only those of `client`, if given.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read.
    pub fn entries(&self, client: Option<&str>, most: usize) -> Result<Vec<Entry>, StoreError> {
        let database = self.database.get()?;
        let view = database.begin_read()?;
        let mut entries = Vec::new();
        for entry in view.open_table(ENTRIES)?.iter()?.rev() {
            let entry: Entry = decode(entry?.1.value(), "entries")?;
            if entries.len() == most {
                break;
            }
            if client.is_none_or(|client| entry.charge.client == client) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Returns the jobs of a client today, its `ε` today on the records of `schema`, and the spent
    /// outputs about `manifest`.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read.
    pub fn spent(
        &self,
        client: &str,
        [manifest, schema]: [&[u8; 32]; 2],
        now: UnixSeconds,
    ) -> Result<Spent, StoreError> {
        let database = self.database.get()?;
        let view = database.begin_read()?;
        let table = view.open_table(SPENT)?;
        let [jobs, outputs, epsilon_milli] = names(client, [manifest, schema], day(now.0))
            .map(|name| Ok::<_, StoreError>(table.get(&*name)?.map_or(0, |spent| spent.value())));
        Ok(Spent { jobs: jobs?, outputs: outputs?, epsilon_milli: epsilon_milli? })
    }
}

impl Account {
    /// Records durably that the job has released `outputs` outputs in all once the next ones leave.
    /// A repetition changes nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Ended`] if the job's budget was given back; [`LedgerError::Store`]. The
    /// outputs must not leave then.
    pub fn release_up_to(&self, outputs: u64) -> Result<(), LedgerError> {
        if self.released()? >= outputs {
            return Ok(());
        }
        write(&self.database, |tables| {
            let mut entry = tables.entry(self.number)?;
            if entry.state != State::Open {
                return Err(LedgerError::Ended);
            }
            entry.released = entry.released.max(outputs);
            tables.put(self.number, &entry)
        })
    }

    /// Returns the number of outputs that the job has released.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Store`].
    pub fn released(&self) -> Result<u64, LedgerError> {
        Ok(self.entry()?.released)
    }

    /// Returns whether the job may still release outputs.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Store`].
    pub fn is_open(&self) -> Result<bool, LedgerError> {
        Ok(self.entry()?.state == State::Open)
    }

    fn entry(&self) -> Result<Entry, LedgerError> {
        let view = self.database.begin_read()?;
        let table = view.open_table(ENTRIES)?;
        let own = table.get(self.number)?.ok_or(StoreError::Damaged("entries"))?;
        Ok(decode(own.value(), "entries")?)
    }

    /// Ends the job and gives back the budget of its unreleased outputs.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Store`]; the whole charge then stays spent.
    pub fn end(self) -> Result<(), LedgerError> {
        write(&self.database, |tables| {
            let mut entry = tables.entry(self.number)?;
            entry.state = State::Ended;
            let before = entry.charge.draws();
            let unreleased = entry.charge.outputs.saturating_sub(entry.released);
            entry.charge.outputs -= unreleased;
            let mut back = [0, unreleased, 0];
            if entry.released == 0 {
                back[2] = u64::from(std::mem::take(&mut entry.charge.epsilon_milli));
            }
            if let Some(selection) = &entry.charge.selection {
                if entry.released == 0 {
                    tables.forget(&entry.charge.client, selection, self.number)?;
                }
                for ((name, _), back) in before.iter().zip(back) {
                    let spent = tables.spent(name)?;
                    tables.spent.insert(&**name, spent.saturating_sub(back))?;
                }
            }
            tables.put(self.number, &entry)
        })
    }

    /// Returns the entries that the other server must know: those that released outputs to this
    /// job's client today, or about its manifest. This job's own entry is left out.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Store`].
    pub fn standing(&self) -> Result<Vec<Entry>, LedgerError> {
        let view = self.database.begin_read()?;
        let table = view.open_table(ENTRIES)?;
        let own = table.get(self.number)?.ok_or(StoreError::Damaged("entries"))?;
        let own: Entry = decode(own.value(), "entries")?;
        let (mut told, mut bytes) = (Vec::new(), 16);
        for stored in table.range(..self.number)?.rev() {
            let stored = stored?.1;
            let entry: Entry = decode(stored.value(), "entries")?;
            if !entry.concerns(&own.charge) {
                continue;
            }
            bytes += stored.value().len();
            if told.len() == MOST_TOLD || bytes > MAX_STANDING_BYTES {
                break;
            }
            told.push(entry);
        }
        Ok(told)
    }

    /// Charges the other server's entries that this ledger lacks; returns their number.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Refused`] if a budget does not cover them, or this job's records differ too
    /// little from theirs; [`LedgerError::Store`].
    pub fn reconcile(&self, theirs: &[Entry], known: &Known<'_>) -> Result<u64, LedgerError> {
        let missing = write(&self.database, |tables| {
            let own = tables.entry(self.number)?;
            let mut missing = 0;
            for entry in theirs.iter().take(MOST_TOLD).filter(|entry| entry.concerns(&own.charge)) {
                if tables.sessions.get(&entry.charge.session)?.is_none() {
                    tables.insert(&Entry { state: State::Adopted, ..entry.clone() }, None)?;
                    missing += 1;
                }
            }
            Ok::<u64, LedgerError>(missing)
        })?;
        if missing > 0 {
            let own = write(&self.database, |tables| {
                let own = tables.entry(self.number)?.charge;
                // The sums contain the job's own charge already.
                let rest = Charge { outputs: 0, epsilon_milli: 0, ..own.clone() };
                let jobs_per_day = self.budgets.jobs_per_day.saturating_add(1);
                tables.check(&rest, &Budgets { jobs_per_day, ..self.budgets }).map(|()| own)
            })?;
            differs(&self.database.begin_read()?, &own, self.budgets.smallest_difference, known)?;
        }
        Ok(missing)
    }
}

impl Entry {
    /// Returns whether the entry, of another session, has releases that count where `charge` does.
    fn concerns(&self, charge: &Charge) -> bool {
        let (Some(ours), Some(theirs)) = (&self.charge.selection, &charge.selection) else { return false };
        let same_client = self.charge.client == charge.client;
        self.released > 0
            && self.charge.session != charge.session
            && (ours.manifest == theirs.manifest || same_client && self.charge.day() == charge.day())
    }
}

/// Runs `work` in a transaction that is on the disk when this function returns.
fn write<T>(
    database: &Database,
    work: impl FnOnce(&mut Tables<'_>) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    let transaction = begin_durable(database)?;
    let result = work(&mut Tables::open(&transaction)?)?;
    transaction.commit()?;
    Ok(result)
}

fn hash(selection: &Selection) -> Result<[u8; 32], StoreError> {
    Ok(Sha256::digest(encode(selection, "selections")?).into())
}

/// Checks the job's records against those of the client's earlier jobs: the same, or different
/// enough.
fn differs(view: &ReadTransaction, charge: &Charge, smallest: u64, known: &Known<'_>) -> Result<(), LedgerError> {
    let Some(own) = &charge.selection else { return Ok(()) };
    let (client, manifest) = (&*charge.client, known(&own.manifest));
    let (entries, manifests) = (view.open_table(ENTRIES)?, view.open_table(MANIFESTS)?);
    for selection in view.open_table(SELECTIONS)?.range((client, &[0; 32])..=(client, &[0xff; 32]))? {
        let entry = entries.get(selection?.1.value())?.ok_or(StoreError::Damaged("selections"))?;
        let entry: Entry = decode(entry.value(), "entries")?;
        let Some(earlier) = entry.charge.selection.filter(|earlier| earlier != own) else { continue };
        let stored = manifests.get(&earlier.manifest)?;
        let stored: Option<Manifest> = stored.map(|bytes| decode(bytes.value(), "manifests")).transpose()?;
        // An unknown manifest may differ by a single record.
        let differ = match (&manifest, &stored.or_else(|| known(&earlier.manifest))) {
            (Some(manifest), Some(stored)) => difference((own, manifest), (&earlier, stored)),
            _ => [1; 4],
        };
        if let Some(got) = differ.into_iter().find(|differ| (1..smallest).contains(differ)) {
            return Err(LedgerError::Refused(Refusal::Difference { smallest, got, earlier: entry.charge.at }));
        }
    }
    Ok(())
}

/// The tables of a write transaction.
struct Tables<'t> {
    entries: Table<'t, u64, &'static [u8]>,
    sessions: Table<'t, &'static [u8; 16], u64>,
    spent: Table<'t, &'static str, u64>,
    selections: Table<'t, (&'static str, &'static [u8; 32]), u64>,
    manifests: Table<'t, &'static [u8; 32], &'static [u8]>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            sessions: transaction.open_table(SESSIONS)?,
            spent: transaction.open_table(SPENT)?,
            selections: transaction.open_table(SELECTIONS)?,
            manifests: transaction.open_table(MANIFESTS)?,
        })
    }

    fn entry(&self, number: u64) -> Result<Entry, LedgerError> {
        let entry = self.entries.get(number)?.ok_or(StoreError::Damaged("entries"))?;
        Ok(decode(entry.value(), "entries")?)
    }

    fn put(&mut self, number: u64, entry: &Entry) -> Result<(), LedgerError> {
        self.entries.insert(number, &encode(entry, "entries")?[..])?;
        Ok(())
    }

    fn spent(&self, name: &str) -> Result<u64, StoreError> {
        Ok(self.spent.get(name)?.map_or(0, |spent| spent.value()))
    }

    /// Checks that the budgets cover a charge.
    fn check(&self, charge: &Charge, budgets: &Budgets) -> Result<(), LedgerError> {
        if charge.selection.is_none() {
            return Ok(());
        }
        let draws = charge.draws();
        let [jobs, outputs, epsilon] = draws.each_ref().map(|(name, _)| self.spent(name));
        let Budgets { jobs_per_day, outputs_per_manifest, epsilon_milli, .. } = *budgets;
        let (jobs, outputs, epsilon) = (jobs?, outputs?, epsilon?);
        if jobs >= jobs_per_day {
            return Err(LedgerError::Refused(Refusal::JobsPerDay { limit: jobs_per_day, spent: jobs }));
        }
        if outputs.saturating_add(charge.outputs) > outputs_per_manifest {
            let (limit, spent, job) = (outputs_per_manifest, outputs, charge.outputs);
            return Err(LedgerError::Refused(Refusal::ManifestOutputs { limit, spent, job }));
        }
        match epsilon_milli.map(u64::from) {
            Some(limit) if epsilon.saturating_add(u64::from(charge.epsilon_milli)) > limit => {
                let (spent, job) = (epsilon, u64::from(charge.epsilon_milli));
                Err(LedgerError::Refused(Refusal::Epsilon { limit, spent, job }))
            }
            _ => Ok(()),
        }
    }

    /// Drops a selection whose first job, `number`, released nothing.
    fn forget(&mut self, client: &str, selection: &Selection, number: u64) -> Result<(), LedgerError> {
        let hash = hash(selection)?;
        let first = self.selections.get((client, &hash))?.map(|first| first.value());
        if first == Some(number) {
            self.selections.remove((client, &hash))?;
        }
        Ok(())
    }

    fn insert(&mut self, entry: &Entry, manifest: Option<&Manifest>) -> Result<u64, LedgerError> {
        let number = self.entries.last()?.map_or(0, |(last, _)| last.value() + 1);
        self.put(number, entry)?;
        self.sessions.insert(&entry.charge.session, number)?;
        let Some(selection) = &entry.charge.selection else { return Ok(number) };
        for (name, amount) in entry.charge.draws() {
            let spent = self.spent(&name)?;
            self.spent.insert(&*name, spent.saturating_add(amount))?;
        }
        let hash = hash(selection)?;
        let key = (&*entry.charge.client, &hash);
        if self.selections.get(key)?.is_none() {
            self.selections.insert(key, number)?;
        }
        if let Some(manifest) = manifest {
            self.manifests.insert(&selection.manifest, &encode(manifest, "manifests")?[..])?;
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests;
