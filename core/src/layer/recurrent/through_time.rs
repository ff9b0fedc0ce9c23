//! Back-propagation through time, and the gradients of parameters and inputs.

use super::{
    Cell, Recurrent, SequenceSizes, States,
    steps::{OpenedTensors, Weights, copy_padded, from_blocks, step_mask, to_blocks},
};
use crate::{
    correlation::View,
    layer::{Kept, RowLengths, Saved, Site},
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::{Factor, matmul},
        truncate::truncate,
    },
    word::Word,
};

/// Returns the name of the mask that the pass before drew.
fn mask_of(mask: Option<View<'static>>) -> View<'static> {
    let Some(mask) = mask else { panic!("the pass before names its mask") };
    mask
}

/// Adds the part of the output's gradient `dz` that belongs to step `i` to `dh`, the gradient of
/// the hidden state after it, and to `dc`, that of the cell state.
fn add_output<W: Word, C: Cell<W>>(
    party: &mut Party<'_, W>,
    layer: &Recurrent,
    (sizes, i): (&SequenceSizes, usize),
    dz: &[W],
    [dh, dc]: [&mut [W]; 2],
) -> Result<(), Error> {
    let (units, steps) = (sizes.units, sizes.steps);
    if layer.states != States::All && i + 1 < steps {
        return Ok(());
    }
    let stride = dz.len() / sizes.rows;
    let from = if layer.states == States::All { layer.position(i, steps) * units } else { 0 };
    let ([own], party) = party.scratch([dh.len()])?;
    to_blocks(dz, [stride, from, units], own);
    party.kernels.add(dh, own);
    if layer.states == States::Carry && C::CELL_STATES > 0 {
        to_blocks(dz, [stride, units, units], own);
        party.kernels.add(dc, own);
    }
    Ok(())
}

/// Sets the gradients `deltas` of the rows that are padded in step `step` to zero: tensors of
/// `state` words, `units` a row.
fn clear_padded<W: Word>(lengths: Option<RowLengths<'_>>, step: usize, [state, units]: [usize; 2], deltas: &mut [W]) {
    let Some(lengths) = lengths else { return };
    for own in deltas.chunks_exact_mut(state) {
        lengths.padded(step).for_each(|row| own[row * units..][..units].fill(W::default()));
    }
}

/// Back through all steps: see [`BackwardThroughTime`](crate::layer::BackwardThroughTime).
pub(super) fn backward_through_time<W: Word, C: Cell<W>>(
    layer: &Recurrent,
    party: &mut Party<'_, W>,
    site: &Site<'_, W>,
    dz: &[W],
    saved: &mut Saved<'_, W>,
) -> Result<(), Error> {
    if dz.is_empty() {
        return Ok(()); // a lane without rows
    }
    let sizes = layer.sizes(site, dz.len() / site.output.words());
    let SequenceSizes { steps, units, .. } = sizes;
    let (n, all, width) = (sizes.state(), sizes.all(), C::DELTAS * units);
    let (functions, weights) = (layer.functions(site), Weights::of::<C>(site, &sizes));
    let (forward, back) = saved.words.split_at_mut((1 + C::OPEN + C::SLOPES) * all);
    let (open, slopes) = forward[all..].split_at(C::OPEN * all);
    let mask = mask_of(saved.masks[0]).slice(all, C::OPEN * all);
    let open = OpenedTensors { words: open, mask, step: n, all };
    let (deltas, initial) = back.split_at_mut(C::DELTAS * all);
    let lens = [C::JACOBIAN * all, n, C::CELL_STATES * n, n, C::DELTAS * n, C::DELTAS * n];
    let ([jacobian, dh, dc, passed, blocks, own], mut party) = party.scratch(lens)?;
    let mask = C::jacobian(&mut party, &functions, &open, slopes, jacobian)?;
    let jacobian = OpenedTensors { words: jacobian, mask, step: n, all };
    let mask = party.draw()?.mask(C::DELTAS * all);
    saved.masks[1] = Some(mask.view());
    let mut right = mask.matrix(steps * width);
    dh.fill(W::default());
    dc.fill(W::default());
    for i in (0..steps).rev() {
        add_output::<W, C>(&mut party, layer, (&sizes, i), dz, [&mut *dh, &mut *dc])?;
        functions.clamp_gradient(&mut party, dh)?;
        let place = layer.position(i, steps);
        own[..n].copy_from_slice(dh);
        own[n..n + dc.len()].copy_from_slice(dc);
        let gradients = [&mut *dh, &mut *dc];
        C::step_back(&mut party, &functions, i, [&open, &jacobian], gradients, [&mut *blocks, &mut *passed])?;
        // A padded step passes gradients on as they are; parameters and inputs have none of it.
        copy_padded(site.lengths, [place, units], &own[..n], dh);
        copy_padded(site.lengths, [place, units], &own[n..n + dc.len()], dc);
        clear_padded(site.lengths, place, [n, units], blocks);
        from_blocks(blocks, [width, 0, units], own);
        let mask = mask_and_open(&mut party, own, step_mask(&mut right, width, !layer.reverse))?; // a round
        from_blocks(own, [steps * width, place * width, width], deltas);
        if i > 0 || layer.initial_state {
            add_passed::<W, C>(&mut party, &weights, Masked { words: own, mask }, passed)?;
            truncate(&mut party, passed, functions.frac_bits())?; // a round
        }
        copy_padded(site.lengths, [place, units], dh, passed);
        dh.copy_from_slice(passed);
    }
    let (first, cell_state) = initial.split_at_mut(n);
    first.copy_from_slice(dh);
    cell_state.copy_from_slice(dc);
    Ok(())
}

/// `passed += δ Uᵀ`, with `2 f` fraction bits.
fn add_passed<W: Word, C: Cell<W>>(
    party: &mut Party<'_, W>,
    weights: &Weights<'_, W>,
    deltas: Masked<'_, W>,
    passed: &mut [W],
) -> Result<(), Error> {
    let units = deltas.mask.cols / C::DELTAS;
    for [gate, delta, count] in C::STATE_DELTAS {
        let width = count * units;
        let lens = [deltas.mask.rows.len() * width, units * width, passed.len()];
        let ([own, gates, product], mut party) = party.scratch(lens)?;
        let own = columns(deltas, [delta * units, width], own);
        let gates = columns(weights.state, [gate * units, width], gates);
        matmul(&mut party, Factor::plain(own), Factor::transposed(gates), product)?;
        party.kernels.add(passed, product);
    }
    Ok(())
}

/// Columns of a masked matrix, gathered in `words`.
fn columns<'a, W: Word>(matrix: Masked<'a, W>, [from, width]: [usize; 2], words: &'a mut [W]) -> Masked<'a, W> {
    to_blocks(matrix.words, [matrix.mask.cols, from, width], words);
    Masked { words, mask: matrix.mask.columns(from, width) }
}

/// The gradients that the steps left, as a matrix of the rows' steps.
fn deltas<'a, W: Word, C: Cell<W>>(sizes: &SequenceSizes, kept: Kept<'a, W>) -> Masked<'a, W> {
    let (all, width) = (sizes.all(), C::DELTAS * sizes.units);
    let words = &kept.words[(1 + C::OPEN + C::SLOPES) * all..][..C::DELTAS * all];
    Masked { words, mask: mask_of(kept.masks[1]).matrix(width) }
}

