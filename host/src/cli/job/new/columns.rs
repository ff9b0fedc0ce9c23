//! The columns of a CSV file: which hold numbers that can be learnt from, and how these spread.

use super::{Refusal, cell_text};
use crate::data::{DataError, Dialect, Source, Table};
use std::fmt;

/// As many classes as a job may have.
const MAX_CLASSES: usize = 255;
/// No job has larger constants.
const FAR: f64 = 1e30;

/// Why a column is left out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// A cell is no number.
    Text { line: u64, text: String },
    /// More than half of the cells are missing.
    Missing { rows: u64, of: u64 },
    /// All cells are equal.
    Constant { value: f64 },
    /// Each cell is the one before plus 1: it numbers the rows.
    Counter,
    /// A value is beyond all scales.
    Far { value: f64 },
    /// The header names it with an empty cell.
    NoName,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { line, text } => {
                write!(f, "has {text} in line {line}, which is no number (--missing names texts for missing values)")
            }
            Self::Missing { rows, of } => write!(f, "has no value in {rows} of {of} rows"),
            Self::Constant { value } => write!(f, "has the value {value} in all rows"),
            Self::Counter => write!(f, "numbers the rows"),
            Self::Far { value } => write!(f, "has the value {value}, and no scale takes more than {FAR:e}"),
            Self::NoName => write!(f, "has no name"),
        }
    }
}

/// The first look at a column.
#[derive(Clone)]
struct Look {
    fault: Option<Fault>,
    missing: u64,
    first: Option<f64>,
    last: Option<f64>,
    varies: bool,
    counts: bool,
}

impl Look {
    fn new(name: &str) -> Self {
        let fault = name.is_empty().then_some(Fault::NoName);
        Self { fault, missing: 0, first: None, last: None, varies: false, counts: true }
    }

    fn see(&mut self, value: f64) {
        let first = *self.first.get_or_insert(value);
        self.varies |= value.to_bits() != first.to_bits();
        let last = self.last.replace(value);
        self.counts &= last.is_none_or(|last| (value - last - 1.0).abs() < f64::EPSILON);
        if value.abs() > FAR {
            self.fault.get_or_insert(Fault::Far { value });
        }
    }

    /// The fault of a column of a file of `rows` rows.
    fn settle(self, rows: u64) -> Option<Fault> {
        let (missing, varies, counts, first) = (self.missing, self.varies, self.counts, self.first.unwrap_or(0.0));
        self.fault.or_else(|| {
            if 2 * missing > rows {
                Some(Fault::Missing { rows: missing, of: rows })
            } else if !varies {
                Some(Fault::Constant { value: first })
            } else {
                (counts && missing == 0).then_some(Fault::Counter)
            }
        })
    }
}

/// How the values of a column spread (Welford's recurrence).
#[derive(Clone, Debug)]
pub(super) struct Spread {
    rows: u64,
    pub(super) mean: f64,
    /// Sum of the squared differences to the mean.
    squares: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
    /// All are whole numbers.
    pub(super) whole: bool,
}

impl Default for Spread {
    fn default() -> Self {
        Self { rows: 0, mean: 0.0, squares: 0.0, least: f64::INFINITY, greatest: f64::NEG_INFINITY, whole: true }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^53")]
impl Spread {
    fn see(&mut self, value: f64) {
        self.rows += 1;
        let before = value - self.mean;
        self.mean += before / self.rows as f64;
        self.squares += before * (value - self.mean);
        (self.least, self.greatest) = (self.least.min(value), self.greatest.max(value));
        self.whole &= value.fract() == 0.0;
    }

    pub(super) fn deviation(&self) -> f64 {
        (self.squares / self.rows.max(1) as f64).sqrt()
    }
}

/// How often each class occurs.
#[derive(Debug)]
pub(super) struct Counts {
    counts: [u64; MAX_CLASSES],
    /// A value that is no class.
    others: bool,
}

impl Counts {
    fn see(&mut self, value: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "other values compare unequal")]
        let class = value as usize;
        match self.counts.get_mut(class) {
            #[expect(clippy::cast_precision_loss, reason = "below 255")]
            Some(count) if (class as f64).to_bits() == (value + 0.0).to_bits() => *count += 1,
            _ => self.others = true,
        }
    }

