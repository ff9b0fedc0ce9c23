//! The form of a function in job files: flat keys, the defaults left out.

use super::{Function, Method};
use crate::function::{
    method::{
        limit::Limit,
        mapping::Mapping,
        periodic::Periodic,
        polynomial::{Fit, Polynomial},
        segments::Segments,
    },
    scalar::{AnyScalar, Power, RangeReduction, Scalar},
};
use serde::{Deserialize, Serialize};
use std::{format, string::String, vec::Vec};

/// A function: its name, and how it is computed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Function")]
pub struct FunctionFile {
    /// The function: `reciprocal`, `exponential`, `exponential-2`, `logarithm`, `logarithm-2`,
    /// `square-root`, `inverse-square-root`, `sigmoid`, `tanh`, `softplus`, `gelu`, `erf`, `sine`,
    /// `cosine`, `absolute`, `sign` or `power`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// Exponent of `power`: -8 to 8, not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponent: Option<i8>,
    /// The method. If left out: a mapping within 3 units of the last place; a direct protocol for
    /// `absolute`, `sign` and positive powers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodName>,
    /// Index bits of a mapping, 1 to 8, its precision: it has `2^bits` cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Degree of a mapping's pieces, 0 to 4 (0, if left out), or of a polynomial, 1 to 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degree: Option<u8>,
    /// Replaces `interval` of a mapping: cells are `2^-scale` wide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<i8>,
    /// With `scale`: puts half of the cells below 0; true, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// Low and high end of the arguments; beyond, the result saturates. A periodic series takes
    /// `-L` and `L`, a power of two, or the function's own interval if left out; none for `sine`
    /// and `cosine`, whose period is `2 π`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Fit of a polynomial's coefficients; `interpolation`, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// Skips the clamping of a polynomial's or a periodic series' argument. Beyond the interval,
    /// the series then turns back: its value at `2 L - x` is that at `x`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<bool>,
    /// Makes a polynomial 0 below the interval; not with `raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_below: Option<bool>,
    /// Number of pieces of a predefined table: 3 for `tanh`, 3 or 5 for `sigmoid`, 4 to 7 for
    /// `exponential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<u8>,
    /// Knots, 2 to 8 pairs of argument and value; replaces `parts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knots: Option<Vec<[f64; 2]>>,
    /// Number of squarings of a limit, `n` of `(1 + x / 2^n)^(2^n)`, 1 to 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squarings: Option<u8>,
    /// Number of sines of a periodic series, 1 to 12; may be left out for `sine` and `cosine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<u8>,
}

/// The name of a method.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// Polynomials on cells, looked up.
    Mapping,
    /// A dedicated protocol.
    Direct,
    /// One polynomial.
    Polynomial,
    /// A piecewise linear function through knots.
    Segments,
    /// `(1 + x / 2^n)^(2^n)`.
    Limit,
    /// A series of sines, from one opening: `sigmoid`, `tanh`, `erf`, `sine` or `cosine`.
    Periodic,
}

impl FunctionFile {
    fn scalar(&self) -> Result<AnyScalar, String> {
        let scalar = AnyScalar::all().find(|scalar| scalar.name() == self.function).ok_or_else(|| {
            format!("function = \"{}\" is unknown; the functions are {}", self.function, AnyScalar::NAMES.join(", "))
        })?;
        match (scalar, self.exponent) {
            (AnyScalar::Power(_), Some(exponent)) => Ok(AnyScalar::Power(Power { exponent })),
            (AnyScalar::Power(_), None) => Err("function = \"power\" needs its exponent".into()),
            (_, Some(_)) => Err(format!("exponent belongs to function = \"power\", not to \"{}\"", self.function)),
            (scalar, None) => Ok(scalar),
        }
    }

