//! Devices' and servers' keys: made here, told to those who need them, kept nowhere.
//!
//! - Each server has keys of its own (`keys/ID.key`), to which devices seal. `servers.toml` lists their public halves, for those who provision devices.
//! - A device gets a key file ([`Identity::to_bytes`]), which is flashed or given to `symbolon share`, and an entry in both servers' `devices.toml`.
//!
//! Whoever provisions a device holds its key for a moment; whoever runs `init` holds both servers' keys. Operators who do not trust one of them with that make their own
//! (`symbolon key`) and hand out the public half.

use crate::{
    intake::{
        hex,
        keys::KeyFile,
        registry,
        rules::FileError,
        validity::{UnixSeconds, Validity},
    },
    net::{IntakeFiles, Role},
    schema::SchemaFile,
    secret::create_private,
};
use serde::Deserialize;
use std::{
    fmt::{self, Write as _},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use symbolon_core::report::{
    header::DeviceId,
    identity::{Identity, PublicKey, SecretKey, ServerKey},
};

/// A server's public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerEntry {
    /// Whose: 0 or 1.
    pub server: u8,
    /// The key and its number.
    pub key: ServerKey,
    /// When it serves.
    pub validity: Validity,
}

/// `servers.toml`: what devices seal to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServersFile {
    /// All keys.
    pub entries: Vec<ServerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServers {
    #[serde(default)]
    server0: Vec<RawEntry>,
    #[serde(default)]
    server1: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    id: u32,
    public: String,
    not_before: Option<UnixSeconds>,
    not_after: Option<UnixSeconds>,
}

impl ServerEntry {
    /// The lines of this key in `servers.toml`.
    pub fn to_toml(&self) -> String {
        let mut text =
            format!("[[server{}]]\nid = {}\npublic = \"{}\"\n", self.server, self.key.id, hex::print(&self.key.key.0));
        for (key, time) in [("not_before", self.validity.not_before), ("not_after", self.validity.not_after)] {
            if let Some(time) = time {
                let _ = writeln!(text, "{key} = {time}"); // a String takes everything
            }
        }
        text
    }
}

impl ServersFile {
    /// Parses the file's text.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ProvisionError> {
        let raw: RawServers = toml::from_str(text)
            .map_err(|error| ProvisionError::Parse { file: file.to_owned(), error: Box::new(error) })?;
        let mut entries = Vec::new();
        for (server, raw) in [(0, raw.server0), (1, raw.server1)] {
            for RawEntry { id, public, not_before, not_after } in raw {
                let key = hex::parse(&public).map(PublicKey);
                let key = key.ok_or_else(|| ProvisionError::PublicKey { file: file.to_owned(), server, id })?;
                let validity = Validity { not_before, not_after };
                entries.push(ServerEntry { server, key: ServerKey { id, key }, validity });
            }
        }
        Ok(Self { entries })
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::File`], and as [`Self::parse`].
    pub fn load(file: &Path) -> Result<Self, ProvisionError> {
        let text = fs::read_to_string(file).map_err(|error| failed(file, error))?;
        Self::parse(&text, file)
    }

    /// The key of each server that devices are given now: of those that serve, the one of the highest number.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::NoKey`].
    pub fn current(&self, now: UnixSeconds) -> Result<[ServerKey; 2], ProvisionError> {
        let newest = |server: u8| {
            let own = self.entries.iter().filter(|entry| entry.server == server && entry.validity.has(now));
            own.map(|entry| entry.key).max_by_key(|key| key.id).ok_or(ProvisionError::NoKey { server })
        };
        Ok([newest(0)?, newest(1)?])
    }
}

/// A device that is to be registered.
#[derive(Clone, Debug)]
pub struct NewDevice<'a> {
    /// For people; also the name of its files.
    pub name: &'a str,
    /// Its id; drawn at random if not given.
    pub id: Option<DeviceId>,
    /// What it reports.
    pub schema: &'a SchemaFile,
    /// Whether its reports label other devices'.
    pub labels: bool,
    /// How many reports it may add an hour.
    pub reports_per_hour: Option<u32>,
}

