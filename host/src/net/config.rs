//! The configuration file of a role.
//!
//! ```toml
//! role = "server0"
//! listen = "0.0.0.0:7100"
//!
//! [peers]
//! server1 = "b.example:7101"
//! dealer = "c.example:7102"
//! auditor = "d.example:7104" # servers only; no output leaves before this role agrees to it
//!
//! [tls] # relative to this file
//! certificate = "cert.pem"
//! key = "key.pem"
//! ca = "ca.pem"
//!
//! [timeouts] # may be left out, whole or in part
//! connect_ms = 60000
//! handshake_ms = 10000
//! idle_ms = 120000
//! close_ms = 2000
//!
//! [policy] # servers only; may be left out, whole or in part
//! jobs = "listed" # or "any"; left out, jobs on reports must be listed
//! reveals = ["accuracy", "loss"]
//! smallest_batch = 16
//! smallest_records = 100
//! require_alarm = false # whether jobs must say when words left their range
//! largest_memory_mib = 8192 # a job; dealer and auditor have this rule too
//! places = 2 # jobs at a time; dealer and auditor have this rule too, and no others
//! largest_disk_mib = 65536 # scratch files of a job
//! epsilon = 1.0 # this rule and those below bind jobs that learn from reports
//! outputs_per_job = 128
//! outputs_per_manifest = 1024
//! jobs_per_day = 32
//! fewest_steps = 100
//! smallest_difference = 100
//! allowed = "jobs.toml" # relative to this file, as is the ledger
//! ledger = "releases.redb"
//!
//! [storage] # servers and client: a job's tables; may be left out, whole or in part
//! memory_mib = 512 # most in memory, the smallest tables; the others go to scratch files
//! directory = "/srv/scratch" # folder of scratch files; $TMPDIR or /var/tmp, if left out
//!
//! [serve] # servers alone; may be left out, whole or in part
//! pool_rows = 512 # rows that are dealt ahead for each model that answers predictions
//! batches = [1, 1, 16, 128] # rows of a batch, lane by lane
//! wait_ms = 0
//! models = 4
//!
//! [jobs] # servers and clients; may be left out, whole or in part
//! directory = "jobs" # relative to this file: a server's jobs, a client's keys to their outputs
//! retry_s = 600 # seconds for which a job that lost a peer is tried again
//!
//! [models] # servers only; may be left out, whole or in part
//! directory = "models" # relative to this file: shares of kept models
//! most_versions = 256 # of a client
//! most_mib = 4096 # of a client's shares and public parts together
//!
//! [intake] # servers that take reports; paths are relative to this file and may be left out
//! store = "store.redb"
//! devices = "devices.toml"
//! keys = "keys"
//! schemas = "schemas"
//! reports_per_hour = 360000 # of a device whose registry entry has none
//! ```
//!
//! A gateway's file has a section of its own, [`Lines`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

pub use super::config_fault::{ConfigError, ConfigFault};
use super::connection::Timeouts;
use super::identity::{Identity, IdentityFiles};
use super::intake::{IntakeFiles, RawIntake};
use super::lines::{Lines, RawLines};
use super::policy::{Jobs, Limits, Policy, Reveal};
use super::role::Role;
use super::serve::{RawServe, ServeConfig};
use super::storage::{JobsConfig, ModelsConfig, RawJobs, RawModels, RawStorage};
use crate::job::EpsilonFile;
use crate::storage::StorageConfig;

/// The longest time-out, a week. Longer ones are mistakes, and need not fit the clock.
pub(super) const LONGEST_MS: u64 = 7 * 24 * 3600 * 1000;

/// The configuration of a role, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    /// The role that this program plays.
    pub role: Role,
    /// Where it listens for other roles. Client and gateway do not.
    pub listen: Option<String>,
    /// Where the other roles listen.
    pub peers: BTreeMap<Role, String>,
    /// Certificate, key and authority; the paths are ready to open.
    pub tls: IdentityFiles,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// The jobs that a server permits, or the limits of dealer and auditor. Other roles have the
    /// default and do not use it.
    pub policy: Policy,
    /// The files of a server's policy; other roles do not use them.
    pub policy_files: PolicyFiles,
    /// Where a gateway hears devices. Other roles have none.
    pub lines: Option<Lines>,
    /// Where a server that takes reports keeps them. Other roles have none.
    pub intake: Option<IntakeFiles>,
    /// Where servers and client keep a job's tables; other roles do not use it.
    pub storage: StorageConfig,
    /// Where a server keeps models; other roles do not use it.
    pub models: ModelsConfig,
    /// Where a server keeps jobs, and a client their keys; other roles do not use it.
    pub jobs: JobsConfig,
    /// How a server answers predictions; other roles do not use it.
    pub serve: ServeConfig,
}

