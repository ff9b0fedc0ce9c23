//! The public lengths of a job's sequences and labels, beside the records.

use crate::job::Data;

/// The lengths of a set's records and of their labels; empty lists where the job has none, and in
/// dry runs. Public: both servers and the client know them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SetLengths {
    /// Steps of each record that count, from 1.
    pub records: Vec<u16>,
    /// Labels of each record that count, from 0, where they have lengths of their own.
    pub labels: Vec<u16>,
}

impl SetLengths {
    /// Returns the steps of each record that count; `None` where all do.
    pub fn of_records(&self) -> Option<&[u16]> {
        (!self.records.is_empty()).then_some(&self.records[..])
    }

    /// Returns the labels of each record that count; `None` where all do.
    pub fn of_labels(&self, data: &Data) -> Option<&[u16]> {
        let list = if data.labels_follow_lengths() { &self.records } else { &self.labels };
        (!list.is_empty()).then_some(&list[..])
    }

    /// Appends the lengths of a block.
    pub(crate) fn append(&mut self, block: &Self) {
        self.records.extend_from_slice(&block.records);
        self.labels.extend_from_slice(&block.labels);
    }

    /// Removes all lengths; the memory stays.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.labels.clear();
    }
}

/// The lengths of a job's sequences.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lengths {
    /// Those of the training records.
    pub train: SetLengths,
    /// Those of the test records.
    pub test: SetLengths,
}

/// A list of lengths, as a job describes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListFacts {
    /// Its key in the job.
    pub key: &'static str,
    /// Number of lengths: one a record, or 0 where the job has none.
    pub count: usize,
    /// Least length.
    pub least: u16,
    /// Greatest length.
    pub greatest: u16,
}

impl Lengths {
    /// Returns the facts of each list of a job on `data`, in the order of [`Self::lists`].
    pub fn facts(data: &Data) -> [ListFacts; 4] {
        let counts = |has: bool| [data.train_records, data.test_records].map(|records| if has { records } else { 0 });
        let ([train, test], [train_labels, test_labels]) =
            (counts(data.has_lengths()), counts(data.has_label_lengths()));
        let [steps, labels] = [data.steps(), data.labels_per_record].map(|n| u16::try_from(n).unwrap_or(u16::MAX));
        [
            ListFacts { key: "train_lengths", count: train, least: 1, greatest: steps },
            ListFacts { key: "train_label_lengths", count: train_labels, least: 0, greatest: labels },
            ListFacts { key: "test_lengths", count: test, least: 1, greatest: steps },
            ListFacts { key: "test_label_lengths", count: test_labels, least: 0, greatest: labels },
        ]
    }

    /// Returns the lists: of the training records and their labels, then of the test records.
    pub fn lists(&self) -> [&Vec<u16>; 4] {
        let Self { train, test } = self;
        [&train.records, &train.labels, &test.records, &test.labels]
    }

    /// As [`Self::lists`], to be filled.
    pub(crate) fn lists_mut(&mut self) -> [&mut Vec<u16>; 4] {
        let Self { train, test } = self;
        [&mut train.records, &mut train.labels, &mut test.records, &mut test.labels]
    }

    /// Returns the bytes of all lists of a job on `data`, in memory and on the wire.
    pub fn bytes(data: &Data) -> usize {
        Self::facts(data).iter().map(|list| size_of::<u16>() * list.count).sum()
    }

    /// Returns whether each list has as many lengths as a job on `data` needs.
    pub fn fit(&self, data: &Data) -> bool {
        Self::facts(data).iter().zip(self.lists()).all(|(facts, list)| facts.count == list.len())
    }
}
