//! What a server keeps: starts, records, counts and manifests, in one embedded database.
//!
//! - **Durability:** a batch is one write transaction, on the disk when `Store::write` returns. After a crash the database is as of the last such
//!   return: redb writes pages beside the old ones and then changes one checksummed root.
//!   The commit has two phases: the root's checksum is no cryptographic one, and devices choose bytes under it, so it must not decide alone which of two states a crash left.
//!   After a failed `fsync`, a kernel may read back pages that are not on the disk; it tells once. Nothing of that batch was acknowledged, but on a disk that fails so, restore from a copy.
//! - **Failure:** after any error nothing of the batch is there, and the database is opened anew before it is used again; so it recovers when a full disk has room.
//! - **Return:** after a kill, redb walks all records before the database opens: 0.4 to 0.9 s a million with a warm cache (`symbolon bench reports --stored 1000000`). Its quick repair
//!   would make that 0.03 s, but is off: with it, opening panicked in the test of power failures.
//! - **Memory:** a cache of a fixed size (`CACHE_BYTES`).

use super::ledger::Ledger;
use crate::secret::{folder_of, reserve_private, sync_folder};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq;
use symbolon_core::report::{
    frame::{Part, TAG_BYTES},
    header::{DeviceId, ReportId, StartHeader},
    identity::PublicKey,
    schema::SchemaHash,
};

/// Of the database.
const CACHE_BYTES: usize = 64 << 20;
/// Of the tables below.
const VERSION: u64 = 1;
/// Between attempts to open the database anew: it may have to be walked through.
const RETRY: Duration = Duration::from_secs(1);

/// `version` and `server`.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Device and boot -> [`StoredStart`].
pub(super) const STARTS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("starts");
/// Hash -> number of the schema here, bytes of its records.
pub(super) const SCHEMAS: TableDefinition<&[u8; 32], (u32, u32)> = TableDefinition::new("schemas");
/// [`RecordKey`] -> [`Record`].
pub(super) const RECORDS: TableDefinition<&RecordKey, &[u8]> = TableDefinition::new("records");
/// Number of the *label's* schema, what it is about, the label's own name.
pub(super) const ABOUT: TableDefinition<&AboutKey, ()> = TableDefinition::new("about");
/// Device -> [`Ledger`].
pub(super) const DEVICES: TableDefinition<u64, &[u8]> = TableDefinition::new("devices");
/// Device -> boot and number of its newest query: an older one is a replay, also after a restart.
const QUERIES: TableDefinition<u64, (u32, u32)> = TableDefinition::new("queries");
/// Code of a reason -> parts of unknown devices that were refused for it.
pub(super) const STRANGERS: TableDefinition<u8, u64> = TableDefinition::new("strangers");
/// Digest -> encoded manifest.
pub(super) const MANIFESTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("manifests");

/// Number in the order in which they were made, to digest.
const MANIFEST_ORDER: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("manifest_order");
/// Manifests that are kept: clients ask for them, and each may be as long as what is stored.
pub const MOST_MANIFESTS: u64 = 256;

/// Number of a schema here and a report's name, big-endian: a schema's records lie in the order of their names.
pub(super) type RecordKey = [u8; 20];
/// As [`RecordKey`], then the name of the label.
pub(super) type AboutKey = [u8; 36];

pub(super) fn record_key(schema: u32, id: &ReportId) -> RecordKey {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&schema.to_be_bytes());
    key[4..].copy_from_slice(&id.to_bytes());
    key
}

pub(super) fn about_key(schema: u32, about: &ReportId, label: &ReportId) -> AboutKey {
    let mut key = [0; 36];
    key[..20].copy_from_slice(&record_key(schema, about));
    key[20..].copy_from_slice(&label.to_bytes());
    key
}

/// The name in the last 16 bytes of a key.
pub(super) fn id_of(key: &[u8]) -> ReportId {
    key.last_chunk().map(ReportId::from_bytes).unwrap_or_default()
}