impl Config {
    /// Reads a configuration file. `commands_roles` are the roles that the command can play.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or parsed, has a key that does not belong there, lacks one, or is
    /// that of a role that the command cannot play.
    pub fn load(file: &Path, commands_roles: &[Role]) -> Result<Self, ConfigError> {
        let fault = |fault| ConfigError { file: file.to_owned(), fault };
        let text = fs::read_to_string(file).map_err(|error| fault(ConfigFault::Read(error)))?;
        let config = Self::parse(&text, file)?;
        if commands_roles.contains(&config.role) {
            Ok(config)
        } else {
            let fits = commands_roles.to_vec();
            Err(fault(ConfigFault::OtherCommand { role: config.role, fits }))
        }
    }

    /// Parses the text of a configuration file; `file` serves relative paths and errors.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), but any role will do.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let fault = |fault| ConfigError { file: file.to_owned(), fault };
        let raw: Raw = toml::from_str(text).map_err(|error| fault(ConfigFault::Parse(Box::new(error))))?;
        raw.check(file).map_err(fault)
    }

    /// Loads and checks the identity, which must be that of this role.
    ///
    /// # Errors
    ///
    /// As [`Identity::load`], or if the certificate is another role's.
    pub fn identity(&self) -> Result<Identity, ConfigError> {
        let fault = |fault| ConfigError { file: self.file.clone(), fault };
        let identity = Identity::load(&self.tls).map_err(|error| fault(ConfigFault::Identity(Box::new(error))))?;
        if identity.role() == self.role {
            Ok(identity)
        } else {
            Err(fault(ConfigFault::OtherRole { config: self.role, certificate: identity.role() }))
        }
    }

    /// Where `role` listens.
    ///
    /// # Errors
    ///
    /// If the file does not say.
    pub fn peer(&self, role: Role) -> Result<&str, ConfigError> {
        let address = self.peers.get(&role).map(String::as_str);
        address.ok_or_else(|| ConfigError { file: self.file.clone(), fault: ConfigFault::NoPeer(role) })
    }

    /// Where this role listens.
    ///
    /// # Errors
    ///
    /// If the file does not say; only a client's and a gateway's may leave it out.
    pub fn listen(&self) -> Result<&str, ConfigError> {
        self.listen.as_deref().ok_or_else(|| ConfigError { file: self.file.clone(), fault: ConfigFault::NoListen })
    }
}

/// The configuration file of a role. Paths are relative to it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// The role that the program plays.
    role: Role,
    /// Where servers, dealer and auditor listen: `host:port`.
    listen: Option<String>,
    /// Where the other roles listen: `host:port`, by role. A server names the other server, the
    /// dealer and the auditor, if there is one. A client names both servers and the dealer, a
    /// gateway both servers.
    #[serde(default)]
    peers: BTreeMap<Role, String>,
    /// Certificate, key and authority, as `symbolon init` writes them.
    tls: RawTls,
    /// How long things may take, each 1 ms to a week.
    #[serde(default)]
    timeouts: RawTimeouts,
    /// The rules for jobs.
    policy: Option<RawPolicy>,
    /// Where a gateway hears devices.
    gateway: Option<RawLines>,
    /// Where a server that takes reports keeps its files, and the default quota of devices.
    intake: Option<RawIntake>,
    /// Where servers and client keep a job's tables.
    storage: Option<RawStorage>,
    /// Where a server keeps its shares of models.
    models: Option<RawModels>,
    /// Where a server keeps jobs, and a client the keys of its jobs.
    jobs: Option<RawJobs>,
    /// How a server answers predictions.
    serve: Option<RawServe>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawTls {
    /// This role's certificate, PEM.
    certificate: PathBuf,
    /// Its private key, PEM.
    key: PathBuf,
    /// The certificate of the authority that certifies all roles, PEM.
    ca: PathBuf,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawTimeouts {
    /// To connect to a peer, in ms; 60,000, if left out.
    connect_ms: Option<u64>,
    /// For a handshake, in ms; 10,000, if left out.
    handshake_ms: Option<u64>,
    /// Without a byte from a peer, in ms; 120,000, if left out.
    idle_ms: Option<u64>,
    /// For a peer to close, in ms; 2,000, if left out.
    close_ms: Option<u64>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    /// The jobs that the server takes. If left out, jobs that learn from reports must be listed;
    /// jobs on a client's own upload need not be.
    jobs: Option<Jobs>,
    /// The outputs that they may open: kinds of metrics, `loss`, `model`, `predictions`,
    /// `standard-errors`;
    /// `["accuracy", "loss"]`, if left out. `accuracy` permits `mean-squared-error` too.
    reveals: Option<Vec<Reveal>>,
    /// Fewest records a step, the last of an epoch included; 16, if left out.
    smallest_batch: Option<u64>,
    /// Fewest records to learn from and to open a score of; 100, if left out.
    smallest_records: Option<u64>,
    /// Whether jobs must reveal the range alarm; false, if left out.
    require_alarm: Option<bool>,
    /// Most MiB of memory for a job; 8192, if left out. Dealer and auditor have this rule too.
    largest_memory_mib: Option<u64>,
    /// Most MiB of scratch files for a job; 65,536, if left out.
    largest_disk_mib: Option<u64>,
    /// Most jobs that run at a time, at least 1; 2, if left out. Dealer and auditor have this rule
    /// too.
    places: Option<usize>,
    /// The `ε` that a client may spend on the records of a schema in a day, or `"off"`; 1, if left
    /// out. Outputs of jobs then need noise. This rule and the rules below, but not the files, bind
    /// jobs that learn from reports.
    epsilon: Option<EpsilonFile>,
    /// Most outputs of a job; 128, if left out.
    outputs_per_job: Option<u64>,
    /// Most outputs about the records of a manifest, all clients together; 1024, if left out.
    outputs_per_manifest: Option<u64>,
    /// Most jobs of a client in a day; 32, if left out.
    jobs_per_day: Option<u64>,
    /// Fewest steps before a model is opened; 100, if left out.
    fewest_steps: Option<u64>,
    /// Fewest records by which two different training sets of a client differ, or two different
    /// test sets; 100, if left out.
    smallest_difference: Option<u64>,
    /// The list of jobs that `symbolon policy allow` writes; `jobs.toml`, if left out.
    allowed: Option<PathBuf>,
    /// The ledger of released outputs; `releases.redb`, if left out.
    ledger: Option<PathBuf>,
}

/// The files of a server's policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyFiles {
    /// The list of jobs that the operator allows.
    pub allowed: PathBuf,
    /// The ledger of released outputs.
    pub ledger: PathBuf,
}

