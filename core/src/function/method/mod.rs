//! Ways to compute a [scalar](super::scalar) on shares, a file each.

pub mod mapping;
pub mod pieces;

use core::fmt;

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
            Self::Room => f.write_str("has values for which the ring has no room; take a shorter interval"),
        }
    }
}
