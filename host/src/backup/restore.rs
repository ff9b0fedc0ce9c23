//! A backup into a new folder.
//!
//! Everything is decrypted into a folder beside the new one, or in it if it exists, readable by its
//! owner alone. Only when all digests agree with the manifest do the files get their places, the
//! configuration last. A failure removes them.

use super::{
    error::{BackupError, EntryFault},
    key::{BackupSecret, KeyId},
    manifest::{FILES, MANIFEST, Manifest, VERSION},
    seal::{Header, Opener, StreamFault},
    sources::Moved,
    write::identity,
};
use crate::{
    intake::hex,
    net::Config,
    secret::{new_private, sync_folder},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    path::{Component, Path, PathBuf},
};
use tar::EntryType;

/// Begin of the name of the folder in which files are verified.
const STAGING: &str = ".symbolon-restore-";
/// Largest manifest, in bytes: a million files.
const MOST_MANIFEST_BYTES: u64 = 256 << 20;

/// A server that was restored.
#[derive(Debug)]
pub struct Restored {
    /// The backup's content.
    pub manifest: Manifest,
    /// The configuration file in the new folder.
    pub configuration: PathBuf,
    /// The reason why peers would not accept the certificate any more, such as its age.
    pub certificate: Option<String>,
}

/// Restores the server in the backup `file` into `into`, which is new or empty. `secret` gives the
/// key of the id that the backup names.
///
/// # Errors
///
/// A folder that is not empty; a backup that is truncated, changed, of another key or invalid; a
/// disk that fails. `into` is as before then.
pub fn restore(
    file: &Path,
    secret: impl FnOnce(KeyId) -> Result<BackupSecret, BackupError>,
    into: &Path,
) -> Result<Restored, BackupError> {
    check_empty(into)?;
    let read = |source| BackupError::Read { path: file.to_owned(), source };
    let mut from = File::open(file).map_err(read)?;
    let bytes = from.metadata().map_err(read)?.len();
    let header = Header::read(&mut from, bytes).map_err(|fault| broken(file, fault, None))?;
    let secret = secret(header.id())?;
    let own = Some(secret.id());
    let mut opener = Opener::new(&header, BufReader::new(from), &secret).map_err(|fault| broken(file, fault, own))?;

    let place = Place::of(into);
    let failed = |source| BackupError::Write { path: into.to_owned(), source };
    let staging = tempfile::Builder::new().prefix(STAGING).tempdir_in(place.beside()).map_err(failed)?;
    let unpacked = Unpack::new(file, staging.path()).all(&mut opener);
    let unpack = match (unpacked, opener.fault.take()) {
        (_, Some(fault)) => return Err(broken(file, fault, own)),
        (unpack, None) => unpack?,
    };
    let manifest = unpack.verified()?;
    let certificate = adapt(file, &manifest, staging.path())?;
    unpack.set_modes()?;
    place.fill(staging, &manifest.configuration).map_err(failed)?;
    let configuration = into.join(&manifest.configuration);
    Ok(Restored { manifest, configuration, certificate })
}

/// The folder to restore into.
enum Place<'a> {
    /// It does not exist: the staged folder gets its name.
    New(&'a Path),
    /// It exists, perhaps as the working folder or with a disk of its own. It gets the staged
    /// files.
    Empty(&'a Path),
}

impl<'a> Place<'a> {
    fn of(into: &'a Path) -> Self {
        if into.exists() { Self::Empty(into) } else { Self::New(into) }
    }

    /// The folder for the staged one, on the same disk.
    fn beside(&self) -> &'a Path {
        match self {
            Self::Empty(into) => into,
            Self::New(into) => match into.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            },
        }
    }

    /// Gives the staged files their places.
    fn fill(&self, staging: tempfile::TempDir, configuration: &str) -> io::Result<()> {
        match self {
            Self::New(into) => {
                fs::rename(staging.path(), into)?;
                let _ = staging.keep(); // it has its name
            }
            Self::Empty(into) => {
                let mut names = Vec::new();
                for entry in fs::read_dir(staging.path())? {
                    names.push(entry?.file_name());
                }
                names.sort_by_key(|name| name == configuration); // a server cannot start without it
                for (done, name) in names.iter().enumerate() {
                    if let Err(error) = fs::rename(staging.path().join(name), into.join(name)) {
                        for name in &names[..done] {
                            let _ = fs::rename(into.join(name), staging.path().join(name)); // removed with it
                        }
                        return Err(error);
                    }
                }
                staging.close()?;
            }
        }
        sync_folder(self.beside())
    }
}

