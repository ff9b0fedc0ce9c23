//! The mean squared error of a regression.
//!
//! - **Sums:** the squared errors, `f` fraction bits. The figure is their mean in units of the
//!   target squared.
//! - **Cost:** 3 rounds: the outputs' truncation, the errors' opening, the squares' truncation.
//!   Each way for `k` bits `3 k - 2 f` bits an output.
//! - **Result:** each output and each square is within a unit of `2^-f`, unbiased.
//! - **Opened:** the sum tells about a single record where all others are known.
//! - **Noise:** each square is clamped to twice the largest loss.
//! - **Needs:** errors below `2^(k/2 - 1)` units.

use super::{Describe, Metric, Misfit, Predictions, Terms, TestSet, Unit, mean};
use crate::{
    link::Error,
    party::Party,
    protocol::{square::squares, truncate::truncate},
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The mean of squared errors.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SquaredError {}

impl fmt::Display for SquaredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mean squared error")
    }
}

/// The terms of a sum of squared errors.
pub(super) fn terms(set: &TestSet) -> Terms {
    let name = "the mean squared error of the scaled target";
    let terms = Terms::fixed(name, [0, set.greatest_square()], set.frac_bits, set.square_limits());
    Terms { per_record: set.outputs, ..terms }
}

/// Shares of the errors of all outputs, `f` fraction bits: one round.
pub(super) fn errors<W: Word>(
    party: &mut Party<'_, W>,
    set: &TestSet,
    rows: &Predictions<'_, W>,
    errors: &mut [W],
) -> Result<(), Error> {
    errors.copy_from_slice(rows.outputs);
    truncate(party, errors, set.frac_bits)?;
    let ([y], party) = party.scratch([errors.len()])?;
    rows.labels.share(&party, y);
    party.kernels.sub(errors, y);
    Ok(())
}

impl Describe for SquaredError {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_target()
    }

    fn terms(&self, set: &TestSet, _: usize) -> Terms {
        terms(set)
    }

    fn error_bits(&self, set: &TestSet) -> Option<u32> {
        Some(set.square_bits())
    }

    fn value(&self, set: &TestSet, sums: &[f64], records: f64) -> Option<f64> {
        let mean = mean(*sums.first()?, records * f64::from(set.outputs))?;
        Some(mean * (set.scale * set.scale))
    }

    fn unit(&self) -> Unit {
        Unit::TargetSquared
    }
}

impl<W: Word> Metric<W> for SquaredError {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let ([e], mut party) = party.scratch([rows.outputs.len()])?;
        errors(&mut party, set, rows, e)?; // the outputs
        squares(&mut party, e, set.frac_bits, terms) // two rounds
    }
}
