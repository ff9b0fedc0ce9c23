//! A training step in its three stages.

use super::{
    Inputs, Start, Stop,
    closed_form::ClosedFormState,
    enter,
    initial::{dropout_stream, initial_shares},
    inputs::InputTable,
    lift,
    meetings::Meetings,
    newton::NewtonState,
    norm_clip,
    optimize::{Optimizer, Tile},
    order::Batch,
    table::{Table, rewrite},
    tally::{Sum, Tally, total},
    tape::{self, Tape, described, split},
};
use crate::{
    alarms::ENOUGH,
    data::Lengths,
    job::{Job, Laid},
    lanes::Lanes,
    secret::Secret,
    storage::{Storage, Words},
};
use std::ops::Range;
use symbolon_core::{
    correlation::{Mask, View},
    layer::{AnyLayer, Backward, Describe as _, GradientSplit, Graph, Kept, Model, Origin, Pass, Takes},
    link::Error,
    loss::{Built, Describe},
    party::{Party, Role},
    prg::ChaCha20Prg,
    protocol::{
        alarm::check_kept,
        masked::{Masked, mask_and_open},
    },
    word::Word,
};

/// Lanes' ranges of flat buffers are multiples of this, so that bit planes are whole words.
pub(super) const GRAIN: usize = 64;

/// All parameters of a network, flat.
pub(super) struct Parameters<W: Word> {
    /// The network.
    pub(super) laid: Laid,
    /// This party's shares.
    pub(super) shares: Secret<W>,
    /// The same, masked and open.
    open: Vec<W>,
    /// Names the mask.
    mask: View<'static>,
    pub(super) loss: Built,
}

impl<W: Word> Parameters<W> {
    /// As passes take them.
    pub(super) fn model(&self) -> Model<'_, W> {
        Model { shares: &self.shares, open: Masked { words: &self.open, mask: self.mask } }
    }
}

/// Opens a tile of parameters in `open`, under the first words of `mask`; returns the rest.
pub(super) fn open_tile<W: Word>(
    party: &mut Party<'_, W>,
    shares: &[W],
    open: &mut [W],
    mask: Mask,
) -> Result<Mask, Error> {
    open.copy_from_slice(shares);
    let (own, others) = mask.split_at(open.len());
    mask_and_open(party, open, own)?;
    check_kept(party, ENOUGH)?;
    Ok(others)
}

/// A lane's part of a layer's gradient.
struct Piece<'a, W> {
    /// The nodes that use the parameters; their gradients are added.
    nodes: Vec<usize>,
    /// The parameters, counted within the layer.
    part: Range<usize>,
    /// The rows that are summed up; `None` for the whole batch.
    rows: Option<Range<usize>>,
    gradient: &'a mut [W],
}

/// Node `i` and those that use its parameters.
fn tied(graph: &Graph<'_, AnyLayer>, i: usize) -> Vec<usize> {
    let uses = |j: &usize| graph.nodes[*j].tied.is_some_and(|tied| usize::from(tied) == i);
    std::iter::once(i).chain((i + 1..graph.nodes.len()).filter(uses)).collect()
}

/// Cuts the gradient of a layer over lanes: `units` ranges of `each` parameters, and the rest with
/// the last of them.
fn cut_parameters<'a, W: Word>(
    lanes: &Lanes<'_, W>,
    work: &mut [Vec<Piece<'a, W>>],
    nodes: &[usize],
    mut gradient: &'a mut [W],
    [units, each]: [usize; 2],
) {
    let total = gradient.len();
    for (lane, work) in work.iter_mut().enumerate() {
        let range = lanes.part(lane, units, 1);
        let end = if lane + 1 == lanes.len() { total } else { range.end * each };
        let part = range.start * each..end;
        let gradient = gradient.split_off_mut(..part.len()).unwrap_or_default();
        if !part.is_empty() {
            work.push(Piece { nodes: nodes.to_vec(), part, rows: None, gradient });
        }
    }
}

