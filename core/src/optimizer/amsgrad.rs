//! AMSGrad (Reddi, Kale, Kumar, ICLR 2018): Adam by the running maximum of the second moment.

use super::{
    Dyadic, Moment, Optimizer, State,
    adam::{Adam, Kept, Moments, Turn},
};
use crate::{
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::conjunction::{conjunctions, hide_bits},
    word::Word,
};
use core::ops::Range;

/// [`Adam`] that divides by the largest `v` so far.
///
/// That maximum enters only through its bucket, and buckets are nested bits, so it is a
/// conjunction: `t_j` of the maximum is `t_j` now and `t_j` before. Kept as state are the
/// complements, a bit a threshold and parameter: which were passed.
///
/// - **Cost:** as Adam, and where buckets are chosen 1 round, 2 bits each way and 1 bit dealt a
///   threshold more.
/// - **Result:** each bucket once passed stays so, its dither included: the maximum of the dithered
///   buckets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AmsGrad(pub Adam);

impl AmsGrad {
    /// Words of state that [`Moments`] leave out: planes of `n` parameters, which begin as zeros.
    pub fn passed_words<W: Word>(&self, n: usize) -> usize {
        self.0.thresholds as usize * plane_words::<W>(n)
    }

    /// One step; `passed` are the planes of thresholds that were passed. See [`Adam::turn`].
    ///
    /// # Errors
    ///
    /// As [`Adam::turn`].
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn turn<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        (gradient, weights): (&mut [W], &mut [W]),
        moments: Moments<'_, W>,
        passed: &mut [W],
        kept: &mut Kept<'_, W>,
        turn: Turn,
    ) -> Result<(), Error> {
        assert!(passed.len() == self.passed_words::<W>(gradient.len()), "amsgrad: lengths differ");
        self.0.run(party, (gradient, weights), moments, Some(passed), kept, turn)
    }

    /// As [`Adam::correction`].
    pub fn correction(&self, steps: u64, updates: u64) -> Dyadic {
        self.0.correction(steps, updates)
    }
}

impl<W: Word> Optimizer<W> for AmsGrad {
    /// Durable: `m`, `v`, then the planes of passed thresholds. Volatile: the last choice of
    /// buckets.
    fn state(&self, n: usize) -> [usize; 2] {
        [2 * n + self.passed_words::<W>(n), n]
    }

    fn step(
        &self,
        party: &mut Party<'_, W>,
        at: Moment,
        gradient: &mut [W],
        weights: &mut [W],
        State { durable, volatile, mask }: State<'_, W>,
    ) -> Result<(), Error> {
        let n = gradient.len();
        assert!(durable.len() == 2 * n + self.passed_words::<W>(n), "amsgrad: lengths differ");
        let (durable, passed) = durable.split_at_mut(2 * n);
        let state = State { durable, volatile, mask };
        self.0.take(party, (gradient, weights), state, Some(passed), self.0.turn_at(at, None))
    }

    fn period(&self) -> [u64; 2] {
        Optimizer::<W>::period(&self.0)
    }

    fn second_moments(&self, n: usize) -> Range<usize> {
        Optimizer::<W>::second_moments(&self.0, n)
    }
}

/// Pairs of planes that one request joins.
const PAIRS: usize = 8;

/// The bits of a word and its planes of state, `lanes` words each, become those of the maximum.
pub(super) fn maximum<W: Word>(
    party: &mut Party<'_, W>,
    t: &mut [W],
    passed: &mut [W],
    lanes: usize,
) -> Result<(), Error> {
    const TERMS: [u16; PAIRS] = [3, 3 << 2, 3 << 4, 3 << 6, 3 << 8, 3 << 10, 3 << 12, 3 << 14];
    let mut draw = party.draw()?;
    let ones = party.role.first_mask();
    let ([variables], mut party) = party.scratch([2 * t.len()])?;
    let pairs = variables.chunks_exact_mut((2 * lanes).max(1));
    for (pair, (t, passed)) in pairs.zip(t.chunks(lanes.max(1)).zip(passed.chunks(lanes.max(1)))) {
        let (now, before) = pair.split_at_mut(lanes);
        now.copy_from_slice(t);
        before.fill(ones);
        party.kernels.xor(before, passed);
    }
    let masks = hide_bits(&mut party, &mut draw, variables)?;
    party.open_bits(variables)?; // the one round
    let mut at = 0;
    for t in t.chunks_mut((PAIRS * lanes).max(1)) {
        let open = (&variables[at..at + 2 * t.len()], masks.slice(at, 2 * t.len()));
        conjunctions(&mut party, &mut draw, open, lanes, &TERMS[..t.len() / lanes], t)?;
        at += 2 * t.len();
    }
    passed.fill(ones);
    party.kernels.xor(passed, t);
    Ok(())
}
