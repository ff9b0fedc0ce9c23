//! What can be wrong with data files.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why records were refused. Shown to their owner alone, so it may quote a cell.
#[derive(Debug)]
#[non_exhaustive]
pub enum DataError {
    /// The job learns from no files.
    Reports,
    /// No such file.
    Missing {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The system or the decompressor failed.
    Read {
        /// The file.
        path: PathBuf,
        /// What was said.
        source: io::Error,
    },
    /// Not an IDX file, or of an element type that does not exist.
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// Its first four bytes.
        got: [u8; 4],
    },
    /// The file ends inside a record.
    Short {
        /// The file.
        path: PathBuf,
        /// Records that were whole.
        records: usize,
        /// Records that its header or the job announces.
        want: usize,
    },
    /// Bytes behind the last record that the header announces.
    Trailing {
        /// The file.
        path: PathBuf,
    },
    /// A count does not fit the job's: fewer records, or another number of features.
    Count {
        /// The file.
        path: PathBuf,
        /// Key in the job.
        key: &'static str,
        /// Value in the job.
        job: u64,
        /// What the file holds.
        file: u64,
    },
    /// No row at all, or a header alone.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A row with another number of cells than the first.
    Ragged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Cells of the first row.
        want: usize,
        /// Cells of this row.
        got: usize,
    },
    /// A row longer than any real one; most likely a quote that is never closed.
    RowTooLong {
        /// The file.
        path: PathBuf,
        /// Where it begins, from 1.
        line: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A column of the job that is not in the file, or is there more than once.
    Column {
        /// The file.
        path: PathBuf,
        /// Name in the job.
        name: String,
        /// Times it is in the file.
        times: usize,
        /// The first columns of the file.
        known: Vec<String>,
    },
    /// Feature columns of the test file are not those of the training file.
    ColumnsDiffer {
        /// The test file.
        path: PathBuf,
        /// First differing name in the training file.
        train: String,
        /// First differing name in the test file.
        test: String,
    },
    /// One value cannot be used.
    Value {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// Why not.
        problem: Problem,
    },
    /// The records do not fit in memory.
    Memory {
        /// Records.
        rows: usize,
        /// Features a record.
        cols: usize,
    },
}

/// Where a value stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a CSV file.
    Cell {
        /// From 1.
        line: u64,
        /// Name of the column.
        column: String,
    },
    /// In an IDX file of features.
    Feature {
        /// From 0.
        record: usize,
        /// From 0.
        feature: usize,
    },
    /// In an IDX file of labels.
    Label {
        /// From 0.
        record: usize,
    },
}

/// Why a value cannot be used.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A marker for a missing value, and the job refuses them.
    Missing,
    /// Not a number.
    NotNumber {
        /// Its beginning.
        text: String,
    },
    /// NaN or infinite, as it stands or after scaling.
    NotFinite,
    /// Outside of the range that the job declares.
    OutsideRange {
        /// The value.
        got: f64,
        /// Least value.
        least: f64,
        /// Greatest value.
        greatest: f64,
    },
    /// Not a class index of the job.
    NotAClass {
        /// The label.
        got: f64,
        /// Classes of the job.
        classes: usize,
    },
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reports => {
                f.write_str("the job learns from reports, which the servers hold; there are no files to read")
            }
            Self::Missing { tried } => {
                let tried: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
                write!(f, "no data file {}; name the folder that holds it with --data", tried.join(", nor "))
            }
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::IdxMagic { path, got } => write!(
                f,
                "{} is not an IDX file: it begins with {got:02x?}, expected 00 00, an element type and the number of dimensions",
                path.display()
            ),
            Self::Short { path, records, want } => {
                write!(f, "{} ends after {records} of {want} records; fetch it again", path.display())
            }
            Self::Trailing { path } => {
                write!(f, "{} goes on behind the last record that its header announces; fetch it again", path.display())
            }
            Self::Count { path, key, job, file } => {
                write!(f, "{} holds {file}, the job says {key} = {job}; correct the job or the file", path.display())
            }
            Self::Empty { path } => write!(f, "{} holds no records", path.display()),
            Self::Ragged { path, line, want, got } => {
                write!(f, "{}:{line}: {got} cells, expected {want} as in the first row", path.display())
            }
            Self::RowTooLong { path, line, limit_bytes } => {
                write!(f, "{}:{line}: a row of more than {limit_bytes} bytes; is a quote left open?", path.display())
            }
            Self::Column { path, name, times: 0, known } => {
                write!(f, "{} has no column {name:?}; it has {}", path.display(), known.join(", "))
            }
            Self::Column { path, name, times, .. } => {
                write!(f, "{} has {times} columns named {name:?}; rename them", path.display())
            }
            Self::ColumnsDiffer { path, train, test } => {
                write!(f, "{} has column {test:?} where the training file has {train:?}", path.display())
            }
            Self::Value { path, place, problem } => {
                match place {
                    Place::Cell { line, column } => write!(f, "{}:{line}, column {column}: ", path.display())?,
                    Place::Feature { record, feature } => {
                        write!(f, "{}, record {record}, feature {feature}: ", path.display())?;
                    }
                    Place::Label { record } => write!(f, "{}, record {record}: ", path.display())?,
                }
                problem.fmt(f)
            }
            Self::Memory { rows, cols } => write!(f, "no memory for {rows} records of {cols} features"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                write!(f, "no value; set on_missing = \"skip\" in [data.csv] to leave such rows out")
            }
            Self::NotNumber { text } => {
                write!(f, "{text:?} is not a number; leave the column out, or list it under `missing` in [data.csv]")
            }
            Self::NotFinite => write!(f, "not a finite number"),
            Self::OutsideRange { got, least, greatest } => {
                write!(f, "{got} is outside of the range {least} to {greatest} that the job declares")
            }
            Self::NotAClass { got, classes } => {
                write!(f, "{got} is not a class; the job has classes 0 to {}", classes.saturating_sub(1))
            }
        }
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}
