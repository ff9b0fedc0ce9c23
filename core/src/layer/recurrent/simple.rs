//! The simple cell of Elman: `h' = tanh(x W + h U + b)`.

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

/// The simple cell: one step and its derivatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simple;

impl<W: Word> Cell<W> for Simple {
    const GATES: usize = 1;
    const CELL_STATES: usize = 0;
    const STATE_BIAS: bool = false;
    const OPEN: usize = 0;
    const SLOPES: usize = 1;
    const JACOBIAN: usize = 1;
    const DELTAS: usize = 1;
    const STATE_DELTAS: &'static [[usize; 3]] = &[[0, 0, 1]];

    fn step(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        [input, state]: [&mut [W]; 2],
        [h, _]: [&mut [W]; 2],
        (_, slopes, _): (&mut StepOpenings<'_, W>, &mut [W], usize),
    ) -> Result<(), Error> {
        party.kernels.add(state, input);
        truncate(party, state, functions.frac_bits())?; // a round
        functions.tanh.apply(party, &functions.numbers, (state, h), non_empty(slopes))
    }

    /// `∂h'/∂a = tanh'`.
    fn jacobian(
        party: &mut Party<'_, W>,
        _: &CellFunctions<'_, W>,
        open: &OpenedTensors<'_, W>,
        slopes: &[W],
        out: &mut [W],
    ) -> Result<View<'static>, Error> {
        Ok(open_slopes(party, slopes, [open.step, 1], out)?.mask) // a round
    }

    fn step_back(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        i: usize,
        [_, jacobian]: [&OpenedTensors<'_, W>; 2],
        [dh, _]: [&mut [W]; 2],
        [deltas, passed]: [&mut [W]; 2],
    ) -> Result<(), Error> {
        passed.fill(W::default());
        let mask = party.draw()?.mask(dh.len());
        let mask = mask_and_open(party, dh, mask)?; // a round
        multiply(party, Masked { words: dh, mask }, jacobian.at(0, i), deltas)?;
        truncate(party, deltas, functions.frac_bits()) // a round
    }
}
