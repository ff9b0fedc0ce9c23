//! By a series of sines, from one opening of the argument.
//!
//! A function that is odd but for a constant is continued from `[-L, L]` by reflection about both
//! ends: `g(2 L - x) = g(x)`. Its period is `4 L`, it has no jump, and `Σ b_j sin(j π x / (2 L))`
//! over odd `j` converges fast: the `b_j` are those of least squares at [`POINTS`] places. Sine and
//! cosine are one wave of period `2 π`, without an approximation.
//!
//! A turn is `2^p` units of the argument. So `c = z + r mod 2^p` hides `z` perfectly, and
//! `sin(j (c - r)) = sin(j c) [cos(j r)] - cos(j c) [sin(j r)]` is linear in the dealt
//! [`Harmonics`] of `r`. The coefficients are part of the public factors, and the sum is truncated
//! once. Sines are [integer arithmetic](crate::turns), the same bits at all parties.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 2 rounds, and the 4 of the [clamp](crate::protocol::clamp) unless the series is raw
//!   or the function's own period `2 π`. Each way `p = f + log2(4 L)` bits, `f + 6` for `2 π`, and
//!   for each result a truncation's: `f + 2` bits, or one more. Dealt two words a term, of
//!   `2 f + 12` or 13 bits in a ring that has more, and the truncation's bits. The slope follows
//!   from the same dealt words.
//! - **Result:** the series within a bound that [`Function::bound`](super::Function::bound) gives:
//!   a unit of the truncation, and the rounding of sines and factors. These add
//!   `0.18 Σ |b_j| + 0.09 J` units at 12 fraction bits in the ring of 32 bits, and
//!   `0.05 Σ |b_j| + 0.012 J` in the ring of 64. The approximation comes on top: 0.0013 for the
//!   sigmoid by 5 terms on `[-8, 8]`, 0.00009 by 8.
//! - **Ends:** beyond `[-L, L]` the result is the series' value at the end, and its slope is 0. A
//!   raw series goes on and turns back: its value at `2 L - x` is that at `x`.
//! - **Needs:** the clamp's range; a raw argument may be any word.
//! - **Memory:** the larger of `2 J + 8` and `3 J + 2` words of scratch an element, beside the
//!   clamp's; no heap.
//! - **Timing:** that of [`crate::turns`].
//! - **Source:** Boura, Chillotti, Gama, Jetchev, Peceny, Petric, "High-Precision
//!   Privacy-Preserving Real-Valued Function Evaluation" (FC 2018), for series whose waves of the
//!   mask are dealt. The opening modulo the period, the reflection and the fixed point are derived
//!   here.

use super::{
    FunctionError,
    mapping::{Mapping, bits_of, units},
};
use crate::{
    correlation::request::Harmonics,
    function::{
        Numbers, pow2,
        scalar::{AnyScalar, RangeReduction, Scalar},
    },
    link::Error,
    party::Party,
    protocol::{
        clamp::clamp,
        narrow::open_narrow,
        truncate::{Cut, blind_cut, truncate, truncate_two},
    },
    turns::{self, COEFFICIENT_BITS, Wave},
    word::Word,
};
use core::f64::consts::{FRAC_PI_2, PI};
use serde::{Deserialize, Serialize};

/// Terms at most.
pub const MAX_TERMS: u8 = 12;

/// Places of the fit, evenly spaced between 0 and the end.
pub const POINTS: u32 = 128;

/// Fraction bits of a phase beyond the result's, for a period of `2 π`: its dither is then below a
/// tenth of a unit.
const PHASE_BITS: u32 = 6;

/// One value for each term.
type Terms = [f64; MAX_TERMS as usize];

/// A series of sines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Periodic {
    /// Number of sines, 1 to 12; 1 for sine and cosine.
    pub terms: u8,
    /// `[-L, L]`, for a power of two `L` from 1/16 to 1024; [`Mapping::UNSET`] for sine and cosine.
    pub interval: [f64; 2],
    /// Skips the clamping; sine and cosine have none in any case.
    pub raw: bool,
}

