//! The area under the ROC curve, by a public grid of thresholds.
//!
//! A curve has a score for each record, and a class whose records are its positives; all others are
//! its negatives. Two classes have one curve: the score is the second output less the first, whose
//! sigmoid is the probability of the second class. More classes have a curve each, one against the
//! rest: the score is the output itself. The thresholds cut the scores into cells, `thresholds + 1`
//! of them.
//!
//! - **Sums:** for each curve the number of positives in each cell, lowest first, then that of
//!   negatives: two rows of a table. A record without a class is in none.
//! - **Figure:** the mean over the curves with positives and negatives. A curve's is the fraction
//!   of pairs of a positive and a negative of which the positive is in the higher cell; a pair in
//!   one cell counts a half. So the exact area is off by half of the pairs in one cell at most.
//! - **Protocol:** the score is opened once; all thresholds are compared under the one mask. With
//!   `b = [score >= threshold]` for rows of records, one product of matrices `b y` counts for each
//!   class the records above. Cells are differences of neighbours.
//! - **Cost:** 4 rounds where `k - f` is at most 22 bits, else 5. Each way for each threshold and
//!   score: a comparison, a bit and a word. Dealt: the comparison and a word, and `classes` words
//!   for each threshold and curve.
//! - **Result:** counts are exact, of scores truncated by `f` bits.
//! - **Opened:** also the number of records of each class, and every count of few records.
//! - **Noise:** replacing a record takes one from a cell and adds one to a cell of each curve: two
//!   sums a curve change, each by 1. (Counts above thresholds would change all.)
//! - **Needs:** `|score - threshold| < 2^(k-2) - 2^f`, with `2 f` fraction bits.
//! - **Memory:** 9 words of scratch a threshold and score.

use super::{Describe, Metric, Misfit, Moved, Predictions, Terms, TestSet, Unit};
use crate::{
    correlation::{Rows, View, Words},
    function::ln,
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        alarm::compared,
        masked::{Masked, mask_and_open},
        product::{Factor, matmul},
        select::open_selector,
        sign::sign,
        truncate::{Cut, Opened, open_compared},
    },
    word::Word,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Most thresholds.
const MAX_THRESHOLDS: u16 = 255;

/// The area under the ROC curve.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Auc {
    /// The number of thresholds, 1 to 255; 31, if left out.
    pub thresholds: u16,
    /// The largest score that the grid covers, in whole units. The thresholds are then equally far
    /// apart between its negative and itself. 0, if left out: the thresholds' sigmoids are equally
    /// far apart between 0 and 1.
    pub largest: u16,
}

impl Default for Auc {
    fn default() -> Self {
        Self { thresholds: 31, largest: 0 }
    }
}

impl fmt::Display for Auc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AUC")
    }
}

impl Auc {
    /// Returns the number of curves.
    pub fn curves(set: &TestSet) -> usize {
        if set.outputs == 2 { 1 } else { set.cols() }
    }

    /// Returns the class whose records are a curve's positives.
    fn positive(set: &TestSet, curve: usize) -> usize {
        if set.outputs == 2 { 1 } else { curve }
    }

    /// Returns the cells of a curve.
    pub fn cells(&self) -> usize {
        usize::from(self.thresholds) + 1
    }

    /// Returns the threshold between cells `at` and `at + 1`, in units of `2^-frac_bits`, rounded.
    pub fn threshold(&self, at: usize, frac_bits: u32) -> i64 {
        #[allow(clippy::cast_precision_loss)] // at most 256
        let p = (at + 1) as f64 / self.cells() as f64;
        let score = match self.largest {
            0 => ln(p) - ln(1.0 - p),
            largest => f64::from(largest) * (2.0 * p - 1.0),
        };
        let scaled = score * f64::from(1u32 << frac_bits);
        #[allow(clippy::cast_possible_truncation)] // below 2^40
        let rounded = (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i64;
        rounded
    }
}

impl Describe for Auc {
    fn check(&self, set: &TestSet) -> Result<(), Misfit> {
        set.needs_classes()?;
        let hold = |key, got: u16, min, max: u64| match (min..=max).contains(&u64::from(got)) {
            true => Ok(()),
            false => Err(Misfit::Between { key, got: u64::from(got), min, max }),
        };
        hold("thresholds", self.thresholds, 1, u64::from(MAX_THRESHOLDS))?;
        // Half of what an output may be, so that differences stay in range.
        hold("largest", self.largest, 0, 1 << (set.ring_bits - 3 - 2 * set.frac_bits).min(15))
    }

    fn sums(&self, set: &TestSet) -> usize {
        2 * Self::curves(set) * self.cells()
    }

    fn terms(&self, _: &TestSet, _: usize) -> Terms {
        Terms::count("the number of records between two thresholds")
    }

    fn moved(&self, set: &TestSet) -> Moved {
        Moved { once: 0, often: 2 * Self::curves(set) as u64 }
    }

    fn words(&self, set: &TestSet, _: usize) -> usize {
        self.sums(set)
    }

    fn needs_records(&self) -> bool {
        false
    }

