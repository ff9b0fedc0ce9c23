//! Accuracy: the fraction of records whose largest output is that of their class.
//!
//! - **Sums:** the number of such records. A record without a class is never one.
//! - **Cost:** that of [`predict`] and [`count_correct`]: for ten classes 5 rounds for `k = 32`, 6
//!   for `k = 64`.
//! - **Result:** exact, of truncated outputs; of several largest ones the first is the prediction.
//! - **Opened:** the count tells about a single record where all others are known.
//! - **Needs:** outputs with `|z_i - z_j| <= 2^(k-2) - 2^(f+1)`.

use super::{Describe, Metric, Misfit, Predictions, Terms, TestSet, Unit, mean};
use crate::{
    function::classify::{count_correct, predict},
    kernel::plane_words,
    link::Error,
    party::Party,
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The fraction of correct predictions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Accuracy {}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("accuracy")
    }
}

impl Describe for Accuracy {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_classes()
    }

    fn terms(&self, _: &TestSet, _: usize) -> Terms {
        Terms::count("the number of correct predictions")
    }

    fn value(&self, _: &TestSet, sums: &[f64], records: f64) -> Option<f64> {
        mean(*sums.first()?, records)
    }

    fn unit(&self) -> Unit {
        Unit::Fraction
    }

    fn higher_is_better(&self) -> bool {
        true
    }
}

impl<W: Word> Metric<W> for Accuracy {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let classes = set.cols();
        let ([hot], mut party) = party.scratch([classes * plane_words::<W>(rows.rows(set))])?;
        predict(&mut party, (rows.outputs, set.frac_bits), classes, hot)?;
        terms[0] = count_correct(&mut party, hot, rows.labels, classes)?;
        Ok(())
    }
}