/// The keys of a configuration file, as a JSON schema made from the types that read it.
pub fn config_schema() -> Schema {
    schemars::schema_for!(Raw)
}

impl Raw {
    fn check(self, file: &Path) -> Result<Config, ConfigFault> {
        let role = self.role;
        if !matches!(role, Role::Client | Role::Gateway) && self.listen.is_none() {
            return Err(ConfigFault::NoListen);
        }
        if let Some(listen) = &self.listen {
            address("listen", listen)?;
        }
        for (peer, at) in &self.peers {
            if *peer == role {
                return Err(ConfigFault::OwnPeer(role));
            }
            address("peers", at)?;
        }
        if let Some(missing) = needed(role).iter().find(|peer| !self.peers.contains_key(peer)) {
            return Err(ConfigFault::NoPeer(*missing));
        }
        let directory = file.parent().unwrap_or(Path::new(""));
        let (policy, policy_files) = match self.policy {
            Some(policy) if !(role.is_server() || deals(role) && policy.has_limits_alone()) => {
                return Err(ConfigFault::Policy(role));
            }
            policy => {
                let policy = policy.unwrap_or_default();
                let files = policy.files(directory);
                (policy.check()?, files)
            }
        };
        let lines = match self.gateway {
            Some(_) if role != Role::Gateway => return Err(ConfigFault::Lines(role)),
            None if role == Role::Gateway => return Err(ConfigFault::NoLine),
            lines => lines.map(|lines| lines.check(directory)).transpose()?,
        };
        let intake = match self.intake {
            Some(_) if !role.is_server() => return Err(ConfigFault::Intake(role)),
            intake => intake.map(|intake| intake.check(directory)),
        };
        let storage = match self.storage {
            Some(_) if !(role.is_server() || role == Role::Client) => return Err(ConfigFault::Storage(role)),
            storage => storage.map_or_else(StorageConfig::default, |storage| storage.check(directory)),
        };
        let models = match self.models {
            Some(_) if !role.is_server() => return Err(ConfigFault::Models(role)),
            models => models.unwrap_or_default().check(directory),
        };
        let jobs = match self.jobs {
            Some(_) if !(role.is_server() || role == Role::Client) => return Err(ConfigFault::Jobs(role)),
            jobs => jobs.unwrap_or_default().check(directory)?,
        };
        let serve = match self.serve {
            Some(_) if !role.is_server() => return Err(ConfigFault::Serves(role)),
            serve => serve.unwrap_or_default().check(),
        };
        let tls = IdentityFiles {
            certificate: directory.join(self.tls.certificate),
            key: directory.join(self.tls.key),
            ca: directory.join(self.tls.ca),
        };
        let timeouts = self.timeouts.check()?;
        let (file, listen, peers) = (file.to_owned(), self.listen, self.peers);
        Ok(Config {
            file,
            role,
            listen,
            peers,
            tls,
            timeouts,
            policy,
            policy_files,
            lines,
            intake,
            storage,
            models,
            jobs,
            serve,
        })
    }
}

