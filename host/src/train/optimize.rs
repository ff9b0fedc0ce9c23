//! State of a job's optimizer, cut like the parameters: by lanes, then by tiles.

use super::step::GRAIN;
use crate::{
    job::Job,
    lanes::{Lanes, part},
    secret::Secret,
};
use symbolon_core::{
    correlation::View,
    link::Error,
    optimizer::{self, Recipe, State},
    party::Party,
    word::Word,
};

/// State of all parameters.
pub(super) struct Optimizer<W: Word> {
    lanes: Vec<Vec<Tile<W>>>,
    recipe: Recipe,
}

/// Returns the bytes of all parameters' optimizer state in `job`, buffers of tiles included.
pub(super) fn state_bytes<W: Word>(job: &Job) -> u64 {
    let (n, tile) = (job.parameters(), job.lanes.tile);
    let words: usize = words::<W>(&job.recipe(), n).into_iter().sum();
    let tiles = n.div_ceil(tile) + usize::from(job.lanes.lanes);
    (words * size_of::<W>() + tiles * size_of::<Tile<W>>()) as u64
}

/// Durable and volatile words of `n` parameters.
fn words<W: Word>(recipe: &Recipe, n: usize) -> [usize; 2] {
    optimizer::Optimizer::<W>::state(&recipe.optimizer, n)
}

/// Returns the words of all parameters' optimizer state that a checkpoint stores.
pub(super) fn durable_words<W: Word>(job: &Job) -> usize {
    let (recipe, n, lanes) = (job.recipe(), job.parameters(), usize::from(job.lanes.lanes));
    let tiles = (0..lanes).flat_map(|lane| tile_lens(part([lane, lanes], n, GRAIN).len(), job.lanes.tile));
    tiles.map(|len| words::<W>(&recipe, len)[0]).sum()
}

/// Returns the parameters of each tile of a lane that has `len` of them.
fn tile_lens(len: usize, tile: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(tile).map(move |at| tile.min(len - at))
}

/// State of a tile of parameters.
pub(super) struct Tile<W: Word> {
    /// Parameters of the tile.
    len: usize,
    /// Shares, all that a checkpoint stores.
    durable: Secret<W>,
    /// Masked and open words, and their mask; never stored.
    volatile: Secret<W>,
    mask: Option<View<'static>>,
}

impl<W: Word> Tile<W> {
    fn new(recipe: &Recipe, len: usize) -> Self {
        let [durable, volatile] = words::<W>(recipe, len).map(Secret::zeros);
        Self { len, durable, volatile, mask: None }
    }

    /// The second moments, which are Adam's `v`; empty for other optimizers.
    pub(super) fn second(&self, recipe: &Recipe) -> &[W] {
        &self.durable[optimizer::Optimizer::<W>::second_moments(&recipe.optimizer, self.len)]
    }

    /// Updates the weights of the tile in step `step`, counted from 0. `gradient` is overwritten.
    pub(super) fn step(
        &mut self,
        party: &mut Party<'_, W>,
        recipe: &Recipe,
        step: u64,
        gradient: &mut [W],
        weights: &mut [W],
    ) -> Result<(), Error> {
        let state = State { durable: &mut self.durable, volatile: &mut self.volatile, mask: &mut self.mask };
        recipe.step(party, step, gradient, weights, state)
    }
}

impl<W: Word> Optimizer<W> {
    /// Zero state for `n` parameters; lanes begin at multiples of [`GRAIN`].
    pub(super) fn new(job: &Job, lanes: &Lanes<'_, W>, n: usize) -> Self {
        let recipe = job.recipe();
        let tiles = |len: usize| tile_lens(len, job.lanes.tile).map(|len| Tile::new(&recipe, len)).collect();
        Self { lanes: (0..lanes.len()).map(|i| tiles(lanes.part(i, n, GRAIN).len())).collect(), recipe }
    }

    /// The shares that a checkpoint stores: of each tile of each lane.
    pub(super) fn durable(&mut self) -> impl Iterator<Item = &mut [W]> {
        self.lanes.iter_mut().flatten().map(|tile| &mut tile.durable[..])
    }

    /// Each lane's tiles.
    pub(super) fn lanes(&mut self) -> impl Iterator<Item = &mut [Tile<W>]> {
        self.lanes.iter_mut().map(|tiles| &mut tiles[..])
    }

    /// The public constants.
    pub(super) fn recipe(&self) -> Recipe {
        self.recipe
    }
}
