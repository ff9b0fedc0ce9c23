//! The binary format of CIFAR: records of one label byte (CIFAR-100: two, coarse and fine) and 3072
//! pixels, channel by channel. A file has no header and holds as many records as fit.
//!
//! A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

use super::scale::{feature, push_target};
use super::{DataError, Opener, Place, ReadCounts, RecordBlocks, Source};
use crate::job::{CIFAR_FEATURES, Cifar10, Cifar100, Cifar100Label, Data};

/// Place and text of a tar archive's magic.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// Faults of a file in CIFAR's binary format.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CifarProblem {
    /// The file ends inside of a record.
    Partial {
        /// Whole records before it.
        records: u64,
        /// Bytes of it that are there.
        got: usize,
        /// Bytes of a record.
        want: usize,
    },
    /// A tar archive, as the sets are published.
    Tar,
}

impl fmt::Display for CifarProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial { records, got, want } => write!(
                f,
                "ends inside of record {records}, with {got} bytes of {want}; fetch it again, and see that it is the \
                 binary version of the set"
            ),
            Self::Tar => f.write_str("is a tar archive; unpack it and name the .bin files in it"),
        }
    }
}

/// A set's files, and where a record's label lies.
pub(super) struct Files<'a> {
    train: &'a [String],
    test: &'a [String],
    label_bytes: usize,
    /// Which of these bytes is the label.
    label: usize,
}

impl<'a> From<&'a Cifar10> for Files<'a> {
    fn from(files: &'a Cifar10) -> Self {
        Self { train: &files.train, test: &files.test, label_bytes: 1, label: 0 }
    }
}

impl<'a> From<&'a Cifar100> for Files<'a> {
    fn from(files: &'a Cifar100) -> Self {
        let label = match files.label {
            Cifar100Label::Coarse => 0,
            Cifar100Label::Fine => 1,
        };
        Self { train: &files.train, test: &files.test, label_bytes: 2, label }
    }
}

/// Reads both sets; of each the first records, over all of its files.
pub(super) fn load(
    data: &Data,
    files: &Files<'_>,
    open: Opener<'_>,
    [train, test]: [&mut RecordBlocks<'_>; 2],
) -> Result<[ReadCounts; 2], DataError> {
    let load = |set, names, count| load_set(data, files, open, (set, names), count);
    Ok([
        load(train, files.train, (data.train_records, "data.train_records"))?,
        load(test, files.test, (data.test_records, "data.test_records"))?,
    ])
}

fn load_set(
    data: &Data,
    files: &Files<'_>,
    open: Opener<'_>,
    (set, names): (&mut RecordBlocks<'_>, &[String]),
    (want, key): (usize, &'static str),
) -> Result<ReadCounts, DataError> {
    let mut held = 0;
    for name in names {
        let mut file = Records { source: open(name)?, record: vec![0; files.label_bytes + CIFAR_FEATURES], read: 0 };
        while file.advance()? {
            held += 1;
            if set.rows() < want {
                file.store(data, files, set)?;
            }
        }
    }
    let (job, file) = (want as u64, held);
    let path = || PathBuf::from(names.join(", "));
    if file < job {
        return Err(DataError::Count { path: path(), key, job, file });
    }
    Ok(ReadCounts { records: held, skipped: 0 })
}

/// A file with one record in hand.
struct Records {
    source: Source,
    record: Vec<u8>,
    /// Records that were read.
    read: u64,
}

impl Records {
    /// Goes to the next record; false at the end.
    fn advance(&mut self) -> Result<bool, DataError> {
        let mut got = 0;
        while got < self.record.len() {
            match self.source.reader.read(&mut self.record[got..]) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.source.failed(error)),
            }
        }
        let (records, want) = (self.read, self.record.len());
        let (at, tar) = TAR;
        if records == 0 && self.record[..got].get(at..at + tar.len()) == Some(tar) && self.record[0] != 0 {
            return Err(self.refused(CifarProblem::Tar));
        }
        match got {
            0 if records == 0 => Err(DataError::Empty { path: self.path().into() }),
            0 => Ok(false),
            got if got < want => Err(self.refused(CifarProblem::Partial { records, got, want })),
            _ => {
                self.read += 1;
                Ok(true)
            }
        }
    }

    /// Appends the record in hand.
    fn store(&self, data: &Data, files: &Files<'_>, set: &mut RecordBlocks<'_>) -> Result<(), DataError> {
        let (labels, pixels) = self.record.split_at(files.label_bytes);
        let record = self.read - 1;
        let refused = |place| move |problem| DataError::Value { path: self.path().into(), place, problem };
        for (i, pixel) in pixels.iter().enumerate() {
            let scaled = feature(data, i, f64::from(*pixel));
            set.block.features.push(scaled.map_err(refused(Place::Feature { record, feature: i }))?);
        }
        push_target(data, &mut set.block, 0, f64::from(labels[files.label]))
            .map_err(refused(Place::Label { record }))?;
        set.end_record()
    }

    fn path(&self) -> &Path {
        &self.source.path
    }

    fn refused(&self, problem: CifarProblem) -> DataError {
        DataError::Cifar { path: self.path().into(), problem }
    }
}
