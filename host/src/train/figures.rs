//! From a job's opened outputs to what people read, and which of them cannot be.
//!
//! A word that leaves its range spoils all that follows, and no party sees it. The client knows
//! what each output can be while words stay in range: opened words are below `2^(k-2)` units, so
//! that a single loss and a single squared error are bounded. An output outside of these bounds is
//! an error and never a result.

use super::{Scores, Sum, lengths, real, signed};
use crate::{
    data::Lengths,
    job::{Job, Task, form::Kind, pow2},
    report::{EpochResult, MetricResult},
};
use std::fmt;
use symbolon_core::loss::Describe as _;
use symbolon_core::{metric, word::Word};

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
    /// A sum of a metric, or the mean of its terms.
    Metric {
        /// The metric.
        kind: metric::Kind,
        /// The name of the sum.
        name: &'static str,
    },
    /// Records whose label names a class.
    Records,
    /// A parameter of the model.
    Parameter,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "the mean training loss",
            Self::Metric { name, .. } => name,
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

/// The figures of an epoch, from whole words. `lengths` are the job's: where they say which labels
/// count, means are over those.
///
/// # Errors
///
/// The first output that cannot be.
pub fn epoch_result<V: Word>(
    job: &Job,
    lengths: &Lengths,
    epoch: u32,
    loss: Option<Sum<V>>,
    score: Option<Scores<V>>,
) -> Result<EpochResult, Impossible> {
    let mut result = EpochResult { epoch, ..EpochResult::default() };
    let check = Check { job, lengths, epoch };
    if let Some(sum) = loss {
        let kinds = [Kind::Loss, Kind::LossRecords];
        let records = check.records(sum.records, kinds[1], lengths::epoch_labels(job, lengths, epoch))?;
        result.loss = mean(real(job, sum.total), records);
        result
            .loss
            .map_or(Ok(0.0), |loss| check.hold(Output::Loss, loss, mean_limits(job, kinds[0], records, losses(job))))?;
        result.loss_standard_error = result.loss.and_then(|loss| loss_standard_error(job, kinds, loss, records));
    }
    if let Some(scores) = score {
        result.metrics = check.metrics(&scores)?;
        let records = check.test_records(&scores)?;
        let needed = job.measured().iter().any(|metric| metric.describe().needs_records());
        name_known(&mut result, (needed && matches!(job.data.task, Task::Classes(_))).then_some(records));
    }
    Ok(result)
}

/// Holds the outputs of an epoch to their limits.
struct Check<'a> {
    job: &'a Job,
    lengths: &'a Lengths,
    epoch: u32,
}

impl Check<'_> {
    fn hold(&self, output: Output, got: f64, [least, greatest]: [f64; 2]) -> Result<f64, Impossible> {
        match (least..=greatest).contains(&got) {
            true => Ok(got),
            false => Err(Impossible { output, epoch: self.epoch, got, least, greatest }),
        }
    }

    /// Returns the number of records in a sum: `all`, unless it was counted.
    fn records<V: Word>(&self, counted: Option<V>, kind: Kind, all: usize) -> Result<f64, Impossible> {
        counted.map_or(Ok(count(all)), |records| {
            self.hold(Output::Records, integer(records), limits(self.job, kind, [0.0, count(all)]))
        })
    }

    /// Returns the number of labels in the sums of the metrics.
    fn test_records<V: Word>(&self, scores: &Scores<V>) -> Result<f64, Impossible> {
        self.records(scores.records, Kind::TestRecords, lengths::test_labels(self.job, self.lengths))
    }

    /// Returns the figures of all metrics.
    fn metrics<V: Word>(&self, scores: &Scores<V>) -> Result<Vec<MetricResult>, Impossible> {
        let (job, set) = (self.job, self.job.test_set());
        let records = self.test_records(scores)?;
        let mut rest = &scores.sums[..];
        let mut results = Vec::new();
        for (at, metric) in job.measured().iter().enumerate() {
            let (own, others) = rest.split_at(metric.describe().sums(&set).min(rest.len()));
            rest = others;
            let sums = (0..).zip(own).map(|(sum, word)| self.sum((at, sum), *word, records));
            let sums = sums.collect::<Result<Vec<f64>, _>>()?;
            results.push(metric_result(job, at, &sums, records));
        }
        Ok(results)
    }

    /// Returns a sum of a metric in real numbers, if that is possible.
    fn sum<V: Word>(&self, (at, sum): (usize, usize), word: V, records: f64) -> Result<f64, Impossible> {
        let (job, metric) = (self.job, &self.job.measured()[at]);
        let terms = metric.describe().terms(&job.test_set(), sum);
        let kind = Kind::Metric { metric: at, sum };
        let output = Output::Metric { kind: metric.kind(), name: terms.name };
        let got = integer(word) / pow2(terms.frac_bits);
        #[allow(clippy::cast_precision_loss)] // limits are compared, no more
        let range = terms.range.map(|limit| limit as f64 / pow2(terms.frac_bits));
        if terms.counted {
            self.hold(output, got, limits(job, kind, range.map(|limit| limit * records)))?;
        } else if let Some(mean) = mean(got, records * f64::from(terms.per_record)) {
            let noisy = |limit| limit / pow2(terms.frac_bits) / records / f64::from(terms.per_record);
            let limits = job.reveal.noise.map_or(range, |_| limits(job, kind, range).map(noisy));
            self.hold(output, mean, limits)?;
        }
        Ok(got)
    }
}

