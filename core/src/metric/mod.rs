//! Metrics: figures of a model on the test records, a file each.
//!
//! A metric is its own description: a few public numbers, which a job file spells and a job's hash
//! covers. It has a vector of sums over the test records. A server computes its shares of what some
//! rows add to each sum; nothing here opens them. Whoever may open the sums turns them into a
//! figure by [`Describe::value`].
//!
//! | kind | sums | rounds for 10 classes, `k` = 32 / 64 |
//! | --- | --- | --- |
//! | [`accuracy`] | 1 | 5 / 6 |
//! | [`top_k`] | 1 | 5 / 6 |
//! | [`confusion`] | `classes²` | 5 / 6 |
//! | [`squared_error`] | 1 | 3 |
//! | [`absolute_error`] | 1 | 3 / 4 |
//! | [`r2`] | 3 | 3 |
//! | [`log_loss`] | 1 | 8 / 10 |
//! | [`perplexity`] | 1 | 8 / 10 |
//! | [`auc`] | `2 curves (thresholds + 1)` | 4 / 5 |
//!
//! The rounds are those of one call of [`Metric::measure`], after the forward pass.
//!
//! **Adversary:** semi-honest, one of {server 0, server 1, dealer}.

pub mod absolute_error;
pub mod accuracy;
pub mod auc;
pub mod confusion;
mod list;
pub mod log_loss;
pub mod perplexity;
pub mod r2;
pub mod squared_error;
pub mod top_k;

pub use list::{AnyMetric, Kind};

use crate::{
    link::Error,
    party::Party,
    protocol::{masked::Masked, product::Factor},
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The task of a test set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// Labels are one-hot rows of the outputs' length.
    Classes,
    /// Labels are scaled targets.
    Regression,
}

/// The public facts about a test set that metrics depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestSet {
    /// The task.
    pub task: Task,
    /// Outputs of the network per row: one per class or per target.
    pub outputs: u32,
    /// Bits of a ring word: 32 or 64.
    pub ring_bits: u32,
    /// Fraction bits `f` of values; the network's outputs have `2 f`.
    pub frac_bits: u32,
    /// Whether a label may be a row of zeros, which names no class. Such a record counts in no sum.
    pub may_lack_class: bool,
    /// The bound on a record's loss in whole units, to which terms are clamped for noise. `None`
    /// without noise.
    pub largest_loss: Option<u32>,
    /// The unit of a scaled target, in units of the target. 1 for classes.
    pub scale: f64,
}

impl TestSet {
    /// Returns the outputs of a row as a length.
    pub fn cols(&self) -> usize {
        self.outputs as usize
    }

    /// Returns the greatest truncated square of an error, in units: below `2^(k-2-f)`, and a unit
    /// for the truncation.
    pub fn greatest_square(&self) -> i64 {
        (1 << (self.ring_bits - 2 - self.frac_bits)) + 1
    }

    /// Returns the bits of the greatest error whose square fits its word, in units: `|e| < 2^bits`.
    pub fn square_bits(&self) -> u32 {
        self.ring_bits / 2 - 1
    }

    /// Returns the limits of a squared error for noise, in units: twice the largest loss.
    pub fn square_limits(&self) -> Option<[i64; 2]> {
        self.largest_loss.map(|largest| [0, (2 * i64::from(largest)) << self.frac_bits])
    }

    /// Returns the limit of an error's magnitude for noise, in units: the least whole number whose
    /// square is twice the largest loss or more.
    pub fn error_limit(&self) -> Option<i64> {
        let square = 2 * i64::from(self.largest_loss?);
        let root = (0..=square).find(|root| root * root >= square)?;
        Some(root << self.frac_bits)
    }

    /// Checks that labels name classes.
    ///
    /// # Errors
    ///
    /// [`Misfit::NeedsClasses`].
    pub fn needs_classes(&self) -> Result<(), Misfit> {
        if self.task == Task::Classes { Ok(()) } else { Err(Misfit::NeedsClasses) }
    }

    /// Checks that labels are targets.
    ///
    /// # Errors
    ///
    /// [`Misfit::NeedsTarget`].
    pub fn needs_target(&self) -> Result<(), Misfit> {
        if self.task == Task::Regression { Ok(()) } else { Err(Misfit::NeedsTarget) }
    }
}

/// The terms that records add to a sum. Public.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The sum (or for fixed-point terms their mean), for messages.
    pub name: &'static str,
    /// Least and greatest term while words stay in range, in units of the sum.
    pub range: [i64; 2],
    /// Terms that a record adds.
    pub per_record: u32,
    /// Fraction bits of a term; 0 for counts.
    pub frac_bits: u32,
    /// The limits to which each term is clamped for noise, in units. `None` where the range itself
    /// limits a record's influence, or without noise.
    pub clamp: Option<[i64; 2]>,
    /// Whether a call of [`Metric::measure`] adds up its rows itself; otherwise it writes each
    /// term.
    pub counted: bool,
    /// Whether the sum is about labels alone, so that it is the same for each model and is opened
    /// once a job.
    pub once: bool,
}

impl Terms {
    /// A count of records: each adds 0 or 1.
    pub const fn count(name: &'static str) -> Self {
        Self { name, range: [0, 1], per_record: 1, frac_bits: 0, clamp: None, counted: true, once: false }
    }

    /// Fixed-point terms, one a record, with `frac_bits` fraction bits.
    pub const fn fixed(name: &'static str, range: [i64; 2], frac_bits: u32, clamp: Option<[i64; 2]>) -> Self {
        Self { name, range, per_record: 1, frac_bits, clamp, counted: false, once: false }
    }

