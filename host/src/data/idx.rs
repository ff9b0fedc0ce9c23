//! IDX files: two zero bytes, an element type, the number of dimensions, their sizes (big-endian `u32`), the elements.
//!
//! The first dimension counts records; the others together are the features of one.

use std::io::{ErrorKind, Read};

use super::scale::{feature, push_target};
use super::{DataError, Dataset, Place, Source};
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

/// A file whose header fits the job.
struct File {
    source: Source,
    element: Element,
    /// Records that its header announces: those of the job, or more.
    records: u64,
    row: Vec<u8>,
}

/// Reads `records` records; `key` is where the job says so.
pub(super) fn load(
    data: &Data,
    records: usize,
    key: &'static str,
    images: Source,
    labels: Source,
) -> Result<Dataset, DataError> {
    let mut images = File::open(images, (key, records), ("data.features", data.features))?;
    let mut labels = File::open(labels, (key, records), ("values a label", 1))?;
    if labels.records != images.records {
        let (path, key) = (labels.source.path, "records of the images");
        return Err(DataError::Count { path, key, job: images.records, file: labels.records });
    }
    let mut set = Dataset::with_rows(data, records)?;
    set.left_out = images.records - records as u64;
    for record in 0..records {
        images.next(record, |column, raw| {
            set.features
                .push(feature(&data.scale, column, raw).map_err(|e| (Place::Feature { record, feature: column }, e))?);
            Ok(())
        })?;
        labels.next(record, |_, raw| {
            push_target(data, &mut set, raw).map_err(|problem| (Place::Label { record }, problem))
        })?;
        set.rows += 1;
    }
    images.finish(set.left_out)?;
    labels.finish(set.left_out)?;
    Ok(set)
}

impl File {
    /// Reads the header and compares both counts with the job's, before any memory is taken. There
    /// may be more records.
    fn open(
        mut source: Source,
        records: (&'static str, usize),
        width: (&'static str, usize),
    ) -> Result<Self, DataError> {
        let mut magic = [0; 4];
        fill(&mut source, &mut magic, 0, records.1)?;
        let element = match magic {
            [0, 0, code, 1..=8] => Element::from_code(code),
            _ => None,
        };
        let Some(element) = element else {
            return Err(DataError::IdxMagic { path: source.path, got: magic });
        };
        let mut sizes = [0; 4 * 8];
        let sizes = &mut sizes[..4 * usize::from(magic[3])];
        fill(&mut source, sizes, 0, records.1)?;
        let mut sizes = sizes.as_chunks::<4>().0.iter().map(|size| u64::from(u32::from_be_bytes(*size)));
        let found = sizes.next().unwrap_or(0);
        let values = sizes.fold(1, u64::saturating_mul);
        for ((key, job), file) in [(records, found), (width, values)] {
            let job = job as u64;
            if file < job || key == width.0 && file != job {
                return Err(DataError::Count { path: source.path, key, job, file });
            }
        }
        Ok(Self { source, element, records: found, row: vec![0; width.1 * element.len_bytes()] })
    }

    /// Reads one record and hands its values over.
    fn next(
        &mut self,
        record: usize,
        mut each: impl FnMut(usize, f64) -> Result<(), (Place, super::Problem)>,
    ) -> Result<(), DataError> {
        self.skip(record)?;
        for (column, bytes) in self.row.chunks_exact(self.element.len_bytes()).enumerate() {
            each(column, self.element.decode(bytes)).map_err(|(place, problem)| DataError::Value {
                path: self.source.path.clone(),
                place,
                problem,
            })?;
        }
        Ok(())
    }

    /// Reads record `record` and leaves it in `row`.
    fn skip(&mut self, record: usize) -> Result<(), DataError> {
        let want = usize::try_from(self.records).unwrap_or(usize::MAX);
        fill(&mut self.source, &mut self.row, record, want)
    }

    /// The file must end after the records that are left out; for gzip this checks the sum as well.
    fn finish(mut self, left_out: u64) -> Result<(), DataError> {
        let all = usize::try_from(self.records).unwrap_or(usize::MAX);
        let first = all.saturating_sub(usize::try_from(left_out).unwrap_or(usize::MAX));
        (first..all).try_for_each(|record| self.skip(record))?;
        match self.source.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(DataError::Trailing { path: self.source.path }),
            Err(error) => Err(self.source.failed(error)),
        }
    }
}

fn fill(source: &mut Source, bytes: &mut [u8], records: usize, want: usize) -> Result<(), DataError> {
    source.reader.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => DataError::Short { path: source.path.clone(), records, want },
        _ => source.failed(error),
    })
}