    /// The keys that are given, with the methods that they belong to.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static [MethodName])> {
        use MethodName::{Limit, Mapping, Periodic, Polynomial, Segments};
        [
            ("bits", self.bits.is_some(), &[Mapping][..]),
            ("degree", self.degree.is_some(), &[Mapping, Polynomial]),
            ("scale", self.scale.is_some(), &[Mapping]),
            ("signed", self.signed.is_some(), &[Mapping]),
            ("interval", self.interval.is_some(), &[Mapping, Polynomial, Periodic]),
            ("fit", self.fit.is_some(), &[Polynomial]),
            ("raw", self.raw.is_some(), &[Polynomial, Periodic]),
            ("zero_below", self.zero_below.is_some(), &[Polynomial]),
            ("parts", self.parts.is_some(), &[Segments]),
            ("knots", self.knots.is_some(), &[Segments]),
            ("squarings", self.squarings.is_some(), &[Limit]),
            ("terms", self.terms.is_some(), &[Periodic]),
        ]
        .into_iter()
        .filter_map(|(key, is_given, of)| is_given.then_some((key, of)))
    }

    fn mapping(&self) -> Result<Method, String> {
        let Some(bits) = self.bits else {
            if let Some((key, _)) = self.given().next() {
                return Err(format!("{key} needs bits, the precision of the mapping"));
            }
            return Ok(Method::Auto);
        };
        let interval = match (self.interval, self.scale, self.signed) {
            (Some(interval), None, None) => interval,
            (None, None, None) => Mapping::UNSET,
            (None, Some(scale), signed) => {
                let width = libm::exp2(f64::from(bits) - f64::from(scale));
                if signed.unwrap_or(true) { [-width / 2.0, width / 2.0] } else { [0.0, width] }
            }
            (None, None, Some(_)) => return Err("signed needs scale".into()),
            (Some(_), ..) => return Err("interval cannot be combined with scale or signed; leave one out".into()),
        };
        Ok(Method::Mapping(Mapping { bits, degree: self.degree.unwrap_or(0), interval }))
    }

    fn method(&self, scalar: &AnyScalar) -> Result<Method, String> {
        let name = match self.method {
            Some(name) => name,
            None if self.given().next().is_none() => return Ok(Method::Auto),
            None => MethodName::Mapping,
        };
        if let Some((key, _)) = self.given().find(|(_, of)| !of.contains(&name)) {
            return Err(format!("{key} is no key of this method"));
        }
        match name {
            MethodName::Mapping => self.mapping(),
            MethodName::Direct => Ok(Method::Direct),
            MethodName::Polynomial => Ok(Method::Polynomial(Polynomial {
                degree: self.degree.ok_or("a polynomial needs its degree")?,
                fit: self.fit.unwrap_or(Fit::Interpolation),
                interval: self.interval.ok_or("a polynomial needs its interval")?,
                raw: self.raw.unwrap_or(false),
                zero_below: self.zero_below.unwrap_or(false),
            })),
            MethodName::Segments => match (self.parts, &self.knots) {
                (Some(parts), None) => Segments::named(scalar, parts)
                    .map(Method::Segments)
                    .ok_or_else(|| format!("parts = {parts} is no table of {}; take 3 for tanh, 3 or 5 for sigmoid, 4 to 7 for exponential, or give knots", self.function)),
                (None, Some(knots)) => {
                    Segments::new(knots).map(Method::Segments).ok_or_else(|| "knots are more than 8".into())
                }
                _ => Err("segments need either parts or knots".into()),
            },
            MethodName::Limit => {
                Ok(Method::Limit(Limit { squarings: self.squarings.ok_or("a limit needs its squarings")? }))
            }
            MethodName::Periodic => {
                let own_terms = (scalar.range_reduction() == RangeReduction::Periodic).then_some(1);
                Ok(Method::Periodic(Periodic {
                    terms: self.terms.or(own_terms).ok_or("a periodic series needs its terms")?,
                    interval: self.interval.unwrap_or(Mapping::UNSET),
                    raw: self.raw.unwrap_or(false),
                }))
            }
        }
    }
}

impl FunctionFile {
    /// The function, which has to be `scalar`, of a file that need not name it.
    ///
    /// # Errors
    ///
    /// A message that names the invalid key.
    pub fn of(mut self, scalar: AnyScalar) -> Result<Function, String> {
        if self.function.is_empty() {
            self.function = scalar.name().into();
        }
        let function = Function::try_from(&self)?;
        if function.scalar == scalar {
            Ok(function)
        } else {
            Err(format!("function has to be \"{}\" here", scalar.name()))
        }
    }
}

impl TryFrom<&FunctionFile> for Function {
    type Error = String;

    fn try_from(file: &FunctionFile) -> Result<Self, String> {
        let scalar = file.scalar()?;
        Ok(Self { scalar, method: file.method(&scalar)? })
    }
}

