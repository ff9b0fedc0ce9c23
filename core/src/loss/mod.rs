//! Losses: from a model's outputs and the labels to a gradient, a file each.
//!
//! A loss is described by a struct of public numbers without a word type ([`Describe`]), which a
//! job holds. [`Describe::check`] holds it against the job's [`Numbers`], [`Describe::build`] makes
//! its tables; what it builds runs ([`Loss`]). Build once a job: a softmax has 6 kB of tables.
//!
//! To add one: a file beside these, with its struct, which implements [`Describe`], and what that
//! builds, which implements [`Loss`]; then its line in the list of `losses!` below.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** each loss states it for `k` bits a word, `f` fraction bits, `n` outputs of all rows.

pub mod class_weights;
pub mod huber;
pub mod logistic;
pub mod softmax_cross_entropy;
pub mod squared_error;

pub use class_weights::ClassWeights;
pub use huber::Huber;
pub use logistic::Logistic;
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
pub use squared_error::SquaredError;

use crate::{
    dyadic::Dyadic,
    link::Error,
    party::Party,
    protocol::{
        masked::Masked,
        times::times_rows,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize};

/// The labels of some rows.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a, W> {
    /// Row after row, a word an output, with [`Numbers::label_frac_bits`] fraction bits: one-hot
    /// rows of integers, or values.
    pub labels: Masked<'a, W>,
    /// A word a row: 1, or 0 for a row whose label names no class, and whose labels are 0. Without
    /// it, each row weighs 1.
    pub weights: Option<Masked<'a, W>>,
}

/// A loss that is ready to run.
pub trait Loss<W: Word>: Sync {
    /// From shares of the outputs `z` with [`Numbers::output_frac_bits`], row after row, to shares
    /// of the gradient with `f`, in place. Writes shares of the loss's terms, with `f`, to `loss`.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths do not fit, or the loss was built for numbers that its description refuses.
    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        z: &mut [W],
        target: Target<'_, W>,
        loss: Option<&mut [W]>,
    ) -> Result<(), Error>;

    /// From shares of the outputs `z` as above to shares of the predictions with `f`, in place: the
    /// loss's [activation](Describe::activation) of the outputs, by more precise functions than its
    /// gradient's where the ring has room.
    ///
    /// # Errors
    ///
    /// As [`Self::gradient`].
    ///
    /// # Panics
    ///
    /// As [`Self::gradient`].
    fn predict(&self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error>;
}

/// The numbers of a job that its loss depends on. Public.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Numbers {
    /// `k`, bits of a word.
    pub ring_bits: u32,
    /// Outputs a row.
    pub outputs: usize,
    /// `f`, fraction bits of gradients and losses.
    pub frac_bits: u32,
    /// Fraction bits of outputs, as many or more: twice as many for sums of products.
    pub output_frac_bits: u32,
    /// Fraction bits of labels: 0 for one-hot rows.
    pub label_frac_bits: u32,
}

/// The function that makes predictions of outputs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Activation {
    /// Outputs are predictions.
    Identity,
    /// The logistic function of each.
    Sigmoid,
    /// The softmax of all.
    Softmax,
}

impl Activation {
    /// Its name in model files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
        }
    }
}

/// A loss in public numbers.
pub trait Describe {
    /// The loss that runs.
    type Loss;

    /// Whether the loss is one of classes alone.
    fn needs_classes(&self) -> bool {
        false
    }

    /// Terms of the loss of a record.
    fn terms(&self, outputs: usize) -> usize {
        outputs
    }

    /// The least and the greatest term that words hold, in units of `2^-f`.
    fn limits(&self, numbers: &Numbers) -> [i128; 2];

    /// Bits of the greatest error of an output that words hold, in units of `2^-f`:
    /// `|e| < 2^bits`.
    fn error_bits(&self, numbers: &Numbers) -> u32;

    /// A public number that is computed as another one: its key, as it was given, as it is
    /// computed.
    fn rounded(&self, numbers: &Numbers) -> Option<(&'static str, f64, f64)> {
        let _ = numbers;
        None
    }

    /// The function that makes predictions of the outputs.
    fn activation(&self) -> Activation {
        Activation::Identity
    }

