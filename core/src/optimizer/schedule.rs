//! Public learning-rate schedules, computed in integers from a step's number.
//!
//! A schedule is a factor on the learning rate. Optimizers fold it into the constant that they
//! multiply by anyway, so it takes no round. All parties compute the same bits: there is no float.
//!
//! - **Formulas**, for `t` steps after the warm-up: constant `1`; step `factor^floor(t / every)`;
//!   cosine `(1 + cos(pi t / steps)) / 2` (Loshchilov, Hutter, ICLR 2017, equation 5, without
//!   restarts). In a warm-up of `n` steps, step `i` from 0 has `(i + 1) / n` (Goyal et al., 2017,
//!   section 2.2).
//! - **Cost:** none of its own. A rate that is no power of two costs a scaling's word dealt and
//!   some bits each way more ([`crate::protocol::scaled`]).
//! - **Result:** each factor is rounded to eight bits, within `2^-8` of the exact one.

use super::Dyadic;

/// Bits that the factor of a rate has.
pub(super) const RATE_BITS: u32 = 8;

/// A factor on the learning rate for each step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// Steps in which the rate rises to its full size; 0 for none.
    pub warm_up: u64,
    /// The factors after the warm-up.
    pub decline: Decline,
}

/// Factors of the steps after a warm-up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decline {
    /// All are 1.
    Constant,
    /// Each `every` steps multiply the rate by `factor`.
    Step {
        /// Steps between two changes; 1 at least.
        every: u64,
        /// At most 1.
        factor: Dyadic,
    },
    /// Half a cosine from 1 to almost 0; later steps have the last factor.
    Cosine {
        /// Steps of the half wave; 1 at least.
        steps: u64,
    },
}

impl Schedule {
    /// The factor 1 in all steps.
    pub const CONSTANT: Self = Self { warm_up: 0, decline: Decline::Constant };

    /// The factor of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> Dyadic {
        let Some(t) = step.checked_sub(self.warm_up) else {
            return nearest((u128::from(step + 1) << FRAC_BITS) / u128::from(self.warm_up), FRAC_BITS);
        };
        match self.decline {
            Decline::Constant => Dyadic::ONE,
            Decline::Step { every, factor } => {
                let base = (u128::from(factor.factor) << FRAC_BITS) >> factor.shift.min(u128::BITS - 1);
                nearest(power(base.min(1 << FRAC_BITS), t / every.max(1), FRAC_BITS), FRAC_BITS)
            }
            Decline::Cosine { steps } => nearest(half_cosine(t, steps.max(1)), FRAC_BITS),
        }
    }

    /// Steps after which all factors are 1; `u64::MAX` where they change to the end.
    pub fn changes(&self) -> u64 {
        if self.decline == Decline::Constant { self.warm_up } else { u64::MAX }
    }
}

/// The learning rate `rate` in a step of the schedule's factor `by`: unchanged for 1, else rounded
/// to eight bits.
pub(super) fn scheduled(rate: Dyadic, by: Dyadic) -> Dyadic {
    if by == Dyadic::ONE { rate } else { rate.times(by).to_bits(RATE_BITS) }
}

/// Fraction bits of the factors before they are rounded.
const FRAC_BITS: u32 = 60;
/// Pi with as many fraction bits.
const PI: u128 = 3_622_009_729_038_561_421;

/// `(1 + cos(pi t / steps)) / 2`, of the last step for those after it.
fn half_cosine(t: u64, steps: u64) -> u128 {
    let t = t.min(steps - 1);
    let one = 1 << FRAC_BITS;
    // cos² of half the angle; where it is small, as the sine of what is left.
    let squared_sine = |t: u64| {
        let sine = sine(PI / 2 * u128::from(t) / u128::from(steps));
        (sine * sine) >> FRAC_BITS
    };
    if t <= steps / 2 { one - squared_sine(t) } else { squared_sine(steps - t) }
}

/// The sine of an angle from 0 to 1 by its series, whose next term is below `2^-56`.
fn sine(y: u128) -> u128 {
    let square = (y * y) >> FRAC_BITS;
    // y (1 - y²/6 (1 - y²/20 (1 - ...))): no difference is negative.
    let inner = (1..=8u128).rev().fold(1 << FRAC_BITS, |inner: u128, i| {
        (1 << FRAC_BITS) - (((square * inner) >> FRAC_BITS) / (2 * i * (2 * i + 1)))
    });
    (y * inner) >> FRAC_BITS
}

/// `base^exponent` of at most 1 with `frac_bits` fraction bits, by squaring.
pub(super) fn power(mut base: u128, mut exponent: u64, frac_bits: u32) -> u128 {
    let mut result = 1 << frac_bits;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = (result * base) >> frac_bits;
        }
        base = (base * base) >> frac_bits;
        exponent >>= 1;
    }
    result
}

/// `ratio / 2^frac_bits`, rounded to the eight bits from the topmost on.
pub(super) fn nearest(ratio: u128, frac_bits: u32) -> Dyadic {
    let shift = (u128::BITS - ratio.leading_zeros()).saturating_sub(RATE_BITS);
    let factor = if shift == 0 { ratio } else { ((ratio >> (shift - 1)) + 1) >> 1 };
    let left = frac_bits.saturating_sub(shift);
    let reduce = factor.trailing_zeros().min(left);
    Dyadic { factor: u32::try_from(factor >> reduce).unwrap_or(1), shift: left - reduce }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(rate: Dyadic) -> f64 {
        f64::from(rate.factor) * (-f64::from(rate.shift)).exp2()
    }

    #[test]
    fn rates_are_those_of_floating_point() {
        let half = Dyadic { factor: 1, shift: 1 };
        let tenth = Dyadic { factor: 205, shift: 11 };
        for warm_up in [0, 1, 7, 300] {
            for steps in [1u64, 2, 3, 50, 1001] {
                for step in 0..warm_up + 2 * steps {
                    let t = step.saturating_sub(warm_up);
                    let last = t.min(steps - 1) as f64 / steps as f64;
                    let cosine = (1.0 + (core::f64::consts::PI * last).cos()) / 2.0;
                    let power = |base: f64, every: u64| base.powi(i32::try_from((t / every).min(40)).unwrap());
                    for (decline, exact) in [
                        (Decline::Constant, 1.0),
                        (Decline::Cosine { steps }, cosine),
                        (Decline::Step { every: steps.max(50), factor: half }, power(0.5, steps.max(50))),
                        (Decline::Step { every: steps.max(200), factor: tenth }, power(value(tenth), steps.max(200))),
                    ] {
                        let exact = if step < warm_up { (step + 1) as f64 / warm_up as f64 } else { exact };
                        let got = value(Schedule { warm_up, decline }.rate(step));
                        assert!((got / exact - 1.0).abs() < 1.0 / 256.0, "{decline:?} {step}: {got}, not {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn changes_end_with_the_warm_up_of_a_constant_rate() {
        let schedule = |decline| Schedule { warm_up: 9, decline };
        assert_eq!(schedule(Decline::Constant).changes(), 9);
        assert!((9..20).all(|step| schedule(Decline::Constant).rate(step) == Dyadic::ONE));
        assert_eq!(schedule(Decline::Cosine { steps: 4 }).changes(), u64::MAX);
    }

    #[test]
    fn a_rate_that_vanishes_is_zero() {
        let factor = Dyadic { factor: 1, shift: 30 };
        let rate = Schedule { warm_up: 0, decline: Decline::Step { every: 1, factor } }.rate(5);
        assert_eq!(rate.factor, 0);
    }
}