/// The gradient of an input, `2 f` fraction bits: see [`Backward`](crate::layer::Backward).
pub(super) fn input_gradient<W: Word, C: Cell<W>>(
    layer: &Recurrent,
    party: &mut Party<'_, W>,
    site: &Site<'_, W>,
    input: usize,
    dx: &mut [W],
    kept: Kept<'_, W>,
) -> Result<(), Error> {
    if dx.is_empty() {
        return Ok(()); // a lane without rows
    }
    let sizes = layer.sizes(site, dx.len() / site.inputs[input].words());
    if input == 1 {
        let before = (1 + C::OPEN + C::SLOPES + C::DELTAS) * sizes.all();
        first_state(party, (&sizes, site.frac_bits), &kept.words[before..][..dx.len()], dx);
        return Ok(());
    }
    let width = C::GATES * sizes.units;
    let ([own], mut party) = party.scratch([sizes.rows * sizes.steps * width])?;
    let own = columns(deltas::<W, C>(&sizes, kept), [0, width], own);
    let weights = Weights::of::<C>(site, &sizes);
    matmul(&mut party, Factor::plain(own), Factor::transposed(weights.input), dx)
}

/// The gradient of the first hidden state and cell state.
fn first_state<W: Word>(party: &Party<'_, W>, (sizes, frac_bits): (&SequenceSizes, u32), words: &[W], dx: &mut [W]) {
    let (state, cell_state) = words.split_at(sizes.state());
    let stride = dx.len() / sizes.rows;
    from_blocks(state, [stride, 0, sizes.units], dx);
    if !cell_state.is_empty() {
        from_blocks(cell_state, [stride, sizes.units, sizes.units], dx);
    }
    party.kernels.scale(dx, W::from_u64(1).shl(frac_bits));
}

