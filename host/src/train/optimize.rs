//! A job's optimizer and its state, cut like the parameters: by lanes, then by tiles.

use crate::{
    job::{self, Job},
    lanes::Lanes,
    secret::Secret,
};
use symbolon_core::{
    correlation::View,
    link::Error,
    optimizer::{Adam, AmsGrad, Dyadic, Kept, Moments, Momentum, Sgd, Turn},
    party::Party,
    word::Word,
};

/// State of all parameters.
pub(super) struct Optimizer<W: Word> {
    lanes: Vec<Vec<Tile<W>>>,
    config: Config,
}

/// Returns the bytes of all parameters' optimizer state in `job`, buffers of tiles included.
pub(super) fn state_bytes<W: Word>(job: &Job) -> u64 {
    let (n, tile) = (job.parameters(), job.lanes.tile);
    let words: usize = Config::of(job).lens::<W>(n).into_iter().sum();
    let tiles = n.div_ceil(tile) + usize::from(job.lanes.lanes);
    (words * size_of::<W>() + tiles * size_of::<Tile<W>>()) as u64
}

impl<W: Word> Tile<W> {
    /// Adam's `v`; empty for other optimizers.
    pub(super) fn second(&self) -> &[W] {
        &self.second
    }
}

/// The optimizer's public constants.
#[derive(Clone, Copy)]
pub(super) struct Config(Kind);

#[derive(Clone, Copy)]
enum Kind {
    Sgd(Sgd),
    Momentum(Momentum),
    Adam { adam: Adam, job: job::Adam, maximum: bool },
}

/// State of a tile of parameters; buffers that the optimizer has no use for are empty.
pub(super) struct Tile<W: Word> {
    /// Momentum's `u`, Adam's `m`.
    first: Secret<W>,
    /// Adam's `v`.
    second: Secret<W>,
    /// AMSGrad's planes of thresholds that were passed.
    passed: Secret<W>,
    /// The last choice of cells, masked and open, and its mask: not for checkpoints.
    kept: Secret<W>,
    kept_mask: Option<View<'static>>,
}

impl<W: Word> Optimizer<W> {
    /// Zero state for `n` parameters; lanes begin at multiples of `grain`.
    pub(super) fn new(job: &Job, lanes: &Lanes<'_, W>, n: usize, grain: usize) -> Self {
        let config = Config::of(job);
        let tile = job.lanes.tile;
        let tiles = |len: usize| (0..len).step_by(tile).map(|at| config.tile(tile.min(len - at))).collect();
        Self { lanes: (0..lanes.len()).map(|i| tiles(lanes.part(i, n, grain).len())).collect(), config }
    }

    /// Each lane's tiles.
    pub(super) fn lanes(&mut self) -> impl Iterator<Item = &mut [Tile<W>]> {
        self.lanes.iter_mut().map(|tiles| &mut tiles[..])
    }

    pub(super) fn config(&self) -> Config {
        self.config
    }
}

impl Config {
    fn of(job: &Job) -> Self {
        let grad_shift = job.grad_shift().expect("a valid job's is not negative");
        Self(match job.optimizer {
            job::Optimizer::Sgd { learning_rate } => Kind::Sgd(job.sgd(learning_rate)),
            job::Optimizer::Momentum { learning_rate, momentum } => {
                Kind::Momentum(job.momentum(learning_rate, momentum))
            }
            job::Optimizer::Adam(adam) => Kind::Adam { adam: core_adam(&adam, grad_shift), job: adam, maximum: false },
            job::Optimizer::AmsGrad(adam) => {
                Kind::Adam { adam: core_adam(&adam, grad_shift), job: adam, maximum: true }
            }
        })
    }

    fn tile<W: Word>(&self, n: usize) -> Tile<W> {
        let [first, second, passed, kept] = self.lens::<W>(n).map(Secret::zeros);
        Tile { first, second, passed, kept, kept_mask: None }
    }

    /// Words of a tile's buffers, in the order of its fields.
    fn lens<W: Word>(&self, n: usize) -> [usize; 4] {
        match self.0 {
            Kind::Sgd(_) => [0; 4],
            Kind::Momentum(_) => [n, 0, 0, 0],
            Kind::Adam { maximum, adam, .. } => [n, n, if maximum { AmsGrad(adam).passed_words::<W>(n) } else { 0 }, n],
        }
    }

    /// Updates the weights of one tile in step `step`, counted from 0. `gradient` is overwritten.
    pub(super) fn step<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        step: u64,
        gradient: &mut [W],
        weights: &mut [W],
        tile: &mut Tile<W>,
    ) -> Result<(), Error> {
        match self.0 {
            Kind::Sgd(sgd) => sgd.step(party, gradient, weights),
            Kind::Momentum(momentum) => momentum.step(party, gradient, weights, &mut tile.first),
            Kind::Adam { adam, job, maximum } => {
                let updates = if job.lazy { job.choices(step + 1) } else { step + 1 };
                let rate = if job.bias_correction { adam.correction(step + 1, updates) } else { Dyadic::ONE };
                let turn = Turn { choose: job.chooses_cells(step), rate };
                let moments = Moments { first: &mut tile.first, second: &mut tile.second };
                let mut kept = Kept { words: &mut tile.kept, mask: &mut tile.kept_mask };
                if maximum {
                    AmsGrad(adam).step(party, (gradient, weights), moments, &mut tile.passed, &mut kept, turn)
                } else {
                    adam.step(party, (gradient, weights), moments, &mut kept, turn)
                }
            }
        }
    }
}

fn core_adam(adam: &job::Adam, grad_shift: u32) -> Adam {
    Adam {
        grad_shift,
        low: adam.low,
        thresholds: adam.cells - 1,
        shift: adam.shift,
        second_shift: adam.second_shift(),
        lazy: adam.lazy,
    }
}
