//! By one polynomial, with Horner's rule.
//!
//! The argument is clamped to the interval unless the polynomial is raw, and masked once; each
//! degree is one product with it and one truncation. Coefficients are those of `x / 2^m`, `2^m` the
//! least power of two that holds the interval, and are computed whenever the function is applied.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** a round for the mask, one a degree, and those of [clamping](crate::protocol::clamp);
//!   one more where it is 0 below the interval, and for the slope.
//!   Each way a word and, for each degree, a truncation's bits; twice that with the slope.
//! - **Result:** the polynomial within three units, where the ring has room for the guard bits.
//!   Beyond the interval its values at the ends; raw, whatever the polynomial is, until the ring
//!   wraps.
//! - **Source:** Horner's rule; Taylor's polynomials, interpolation at Chebyshev's nodes, least
//!   squares and Remez's exchange ([`fit`]).

use super::{
    FunctionError,
    mapping::{bits_of, units},
};
use crate::{
    correlation::{Rows, View},
    function::{
        Numbers, fit, pow2,
        scalar::{RangeReduction, Scalar},
    },
    link::Error,
    party::Party,
    protocol::{
        knots::above,
        masked::{Masked, mask_and_open},
        product::multiply_halves,
        times::times_masked,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// The fit of the coefficients.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Truncates the Taylor series at 0.
    Taylor,
    /// Interpolates at the Chebyshev nodes.
    Interpolation,
    /// Minimises the squared error.
    LeastSquares,
    /// Minimises the largest error (Remez).
    Minimax,
}

impl Fit {
    /// The name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Taylor => "Taylor",
            Self::Interpolation => "interpolation",
            Self::LeastSquares => "least squares",
            Self::Minimax => "minimax",
        }
    }
}

/// One polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Polynomial {
    /// Degree, 1 to 9.
    pub degree: u8,
    /// The fit of the coefficients.
    pub fit: Fit,
    /// Interval of the fit; arguments are clamped to it.
    pub interval: [f64; 2],
    /// Skips the clamping.
    pub raw: bool,
    /// Makes it 0 below the interval; not with `raw`.
    pub zero_below: bool,
}

/// Degree at most.
pub const MAX_DEGREE: u8 = 9;

/// Bits of numbers within, from the ring's room.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// `m`.
    shift: u32,
    /// Low bits of the argument that are dropped first.
    dropped: u32,
    /// Fraction bits beyond the result's.
    guard: u32,
}

impl Polynomial {
    /// The coefficients of `1, x, x^2, …`.
    pub fn coefficients(&self, scalar: &dyn Scalar) -> fit::Coefficients {
        let (g, degree) = (|x| scalar.value(x), usize::from(self.degree));
        match self.fit {
            Fit::Interpolation => fit::interpolation(g, self.interval, degree),
            Fit::LeastSquares => fit::least_squares(g, self.interval, degree),
            Fit::Minimax => fit::minimax(g, self.interval, degree),
            Fit::Taylor => {
                // The first coefficients of a polynomial that is near the series.
                let mut c = fit::interpolation(g, [-0.5, 0.5], fit::MAX_DEGREE);
                c[degree + 1..].fill(0.0);
                c
            }
        }
    }

    /// The polynomial at `x`, clamped to an interval.
    pub fn value(&self, coefficients: &fit::Coefficients, [low, high]: [f64; 2], x: f64) -> f64 {
        if self.zero_below && x < low {
            return 0.0;
        }
        fit::evaluate(coefficients, if self.raw { x } else { libm::fmin(libm::fmax(x, low), high) })
    }

