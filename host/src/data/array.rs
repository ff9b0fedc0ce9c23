//! Arrays of numbers in files: the one reader of IDX and NPY behind their headers.
//!
//! The first dimension counts records; the others together are the values of one.

use std::io::{ErrorKind, Read};
use std::path::Path;

use super::scale::{feature, push_target};
use super::{DataError, Lengths, ListFacts, Place, Problem, ReadCounts, RecordBlocks, SetLengths, Source};
use crate::job::{Data, Task};

/// Types of numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// A number's type and the order of its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Element {
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
}

impl Element {
    pub(super) fn len_bytes(self) -> usize {
        match self.kind {
            Kind::Bool | Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
        }
    }

    /// The number in `bytes`, which are as many as the element has. Integers beyond `2^53` are
    /// rounded.
    fn decode(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        let used = &mut wide[..bytes.len()];
        used.copy_from_slice(bytes);
        if self.big_endian {
            used.reverse();
        }
        let [a, b, c, d, ..] = wide;
        #[expect(clippy::cast_precision_loss, reason = "the contract says so")]
        match self.kind {
            Kind::Bool => f64::from(u8::from(a != 0)),
            Kind::U8 => f64::from(a),
            Kind::I8 => f64::from(a.cast_signed()),
            Kind::U16 => f64::from(u16::from_le_bytes([a, b])),
            Kind::I16 => f64::from(i16::from_le_bytes([a, b])),
            Kind::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
            Kind::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
            Kind::U64 => u64::from_le_bytes(wide) as f64,
            Kind::I64 => i64::from_le_bytes(wide) as f64,
            Kind::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
            Kind::F64 => f64::from_le_bytes(wide),
        }
    }
}

/// The arrays of a set.
pub(super) struct Arrays {
    pub(super) features: Array,
    pub(super) labels: Array,
    /// Lengths of the records and of their labels, if the job has them.
    pub(super) lengths: [Option<Array>; 2],
}

