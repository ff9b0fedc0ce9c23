//! The forward and the backward pass of a step, each lane over its rows.
//!
//! Lanes run by themselves from one node whose rows meet to the next. A network without such nodes
//! takes one segment.

use super::{
    enter, lengths,
    order::Batch,
    step::Trainer,
    table::Table,
    tally::Tally,
    tape::{LaneStates, described},
};
use crate::{
    alarms::ENOUGH,
    job::{Job, RevealLoss},
    lanes::Lanes,
};
use std::ops::Range;
use symbolon_core::{
    layer::{AnyLayer, Graph, Moment, Pass},
    link::Error,
    loss::{Built, Loss, Target},
    party::Party,
    prg::Prg,
    protocol::alarm::check_kept,
    word::Word,
};

/// The work of lanes from one meeting to the next.
#[derive(Clone, Copy)]
enum Segment {
    /// Forward through these nodes.
    Forward { from: usize, to: usize },
    /// Forward through the nodes from `from` on, the loss, and back down to `down`.
    Turn { from: usize, down: usize },
    /// Backward from `from`, downwards to `down`.
    Backward { from: usize, down: usize },
}

impl Segment {
    /// Returns the segments of a network, each with the node summed at its end; `meets` lists these
    /// nodes.
    fn all(meets: &[usize]) -> Vec<(Self, Option<usize>)> {
        let Some(last) = meets.last() else { return vec![(Self::Turn { from: 0, down: 0 }, None)] };
        let starts = std::iter::once(0).chain(meets.iter().copied());
        let forward = starts.zip(meets).map(|(from, to)| (Self::Forward { from, to: *to }, Some(*to)));
        let turn = (Self::Turn { from: *last, down: last + 1 }, Some(*last));
        let below = meets.iter().rev().skip(1).copied().map(Some).chain([None]);
        let backward =
            meets.iter().rev().zip(below).map(|(from, below)| {
                (Self::Backward { from: from + 1, down: below.map_or(0, |below| below + 1) }, below)
            });
        forward.chain([turn]).chain(backward).collect()
    }

    fn is_forward(self) -> bool {
        matches!(self, Self::Forward { .. })
    }
}

/// A lane's rows, buffers and sums, through all segments.
struct Work<'a, W: Word> {
    state: LaneStates<'a, W>,
    rows: Range<usize>,
    tally: &'a mut Tally<W>,
}

impl<W: Word> Trainer<'_, W> {
    /// Runs both passes over `batch`, which begins at row `first` of step `step`'s batch.
    pub(super) fn pass(
        &mut self,
        lanes: &mut Lanes<'_, W>,
        (batch, first): (Batch<'_>, usize),
        step: u64,
    ) -> Result<(), Error> {
        let parts: Vec<_> = (0..lanes.len()).map(|i| lanes.part(i, batch.len(), 1)).collect();
        let step = u32::try_from(step).unwrap_or(u32::MAX); // a job has no more steps
        let Self { parameters, tape, meetings, loss, train, labels, weights, dropout, job, lengths, .. } = self;
        let (graph, model) = (parameters.laid.graph(), parameters.model());
        let all = tape.states(lanes, &graph, &described(model.shares), &parts)?;
        let works = all.into_iter().zip(parts).zip(loss);
        let mut works: Vec<_> = works.map(|((state, rows), tally)| Work { state, rows, tally }).collect();
        let lengths = &lengths.train;
        let counted = lengths.of_labels(&job.data);
        let loss_step = LossStep { job, built: &parameters.loss, labels, weights: weights.as_ref(), counted };
        let stream: &dyn Prg = dropout;
        for (n, (segment, meets)) in Segment::all(&meetings.nodes()).into_iter().enumerate() {
            let (met, sums) = meetings.met_and_sums(meets);
            let mut sums: Vec<Option<&mut [W]>> = sums.into_iter().map(Some).collect();
            sums.resize_with(works.len(), || None);
            lanes.each(works.iter_mut().zip(sums).collect(), |party, (work, sums)| {
                let own = batch.part(work.rows.clone());
                let moment = Moment { stream, step, row: first + work.rows.start };
                let LaneStates { data, slabs: [values, gradients], states } = &mut work.state;
                let data = if n == 0 {
                    check_kept(party, ENOUGH)?;
                    train.rows_of(own, data)?
                } else {
                    train.masked(own, data)
                };
                let lengths = lengths::of_rows(lengths.of_records(), own);
                let pass = Pass { model, data, moment: Some(moment), met: &met, lengths: lengths.as_deref() };
                match segment {
                    Segment::Forward { from, to } => graph.forward(party, &pass, from..to, values, states)?,
                    Segment::Turn { from, down } => {
                        let nodes = from..graph.nodes.len();
                        graph.forward(party, &pass, nodes, values, states)?;
                        loss_step.gradient(party, &graph, own, [values, gradients], work.tally)?;
                        graph.begin_backward(states);
                        graph.backward(party, &pass, down..graph.nodes.len(), gradients, states)?;
                    }
                    Segment::Backward { from, down } => graph.backward(party, &pass, down..from, gradients, states)?,
                }
                match (sums, meets) {
                    (Some(sums), Some(i)) if segment.is_forward() => {
                        graph.sums(party, &pass, (i, batch.len()), values, states, sums)
                    }
                    (Some(sums), Some(i)) => graph.backward_sums(party, &pass, i, gradients, states, sums),
                    _ => Ok(()),
                }
            })?;
            if let Some(i) = meets {
                let pass = Pass { model, ..described(model.shares) };
                meetings.meet(lanes, &graph, &pass, (i, batch.len()), segment.is_forward())?;
            }
        }
        let names = |work: &Work<'_, W>| work.state.states.iter().map(|state| state.saved.masks).collect();
        let names = works.iter().map(names).collect();
        drop(works);
        tape.keep_masks(names);
        Ok(())
    }
}

