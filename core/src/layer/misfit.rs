//! The reasons why a layer does not take a row.

use super::Shape;
use core::fmt;

/// The reason why a layer does not take a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misfit {
    /// It takes vectors.
    Vector {
        /// The row's shape.
        got: Shape,
    },
    /// A fraction rounds to 0 at the job's fraction bits.
    BelowUnit {
        /// Its key.
        key: &'static str,
        /// Fraction bits of the job.
        frac_bits: u32,
    },
    /// A number of the layer is out of range.
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
    /// Its window is larger than the image.
    Window {
        /// Height and width of the window.
        window: [u32; 2],
        /// The row's shape, with padding.
        got: Shape,
    },
    /// The channels are no multiple of the groups.
    Groups {
        /// Channels that are divided.
        channels: u32,
        /// Number of groups.
        groups: u32,
    },
    /// It takes a sequence.
    Sequence {
        /// The row's shape.
        got: Shape,
    },
    /// It takes a sequence of codes.
    Codes {
        /// The row's shape.
        got: Shape,
    },
    /// Its first state has another length.
    State {
        /// Words of a state.
        want: u32,
        /// The second input's shape.
        got: Shape,
    },
    /// Both inputs must have one shape.
    Differ {
        /// Shape of the first.
        first: Shape,
        /// Shape of the second.
        second: Shape,
    },
    /// Both inputs must have images of one size.
    Images {
        /// Shape of the first.
        first: Shape,
        /// Shape of the second.
        second: Shape,
    },
    /// It takes another number of inputs.
    Inputs {
        /// The number it takes.
        want: usize,
        /// The number it was given.
        got: usize,
    },
    /// The windows of an image take too many words.
    Unfolded {
        /// Words of the windows of one group of channels.
        words: usize,
        /// The most.
        most: usize,
    },
    /// The values of a channel in the smallest batch are too few.
    OneValue,
    /// The exponent of a power of two is out of range.
    Power {
        /// Its key.
        key: &'static str,
        /// The exponent.
        got: i64,
        /// Least valid exponent.
        min: i64,
        /// Greatest valid exponent.
        max: i64,
    },
    /// The ring has no room for sums of so many values.
    Values {
        /// Values that are added.
        got: usize,
        /// Most values.
        most: usize,
    },
    /// Its function does not fit.
    Function {
        /// The reason.
        misfit: crate::function::method::FunctionError,
    },
    /// The output has too many words.
    Large {
        /// The output's shape.
        got: Shape,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vector { got } => {
                write!(
                    f,
                    "takes a vector, and its input has the shape {got}; put a layer of kind \"flatten\" before it, or set each_step = true \
                     for a sequence"
                )
            }
            Self::BelowUnit { key, frac_bits } => {
                write!(f, "has {key} below 2^-{frac_bits}, which rounds to 0; take a larger one, or leave it out")
            }
            Self::Number { key, got, min, max } => write!(f, "has {key} = {got}, which must be {min} to {max}"),
            Self::Window { window: [h, w], got } => {
                write!(f, "has a window of {h} by {w}, larger than its input, whose shape is {got} with the padding")
            }
            Self::Groups { channels, groups } => {
                write!(f, "has {groups} groups, which must divide its {channels} channels")
            }
            Self::Sequence { got } => {
                write!(
                    f,
                    "takes a sequence of the shape [1, steps, features], and its input has the shape {got}; give data.shape = \
                 [steps, features], or states = \"all\" to the recurrent layer before it"
                )
            }
            Self::Codes { got } => {
                write!(
                    f,
                    "takes a sequence of codes of the shape [1, steps, 1], and its input has the shape {got}; give \
                     data.shape = [steps, 1]"
                )
            }
            Self::State { want, got } => {
                write!(
                    f,
                    "takes a first state of {want} words, and its second input has the shape {got}; let that be a \
                     recurrent layer of the same cell and units with states = \"carry\""
                )
            }
            Self::Differ { first, second } => {
                write!(f, "takes two inputs of one shape, and they have the shapes {first} and {second}")
            }
            Self::Images { first, second } => write!(
                f,
                "takes two inputs with images of one height and width, and they have the shapes {first} and {second}"
            ),
            Self::Inputs { want, got } => write!(f, "takes {want} inputs, and is given {got}"),
            Self::Unfolded { words, most } => {
                write!(f, "has windows of {words} words an image, and {most} at most are unfolded; take smaller ones")
            }
            Self::OneValue => f.write_str(
                "needs two values a channel in each batch, and the smallest batch has one; take a larger batch, set \
                 training.drop_last = true, or change the number of records",
            ),
            Self::Power { key, got, min, max } => write!(f, "has {key} = {got}, which must be {min} to {max}"),
            Self::Values { got, most } => write!(
                f,
                "sums {got} values of a channel, and the ring has room for {most}; take smaller batches or images, or \
                 ring_bits = 64"
            ),
            Self::Function { misfit } => write!(f, "{misfit}"),
            Self::Large { got } => write!(f, "gives the shape {got}, more than 2^24 words a row"),
        }
    }
}
