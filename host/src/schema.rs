//! Schemas as files, and reals as codes.
//!
//! ```toml
//! task = "occupancy"
//!
//! [[field]]
//! name = "temperature"
//! width = 16 # 1, 8, 16 or 32
//! offset = 0.0
//! step = 0.01
//! unit = "°C"
//!
//! [[field]]
//! name = "acceleration"
//! count = 384 # 1, if left out
//! width = 16
//! offset = -2.0
//! step = 6.1035e-5
//! unit = "g"
//!
//! [[field]]
//! name = "occupied"
//! label = { bits = 1, classes = 2 }
//! ```
//!
//! The file is public. Whoever has a schema of the same [`Schema::hash`] agrees on every field.

use serde::Deserialize;
use std::{fmt, fs, io, path::Path, path::PathBuf};
use symbolon_core::report::{
    record,
    schema::{Field, Kind, Layout, MAX_RECORD_BYTES, Schema, SchemaError, SchemaHash, Width},
};

/// No schema file is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A schema that owns its names, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaFile {
    task: String,
    fields: Vec<OwnedField>,
    layout: Layout,
    hash: SchemaHash,
}

/// A field that owns its names.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedField {
    /// Its name.
    pub name: String,
    /// How many codes.
    pub count: u16,
    /// What they are.
    pub kind: OwnedKind,
}

/// [`Kind`] that owns its unit.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedKind {
    /// A measured value.
    Reading {
        /// Bits of the code.
        width: Width,
        /// Value of code 0.
        offset: f64,
        /// From one code to the next.
        step: f64,
        /// Of the value.
        unit: String,
    },
    /// An index of a class.
    Label {
        /// Bits of the code.
        bits: u8,
        /// Classes.
        classes: u16,
    },
}

impl OwnedField {
    fn borrow(&self) -> Field<'_> {
        let kind = match &self.kind {
            OwnedKind::Reading { width, offset, step, unit } => {
                Kind::Reading { width: *width, offset: *offset, step: *step, unit }
            }
            OwnedKind::Label { bits, classes } => Kind::Label { bits: *bits, classes: *classes },
        };
        Field { name: &self.name, count: self.count, kind }
    }

    /// The code nearest to `real`; for a label, the class.
    ///
    /// # Errors
    ///
    /// If no code stands for it: [`RangeError`].
    pub fn encode(&self, real: f64) -> Result<u32, RangeError> {
        let (offset, step, last) = match self.kind {
            OwnedKind::Reading { width, offset, step, .. } => (offset, step, u32::MAX >> (32 - width.bits())),
            OwnedKind::Label { classes, .. } => (0.0, 1.0, u32::from(classes) - 1),
        };
        let code = ((real - offset) / step).round();
        // Labels are indices: 0.4 is no class.
        let whole = matches!(self.kind, OwnedKind::Reading { .. }) || code == real;
        if whole && (0.0..=f64::from(last)).contains(&code) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, and whole
            return Ok(code as u32);
        }
        let ends = [offset, offset + step * f64::from(last)];
        Err(RangeError {
            field: self.name.clone(),
            got: real,
            least: ends[0].min(ends[1]),
            greatest: ends[0].max(ends[1]),
        })
    }

    /// The real that a code stands for.
    pub fn decode(&self, code: u32) -> f64 {
        match self.kind {
            OwnedKind::Reading { offset, step, .. } => offset + step * f64::from(code),
            OwnedKind::Label { .. } => f64::from(code),
        }
    }
}

impl SchemaFile {
    /// Checks a schema that was made here.
    ///
    /// # Errors
    ///
    /// What [`Schema::layout`] finds; two fields of one name.
    pub fn new(task: &str, fields: Vec<OwnedField>) -> Result<Self, SchemaFault> {
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].iter().any(|other| other.name == field.name) {
                return Err(SchemaFault::Twice(field.name.clone()));
            }
        }
        let mut file = Self { task: task.to_owned(), fields, layout: Layout::default(), hash: [0; 32] };
        (file.layout, file.hash) = file.borrow(|schema| schema.layout().map(|layout| (layout, schema.hash())))?;
        Ok(file)
    }

    /// Reads a schema file.
    ///
    /// # Errors
    ///
    /// With the file's name; see [`SchemaFault`].
    pub fn load(path: &Path) -> Result<Self, SchemaFileError> {
        let fault = |fault| SchemaFileError { file: path.to_owned(), fault };
        let length = fs::metadata(path).map_err(|error| fault(SchemaFault::Read(error)))?.len();
        if length > MAX_FILE_BYTES {
            return Err(fault(SchemaFault::Schema(SchemaError::Long)));
        }
        let text = fs::read_to_string(path).map_err(|error| fault(SchemaFault::Read(error)))?;
        Self::parse(&text).map_err(fault)
    }

    /// Parses a schema file.
    ///
    /// # Errors
    ///
    /// See [`SchemaFault`].
    pub fn parse(text: &str) -> Result<Self, SchemaFault> {
        let raw: Raw = toml::from_str(text).map_err(|error| SchemaFault::Parse(Box::new(error)))?;
        let fields = raw.field.into_iter().map(RawField::check).collect::<Result<_, _>>()?;
        Self::new(&raw.task, fields)
    }

    /// The task.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The fields, in the file's order.
    pub fn fields(&self) -> &[OwnedField] {
        &self.fields
    }

    /// Calls `f` with the schema as `symbolon_core` has it.
    pub fn borrow<T>(&self, f: impl FnOnce(Schema<'_>) -> T) -> T {
        let fields: Vec<_> = self.fields.iter().map(OwnedField::borrow).collect();
        f(Schema { task: &self.task, fields: &fields })
    }

    /// Its hash.
    pub fn hash(&self) -> SchemaHash {
        self.hash
    }

    /// How records are laid out.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Packs a record: one real for each code, in the order of the fields.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Count`], [`EncodeError::Range`].
    pub fn record(&self, reals: &[f64]) -> Result<Vec<u8>, EncodeError> {
        let want = self.fields.iter().map(|field| usize::from(field.count)).sum();
        if reals.len() != want {
            return Err(EncodeError::Count { want, got: reals.len() });
        }
        let mut packed = vec![0; self.layout.record_bytes()];
        let mut reals = reals.iter();
        for (at_bit, bits, field) in self.places() {
            if let Some(real) = reals.next() {
                record::put(&mut packed, at_bit, bits, field.encode(*real).map_err(EncodeError::Range)?);
            }
        }
        Ok(packed)
    }

    /// The reals of a packed record, in the order of the fields; `None` if it has another length.
    pub fn reals(&self, packed: &[u8]) -> Option<Vec<f64>> {
        let whole = packed.len() == self.layout.record_bytes();
        whole.then(|| {
            self.places().map(|(at_bit, bits, field)| field.decode(record::get(packed, at_bit, bits))).collect()
        })
    }

    /// First bit, width and field of each code, in the order of the fields.
    fn places(&self) -> impl Iterator<Item = (usize, u32, &OwnedField)> {
        let places: Vec<_> = self.borrow(|schema| (0..self.fields.len()).filter_map(|i| schema.place(i)).collect());
        places.into_iter().zip(&self.fields).flat_map(|(place, field)| {
            (0..place.count).map(move |i| (place.at_bit + i * place.bits as usize, place.bits, field))
        })
    }
}

