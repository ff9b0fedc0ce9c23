//! A data owner's host as a device: the same [`Node`](symbolon_core::report::node::Node) that runs
//! on microcontrollers, over TCP or MQTT to a gateway.
//!
//! - [`KeyFile`]: what `symbolon provision` wrote.
//! - [`BootCounter`]: a durable counter in a file beside it.
//! - [`CsvRows`], [`ArrayRows`]: a data owner's records, as the schema's reals.
//! - [`Device`]: takes records, waits for room, and gives them up never: a record is done when both servers say so.

mod boot;
mod key;
mod line;
mod link;
mod rows;

pub use boot::{Boot, BootCounter};
pub use key::KeyFile;
pub use line::Way;
pub(crate) use link::system_rng;
pub use link::{Device, Options};
pub use rows::{ArrayFiles, ArrayRows, CsvRows, Headings, Row, RowsError};

use crate::net::PrivateFileError;
use std::{fmt, io, path::PathBuf};
use symbolon_core::report::{Reason, identity::IdentityError, node::SubmitError};

/// Why a device cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeviceError {
    /// A file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A secret file cannot be read, or every user can read it.
    Private {
        /// The file.
        path: PathBuf,
        /// Why.
        error: PrivateFileError,
    },
    /// No key file.
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: IdentityError,
    },
    /// The boot counter is missing, holds no number, or the last one.
    Boot {
        /// Its file.
        path: PathBuf,
    },
    /// Another process reports with this key.
    InUse {
        /// The counter's file.
        path: PathBuf,
    },
    /// The address of gateway or broker is invalid.
    Address {
        /// As given.
        way: Box<Way>,
        /// Why.
        error: io::Error,
    },
    /// A record was not taken.
    Submit(SubmitError),
    /// The system has no randomness.
    Randomness,
    /// A server refused this boot's start, and would refuse it again.
    Refused {
        /// Why.
        reason: Reason,
        /// Reports that wait.
        waiting: usize,
    },
    /// A server does not answer a query.
    Unanswered(Reason),
    /// Neither server answered for too long.
    Stalled {
        /// Seconds without an answer that changed anything.
        waited_s: u64,
        /// Reports that wait.
        waiting: usize,
        /// Why a server refused the start, or else what it said last.
        last: Option<Reason>,
        /// Gateway or broker.
        way: Box<Way>,
        /// Why it could not be reached last, if it could not.
        connection: Option<io::Error>,
    },
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Key { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Private { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Boot { path } => write!(
                f,
                "{}: the boot counter is missing or holds no number: provision the device again, for servers refuse a \
                 boot that they know",
                path.display()
            ),
            Self::InUse { path } => {
                write!(
                    f,
                    "{}: another process reports with this key; wait for it, or provision a key of its own",
                    path.display()
                )
            }
            Self::Address { way, error } => {
                let port = if matches!(**way, Way::Tcp(_)) { 7103 } else { 1883 };
                write!(f, "{way}: {error}; give HOST:PORT, the port is {port} by default")
            }
            Self::Submit(error) => error.fmt(f),
            Self::Randomness => {
                f.write_str("the operating system gives no random bytes; nothing can be sealed without")
            }
            Self::Refused { reason, waiting } => {
                write!(f, "a server refuses this start for good: {reason}{}; {waiting} reports wait", advice(*reason))
            }
            Self::Unanswered(reason) => write!(f, "a server does not answer the query: {reason}{}", advice(*reason)),
            Self::Stalled { waited_s, waiting, last, way, connection } => {
                write!(f, "no progress for {waited_s} s; {waiting} reports wait")?;
                if let Some(reason) = last {
                    write!(f, "; a server refuses: {reason}{}", advice(*reason))?;
                }
                match connection {
                    Some(error) => write!(f, "; {way} cannot be reached: {error}"),
                    None if last.is_none() => f.write_str("; check that the gateway runs and reaches both servers"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What to do about a refusal.
fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownDevice => " (add the device's entry to devices.toml at both servers)",
        Reason::Revoked => " (the operator revoked this device or key, or its time is over)",
        Reason::Schema => " (give both servers the schema, and the device its task)",
        Reason::Key => " (the server's key is gone or out of its time: provision the device again)",
        Reason::Quota => " (more than the operator permits: send less, or ask for more)",
        Reason::Full => " (the server cannot store: its disk may be full)",
        Reason::ReplayedBoot => " (the boot counter went back, as one from a backup: provision the device again)",
        Reason::NoModel => " (publish one model for devices of this schema: symbolon models publish --for-devices)",
        Reason::Unanswered => " (a server or the dealer is away, or busy: ask again)",
        Reason::ReplayedQuery => " (the server has forgotten it or knows a newer one: ask again)",
        Reason::Malformed | Reason::Version => " (use the same version everywhere)",
        Reason::Forged => " (the server knows another key of this device: register the one that was provisioned)",
        _ => "",
    }
}

impl std::error::Error for DeviceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } | Self::Address { error, .. } => Some(error),
            Self::Key { error, .. } => Some(error),
            Self::Submit(error) => Some(error),
            _ => None,
        }
    }
}
