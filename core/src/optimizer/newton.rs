//! Newton's method for models of one dense layer: linear, ridge and logistic regression.
//!
//! Each step subtracts `(c X̃ᵀ S X̃ + r I)⁻¹ (∇ + r w)` from the weights `w`. The rows of `X̃` are
//! all records, with a one behind for the bias; `∇` is their summed gradient; the ridge `r` leaves
//! the bias out.
//!
//! - [`Curvature::Fixed`] has `S = 1`, and a public `c` bounds the loss's second derivative: 1 for
//!   a squared error, where one step solves the normal equations, 1/4 for a logistic loss, 1/2 for
//!   a softmax (Böhning). The inverse is computed once, so that the many steps of the last two are
//!   cheap.
//! - [`Curvature::Exact`] has `c = 1` and `S = p (1 - p)` of each logistic output, computed again
//!   in each step; few steps suffice.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost** of a step, for `d` inputs, `m = d + 1` and `u` outputs. Fixed: 3 rounds; each way `m
//!   u` words and `2 k - 2 f - log2(N)` bits more for each, where `N` is the number of records,
//!   rounded up to a power of two; in the first step also a round, an inverse ([`solve`], `m`
//!   right-hand sides), and its opening. Exact: `1 + u (1 + R)` rounds, for `u` solutions of `R`
//!   rounds with one right-hand side. Curvature is dealt `d²` words a lane and pass, and `u` times
//!   that if it is exact; then an output takes 4 rounds a pass, and a record `d + 1` words and as
//!   many truncated ones each way, and `d + 2` words and the bits of `d + 1` truncations dealt; one
//!   word more where labels are between 0 and 1.
//! - **Result:** each step has a relative error of about `2^-f / d`, for the least pivot `d` of the
//!   mean curvature. Later steps correct it, if the ridge keeps pivots [above their
//!   rounding](Newton::fits).
//! - **Needs:** 64-bit words; inputs near 1 in size: `n x² 2^2f` below `2^62`.
//! - **Source:** Böhning, Lindsay, "Monotonicity of quadratic-approximation algorithms" (1988);
//!   Böhning, "Multinomial logistic regression algorithm" (1992).

use super::{Moment, Optimizer, State};
use crate::{
    correlation::{Rows, View},
    function::{Numbers, linear_system::solve},
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::{Factor, gather, matmul, multiply},
        rows::multiply_rows,
        truncate::truncate,
    },
    word::Word,
};

/// The matrix whose inverse multiplies the gradient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curvature {
    /// `c X̃ᵀ X̃` with `c = 2^-shift`.
    Fixed {
        /// Base-two logarithm of `1 / c`.
        shift: u32,
    },
    /// `X̃ᵀ S X̃` with `S = p (1 - p)`, of each logistic output by itself.
    Exact {
        /// Fraction bits of labels.
        label_frac_bits: u32,
    },
}

/// The public constants of the method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Newton {
    /// Ring and fraction bits of inputs and weights.
    pub numbers: Numbers,
    /// Inputs of the layer, `d`.
    pub inputs: usize,
    /// Outputs of the layer, `u`.
    pub outputs: usize,
    /// `log2` of the number of records, rounded up; sums are divided by that power of two.
    pub count_log2: u32,
    /// `r 2^f`.
    pub ridge: u64,
    /// The curvature.
    pub curvature: Curvature,
}

/// The inverse of a fixed curvature, open under a mask.
#[derive(Debug)]
pub struct CurvatureInverse<'a, W> {
    /// `m²` words.
    pub open: &'a mut [W],
    /// Names the mask; `None` before the first step.
    pub mask: &'a mut Option<View<'static>>,
}

impl Newton {
    /// Unknowns of an output: the inputs and the bias.
    pub fn order(&self) -> usize {
        self.inputs + 1
    }

    /// Whether a step needs the curvature: the first one, each if it is exact.
    pub fn wants_curvature(&self, is_first: bool) -> bool {
        is_first || matches!(self.curvature, Curvature::Exact { .. })
    }

    /// Whether the ring has room, and the ridge keeps pivots above the rounding of an elimination.
    pub fn fits(&self) -> bool {
        let (f, ridge) = (self.numbers.frac_bits, self.ridge >> self.count_log2);
        let room = self.numbers.ring_bits == 64 && 2 * f + self.count_log2 <= 58;
        // Entries up to 8 over the least pivot stay below 2^(62 - 2 f).
        room && ridge >= 4 * self.order() as u64 && ridge >= 1 << (3 * f).saturating_sub(59)
    }

    /// Matrices of `m²` words that the curvature has.
    pub fn systems(&self) -> usize {
        match self.curvature {
            Curvature::Fixed { .. } => 1,
            Curvature::Exact { .. } => self.outputs,
        }
    }

    /// Base-two logarithm of `1 / c`.
    fn shift(&self) -> u32 {
        match self.curvature {
            Curvature::Fixed { shift } => shift,
            Curvature::Exact { .. } => 0,
        }
    }

