//! Delimited text: quoted cells, a header or none, columns by name, missing cells by policy, a deterministic split.

use std::io::{self, Chain, Read};
use std::path::PathBuf;

use ::csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::scale::{feature, push_target};
use super::{DataError, Dataset, Opener, Place, Problem, Source};
use crate::job::{Columns, Csv, Data, OnMissing, TestSet};

/// No row is longer. Bounds what an unclosed quote swallows.
const MAX_ROW_BYTES: u64 = 16 << 20;
/// Column names shown in an error.
const KNOWN_SHOWN: usize = 40;
/// Characters of a cell shown in an error.
const TEXT_SHOWN: usize = 32;

/// Reads both data sets.
pub(super) fn load(data: &Data, format: &Csv, open: Opener<'_>) -> Result<(Dataset, Dataset), DataError> {
    let mut train = Part::new(data, data.train_records, "data.train_records")?;
    let mut test = Part::new(data, data.test_records, "data.test_records")?;
    let mut table = Table::open(data, format, open(&format.train)?)?;
    let mut rows = 0;
    while table.advance()? {
        let to_test = match format.test {
            TestSet::None | TestSet::File(_) => false,
            TestSet::Every(every) => rows % every as u64 == every as u64 - 1,
            TestSet::Fraction(fraction) => steps(rows + 1, fraction) > steps(rows, fraction),
        };
        rows += 1;
        table.store(if to_test { &mut test } else { &mut train })?;
    }
    let Table { path, names, .. } = table;
    if rows == 0 {
        return Err(DataError::Empty { path });
    }
    let mut test_path = path.clone();
    if let TestSet::File(name) = &format.test {
        let mut table = Table::open(data, format, open(name)?)?;
        table.same_columns(&names)?;
        while table.advance()? {
            table.store(&mut test)?;
        }
        test_path = table.path;
    }
    Ok((train.finish(path)?, test.finish(test_path)?))
}

/// `floor(rows * fraction)`.
fn steps(rows: u64, fraction: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^53")]
    let rows = rows as f64;
    (rows * fraction).floor()
}

/// A data set that takes as many rows as the job says, and counts those beyond.
struct Part<'a> {
    data: &'a Data,
    key: &'static str,
    set: Dataset,
    want: usize,
    seen: u64,
}

impl<'a> Part<'a> {
    fn new(data: &'a Data, want: usize, key: &'static str) -> Result<Self, DataError> {
        Ok(Self { data, key, set: Dataset::with_rows(data, want)?, want, seen: 0 })
    }

    fn finish(self, path: PathBuf) -> Result<Dataset, DataError> {
        let job = self.want as u64;
        match self.seen.checked_sub(job) {
            Some(left_out) => Ok(Dataset { left_out, ..self.set }),
            None => Err(DataError::Count { path, key: self.key, job, file: self.seen }),
        }
    }
}

/// A file with its columns resolved and one row in hand.
struct Table<'a> {
    data: &'a Data,
    format: &'a Csv,
    path: PathBuf,
    reader: Reader<Budget>,
    row: ByteRecord,
    /// Where the row begins.
    line: u64,
    /// Without a header the first row is data, and already read.
    pending: bool,
    width: usize,
    names: Vec<String>,
    columns: Vec<usize>,
    label: usize,
}

