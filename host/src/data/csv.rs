//! The records of a CSV job: its columns, and its split into training and test records.

use std::path::PathBuf;

use super::scale::{feature, push_target};
use super::{
    DataError, Opener, ReadCounts, RecordBlocks, Source,
    table::{Table, shown},
};
use crate::job::{Columns, Csv, Data, TestSet};

/// Reads both data sets.
pub(super) fn load(
    data: &Data,
    format: &Csv,
    open: Opener<'_>,
    [train, test]: [&mut RecordBlocks<'_>; 2],
) -> Result<[ReadCounts; 2], DataError> {
    let mut train =
        Part { data, key: "data.train_records", set: train, held: ReadCounts::default(), want: data.train_records };
    let mut test =
        Part { data, key: "data.test_records", set: test, held: ReadCounts::default(), want: data.test_records };
    let mut file = File::open(data, format, open(&format.train)?)?;
    let mut rows = 0;
    while file.table.advance()? {
        let to_test = match format.test {
            TestSet::None | TestSet::File(_) => false,
            TestSet::Every(every) => rows % every as u64 == every as u64 - 1,
            TestSet::Fraction(fraction) => steps(rows + 1, fraction) > steps(rows, fraction),
        };
        rows += 1;
        if to_test { &mut test } else { &mut train }.store(&file)?;
    }
    train.held.skipped = file.table.skipped();
    if rows == 0 {
        return Err(DataError::Empty { path: file.table.into_path() });
    }
    let mut test_path = file.table.path().to_owned();
    if let TestSet::File(name) = &format.test {
        let mut other = File::open(data, format, open(name)?)?;
        other.same_columns(&file)?;
        while other.table.advance()? {
            test.store(&other)?;
        }
        test.held.skipped = other.table.skipped();
        test_path = other.table.into_path();
    }
    Ok([train.finish(file.table.into_path())?, test.finish(test_path)?])
}

/// `floor(rows * fraction)`.
fn steps(rows: u64, fraction: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^53")]
    let rows = rows as f64;
    (rows * fraction).floor()
}

/// A data set that takes the first rows, as many as the job says, and counts the others.
struct Part<'a, 's> {
    data: &'a Data,
    key: &'static str,
    set: &'a mut RecordBlocks<'s>,
    held: ReadCounts,
    want: usize,
}

impl Part<'_, '_> {
    /// Parses the row in hand; beyond the job's count it is counted only.
    fn store(&mut self, file: &File) -> Result<(), DataError> {
        let Self { data, set, want, held, .. } = self;
        held.records += 1;
        if set.rows() == *want {
            return Ok(());
        }
        let table = &file.table;
        for (i, column) in file.features.iter().enumerate() {
            let scaled = feature(data, i, table.number(*column)?);
            set.block.features.push(scaled.map_err(|problem| table.refused(*column, problem))?);
        }
        for (output, label) in file.labels.iter().enumerate() {
            let target = table.number(*label)?;
            push_target(data, &mut set.block, output, target).map_err(|problem| table.refused(*label, problem))?;
        }
        set.end_record()
    }

    fn finish(self, path: PathBuf) -> Result<ReadCounts, DataError> {
        let (job, file) = (self.want as u64, self.held.records);
        if file < job { Err(DataError::Count { path, key: self.key, job, file }) } else { Ok(self.held) }
    }
}

/// A file with the job's columns found.
struct File {
    table: Table,
    features: Vec<usize>,
    labels: Vec<usize>,
}

impl File {
    fn open(data: &Data, format: &Csv, source: Source) -> Result<Self, DataError> {
        let mut table = Table::open(source, format.into())?;
        let find = |names: &[String]| names.iter().map(|name| table.find(name)).collect::<Result<Vec<_>, _>>();
        let labels = find(&format.labels)?;
        let others = |except: &[usize]| {
            (0..table.names().len()).filter(|i| !labels.contains(i) && !except.contains(i)).collect()
        };
        let features: Vec<usize> = match &format.columns {
            Columns::All => others(&[]),
            Columns::Only(only) => find(only)?,
            Columns::Except(except) => others(&find(except)?),
        };
        let (job, file) = (data.features() as u64, features.len() as u64);
        if job != file {
            return Err(DataError::Count { path: table.into_path(), key: "data.shape (features)", job, file });
        }
        table.take(features.iter().chain(&labels).copied().collect());
        Ok(Self { table, features, labels })
    }

    /// Names of the features' columns.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|i| self.table.names()[*i].as_str())
    }

    fn same_columns(&self, train: &Self) -> Result<(), DataError> {
        match train.names().zip(self.names()).find(|(train, test)| train != test) {
            None => Ok(()),
            Some((train, test)) => {
                let (path, train, test) = (self.table.path().into(), shown(train), shown(test));
                Err(DataError::ColumnsDiffer { path, train, test })
            }
        }
    }
}
