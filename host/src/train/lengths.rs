//! Labels and steps that count, by the public lengths of a job's sequences.

use super::{batch_order, order::Batch};
use crate::{data::Lengths, job::Job};
use symbolon_core::word::Word;

/// Returns how many labels epoch `epoch`, counted from 1, learns from.
pub(super) fn epoch_labels(job: &Job, lengths: &Lengths, epoch: u32) -> usize {
    let Some(lengths) = lengths.train.of_labels(&job.data) else { return job.predictions_per_epoch() };
    if !job.training.drop_last {
        return sum(lengths.iter());
    }
    let order = batch_order(job, epoch);
    sum(order[..job.records_per_epoch()].iter().map(|record| &lengths[*record as usize]))
}

/// Returns how many labels of the test records count.
pub(super) fn test_labels(job: &Job, lengths: &Lengths) -> usize {
    lengths.test.of_labels(&job.data).map_or_else(|| job.test_predictions(), |lengths| sum(lengths.iter()))
}

fn sum<'a>(lengths: impl Iterator<Item = &'a u16>) -> usize {
    lengths.map(|length| usize::from(*length)).sum()
}

/// Returns the lengths of the records `rows`, row by row.
pub(super) fn of_rows(lengths: Option<&[u16]>, rows: Batch<'_>) -> Option<Vec<u16>> {
    match (lengths, rows) {
        (Some(lengths), Batch::Listed { records, .. }) => {
            Some(records.iter().map(|record| lengths[*record as usize]).collect())
        }
        _ => None,
    }
}

/// Sets the words of labels that do not count to zero: `words` has as many for each of a row's
/// `labels` labels, row after row, and `lengths` an entry a row.
pub(super) fn clear_uncounted<W: Word>(lengths: &[u16], labels: usize, words: &mut [W]) {
    let width = words.len().checked_div(lengths.len()).unwrap_or(0);
    if width == 0 {
        return; // a lane without rows
    }
    for (row, length) in words.chunks_exact_mut(width).zip(lengths) {
        row[usize::from(*length) * (width / labels)..].fill(W::default());
    }
}
