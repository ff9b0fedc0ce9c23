//! The gated recurrent unit: reset `r`, update `z` and candidate `n`.
//!
//! `r, z = σ(a + h U)`, `q = h U + c`, `n = tanh(a + r q)`, `h' = n + z (h - n)`. Backward, with
//! `e = h - n`: `∂h'/∂z = e`, `∂h'/∂n = 1 - z`, `∂n/∂r = q`, `∂n/∂q = r`, each times the slope of
//! its function.

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

/// The GRU cell: one step and its derivatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gru;

/// Tensors that a step opens: reset, update, `q` and `e`.
const R: usize = 0;
const Z: usize = 1;
const Q: usize = 2;
const E: usize = 3;

/// Derivatives of the state by the inputs of `z` and `n`, and of `n` by that of `r`; then of the
/// state by those of `r` and of `q`.
const BY_Z: usize = 0;
const BY_N: usize = 1;
const N_BY_R: usize = 2;
const BY_R: usize = 3;
const BY_Q: usize = 4;

impl<W: Word> Cell<W> for Gru {
    const GATES: usize = 3;
    const CELL_STATES: usize = 0;
    const STATE_BIAS: bool = true;
    const OPEN: usize = 4;
    const SLOPES: usize = 3;
    const JACOBIAN: usize = 5;
    const DELTAS: usize = 4; // of r, z, n, and of q in place of n
    const STATE_DELTAS: &'static [[usize; 3]] = &[[0, 0, 2], [2, 3, 1]];

    fn step(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        [input, state]: [&mut [W]; 2],
        [h, _]: [&mut [W]; 2],
        (kept, slopes, i): (&mut StepOpenings<'_, W>, &mut [W], usize),
    ) -> Result<(), Error> {
        let (n, f) = (h.len(), functions.frac_bits());
        let (of_gates, of_candidate) = slopes.split_at_mut(if slopes.is_empty() { 0 } else { 2 * n });
        let ([gates, inner, candidate], mut party) = party.scratch([2 * n, n, n])?;
        party.kernels.add(&mut state[..2 * n], &input[..2 * n]);
        truncate(&mut party, state, f)?; // a round
        functions.sigmoid.apply(&mut party, &functions.numbers, (&state[..2 * n], &mut *gates), non_empty(of_gates))?;
        kept.open(&mut party, i, [(R, &gates[..n]), (Z, &gates[n..]), (Q, &state[2 * n..])])?; // a round
        multiply(&mut party, kept.at(R, i), kept.at(Q, i), inner)?;
        party.kernels.add(inner, &input[2 * n..]);
        truncate(&mut party, inner, f)?; // a round
        functions.tanh.apply(&mut party, &functions.numbers, (&*inner, &mut *candidate), non_empty(of_candidate))?;
        party.kernels.sub(h, candidate);
        kept.open(&mut party, i, [(E, &*h)])?; // a round
        multiply(&mut party, kept.at(Z, i), kept.at(E, i), h)?;
        party.kernels.add_scaled(h, candidate, W::from_u64(1).shl(f));
        truncate(&mut party, h, f) // a round
    }

    fn jacobian(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        open: &OpenedTensors<'_, W>,
        slopes: &[W],
        out: &mut [W],
    ) -> Result<View<'static>, Error> {
        let (f, all) = (functions.frac_bits(), open.all);
        let ([own], mut party) = party.scratch([3 * all])?;
        let slopes = open_slopes(&mut party, slopes, [open.step, 3], own)?; // a round
        let mask = party.draw()?.mask(5 * all);
        let view = mask.view();
        let (head, tail) = mask.split_at(3 * all);
        let (first, last) = out.split_at_mut(3 * all);
        let tensor = |j: usize| j * all..(j + 1) * all;
        multiply(&mut party, open.whole(E), slopes.whole(Z), &mut first[tensor(BY_Z)])?;
        multiply(&mut party, open.whole(Q), slopes.whole(R), &mut first[tensor(N_BY_R)])?;
        // (1 - z) tanh'
        let by_n = &mut first[tensor(BY_N)];
        multiply(&mut party, open.whole(Z), slopes.whole(2), by_n)?;
        party.kernels.scale(by_n, W::from_i64(-1));
        let ([share], mut party) = party.scratch([all])?;
        slopes.whole(2).share(&party, share);
        party.kernels.add_scaled(by_n, share, W::from_u64(1).shl(f));
        truncate(&mut party, first, f)?; // a round
        mask_and_open(&mut party, first, head)?; // a round
        let opened = |j: usize| Masked { words: &first[tensor(j)], mask: view.slice(j * all, all) };
        multiply(&mut party, opened(BY_N), opened(N_BY_R), &mut last[..all])?;
        multiply(&mut party, opened(BY_N), open.whole(R), &mut last[all..])?;
        truncate(&mut party, last, f)?; // a round
        mask_and_open(&mut party, last, tail)?; // a round
        Ok(view)
    }

    fn step_back(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        i: usize,
        [open, jacobian]: [&OpenedTensors<'_, W>; 2],
        [dh, _]: [&mut [W]; 2],
        [deltas, passed]: [&mut [W]; 2],
    ) -> Result<(), Error> {
        let n = dh.len();
        let mask = party.draw()?.mask(n);
        let mask = mask_and_open(party, dh, mask)?; // a round
        let dh = Masked { words: &*dh, mask };
        for (delta, j) in deltas.chunks_exact_mut(n).zip([BY_R, BY_Z, BY_N, BY_Q]) {
            multiply(party, dh, jacobian.at(j, i), delta)?;
        }
        truncate(party, deltas, functions.frac_bits())?; // a round
        multiply(party, dh, open.at(Z, i), passed)
    }
}
