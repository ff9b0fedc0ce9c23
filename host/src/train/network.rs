//! Forward and backward pass of a chain of dense layers, on the rows of one lane.

use super::shape::Dense;
use crate::job::{Job, Loss, Task};
use symbolon_core::{
    correlation::{Mask, Rows, View},
    function::softmax::{self, Labels, Shape, Softmax},
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        alarm,
        masked::{Masked, mask_and_open},
        product::{Factor, matmul, multiply},
        relu::{relu, relu_backward},
        select::Selector,
        times::times_masked,
        truncate::{Cut, open, truncate, truncated},
    },
    word::Word,
};

/// What all lanes use in a pass: the network and its opened weights.
pub(super) struct Network<'a, W> {
    /// First to last.
    pub(super) layers: &'a [Dense],
    /// Shares of all parameters; biases are used from here.
    pub(super) shares: &'a [W],
    /// All parameters, masked and open; weights are used from here.
    pub(super) open: &'a [W],
    /// Names the mask of `open`.
    pub(super) mask: View<'static>,
    /// Fraction bits of values.
    pub(super) frac_bits: u32,
    /// What the last layer's results are for.
    pub(super) criterion: &'a Criterion,
}

/// The loss that is minimised, and what it needs.
pub(super) enum Criterion {
    Softmax(Box<Softmax>),
    SquaredError {
        /// Fraction bits of the labels: none for classes, whose rows are ones and zeros.
        label_frac_bits: u32,
    },
}

impl Criterion {
    pub(super) fn new(job: &Job) -> Self {
        let frac_bits = job.numbers.frac_bits;
        match job.loss {
            Loss::SoftmaxCrossEntropy => Self::Softmax(Box::new(Softmax::new(Shape {
                classes: u32::try_from(job.outputs()).unwrap_or(u32::MAX),
                frac_bits,
                logit_frac_bits: 2 * frac_bits,
            }))),
            Loss::MeanSquaredError => Self::SquaredError {
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
}

/// A buffer to be masked and opened once, and the right to do so.
pub(super) struct Slot<'a, W> {
    words: &'a mut [W],
    mask: Option<Mask>,
    view: View<'static>,
}

impl<'a, W: Word> Slot<'a, W> {
    /// A slot for `words`, hidden by `mask`.
    pub(super) fn new(words: &'a mut [W], mask: Mask) -> Self {
        Self { view: mask.view(), words, mask: Some(mask) }
    }

    /// Masks and opens `share`: one round.
    fn open(&mut self, party: &mut Party<'_, W>, share: &[W]) -> Result<(), Error> {
        let mask = self.mask.take().expect("a slot is opened once");
        self.words.copy_from_slice(share);
        mask_and_open(party, self.words, mask)?;
        Ok(())
    }

    /// What was opened, as a matrix.
    fn matrix(&self, cols: usize) -> Masked<'_, W> {
        Masked { words: self.words, mask: self.view.matrix(cols) }
    }
}

/// One layer's buffers for one lane's rows.
pub(super) struct Slots<'a, W> {
    /// Activations; the next layer's input. None for the last layer.
    pub(super) hidden: Option<Slot<'a, W>>,
    /// Gradient of the pre-activations.
    pub(super) delta: Slot<'a, W>,
    /// Shares of that gradient's sum over the rows.
    pub(super) bias: &'a mut [W],
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

/// `x y`.
fn factor<W>(value: Masked<'_, W>, transposed: bool) -> Factor<'_, W> {
    Factor { value, transposed }
}

/// Names what follows, for plans, audits and errors.
pub(super) fn enter<W: Word>(party: &mut Party<'_, W>, layer: usize, name: &'static str) {
    party.trace.enter(u16::try_from(layer).unwrap_or(u16::MAX), name);
}

impl<W: Word> Network<'_, W> {
    fn weights(&self, layer: &Dense) -> Masked<'_, W> {
        let range = layer.weights();
        let mask = self.mask.slice(range.start, range.len()).matrix(layer.units);
        Masked { words: &self.open[range], mask }
    }

    /// `z = x w + bias`, with `2 f` fraction bits.
    fn affine(&self, party: &mut Party<'_, W>, l: usize, x: Masked<'_, W>, z: &mut [W]) -> Result<(), Error> {
        let layer = &self.layers[l];
        enter(party, l, "forward product");
        matmul(party, factor(x, false), factor(self.weights(layer), false), z)?;
        let ([bias], party) = party.scratch([layer.units])?;
        bias.copy_from_slice(&self.shares[layer.bias()]);
        party.kernels.scale(bias, W::from_u64(1 << self.frac_bits));
        for z in z.chunks_exact_mut(layer.units) {
            party.kernels.add(z, bias);
        }
        Ok(())
    }

