//! A data owner's records, row by row, as the schema's reals.

use crate::{
    data::{DataError, open_file, unpacked},
    schema::SchemaFile,
};
use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead, Read},
    path::{Path, PathBuf},
};
use symbolon_core::report::header::{DeviceId, ReportId};

/// A record before it is encoded.
#[derive(Clone, PartialEq)]
pub struct Row {
    /// A real for each code, in the order of the schema's fields.
    pub reals: Vec<f64>,
    /// When it was taken, milliseconds since 1970, if the file says.
    pub time_ms: Option<u64>,
    /// The report that it labels.
    pub about: Option<ReportId>,
}

/// Which columns of a CSV file are what.
#[derive(Clone, Debug, Default)]
pub struct Headings {
    /// Column of a field that is named otherwise.
    pub columns: BTreeMap<String, String>,
    /// Column with the time, in seconds since 1970.
    pub time: Option<String>,
    /// Rows label reports: columns `device`, `boot` and `sequence` say which.
    pub about: bool,
}

/// Rows of a CSV file with a header; columns of fields with several codes are named `field.0`, `field.1`, ...
pub struct CsvRows {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read>>,
    header: csv::StringRecord,
    columns: Vec<usize>,
    time: Option<usize>,
    about: Option<[usize; 3]>,
    row: usize,
}

impl CsvRows {
    /// Opens a file, plain or gzip.
    ///
    /// # Errors
    ///
    /// [`RowsError`]: the file, or a column that is missing.
    pub fn open(path: &Path, schema: &SchemaFile, headings: &Headings) -> Result<Self, RowsError> {
        let source = open_file(path.to_owned())?;
        Self::new(source.path, source.reader, schema, headings)
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
        let source = unpacked(name.into(), Box::new(bytes))?;
        Self::new(source.path, source.reader, schema, headings)
    }

    fn new(path: PathBuf, reader: Box<dyn Read>, schema: &SchemaFile, headings: &Headings) -> Result<Self, RowsError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
        let header = reader.headers().map_err(|error| RowsError::csv(&path, error))?.clone();
        let find = |name: &str| {
            let at = header.iter().position(|column| column == name);
            at.ok_or_else(|| RowsError::Column { path: path.clone(), column: name.to_owned() })
        };
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
        Ok(Self { path, reader, header, columns, time, about, row: 0 })
    }

    fn row(&self, cells: &csv::StringRecord) -> Result<Row, RowsError> {
        let cell = |column: usize| cells.get(column).unwrap_or_default();
        let wrong = |column: usize| RowsError::Cell {
            path: self.path.clone(),
            row: self.row,
            column: self.header.get(column).unwrap_or_default().to_owned(),
            got: cell(column).to_owned(),
        };
        let real = |column: &usize| cell(*column).parse().map_err(|_| wrong(*column));
        let number = |column: usize| cell(column).parse().map_err(|_| wrong(column));
        let time_ms = match self.time {
            None => None,
            Some(column) => {
                let seconds: u64 = cell(column).parse().map_err(|_| wrong(column))?;
                Some(seconds.checked_mul(1000).ok_or_else(|| wrong(column))?)
            }
        };
        let about = match self.about {
            None => None,
            Some([device, boot, sequence]) => {
                let id = u64::from_str_radix(cell(device), 16).map_err(|_| wrong(device))?;
                Some(ReportId { device: DeviceId(id), boot: number(boot)?, sequence: number(sequence)? })
            }
        };
        Ok(Row { reals: self.columns.iter().map(real).collect::<Result<_, _>>()?, time_ms, about })
    }
}

impl Iterator for CsvRows {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut cells = csv::StringRecord::new();
        self.row += 1;
        match self.reader.read_record(&mut cells) {
            Ok(false) => None,
            Ok(true) => Some(self.row(&cells)),
            Err(error) => Some(Err(RowsError::csv(&self.path, error))),
        }
    }
}

/// Rows of a pair of IDX files of unsigned bytes, as MNIST's: features, then a label.
pub struct IdxRows {
    features: Idx,
    labels: Option<Idx>,
}

struct Idx {
    path: PathBuf,
    reader: Box<dyn Read>,
    left: u32,
    row: Vec<u8>,
}

impl IdxRows {
    /// Opens the files, plain or gzip. The schema's fields must be as many codes as a row of both has.
    ///
    /// # Errors
    ///
    /// [`RowsError`].
    pub fn open(features: &Path, labels: Option<&Path>, schema: &SchemaFile) -> Result<Self, RowsError> {
        let features = Idx::open(features)?;
        let labels = labels.map(Idx::open).transpose()?;
        let got = features.row.len() + labels.as_ref().map_or(0, |labels| labels.row.len());
        let want = schema.fields().iter().map(|field| usize::from(field.count)).sum();
        match &labels {
            Some(labels) if labels.left != features.left => {
                Err(RowsError::Rows { path: labels.path.clone(), features: features.left, labels: labels.left })
            }
            _ if got != want => Err(RowsError::Width { path: features.path, got, want }),
            _ => Ok(Self { features, labels }),
        }
    }
}

