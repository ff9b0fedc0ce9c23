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
//! - **Memory:** scratch as a dry run says, and tables of 6 kB; no heap.

use super::{Activation, Describe, Loss, LossError, Numbers, Target, class_weights::ClassWeights};
use crate::{
    function::{
        ln,
        softmax::{self, Constants, Labels, Shape, Softmax},
    },
    link::Error,
    party::Party,
    protocol::scaled::Dyadic,
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Cross-entropy of the softmax of the outputs; a term a row.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SoftmaxCrossEntropy {
    /// The target of each wrong class: `ε` over the number of classes, for a smoothing of `ε`. 0, if
    /// left out.
    pub smoothing: Dyadic,
    /// A weight a class, up to 255 in steps of 2^-8; all weigh 1, if left out.
    pub class_weights: ClassWeights,
}

/// A softmax cross-entropy that is ready to run.
#[derive(Clone, Debug)]
pub struct Built {
    softmax: Softmax,
    loss: SoftmaxCrossEntropy,
}

impl SoftmaxCrossEntropy {
    /// The constants, without fraction bits of such as are left out.
    fn constants(&self) -> Constants<'_> {
        let Self { smoothing, class_weights } = self;
        Constants {
            smoothing: smoothing.factor,
            smoothing_bits: if smoothing.factor == 0 { 0 } else { smoothing.shift },
            class_weights: &class_weights.units,
            class_weight_bits: if class_weights.units.is_empty() { 0 } else { class_weights.bits },
        }
    }
}

/// Without weights, the loss of a row lies less than `BELOW` below 0.
const BELOW: i128 = 1;
/// It lies at most `ABOVE` above the largest difference of two logits, `ln 255` included.
const ABOVE: i128 = 7;

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
        [-BELOW * one * weight, (numbers.greatest_square() + ABOVE * one) * weight]
    }

    fn error_bits(&self, numbers: &Numbers) -> u32 {
        numbers.ring_bits / 2 - 1
    }

    fn activation(&self) -> Activation {
        Activation::Softmax
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
        let Dyadic { factor, shift } = self.smoothing;
        if factor > 0 && u64::from(factor) * classes as u64 >= 1u64.checked_shl(shift).unwrap_or(u64::MAX) {
            return Err(LossError::Smoothing { factor, shift, classes });
        }
        let weights = self.class_weights.units.len();
        if weights > 0 && weights != classes {
            return Err(LossError::ClassWeights { weights, classes });
        }
        let constants = self.constants();
        let largest = self.class_weights.units.iter().max().map_or(1, |most| u16::BITS - most.leading_zeros());
        let bits = [2 * frac_bits, constants.smoothing_bits, largest].into_iter().fold(0, u32::saturating_add);
        let extra = constants.smoothing_bits.saturating_add(constants.class_weight_bits);
        let (bits, most) = (bits.max(frac_bits.saturating_add(extra)), ring_bits - 3);
        if bits > most {
            return Err(LossError::Bits { bits, most });
        }
        Ok(())
    }

    fn build(&self, numbers: &Numbers) -> Result<Built, LossError> {
        self.check(numbers)?;
        let Numbers { frac_bits, output_frac_bits: logit_frac_bits, .. } = *numbers;
        let classes = u32::try_from(numbers.outputs).unwrap_or(u32::MAX); // at most 255
        let softmax = Softmax::new(Shape { classes, frac_bits, logit_frac_bits });
        Ok(Built { softmax, loss: self.clone() })
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
        softmax::gradient_with(&mut party, &self.softmax, logits, (labels, self.loss.constants()), z, loss)
    }
}
