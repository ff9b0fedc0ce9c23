//! Optimizers and their public constants.

use serde::{Deserialize, Serialize};

use super::{Numbers, rounding::close};

/// A public constant `factor / 2^shift`, as shares are multiplied by: an integer product, then a truncation.
///
/// A decimal number in a job is rounded to eight significant bits (relative error at most 2^-8) and
/// reduced. So 0.05 becomes `205 / 2^12`, 0.9 becomes `115 / 2^7`. Small factors leave headroom in
/// a 32-bit ring. Where the ring or these bits change a number by more than 2^-6 of it, the job is
/// refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Dyadic {
    /// Odd, or the shift is 0; at most [`Dyadic::MAX_FACTOR`], of a decay [`Dyadic::MAX_DECAY`].
    pub factor: u32,
    /// At most [`Dyadic::MAX_SHIFT`].
    pub shift: u32,
}

impl Dyadic {
    /// No constant is finer.
    pub const MAX_SHIFT: u32 = 32;
    /// No constant is larger.
    pub const MAX_FACTOR: u32 = 255;

    /// No decay of a 64-bit ring has a larger factor: where 1 - decay is small, it takes more bits.
    pub const MAX_DECAY: u32 = u16::MAX as u32;

    /// The nearest constant; `None` outside of `(0, 255]` or where it would round to 0.
    pub fn nearest(value: f64) -> Option<Self> {
        if !(value > 0.0 && value <= f64::from(Self::MAX_FACTOR)) {
            return None;
        }
        let shifts = (0..=Self::MAX_SHIFT).rev();
        let best = shifts.map(|shift| Self::rounded(value, shift)).find(|best| best.factor <= Self::MAX_FACTOR)?;
        (best.factor > 0).then(|| best.reduced())
    }

    /// The constant for a decay: as [`Dyadic::nearest`], but in a 64-bit ring with up to 16 bits
    /// where 1 - decay needs them. `None` outside of `(0, 1)` or where it would round to 1.
    pub fn decay(value: f64, ring_bits: u32) -> Option<Self> {
        let nearest = Self::nearest(value).filter(|_| value < 1.0)?;
        let holds = |decay: &Self| close(1.0 - value, 1.0 - decay.value());
        let longer = (9..=16).filter(|_| ring_bits > 32).map(|shift| Self::rounded(value, shift).reduced());
        let finest = Self::rounded(value, if ring_bits > 32 { 16 } else { 8 }).reduced();
        let mut all = std::iter::once(nearest).chain(longer);
        all.find(holds).or(Some(finest)).filter(|decay| decay.factor > 0 && decay.value() < 1.0)
    }

    /// `value` in units of `2^-shift`; saturates.
    fn rounded(value: f64, shift: u32) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
        let factor = (value * f64::from(shift).exp2()).round() as u32;
        Self { factor, shift }
    }

    fn reduced(self) -> Self {
        let drop = self.factor.trailing_zeros().min(self.shift);
        Self { factor: self.factor >> drop, shift: self.shift - drop }
    }

    /// The same for protocols.
    pub(crate) fn core(self) -> symbolon_core::optimizer::Dyadic {
        symbolon_core::optimizer::Dyadic { factor: self.factor, shift: self.shift }
    }

    /// The number it stands for.
    pub fn value(self) -> f64 {
        f64::from(self.factor) * (-f64::from(self.shift)).exp2()
    }
}

/// How weights follow gradients.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Optimizer {
    /// `w -= learning_rate * g`.
    Sgd {
        /// Public step size.
        learning_rate: Dyadic,
    },
    /// `u = momentum * u + g`, `w -= learning_rate * u`.
    Momentum {
        /// Public step size.
        learning_rate: Dyadic,
        /// Below 1.
        momentum: Dyadic,
    },
    /// Adam with cells for the inverse square root.
    Adam(Adam),
    /// The same with the running maximum of the second moment.
    AmsGrad(Adam),
}

