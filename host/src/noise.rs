//! Two-sided geometric noise, sampled exactly.
//!
//! `P(z) ∝ exp(-|z| s / t)` for `|z| <= T`, with integers `s` and `t`; sampling uses no floating
//! point. Each server adds noise of its own to its share. The noise of one server alone gives the
//! stated privacy; the released number has twice the variance of one noise.
//!
//! - **Source:** Ghosh, Roughgarden and Sundararajan (STOC 2009) for the distribution; Canonne,
//!   Kamath and Steinke (NeurIPS 2020), algorithms 1 and 2, for the sampler.
//! - **Privacy:** `ε = Δ s / t` for an output that changes by `Δ` when one record is replaced. The
//!   sampler never draws the part of the distribution beyond `T`: `δ = 2^-40`.
//! - **Adversary:** a client that receives the output, together with the other server.
//! - **Timing:** the sampler's time depends on its random bits. A server draws the noise of an
//!   output before the epoch of that output begins, not between the epoch's end and the output.

use chacha20::rand_core::CryptoRng;

/// `41 ln 2`, rounded up, in hundredths: noise beyond `41 ln 2` scales has probability `2^-40`.
const TAIL_PERCENT: u128 = 2842;

/// The scale of a server's noise: `t / s`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scale {
    t: u64,
    s: u64,
    /// The change of the number when one record is replaced.
    change: u64,
}

impl Scale {
    /// Returns the scale `change t / s`, with `ε = s / t`, for a number that changes by `change`.
    /// Returns `None` if any is 0 or the noise does not fit into 62 bits.
    pub fn new(change: u64, t: u64, s: u64) -> Option<Self> {
        let t = change.checked_mul(t)?;
        let fits = t > 0 && s > 0 && tail(t, s) + u128::from(change) < 1 << 62;
        fits.then_some(Self { t, s, change })
    }

    /// Returns `T`, the largest magnitude of one server's noise.
    pub fn bound(self) -> i64 {
        i64::try_from(tail(self.t, self.s) + u128::from(self.change)).unwrap_or(i64::MAX)
    }

    /// Returns the standard deviation of both servers' noise together.
    pub fn deviation(self) -> f64 {
        // Of one server's noise: sqrt(2 a) / (1 - a), with a = exp(-s / t).
        let x = self.s as f64 / self.t as f64;
        2.0 * (-x / 2.0).exp() / -(-x).exp_m1()
    }

    /// Draws one server's noise.
    pub fn sample(self, rng: &mut impl CryptoRng) -> i64 {
        loop {
            if let Some(z) = self.attempt(rng).filter(|z| z.abs() <= self.bound()) {
                return z;
            }
        }
    }

    /// Makes one attempt: `|z| = floor((u + t v) / s)`, where `u + t v` is geometric.
    fn attempt(self, rng: &mut impl CryptoRng) -> Option<i64> {
        let Self { t, s, .. } = self;
        let u = below(rng, t);
        if !exponential(rng, u, t) {
            return None;
        }
        let mut v = 0u64;
        while exponential(rng, 1, 1) {
            v += 1;
        }
        let magnitude = (u128::from(u) + u128::from(t) * u128::from(v)) / u128::from(s);
        let negative = below(rng, 2) == 1;
        // A negative zero is dropped, or 0 would be drawn twice as often.
        let z = i64::try_from(magnitude).ok().filter(|z| !(negative && *z == 0))?;
        Some(if negative { -z } else { z })
    }
}

/// Returns the least `z` with `2 exp(-(z + 1) s / t) <= 2^-40`, or a slightly larger one. `T` is
/// the change more: a replaced record moves no more than that probability beyond the other's range.
fn tail(t: u64, s: u64) -> u128 {
    (TAIL_PERCENT * u128::from(t)).div_ceil(100 * u128::from(s))
}

