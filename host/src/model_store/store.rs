//! The catalogue of kept models, and their files.

use super::{
    entry::{ListedModel, ModelEntry, ModelState, PublicPart},
    error::ModelStoreError,
    share_file,
    terms::Terms,
};
use crate::{
    intake::{store::StoreError, validity::UnixSeconds},
    job::ModelVersion,
    net::{ModelsConfig, Role},
    release::database::{SharedDatabase, begin_durable, check_owner, decode, encode},
    secret::{Secret, lock_folder},
};
use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use symbolon_core::word::Word;

/// Version of the tables below.
const VERSION: u64 = 1;
/// Names that a client may have had.
const MOST_NAMES: usize = 4096;

/// Client, name and version -> [`Stored`].
const ENTRIES: TableDefinition<Key<'_>, &[u8]> = TableDefinition::new("models");
/// The same -> [`PublicPart`].
const PUBLIC: TableDefinition<Key<'_>, &[u8]> = TableDefinition::new("public");
/// The same -> [`Terms`] of a published version that answers predictions.
const TERMS: TableDefinition<Key<'_>, &[u8]> = TableDefinition::new("terms");
/// Client and name -> its last version. Numbers are given once.
const NAMES: TableDefinition<(&str, &str), u32> = TableDefinition::new("names");

type Key<'a> = (&'a str, &'a str, u32);

/// A version in the catalogue.
#[derive(Serialize, Deserialize)]
struct Stored {
    listed: ListedModel,
    /// Number of the share's file.
    file: u64,
}

/// A server's kept models.
pub struct ModelStore {
    directory: PathBuf,
    /// 0 or 1.
    server: u8,
    deployment: [u8; 32],
    most_versions: u64,
    most_bytes: u64,
    catalogue: SharedDatabase,
    /// Held while files are read or changed.
    changing: Mutex<()>,
    /// Locked by this process.
    _lock: File,
}

fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ENTRIES)?;
    transaction.open_table(PUBLIC)?;
    transaction.open_table(NAMES)?;
    Ok(())
}

impl ModelStore {
    /// Opens the store of server `role`; makes a missing one. One process at a time has it open.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError::InUse`]; a folder or a catalogue that cannot be used, or is the other
    /// server's.
    pub fn open(config: &ModelsConfig, role: Role, deployment: [u8; 32]) -> Result<Self, ModelStoreError> {
        let directory = config.directory.clone();
        let lock = Self::lock(&directory)?;
        let catalogue = SharedDatabase::open(&directory.join("models.redb"), VERSION, create)?;
        let store = Self {
            server: u8::from(role == Role::Server1),
            deployment,
            most_versions: config.most_versions,
            most_bytes: config.most_bytes,
            catalogue,
            changing: Mutex::default(),
            _lock: lock,
            directory,
        };
        store.change(|transaction| {
            transaction.open_table(TERMS)?; // older catalogues lack it
            Ok(check_owner(transaction, role)?)
        })?;
        Ok(store)
    }

    /// Locks the folder of a store, and makes a missing one. A server holds the lock while it runs.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError::InUse`], or a folder that cannot be used.
    pub fn lock(directory: &Path) -> Result<File, ModelStoreError> {
        match lock_folder(directory) {
            Ok(lock) => lock.ok_or_else(|| ModelStoreError::InUse(directory.to_owned())),
            Err(source) => Err(ModelStoreError::Files { path: directory.to_owned(), source }),
        }
    }

    /// The deployment whose models are kept here.
    #[must_use]
    pub fn deployment(&self) -> [u8; 32] {
        self.deployment
    }

    /// 0 or 1.
    #[must_use]
    pub fn server(&self) -> u8 {
        self.server
    }

