//! Opens an embedded database only while the server uses it, so that other processes can read it,
//! and so that it recovers once a full disk has room.

use crate::{intake::store::StoreError, net::Role, secret::reserve_private};
use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// Longest wait for another process that has the database open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Size of the database's cache.
const CACHE_BYTES: usize = 4 << 20;
/// Key `version` -> version of the other tables.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// A database of one version, for its owner alone.
pub(crate) struct SharedDatabase {
    path: PathBuf,
    version: u64,
    /// Creates the tables of a new database.
    create: fn(&WriteTransaction) -> Result<(), StoreError>,
    open: Mutex<Weak<Database>>,
}

impl SharedDatabase {
    /// Opens the database at `path`; creates a missing file, with the tables of `create`.
    pub(crate) fn open(
        path: &Path,
        version: u64,
        create: fn(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let database = Self { path: path.to_owned(), version, create, open: Mutex::default() };
        database.get()?;
        Ok(database)
    }

    /// Returns the open database; waits for a process that reads it, at most [`OPEN_TIMEOUT`].
    pub(crate) fn get(&self) -> Result<Arc<Database>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = open.upgrade() {
            return Ok(database);
        }
        let started = Instant::now();
        let database = loop {
            match self.open_or_create() {
                Err(StoreError::Database(error))
                    if matches!(*error, redb::Error::DatabaseAlreadyOpen) && started.elapsed() < OPEN_TIMEOUT =>
                {
                    thread::sleep(OPEN_TIMEOUT / 100);
                }
                database => break Arc::new(database?),
            }
        };
        *open = Arc::downgrade(&database);
        Ok(database)
    }

    fn open_or_create(&self) -> Result<Database, StoreError> {
        reserve_private(&self.path).map_err(redb::Error::Io)?;
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&self.path)?;
        let transaction = begin_durable(&database)?;
        {
            (self.create)(&transaction)?;
            let mut meta = transaction.open_table(META)?;
            let got = meta.get("version")?.map(|version| version.value());
            match got {
                None => drop(meta.insert("version", self.version)?),
                Some(got) if got == self.version => {
                    drop(meta);
                    transaction.abort()?;
                    return Ok(database);
                }
                Some(got) => return Err(StoreError::Foreign { key: "version", own: self.version, got }),
            }
        }
        transaction.commit()?;
        Ok(database)
    }
}

/// Begins a transaction that is on the disk once it is committed.
pub(crate) fn begin_durable(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Key `server` -> 0 or 1.
const OWNER: TableDefinition<&str, u64> = TableDefinition::new("owner");

/// Notes server `role` as the owner of a database; fails if that is the other server.
pub(crate) fn check_owner(transaction: &WriteTransaction, role: Role) -> Result<(), StoreError> {
    let own = u64::from(role == Role::Server1);
    let mut owner = transaction.open_table(OWNER)?;
    let got = owner.get("server")?.map(|server| server.value());
    match got {
        None => drop(owner.insert("server", own)?),
        Some(got) if got == own => {}
        Some(got) => return Err(StoreError::Foreign { key: "server", own, got }),
    }
    Ok(())
}

/// Reads a value of `table`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], table: &'static str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::Damaged(table))
}

/// Encodes a value for `table`.
pub(crate) fn encode<T: Serialize>(value: &T, table: &'static str) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(|_| StoreError::Damaged(table))
}
