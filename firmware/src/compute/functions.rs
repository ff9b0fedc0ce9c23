//! The computation of functions: sigmoid, reciprocal and square root of a few values, each by its
//! default method.
//!
//! - **Words:** `u32`, 11 fraction bits.
//! - **Memory:** [`INPUT_WORDS`] and [`OUTPUT_WORDS`], and an arena of [`ARENA_WORDS`], which tests
//!   hold against a dry run; tables of 2 kB a coefficient on the stack.

use symbolon_core::{
    function::{
        Numbers,
        method::mapping::Mapping,
        scalar::{Reciprocal, Scalar, Sigmoid, SquareRoot},
    },
    link::Error,
    party::Party,
    word::Word,
};

/// The ring and the fraction bits.
pub const NUMBERS: Numbers = Numbers { ring_bits: 32, frac_bits: 11 };
/// Arguments of each function.
pub const ELEMENTS: usize = 24;
/// The functions and their mappings, the default ones: constants, so that a device does not look
/// for them.
pub const FUNCTIONS: [(&(dyn Scalar + Sync), Mapping); 3] = [
    (&Sigmoid {}, Mapping { bits: 8, degree: 1, interval: [-8.0, 8.0] }),
    (&Reciprocal {}, Mapping { bits: 8, degree: 1, interval: [-8.0, 8.0] }),
    (&SquareRoot {}, Mapping { bits: 7, degree: 1, interval: [-8.0, 8.0] }),
];
/// Words of all inputs.
pub const INPUT_WORDS: usize = ELEMENTS;
/// Words of all outputs: each function's.
pub const OUTPUT_WORDS: usize = FUNCTIONS.len() * ELEMENTS;
/// Words of the arena.
pub const ARENA_WORDS: usize = 955;

/// Computes all outputs.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If inputs or outputs have another length.
pub fn run<W: Word>(party: &mut Party<'_, W>, inputs: &mut [W], outputs: &mut [W]) -> Result<(), Error> {
    for ((scalar, mapping), out) in FUNCTIONS.iter().zip(outputs.chunks_exact_mut(ELEMENTS)) {
        mapping.apply(party, *scalar, &NUMBERS, (inputs, out), None)?;
    }
    Ok(())
}
