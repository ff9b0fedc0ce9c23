//! IDX files: two zero bytes, an element type, the number of dimensions, their sizes (big-endian `u32`), the elements.
//!
//! The first dimension counts records; the others together are the features of one.

use std::io::{ErrorKind, Read};
use std::path::Path;

use super::scale::{feature, push_target};
use super::{DataError, Dataset, Place, Problem, Source};
use crate::job::Data;

/// Element types of the format; all big-endian.
#[derive(Clone, Copy)]
enum Element {
    U8,
    I8,
    I16,
    I32,
    F32,
    F64,
}

impl Element {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x08 => Self::U8,
            0x09 => Self::I8,
            0x0b => Self::I16,
            0x0c => Self::I32,
            0x0d => Self::F32,
            0x0e => Self::F64,
            _ => return None,
        })
    }

    fn len_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The number in `bytes`, which are as many as the element has; all of these types fit in `f64`.
    fn decode(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let [a, b, c, d, ..] = wide;
        match self {
            Self::U8 => f64::from(a),
            Self::I8 => f64::from(a.cast_signed()),
            Self::I16 => f64::from(i16::from_be_bytes([a, b])),
            Self::I32 => f64::from(i32::from_be_bytes([a, b, c, d])),
            Self::F32 => f64::from(f32::from_be_bytes([a, b, c, d])),
            Self::F64 => f64::from_be_bytes(wide),
        }
    }
}

/// Reads the first `records` records; `key` is where the job says so.
pub(super) fn load(
    data: &Data,
    records: usize,
    key: &'static str,
    images: Source,
    labels: Source,
) -> Result<Dataset, DataError> {
    let (mut images, mut labels) = (Idx::open(images)?, Idx::open(labels)?);
    for (file, key, job, got) in [
        (&images, "data.shape (features)", data.features(), images.width),
        (&labels, "values a label", 1, labels.width),
    ] {
        let (path, job) = (file.source.path.clone(), job as u64);
        if job != got {
            return Err(DataError::Count { path, key, job, file: got });
        }
    }
    labels.pair(&images)?;
    let (job, file) = (records as u64, images.records);
    if file < job {
        return Err(DataError::Count { path: images.source.path, key, job, file });
    }
    let mut set = Dataset::with_rows(data, records)?;
    let (mut features, mut target) = (vec![0.0; data.features()], [0.0]);
    for record in 0..file {
        if !images.next(&mut features)? || !labels.next(&mut target)? {
            break;
        }
        if record >= job {
            continue;
        }
        for (column, raw) in features.iter().enumerate() {
            let place = Place::Feature { record, feature: column };
            set.features.push(feature(&data.scale, column, *raw).map_err(|problem| images.refused(place, problem))?);
        }
        let place = Place::Label { record };
        push_target(data, &mut set, target[0]).map_err(|problem| labels.refused(place, problem))?;
        set.rows += 1;
    }
    images.finish()?;
    labels.finish()?;
    set.held = file;
    Ok(set)
}

/// An IDX file, record by record.
pub(crate) struct Idx {
    source: Source,
    element: Element,
    /// Records that the header announces.
    records: u64,
    /// Values a record.
    width: u64,
    /// Records that were read.
    read: u64,
    row: Vec<u8>,
}

impl Idx {
    /// Reads the header; memory for a record is taken with the first.
    pub(crate) fn open(mut source: Source) -> Result<Self, DataError> {
        let mut magic = [0; 4];
        fill(&mut source, &mut magic, 0, 0)?;
        let element = match magic {
            [0, 0, code, 1..=8] => Element::from_code(code),
            _ => None,
        };
        let Some(element) = element else {
            return Err(DataError::IdxMagic { path: source.path, got: magic });
        };
        let mut sizes = [0; 4 * 8];
        let sizes = &mut sizes[..4 * usize::from(magic[3])];
        fill(&mut source, sizes, 0, 0)?;
        let mut sizes = sizes.as_chunks::<4>().0.iter().map(|size| u64::from(u32::from_be_bytes(*size)));
        let records = sizes.next().unwrap_or(0);
        let width = sizes.fold(1, u64::saturating_mul);
        Ok(Self { source, element, records, width, read: 0, row: Vec::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.source.path
    }

    /// Values a record.
    pub(crate) fn width(&self) -> u64 {
        self.width
    }

    /// Whether this file has a label for each of the records of `features`.
    pub(crate) fn pair(&self, features: &Self) -> Result<(), DataError> {
        let (features, labels) = (features.records, self.records);
        if features == labels {
            Ok(())
        } else {
            Err(DataError::Labels { path: self.source.path.clone(), features, labels })
        }
    }

    /// Reads one record into `values`, which are as many as its [`Self::width`]; false behind the
    /// last.
    pub(crate) fn next(&mut self, values: &mut [f64]) -> Result<bool, DataError> {
        if self.read == self.records {
            return Ok(false);
        }
        let len_bytes = self.element.len_bytes();
        self.row.resize(values.len() * len_bytes, 0);
        fill(&mut self.source, &mut self.row, self.read, self.records)?;
        self.read += 1;
        for (value, bytes) in values.iter_mut().zip(self.row.chunks_exact(len_bytes)) {
            *value = self.element.decode(bytes);
        }
        Ok(true)
    }

    fn refused(&self, place: Place, problem: Problem) -> DataError {
        DataError::Value { path: self.source.path.clone(), place, problem }
    }

    /// The file must end here; for gzip this checks the sum as well.
    pub(crate) fn finish(&mut self) -> Result<(), DataError> {
        match self.source.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(DataError::Trailing { path: self.source.path.clone() }),
            Err(error) => Err(self.source.failed(error)),
        }
    }
}

fn fill(source: &mut Source, bytes: &mut [u8], records: u64, want: u64) -> Result<(), DataError> {
    source.reader.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => DataError::Short { path: source.path.clone(), records, want },
        _ => source.failed(error),
    })
}
