//! Perplexity: `e` to the [log loss](super::log_loss).
//!
//! - **Sums, cost, result, needs, noise:** those of a log loss. A job that has both computes the
//!   sum twice.
//! - **Figure:** relative errors are the absolute ones of the log loss: within 0.03 in the mean
//!   over the dithers.
//! - **Opened:** the log loss.

use super::{Describe, Metric, Misfit, Predictions, Terms, TestSet, Unit, log_loss::LogLoss};
use crate::{function::exp, link::Error, party::Party, word::Word};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The number of equally likely classes that are as hard to guess.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Perplexity {}

impl fmt::Display for Perplexity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("perplexity")
    }
}

impl Describe for Perplexity {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        LogLoss {}.check(set)
    }

    fn terms(&self, set: &TestSet, sum: usize) -> Terms {
        LogLoss {}.terms(set, sum)
    }

    fn value(&self, set: &TestSet, sums: &[f64], records: f64) -> Option<f64> {
        let loss = LogLoss {}.value(set, sums, records)?;
        // The series of `exp` is for small arguments: six squarings follow. `e^700` is a number.
        let root = exp(loss.clamp(-700.0, 700.0) / 64.0);
        Some((0..6).fold(root, |root, _| root * root))
    }

    fn unit(&self) -> Unit {
        Unit::Number
    }
}

impl<W: Word> Metric<W> for Perplexity {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        LogLoss {}.measure(party, set, rows, terms)
    }
}