fn check_empty(into: &Path) -> Result<(), BackupError> {
    let is_free = match fs::read_dir(into) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_free { Ok(()) } else { Err(BackupError::NotEmpty(into.to_owned())) }
}

fn broken(file: &Path, fault: StreamFault, own: Option<KeyId>) -> BackupError {
    let path = file.to_owned();
    match fault {
        StreamFault::Read(source) => BackupError::Read { path, source },
        StreamFault::Format => BackupError::Format(path),
        StreamFault::Version(version) => BackupError::Version { path, version },
        StreamFault::Truncated { bytes, whole } => BackupError::Truncated { path, bytes, whole },
        StreamFault::Changed => BackupError::Changed(path),
        StreamFault::Key(needed) => BackupError::OtherKey { path, needed, got: own.unwrap_or(needed) },
    }
}

/// An entry that was unpacked.
struct Unpacked {
    mode: u32,
    /// Length and SHA-256; none for a folder.
    content: Option<(u64, String)>,
}

/// Unpacks the archive of a backup.
struct Unpack<'a> {
    file: &'a Path,
    staging: &'a Path,
    entries: BTreeMap<String, Unpacked>,
    manifest: Option<Manifest>,
}

impl<'a> Unpack<'a> {
    fn new(file: &'a Path, staging: &'a Path) -> Self {
        Self { file, staging, entries: BTreeMap::new(), manifest: None }
    }

    fn fault(&self, name: &str, fault: EntryFault) -> BackupError {
        BackupError::Entry { path: self.file.to_owned(), name: name.to_owned(), fault }
    }

    /// Unpacks all entries, and reads the stream to its end.
    fn all(mut self, from: &mut impl Read) -> Result<Self, BackupError> {
        let mut archive = tar::Archive::new(&mut *from);
        let invalid = |fault| BackupError::Entry { path: self.file.to_owned(), name: String::new(), fault };
        for entry in archive.entries().map_err(|_| invalid(EntryFault::Archive))? {
            let mut entry = entry.map_err(|_| self.fault("", EntryFault::Archive))?;
            self.one(&mut entry)?;
        }
        // The archive ends with zeros.
        let mut rest = [0; 4096];
        loop {
            match from.read(&mut rest).map_err(|_| self.fault("", EntryFault::Archive))? {
                0 => return Ok(self),
                n if rest[..n].iter().any(|byte| *byte != 0) => return Err(self.fault("", EntryFault::Archive)),
                _ => {}
            }
        }
    }

