//! `symbolon job schema`: the JSON schema of job files.

use super::{Failure, print};
use crate::job::job_schema;

/// Prints the schema.
pub(super) fn run() -> Result<(), Failure> {
    let schema = serde_json::to_string_pretty(&job_schema()).map_err(|error| Failure::Other(error.to_string()))?;
    print(&format!("{schema}\n"))
}
