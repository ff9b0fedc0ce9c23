//! The loss of a job: from the outputs of its network to their gradient.

use crate::job::{Job, Loss, Task};
use symbolon_core::{
    correlation::{Rows, View},
    function::softmax::{self, Labels, Shape, Softmax},
    link::Error,
    party::Party,
    protocol::{
        alarm,
        masked::{Masked, mask_and_open},
        product::multiply,
        times::times_masked,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};

/// The loss that is minimised, and what it needs.
pub(super) enum Criterion {
    Softmax(Box<Softmax>),
    SquaredError {
        /// Fraction bits of the gradient.
        frac_bits: u32,
        /// Fraction bits of the outputs beyond those.
        shift: u32,
        /// Fraction bits of the labels: none for classes, whose rows are ones and zeros.
        label_frac_bits: u32,
    },
}

impl Criterion {
    /// The loss of `job`, for outputs with `output_frac_bits` fraction bits.
    pub(super) fn new(job: &Job, output_frac_bits: u32) -> Self {
        let frac_bits = job.numbers.frac_bits;
        match job.loss {
            Loss::SoftmaxCrossEntropy => Self::Softmax(Box::new(Softmax::new(Shape {
                classes: u32::try_from(job.outputs()).unwrap_or(u32::MAX),
                frac_bits,
                logit_frac_bits: output_frac_bits,
            }))),
            Loss::MeanSquaredError => Self::SquaredError {
                frac_bits,
                shift: output_frac_bits - frac_bits,
                label_frac_bits: match job.data.task {
                    Task::Classes(_) => 0,
                    Task::Regression(_) => frac_bits,
                },
            },
        }
    }
}

impl Criterion {
    /// Terms of the loss of `rows` rows: one a row, or one an output.
    pub(super) fn terms(&self, rows: usize, outputs: usize) -> usize {
        match self {
            Self::Softmax(_) => rows,
            Self::SquaredError { .. } => rows * outputs,
        }
    }

    /// Replaces the outputs of node `node` by the loss's gradient, with `f` fraction bits.
    pub(super) fn gradient<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        node: usize,
        z: &mut [W],
        target: Target<'_, W>,
    ) -> Result<(), Error> {
        match self {
            Self::Softmax(softmax) => {
                enter(party, node, "softmax");
                let ([logits], mut party) = party.scratch([z.len()])?;
                logits.copy_from_slice(z);
                let labels = Labels { one_hot: target.labels, weights: target.weights };
                softmax::gradient(&mut party, softmax, logits, labels, z, target.loss)
            }
            Self::SquaredError { frac_bits, shift, label_frac_bits } => {
                enter(party, node, "squared error");
                truncate_weighed(party, z, *shift, target.weights)?;
                let ([y], mut party) = party.scratch([z.len()])?;
                target.labels.share(&party, y);
                party.kernels.add_scaled(z, y, W::from_i64(-(1 << (frac_bits - label_frac_bits))));
                match target.loss {
                    Some(loss) => squares(&mut party, z, *frac_bits + 1, loss), // halves
                    None => Ok(()),
                }
            }
        }
    }
}

/// The labels of one lane's rows, and where the loss goes.
pub(super) struct Target<'a, W> {
    /// One-hot rows, or scaled targets.
    pub(super) labels: Masked<'a, W>,
    /// A word a row: 1, or 0 where the label names no class. `None` where all rows weigh 1.
    pub(super) weights: Option<Masked<'a, W>>,
    /// Receives shares of the loss's terms, if wanted: [`Criterion::terms`] of them.
    pub(super) loss: Option<&'a mut [W]>,
}

/// Names what follows, for plans, audits and errors.
pub(super) fn enter<W: Word>(party: &mut Party<'_, W>, layer: usize, name: &'static str) {
    party.trace.enter(u16::try_from(layer).unwrap_or(u16::MAX), name);
}

/// Truncates `z` by `frac_bits`; rows that weigh nothing become 0. One round.
fn truncate_weighed<W: Word>(
    party: &mut Party<'_, W>,
    z: &mut [W],
    frac_bits: u32,
    weights: Option<Masked<'_, W>>,
) -> Result<(), Error> {
    let Some(weights) = weights else { return truncate(party, z, frac_bits) };
    let cols = z.len().checked_div(weights.mask.rows.len()).unwrap_or(0);
    let ([c, repeated], mut party) = party.scratch([z.len(); 2])?;
    for (words, weight) in repeated.chunks_exact_mut(cols.max(1)).zip(weights.words) {
        words.fill(*weight);
    }
    let listed: Vec<u32>;
    let rows = match weights.mask.rows {
        Rows::Which(rows) => {
            listed = rows.iter().flat_map(|row| std::iter::repeat_n(*row, cols)).collect();
            Rows::Which(&listed)
        }
        Rows::All(rows) => Rows::All(rows * cols), // a plan's: counted
    };
    let factor = Masked { words: repeated, mask: View { rows, ..weights.mask } };
    let mut draw = party.draw()?;
    let word = open(&mut party, &mut draw, z, Cut::signed(frac_bits), c)?;
    truncated(&mut party, &mut draw, &word, z)?;
    times_masked(&mut party, &mut draw, &word, factor, z)
}

/// Shares of all `e² / 2^shift`, from the error `e`: opens it masked, one product, one truncation.
/// Needs `|e| < 2^(k/2 - 1)` units.
pub(super) fn squares<W: Word>(party: &mut Party<'_, W>, e: &[W], shift: u32, squares: &mut [W]) -> Result<(), Error> {
    alarm::squared(party, e)?;
    let ([open], mut party) = party.scratch([e.len()])?;
    open.copy_from_slice(e);
    let mask = party.draw()?.mask(e.len());
    let mask = mask_and_open(&mut party, open, mask)?;
    let e = Masked { words: open, mask };
    multiply(&mut party, e, e, squares)?;
    truncate(&mut party, squares, shift)
}
