//! The metrics of a job: how a job file names them, and the test set that they are about.

use super::{Affine, Data, Invalid, Job, Rule, Task, kind::KindFile};
use symbolon_core::{
    loss::{Activation, Describe as _},
    metric::{self, AnyMetric, Kind, TestSet},
};

/// Most metrics of a job.
const MAX_METRICS: usize = 16;
/// Most sums of all metrics together.
const MAX_SUMS: u64 = 1 << 16;
/// Most of them with noise.
const MAX_NOISY_SUMS: u64 = 1 << 12;

/// Returns the metrics of a file's list; those of the task, if it is left out.
pub(super) fn resolve(list: Option<Vec<KindFile>>, data: &Data) -> Result<Vec<AnyMetric>, Invalid> {
    let Some(list) = list else {
        return Ok(vec![match data.task {
            Task::Classes(_) => AnyMetric::Accuracy(metric::accuracy::Accuracy {}),
            Task::Regression(_) => AnyMetric::SquaredError(metric::squared_error::SquaredError {}),
        }]);
    };
    let read = |(at, metric): (usize, KindFile)| {
        let broken = |rule| Invalid { key: format!("metrics[{at}]"), rule };
        let (name, numbers) = metric.parts().map_err(broken)?;
        let kind = Kind::named(&name).ok_or_else(|| broken(Rule::MetricKind { got: name.clone() }))?;
        kind.read(numbers).map_err(|error| broken(Rule::KindNumbers { kind: name, error: error.to_string() }))
    };
    list.into_iter().enumerate().map(read).collect()
}

/// Checks the metrics of a job, if it measures any. Those of targets compare them with the outputs
/// themselves, which a logistic loss takes for logits.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    let hold = |key: &str, got: u64, min, max| match (min..=max).contains(&got) {
        true => Ok(()),
        false => Err(Invalid { key: key.to_owned(), rule: Rule::Between { got, min, max } }),
    };
    hold("metrics", job.metrics.len() as u64, u64::from(job.reveal.metrics), MAX_METRICS as u64)?;
    let logits = job.loss.activation() != Activation::Identity && matches!(job.data.task, Task::Regression(_));
    if logits && !job.measured().is_empty() {
        return Err(Invalid { key: "reveal.metrics".to_owned(), rule: Rule::MetricsOfLogits });
    }
    let (set, mut sums) = (job.test_set(), 0u64);
    for (at, metric) in job.measured().iter().enumerate() {
        let broken = |rule| Invalid { key: format!("metrics[{at}]"), rule };
        metric.describe().check(&set).map_err(|misfit| broken(Rule::Metric { kind: metric.kind(), misfit }))?;
        if job.metrics[..at].contains(metric) {
            return Err(broken(Rule::DuplicateMetric { got: metric.to_string() }));
        }
        sums = sums.saturating_add(metric.describe().sums(&set) as u64);
    }
    match job.reveal.noise {
        None => hold("metrics (sums)", sums, 0, MAX_SUMS),
        Some(_) => hold("metrics (sums with noise)", sums, 0, MAX_NOISY_SUMS),
    }
}

/// The unit of all targets; 1, that of scaled targets, where they differ.
fn common_unit(targets: &[Affine]) -> f64 {
    match targets {
        [first, others @ ..] if others.iter().all(|other| other.divide == first.divide) => first.divide,
        _ => 1.0,
    }
}

impl Job {
    /// Returns the metrics that the job measures on its test records and opens.
    pub fn measured(&self) -> &[AnyMetric] {
        if self.reveal.metrics && self.data.test_records > 0 { &self.metrics } else { &[] }
    }

    /// Returns the facts about the test records that metrics depend on.
    pub fn test_set(&self) -> TestSet {
        let (task, scale) = match &self.data.task {
            Task::Classes(_) => (metric::Task::Classes, 1.0),
            Task::Regression(targets) => (metric::Task::Regression, common_unit(targets)),
        };
        TestSet {
            task,
            outputs: u32::try_from(self.outputs()).unwrap_or(u32::MAX),
            ring_bits: self.numbers.ring_bits,
            frac_bits: self.numbers.frac_bits,
            may_lack_class: self.data.may_lack_class(),
            largest_loss: self.reveal.noise.map(|noise| noise.largest_loss),
            scale,
        }
    }
}
