//! Jobs that learn from reports: which fields of a stored record, of which devices, in which order.
//!
//! A record holds codes, packed as its schema says, and each server stores one narrow share of it. What a job needs of schema and manifest stands here, so
//! that servers and dealer need neither to plan it: the places of the codes, the public line from a code to a real, and who sent records to train on.

use serde::{Deserialize, Serialize};

use symbolon_core::{
    report::{header::DeviceId, record, schema::SchemaHash},
    word::Word,
};

use super::{Affine, Data, Format, Task};

/// Reports as the source of a job's records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reports {
    /// What all records look like.
    pub records: Records,
    /// What reports *about* them look like, which bring the labels; none if the records have their own.
    pub about: Option<Records>,
    /// Digest of the manifest: which records, in which order.
    pub manifest: [u8; 32],
    /// Each feature's code.
    pub columns: Vec<Column>,
    /// What is predicted from them: in the record about, where there is one.
    pub target: Target,
    /// Who sent the records to train on.
    pub train: Senders,
    /// Which records are left for testing.
    pub test: Held,
}

/// What records of one schema look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// Hash of the schema.
    pub schema: SchemaHash,
    /// Bytes of a packed record.
    pub bytes: u32,
}

/// Where a code of `bits` bits stands in a packed record: bit `at` is its lowest ([`record::get`]).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// 1, 8, 16 or 32 for a reading, 1 to 8 for a label; in whole bytes, but for readings of one bit.
    pub bits: u32,
    /// First bit, from the lowest of the first byte.
    pub at: u32,
}

impl Place {
    /// The code in a packed record, or in a share of one.
    ///
    /// # Panics
    ///
    /// If the record is shorter than the job says.
    pub fn code(self, record: &[u8]) -> u32 {
        record::get(record, self.at as usize, self.bits)
    }
}

/// A reading: `real = offset + step * code`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its code.
    pub place: Place,
    /// The real that code 0 stands for.
    pub offset: f64,
    /// From one code to the next.
    pub step: f64,
}

impl Column {
    /// The scaled value as a function of the code.
    pub fn line(&self, scale: Affine) -> Line {
        Line { bits: self.place.bits, first: scale.apply(self.offset), slope: self.step / scale.divide }
    }
}

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// The class that a label's code names. Codes past the last class weigh nothing.
    Label(Place),
    /// A reading.
    Reading(Column),
}

/// Devices whose records are to train on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Senders {
    /// All but those that are for testing.
    All,
    /// These, in ascending order.
    Only(Vec<u64>),
}

/// Records that are for testing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Held {
    /// None.
    None,
    /// Each `n`-th record of those that are to train on: `n - 1`, `2n - 1`, ...
    Every(u64),
    /// All records of these devices, in ascending order.
    Of(Vec<u64>),
}

/// The set that a record belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Set {
    /// To train on.
    Train,
    /// To evaluate on.
    Test,
}

/// Sorts records into sets, in the manifest's order.
pub struct Sorter<'a> {
    train: &'a Senders,
    test: &'a Held,
    seen: u64,
}

impl<'a> Sorter<'a> {
    /// Starts at the manifest's first record.
    pub fn new(train: &'a Senders, test: &'a Held) -> Self {
        Self { train, test, seen: 0 }
    }

    /// The set of the next record, which `device` sent; `None` if it is not used.
    pub fn next(&mut self, device: DeviceId) -> Option<Set> {
        let Self { train, test, .. } = *self;
        if matches!(test, Held::Of(devices) if devices.binary_search(&device.0).is_ok()) {
            return Some(Set::Test);
        }
        if matches!(train, Senders::Only(devices) if devices.binary_search(&device.0).is_err()) {
            return None;
        }
        self.seen += 1;
        match test {
            Held::Every(every) if self.seen.is_multiple_of(*every) => Some(Set::Test),
            _ => Some(Set::Train),
        }
    }
}

