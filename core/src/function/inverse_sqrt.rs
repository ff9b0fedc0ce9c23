//! `(x + ε)^(-1/2)` by cells on a logarithmic scale.
//!
//! Eight cells an octave, from `ε = 2^epsilon_log2` on, over 16 octaves: a constant each. `x` is
//! opened once under a mask; each threshold between two cells is compared with it under the same
//! mask, and the result is a public combination of the shared bits.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** 4 rounds. Each way: a word, and for each of 127 thresholds what [`difference_bit`]
//!   of `k - 2` bits sends
//!   and a bit.
//! - **Result:** within a factor of `2^(±1/32)`, which is 2.2 %, and half a unit of the result,
//!   plus what a unit of `x` makes. It saturates: for `x <= 0` at `2^(-epsilon_log2/2)`, less half
//!   a cell, from `x + ε = 2^(epsilon_log2 + 16)` on at the constant of the last cell.
//! - **Needs:** in units of `x`, `t - 2^(k-2) <= x < 2^(k-2)` for the largest threshold `t`.
//! - **Memory:** at most 259 words of scratch a value, and the comparison's.
//! - **Source:** derived here.
//!
//! [`difference_bit`]: crate::protocol::compare::difference_bit

use super::{exp, pow2};
use crate::{
    correlation::{Rows, View},
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        bit::bits_to_words,
        sign::sign,
        truncate::{Cut, Opened, open},
    },
    word::Word,
};
use core::f64::consts::LN_2;

/// Cells an octave.
const CELLS: u32 = 8;
/// Octaves that have cells.
pub const OCTAVES: u32 = 16;
/// Thresholds between cells.
pub const THRESHOLDS: usize = (CELLS * OCTAVES) as usize - 1;

/// Public numbers of the function.
#[derive(Clone, Copy, Debug)]
pub struct InverseSqrt {
    /// Fraction bits of `x`.
    pub in_frac_bits: u32,
    /// Fraction bits of the result.
    pub out_frac_bits: u32,
    /// `log2 ε`; `ε` is a unit of `x` or more.
    pub epsilon_log2: i32,
}

/// `2^n` for any real.
fn exp2(n: f64) -> f64 {
    let (whole, one) = (if n < 0.0 { -n } else { n }, |x: f64| exp(x * LN_2));
    // In the range of the series.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small
    let steps = whole as u32;
    let power = pow2(steps) * one(whole - f64::from(steps));
    if n < 0.0 { 1.0 / power } else { power }
}

impl InverseSqrt {
    /// The least `x` of cell `cell + 1`, in units of `x`.
    #[allow(clippy::cast_possible_truncation)] // rounded
    fn threshold(&self, cell: u32) -> i64 {
        let unit = f64::from(self.in_frac_bits) + f64::from(self.epsilon_log2);
        (exp2(unit + f64::from(cell + 1) / f64::from(CELLS)) - exp2(unit) + 0.5) as i64
    }

    /// `factor` times the result in cell `cell`, in units of the result.
    #[allow(clippy::cast_possible_truncation)] // rounded
    fn constant(&self, cell: u32, factor: f64) -> i64 {
        let middle = f64::from(self.epsilon_log2) + (f64::from(cell) + 0.5) / f64::from(CELLS);
        (factor * exp2(f64::from(self.out_frac_bits) - middle / 2.0) + 0.5) as i64
    }

    /// The result for a public `x` in units, in units of the result.
    #[must_use]
    pub fn vartime_public(&self, x: i64) -> i64 {
        let cells = (0..CELLS * OCTAVES - 1).take_while(|cell| x >= self.threshold(*cell)).count();
        self.constant(u32::try_from(cells).unwrap_or(u32::MAX), 1.0)
    }

    /// Shares of each of the public `factors` times `(x + ε)^(-1/2)`, one after the other.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        factors: &[f64],
        x: &[W],
        out: &mut [W],
    ) -> Result<(), Error> {
        let n = x.len();
        assert!(out.len() == factors.len() * n, "inverse_sqrt: lengths differ");
        let lens = [n, THRESHOLDS * n, plane_words::<W>(THRESHOLDS * n), THRESHOLDS * n];
        let ([c, shifted, planes, bits], mut party) = party.scratch(lens)?;
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, x, Cut::signed(0), c)?; // the first round
        for (cell, shifted) in (0..).zip(shifted.chunks_exact_mut(n.max(1))) {
            shifted.copy_from_slice(word.c);
            party.kernels.add_constant(shifted, W::from_i64(-self.threshold(cell)));
        }
        // The word less each threshold, all under one mask.
        let mask = View { rows: Rows::All(THRESHOLDS), cols: n, stride: 0, ..word.mask };
        let all = Opened { c: &*shifted, mask, ..word };
        sign(&mut party, &mut draw, &all, planes)?;
        bits_to_words(&mut party, planes, &[0], bits)?;
        for (factor, out) in factors.iter().zip(out.chunks_exact_mut(n.max(1))) {
            out.fill(party.role.first(W::from_i64(self.constant(0, *factor))));
            for (cell, bits) in (1..).zip(bits.chunks_exact(n.max(1))) {
                let step = self.constant(cell, *factor) - self.constant(cell - 1, *factor);
                party.kernels.add_scaled(out, bits, W::from_i64(step));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_in_the_middle_of_their_cells() {
        let root = InverseSqrt { in_frac_bits: 16, out_frac_bits: 20, epsilon_log2: -8 };
        for cell in 0..CELLS * OCTAVES {
            let low = 2f64.powf(-8.0 + f64::from(cell) / 8.0);
            let middle = (low * 2f64.powf(1.0 / 16.0)).sqrt().recip() * 1.5;
            assert!((root.constant(cell, 1.5) as f64 / 2f64.powi(20) - middle).abs() < 1e-6, "{cell}");
            let high = (low * 2f64.powf(0.125) - 2f64.powi(-8)) * 65536.0;
            assert!((root.threshold(cell) as f64 - high).abs() <= 0.501, "{cell}");
        }
    }
}