    /// `sums`, a matrix after the other, become the curvature of some records, `2 f` fraction bits,
    /// from their inputs, and the gradient `p - y` and the label of each output.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn curvature<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        x: Masked<'_, W>,
        [delta, y]: [Masked<'_, W>; 2],
        sums: &mut [W],
    ) -> Result<(), Error> {
        let (rows, d, f) = (x.mask.rows.len(), self.inputs, self.numbers.frac_bits);
        let Curvature::Exact { label_frac_bits } = self.curvature else {
            let ([shares], mut party) = party.scratch([rows * d])?;
            x.share(&party, shares);
            let count = party.role.first(W::from_u64(rows as u64).shl(f));
            return self.bordered(&mut party, (x, x), (shares, count), sums);
        };
        let all = [rows, rows, rows * d, rows * d, rows];
        let ([delta_of, y_of, shares, scaled, s], mut party) = party.scratch(all)?;
        for (i, sum) in sums.chunks_exact_mut(self.order() * self.order()).enumerate() {
            let (delta, y) = (column(delta, i, delta_of), column(y, i, y_of));
            variances(&mut party, (delta, y), [f, label_frac_bits], s)?; // a round
            let mut total = [W::default()];
            party.kernels.sum_rows(&mut total, s, rows);
            let mask = party.draw()?.mask(rows);
            let mask = mask_and_open(&mut party, s, mask)?; // a round
            multiply_rows(&mut party, x, Masked { words: s, mask }, shares)?;
            truncate(&mut party, shares, f)?; // a round
            scaled.copy_from_slice(shares);
            let mask = party.draw()?.mask(rows * d);
            let mask = mask_and_open(&mut party, scaled, mask)?.matrix(d); // a round
            self.bordered(&mut party, (x, Masked { words: scaled, mask }), (shares, total[0]), sum)?;
        }
        Ok(())
    }

    /// `X̃ᵀ Z̃`, from `X` and `Z`, shares of `Z`, and the sum of its last column: no round.
    fn bordered<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (x, z): (Masked<'_, W>, Masked<'_, W>),
        (shares, corner): (&[W], W),
        sum: &mut [W],
    ) -> Result<(), Error> {
        let d = self.inputs;
        let ([square], mut party) = party.scratch([d * d])?;
        matmul(&mut party, Factor::transposed(x), Factor::plain(z), square)?;
        let (above, last) = sum.split_at_mut(d * (d + 1));
        last.fill(W::default());
        shares.chunks_exact(d).for_each(|row| party.kernels.add(&mut last[..d], row));
        last[d] = corner;
        party.kernels.scale(last, W::from_u64(1).shl(self.numbers.frac_bits));
        for ((row, square), last) in above.chunks_exact_mut(d + 1).zip(square.chunks_exact(d)).zip(&*last) {
            row[..d].copy_from_slice(square);
            row[d] = *last;
        }
        Ok(())
    }

    /// `gradient` becomes the step that is taken off `weights`, from the summed curvature. An
    /// inverse is made once.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn direction<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (sums, inverse): (&[W], CurvatureInverse<'_, W>),
        weights: &[W],
        gradient: &mut [W],
    ) -> Result<(), Error> {
        let (m, f) = (self.order(), self.numbers.frac_bits);
        let columns = gradient.len() / m;
        let ridged = self.inputs * columns;
        party.kernels.add_scaled(&mut gradient[..ridged], &weights[..ridged], W::from_u64(self.ridge));
        truncate(party, gradient, f + self.count_log2)?; // a round
        match self.curvature {
            Curvature::Exact { .. } => {
                let ([a, b], mut party) = party.scratch([m * m, m])?;
                for (i, sum) in sums.chunks_exact(m * m).enumerate() {
                    self.mean(&mut party, sum, a)?; // a round
                    gather(gradient, columns, Rows::All(m), i, 1, b);
                    solve(&mut party, &self.numbers, m, (a, b))?;
                    gradient[i..].iter_mut().step_by(columns).zip(&*b).for_each(|(to, from)| *to = *from);
                }
                Ok(())
            }
            Curvature::Fixed { .. } => {
                let mask = match *inverse.mask {
                    Some(mask) => mask,
                    None => self.invert(party, sums, inverse.open)?,
                };
                *inverse.mask = Some(mask);
                let inverse = Masked { words: inverse.open, mask: mask.matrix(m) };
                let ([open], mut party) = party.scratch([gradient.len()])?;
                open.copy_from_slice(gradient);
                let mask = party.draw()?.mask(open.len());
                let mask = mask_and_open(&mut party, open, mask)?.matrix(columns); // a round
                matmul(&mut party, Factor::plain(inverse), Factor::plain(Masked { words: open, mask }), gradient)?;
                truncate(&mut party, gradient, f) // a round
            }
        }
    }

    /// `a` becomes the mean curvature with the ridge: a round.
    fn mean<W: Word>(&self, party: &mut Party<'_, W>, sum: &[W], a: &mut [W]) -> Result<(), Error> {
        let ridge = W::from_u64(self.ridge).shl(self.numbers.frac_bits + self.shift());
        a.copy_from_slice(sum);
        for i in 0..self.inputs {
            let at = i * (self.order() + 1);
            a[at] = a[at].add(party.role.first(ridge));
        }
        truncate(party, a, self.numbers.frac_bits + self.count_log2 + self.shift())
    }

    /// Writes the inverse of the mean curvature to `open`, masked and open.
    fn invert<W: Word>(&self, party: &mut Party<'_, W>, sum: &[W], open: &mut [W]) -> Result<View<'static>, Error> {
        self.inverse(party, sum, open)?;
        let mask = party.draw()?.mask(open.len());
        mask_and_open(party, open, mask)
    }

    /// `inverse` becomes the inverse of the mean curvature.
    fn inverse<W: Word>(&self, party: &mut Party<'_, W>, sum: &[W], inverse: &mut [W]) -> Result<(), Error> {
        let m = self.order();
        let ([a], mut party) = party.scratch([m * m])?;
        self.mean(&mut party, sum, a)?;
        inverse.fill(W::default());
        for i in 0..m {
            inverse[i * (m + 1)] = party.role.first(W::from_u64(1).shl(self.numbers.frac_bits));
        }
        solve(&mut party, &self.numbers, m, (a, inverse))
    }

    /// `out`, in the order of the weights, becomes the diagonals of the inverses of the mean
    /// curvature after the last step. A fixed one's is known; an exact one's costs a round and a
    /// solution an output.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    pub fn variances<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (sums, kept): (&[W], CurvatureInverse<'_, W>),
        out: &mut [W],
    ) -> Result<(), Error> {
        let (m, columns) = (self.order(), self.outputs);
        let ([inverse], mut party) = party.scratch([m * m])?;
        for (i, sum) in sums.chunks_exact(m * m).enumerate() {
            match *kept.mask {
                Some(mask) => Masked { words: kept.open, mask }.share(&party, inverse),
                None => self.inverse(&mut party, sum, inverse)?,
            }
            let own = if self.systems() == 1 { 0..columns } else { i..i + 1 };
            for (row, variance) in out.chunks_exact_mut(columns).zip(inverse.iter().step_by(m + 1)) {
                row[own.clone()].fill(*variance);
            }
        }
        Ok(())
    }
}