    /// The loss of a record if all outputs are 0, in the mean. `squares` is the mean of the sum of
    /// a record's squared labels: 1 for classes.
    fn at_zero(&self, outputs: usize, squares: f64) -> f64;

    /// Checks that the loss can be computed in a job's numbers.
    ///
    /// # Errors
    ///
    /// [`LossError`], if the loss cannot be computed in them.
    fn check(&self, numbers: &Numbers) -> Result<(), LossError>;

    /// Makes the tables.
    ///
    /// # Errors
    ///
    /// As [`Self::check`].
    fn build(&self, numbers: &Numbers) -> Result<Self::Loss, LossError>;
}

/// A reason why a loss cannot be computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LossError {
    /// A function within does not fit.
    Function {
        /// The reason.
        misfit: crate::function::method::FunctionError,
    },
    /// The model has a number of outputs that the loss does not take.
    Outputs {
        /// Outputs of the model.
        outputs: usize,
        /// Fewest that the loss takes.
        least: usize,
        /// Most that it takes.
        most: usize,
    },
    /// Fraction bits that the loss does not take.
    FracBits {
        /// Fraction bits of the job.
        frac_bits: u32,
        /// Fewest that the loss takes.
        least: u32,
        /// Most that the loss takes.
        most: u32,
    },
    /// Outputs with fraction bits that the loss does not take.
    OutputFracBits {
        /// Fraction bits of the outputs.
        output_frac_bits: u32,
        /// Fewest that the loss takes.
        least: u32,
        /// Most that the loss takes.
        most: u32,
    },
    /// Labels with fraction bits that the loss does not take.
    LabelFracBits {
        /// Fraction bits of the labels.
        label_frac_bits: u32,
        /// Most that the loss takes.
        most: u32,
    },
    /// Label smoothing of 1 or more, or finer than words hold.
    Smoothing {
        /// The smoothing.
        smoothing: Dyadic,
        /// Number of classes.
        classes: usize,
        /// Bits that words leave for the target of a wrong class.
        bits: u32,
    },
    /// Another number of class weights than of classes.
    ClassWeights {
        /// Number of weights.
        weights: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Constants with more bits than words have room for.
    Bits {
        /// Bits that gradients take.
        bits: u32,
        /// Bits that words have for them.
        most: u32,
    },
    /// A delta that is not a positive multiple of `2^-frac_bits`, or too large.
    Delta {
        /// The delta.
        delta: Dyadic,
        /// Fraction bits of the job.
        frac_bits: u32,
        /// Bits that delta may have in units of the last place.
        most_bits: u32,
    },
}

impl fmt::Display for LossError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Function { misfit } => write!(f, "the softmax {misfit}"),
            Self::Outputs { outputs, least, most } => {
                write!(
                    f,
                    "the loss takes {least} to {most} outputs, and the last layer has {outputs}; change its units"
                )
            }
            Self::FracBits { frac_bits, least, most } => write!(
                f,
                "the loss takes {least} to {most} fraction bits in words of this size, and the numbers have {frac_bits}; \
                 change frac_bits or ring_bits"
            ),
            Self::OutputFracBits { output_frac_bits, least, most } => write!(
                f,
                "the loss takes outputs of {least} to {most} fraction bits, and these have {output_frac_bits}; change \
                 frac_bits or ring_bits, or let a dense layer give the outputs"
            ),
            Self::LabelFracBits { label_frac_bits, most } => write!(
                f,
                "the loss takes labels of at most {most} fraction bits, and these have {label_frac_bits}; a loss over \
                 classes needs labels that name classes"
            ),
            Self::Smoothing { smoothing, classes, bits } => write!(
                f,
                "label_smoothing = {} gives each of {classes} classes less than the {bits} bits that words leave for it \
                 hold, or the right one nothing; give 0, a number below 1, fewer frac_bits, or ring_bits = 64",
                smoothing.value()
            ),
            Self::ClassWeights { weights, classes } => write!(
                f,
                "class_weights has {weights} weights, and there are {classes} classes; write one for each class, or remove class_weights"
            ),
            Self::Bits { bits, most } => write!(
                f,
                "the loss's constants need {bits} bits, and words have {most}; give class_weights as multiples of a \
                 coarser power of two, fewer frac_bits, or ring_bits = 64"
            ),
            Self::Delta { delta, frac_bits, most_bits } => write!(
                f,
                "delta is {}; give a multiple of 2^-{frac_bits}, above 0 and below 2^{}",
                delta.value(),
                i64::from(most_bits) - i64::from(frac_bits)
            ),
        }
    }
}

