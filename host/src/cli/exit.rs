//! How a command ends.

use crate::{
    data::DataError,
    job::JobError,
    net::{ConfigError, DeployError, IdentityError, NetError},
    onnx::{ModelFileError, OnnxError},
    report::ModelError,
    session::{SessionError, client::TicketError},
    storage::StorageError,
    train::{EncodeError, Halt, Impossible, LoadError, ModelMismatch},
};
use std::{
    fmt,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Wrong usage, job, data or configuration: 2.
    Input(String),
    /// Words left their range: 2.
    Range(String),
    /// A peer or the network: 3.
    Network(String),
    /// A policy or the dealer: 4.
    Refused(String),
    /// Anything else: 1.
    Other(String),
}

impl Failure {
    /// A file that the system would not write.
    pub(super) fn write(path: &Path, error: &std::io::Error) -> Self {
        Self::Other(format!("cannot write {}: {error}; nothing was left there", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(text) | Self::Range(text) | Self::Network(text) | Self::Refused(text) | Self::Other(text) => {
                f.write_str(text)
            }
        }
    }
}

macro_rules! from {
    ($($error:ty => $kind:ident),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$kind(error.to_string())
            }
        })*
    };
}
from!(
    JobError => Input,
    DataError => Input,
    EncodeError => Input,
    StorageError => Other,
    ConfigError => Input,
    IdentityError => Input,
    NetError => Network,
    ModelError => Other,
    OnnxError => Input,
    Impossible => Range,
    ModelMismatch => Input,
    TicketError => Input,
);

impl From<ModelFileError> for Failure {
    fn from(error: ModelFileError) -> Self {
        match error {
            ModelFileError::Model(error) => error.into(),
            error @ ModelFileError::Onnx { .. } => Self::Input(error.to_string()),
        }
    }
}

impl From<DeployError> for Failure {
    fn from(error: DeployError) -> Self {
        let text = error.to_string();
        match error {
            DeployError::Host(_) | DeployError::HostIsRole { .. } | DeployError::Exists(_) => Self::Input(text),
            _ => Self::Other(text),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        match error {
            error if error.is_refusal() => Self::Refused(text),
            SessionError::OutOfRange | SessionError::Impossible(_) => Self::Range(text),
            SessionError::Config(_) | SessionError::Encoding => Self::Input(text),
            SessionError::Randomness
            | SessionError::Stopped
            | SessionError::Storage(_)
            | SessionError::Models(_)
            | SessionError::Jobs(_) => Self::Other(text),
            _ => Self::Network(text),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Data(error) => error.into(),
            LoadError::Encode(error) => error.into(),
            LoadError::Storage(error) => error.into(),
        }
    }
}

impl From<Halt> for Failure {
    fn from(halt: Halt) -> Self {
        Self::Other(match halt {
            Halt::Protocol { error, step } => format!("after step {step}: {error}"),
            Halt::Stopped => "stopped".to_owned(),
        })
    }
}

/// The process's status.
#[derive(Debug)]
pub struct Exit(Result<(), Failure>);

/// Whether the user interrupted. Whoever noticed ends the process; what failed because of it is no news.
static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Notes an interrupt; the caller ends the process.
pub(super) fn interrupt() {
    INTERRUPT.store(true, Ordering::Release);
}

/// Status of an interrupted command, as shells have it.
pub(super) const INTERRUPTED: i32 = 130;

impl Exit {
    pub(super) fn of(result: Result<(), Failure>) -> Self {
        Self(result)
    }
}

impl std::process::Termination for Exit {
    fn report(self) -> ExitCode {
        while INTERRUPT.load(Ordering::Acquire) {
            thread::park();
        }
        let Err(failure) = self.0 else { return ExitCode::SUCCESS };
        note!("symbolon: {failure}");
        ExitCode::from(match failure {
            Failure::Other(_) => 1,
            Failure::Input(_) | Failure::Range(_) => 2,
            Failure::Network(_) => 3,
            Failure::Refused(_) => 4,
        })
    }
}
