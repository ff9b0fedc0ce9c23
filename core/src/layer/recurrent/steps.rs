//! The forward pass of a recurrent layer, and the buffers of its steps.

use super::{Cell, CellFunctions, Recurrent, SequenceSizes, States};
use crate::{
    correlation::{Mask, View},
    layer::{Input, RowLengths, Saved, Site},
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open, mask_and_open_all},
        product::{Factor, matmul},
    },
    word::Word,
};

/// Most tensors that a step opens.
const MAX_OPEN: usize = 6;

/// Opened tensors of all steps, one after the other.
pub(super) struct OpenedTensors<'a, W> {
    pub(super) words: &'a [W],
    pub(super) mask: View<'static>,
    /// Words of a step.
    pub(super) step: usize,
    /// Words of a tensor.
    pub(super) all: usize,
}

impl<W> OpenedTensors<'_, W> {
    /// Tensor `j` of all steps.
    pub(super) fn whole(&self, j: usize) -> Masked<'_, W> {
        self.part(j * self.all, self.all)
    }

    /// Tensor `j` of step `i`.
    pub(super) fn at(&self, j: usize, i: usize) -> Masked<'_, W> {
        self.part(j * self.all + i * self.step, self.step)
    }

    fn part(&self, at: usize, len: usize) -> Masked<'_, W> {
        Masked { words: &self.words[at..at + len], mask: self.mask.slice(at, len) }
    }
}

/// The tensors that steps open: all of them in training, those of one step in inference.
pub(super) struct StepOpenings<'a, W> {
    words: &'a mut [W],
    /// Masks of the steps to come, a tensor each.
    unused_masks: [Mask; MAX_OPEN],
    mask: View<'static>,
    step: usize,
    steps: usize,
    keeps: bool,
}

impl<'a, W: Word> StepOpenings<'a, W> {
    /// Tensors of `sizes`, masked by `mask`, in `words`: of all steps if it `keeps` them.
    fn new(words: &'a mut [W], mask: Mask, sizes: &SequenceSizes, keeps: bool) -> Self {
        let (view, all) = (mask.view(), sizes.all());
        let mut rest = mask;
        let unused_masks = core::array::from_fn(|_| {
            let own = all.min(rest.len());
            let (right, others) = core::mem::replace(&mut rest, Mask::empty()).split_at(own);
            rest = others;
            right
        });
        Self { words, unused_masks, mask: view, step: sizes.state(), steps: sizes.steps, keeps }
    }

    fn place(&self, j: usize, i: usize) -> core::ops::Range<usize> {
        let at = if self.keeps { j * self.steps + i } else { j } * self.step;
        at..at + self.step
    }

    /// Tensor `j` of step `i`, open.
    pub(super) fn at(&self, j: usize, i: usize) -> Masked<'_, W> {
        let mask = self.mask.slice((j * self.steps + i) * self.step, self.step);
        Masked { words: &self.words[self.place(j, i)], mask }
    }

    /// Opens tensors of step `i`, shares of which are given: one round.
    pub(super) fn open<const N: usize>(
        &mut self,
        party: &mut Party<'_, W>,
        i: usize,
        values: [(usize, &[W]); N],
    ) -> Result<(), Error> {
        let places = values.map(|(j, _)| self.place(j, i));
        let step = self.step;
        let masks = values.map(|(j, _)| {
            let (own, others) = core::mem::replace(&mut self.unused_masks[j], Mask::empty()).split_at(step);
            self.unused_masks[j] = others;
            own
        });
        let Ok(mut parts) = self.words.get_disjoint_mut(places) else { panic!("tensors lie apart") };
        parts.iter_mut().zip(values).for_each(|(part, (_, shares))| part.copy_from_slice(shares));
        mask_and_open_all(party, parts, masks)
    }
}

/// Copies `blocks` of `units` columns, one after the other, from rows of `stride` words that begin
/// `from` words in.
pub(super) fn to_blocks<W: Word>(rows: &[W], [stride, from, units]: [usize; 3], blocks: &mut [W]) {
    if size_of::<W>() == 0 {
        return;
    }
    let n = rows.len() / stride * units;
    for (j, block) in blocks.chunks_exact_mut(n).enumerate() {
        for (own, row) in block.chunks_exact_mut(units).zip(rows.chunks_exact(stride)) {
            own.copy_from_slice(&row[from + j * units..][..units]);
        }
    }
}