/// `constant + Σ b_j sin(j θ + quarters π / 2)` over odd `j`, for `θ = frequency x`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    constant: f64,
    /// `b_1, b_3, …`; those beyond the terms are 0.
    coefficients: Terms,
    quarters: u8,
    frequency: f64,
}

/// `sin(j θ + quarters π / 2)` for odd `j`, by the recurrence of Chebyshev's polynomials.
fn waves(angle: f64, quarters: u8) -> Terms {
    let ahead = f64::from(quarters) * FRAC_PI_2;
    let (mut before, mut wave) = (libm::sin(ahead - angle), libm::sin(ahead + angle));
    let twice = 2.0 * libm::cos(2.0 * angle);
    [0.0; MAX_TERMS as usize].map(|_| {
        let this = wave;
        (wave, before) = (twice * wave - before, wave);
        this
    })
}

impl Series {
    /// The series at an angle `θ`, without the constant.
    fn at(&self, angle: f64) -> f64 {
        waves(angle, self.quarters).iter().zip(&self.coefficients).map(|(wave, b)| wave * b).sum()
    }

    /// The series at `x`.
    pub(super) fn value(&self, x: f64) -> f64 {
        self.constant + self.at(self.frequency * x)
    }

    /// Its derivative.
    fn slope(&self) -> Self {
        let mut coefficients = self.coefficients;
        for (j, b) in (0u8..).zip(&mut coefficients) {
            *b *= (2.0 * f64::from(j) + 1.0) * self.frequency;
        }
        Self { constant: 0.0, coefficients, quarters: self.quarters + 1, ..*self }
    }

    /// A bound of its magnitude without the constant: the largest at 256 places of a turn, of which
    /// a quarter has all, and 5 % for those between, `1 / cos(23 π / 256)`.
    fn largest(&self) -> f64 {
        let at = |i: u32| libm::fabs(self.at(f64::from(i) / 64.0 * FRAC_PI_2));
        1.05 * (0..=64).map(at).fold(0.0, libm::fmax)
    }

    /// `Σ |b_j|`.
    pub(super) fn sum(&self) -> f64 {
        self.coefficients.iter().map(|b| libm::fabs(*b)).sum()
    }
}

/// Fraction bits and places of numbers within, from the ring's room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeriesPrecision {
    /// Fraction bits of the dealt sines.
    pub(super) sine_bits: u32,
    /// Fraction bits of the public factors of the value and of the slope.
    pub(super) factor_bits: [u32; 2],
    /// Zeros below all factors: the dealt sines have as many bits less.
    shift: u32,
}

/// The opened bits of an argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhaseBits {
    /// Bits that are dropped first.
    pub(super) dropped: u32,
    /// `p`: a turn is `2^p` of what is left.
    pub(super) bits: u32,
    /// The argument's public factor.
    pub(super) factor: i64,
}

impl Periodic {
    /// The series with the function's own interval, where it has none.
    pub(super) fn resolved(self, scalar: &AnyScalar, numbers: &Numbers) -> Self {
        if self.interval != Mapping::UNSET || scalar.range_reduction() == RangeReduction::Periodic {
            return self;
        }
        Self { interval: scalar.interval(numbers), ..self }
    }

    /// The half length of the interval.
    fn half(&self) -> f64 {
        self.interval[1]
    }

    /// The series near `scalar`; `None` where it has none.
    pub(super) fn series(&self, scalar: &AnyScalar) -> Option<Series> {
        let mut coefficients = Terms::default();
        let quarters = match scalar {
            AnyScalar::Sigmoid(_) | AnyScalar::Tanh(_) | AnyScalar::Erf(_) => {
                let constant = scalar.value(0.0);
                self.fit(|x| scalar.value(x) - constant, &mut coefficients);
                let frequency = FRAC_PI_2 / self.half();
                return Some(Series { constant, coefficients, quarters: 0, frequency });
            }
            AnyScalar::Sine(_) => 0,
            AnyScalar::Cosine(_) => 1,
            _ => return None,
        };
        coefficients[0] = 1.0;
        Some(Series { constant: 0.0, coefficients, quarters, frequency: 1.0 })
    }

