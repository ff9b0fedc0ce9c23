//! A training step in its three stages.

use super::{
    Inputs, Stop,
    initial::initial_shares,
    lift,
    network::{Criterion, Network, Slot, Slots, Target, enter},
    optimize::{Optimizer, Tile},
    order::Batch,
    shape::{Dense, layers},
    table::Table,
    tally::{Sum, Tally, total},
};
use crate::{
    alarms::ENOUGH,
    job::{Job, RevealLoss},
    lanes::Lanes,
    secret::Secret,
};
use std::ops::Range;
use symbolon_core::{
    correlation::{Mask, Rows, View},
    link::Error,
    party::Role,
    protocol::{
        alarm::check_kept,
        masked::{Masked, mask_and_open},
        product::{Factor, gather, matmul},
    },
    word::Word,
};

/// Lanes' ranges of flat buffers are multiples of this, so that bit planes are whole words.
const GRAIN: usize = 64;

/// All parameters of a network, flat.
pub(super) struct Parameters<W: Word> {
    pub(super) layers: Vec<Dense>,
    /// This party's shares.
    shares: Secret<W>,
    /// The same, masked and open.
    open: Vec<W>,
    /// Names the mask.
    mask: View<'static>,
    criterion: Criterion,
}

impl<W: Word> Parameters<W> {
    pub(super) fn network(&self, job: &Job) -> Network<'_, W> {
        Network {
            layers: &self.layers,
            shares: &self.shares,
            open: &self.open,
            mask: self.mask,
            frac_bits: job.numbers.frac_bits,
            criterion: &self.criterion,
        }
    }
}

/// One party's state of a job.
pub(super) struct Trainer<'j, W: Word> {
    pub(super) job: &'j Job,
    pub(super) parameters: Parameters<W>,
    train: Table<W>,
    labels: Table<W>,
    /// A word a training record: whether its label names a class. `None` where all do.
    weights: Option<Table<W>>,
    /// Test records and their labels.
    pub(super) test: Option<(Table<W>, Table<W>)>,
    gradient: Secret<W>,
    optimizer: Optimizer<W>,
    /// For each layer: activations, gradients of pre-activations, and their sums lane by lane.
    hidden: Vec<Vec<W>>,
    delta: Vec<Vec<W>>,
    bias: Vec<Secret<W>>,
    /// The epoch's loss so far, lane by lane.
    loss: Vec<Tally<W>>,
}

/// Splits `mask` and `words` at the ends of `parts`, which follow each other.
fn split<W>(mut words: &mut [W], mut mask: Mask, lens: impl Iterator<Item = usize>) -> Vec<(&mut [W], Mask)> {
    lens.map(|len| {
        let (own, others) = std::mem::replace(&mut mask, Mask::empty()).split_at(len);
        let (head, tail) = std::mem::take(&mut words).split_at_mut(len);
        (words, mask) = (tail, others);
        (head, own)
    })
    .collect()
}

impl<'j, W: Word> Trainer<'j, W> {
    /// Lifts what are codes, then masks and opens data and initial weights.
    pub(super) fn open(lanes: &mut Lanes<'_, W>, job: &'j Job, inputs: Inputs<W>) -> Result<Self, Stop> {
        let (tile, outputs) = (job.lanes.tile, job.outputs());
        let inputs = lift::into_ring(lanes, job, inputs)?;
        let train = Table::open(lanes, inputs.train, job.data.features, tile)?;
        let weights = job.data.may_lack_class().then(|| weights(lanes, &inputs.train_labels, outputs));
        let weights = weights.map(|weights| Table::open(lanes, weights, 1, tile)).transpose()?;
        let labels = Table::open(lanes, inputs.train_labels, outputs, tile)?;
        let test = match job.data.test_records {
            0 => None,
            _ => Some((
                Table::open(lanes, inputs.test, job.data.features, tile)?,
                Table::open(lanes, inputs.test_labels, outputs, tile)?,
            )),
        };
        let layers = layers(job);
        let shares = initial_shares(job, lanes.role());
        let n = shares.len();
        let zeros = |n: usize| vec![W::default(); n];
        let batch = job.training.batch;
        let mut trainer = Self {
            job,
            train,
            labels,
            weights,
            test,
            gradient: Secret::zeros(n),
            optimizer: Optimizer::new(job, lanes, n, GRAIN),
            hidden: layers
                .split_last()
                .map_or(&[][..], |(_, rest)| rest)
                .iter()
                .map(|l| zeros(batch * l.units))
                .collect(),
            delta: layers.iter().map(|l| zeros(batch * l.units)).collect(),
            bias: layers.iter().map(|l| Secret::zeros(lanes.len() * l.units)).collect(),
            loss: Vec::new(),
            parameters: Parameters {
                open: zeros(n),
                mask: Mask::empty().view(),
                layers,
                shares,
                criterion: Criterion::new(job),
            },
        };
        trainer.loss = trainer.no_loss(lanes);
        trainer.update(lanes, None)?;
        Ok(trainer)
    }

