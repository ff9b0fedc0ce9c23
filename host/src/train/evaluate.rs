//! Evaluation on the test set: what is revealed is one sum.

use super::{
    network::{enter, half_square_sum},
    step::Trainer,
};
use crate::{job::Task, lanes::Lanes};
use symbolon_core::{
    correlation::{Rows, View},
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        bit::bits_to_words,
        masked::{Masked, mask_and_open},
        maximum::argmax,
        product::{gather, multiply},
        truncate::{Opened, blind, half, truncate},
    },
    word::Word,
};

/// Test records that a lane evaluates at a time.
const CHUNK: usize = 512;

impl<W: Word> Trainer<'_, W> {
    /// This party's share of the score: correct predictions, or the summed squared error with `f` fraction bits.
    pub(super) fn evaluate(&self, lanes: &mut Lanes<'_, W>) -> Result<W, Error> {
        let (Some(test), Some(labels)) = (&self.test, &self.test_labels) else { return Ok(W::default()) };
        let mut sums = vec![W::default(); lanes.len()];
        let parts: Vec<_> = (0..lanes.len()).map(|i| lanes.part(i, test.rows(), 1)).collect();
        let network = self.parameters.network(self.job);
        let outputs = self.job.outputs();
        lanes.each(parts.into_iter().zip(&mut sums).collect(), |party, (part, sum)| {
            for start in part.clone().step_by(CHUNK) {
                let n = CHUNK.min(part.end - start);
                #[allow(clippy::cast_possible_truncation)] // records are counted in 32 bits
                let rows: Vec<u32> = (start as u32..(start + n) as u32).collect();
                let ([x, z], mut party) = party.scratch([n * test.cols(), n * outputs])?;
                enter(&mut party, 0, "evaluation");
                network.predict(&mut party, 0, test.rows_of(&rows, x), z)?;
                truncate(&mut party, z, network.frac_bits)?;
                let own = match self.job.data.task {
                    Task::Classes(classes) => {
                        let mask = labels.mask().columns(start, n);
                        let words = (labels.words(), labels.cols(), start);
                        matches(&mut party, z, [n, classes], words, mask)?
                    }
                    Task::Regression(_) => {
                        let ([y], mut party) = party.scratch([n * outputs])?;
                        labels.rows_of(&rows, &mut x[..n * outputs]).share(&party, y);
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

/// A share of the number of rows whose largest logit is the labelled one. `labels` are masked one-hot words, class after class.
fn matches<W: Word>(
    party: &mut Party<'_, W>,
    logits: &[W],
    [rows, classes]: [usize; 2],
    (labels, stride, start): (&[W], usize, usize),
    mask: View<'_>,
) -> Result<W, Error> {
    let lanes = plane_words::<W>(rows);
    let n = classes * rows;
    let ([c, hot, predicted, y, both], mut party) = party.scratch([n, classes * lanes, n, n, n])?;
    let party = &mut party;
    let mut draw = party.draw()?;
    let word_mask = blind(party, &mut draw, logits, half::<W>(), c);
    party.open(c)?;
    argmax(party, &Opened { c, mask: word_mask, offset: half::<W>() }, classes, hot)?;
    for (plane, words) in hot.chunks_exact_mut(lanes).zip(predicted.chunks_exact_mut(rows)) {
        bits_to_words(party, plane, &[0], words)?;
    }
    let hiding = party.draw()?.mask(predicted.len());
    let predicted_mask = mask_and_open(party, predicted, hiding)?.matrix(rows);
    gather(labels, stride, Rows::All(classes), start, rows, y);
    multiply(party, Masked { words: predicted, mask: predicted_mask }, Masked { words: y, mask }, both)?;
    Ok(both.iter().fold(W::default(), |sum, w| sum.add(*w)))
}