/// The turn from the forward to the backward pass: loss and gradient of the outputs.
#[derive(Clone, Copy)]
struct LossStep<'a, W: Word> {
    job: &'a Job,
    built: &'a Built,
    labels: &'a Table<W>,
    weights: Option<&'a Table<W>>,
    /// Labels of each training record that count; `None` where all do.
    counted: Option<&'a [u16]>,
}

impl<W: Word> LossStep<'_, W> {
    /// Writes the gradient of the last output to `gradients`; adds the loss to `tally`.
    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        graph: &Graph<'_, AnyLayer>,
        rows: Batch<'_>,
        [values, gradients]: [&mut [W]; 2],
        tally: &mut Tally<W>,
    ) -> Result<(), Error> {
        let Self { job, built, labels, weights, counted } = self;
        let (n, wants_loss) = (rows.len(), job.reveal.loss == RevealLoss::Epoch);
        let terms = if wants_loss { job.data.labels_per_record * job.loss_terms() } else { 0 };
        let weight_words = if weights.is_some() { n } else { 0 };
        let ([y, w, loss], mut party) = party.scratch([n * labels.cols(), weight_words, n * terms])?;
        let weighed = weights.map(|weights| weights.rows_of(rows, w)).transpose()?;
        let target = Target { labels: labels.rows_of(rows, y)?, weights: weighed };
        let delta = &mut gradients[graph.output_gradient(n)];
        delta.copy_from_slice(&values[graph.output_words(n)]);
        enter(&mut party, graph.nodes.len() - 1, job.loss.kind());
        built.gradient(&mut party, delta, target, wants_loss.then_some(&mut *loss))?;
        if let Some(counted) = lengths::of_rows(*counted, rows) {
            // Without a label there is neither a gradient nor a loss.
            lengths::clear_uncounted(&counted, job.data.labels_per_record, delta);
            lengths::clear_uncounted(&counted, job.data.labels_per_record, loss);
        }
        tally.add(loss);
        if let Some(weights) = weighed.filter(|_| wants_loss) {
            let ([ones], party) = party.scratch([n])?;
            weights.share(&party, ones);
            tally.count(ones);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each node passes once each way, and each meeting comes between.
    #[test]
    fn segments_cover_the_network() {
        for meets in [&[][..], &[0], &[2], &[0, 1, 4], &[4]] {
            let (mut forward, mut backward, mut met) = (Vec::new(), Vec::new(), Vec::new());
            for (segment, meets) in Segment::all(meets) {
                match segment {
                    Segment::Forward { from, to } => forward.extend(from..to),
                    Segment::Turn { from, down } => {
                        forward.extend(from..5);
                        backward.extend((down..5).rev());
                    }
                    Segment::Backward { from, down } => backward.extend((down..from).rev()),
                }
                met.extend(meets);
            }
            assert_eq!(forward, [0, 1, 2, 3, 4]);
            assert_eq!(backward, [4, 3, 2, 1, 0]);
            assert_eq!(met, meets.iter().chain(meets.iter().rev()).copied().collect::<Vec<_>>());
        }
    }
}