    /// One step on the training records `rows`: number `step` of the job.
    pub(super) fn step(&mut self, lanes: &mut Lanes<'_, W>, rows: Batch<'_>, step: u64) -> Result<(), Error> {
        let views = self.pass(lanes, rows)?;
        self.gradients(lanes, rows, &views)?;
        self.update(lanes, Some(step))
    }

    /// Forward and backward pass, each lane over its rows. Names the masks of `hidden` and `delta`.
    fn pass(&mut self, lanes: &mut Lanes<'_, W>, rows: Batch<'_>) -> Result<[Vec<View<'static>>; 2], Error> {
        let n = rows.len();
        let parts: Vec<_> = (0..lanes.len()).map(|i| lanes.part(i, n, 1)).collect();
        let mut work: Vec<Vec<Slots<'_, W>>> = parts.iter().map(|_| Vec::new()).collect();
        let (mut hidden_views, mut delta_views) = (Vec::new(), Vec::new());
        let mut hidden = self.hidden.iter_mut();
        for (layer, (delta, bias)) in self.parameters.layers.iter().zip(self.delta.iter_mut().zip(&mut self.bias)) {
            let units = layer.units;
            let draw = |lanes: &mut Lanes<'_, W>, views: &mut Vec<View<'static>>| {
                let mask = lanes.draw()?.mask(n * units);
                views.push(mask.view());
                Ok::<_, Error>(mask)
            };
            let hidden = match hidden.next() {
                None => parts.iter().map(|_| None).collect::<Vec<_>>(),
                Some(words) => {
                    let mask = draw(lanes, &mut hidden_views)?;
                    let pieces = split(&mut words[..n * units], mask, parts.iter().map(|p| p.len() * units));
                    pieces.into_iter().map(|(words, mask)| Some(Slot::new(words, mask))).collect()
                }
            };
            let mask = draw(lanes, &mut delta_views)?;
            let delta = split(&mut delta[..n * units], mask, parts.iter().map(|p| p.len() * units));
            let pieces = work.iter_mut().zip(hidden).zip(delta).zip(bias.chunks_exact_mut(units));
            for (((work, hidden), (words, mask)), bias) in pieces {
                work.push(Slots { hidden, delta: Slot::new(words, mask), bias });
            }
        }
        let network = self.parameters.network(self.job);
        let (train, labels, weights) = (&self.train, &self.labels, self.weights.as_ref());
        let wants_loss = self.job.reveal.loss == RevealLoss::Epoch;
        let terms = |rows| if wants_loss { network.criterion.terms(rows, labels.cols()) } else { 0 };
        let work = work.into_iter().zip(&parts).zip(self.loss.iter_mut()).collect();
        lanes.each(work, |party, ((mut slots, part), tally)| {
            let rows = rows.part(part.clone());
            check_kept(party, ENOUGH)?;
            let n = rows.len();
            let weighed = if weights.is_some() { n } else { 0 };
            let lens = [n * train.cols(), n * labels.cols(), weighed, terms(n)];
            let ([x, y, w, loss], mut party) = party.scratch(lens)?;
            let x = train.rows_of(rows, x);
            let labels = labels.rows_of(rows, y);
            let weights = weights.map(|weights| weights.rows_of(rows, w));
            let target = Target { labels, weights, loss: wants_loss.then_some(&mut *loss) };
            network.pass(&mut party, 0, x, &mut slots, target)?;
            tally.add(loss);
            if let Some(weights) = weights.filter(|_| wants_loss) {
                let ([ones], party) = party.scratch([n])?;
                weights.share(&party, ones);
                tally.count(ones);
            }
            Ok(())
        })?;
        Ok([hidden_views, delta_views])
    }

