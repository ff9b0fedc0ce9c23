//! Evaluation on the test set: one sum is revealed and, where labels may name no class, the number
//! of records that have one.

use super::{
    criterion::{enter, squares},
    order::Batch,
    step::Trainer,
    tally::{Sum, Tally, total},
};
use crate::{job::Task, lanes::Lanes};
use symbolon_core::{
    function::classify::{count_correct, predict},
    kernel::plane_words,
    layer::{NodeState, Pass},
    link::Error,
    protocol::truncate::truncate,
    word::Word,
};

/// Test records that a lane evaluates at a time.
const CHUNK: usize = 512;

impl<W: Word> Trainer<'_, W> {
    /// This party's share of the score: correct predictions, or the summed squared error with `f`
    /// fraction bits. `None` without test records.
    pub(super) fn evaluate(&self, lanes: &mut Lanes<'_, W>) -> Result<Option<Sum<W::Wide>>, Error> {
        let Some((test, labels)) = &self.test else { return Ok(None) };
        let counted = self.job.data.may_lack_class();
        let parts: Vec<_> = (0..lanes.len()).map(|i| lanes.part(i, test.rows(), 1)).collect();
        let tally = || match self.job.data.task {
            Task::Classes(_) => Tally::of_counts(),
            Task::Regression(_) => Tally::of_terms(self.job.numbers.frac_bits, self.job.error_limits()),
        };
        let mut tallies: Vec<Tally<W>> = parts.iter().map(|_| tally()).collect();
        let (graph, model, outputs) = (self.parameters.laid.graph(), self.parameters.model(), self.job.outputs());
        let shift = graph.output_frac_bits() - graph.frac_bits;
        lanes.each(parts.into_iter().zip(&mut tallies).collect(), |party, (part, tally)| {
            for start in part.clone().step_by(CHUNK) {
                #[allow(clippy::cast_possible_truncation)] // records are counted in 32 bits
                let rows: Vec<u32> = (start as u32..part.end.min(start + CHUNK) as u32).collect();
                let n = rows.len() * outputs;
                let ([x, y, z], mut party) = party.scratch([rows.len() * test.cols(), n, n])?;
                let pass = Pass { model, data: test.rows_of(Batch::Listed(&rows), x), moment: None };
                let mut states: Vec<NodeState<'_, W>> = Vec::new();
                states.resize_with(graph.nodes.len(), NodeState::default);
                graph.infer(&mut party, &pass, &mut states, z)?;
                enter(&mut party, graph.nodes.len() - 1, "evaluation");
                let labels = labels.rows_of(Batch::Listed(&rows), y);
                match self.job.data.task {
                    Task::Classes(classes) => {
                        let ([hot], mut party) = party.scratch([classes * plane_words::<W>(rows.len())])?;
                        predict(&mut party, (z, shift), classes, hot)?;
                        tally.add(&[count_correct(&mut party, hot, labels, classes)?]);
                        if counted {
                            labels.share(&party, z);
                            tally.count(z);
                        }
                    }
                    Task::Regression(_) => {
                        truncate(&mut party, z, shift)?;
                        let ([y, terms], mut party) = party.scratch([n; 2])?;
                        labels.share(&party, y);
                        party.kernels.sub(z, y);
                        squares(&mut party, z, graph.frac_bits, terms)?;
                        tally.add(terms);
                    }
                }
            }
            Ok(())
        })?;
        total(lanes, tallies, counted).map(Some)
    }
}
