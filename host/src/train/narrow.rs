//! A reports job's inputs: from packed records to codes, one in the low bits of each word. What their bits above hold is nothing.

use super::Inputs;
use crate::{
    data::{Shelf, ShelfError, read},
    job::{Format, Job, Target},
    secret::Secret,
    storage::Storage,
};
use symbolon_core::word::Word;

impl<W: Word> Inputs<W> {
    /// The codes of `job`'s records on `shelf`: shares of them if those are shares. Zeros for a job
    /// that learns from files.
    ///
    /// # Errors
    ///
    /// The shelf's; counts or lengths that are not the job's.
    pub fn stored(job: &Job, shelf: &dyn Shelf, storage: &Storage) -> Result<Self, ShelfError> {
        let mut inputs = Self::new(job, storage).map_err(ShelfError::Table)?;
        let Format::Reports(reports) = &job.data.format else { return Ok(inputs) };
        let label = match reports.target {
            Target::Label(place) => place,
            Target::Reading(column) => column.place,
        };
        let (features, labelled_apart) = (job.data.features(), reports.about.is_some());
        let counts = [job.data.train_records, job.data.test_records];
        let Self { train, train_labels, test, test_labels, .. } = &mut inputs;
        let mut tables = [[train, train_labels], [test, test_labels]].map(|set| set.map(|words| words.writer()));
        let mut row = Secret::zeros(features);
        let failed = |_| ShelfError::Table(storage.failure());
        // `read` passes each set's records in order, so that each table needs one writer.
        read(shelf, reports, counts, &mut |set, stored| {
            let [records, labels] = &mut tables[set as usize];
            reports.codes(stored.record, &mut row);
            records.push(&row).map_err(&failed)?;
            let source = if labelled_apart { stored.about } else { stored.record };
            labels.push(&[W::from_u64(u64::from(label.code(source)))]).map_err(&failed)
        })?;
        for writer in tables.into_iter().flatten() {
            writer.finish().map_err(&failed)?;
        }
        Ok(inputs)
    }
}