/// The gradients of all parameters, `2 f` fraction bits, over rows and steps.
pub(super) fn parameter_gradient<W: Word, C: Cell<W>>(
    layer: &Recurrent,
    party: &mut Party<'_, W>,
    site: &Site<'_, W>,
    x: Masked<'_, W>,
    kept: Kept<'_, W>,
    gradient: &mut [W],
) -> Result<(), Error> {
    let sizes = layer.sizes(site, x.mask.rows.len());
    let SequenceSizes { rows, steps, features, units } = sizes;
    let (width, deltas) = (C::GATES * units, deltas::<W, C>(&sizes, kept));
    let (weights, rest) = gradient.split_at_mut(features * width);
    let (recurrent, biases) = rest.split_at_mut(units * width);
    {
        let ([own], mut party) = party.scratch([rows * steps * width])?;
        let own = columns(deltas, [0, width], own);
        matmul(&mut party, Factor::transposed(x).cut(steps), Factor::plain(own), weights)?;
    }
    let all = sizes.all();
    let states = Masked { words: &kept.words[..all], mask: mask_of(kept.masks[0]).slice(0, all).matrix(units) };
    for [gate, delta, count] in C::STATE_DELTAS {
        let own_width = count * units;
        let ([own, product], mut party) = party.scratch([rows * steps * own_width, units * own_width])?;
        let own = columns(deltas, [delta * units, own_width], own);
        matmul(&mut party, Factor::transposed(states), Factor::plain(own), product)?;
        from_blocks(product, [width, gate * units, own_width], recurrent);
    }
    bias_gradient::<W, C>(party, (units, site.frac_bits), deltas, biases)
}

/// The sums of the gates' gradients over rows and steps.
fn bias_gradient<W: Word, C: Cell<W>>(
    party: &mut Party<'_, W>,
    (units, frac_bits): (usize, u32),
    deltas: Masked<'_, W>,
    biases: &mut [W],
) -> Result<(), Error> {
    let width = C::DELTAS * units;
    let ([shares, sum], party) = party.scratch([deltas.words.len(), width])?;
    if size_of::<W>() == 0 {
        return Ok(()); // a dry run counts
    }
    deltas.share(&party, shares); // free: no round, nothing dealt
    sum.fill(W::default());
    shares.chunks_exact(width).for_each(|row| party.kernels.add(sum, row));
    party.kernels.scale(sum, W::from_u64(1).shl(frac_bits));
    let (own, of_state) = biases.split_at_mut(C::GATES * units);
    own.copy_from_slice(&sum[..C::GATES * units]);
    of_state.copy_from_slice(&sum[width - of_state.len()..]);
    Ok(())
}
