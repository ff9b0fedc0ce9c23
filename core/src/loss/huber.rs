//! Huber's loss of each output: half the squared error near 0, linear beyond a public `δ`.
//!
//! With the error `e = z - y` and `g = min(max(e, -δ), δ)`, the gradient is `g` and the loss
//! `g (2 e - g) / 2`, which is `e² / 2` for `|e| <= δ`, else `δ |e| - δ² / 2` (Huber, Annals of
//! Mathematical Statistics 35, 1964).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** that of [`clamped`] by `f` bits: 3 rounds where at most 22 bits are opened
//!   (`k = 32`, `f = 11`), else 4. Rows' weights: a weighed truncation ([`super::squared_error`])
//!   and [`clamped`] of all bits, 5 rounds. The loss: 2 rounds, `3 k - f - 1` bits each way; a word
//!   and `2 (f + 2)` bits dealt an output.
//! - **Result:** the gradient within a unit of the exact one, exact beyond `δ` and a unit; each
//!   term within a unit of the formula for the error that was clamped.
//! - **Needs:** `|e| + δ` below `2^(k-2-f)` units; with the loss, `2 |e| δ` below `2^(k-2)` for
//!   both in units. Range alarms see each error and sample the loss.
//! - **Memory:** scratch as a dry run says; no heap, no table.

use super::{Describe, Loss, LossError, Numbers, Target, minus_labels, truncate_weighed};
use crate::{
    function::{exp, ln},
    link::Error,
    party::Party,
    protocol::{
        clamp::clamped,
        masked::{Masked, mask_and_open},
        product::multiply,
        scaled::Dyadic,
        truncate::truncate,
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Huber's loss, one term per output.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Huber {
    /// Errors beyond `delta` are penalized linearly: a positive multiple of `2^-frac_bits`.
    pub delta: Dyadic,
}

/// A Huber loss that is ready to run.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    frac_bits: u32,
    output_frac_bits: u32,
    label_frac_bits: u32,
    /// `δ` in units.
    delta: u64,
}

impl Huber {
    /// `δ` in units of `2^-frac_bits`, if that is a whole, positive number of at most `most_bits`
    /// bits.
    fn units(&self, frac_bits: u32, most_bits: u32) -> Option<u64> {
        let Dyadic { factor, shift } = self.delta;
        let scaled = u128::from(factor).checked_shl(frac_bits)?;
        let units = scaled.checked_shr(shift)?;
        let whole = units.checked_shl(shift) == Some(scaled);
        let units = u64::try_from(units).ok()?;
        (whole && units > 0 && u64::BITS - units.leading_zeros() <= most_bits).then_some(units)
    }

    fn checked(&self, numbers: &Numbers) -> Result<u64, LossError> {
        // Labels are subtracted with 2 f fraction bits; δ keeps a bit of the opened word.
        let Numbers { ring_bits, frac_bits, output_frac_bits, .. } = *numbers;
        numbers.frac_bits_within(0, ring_bits / 2 - 2)?;
        numbers.output_frac_bits_within(frac_bits, ring_bits - 4)?;
        numbers.labels_fit()?;
        let most_bits = ring_bits - 4 - (output_frac_bits - frac_bits).max(frac_bits);
        self.units(frac_bits, most_bits).ok_or(LossError::Delta { delta: self.delta, frac_bits, most_bits })
    }
}

impl Describe for Huber {
    type Loss = Built;

    fn limits(&self, numbers: &Numbers) -> [i128; 2] {
        [-1, numbers.greatest_square()] // truncation of 0 may take a unit off
    }

    fn error_bits(&self, numbers: &Numbers) -> u32 {
        // g (2 e - g) is below 2^(k-2), and |g| at most δ.
        let delta = self.units(numbers.frac_bits, u64::BITS).map_or(0, |units| u64::BITS - units.leading_zeros());
        (numbers.ring_bits - 3).saturating_sub(delta).max(numbers.ring_bits / 2 - 1)
    }

    fn at_zero(&self, _: usize, squares: f64) -> f64 {
        // At most this, since the loss is concave in the square.
        let delta = self.delta.value();
        let linear = squares > delta * delta;
        if linear { delta * (exp(ln(squares) / 2.0) - delta / 2.0) } else { squares / 2.0 }
    }

    fn check(&self, numbers: &Numbers) -> Result<(), LossError> {
        self.checked(numbers).map(|_| ())
    }

    fn build(&self, numbers: &Numbers) -> Result<Built, LossError> {
        let delta = self.checked(numbers)?;
        let Numbers { frac_bits, output_frac_bits, label_frac_bits, .. } = *numbers;
        Ok(Built { frac_bits, output_frac_bits, label_frac_bits, delta })
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
        let ([y, g], mut party) = party.scratch([z.len(); 2])?;
        target.labels.share(&party, y);
        let delta = W::from_u64(self.delta);
        let (limits, shift) = ([W::default().sub(delta), delta], self.output_frac_bits - self.frac_bits);
        // z becomes the error.
        if target.weights.is_some() {
            truncate_weighed(&mut party, z, shift, target.weights)?;
            party.kernels.add_scaled(z, y, minus_labels(self.frac_bits, self.label_frac_bits));
            clamped(&mut party, z, 0, limits, g)?;
        } else {
            party.kernels.add_scaled(z, y, minus_labels(self.output_frac_bits, self.label_frac_bits));
            clamped(&mut party, z, shift, limits, g)?;
        }
        if let Some(loss) = loss {
            party.kernels.scale(z, W::from_u64(2));
            party.kernels.sub(z, g);
            half_products(&mut party, [z, g], self.frac_bits, loss)?;
        }
        z.copy_from_slice(g);
        Ok(())
    }

    fn predict(&self, party: &mut Party<'_, W>, z: &mut [W]) -> Result<(), Error> {
        truncate_weighed(party, z, self.output_frac_bits - self.frac_bits, None)
    }
}

/// Writes shares of `x y / 2^(frac_bits + 1)` to `out`: two rounds.
fn half_products<W: Word>(
    party: &mut Party<'_, W>,
    [x, y]: [&[W]; 2],
    frac_bits: u32,
    out: &mut [W],
) -> Result<(), Error> {
    let n = x.len();
    let ([open], mut party) = party.scratch([2 * n])?;
    open[..n].copy_from_slice(x);
    open[n..].copy_from_slice(y);
    let mask = party.draw()?.mask(2 * n);
    let mask = mask_and_open(&mut party, open, mask)?; // one round
    let part = |at: usize| Masked { words: &open[at..at + n], mask: mask.slice(at, n) };
    multiply(&mut party, part(0), part(n), out)?;
    truncate(&mut party, out, frac_bits + 1) // the other
}
