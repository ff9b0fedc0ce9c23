//! The name of a kept model, from which a job may begin.

use super::check_name;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A version of a client's model, written `NAME:VERSION`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct ModelVersion {
    /// Letters, digits, `.`, `_` and `-`, as a job's name.
    pub name: String,
    /// Counted from 1.
    pub version: u32,
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

impl FromStr for ModelVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(name, version)| {
            let version = version.parse().ok().filter(|version| *version > 0)?;
            check_name(name).ok().map(|()| Self { name: name.to_owned(), version })
        });
        parsed.ok_or_else(|| "write NAME:VERSION, such as digits:1".to_owned())
    }
}
