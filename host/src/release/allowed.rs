//! The jobs that an operator allows: `jobs.toml` beside a server's configuration.
//!
//! ```toml
//! [[job]]
//! name = "occupancy"
//! hash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
//! ```
//!
//! `symbolon policy` writes the list; a server reads it again for each job.

use crate::{intake::hex, job::JobError, net::JobHash, report::write_atomic};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// The jobs that an operator allows on a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allowed(Vec<Entry>);

/// An allowed job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The job's name, for display: the hash alone is compared.
    pub name: String,
    /// The hash under which policies list the job:
    /// [`Job::listed_hash`](crate::job::Job::listed_hash).
    pub hash: JobHash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    job: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: String,
    hash: String,
}

/// Returns the hash under which a job is listed that begins with the kept model of `digest`: its
/// name alone would stand for a model of each client.
#[must_use]
pub fn listed_with(job: &JobHash, digest: &[u8; 32]) -> JobHash {
    Sha256::new_with_prefix("symbolon listed with v1").chain_update(job).chain_update(digest).finalize().into()
}

impl Allowed {
    /// Reads the list; a missing file gives an empty list.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or parsed, or has an invalid hash.
    pub fn load(file: &Path) -> Result<Self, AllowedError> {
        let fault = |fault| AllowedError { file: file.to_owned(), fault };
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| fault(AllowedFault::Io(error)))?,
        };
        let raw: File = toml::from_str(&text).map_err(|error| fault(AllowedFault::Parse(Box::new(error))))?;
        let entry = |RawEntry { name, hash }| match hex::parse(&hash) {
            Some(hash) => Ok(Entry { name, hash }),
            None => Err(fault(AllowedFault::Hash(hash))),
        };
        Ok(Self(raw.job.into_iter().map(entry).collect::<Result<_, _>>()?))
    }

    /// Writes the list atomically.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    pub fn write(&self, file: &Path) -> Result<(), AllowedError> {
        let entry = |Entry { name, hash }: &Entry| {
            format!("\n[[job]]\nname = {}\nhash = \"{}\"\n", toml::Value::from(name.as_str()), hex::print(hash))
        };
        let text = "# Jobs that may run here. `symbolon policy allow` and `symbolon policy revoke` write this file.\n"
            .to_owned()
            + &self.0.iter().map(entry).collect::<String>();
        write_atomic(file, text.as_bytes())
            .map_err(|error| AllowedError { file: file.to_owned(), fault: AllowedFault::Io(error) })
    }

    /// Returns whether the job of this hash is on the list.
    pub fn has(&self, hash: &JobHash) -> bool {
        self.0.iter().any(|entry| entry.hash == *hash)
    }

    /// Adds a job; returns false if its hash was on the list already.
    pub fn add(&mut self, entry: Entry) -> bool {
        let new = !self.has(&entry.hash);
        if new {
            self.0.push(entry);
        }
        new
    }

    /// Removes the job of this hash; returns false if the list lacks it.
    pub fn remove(&mut self, hash: &JobHash) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.hash != *hash);
        self.0.len() < before
    }

    /// Returns all entries, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }
}

/// The error of an unusable list.
#[derive(Debug)]
pub struct AllowedError {
    /// The list's file.
    pub file: PathBuf,
    /// The fault.
    pub fault: AllowedFault,
}

/// A fault of a list.
#[derive(Debug)]
pub enum AllowedFault {
    /// The file cannot be read or written.
    Io(io::Error),
    /// The file is an invalid list; the parser's error names the line.
    Parse(Box<toml::de::Error>),
    /// A hash is invalid.
    Hash(String),
    /// The hash of a job cannot be computed.
    Job(Box<JobError>),
}

impl fmt::Display for AllowedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.fault {
            AllowedFault::Io(error) => error.fmt(f),
            AllowedFault::Parse(error) => error.fmt(f),
            AllowedFault::Hash(hash) => write!(f, "`{hash}` is no hash of 64 hexadecimal digits"),
            AllowedFault::Job(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AllowedError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_list_is_written_and_read() {
        let file = std::env::temp_dir().join(format!("symbolon-allowed-{}.toml", std::process::id()));
        assert_eq!(Allowed::load(&file).unwrap(), Allowed::default());
        let mut list = Allowed::default();
        let entry = |name: &str, byte| Entry { name: name.to_owned(), hash: [byte; 32] };
        assert!(list.add(entry("a \"quoted\"", 1)) && list.add(entry("b", 2)) && !list.add(entry("again", 1)));
        list.write(&file).unwrap();
        let mut read = Allowed::load(&file).unwrap();
        assert_eq!(read, list);
        assert!(read.has(&[2; 32]) && read.remove(&[2; 32]) && !read.remove(&[2; 32]) && !read.has(&[2; 32]));
        fs::write(&file, "[[job]]\nname = \"x\"\nhash = \"12\"\n").unwrap();
        assert!(Allowed::load(&file).unwrap_err().to_string().contains("`12` is no hash"));
        fs::remove_file(file).unwrap();
    }
}
