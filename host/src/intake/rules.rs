//! What an operator permits: devices, keys and schemas, read from files, and read again when they change.
//!
//! Files are looked at no more than once a second. Registry, keys and schemas are read apart: what cannot be used is told once, stays as it was, and is tried again until it can be; so a schema
//! that is broken does not keep a revocation from being read.

use super::{
    keys::KeyFile,
    registry::{self, Device, Devices, MAX_KEYS},
    validity::UnixSeconds,
};
use crate::{
    net::{IntakeFiles, PrivateFileError},
    plain::Plain,
    schema::{SchemaFile, SchemaFileError},
    secret::read_private,
};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use symbolon_core::report::{Reason, header::DeviceId, identity::SecretKey, schema::SchemaHash};

/// How often files are looked at.
const PACE: Duration = Duration::from_secs(1);
/// No file is longer.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Everything that is permitted.
#[derive(Clone, Default)]
pub struct Rules {
    /// Who may report.
    pub devices: Arc<Devices>,
    keys: Arc<BTreeMap<u32, KeyFile>>,
    schemas: Arc<BTreeMap<SchemaHash, SchemaFile>>,
}

impl Rules {
    /// Reads all files. A missing registry or folder is an empty one.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used.
    pub fn load(files: &IntakeFiles) -> Result<Self, FileError> {
        let mut rules = Self::default();
        PARTS.iter().try_for_each(|part| rules.load_part(*part, files))?;
        Ok(rules)
    }

    /// Reads one part; the rules are as before if it cannot be used.
    fn load_part(&mut self, part: Part, files: &IntakeFiles) -> Result<(), FileError> {
        match part {
            Part::Devices if files.devices.exists() => {
                let mut devices = registry::parse(&read(&files.devices)?, &files.devices)?;
                for device in devices.values_mut() {
                    device.reports_per_hour.get_or_insert(files.reports_per_hour);
                }
                self.devices = Arc::new(devices);
            }
            Part::Devices => self.devices = Arc::default(),
            Part::Keys => {
                let mut keys = BTreeMap::new();
                for path in list(&files.keys, "key")? {
                    let id = KeyFile::id(&path).ok_or_else(|| FileError::new(&path, FileFault::KeyName))?;
                    let text = read_private(&path).map_err(|error| FileError::new(&path, FileFault::Private(error)))?;
                    // The fault quotes no byte of it.
                    let text = str::from_utf8(&text).map_err(|_| FileError::new(&path, FileFault::SecretKey))?;
                    keys.insert(id, KeyFile::parse(text, &path)?);
                }
                self.keys = Arc::new(keys);
            }
            Part::Schemas => {
                let schemas = list(&files.schemas, "toml")?.into_iter().map(|path| {
                    let schema = SchemaFile::load(&path)?;
                    Ok((schema.hash(), schema))
                });
                self.schemas = Arc::new(schemas.collect::<Result<_, FileError>>()?);
            }
        }
        Ok(())
    }

    /// The device.
    ///
    /// # Errors
    ///
    /// [`Reason::UnknownDevice`], [`Reason::Revoked`].
    pub fn device(&self, id: DeviceId) -> Result<&Device, Reason> {
        match self.devices.get(&id) {
            None => Err(Reason::UnknownDevice),
            Some(device) if device.revoked => Err(Reason::Revoked),
            Some(device) => Ok(device),
        }
    }

    /// The schema, if the device may use it.
    ///
    /// # Errors
    ///
    /// [`Reason::Schema`].
    pub fn schema(&self, device: &Device, hash: &SchemaHash) -> Result<&SchemaFile, Reason> {
        self.schemas.get(hash).filter(|schema| device.tasks.contains(schema.task())).ok_or(Reason::Schema)
    }

    /// The schema of this hash.
    pub fn known_schema(&self, hash: &SchemaHash) -> Option<&SchemaFile> {
        self.schemas.get(hash)
    }

    /// This server's key of this number.
    ///
    /// # Errors
    ///
    /// [`Reason::Key`] if there is none, or not now.
    pub fn key(&self, id: u32, now: UnixSeconds) -> Result<&SecretKey, Reason> {
        self.keys.get(&id).filter(|key| key.validity.has(now)).map(|key| &key.secret).ok_or(Reason::Key)
    }
}

/// What is read apart from the rest.
#[derive(Clone, Copy)]
enum Part {
    Devices,
    Keys,
    Schemas,
}

const PARTS: [Part; 3] = [Part::Devices, Part::Keys, Part::Schemas];

impl Part {
    fn files(self, files: &IntakeFiles) -> Result<Vec<PathBuf>, FileError> {
        match self {
            Self::Devices => Ok(vec![files.devices.clone()]),
            Self::Keys => list(&files.keys, "key"),
            Self::Schemas => list(&files.schemas, "toml"),
        }
    }

    /// Of its files as they are now.
    fn stamps(self, files: &IntakeFiles) -> Result<Stamps, FileError> {
        let stamp = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok();
            let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
            (path, changed, metadata.map_or(0, |metadata| metadata.len()))
        };
        Ok(self.files(files)?.into_iter().map(stamp).collect())
    }
}

/// Rules that follow their files.
pub(super) struct Watch {
    files: IntakeFiles,
    state: Mutex<State>,
}

struct State {
    rules: Arc<Rules>,
    parts: [Followed; 3],
    looked: Instant,
}

