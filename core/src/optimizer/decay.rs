//! Weight decay that is coupled to the gradient.

use crate::{party::Party, word::Word};

/// `g += decay * w` before an optimizer's step: the gradient of `decay / 2 * |w|²`.
///
/// Krogh, Hertz (NIPS 1991, equation 3); coupled as in Loshchilov, Hutter (ICLR 2019, algorithm 1).
/// The gradient has `f + log2(batch)` fraction bits more than weights. So the product with `units`
/// is a local one of integers. Adam's decay is not coupled: [`super::AdamW`].
///
/// - **Cost:** none; nothing is opened or dealt.
/// - **Result:** exact.
/// - **Needs:** the optimizer's range for the sum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Coupled {
    /// The decay times `2^(f + log2(batch))`.
    pub units: u32,
}

impl Coupled {
    /// Adds to `gradient`.
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn apply<W: Word>(&self, party: &Party<'_, W>, weights: &[W], gradient: &mut [W]) {
        assert!(gradient.len() == weights.len(), "weight decay: lengths differ");
        party.kernels.add_scaled(gradient, weights, W::from_u64(self.units.into()));
    }
}
