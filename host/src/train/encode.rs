//! From records to ring words.

use super::Inputs;
use crate::{
    data::{Copies, Dataset, SetLengths, Targets},
    job::{Job, Task},
    secret::Secret,
    storage::{ScratchFailed, Words, Writer},
};
use std::{fmt, ops::Range};
use symbolon_core::{
    fixed::{RangeError, encode},
    loss::{Activation, Describe as _},
    word::Word,
};

/// Data that the job's numbers cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EncodeError {
    /// A value.
    Value {
        /// `training` or `test`.
        set: &'static str,
        /// Record, from 0.
        record: usize,
        /// Feature, from 0; none for a target.
        feature: Option<usize>,
        /// The problem with it.
        error: RangeError,
    },
    /// A feature that an embedding reads and that is not one of its codes.
    Code {
        /// `training` or `test`.
        set: &'static str,
        /// Record, from 0.
        record: usize,
        /// Feature, from 0.
        feature: usize,
        /// The feature.
        got: f32,
        /// Number of codes.
        codes: u32,
    },
    /// A training feature of a regression in closed form that is neither 0 nor 1.
    NotABit {
        /// Record, from 0.
        record: usize,
        /// Feature, from 0.
        feature: usize,
        /// The scaled feature.
        got: f32,
    },
    /// A target of a logistic loss that is not from 0 to 1.
    Probability {
        /// The scaled target.
        got: f64,
    },
    /// Targets whose errors' squares leave their words.
    Squares {
        /// Least scaled target of both sets.
        least: f64,
        /// Greatest scaled target of both sets.
        greatest: f64,
        /// The bound of errors.
        limit: f64,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { set, record, feature: Some(feature), error } => {
                write!(f, "{set} record {record}, feature {feature}: {error}")
            }
            Self::Value { set, record, feature: None, error } => write!(f, "{set} record {record}, target: {error}"),
            Self::Code { set, record, feature, got, codes } => write!(
                f,
                "{set} record {record}, feature {feature}: is {got}, and an embedding of {codes} codes takes whole numbers \
                 from 0 to {}; change the record or the layer's codes; data.scale has to be {{ divide = 1 }}",
                codes - 1
            ),
            Self::NotABit { record, feature, got } => write!(
                f,
                "training record {record}, feature {feature} is {got} after scaling, and optimizer.kind = \"closed-form\" takes 0 or \
                 1; give the feature a threshold, data.scale.columns[{feature}] = {{ above = ... }}"
            ),
            Self::Probability { got } => write!(
                f,
                "a target is {got} after scaling, and loss = \"logistic\" takes targets from 0 to 1; change data.target"
            ),
            Self::Squares { least, greatest, limit } => write!(
                f,
                "targets go from {least} to {greatest} after scaling, and words with these fraction bits hold squares of errors of \
                 less than {limit}; divide by more (data.target.divide), take fewer fraction bits or ring_bits = 64, or reveal \
                 neither loss nor metrics"
            ),
        }
    }
}

impl std::error::Error for EncodeError {}

/// An error of encoding a record into its tables.
pub(super) enum RecordError {
    /// The job's numbers cannot hold it.
    Encode(EncodeError),
    /// The table cannot be written.
    Storage(ScratchFailed),
}

impl From<EncodeError> for RecordError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<ScratchFailed> for RecordError {
    fn from(error: ScratchFailed) -> Self {
        Self::Storage(error)
    }
}

impl<W: Word> Inputs<W> {
    /// Whole values of `train` and `test` in the job's numbers, in memory.
    ///
    /// # Errors
    ///
    /// The first value that does not fit; a range of targets that squared errors do not fit.
    pub fn encode(job: &Job, train: &Dataset, test: &Dataset) -> Result<Self, EncodeError> {
        let (inputs, ranges) = Self::encoded(job, train, test)?;
        squares_fit(job, ranges)?;
        Ok(inputs)
    }

    /// [`Self::encode`] of targets whose squared errors may not fit: for an audit, which says so.
    ///
    /// # Errors
    ///
    /// The first value that does not fit.
    pub(crate) fn encode_any_targets(job: &Job, train: &Dataset, test: &Dataset) -> Result<Self, EncodeError> {
        Ok(Self::encoded(job, train, test)?.0)
    }

