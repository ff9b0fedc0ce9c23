//! Errors of backups, each with a code that does not change.

use super::key::KeyId;
use crate::net::{ConfigError, IdentityError, Role};
use std::{fmt, io, path::PathBuf};

/// The reason why a backup, its key or a restore was refused or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The server runs: its model store is locked.
    Running(PathBuf),
    /// Another process has this file open to write.
    InUse(PathBuf),
    /// The lock of the model store cannot be taken.
    Lock(Box<crate::model_store::ModelStoreError>),
    /// A file or folder cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file that the configuration names cannot be stored.
    Source {
        /// The file.
        path: PathBuf,
        /// The fault.
        fault: SourceFault,
    },
    /// The backup would replace a file.
    Exists(PathBuf),
    /// The backup would be written into a folder that it stores.
    Inside {
        /// The backup.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// A restored configuration is invalid.
    Configuration {
        /// The fault.
        error: Box<ConfigError>,
        /// Version of the program that made the backup.
        program: String,
    },
    /// Certificate, key or authority are invalid.
    Identity(Box<IdentityError>),
    /// The certificate is another role's.
    Role {
        /// The role of the configuration or of the manifest.
        expected: Role,
        /// The role of the certificate or of the configuration.
        found: Role,
    },
    /// The certificates in the backup are of another deployment than its manifest says.
    Deployment(PathBuf),
    /// A file is no key of backups.
    Key {
        /// The file.
        path: PathBuf,
        /// The fault.
        fault: KeyFault,
    },
    /// A file is no usable share of a key.
    Share {
        /// The file.
        path: PathBuf,
        /// The fault.
        fault: ShareFault,
    },
    /// There are fewer shares than the key needs.
    TooFew {
        /// The key.
        key: KeyId,
        /// Number of shares.
        got: usize,
        /// Number of shares that the key needs.
        needed: u8,
    },
    /// The backup was made for another key.
    OtherKey {
        /// The backup.
        path: PathBuf,
        /// The key that it needs.
        needed: KeyId,
        /// The key at hand.
        got: KeyId,
    },
    /// The file does not begin as a backup.
    Format(PathBuf),
    /// Another version of the program made the backup.
    Version {
        /// The backup.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The end of the backup is missing.
    Truncated {
        /// The backup.
        path: PathBuf,
        /// Its length, in bytes.
        bytes: u64,
        /// The length with which it was made; 0 if the header is incomplete.
        whole: u64,
    },
    /// The backup was changed after it was made.
    Changed(PathBuf),
    /// The backup decrypts, but an entry is invalid.
    Entry {
        /// The backup.
        path: PathBuf,
        /// The entry's name.
        name: String,
        /// The fault.
        fault: EntryFault,
    },
    /// The folder to restore into has files, or is a file.
    NotEmpty(PathBuf),
    /// The system has no randomness.
    Randomness,
}

/// The reason why a file cannot be stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceFault {
    /// It is neither a file nor a folder.
    Special,
    /// It is a link to a folder.
    FolderLink,
    /// Its name is not UTF-8.
    Name,
    /// It changed while it was read.
    Changed,
    /// Another file has its place in the backup.
    Collision,
}

/// The reason why a file is no key.
#[derive(Debug)]
pub enum KeyFault {
    /// Every user of the machine can read the secret.
    Exposed,
    /// The file is not TOML, or has other keys. The message never quotes a secret.
    Parse(String),
    /// Hexadecimal digits are invalid.
    Digits,
    /// The id is another key's.
    Id,
}

/// The reason why a share is refused.
#[derive(Debug)]
pub enum ShareFault {
    /// It cannot be parsed. The message never quotes a secret.
    Parse(String),
    /// Its numbers or digits are invalid.
    Numbers,
    /// The checksum differs.
    Checksum,
    /// Another file has the same share.
    Repeated {
        /// The other file.
        other: PathBuf,
        /// The share's number.
        number: u8,
    },
    /// It is of another key.
    Foreign {
        /// The key that is needed.
        needed: KeyId,
        /// The share's key.
        got: KeyId,
    },
    /// Its key was split in another way.
    OtherSplit {
        /// The file with which it disagrees.
        other: PathBuf,
    },
    /// All shares are whole, but together they do not give the key.
    Together,
}

/// The reason why an entry of a backup is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryFault {
    /// Its path would leave the folder.
    Path,
    /// It is neither a file nor a folder.
    Kind,
    /// Another entry has its path.
    Twice,
    /// The manifest lists no such file.
    Unlisted,
    /// The manifest lists it, but it is missing.
    Missing,
    /// The digest or the length differs from the manifest's.
    Digest,
    /// The manifest is missing or invalid.
    Manifest,
    /// The archive is invalid.
    Archive,
}