    fn value(&self, _: &TestSet, sums: &[f64], _: f64) -> Option<f64> {
        let (mut areas, mut curves) = (0.0, 0.0);
        for curve in sums.chunks_exact(2 * self.cells()) {
            let (positives, negatives) = curve.split_at(self.cells());
            let pairs = positives.iter().sum::<f64>() * negatives.iter().sum::<f64>();
            let (mut above, mut right) = (0.0, 0.0);
            for (positives, negatives) in positives.iter().zip(negatives).rev() {
                right += negatives * (above + positives / 2.0);
                above += positives;
            }
            if pairs > 0.0 {
                areas += right / pairs;
                curves += 1.0;
            }
        }
        super::mean(areas, curves)
    }

    fn unit(&self) -> Unit {
        Unit::Number
    }

    fn higher_is_better(&self) -> bool {
        true
    }

    fn columns(&self, _: &TestSet) -> Option<usize> {
        Some(self.cells())
    }
}

impl<W: Word> Metric<W> for Auc {
    fn measure(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        rows: &Predictions<'_, W>,
        terms: &mut [W],
    ) -> Result<(), Error> {
        let (classes, curves, thresholds) = (set.cols(), Self::curves(set), usize::from(self.thresholds));
        let (count, n) = (rows.rows(set), curves * rows.rows(set));
        let lens = [n, thresholds * n, thresholds * curves * classes, classes];
        let ([scores, above, counts, totals], mut party) = party.scratch(lens)?;
        self.scores(set, rows, scores);
        self.above(&mut party, set, scores, above)?; // all rounds but one
        let mask = party.draw()?.mask(above.len());
        let mask = mask_and_open(&mut party, above, mask)?; // the last
        let above = Factor::plain(Masked { words: above, mask: mask.matrix(count) });
        matmul(&mut party, above, rows.label_matrix(set), counts)?;
        let ([y], party) = party.scratch([rows.labels.words.len()])?;
        rows.labels.share(&party, y);
        totals.fill(W::default());
        y.chunks_exact(classes).for_each(|row| party.kernels.add(totals, row));
        self.cut(set, counts, totals, terms);
        Ok(())
    }
}

impl Auc {
    /// Writes the scores, curve after curve.
    fn scores<W: Word>(&self, set: &TestSet, rows: &Predictions<'_, W>, scores: &mut [W]) {
        let count = rows.rows(set).max(1);
        for (curve, scores) in scores.chunks_exact_mut(count).enumerate() {
            for (score, row) in scores.iter_mut().zip(rows.outputs.chunks_exact(set.cols())) {
                *score = if set.outputs == 2 { row[1].sub(row[0]) } else { row[curve] };
            }
        }
    }

    /// Writes shares of `[score >= threshold]`, threshold after threshold: the rounds of a sign,
    /// and one before and one after.
    fn above<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        set: &TestSet,
        scores: &[W],
        above: &mut [W],
    ) -> Result<(), Error> {
        let (n, all) = (scores.len(), above.len());
        let ([c, rho, bit], mut party) = party.scratch([all, all, plane_words::<W>(all)])?;
        above.fill(W::default());
        if n == 0 {
            return Ok(());
        }
        let mut draw = party.draw()?;
        let cut = Cut::signed(set.frac_bits);
        let word = open_compared(&mut party, &mut draw, scores, cut, &mut c[..n])?; // the scores
        let mask = word.mask;
        let first = [0; MAX_THRESHOLDS as usize];
        let mask = View { rows: Rows::Which(&first[..usize::from(self.thresholds)]), ..mask };
        for at in 1..usize::from(self.thresholds) {
            c.copy_within(..n, at * n);
        }
        for (at, c) in c.chunks_exact_mut(n).enumerate() {
            party.kernels.add_constant(c, W::from_i64(-self.threshold(at, set.frac_bits)));
        }
        let word = Opened { c, mask, cut };
        sign(&mut party, &mut draw, &word, bit)?;
        let mask = open_selector(&mut party, &mut draw, bit, rho)?; // the bits
        compared(&mut party, &mut draw, (word.c, Words::Mask(word.mask), all, cut.bits()), (bit, mask))?;
        party.kernels.bit_to_word(above, bit, rho, 0, party.role.first_mask());
        Ok(())
    }

    /// From the counts of each class above each threshold of each curve, and in all, to those of
    /// positives and negatives in each cell.
    fn cut<W: Word>(&self, set: &TestSet, counts: &[W], totals: &[W], terms: &mut [W]) {
        let (classes, curves) = (set.cols(), Self::curves(set));
        let sums = |curve: usize, row: &[W]| {
            let positives = row[Self::positive(set, curve)];
            [positives, row.iter().fold(W::default(), |sum, count| sum.add(*count)).sub(positives)]
        };
        for (curve, terms) in terms.chunks_exact_mut(2 * self.cells()).enumerate() {
            let (positives, negatives) = terms.split_at_mut(self.cells());
            let mut below = sums(curve, totals);
            let above = |at: usize| counts.get((at * curves + curve) * classes..).and_then(|rest| rest.get(..classes));
            for (at, cells) in positives.iter_mut().zip(negatives).enumerate() {
                let next = above(at).map_or([W::default(); 2], |row| sums(curve, row));
                *cells.0 = below[0].sub(next[0]);
                *cells.1 = below[1].sub(next[1]);
                below = next;
            }
        }
    }
}