    fn one(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), BackupError> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        let mode = entry.header().mode().unwrap_or(0o600) & 0o777;
        if self.manifest.is_some() {
            return Err(self.fault(&name, EntryFault::Unlisted));
        }
        if name == MANIFEST && kind == EntryType::Regular {
            self.manifest = Some(self.read_manifest(entry)?);
            return Ok(());
        }
        let place = inner(&name).ok_or_else(|| self.fault(&name, EntryFault::Path))?;
        let path = self.staging.join(&place);
        let content = match kind {
            EntryType::Directory => {
                folders(&path).map_err(|source| BackupError::Write { path: path.clone(), source })?;
                None
            }
            EntryType::Regular => Some(self.unpack(entry, &name, &path)?),
            _ => return Err(self.fault(&name, EntryFault::Kind)),
        };
        match self.entries.insert(place, Unpacked { mode, content }) {
            None => Ok(()),
            Some(_) => Err(self.fault(&name, EntryFault::Twice)),
        }
    }

    fn read_manifest(&self, entry: &mut impl Read) -> Result<Manifest, BackupError> {
        let fault = || self.fault(MANIFEST, EntryFault::Manifest);
        let mut text = Vec::new();
        entry.take(MOST_MANIFEST_BYTES).read_to_end(&mut text).map_err(|_| fault())?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| fault())?;
        if manifest.version != VERSION {
            let path = self.file.to_owned();
            return Err(BackupError::Version { path, version: manifest.version });
        }
        Ok(manifest)
    }

    /// Writes a file; returns its length and digest.
    fn unpack(&self, entry: &mut impl Read, name: &str, path: &Path) -> Result<(u64, String), BackupError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => self.fault(name, EntryFault::Twice),
            _ => BackupError::Write { path: path.to_owned(), source },
        };
        path.parent().map_or(Ok(()), folders).map_err(failed)?;
        let mut file = new_private(path).map_err(failed)?;
        let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            let n = entry.read(&mut piece).map_err(|_| self.fault(name, EntryFault::Archive))?;
            if n == 0 {
                break;
            }
            hasher.update(&piece[..n]);
            bytes += n as u64;
            file.write_all(&piece[..n]).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        Ok((bytes, hex::print(&hasher.finalize())))
    }

    /// Compares all files with the manifest, and returns it.
    fn verified(&self) -> Result<Manifest, BackupError> {
        let manifest = self.manifest.clone().ok_or_else(|| self.fault(MANIFEST, EntryFault::Manifest))?;
        let mut left: BTreeMap<_, _> =
            self.entries.iter().filter_map(|(name, entry)| Some((name, entry.content.as_ref()?))).collect();
        for file in &manifest.files {
            let Some((bytes, sha256)) = left.remove(&file.path) else {
                return Err(self.fault(&file.path, EntryFault::Missing));
            };
            if (*bytes, sha256) != (file.bytes, &file.sha256) {
                return Err(self.fault(&file.path, EntryFault::Digest));
            }
        }
        match left.keys().next() {
            Some(name) => Err(self.fault(name, EntryFault::Unlisted)),
            None if !self.entries.contains_key(&manifest.configuration) => {
                Err(self.fault(&manifest.configuration, EntryFault::Missing))
            }
            None => Ok(manifest),
        }
    }

    /// Sets the modes, folders last and the innermost first, and syncs the folders.
    fn set_modes(&self) -> Result<(), BackupError> {
        for (name, entry) in self.entries.iter().rev() {
            let path = self.staging.join(name);
            let set = || {
                #[cfg(unix)]
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(entry.mode))?;
                if entry.content.is_none() { sync_folder(&path) } else { Ok(()) }
            };
            set().map_err(|source| BackupError::Write { path: path.clone(), source })?;
        }
        sync_folder(self.staging).map_err(|source| BackupError::Write { path: self.staging.to_owned(), source })
    }
}

/// Makes folders for their owner alone.
fn folders(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The place of an entry in the restored folder; `None` for one that would lie outside.
fn inner(name: &str) -> Option<String> {
    let path = Path::new(name).strip_prefix(FILES).ok()?;
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str()?),
            _ => return None,
        }
    }
    // Another system may read a backslash or a colon as more than a letter.
    let plain = !names.is_empty() && (cfg!(unix) || !name.contains(['\\', ':']));
    plain.then(|| names.join("/"))
}

/// Writes the new places of files into the configuration. Checks that the files are those of the
/// manifest's role and deployment. Returns the reason why peers would refuse the certificate.
fn adapt(file: &Path, manifest: &Manifest, staging: &Path) -> Result<Option<String>, BackupError> {
    let path = staging.join(&manifest.configuration);
    let text = fs::read_to_string(&path).map_err(|source| BackupError::Read { path: path.clone(), source })?;
    let text = moved(&text, &manifest.moved).ok_or_else(|| BackupError::Entry {
        path: file.to_owned(),
        name: manifest.configuration.clone(),
        fault: EntryFault::Manifest,
    })?;
    if !manifest.moved.is_empty() {
        let write = || {
            let mut file = OpenOptions::new().write(true).truncate(true).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| BackupError::Write { path: path.clone(), source })?;
    }
    let config = Config::parse(&text, &path)
        .map_err(|error| BackupError::Configuration { error: Box::new(error), program: manifest.program.clone() })?;
    let identity = identity(&config.tls)?;
    for found in [config.role, identity.role()] {
        if found != manifest.role {
            return Err(BackupError::Role { expected: manifest.role, found });
        }
    }
    if hex::print(&identity.deployment()) != manifest.deployment {
        return Err(BackupError::Deployment(file.to_owned()));
    }
    Ok(identity.check().err().map(|error| error.to_string()))
}

/// The configuration with the new places; `None` if a key is not there or a place is outside.
fn moved(text: &str, moved: &[Moved]) -> Option<String> {
    let mut document: toml_edit::DocumentMut = text.parse().ok()?;
    for Moved { key, path } in moved {
        inner(&format!("{FILES}/{path}"))?;
        let (section, name) = key.split_once('.')?;
        let value = document.get_mut(section)?.as_table_like_mut()?.get_mut(name)?.as_value_mut()?;
        let comments = value.decor().clone();
        *value = path.as_str().into();
        *value.decor_mut() = comments;
    }
    Some(document.to_string())
}
