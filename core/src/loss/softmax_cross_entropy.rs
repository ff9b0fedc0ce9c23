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

use super::{Describe, Loss, LossError, Numbers, Target};
use crate::{
    function::softmax::{self, Constants, Labels, Shape, Softmax},
    link::Error,
    party::Party,
    protocol::scaled::Dyadic,
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Most classes that may have weights.
pub const MOST_WEIGHTS: usize = 64;

/// Cross-entropy of the softmax of the outputs; a term a row.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftmaxCrossEntropy {
    /// The target of each wrong class, `factor / 2^shift`: about `ε` over the number of classes.
    /// A factor of 0 leaves labels as they are.
    pub smoothing: Dyadic,
    /// A weight a class, in units of `2^-class_weight_bits`; empty where all weigh 1.
    pub class_weights: heapless::Vec<u16, MOST_WEIGHTS>,
    /// Fraction bits of the class weights.
    pub class_weight_bits: u32,
}

impl Default for SoftmaxCrossEntropy {
    /// Neither smoothing nor weights.
    fn default() -> Self {
        let smoothing = Dyadic { factor: 0, shift: 0 };
        Self { smoothing, class_weights: heapless::Vec::new(), class_weight_bits: 0 }
    }
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
        let Self { smoothing, class_weights, class_weight_bits } = self;
        Constants {
            smoothing: smoothing.factor,
            smoothing_bits: if smoothing.factor == 0 { 0 } else { smoothing.shift },
            class_weights,
            class_weight_bits: if class_weights.is_empty() { 0 } else { *class_weight_bits },
        }
    }
}

impl Describe for SoftmaxCrossEntropy {
    type Loss = Built;

    fn check(&self, numbers: &Numbers) -> Result<(), LossError> {
        let Numbers { ring_bits, outputs: classes, frac_bits, label_frac_bits } = *numbers;
        let (least, most) = (2, 255);
        if !(least..=most).contains(&classes) {
            return Err(LossError::Outputs { outputs: classes, least, most });
        }
        // The exponential's cells are halves; the bits of the index of a sum are its domain's.
        numbers.frac_bits_within(2, (ring_bits - 4) / 2)?;
        if label_frac_bits > 0 {
            return Err(LossError::LabelFracBits { label_frac_bits, most: 0 });
        }
        let Dyadic { factor, shift } = self.smoothing;
        if factor > 0 && u64::from(factor) * classes as u64 >= 1u64.checked_shl(shift).unwrap_or(u64::MAX) {
            return Err(LossError::Smoothing { factor, shift, classes });
        }
        let weights = self.class_weights.len();
        if weights > 0 && weights != classes {
            return Err(LossError::ClassWeights { weights, classes });
        }
        let constants = self.constants();
        let largest = self.class_weights.iter().max().map_or(1, |most| u16::BITS - most.leading_zeros());
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
        let frac_bits = numbers.frac_bits;
        let classes = u32::try_from(numbers.outputs).unwrap_or(u32::MAX); // at most 255
        let softmax = Softmax::new(Shape { classes, frac_bits, logit_frac_bits: 2 * frac_bits });
        Ok(Built { softmax, loss: self.clone() })
    }
}

impl<W: Word> Loss<W> for Built {
    fn terms(&self, rows: usize, _: usize) -> usize {
        rows
    }

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
