//! Stochastic gradient descent.

use super::{Dyadic, Moment, Optimizer, State, schedule::scheduled};
use crate::{link::Error, party::Party, protocol::scaled::scale, word::Word};

/// `w -= learning_rate * g`.
///
/// One opening: the learning rate is folded into the gradient's truncation ([`crate::protocol::scaled`]).
///
/// - **Cost:** 1 round, as many bits each way as the rate needs ([`crate::protocol::scaled`]).
/// - **Result:** each step within `1 + MAX_DROP_ERROR` units of the exact one, unbiased.
/// - **Needs:** gradients below `2^(k-2)`, whatever the rate. For `k = 32`, `f = 11`, batch 128
///   they reach 2^28.6 (measured on MNIST).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sgd {
    /// Step size.
    pub learning_rate: Dyadic,
    /// Fraction bits of the gradient beyond those of the weights, and the batch's logarithm: `f + log2(batch)`.
    pub grad_shift: u32,
}

impl Sgd {
    /// The step that is taken: the learning rate, rounded where the ring has not the bits for it (see [`Dyadic::over`]).
    pub fn rate<W: Word>(&self) -> Dyadic {
        self.learning_rate.over::<W>(self.grad_shift)
    }
}

impl<W: Word> Optimizer<W> for Sgd {
    fn state(&self, _: usize) -> [usize; 2] {
        [0; 2]
    }

    /// # Panics
    ///
    /// If lengths differ.
    fn step(
        &self,
        party: &mut Party<'_, W>,
        at: Moment,
        gradient: &mut [W],
        weights: &mut [W],
        _: State<'_, W>,
    ) -> Result<(), Error> {
        assert!(gradient.len() == weights.len(), "sgd: lengths differ");
        let now = Self { learning_rate: scheduled(self.learning_rate, at.rate), ..*self };
        scale(party, gradient, now.rate::<W>())?;
        party.kernels.sub(weights, gradient);
        Ok(())
    }
}
