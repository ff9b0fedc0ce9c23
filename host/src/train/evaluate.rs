//! Evaluation on the test set: what is revealed is one sum.

use super::{
    network::{enter, half_square_sum},
    step::Trainer,
};
use crate::{job::Task, lanes::Lanes};
use symbolon_core::{
    function::classify::{count_correct, predict},
    kernel::plane_words,
    link::Error,
    protocol::truncate::truncate,
    word::Word,
};

/// Test records that a lane evaluates at a time.
const CHUNK: usize = 512;

impl<W: Word> Trainer<'_, W> {
    /// This party's share of the score: correct predictions, or the summed squared error with `f` fraction bits.
    pub(super) fn evaluate(&self, lanes: &mut Lanes<'_, W>) -> Result<W, Error> {
        let Some((test, labels)) = &self.test else { return Ok(W::default()) };
        let parts: Vec<_> = (0..lanes.len()).map(|i| lanes.part(i, test.rows(), 1)).collect();
        let mut sums = vec![W::default(); lanes.len()];
        let (network, outputs) = (self.parameters.network(self.job), self.job.outputs());
        lanes.each(parts.into_iter().zip(&mut sums).collect(), |party, (part, sum)| {
            for start in part.clone().step_by(CHUNK) {
                #[allow(clippy::cast_possible_truncation)] // records are counted in 32 bits
                let rows: Vec<u32> = (start as u32..part.end.min(start + CHUNK) as u32).collect();
                let n = rows.len() * outputs;
                let ([x, y, z], mut party) = party.scratch([rows.len() * test.cols(), n, n])?;
                enter(&mut party, 0, "evaluation");
                network.predict(&mut party, 0, test.rows_of(&rows, x), z)?;
                let labels = labels.rows_of(&rows, y);
                let own = match self.job.data.task {
                    Task::Classes(classes) => {
                        let ([hot], mut party) = party.scratch([classes * plane_words::<W>(rows.len())])?;
                        predict(&mut party, z, classes, hot)?;
                        count_correct(&mut party, hot, labels, classes)?
                    }
                    Task::Regression(_) => {
                        truncate(&mut party, z, network.frac_bits)?;
                        let ([y], mut party) = party.scratch([n])?;
                        labels.share(&party, y);
                        party.kernels.sub(z, y);
                        let mut half = W::default();
                        half_square_sum(&mut party, z, network.frac_bits, &mut half)?;
                        half.add(half)
                    }
                };
                *sum = sum.add(own);
            }
            Ok(())
        })?;
        Ok(sums.into_iter().fold(W::default(), W::add))
    }
}