/// Copies blocks back into rows: the inverse of [`to_blocks`].
pub(super) fn from_blocks<W: Word>(blocks: &[W], [stride, from, units]: [usize; 3], rows: &mut [W]) {
    if size_of::<W>() == 0 {
        return;
    }
    let n = rows.len() / stride * units;
    for (j, block) in blocks.chunks_exact(n).enumerate() {
        for (own, row) in block.chunks_exact(units).zip(rows.chunks_exact_mut(stride)) {
            row[from + j * units..][..units].copy_from_slice(own);
        }
    }
}

/// Copies the rows of a state that are padded in step `step`, `units` words each.
pub(super) fn copy_padded<W: Word>(
    lengths: Option<RowLengths<'_>>,
    [step, units]: [usize; 2],
    from: &[W],
    to: &mut [W],
) {
    let Some(lengths) = lengths.filter(|_| !to.is_empty()) else { return };
    for row in lengths.padded(step) {
        let own = row * units..(row + 1) * units;
        to[own.clone()].copy_from_slice(&from[own]);
    }
}

/// The layer's parameters.
pub(super) struct Weights<'a, W> {
    /// `features` rows, masked.
    pub(super) input: Masked<'a, W>,
    /// `units` rows, masked.
    pub(super) state: Masked<'a, W>,
    /// Shares of the biases, of the gates and of the last gate's product with the state.
    biases: [&'a [W]; 2],
}

impl<'a, W: Word> Weights<'a, W> {
    pub(super) fn of<C: Cell<W>>(site: &Site<'a, W>, sizes: &SequenceSizes) -> Self {
        let cols = C::GATES * sizes.units;
        let [first, second] = [sizes.features, sizes.units].map(|rows| rows * cols);
        let matrix = |at: usize, len: usize| Masked {
            words: &site.open.words[at..at + len],
            mask: site.open.mask.slice(at, len).matrix(cols),
        };
        let (bias, own) = site.shares[first + second..].split_at(cols);
        Self { input: matrix(0, first), state: matrix(first, second), biases: [bias, own] }
    }
}

/// Adds biases, with `frac_bits` fraction bits more than they have, to the last columns of rows of
/// `cols` products.
fn add_bias<W: Word>(
    party: &mut Party<'_, W>,
    bias: &[W],
    frac_bits: u32,
    (rows, cols): (&mut [W], usize),
) -> Result<(), Error> {
    let ([scaled], party) = party.scratch([bias.len()])?;
    if size_of::<W>() == 0 {
        return Ok(()); // a dry run counts
    }
    scaled.copy_from_slice(bias);
    party.kernels.scale(scaled, W::from_u64(1).shl(frac_bits));
    rows.chunks_exact_mut(cols).for_each(|row| party.kernels.add(&mut row[cols - bias.len()..], scaled));
    Ok(())
}

/// Writes shares of the first hidden state and cell state, or zeros.
fn load_initial_state<W: Word>(
    party: &mut Party<'_, W>,
    initial: Option<&Input<'_, W>>,
    units: usize,
    [h, cell_state]: [&mut [W]; 2],
) -> Result<(), Error> {
    h.fill(W::default());
    cell_state.fill(W::default());
    let Some(initial) = initial else { return Ok(()) };
    let len = h.len() + cell_state.len();
    let ([share], party) = party.scratch([len])?;
    initial.masked().share(&party, share);
    let stride = len / (h.len() / units);
    to_blocks(share, [stride, 0, units], h);
    if !cell_state.is_empty() {
        to_blocks(share, [stride, units, units], cell_state);
    }
    Ok(())
}

