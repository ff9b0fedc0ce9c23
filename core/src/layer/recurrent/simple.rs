//! The simple cell of Elman: `h' = tanh(x W + h U + b)`.

use super::{Cell, Opened, Rule, Tensors};
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
pub struct Simple;

impl<W: Word> Cell<W> for Simple {
    const GATES: usize = 1;
    const MEMORY: usize = 0;
    const STATE_BIAS: bool = false;
    const OPEN: usize = 0;
    const SLOPES: usize = 1;
    const JACOBIAN: usize = 1;
    const DELTAS: usize = 1;
    const STATE_DELTAS: &'static [[usize; 3]] = &[[0, 0, 1]];

    fn step(
        party: &mut Party<'_, W>,
        rule: &Rule<'_, W>,
        [input, state]: [&mut [W]; 2],
        [h, _]: [&mut [W]; 2],
        (_, slopes, _): (&mut Opened<'_, W>, &mut [W], usize),
    ) -> Result<(), Error> {
        party.kernels.add(state, input);
        truncate(party, state, rule.frac_bits())?; // a round
        rule.tanh.apply(party, &rule.numbers, (state, h), wanted(slopes))
    }

    /// `∂h'/∂a = tanh'`.
    fn jacobian(
        party: &mut Party<'_, W>,
        _: &Rule<'_, W>,
        _: &Tensors<'_, W>,
        slopes: &[W],
        out: &mut [W],
    ) -> Result<View<'static>, Error> {
        out.copy_from_slice(slopes);
        let mask = party.draw()?.mask(out.len());
        mask_and_open(party, out, mask) // a round
    }

    fn step_back(
        party: &mut Party<'_, W>,
        rule: &Rule<'_, W>,
        i: usize,
        [_, jacobian]: [&Tensors<'_, W>; 2],
        [dh, _]: [&mut [W]; 2],
        [deltas, passed]: [&mut [W]; 2],
    ) -> Result<(), Error> {
        passed.fill(W::default());
        let mask = party.draw()?.mask(dh.len());
        let mask = mask_and_open(party, dh, mask)?; // a round
        multiply(party, Masked { words: dh, mask }, jacobian.at(0, i), deltas)?;
        truncate(party, deltas, rule.frac_bits()) // a round
    }
}

/// The place for slopes, if there is one.
pub(super) fn wanted<W>(slopes: &mut [W]) -> Option<&mut [W]> {
    (!slopes.is_empty()).then_some(slopes)
}
