//! The jobs that an operator allows: `jobs.toml` beside a server's configuration.
//!
//! ```toml
//! [[job]]
//! name = "occupancy"
//! hash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
//! ```
//!
//! `symbolon policy` writes it; a server reads it anew for each job.

use crate::{intake::hex, job::JobError, net::JobHash, report::write_atomic};
use serde::Deserialize;
use std::{
    fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// The list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allowed(Vec<Entry>);

/// A job that is allowed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its name, for people.
    pub name: String,
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

impl Allowed {
    /// Reads the list; a missing file is an empty one.
    ///
    /// # Errors
    ///
    /// If it cannot be read or parsed.
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

    /// Writes the list, whole or not at all.
    ///
    /// # Errors
    ///
    /// What the system said.
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

    /// Whether a job is on the list.
    pub fn has(&self, hash: &JobHash) -> bool {
        self.0.iter().any(|entry| entry.hash == *hash)
    }

    /// Adds a job; false if it was there.
    pub fn add(&mut self, entry: Entry) -> bool {
        let new = !self.has(&entry.hash);
        if new {
            self.0.push(entry);
        }
        new
    }

    /// Takes the job of this hash away; false if there is none.
    pub fn remove(&mut self, hash: &JobHash) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.hash != *hash);
        self.0.len() < before
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }
}

/// Why the list cannot be used.
#[derive(Debug)]
pub struct AllowedError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: AllowedFault,
}

/// What is wrong with a list.
#[derive(Debug)]
pub enum AllowedFault {
    /// It cannot be read or written.
    Io(io::Error),
    /// It is no list. Says the line.
    Parse(Box<toml::de::Error>),
    /// A hash that is none.
    Hash(String),
    /// A job that has none.
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