    /// The coefficients of least squared error at the middles of [`POINTS`] parts of `[0, L]`: at
    /// these, the sines are orthogonal.
    fn fit(&self, odd: impl Fn(f64) -> f64, coefficients: &mut Terms) {
        let (n, terms) = (f64::from(POINTS), usize::from(self.terms.min(MAX_TERMS)));
        for i in 0..POINTS {
            let place = (f64::from(i) + 0.5) / n;
            let weight = odd(place * self.half()) * 2.0 / n;
            for (b, wave) in coefficients[..terms].iter_mut().zip(waves(place * FRAC_PI_2, 0)) {
                *b += weight * wave;
            }
        }
    }

    /// The series at `x`, clamped to the interval unless it is raw.
    pub(super) fn value(&self, scalar: &AnyScalar, [low, high]: [f64; 2], x: f64) -> f64 {
        match (scalar.range_reduction(), self.series(scalar)) {
            (RangeReduction::Interval, Some(series)) if self.raw => series.value(libm::fmod(x, 4.0 * self.half())),
            (RangeReduction::Interval, Some(series)) => series.value(libm::fmin(libm::fmax(x, low), high)),
            _ => scalar.value(x),
        }
    }

    /// Holds the series to the ring.
    ///
    /// # Errors
    ///
    /// The reason why it has no room, or a parameter that is invalid.
    pub fn check(&self, scalar: &AnyScalar, numbers: &Numbers) -> Result<(), FunctionError> {
        let own_period = scalar.range_reduction() == RangeReduction::Periodic;
        let max = if own_period { 1 } else { MAX_TERMS };
        if !(1..=max).contains(&self.terms) {
            let (got, max) = (self.terms.into(), max.into());
            return Err(FunctionError::Number { key: "terms", got, min: 1, max });
        }
        let [low, high] = self.interval;
        let is_half = (-4..=10).any(|e| libm::exp2(f64::from(e)).to_bits() == high.to_bits());
        let fits =
            if own_period { self.interval == Mapping::UNSET } else { is_half && low.to_bits() == (-high).to_bits() };
        if !fits {
            return Err(FunctionError::Interval);
        }
        let series = self.series(scalar).ok_or(FunctionError::Method)?;
        if numbers.frac_bits < 4 || self.turn(scalar, numbers).bits > numbers.ring_bits {
            return Err(FunctionError::Room);
        }
        scale(&series, numbers).map(|_| ()).ok_or(FunctionError::Room)
    }

    /// Which bits of an argument make a turn.
    pub(super) fn turn(&self, scalar: &AnyScalar, numbers: &Numbers) -> PhaseBits {
        let (f, k) = (numbers.frac_bits, numbers.ring_bits);
        if scalar.range_reduction() == RangeReduction::Periodic {
            // A turn is the whole ring.
            let bits = (f + PHASE_BITS).min(k);
            return PhaseBits { dropped: k - bits, bits, factor: units(0.5 / PI, k - f) };
        }
        let turn = units(4.0 * self.half(), f).max(2);
        PhaseBits { dropped: 0, bits: turn.ilog2(), factor: 1 }
    }

