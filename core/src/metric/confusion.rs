//! The confusion matrix: how often records of each class are predicted to be of each class.
//!
//! - **Sums:** for each class `i` and each class `j` the number of records of class `i` whose
//!   largest output is that of `j`: row `i`, column `j`. A record without a class is in none.
//! - **Figure:** the accuracy, the diagonal's share of the sum of all.
//! - **Cost:** that of an [`accuracy`](super::accuracy), 5 rounds for ten classes and `k = 32`, 6
//!   for `k = 64`, but `classes²` words are dealt for the product, which is one of matrices.
//! - **Result:** exact, of truncated outputs; of several largest ones the first is the prediction.
//! - **Opened:** also the number of records of each class, and every count of few records.
//! - **Noise:** replacing a record takes one from a cell and adds one to a cell, so that at most
//!   two sums change, each by 1.
//! - **Needs:** outputs with `|z_i - z_j| <= 2^(k-2) - 2^(f+1)`.

use super::{Describe, Metric, Misfit, Moved, Predictions, Terms, TestSet, Unit, mean};
use crate::{
    function::classify::predict,
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        bit::bits_to_words,
        masked::{Masked, mask_and_open},
        product::{Factor, matmul},
    },
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Counts of records by class and prediction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Confusion {}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("confusion matrix")
    }
}

impl Describe for Confusion {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_classes()
    }

    fn sums(&self, set: &TestSet) -> usize {
        set.cols() * set.cols()
    }

    fn terms(&self, _: &TestSet, _: usize) -> Terms {
        Terms::count("the number of records in a cell of the confusion matrix")
    }

    fn moved(&self, _: &TestSet) -> Moved {
        Moved { once: 0, often: 2 }
    }

    fn words(&self, set: &TestSet, _: usize) -> usize {
        self.sums(set)
    }

    fn needs_records(&self) -> bool {
        false
    }

    fn value(&self, set: &TestSet, sums: &[f64], _: f64) -> Option<f64> {
        mean(sums.iter().step_by(set.cols() + 1).sum(), sums.iter().sum())
    }

    fn unit(&self) -> Unit {
        Unit::Fraction
    }

    fn higher_is_better(&self) -> bool {
        true
    }

    fn columns(&self, set: &TestSet) -> Option<usize> {
        Some(set.cols())
    }
}

impl<W: Word> Metric<W> for Confusion {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let (n, classes, count) = (rows.outputs.len(), set.cols(), rows.rows(set));
        let lens = [classes * plane_words::<W>(count), plane_words::<W>(n), n];
        let ([hot, plane, predicted], mut party) = party.scratch(lens)?;
        predict(&mut party, (rows.outputs, set.frac_bits), classes, hot)?;
        let mut draw = party.draw()?;
        party.kernels.interleave(plane, hot, count, classes);
        bits_to_words(&mut party, plane, &[0], predicted)?; // the last round but one
        let mask = mask_and_open(&mut party, predicted, draw.mask(n))?; // the last
        let predicted = Masked { words: predicted, mask: mask.matrix(classes) };
        let labels = Factor { transposed: true, ..rows.label_matrix(set) };
        matmul(&mut party, labels, Factor::plain(predicted), terms)
    }
}