    fn encoded(job: &Job, train: &Dataset, test: &Dataset) -> Result<(Self, [TargetStats; 2]), EncodeError> {
        let mut inputs = Self::in_memory(job);
        let [train_set, test_set] = Encoder::both(job, &mut inputs);
        let encoded = |mut set: Encoder<'_, W>, records| {
            set.block(records).and_then(|()| set.finish()).map_err(|unfit| match unfit {
                RecordError::Encode(error) => error,
                RecordError::Storage(_) => unreachable!("words in memory"),
            })
        };
        let ranges = [encoded(train_set, train)?, encoded(test_set, test)?];
        Ok((inputs, ranges))
    }
}

/// Scaled features of rows to predict, in the job's numbers.
///
/// # Errors
///
/// The first value that does not fit.
pub fn encode_rows<W: Word>(job: &Job, features: &[f32]) -> Result<Vec<W>, EncodeError> {
    let (codes, cols, set) = (job.codes(), job.data.features(), "predicted");
    let each = |(at, v): (usize, &f32)| {
        let (record, feature) = (at / cols, at % cols);
        let wrong = |(of, codes): &&(Range<usize>, u32)| of.contains(&feature) && !is_code(*v, *codes);
        if let Some((_, codes)) = codes.iter().find(wrong) {
            return Err(EncodeError::Code { set, record, feature, got: *v, codes: *codes });
        }
        let encoded = encode(f64::from(*v), job.numbers.frac_bits);
        encoded.map_err(|error| EncodeError::Value { set, record, feature: Some(feature), error })
    };
    features.iter().enumerate().map(each).collect()
}

/// Statistics of a set's real targets so far; `squares` is the sum of squared deviations from the
/// mean.
#[derive(Clone, Copy)]
pub(super) struct TargetStats {
    least: f64,
    greatest: f64,
    count: f64,
    mean: f64,
    squares: f64,
}

impl TargetStats {
    const NONE: Self = Self { least: f64::INFINITY, greatest: f64::NEG_INFINITY, count: 0.0, mean: 0.0, squares: 0.0 };

    /// Adds a target (Welford, Technometrics 4, 1962).
    fn add(&mut self, target: f64) {
        (self.least, self.greatest) = (self.least.min(target), self.greatest.max(target));
        self.count += 1.0;
        let from_mean = target - self.mean;
        self.mean += from_mean / self.count;
        self.squares += from_mean * (target - self.mean);
    }

    /// Variance of the one target of a regression, in units of the target squared; the reference
    /// of R². `None` for classes and for several targets.
    pub(super) fn variance(&self, job: &Job) -> Option<f64> {
        let Task::Regression(targets) = &job.data.task else { return None };
        let [scale] = targets[..] else { return None };
        Some(self.squares / self.count.max(1.0) * scale.divide * scale.divide)
    }
}