    /// Holds the polynomial to the ring.
    ///
    /// # Errors
    ///
    /// The reason why it has no room, or a parameter that is invalid.
    pub fn check(&self, scalar: &dyn Scalar, numbers: &Numbers) -> Result<(), FunctionError> {
        let (degree, [low, high]) = (self.degree, self.interval);
        if !(1..=MAX_DEGREE).contains(&degree) {
            return Err(FunctionError::Number { key: "degree", got: degree.into(), min: 1, max: MAX_DEGREE.into() });
        }
        if self.raw && self.zero_below {
            return Err(FunctionError::RawZero);
        }
        if !(low >= -1024.0 && low < high && high <= 1024.0) {
            return Err(FunctionError::Interval);
        }
        let smooth = match scalar.range_reduction() {
            RangeReduction::BySign => false,
            RangeReduction::Octaves(_) => low > 0.0 && self.fit != Fit::Taylor,
            RangeReduction::Interval | RangeReduction::Periodic => true,
        };
        if !smooth {
            return Err(FunctionError::Method);
        }
        self.scale(&self.coefficients(scalar), numbers).map(|_| ()).ok_or(FunctionError::Room)
    }

    fn scale(&self, coefficients: &fit::Coefficients, numbers: &Numbers) -> Option<Scale> {
        let f = numbers.frac_bits;
        let reach = libm::fmax(libm::fabs(self.interval[0]), libm::fabs(self.interval[1]));
        let shift = (0..11).find(|m| pow2(*m) >= reach)?;
        let (mut largest, mut steepest, mut power) = (0.0, 0.0, 1.0);
        for (i, c) in coefficients.iter().enumerate() {
            #[allow(clippy::cast_precision_loss)] // at most 15
            let i = i as f64;
            largest += libm::fabs(c * power);
            steepest += i * libm::fabs(c * power) / pow2(shift);
            power *= pow2(shift);
        }
        let value_bits = bits_of(libm::fmax(largest, steepest)) + f;
        let most = (numbers.ring_bits - 3).checked_sub(value_bits)?;
        let guard = most.saturating_sub(f + shift).min(3);
        let dropped = (f + shift + guard).saturating_sub(most);
        (dropped <= f.min(shift + 4)).then_some(Scale { shift, dropped, guard })
    }

    /// Bits that the argument loses, guard bits, and the steepest slope.
    pub(super) fn precision(&self, coefficients: &fit::Coefficients, numbers: &Numbers) -> [f64; 3] {
        let Some(Scale { dropped, guard, .. }) = self.scale(coefficients, numbers) else { return [0.0; 3] };
        let (slope, [low, high]) = (fit::derivative(coefficients), self.interval);
        let at = |i: u32| libm::fabs(fit::evaluate(&slope, low + (high - low) * f64::from(i) / 64.0));
        [dropped.into(), guard.into(), (0..=64).map(at).fold(0.0, libm::fmax)]
    }

    /// `out` becomes the polynomial at `x`, and `slope` its derivative if asked.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the polynomial does not [fit](Self::check).
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        scalar: &dyn Scalar,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let (n, f) = (x.len(), numbers.frac_bits);
        let c = self.coefficients(scalar);
        let scale = self.scale(&c, numbers).unwrap_or(Scale { shift: 0, dropped: 0, guard: 0 });
        let rows = 1 + usize::from(slope.is_some());
        let clamped = if self.raw { 0 } else { 2 * n };
        let ([u, values, over, steps], mut party) = party.scratch([n, rows * n, clamped, clamped])?;
        u.copy_from_slice(x);
        let [low, high] = self.interval.map(|x| W::from_i64(units(x, f - scale.dropped)));
        if !self.raw {
            above(&mut party, (u, scale.dropped), &[low, high], over, steps)?;
            u.copy_from_slice(&over[..n]);
            party.kernels.sub(u, &over[n..]);
            party.kernels.add_constant(u, party.role.first(low));
        } else if scale.dropped > 0 {
            truncate(&mut party, u, scale.dropped)?;
        }
        let both = [c, fit::derivative(&c)];
        let mask = party.draw()?.mask(n);
        let mask = mask_and_open(&mut party, u, mask)?; // a round
        let numbers =
            Horner { shift: scale.shift, u_bits: f + scale.shift - scale.dropped, frac_bits: f, guard: scale.guard };
        numbers.apply(&mut party, Masked { words: u, mask }, &both[..rows], values)?;
        out.copy_from_slice(&values[..n]);
        if let Some(slope) = slope {
            slope.copy_from_slice(&values[n..]);
            if !self.raw {
                let (within, above) = steps.split_at_mut(n);
                if self.zero_below {
                    multiply_by_bit(&mut party, out, within)?;
                }
                party.kernels.sub(within, above);
                return multiply_by_bit(&mut party, slope, within);
            }
        } else if self.zero_below && !self.raw {
            return multiply_by_bit(&mut party, out, &steps[..n]);
        }
        Ok(())
    }
}