impl Idx {
    fn open(path: &Path) -> Result<Self, RowsError> {
        let mut source = open_file(path.to_owned())?;
        let mut head = [0; 4];
        source.reader.read_exact(&mut head).map_err(|error| source.failed(error))?;
        let [0, 0, 8, dimensions @ 1..=4] = head else {
            return Err(RowsError::Idx { path: path.to_owned(), got: head });
        };
        let mut sizes = vec![0; 4 * usize::from(dimensions)];
        source.reader.read_exact(&mut sizes).map_err(|error| source.failed(error))?;
        let mut sizes = sizes.as_chunks::<4>().0.iter().map(|size| u32::from_be_bytes(*size));
        let left = sizes.next().unwrap_or(0);
        let width = sizes.try_fold(1u32, u32::checked_mul).filter(|width| *width <= 1 << 16);
        let width = width.ok_or_else(|| RowsError::Idx { path: path.to_owned(), got: head })?;
        Ok(Self { path: path.to_owned(), reader: source.reader, left, row: vec![0; width as usize] })
    }

    /// Appends the next row's bytes; `false` at the end.
    fn next(&mut self, reals: &mut Vec<f64>) -> Result<bool, RowsError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
        self.left = left;
        let read = self.reader.read_exact(&mut self.row);
        read.map_err(|source| DataError::Read { path: self.path.clone(), source })?;
        reals.extend(self.row.iter().map(|byte| f64::from(*byte)));
        Ok(true)
    }
}

impl Iterator for IdxRows {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reals = Vec::new();
        let mut read = || {
            Ok(self.features.next(&mut reals)?
                && match &mut self.labels {
                    Some(labels) => labels.next(&mut reals)?,
                    None => true,
                })
        };
        match read() {
            Ok(false) => None,
            Ok(true) => Some(Ok(Row { reals, time_ms: None, about: None })),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Why a row cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum RowsError {
    /// The file cannot be read.
    Data(Box<DataError>),
    /// No CSV.
    Csv {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: csv::Error,
    },
    /// A column is missing.
    Column {
        /// Which file.
        path: PathBuf,
        /// Its name.
        column: String,
    },
    /// A cell holds no number.
    Cell {
        /// Which file.
        path: PathBuf,
        /// Row, from 1.
        row: usize,
        /// Its column.
        column: String,
        /// What it holds.
        got: String,
    },
    /// No IDX file of unsigned bytes.
    Idx {
        /// Which file.
        path: PathBuf,
        /// Its first bytes.
        got: [u8; 4],
    },
    /// Rows of another length than the schema's records.
    Width {
        /// Which file.
        path: PathBuf,
        /// Values of a row.
        got: usize,
        /// Codes of a record.
        want: usize,
    },
    /// More features than labels, or fewer.
    Rows {
        /// The file with the labels.
        path: PathBuf,
        /// Rows of features.
        features: u32,
        /// Rows of labels.
        labels: u32,
    },
}

impl RowsError {
    fn csv(path: &Path, error: csv::Error) -> Self {
        Self::Csv { path: path.to_owned(), error }
    }
}

impl From<DataError> for RowsError {
    fn from(error: DataError) -> Self {
        Self::Data(Box::new(error))
    }
}

impl fmt::Display for RowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => error.fmt(f),
            Self::Csv { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Column { path, column } => {
                write!(
                    f,
                    "{}: has no column `{column}`; name the field's column with --column FIELD=COLUMN",
                    path.display()
                )
            }
            Self::Cell { path, row, column, got } => {
                write!(
                    f,
                    "{}: row {row}, column `{column}`: `{got}` is no number that fits (times are seconds since 1970, devices 16 hexadecimal digits)",
                    path.display()
                )
            }
            Self::Idx { path, got } => {
                write!(f, "{}: no IDX file of unsigned bytes (it begins {got:02x?})", path.display())
            }
            Self::Width { path, got, want } => {
                write!(f, "{}: a row has {got} values, the schema's records {want} codes", path.display())
            }
            Self::Rows { path, features, labels } => {
                write!(f, "{}: {labels} labels for {features} rows of features", path.display())
            }
        }
    }
}

impl std::error::Error for RowsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Data(error) => Some(&**error),
            Self::Csv { error, .. } => Some(error),
            _ => None,
        }
    }
}