impl core::error::Error for LossError {}

/// Makes [`AnyLoss`] and [`Built`] from the list of losses: number, kind, struct, file. The number
/// is the loss's in every encoding of a job, and the kind its name in job files: append, never
/// change one or use it again.
macro_rules! losses {
    ($($number:literal $kind:literal $Name:ident $file:ident)*) => {
        /// A loss of any kind, in public numbers: the part of a job that describes it.
        #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
        #[allow(clippy::large_enum_variant)] // a job has one
        #[repr(u8)] // two losses of one number do not compile
        pub enum AnyLoss {
            $(#[doc = concat!("Number ", stringify!($number), ", `", $kind, "`.")]
            #[serde(rename = $kind)]
            $Name($Name) = $number,)*
        }

        /// The form of job files, for their schema: `kind` beside the loss's own keys.
        #[cfg(feature = "files")]
        #[derive(schemars::JsonSchema)]
        #[serde(tag = "kind")]
        #[expect(dead_code, reason = "files are read by `AnyLoss::read`")]
        #[allow(clippy::large_enum_variant)] // a schema's
        enum Tagged {
            $(#[serde(rename = $kind)] $Name($Name)),*
        }

        $(impl From<$Name> for AnyLoss {
            fn from(loss: $Name) -> Self {
                Self::$Name(loss)
            }
        })*

        // Encodings have the place in the list, which is therefore the number.
        const _: () = {
            let (mut place, numbers) = (0, [$($number),*]);
            while place < numbers.len() {
                assert!(numbers[place] == place, "losses are numbered in the order of their list");
                place += 1;
            }
        };

        impl AnyLoss {
            /// The kinds, in the order of their numbers.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The name in job files.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Name(_) => $kind,)* }
            }

            /// Reads the fields of the loss named `kind`; `None` if there is no such kind.
            ///
            /// # Errors
            ///
            /// Those of the deserializer: a missing, unknown or invalid field.
            pub fn read<'de, D: Deserializer<'de>>(kind: &str, fields: D) -> Option<Result<Self, D::Error>> {
                match kind {
                    $($kind => Some($Name::deserialize(fields).map(Self::$Name)),)*
                    _ => None,
                }
            }
        }

        impl Describe for AnyLoss {
            type Loss = Built;

            fn needs_classes(&self) -> bool {
                match self { $(Self::$Name(loss) => loss.needs_classes(),)* }
            }
            fn terms(&self, outputs: usize) -> usize {
                match self { $(Self::$Name(loss) => loss.terms(outputs),)* }
            }
            fn limits(&self, numbers: &Numbers) -> [i128; 2] {
                match self { $(Self::$Name(loss) => loss.limits(numbers),)* }
            }
            fn error_bits(&self, numbers: &Numbers) -> u32 {
                match self { $(Self::$Name(loss) => loss.error_bits(numbers),)* }
            }
            fn rounded(&self, numbers: &Numbers) -> Option<(&'static str, f64, f64)> {
                match self { $(Self::$Name(loss) => loss.rounded(numbers),)* }
            }
            fn activation(&self) -> Activation {
                match self { $(Self::$Name(loss) => loss.activation(),)* }
            }
            fn at_zero(&self, outputs: usize, squares: f64) -> f64 {
                match self { $(Self::$Name(loss) => loss.at_zero(outputs, squares),)* }
            }
            fn check(&self, numbers: &Numbers) -> Result<(), LossError> {
                match self { $(Self::$Name(loss) => loss.check(numbers),)* }
            }
            fn build(&self, numbers: &Numbers) -> Result<Built, LossError> {
                Ok(match self { $(Self::$Name(loss) => Built::$Name(loss.build(numbers)?),)* })
            }
        }

        /// A loss of any kind, ready to run.
        #[derive(Clone, Debug)]
        #[allow(clippy::large_enum_variant)] // one a job; there is no heap here
        pub enum Built {
            $(#[doc = concat!("Built by [`", stringify!($Name), "`].")] $Name($file::Built),)*
        }

        impl<W: Word> Loss<W> for Built {
            fn gradient(
                &self,
                party: &mut Party<'_, W>,
                z: &mut [W],
                target: Target<'_, W>,
                loss: Option<&mut [W]>,
            ) -> Result<(), Error> {
                match self { $(Self::$Name(own) => own.gradient(party, z, target, loss),)* }
            }
            fn predict(&self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error> {
                match self { $(Self::$Name(own) => own.predict(party, z),)* }
            }
        }
    };
}

losses! {
    0 "softmax-cross-entropy" SoftmaxCrossEntropy softmax_cross_entropy
    1 "squared-error" SquaredError squared_error
    2 "logistic" Logistic logistic
    3 "huber" Huber huber
}

impl Numbers {
    /// Holds the labels' fraction bits against those of values.
    fn labels_fit(&self) -> Result<(), LossError> {
        let Self { frac_bits, label_frac_bits, .. } = *self;
        if label_frac_bits > frac_bits {
            return Err(LossError::LabelFracBits { label_frac_bits, most: frac_bits });
        }
        Ok(())
    }
    /// The greatest square, in units: words of `2 f` fraction bits are below `2^(k-2)`. Truncation
    /// adds a unit.
    fn greatest_square(&self) -> i128 {
        (1 << (self.ring_bits - 2 - self.frac_bits)) + 1
    }
    /// Holds the outputs' fraction bits against the loss's limits.
    fn output_frac_bits_within(&self, least: u32, most: u32) -> Result<(), LossError> {
        let output_frac_bits = self.output_frac_bits;
        if !(least..=most).contains(&output_frac_bits) {
            return Err(LossError::OutputFracBits { output_frac_bits, least, most });
        }
        Ok(())
    }
    /// Holds the fraction bits against the loss's limits.
    fn frac_bits_within(&self, least: u32, most: u32) -> Result<(), LossError> {
        let frac_bits = self.frac_bits;
        if !(least..=most).contains(&frac_bits) {
            return Err(LossError::FracBits { frac_bits, least, most });
        }
        Ok(())
    }
}

/// The factor that brings labels of `label_frac_bits` to `frac_bits`, negative: for `z -= y`.
fn minus_labels<W: Word>(frac_bits: u32, label_frac_bits: u32) -> W {
    W::default().sub(W::from_u64(1).shl(frac_bits - label_frac_bits))
}

/// Truncates `z` by `frac_bits`; rows that weigh nothing become 0. One round; weights cost a word
/// and `frac_bits + 1` bits dealt an element.
fn truncate_weighed<W: Word>(
    party: &mut Party<'_, W>,
    z: &mut [W],
    frac_bits: u32,
    weights: Option<Masked<'_, W>>,
) -> Result<(), Error> {
    let Some(weights) = weights else { return truncate(party, z, frac_bits) };
    let ([c], mut party) = party.scratch([z.len()])?;
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, z, Cut::signed(frac_bits), c)?;
    truncated(&mut party, &mut draw, &word, z)?;
    times_rows(&mut party, &mut draw, &word, weights, z)
}

#[cfg(feature = "files")]
impl schemars::JsonSchema for AnyLoss {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Loss".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Tagged::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scaled::Dyadic;

    #[test]
    fn an_encoding_begins_with_the_number() {
        let losses = [
            AnyLoss::from(SoftmaxCrossEntropy::default()),
            SquaredError {}.into(),
            Logistic {}.into(),
            Huber { delta: Dyadic::ONE }.into(),
        ];
        assert_eq!(losses.len(), AnyLoss::KINDS.len());
        for ((number, loss), kind) in (0u8..).zip(&losses).zip(AnyLoss::KINDS) {
            let mut buffer = [0; 64];
            let bytes = postcard::to_slice(loss, &mut buffer).unwrap();
            assert_eq!((bytes[0], loss.kind()), (number, *kind));
            assert_eq!(postcard::from_bytes::<AnyLoss>(bytes).unwrap(), *loss);
        }
    }
}