/// A stored record: time (8 bytes, little-endian), this server's share, and what it is about (16 bytes, or none).
pub(super) struct Record;

impl Record {
    const TIME: usize = 8;

    pub(super) fn encode(time_ms: u64, share: &[u8], about: Option<ReportId>) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::TIME + share.len() + ReportId::ENCODED_BYTES);
        out.extend(time_ms.to_le_bytes());
        out.extend(share);
        out.extend(about.iter().flat_map(ReportId::to_bytes));
        out
    }

    /// The time that the header says.
    pub(super) fn time_ms(stored: &[u8]) -> Option<u64> {
        stored.first_chunk().map(|time| u64::from_le_bytes(*time))
    }

    /// The share, in a record of `bytes` bytes.
    pub(super) fn share(stored: &[u8], bytes: usize) -> Option<&[u8]> {
        stored.get(Self::TIME..Self::TIME + bytes)
    }
}

/// An accepted start, from which the session is derived again.
pub(super) struct StoredStart {
    header: [u8; StartHeader::BYTES],
    enc: [u8; 32],
    tag: [u8; TAG_BYTES],
    /// The device's key that it was sealed with.
    pub(super) key: PublicKey,
}

impl StoredStart {
    const BYTES: usize = StartHeader::BYTES + 32 + TAG_BYTES + 32;

    /// `None` if the part is no start.
    pub(super) fn new(part: &Part<'_>, key: PublicKey) -> Option<Self> {
        let Part::Start { header, enc, tag, .. } = part else { return None };
        Some(Self { header: (*header).try_into().ok()?, enc: *enc, tag: *tag, key })
    }

    /// The part, as the device sent it to `server`.
    pub(super) fn part(&self, server: u8) -> Part<'_> {
        Part::Start { server, header: &self.header, enc: self.enc, tag: self.tag }
    }

    fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let mut at = 0;
        for field in [&self.header[..], &self.enc, &self.tag, &self.key.0] {
            out[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        out
    }

    /// Its header.
    pub(super) fn header(&self) -> Option<StartHeader> {
        StartHeader::parse(&self.header).ok()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk()?;
        let (enc, rest) = rest.split_first_chunk()?;
        let (tag, rest) = rest.split_first_chunk()?;
        Some(Self { header: *header, enc: *enc, tag: *tag, key: PublicKey(rest.try_into().ok()?) })
    }
}

/// Whether a record is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Held {
    /// No.
    No,
    /// Yes, the same.
    Same,
    /// Another one is.
    Other,
}

/// Opens the database.
type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// Opens a database, or makes one for its owner alone, whose name is on the disk too.
pub(crate) fn create(path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
    reserve_private(path)?;
    let database = Database::builder().set_cache_size(cache_bytes).create(path)?;
    sync_folder(folder_of(path))?;
    Ok(database)
}

/// The database, and how to open it again.
pub struct Store {
    open: Open,
    server: u8,
    retry: Duration,
    handle: Mutex<Handle>,
}

#[derive(Default)]
struct Handle {
    database: Option<Arc<Database>>,
    failed: Option<Instant>,
}