/// A schema as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    task: String,
    field: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: String,
    count: Option<u16>,
    width: Option<u32>,
    offset: Option<f64>,
    step: Option<f64>,
    unit: Option<String>,
    label: Option<RawLabel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabel {
    bits: u8,
    classes: u16,
}

impl RawField {
    fn check(self) -> Result<OwnedField, SchemaFault> {
        let Self { name, count, width, offset, step, unit, label } = self;
        let kind = match (label, width) {
            (Some(RawLabel { bits, classes }), None) if offset.is_none() && step.is_none() && unit.is_none() => {
                OwnedKind::Label { bits, classes }
            }
            (None, Some(bits)) => OwnedKind::Reading {
                width: Width::of(bits).ok_or_else(|| SchemaFault::Width { field: name.clone(), bits })?,
                offset: offset.unwrap_or(0.0),
                step: step.unwrap_or(1.0),
                unit: unit.unwrap_or_default(),
            },
            _ => return Err(SchemaFault::Kind(name)),
        };
        Ok(OwnedField { name, count: count.unwrap_or(1), kind })
    }
}

/// A real that no code of a field stands for. Shown to the data's owner alone.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeError {
    /// Name of the field.
    pub field: String,
    /// The real.
    pub got: f64,
    /// Least real that a code stands for.
    pub least: f64,
    /// Greatest.
    pub greatest: f64,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, got, least, greatest } = self;
        write!(f, "field {field:?}: {got} is outside of {least} to {greatest}, which its codes stand for")
    }
}

impl std::error::Error for RangeError {}

/// Why reals make no record.
#[derive(Clone, Debug, PartialEq)]
pub enum EncodeError {
    /// Too many or too few.
    Count {
        /// Codes of a record.
        want: usize,
        /// Reals given.
        got: usize,
    },
    /// One is out of range.
    Range(RangeError),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { want, got } => write!(f, "{got} values, but a record of the schema has {want}"),
            Self::Range(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EncodeError {}

/// A schema file that cannot be used.
#[derive(Debug)]
pub struct SchemaFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: SchemaFault,
}

/// What is wrong with a schema.
#[derive(Debug)]
#[non_exhaustive]
pub enum SchemaFault {
    /// The file cannot be read.
    Read(io::Error),
    /// Not TOML, a key that does not belong there, or a value of the wrong kind. Says the line.
    Parse(Box<toml::de::Error>),
    /// Two fields of this name.
    Twice(String),
    /// The field is neither a reading nor a label.
    Kind(String),
    /// A width that no code has.
    Width {
        /// Name of the field.
        field: String,
        /// The width.
        bits: u32,
    },
    /// The fields do not make a schema.
    Schema(SchemaError),
}

impl From<SchemaError> for SchemaFault {
    fn from(error: SchemaError) -> Self {
        Self::Schema(error)
    }
}

impl fmt::Display for SchemaFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.fault)
    }
}

impl fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Parse(error) => error.fmt(f),
            Self::Twice(name) => write!(f, "field {name:?}: is there twice; rename one"),
            Self::Kind(name) => {
                write!(
                    f,
                    "field {name:?}: give `width` for a reading, or `label = {{ bits, classes }}` alone for a label"
                )
            }
            Self::Width { field, bits } => write!(f, "field {field:?}: width is {bits}, but must be 1, 8, 16 or 32"),
            Self::Schema(SchemaError::Long) => {
                write!(f, "a record has at most {MAX_RECORD_BYTES} bytes; take fewer or narrower fields")
            }
            Self::Schema(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SchemaFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Parse(error) => Some(&**error),
            Self::Schema(error) => Some(error),
            Self::Twice(_) | Self::Kind(_) | Self::Width { .. } => None,
        }
    }
}

impl std::error::Error for SchemaFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}
