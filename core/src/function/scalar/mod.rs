//! Real functions of one number, a file each: value, derivative, range reduction.
//!
//! They are public and computed in double precision without the standard library, so that all
//! parties make the same tables and coefficients. [Methods](super::method) compute them on shares.
//!
//! To add a function, write its file and add its line to [`AnyScalar`]'s list.

mod absolute;
mod cosine;
mod erf;
mod exponential;
mod exponential2;
mod gelu;
mod inverse_square_root;
mod logarithm;
mod logarithm2;
mod power;
mod reciprocal;
mod sigmoid;
mod sign;
mod sine;
mod softplus;
mod square_root;
mod tanh;

use super::Numbers;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The range reduction: it yields a function's values everywhere from those on a short interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RangeReduction {
    /// It is defined everywhere; beyond [`Scalar::interval`] it is near what [`Scalar::ends`] says,
    /// or saturates.
    Interval,
    /// It is defined for positive numbers, and known from one octave.
    Octaves(Octaves),
    /// It has the period `2 π`.
    Periodic,
    /// It follows from the sign of `x`, exactly.
    BySign,
}

/// The relation between values of neighbouring octaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Octaves {
    /// `g(x 2^e) = g(x) 2^(e halves / 2)`.
    Power {
        /// Twice the exponent.
        halves: i32,
    },
    /// `g(x 2^e) = g(x) + e octave`.
    Logarithm {
        /// `g(2)`.
        octave: f64,
    },
}

/// Values beyond an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ends {
    /// The value below it, and the one above.
    pub values: [f64; 2],
    /// Whether `x` is added above.
    pub grows: bool,
}

impl Ends {
    /// The value at an `x` beyond `interval`; `None` within.
    pub fn beyond(&self, [low, high]: [f64; 2], x: f64) -> Option<f64> {
        match (x < low, x >= high) {
            (true, _) => Some(self.values[0]),
            (_, true) => Some(self.values[1] + if self.grows { x } else { 0.0 }),
            _ => None,
        }
    }
}

/// A real function.
pub trait Scalar: Sync {
    /// `g(x)`, or the value that its type documents where `g` is undefined; never NaN.
    fn value(&self, x: f64) -> f64;

    /// `g'(x)`; 0 where there is none.
    fn derivative(&self, x: f64) -> f64;

    /// The range reduction.
    fn range_reduction(&self) -> RangeReduction {
        RangeReduction::Interval
    }

    /// The default interval of a [`RangeReduction::Interval`]; its length is a power of two.
    fn interval(&self, numbers: &Numbers) -> [f64; 2] {
        let _ = numbers;
        [-8.0, 8.0]
    }

    /// The values beyond `interval`: the limits if the function has them, else those at the ends.
    fn ends(&self, interval: [f64; 2]) -> Ends {
        Ends { values: interval.map(|x| self.value(x)), grows: false }
    }
}

/// Declares [`AnyScalar`] from the list of functions: number, name in job files, struct, file. The
/// number is the function's in every encoding: append, never change one or use it again.
macro_rules! scalars {
    ($($number:literal $name:literal $Scalar:ident $file:ident),* $(,)?) => {
        $(pub use $file::$Scalar;)*

        /// Any function.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum AnyScalar {
            $(#[doc = concat!("`", $name, "`.")] $Scalar($Scalar)),*
        }

        impl AnyScalar {
            /// All functions, those with a number of their own at its default.
            pub fn all() -> impl Iterator<Item = Self> {
                [$(Self::$Scalar($Scalar::default())),*].into_iter()
            }
            /// Its name in job files and on the command line.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$Scalar(_) => $name),* }
            }
            /// The names of all.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            fn of(&self) -> &dyn Scalar {
                match self { $(Self::$Scalar(scalar) => scalar),* }
            }
        }

        impl Serialize for AnyScalar {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$Scalar(scalar) => ($number as u8, scalar).serialize(serializer)),* }
            }
        }

        /// Reads the function of number `number`.
        fn numbered<'de, A: serde::de::SeqAccess<'de>>(number: u8, mut rest: A) -> Result<AnyScalar, A::Error> {
            let short = || serde::de::Error::custom("a function without its numbers");
            match number {
                $($number => Ok(AnyScalar::$Scalar(rest.next_element()?.ok_or_else(short)?)),)*
                _ => Err(serde::de::Error::custom("a function of unknown number")),
            }
        }
    };
}