impl From<Function> for FunctionFile {
    fn from(Function { scalar, method }: Function) -> Self {
        let exponent = if let AnyScalar::Power(power) = scalar { Some(power.exponent) } else { None };
        let own = Self { function: scalar.name().into(), exponent, ..Self::default() };
        match method {
            Method::Auto => own,
            Method::Direct => Self { method: Some(MethodName::Direct), ..own },
            Method::Mapping(Mapping { bits, degree, interval }) => Self {
                method: Some(MethodName::Mapping),
                bits: Some(bits),
                degree: Some(degree),
                interval: (interval != Mapping::UNSET).then_some(interval),
                ..own
            },
            Method::Polynomial(Polynomial { degree, fit, interval, raw, zero_below }) => Self {
                method: Some(MethodName::Polynomial),
                degree: Some(degree),
                fit: Some(fit),
                interval: Some(interval),
                raw: raw.then_some(true),
                zero_below: zero_below.then_some(true),
                ..own
            },
            Method::Segments(segments) => {
                Self { method: Some(MethodName::Segments), knots: Some(segments.knots().to_vec()), ..own }
            }
            Method::Limit(Limit { squarings }) => {
                Self { method: Some(MethodName::Limit), squarings: Some(squarings), ..own }
            }
            Method::Periodic(Periodic { terms, interval, raw }) => Self {
                method: Some(MethodName::Periodic),
                terms: Some(terms),
                interval: (interval != Mapping::UNSET).then_some(interval),
                raw: raw.then_some(true),
                ..own
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::string::ToString;

    fn read(text: &str) -> Result<Function, String> {
        let file: FunctionFile = toml::from_str(text).map_err(|e| e.to_string())?;
        Function::try_from(&file)
    }

    #[test]
    fn files_come_back() {
        for text in [
            "function = \"sigmoid\"",
            "function = \"absolute\"\nmethod = \"direct\"",
            "function = \"power\"\nexponent = -3",
            "function = \"tanh\"\nmethod = \"mapping\"\nbits = 6\ndegree = 1\ninterval = [-4.0, 4.0]",
            "function = \"tanh\"\nbits = 8",
            "function = \"tanh\"\nmethod = \"segments\"\nparts = 3",
            "function = \"gelu\"\nmethod = \"segments\"\nknots = [[-1.0, 0.0], [1.0, 1.0]]",
            "function = \"sigmoid\"\nmethod = \"polynomial\"\ndegree = 3\nfit = \"least-squares\"\ninterval = [-8, 8]",
            "function = \"exponential\"\nmethod = \"limit\"\nsquarings = 3",
            "function = \"sigmoid\"\nmethod = \"periodic\"\nterms = 5\ninterval = [-8, 8]",
            "function = \"tanh\"\nmethod = \"periodic\"\nterms = 8\nraw = true",
            "function = \"sine\"\nmethod = \"periodic\"",
        ] {
            let function = read(text).unwrap();
            let file = FunctionFile::from(function);
            assert_eq!(Function::try_from(&file).unwrap(), function, "{text}");
        }
        let scaled = read("function = \"tanh\"\nbits = 6\nscale = 3").unwrap();
        assert_eq!(scaled, read("function = \"tanh\"\nbits = 6\ninterval = [-4.0, 4.0]").unwrap());
    }

    #[test]
    fn faults_are_named() {
        for (text, part) in [
            ("function = \"sigmoidal\"", "is unknown"),
            ("function = \"power\"", "needs its exponent"),
            ("function = \"tanh\"\nexponent = 2", "belongs to"),
            ("function = \"tanh\"\ndegree = 2", "needs bits"),
            ("function = \"tanh\"\nmethod = \"direct\"\nbits = 2", "is no key of"),
            ("function = \"tanh\"\nmethod = \"segments\"", "either parts or knots"),
            ("function = \"tanh\"\nmethod = \"segments\"\nparts = 9", "no table of tanh"),
            ("function = \"tanh\"\nmethod = \"polynomial\"\ndegree = 3", "needs its interval"),
            ("function = \"tanh\"\nbits = 6\nscale = 1\ninterval = [0, 1]", "cannot be combined"),
            ("function = \"tanh\"\nbit = 6", "unknown field"),
            ("function = \"tanh\"\nmethod = \"periodic\"", "needs its terms"),
            ("function = \"tanh\"\nmethod = \"periodic\"\nterms = 3\ndegree = 2", "is no key of"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
