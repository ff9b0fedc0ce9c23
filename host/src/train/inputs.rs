//! One party's tables of a job's data.

use crate::{
    data::Lengths,
    job::{Format, Job},
    secret::Secret,
    storage::{Storage, StorageError, Words},
};
use symbolon_core::{
    link::Error,
    word::{Word, word_bytes},
};

/// One party's shares of a job's data (whole values in the clear engine, nothing in a dry run).
///
/// A job on files has them in its numbers. A job on reports has codes, as devices split them: one
/// in the low bits of each word, one label a record. They are lifted before training.
pub struct Inputs<W: Word> {
    /// Training records, row after row, `f` fraction bits; or codes.
    pub train: Words<W>,
    /// One-hot rows in integers, or scaled targets with `f` fraction bits; or codes.
    pub train_labels: Words<W>,
    /// Test records.
    pub test: Words<W>,
    /// Labels of the test records.
    pub test_labels: Words<W>,
    /// Public lengths of the sequences, the same at all parties that have them.
    pub lengths: Lengths,
    /// Storage of these tables and of the tables made from them.
    pub(crate) storage: Storage,
}

/// A table of a job.
#[derive(Clone, Copy)]
pub(super) enum InputTable {
    Train,
    TrainLabels,
    Test,
    TestLabels,
    /// One-hot rows of labels that come as codes.
    HotTrain,
    HotTest,
    /// Whether each training label names a class.
    Weights,
}

/// Number of tables.
const TABLES: usize = 7;

impl InputTable {
    /// Words of each table of `job`; 0 for an absent table.
    fn lens(job: &Job) -> [usize; TABLES] {
        let [train, train_labels, test, test_labels] = lens(job);
        let hot = match job.data.format {
            Format::Reports(_) if job.outputs() > 1 => job.outputs(),
            _ => 0,
        };
        let weights = if job.data.may_lack_class() { job.data.train_records } else { 0 };
        let [hot_train, hot_test] = [job.data.train_records, job.data.test_records].map(|records| hot * records);
        [train, train_labels, test, test_labels, hot_train, hot_test, weights]
    }

    /// The table in memory or in a file, zeros.
    fn make<W: Word>(self, job: &Job, storage: &Storage) -> Result<Words<W>, StorageError> {
        let (lens, i) = (Self::lens(job), self as usize);
        match size_of::<W>() == 0 || fits::<W>(lens, storage.memory_bytes())[i] {
            true => Ok(Words::zeros(lens[i])),
            false => Words::on_disk(storage, lens[i]),
        }
    }

    /// Makes the table while a job runs; records an error for [`Storage::take_fault`].
    pub(super) fn make_in_job<W: Word>(self, job: &Job, storage: &Storage) -> Result<Words<W>, Error> {
        self.make(job, storage).map_err(|error| {
            storage.note(error);
            Error::Storage
        })
    }
}

/// Words of each input of `job`, in the order of the fields.
fn lens(job: &Job) -> [usize; 4] {
    let width = if matches!(job.data.format, Format::Reports(_)) { 1 } else { job.label_words() };
    let (train, test) = (job.data.train_rows(), job.data.test_records);
    [train * job.data.features(), train * width, test * job.data.features(), test * width]
}

/// For each table, whether it is in memory.
fn fits<W: Word>(lens: [usize; TABLES], memory_bytes: u64) -> [bool; TABLES] {
    Storage::in_memory(memory_bytes, lens.map(|len| (len * word_bytes::<W>()) as u64))
}

impl<W: Word> Inputs<W> {
    /// Words of each table of `job`, in the order of the fields.
    pub fn lens(job: &Job) -> [usize; 4] {
        lens(job)
    }

    /// Words of all tables together while `job` runs: of reports, the labels' codes, their one-hot
    /// rows and the records' weights.
    pub fn words(job: &Job) -> usize {
        InputTable::lens(job).iter().sum()
    }

    /// Bytes of `job`'s tables in memory and in files, if at most `memory_bytes` of them are in
    /// memory. Prefetched rows and the lanes' tiles count as memory.
    pub fn bytes(job: &Job, memory_bytes: u64) -> [u64; 2] {
        let lens = InputTable::lens(job);
        let fits = fits::<W>(lens, memory_bytes);
        let word = word_bytes::<W>() as u64;
        let sum = |filed: bool| {
            let own = lens.iter().zip(fits).filter(|(_, fits)| *fits != filed);
            own.map(|(len, _)| *len as u64).sum::<u64>() * word
        };
        let batch = job.step_records().min(job.records_per_epoch());
        let widths = [(InputTable::Train, job.data.features()), (InputTable::TrainLabels, job.label_words())];
        let hot = [(InputTable::HotTrain, job.outputs()), (InputTable::Weights, 1)];
        let ahead = widths.into_iter().chain(hot).filter(|(table, _)| !fits[*table as usize]);
        let ahead: usize = ahead.map(|(_, width)| super::prefetch::BATCHES * batch * width).sum();
        // Each lane rewrites a tile of a file at a time, and may read another table for it.
        let (lanes, longest) = (usize::from(job.lanes.lanes), lens.into_iter().max().unwrap_or(0));
        let tile = (2 * job.lanes.tile).max(super::lift::tile_words(job)).min(longest);
        let tiles = if fits.contains(&false) { lanes * tile } else { 0 };
        [sum(false) + (ahead + tiles) as u64 * word, sum(true)]
    }

    /// Returns the tables, in the order of the fields.
    pub(crate) fn tables(&mut self) -> [&mut Words<W>; 4] {
        [&mut self.train, &mut self.train_labels, &mut self.test, &mut self.test_labels]
    }

    /// Returns zero tables of the job's sizes in memory, without lengths of sequences.
    pub fn in_memory(job: &Job) -> Self {
        let [train, train_labels, test, test_labels] = lens(job).map(|len| Secret::zeros(len).into());
        Self { train, train_labels, test, test_labels, lengths: Lengths::default(), storage: Storage::default() }
    }

    /// Returns zero tables of the job's sizes in `storage`, without lengths of sequences.
    ///
    /// # Errors
    ///
    /// A file cannot be created, or the disk has no room for it.
    pub fn new(job: &Job, storage: &Storage) -> Result<Self, StorageError> {
        let make = |table: InputTable| table.make(job, storage);
        Ok(Self {
            train: make(InputTable::Train)?,
            train_labels: make(InputTable::TrainLabels)?,
            test: make(InputTable::Test)?,
            test_labels: make(InputTable::TestLabels)?,
            lengths: Lengths::default(),
            storage: storage.clone(),
        })
    }
}
