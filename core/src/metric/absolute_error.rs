//! The mean absolute error of a regression.
//!
//! One opening of `z - y` gives the truncated error `e` and its sign `s`, and `|e| = 2 s e - e`.
//!
//! - **Sums:** the magnitudes of the errors, `f` fraction bits. The figure is their mean in units
//!   of the target.
//! - **Cost:** that of a [ReLU](crate::protocol::relu): 3 rounds, 4 where more than 22 bits are
//!   opened.
//! - **Result:** each error is within a unit of `2^-f`, unbiased; its magnitude is exact.
//! - **Opened:** the sum tells about a single record where all others are known.
//! - **Noise:** each magnitude is clamped to the root of twice the largest loss, rounded up to a
//!   whole number.
//! - **Needs:** `-2^(k-2) <= z - y <= 2^(k-2) - 2^f`, with `2 f` fraction bits.

use super::{Describe, Metric, Misfit, Predictions, Terms, TestSet, Unit, mean};
use crate::{
    correlation::Words,
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        alarm::compared,
        select::{Selector, open_selector, select},
        sign::sign,
        truncate::{Cut, open_compared, truncated},
    },
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The mean of the errors' magnitudes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AbsoluteError {}

impl fmt::Display for AbsoluteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mean absolute error")
    }
}

impl Describe for AbsoluteError {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_target()
    }

    fn terms(&self, set: &TestSet, _: usize) -> Terms {
        // As many bits as a square has: those of a truncated word.
        let (name, clamp) = ("the mean absolute error of the scaled target", set.error_limit().map(|limit| [0, limit]));
        let terms = Terms::fixed(name, [0, set.greatest_square()], set.frac_bits, clamp);
        Terms { per_record: set.outputs, ..terms }
    }

    fn error_bits(&self, set: &TestSet) -> Option<u32> {
        Some(set.ring_bits - 2 - set.frac_bits)
    }

    fn value(&self, set: &TestSet, sums: &[f64], records: f64) -> Option<f64> {
        let (mean, scale) = (mean(*sums.first()?, records * f64::from(set.outputs))?, set.scale);
        Some(mean * if scale < 0.0 { -scale } else { scale })
    }

    fn unit(&self) -> Unit {
        Unit::Target
    }
}

impl<W: Word> Metric<W> for AbsoluteError {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let n = rows.outputs.len();
        let ([e, y, c, rho, bit], mut party) = party.scratch([n, n, n, n, plane_words::<W>(n)])?;
        let mut draw = party.draw()?;
        rows.labels.share(&party, y);
        e.copy_from_slice(rows.outputs);
        party.kernels.add_scaled(e, y, W::from_i64(-(1 << set.frac_bits)));
        let word = open_compared(&mut party, &mut draw, e, Cut::signed(set.frac_bits), c)?; // round 1
        sign(&mut party, &mut draw, &word, bit)?; // round 2, or 2 and 3
        let mask = open_selector(&mut party, &mut draw, bit, rho)?; // the last round
        compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), n, word.cut.bits()), (bit, mask))?;
        truncated(&mut party, &mut draw, &word, e)?;
        terms.copy_from_slice(e);
        select(&mut party, &mut draw, &word, Selector { open: bit, mask, rho }, terms)?;
        party.kernels.scale(terms, W::from_u64(2));
        party.kernels.sub(terms, e);
        Ok(())
    }
}