/// The most rows that lane `i` has of a batch of at most `batch`.
fn largest_part<W: Word>(lanes: &Lanes<'_, W>, i: usize, batch: usize) -> usize {
    // Parts of shorter batches are no longer, but for the rounding of their ends.
    lanes.part(i, batch, 1).len().max(batch.div_ceil(lanes.len()))
}

/// One party's state of a job.
pub(super) struct Trainer<'j, W: Word> {
    pub(super) job: &'j Job,
    pub(super) parameters: Parameters<W>,
    pub(super) train: Table<W>,
    pub(super) labels: Table<W>,
    /// A word a training record: whether its label names a class. `None` where all do.
    pub(super) weights: Option<Table<W>>,
    /// Test records and their labels.
    pub(super) test: Option<(Table<W>, Table<W>)>,
    /// Lengths of the sequences; empty in dry runs.
    pub(super) lengths: Lengths,
    pub(super) gradient: Secret<W>,
    /// The gradient of the passes of a step so far; empty if a batch passes at once.
    sum: Secret<W>,
    pub(super) optimizer: Optimizer<W>,
    pub(super) newton: Option<NewtonState<W>>,
    pub(super) closed_form: Option<ClosedFormState<W>>,
    pub(super) tape: Tape<W>,
    /// The meetings of layers whose rows meet, and running statistics.
    pub(super) meetings: Meetings<W>,
    /// The public stream of dropout masks.
    pub(super) dropout: ChaCha20Prg,
    /// The epoch's loss so far, lane by lane.
    pub(super) loss: Vec<Tally<W>>,
}

impl<'j, W: Word> Trainer<'j, W> {
    /// Lifts codes, then masks and opens data and weights: the initial ones, or those of a state.
    pub(super) fn open(
        lanes: &mut Lanes<'_, W>,
        job: &'j Job,
        inputs: Inputs<W>,
        start: &Start<W>,
    ) -> Result<Self, Stop> {
        if let Start::At(state) = start {
            state.load_alarms(job, lanes)?;
        }
        let (tile, labelled) = (job.lanes.tile, job.label_words());
        let Inputs { train, train_labels, test, test_labels, lengths, storage } = lift::into_ring(lanes, job, inputs)?;
        assert!(size_of::<W>() == 0 || lengths.fit(&job.data), "a record without its length");
        let train = Table::open(lanes, train, job.data.features(), tile)?;
        let weights = match job.data.may_lack_class() {
            true => Some(weights(lanes, job, &train_labels, &storage)?),
            false => None,
        };
        let weights = weights.map(|weights| Table::open(lanes, weights, 1, tile)).transpose()?;
        let labels = Table::open(lanes, train_labels, labelled, tile)?;
        let test = match job.data.test_records {
            0 => None,
            _ => Some((
                Table::open(lanes, test, job.data.features(), tile)?,
                Table::open(lanes, test_labels, labelled, tile)?,
            )),
        };
        let laid = job.network();
        let shares = match start {
            Start::Fresh => initial_shares(job, lanes.role()),
            Start::From(model) => Secret::from(model[..job.parameters()].to_vec()),
            Start::At(_) => Secret::zeros(job.parameters()),
        };
        let n = shares.len();
        let rows: Vec<_> = (0..lanes.len()).map(|i| largest_part(lanes, i, job.rows_at_once())).collect();
        let mut trainer = Self {
            job,
            train,
            labels,
            weights,
            test,
            lengths,
            gradient: Secret::zeros(n),
            sum: Secret::zeros(if job.rows_at_once() < job.step_records() { n } else { 0 }),
            newton: NewtonState::new(job, lanes.len()),
            closed_form: ClosedFormState::new(job, lanes.len()),
            optimizer: Optimizer::new(job, lanes, n),
            dropout: dropout_stream(job),
            tape: Tape::new(&laid, &described(&shares), job.rows_at_once(), &rows),
            meetings: Meetings::new(&laid, &described(&shares), lanes),
            loss: Vec::new(),
            parameters: Parameters {
                open: vec![W::default(); n],
                mask: Mask::empty().view(),
                loss: job.loss.build(&job.loss_numbers()).expect("a valid job's loss can be computed"),
                laid,
                shares,
            },
        };
        trainer.loss = trainer.no_loss(lanes);
        match start {
            Start::Fresh => {}
            Start::From(model) => trainer.meetings.statistics_mut().copy_from_slice(&model[job.parameters()..]),
            Start::At(state) => state.load(&mut trainer),
        }
        trainer.update(lanes, None)?;
        Ok(trainer)
    }