/// Gives the figures of known metrics their own fields, with the number of records that they score.
fn name_known(result: &mut EpochResult, records: Option<f64>) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most 2^62
    let scored = records.map(|records| records.max(0.0) as u64);
    result.scored = scored;
    for metric in &result.metrics {
        let (value, error) = (metric.value, metric.standard_error);
        match metric::Kind::named(&metric.kind) {
            Some(metric::Kind::Accuracy) => {
                (result.accuracy, result.accuracy_standard_error) = (value, error);
            }
            Some(metric::Kind::SquaredError) => {
                (result.mean_squared_error, result.mean_squared_error_standard_error) = (value, error);
            }
            Some(metric::Kind::R2) => result.r2 = value,
            _ => {}
        }
    }
}

/// Returns the figure of a metric, the standard error that noise gives to it, and its table.
fn metric_result(job: &Job, at: usize, sums: &[f64], records: f64) -> MetricResult {
    let (metric, set) = (&job.measured()[at], job.test_set());
    let describe = metric.describe();
    let value = describe.value(&set, sums, records);
    let table = describe.columns(&set).map(|columns| sums.chunks(columns.max(1)).map(<[f64]>::to_vec).collect());
    MetricResult {
        kind: metric.kind().name().to_owned(),
        name: metric.to_string(),
        unit: describe.unit(),
        value,
        standard_error: value.and_then(|_| metric_error(job, at, sums, records)),
        table,
    }
}

/// Returns the standard error that noise gives to a metric's figure: the noise of each number times
/// the figure's derivative by it, for small noise.
fn metric_error(job: &Job, at: usize, sums: &[f64], records: f64) -> Option<f64> {
    job.reveal.noise?;
    let (describe, set) = (job.measured()[at].describe(), job.test_set());
    // A difference over a small step on either side.
    let slope = |value: &mut dyn FnMut(f64) -> Option<f64>, x: f64| {
        let step = x.abs().max(1.0) / pow2(20);
        Some((value(x + step)? - value(x - step)?) / (2.0 * step))
    };
    let deviation = |kind: Kind| Some(kind.form(job)?.scale()?.deviation());
    let mut changed = sums.to_vec();
    let mut variance = 0.0;
    for (sum, x) in sums.iter().enumerate() {
        let terms = describe.terms(&set, sum);
        let mut value = |x| {
            changed[sum] = x;
            describe.value(&set, &changed, records)
        };
        let slope = slope(&mut value, *x)?;
        changed[sum] = *x;
        variance += (slope * deviation(Kind::Metric { metric: at, sum })? / pow2(terms.frac_bits)).powi(2);
    }
    if describe.needs_records() && Kind::TestRecords.times(job) > 0 {
        let slope = slope(&mut |records| describe.value(&set, sums, records), records)?;
        variance += (slope * deviation(Kind::TestRecords)?).powi(2);
    }
    Some(variance.sqrt())
}

/// Returns the limits of a number: with noise those of its form, otherwise `plain`.
#[allow(clippy::cast_precision_loss)] // limits are compared, no more
fn limits(job: &Job, kind: Kind, plain: [f64; 2]) -> [f64; 2] {
    let form = job.reveal.noise.and_then(|_| kind.form(job));
    form.map_or(plain, |form| form.limits().map(|limit| limit as f64))
}

/// Returns the limits of the loss's mean.
fn mean_limits(job: &Job, kind: Kind, records: f64, plain: [f64; 2]) -> [f64; 2] {
    match job.reveal.noise {
        None => plain,
        Some(_) => limits(job, kind, plain).map(|limit| limit / pow2(job.numbers.frac_bits) / records),
    }
}

/// Returns the standard error that noise gives to the loss, a sum divided by a count.
fn loss_standard_error(job: &Job, [sum, records]: [Kind; 2], mean: f64, count: f64) -> Option<f64> {
    let deviation = |kind: Kind| Some(kind.form(job)?.scale()?.deviation());
    let of_records = if records.times(job) > 0 { deviation(records)? } else { 0.0 };
    Some((deviation(sum)? / pow2(job.numbers.frac_bits)).hypot(mean * of_records) / count)
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

/// The least and the largest mean loss.
fn losses(job: &Job) -> [f64; 2] {
    let unit = pow2(job.numbers.frac_bits);
    #[allow(clippy::cast_precision_loss)] // rounding is below the unit that truncation may add
    job.loss.limits(&job.loss_numbers()).map(|limit| limit as f64 / unit * count(job.loss_terms()))
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