impl Store {
    /// Opens the store of server `server`, or makes one.
    ///
    /// # Errors
    ///
    /// If that cannot be, or the store is the other server's or another version's.
    pub fn open(path: &Path, server: u8) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let open = move || create(&path, CACHE_BYTES);
        Self::with(Box::new(open), server, RETRY)
    }

    /// Opens a store wherever `open` has it, and again `retry` after each failure.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn with(open: Open, server: u8, retry: Duration) -> Result<Self, StoreError> {
        let store = Self { open, server, retry, handle: Mutex::default() };
        store.database()?;
        Ok(store)
    }

    /// Runs `work` in a transaction that is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// Nothing of it was stored then; but a manifest or a record may reappear that was lost on the way to the disk's answer: all writes may be repeated.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self.database()?;
        let result = (|| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            let result = work(&mut Tables::open(&transaction)?)?;
            transaction.commit()?;
            Ok(result)
        })();
        drop(database);
        self.watch(result)
    }

    /// Runs `work` on the store as it is now.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self.database()?;
        let result = database.begin_read().map_err(StoreError::from).and_then(|view| work(&view));
        drop(database);
        self.watch(result)
    }

    /// After a failure of the database, whoever comes next opens it anew.
    fn watch<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Database(_)) = result {
            let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
            *handle = Handle { database: None, failed: Some(Instant::now()) };
        }
        result
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &handle.database {
            return Ok(Arc::clone(database));
        }
        if handle.failed.is_some_and(|failed| failed.elapsed() < self.retry) {
            return Err(StoreError::Away);
        }
        match (self.open)().map_err(StoreError::from).and_then(|database| self.check(database)) {
            Ok(database) => {
                let database = Arc::new(database);
                *handle = Handle { database: Some(Arc::clone(&database)), failed: None };
                Ok(database)
            }
            Err(error) => {
                handle.failed = Some(Instant::now());
                Err(error)
            }
        }
    }

    /// All tables are there, and are this server's.
    fn check(&self, database: Database) -> Result<Database, StoreError> {
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        {
            let mut tables = Tables::open(&transaction)?;
            for (key, own) in [("version", VERSION), ("server", u64::from(self.server))] {
                let got = tables.meta.get(key)?.map(|value| value.value());
                match got {
                    None => drop(tables.meta.insert(key, own)?),
                    Some(got) if got == own => {}
                    Some(got) => return Err(StoreError::Foreign { key, own, got }),
                }
            }
        }
        transaction.commit()?;
        Ok(database)
    }
}

