//! `symbolon job migrate`: a job file of version 1 in the present form.

use super::{Failure, print};
use crate::{
    job::{Draft, migrate},
    report::write_atomic,
};
use std::path::PathBuf;

/// Arguments of `symbolon job migrate`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The job file of version 1
    #[arg(value_name = "OLD.toml")]
    file: PathBuf,
    /// The file to write, which must not exist; standard output, if not given
    #[arg(long, value_name = "JOB.toml")]
    out: Option<PathBuf>,
}

/// Migrates a file; what is written reads as a job file.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let name = args.file.display();
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::Input(format!("cannot read job file {name}: {error}")))?;
    let new = migrate::migrate(&text).map_err(|error| Failure::Input(format!("{name}: {error}")))?;
    Draft::parse(&new, &args.file)?;
    let Some(out) = &args.out else { return print(&new) };
    if out.exists() {
        return Err(Failure::Input(format!("{} exists; give another file", out.display())));
    }
    write_atomic(out, new.as_bytes()).map_err(|error| Failure::write(out, &error))
}
