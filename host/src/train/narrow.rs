//! A reports job's inputs: from packed records to codes, one in the low bits of each word. What their bits above hold is nothing.

use super::Inputs;
use crate::{
    data::{Shelf, ShelfError, read},
    job::{Format, Job, Set, Target},
};
use symbolon_core::word::Word;

impl<W: Word> Inputs<W> {
    /// The codes of `job`'s records on `shelf`: shares of them if those are shares. Empty tables for a job that learns from files.
    ///
    /// # Errors
    ///
    /// The shelf's; counts or lengths that are not the job's.
    pub fn stored(job: &Job, shelf: &dyn Shelf) -> Result<Self, ShelfError> {
        let mut inputs = Self::dry(job);
        let Format::Reports(reports) = &job.data.format else { return Ok(inputs) };
        let label = match reports.target {
            Target::Label(place) => place,
            Target::Reading(column) => column.place,
        };
        let (features, labelled_apart) = (job.data.features(), reports.about.is_some());
        let counts = [job.data.train_records, job.data.test_records];
        read(shelf, reports, counts, &mut |set, row, stored| {
            let (table, labels) = match set {
                Set::Train => (&mut inputs.train, &mut inputs.train_labels),
                Set::Test => (&mut inputs.test, &mut inputs.test_labels),
            };
            let words = &mut table[row * features..(row + 1) * features];
            for (word, column) in words.iter_mut().zip(&reports.columns) {
                *word = W::from_u64(u64::from(column.place.code(stored.record)));
            }
            let source = if labelled_apart { stored.about } else { stored.record };
            labels[row] = W::from_u64(u64::from(label.code(source)));
        })?;
        Ok(inputs)
    }
}
