//! Connections between roles: TCP, TLS 1.3 with certificates on both ends, and who may talk to whom.
//!
//! Lower to higher:
//!
//! - [`Role`], [`NetError`]: the parties, and what goes wrong between them.
//! - [`Identity`], [`Deployment`], [`init`]: certificates, read or made anew.
//! - [`ClientTls`], [`ServerTls`]: TLS as this crate uses it.
//! - [`connect`], [`accept`], [`Listener`]: how two roles meet.
//! - [`Connection`]: bytes both ways at once, and messages; it blocks, for threads that compute.
//! - [`Config`], [`Policy`]: what an operator writes down.
//!
//! Whoever is connected is certified by the deployment's authority as one role, and no other. What the role then does is
//! not the concern of this module; see the adversary in the crate's documentation.

mod cancel;
mod config;
mod config_fault;
mod connection;
mod deployment;
mod door;
mod error;
mod handshake;
mod identity;
mod intake;
mod lines;
mod listener;
mod policy;
mod records;
mod role;
mod serve;
mod storage;
mod tls;
mod wire;

pub use cancel::Cancel;
pub use config::{Config, ConfigError, ConfigFault, PolicyFiles, config_schema};
pub use connection::{AbortHandle, Connection, GRANULE, SLOWEST_BYTES_PER_SECOND, Timeouts};
pub use deployment::{Credentials, DeployError, Deployment, Endpoint, Hosts, init, write_all};
pub use door::Capacity;
pub use error::{Cause, CertificateFault, NetError, Operation, Peer};
pub use handshake::{PROTOCOL_VERSION, accept, connect, connect_until};
pub use identity::{Identity, IdentityError, IdentityFiles, IdentityProblem, Part};
pub use intake::IntakeFiles;
pub use lines::{Broker, Lines, SerialLine};
pub use listener::{Listener, StopHandle};
pub use policy::{Facts, JobHash, Jobs, Limits, Policy, Refusal, Reveal, StoredFacts};
pub use role::{Role, UnknownRole};
pub use serve::ServeConfig;
pub(crate) use storage::is_serial;
pub use storage::{JobsConfig, ModelsConfig};
pub use tls::{ClientTls, ServerTls};
pub use wire::Traffic;

pub use crate::secret::PrivateFileError;