impl Reports {
    /// Writes each feature's code in a packed record, or in a share of one, to `row`: in the low
    /// bits of its word.
    ///
    /// # Panics
    ///
    /// If the record is shorter than the job says.
    pub fn codes<W: Word>(&self, record: &[u8], row: &mut [W]) {
        for (word, column) in row.iter_mut().zip(&self.columns) {
            *word = W::from_u64(u64::from(column.place.code(record)));
        }
    }

    /// At the manifest's first record.
    pub fn sorter(&self) -> Sorter<'_> {
        Sorter::new(&self.train, &self.test)
    }
}

/// A scaled value as a function of its code: `first + slope * code`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Codes are `0 .. 2^bits`.
    pub bits: u32,
    /// Of code 0.
    pub first: f64,
    /// From one code to the next.
    pub slope: f64,
}

/// `2^n`, the same on all machines.
pub(crate) fn pow2(n: u32) -> f64 {
    (0..n).fold(1.0, |p, _| p * 2.0)
}

impl Line {
    /// The least and the greatest value of a code.
    pub fn ends(&self) -> [f64; 2] {
        let last = self.first + self.slope * (pow2(self.bits) - 1.0);
        [self.first.min(last), self.first.max(last)]
    }

    /// The largest magnitude that a code can have.
    pub fn reach(&self) -> f64 {
        let [least, greatest] = self.ends();
        least.abs().max(greatest.abs())
    }

    /// The largest error of a prediction that is 0 or the value of a code.
    pub fn spread(&self) -> f64 {
        self.reach().max(self.slope.abs() * (pow2(self.bits) - 1.0))
    }

    /// Fraction bits beyond `frac_bits` with which values still fit into `k - 2` bits and a sign, rounding included; `None` if they do not fit at all.
    pub fn extra_bits(&self, ring_bits: u32, frac_bits: u32) -> Option<u32> {
        // Half a unit of slope for each code, and a unit for the constant; the factor covers the rounding of floats.
        let fits = |extra: &u32| {
            self.reach() * pow2(frac_bits + extra) * (1.0 + 1.0 / pow2(40)) + pow2(self.bits) <= pow2(ring_bits - 2)
        };
        (0..=(ring_bits - 2).checked_sub(frac_bits)?).rev().find(fits)
    }

    /// `(slope, first)` as integers with `frac_bits` fraction bits. The slope's rounding is nil where values are nearest to 0, so the error of any value is
    /// relative to it, but for half a unit.
    #[allow(clippy::cast_possible_truncation)] // they fit: see `extra_bits`
    pub fn integers(&self, frac_bits: u32) -> (i64, i64) {
        let unit = pow2(frac_bits);
        let slope = (self.slope * unit).round();
        let nearest = (-self.first / self.slope).clamp(0.0, pow2(self.bits) - 1.0);
        let first = (self.first + self.slope * nearest) * unit - slope * nearest;
        (slope as i64, first.round() as i64)
    }
}

impl Data {
    /// Whether the records are reports that the servers hold, and no client brings them.
    pub fn is_stored(&self) -> bool {
        matches!(self.format, Format::Reports(_))
    }

    /// Whether labels may name no class: reports' codes past the last class do. Such records weigh
    /// nothing.
    pub fn may_lack_class(&self) -> bool {
        match (&self.format, &self.task) {
            (Format::Reports(Reports { target: Target::Label(place), .. }), Task::Classes(classes)) => {
                *classes < 1 << place.bits
            }
            _ => false,
        }
    }

    /// Each feature's line, for a job that learns from reports; none for others.
    pub fn lines(&self) -> Vec<Line> {
        let Format::Reports(reports) = &self.format else { return Vec::new() };
        let scaled = |(i, column): (usize, &Column)| Some(column.line(self.scale.affine(i, self.features())?));
        reports.columns.iter().enumerate().filter_map(scaled).collect()
    }

    /// The target's line, if a reading is to be predicted.
    pub fn target_line(&self) -> Option<Line> {
        match (&self.format, &self.task) {
            (Format::Reports(Reports { target: Target::Reading(column), .. }), Task::Regression(targets)) => {
                let scale = targets.first()?;
                Some(column.line(*scale))
            }
            _ => None,
        }
    }
}
