//! The list of all layers.

/// Declares an enum of layers, each a file beside this one, that describes and infers as its
/// members do. The number of a layer is its encoding: it enters jobs and their hashes.
///
/// A microcontroller declares a list of its own, of the layers that it links.
#[macro_export]
macro_rules! layers {
    ($(#[$doc:meta])* pub enum $any:ident { $($number:literal $kind:literal $name:ident($layer:ty)),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum $any {
            $(
                #[doc = concat!("Kind `", $kind, "`.")]
                $name($layer)
            ),*
        }

        impl $any {
            /// The name in job files.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $kind),* }
            }
            /// The number in encodings.
            pub fn number(&self) -> u8 {
                match self { $(Self::$name(_) => $number),* }
            }
        }

        impl $crate::layer::Describe for $any {
            fn output(&self, inputs: &[$crate::layer::Shape]) -> Result<$crate::layer::Shape, $crate::layer::Misfit> {
                match self { $(Self::$name(layer) => layer.output(inputs)),* }
            }
            fn inputs(&self) -> usize {
                match self { $(Self::$name(layer) => layer.inputs()),* }
            }
            fn parameters(&self, input: $crate::layer::Shape, each: &mut dyn FnMut($crate::layer::Parameter)) {
                match self { $(Self::$name(layer) => layer.parameters(input, each)),* }
            }
            fn statistics(
                &self,
                input: $crate::layer::Shape,
                frac_bits: u32,
                each: &mut dyn FnMut($crate::layer::Parameter),
            ) {
                match self { $(Self::$name(layer) => layer.statistics(input, frac_bits, each)),* }
            }
            fn first_step(&self) -> u32 {
                match self { $(Self::$name(layer) => layer.first_step()),* }
            }
            fn is_affine(&self) -> bool {
                match self { $(Self::$name(layer) => layer.is_affine()),* }
            }
            fn set_defaults(&mut self, numbers: &$crate::function::Numbers) {
                match self { $(Self::$name(layer) => layer.set_defaults(numbers)),* }
            }
            fn check(
                &self,
                input: $crate::layer::Shape,
                numbers: &$crate::layer::Numbers,
            ) -> Result<(), $crate::layer::Misfit> {
                match self { $(Self::$name(layer) => layer.check(input, numbers)),* }
            }
            fn takes(&self, input: $crate::layer::Shape) -> $crate::layer::Takes {
                match self { $(Self::$name(layer) => layer.takes(input)),* }
            }
            fn gives(&self, input: $crate::layer::Shape, taken: u32, frac_bits: u32) -> u32 {
                match self { $(Self::$name(layer) => layer.gives(input, taken, frac_bits)),* }
            }
            fn takes_gradient(&self, input: $crate::layer::Shape) -> $crate::layer::Takes {
                match self { $(Self::$name(layer) => layer.takes_gradient(input)),* }
            }
            fn gives_gradient(&self, input: $crate::layer::Shape, taken: u32, frac_bits: u32) -> u32 {
                match self { $(Self::$name(layer) => layer.gives_gradient(input, taken, frac_bits)),* }
            }
            fn onnx(&self) -> &'static str {
                match self { $(Self::$name(layer) => layer.onnx()),* }
            }
        }

        impl<W: $crate::word::Word> $crate::layer::Layer<W> for $any {
            fn saved(&self, site: &$crate::layer::Site<'_, W>, rows: usize) -> usize {
                match self { $(Self::$name(layer) => layer.saved(site, rows)),* }
            }
            fn inference_words(&self, site: &$crate::layer::Site<'_, W>, rows: usize) -> usize {
                match self { $(Self::$name(layer) => layer.inference_words(site, rows)),* }
            }
            fn forward(
                &self,
                party: &mut $crate::party::Party<'_, W>,
                site: &$crate::layer::Site<'_, W>,
                x: &[$crate::layer::Input<'_, W>],
                z: &mut [W],
                saved: &mut $crate::layer::Saved<'_, W>,
            ) -> Result<(), $crate::link::Error> {
                match self { $(Self::$name(layer) => layer.forward(party, site, x, z, saved)),* }
            }
        }
    };
}

