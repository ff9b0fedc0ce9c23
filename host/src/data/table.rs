//! Delimited text: the one reader of CSV files. A row is a line; cells may be quoted; columns have
//! names.

use std::path::{Path, PathBuf};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::{DataError, Place, Problem, Source, lines::Lines};
use crate::job::{Csv, OnMissing};

/// Column names shown in an error.
const KNOWN_SHOWN: usize = 40;
/// Characters of a cell shown in an error.
const TEXT_SHOWN: usize = 32;

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Dialect {
    /// An ASCII character between cells; see [`Csv::is_delimiter`].
    pub delimiter: char,
    /// Whether the first row names the columns; without it they are named `0`, `1`, ...
    pub header: bool,
    /// Cells, after trimming, that stand for a missing value.
    pub missing: Vec<String>,
    /// The treatment of a row with a missing value in a column that is used.
    pub on_missing: OnMissing,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { delimiter: ',', header: true, missing: vec![String::new()], on_missing: OnMissing::Refuse }
    }
}

impl From<&Csv> for Dialect {
    fn from(csv: &Csv) -> Self {
        let Csv { delimiter, header, missing, on_missing, .. } = csv;
        Self { delimiter: *delimiter, header: *header, missing: missing.clone(), on_missing: *on_missing }
    }
}

/// A CSV file with one row in hand.
pub(crate) struct Table {
    dialect: Dialect,
    lines: Lines,
    parser: Reader,
    row: Row,
    names: Vec<String>,
    used: Vec<usize>,
    /// Without a header the first row is data, and already read.
    pending: bool,
    rows: u64,
    skipped: u64,
}

impl Table {
    /// Reads the first row. All columns are unused until [`Self::take`] says otherwise.
    pub(crate) fn open(source: Source, dialect: Dialect) -> Result<Self, DataError> {
        let delimiter = u8::try_from(dialect.delimiter).unwrap_or(b',');
        let parser = ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
        let (pending, names, used) = (!dialect.header, Vec::new(), Vec::new());
        let (lines, row) = (Lines::new(source)?, Row::default());
        let mut table = Self { dialect, lines, parser, row, names, used, pending, rows: 0, skipped: 0 };
        let found = table.read()?;
        if table.lines.line().contains(&0) {
            return Err(DataError::NotText { path: table.lines.path });
        }
        if !found {
            return Err(DataError::Empty { path: table.lines.path });
        }
        let name =
            |i: usize| if table.pending { i.to_string() } else { String::from_utf8_lossy(table.row.cell(i)).into() };
        table.names = (0..table.row.width()).map(name).collect();
        Ok(table)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.lines.path
    }

    pub(crate) fn into_path(self) -> PathBuf {
        self.lines.path
    }

    /// Names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The one column of this name.
    pub(crate) fn find(&self, name: &str) -> Result<usize, DataError> {
        let mut at = self.names.iter().enumerate().filter(|(_, other)| *other == name).map(|(i, _)| i);
        match (at.next(), at.count()) {
            (Some(only), 0) => Ok(only),
            (first, more) => {
                let known = self.names.iter().take(KNOWN_SHOWN).map(|name| shown(name)).collect();
                let times = more + usize::from(first.is_some());
                Err(DataError::Column { path: self.path().into(), name: name.to_owned(), times, known })
            }
        }
    }

    /// Uses these columns: a row in which one of them is missing is skipped, or refused.
    pub(crate) fn take(&mut self, columns: Vec<usize>) {
        self.used = columns;
    }

