//! The sections of a state and their lengths, which follow from the job and the position.

use super::{
    super::{
        newton, optimize,
        tally::{Scores, Sum, Tally},
    },
    Position,
};
use crate::{
    alarms,
    job::{Job, RevealLoss},
    lanes::part,
};
use std::ops::Range;
use symbolon_core::word::{Word, word_bytes};
use zeroize::Zeroizing;

/// Words of a state's sections, in order.
pub(in crate::train) struct Layout {
    /// All lanes' range alarms.
    alarms: usize,
    /// Parameters, running statistics, state of the optimizer, the loss so far.
    trained: usize,
    /// The numbers that leave at an epoch's end.
    outputs: usize,
}

impl Layout {
    /// The sections of a state of `job` at `position`.
    pub(in crate::train) fn new<W: Word>(job: &Job, position: Position) -> Self {
        let lanes = usize::from(job.lanes.lanes);
        let is_in_epoch = position.steps_of_epoch(job) > 0;
        let of_lane = |lane| loss_terms(job, position, lane).map_or(0, |terms| Tally::<W>::stored_words(job, terms));
        let loss: usize = (0..lanes).map(of_lane).sum();
        let statistics = job.network().graph().statistics();
        let optimizer = optimize::durable_words::<W>(job) + newton::durable_words(job);
        let wide = word_bytes::<W::Wide>() / word_bytes::<W>();
        let outputs = position.is_epoch_end(job).then(|| OutputLens::new(job, position.epochs(job)));
        Self {
            alarms: if job.reveal.alarm { lanes * alarms::stored_words(is_in_epoch) } else { 0 },
            trained: job.parameters() + statistics + optimizer + loss,
            outputs: outputs.map_or(0, |lens| lens.values()) * wide,
        }
    }

    /// All words.
    pub(in crate::train) fn words(&self) -> usize {
        self.alarms + self.trained + self.outputs
    }

    pub(super) fn alarms(&self) -> Range<usize> {
        0..self.alarms
    }

    pub(super) fn trained(&self) -> Range<usize> {
        self.alarms..self.alarms + self.trained
    }

    pub(super) fn outputs(&self) -> Range<usize> {
        self.alarms + self.trained..self.words()
    }
}

/// Returns the terms of the loss that lane `lane` has added up in the running epoch. `None` where
/// no later step reads them: at an epoch's end, or if the epoch's loss does not leave.
pub(super) fn loss_terms(job: &Job, position: Position, lane: usize) -> Option<usize> {
    let steps = position.steps_of_epoch(job);
    let leaves = job.reveal.loss == RevealLoss::Epoch && job.opens_numbers(position.epochs(job).saturating_add(1));
    if steps == 0 || !leaves {
        return None;
    }
    // Only the last batch of an epoch may be shorter, and it ends the epoch.
    let (records, most, lanes) = (job.step_records(), job.rows_at_once(), usize::from(job.lanes.lanes));
    let passes = (0..records).step_by(most).map(|at| most.min(records - at));
    let rows: usize = passes.map(|rows| part([lane, lanes], rows, 1).len()).sum();
    Some(steps * rows * job.data.labels_per_record * job.loss_terms())
}

/// This party's shares of the numbers that leave at an epoch's end.
pub(in crate::train) struct Outputs<W: Word> {
    pub(in crate::train) loss: Option<Sum<W::Wide>>,
    pub(in crate::train) score: Option<Scores<W::Wide>>,
}

/// The numbers that leave at an epoch's end: which, and how many.
struct OutputLens {
    has_loss: bool,
    /// Sums of metrics, if they leave.
    sums: Option<usize>,
    /// Whether the numbers of records leave with them.
    has_records: bool,
}

impl OutputLens {
    fn new(job: &Job, epoch: u32) -> Self {
        let (opens, metrics, set) = (job.opens_numbers(epoch), job.measured(), job.test_set());
        let sums = || metrics.iter().map(|metric| metric.describe().sums(&set)).sum();
        Self {
            has_loss: opens && job.reveal.loss == RevealLoss::Epoch,
            sums: (opens && !metrics.is_empty()).then(sums),
            has_records: job.data.may_lack_class(),
        }
    }

    fn values(&self) -> usize {
        let records = usize::from(self.has_records);
        (if self.has_loss { 1 + records } else { 0 }) + self.sums.map_or(0, |sums| sums + records)
    }
}

impl<W: Word> Outputs<W> {
    /// Writes the numbers to the words of a state.
    pub(super) fn write(&self, words: &mut [W]) {
        let loss = self.loss.iter().flat_map(|sum| std::iter::once(sum.total).chain(sum.records));
        let score = self.score.iter().flat_map(|scores| scores.sums.iter().copied().chain(scores.records));
        // With room for all: growing would leave a copy behind that is not wiped.
        let mut values = Zeroizing::new(Vec::<W::Wide>::with_capacity(words.len()));
        values.extend(loss.chain(score));
        W::bytes_mut(words).copy_from_slice(W::Wide::bytes(&values));
    }

    /// Reads the numbers of `epoch` from the words of a state.
    pub(super) fn read(job: &Job, epoch: u32, words: &[W]) -> Self {
        let lens = OutputLens::new(job, epoch);
        let mut values = Zeroizing::new(vec![W::Wide::default(); lens.values()]);
        W::Wide::bytes_mut(&mut values).copy_from_slice(W::bytes(words));
        let mut rest = values.iter().copied();
        let records = |rest: &mut dyn Iterator<Item = W::Wide>| if lens.has_records { rest.next() } else { None };
        let loss = lens.has_loss.then(|| Sum { total: rest.next().unwrap_or_default(), records: records(&mut rest) });
        let score =
            lens.sums.map(|sums| Scores { sums: rest.by_ref().take(sums).collect(), records: records(&mut rest) });
        Self { loss, score }
    }
}
