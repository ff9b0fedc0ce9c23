//! The exponential by its limit: `(1 + x / 2^n)^(2^n)`, `n` squarings.
//!
//! The base is clamped at 0, so that arguments below `-2^n` give 0; above 0 it is clamped to the
//! value at 0.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** those of two [knots](crate::protocol::knots), a mask, and a round a squaring;
//!   one more where the ring has no room for `f + n` bits twice. Above 0 the slope stays 1.
//! - **Result:** the limit's `n`-th term, below `e^x` by about `x^2 / 2^(n+1)` of it, at most
//!   `0.33 / 2^n`. Each squaring doubles the error so far, so rounding adds up to `2^(n+1)` units
//!   of the precision within.
//! - **Source:** CrypTen (Knott et al., NeurIPS 2021).

use super::{FunctionError, mapping::units};
use crate::{
    function::{Numbers, pow2},
    link::Error,
    party::Party,
    protocol::{
        knots::above,
        masked::{Masked, mask_and_open},
        product::multiply,
        square::square,
        truncate::{Cut, open, truncate},
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Number of squarings.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// `n`, 1 to 8.
    pub squarings: u8,
}

impl Limit {
    /// The term at `x`.
    pub fn value(self, x: f64) -> f64 {
        let steps = pow2(self.squarings.into());
        let base = libm::fmin(libm::fmax(1.0 + x / steps, 0.0), 1.0);
        (0..self.squarings).fold(base, |y, _| y * y)
    }

    /// Holds the number of squarings to the ring.
    ///
    /// # Errors
    ///
    /// The reason why it has no room, or a parameter that is invalid.
    pub fn check(self, numbers: &Numbers) -> Result<(), FunctionError> {
        if !(1..=8).contains(&self.squarings) {
            return Err(FunctionError::Number { key: "squarings", got: self.squarings.into(), min: 1, max: 8 });
        }
        if self.bits(numbers) < numbers.frac_bits { Err(FunctionError::Room) } else { Ok(()) }
    }

    /// Fraction bits within: a square has room.
    pub(super) fn bits(self, numbers: &Numbers) -> u32 {
        (numbers.frac_bits + u32::from(self.squarings)).min((numbers.ring_bits - 4) / 2)
    }

    /// `out` becomes the term at `x`; `slope` too, since it is nearly its own derivative.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the squarings do not [fit](Self::check).
    pub fn apply<W: Word>(
        self,
        party: &mut Party<'_, W>,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let (n, f, bits) = (x.len(), numbers.frac_bits, self.bits(numbers));
        let ([z, over, c, square_of], mut party) = party.scratch([n, 2 * n, n, n])?;
        z.copy_from_slice(x);
        let low = W::from_i64(units(-pow2(self.squarings.into()), f));
        above(&mut party, (z, 0), &[low, W::default()], over, &mut [])?;
        let (base, over) = over.split_at_mut(n);
        party.kernels.sub(base, over);
        // As a base it has as many fraction bits more as there are squarings.
        let surplus = f + u32::from(self.squarings) - bits;
        if surplus > 0 {
            truncate(&mut party, base, surplus)?;
        }
        let mask = party.draw()?.mask(n);
        let mask = mask_and_open(&mut party, base, mask)?;
        let base = Masked { words: base, mask };
        multiply(&mut party, base, base, square_of)?;
        for _ in 1..self.squarings {
            let mut draw = party.draw()?;
            let word = open(&mut party, &mut draw, square_of, Cut::signed(bits), c)?; // a round
            square(&mut party, &mut draw, &word, z, square_of)?;
        }
        truncate(&mut party, square_of, 2 * bits - f)?; // the last round
        out.copy_from_slice(square_of);
        if let Some(slope) = slope {
            slope.copy_from_slice(square_of);
        }
        Ok(())
    }
}
