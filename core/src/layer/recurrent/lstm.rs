//! Long short-term memory: input gate `i`, forget gate `f`, cell gate `g`, output gate `o`.
//!
//! `c' = f c + i g`, `m = tanh(c')`, `h' = o m`. Backward, the memory's gradient takes
//! `o tanh'` times the state's, and passes on `f` of it.

use super::{Cell, Opened, Rule, Tensors, gru::open_slopes, simple::wanted};
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

/// The cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lstm;

/// Tensors that a step opens: the gates, the memory before the step, and `m`.
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

/// Derivatives of the memory by the inputs of `i`, `f` and `g`; of the state by that of `o`, and by
/// the memory.
const C_BY_I: usize = 0;
const C_BY_F: usize = 1;
const C_BY_G: usize = 2;
const BY_O: usize = 3;
const BY_C: usize = 4;

impl<W: Word> Cell<W> for Lstm {
    const GATES: usize = 4;
    const MEMORY: usize = 1;
    const STATE_BIAS: bool = false;
    const OPEN: usize = 6;
    const SLOPES: usize = 5;
    const JACOBIAN: usize = 5;
    const DELTAS: usize = 4;
    const STATE_DELTAS: &'static [[usize; 3]] = &[[0, 0, 4]];

    fn step(
        party: &mut Party<'_, W>,
        rule: &Rule<'_, W>,
        [input, state]: [&mut [W]; 2],
        [h, memory]: [&mut [W]; 2],
        (kept, slopes, i): (&mut Opened<'_, W>, &mut [W], usize),
    ) -> Result<(), Error> {
        let (n, f) = (h.len(), rule.frac_bits());
        let (of_gates, rest) = slopes.split_at_mut(if slopes.is_empty() { 0 } else { 3 * n });
        let (of_cell, of_memory) = rest.split_at_mut(rest.len() / 2);
        let ([gates, cell, product], mut party) = party.scratch([3 * n, n, n])?;
        party.kernels.add(state, input);
        truncate(&mut party, state, f)?; // a round
        state[2 * n..].rotate_left(n); // i, f and o side by side, then g
        rule.sigmoid.apply(&mut party, &rule.numbers, (&state[..3 * n], &mut *gates), wanted(of_gates))?;
        rule.tanh.apply(&mut party, &rule.numbers, (&state[3 * n..], &mut *cell), wanted(of_cell))?;
        let gate = |j: usize| &gates[j * n..(j + 1) * n];
        let opened = [(I, gate(0)), (F, gate(1)), (O, gate(2)), (G, &*cell), (C, &*memory)];
        kept.open(&mut party, i, opened)?; // a round
        multiply(&mut party, kept.at(F, i), kept.at(C, i), memory)?;
        multiply(&mut party, kept.at(I, i), kept.at(G, i), product)?;
        party.kernels.add(memory, product);
        truncate(&mut party, memory, f)?; // a round
        rule.tanh.apply(&mut party, &rule.numbers, (&*memory, &mut *cell), wanted(of_memory))?;
        kept.open(&mut party, i, [(M, &*cell)])?; // a round
        multiply(&mut party, kept.at(O, i), kept.at(M, i), h)?;
        truncate(&mut party, h, f) // a round
    }

    fn jacobian(
        party: &mut Party<'_, W>,
        rule: &Rule<'_, W>,
        open: &Tensors<'_, W>,
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
        truncate(&mut party, out, rule.frac_bits())?; // a round
        let mask = party.draw()?.mask(out.len());
        mask_and_open(&mut party, out, mask) // a round
    }

    fn step_back(
        party: &mut Party<'_, W>,
        rule: &Rule<'_, W>,
        i: usize,
        [open, jacobian]: [&Tensors<'_, W>; 2],
        [dh, dc]: [&mut [W]; 2],
        [deltas, passed]: [&mut [W]; 2],
    ) -> Result<(), Error> {
        let (n, f) = (dh.len(), rule.frac_bits());
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
        rule.hold(&mut party, dc)?;
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
