//! Ways to compute a [scalar](super::scalar) on shares, a file each.

mod bound;
mod catalogue;
pub mod constants;
pub mod direct;
#[cfg(feature = "files")]
mod file;
pub mod limit;
pub mod mapping;
mod newton;
pub mod octaves;
pub mod periodic;
pub mod pieces;
pub mod polynomial;
pub mod segments;

use super::{
    Numbers,
    scalar::{AnyScalar, RangeReduction, Scalar},
};
use crate::{link::Error, party::Party, word::Word};
pub use bound::Bound;
use core::fmt;
#[cfg(feature = "files")]
pub use file::{FunctionFile, MethodName};
use limit::Limit;
use mapping::Mapping;
use periodic::Periodic;
use polynomial::Polynomial;
use segments::Segments;
use serde::{Deserialize, Serialize};

/// A way to compute a function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Method {
    /// The default method; [`Function::resolved`] replaces it.
    Auto,
    /// Polynomials on cells, whose coefficients are looked up.
    Mapping(Mapping),
    /// A dedicated protocol.
    Direct,
    /// One polynomial on one interval.
    Polynomial(Polynomial),
    /// A piecewise linear function through knots.
    Segments(Segments),
    /// `(1 + x / 2^n)^(2^n)`, for the exponential.
    Limit(Limit),
    /// A series of sines, from one opening.
    Periodic(Periodic),
}