/// `y = y bit`: one round, two words each way.
fn multiply_by_bit<W: Word>(party: &mut Party<'_, W>, y: &mut [W], bit: &[W]) -> Result<(), Error> {
    let n = y.len();
    let ([both], mut party) = party.scratch([2 * n])?;
    both[..n].copy_from_slice(y);
    both[n..].copy_from_slice(bit);
    multiply_halves(&mut party, both, y) // the one round
}

/// Numbers of polynomials with public coefficients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horner {
    /// `m`: the argument is `u 2^m`.
    pub(super) shift: u32,
    /// Fraction bits of `u`, which is at most 1.
    pub(super) u_bits: u32,
    /// Fraction bits of the result, and those that coefficients have beyond.
    pub(super) frac_bits: u32,
    pub(super) guard: u32,
}

impl Horner {
    /// Each of the polynomials at `u`, one after the other: as many rounds as their degree.
    pub(super) fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        u: Masked<'_, W>,
        polynomials: &[fit::Coefficients],
        out: &mut [W],
    ) -> Result<(), Error> {
        self.untruncated(party, u, polynomials, out)?;
        truncate(party, out, self.u_bits + self.guard) // the last round
    }

    /// [`Self::apply`] but for the last truncation: `out` keeps the fraction bits of `u` and the
    /// guard bits.
    pub(super) fn untruncated<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        u: Masked<'_, W>,
        polynomials: &[fit::Coefficients],
        out: &mut [W],
    ) -> Result<(), Error> {
        let (n, most) = (u.words.len(), |p: &fit::Coefficients| p.iter().rposition(|c| c.to_bits() << 1 != 0));
        let degree = polynomials.iter().filter_map(most).max().unwrap_or(0).max(1);
        let ([share, repeated, c], mut party) = party.scratch([n, out.len(), out.len()])?;
        u.share(&party, share);
        repeated.chunks_exact_mut(n.max(1)).for_each(|to| to.copy_from_slice(u.words));
        let mask = View { rows: Rows::Which(&[0, 0][..polynomials.len()]), ..u.mask };
        let u = Masked { words: repeated, mask };
        for (out, p) in out.chunks_exact_mut(n.max(1)).zip(polynomials) {
            out.fill(W::default());
            party.kernels.add_scaled(out, share, self.coefficient(p, degree));
        }
        for i in (0..degree).rev() {
            for (out, p) in out.chunks_exact_mut(n.max(1)).zip(polynomials) {
                party.kernels.add_constant(out, party.role.first(self.coefficient::<W>(p, i).shl(self.u_bits)));
            }
            if i > 0 {
                let mut draw = party.draw()?;
                let word = open(&mut party, &mut draw, out, Cut::signed(self.u_bits), c)?; // a round
                truncated(&mut party, &mut draw, &word, out)?;
                times_masked(&mut party, &mut draw, &word, u, out)?;
            }
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation)] // at most 15
    fn coefficient<W: Word>(&self, p: &fit::Coefficients, i: usize) -> W {
        let scaled = p[i] * libm::exp2(f64::from(self.shift * i as u32));
        W::from_i64(units(scaled, self.frac_bits + self.guard))
    }
}