    /// Rows so far without the header, those left out included.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that were left out because a cell is missing.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The line of the row in hand, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// Goes to the next row that counts; false at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, DataError> {
        loop {
            if !std::mem::take(&mut self.pending) && !self.read()? {
                return Ok(false);
            }
            self.rows += 1;
            let (want, got) = (self.names.len(), self.row.width());
            if got != want {
                return Err(DataError::Ragged { path: self.path().into(), line: self.line(), want, got });
            }
            match self.used.iter().find(|column| self.is_missing(**column)) {
                None => return Ok(true),
                Some(_) if self.dialect.on_missing == OnMissing::Skip => self.skipped += 1,
                Some(column) => return Err(self.refused(*column, Problem::Missing)),
            }
        }
    }

    /// Whether a cell of the row in hand stands for a missing value.
    pub(crate) fn is_missing(&self, column: usize) -> bool {
        let cell = self.row.cell(column);
        self.dialect.missing.iter().any(|marker| marker.as_bytes() == cell)
    }

    /// The number in a cell.
    pub(crate) fn number(&self, column: usize) -> Result<f64, DataError> {
        let number = str::from_utf8(self.row.cell(column)).ok().and_then(|cell| cell.parse::<f64>().ok());
        match number {
            Some(value) if value.is_finite() => Ok(value),
            Some(_) => Err(self.refused(column, Problem::NotFinite)),
            None => Err(self.refused(column, Problem::NotNumber { text: self.text(column) })),
        }
    }

    /// Returns the value that `parse` finds in a cell, or `problem` of the cell's text.
    pub(crate) fn parsed<T>(
        &self,
        column: usize,
        parse: impl Fn(&str) -> Option<T>,
        problem: impl Fn(String) -> Problem,
    ) -> Result<T, DataError> {
        let parsed = str::from_utf8(self.row.cell(column)).ok().and_then(parse);
        parsed.ok_or_else(|| self.refused(column, problem(self.text(column))))
    }

    /// The beginning of a cell, for errors.
    fn text(&self, column: usize) -> String {
        shown(&String::from_utf8_lossy(self.row.cell(column)))
    }

    /// `problem`, with the place of a cell of the row in hand.
    pub(crate) fn refused(&self, column: usize, problem: Problem) -> DataError {
        let column = self.names.get(column).map_or_else(String::new, |name| shown(name));
        DataError::Value { path: self.path().into(), place: Place::Cell { line: self.line(), column }, problem }
    }

    /// Reads a row of whatever width, past blank lines; false at the end.
    fn read(&mut self) -> Result<bool, DataError> {
        while self.lines.advance()? {
            if !self.row.parse(&mut self.parser, self.lines.line()) {
                return Err(self.open_quote()?);
            }
            if self.row.width() > 1 || !self.row.cell(0).is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A quote is open at the end of the line in hand; reads on to where it closes.
    fn open_quote(&mut self) -> Result<DataError, DataError> {
        let opens = self.line();
        let mut closes = None;
        while closes.is_none() && self.lines.advance()? {
            closes = self.row.parse(&mut self.parser, self.lines.line()).then(|| self.line());
        }
        Ok(DataError::Quote { path: self.path().into(), opens, closes })
    }
}

/// The cells of a row.
#[derive(Default)]
struct Row {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    width: usize,
}

impl Row {
    /// Parses a line, which ends in LF; false if a quote is open at its end.
    fn parse(&mut self, parser: &mut Reader, mut line: &[u8]) -> bool {
        // No cell is longer than what it is parsed from.
        if self.bytes.len() < line.len() {
            self.bytes.resize(line.len(), 0);
        }
        self.width = 0;
        let mut written = 0;
        loop {
            let (result, read, wrote, ends) =
                parser.read_record(line, &mut self.bytes[written..], &mut self.ends[self.width..]);
            line = &line[read..];
            written += wrote;
            self.width += ends;
            match result {
                ReadRecordResult::Record => return true,
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() + line.len() + 1, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len() + 16, 0),
                // The parser passes over an empty line without a record.
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return written == 0 && read == 1,
            }
        }
    }

    fn width(&self) -> usize {
        self.width
    }

    /// A cell without blanks around it.
    fn cell(&self, column: usize) -> &[u8] {
        if column >= self.width {
            return &[];
        }
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        self.bytes[start..self.ends[column]].trim_ascii()
    }
}

/// The beginning of a text, for errors.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(TEXT_SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