/// A function of every word, with what it takes to compute it.
pub trait Elementwise<W: Word>: Sync {
    /// Computes `out = g(x)` and, if asked, `slope = g'(x)`; all have the job's fraction bits.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or there is no slope.
    fn apply(
        &self,
        party: &mut Party<'_, W>,
        numbers: &Numbers,
        values: (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error>;
}

impl<W: Word> Elementwise<W> for Function {
    fn apply(
        &self,
        party: &mut Party<'_, W>,
        numbers: &Numbers,
        values: (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        Self::apply(self, party, numbers, values, slope)
    }
}

/// A function and the way to compute it: all that the parties have to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// The real function.
    pub scalar: AnyScalar,
    /// The method.
    pub method: Method,
}

impl Function {
    /// The function by its default method: a direct protocol for `absolute`, `sign` and positive
    /// powers, a mapping for all others.
    pub fn by_default(scalar: AnyScalar, numbers: &Numbers) -> Self {
        let method = match (scalar, scalar.range_reduction()) {
            (_, RangeReduction::BySign) => Method::Direct,
            (AnyScalar::Power(power), _) if power.exponent > 0 => Method::Direct,
            _ => Method::Mapping(Mapping::cheapest(&scalar, numbers)),
        };
        Self { scalar, method }
    }

    /// The function with the method, or the interval, that is left out.
    pub fn resolved(self, numbers: &Numbers) -> Self {
        match self.method {
            Method::Auto => Self::by_default(self.scalar, numbers),
            Method::Mapping(mapping) if mapping.interval == Mapping::UNSET => {
                let interval = self.scalar.interval(numbers);
                Self { method: Method::Mapping(Mapping { interval, ..mapping }), ..self }
            }
            Method::Periodic(periodic) => {
                Self { method: Method::Periodic(periodic.resolved(&self.scalar, numbers)), ..self }
            }
            _ => self,
        }
    }

    /// Holds the function to the ring.
    ///
    /// # Errors
    ///
    /// The reason why it has no room, or a parameter that is invalid.
    pub fn check(&self, numbers: &Numbers) -> Result<(), FunctionError> {
        if let AnyScalar::Power(power) = self.scalar
            && (power.exponent == 0 || !(-8..=8).contains(&power.exponent))
        {
            return Err(FunctionError::Exponent);
        }
        match &self.method {
            Method::Auto => Err(FunctionError::Method),
            Method::Mapping(mapping) => mapping.check(&self.scalar, numbers),
            Method::Direct => direct::check(&self.scalar, numbers),
            Method::Polynomial(polynomial) => polynomial.check(&self.scalar, numbers),
            Method::Segments(segments) => segments.check(numbers),
            Method::Limit(limit) => match self.scalar {
                AnyScalar::Exponential(_) => limit.check(numbers),
                _ => Err(FunctionError::Method),
            },
            Method::Periodic(periodic) => periodic.check(&self.scalar, numbers),
        }
    }

    /// The interval on which the method computes the function; beyond, results saturate, or turn
    /// back with a raw series.
    pub fn domain(&self, numbers: &Numbers) -> [f64; 2] {
        let unit = 1.0 / super::pow2(numbers.frac_bits);
        match &self.method {
            Method::Mapping(_) | Method::Periodic(_) if self.scalar.range_reduction() == RangeReduction::Periodic => {
                [-16.0, 16.0]
            }
            Method::Mapping(mapping) => match self.scalar.range_reduction() {
                RangeReduction::Interval => mapping.domain(&self.scalar),
                _ => direct::domain(&self.scalar, numbers),
            },
            Method::Direct | Method::Auto => direct::domain(&self.scalar, numbers),
            Method::Polynomial(polynomial) => polynomial.interval,
            Method::Segments(segments) => segments.interval(),
            Method::Periodic(periodic) => periodic.interval,
            Method::Limit(limit) => [-super::pow2(limit.squarings.into()), 0.0],
        }
        .map(|x| libm::round(x / unit) * unit)
    }

    /// Whether `x` lies so near the end of a mapping's domain that the result may be the function's
    /// value or the one at the end.
    pub fn is_blurred(&self, x: f64) -> bool {
        match &self.method {
            Method::Mapping(mapping) if self.scalar.range_reduction() == RangeReduction::Interval => {
                mapping.is_blurred(&self.scalar, x)
            }
            _ => false,
        }
    }

    /// The method's exact result at `x`, without rounding: saturated beyond the domain; of
    /// segments, polynomials, series and the limit, with their approximation error.
    pub fn ideal(&self, numbers: &Numbers, x: f64) -> f64 {
        let [low, high] = self.domain(numbers);
        let clamped = libm::fmin(libm::fmax(x, low), high);
        match &self.method {
            Method::Mapping(mapping) if self.scalar.range_reduction() == RangeReduction::Interval => {
                self.scalar.ends(mapping.interval).beyond(mapping.interval, x).unwrap_or_else(|| self.scalar.value(x))
            }
            Method::Mapping(_) | Method::Direct | Method::Auto => match self.scalar {
                AnyScalar::SquareRoot(_) if x <= 0.0 => 0.0,
                AnyScalar::Sine(_) | AnyScalar::Cosine(_) => self.scalar.value(x),
                _ => self.scalar.value(clamped),
            },
            Method::Polynomial(polynomial) => polynomial.value(&polynomial.coefficients(&self.scalar), [low, high], x),
            Method::Segments(segments) => segments.value(x),
            Method::Limit(limit) => limit.value(x),
            Method::Periodic(periodic) => periodic.value(&self.scalar, [low, high], x),
        }
    }

    /// Computes `out = g(x)` and, if asked, `slope = g'(x)`; all have the job's fraction bits.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the function does not [fit](Self::check).
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let scalar = &self.scalar;
        assert!(x.len() == out.len(), "a function's lengths differ");
        match &self.method {
            Method::Mapping(mapping) => mapping.apply(party, scalar, numbers, (x, out), slope),
            Method::Direct => direct::apply(party, scalar, numbers, (x, out), slope),
            Method::Auto => panic!("the function was checked"),
            Method::Polynomial(polynomial) => polynomial.apply(party, scalar, numbers, (x, out), slope),
            Method::Segments(segments) => segments.apply(party, numbers, (x, out), slope),
            Method::Limit(limit) => limit.apply(party, numbers, (x, out), slope),
            Method::Periodic(periodic) => periodic.apply(party, scalar, numbers, (x, out), slope),
        }
    }
}

/// The reason why a ring has no such function.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FunctionError {
    /// A number is out of range.
    Number {
        /// Its key.
        key: &'static str,
        /// The number.
        got: u32,
        /// Least valid number.
        min: u32,
        /// Greatest valid number.
        max: u32,
    },
    /// The method does not compute this function.
    Method,
    /// The interval is invalid, or its length is not the power of two that it has to be.
    Interval,
    /// Cells are narrower than a unit, or wider than the ring.
    Cells,
    /// A raw softmax lacks an exponential; cells cover differences from the maximum only.
    Raw,
    /// A raw polynomial cannot be 0 below an interval.
    RawZero,
    /// An exponent that is 0 or beyond 8.
    Exponent,
    /// The knots' arguments do not rise, or a number is beyond 1024.
    Knots,
    /// The ring has too few bits for the values.
    Room,
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { key, got, min, max } => write!(f, "has {key} = {got}, which must be {min} to {max}"),
            Self::Method => f.write_str("is not supported by this method; leave the method out for the default. By a polynomial, a function of positive numbers needs \
                 an interval above 0 and a fit other than \"taylor\""),
            Self::Interval => f.write_str(
                "has an invalid interval: the low end must be below the high end; a polynomial's ends must be within ±1024, a \
                 mapping's must be multiples of 1/16 below 2048, a power of two apart, a periodic series' must be -L and L for a \
                 power of two from 1/16 to 1024 (sine and cosine take none)",
            ),
            Self::Cells => f.write_str("has cells narrower than a unit of the last place, or an interval too wide for the ring; take fewer bits or \
                 another interval"),
            Self::Raw => f.write_str("sets raw = true without an exponential; give one, for example by a polynomial or segments"),
            Self::RawZero => f.write_str("has raw and zero_below, which do not go together; leave one out"),
            Self::Exponent => f.write_str("has an exponent that must be -8 to 8, and not 0"),
            Self::Knots => f.write_str("has invalid knots: arguments must rise, and all numbers must be within ±1024"),
            Self::Room => f.write_str("has values too large for the ring; take a shorter interval, a smaller degree or exponent, fewer fraction bits, \
                 or ring_bits = 64"),
        }
    }
}
