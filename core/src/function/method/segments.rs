//! By segments: the line through any table of knots, constant beyond the first and the last.
//!
//! `y = y_0 + Σ a_j max(0, x - x_j)`, `a_j` the change of slope at knot `j`
//! ([`knots`](crate::protocol::knots)). Beyond the last knot the terms cancel exactly.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** that of the knots and one round for a truncation.
//! - **Result:** the line within a unit, and what rounding slopes to [`Segments::slope_bits`] makes
//!   over the line's length. The
//!   derivative is the rounded slope; at a knot that of the right.
//! - **Source:** SecureML (Mohassel, Zhang, IEEE S&P 2017) for three parts.

use super::{
    FunctionError,
    mapping::{bits_of, units},
};
use crate::{
    function::{
        Numbers, pow2,
        scalar::{AnyScalar, Scalar},
    },
    link::Error,
    party::Party,
    protocol::{knots::above, truncate::truncate},
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Knots at most.
pub const MAX_KNOTS: usize = 8;

/// Knots, each an argument and a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segments {
    /// Number of knots, from 2 on.
    pub count: u8,
    /// The knots, by rising arguments; those past the count are 0.
    pub knots: [[f64; 2]; MAX_KNOTS],
}

impl Segments {
    /// The knots given; `None` if there are too many.
    pub fn new(given: &[[f64; 2]]) -> Option<Self> {
        let mut knots = [[0.0; 2]; MAX_KNOTS];
        knots.get_mut(..given.len())?.copy_from_slice(given);
        Some(Self { count: u8::try_from(given.len()).ok()?, knots })
    }

    /// The named table of `parts` parts; `None` if there is none.
    ///
    /// - `tanh`, 3: `clip(x, -1, 1)`; `sigmoid`, 3: `clip(x / 4 + 1/2, 0, 1)`, both tangents at 0.
    /// - `sigmoid`, 5: one more slope on each side.
    /// - `exponential`, 4 to 7: 0 up to the first knot, then lines between knots at the integers
    ///   from `3 - parts` to 1, and `e` above.
    pub fn named(scalar: &AnyScalar, parts: u8) -> Option<Self> {
        match (scalar, parts) {
            (AnyScalar::Tanh(_), 3) => Self::new(&[[-1.0, -1.0], [1.0, 1.0]]),
            (AnyScalar::Sigmoid(_), 3) => Self::new(&[[-2.0, 0.0], [2.0, 1.0]]),
            (AnyScalar::Sigmoid(_), 5) => Self::new(&[[-5.0, 0.0], [-1.5, 0.165], [1.5, 0.835], [5.0, 1.0]]),
            (AnyScalar::Exponential(exponential), 4..=7) => {
                let mut knots = [[0.0; 2]; MAX_KNOTS];
                for (i, knot) in (0..parts - 1).zip(&mut knots) {
                    let x = 3.0 + f64::from(i) - f64::from(parts);
                    *knot = [x, if i == 0 { 0.0 } else { exponential.value(x) }];
                }
                Some(Self { count: parts - 1, knots })
            }
            _ => None,
        }
    }

    /// The knots in use.
    pub fn knots(&self) -> &[[f64; 2]] {
        &self.knots[..usize::from(self.count).min(MAX_KNOTS)]
    }

    /// From the first knot to the last.
    pub fn interval(&self) -> [f64; 2] {
        let knots = self.knots();
        [knots[0][0], knots[knots.len() - 1][0]]
    }

    /// The line at `x`.
    pub fn value(&self, x: f64) -> f64 {
        let knots = self.knots();
        let mut value = knots[0][1];
        for pair in knots.windows(2) {
            let [[from, low], [to, high]] = [pair[0], pair[1]];
            value += libm::fmax(0.0, libm::fmin(x, to) - from) * (high - low) / (to - from);
        }
        value
    }

    /// Holds the knots to the ring.
    ///
    /// # Errors
    ///
    /// The reason why it has no room, or a parameter that is invalid.
    pub fn check(&self, numbers: &Numbers) -> Result<(), FunctionError> {
        if !(2..=MAX_KNOTS).contains(&self.count.into()) {
            return Err(FunctionError::Number { key: "number of knots", got: self.count.into(), min: 2, max: 8 });
        }
        let finite = self.knots().iter().flatten().all(|x| libm::fabs(*x) <= 1024.0);
        let f = numbers.frac_bits;
        let rises = |pair: &[[f64; 2]]| {
            let run = units(pair[1][0], f).saturating_sub(units(pair[0][0], f));
            run > 0 && libm::fabs(pair[1][1] - pair[0][1]) * pow2(f) <= 1024.0 * pow2(run.ilog2())
        };
        if !finite || !self.knots().windows(2).all(rises) {
            return Err(FunctionError::Knots);
        }
        if self.slope_bits(numbers) < 4.min(numbers.frac_bits) { Err(FunctionError::Room) } else { Ok(()) }
    }

    /// Fraction bits of slopes: as many as the ring has room for, the job's at most.
    pub fn slope_bits(&self, numbers: &Numbers) -> u32 {
        let largest = self.knots().iter().map(|knot| libm::fabs(knot[1])).fold(1.0, libm::fmax);
        (numbers.ring_bits - 4).saturating_sub(numbers.frac_bits + bits_of(largest)).min(numbers.frac_bits)
    }

    /// `out` becomes the line at `x`, and `slope` its slope if asked.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the knots do not [fit](Self::check).
    pub fn apply<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        numbers: &Numbers,
        (x, out): (&[W], &mut [W]),
        slope: Option<&mut [W]>,
    ) -> Result<(), Error> {
        let (n, f, q) = (x.len(), numbers.frac_bits, self.slope_bits(numbers));
        let all = self.knots().len() * n;
        let (mut at, mut changes) = ([W::default(); MAX_KNOTS], [0; MAX_KNOTS]);
        for (at, knot) in at.iter_mut().zip(self.knots()) {
            *at = W::from_i64(units(knot[0], f));
        }
        for (i, pair) in self.knots().windows(2).enumerate() {
            let [from, to] = [pair[0][0], pair[1][0]].map(|x| units(x, f));
            #[allow(clippy::cast_precision_loss)] // at most 2^35
            let slope = units((pair[1][1] - pair[0][1]) * pow2(f) / (to - from) as f64, q);
            changes[i] += slope;
            changes[i + 1] -= slope;
        }
        let has_slope = slope.is_some();
        let ([z, over, steps], mut party) = party.scratch([n, all, if has_slope { all } else { 0 }])?;
        z.copy_from_slice(x);
        above(&mut party, (z, 0), &at[..self.knots().len()], over, steps)?;
        out.fill(party.role.first(W::from_i64(units(self.knots()[0][1], f + q))));
        for (over, change) in over.chunks_exact(n.max(1)).zip(changes) {
            party.kernels.add_scaled(out, over, W::from_i64(change));
        }
        if let Some(slope) = slope {
            slope.fill(W::default());
            for (steps, change) in steps.chunks_exact(n.max(1)).zip(changes) {
                party.kernels.add_scaled(slope, steps, W::from_i64(change << (f - q)));
            }
        }
        truncate(&mut party, out, q) // the last round
    }
}
