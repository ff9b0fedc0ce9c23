//! A server's own keys, to which devices seal: `keys/ID.key`.
//!
//! ```toml
//! secret = "..." # 64 hexadecimal digits
//! not_before = 2026-01-01T00:00:00Z # these two may be left out
//! not_after = 2027-01-31T00:00:00Z
//! ```
//!
//! The file's name is the key's number. To rotate: add a key, provision devices with it, and let the validities overlap until all have it. A
//! session needs its key for as long as its reports come.

use super::{
    hex,
    rules::{FileError, FileFault},
    validity::{UnixSeconds, Validity},
};
use serde::Deserialize;
use std::{fmt::Write as _, path::Path};
use symbolon_core::report::identity::{PublicKey, SecretKey};
use zeroize::Zeroizing;

/// A key of this server.
pub struct KeyFile {
    /// The key.
    pub secret: SecretKey,
    /// When it serves.
    pub validity: Validity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    secret: Zeroizing<String>,
    not_before: Option<UnixSeconds>,
    not_after: Option<UnixSeconds>,
}

impl KeyFile {
    /// A fresh key, from the operating system's generator.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub fn generate(validity: Validity) -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes)?;
        Ok(Self { secret: SecretKey::from_bytes(&bytes), validity })
    }

    /// What devices are told.
    pub fn public(&self) -> PublicKey {
        self.secret.public()
    }

    /// The file's name of key `id`.
    pub fn name(id: u32) -> String {
        format!("{id}.key")
    }

    /// The number of the key in a file of this name.
    pub(super) fn id(path: &Path) -> Option<u32> {
        let stem = path.file_stem()?.to_str()?;
        stem.parse().ok().filter(|id: &u32| id.to_string() == stem)
    }

    /// The file's text. Secret.
    pub fn to_toml(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::print(self.secret.expose()));
        // Room for all of it, so that no copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(256));
        let _ = writeln!(text, "secret = \"{}\"", *digits); // a String takes everything
        for (key, time) in [("not_before", self.validity.not_before), ("not_after", self.validity.not_after)] {
            if let Some(time) = time {
                let _ = writeln!(text, "{key} = {time}");
            }
        }
        text
    }

    /// Parses a key file; `file` serves errors.
    ///
    /// # Errors
    ///
    /// What is wrong. Never quotes the secret.
    pub fn parse(text: &str, file: &Path) -> Result<Self, FileError> {
        let Raw { secret, not_before, not_after } = toml::from_str(text).map_err(|mut error| {
            error.set_input(None); // it would be quoted
            FileError::parse(file, error)
        })?;
        let bytes = hex::parse(&secret).map(Zeroizing::new);
        let bytes = bytes.ok_or_else(|| FileError::new(file, FileFault::SecretKey))?;
        Ok(Self { secret: SecretKey::from_bytes(&bytes), validity: Validity { not_before, not_after } })
    }
}
