//! Values of a job file that have a `kind`: a name alone, or a table with it and its numbers.

use super::Rule;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A kind in a job file.
#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "expected a kind, such as \"squared-error\", or a table with the key `kind`")]
pub(super) enum KindFile {
    /// A kind that needs no numbers.
    Kind(String),
    /// The `kind` and its numbers.
    Table(Map<String, Value>),
}

/// [`KindFile`] in a schema: a kind of `T`, or `T`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes another type")]
pub(super) enum KindOr<T> {
    /// A kind that needs no numbers.
    Kind(String),
    /// The `kind` and its numbers.
    Table(T),
}

impl KindFile {
    /// Returns the kind and its numbers.
    pub(super) fn parts(self) -> Result<(String, Value), Rule> {
        match self {
            Self::Kind(name) => Ok((name, Value::Object(Map::new()))),
            Self::Table(mut table) => match table.remove("kind") {
                Some(Value::String(name)) => Ok((name, Value::Object(table))),
                _ => Err(Rule::KindMissing),
            },
        }
    }
}
