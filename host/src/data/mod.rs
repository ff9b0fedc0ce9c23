//! Data sets of the data owner: found, read, checked against the job, scaled.
//!
//! Only the data owner's process calls this. Files are CSV, IDX, NPY or CIFAR's, each of them plain
//! or gzip, or NPZ. Sizes are held to the job's counts before memory is taken. Nothing is computed
//! from the records: scale and split stand in the job.
//!
//! The same readers of CSV, IDX, NPY and NPZ serve records that are shared as reports
//! (`crate::device`).

mod array;
mod augment;
mod blocks;
mod cifar;
mod csv;
mod error;
mod idx;
mod lengths;
mod lines;
mod npy;
mod npz;
mod query;
mod scale;
mod shelf;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::job::{Data, Format, Job, Task};
pub(crate) use array::Array;
pub(crate) use augment::Copies;
pub(crate) use blocks::BlockSink;
pub use blocks::ReadCounts;
use blocks::RecordBlocks;
pub use cifar::CifarProblem;
pub use error::{DataError, Place, Problem};
pub(crate) use idx::open as open_idx;
pub use lengths::{Lengths, ListFacts, SetLengths};
pub(crate) use npy::open as open_npy;
pub use npy::{NpyProblem, create_npy};
pub use npz::ZipProblem;
pub(crate) use npz::member as open_member;
pub use query::read_rows;
pub(crate) use shelf::read;
pub use shelf::{Pile, Shelf, ShelfError, Stored, Take};
use source::open;
pub(crate) use source::{Source, open_file, unpacked};
pub use table::Dialect;
pub(crate) use table::Table;

/// The embedded digits, their place in a data directory, and where they are from
/// (`host/data/README.md`).
const DIGITS: &[u8] = include_bytes!("../../data/digits_8x8.csv.gz");
const DIGITS_NAME: &str = "tabular/digits_8x8.csv";
/// Source of the embedded digits, to be shown with them.
pub const DIGITS_SOURCE: &str = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, \
                                 UCI Machine Learning Repository (1797 samples, the copy that scikit-learn ships)";

/// Excerpts of two recordings of an office's climate, the first to learn from: names and contents
/// (`host/data/README.md`).
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
    /// The predicted classes or values, row by row.
    pub targets: Targets,
    /// Lengths of the records' sequences, if the job has them. Values behind them mean nothing.
    pub lengths: SetLengths,
    /// Records.
    pub rows: usize,
    /// Features a record.
    pub cols: usize,
    /// Records that the file holds for this set: `rows`, or more if the job takes the first ones.
    pub held: u64,
    /// Rows of the set's file that were left out because a cell is missing; of a file that is
    /// split, the training set has them all.
    pub skipped: u64,
}