    /// Fetches a step's training records `rows` and prefetches those of the `next` step.
    pub(super) fn prepare(&mut self, rows: Batch<'_>, next: Option<Batch<'_>>) -> Result<(), Error> {
        let tables = [Some(&mut self.train), Some(&mut self.labels), self.weights.as_mut()];
        tables.into_iter().flatten().try_for_each(|table| table.prepare(rows, next))
    }

    /// One step on the training records `rows`, which are [prepared](Self::prepare): number `step`
    /// of the job.
    pub(super) fn step(&mut self, lanes: &mut Lanes<'_, W>, rows: Batch<'_>, step: u64) -> Result<(), Error> {
        if self.closed_form.is_some() {
            self.closed_form(lanes, rows)?;
            return self.update(lanes, Some(step));
        }
        let most = self.job.rows_at_once();
        for start in (0..rows.len()).step_by(most) {
            let part = rows.part(start..rows.len().min(start + most));
            self.pass(lanes, (part, start), step)?;
            self.gradients(lanes, part)?;
            self.add_curvature(lanes, (part, start))?;
            if start == 0 && !self.sum.is_empty() {
                self.sum.copy_from_slice(&self.gradient);
            } else if start > 0 {
                lanes.kernels().add(&mut self.sum, &self.gradient);
            }
        }
        if !self.sum.is_empty() {
            self.gradient.copy_from_slice(&self.sum);
        }
        if let Some(clip) = self.job.norm_clip() {
            norm_clip::clip(lanes, &clip, self.job.lanes.tile, &mut self.gradient)?;
        }
        self.newton_direction(lanes)?;
        self.update(lanes, Some(step))
    }

