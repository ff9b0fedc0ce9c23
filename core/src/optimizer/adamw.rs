//! AdamW (Loshchilov, Hutter, ICLR 2019, algorithm 2): Adam with a weight decay of its own.

use super::{Adam, Dyadic, Moment, Optimizer, State, schedule::scheduled};
use crate::{link::Error, party::Party, word::Word};
use core::ops::Range;

/// [`Adam`], and `w -= schedule * decay * w` by the weights before the step.
///
/// The decay does not go through the moments, so a parameter shrinks by the same fraction whatever
/// its gradients are. The weights are opened beside Adam's last word, in the same round, under a
/// mask of their own.
///
/// - **Cost:** the rounds of [`Adam`]; bits each way and dealt as a scaling by the decay needs them
///   ([`crate::protocol::scaled`]): for 0.001 times 0.01, `k = 64` 6.25 bytes / 10.8, `k = 32` 2.25
///   / 6.8.
/// - **Result:** as [`Adam`]; the decay within `1 + MAX_DROP_ERROR` units, unbiased. Most products
///   are below one unit of `w`; the public dither of their rounding makes them right in the mean.
/// - **Needs:** as [`Adam`].
/// - **State:** as [`Adam`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AdamW {
    /// The steps by the moments.
    pub adam: Adam,
    /// The learning rate times the weight decay.
    pub decay: Dyadic,
}

impl<W: Word> Optimizer<W> for AdamW {
    fn state(&self, n: usize) -> [usize; 2] {
        Optimizer::<W>::state(&self.adam, n)
    }

    fn step(
        &self,
        party: &mut Party<'_, W>,
        at: Moment,
        gradient: &mut [W],
        weights: &mut [W],
        state: State<'_, W>,
    ) -> Result<(), Error> {
        let decay = scheduled(self.decay, at.rate).over::<W>(0);
        self.adam.take(party, (gradient, weights), state, None, self.adam.turn_at(at, Some(decay)))
    }

    fn period(&self) -> [u64; 2] {
        Optimizer::<W>::period(&self.adam)
    }

    fn second_moments(&self, n: usize) -> Range<usize> {
        Optimizer::<W>::second_moments(&self.adam, n)
    }
}