/// All steps of a pass: see [`Layer::forward`](crate::layer::Layer::forward).
pub(super) fn forward<W: Word, C: Cell<W>>(
    (layer, functions): (&Recurrent, &CellFunctions<'_, W>),
    party: &mut Party<'_, W>,
    site: &Site<'_, W>,
    x: &[Input<'_, W>],
    z: &mut [W],
    saved: &mut Saved<'_, W>,
) -> Result<(), Error> {
    if z.is_empty() {
        return Ok(()); // a lane without rows
    }
    let first = x[0].masked();
    let sizes = layer.sizes(site, first.mask.rows.len());
    let SequenceSizes { rows, steps, units, .. } = sizes;
    let (n, all, cols, keeps) = (sizes.state(), sizes.all(), C::GATES * units, site.moment.is_some());
    let weights = Weights::of::<C>(site, &sizes);
    let frac_bits = functions.frac_bits();
    let lens = [steps * rows * cols, rows * cols, C::GATES * n, C::GATES * n, n, n, C::CELL_STATES * n];
    let ([a, u, input, state, open, h, cell_state], mut party) = party.scratch(lens)?;
    matmul(&mut party, Factor::plain(first).cut(steps), Factor::plain(weights.input), a)?;
    add_bias(&mut party, weights.biases[0], frac_bits, (&mut *a, cols))?;
    load_initial_state(&mut party, x.get(1), units, [&mut *h, &mut *cell_state])?;
    let mask = party.draw()?.mask((1 + C::OPEN) * all);
    saved.masks[0] = Some(mask.view());
    let (right, others) = mask.split_at(all);
    let mut right = right.matrix(steps * units);
    let (states, kept) = saved.words.split_at_mut(if keeps { all } else { 0 });
    let (kept, slopes) = kept.split_at_mut(C::OPEN * if keeps { all } else { n });
    let mut kept = StepOpenings::new(kept, others, &sizes, keeps);
    for i in 0..steps {
        let place = layer.position(i, steps);
        open.copy_from_slice(h);
        let mask = mask_and_open(&mut party, open, step_mask(&mut right, units, layer.reverse))?; // a round
        let masked = Masked { words: &*open, mask };
        if keeps {
            from_blocks(open, [steps * units, place * units, units], states);
        }
        matmul(&mut party, Factor::plain(masked), Factor::plain(weights.state), u)?;
        if C::STATE_BIAS {
            add_bias(&mut party, weights.biases[1], frac_bits, (&mut *u, cols))?;
        }
        to_blocks(a, [steps * cols, place * cols, units], input);
        to_blocks(u, [cols, 0, units], state);
        // The product is copied: its buffer keeps the states for the rows that this step pads.
        let (before, others) = u.split_at_mut(n);
        before.copy_from_slice(h);
        let cell_before = &mut others[..cell_state.len()];
        cell_before.copy_from_slice(cell_state);
        let slopes = if keeps { &mut slopes[C::SLOPES * i * n..][..C::SLOPES * n] } else { &mut [] };
        C::step(
            &mut party,
            functions,
            [&mut *input, &mut *state],
            [&mut *h, &mut *cell_state],
            (&mut kept, slopes, i),
        )?;
        copy_padded(site.lengths, [place, units], before, h);
        copy_padded(site.lengths, [place, units], cell_before, cell_state);
        if layer.states == States::All {
            from_blocks(h, [steps * units, place * units, units], z);
        }
    }
    write_last(layer.states, units, [h, cell_state], z);
    Ok(())
}

/// Writes the states behind the last step as the layer gives them; those of all steps are written
/// step by step.
fn write_last<W: Word>(states: States, units: usize, [h, cell_state]: [&[W]; 2], z: &mut [W]) {
    match states {
        States::All => {}
        States::Last => z.copy_from_slice(h),
        States::Carry if cell_state.is_empty() => from_blocks(h, [units, 0, units], z),
        States::Carry => {
            from_blocks(h, [2 * units, 0, units], z);
            from_blocks(cell_state, [2 * units, units, units], z);
        }
    }
}

/// The mask of the next step: `units` columns from the left, or from the right.
pub(super) fn step_mask(rest: &mut Mask, units: usize, from_right: bool) -> Mask {
    let mask = core::mem::replace(rest, Mask::empty());
    if from_right {
        let cols = mask.cols();
        let (others, own) = mask.split_columns(cols - units);
        *rest = others;
        own
    } else {
        let (own, others) = mask.split_columns(units);
        *rest = others;
        own
    }
}

/// Returns the buffer for slopes; `None` if it is empty, in inference.
pub(super) fn non_empty<W>(slopes: &mut [W]) -> Option<&mut [W]> {
    (!slopes.is_empty()).then_some(slopes)
}

/// Opens the slopes of all steps, tensor by tensor in `out`: a round. `slopes` has `count` tensors
/// of `step` words for each step.
pub(super) fn open_slopes<'a, W: Word>(
    party: &mut Party<'_, W>,
    slopes: &[W],
    [step, count]: [usize; 2],
    out: &'a mut [W],
) -> Result<OpenedTensors<'a, W>, Error> {
    let all = out.len() / count;
    for (i, own) in slopes.chunks_exact(step * count).enumerate() {
        for (j, own) in own.chunks_exact(step).enumerate() {
            out[j * all + i * step..][..step].copy_from_slice(own);
        }
    }
    let mask = party.draw()?.mask(out.len());
    let mask = mask_and_open(party, out, mask)?;
    Ok(OpenedTensors { words: out, mask, step, all })
}
