//! A data owner's records, row by row, as the schema's reals.

use crate::{
    data::{Array, DataError, Dialect, Problem, Source, Table, open_file, open_idx, open_member, open_npy, unpacked},
    schema::SchemaFile,
    time::unix_ms,
};
use std::{
    collections::BTreeMap,
    fmt,
    io::BufRead,
    path::{Path, PathBuf},
};
use symbolon_core::report::header::{DeviceId, ReportId};

#[cfg(test)]
mod tests;

/// A record before it is encoded.
#[derive(Clone, PartialEq)]
pub struct Row {
    /// Its place among the file's rows, from 1; rows that are left out count as well.
    pub number: u64,
    /// A real for each code, in the order of the schema's fields.
    pub reals: Vec<f64>,
    /// When it was taken, milliseconds since 1970, if the file says.
    pub time_ms: Option<u64>,
    /// The report that it labels.
    pub about: Option<ReportId>,
}

/// How a CSV file is written, and which of its columns are what.
#[derive(Clone, Debug, Default)]
pub struct Headings {
    /// Delimiter and missing cells; the first row names the columns.
    pub dialect: Dialect,
    /// Column of a field that is named otherwise.
    pub columns: BTreeMap<String, String>,
    /// Column with the time: seconds since 1970, or a date and time, in UTC if it has no offset.
    pub time: Option<String>,
    /// Rows label reports: columns `device`, `boot` and `sequence` say which.
    pub about: bool,
}

/// Rows of a CSV file with a header; columns of fields with several codes are named `field.0`, `field.1`, ...
///
/// After an error there are no more.
pub struct CsvRows {
    table: Table,
    columns: Vec<usize>,
    time: Option<usize>,
    about: Option<[usize; 3]>,
    ended: bool,
}

impl CsvRows {
    /// Opens a file, plain or gzip.
    ///
    /// # Errors
    ///
    /// [`RowsError`]: the file, or a column that is missing or there twice.
    pub fn open(path: &Path, schema: &SchemaFile, headings: &Headings) -> Result<Self, RowsError> {
        Self::new(open_file(path.to_owned())?, schema, headings)
    }

    /// Reads from memory; `name` serves errors.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn read(
        name: &str,
        bytes: impl BufRead + 'static,
        schema: &SchemaFile,
        headings: &Headings,
    ) -> Result<Self, RowsError> {
        Self::new(unpacked(name.into(), Box::new(bytes))?, schema, headings)
    }

    fn new(source: Source, schema: &SchemaFile, headings: &Headings) -> Result<Self, RowsError> {
        let mut table = Table::open(source, headings.dialect.clone())?;
        let find = |name: &str| table.find(name);
        let mut columns = Vec::new();
        for field in schema.fields() {
            let name = headings.columns.get(&field.name).unwrap_or(&field.name);
            match field.count {
                1 => columns.push(find(name)?),
                count => {
                    for i in 0..count {
                        columns.push(find(&format!("{name}.{i}"))?);
                    }
                }
            }
        }
        let time = headings.time.as_deref().map(find).transpose()?;
        let about = match headings.about {
            true => Some([find("device")?, find("boot")?, find("sequence")?]),
            false => None,
        };
        table.take(columns.iter().copied().chain(time).chain(about.into_iter().flatten()).collect());
        Ok(Self { table, columns, time, about, ended: false })
    }

    /// Rows so far that were left out because a cell is missing.
    pub fn skipped(&self) -> u64 {
        self.table.skipped()
    }

    fn advance(&mut self) -> Result<Option<Row>, DataError> {
        if !self.table.advance()? {
            return Ok(None);
        }
        let table = &self.table;
        let time = |column| table.parsed(column, unix_ms, |text| Problem::NotTime { text });
        let number = |column| table.parsed(column, |cell| cell.parse().ok(), |text| Problem::NotCount { text });
        let device = |column| table.parsed(column, device_id, |text| Problem::NotDevice { text });
        let time_ms = self.time.map(time).transpose()?;
        let about = match self.about {
            None => None,
            Some([at, boot, sequence]) => {
                Some(ReportId { device: device(at)?, boot: number(boot)?, sequence: number(sequence)? })
            }
        };
        let reals = self.columns.iter().map(|column| table.number(*column)).collect::<Result<_, _>>()?;
        Ok(Some(Row { number: table.rows(), reals, time_ms, about }))
    }
}

fn device_id(cell: &str) -> Option<DeviceId> {
    u64::from_str_radix(cell, 16).ok().map(DeviceId)
}

