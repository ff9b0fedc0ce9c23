//! The coefficient of determination of a regression: `R² = 1 - Σ e² / (Σ y² - (Σ y)² / n)`.
//!
//! - **Sums:** the squared errors, the targets and their squares, `f` fraction bits each. The last
//!   two are the same for each model, so that a job opens them once.
//! - **Cost:** 3 rounds, those of a [mean squared error](super::squared_error). The squares of
//!   targets go into its last round: `k - f` bits each way and a word and the truncation's dealt.
//! - **Result:** each square is within a unit of `2^-f`, unbiased. `None` where the variance of the
//!   opened sums is not positive.
//! - **Opened:** mean and variance of the targets, beside the mean squared error.
//! - **Noise:** squares are clamped to twice the largest loss, targets to its root on either side,
//!   rounded up to a whole number. A replaced record changes all three sums.
//! - **Needs:** errors and targets below `2^(k/2 - 1)` units; one output.

use super::{Describe, Metric, Misfit, Predictions, Terms, TestSet, Unit, squared_error};
use crate::{
    link::Error,
    party::Party,
    protocol::{
        alarm,
        masked::{Masked, mask_and_open},
        product::multiply,
        truncate::truncate,
    },
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The part of the targets' variance that the model explains.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct R2 {}

impl fmt::Display for R2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("R²")
    }
}

impl Describe for R2 {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_target()?;
        match set.outputs {
            1 => Ok(()),
            got => Err(Misfit::OneOutput { got }),
        }
    }

    fn sums(&self, _: &TestSet) -> usize {
        3
    }

    fn terms(&self, set: &TestSet, sum: usize) -> Terms {
        let (far, squares) = (1 << set.square_bits(), squared_error::terms(set));
        let terms = match sum {
            0 => return squares,
            1 => {
                let clamp = set.error_limit().map(|limit| [-limit, limit]);
                Terms::fixed("the mean of the scaled target", [-far, far], set.frac_bits, clamp)
            }
            _ => Terms { name: "the mean square of the scaled target", ..squares },
        };
        Terms { once: true, ..terms }
    }

    fn error_bits(&self, set: &TestSet) -> Option<u32> {
        Some(set.square_bits())
    }

    fn value(&self, _: &TestSet, sums: &[f64], records: f64) -> Option<f64> {
        let [errors, targets, squares] = *sums else { return None };
        let variance = squares - targets * targets / records;
        (records > 0.0 && variance > 0.0).then(|| 1.0 - errors / variance)
    }

    fn unit(&self) -> Unit {
        Unit::Number
    }

    fn higher_is_better(&self) -> bool {
        true
    }
}

impl<W: Word> Metric<W> for R2 {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let n = rows.outputs.len();
        let ([e, y, squares], mut party) = party.scratch([n, n, 2 * n])?;
        squared_error::errors(&mut party, set, rows, e)?; // the outputs
        rows.labels.share(&party, y);
        alarm::squared(&mut party, e)?;
        alarm::squared(&mut party, y)?;
        let mask = party.draw()?.mask(n);
        let mask = mask_and_open(&mut party, e, mask)?; // the errors
        let e = Masked { words: e, mask };
        let (of_errors, of_targets) = squares.split_at_mut(n);
        multiply(&mut party, e, e, of_errors)?;
        multiply(&mut party, rows.labels, rows.labels, of_targets)?;
        truncate(&mut party, squares, set.frac_bits)?; // the squares
        terms[..n].copy_from_slice(&squares[..n]);
        terms[n..2 * n].copy_from_slice(y);
        terms[2 * n..].copy_from_slice(&squares[n..]);
        Ok(())
    }
}
