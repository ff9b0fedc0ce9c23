//! The key pair of backups: the recipient's file stays with the server, the secret with its keeper.
//!
//! ```toml
//! key = "0011223344556677" # the key's id: the first bytes of a hash of `public`
//! public = "..." # 64 hexadecimal digits; the secret's file has `secret` instead
//! ```

use super::error::{BackupError, KeyFault};
use crate::{
    device::system_rng,
    intake::hex,
    secret::{PrivateFileError, create_private, read_private},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    fmt,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};
use symbolon_core::report::identity::{PublicKey, SecretKey};
use zeroize::Zeroizing;

/// Name of the recipient's file beside a server's configuration.
pub const RECIPIENT_FILE: &str = "backup-recipient.toml";
/// Separates these ids from all other hashes.
const ID_DOMAIN: &[u8] = b"symbolon backup key v1";

/// The id of a backup key.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// Returns the id of a public key.
    fn of(public: &PublicKey) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(ID_DOMAIN);
        hasher.update(public.0);
        let hash: [u8; 32] = hasher.finalize().into();
        Self(hash.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::print(&self.0))
    }
}

/// The public key to which a server's backups are encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    pub(super) public: PublicKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecipient {
    key: String,
    public: String,
}

impl Recipient {
    /// Returns the key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.public)
    }

    /// Reads the recipient's file.
    ///
    /// # Errors
    ///
    /// [`BackupError::Read`], [`BackupError::Key`].
    pub fn load(path: &Path) -> Result<Self, BackupError> {
        let text = fs::read_to_string(path).map_err(|source| BackupError::Read { path: path.to_owned(), source })?;
        let fault = |fault| BackupError::Key { path: path.to_owned(), fault };
        let RawRecipient { key, public } =
            toml::from_str(&text).map_err(|error| fault(KeyFault::Parse(error.message().to_owned())))?;
        let id = hex::parse(&key).ok_or_else(|| fault(KeyFault::Digits))?;
        let public = hex::parse(&public).ok_or_else(|| fault(KeyFault::Digits))?;
        let recipient = Self { public: PublicKey(public) };
        if recipient.id() == KeyId(id) { Ok(recipient) } else { Err(fault(KeyFault::Id)) }
    }

    /// Writes the recipient's file; refuses to replace one.
    ///
    /// # Errors
    ///
    /// [`BackupError::Exists`], [`BackupError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), BackupError> {
        let text = format!(
            "# `symbolon backup` encrypts to this public key, which decrypts nothing. Keep it beside the server's\n\
             # configuration.\nkey = \"{}\"\npublic = \"{}\"\n",
            self.id(),
            hex::print(&self.public.0)
        );
        write_new(path, text.as_bytes())
    }
}

/// Writes a new file for its owner alone.
pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    create_private(path, content).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(path.to_owned()),
        _ => BackupError::Write { path: path.to_owned(), source },
    })
}

/// The secret that decrypts backups.
pub struct BackupSecret {
    pub(super) secret: SecretKey,
}

impl fmt::Debug for BackupSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupSecret").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSecret {
    key: String,
    secret: Zeroizing<String>,
}

impl BackupSecret {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`BackupError::Randomness`].
    pub fn generate() -> Result<Self, BackupError> {
        let mut rng = system_rng().map_err(|_| BackupError::Randomness)?;
        Ok(Self { secret: SecretKey::generate(&mut rng) })
    }

    /// Returns the public half.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient { public: self.secret.public() }
    }

    /// Returns the key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.recipient().id()
    }

    /// Returns the path of the secret's file in `folder`.
    #[must_use]
    pub fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("backup-{}.key", self.id()))
    }

    /// Reads a secret's file.
    ///
    /// # Errors
    ///
    /// [`BackupError::Read`], [`BackupError::Key`].
    pub fn load(path: &Path) -> Result<Self, BackupError> {
        let fault = |fault| BackupError::Key { path: path.to_owned(), fault };
        let bytes = read_secret(path)?;
        let RawSecret { key, secret } = parse_secret(&bytes).map_err(|message| fault(KeyFault::Parse(message)))?;
        let id = hex::parse(&key).ok_or_else(|| fault(KeyFault::Digits))?;
        let bytes = hex::parse(&secret).map(Zeroizing::new).ok_or_else(|| fault(KeyFault::Digits))?;
        let secret = Self { secret: SecretKey::from_bytes(&bytes) };
        if secret.id() == KeyId(id) { Ok(secret) } else { Err(fault(KeyFault::Id)) }
    }

    /// Writes the secret's file for its owner alone; refuses to replace one.
    ///
    /// # Errors
    ///
    /// [`BackupError::Exists`], [`BackupError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), BackupError> {
        // Room for all of it, so that no copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(512));
        let digits = Zeroizing::new(hex::print(self.secret.expose()));
        let _ = write!(
            text,
            "# Secret: this key decrypts backups of a server. Keep it away from the server and from its backups.\n\
             key = \"{}\"\nsecret = \"{}\"\n",
            self.id(),
            *digits
        ); // a String takes everything
        write_new(path, text.as_bytes())
    }
}

/// Reads a file with a secret.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    read_private(path).map_err(|error| match error {
        PrivateFileError::Read(source) => BackupError::Read { path: path.to_owned(), source },
        PrivateFileError::Exposed => BackupError::Key { path: path.to_owned(), fault: KeyFault::Exposed },
    })
}

/// Parses TOML with a secret; the message of an error does not quote it.
pub(super) fn parse_secret<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    toml::from_str(text).map_err(|mut error| {
        error.set_input(None); // it would be quoted
        error.message().to_owned()
    })
}
