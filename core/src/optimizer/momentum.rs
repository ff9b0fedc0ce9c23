//! Stochastic gradient descent with momentum.

use super::{Dyadic, Moment, Optimizer, State, schedule::scheduled};
use crate::{
    correlation::Draw,
    link::Error,
    party::Party,
    protocol::{
        scaled::scaled,
        truncate::{Cut, Opened, open, truncate, truncated},
    },
    word::Word,
};

/// `u = momentum * u + g`, `w -= learning_rate * u`.
///
/// `u` is kept at `grad_shift` bits less than the gradient. One word `M = momentum u 2^e + g 2^e'` is opened, both multiplied so that no constant has
/// fractions; `u` is its truncation, the step of `w` a multiple of that.
///
/// - **Cost:** 1 round, a word less [`above`](Self::above) bits each way; [`narrow`](Self::narrow):
///   2 rounds, a word less `grad_shift` bits more.
/// - **Result:** `u` is within one unit of the exact one, the step within one of what `u` gives,
///   unbiased.
/// - **Needs:** `|M| < 2^(k-2)`. Wide, `M` is a sum of gradients, up to `1 / (1 - momentum)` times their magnitude: no room for it at `k = 32` with
///   `f = 11`, where one gradient reaches 2^28.6 (measured on MNIST). Narrow, `M` is below
///   `2^(momentum.shift) / (1 - momentum)` times the truncated gradient: 2^25.3 for `fg = 15` and
///   0.9.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Momentum {
    /// Step size.
    pub learning_rate: Dyadic,
    /// Below 1.
    pub momentum: Dyadic,
    /// Fraction bits of the gradient beyond those of `u`, and the batch's logarithm: `2 f + log2(batch) - fg`.
    pub grad_shift: u32,
    /// Fraction bits of `u` beyond those of the weights: `fg - f`.
    pub weight_shift: u32,
    /// Whether the gradient is truncated before it is added, for a round more.
    pub narrow: bool,
}

impl Momentum {
    /// Bits of the opened word beyond those of `u`.
    pub fn above(&self) -> u32 {
        if self.narrow { self.momentum.shift } else { self.grad_shift.max(self.momentum.shift) }
    }

    /// The step that is taken, as a multiple of the opened word: see [`super::Sgd::rate`].
    pub fn rate<W: Word>(&self) -> Dyadic {
        self.learning_rate.over::<W>(self.above() + self.weight_shift)
    }

    /// Opens `M` into `c`: the round of `u` and of the step. `velocity` becomes the share of `M`.
    pub(super) fn open<'c, W: Word>(
        &self,
        party: &mut Party<'_, W>,
        gradient: &mut [W],
        velocity: &mut [W],
        c: &'c mut [W],
    ) -> Result<(Opened<'c, W>, Draw), Error> {
        let at = if self.narrow { 0 } else { self.grad_shift };
        if self.narrow {
            truncate(party, gradient, self.grad_shift)?;
        }
        let power = |bits| W::from_u64(1).shl(bits);
        let decay = W::from_u64(u64::from(self.momentum.factor)).mul(power(self.above() - self.momentum.shift));
        party.kernels.blend(velocity, decay, gradient, power(self.above() - at));
        let mut draw = party.draw()?;
        let word = open(party, &mut draw, velocity, Cut::signed(self.above()), c)?;
        Ok((word, draw))
    }
}

impl<W: Word> Optimizer<W> for Momentum {
    /// Durable: `u`.
    fn state(&self, n: usize) -> [usize; 2] {
        [n, 0]
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
        State { durable: velocity, .. }: State<'_, W>,
    ) -> Result<(), Error> {
        let n = gradient.len();
        assert!(weights.len() == n && velocity.len() == n, "momentum: lengths differ");
        let now = Self { learning_rate: scheduled(self.learning_rate, at.rate), ..*self };
        let ([c], mut party) = party.scratch([n])?;
        let (word, mut draw) = self.open(&mut party, gradient, velocity, c)?;
        scaled(&mut party, &mut draw, &word, now.rate::<W>(), gradient)?;
        truncated(&mut party, &mut draw, &word, velocity)?;
        party.kernels.sub(weights, gradient);
        Ok(())
    }
}