/// Tables of a write transaction.
pub(super) struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    starts: Table<'t, (u64, u32), &'static [u8]>,
    schemas: Table<'t, &'static [u8; 32], (u32, u32)>,
    records: Table<'t, &'static RecordKey, &'static [u8]>,
    about: Table<'t, &'static AboutKey, ()>,
    devices: Table<'t, u64, &'static [u8]>,
    queries: Table<'t, u64, (u32, u32)>,
    strangers: Table<'t, u8, u64>,
    manifests: Table<'t, &'static [u8; 32], &'static [u8]>,
    manifest_order: Table<'t, u64, &'static [u8; 32]>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            starts: transaction.open_table(STARTS)?,
            schemas: transaction.open_table(SCHEMAS)?,
            records: transaction.open_table(RECORDS)?,
            about: transaction.open_table(ABOUT)?,
            devices: transaction.open_table(DEVICES)?,
            queries: transaction.open_table(QUERIES)?,
            strangers: transaction.open_table(STRANGERS)?,
            manifests: transaction.open_table(MANIFESTS)?,
            manifest_order: transaction.open_table(MANIFEST_ORDER)?,
        })
    }

    pub(super) fn start(&self, device: DeviceId, boot: u32) -> Result<Option<StoredStart>, StoreError> {
        let Some(stored) = self.starts.get((device.0, boot))? else { return Ok(None) };
        StoredStart::from_bytes(stored.value()).map(Some).ok_or(StoreError::Damaged("starts"))
    }

    pub(super) fn put_start(&mut self, device: DeviceId, boot: u32, start: &StoredStart) -> Result<(), StoreError> {
        self.starts.insert((device.0, boot), &start.to_bytes()[..])?;
        Ok(())
    }

    /// The number of a schema here; it gets one if it has none.
    pub(super) fn schema(&mut self, hash: &SchemaHash, record_bytes: usize) -> Result<u32, StoreError> {
        if let Some(known) = self.schemas.get(hash)? {
            return Ok(known.value().0);
        }
        let number = u32::try_from(redb::ReadableTableMetadata::len(&self.schemas)?);
        let bytes = u32::try_from(record_bytes);
        let (Ok(number), Ok(bytes)) = (number, bytes) else { return Err(StoreError::Damaged("schemas")) };
        self.schemas.insert(hash, (number, bytes))?;
        Ok(number)
    }

    /// Whether this record is stored. In a time that is free of its bytes.
    pub(super) fn held(&self, key: &RecordKey, record: &[u8]) -> Result<Held, StoreError> {
        Ok(match self.records.get(key)? {
            None => Held::No,
            Some(stored) if bool::from(stored.value().ct_eq(record)) => Held::Same,
            Some(_) => Held::Other,
        })
    }

    pub(super) fn put_record(&mut self, key: &RecordKey, record: &[u8]) -> Result<(), StoreError> {
        self.records.insert(key, record)?;
        Ok(())
    }

    pub(super) fn put_about(&mut self, key: &AboutKey) -> Result<(), StoreError> {
        self.about.insert(key, ())?;
        Ok(())
    }

    pub(super) fn ledger(&self, device: DeviceId) -> Result<Ledger, StoreError> {
        let Some(stored) = self.devices.get(device.0)? else { return Ok(Ledger::default()) };
        Ledger::decode(stored.value()).ok_or(StoreError::Damaged("devices"))
    }

    pub(super) fn put_ledger(&mut self, device: DeviceId, ledger: &Ledger) -> Result<(), StoreError> {
        self.devices.insert(device.0, ledger.encode().ok_or(StoreError::Damaged("devices"))?.as_slice())?;
        Ok(())
    }

    /// Boot and number of the device's newest query; zeros if it has sent none.
    pub(super) fn newest_query(&self, device: DeviceId) -> Result<(u32, u32), StoreError> {
        Ok(self.queries.get(device.0)?.map_or((0, 0), |newest| newest.value()))
    }

    pub(super) fn put_query(&mut self, id: &ReportId) -> Result<(), StoreError> {
        self.queries.insert(id.device.0, (id.boot, id.sequence))?;
        Ok(())
    }

    pub(super) fn count_stranger(&mut self, reason: u8, parts: u64) -> Result<(), StoreError> {
        let before = self.strangers.get(reason)?.map_or(0, |count| count.value());
        self.strangers.insert(reason, before.saturating_add(parts))?;
        Ok(())
    }

    /// Stores a manifest, or makes it the newest again; the oldest goes if there are more than [`MOST_MANIFESTS`].
    pub(super) fn put_manifest(&mut self, digest: &[u8; 32], manifest: &[u8]) -> Result<(), StoreError> {
        let next = self.manifest_order.last()?.map_or(0, |(last, _)| last.value() + 1);
        self.manifest_order.retain(|_, other| other != digest)?;
        self.manifest_order.insert(next, digest)?;
        self.manifests.insert(digest, manifest)?;
        while redb::ReadableTableMetadata::len(&self.manifest_order)? > MOST_MANIFESTS {
            let Some(oldest) = self.manifest_order.pop_first()?.map(|(_, digest)| *digest.value()) else { break };
            self.manifests.remove(&oldest)?;
        }
        Ok(())
    }
}

/// Why the store cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The database, or the disk under it.
    Database(Box<redb::Error>),
    /// It failed, and is not tried again yet.
    Away,
    /// It is of another version, or the other server's.
    Foreign {
        /// `version` or `server`.
        key: &'static str,
        /// Here.
        own: u64,
        /// In the store.
        got: u64,
    },
    /// An entry of this table cannot be read.
    Damaged(&'static str),
}

impl<E> From<E> for StoreError
where
    redb::Error: From<E>,
{
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) if matches!(**error, redb::Error::DatabaseAlreadyOpen) => {
                f.write_str("another process has it open; does this server run already?")
            }
            Self::Database(error) => {
                write!(f, "{error}; make room on the disk, or see what is wrong with it")
            }
            Self::Away => f.write_str("it failed a moment ago and is tried again soon"),
            Self::Foreign { key, own, got } => {
                write!(f, "its {key} is {got}, but here it is {own}; configure another store")
            }
            Self::Damaged(table) => write!(f, "table `{table}` is damaged; restore it from a copy"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(error) => Some(&**error),
            _ => None,
        }
    }
}
