//! `symbolon job`: job files before a run.

mod new;

use super::exit::Failure;

/// `symbolon job`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Write a job file for a CSV file, with public scales for the data's owner to edit
    New(new::Args),
}

/// Runs a command of the group.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::New(args) => new::run(args),
    }
}