/// Holds the largest error of a prediction that is 0, as an untrained network's nearly is, or a
/// target, to what its square leaves room for.
pub(super) fn squares_fit(job: &Job, [train, test]: [TargetStats; 2]) -> Result<(), EncodeError> {
    let (least, greatest) = (train.least.min(test.least), train.greatest.max(test.greatest));
    if job.loss.activation() == Activation::Sigmoid && (least < 0.0 || (greatest > 1.0 && greatest.is_finite())) {
        return Err(EncodeError::Probability { got: if least < 0.0 { least } else { greatest } });
    }
    let limit = job.error_limit();
    if greatest.max(0.0) - least.min(0.0) >= limit {
        return Err(EncodeError::Squares { least, greatest, limit });
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // codes are few
fn is_code(v: f32, codes: u32) -> bool {
    v.fract() == 0.0 && (0.0..codes as f32).contains(&v)
}

/// Name of the training set.
const TRAINING: &str = "training";

/// Encodes a set's records into its tables, in the order in which they come.
pub(super) struct Encoder<'a, W: Word> {
    job: &'a Job,
    codes: Vec<(Range<usize>, u32)>,
    set: &'static str,
    copies: Option<Copies>,
    /// Whether features have to be 0 or 1.
    takes_bits: bool,
    /// A writer of records and one of labels, for each copy.
    writers: Vec<[Writer<'a, W>; 2]>,
    /// Records so far.
    rows: usize,
    /// The words of a record and of its label.
    words: [Secret<W>; 2],
    lengths: &'a mut SetLengths,
    target_stats: TargetStats,
}

impl<'a, W: Word> Encoder<'a, W> {
    /// The encoders of the training and of the test records of `inputs`.
    pub(super) fn both(job: &'a Job, inputs: &'a mut Inputs<W>) -> [Self; 2] {
        let Inputs { train, train_labels, test, test_labels, lengths, .. } = inputs;
        let copies = Copies::of(job);
        let parts = job.data.augment.map_or(1, |augment| augment.copies.into());
        [
            Self::new(job, TRAINING, (copies, parts), [train, train_labels], &mut lengths.train),
            Self::new(job, "test", (None, 1), [test, test_labels], &mut lengths.test),
        ]
    }

    fn new(
        job: &'a Job,
        set: &'static str,
        (copies, parts): (Option<Copies>, usize),
        [records, labels]: [&'a mut Words<W>; 2],
        lengths: &'a mut SetLengths,
    ) -> Self {
        let writers = records.writers(parts).into_iter().zip(labels.writers(parts)).map(<[_; 2]>::from).collect();
        let words = [job.data.features(), job.label_words()].map(Secret::zeros);
        let (codes, takes_bits) = (job.codes(), set == TRAINING && job.closed_form().is_some());
        Self { job, codes, set, copies, takes_bits, writers, rows: 0, words, lengths, target_stats: TargetStats::NONE }
    }

    /// Records so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Encodes the next records.
    pub(super) fn block(&mut self, block: &Dataset) -> Result<(), RecordError> {
        let mut changed = vec![0.0; if self.copies.is_some() { block.cols } else { 0 }];
        self.lengths.append(&block.lengths);
        for i in 0..block.rows {
            self.label(block, i)?;
            // Padding is zeros, whatever stands there.
            let length = block.lengths.records.get(i).map(|length| usize::from(*length));
            let counted = length.map_or(block.cols, |length| length * (block.cols / self.job.data.steps()));
            for copy in 0..self.writers.len() {
                let features = match &self.copies {
                    None => block.row(i),
                    Some(copies) => {
                        #[allow(clippy::cast_possible_truncation)] // a job has few copies
                        copies.write(copy as u32, self.rows, block.row(i), &mut changed);
                        &changed[..]
                    }
                };
                let Self { job, set, codes, takes_bits, writers, words: [words, labels], rows, .. } = self;
                let no_bit = features.iter().position(|v| *takes_bits && ![0.0, 1.0].contains(v));
                if let Some(feature) = no_bit {
                    return Err(EncodeError::NotABit { record: *rows, feature, got: features[feature] }.into());
                }
                words[counted..].fill(W::default());
                for (feature, (word, v)) in words[..counted].iter_mut().zip(features).enumerate() {
                    let wrong = |(of, codes): &&(Range<usize>, u32)| of.contains(&feature) && !is_code(*v, *codes);
                    if let Some((_, codes)) = codes.iter().find(wrong) {
                        return Err(EncodeError::Code { set, record: *rows, feature, got: *v, codes: *codes }.into());
                    }
                    *word = encode(f64::from(*v), job.numbers.frac_bits).map_err(|error| EncodeError::Value {
                        set,
                        record: *rows,
                        feature: Some(feature),
                        error,
                    })?;
                }
                let [records, own_labels] = &mut writers[copy];
                records.push(words)?;
                own_labels.push(labels)?;
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// Encodes the label of record `i` of a block.
    fn label(&mut self, block: &Dataset, i: usize) -> Result<(), EncodeError> {
        let [_, label] = &mut self.words;
        match &block.targets {
            Targets::Classes(classes) => {
                label.fill(W::default());
                let all = self.job.data.labels_per_record;
                // A label that does not count is a row of zeros.
                let counted = block.lengths.of_labels(&self.job.data).map_or(all, |lengths| usize::from(lengths[i]));
                let own = &classes[i * all..][..counted];
                for (label, class) in label.chunks_exact_mut(self.job.outputs()).zip(own) {
                    label[*class as usize] = W::from_u64(1);
                }
            }
            Targets::Values(values) => {
                let own = &values[i * label.len()..];
                for (word, v) in label.iter_mut().zip(own) {
                    self.target_stats.add(f64::from(*v));
                    *word = encode(f64::from(*v), self.job.numbers.frac_bits).map_err(|error| EncodeError::Value {
                        set: self.set,
                        record: self.rows,
                        feature: None,
                        error,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Ends the set.
    pub(super) fn finish(self) -> Result<TargetStats, RecordError> {
        self.writers.into_iter().flatten().try_for_each(Writer::finish)?;
        Ok(self.target_stats)
    }
}