    /// The number of classes, if all of `0 .. n` occur and nothing else does.
    pub(super) fn classes(&self) -> Option<usize> {
        let classes = self.counts.iter().rposition(|count| *count > 0)? + 1;
        (!self.others && self.counts[..classes].iter().all(|count| *count > 0)).then_some(classes)
    }
}

/// A column that is used.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) spread: Spread,
}

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) features: Vec<Column>,
    pub(super) label: Column,
    pub(super) counts: Counts,
    pub(super) left_out: Vec<(String, Fault)>,
    /// Rows that are used.
    pub(super) rows: u64,
    /// Rows that lack a cell.
    pub(super) skipped: u64,
}

impl Columns {
    /// Reads the file twice.
    pub(super) fn read(
        open: &dyn Fn() -> Result<Source, DataError>,
        dialect: &Dialect,
        label: Option<&str>,
    ) -> Result<Self, Refusal> {
        let mut table = Table::open(open()?, dialect.clone())?;
        let names = table.names().to_vec();
        if dialect.header && names.iter().all(|name| name.parse::<f64>().is_ok()) {
            return Err(Refusal::NoHeader { file: table.into_path() });
        }
        let label = match label {
            Some(name) => table.find(name)?,
            None => names.len() - 1,
        };
        let mut faults = faults(&mut table)?;
        // A class may follow the rows in order.
        if faults[label] == Some(Fault::Counter) {
            faults[label] = None;
        }
        if let Some(fault) = faults[label].take() {
            return Err(Refusal::Label { name: names[label].clone(), fault });
        }
        let used: Vec<usize> = (0..names.len()).filter(|i| *i != label && faults[*i].is_none()).collect();
        let left_out = names.iter().cloned().zip(faults).filter_map(|(name, fault)| Some((name, fault?))).collect();
        for column in used.iter().chain([&label]) {
            table.find(&names[*column])?;
        }
        let mut table = Table::open(open()?, dialect.clone())?;
        table.take(used.iter().copied().chain([label]).collect());
        let mut spreads = vec![Spread::default(); used.len()];
        let (mut target, mut counts) = (Spread::default(), Counts { counts: [0; MAX_CLASSES], others: false });
        while table.advance()? {
            for (spread, column) in spreads.iter_mut().zip(&used) {
                spread.see(table.number(*column)?);
            }
            let value = table.number(label)?;
            target.see(value);
            counts.see(value);
        }
        let features = used.iter().zip(spreads).map(|(i, spread)| Column { name: names[*i].clone(), spread });
        let (rows, skipped) = (target.rows, table.skipped());
        let label = Column { name: names[label].clone(), spread: target };
        Ok(Self { features: features.collect(), label, counts, left_out, rows, skipped })
    }
}

/// The columns' faults, in their order.
fn faults(table: &mut Table) -> Result<Vec<Option<Fault>>, Refusal> {
    let mut looks: Vec<Look> = table.names().iter().map(|name| Look::new(name)).collect();
    while table.advance()? {
        for (column, look) in looks.iter_mut().enumerate() {
            if table.is_missing(column) {
                look.missing += 1;
            } else if look.fault.is_none() {
                match table.number(column) {
                    Ok(value) => look.see(value),
                    Err(error) => {
                        let (line, text) = cell_text(error)?;
                        look.fault = Some(Fault::Text { line, text });
                    }
                }
            }
        }
    }
    let rows = table.rows();
    Ok(looks.into_iter().map(|look| look.settle(rows)).collect())
}