scalars! { // append; never reorder, never reuse a number
    0 "reciprocal" Reciprocal reciprocal,
    1 "exponential" Exponential exponential,
    2 "exponential-2" Exponential2 exponential2,
    3 "logarithm" Logarithm logarithm,
    4 "logarithm-2" Logarithm2 logarithm2,
    5 "square-root" SquareRoot square_root,
    6 "inverse-square-root" InverseSquareRoot inverse_square_root,
    7 "sigmoid" Sigmoid sigmoid,
    8 "tanh" Tanh tanh,
    9 "softplus" Softplus softplus,
    10 "gelu" Gelu gelu,
    11 "erf" Erf erf,
    12 "sine" Sine sine,
    13 "cosine" Cosine cosine,
    14 "absolute" Absolute absolute,
    15 "sign" Sign sign,
    16 "power" Power power,
}

impl Scalar for AnyScalar {
    fn value(&self, x: f64) -> f64 {
        self.of().value(x)
    }
    fn derivative(&self, x: f64) -> f64 {
        self.of().derivative(x)
    }
    fn range_reduction(&self) -> RangeReduction {
        self.of().range_reduction()
    }
    fn interval(&self, numbers: &Numbers) -> [f64; 2] {
        self.of().interval(numbers)
    }
    fn ends(&self, interval: [f64; 2]) -> Ends {
        self.of().ends(interval)
    }
}

impl<'de> Deserialize<'de> for AnyScalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, Numbered)
    }
}

/// Reads a number and what follows it.
struct Numbered;

impl<'de> serde::de::Visitor<'de> for Numbered {
    type Value = AnyScalar;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a function")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut sequence: A) -> Result<AnyScalar, A::Error> {
        let number = sequence.next_element()?.ok_or_else(|| serde::de::Error::custom("a function without a number"))?;
        numbered(number, sequence)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn derivatives_are_those_of_the_values() {
        for scalar in AnyScalar::all() {
            for i in -60..60 {
                let (x, h) = (f64::from(i) / 10.0 + 0.05, 1e-5);
                let slope = (scalar.value(x + h) - scalar.value(x - h)) / (2.0 * h);
                let slope = if slope.is_finite() { slope } else { 0.0 };
                let error = (slope - scalar.derivative(x)).abs();
                assert!(error < 1e-6 * (1.0 + slope.abs()), "{} at {x}: {slope}", scalar.name());
            }
        }
    }

    #[test]
    fn values_are_numbers_and_near_their_ends() {
        for scalar in AnyScalar::all() {
            for x in [-1e300, -1.0, -0.0, 0.0, 1e-300, 1e300] {
                assert!(!scalar.value(x).is_nan() && !scalar.derivative(x).is_nan(), "{} at {x}", scalar.name());
            }
            for frac_bits in 8..=24 {
                let interval @ [low, high] = scalar.interval(&Numbers { ring_bits: 64, frac_bits });
                let ends = scalar.ends(interval);
                assert!((high - low).log2().fract() == 0.0);
                assert_eq!(ends.beyond(interval, (low + high) / 2.0), None);
                let limits = !matches!(scalar, AnyScalar::Exponential(_) | AnyScalar::Exponential2(_));
                for x in [low - 1e-9, high]
                    .into_iter()
                    .filter(|_| scalar.range_reduction() == RangeReduction::Interval && limits)
                {
                    let error = (ends.beyond(interval, x).unwrap() - scalar.value(x)).abs();
                    let most =
                        if matches!(scalar, AnyScalar::Tanh(_)) { 6.0 } else { 3.0 } / f64::from(1u32 << frac_bits);
                    assert!(error < most, "{} at {x}, {frac_bits} bits: {error} of {most}", scalar.name());
                }
            }
        }
    }

    #[test]
    fn octaves_repeat() {
        for scalar in AnyScalar::all() {
            let RangeReduction::Octaves(octaves) = scalar.range_reduction() else { continue };
            for x in [0.3, 1.0, 7.7] {
                let expected = match octaves {
                    Octaves::Power { halves } => scalar.value(x) * f64::from(halves).exp2(),
                    Octaves::Logarithm { octave } => scalar.value(x) + 2.0 * octave,
                };
                assert!((scalar.value(4.0 * x) - expected).abs() < 1e-12, "{} at {x}", scalar.name());
            }
        }
    }

    #[test]
    fn compact_forms_come_back() {
        for scalar in AnyScalar::all() {
            let mut buffer = [0; 8];
            let bytes = postcard::to_slice(&scalar, &mut buffer).unwrap();
            assert_eq!(postcard::from_bytes::<AnyScalar>(bytes).unwrap(), scalar);
        }
        assert!(postcard::from_bytes::<AnyScalar>(&[200]).is_err());
    }
}