    /// Returns the words that a call of [`Metric::measure`] with `rows` rows writes for this sum.
    pub fn words(&self, rows: usize) -> usize {
        if self.counted { 1 } else { rows * self.per_record as usize }
    }

    /// Returns the number of terms whose sum a ring word holds, below `2^(k-2)`. Counts have no
    /// bound: there are fewer records.
    pub fn capacity(&self, ring_bits: u32) -> usize {
        if self.counted {
            return usize::MAX;
        }
        let magnitude = self.range[0].unsigned_abs().max(self.range[1].unsigned_abs()).max(1);
        1 << (ring_bits - 3).saturating_sub(magnitude.ilog2())
    }

    /// Returns the least and the greatest term, clamped if it is.
    pub fn limits(&self) -> [i64; 2] {
        self.clamp.unwrap_or(self.range)
    }
}

/// How many of a metric's sums the replacement of one record changes, at most. With noise, each of
/// them spends `ε`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// Of the sums that are opened once a job.
    pub once: u64,
    /// Of the others, each time.
    pub often: u64,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A fraction of records.
    Fraction,
    /// A number without a unit.
    Number,
    /// The unit of the target.
    Target,
    /// The square of the target's unit.
    TargetSquared,
}

/// The reason why a metric does not suit a test set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misfit {
    /// The metric is one of classes, the task a regression.
    NeedsClasses,
    /// The metric is one of a regression, the task has classes.
    NeedsTarget,
    /// The metric is one of a single target.
    OneOutput {
        /// Outputs of the network.
        got: u32,
    },
    /// A number of the metric is out of range.
    Between {
        /// Name of the number.
        key: &'static str,
        /// Its value.
        got: u64,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsClasses => f.write_str("needs classes, and the task is a regression; remove it"),
            Self::NeedsTarget => f.write_str("needs the target of a regression, and the task has classes; remove it"),
            Self::OneOutput { got } => {
                write!(f, "needs one target, and the network has {got} outputs; use mean-squared-error instead")
            }
            Self::Between { key, got, min, max } => write!(f, "has {key} = {got}; give an integer from {min} to {max}"),
        }
    }
}

/// The public description of a metric, without a word type. [`fmt::Display`] writes its name for
/// people.
pub trait Describe: fmt::Display {
    /// Checks that the metric suits a test set; the other functions need that.
    ///
    /// # Errors
    ///
    /// The reason why it does not.
    fn check(&self, set: &TestSet) -> Result<(), Misfit>;

    /// Returns the number of sums.
    fn sums(&self, set: &TestSet) -> usize {
        let _ = set;
        1
    }

    /// Returns the terms of sum `sum`.
    fn terms(&self, set: &TestSet, sum: usize) -> Terms;

    /// Returns how many sums the replacement of a record changes: all, unless the metric says
    /// otherwise.
    fn moved(&self, set: &TestSet) -> Moved {
        let once = (0..self.sums(set)).filter(|sum| self.terms(set, *sum).once).count() as u64;
        Moved { once, often: self.sums(set) as u64 - once }
    }

    /// Returns the words that [`Metric::measure`] writes for `rows` rows.
    fn words(&self, set: &TestSet, rows: usize) -> usize {
        (0..self.sums(set)).map(|sum| self.terms(set, sum).words(rows)).sum()
    }

    /// Returns whether the figure needs the number of records whose label names a class, which is
    /// then opened where labels may name none.
    fn needs_records(&self) -> bool {
        true
    }

    /// Returns the bits of the greatest error of a prediction, in units of `2^-f`, that the
    /// metric's words hold. `None` if it computes no error.
    fn error_bits(&self, set: &TestSet) -> Option<u32> {
        let _ = set;
        None
    }

    /// Returns the figure from the sums in real numbers, and the number of records in them. `None`
    /// where it is not defined, as for no record.
    fn value(&self, set: &TestSet, sums: &[f64], records: f64) -> Option<f64>;

    /// Returns the unit of the figure.
    fn unit(&self) -> Unit;

    /// Returns whether of two models the one with the higher figure is better.
    fn higher_is_better(&self) -> bool {
        false
    }

    /// Returns the columns of a table whose cells are the sums, row after row. `None` if the sums
    /// are of no interest beside the figure.
    fn columns(&self, set: &TestSet) -> Option<usize> {
        let _ = set;
        None
    }
}

/// Rows of a test set, with the outputs of a network for them.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a, W> {
    /// This party's shares of the outputs, row after row, `2 f` fraction bits.
    pub outputs: &'a [W],
    /// One-hot rows in integers, or scaled targets with `f` fraction bits.
    pub labels: Masked<'a, W>,
}

impl<W: Copy> Predictions<'_, W> {
    /// Returns the number of rows.
    pub fn rows(&self, set: &TestSet) -> usize {
        self.outputs.len().checked_div(set.cols()).unwrap_or(0)
    }

    /// The labels as a matrix of [`rows`](Self::rows): a record may have several.
    pub(crate) fn label_matrix(&self, set: &TestSet) -> Factor<'_, W> {
        Factor::plain(self.labels).cut(self.labels.mask.cols / set.cols().max(1))
    }
}

/// A metric as the servers and the clear engine compute it.
pub trait Metric<W: Word>: Describe {
    /// Writes this party's shares of what the rows add to each sum: sum after sum, for each its
    /// [`Terms::words`].
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths do not fit, or the metric does not suit the test set.
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error>;
}

/// Returns `sum / records`; `None` without records.
pub(crate) fn mean(sum: f64, records: f64) -> Option<f64> {
    (records > 0.0).then(|| sum / records)
}