/// Returns whether the role runs the dealer's program, and has limits of its own.
pub(super) fn deals(role: Role) -> bool {
    matches!(role, Role::Dealer | Role::Auditor)
}

/// The roles whose address `role` must know.
fn needed(role: Role) -> &'static [Role] {
    match role {
        Role::Server0 => &[Role::Server1, Role::Dealer],
        Role::Server1 => &[Role::Server0, Role::Dealer],
        Role::Dealer | Role::Auditor => &[],
        Role::Client => &[Role::Server0, Role::Server1, Role::Dealer],
        Role::Gateway => &[Role::Server0, Role::Server1],
    }
}

impl RawTimeouts {
    fn check(self) -> Result<Timeouts, ConfigFault> {
        let default = Timeouts::default();
        let pick = |key, given: Option<u64>, default| match given {
            None => Ok(default),
            Some(ms) if (1..=LONGEST_MS).contains(&ms) => Ok(Duration::from_millis(ms)),
            Some(ms) => Err(ConfigFault::Timeout { key, ms }),
        };
        Ok(Timeouts {
            connect: pick("timeouts.connect_ms", self.connect_ms, default.connect)?,
            handshake: pick("timeouts.handshake_ms", self.handshake_ms, default.handshake)?,
            idle: pick("timeouts.idle_ms", self.idle_ms, default.idle)?,
            close: pick("timeouts.close_ms", self.close_ms, default.close)?,
        })
    }
}

impl RawPolicy {
    fn files(&self, directory: &Path) -> PolicyFiles {
        let file = |given: &Option<PathBuf>, name| directory.join(given.as_deref().unwrap_or(Path::new(name)));
        PolicyFiles { allowed: file(&self.allowed, "jobs.toml"), ledger: file(&self.ledger, "releases.redb") }
    }

    /// Returns whether the policy has no rule but [`Limits`].
    fn has_limits_alone(&self) -> bool {
        self.jobs.is_none()
            && self.reveals.is_none()
            && self.smallest_batch.is_none()
            && self.smallest_records.is_none()
            && self.require_alarm.is_none()
            && self.largest_disk_mib.is_none()
            && self.epsilon.is_none()
            && [self.outputs_per_job, self.outputs_per_manifest, self.jobs_per_day].iter().all(Option::is_none)
            && [self.fewest_steps, self.smallest_difference].iter().all(Option::is_none)
            && [&self.allowed, &self.ledger].iter().all(|file| file.is_none())
    }

    fn check(self) -> Result<Policy, ConfigFault> {
        let default = Policy::default();
        let epsilon_milli = match &self.epsilon {
            None => default.epsilon_milli,
            Some(given) => given.milli().ok_or(ConfigFault::Epsilon)?,
        };
        Ok(Policy {
            jobs: self.jobs,
            reveals: self.reveals.unwrap_or(default.reveals),
            smallest_batch: self.smallest_batch.unwrap_or(default.smallest_batch),
            smallest_records: self.smallest_records.unwrap_or(default.smallest_records),
            require_alarm: self.require_alarm.unwrap_or(default.require_alarm),
            limits: limits(self.places, self.largest_memory_mib)?,
            largest_disk_bytes: self
                .largest_disk_mib
                .map_or(default.largest_disk_bytes, |mib| mib.saturating_mul(1 << 20)),
            epsilon_milli,
            outputs_per_job: self.outputs_per_job.unwrap_or(default.outputs_per_job),
            outputs_per_manifest: self.outputs_per_manifest.unwrap_or(default.outputs_per_manifest),
            jobs_per_day: self.jobs_per_day.unwrap_or(default.jobs_per_day),
            fewest_steps: self.fewest_steps.unwrap_or(default.fewest_steps),
            smallest_difference: self.smallest_difference.unwrap_or(default.smallest_difference),
        })
    }
}

/// Returns a role's limits; missing values are the default's.
fn limits(places: Option<usize>, memory_mib: Option<u64>) -> Result<Limits, ConfigFault> {
    let default = Limits::default();
    let places = match places {
        Some(0) => return Err(ConfigFault::Zero("policy.places")),
        places => places.unwrap_or(default.places),
    };
    let largest_memory_bytes = memory_mib.map_or(default.largest_memory_bytes, |mib| mib.saturating_mul(1 << 20));
    Ok(Limits { places, largest_memory_bytes })
}

/// Checks the form `host:port`; whether the name resolves is found out on connecting.
pub(super) fn address(key: &'static str, address: &str) -> Result<(), ConfigFault> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(ConfigFault::Address { key, address: address.to_owned() }),
    }
}
