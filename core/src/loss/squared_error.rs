//! Half the squared error of each output.
//!
//! With the error `e = z - y`, the loss is `e² / 2` and the gradient `e`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 1 round, `k - f` bits each way; `2 (f + 1)` bits dealt. Weights of rows: a word and
//!   `f + 1` bits more dealt. The loss: 2 rounds, `2 k - f - 1` bits each way; a word and
//!   `2 (f + 2)` bits dealt. All for each output.
//! - **Result:** the gradient within a unit, unbiased; each term `e² / 2` of that gradient, within
//!   a unit.
//! - **Needs:** `|z| < 2^(k-2)`; with the loss, `|e| < 2^(k/2 - 1)` units, which the range alarms
//!   sample.
//! - **Memory:** scratch as a dry run says; no heap, no table.

use super::{Describe, Loss, LossError, Numbers, Target, minus_labels, truncate_weighed};
use crate::{
    link::Error,
    party::Party,
    protocol::{
        alarm,
        masked::{Masked, mask_and_open},
        product::multiply,
        truncate::truncate,
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Half the squared error, one term per output; classes count as one-hot vectors.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SquaredError {}

/// A squared error that is ready to run.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    frac_bits: u32,
    /// Fraction bits of outputs beyond those.
    shift: u32,
    label_frac_bits: u32,
}

impl Describe for SquaredError {
    type Loss = Built;

    fn limits(&self, numbers: &Numbers) -> [i128; 2] {
        [0, numbers.greatest_square()]
    }

    fn error_bits(&self, numbers: &Numbers) -> u32 {
        numbers.ring_bits / 2 - 1
    }

    fn at_zero(&self, _: usize, squares: f64) -> f64 {
        squares / 2.0
    }

    fn check(&self, numbers: &Numbers) -> Result<(), LossError> {
        // Squares of units, halved, keep at least a bit of the word.
        numbers.frac_bits_within(0, numbers.ring_bits - 3)?;
        numbers.output_frac_bits_within(numbers.frac_bits, numbers.ring_bits - 4)?;
        numbers.labels_fit()
    }

    fn build(&self, numbers: &Numbers) -> Result<Built, LossError> {
        self.check(numbers)?;
        let Numbers { frac_bits, output_frac_bits, label_frac_bits, .. } = *numbers;
        Ok(Built { frac_bits, shift: output_frac_bits - frac_bits, label_frac_bits })
    }
}

impl<W: Word> Loss<W> for Built {
    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        z: &mut [W],
        target: Target<'_, W>,
        loss: Option<&mut [W]>,
    ) -> Result<(), Error> {
        truncate_weighed(party, z, self.shift, target.weights)?;
        let ([y], mut party) = party.scratch([z.len()])?;
        target.labels.share(&party, y);
        party.kernels.add_scaled(z, y, minus_labels(self.frac_bits, self.label_frac_bits));
        match loss {
            Some(loss) => squares(&mut party, z, self.frac_bits + 1, loss), // halves
            None => Ok(()),
        }
    }

    fn predict(&self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error> {
        truncate_weighed(party, z, self.shift, None)
    }
}

/// Writes shares of all `e² / 2^shift` to `squares`: opens `e` masked, one product, one truncation.
/// Two rounds. Needs `|e| < 2^(k/2 - 1)` units.
///
/// # Errors
///
/// The link's and the dealer's, and [`Error::Scratch`].
///
/// # Panics
///
/// If lengths differ.
pub fn squares<W: Word>(party: &mut Party<'_, W>, e: &[W], shift: u32, squares: &mut [W]) -> Result<(), Error> {
    alarm::squared(party, e)?;
    let ([open], mut party) = party.scratch([e.len()])?;
    open.copy_from_slice(e);
    let mask = party.draw()?.mask(e.len());
    let mask = mask_and_open(&mut party, open, mask)?;
    let e = Masked { words: open, mask };
    multiply(&mut party, e, e, squares)?;
    truncate(&mut party, squares, shift)
}