    /// `out` becomes the series at `x`, and `slope` its derivative if asked.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the series does not [fit](Self::check).
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        scalar: &AnyScalar,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let n = x.len();
        let Some(series) = self.series(scalar) else { panic!("the series was checked") };
        let (scale, turn) = (scale(&series, numbers).unwrap_or_default(), self.turn(scalar, numbers));
        let all = usize::from(self.terms) * n;
        let ([z, c, sines, cosines], mut party) = party.scratch([n, n, all, all])?;
        z.copy_from_slice(x);
        if scalar.range_reduction() == RangeReduction::Interval && !self.raw {
            let [low, high] = self.interval.map(|x| W::from_i64(units(x, numbers.frac_bits)));
            clamp(&mut party, z, low, high)?;
        }
        party.kernels.scale(z, W::from_i64(turn.factor));
        self.open_phase(&mut party, (turn, scale), (z, c), [&mut *sines, &mut *cosines])?;
        let add = |series: &Series, frac_bits, z: &mut [W]| {
            let coefficients = series.coefficients.map(|b| units(b, COEFFICIENT_BITS));
            let (coefficients, quarters) = (&coefficients[..usize::from(self.terms)], series.quarters);
            z.fill(W::default());
            let wave = Wave { coefficients, quarters, frac_bits, shift: scale.shift };
            wave.add(z, c, turn.bits, [&*sines, &*cosines]);
        };
        let [value_bits, slope_bits] = scale.factor_bits;
        let surplus = |factor_bits| scale.sine_bits + factor_bits + scale.shift - numbers.frac_bits;
        add(&series, value_bits, out);
        if let Some(slope) = slope {
            add(&series.slope(), slope_bits, slope);
            truncate_two(&mut party, [(&mut *out, surplus(value_bits)), (slope, surplus(slope_bits))])?;
        } else {
            truncate(&mut party, out, surplus(value_bits))?;
        }
        // The second, last round was that of the truncation.
        party.kernels.add_constant(out, party.role.first(W::from_i64(units(series.constant, numbers.frac_bits))));
        Ok(())
    }

    /// Opens the phases `z` into `c` under a mask `r`, and takes shares of the harmonics of `r`.
    fn open_phase<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (turn, scale): (PhaseBits, SeriesPrecision),
        (z, c): (&mut [W], &mut [W]),
        [sines, cosines]: [&mut [W]; 2],
    ) -> Result<(), Error> {
        let mut draw = party.draw()?;
        let mask = blind_cut(party, &mut draw, Cut::index(W::default(), turn.dropped, turn.bits), z, c);
        open_narrow(party, c, turn.bits)?; // the first round
        if party.is_clear() {
            party.expand(mask, z);
            turns::harmonics([sines, cosines], z, turn.bits, scale.sine_bits);
            return Ok(());
        }
        let (terms, width) = (self.terms, W::BITS - scale.shift);
        let request = Harmonics { mask, bits: turn.bits, terms, frac_bits: scale.sine_bits, width };
        party.take(&mut draw, request, &mut [sines, cosines])
    }
}

/// Bits of sines and factors: four beyond the result's for the dealt sines, six for the factors, of
/// which each term has its own; fewer where the ring has no room. Where it has more, the factors
/// end in zeros, so that the truncation opens no bits above the result.
pub(super) fn scale(series: &Series, numbers: &Numbers) -> Option<SeriesPrecision> {
    let (f, most) = (numbers.frac_bits, numbers.ring_bits.checked_sub(2)?);
    let room = |series: &Series| most.checked_sub(bits_of(series.largest()));
    let room = [room(series)?, room(&series.slope())?];
    // Beyond both with the result's fraction bits; one bit at least.
    let spare = room[0].checked_sub(2 * f + 1)?;
    let sine_bits = f + (spare / 2).min(4);
    let left = [room[0].checked_sub(sine_bits)?, room[1].checked_sub(sine_bits)?];
    let factor_bits = left.map(|left| left.min(f + 6));
    let shift = (left[0] - factor_bits[0]).min(left[1] - factor_bits[1]);
    (factor_bits[1] + 4 >= f).then_some(SeriesPrecision { sine_bits, factor_bits, shift })
}

/// The turn of a period `2 π` as an integer errs by as much as this over 16 radians; in units.
pub(super) fn turn_error(numbers: &Numbers) -> f64 {
    let turn = pow2(numbers.ring_bits - numbers.frac_bits) / (2.0 * PI);
    16.0 * 0.5 / turn * pow2(numbers.frac_bits)
}