/// Passes the first `records` records to `set`; `key` is where the job says how many.
pub(super) fn load(
    data: &Data,
    set: &mut RecordBlocks<'_>,
    (records, key): (usize, &'static str),
    arrays: Arrays,
) -> Result<ReadCounts, DataError> {
    let Arrays { mut features, mut labels, lengths } = arrays;
    let want = match &data.task {
        Task::Classes(_) => data.labels_per_record,
        Task::Regression(targets) => targets.len(),
    };
    check_sizes(data, (records, key), &features, (&labels, want))?;
    let (job, file) = (records as u64, features.records);
    features.keep(job);
    let mut lengths = LengthArrays::new(data, lengths, &features)?;
    let (mut values, mut targets) = (vec![0.0; data.features()], vec![0.0; want]);
    for record in 0..file {
        if !features.next(&mut values)? || !labels.next(&mut targets)? {
            break;
        }
        if record >= job {
            lengths.skip()?;
            continue;
        }
        let [steps, of_labels] = lengths.next(record, &mut set.block.lengths)?;
        let counted = if data.labels_follow_lengths() { steps } else { of_labels };
        // Padding may be anything, and is nothing.
        let words = steps.map_or(values.len(), |steps| usize::from(steps) * (values.len() / data.steps()));
        for (column, raw) in values.iter().enumerate() {
            let scaled = if column < words { feature(data, column, *raw) } else { Ok(0.0) };
            let place = Place::Feature { record, feature: column };
            set.block.features.push(scaled.map_err(|problem| features.refused(place, problem))?);
        }
        targets[counted.map_or(want, usize::from)..].fill(0.0);
        for (output, target) in targets.iter().enumerate() {
            let pushed = push_target(data, &mut set.block, output, *target);
            pushed.map_err(|problem| labels.refused(Place::Label { record }, problem))?;
        }
        set.end_record()?;
    }
    features.finish()?;
    labels.finish()?;
    lengths.finish()?;
    Ok(ReadCounts { records: file, skipped: 0 })
}

/// Holds the sizes of a set's arrays to the job's: `want` labels a record.
fn check_sizes(
    data: &Data,
    (records, key): (usize, &'static str),
    features: &Array,
    (labels, want): (&Array, usize),
) -> Result<(), DataError> {
    let count = |key, job, file| DataError::Count { path: features.source.path.clone(), key, job, file };
    let (job, file) = (data.features() as u64, features.width);
    if job != file {
        return Err(count("data.shape (features)", job, file));
    }
    if labels.width != want as u64 {
        return Err(DataError::LabelWidth { path: labels.source.path.clone(), got: labels.width, want });
    }
    labels.pair(features)?;
    let (job, file) = (records as u64, features.records);
    if file < job { Err(count(key, job, file)) } else { Ok(()) }
}

/// The lengths of a set's records and of their labels, record by record.
struct LengthArrays {
    /// Array, least and greatest length.
    arrays: [Option<(Array, [u16; 2])>; 2],
}

impl LengthArrays {
    fn new(data: &Data, arrays: [Option<Array>; 2], features: &Array) -> Result<Self, DataError> {
        for array in arrays.iter().flatten() {
            if (array.records, array.width) != (features.records, 1) {
                let (got, want) = ([array.records, array.width], features.records);
                return Err(DataError::Lengths { path: array.source.path.clone(), got, want });
            }
        }
        let [records, labels, ..] = Lengths::facts(data);
        let [own, of_labels] = arrays;
        let ranged = |array: Option<Array>, facts: ListFacts| array.map(|array| (array, [facts.least, facts.greatest]));
        Ok(Self { arrays: [ranged(own, records), ranged(of_labels, labels)] })
    }

    /// Reads the lengths of the next record, appends them to `lengths` and returns them.
    fn next(&mut self, record: u64, lengths: &mut SetLengths) -> Result<[Option<u16>; 2], DataError> {
        let mut read = [None; 2];
        for (array, read) in self.arrays.iter_mut().zip(&mut read) {
            let Some((array, [least, greatest])) = array else { continue };
            let mut value = [0.0];
            array.next(&mut value)?;
            let [got] = value;
            if got.fract() != 0.0 || !(f64::from(*least)..=f64::from(*greatest)).contains(&got) {
                let problem = Problem::NotALength { got, least: *least, greatest: *greatest };
                return Err(array.refused(Place::Length { record }, problem));
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
            let length = got as u16;
            *read = Some(length);
        }
        let [own, of_labels] = read;
        lengths.records.extend(own);
        lengths.labels.extend(of_labels);
        Ok(read)
    }

    /// Passes over the lengths of a record.
    fn skip(&mut self) -> Result<(), DataError> {
        self.arrays.iter_mut().flatten().try_for_each(|(array, _)| array.next(&mut [0.0]).map(drop))
    }

    /// As [`Array::finish`].
    fn finish(&mut self) -> Result<(), DataError> {
        self.arrays.iter_mut().flatten().try_for_each(|(array, _)| array.finish())
    }
}

/// An array in a file, record by record.
pub(crate) struct Array {
    source: Source,
    element: Element,
    /// Sizes that the header announces: records, and the dimensions of one.
    records: u64,
    dims: Vec<u64>,
    /// Values a record.
    width: u64,
    /// Records that were read.
    read: u64,
    row: Vec<u8>,
    /// `None` if a record's values lie together.
    columns: Option<Columns>,
}

/// An array whose first index is the fastest in the file, so that columns lie together.
struct Columns {
    /// The first records whose values are kept; later ones are passed over.
    keep: u64,
    /// Once the file was read: the kept values, column by column.
    bytes: Option<Vec<u8>>,
    /// Place in the file of each of a record's values.
    places: Vec<usize>,
}

impl Array {
    /// Takes `source` behind its header. `shape` begins with the records. Memory is taken with the
    /// first record.
    pub(super) fn new(source: Source, element: Element, shape: &[u64], columns_together: bool) -> Self {
        let (records, dims) = shape.split_first().map_or((0, Vec::new()), |(first, rest)| (*first, rest.to_vec()));
        let width = dims.iter().copied().fold(1, u64::saturating_mul);
        // With one value a record both orders are the same.
        let columns =
            (columns_together && width > 1).then_some(Columns { keep: records, bytes: None, places: Vec::new() });
        Self { source, element, records, dims, width, read: 0, row: Vec::new(), columns }
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

    /// Only the first `records` records are used: [`Self::next`] may give zeros for later ones.
    fn keep(&mut self, records: u64) {
        if let Some(columns) = &mut self.columns {
            columns.keep = records.min(self.records);
        }
    }

    /// Reads one record into `values`, which are as many as its [`Self::width`]; false behind the
    /// last.
    pub(crate) fn next(&mut self, values: &mut [f64]) -> Result<bool, DataError> {
        if self.read == self.records {
            return Ok(false);
        }
        let len_bytes = self.element.len_bytes();
        if self.columns.is_some() {
            self.gather(values)?;
        } else {
            self.row.resize(values.len() * len_bytes, 0);
            fill(&mut self.source, &mut self.row, self.read, self.records)?;
            for (value, bytes) in values.iter_mut().zip(self.row.chunks_exact(len_bytes)) {
                *value = self.element.decode(bytes);
            }
        }
        self.read += 1;
        Ok(true)
    }

    /// Takes a record out of the columns, which the first call reads.
    fn gather(&mut self, values: &mut [f64]) -> Result<(), DataError> {
        let Some(columns) = &mut self.columns else { return Ok(()) };
        let len_bytes = self.element.len_bytes();
        let bytes = match &mut columns.bytes {
            Some(bytes) => bytes,
            none => {
                columns.places = places(&self.dims, values.len());
                let sizes = [columns.keep, self.records - columns.keep].map(|n| n.saturating_mul(len_bytes as u64));
                none.insert(read_columns(&mut self.source, values.len(), sizes, self.records)?)
            }
        };
        values.fill(0.0);
        if self.read < columns.keep {
            // Both are below the length of `bytes`.
            #[expect(clippy::cast_possible_truncation, reason = "as many records are in memory")]
            let (record, keep) = (self.read as usize, columns.keep as usize);
            for (value, place) in values.iter_mut().zip(&columns.places) {
                let at = (place * keep + record) * len_bytes;
                *value = self.element.decode(&bytes[at..at + len_bytes]);
            }
        }
        Ok(())
    }

    pub(super) fn refused(&self, place: Place, problem: Problem) -> DataError {
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

/// Reads `columns` columns of `kept` bytes that are kept and `passed` bytes that are not. Memory
/// grows with the bytes that the file really has.
fn read_columns(
    source: &mut Source,
    columns: usize,
    [kept, passed]: [u64; 2],
    want: u64,
) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    for _ in 0..columns {
        let got = source.reader.by_ref().take(kept).read_to_end(&mut bytes);
        let got = got.map_err(|error| source.failed(error))? as u64;
        let over = std::io::copy(&mut source.reader.by_ref().take(passed), &mut std::io::sink());
        if got < kept || over.map_err(|error| source.failed(error))? < passed {
            return Err(DataError::Short { path: source.path.clone(), records: 0, want });
        }
    }
    Ok(bytes)
}

/// For each of a record's `width` values, in the order where the last index is the fastest: its
/// place where the first index is.
fn places(dims: &[u64], width: usize) -> Vec<usize> {
    let place = |value: usize| {
        let mut rest = value as u64;
        let from_last = dims.iter().rev().map(|size| {
            let index = rest % size;
            rest /= size;
            (index, *size)
        });
        let indices: Vec<(u64, u64)> = from_last.collect();
        let place = indices.iter().fold(0, |place, (index, size)| place * size + index);
        #[expect(clippy::cast_possible_truncation, reason = "below `width`")]
        let place = place as usize;
        place
    };
    (0..width).map(place).collect()
}

/// Fills `bytes`. The file has `records` whole records before them, of `want`; 0 in its header.
pub(super) fn fill(source: &mut Source, bytes: &mut [u8], records: u64, want: u64) -> Result<(), DataError> {
    source.reader.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => DataError::Short { path: source.path.clone(), records, want },
        _ => source.failed(error),
    })
}
