//! AMSGrad (Reddi, Kale, Kumar, ICLR 2018): Adam by the running maximum of the second moment.

use super::{
    Dyadic,
    adam::{Adam, Kept, Moments, Turn},
    cells::THRESHOLDS,
};
use crate::{
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::conjunction::{conjunctions, hide_bits},
    word::Word,
};

/// [`Adam`] that divides by the largest `v` so far.
///
/// That maximum enters only through its cell, and cells are nested bits, so it is a conjunction: `t_j` of the maximum is `t_j` now and `t_j` before. Kept as state
/// are the complements, six bits a parameter: which thresholds were passed.
///
/// - **Cost:** as Adam, and where cells are chosen 1 round, 12 bits each way and 6 bits dealt more.
/// - **Result:** each cell once passed stays so, its dither included: the maximum of the dithered cells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AmsGrad(pub Adam);

impl AmsGrad {
    /// Words of state that [`Moments`] leave out: planes of `n` parameters, which begin as zeros.
    pub fn passed_words<W: Word>(n: usize) -> usize {
        THRESHOLDS * plane_words::<W>(n)
    }

    /// One step; `passed` are the planes of thresholds that were passed. See [`Adam::step`].
    ///
    /// # Errors
    ///
    /// As [`Adam::step`].
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn step<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (gradient, weights): (&mut [W], &mut [W]),
        moments: Moments<'_, W>,
        passed: &mut [W],
        kept: &mut Kept<'_, W>,
        turn: Turn,
    ) -> Result<(), Error> {
        assert!(passed.len() == Self::passed_words::<W>(gradient.len()), "amsgrad: lengths differ");
        self.0.run(party, (gradient, weights), moments, Some(passed), kept, turn)
    }

    /// As [`Adam::correction`].
    pub fn correction(&self, steps: u64, updates: u64) -> Dyadic {
        self.0.correction(steps, updates)
    }
}

/// The bits of a word and its planes of state become those of the maximum.
pub(super) fn maximum<W: Word>(party: &mut Party<'_, W>, t: &mut [W], passed: &mut [W]) -> Result<(), Error> {
    const TERMS: [u16; THRESHOLDS] = {
        let mut terms = [0; THRESHOLDS];
        let mut j = 0;
        while j < THRESHOLDS {
            terms[j] = 1 << j | 1 << (j + THRESHOLDS);
            j += 1;
        }
        terms
    };
    let mut draw = party.draw()?;
    let ones = party.role.first_mask();
    let ([variables], mut party) = party.scratch([2 * t.len()])?;
    let (now, before) = variables.split_at_mut(t.len());
    now.copy_from_slice(t);
    before.fill(ones);
    party.kernels.xor(before, passed);
    let masks = hide_bits(&mut party, &mut draw, variables)?;
    party.open_bits(variables)?; // the one round
    conjunctions(&mut party, &mut draw, (variables, masks), t.len() / THRESHOLDS, &TERMS, t)?;
    passed.fill(ones);
    party.kernels.xor(passed, t);
    Ok(())
}
