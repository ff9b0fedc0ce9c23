//! `symbolon job new`: a job file that is proposed from a CSV file.
//!
//! The file is read twice: for the columns that hold numbers, and for their spread. Only rounded
//! figures leave this process, and these are the owner's to replace.

mod columns;
mod proposal;
#[cfg(test)]
mod tests;
mod text;

use super::Failure;
use crate::{
    cli::share::delimiter,
    data::{DataError, Dialect, Problem, Source, open_file},
    job::{Job, OnMissing, Task},
    report::write_atomic,
};
use columns::Columns;
use proposal::Proposal;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Arguments of `symbolon job new`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The CSV file with the records, plain or gzip
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// Column of the class or the number to predict; the last one, if not given
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// The job file to write, which must not exist; standard output, if not given
    #[arg(long, value_name = "JOB.toml")]
    out: Option<PathBuf>,
    /// Character between cells, for example ";"; a tab is written "tab"
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter, default_value = ",")]
    delimiter: char,
    /// The first row holds data: columns are named 0, 1, ...
    #[arg(long)]
    no_header: bool,
    /// A cell that stands for a missing value, beside the empty cell; several times for several
    #[arg(long, value_name = "TEXT")]
    missing: Vec<String>,
}

/// Why no job can be proposed.
#[derive(Debug)]
enum Refusal {
    /// The file, or what it holds.
    Data(DataError),
    /// The first row holds numbers.
    NoHeader { file: PathBuf },
    /// The column to predict cannot be predicted.
    Label { name: String, fault: columns::Fault },
    /// The number of rows without a missing cell.
    Rows { got: u64, want: u64 },
    /// No column but the label can be used.
    NoFeatures { left_out: Vec<String> },
}

impl From<DataError> for Refusal {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => error.fmt(f),
            Self::NoHeader { file } => {
                write!(f, "{}: the first row holds numbers and no names; give --no-header", file.display())
            }
            Self::Label { name, fault } => {
                write!(f, "column {name:?} cannot be predicted: it {fault}; name another with --label")
            }
            Self::Rows { got, want } => {
                write!(f, "{got} rows have no missing cell, and a job takes {want} or more; give more rows")
            }
            Self::NoFeatures { left_out } => {
                write!(f, "no column is left to learn from: {}", left_out.join("; "))
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Input(refusal.to_string())
    }
}

impl Args {
    /// Missing cells are left out: the job says so.
    fn dialect(&self) -> Dialect {
        let missing = [String::new()].into_iter().chain(self.missing.iter().cloned()).collect();
        Dialect { delimiter: self.delimiter, header: !self.no_header, missing, on_missing: OnMissing::Skip }
    }
}

/// Writes a job file.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(out) = args.out.as_deref().filter(|out| out.exists()) {
        return Err(Failure::Input(format!("--out: {} exists; remove it, or name another file", out.display())));
    }
    let open = || open_file(args.csv.clone());
    let (proposal, text) = propose(&args.csv, &open, args.dialect(), args.label.as_deref())?;
    for (name, fault) in &proposal.left_out {
        note!("symbolon: column {name:?} is left out: it {fault}");
    }
    if proposal.looks_like_classes {
        note!(
            "symbolon: column {:?} holds few whole numbers, but not 0 to n - 1: the job predicts a number. If they are \
             classes, number them from 0 in the file",
            proposal.label
        );
    }
    let Some(out) = &args.out else {
        say!("{}", text.trim_end());
        return Ok(());
    };
    write_atomic(out, text.as_bytes()).map_err(|error| Failure::write(out, &error))?;
    let task = match proposal.task {
        Task::Classes(classes) => format!("{classes} classes"),
        Task::Regression(_) => "a number".to_owned(),
    };
    let Proposal { features, label, train_records, test_records, .. } = &proposal;
    let folder = args.csv.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    say!(
        "{}: {} features predict {task} ({label}); {train_records} records train and {test_records} test",
        out.display(),
        features.len(),
    );
    say!("All of it becomes public: replace its constants by what is known without the records. Then");
    say!("  symbolon audit {} --data {}", out.display(), folder.display());
    Ok(())
}

/// A proposal and the job file's text, which was read as a job.
fn propose(
    csv: &Path,
    open: &dyn Fn() -> Result<Source, DataError>,
    dialect: Dialect,
    label: Option<&str>,
) -> Result<(Proposal, String), Failure> {
    let columns = Columns::read(open, &dialect, label)?;
    let proposal = Proposal::new(csv, dialect, columns)?;
    let text = text::job(&proposal);
    Job::parse(&text, Path::new(&format!("{}.toml", proposal.name)))?;
    Ok((proposal, text))
}

/// The text of a cell that is no number.
fn cell_text(error: DataError) -> Result<(u64, String), DataError> {
    match error {
        DataError::Value { place: crate::data::Place::Cell { line, .. }, problem, .. } => Ok((
            line,
            match problem {
                Problem::NotNumber { text } => format!("{text:?}"),
                problem => problem.to_string(),
            },
        )),
        error => Err(error),
    }
}