    /// Gradients of all parameters, summed over the batch, `2 f` fraction bits: each lane over its inputs of each layer.
    fn gradients(
        &mut self,
        lanes: &mut Lanes<'_, W>,
        rows: Batch<'_>,
        [hidden_views, delta_views]: &[Vec<View<'static>>; 2],
    ) -> Result<(), Error> {
        let (batch, lanes_len) = (rows.len(), lanes.len());
        // For each lane: layer, inputs, and where their weights' gradients go.
        type Piece<'a, W> = (usize, Range<usize>, &'a mut [W]);
        let mut work: Vec<Vec<Piece<'_, W>>> = (0..lanes_len).map(|_| Vec::new()).collect();
        let mut rest = &mut self.gradient[..];
        for (l, layer) in self.parameters.layers.iter().enumerate() {
            let (weights, tail) = rest.split_at_mut(layer.inputs * layer.units);
            let (bias, tail) = tail.split_at_mut(layer.units);
            rest = tail;
            bias.fill(W::default());
            for lane in self.bias[l].chunks_exact(layer.units) {
                lanes.kernels().add(bias, lane);
            }
            lanes.kernels().scale(bias, W::from_u64(1 << self.job.numbers.frac_bits));
            let mut weights = weights;
            for (i, work) in work.iter_mut().enumerate() {
                let inputs = lanes.part(i, layer.inputs, 1);
                let (own, others) = weights.split_at_mut(inputs.len() * layer.units);
                work.push((l, inputs, own));
                weights = others;
            }
        }
        let (layers, hidden, delta, train) = (&self.parameters.layers, &self.hidden, &self.delta, &self.train);
        lanes.each(work, |party, pieces| {
            for (l, inputs, gradient) in pieces {
                enter(party, l, "weight gradient");
                let (cols, units) = (inputs.len(), layers[l].units);
                let ([x], mut party) = party.scratch([batch * cols])?;
                let value = match l.checked_sub(1) {
                    None => train.part_of(rows, inputs, x),
                    Some(below) => {
                        let all = layers[below].units;
                        gather(&hidden[below], all, Rows::All(batch), inputs.start, cols, x);
                        Masked { words: x, mask: hidden_views[below].matrix(all).columns(inputs.start, cols) }
                    }
                };
                let x = Factor { value, transposed: true };
                let delta = Masked { words: &delta[l][..batch * units], mask: delta_views[l].matrix(units) };
                matmul(&mut party, x, Factor { value: delta, transposed: false }, gradient)?;
            }
            Ok(())
        })
    }

    /// Updates the parameters (but before the first step) and opens them under a fresh mask: each lane its range, tile by tile.
    fn update(&mut self, lanes: &mut Lanes<'_, W>, step: Option<u64>) -> Result<(), Error> {
        let n = self.parameters.shares.len();
        let mask = lanes.draw()?.mask(n);
        self.parameters.mask = mask.view();
        let parts: Vec<usize> = (0..lanes.len()).map(|i| lanes.part(i, n, GRAIN).len()).collect();
        let open = split(&mut self.parameters.open, mask, parts.iter().copied());
        let (tile, recipe) = (self.job.lanes.tile, self.optimizer.recipe());
        let mut pieces = Vec::new();
        let (mut shares, mut gradient) = (&mut self.parameters.shares[..], &mut self.gradient[..]);
        for ((open, mask), state) in open.into_iter().zip(self.optimizer.lanes()) {
            let (own, others) = shares.split_at_mut(open.len());
            let (slope, others_slope) = gradient.split_at_mut(open.len());
            (shares, gradient) = (others, others_slope);
            pieces.push((own, slope, open, mask, state));
        }
        lanes.each(pieces, |party, (shares, gradient, open, mut mask, state)| {
            let tiles = shares.chunks_mut(tile).zip(gradient.chunks_mut(tile)).zip(open.chunks_mut(tile));
            for (((shares, gradient), open), state) in tiles.zip(state) {
                if let Some(step) = step {
                    enter(party, 0, "optimizer");
                    state.step(party, &recipe, step, gradient, shares)?;
                }
                enter(party, 0, "open weights");
                open.copy_from_slice(shares);
                let (own, others) = mask.split_at(open.len());
                mask_and_open(party, open, own)?;
                mask = others;
                check_kept(party, ENOUGH)?;
            }
            Ok(())
        })
    }

    fn no_loss(&self, lanes: &Lanes<'_, W>) -> Vec<Tally<W>> {
        (0..lanes.len()).map(|_| Tally::of_terms(self.job.numbers.frac_bits, self.job.loss_limits())).collect()
    }

    /// This party's share of the loss since the last call.
    pub(super) fn take_loss(&mut self, lanes: &mut Lanes<'_, W>) -> Result<Sum<W::Wide>, Error> {
        let none = self.no_loss(lanes);
        total(lanes, std::mem::replace(&mut self.loss, none), self.weights.is_some())
    }

    /// Drops the loss since the last call.
    pub(super) fn forget_loss(&mut self, lanes: &Lanes<'_, W>) {
        self.loss = self.no_loss(lanes);
    }

    /// Traces the optimizer's second moments, in the clear engine.
    pub(super) fn trace_moments(&mut self, lanes: &mut Lanes<'_, W>) -> Result<(), Error> {
        if lanes.role() != Role::Clear {
            return Ok(());
        }
        let recipe = self.optimizer.recipe();
        let tiles = self.optimizer.lanes().collect();
        lanes.each(tiles, |party, tiles: &mut [Tile<W>]| {
            tiles.iter().for_each(|tile| party.trace.moments(tile.second(&recipe)));
            Ok(())
        })
    }

    /// This party's shares of the parameters.
    pub(super) fn into_parameters(self) -> Vec<W> {
        self.parameters.shares.into_inner()
    }
}

/// Shares of each row's weight: the sum of its one-hot label, which is 0 where the label names no
/// class.
fn weights<W: Word>(lanes: &Lanes<'_, W>, hot: &[W], classes: usize) -> Secret<W> {
    let mut weights = Secret::zeros(hot.len().checked_div(classes).unwrap_or(0));
    lanes.kernels().sum_rows(&mut weights, hot, classes);
    weights
}
