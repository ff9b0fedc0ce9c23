//! From the columns of a file to a job's settings.

use super::{
    Refusal,
    columns::{Columns, Fault, Spread},
};
use crate::{
    data::Dialect,
    job::{Affine, Task},
};
use std::path::Path;

/// No job is proposed for fewer rows.
const MIN_ROWS: u64 = 20;
/// Each row of this number is for testing.
pub(super) const TEST_EVERY: u64 = 5;
/// Rows a class, below which whole numbers are taken for numbers.
const ROWS_A_CLASS: u64 = 10;
/// Whole numbers in a narrower range may be meant as classes.
const FEW: f64 = 20.0;
/// Scaled features stay below this.
const FARTHEST: f64 = 8.0;
/// Words of 32 bits hold squares of errors below 16; this leaves half of it to predictions.
const LARGEST_ERROR_32: f64 = 8.0;
/// Steps that a small file is trained for.
const STEPS: u64 = 1500;

/// A job's settings.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) name: String,
    /// The file's name.
    pub(super) file: String,
    pub(super) dialect: Dialect,
    /// Rows that lack a cell.
    pub(super) skipped: u64,
    pub(super) features: Vec<(String, Constants)>,
    pub(super) label: String,
    pub(super) task: Task,
    /// Constants of the target as they are written, of a regression.
    pub(super) target: Option<Constants>,
    /// A regression whose target may be meant as classes.
    pub(super) looks_like_classes: bool,
    pub(super) left_out: Vec<(String, Fault)>,
    pub(super) train_records: u64,
    pub(super) test_records: u64,
    pub(super) ring_bits: u32,
    pub(super) hidden: usize,
    pub(super) epochs: u64,
    pub(super) batch: u64,
}

/// An offset and a divisor as they are written: rounded to two digits of the divisor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Constants {
    pub(super) offset: String,
    pub(super) divide: String,
}

impl Constants {
    fn new(offset: f64, divide: f64) -> Self {
        // Two significant digits of the divisor, and as many places of the offset.
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm of a double")]
        let place = divide.log10().floor() as i32 - 1;
        Self { offset: rounded(offset, place), divide: rounded(divide, place) }
    }

    /// For features in -1 to 1 mostly: about their mean, divided by two standard deviations. One
    /// that is 0 or 1 stays as it is.
    fn of_feature(spread: &Spread) -> Self {
        let Spread { mean, least, greatest, whole, .. } = *spread;
        if whole && least.abs() < f64::EPSILON && (greatest - 1.0).abs() < f64::EPSILON {
            return Self::new(0.0, 1.0);
        }
        let farthest = (greatest - mean).max(mean - least);
        Self::new(mean, (2.0 * spread.deviation()).max(farthest / FARTHEST))
    }

    pub(super) fn affine(&self) -> Affine {
        let number = |text: &str| text.parse().unwrap_or(f64::NAN);
        Affine { offset: number(&self.offset), divide: number(&self.divide) }
    }
}

/// The decimal of `value` that is rounded to a multiple of `10^place`.
fn rounded(value: f64, place: i32) -> String {
    if !(-15..=12).contains(&place) {
        return format!("{value:.1e}");
    }
    let text = match usize::try_from(-place) {
        Ok(decimals) => format!("{value:.decimals$}"),
        Err(_) => format!("{:.0}", (value / 10f64.powi(place)).round() * 10f64.powi(place)),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

impl Proposal {
    pub(super) fn new(csv: &Path, dialect: Dialect, columns: Columns) -> Result<Self, Refusal> {
        let Columns { features, label, counts, left_out, rows, skipped } = columns;
        if rows < MIN_ROWS {
            return Err(Refusal::Rows { got: rows, want: MIN_ROWS });
        }
        if features.is_empty() {
            let left_out = left_out.iter().map(|(name, fault)| format!("{name:?} {fault}")).collect();
            return Err(Refusal::NoFeatures { left_out });
        }
        let classes = counts.classes().filter(|classes| *classes >= 2 && rows >= ROWS_A_CLASS * *classes as u64);
        let target = classes.is_none().then(|| Constants::new(label.spread.mean, label.spread.deviation()));
        let task = match (classes, &target) {
            (Some(classes), _) => Task::Classes(classes),
            (None, target) => Task::Regression(vec![target.as_ref().map_or(UNSCALED, Constants::affine)]),
        };
        let file = csv.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let test_records = rows / TEST_EVERY;
        let train_records = rows - test_records;
        let batch = if train_records < 4096 { 32 } else { 64 };
        let batch = 1 << u64::min(batch, train_records).ilog2();
        let steps = train_records.div_ceil(batch);
        let features: Vec<_> =
            features.into_iter().map(|column| (column.name, Constants::of_feature(&column.spread))).collect();
        Ok(Self {
            name: name(&file),
            file,
            dialect,
            skipped,
            hidden: if features.len() <= 16 {
                32
            } else if features.len() <= 128 {
                64
            } else {
                128
            },
            features,
            looks_like_classes: target.is_some()
                && label.spread.whole
                && label.spread.greatest - label.spread.least < FEW,
            ring_bits: if fits_32(&task, &label.spread) { 32 } else { 64 },
            label: label.name,
            task,
            target,
            left_out,
            train_records,
            test_records,
            epochs: STEPS.div_ceil(steps).clamp(4, 100),
            batch,
        })
    }
}

/// The scale of a target for which no constants are proposed.
const UNSCALED: Affine = Affine { offset: 0.0, divide: 1.0 };

/// Whether words of 32 bits hold the squares of a regression's errors.
fn fits_32(task: &Task, spread: &Spread) -> bool {
    let Task::Regression(targets) = task else { return true };
    let [target] = targets[..] else { return true };
    let (least, greatest) = (target.apply(spread.least), target.apply(spread.greatest));
    greatest.max(0.0) - least.min(0.0) < LARGEST_ERROR_32
}

/// A job's name from a file's.
fn name(file: &str) -> String {
    let stem = file.split('.').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' };
    let name: String = stem.chars().take(64).map(plain).collect();
    if name.is_empty() { "job".to_owned() } else { name }
}
