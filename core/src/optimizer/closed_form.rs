//! Logistic regression in closed form, from counts: no gradient, no step after the first.
//!
//! Features are bits. A correlation chooses `k` of the `d` inputs, whose values put each record
//! into one of `2^k` categories. The log odds of the categories are fitted by weighted least
//! squares.
//!
//! 1. [`moments`](ClosedForm::moments): `α = Σ x`, `β = Xᵀ y` and `Y = Σ y`, exact.
//! 2. [`choose`](ClosedForm::choose): the `k` features with the largest `|n β_j - Y α_j|`, as
//!    one-hot vectors; all pairs are compared at once.
//! 3. [`count`](ClosedForm::count): the records of each class in each category, `Y_c` and `N_c`,
//!    as sums of one-hot vectors, exact.
//! 4. [`fit`](ClosedForm::fit): a half is added to each count, and `Σ_c ω_c (⟨(c, 1), w⟩ -
//!    ln(Y_c / N_c))²` with `ω = Y N / (Y + N)` and the ridge is minimised. Coefficients go to the
//!    inputs that were chosen, zeros to the others, so that the choice stays shared.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Only masked values are
//!   opened.
//! - **Cost:** counted in rounds,
//!   - moments 0;
//!   - choice `9 + C`, where `C` is what comparing words of `2 log2(n) - 1` bits takes
//!     ([`crate::protocol::compare`]), or 7 of one input;
//!   - counts 2 a pass over records;
//!   - fit `L + R + S + 7`, for a logarithm, a reciprocal and a system ([`solve`]) of order
//!     `k + 1`.
//!
//!   Each way, `2^k` words and `k` bits a record; about `d (k + 3)` words and, for each of
//!   `d (d - 1) / 2` pairs, the opening and comparison of a word. Dealt, `2^k + 1` words a record,
//!   `2^b` words an input, for `d <= 2^b`, and what the pairs take.
//! - **Result:** choice and counts are exact; of equal correlations the one of the first input is
//!   the larger. Coefficients have the error of [`solve`].
//! - **Needs:** 64-bit words; inputs that are 0 or 1, labels too; [`ClosedForm::fits`].
//! - **Memory:** about `5 2^k` words of scratch a record of a pass, `4 d` and `3 d²`; no heap.
//! - **Source:** Crawford, Gentry, Halevi, Platt, Shoup, "Doing real work with FHE: the case of
//!   logistic regression" (WAHC 2018), under encryption; the weights are those of Berkson, "Maximum
//!   likelihood and minimum chi-square estimates of the logistic function" (1955), the half that of
//!   Haldane and Anscombe (1956).

use super::{Moment, Optimizer, State, newton::column};
use crate::{
    correlation::{Mask, Rows},
    function::{
        Numbers,
        classify::{one_hot, one_hot_scaled},
        linear_system::{self, solve},
        method::{Function, FunctionError, Method, mapping::Mapping},
        scalar::{AnyScalar, Logarithm, Reciprocal},
    },
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        bit::bits_to_words,
        knots::above,
        masked::{Masked, mask_and_open},
        product::{Factor, gather, matmul, multiply_halves},
        sign::sign,
        truncate::{Cut, open, truncate},
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// How a function of counts is computed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum FunctionOfCounts {
    /// By its [direct protocol](crate::function::method::direct).
    #[default]
    Direct,
    /// By a mapping of the mantissa.
    Mapping {
        /// Base-two logarithm of the number of cells.
        bits: u8,
        /// Degree of the pieces.
        degree: u8,
    },
}

impl FunctionOfCounts {
    fn of(self, scalar: AnyScalar, numbers: &Numbers) -> Function {
        let method = match self {
            Self::Direct => Method::Direct,
            Self::Mapping { bits, degree } => Method::Mapping(Mapping { bits, degree, interval: Mapping::UNSET }),
        };
        Function { scalar, method }.resolved(numbers)
    }
}

