//! Vectors of functions of real numbers: each by its default method.

use super::{
    Wrong,
    case::{Words, hold},
    protocols::Call,
};
use symbolon_core::{
    function::{Numbers, method::Function, scalar::AnyScalar},
    link::Error,
    party::Party,
    word::Word,
};

/// A function of each input.
pub struct Applied {
    function: Function,
    numbers: Numbers,
}

impl Applied {
    /// Reads `NAME FRAC_BITS`.
    pub fn read(head: &mut Words<'_>, ring_bits: u32) -> Result<Self, Wrong> {
        let name = head.word()?;
        let scalar = AnyScalar::all().find(|scalar| scalar.name() == name).ok_or(Wrong::Vector)?;
        let numbers = Numbers { ring_bits, frac_bits: head.number()? };
        let function = Function::by_default(scalar, &numbers);
        hold(function.check(&numbers).is_ok()).map_err(|_| Wrong::Vector)?;
        Ok(Self { function, numbers })
    }
}

impl Call for Applied {
    fn outputs(&self, n: usize) -> usize {
        n
    }

    fn run<W: Word>(&self, party: &mut Party<'_, W>, x: &mut [W], _: &mut [W], out: &mut [W]) -> Result<(), Error> {
        self.function.apply(party, &self.numbers, (x, out), None)
    }
}
