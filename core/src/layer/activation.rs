//! Any [function](crate::function::method::Function) of each element.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** that of the function and its method, which `symbolon functions` prints; in training
//!   the slope comes from the same index, comparisons or powers where the method has it so.
//!   Backward no round beyond the openings of the slope and the gradient: a word each way, and one
//!   dealt.
//! - **Result:** that of the function, as its method states; the gradient is the slope times `dz`,
//!   exact, with `2 f` fraction bits.
//! - **Memory:** a word an element between the passes, the slope.

use super::{Backward, Describe, Input, Kept, Layer, Misfit, Numbers, Saved, Shape, Site, Takes, only};
use crate::{
    function::{self, method::Function, scalar::AnyScalar},
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::multiply,
    },
    word::Word,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A function of each element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// The function, and how it is computed.
    pub function: Function,
}

fn numbers<W: Word>(site: &Site<'_, W>) -> function::Numbers {
    function::Numbers { ring_bits: W::BITS, frac_bits: site.frac_bits }
}

impl Describe for Activation {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        only(inputs)
    }

    fn set_defaults(&mut self, numbers: &function::Numbers) {
        self.function = self.function.resolved(numbers);
    }

    fn check(&self, _: Shape, numbers: &Numbers) -> Result<(), Misfit> {
        let numbers = function::Numbers { ring_bits: numbers.ring_bits, frac_bits: numbers.frac_bits };
        self.function.check(&numbers).map_err(|misfit| Misfit::Function { misfit })
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Truncated
    }

    fn gives(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Masked
    }

    fn gives_gradient(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        2 * frac_bits
    }

    fn onnx(&self) -> &'static str {
        match self.function.scalar {
            AnyScalar::Reciprocal(_) => "Reciprocal",
            AnyScalar::Exponential(_) => "Exp",
            AnyScalar::Logarithm(_) => "Log",
            AnyScalar::SquareRoot(_) => "Sqrt",
            AnyScalar::Sigmoid(_) => "Sigmoid",
            AnyScalar::Tanh(_) => "Tanh",
            AnyScalar::Softplus(_) => "Softplus",
            AnyScalar::Gelu(_) => "Gelu",
            AnyScalar::Erf(_) => "Erf",
            AnyScalar::Sine(_) => "Sin",
            AnyScalar::Cosine(_) => "Cos",
            AnyScalar::Absolute(_) => "Abs",
            AnyScalar::Sign(_) => "Sign",
            // Powers of x or of 2; with constants for the others.
            AnyScalar::Power(_)
            | AnyScalar::Exponential2(_)
            | AnyScalar::Logarithm2(_)
            | AnyScalar::InverseSquareRoot(_) => "Pow",
        }
    }
}

impl<W: Word> Layer<W> for Activation {
    fn saved(&self, site: &Site<'_, W>, rows: usize) -> usize {
        rows * site.output.words()
    }

    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let (x, _) = x[0].shares();
        let slope = site.moment.map(|_| &mut saved.words[..z.len()]);
        self.function.apply(party, &numbers(site), (x, z), slope)
    }
}

impl<W: Word> Backward<W> for Activation {
    fn backward(
        &self,
        party: &mut Party<'_, W>,
        _: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        saved: Kept<'_, W>,
    ) -> Result<(), Error> {
        let ([slope], mut party) = party.scratch([dx.len()])?;
        slope.copy_from_slice(saved.words);
        let mask = party.draw()?.mask(slope.len());
        let mask = mask_and_open(&mut party, slope, mask)?; // the one round
        multiply(&mut party, Masked { words: slope, mask }, dz.masked(), dx)
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "files")]
        if serializer.is_human_readable() {
            return function::method::FunctionFile::from(self.function).serialize(serializer);
        }
        self.function.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[cfg(feature = "files")]
        if deserializer.is_human_readable() {
            let file = function::method::FunctionFile::deserialize(deserializer)?;
            let function = Function::try_from(&file).map_err(serde::de::Error::custom)?;
            return Ok(Self { function });
        }
        Function::deserialize(deserializer).map(|function| Self { function })
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for Activation {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Activation".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        function::method::FunctionFile::json_schema(generator)
    }
}
