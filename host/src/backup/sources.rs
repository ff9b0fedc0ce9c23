//! The files and folders of a server that a backup holds: one table, [`named`].
//!
//! A file that the configuration names relative to itself, without `..`, keeps its place.
//! Another one moves to `elsewhere/KEY/NAME`, and a restore changes the key in the configuration.

use super::{
    error::{BackupError, SourceFault},
    key::RECIPIENT_FILE,
};
use crate::{net::Config, secret::LOCK_FILE};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Folder for files that the configuration names outside its own folder.
const ELSEWHERE: &str = "elsewhere";

/// A key of the configuration, and the file or folder that it names.
struct Source {
    key: &'static str,
    path: PathBuf,
    /// Whether the file must exist: a server makes the others when it needs them.
    needed: bool,
}

/// Everything that a server needs beside its configuration file. A further store is a further line.
fn named(config: &Config) -> Vec<Source> {
    let needed = |key, path: &Path| Source { key, path: path.to_owned(), needed: true };
    let made = |key, path: &Path| Source { key, path: path.to_owned(), needed: false };
    let mut sources = vec![
        needed("tls.certificate", &config.tls.certificate),
        needed("tls.key", &config.tls.key),
        needed("tls.ca", &config.tls.ca),
        made("policy.allowed", &config.policy_files.allowed),
        made("policy.ledger", &config.policy_files.ledger),
        made("models.directory", &config.models.directory),
        made("jobs.directory", &config.jobs.directory),
        made("backup.recipient", &folder(config).join(RECIPIENT_FILE)), // no key of the file: always there
    ];
    if let Some(intake) = &config.intake {
        sources.extend([
            made("intake.store", &intake.store),
            made("intake.devices", &intake.devices),
            made("intake.keys", &intake.keys),
            made("intake.schemas", &intake.schemas),
        ]);
    }
    sources
}

/// A key of the configuration whose file has another place in the backup.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// The key, with a dot between its section and its name.
    pub key: String,
    /// The new path, relative to the configuration.
    pub path: String,
}

/// A file or folder to store.
pub(super) struct Entry {
    /// Path relative to the configuration's folder, with `/` between names.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
}

/// All files of a server.
pub(super) struct Collected {
    /// Folders come before their files.
    pub(super) entries: Vec<Entry>,
    pub(super) moved: Vec<Moved>,
    /// Name of the configuration file.
    pub(super) configuration: String,
    /// Real paths of the folders that are stored with everything in them.
    pub(super) folders: Vec<PathBuf>,
}

/// The folder of the configuration file.
pub(super) fn folder(config: &Config) -> &Path {
    config.file.parent().unwrap_or(Path::new(""))
}

/// Lists the files of a server.
pub(super) fn collect(config: &Config) -> Result<Collected, BackupError> {
    let text = fs::read_to_string(&config.file).map_err(|source| read(&config.file, source))?;
    let raw: toml::Table = toml::from_str(&text).unwrap_or_default(); // parsed before
    let mut walk = Walk::default();
    let file_name = config.file.file_name().and_then(|name| name.to_str());
    let configuration = file_name.ok_or_else(|| fault(&config.file, SourceFault::Name))?.to_owned();
    walk.visit(&configuration, &config.file)?;
    let (mut moved, mut folders) = (Vec::new(), Vec::new());
    for Source { key, path, needed } in named(config) {
        let found = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => None,
            found => Some(found.map_err(|source| read(&path, source))?),
        };
        let place = match place(value(&raw, key), &path, folder(config)) {
            Some(place) => place,
            None => {
                let name = path.file_name().map_or(Some("files"), |name| name.to_str());
                let place = format!("{ELSEWHERE}/{key}/{}", name.ok_or_else(|| fault(&path, SourceFault::Name))?);
                moved.push(Moved { key: key.to_owned(), path: place.clone() });
                place
            }
        };
        if let Some(found) = found {
            if found.is_dir() {
                folders.push(fs::canonicalize(&path).map_err(|source| read(&path, source))?);
            }
            walk.visit(&place, &path)?;
        }
    }
    let entries = walk.0.into_iter().map(|(name, (path, is_folder))| Entry { name, path, is_folder }).collect();
    Ok(Collected { entries, moved, configuration, folders })
}

/// The text of a key in the configuration file.
fn value<'a>(raw: &'a toml::Table, key: &str) -> Option<&'a str> {
    let (section, name) = key.split_once('.')?;
    raw.get(section)?.as_table()?.get(name)?.as_str()
}

/// The place of a file that keeps it: its path relative to the configuration's folder.
fn place(written: Option<&str>, path: &Path, folder: &Path) -> Option<String> {
    let relative = match written {
        Some(written) => Path::new(written),
        None => path.strip_prefix(folder).ok()?,
    };
    let mut names = Vec::new();
    for component in relative.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str()?),
            _ => return None,
        }
    }
    Some(names.join("/"))
}

fn read(path: &Path, source: io::Error) -> BackupError {
    BackupError::Read { path: path.to_owned(), source }
}

fn fault(path: &Path, fault: SourceFault) -> BackupError {
    BackupError::Source { path: path.to_owned(), fault }
}

/// Place in the backup -> file, and whether it is a folder.
#[derive(Default)]
struct Walk(BTreeMap<String, (PathBuf, bool)>);

impl Walk {
    /// Adds a file, or a folder with everything in it. The place `""` is the configuration's
    /// folder.
    fn visit(&mut self, place: &str, path: &Path) -> Result<(), BackupError> {
        let found = fs::metadata(path).map_err(|source| read(path, source))?;
        if !found.is_dir() && !found.is_file() {
            return Err(fault(path, SourceFault::Special));
        }
        if !place.is_empty() && !self.add(place, path, found.is_dir())? {
            return Ok(());
        }
        if found.is_file() {
            return Ok(());
        }
        for entry in fs::read_dir(path).map_err(|source| read(path, source))? {
            let entry = entry.map_err(|source| read(path, source))?;
            let inner = entry.path();
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| fault(&inner, SourceFault::Name))?;
            if name == LOCK_FILE || Path::new(name).extension().is_some_and(|end| end == "tmp") {
                continue; // a running server's lock; remains of a crash
            }
            let kind = entry.file_type().map_err(|source| read(&inner, source))?;
            if kind.is_symlink() && fs::metadata(&inner).is_ok_and(|found| found.is_dir()) {
                return Err(fault(&inner, SourceFault::FolderLink));
            }
            let place = if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
            self.visit(&place, &inner)?;
        }
        Ok(())
    }

    /// Returns whether the place is new; another file must not have it.
    fn add(&mut self, place: &str, path: &Path, is_folder: bool) -> Result<bool, BackupError> {
        let Some((other, _)) = self.0.get(place) else {
            self.0.insert(place.to_owned(), (path.to_owned(), is_folder));
            return Ok(true);
        };
        let real = |path: &Path| fs::canonicalize(path).map_err(|source| read(path, source));
        if real(other)? == real(path)? { Ok(false) } else { Err(fault(path, SourceFault::Collision)) }
    }
}
