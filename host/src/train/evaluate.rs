//! Evaluation on the test set: the sums of the job's metrics and, where labels may name no class,
//! the number of records that have one.

use super::{
    enter,
    fold::{self, OpenParameters},
    lengths,
    order::Batch,
    step::Trainer,
    tally::{Scores, Tally, totals},
    tape::described,
};
use crate::lanes::Lanes;
use symbolon_core::{
    layer::{AnyLayer, Backward, Graph, NodeState, Pass},
    link::Error,
    metric::{AnyMetric, Predictions, TestSet},
    party::Party,
    protocol::truncate::truncate,
    word::Word,
};

/// Most test records that a lane evaluates at a time.
const MOST_ROWS: usize = 512;
/// Target length of a lane's evaluation slab, in words. At least as many rows as in training, up to
/// 512, are evaluated at a time.
const SLAB_WORDS: usize = 1 << 20;

/// One lane's sums of all metrics, and its number of records, last.
struct Tallies<W: Word>(Vec<Tally<W>>);

impl<W: Word> Tallies<W> {
    fn new(metrics: &[AnyMetric], set: &TestSet) -> Self {
        let describe = metrics.iter().map(AnyMetric::describe);
        let terms = describe.flat_map(|metric| (0..metric.sums(set)).map(move |sum| metric.terms(set, sum)));
        let records = set.may_lack_class.then(Tally::of_counts);
        Self(terms.map(|terms| Tally::of(&terms)).chain(records).collect())
    }

    /// Measures all metrics on some rows; `counted` says how many labels of each record count, of
    /// the number that a record has.
    fn measure(
        &mut self,
        party: &mut Party<'_, W>,
        (metrics, set): (&[AnyMetric], &TestSet),
        rows: &Predictions<'_, W>,
        counted: Option<(&[u16], usize)>,
    ) -> Result<(), Error> {
        let mut tallies = self.0.iter_mut();
        for metric in metrics {
            let (metric, protocol) = (metric.describe(), metric.protocol::<W>());
            let ([terms], mut party) = party.scratch([metric.words(set, rows.rows(set))])?;
            protocol.measure(&mut party, set, rows, terms)?;
            let mut rest = terms;
            for (sum, tally) in (0..metric.sums(set)).zip(&mut tallies) {
                let facts = metric.terms(set, sum);
                let (own, others) = rest.split_at_mut(facts.words(rows.rows(set)));
                // A count leaves out rows of zeros by itself.
                if let Some((counted, labels)) = counted.filter(|_| !facts.counted) {
                    lengths::clear_uncounted(counted, labels, own);
                }
                tally.add(own);
                rest = others;
            }
        }
        if let Some(records) = tallies.next() {
            let ([ones], party) = party.scratch([rows.labels.words.len()])?;
            rows.labels.share(&party, ones);
            records.add(ones);
        }
        Ok(())
    }
}

impl<W: Word> Trainer<'_, W> {
    /// This party's shares of the metrics' sums. `None` if the job measures nothing.
    pub(super) fn evaluate(&mut self, lanes: &mut Lanes<'_, W>) -> Result<Option<Scores<W::Wide>>, Error> {
        let (metrics, set) = (self.job.measured(), self.job.test_set());
        if self.test.is_none() || metrics.is_empty() {
            return Ok(None);
        }
        {
            let (graph, model) = (self.parameters.laid.graph(), self.parameters.model());
            self.meetings.settle(lanes, &graph, &Pass { model, ..described(model.shares) })?;
        }
        let (laid, own) = (&self.parameters.laid, self.parameters.model());
        let folded = fold::fold(lanes, self.job.lanes.tile, (laid, own), &self.meetings)?;
        let model = folded.as_ref().map_or(own, OpenParameters::model);
        let (graph, met) = (laid.graph(), fold::met(laid, &self.meetings));
        let Some((test, labels)) = &self.test else { return Ok(None) };
        // As many as a training pass takes at least: they need no more scratch. And no more, if the
        // job says how many those are.
        let least = self.job.rows_at_once().div_ceil(lanes.len()).min(MOST_ROWS);
        let most = if self.job.training.micro_batch.is_some() { least } else { MOST_ROWS };
        let pass = described(model.shares);
        let steps = (0..graph.nodes.len()).filter(|i| Backward::<W>::through_time(&graph.nodes[*i].layer).is_some());
        // Scratch of their steps: about a quarter of what training keeps of them.
        let of_steps = steps.map(|i| graph.saved_words(i, &pass, 1) / 4).max().unwrap_or(0);
        let rows_at_once = (SLAB_WORDS / graph.slab_words(1).max(of_steps).max(1)).clamp(least, most);
        let parts: Vec<_> = (0..lanes.len()).map(|i| lanes.part(i, test.rows(), 1)).collect();
        let mut tallies: Vec<_> = parts.iter().map(|_| Tallies::new(metrics, &set)).collect();
        lanes.each(parts.into_iter().zip(&mut tallies).collect(), |party, (part, tallies)| {
            for start in part.clone().step_by(rows_at_once) {
                #[allow(clippy::cast_possible_truncation)] // records are counted in 32 bits
                let rows: Vec<u32> = (start as u32..part.end.min(start + rows_at_once) as u32).collect();
                let n = rows.len();
                let lens = [n * test.cols(), n * labels.cols(), n * self.job.label_words()];
                let ([x, y, outputs], mut party) = party.scratch(lens)?;
                let batch = Batch::Listed { records: &rows, first: 0 };
                let own = lengths::of_rows(self.lengths.test.of_records(), batch);
                let data = (test.listed(&rows, x)?, own.as_deref());
                let pass = Pass { model, data: data.0, moment: None, met: &met, lengths: data.1 };
                outputs_of(&mut party, &graph, &pass, outputs)?;
                let labels = labels.listed(&rows, y)?;
                let own = lengths::of_rows(self.lengths.test.of_labels(&self.job.data), batch);
                let counted = own.as_deref().map(|own| (own, self.job.data.labels_per_record));
                tallies.measure(&mut party, (metrics, &set), &Predictions { outputs, labels }, counted)?;
            }
            Ok(())
        })?;
        let mut sums = totals(lanes, tallies.into_iter().map(|tallies| tallies.0).collect())?;
        let records = if set.may_lack_class { sums.pop() } else { None };
        Ok(Some(Scores { sums, records }))
    }
}

/// Writes this party's shares of a network's outputs for the records of `pass`, `2 f` fraction
/// bits.
pub(super) fn outputs_of<W: Word>(
    party: &mut Party<'_, W>,
    graph: &Graph<'_, AnyLayer>,
    pass: &Pass<'_, W>,
    outputs: &mut [W],
) -> Result<(), Error> {
    infer(party, graph, pass, outputs)?;
    let (got, want) = (graph.output_frac_bits(), 2 * graph.frac_bits);
    if got > want {
        return truncate(party, outputs, got - want);
    }
    if got < want {
        party.kernels.scale(outputs, W::from_u64(1).shl(want - got));
    }
    Ok(())
}

/// Writes this party's shares of a network's outputs for the records of `pass`, with as many
/// fraction bits as the last layer gives.
pub(super) fn infer<W: Word>(
    party: &mut Party<'_, W>,
    graph: &Graph<'_, AnyLayer>,
    pass: &Pass<'_, W>,
    outputs: &mut [W],
) -> Result<(), Error> {
    let mut states: Vec<NodeState<'_, W>> = Vec::new();
    states.resize_with(graph.nodes.len(), NodeState::default);
    graph.infer(party, pass, &mut states, outputs)?;
    enter(party, graph.nodes.len() - 1, "evaluation");
    Ok(())
}
