//! Long short-term memory: input gate `i`, forget gate `f`, cell gate `g`, output gate `o`.
//!
//! `c' = f c + i g`, `m = tanh(c')`, `h' = o m`. Backward, the cell state's gradient takes
//! `o tanh'` times the state's, and passes on `f` of it.

use super::{
    Cell, CellFunctions, OpenedTensors, StepOpenings,
    steps::{non_empty, open_slopes},
};
use crate::{
    correlation::View,
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::multiply,
        truncate::truncate,
    },
    word::Word,
};

/// The LSTM cell: one step and its derivatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lstm;

/// Tensors that a step opens: the gates, the cell state before the step, and `m`.
const I: usize = 0;
const F: usize = 1;
const G: usize = 2;
const O: usize = 3;
const C: usize = 4;
const M: usize = 5;

/// Slopes: of `i`, `f`, `o`, `g` and `m`.
const OF_I: usize = 0;
const OF_F: usize = 1;
const OF_O: usize = 2;
const OF_G: usize = 3;
const OF_M: usize = 4;

/// Derivatives of the cell state by the inputs of `i`, `f` and `g`; of the state by that of `o`,
/// and by the cell state.
const C_BY_I: usize = 0;
const C_BY_F: usize = 1;
const C_BY_G: usize = 2;
const BY_O: usize = 3;
const BY_C: usize = 4;

impl<W: Word> Cell<W> for Lstm {
    const GATES: usize = 4;
    const CELL_STATES: usize = 1;
    const STATE_BIAS: bool = false;
    const OPEN: usize = 6;
    const SLOPES: usize = 5;
    const JACOBIAN: usize = 5;
    const DELTAS: usize = 4;
    const STATE_DELTAS: &'static [[usize; 3]] = &[[0, 0, 4]];

    fn step(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        [input, state]: [&mut [W]; 2],
        [h, cell_state]: [&mut [W]; 2],
        (kept, slopes, i): (&mut StepOpenings<'_, W>, &mut [W], usize),
    ) -> Result<(), Error> {
        let (n, f) = (h.len(), functions.frac_bits());
        let (of_gates, rest) = slopes.split_at_mut(if slopes.is_empty() { 0 } else { 3 * n });
        let (of_cell, of_cell_state) = rest.split_at_mut(rest.len() / 2);
        let ([gates, cell, product], mut party) = party.scratch([3 * n, n, n])?;
        party.kernels.add(state, input);
        truncate(&mut party, state, f)?; // a round
        state[2 * n..].rotate_left(n); // i, f and o side by side, then g
        functions.sigmoid.apply(&mut party, &functions.numbers, (&state[..3 * n], &mut *gates), non_empty(of_gates))?;
        functions.tanh.apply(&mut party, &functions.numbers, (&state[3 * n..], &mut *cell), non_empty(of_cell))?;
        let gate = |j: usize| &gates[j * n..(j + 1) * n];
        let opened = [(I, gate(0)), (F, gate(1)), (O, gate(2)), (G, &*cell), (C, &*cell_state)];
        kept.open(&mut party, i, opened)?; // a round
        multiply(&mut party, kept.at(F, i), kept.at(C, i), cell_state)?;
        multiply(&mut party, kept.at(I, i), kept.at(G, i), product)?;
        party.kernels.add(cell_state, product);
        truncate(&mut party, cell_state, f)?; // a round
        functions.tanh.apply(&mut party, &functions.numbers, (&*cell_state, &mut *cell), non_empty(of_cell_state))?;
        kept.open(&mut party, i, [(M, &*cell)])?; // a round
        multiply(&mut party, kept.at(O, i), kept.at(M, i), h)?;
        truncate(&mut party, h, f) // a round
    }

    fn jacobian(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        open: &OpenedTensors<'_, W>,
        slopes: &[W],
        out: &mut [W],
    ) -> Result<View<'static>, Error> {
        let all = open.all;
        let ([own], mut party) = party.scratch([5 * all])?;
        let slopes = open_slopes(&mut party, slopes, [open.step, 5], own)?; // a round
        for (j, own) in out.chunks_exact_mut(all).enumerate() {
            let (value, slope) = [(G, OF_I), (C, OF_F), (I, OF_G), (M, OF_O), (O, OF_M)][j];
            multiply(&mut party, open.whole(value), slopes.whole(slope), own)?;
        }
        truncate(&mut party, out, functions.frac_bits())?; // a round
        let mask = party.draw()?.mask(out.len());
        mask_and_open(&mut party, out, mask) // a round
    }

    fn step_back(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        i: usize,
        [open, jacobian]: [&OpenedTensors<'_, W>; 2],
        [dh, dc]: [&mut [W]; 2],
        [deltas, passed]: [&mut [W]; 2],
    ) -> Result<(), Error> {
        let (n, f) = (dh.len(), functions.frac_bits());
        passed.fill(W::default());
        let ([own], mut party) = party.scratch([4 * n])?;
        let mask = party.draw()?.mask(n);
        let mask = mask_and_open(&mut party, dh, mask)?; // a round
        let dh = Masked { words: &*dh, mask };
        multiply(&mut party, dh, jacobian.at(BY_O, i), &mut own[..n])?;
        multiply(&mut party, dh, jacobian.at(BY_C, i), &mut own[n..2 * n])?;
        truncate(&mut party, &mut own[..2 * n], f)?; // a round
        deltas[O * n..].copy_from_slice(&own[..n]);
        party.kernels.add(dc, &own[n..2 * n]);
        functions.clamp_gradient(&mut party, dc)?;
        let mask = party.draw()?.mask(n);
        let mask = mask_and_open(&mut party, dc, mask)?; // a round
        let open_dc = Masked { words: &*dc, mask };
        for (j, own) in own.chunks_exact_mut(n).enumerate() {
            let by = if j == 3 { open.at(F, i) } else { jacobian.at([C_BY_I, C_BY_F, C_BY_G][j], i) };
            multiply(&mut party, open_dc, by, own)?;
        }
        truncate(&mut party, own, f)?; // a round
        deltas[..O * n].copy_from_slice(&own[..3 * n]);
        dc.copy_from_slice(&own[3 * n..]);
        Ok(())
    }
}