/// How far a part's files have been followed.
#[derive(Default)]
struct Followed {
    /// Of what was read last, with success.
    seen: Stamps,
    /// What is wrong since then, as it was told.
    told: Option<String>,
}

/// Of each file: name, time of its last change, length.
type Stamps = Vec<(PathBuf, Option<SystemTime>, u64)>;

impl Watch {
    pub(super) fn new(files: IntakeFiles) -> Result<Self, FileError> {
        let mut parts = <[Followed; 3]>::default();
        for (part, followed) in PARTS.iter().zip(&mut parts) {
            // Before they are read: what changes in between is read again.
            followed.seen = part.stamps(&files)?;
        }
        let rules = Arc::new(Rules::load(&files)?);
        Ok(Self { files, state: Mutex::new(State { rules, parts, looked: Instant::now() }) })
    }

    /// The rules, at most a second old.
    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules_at(PACE)
    }

    /// The rules, as old as `pace` at most.
    pub(super) fn rules_at(&self, pace: Duration) -> Arc<Rules> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= pace {
            state.looked = Instant::now();
            let State { rules, parts, .. } = &mut *state;
            for (part, followed) in PARTS.iter().zip(parts) {
                followed.follow(*part, &self.files, rules);
            }
        }
        Arc::clone(&state.rules)
    }
}

impl Followed {
    /// Reads the part again if it has changed since it was read with success. An error is told when it is another than before.
    fn follow(&mut self, part: Part, files: &IntakeFiles, rules: &mut Arc<Rules>) {
        let result = part.stamps(files).and_then(|stamps| {
            if stamps != self.seen {
                let mut new = Rules::clone(rules);
                new.load_part(part, files)?;
                (*rules, self.seen) = (Arc::new(new), stamps);
            }
            Ok(())
        });
        let error = result.err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|_| self.told != error) {
            let what = match part {
                Part::Devices => "devices",
                Part::Keys => "keys",
                Part::Schemas => "schemas",
            };
            eprintln!("intake: {}; {what} stay as they were", Plain(error));
        }
        self.told = error;
    }
}

/// Files of a folder with this extension, sorted; none if there is no folder.
fn list(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, FileError> {
    let fault = |error| FileError::new(folder, FileFault::Read(error));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fault)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|own| own == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, FileError> {
    let fault = |error| FileError::new(path, FileFault::Read(error));
    let bytes = fs::metadata(path).map_err(fault)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(FileError::new(path, FileFault::Long));
    }
    fs::read_to_string(path).map_err(fault)
}

/// A file that cannot be used.
#[derive(Debug)]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// Where in it, from 1, if that is known apart from the fault.
    pub line: Option<usize>,
    /// What is wrong.
    pub fault: FileFault,
}

/// What is wrong with a file. Never holds a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileFault {
    /// It cannot be read.
    Read(io::Error),
    /// A secret key's file that cannot be read, or that every user can read.
    Private(PrivateFileError),
    /// It is longer than any real one.
    Long,
    /// Not TOML, a key that does not belong there, or a value of the wrong kind. Says the line.
    Parse(Box<toml::de::Error>),
    /// No id of a device.
    DeviceId(String),
    /// Two devices of one id.
    DeviceTwice(DeviceId),
    /// More keys than a device may have.
    Keys(usize),
    /// No public key.
    PublicKey,
    /// No secret key.
    SecretKey,
    /// A key file's name that is no number.
    KeyName,
    /// No schema.
    Schema(Box<crate::schema::SchemaFault>),
}

impl FileError {
    pub(super) fn new(file: &Path, fault: FileFault) -> Self {
        Self { file: file.to_owned(), line: None, fault }
    }

    /// A fault at byte `at` of `text`.
    pub(super) fn at(file: &Path, text: &str, at: usize, fault: FileFault) -> Self {
        let before = text.as_bytes().iter().take(at);
        Self { file: file.to_owned(), line: Some(1 + before.filter(|c| **c == b'\n').count()), fault }
    }

    pub(super) fn parse(file: &Path, error: toml::de::Error) -> Self {
        Self::new(file, FileFault::Parse(Box::new(error)))
    }
}

impl From<SchemaFileError> for FileError {
    fn from(SchemaFileError { file, fault }: SchemaFileError) -> Self {
        Self { file, line: None, fault: FileFault::Schema(Box::new(fault)) }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.fault),
            None => write!(f, "{}: {}", self.file.display(), self.fault),
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Private(error) => error.fmt(f),
            Self::Long => write!(f, "is longer than {} MiB", MAX_FILE_BYTES >> 20),
            Self::Parse(error) => error.fmt(f),
            Self::DeviceId(id) => write!(f, "id {id:?} is not 16 hexadecimal digits"),
            Self::DeviceTwice(id) => {
                write!(f, "device {id} is there twice; give each device one entry with all of its keys")
            }
            Self::Keys(got) => {
                write!(f, "a device of {got} keys; take away those that are out of time, at most {MAX_KEYS} may stay")
            }
            Self::PublicKey => f.write_str("public is not 64 hexadecimal digits"),
            Self::SecretKey => f.write_str("secret is not 64 hexadecimal digits; make a new key"),
            Self::KeyName => f.write_str("a key's file is named by its number, as `1.key`; rename it"),
            Self::Schema(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            FileFault::Read(error) => Some(error),
            FileFault::Parse(error) => Some(&**error),
            FileFault::Schema(fault) => Some(&**fault),
            _ => None,
        }
    }
}
