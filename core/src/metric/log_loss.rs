//! Log loss: the mean cross-entropy of the softmax of the outputs, in nats.
//!
//! - **Sums:** the cross-entropies `max z - z_y + ln S`, `f` fraction bits. That of a record
//!   without a class is 0.
//! - **Cost:** that of [`cross_entropies`]: for three to ten classes 8 rounds for `k = 32`, 10 for
//!   `k = 64`; one fewer with two classes; one more where labels may name no class.
//! - **Result:** a record's is within 0.72 of the exact one, in the mean over the dithers within
//!   0.03 ([`crate::function::softmax`]).
//! - **Opened:** the sum tells about a single record where all others are known; a record that the
//!   model gets wrong counts more than in an accuracy.
//! - **Noise:** each term is clamped to the largest loss, and below to -1, since the approximate
//!   one may be slightly negative.
//! - **Needs:** outputs with `|z_i - z_j| <= 2^(k-2) - 2^(f+1)`.
//! - **Memory:** 6 kB of tables on the stack.

use super::{Describe, Metric, Misfit, Predictions, Terms, TestSet, Unit, mean};
use crate::{
    function::softmax::{Shape, Softmax, cross_entropies},
    link::Error,
    party::Party,
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Without a clamp, the cross-entropy of a row lies less than `BELOW` below 0, in whole units. It
/// lies at most `ABOVE` above the largest difference of two outputs, `ln 255` included.
const BELOW: i64 = 1;
const ABOVE: i64 = 7;

/// The mean cross-entropy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LogLoss {}

impl fmt::Display for LogLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log loss")
    }
}

impl Describe for LogLoss {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_classes()
    }

    fn terms(&self, set: &TestSet, _: usize) -> Terms {
        let one = 1 << set.frac_bits;
        let range = [-BELOW * one, set.greatest_square() + ABOVE * one];
        let clamp = set.largest_loss.map(|largest| [-BELOW * one, i64::from(largest) * one]);
        Terms::fixed("the mean log loss", range, set.frac_bits, clamp)
    }

    fn value(&self, _: &TestSet, sums: &[f64], records: f64) -> Option<f64> {
        mean(*sums.first()?, records)
    }

    fn unit(&self) -> Unit {
        Unit::Number
    }
}

impl<W: Word> Metric<W> for LogLoss {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let TestSet { outputs: classes, frac_bits, may_lack_class, .. } = *set;
        let softmax = Softmax::new(Shape { classes, frac_bits, logit_frac_bits: 2 * frac_bits });
        cross_entropies(party, &softmax, rows.outputs, (rows.labels, may_lack_class), terms)
    }
}