impl<'a> Table<'a> {
    fn open(data: &'a Data, format: &'a Csv, source: Source) -> Result<Self, DataError> {
        let delimiter = u8::try_from(format.delimiter).unwrap_or(b',');
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).has_headers(false).flexible(true).terminator(Terminator::Any(b'\n'));
        let reader = builder.from_reader(Budget { inner: source.reader.chain(&b"\n"[..]), left: MAX_ROW_BYTES });
        let (path, row) = (source.path, ByteRecord::new());
        let (names, columns) = (Vec::new(), Vec::new());
        let mut table =
            Self { data, format, path, reader, row, line: 1, pending: false, width: 0, names, columns, label: 0 };
        if !table.read()? {
            return Err(DataError::Empty { path: table.path });
        }
        table.resolve()?;
        table.pending = !format.header;
        Ok(table)
    }

    /// Finds the job's columns in the first row.
    fn resolve(&mut self) -> Result<(), DataError> {
        let header = self.format.header;
        let name = |(i, cell): (usize, &[u8])| {
            if header { String::from_utf8_lossy(cell.trim_ascii()).into_owned() } else { i.to_string() }
        };
        let all: Vec<String> = self.row.iter().enumerate().map(name).collect();
        self.width = all.len();
        self.label = self.find(&all, &self.format.label)?;
        let others = |except: &[usize]| (0..all.len()).filter(|i| *i != self.label && !except.contains(i)).collect();
        let columns: Vec<usize> = match &self.format.columns {
            Columns::All => others(&[]),
            Columns::Only(only) => only.iter().map(|name| self.find(&all, name)).collect::<Result<_, _>>()?,
            Columns::Except(except) => {
                others(&except.iter().map(|name| self.find(&all, name)).collect::<Result<Vec<_>, _>>()?)
            }
        };
        if columns.len() != self.data.features {
            let (job, file) = (self.data.features as u64, columns.len() as u64);
            return Err(DataError::Count { path: self.path.clone(), key: "data.features", job, file });
        }
        self.names = columns.iter().map(|column| all[*column].clone()).collect();
        self.columns = columns;
        Ok(())
    }

    fn find(&self, all: &[String], name: &str) -> Result<usize, DataError> {
        let mut at = all.iter().enumerate().filter(|(_, other)| *other == name).map(|(i, _)| i);
        match (at.next(), at.count()) {
            (Some(only), 0) => Ok(only),
            (first, more) => {
                let known = all.iter().take(KNOWN_SHOWN).cloned().collect();
                let times = more + usize::from(first.is_some());
                Err(DataError::Column { path: self.path.clone(), name: name.to_owned(), times, known })
            }
        }
    }

    fn same_columns(&self, train: &[String]) -> Result<(), DataError> {
        match train.iter().zip(&self.names).find(|(train, test)| train != test) {
            None => Ok(()),
            Some((train, test)) => {
                Err(DataError::ColumnsDiffer { path: self.path.clone(), train: train.clone(), test: test.clone() })
            }
        }
    }

    /// Reads a row of whatever width, past blank lines; false at the end.
    ///
    /// Each row ends in one line feed (the last one's was added), so its first line follows from the reader's position.
    fn read(&mut self) -> Result<bool, DataError> {
        loop {
            let next = self.reader.position().line();
            self.reader.get_mut().left = MAX_ROW_BYTES;
            let more = self.reader.read_byte_record(&mut self.row).map_err(|error| {
                let path = self.path.clone();
                match error.into_kind() {
                    ::csv::ErrorKind::Io(_) if self.reader.get_ref().left == 0 => {
                        DataError::RowTooLong { path, line: next, limit_bytes: MAX_ROW_BYTES }
                    }
                    ::csv::ErrorKind::Io(source) => DataError::Read { path, source },
                    other => DataError::Read { path, source: io::Error::other(format!("{other:?}")) },
                }
            })?;
            let inside: u64 = self.row.as_slice().iter().map(|byte| u64::from(*byte == b'\n')).sum();
            self.line = self.reader.position().line().saturating_sub(1 + inside);
            if !more || self.row.len() > 1 || !self.cell(0).is_empty() {
                return Ok(more);
            }
        }
    }

    /// A cell of the row in hand, without blanks around it.
    fn cell(&self, column: usize) -> &[u8] {
        self.row.get(column).unwrap_or_default().trim_ascii()
    }

    /// Goes to the next row that counts; false at the end.
    fn advance(&mut self) -> Result<bool, DataError> {
        loop {
            if !std::mem::take(&mut self.pending) && !self.read()? {
                return Ok(false);
            }
            if self.row.len() != self.width {
                let (path, line) = (self.path.clone(), self.line);
                return Err(DataError::Ragged { path, line, want: self.width, got: self.row.len() });
            }
            match self.missing() {
                None => return Ok(true),
                Some(_) if self.format.on_missing == OnMissing::Skip => {}
                Some(column) => return Err(self.refused(column, Problem::Missing)),
            }
        }
    }

    /// The first used cell that is missing.
    fn missing(&self) -> Option<usize> {
        let is_missing =
            |column: &usize| self.format.missing.iter().any(|marker| marker.as_bytes() == self.cell(*column));
        self.columns.iter().chain([&self.label]).copied().find(is_missing)
    }

    /// Parses the row in hand into `part`; beyond the job's count it is counted only.
    fn store(&self, part: &mut Part<'_>) -> Result<(), DataError> {
        part.seen += 1;
        if part.set.rows == part.want {
            return Ok(());
        }
        for (i, column) in self.columns.iter().enumerate() {
            let scaled = self.number(*column)?;
            let scaled = feature(&part.data.scale, i, scaled).map_err(|problem| self.refused(*column, problem))?;
            part.set.features.push(scaled);
        }
        let target = self.number(self.label)?;
        push_target(part.data, &mut part.set, target).map_err(|problem| self.refused(self.label, problem))?;
        part.set.rows += 1;
        Ok(())
    }

    fn number(&self, column: usize) -> Result<f64, DataError> {
        let cell = String::from_utf8_lossy(self.cell(column));
        match cell.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) => Err(self.refused(column, Problem::NotFinite)),
            Err(_) => {
                let text = cell.chars().take(TEXT_SHOWN).collect();
                Err(self.refused(column, Problem::NotNumber { text }))
            }
        }
    }

    fn refused(&self, column: usize, problem: Problem) -> DataError {
        let named = self.columns.iter().position(|c| *c == column).and_then(|i| self.names.get(i));
        let column = named.unwrap_or(&self.format.label).clone();
        DataError::Value { path: self.path.clone(), place: Place::Cell { line: self.line, column }, problem }
    }
}

/// A reader that stops after `left` bytes; it is refilled for each row.
struct Budget {
    inner: Chain<Box<dyn Read>, &'static [u8]>,
    left: u64,
}

impl Read for Budget {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let got = self.inner.read(&mut bytes[..room])?;
        self.left -= got as u64;
        Ok(got)
    }
}
