//! Errors of the model store, each with a code that does not change.

use super::entry::ModelState;
use crate::{intake::store::StoreError, job::ModelVersion};
use std::{fmt, io, path::PathBuf};

/// The reason why the model store refused or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelStoreError {
    /// The client has no such version here.
    Unknown(ModelVersion),
    /// The client has as many names, versions or bytes as the configuration permits.
    Full {
        /// Kept versions, and the limit.
        versions: [u64; 2],
        /// Bytes with the new version, and the limit.
        bytes: [u64; 2],
    },
    /// The client has had as many names as it may have.
    Names {
        /// The limit.
        most: usize,
    },
    /// The servers have different public parts.
    Differs(ModelVersion),
    /// The version number was used already.
    Taken(ModelVersion),
    /// The version's state does not permit the command.
    State {
        /// The model.
        model: ModelVersion,
        /// Its state.
        state: ModelState,
        /// The next step for the user.
        advice: &'static str,
    },
    /// Its job does not reveal the model.
    Closed(ModelVersion),
    /// A job that would begin with it has another `key`.
    Unfit {
        /// The model.
        model: ModelVersion,
        /// The job's key.
        key: &'static str,
    },
    /// It was kept under another authority.
    Deployment(ModelVersion),
    /// Another version of this program kept it.
    Version(ModelVersion),
    /// The share's file is truncated, corrupt, or another model's.
    Damaged(PathBuf),
    /// Another process uses the folder.
    InUse(PathBuf),
    /// The file system failed.
    Files {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The catalogue cannot be used.
    Catalogue(StoreError),
}

impl ModelStoreError {
    /// Returns a code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "model-unknown",
            Self::Full { .. } => "model-store-full",
            Self::Names { .. } => "model-names",
            Self::Differs(_) => "model-differs",
            Self::Taken(_) => "model-taken",
            Self::State { .. } => "model-state",
            Self::Closed(_) => "model-closed",
            Self::Unfit { .. } => "model-unfit",
            Self::Deployment(_) => "model-deployment",
            Self::Version(_) => "model-version",
            Self::Damaged(_) => "model-damaged",
            Self::InUse(_) => "model-store-in-use",
            Self::Files { .. } => "model-files",
            Self::Catalogue(_) => "model-catalogue",
        }
    }

    /// Returns whether the server refused the request; a failure of the server gives `false`.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Damaged(_) | Self::InUse(_) | Self::Files { .. } | Self::Catalogue(_))
    }
}

impl fmt::Display for ModelStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        match self {
            Self::Unknown(model) => {
                write!(f, "the server has no {model} of this client; `symbolon models list` shows your models")
            }
            Self::Full { versions: [held, most], bytes: [with, most_bytes] } => write!(
                f,
                "this client keeps {held} versions, and the limit is {most}; with this one they would have {} MiB of {}; \
                 delete models, train with --no-keep, or have the operator raise `models.most_versions` or \
                 `models.most_mib`",
                with >> 20,
                most_bytes >> 20
            ),
            Self::Names { most } => {
                write!(f, "this client has had {most} names; keep the model under one of these (`--keep NAME`)")
            }
            Self::Differs(model) => write!(
                f,
                "the servers' public parts of {model} differ; delete it (`symbolon models list` shows both servers)"
            ),
            Self::Taken(model) => write!(f, "the version {model} was used already; repeat the command"),
            Self::State { model, state: ModelState::Draft, advice } => write!(f, "{model} is a draft; {advice}"),
            Self::State { model, state, advice } => write!(f, "{model} is {}; {advice}", state.name()),
            Self::Closed(model) => {
                write!(
                    f,
                    "the job of {model} does not reveal the model, so neither an export nor a job that begins with it does; \
                     train with reveal.model = true"
                )
            }
            Self::Unfit { model, key } => write!(
                f,
                "the job's {key} is not that of {model}, with which it begins; take the model's (`symbolon models show`)"
            ),
            Self::Deployment(model) => {
                write!(f, "{model} was kept under another authority; restore that deployment's certificates")
            }
            Self::Version(model) => {
                write!(f, "another version of this program kept {model}; use that version, or delete the model")
            }
            Self::Damaged(path) => {
                write!(f, "{} is damaged or another model's share; restore it from a copy", path.display())
            }
            Self::InUse(path) => write!(f, "another process uses {}; does this server run already?", path.display()),
            Self::Files { path, source } => write!(
                f,
                "{}: {source}; restore a missing file, make room on the disk, or check permissions",
                path.display()
            ),
            Self::Catalogue(error) => write!(f, "the catalogue of models: {error}"),
        }
    }
}

impl std::error::Error for ModelStoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Files { source, .. } => Some(source),
            Self::Catalogue(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> From<E> for ModelStoreError
where
    StoreError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Catalogue(error.into())
    }
}
