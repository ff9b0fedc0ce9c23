//! Cross-entropy of the softmax of the outputs, with smoothed labels and weights of classes.
//!
//! With the probabilities `p = softmax(z)` and the targets `y'`, the loss of a row is
//! `-ω Σ y'_j ln p_j` and its gradient `ω (p - y')`. `ω` is the weight of the row's class. A
//! smoothing of `o / 2^b` gives each wrong class that target, and the right one what is left of 1
//! (Szegedy et al., CVPR 2016, section 7, with `ε / K = o / 2^b`).
//!
//! - **Adversary, Result, Needs:** those of [`softmax`], with
//!   [constants](softmax::gradient_with) if any are given.
//! - **Cost:** that of [`softmax::gradient`]: 10 rounds for `k = 32`, 12 for `k = 64`. Constants
//!   take no round, and cost nothing where they are left out.
//! - **Predictions:** probabilities by the [default methods](Method::Auto) of both functions, where
//!   the ring has room and the job names no others: within 0.004 of the exact ones for `f >= 11`.
//!   Otherwise by the functions of the gradient.
//! - **Memory:** scratch as a dry run says, and tables of 6 kB; no heap.

use super::{Activation, Describe, Loss, LossError, Numbers, Target, class_weights::ClassWeights};
use crate::{
    function::{
        self, ln,
        method::{Function, Method},
        scalar::{AnyScalar, Exponential, Reciprocal},
        softmax::{self, Constants, Labels, Shape, Softmax},
        softmax_methods::Methods,
    },
    link::Error,
    party::Party,
    protocol::scaled::Dyadic,
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Cross-entropy of the softmax of the outputs, one term per row.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SoftmaxCrossEntropy {
    /// `ε`: the target of each wrong class is `ε` over the number of classes, that of the right one
    /// the rest of 1. Below 1; 0, if left out. `symbolon plan` prints the `ε` that words hold.
    pub label_smoothing: Dyadic,
    /// One weight per class, 0 to 255, rounded to multiples of 2^-8; all weigh 1, if left out.
    pub class_weights: ClassWeights,
    /// How its exponential and its reciprocal are computed; by constants on cells, if left out.
    pub softmax: Methods,
}

/// A softmax cross-entropy that is ready to run.
#[derive(Clone, Debug)]
pub struct Built {
    softmax: Softmax,
    /// For predictions: constants on cells serve gradients, and are up to 0.3 off.
    precise: Methods,
    /// The target of each wrong class.
    wrong: Dyadic,
    class_weights: ClassWeights,
}

impl SoftmaxCrossEntropy {
    /// Bits of the largest weight, and fraction bits of all.
    fn weight_bits(&self) -> [u32; 2] {
        let ClassWeights { units, bits } = &self.class_weights;
        let largest = units.iter().max().map_or(1, |most| u16::BITS - most.leading_zeros());
        [largest, if units.is_empty() { 0 } else { *bits }]
    }

    /// The job's own methods, or else the default ones of both functions, where the ring has room
    /// for them.
    fn precise(&self, numbers: &function::Numbers) -> Methods {
        let [exponential, reciprocal] = [AnyScalar::Exponential(Exponential {}), AnyScalar::Reciprocal(Reciprocal {})]
            .map(|scalar| Some(Function { scalar, method: Method::Auto }));
        let precise = Methods { exponential, reciprocal, raw: false };
        let is_own = self.softmax != Methods::default() || precise.check(numbers).is_err();
        if is_own { self.softmax.resolved(numbers) } else { precise.resolved(numbers) }
    }

    /// The target of each wrong class, in as many bits as words leave.
    fn wrong(&self, numbers: &Numbers) -> Result<Dyadic, LossError> {
        let Numbers { ring_bits, outputs: classes, frac_bits, .. } = *numbers;
        let ([largest, extra], most) = (self.weight_bits(), ring_bits - 3);
        let taken = (2 * frac_bits).saturating_add(largest).max(frac_bits.saturating_add(extra));
        if taken > most {
            return Err(LossError::Bits { bits: taken, most });
        }
        if self.label_smoothing.factor == 0 {
            return Ok(Dyadic::ZERO);
        }
        let (smoothing, bits) = (self.label_smoothing.value(), (most - taken).min(SMOOTHING_BITS));
        let wanted = smoothing / classes as f64; // at most 255
        let wrong = Dyadic::rounded(wanted, bits).reduced(0);
        let holds = wrong.factor > 0 && (wrong.value() - wanted).abs() <= wanted / 4.0;
        match smoothing < 1.0 && wrong.value() * (classes as f64) < 1.0 {
            true if holds => Ok(wrong),
            _ => Err(LossError::Smoothing { smoothing: self.label_smoothing, classes, bits }),
        }
    }
}

/// The numbers of the functions within.
fn own(numbers: &Numbers) -> function::Numbers {
    function::Numbers { ring_bits: numbers.ring_bits, frac_bits: numbers.frac_bits }
}

/// Most bits of a wrong class's target.
const SMOOTHING_BITS: u32 = 16;
/// Without weights, the loss of a row lies less than `BELOW` below 0.
const BELOW: i128 = 1;
/// It lies at most `ABOVE` above the largest difference of two logits, `ln 255` included.
const ABOVE: i128 = 7;
/// No logarithm is larger.
const OTHER: i128 = 32;

impl Describe for SoftmaxCrossEntropy {
    type Loss = Built;

    fn needs_classes(&self) -> bool {
        true
    }

    fn terms(&self, _: usize) -> usize {
        1
    }

    fn limits(&self, numbers: &Numbers) -> [i128; 2] {
        let one = 1 << numbers.frac_bits;
        let largest = self.class_weights.units.iter().max().map_or(1, |most| i128::from(*most));
        let weight = (largest >> self.class_weights.bits) + 1 - i128::from(self.class_weights.units.is_empty());
        let (far, other) = (numbers.greatest_square(), self.softmax != Methods::default());
        // By other methods a sum may be any that the logarithm takes, and below the label's term.
        let (below, above) = if other { (far + OTHER * one, OTHER * one) } else { (BELOW * one, ABOVE * one) };
        [-below * weight, (far + above) * weight]
    }

    fn error_bits(&self, numbers: &Numbers) -> u32 {
        numbers.ring_bits / 2 - 1
    }

    fn activation(&self) -> Activation {
        Activation::Softmax
    }

    fn rounded(&self, numbers: &Numbers) -> Option<(&'static str, f64, f64)> {
        let effective = self.wrong(numbers).ok()?.value() * numbers.outputs as f64; // at most 255
        (self.label_smoothing.factor > 0).then(|| ("label_smoothing", self.label_smoothing.value(), effective))
    }

    fn at_zero(&self, outputs: usize, _: f64) -> f64 {
        ln(outputs as f64) // at most 255
    }

    fn check(&self, numbers: &Numbers) -> Result<(), LossError> {
        let Numbers { ring_bits, outputs: classes, frac_bits, label_frac_bits, .. } = *numbers;
        let (least, most) = (2, 255);
        if !(least..=most).contains(&classes) {
            return Err(LossError::Outputs { outputs: classes, least, most });
        }
        // The exponential's cells are halves; the bits of the index of a sum are its domain's.
        numbers.frac_bits_within(2, (ring_bits - 4) / 2)?;
        numbers.output_frac_bits_within(frac_bits, ring_bits - 4)?;
        if label_frac_bits > 0 {
            return Err(LossError::LabelFracBits { label_frac_bits, most: 0 });
        }
        let weights = self.class_weights.units.len();
        if weights > 0 && weights != classes {
            return Err(LossError::ClassWeights { weights, classes });
        }
        self.softmax.check(&own(numbers)).map_err(|misfit| LossError::Function { misfit })?;
        self.wrong(numbers).map(drop)
    }

    fn build(&self, numbers: &Numbers) -> Result<Built, LossError> {
        self.check(numbers)?;
        let Numbers { frac_bits, output_frac_bits: logit_frac_bits, .. } = *numbers;
        let classes = u32::try_from(numbers.outputs).unwrap_or(u32::MAX); // at most 255
        let softmax = Softmax::new(Shape { classes, frac_bits, logit_frac_bits });
        let softmax = softmax.by(self.softmax.resolved(&own(numbers)));
        let precise = self.precise(&own(numbers));
        Ok(Built { softmax, precise, wrong: self.wrong(numbers)?, class_weights: self.class_weights.clone() })
    }
}

impl<W: Word> Loss<W> for Built {
    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        z: &mut [W],
        target: Target<'_, W>,
        loss: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let ([logits], mut party) = party.scratch([z.len()])?;
        logits.copy_from_slice(z);
        let labels = Labels { one_hot: target.labels, weights: target.weights };
        let Self { softmax, wrong, class_weights: ClassWeights { units, bits }, .. } = self;
        let constants = Constants {
            smoothing: wrong.factor,
            smoothing_bits: wrong.shift,
            class_weights: units,
            class_weight_bits: if units.is_empty() { 0 } else { *bits },
        };
        softmax::gradient_with(&mut party, softmax, logits, (labels, constants), z, loss)
    }

    fn predict(&self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error> {
        let ([logits], mut party) = party.scratch([z.len()])?;
        logits.copy_from_slice(z);
        let softmax = self.softmax.clone().by(self.precise);
        softmax::probabilities(&mut party, &softmax, logits, z)
    }
}