    /// Layer `l` and all after it, forwards and back; fills `slots`, the first of which is layer `l`'s.
    pub(super) fn pass(
        &self,
        party: &mut Party<'_, W>,
        l: usize,
        x: Masked<'_, W>,
        slots: &mut [Slots<'_, W>],
        target: Target<'_, W>,
    ) -> Result<(), Error> {
        let units = self.layers[l].units;
        let n = x.mask.rows.len() * units;
        let ([z, rho, beta], mut party) = party.scratch([n, n, plane_words::<W>(n)])?;
        let party = &mut party;
        self.affine(party, l, x, z)?;
        let (own, rest) = slots.split_first_mut().expect("a slot for each layer");
        match &mut own.hidden {
            None => self.output(party, l, z, target)?,
            Some(hidden) => {
                let bit = match self.layers[l].relu {
                    true => {
                        enter(party, l, "relu");
                        Some(relu(party, z, self.frac_bits, beta, rho)?)
                    }
                    false => {
                        enter(party, l, "truncation");
                        truncate(party, z, self.frac_bits)?;
                        None
                    }
                };
                enter(party, l, "open activations");
                hidden.open(party, z)?;
                self.pass(party, l + 1, hidden.matrix(units), rest, target)?;
                let next = &self.layers[l + 1];
                enter(party, l, "backward product");
                matmul(party, factor(rest[0].delta.matrix(next.units), false), factor(self.weights(next), true), z)?;
                match bit {
                    Some(mask) => {
                        enter(party, l, "relu backward");
                        relu_backward(party, z, self.frac_bits, Selector { open: beta, mask, rho })?;
                    }
                    None => {
                        enter(party, l, "truncation backward");
                        truncate(party, z, self.frac_bits)?;
                    }
                }
            }
        }
        own.bias.fill(W::default());
        for row in z.chunks_exact(units) {
            party.kernels.add(own.bias, row);
        }
        enter(party, l, "open gradient");
        own.delta.open(party, z)
    }

    /// From the last layer's `z` (`2 f` fraction bits) to the loss's gradient (`f`), in place.
    fn output(&self, party: &mut Party<'_, W>, l: usize, z: &mut [W], target: Target<'_, W>) -> Result<(), Error> {
        match self.criterion {
            Criterion::Softmax(softmax) => {
                enter(party, l, "softmax");
                let ([logits], mut party) = party.scratch([z.len()])?;
                logits.copy_from_slice(z);
                let labels = Labels { one_hot: target.labels, weights: target.weights };
                softmax::gradient(&mut party, softmax, logits, labels, z, target.loss)
            }
            Criterion::SquaredError { label_frac_bits } => {
                enter(party, l, "squared error");
                truncate_weighed(party, z, self.frac_bits, target.weights)?;
                let ([y], mut party) = party.scratch([z.len()])?;
                target.labels.share(&party, y);
                party.kernels.add_scaled(z, y, W::from_i64(-(1 << (self.frac_bits - label_frac_bits))));
                match target.loss {
                    Some(loss) => squares(&mut party, z, self.frac_bits + 1, loss), // halves
                    None => Ok(()),
                }
            }
        }
    }

    /// Outputs for rows `x`, `2 f` fraction bits: the forward pass alone.
    pub(super) fn predict(
        &self,
        party: &mut Party<'_, W>,
        l: usize,
        x: Masked<'_, W>,
        outputs: &mut [W],
    ) -> Result<(), Error> {
        let rows = x.mask.rows.len();
        if l + 1 == self.layers.len() {
            return self.affine(party, l, x, outputs);
        }
        let n = rows * self.layers[l].units;
        let ([z, rho, beta], mut party) = party.scratch([n, n, plane_words::<W>(n)])?;
        self.affine(&mut party, l, x, z)?;
        if self.layers[l].relu {
            relu(&mut party, z, self.frac_bits, beta, rho)?;
        } else {
            truncate(&mut party, z, self.frac_bits)?;
        }
        let mask = party.draw()?.mask(n);
        let view = mask_and_open(&mut party, z, mask)?;
        self.predict(&mut party, l + 1, Masked { words: z, mask: view.matrix(self.layers[l].units) }, outputs)
    }
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
