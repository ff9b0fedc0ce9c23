//! A job's optimizer and its state, cut like the parameters: by lanes, then by tiles.

use crate::{job::Job, lanes::Lanes};
use symbolon_core::{link::Error, party::Party, protocol::truncate::truncate, word::Word};

/// State of all parameters.
pub(super) struct Optimizer<W> {
    lanes: Vec<State<W>>,
    config: Config,
}

#[derive(Clone, Copy)]
pub(super) struct Config {
    shift: u32,
}

/// One lane's state.
pub(super) struct State<W>(Vec<W>);

impl<W: Word> Optimizer<W> {
    pub(super) fn new(job: &Job, lanes: &Lanes<'_, W>, n: usize, grain: usize) -> Self {
        let lanes = (0..lanes.len()).map(|i| State(vec![W::default(); lanes.part(i, n, grain).len()])).collect();
        Self { lanes, config: Config { shift: job.numbers.frac_bits + job.training.batch.ilog2() } }
    }
    pub(super) fn lanes(&mut self) -> impl Iterator<Item = &mut State<W>> {
        self.lanes.iter_mut()
    }
    pub(super) fn config(&self) -> Config {
        self.config
    }
}

impl<W: Word> State<W> {
    pub(super) fn tiles(&mut self, tile: usize) -> impl Iterator<Item = &mut [W]> {
        self.0.chunks_mut(tile)
    }
}

impl Config {
    pub(super) fn step<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        _step: u64,
        gradient: &mut [W],
        weights: &mut [W],
        _state: &mut [W],
    ) -> Result<(), Error> {
        truncate(party, gradient, self.shift)?;
        party.kernels.sub(weights, gradient);
        Ok(())
    }
}