impl Iterator for CsvRows {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.advance().map_err(RowsError::from).transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

/// A data owner's features, and perhaps the labels that follow them in a record.
#[derive(Clone, Copy, Debug)]
pub enum ArrayFiles<'a> {
    /// A pair of IDX files, as MNIST's, plain or gzip.
    Idx {
        /// The file with the features.
        features: &'a Path,
        /// The file with the labels.
        labels: Option<&'a Path>,
    },
    /// A pair of NPY files, plain or gzip.
    Npy {
        /// The file with the features.
        features: &'a Path,
        /// The file with the labels.
        labels: Option<&'a Path>,
    },
    /// Arrays of an NPZ file, by name.
    Npz {
        /// The file.
        file: &'a Path,
        /// Array of features.
        features: &'a str,
        /// Array of labels.
        labels: Option<&'a str>,
    },
}

/// Rows of arrays in files: features, then a label.
///
/// After an error there are no more. The last row is not the end: `None` says that all files are
/// whole.
pub struct ArrayRows {
    files: Vec<Array>,
    number: u64,
    ended: bool,
}

impl ArrayRows {
    /// Opens the files. The schema's fields must be as many codes as a row of all files has.
    ///
    /// # Errors
    ///
    /// [`RowsError`].
    pub fn open(files: ArrayFiles<'_>, schema: &SchemaFile) -> Result<Self, RowsError> {
        let idx = |path: &Path| open_idx(open_file(path.to_owned())?);
        let npy = |path: &Path| open_npy(open_file(path.to_owned())?);
        let (features, labels) = match files {
            ArrayFiles::Idx { features, labels } => (idx(features)?, labels.map(idx).transpose()?),
            ArrayFiles::Npy { features, labels } => (npy(features)?, labels.map(npy).transpose()?),
            ArrayFiles::Npz { file, features, labels } => {
                let member = |name: &str| open_npy(open_member(file, name)?);
                (member(features)?, labels.map(member).transpose()?)
            }
        };
        Self::new(features, labels, schema)
    }

    /// Reads the features of an IDX file alone from memory; `name` serves errors.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn read_idx(name: &str, bytes: impl BufRead + 'static, schema: &SchemaFile) -> Result<Self, RowsError> {
        Self::new(open_idx(unpacked(name.into(), Box::new(bytes))?)?, None, schema)
    }

    /// The same of an NPY file.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn read_npy(name: &str, bytes: impl BufRead + 'static, schema: &SchemaFile) -> Result<Self, RowsError> {
        Self::new(open_npy(unpacked(name.into(), Box::new(bytes))?)?, None, schema)
    }

    fn new(features: Array, labels: Option<Array>, schema: &SchemaFile) -> Result<Self, RowsError> {
        labels.as_ref().map_or(Ok(()), |labels| labels.pair(&features))?;
        let got = labels.as_ref().map_or(0, Array::width).saturating_add(features.width());
        let want = schema.fields().iter().map(|field| u64::from(field.count)).sum();
        if got != want {
            return Err(RowsError::Width { path: features.path().to_owned(), got, want });
        }
        Ok(Self { files: [features].into_iter().chain(labels).collect(), number: 0, ended: false })
    }

    fn advance(&mut self) -> Result<Option<Row>, DataError> {
        let mut reals = Vec::new();
        for file in &mut self.files {
            let start = reals.len();
            // No wider than the schema's records, whose counts are 16 bits.
            reals.resize(start + usize::try_from(file.width()).unwrap_or(usize::MAX), 0.0);
            if !file.next(&mut reals[start..])? {
                // All files have as many records.
                self.files.iter_mut().try_for_each(Array::finish)?;
                return Ok(None);
            }
        }
        self.number += 1;
        Ok(Some(Row { number: self.number, reals, time_ms: None, about: None }))
    }
}

impl Iterator for ArrayRows {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.advance().map_err(RowsError::from).transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

/// Why rows cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum RowsError {
    /// The file, or what it holds.
    Data(Box<DataError>),
    /// Rows of another length than the schema's records.
    Width {
        /// Which file.
        path: PathBuf,
        /// Values of a row.
        got: u64,
        /// Codes of a record.
        want: u64,
    },
}

impl From<DataError> for RowsError {
    fn from(error: DataError) -> Self {
        Self::Data(Box::new(error))
    }
}

impl fmt::Display for RowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => {
                error.fmt(f)?;
                match **error {
                    DataError::Column { times: 0, .. } => {
                        f.write_str("; name a field's column with --column FIELD=COLUMN, or another --delimiter")
                    }
                    _ => Ok(()),
                }
            }
            Self::Width { path, got, want } => {
                write!(f, "{}: a row has {got} values, the schema's records {want} codes", path.display())
            }
        }
    }
}

impl std::error::Error for RowsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Data(error) => Some(&**error),
            Self::Width { .. } => None,
        }
    }
}