/// What is to be predicted.
#[derive(Clone, PartialEq)]
pub enum Targets {
    /// Class indices, below the job's number of classes.
    Classes(Vec<u32>),
    /// Scaled real targets, row by row.
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
        let memory = |_| DataError::Memory { rows, cols: data.features() };
        let mut features = Vec::new();
        features.try_reserve_exact(rows.saturating_mul(data.features())).map_err(memory)?;
        let targets = match data.task {
            Task::Classes(_) => Targets::Classes(Vec::with_capacity(rows * data.labels_per_record)),
            Task::Regression(ref targets) => Targets::Values(Vec::with_capacity(rows * targets.len())),
        };
        let lengths = SetLengths::default();
        Ok(Self { features, targets, lengths, rows: 0, cols: data.features(), held: 0, skipped: 0 })
    }

    /// Appends the records of `block`.
    fn append(&mut self, block: &Self) {
        self.features.extend_from_slice(&block.features);
        match (&mut self.targets, &block.targets) {
            (Targets::Classes(all), Targets::Classes(own)) => all.extend_from_slice(own),
            (Targets::Values(all), Targets::Values(own)) => all.extend_from_slice(own),
            // Both are of one job.
            (Targets::Classes(_), Targets::Values(_)) | (Targets::Values(_), Targets::Classes(_)) => {}
        }
        self.lengths.append(&block.lengths);
        self.rows += block.rows;
    }

    /// Removes all records; the memory stays.
    fn clear(&mut self) {
        self.features.clear();
        match &mut self.targets {
            Targets::Classes(classes) => classes.clear(),
            Targets::Values(values) => values.clear(),
        }
        self.lengths.clear();
        self.rows = 0;
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
/// A file name of the job is looked up in `dir` as it stands and then by its last part, so `dir`
/// may be the folder of all data sets or the folder of this one. Without a test set, the second
/// data set has no rows. Of a file with more records than the job says, the first ones are taken
/// ([`Dataset::held`]).
///
/// # Errors
///
/// A file that is missing, malformed, or does not hold what the job says.
pub fn load(job: &Job, dir: &Path) -> Result<(Dataset, Dataset), DataError> {
    load_from(&job.data, &|name| open(dir, name))
}

/// Reads the records as [`load`] does, and passes them block by block to `train` and `test`, in
/// file order. Returns the counts of records in the files.
///
/// # Errors
///
/// As [`load`]; [`DataError::Ended`] if `train` or `test` ends the reading.
pub(crate) fn stream<'a>(
    job: &Job,
    dir: &Path,
    train: &'a mut BlockSink<'a>,
    test: &'a mut BlockSink<'a>,
) -> Result<[ReadCounts; 2], DataError> {
    stream_from(&job.data, &|name| open(dir, name), [train, test])
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

/// Folder of the public data sets that tests and benches use: `$SYMBOLON_DATA`, or `../shared/data`
/// beside the workspace when cargo runs the program. `None` if there is no such folder.
pub fn dataset_dir() -> Option<PathBuf> {
    let beside = || Some(PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).join("../../shared/data"));
    std::env::var_os("SYMBOLON_DATA").map(PathBuf::from).or_else(beside).filter(|dir| dir.is_dir())
}

type Opener<'a> = &'a dyn Fn(&str) -> Result<Source, DataError>;

fn load_from(data: &Data, open: Opener<'_>) -> Result<(Dataset, Dataset), DataError> {
    let mut train = Dataset::with_rows(data, data.train_records)?;
    let mut test = Dataset::with_rows(data, data.test_records)?;
    let [train_held, test_held] = stream_from(
        data,
        open,
        [
            &mut |block: &Dataset| {
                train.append(block);
                ControlFlow::Continue(())
            },
            &mut |block: &Dataset| {
                test.append(block);
                ControlFlow::Continue(())
            },
        ],
    )?;
    for (set, held) in [(&mut train, train_held), (&mut test, test_held)] {
        (set.held, set.skipped) = (held.records, held.skipped);
    }
    Ok((train, test))
}

fn stream_from<'a>(
    data: &Data,
    open: Opener<'_>,
    takes: [&'a mut BlockSink<'a>; 2],
) -> Result<[ReadCounts; 2], DataError> {
    let [train, test] = takes.map(|take| RecordBlocks::new(data, take));
    let (mut train, mut test) = (train?, test?);
    let sets = [&mut train, &mut test];
    let held = match &data.format {
        Format::Idx(files) => idx::load(data, files, open, sets),
        Format::Csv(format) => csv::load(data, format, open, sets),
        Format::Reports(_) => Err(DataError::Reports),
        Format::Cifar10(files) => cifar::load(data, &files.into(), open, sets),
        Format::Cifar100(files) => cifar::load(data, &files.into(), open, sets),
        Format::Npy(files) => npy::load(data, files, open, sets),
        Format::Npz(set) => {
            let path = open(&set.file)?.path;
            npy::load(data, &set.members(), &|name| npz::member(&path, name), sets)
        }
    }?;
    train.finish()?;
    test.finish()?;
    Ok(held)
}
