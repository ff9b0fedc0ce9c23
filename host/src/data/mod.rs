//! Data sets of the data owner: found, read, checked against the job, scaled.
//!
//! Only the data owner's process calls this. Files are IDX or CSV, either of them plain or gzip. Sizes are held to the
//! job's counts before memory is taken. Nothing is computed from the records: scale and split stand in the job.

mod csv;
mod error;
mod idx;
mod scale;
mod shelf;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::job::{Data, Format, Job, Task};
pub use error::{DataError, Place, Problem};
pub(crate) use shelf::read;
pub use shelf::{Pile, Shelf, ShelfError, Stored, Take};

/// The embedded digits, their place in a data directory, and where they are from (`host/data/README.md`).
const DIGITS: &[u8] = include_bytes!("../../data/digits_8x8.csv.gz");
const DIGITS_NAME: &str = "tabular/digits_8x8.csv";
/// Source of the embedded digits, to be shown with them.
pub const DIGITS_SOURCE: &str = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, \
                                 UCI Machine Learning Repository (1797 samples, the copy that scikit-learn ships)";

/// Excerpts of two recordings of an office's climate, the first to learn from: names and contents (`host/data/README.md`).
pub const OCCUPANCY: [(&str, &[u8]); 2] = [
    ("occupancy_train.csv", include_bytes!("../../data/occupancy_train.csv.gz")),
    ("occupancy_test.csv", include_bytes!("../../data/occupancy_test.csv.gz")),
];
/// Source of the excerpts, to be shown with them.
pub const OCCUPANCY_SOURCE: &str = "Occupancy Detection, L. M. Candanedo and V. Feldheim, Energy and Buildings 112 (2016), \
                                    each third row of two recordings, without the light";

/// Records in the clear, scaled as the job says. `Debug` shows the shape alone.
#[derive(Clone, PartialEq)]
pub struct Dataset {
    /// `rows * cols` numbers, row by row.
    pub features: Vec<f32>,
    /// One a row.
    pub targets: Targets,
    /// Records.
    pub rows: usize,
    /// Features a record.
    pub cols: usize,
    /// Records of the file beyond those that the job takes.
    pub left_out: u64,
}

/// What is to be predicted.
#[derive(Clone, PartialEq)]
pub enum Targets {
    /// Class indices, below the job's number of classes.
    Classes(Vec<u32>),
    /// Scaled real targets.
    Values(Vec<f32>),
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset").field("rows", &self.rows).field("cols", &self.cols).finish_non_exhaustive()
    }
}

impl Dataset {
    /// An empty set with room for `rows` records, taken at once.
    fn with_rows(data: &Data, rows: usize) -> Result<Self, DataError> {
        let memory = |_| DataError::Memory { rows, cols: data.features };
        let mut features = Vec::new();
        features.try_reserve_exact(rows.saturating_mul(data.features)).map_err(memory)?;
        let targets = match data.task {
            Task::Classes(_) => Targets::Classes(Vec::with_capacity(rows)),
            Task::Regression(_) => Targets::Values(Vec::with_capacity(rows)),
        };
        Ok(Self { features, targets, rows: 0, cols: data.features, left_out: 0 })
    }

    /// Features of record `i`.
    ///
    /// # Panics
    ///
    /// If there is no such record.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.features[i * self.cols..(i + 1) * self.cols]
    }
}

/// Reads training and test records of `job` from `dir`.
///
/// A file name of the job is looked up in `dir` as it stands and then by its last part, so `dir` may be the folder of
/// all data sets or the folder of this one. Without a test set, the second data set has no rows.
///
/// # Errors
///
/// A file that is missing, malformed, or does not hold what the job says.
pub fn load(job: &Job, dir: &Path) -> Result<(Dataset, Dataset), DataError> {
    load_from(&job.data, &|name| open(dir, name))
}

/// The embedded digits, read as `job` says ([`Job::digits`], or one that names the same file).
///
/// # Errors
///
/// [`DataError::Missing`] if the job names another file, or its other keys do not fit the digits.
pub fn digits(job: &Job) -> Result<(Dataset, Dataset), DataError> {
    load_from(&job.data, &|name| {
        if name != DIGITS_NAME {
            return Err(DataError::Missing { tried: vec![PathBuf::from(name)] });
        }
        unpacked(DIGITS_NAME.into(), Box::new(Cursor::new(DIGITS)))
    })
}

/// Folder of the public data sets that tests and benches use: `$SYMBOLON_DATA`, or `../shared/data` beside the
/// workspace when cargo runs the program. `None` if there is no such folder.
pub fn dataset_dir() -> Option<PathBuf> {
    let beside = || Some(PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).join("../../shared/data"));
    std::env::var_os("SYMBOLON_DATA").map(PathBuf::from).or_else(beside).filter(|dir| dir.is_dir())
}

type Opener<'a> = &'a dyn Fn(&str) -> Result<Source, DataError>;

/// A file's name for errors, and its bytes without compression.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) reader: Box<dyn Read>,
}

impl Source {
    pub(crate) fn failed(&self, source: std::io::Error) -> DataError {
        DataError::Read { path: self.path.clone(), source }
    }
}

fn load_from(data: &Data, open: Opener<'_>) -> Result<(Dataset, Dataset), DataError> {
    match &data.format {
        Format::Idx(files) => {
            let train = idx::load(
                data,
                data.train_records,
                "data.train_records",
                open(&files.train_images)?,
                open(&files.train_labels)?,
            )?;
            let test = idx::load(
                data,
                data.test_records,
                "data.test_records",
                open(&files.test_images)?,
                open(&files.test_labels)?,
            )?;
            Ok((train, test))
        }
        Format::Csv(format) => csv::load(data, format, open),
        Format::Reports(_) => Err(DataError::Reports),
    }
}

fn open(dir: &Path, name: &str) -> Result<Source, DataError> {
    let mut tried = vec![dir.join(name)];
    tried.extend(Path::new(name).file_name().map(|last| dir.join(last)));
    tried.dedup();
    let Some(path) = tried.iter().find(|path| path.is_file()).cloned() else {
        return Err(DataError::Missing { tried });
    };
    open_file(path)
}

/// A file, unpacked if it is packed.
pub(crate) fn open_file(path: PathBuf) -> Result<Source, DataError> {
    match File::open(&path) {
        Ok(file) => unpacked(path, Box::new(BufReader::with_capacity(1 << 16, file))),
        Err(source) => Err(DataError::Read { path, source }),
    }
}

/// Gzip is told by its two magic bytes, since names lie.
pub(crate) fn unpacked(path: PathBuf, mut raw: Box<dyn BufRead>) -> Result<Source, DataError> {
    match raw.fill_buf().map(|start| start.starts_with(&[0x1f, 0x8b])) {
        Ok(false) => Ok(Source { path, reader: Box::new(raw) }),
        Ok(true) => Ok(Source { path, reader: Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw))) }),
        Err(source) => Err(DataError::Read { path, source }),
    }
}