use super::{
    Activation, Add, AveragePool, Backward, BackwardThroughTime, BatchNorm, Concat, Convolution, Dense, Dropout,
    Embedding, Flatten, GlobalAveragePool, GradientSplit, Input, Kept, LeakyRelu, MaxPool, Meets, Recurrent, Relu,
    Site, Slice, Square, Upsample,
};
use crate::{link::Error, party::Party, protocol::masked::Masked, word::Word};
use core::ops::Range;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares [`AnyLayer`]: what [`layers!`](crate::layers) declares, with training, with the form of
/// job files, and with the compact form, which begins with the number.
macro_rules! all_layers {
    ($($number:literal $kind:literal $name:ident),* $(,)?) => {
        layers! {
            /// Any layer: what a job holds, a model file names and a graph runs.
            pub enum AnyLayer { $($number $kind $name($name)),* }
        }

        impl<W: Word> Backward<W> for AnyLayer {
            fn backward(
                &self,
                party: &mut Party<'_, W>,
                site: &Site<'_, W>,
                x: Option<Masked<'_, W>>,
                dz: Input<'_, W>,
                input: usize,
                dx: &mut [W],
                saved: Kept<'_, W>,
            ) -> Result<(), Error> {
                match self { $(Self::$name(layer) => layer.backward(party, site, x, dz, input, dx, saved)),* }
            }
            fn meets(&self) -> Option<&dyn Meets<W>> {
                match self { $(Self::$name(layer) => layer.meets()),* }
            }
            fn through_time(&self) -> Option<&dyn BackwardThroughTime<W>> {
                match self { $(Self::$name(layer) => layer.through_time()),* }
            }
            fn split(&self, site: &Site<'_, W>) -> GradientSplit {
                match self { $(Self::$name(layer) => layer.split(site)),* }
            }
            fn gradient(
                &self,
                party: &mut Party<'_, W>,
                site: &Site<'_, W>,
                part: Range<usize>,
                x: Masked<'_, W>,
                dz: Option<Masked<'_, W>>,
                kept: Kept<'_, W>,
                gradient: &mut [W],
            ) -> Result<(), Error> {
                match self { $(Self::$name(layer) => layer.gradient(party, site, part, x, dz, kept, gradient)),* }
            }
        }

        /// The form of job files: `kind` beside the layer's own keys.
        #[cfg(feature = "files")]
        #[derive(Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(tag = "kind")]
        enum Tagged {
            $(#[serde(rename = $kind)] $name($name)),*
        }

        #[cfg(feature = "files")]
        impl From<Tagged> for AnyLayer {
            fn from(tagged: Tagged) -> Self {
                match tagged { $(Tagged::$name(layer) => Self::$name(layer)),* }
            }
        }

        #[cfg(feature = "files")]
        impl From<AnyLayer> for Tagged {
            fn from(any: AnyLayer) -> Self {
                match any { $(AnyLayer::$name(layer) => Self::$name(layer)),* }
            }
        }

        /// Reads a layer of number `number`.
        fn numbered<'de, A: serde::de::SeqAccess<'de>>(number: u8, mut rest: A) -> Result<AnyLayer, A::Error> {
            let short = || serde::de::Error::custom("a layer without its numbers");
            match number {
                $($number => Ok(AnyLayer::$name(rest.next_element()?.ok_or_else(short)?)),)*
                _ => Err(serde::de::Error::custom("a layer of unknown number")),
            }
        }

        impl Serialize for AnyLayer {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[cfg(feature = "files")]
                if serializer.is_human_readable() {
                    return Tagged::from(*self).serialize(serializer);
                }
                match self { $(Self::$name(layer) => ($number as u8, layer).serialize(serializer)),* }
            }
        }
    };
}

all_layers! { // append; never reorder, never reuse a number
    0 "dense" Dense,
    1 "relu" Relu,
    2 "convolution" Convolution,
    3 "max-pool" MaxPool,
    4 "average-pool" AveragePool,
    5 "global-average-pool" GlobalAveragePool,
    6 "flatten" Flatten,
    7 "leaky-relu" LeakyRelu,
    8 "square" Square,
    9 "dropout" Dropout,
    10 "add" Add,
    11 "concat" Concat,
    12 "upsample" Upsample,
    13 "batch-norm" BatchNorm,
    14 "activation" Activation,
    15 "recurrent" Recurrent,
    16 "embedding" Embedding,
    17 "slice" Slice,
}

impl<'de> Deserialize<'de> for AnyLayer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[cfg(feature = "files")]
        if deserializer.is_human_readable() {
            return Tagged::deserialize(deserializer).map(Self::from);
        }
        deserializer.deserialize_tuple(2, Compact)
    }
}

/// Reads the compact form.
struct Compact;

impl<'de> serde::de::Visitor<'de> for Compact {
    type Value = AnyLayer;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a layer")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut sequence: A) -> Result<AnyLayer, A::Error> {
        let number = sequence.next_element()?.ok_or_else(|| serde::de::Error::custom("a layer without a number"))?;
        numbered(number, sequence)
    }
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for AnyLayer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Layer".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Tagged::json_schema(generator)
    }
}
