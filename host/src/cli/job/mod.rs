//! `symbolon job`: job files before a run.

mod check;
mod from_onnx;
mod migrate;
mod new;
mod schema;
mod show;

use super::exit::Failure;

/// `symbolon job`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Check a job file and print its network as a table: shapes, parameters, forms, rounds, bytes
    Check(check::Args),
    /// Write a job file of version 1 in the present form
    Migrate(migrate::Args),
    /// Draw the network of a job file
    Show(show::Args),
    /// Print the JSON schema of job files, for editors
    Schema,
    /// Write a job file with the network of an ONNX file, for `models import`
    FromOnnx(from_onnx::Args),
    /// Write a job file for a CSV file, with public scales for the data's owner to edit
    New(new::Args),
}

/// Runs a command of the group.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Check(args) => check::run(args),
        Args::FromOnnx(args) => from_onnx::run(args),
        Args::Migrate(args) => migrate::run(args),
        Args::New(args) => new::run(args),
        Args::Show(args) => show::run(args),
        Args::Schema => schema::run(),
    }
}

/// Prints `text` as it is.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    std::io::Write::write_all(&mut out, text.as_bytes())
        .map_err(|error| Failure::Other(format!("cannot print: {error}")))
}