impl BackupError {
    /// Returns a code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Running(_) => "backup-running",
            Self::InUse(_) => "backup-in-use",
            Self::Lock(_) | Self::Read { .. } | Self::Write { .. } => "backup-files",
            Self::Source { .. } => "backup-source",
            Self::Exists(_) | Self::Inside { .. } => "backup-out",
            Self::Configuration { .. } => "backup-configuration",
            Self::Identity(_) => "backup-identity",
            Self::Role { .. } => "backup-role",
            Self::Deployment(_) => "backup-deployment",
            Self::Key { .. } | Self::OtherKey { .. } => "backup-key",
            Self::Share { .. } => "backup-share",
            Self::TooFew { .. } => "backup-shares",
            Self::Format(_) => "backup-format",
            Self::Version { .. } => "backup-version",
            Self::Truncated { .. } => "backup-truncated",
            Self::Changed(_) => "backup-changed",
            Self::Entry { .. } => "backup-damaged",
            Self::NotEmpty(_) => "backup-not-empty",
            Self::Randomness => "backup-randomness",
        }
    }

    /// Returns whether the machine failed; wrong arguments and invalid files give `false`.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Running(_)
                | Self::InUse(_)
                | Self::Lock(_)
                | Self::Read { .. }
                | Self::Write { .. }
                | Self::Source { fault: SourceFault::Changed, .. }
                | Self::Randomness
        )
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        match self {
            Self::Running(folder) => write!(
                f,
                "the server that keeps its models in {} runs; stop the server, make the backup, start it again",
                folder.display()
            ),
            Self::InUse(path) => {
                write!(f, "another process has {} open; wait until that command ends, or stop it", path.display())
            }
            Self::Lock(error) => error.fmt(f),
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Write { path, source } => {
                write!(f, "cannot write {}: {source}; nothing was left there", path.display())
            }
            Self::Source { path, fault } => write!(f, "{}: {fault}", path.display()),
            Self::Exists(path) => write!(f, "{} exists; give a new name, or remove it first", path.display()),
            Self::Inside { path, folder } => write!(
                f,
                "{} would lie in {}, which the backup holds; write it elsewhere",
                path.display(),
                folder.display()
            ),
            Self::Configuration { error, program } => {
                write!(f, "{error}; version {program} of this program made the backup: restore with that one")
            }
            Self::Identity(error) => error.fmt(f),
            Self::Role { expected, found } => {
                write!(f, "the files are {found}'s, but {expected}'s are due; take the other server's files away")
            }
            Self::Deployment(path) => write!(
                f,
                "the certificates in {} belong to another deployment than its manifest says; take another backup",
                path.display()
            ),
            Self::Key { path, fault } => write!(f, "{}: {fault}", path.display()),
            Self::Share { path, fault } => write!(f, "{}: {fault}", path.display()),
            Self::TooFew { key, got, needed } => {
                let more = usize::from(*needed) - got;
                write!(f, "key {key} needs {needed} shares, and {got} are given; add {more} more with --share")
            }
            Self::OtherKey { path, needed, got } => {
                write!(f, "{} was made for key {needed}, and this is key {got}; give that key", path.display())
            }
            Self::Format(path) => {
                write!(f, "{} is no backup; give a file that `symbolon backup` wrote", path.display())
            }
            Self::Version { path, version } => {
                let path = path.display();
                write!(f, "{path} has version {version}, and this program reads version 1; use a later release")
            }
            Self::Truncated { path, whole: 0, bytes } => {
                write!(f, "{} ends within its header, after {bytes} bytes; copy it again", path.display())
            }
            Self::Truncated { path, bytes, whole } => {
                write!(f, "{} has {bytes} of its {whole} bytes; copy it again from where it is whole", path.display())
            }
            Self::Changed(path) => {
                write!(f, "{} was changed after it was made; copy it again, or take another backup", path.display())
            }
            Self::Entry { path, name, fault } => {
                write!(f, "{}, entry `{name}`: {fault}; nothing was restored", path.display())
            }
            Self::NotEmpty(path) => {
                write!(f, "{} is not an empty folder; give an empty or new one", path.display())
            }
            Self::Randomness => f.write_str("the operating system gives no random bytes"),
        }
    }
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Special => "is neither a file nor a folder; move it away",
            Self::FolderLink => "is a link to a folder; name the folder itself in the configuration",
            Self::Name => "has a name that is not UTF-8; rename it",
            Self::Changed => "changed while it was read; make the backup again",
            Self::Collision => "has the same place in the backup as another file; name it otherwise",
        })
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exposed => f.write_str("every user can read this secret; `chmod 600` it"),
            Self::Parse(error) => write!(f, "is no key of backups as `symbolon backup keys` writes them: {error}"),
            Self::Digits => f.write_str("a key has 64 hexadecimal digits, its id 16; copy the file again"),
            Self::Id => f.write_str("its id and its digits are of different keys; copy the file again"),
        }
    }
}

impl fmt::Display for ShareFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => write!(f, "is no share as `symbolon backup keys` writes them: {error}"),
            Self::Numbers => f.write_str("its numbers or digits are invalid; have its keeper copy it again"),
            Self::Checksum => f.write_str("is damaged: its checksum differs; have its keeper copy it again"),
            Self::Repeated { other, number } => {
                write!(f, "is share {number}, as is {}; give another keeper's share instead", other.display())
            }
            Self::Foreign { needed, got } => {
                write!(f, "is a share of key {got}, and key {needed} is needed; give a share of that key")
            }
            Self::OtherSplit { other } => write!(
                f,
                "is of another split of the key than {}; give shares that were made together",
                other.display()
            ),
            Self::Together => f.write_str("does not give the key with the others; replace it, or others, one by one"),
        }
    }
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "its path would leave the folder",
            Self::Kind => "it is neither a file nor a folder",
            Self::Twice => "another entry has its path",
            Self::Unlisted => "the manifest does not list it",
            Self::Missing => "the manifest lists it, but it is missing",
            Self::Digest => "its content differs from the manifest's digest",
            Self::Manifest => "the manifest is missing or invalid",
            Self::Archive => "the archive is invalid",
        })
    }
}

impl std::error::Error for BackupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Lock(error) => Some(error),
            Self::Configuration { error, .. } => Some(error),
            Self::Identity(error) => Some(error),
            _ => None,
        }
    }
}