/// The public constants of the method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClosedForm {
    /// Ring and fraction bits of inputs and weights.
    pub numbers: Numbers,
    /// Inputs of the layer, `d`, of two outputs: one for each class.
    pub inputs: usize,
    /// Features that are chosen, `k`.
    pub chosen: usize,
    /// Records, `n`.
    pub records: usize,
    /// The ridge on the sum over all records, in units of `2^-f`; the bias has none.
    pub ridge: u64,
    /// `1 / (Y + N)`.
    pub reciprocal: FunctionOfCounts,
    /// `ln Y` and `ln N`.
    pub logarithm: FunctionOfCounts,
}

/// Outputs of the layer: the logit of class 0, which is that of class 1 negated, and that of class
/// 1.
const OUTPUTS: usize = 2;

/// Fraction bits of `Y / (Y + N)`, at least those of any job.
const SHARE_BITS: u32 = 25;

fn factor<W>(words: Masked<'_, W>, cols: usize) -> Factor<'_, W> {
    Factor::plain(Masked { mask: words.mask.matrix(cols), ..words })
}

impl ClosedForm {
    /// Inputs at most.
    pub const MAX_INPUTS: usize = 256;
    /// Features that are chosen, at most.
    pub const MAX_CHOSEN: usize = 8;
    /// Fraction bits, at least.
    pub const MIN_FRAC_BITS: u32 = 16;

    /// Unknowns of the system: the features that are chosen, and the bias.
    fn order(&self) -> usize {
        self.chosen + 1
    }

    fn categories(&self) -> usize {
        1 << self.chosen
    }

    /// Words of the moments.
    pub fn moment_words(&self) -> usize {
        2 * self.inputs + 1
    }

    /// Words of the choice.
    pub fn choice_words(&self) -> usize {
        self.inputs * self.order()
    }

    /// Words of the counts.
    pub fn count_words(&self) -> usize {
        2 * self.categories()
    }

    /// `log2` of the number of records, rounded up.
    fn count_log2(&self) -> u32 {
        self.records.next_power_of_two().ilog2()
    }

    /// The ridge in the units of the system, rounded: weights there are 4 over the records, rounded
    /// up to a power of two.
    fn system_ridge(&self) -> u64 {
        let log2 = self.count_log2();
        ((self.ridge << 2) + (1 << log2 >> 1)) >> log2
    }

    /// The ridge that is computed with, in units of `2^-f`.
    #[allow(clippy::cast_precision_loss)] // a few bits
    pub fn effective_ridge(&self) -> f64 {
        let log2 = i32::try_from(self.count_log2()).unwrap_or(i32::MAX);
        libm::ldexp(self.system_ridge() as f64, log2 - 2)
    }

    /// The functions of counts.
    fn functions(&self) -> [Function; 2] {
        [
            self.reciprocal.of(AnyScalar::Reciprocal(Reciprocal {}), &self.numbers),
            self.logarithm.of(AnyScalar::Logarithm(Logarithm {}), &self.numbers),
        ]
    }

    /// Holds the functions to the ring.
    ///
    /// # Errors
    ///
    /// The reason why one has no room, or a parameter that is invalid.
    pub fn check(&self) -> Result<(), FunctionError> {
        linear_system::check(&self.numbers)?;
        self.functions().iter().try_for_each(|function| function.check(&self.numbers))
    }

    /// Whether the ring has room for correlations and weights, the ridge keeps pivots above the
    /// rounding of an elimination, and the weights of empty categories that of the bias, which has
    /// no ridge, above 0.
    pub fn fits(&self) -> bool {
        let (f, log2) = (self.numbers.frac_bits, self.count_log2());
        let room = self.numbers.ring_bits == 64 && (Self::MIN_FRAC_BITS..SHARE_BITS).contains(&f);
        let ridge = self.system_ridge();
        // Entries up to 1 over the least pivot stay below 2^(62 - 2 f).
        let has_pivots = ridge >= 4 * self.order() as u64 && ridge >= 1 << (3 * f).saturating_sub(62);
        // A category's weight is 2^(f - log2(n)) units at least.
        let has_bias = u32::try_from(self.chosen).unwrap_or(u32::MAX).saturating_add(f) >= log2 + 2;
        room && 2 * log2 + f <= 61 && has_pivots && has_bias
    }

    /// `sums` become `β` and `α`, with `f` fraction bits, and `Y` of some records: no round.
    /// `labels` have a column for each class.
    ///
    /// # Errors
    ///
    /// The dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn moments<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        x: Masked<'_, W>,
        labels: Masked<'_, W>,
        sums: &mut [W],
    ) -> Result<(), Error> {
        let (rows, d) = (x.mask.rows.len(), self.inputs);
        assert!(sums.len() == self.moment_words(), "closed form: lengths differ");
        let (beta, others) = sums.split_at_mut(d);
        let (alpha, positive) = others.split_at_mut(d);
        let ([y, shares, labels_1], mut party) = party.scratch([rows, rows * d, rows])?;
        let y = column(labels, 1, y);
        matmul(&mut party, Factor::transposed(x), Factor::plain(y), beta)?;
        x.share(&party, shares);
        alpha.fill(W::default());
        shares.chunks_exact(d).for_each(|row| party.kernels.add(alpha, row));
        y.share(&party, labels_1);
        party.kernels.sum_rows(positive, labels_1, rows);
        Ok(())
    }

    /// Opens the choice under `mask`, from the moments of all records: a row an input, of the
    /// one-hot vector of its place among those chosen, zeros for another, and the power of two that
    /// stands for the place.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn choose<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        moments: &[W],
        (choice, mask): (&mut [W], Mask),
    ) -> Result<(), Error> {
        let (d, k) = (self.inputs, self.chosen);
        assert!(choice.len() == self.choice_words(), "closed form: lengths differ");
        let ([size, places, hot], mut party) = party.scratch([d, d, d * k])?;
        self.correlations(&mut party, moments, size)?;
        self.places(&mut party, size, places)?;
        let bits = d.next_power_of_two().ilog2().max(1);
        one_hot(&mut party, places, bits, k, hot)?; // a round
        for (row, hot) in choice.chunks_exact_mut(k + 1).zip(hot.chunks_exact(k)) {
            row[..k].copy_from_slice(hot);
            row[k] = (0..).zip(hot).fold(W::default(), |code, (i, bit)| code.add(bit.shl(i)));
        }
        mask_and_open(&mut party, choice, mask)?; // the last round
        Ok(())
    }

    /// `size` becomes `|n β_j - Y α_j|`, integers: five rounds.
    fn correlations<W: Word>(&self, party: &mut Party<'_, W>, moments: &[W], size: &mut [W]) -> Result<(), Error> {
        let d = self.inputs;
        let ([open, product, over], mut party) = party.scratch([d + 1, d, d])?;
        open.copy_from_slice(&moments[d..]);
        let mask = party.draw()?.mask(d + 1);
        let mask = mask_and_open(&mut party, open, mask)?; // a round
        let alpha = Masked { words: &open[..d], mask: mask.slice(0, d) };
        let positive = Masked { words: &open[d..], mask: mask.slice(d, 1) };
        matmul(&mut party, factor(positive, 1), factor(alpha, d), product)?;
        size.copy_from_slice(&moments[..d]);
        party.kernels.scale(size, W::from_u64(self.records as u64));
        party.kernels.sub(size, product);
        above(&mut party, (size, self.numbers.frac_bits), &[W::default()], over, &mut [])?; // four rounds
        party.kernels.scale(size, W::from_i64(-1));
        party.kernels.add_scaled(size, over, W::from_u64(2));
        Ok(())
    }

    /// `places` become the numbers of inputs whose `size` is larger: three or four rounds, none for
    /// one input.
    fn places<W: Word>(&self, party: &mut Party<'_, W>, size: &[W], places: &mut [W]) -> Result<(), Error> {
        let d = self.inputs;
        let pairs = || (0..d).flat_map(|i| (i + 1..d).map(move |j| (i, j)));
        let n = d * (d - 1) / 2;
        places.fill(W::default());
        if n == 0 {
            return Ok(());
        }
        let ([difference, c, plane], mut party) = party.scratch([n, n, plane_words::<W>(n)])?;
        for (difference, (i, j)) in difference.iter_mut().zip(pairs()) {
            *difference = size[i].sub(size[j]);
        }
        let mut draw = party.draw()?;
        // Of bits, correlations are at most n²/4.
        let cut = Cut::within((2 * self.count_log2()).saturating_sub(1).max(1), 0);
        let word = open(&mut party, &mut draw, difference, cut, c)?; // a round
        sign(&mut party, &mut draw, &word, plane)?; // up to two rounds
        let wins = difference;
        bits_to_words(&mut party, plane, &[0], wins)?; // a round
        let one = party.role.first(W::from_u64(1));
        for (win, (i, j)) in wins.iter().zip(pairs()) {
            places[i] = places[i].add(one.sub(*win));
            places[j] = places[j].add(*win);
        }
        Ok(())
    }

    /// `counts` become the records of class 1 in each category, then those of class 0, of some
    /// records: two rounds.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn count<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (x, labels): (Masked<'_, W>, Masked<'_, W>),
        choice: Masked<'_, W>,
        counts: &mut [W],
    ) -> Result<(), Error> {
        let (rows, cells) = (x.mask.rows.len(), self.categories());
        assert!(counts.len() == self.count_words(), "closed form: lengths differ");
        let ([y, powers, codes, hot], mut party) = party.scratch([rows, self.inputs, rows, rows * cells])?;
        let y = column(labels, 1, y);
        let choice = Masked { mask: choice.mask.matrix(self.order()), ..choice };
        let powers = column(choice, self.chosen, powers);
        let straight = Factor::plain;
        matmul(&mut party, straight(x), straight(powers), codes)?;
        let code = (&*codes, self.numbers.frac_bits);
        #[allow(clippy::cast_possible_truncation)] // at most 8
        one_hot_scaled(&mut party, code, self.chosen as u32, cells, hot)?; // a round
        let (positive, negative) = counts.split_at_mut(cells);
        negative.fill(W::default());
        hot.chunks_exact(cells).for_each(|row| party.kernels.add(negative, row));
        let mask = party.draw()?.mask(hot.len());
        let mask = mask_and_open(&mut party, hot, mask)?.matrix(cells); // a round
        let hot = Factor::transposed(Masked { words: hot, mask });
        matmul(&mut party, hot, straight(y), positive)?;
        party.kernels.sub(negative, positive);
        Ok(())
    }

    /// `weights`, a row an input and one of biases, become the model's, from the counts of all
    /// records.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    ///
    /// # Panics
    ///
    /// If lengths differ, or the numbers do not [fit](Self::fits).
    pub fn fit<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        counts: &[W],
        choice: Masked<'_, W>,
        weights: &mut [W],
    ) -> Result<(), Error> {
        let (m, cells) = (self.order(), self.categories());
        assert!(weights.len() == (self.inputs + 1) * OUTPUTS, "closed form: lengths differ");
        let ([halves, omega, both], mut party) = party.scratch([2 * cells, cells, 2 * cells])?;
        halves.copy_from_slice(counts);
        party.kernels.scale(halves, W::from_u64(2));
        party.kernels.add_constant(halves, party.role.first(W::from_u64(1)));
        self.omega(&mut party, halves, omega)?;
        both[..cells].copy_from_slice(omega);
        self.log_odds(&mut party, halves, &mut both[cells..])?;
        let ([product, a, b], mut party) = party.scratch([cells, m * m, m])?;
        multiply_halves(&mut party, both, product)?; // a round
        truncate(&mut party, product, self.numbers.frac_bits)?; // a round
        self.system(&party, (omega, product), (a, b));
        solve(&mut party, &self.numbers, m, (a, b))?;
        self.spread(&mut party, b, choice, weights)
    }

    /// `omega` becomes `Y N / (Y + N)` over a quarter of the number of records, rounded up to a
    /// power of two, from counts in halves: those of a reciprocal, and four rounds.
    fn omega<W: Word>(&self, party: &mut Party<'_, W>, halves: &[W], omega: &mut [W]) -> Result<(), Error> {
        let (cells, f) = (omega.len(), self.numbers.frac_bits);
        let (positive, negative) = halves.split_at(cells);
        let ([sum, both], mut party) = party.scratch([cells, 2 * cells])?;
        sum.copy_from_slice(positive);
        party.kernels.add(sum, negative);
        let [reciprocal, _] = self.functions();
        // As units of 2^-f: 2 f bits are the fraction's of the product.
        reciprocal.apply(&mut party, &self.numbers, (sum, &mut both[..cells]), None)?;
        both[cells..].copy_from_slice(positive);
        multiply_halves(&mut party, both, omega)?; // a round
        truncate(&mut party, omega, 2 * f - SHARE_BITS)?; // a round
        both[..cells].copy_from_slice(omega);
        both[cells..].copy_from_slice(negative);
        multiply_halves(&mut party, both, omega)?; // a round
        // Of halves there are twice as many; a quarter of the records takes two bits less.
        truncate(&mut party, omega, SHARE_BITS + self.count_log2() - 1 - f) // a round
    }

    /// `out` becomes `ln(Y / N)`: the rounds of a logarithm.
    fn log_odds<W: Word>(&self, party: &mut Party<'_, W>, halves: &[W], out: &mut [W]) -> Result<(), Error> {
        let cells = out.len();
        let ([logarithms], mut party) = party.scratch([2 * cells])?;
        let [_, logarithm] = self.functions();
        logarithm.apply(&mut party, &self.numbers, (halves, logarithms), None)?;
        out.copy_from_slice(&logarithms[..cells]);
        party.kernels.sub(out, &logarithms[cells..]);
        Ok(())
    }

    /// The normal equations, from weights and weighted log odds: free.
    fn system<W: Word>(&self, party: &Party<'_, W>, (omega, product): (&[W], &[W]), (a, b): (&mut [W], &mut [W])) {
        let m = self.order();
        a.fill(W::default());
        b.fill(W::default());
        // The variables of a category: its bits, and a one for the bias.
        let is_set = |category: usize, i: usize| i == self.chosen || category >> i & 1 == 1;
        for (category, (omega, product)) in omega.iter().zip(product).enumerate() {
            for i in (0..m).filter(|i| is_set(category, *i)) {
                b[i] = b[i].add(*product);
                for j in (0..m).filter(|j| is_set(category, *j)) {
                    a[i * m + j] = a[i * m + j].add(*omega);
                }
            }
        }
        let ridge = party.role.first(W::from_u64(self.system_ridge()));
        for i in 0..self.chosen {
            a[i * (m + 1)] = a[i * (m + 1)].add(ridge);
        }
    }

    /// Writes the solution to the weights of the inputs that were chosen: a round.
    fn spread<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        solution: &mut [W],
        choice: Masked<'_, W>,
        weights: &mut [W],
    ) -> Result<(), Error> {
        let (d, k) = (self.inputs, self.chosen);
        let ([places, own], mut party) = party.scratch([d * k, d + 1])?;
        gather(choice.words, k + 1, Rows::All(d), 0, k, places);
        let places = Masked { words: places, mask: choice.mask.matrix(k + 1).columns(0, k) };
        let (slopes, bias) = solution.split_at_mut(k);
        let mask = party.draw()?.mask(k);
        let mask = mask_and_open(&mut party, slopes, mask)?; // a round
        let slopes = factor(Masked { words: slopes, mask }, 1);
        matmul(&mut party, Factor::plain(places), slopes, &mut own[..d])?;
        own[d] = bias[0];
        for (row, own) in weights.chunks_exact_mut(OUTPUTS).zip(&*own) {
            row.copy_from_slice(&[W::default().sub(*own), *own]);
        }
        Ok(())
    }
}

impl<W: Word> Optimizer<W> for ClosedForm {
    fn state(&self, _: usize) -> [usize; 2] {
        [0; 2]
    }

    /// Replaces the weights by [those](ClosedForm::fit) that `model` holds.
    ///
    /// # Panics
    ///
    /// If lengths differ.
    fn step(
        &self,
        _: &mut Party<'_, W>,
        _: Moment,
        model: &mut [W],
        weights: &mut [W],
        _: State<'_, W>,
    ) -> Result<(), Error> {
        assert!(model.len() == weights.len(), "closed form: lengths differ");
        weights.copy_from_slice(model);
        Ok(())
    }
}
