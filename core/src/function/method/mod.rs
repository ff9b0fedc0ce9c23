//! Ways to compute a [scalar](super::scalar) on shares, a file each.

mod bound;
mod catalogue;
pub mod direct;
#[cfg(feature = "files")]
mod file;
pub mod limit;
pub mod mapping;
mod newton;
pub mod octaves;
pub mod pieces;
pub mod polynomial;
pub mod segments;

use super::{
    Numbers,
    scalar::{AnyScalar, Family, Scalar},
};
use crate::{link::Error, party::Party, word::Word};
pub use bound::Bound;
use core::fmt;
#[cfg(feature = "files")]
pub use file::{FunctionFile, MethodName};
use limit::Limit;
use mapping::Mapping;
use polynomial::Polynomial;
use segments::Segments;
use serde::{Deserialize, Serialize};

/// A way to compute a function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Method {
    /// By default: [`Function::resolved`] replaces it.
    Suited,
    /// Pieces on cells.
    Mapping(Mapping),
    /// A dedicated protocol.
    Direct,
    /// One polynomial.
    Polynomial(Polynomial),
    /// Lines between knots.
    Segments(Segments),
    /// `(1 + x / 2^n)^(2^n)`, for the exponential.
    Limit(Limit),
}

/// A function and the way to compute it: all that the parties have to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// The real function.
    pub scalar: AnyScalar,
    /// How it is computed.
    pub method: Method,
}

impl Function {
    /// The function by the default method: by mapping where that is within three units of the last
    /// place, else direct.
    pub fn suited(scalar: AnyScalar, numbers: &Numbers) -> Self {
        let method = match (scalar, scalar.family()) {
            (_, Family::Comparison) => Method::Direct,
            (AnyScalar::Power(power), _) if power.exponent > 0 => Method::Direct,
            _ => Method::Mapping(Mapping::suited(&scalar, numbers)),
        };
        Self { scalar, method }
    }

    /// The function with the method, or the interval, that is left out.
    pub fn resolved(self, numbers: &Numbers) -> Self {
        match self.method {
            Method::Suited => Self::suited(self.scalar, numbers),
            Method::Mapping(mapping) if mapping.interval == Mapping::UNSET => {
                let interval = self.scalar.interval(numbers);
                Self { method: Method::Mapping(Mapping { interval, ..mapping }), ..self }
            }
            _ => self,
        }
    }

    /// Holds the function to the ring.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn check(&self, numbers: &Numbers) -> Result<(), Misfit> {
        if let AnyScalar::Power(power) = self.scalar
            && (power.exponent == 0 || !(-8..=8).contains(&power.exponent))
        {
            return Err(Misfit::Exponent);
        }
        match &self.method {
            Method::Suited => Err(Misfit::Method),
            Method::Mapping(mapping) => mapping.check(&self.scalar, numbers),
            Method::Direct => direct::check(&self.scalar, numbers),
            Method::Polynomial(polynomial) => polynomial.check(&self.scalar, numbers),
            Method::Segments(segments) => segments.check(numbers),
            Method::Limit(limit) => match self.scalar {
                AnyScalar::Exponential(_) => limit.check(numbers),
                _ => Err(Misfit::Method),
            },
        }
    }

    /// Where the method computes the function; beyond, it is what the function is at the ends.
    pub fn domain(&self, numbers: &Numbers) -> [f64; 2] {
        let unit = 1.0 / super::pow2(numbers.frac_bits);
        match &self.method {
            Method::Mapping(mapping) => match self.scalar.family() {
                Family::Interval => mapping.domain(&self.scalar),
                Family::Turns => [-16.0, 16.0],
                _ => direct::domain(&self.scalar, numbers),
            },
            Method::Direct | Method::Suited => direct::domain(&self.scalar, numbers),
            Method::Polynomial(polynomial) => polynomial.interval,
            Method::Segments(segments) => segments.interval(),
            Method::Limit(limit) => [-super::pow2(limit.squarings.into()), 0.0],
        }
        .map(|x| libm::round(x / unit) * unit)
    }

    /// From here on a mapping gives the value at the end; between the end of the
    /// [domain](Self::domain) and here it may.
    pub fn end(&self, numbers: &Numbers) -> f64 {
        match &self.method {
            Method::Mapping(mapping) if self.scalar.family() == Family::Interval => mapping.interval[1],
            _ => self.domain(numbers)[1],
        }
    }

    /// What the method computes at `x`, without rounding and, but for segments and the limit,
    /// without the approximation's error: where it saturates, what it saturates at.
    pub fn ideal(&self, numbers: &Numbers, x: f64) -> f64 {
        let [low, high] = self.domain(numbers);
        let clamped = libm::fmin(libm::fmax(x, low), high);
        match &self.method {
            Method::Mapping(mapping) if self.scalar.family() == Family::Interval => {
                self.scalar.ends(mapping.interval).beyond(mapping.interval, x).unwrap_or_else(|| self.scalar.value(x))
            }
            Method::Mapping(_) | Method::Direct | Method::Suited => match self.scalar {
                AnyScalar::SquareRoot(_) if x <= 0.0 => 0.0,
                AnyScalar::Sine(_) | AnyScalar::Cosine(_) => self.scalar.value(x),
                _ => self.scalar.value(clamped),
            },
            Method::Polynomial(polynomial) => polynomial.value(&polynomial.coefficients(&self.scalar), [low, high], x),
            Method::Segments(segments) => segments.value(x),
            Method::Limit(limit) => limit.value(x),
        }
    }

    /// `out = g(x)`, and `slope = g'(x)` if asked: arguments and results have the job's fraction
    /// bits.
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
            Method::Suited => panic!("the function was checked"),
            Method::Polynomial(polynomial) => polynomial.apply(party, scalar, numbers, (x, out), slope),
            Method::Segments(segments) => segments.apply(party, numbers, (x, out), slope),
            Method::Limit(limit) => limit.apply(party, numbers, (x, out), slope),
        }
    }
}

/// What does not fit, of a function in a ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misfit {
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
    /// An interval that is none, or whose length is no power of two where it has to be.
    Interval,
    /// Cells are narrower than a unit, or wider than the ring.
    Cells,
    /// A raw softmax by cells, which are for differences from the maximum.
    Raw,
    /// An exponent that is 0 or beyond 8.
    Exponent,
    /// Knots that do not rise, or are not numbers.
    Knots,
    /// The ring has too few bits for the values.
    Room,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { key, got, min, max } => write!(f, "has {key} = {got}, which must be {min} to {max}"),
            Self::Method => f.write_str("is not computed by this method"),
            Self::Interval => f.write_str(
                "has an interval that is none: two multiples of 1/16, the first below the second, and for a mapping \
                 a power of two apart",
            ),
            Self::Cells => f.write_str("has cells narrower than a unit of the last place; take fewer bits"),
            Self::Raw => f.write_str("is raw without an exponential of its own; give one, as a polynomial or segments"),
            Self::Exponent => f.write_str("has an exponent that is 0, or not from -8 to 8"),
            Self::Knots => f.write_str("has knots that do not rise, or beyond 1024"),
            Self::Room => f.write_str("has values for which the ring has no room; take a shorter interval"),
        }
    }
}