    /// Counts the whole files of shares that no version has, as a crash or a failed deletion leaves.
    ///
    /// # Errors
    ///
    /// If folder or catalogue cannot be read.
    pub fn strays(&self) -> Result<usize, ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let mut held = HashSet::new();
        for entry in view.open_table(ENTRIES)?.iter()? {
            held.insert(decode::<Stored>(entry?.1.value(), "models")?.file);
        }
        Ok(self.files()?.into_iter().filter(|file| !held.contains(file)).count())
    }

    /// Numbers of the files of shares.
    fn files(&self) -> Result<Vec<u64>, ModelStoreError> {
        let failed = |source| ModelStoreError::Files { path: self.directory.clone(), source };
        let mut files = Vec::new();
        for file in fs::read_dir(&self.directory).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            files.extend(name.to_str().and_then(|name| name.strip_suffix(".share")?.parse::<u64>().ok()));
        }
        Ok(files)
    }

    fn path(&self, file: u64) -> PathBuf {
        self.directory.join(format!("{file:08}.share"))
    }

    /// Returns the client's versions.
    ///
    /// # Errors
    ///
    /// If the catalogue cannot be read.
    pub fn list(&self, client: &str) -> Result<Vec<ListedModel>, ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let mut listed = Vec::new();
        for entry in view.open_table(ENTRIES)?.range((client, "", 0)..)? {
            let (key, stored) = entry?;
            if key.value().0 != client {
                break;
            }
            listed.push(decode::<Stored>(stored.value(), "models")?.listed);
        }
        Ok(listed)
    }

    /// Checks that `client` may keep another model of `bytes` bytes under `name`.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError::Full`], [`ModelStoreError::Names`], or an unreadable catalogue.
    pub fn check_room(&self, client: &str, name: &str, bytes: u64) -> Result<(), ModelStoreError> {
        let listed = self.list(client)?;
        let held = listed.len() as u64;
        let with = listed.iter().fold(bytes, |sum, listed| sum.saturating_add(listed.bytes));
        if held >= self.most_versions || with > self.most_bytes {
            let (versions, bytes) = ([held, self.most_versions], [with, self.most_bytes]);
            return Err(ModelStoreError::Full { versions, bytes });
        }
        self.check_name(client, name)
    }

    /// Checks that a client has had `name`, or may have another one.
    fn check_name(&self, client: &str, name: &str) -> Result<(), ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let table = view.open_table(NAMES)?;
        if table.get((client, name))?.is_some() {
            return Ok(());
        }
        let mut names = 0;
        for entry in table.range((client, "")..)? {
            if entry?.0.value().0 != client {
                break;
            }
            names += 1;
        }
        if names < MOST_NAMES { Ok(()) } else { Err(ModelStoreError::Names { most: MOST_NAMES }) }
    }

    /// Returns the lowest version that the client's `name` has not had here.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError::Taken`] once the numbers have run out; an unreadable catalogue.
    pub fn next_version(&self, client: &str, name: &str) -> Result<u32, ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let last = view.open_table(NAMES)?.get((client, name))?.map_or(0, |last| last.value());
        let taken = || ModelStoreError::Taken(ModelVersion { name: name.to_owned(), version: last });
        last.checked_add(1).ok_or_else(taken)
    }

    /// Returns the version under which the client's model with this public part is kept here.
    ///
    /// # Errors
    ///
    /// If the catalogue cannot be read.
    pub fn version_of(&self, client: &str, name: &str, digest: &[u8; 32]) -> Result<Option<u32>, ModelStoreError> {
        let is_it = |listed: &ListedModel| listed.model.name == name && listed.digest == *digest;
        Ok(self.list(client)?.into_iter().find(is_it).map(|listed| listed.model.version))
    }

    /// Keeps this server's share of a model, durably, as a draft.
    ///
    /// # Errors
    ///
    /// As [`check_room`](Self::check_room); [`ModelStoreError::Taken`]; a full disk. The store then
    /// keeps nothing.
    pub fn keep<W: Word>(&self, public: &PublicPart, version: u32, share: &[W]) -> Result<(), ModelStoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let _open = self.catalogue.get()?; // once for all reads and the write
        let encoded = encode(public, "public")?;
        let (words, bytes) = (share.len() as u64, (W::bytes(share).len() + encoded.len()) as u64);
        let (client, name) = (&*public.client, &*public.name);
        self.check_room(client, name, bytes)?;
        let model = ModelVersion { name: name.to_owned(), version };
        if version < self.next_version(client, name)? {
            return Err(ModelStoreError::Taken(model));
        }
        // Strays keep their numbers.
        let file = self.files()?.into_iter().max().map_or(0, |last| last + 1);
        let (path, digest) = (self.path(file), public.digest());
        share_file::write(&path, self.server, &digest, share)
            .map_err(|source| ModelStoreError::Files { path: path.clone(), source })?;
        let (state, kept_at) = (ModelState::Draft, UnixSeconds::now().0);
        let stored = Stored { listed: ListedModel { model, digest, state, kept_at, words, bytes }, file };
        let kept = self.change(|transaction| {
            let key = (client, name, version);
            transaction.open_table(ENTRIES)?.insert(key, &encode(&stored, "models")?[..])?;
            transaction.open_table(PUBLIC)?.insert(key, &encoded[..])?;
            transaction.open_table(NAMES)?.insert((client, name), version)?;
            Ok(())
        });
        // A commit that failed may have reached the disk all the same: then the file stays.
        if kept.is_err() && matches!(self.find(&stored.listed.model, &digest, client), Err(ModelStoreError::Unknown(_)))
        {
            let _ = fs::remove_file(&path); // the error that matters is the one before
        }
        kept
    }

    /// Runs `work` in a transaction that is on the disk when this returns.
    fn change<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, ModelStoreError>,
    ) -> Result<T, ModelStoreError> {
        let database = self.catalogue.get()?;
        let transaction = begin_durable(&database)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Returns a version of the client.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError::Unknown`]; an unreadable catalogue.
    pub fn show(&self, model: &ModelVersion, client: &str) -> Result<ModelEntry, ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let key = (client, &*model.name, model.version);
        let public = view.open_table(PUBLIC)?.get(key)?.map(|public| decode(public.value(), "public")).transpose()?;
        let public = public.ok_or_else(|| ModelStoreError::Unknown(model.clone()))?;
        let stored = view.open_table(ENTRIES)?.get(key)?;
        let stored: Stored = decode(stored.ok_or(StoreError::Damaged("models"))?.value(), "models")?;
        Ok(ModelEntry { listed: stored.listed, public })
    }

    /// Returns the version with the public part of `digest` of the client.
    fn find(&self, model: &ModelVersion, digest: &[u8; 32], client: &str) -> Result<Stored, ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let stored = view.open_table(ENTRIES)?.get((client, &*model.name, model.version))?;
        let stored = stored.ok_or_else(|| ModelStoreError::Unknown(model.clone()))?;
        let stored: Stored = decode(stored.value(), "models")?;
        match stored.listed.digest == *digest {
            true => Ok(stored),
            false => Err(ModelStoreError::Differs(model.clone())),
        }
    }

    /// Changes the state of a client's model, which answers no predictions from then on. Does
    /// nothing if it has that state and answers none.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError`].
    pub fn set_state(
        &self,
        model: &ModelVersion,
        digest: &[u8; 32],
        client: &str,
        state: ModelState,
    ) -> Result<(), ModelStoreError> {
        self.change_state((model, digest, client), state, None)
    }

    /// Publishes a client's model for predictions on these terms.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError`].
    pub fn publish(
        &self,
        model: &ModelVersion,
        digest: &[u8; 32],
        client: &str,
        terms: &Terms,
    ) -> Result<(), ModelStoreError> {
        self.change_state((model, digest, client), ModelState::Published, Some(terms))
    }

    fn change_state(
        &self,
        (model, digest, client): (&ModelVersion, &[u8; 32], &str),
        state: ModelState,
        terms: Option<&Terms>,
    ) -> Result<(), ModelStoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stored = self.find(model, digest, client)?;
        if !stored.listed.state.may_become(state) {
            let advice = "only a published model can be retired, and none becomes a draft again";
            return Err(ModelStoreError::State { model: model.clone(), state: stored.listed.state, advice });
        }
        stored.listed.state = state;
        self.change(|transaction| {
            let key = (client, &*model.name, model.version);
            transaction.open_table(ENTRIES)?.insert(key, &encode(&stored, "models")?[..])?;
            let mut table = transaction.open_table(TERMS)?;
            match terms {
                Some(terms) => drop(table.insert(key, &encode(terms, "terms")?[..])?),
                None => drop(table.remove(key)?),
            }
            Ok(())
        })
    }

    /// Returns the terms of a version that answers predictions.
    ///
    /// # Errors
    ///
    /// If the catalogue cannot be read.
    pub fn terms(&self, model: &ModelVersion, owner: &str) -> Result<Option<Terms>, ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let terms = view.open_table(TERMS)?.get((owner, &*model.name, model.version))?;
        Ok(terms.map(|terms| decode(terms.value(), "terms")).transpose()?)
    }

    /// Returns all versions that answer predictions, with their owners.
    ///
    /// # Errors
    ///
    /// If the catalogue cannot be read.
    pub fn served(&self) -> Result<Vec<(String, ModelVersion)>, ModelStoreError> {
        let database = self.catalogue.get()?;
        let view = database.begin_read()?;
        let mut served = Vec::new();
        for entry in view.open_table(TERMS)?.iter()? {
            let (key, _) = entry?;
            let (owner, name, version) = key.value();
            served.push((owner.to_owned(), ModelVersion { name: name.to_owned(), version }));
        }
        Ok(served)
    }

    /// Deletes a client's model; a published one must be retired before.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError`].
    pub fn delete(&self, model: &ModelVersion, digest: &[u8; 32], client: &str) -> Result<(), ModelStoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.find(model, digest, client)?;
        if stored.listed.state == ModelState::Published {
            let (model, state, advice) = (model.clone(), stored.listed.state, "retire it first");
            return Err(ModelStoreError::State { model, state, advice });
        }
        self.change(|transaction| {
            let key = (client, &*model.name, model.version);
            transaction.open_table(ENTRIES)?.remove(key)?;
            transaction.open_table(PUBLIC)?.remove(key)?;
            transaction.open_table(TERMS)?.remove(key)?;
            Ok(())
        })?;
        let path = self.path(stored.file);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ModelStoreError::Files { path, source }),
            _ => Ok(()),
        }
    }

    /// Reads this server's share, if the client may open the model: not retired, of a job that
    /// reveals it.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError`].
    pub fn open_share<W: Word>(
        &self,
        model: &ModelVersion,
        digest: &[u8; 32],
        client: &str,
    ) -> Result<Secret<W>, ModelStoreError> {
        let public = self.show(model, client)?.public;
        match public.job() {
            Ok(job) if job.reveal.model => self.read_share(model, digest, client),
            Ok(_) => Err(ModelStoreError::Closed(model.clone())),
            Err(_) => Err(ModelStoreError::Version(model.clone())),
        }
    }

    /// Reads this server's share of a model that is not retired, for computations that keep it
    /// shared.
    ///
    /// # Errors
    ///
    /// [`ModelStoreError`].
    pub fn read_share<W: Word>(
        &self,
        model: &ModelVersion,
        digest: &[u8; 32],
        client: &str,
    ) -> Result<Secret<W>, ModelStoreError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Stored { listed, file } = self.find(model, digest, client)?;
        let public = self.show(model, client)?.public;
        if public.deployment != self.deployment {
            return Err(ModelStoreError::Deployment(model.clone()));
        }
        if listed.state == ModelState::Retired {
            let (model, state, advice) = (model.clone(), listed.state, "publish it again first");
            return Err(ModelStoreError::State { model, state, advice });
        }
        let path = self.path(file);
        let words = usize::try_from(listed.words).map_err(|_| ModelStoreError::Damaged(path.clone()))?;
        let share = share_file::read(&path, self.server, digest, words);
        share
            .map_err(|source| ModelStoreError::Files { path: path.clone(), source })?
            .ok_or(ModelStoreError::Damaged(path))
    }
}