impl NewDevice<'_> {
    /// Makes the device's key; returns what it is told, and its entry for `devices.toml`.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::NoKey`], [`ProvisionError::Randomness`], [`ProvisionError::Name`].
    pub fn provision(&self, servers: &ServersFile, now: UnixSeconds) -> Result<(Identity, String), ProvisionError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return Err(ProvisionError::Name(self.name.to_owned()));
        }
        let mut rng = crate::device::system_rng().map_err(|_| ProvisionError::Randomness)?;
        let secret = SecretKey::generate(&mut rng);
        let drawn = DeviceId(chacha20::rand_core::Rng::next_u64(&mut rng));
        let device = self.id.unwrap_or(drawn);
        let entry = self.entry(device, &secret.public());
        let (schema, layout) = (self.schema.hash(), *self.schema.layout());
        Ok((Identity { device, secret, schema, layout, servers: servers.current(now)? }, entry))
    }

    fn entry(&self, device: DeviceId, public: &PublicKey) -> String {
        let task = toml::Value::String(self.schema.task().to_owned());
        let mut text = format!("[[device]]\nid = \"{device}\"\nname = \"{}\"\ntasks = [{task}]\n", self.name);
        if let Some(quota) = self.reports_per_hour {
            let _ = writeln!(text, "reports_per_hour = {quota}"); // a String takes everything
        }
        if self.labels {
            text.push_str("labels = true\n");
        }
        let _ = write!(text, "[[device.key]]\npublic = \"{}\"\n", hex::print(&public.0));
        text
    }
}

/// Gives a fresh deployment in `dir` what its servers need to take reports: a key each, a registry, a folder for schemas, `[intake]` in their configurations; and
/// `client/servers.toml`. The keys have no end.
///
/// # Errors
///
/// [`ProvisionError::File`], also if something is there already; [`ProvisionError::Randomness`].
pub fn equip(dir: &Path) -> Result<(), ProvisionError> {
    let mut servers = String::from(SERVERS_HEAD);
    for (server, role) in (0..).zip([Role::Server0, Role::Server1]) {
        let own = dir.join(role.name());
        let files = IntakeFiles::beside(&own);
        let entry = new_key(&files, server, 1, Validity::default())?;
        servers.push('\n');
        servers.push_str(&entry.to_toml());
        fs::create_dir(&files.schemas).map_err(|error| failed(&files.schemas, error))?;
        write_new(&files.devices, DEVICES_HEAD.as_bytes())?;
        append(&own.join(format!("{role}.toml")), INTAKE)?;
    }
    write_new(&dir.join(Role::Client.name()).join("servers.toml"), servers.as_bytes())
}

const SERVERS_HEAD: &str =
    "# Public keys of the servers, to which devices seal their reports. `symbolon provision` reads this.\n";
const DEVICES_HEAD: &str = "# Devices that may report here. `symbolon provision` writes their entries; changes are read while the server runs.\n";
const INTAKE: &str = "\n# Where devices' reports are kept, and who may report; paths are relative to this file.\n[intake]\n\
                      store = \"store.redb\"\ndevices = \"devices.toml\"\nkeys = \"keys\"\nschemas = \"schemas\"\n";

/// Makes key `id` of a server, for its owner alone.
///
/// # Errors
///
/// [`ProvisionError::File`], also if there is such a key; [`ProvisionError::Randomness`].
pub fn new_key(files: &IntakeFiles, server: u8, id: u32, validity: Validity) -> Result<ServerEntry, ProvisionError> {
    let key = KeyFile::generate(validity).map_err(|_| ProvisionError::Randomness)?;
    fs::create_dir_all(&files.keys).map_err(|error| failed(&files.keys, error))?;
    let path = files.keys.join(KeyFile::name(id));
    create_private(&path, key.to_toml().as_bytes()).map_err(|error| failed(&path, error))?;
    Ok(ServerEntry { server, key: ServerKey { id, key: key.public() }, validity })
}

/// Registers a device, and its schema, with a server on this machine.
///
/// # Errors
///
/// [`ProvisionError::File`], [`ProvisionError::Registry`], [`ProvisionError::Registered`]; nothing is registered then.
pub fn register(
    files: &IntakeFiles,
    entry: &str,
    schema: &SchemaFile,
    schema_file: &Path,
) -> Result<(), ProvisionError> {
    check_free(files, entry)?;
    let name: String =
        schema.hash()[..8].iter().fold(schema.task().to_owned() + "-", |name, byte| name + &format!("{byte:02x}"));
    let target = files.schemas.join(format!("{name}.toml"));
    if !target.exists() {
        fs::create_dir_all(&files.schemas).map_err(|error| failed(&files.schemas, error))?;
        let text = fs::read(schema_file).map_err(|error| failed(schema_file, error))?;
        write_new(&target, &text)?;
    }
    append(&files.devices, &format!("\n{entry}"))
}

