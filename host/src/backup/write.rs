//! A server's files into a backup.

use super::{
    error::{BackupError, SourceFault},
    key::Recipient,
    manifest::{FILES, MANIFEST, Manifest, StoredFile, VERSION},
    seal::Sealer,
    sources::{Collected, Entry, collect},
};
use crate::{
    intake::hex,
    model_store::{ModelStore, ModelStoreError},
    net::{Config, Identity, IdentityFiles},
    secret::{read_private, sync_folder},
    time,
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};
use tar::{EntryType, Header};

/// Permissions of entries on systems without such.
#[cfg(not(unix))]
const MODE: u32 = 0o600;

/// A backup that was written.
#[derive(Debug)]
pub struct Written {
    /// Its content.
    pub manifest: Manifest,
    /// Length of the file, in bytes.
    pub bytes: u64,
}

/// Writes all files of the server of `config`, encrypted to `recipient`, into the new file `out`.
///
/// # Errors
///
/// [`BackupError::Running`] if the server runs; a file that cannot be read; `out` if it exists or
/// cannot be written. Nothing is left there then.
pub fn write(config: &Config, recipient: &Recipient, out: &Path) -> Result<Written, BackupError> {
    let _stopped = ModelStore::lock(&config.models.directory).map_err(|error| match error {
        ModelStoreError::InUse(folder) => BackupError::Running(folder),
        error => BackupError::Lock(Box::new(error)),
    })?;
    let identity = identity(&config.tls)?;
    if identity.role() != config.role {
        return Err(BackupError::Role { expected: config.role, found: identity.role() });
    }
    let collected = collect(config)?;
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    check_out(out, folder, &collected)?;
    let failed = |source| BackupError::Write { path: out.to_owned(), source };
    // Readable by its owner alone, and removed unless it is persisted.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let sealer = Sealer::new(BufWriter::new(file.as_file_mut()), recipient).map_err(failed)?;
    let manifest = Manifest {
        version: VERSION,
        role: config.role,
        deployment: hex::print(&identity.deployment()),
        made: time::now(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        configuration: collected.configuration,
        moved: collected.moved,
        files: Vec::new(),
    };
    let (manifest, bytes) = fill(sealer, &collected.entries, manifest, out)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(out).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(out.to_owned()),
        _ => failed(error.error),
    })?;
    sync_folder(folder).map_err(failed)?;
    Ok(Written { manifest, bytes })
}

/// The identity in these files, also after its certificate has expired.
pub(super) fn identity(files: &IdentityFiles) -> Result<Identity, BackupError> {
    let read = |path: &PathBuf| fs::read(path).map_err(|source| BackupError::Read { path: path.clone(), source });
    let key = read_private(&files.key)
        .map_err(|error| BackupError::Read { path: files.key.clone(), source: io::Error::other(error.to_string()) })?;
    Identity::from_pem(&read(&files.certificate)?, &key, &read(&files.ca)?)
        .map_err(|error| BackupError::Identity(Box::new(error)))
}

fn check_out(out: &Path, folder: &Path, collected: &Collected) -> Result<(), BackupError> {
    let real = fs::canonicalize(folder).map_err(|source| BackupError::Write { path: out.to_owned(), source })?;
    if fs::symlink_metadata(out).is_ok() {
        return Err(BackupError::Exists(out.to_owned()));
    }
    match collected.folders.iter().find(|stored| real.starts_with(stored)) {
        Some(stored) => Err(BackupError::Inside { path: out.to_owned(), folder: stored.clone() }),
        None => Ok(()),
    }
}

/// Writes all entries, then the manifest with their digests; returns it and the file's length.
fn fill<W: Write + Seek>(
    sealer: Sealer<W>,
    entries: &[Entry],
    mut manifest: Manifest,
    out: &Path,
) -> Result<(Manifest, u64), BackupError> {
    let failed = |source| BackupError::Write { path: out.to_owned(), source };
    let mut archive = tar::Builder::new(sealer);
    for entry in entries {
        let path = format!("{FILES}/{}", entry.name);
        if entry.is_folder {
            let found =
                fs::metadata(&entry.path).map_err(|source| BackupError::Read { path: entry.path.clone(), source })?;
            let mut header = header(EntryType::Directory, mode(&found), 0);
            archive.append_data(&mut header, path, io::empty()).map_err(failed)?;
        } else {
            manifest.files.push(store(&mut archive, entry, &path, &failed)?);
        }
    }
    let text = serde_json::to_vec(&manifest).map_err(|error| failed(error.into()))?;
    let mut header = header(EntryType::Regular, 0o600, text.len() as u64);
    archive.append_data(&mut header, MANIFEST, &text[..]).map_err(failed)?;
    let (_, bytes) = archive.into_inner().and_then(Sealer::finish).map_err(failed)?;
    Ok((manifest, bytes))
}

fn header(kind: EntryType, mode: u32, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes);
    header.set_mtime(0);
    header
}

#[cfg(unix)]
fn mode(found: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    MODE
}

/// Appends a file to the archive while it is locked against writers.
fn store<W: Write>(
    archive: &mut tar::Builder<W>,
    entry: &Entry,
    path: &str,
    failed: &impl Fn(io::Error) -> BackupError,
) -> Result<StoredFile, BackupError> {
    let read = |source| BackupError::Read { path: entry.path.clone(), source };
    let changed = || BackupError::Source { path: entry.path.clone(), fault: SourceFault::Changed };
    let file = File::open(&entry.path).map_err(read)?;
    // A process that has a database open holds an exclusive lock. Where the file system has no
    // locks, only the lock of the model store counts.
    if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
        return Err(BackupError::InUse(entry.path.clone()));
    }
    let before = file.metadata().map_err(read)?;
    let mut content = Hashed { from: (&file).take(before.len()), hasher: Sha256::new(), bytes: 0, error: None };
    let appended =
        archive.append_data(&mut header(EntryType::Regular, mode(&before), before.len()), path, &mut content);
    if let Some(error) = content.error {
        return Err(read(error));
    }
    appended.map_err(failed)?;
    let after = file.metadata().map_err(read)?;
    let same = |a: io::Result<_>, b: io::Result<_>| matches!((a, b), (Ok(a), Ok(b)) if a == b);
    let unwritten = before.modified().is_err() || same(before.modified(), after.modified());
    if content.bytes != before.len() || after.len() != before.len() || !unwritten {
        return Err(changed());
    }
    let sha256 = hex::print(&content.hasher.finalize());
    Ok(StoredFile { path: entry.name.clone(), bytes: content.bytes, sha256 })
}

/// Hashes what is read, and keeps the error that ended it.
struct Hashed<R: Read> {
    from: R,
    hasher: Sha256,
    bytes: u64,
    error: Option<io::Error>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.from.read(out) {
            Ok(n) => {
                self.hasher.update(&out[..n]);
                self.bytes += n as u64;
                Ok(n)
            }
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                Err(kind.into())
            }
        }
    }
}