/// Adam in powers of two: `m += 410/4096 (g - m)`, `v += (g^2 - v) / 2^10`, `w -= m >> s(v)`.
///
/// `s` is `shift` for `v < 2^low`, one more for each factor of four above, and `shift + cells - 1`
/// in the topmost cell. `v` has `2 fg` fraction bits, `m` has `fg`, `w` has `f`. The lowest cell
/// stands in for epsilon.
///
/// Left out, `low = 2`, `cells` are as many as cover every `v` that the ring holds, and
/// `shift = 9 - f + low / 2`: the step of a learning rate of 0.001, which is that of Adam in
/// floating point within a factor of two wherever `v` is 4 units or more. One less in `shift`
/// doubles the learning rate. A job that declares fewer cells costs less (`low = 2 fg - 26` and 7
/// cells fit a classifier in batches of 128); there, second moments outside of the window are taken
/// for its ends, so that steps above it grow with the gradient and below it vanish: audit such a
/// job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Base-two logarithm of the first threshold on `v`.
    pub low: u32,
    /// Cells, one more than thresholds.
    pub cells: u32,
    /// Shift of the lowest cell.
    pub shift: i32,
    /// Steps that a choice of cells is kept for, after [`Adam::FRESH_STEPS`]; 1 chooses anew in each.
    pub keep: u32,
    /// Whether `v` is updated only where cells are chosen anew, by a larger step to match; `keep` is 4 then.
    pub lazy: bool,
    /// Whether the first steps are enlarged by the public factors `sqrt(1 - beta2^t) / (1 - beta1^t)`.
    pub bias_correction: bool,
}

impl Adam {
    /// `1 - beta1` is this over 4096.
    pub const BETA1_COMPLEMENT: u32 = 410;
    /// Its denominator's logarithm.
    pub const BETA1_SHIFT: u32 = 12;
    /// `1 - beta2` is `2^-10`.
    pub const BETA2_SHIFT: u32 = 10;
    /// The first threshold on `v` where a job names none: 4 units.
    pub const LOW: u32 = 2;
    /// Steps that one update of `v` stands for in a lazy job.
    pub const LAZY_KEEP: u32 = 4;
    /// Steps in which cells are always chosen anew.
    pub const FRESH_STEPS: u32 = 16;
    /// Steps after which the bias correction is 1: in eight times those that `v` remembers, `beta2` has decayed below `2^-11`.
    pub const CORRECTED_STEPS: u32 = 8 << Self::BETA2_SHIFT;

    /// Cells from `2^low` on that cover every `v` of a word.
    pub fn all_cells(ring_bits: u32, second_shift: u32, low: u32) -> u32 {
        symbolon_core::optimizer::Adam::thresholds(ring_bits, second_shift, low) + 1
    }

    /// The default for these numbers.
    pub fn for_numbers(numbers: &Numbers) -> Self {
        Self {
            low: Self::LOW,
            cells: Self::all_cells(numbers.ring_bits, Self::BETA2_SHIFT, Self::LOW),
            shift: Self::default_shift(numbers, Self::LOW),
            keep: 1,
            lazy: false,
            bias_correction: false,
        }
    }

    /// The shift of the lowest cell for a learning rate of 0.001.
    pub fn default_shift(numbers: &Numbers, low: u32) -> i32 {
        (9 + low / 2).cast_signed() - numbers.frac_bits.cast_signed()
    }

    /// Cells from this optimizer's first threshold on that cover every `v` of a word.
    pub fn most_cells(&self, ring_bits: u32) -> u32 {
        Self::all_cells(ring_bits, self.second_shift(), self.low)
    }

    /// Base-two logarithms of the first and the last threshold on `v`: below the first it is in the
    /// lowest cell, from the last on in the top one.
    pub fn window(&self) -> (u32, u32) {
        (self.low, self.low + 2 * self.cells.saturating_sub(2))
    }

    /// The learning rate that the cells stand for, where `v` is just above a threshold; at most
    /// twice this in the cell.
    pub fn learning_rate(&self, numbers: &Numbers) -> f64 {
        (f64::from(self.low) / 2.0 - f64::from(numbers.frac_bits.cast_signed() + self.shift + 1)).exp2()
    }

    /// `1 - beta2` is `2^-second_shift`: [`Adam::BETA2_SHIFT`], or two less where one update of `v` stands for four.
    pub fn second_shift(&self) -> u32 {
        Self::second_shift_if(self.lazy)
    }

    /// [`Self::second_shift`] of a lazy optimizer, or of another.
    pub fn second_shift_if(lazy: bool) -> u32 {
        Self::BETA2_SHIFT - if lazy { Self::LAZY_KEEP.ilog2() } else { 0 }
    }

    /// How often cells are chosen in the first `steps` steps.
    pub fn choices(&self, steps: u64) -> u64 {
        let fresh = u64::from(Self::FRESH_STEPS);
        let keep = u64::from(self.keep.max(1));
        if steps <= fresh { steps } else { fresh + steps.div_ceil(keep) - fresh.div_ceil(keep) }
    }

    /// Whether the cells are chosen anew in this step, counted from 0.
    pub fn chooses_cells(&self, step: u64) -> bool {
        step < u64::from(Self::FRESH_STEPS) || step.is_multiple_of(u64::from(self.keep.max(1)))
    }
}