/// Draws a uniform number below `n`; `n` is at least 1.
fn below(rng: &mut impl CryptoRng, n: u64) -> u64 {
    let mask = u64::MAX >> (n - 1).leading_zeros().min(63);
    loop {
        let drawn = rng.next_u64() & mask;
        if drawn < n {
            return drawn;
        }
    }
}

/// Returns true with probability `exp(-a / b)`, for `a <= b`.
fn exponential(rng: &mut impl CryptoRng, a: u64, b: u64) -> bool {
    let mut k = 1;
    // Each iteration succeeds with probability a / (b k), the product of the two.
    while below(rng, b) < a && below(rng, k) == 0 {
        k += 1;
    }
    k % 2 == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use chacha20::{ChaCha20Rng, rand_core::SeedableRng};

    /// Frequencies against the exact probabilities, each within five standard errors, and the
    /// variance of the sum of two.
    #[test]
    fn samples_follow_the_distribution() {
        for (t, s) in [(1, 1), (3, 2), (7, 1), (40, 3), (1, 5)] {
            let (scale, n) = (Scale::new(1, t, s).unwrap(), 200_000u32);
            let mut rng = ChaCha20Rng::from_seed([5; 32]);
            let drawn: Vec<i64> = (0..n).map(|_| scale.sample(&mut rng)).collect();
            assert!(drawn.iter().all(|z| z.abs() <= scale.bound()));
            let a = (-(s as f64) / t as f64).exp();
            for z in -12i32..=12 {
                let p = (1.0 - a) / (1.0 + a) * a.powi(z.abs());
                let got = drawn.iter().filter(|drawn| **drawn == i64::from(z)).count() as f64 / f64::from(n);
                let error = (p * (1.0 - p) / f64::from(n)).sqrt();
                assert!((got - p).abs() <= 5.0 * error + 1e-9, "t {t}, s {s}, z {z}: {got}, not {p}");
            }
            let mean = drawn.iter().sum::<i64>() as f64 / f64::from(n);
            let of_both = 2.0 * drawn.iter().map(|z| (z * z) as f64).sum::<f64>() / f64::from(n);
            let deviation = scale.deviation();
            assert!((of_both.sqrt() / deviation - 1.0).abs() < 0.03, "{} and {deviation}", of_both.sqrt());
            assert!(mean.abs() < 5.0 * deviation / f64::from(n).sqrt(), "mean {mean}");
        }
    }

    /// `ε` between neighbours: the worst ratio of probabilities of `z` and `z + 1`, as drawn.
    #[test]
    fn neighbouring_counts_look_alike() {
        let (scale, n) = (Scale::new(1, 2, 1).unwrap(), 400_000); // ε = 1/2
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        let mut count = [0f64; 9];
        for _ in 0..n {
            if let Some(count) = usize::try_from(scale.sample(&mut rng) + 4).ok().and_then(|i| count.get_mut(i)) {
                *count += 1.0;
            }
        }
        for pair in count.windows(2) {
            let ratio = (pair[0] / pair[1]).ln().abs();
            assert!((ratio - 0.5).abs() < 5.0 * (1.0 / pair[0] + 1.0 / pair[1]).sqrt(), "{ratio}");
        }
    }

    #[test]
    fn the_tail_is_below_2_to_the_minus_40() {
        for (change, t, s) in [(1, 1, 1), (9 << 12, 1, 30), (1, 1, 1000), (9, 123_456, 789), (1 << 20, 1 << 20, 3)] {
            let scale = Scale::new(change, t, s).unwrap();
            // All that a change moves out of the range.
            let least = (scale.bound() - change.cast_signed()) as f64 + 1.0;
            let beyond = 2.0 * (-least * s as f64 / (change * t) as f64).exp();
            assert!(beyond <= (-40f64).exp2(), "change {change}, t {t}, s {s}: {beyond}");
        }
        assert_eq!(Scale::new(1, 1 << 60, 1), None);
        assert_eq!(Scale::new(1, 0, 1), None);
    }
}