/// Column `i` of a masked matrix.
pub(super) fn column<'a, W: Word>(matrix: Masked<'a, W>, i: usize, words: &'a mut [W]) -> Masked<'a, W> {
    gather(matrix.words, matrix.mask.cols, Rows::All(words.len()), i, 1, words);
    Masked { words, mask: matrix.mask.columns(i, 1) }
}

/// `s = p (1 - p) = (1 - 2 y) (p - y) - (p - y)² + y (1 - y)`: a round.
fn variances<W: Word>(
    party: &mut Party<'_, W>,
    (delta, y): (Masked<'_, W>, Masked<'_, W>),
    [frac_bits, label_frac_bits]: [u32; 2],
    s: &mut [W],
) -> Result<(), Error> {
    let ([crossed, shares], mut party) = party.scratch([s.len(); 2])?;
    multiply(&mut party, delta, delta, s)?;
    multiply(&mut party, delta, y, crossed)?;
    delta.share(&party, shares);
    party.kernels.scale(s, W::from_i64(-1));
    party.kernels.add_scaled(s, shares, W::from_u64(1).shl(frac_bits));
    party.kernels.add_scaled(s, crossed, W::from_i64(-2).shl(frac_bits - label_frac_bits));
    if label_frac_bits > 0 {
        // Labels between 0 and 1.
        let shift = 2 * (frac_bits - label_frac_bits);
        multiply(&mut party, y, y, crossed)?;
        party.kernels.add_scaled(s, crossed, W::from_i64(-1).shl(shift));
        y.share(&party, shares);
        party.kernels.add_scaled(s, shares, W::from_u64(1).shl(shift + label_frac_bits));
    }
    truncate(&mut party, s, frac_bits)
}

impl<W: Word> Optimizer<W> for Newton {
    fn state(&self, _: usize) -> [usize; 2] {
        [0; 2]
    }

    /// Takes a [direction](Newton::direction) off the weights.
    ///
    /// # Panics
    ///
    /// If lengths differ.
    fn step(
        &self,
        party: &mut Party<'_, W>,
        _: Moment,
        direction: &mut [W],
        weights: &mut [W],
        _: State<'_, W>,
    ) -> Result<(), Error> {
        assert!(direction.len() == weights.len(), "newton: lengths differ");
        party.kernels.sub(weights, direction);
        Ok(())
    }

    fn period(&self) -> [u64; 2] {
        [u64::from(matches!(self.curvature, Curvature::Fixed { .. })), 1]
    }
}