    /// Gradients of all parameters, summed over the batch, `2 f` fraction bits: each lane over its
    /// range of the parameters of a layer, or over its rows.
    fn gradients(&mut self, lanes: &mut Lanes<'_, W>, rows: Batch<'_>) -> Result<(), Error> {
        let (graph, model) = (self.parameters.laid.graph(), self.parameters.model());
        let mut partials = self.tape.take_partials();
        let described = described(model.shares);
        let mut work: Vec<Vec<Piece<'_, W>>> = (0..lanes.len()).map(|_| Vec::new()).collect();
        let mut rest = &mut self.gradient[..];
        for i in (0..graph.nodes.len()).filter(|i| graph.places[*i].parameters > 0) {
            if graph.nodes[i].tied.is_some() {
                continue;
            }
            let own = rest.split_off_mut(..graph.places[i].parameters).unwrap_or_default();
            match graph.nodes[i].layer.split(&graph.site(i, &described)) {
                GradientSplit::Parameters { units, each } => {
                    cut_parameters(lanes, &mut work, &tied(&graph, i), own, [units, each]);
                }
                GradientSplit::Rows => own.fill(W::default()),
            }
        }
        let by_rows: Vec<_> = tape::by_rows(&graph, &described).collect();
        for ((lane, work), partial) in work.iter_mut().enumerate().zip(&mut partials) {
            let mut partial = &mut partial[..];
            for i in &by_rows {
                let gradient = partial.split_off_mut(..graph.places[*i].parameters).unwrap_or_default();
                let own = lanes.part(lane, rows.len(), 1);
                work.push(Piece { nodes: vec![*i], part: 0..gradient.len(), rows: Some(own), gradient });
            }
        }
        let (tape, train, met) = (&self.tape, &self.train, self.meetings.met());
        lanes.each(work.into_iter().enumerate().collect(), |party, (lane, pieces)| {
            for Piece { nodes, part, rows: own, gradient } in pieces {
                let is_of_rows = own.is_some();
                let own = own.unwrap_or(0..rows.len());
                if own.is_empty() {
                    gradient.fill(W::default());
                    continue;
                }
                let data = train.masked(rows.part(own.clone()), tape.rows(own.clone(), train.cols()));
                let pass = Pass { model, data, moment: None, met: &met, lengths: None };
                let each = |party: &mut Party<'_, W>, node: usize, gradient: &mut [W]| {
                    let layer = &graph.nodes[node].layer;
                    let x = match graph.nodes[node].input {
                        Origin::Node(j) if layer.takes(graph.places[node].inputs[0]) == Takes::Masked => {
                            tape.value(usize::from(j), own.clone())
                        }
                        // A layer that takes shares has kept what it needs, and wants the rows
                        // alone.
                        Origin::Node(_) | Origin::Data => data,
                    };
                    let (site, dz) = (graph.site(node, &pass), tape.gradient(node, own.clone()));
                    enter(party, node, "weight gradient");
                    let kept = if is_of_rows { tape.kept(lane, node) } else { Kept::default() };
                    layer.gradient(party, &site, part.clone(), x, dz, kept, gradient)
                };
                let Some((first, others)) = nodes.split_first() else { continue };
                each(party, *first, gradient)?;
                for node in others {
                    let ([other], mut party) = party.scratch([gradient.len()])?;
                    each(&mut party, *node, other)?;
                    party.kernels.add(gradient, other);
                }
            }
            Ok(())
        })?;
        for partial in &partials {
            let mut partial = &partial[..];
            for i in &by_rows {
                let place = &graph.places[*i];
                let own = partial.split_off(..place.parameters).unwrap_or_default();
                lanes.kernels().add(&mut self.gradient[place.range()], own);
            }
        }
        self.tape.put_partials(partials);
        Ok(())
    }

    /// Updates the parameters (but before the first step) and opens them under a fresh mask: each
    /// lane its range, tile by tile.
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
                mask = open_tile(party, shares, open, mask)?;
            }
            Ok(())
        })
    }

    fn no_loss(&self, lanes: &Lanes<'_, W>) -> Vec<Tally<W>> {
        (0..lanes.len()).map(|_| Tally::of_loss(self.job)).collect()
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

    /// This party's shares of the parameters, then of the running statistics and of variances.
    pub(super) fn into_model(self) -> Vec<W> {
        let (parameters, statistics) = (self.parameters.shares, self.meetings.into_statistics());
        let variances = self.newton.map_or(Secret::zeros(0), NewtonState::into_variances);
        // Of the final length from the start: growing would leave a copy behind that is not wiped.
        let mut model = Vec::with_capacity(parameters.len() + statistics.len() + variances.len());
        model.extend_from_slice(&parameters);
        model.extend_from_slice(&statistics);
        model.extend_from_slice(&variances);
        model
    }
}

/// Returns shares of each training record's weight: the sum of its one-hot label, 0 where the label
/// has no class.
fn weights<W: Word>(lanes: &mut Lanes<'_, W>, job: &Job, hot: &Words<W>, storage: &Storage) -> Result<Words<W>, Error> {
    let (classes, tile) = (job.outputs(), job.lanes.tile);
    let mut weights = InputTable::Weights.make_in_job(job, storage)?;
    let states = vec![(); lanes.len()];
    rewrite(lanes, &mut weights, (1, tile), states, |party, (), at, weights| {
        if let Some(hot) = hot.memory() {
            party.kernels.sum_rows(weights, &hot[at * classes..][..weights.len() * classes], classes);
            return Ok(());
        }
        let rows = (tile / classes).clamp(1, weights.len().max(1));
        let mut own = Secret::zeros(rows * classes);
        for (i, weights) in weights.chunks_mut(rows).enumerate() {
            let own = &mut own[..weights.len() * classes];
            hot.read((at + i * rows) * classes, own)?;
            party.kernels.sum_rows(weights, own, classes);
        }
        Ok(())
    })?;
    Ok(weights)
}
