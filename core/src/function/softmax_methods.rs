//! Methods of a softmax's exponential and reciprocal.

use super::{
    Numbers,
    method::{Function, FunctionError, Method, mapping::Mapping},
    scalar::{AnyScalar, Exponential, Logarithm, Reciprocal},
};
use crate::{link::Error, party::Party, word::Word};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The exponential and the reciprocal of a softmax. Without either, both are constants on cells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Methods {
    /// Replaces `e^x` for `x <= 0`, or for any `x` if `raw`.
    pub exponential: Option<Function>,
    /// Replaces the reciprocal of the sum.
    pub reciprocal: Option<Function>,
    /// Skips the subtraction of the maximum. Sums are then of any size, so the reciprocal
    /// normalises by the leading one.
    pub raw: bool,
}

impl Methods {
    /// The methods with what is left out; a reciprocal where sums are of any size.
    pub fn resolved(&self, numbers: &Numbers) -> Self {
        let reciprocal = Function { scalar: AnyScalar::Reciprocal(Reciprocal {}), method: Method::Auto };
        let exponential = self.exponential.map(|function| function.resolved(numbers));
        let any_sum = self.raw || exponential.is_some_and(|function| !is_bounded(&function, numbers));
        Self {
            exponential,
            reciprocal: self.reciprocal.or(any_sum.then_some(reciprocal)).map(|function| function.resolved(numbers)),
            raw: self.raw,
        }
    }

    /// Holds the functions, [resolved](Self::resolved), to the ring.
    ///
    /// # Errors
    ///
    /// The reason why a function has no room, or a parameter that is invalid.
    pub fn check(&self, numbers: &Numbers) -> Result<(), FunctionError> {
        let own = self.resolved(numbers);
        if own.raw && own.exponential.is_none() {
            return Err(FunctionError::Raw);
        }
        let wanted = [AnyScalar::Exponential(Exponential {}), AnyScalar::Reciprocal(Reciprocal {})];
        for (function, scalar) in [own.exponential, own.reciprocal].into_iter().zip(wanted) {
            let Some(function) = function else { continue };
            if function.scalar != scalar {
                return Err(FunctionError::Method);
            }
            function.check(numbers)?;
        }
        Ok(())
    }

    /// The reciprocals of `sums` and, if there is room, their logarithms, behind them.
    pub(super) fn of_sum<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        numbers: &Numbers,
        sums: &[W],
        functions: &mut [W],
    ) -> Result<(), Error> {
        let Some(function) = self.reciprocal else { panic!("a reciprocal of octaves") };
        let (own, logarithms) = functions.split_at_mut(sums.len());
        function.apply(party, numbers, (sums, own), None)?;
        if logarithms.is_empty() {
            return Ok(());
        }
        Self::logarithm(numbers).apply(party, numbers, (sums, logarithms), None)
    }

    /// The logarithm of a sum of any size.
    pub(super) fn logarithm(numbers: &Numbers) -> Function {
        let scalar = AnyScalar::Logarithm(Logarithm {});
        Function { scalar, method: Method::Mapping(Mapping::of_octaves(numbers)) }
    }
}

/// Whether terms are from 0 to 1, and that of the maximum is large: then a row's sum is in the
/// table of the cells' reciprocal.
fn is_bounded(function: &Function, numbers: &Numbers) -> bool {
    let terms = || (0..=256u32).map(|i| function.ideal(numbers, -f64::from(i) / 16.0));
    terms().all(|e| (0.0..=1.001).contains(&e)) && terms().next().is_some_and(|e| e > 0.9)
}

/// The form of job files: functions as [`FunctionFile`](super::method::FunctionFile) has them,
/// whose names follow from their keys.
#[cfg(feature = "files")]
#[derive(Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct MethodsFile {
    /// Replaces the exponential: keys of an activation layer except `function`.
    #[serde(skip_serializing_if = "Option::is_none")]
    exponential: Option<super::method::FunctionFile>,
    /// Replaces the reciprocal of the sum of exponentials: the same keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    reciprocal: Option<super::method::FunctionFile>,
    /// Skips the subtraction of the maximum.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    raw: bool,
}

impl Serialize for Methods {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "files")]
        if serializer.is_human_readable() {
            let [exponential, reciprocal] = [self.exponential, self.reciprocal].map(|own| own.map(Into::into));
            return MethodsFile { exponential, reciprocal, raw: self.raw }.serialize(serializer);
        }
        (self.exponential, self.reciprocal, self.raw).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Methods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[cfg(feature = "files")]
        if deserializer.is_human_readable() {
            let file = MethodsFile::deserialize(deserializer)?;
            let read = |file: Option<super::method::FunctionFile>, scalar: AnyScalar| {
                file.map(|file| file.of(scalar)).transpose().map_err(serde::de::Error::custom)
            };
            return Ok(Self {
                exponential: read(file.exponential, AnyScalar::Exponential(Exponential {}))?,
                reciprocal: read(file.reciprocal, AnyScalar::Reciprocal(Reciprocal {}))?,
                raw: file.raw,
            });
        }
        let (exponential, reciprocal, raw) = Deserialize::deserialize(deserializer)?;
        Ok(Self { exponential, reciprocal, raw })
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for Methods {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SoftmaxMethods".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        MethodsFile::json_schema(generator)
    }
}