/// Checks that a device's id is not registered with a server yet.
///
/// # Errors
///
/// [`ProvisionError::File`], [`ProvisionError::Registry`], [`ProvisionError::Registered`].
pub fn check_free(files: &IntakeFiles, entry: &str) -> Result<(), ProvisionError> {
    let registry =
        |text: &str| registry::parse(text, &files.devices).map_err(|e| ProvisionError::Registry(Box::new(e)));
    let present = fs::read_to_string(&files.devices).map_err(|error| failed(&files.devices, error))?;
    let present = registry(&present)?;
    let taken = |(id, new): &(DeviceId, registry::Device)| {
        present.contains_key(id) || present.values().any(|device| device.name == new.name)
    };
    match registry(entry)?.into_iter().find(taken) {
        None => Ok(()),
        Some((device, new)) => Err(ProvisionError::Registered { file: files.devices.clone(), device, name: new.name }),
    }
}

/// Appends to a text file.
///
/// # Errors
///
/// [`ProvisionError::File`].
pub fn append(path: &Path, text: &str) -> Result<(), ProvisionError> {
    let written = OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| failed(path, error))
}

/// Writes a file that must not be there.
///
/// # Errors
///
/// [`ProvisionError::File`].
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), ProvisionError> {
    let written =
        OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| file.write_all(content));
    written.map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> ProvisionError {
    ProvisionError::File { path: path.to_owned(), error }
}

/// Why something cannot be provisioned.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProvisionError {
    /// A file cannot be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No `servers.toml`.
    Parse {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A public key that is none.
    PublicKey {
        /// Which file.
        file: PathBuf,
        /// Whose.
        server: u8,
        /// Its number.
        id: u32,
    },
    /// A server without a key that serves now.
    NoKey {
        /// Which.
        server: u8,
    },
    /// A `devices.toml` that cannot be used.
    Registry(Box<FileError>),
    /// A device of this id or name is there already; jobs choose devices by either.
    Registered {
        /// In which file.
        file: PathBuf,
        /// Which.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// A name that no device can have.
    Name(String),
    /// The system has no randomness.
    Randomness,
}

impl fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Parse { file, error } => write!(f, "{}: {error}", file.display()),
            Self::PublicKey { file, server, id } => {
                write!(f, "{}: server{server}, key {id}: a public key has 64 hexadecimal digits", file.display())
            }
            Self::NoKey { server } => {
                write!(f, "server{server} has no key that serves now; its operator makes one with `symbolon key`")
            }
            Self::Registry(error) => error.fmt(f),
            Self::Registered { file, device, name } => {
                write!(
                    f,
                    "{}: a device of id {device} or name `{name}` is there already; choose others, or take its entry away",
                    file.display()
                )
            }
            Self::Name(name) => {
                write!(f, "`{name}` names no device: letters, digits, `-`, `_` and `.`, the last not first")
            }
            Self::Randomness => f.write_str("the operating system gives no random bytes; no key can be made without"),
        }
    }
}

impl std::error::Error for ProvisionError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_registered_once() {
        let dir = std::env::temp_dir().join(format!("symbolon-provision-{}", std::process::id()));
        let files = IntakeFiles::beside(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(&files.devices, DEVICES_HEAD).unwrap();
        let text = "task = \"t\"\n[[field]]\nname = \"f\"\nwidth = 8\n";
        let (schema, schema_file) = (SchemaFile::parse(text).unwrap(), dir.join("s.toml"));
        fs::write(&schema_file, text).unwrap();
        let device = |name| NewDevice { name, id: None, schema: &schema, labels: false, reports_per_hour: None };
        let entry = |name, id| device(name).entry(DeviceId(id), &PublicKey([7; 32]));
        let register = |entry: String| register(&files, &entry, &schema, &schema_file);
        register(entry("a", 1)).unwrap();
        let again = register(entry("b", 1));
        assert!(matches!(again, Err(ProvisionError::Registered { device: DeviceId(1), .. })), "{again:?}");
        register(entry("b", 2)).unwrap();
        let devices = registry::parse(&fs::read_to_string(&files.devices).unwrap(), &files.devices).unwrap();
        assert_eq!(devices.len(), 2);
        fs::remove_dir_all(dir).unwrap();
    }
}
