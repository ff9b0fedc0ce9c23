//! From a job's opened outputs to what people read, and which of them cannot be.
//!
//! A word that leaves its range spoils all that follows, and no party sees it. The client knows
//! what each output can be while words stay in range: opened words are below `2^(k-2)` units, so
//! that a single loss and a single squared error are bounded. An output outside of these bounds is
//! an error and never a result.

use super::{Sum, real, signed};
use crate::{
    job::{Job, Loss, Task, form::Kind, pow2},
    report::EpochResult,
};
use std::fmt;
use symbolon_core::word::Word;

/// A row's loss is this far from the exact one at most ([`symbolon_core::function::softmax`]).
const SOFTMAX_ERROR: f64 = 0.72;

/// An output that is not possible while words stay in their range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impossible {
    /// The output.
    pub output: Output,
    /// Number of the epoch, from 1; the last one's for the model.
    pub epoch: u32,
    /// The value.
    pub got: f64,
    /// Least possible value.
    pub least: f64,
    /// Greatest possible value.
    pub greatest: f64,
}

/// An output that a job reveals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Output {
    /// Mean training loss of a record.
    Loss,
    /// Correct predictions.
    Correct,
    /// Mean squared error of a test record, scaled.
    SquaredError,
    /// Records whose label names a class.
    Records,
    /// A parameter of the model.
    Parameter,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "the mean training loss",
            Self::Correct => "the number of correct predictions",
            Self::SquaredError => "the mean squared error of the scaled target",
            Self::Records => "the number of records with a class",
            Self::Parameter => "a parameter of the model",
        })
    }
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, epoch, got, least, greatest } = self;
        write!(
            f,
            "epoch {epoch}: {output} is {got}, and can be {least} to {greatest}: words left their range, so results are wrong and \
             none is given. Scale features and target to about -1 to 1, lower the learning rate, or set numbers.ring_bits = 64 \
             or a smaller numbers.frac_bits; `symbolon audit` shows the tensor that leaves its range"
        )
    }
}

impl std::error::Error for Impossible {}

/// The figures of an epoch, from whole words.
///
/// # Errors
///
/// The first output that cannot be.
pub fn epoch_result<V: Word>(
    job: &Job,
    epoch: u32,
    loss: Option<Sum<V>>,
    score: Option<Sum<V>>,
) -> Result<EpochResult, Impossible> {
    let hold = |output, got: f64, [least, greatest]: [f64; 2]| match (least..=greatest).contains(&got) {
        true => Ok(got),
        false => Err(Impossible { output, epoch, got, least, greatest }),
    };
    let records = |sum: &Sum<V>, kind, all: usize| match sum.records {
        Some(records) => hold(Output::Records, integer(records), limits(job, kind, [0.0, count(all)])),
        None => Ok(count(all)),
    };
    let mut result = EpochResult { epoch, ..EpochResult::default() };
    if let Some(sum) = loss {
        let kinds = [Kind::Loss, Kind::LossRecords];
        let records = records(&sum, kinds[1], job.records_per_epoch())?;
        result.loss = mean(real(job, sum.total), records);
        result
            .loss
            .map_or(Ok(0.0), |loss| hold(Output::Loss, loss, mean_limits(job, kinds[0], records, losses(job))))?;
        result.loss_standard_error = result.loss.and_then(|loss| standard_error(job, kinds, loss, records));
    }
    if let Some(sum) = score {
        let kinds = [Kind::Score, Kind::ScoreRecords];
        let records = records(&sum, kinds[1], job.data.test_records)?;
        match job.data.task {
            Task::Classes(_) => {
                let correct = hold(Output::Correct, integer(sum.total), limits(job, kinds[0], [0.0, records]))?;
                result.accuracy = mean(correct, records);
                result.accuracy_standard_error =
                    result.accuracy.and_then(|accuracy| standard_error(job, kinds, accuracy, records));
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most 2^62
                let scored = records.max(0.0) as u64;
                result.scored = Some(scored);
            }
            Task::Regression(scale) => {
                let (error, squared) = (real(job, sum.total) / records, scale.divide * scale.divide);
                hold(Output::SquaredError, error, mean_limits(job, kinds[0], records, [0.0, single(job)]))?;
                result.mean_squared_error = Some(error * squared);
                result.mean_squared_error_standard_error =
                    standard_error(job, kinds, error, records).map(|deviation| deviation * squared);
            }
        }
    }
    Ok(result)
}

/// Returns the limits of a number: with noise those of its form, otherwise `plain`.
#[allow(clippy::cast_precision_loss)] // limits are compared, no more
fn limits(job: &Job, kind: Kind, plain: [f64; 2]) -> [f64; 2] {
    let form = job.reveal.noise.and_then(|_| kind.form(job));
    form.map_or(plain, |form| form.limits().map(|limit| limit as f64))
}

/// Returns the limits of a sum's mean.
fn mean_limits(job: &Job, kind: Kind, records: f64, plain: [f64; 2]) -> [f64; 2] {
    match job.reveal.noise {
        None => plain,
        Some(_) => limits(job, kind, plain).map(|limit| limit / pow2(job.numbers.frac_bits) / records),
    }
}

/// Returns the standard error that noise gives to `mean`, a sum divided by a count.
fn standard_error(job: &Job, [sum, records]: [Kind; 2], mean: f64, count: f64) -> Option<f64> {
    let deviation = |kind: Kind| Some(kind.form(job)?.scale()?.deviation());
    let unit = match (sum, &job.data.task) {
        (Kind::Score, Task::Classes(_)) => 1.0,
        _ => pow2(job.numbers.frac_bits),
    };
    let of_records = if records.times(job) > 0 { deviation(records)? } else { 0.0 };
    Some((deviation(sum)? / unit).hypot(mean * of_records) / count)
}

/// Asserts that a model's parameters are numbers of the job.
///
/// # Errors
///
/// The first parameter that is invalid.
pub fn sound_parameters<W: Word>(job: &Job, parameters: &[W]) -> Result<(), Impossible> {
    let limit = 1i64 << (W::BITS - 2);
    match parameters.iter().find(|word| !(-limit..limit).contains(&signed(**word))) {
        None => Ok(()),
        Some(word) => {
            let greatest = pow2(W::BITS - 2) / pow2(job.numbers.frac_bits);
            let (output, epoch, got) = (Output::Parameter, job.training.epochs, real(job, *word));
            Err(Impossible { output, epoch, got, least: -greatest, greatest })
        }
    }
}

/// The largest square, and the largest difference of two logits: below `2^(k-2)` units of `2^-2f`.
/// Truncation adds a unit.
fn single(job: &Job) -> f64 {
    let unit = 1.0 / pow2(job.numbers.frac_bits);
    pow2(job.numbers.ring_bits - 2) * unit * unit + unit
}

/// The least and the largest mean loss.
fn losses(job: &Job) -> [f64; 2] {
    match job.loss {
        Loss::SoftmaxCrossEntropy => [-SOFTMAX_ERROR, single(job) + count(job.outputs()).ln() + SOFTMAX_ERROR],
        Loss::MeanSquaredError => [0.0, single(job) / 2.0 * count(job.outputs())],
    }
}

fn mean(sum: f64, records: f64) -> Option<f64> {
    (records > 0.0).then(|| sum / records)
}

#[allow(clippy::cast_precision_loss)] // records and classes are counted in 32 bits
fn count(n: usize) -> f64 {
    n as f64
}

#[allow(clippy::cast_precision_loss)] // a count is exact; what is none is out of range
fn integer<V: Word>(word: V) -> f64 {
    signed(word) as f64
}

#[cfg(test)]
mod tests;
