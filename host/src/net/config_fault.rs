//! Faults of a configuration.

use super::{
    config::{LONGEST_MS, deals},
    identity::IdentityError,
    role::Role,
};
use std::{fmt, io, path::PathBuf};

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The fault.
    pub fault: ConfigFault,
}

/// A fault of a configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigFault {
    /// The file cannot be read.
    Read(io::Error),
    /// Not TOML, a key that does not belong there, or a value of the wrong kind. Says the line.
    Parse(Box<toml::de::Error>),
    /// The file is for another command.
    OtherCommand {
        /// The role in the file.
        role: Role,
        /// The roles that the command plays.
        fits: Vec<Role>,
    },
    /// A role that must listen does not say where.
    NoListen,
    /// A role's address is missing.
    NoPeer(Role),
    /// The role is among its own peers.
    OwnPeer(Role),
    /// The file of this role has a policy, but the role takes none; or the policy of a dealer or an
    /// auditor has more than limits.
    Policy(Role),
    /// An intake, in the file of a role that is no server.
    Intake(Role),
    /// A store of jobs, in the file of a role that has none.
    Jobs(Role),
    /// A store of models, in the file of a role that is no server.
    Models(Role),
    /// Predictions, in the file of a role that is no server.
    Serves(Role),
    /// A storage, in the file of a role that keeps no tables.
    Storage(Role),
    /// A gateway's lines, in the file of another role.
    Lines(Role),
    /// A gateway that hears no device.
    NoLine,
    /// A broker's URL, prefix or login that cannot be.
    Broker {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// None of what must be at least one.
    Zero(&'static str),
    /// A client's priority whose key is no serial number as the ledger has it.
    Serial(String),
    /// Not of the form `host:port`.
    Address {
        /// The key.
        key: &'static str,
        /// Its value.
        address: String,
    },
    /// A time-out of 0, or of more than a week.
    Timeout {
        /// The key.
        key: &'static str,
        /// Its value.
        ms: u64,
    },
    /// The policy's `ε` is invalid.
    Epsilon,
    /// The certificate, key or authority cannot be used.
    Identity(Box<IdentityError>),
    /// The certificate is another role's.
    OtherRole {
        /// The role in the file.
        config: Role,
        /// The role that the certificate names.
        certificate: Role,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.fault)
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "{error}; `symbolon init DIR` writes configurations"),
            Self::Parse(error) => write!(f, "{error}"),
            Self::OtherCommand { role, fits } => {
                let fits: Vec<_> = fits.iter().map(|role| role.name()).collect();
                write!(f, "role: is `{role}`, but this command is for {}", fits.join(" or "))
            }
            Self::NoListen => f.write_str("listen: is missing; give `host:port`, as \"0.0.0.0:7100\""),
            Self::NoPeer(role) => write!(f, "peers.{role}: is missing; give `host:port`"),
            Self::OwnPeer(role) => write!(f, "peers.{role}: is this role itself; `listen` says where it is"),
            Self::Policy(role) if deals(*role) => {
                write!(f, "policy: belongs to servers; {role}'s has `places` and `largest_memory_mib` alone")
            }
            Self::Policy(role) => write!(f, "policy: belongs to servers; {role} has none"),
            Self::Intake(role) => write!(f, "intake: belongs to servers; {role} has none"),
            Self::Jobs(role) => write!(f, "jobs: belongs to servers and clients; {role} has none"),
            Self::Models(role) => write!(f, "models: belongs to servers; {role} keeps none"),
            Self::Serves(role) => write!(f, "serve: belongs to servers; {role} answers no predictions"),
            Self::Storage(role) => write!(f, "storage: belongs to servers and client; {role} keeps no tables"),
            Self::Lines(role) => write!(f, "gateway: belongs to the gateway; {role} hears no devices"),
            Self::NoLine => f.write_str("gateway: needs at least one of `tcp`, `serial` and `mqtt`"),
            Self::Broker { key, value } => write!(
                f,
                "gateway.mqtt.{key}: `{value}` will not do; `url` is \"mqtt://host:port\", `prefix` a topic without wildcards, \
                 `user` and `password_file` come together"
            ),
            Self::Zero(key) => write!(f, "{key}: 0 is too few; give at least 1"),
            Self::Serial(serial) => write!(
                f,
                "jobs.priorities: `{serial}` is no serial number of a certificate; give its digits in lower case, as \
                 `symbolon releases` at a server shows them, or `openssl x509 -noout -serial -in cert.pem`"
            ),
            Self::Address { key, address } => write!(f, "{key}: `{address}` is not `host:port`"),
            Self::Timeout { key, ms } => write!(f, "{key}: {ms} is not between 1 and {LONGEST_MS}"),
            Self::Epsilon => {
                f.write_str("policy.epsilon: is no epsilon; give 0.001 to 1000 in steps of 0.001, or \"off\"")
            }
            Self::Identity(error) => write!(f, "tls: {error}"),
            Self::OtherRole { config, certificate } => {
                write!(f, "tls.certificate: is that of {certificate}, but role is {config}")
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            ConfigFault::Read(error) => Some(error),
            ConfigFault::Parse(error) => Some(error),
            ConfigFault::Identity(error) => Some(error),
            _ => None,
        }
    }
}
