//! Stochastic gradient descent with Nesterov's momentum.

use super::{Dyadic, Moment, Momentum, Optimizer, State};
use crate::{
    link::Error,
    party::Party,
    protocol::{scaled::scaled, truncate::truncated},
    word::Word,
};

/// `u = momentum * u + g`, `w -= learning_rate * (g + momentum * u)`.
///
/// Sutskever, Martens, Dahl, Hinton (ICML 2013, section 2), with the gradient taken at the weights
/// that the momentum leads to, as deep-learning libraries have it. `g = u' - momentum u` turns the
/// step into `learning_rate ((1 + momentum) u' - momentum u)` (derived here). Both products come
/// from the words that [`Momentum`] opens for `u` and `u'`: the second is computed a step ahead,
/// with that step's rate, and kept as a share. So nothing is opened beside that word.
///
/// - **Cost:** the rounds and bytes each way of [`Momentum`]; a word and `shift + 1` bits more
///   dealt, for the second product.
/// - **Result:** `u` as in [`Momentum`]. Each of the two products is within one unit, unbiased;
///   their constants are rounded to 16 bits.
/// - **Needs:** those of [`Momentum`].
/// - **State:** two words a parameter: `u`, and the product that the next step takes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Nesterov(pub Momentum);

impl Nesterov {
    /// `learning_rate * (1 + momentum)` and `learning_rate * momentum` as multiples of the opened
    /// word, with the rates that the schedule gives for this step and for the next.
    pub fn rates<W: Word>(&self, at: Moment) -> [Dyadic; 2] {
        let Momentum { learning_rate, momentum, .. } = self.0;
        let ahead = Dyadic { factor: momentum.factor + (1 << momentum.shift), shift: momentum.shift };
        let rate = |schedule, factor: Dyadic| {
            let rate = learning_rate.times(schedule).times(factor.to_bits(Dyadic::FACTOR_BITS));
            rate.over::<W>(self.0.above() + self.0.weight_shift)
        };
        [rate(at.rate, ahead), rate(at.next, momentum)]
    }
}

impl<W: Word> Optimizer<W> for Nesterov {
    /// Durable: `u`, then the products that the next step takes back.
    fn state(&self, n: usize) -> [usize; 2] {
        [2 * n, 0]
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
        state: State<'_, W>,
    ) -> Result<(), Error> {
        let n = gradient.len();
        assert!(weights.len() == n && state.durable.len() == 2 * n, "nesterov: lengths differ");
        let (velocity, behind) = state.durable.split_at_mut(n);
        let ([c], mut party) = party.scratch([n])?;
        let (word, mut draw) = self.0.open(&mut party, gradient, velocity, c)?;
        let [rate, next] = self.rates::<W>(at);
        scaled(&mut party, &mut draw, &word, rate, gradient)?;
        party.kernels.sub(weights, gradient);
        party.kernels.add(weights, behind);
        scaled(&mut party, &mut draw, &word, next, behind)?;
        truncated(&mut party, &mut draw, &word, velocity)
    }
}
