//! What can be wrong with data files.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{CifarProblem, NpyProblem, ZipProblem};
use crate::plain::Plain;

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
        records: u64,
        /// Records that its header announces; 0 if it ends before.
        want: u64,
    },
    /// An NPY file that cannot be read.
    Npy {
        /// The file.
        path: PathBuf,
        /// Its fault.
        problem: NpyProblem,
    },
    /// A zip archive that cannot be read.
    Zip {
        /// The file.
        path: PathBuf,
        /// Its fault.
        problem: ZipProblem,
    },
    /// A file of CIFAR's binary format that cannot be read.
    Cifar {
        /// The file.
        path: PathBuf,
        /// Its fault.
        problem: CifarProblem,
    },
    /// A file of labels has another number of values a record than the task.
    LabelWidth {
        /// The file.
        path: PathBuf,
        /// Values a record.
        got: u64,
        /// Values that the task has.
        want: usize,
    },
    /// A file of labels announces another number of records than that of the features.
    Labels {
        /// The file with the labels.
        path: PathBuf,
        /// Records of features.
        features: u64,
        /// Records of labels.
        labels: u64,
    },
    /// An array of lengths that does not have one number for each record.
    Lengths {
        /// The file.
        path: PathBuf,
        /// Records, and numbers of each.
        got: [u64; 2],
        /// Records of features.
        want: u64,
    },
    /// Bytes behind the last record that the header announces.
    Trailing {
        /// The file.
        path: PathBuf,
    },
    /// Another count of features than the job's, or fewer records.
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
    /// A line longer than any real one.
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// The limit.
        limit_bytes: usize,
    },
    /// A quoted cell goes on behind its line.
    Quote {
        /// The file.
        path: PathBuf,
        /// Line with the quote that opens the cell, from 1.
        opens: u64,
        /// Line with the quote that closes it; `None` if there is none to the end of the file.
        closes: Option<u64>,
    },
    /// The first line holds NUL bytes.
    NotText {
        /// The file.
        path: PathBuf,
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
    /// The receiver of the records ended the reading.
    Ended,
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
    /// In a file of features without lines.
    Feature {
        /// From 0.
        record: u64,
        /// From 0.
        feature: usize,
    },
    /// The label of a record in a file without lines.
    Label {
        /// From 0.
        record: u64,
    },
    /// The length of a record, or of its labels.
    Length {
        /// From 0.
        record: u64,
    },
}

/// Why a value cannot be used.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A marker for a missing value, and these are refused.
    Missing,
    /// Not a number.
    NotNumber {
        /// Its beginning.
        text: String,
    },
    /// Not a time.
    NotTime {
        /// Its beginning.
        text: String,
    },
    /// Not a device's identifier.
    NotDevice {
        /// Its beginning.
        text: String,
    },
    /// Not a boot or the number of a report.
    NotCount {
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
    /// Not a length of the job's sequences or labels.
    NotALength {
        /// The number.
        got: f64,
        /// Least length.
        least: u16,
        /// Greatest length.
        greatest: u16,
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
                write!(
                    f,
                    "no data file {}, plain or with `.gz`; name the folder that holds it with --data",
                    tried.join(", nor ")
                )
            }
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::IdxMagic { path, got } => write!(
                f,
                "{} is not an IDX file: it begins with {got:02x?}, expected 00 00, an element type and the number of dimensions",
                path.display()
            ),
            Self::Npy { path, problem } => write!(f, "{} {problem}", path.display()),
            Self::Zip { path, problem } => write!(f, "{} {problem}", path.display()),
            Self::Cifar { path, problem } => write!(f, "{} {problem}", path.display()),
            Self::LabelWidth { path, got, want } => write!(
                f,
                "{} holds {got} values a label, expected {want}: a class index, or one for each entry of data.target; turn \
                 one-hot rows into indices",
                path.display()
            ),
            Self::Short { path, want: 0, .. } => write!(f, "{} ends in its header; fetch it again", path.display()),
            Self::Short { path, records, want } => {
                write!(f, "{} ends after {records} of {want} records; fetch it again", path.display())
            }
            Self::Labels { path, features, labels } => {
                write!(
                    f,
                    "{} holds {labels} labels for {features} records of features; take the labels of the same set",
                    path.display()
                )
            }
            Self::Lengths { path, got: [records, width], want } => write!(
                f,
                "{} holds {records} records of {width} numbers; give a length for each of the {want} records of features",
                path.display()
            ),
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
            Self::LineTooLong { path, line, limit_bytes } => {
                write!(f, "{}:{line}: a line of more than {limit_bytes} bytes; is this a text file?", path.display())
            }
            Self::Quote { path, opens, closes: None } => write!(
                f,
                "{}:{opens}: a quote opens here and is never closed; close it in its line, or remove it",
                path.display()
            ),
            Self::Quote { path, opens, closes: Some(closes) } => write!(
                f,
                "{}:{opens}: a quote opens here and closes in line {closes}; a cell ends in the line where it begins: \
                 remove the stray quotes, or the line ends inside of the cell",
                path.display()
            ),
            Self::NotText { path } => write!(
                f,
                "{} is not a text file: its first line holds NUL bytes; save it as CSV in UTF-8",
                path.display()
            ),
            Self::Column { path, name, times: 0, known } => {
                let utf8 = if known.iter().any(|name| name.contains(char::REPLACEMENT_CHARACTER)) {
                    "; its header is not in UTF-8: save it so"
                } else {
                    ""
                };
                let path = path.display();
                write!(f, "{path} has no column {name:?}; it has {}{utf8}", Plain(known.join(", ")))
            }
            Self::Column { path, name, times, .. } => {
                write!(f, "{} has {times} columns named {name:?}; rename them", path.display())
            }
            Self::ColumnsDiffer { path, train, test } => {
                write!(f, "{} has column {test:?} where the training file has {train:?}", path.display())
            }
            Self::Value { path, place, problem } => {
                match place {
                    Place::Cell { line, column } => write!(f, "{}:{line}, column {column:?}: ", path.display())?,
                    Place::Feature { record, feature } => {
                        write!(f, "{}, record {record}, feature {feature}: ", path.display())?;
                    }
                    Place::Label { record } | Place::Length { record } => {
                        write!(f, "{}, record {record}: ", path.display())?
                    }
                }
                problem.fmt(f)
            }
            Self::Ended => f.write_str("the receiver of the records ended the reading"),
            Self::Memory { rows, cols } => write!(f, "no memory for {rows} records of {cols} features"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                write!(
                    f,
                    "no value; on_missing = \"skip\" in the job's [data.csv], or --on-missing skip, leaves such rows out"
                )
            }
            Self::NotNumber { text } => {
                write!(
                    f,
                    "{text:?} is not a number; leave the column out, or list the text as missing \
                     (`missing` in the job's [data.csv], or --missing)"
                )
            }
            Self::NotTime { text } => write!(
                f,
                "{text:?} is not a time: give seconds since 1970, or a date and time such as 2026-11-28 14:05:30 \
                 (UTC) or 2026-11-28T14:05:30+01:00"
            ),
            Self::NotDevice { text } => write!(f, "{text:?} is not a device: give its 16 hexadecimal digits"),
            Self::NotCount { text } => write!(f, "{text:?} is not a whole number from 0 to {}", u32::MAX),
            Self::NotFinite => write!(f, "not a finite number"),
            Self::OutsideRange { got, least, greatest } => {
                write!(f, "{got} is outside of the range {least} to {greatest} that the job declares")
            }
            Self::NotALength { got, least, greatest } => {
                write!(f, "{got} is not a length; give a whole number from {least} to {greatest}")
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
