//! The coefficients of a regression, with what their standard errors say.

use crate::{
    job::{Job, Optimizer, Task},
    train::real,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use symbolon_core::{loss::AnyLoss, word::Word};

/// A coefficient, of the scaled feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The class or the target, from 0.
    pub output: usize,
    /// The feature's place in a record; null for the bias.
    pub feature: Option<usize>,
    /// The feature's name, where the job gives it; null for the bias.
    pub name: Option<String>,
    /// The coefficient.
    pub value: f64,
    /// Its standard error, the ridge taken for information; null where the residuals' variance is
    /// unknown.
    pub standard_error: Option<f64>,
    /// The coefficient over its standard error.
    pub z: Option<f64>,
    /// The probability of a `z` as far from 0, or farther, if the coefficient were 0: two-sided, by
    /// the normal distribution.
    pub p_value: Option<f64>,
    /// `e^value`, of a logistic regression.
    pub odds_ratio: Option<f64>,
}

/// Returns the coefficients of a model that has standard errors, else none. `loss` is the mean
/// training loss.
pub fn coefficients<W: Word>(job: &Job, model: &[W], loss: Option<f64>) -> Vec<Coefficient> {
    let Optimizer::Newton(_) = job.optimizer else { return Vec::new() };
    if !job.reveal.standard_errors {
        return Vec::new();
    }
    let (inputs, outputs) = (job.data.features(), job.outputs());
    let (values, variances) = model.split_at(job.parameters());
    let records = job.data.train_records as f64;
    // Sums were divided by this.
    let divisor = job.data.train_records.next_power_of_two() as f64;
    let is_logistic = matches!(job.loss, AnyLoss::Logistic(_));
    let scale = if is_logistic { Some(1.0) } else { residual_variance(job, loss, records) };
    let names = super::ModelFacts::of(job).columns;
    let of = |(at, (value, variance)): (usize, (&W, &W))| {
        let (feature, value) = (Some(at / outputs).filter(|feature| *feature < inputs), real(job, *value));
        let standard_error = scale.map(|scale| (scale * real(job, *variance).max(0.0) / divisor).sqrt());
        let z = standard_error.filter(|error| *error > 0.0).map(|error| value / error);
        Coefficient {
            output: at % outputs,
            feature,
            name: feature.and_then(|feature| names.as_ref()?.get(feature).cloned()),
            value,
            standard_error,
            z,
            p_value: z.map(|z| libm::erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2)),
            odds_ratio: is_logistic.then(|| value.exp()),
        }
    };
    let all = values.iter().zip(variances).enumerate().map(of);
    // Of two classes, the first one's coefficients are the second one's with the other sign.
    let mirrored = is_logistic && outputs == 2 && matches!(job.data.task, Task::Classes(_));
    all.filter(|coefficient| !mirrored || coefficient.output == 1).collect()
}

/// The variance of the residuals of one target: of weights that were fitted, so from the second
/// epoch on.
fn residual_variance(job: &Job, loss: Option<f64>, records: f64) -> Option<f64> {
    let free = records - (job.data.features() + 1) as f64;
    let known = job.outputs() == 1 && job.training.epochs > 1 && job.reveal.noise.is_none() && free > 0.0;
    loss.filter(|_| known).map(|loss| 2.0 * loss * records / free)
}

impl fmt::Display for Coefficient {
    /// A line of a table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (&self.name, self.feature) {
            (Some(name), _) => name.clone(),
            (None, Some(feature)) => format!("feature {feature}"),
            (None, None) => "bias".to_owned(),
        };
        write!(f, "{:>6}  {name:<24}{:>12.4}", self.output, self.value)?;
        let cell = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        write!(f, "{:>12}{:>9}", cell(self.standard_error, 4), cell(self.z, 2))?;
        write!(f, "{:>10}", self.p_value.map_or_else(|| "-".to_owned(), p_value))?;
        write!(f, "{:>12}", cell(self.odds_ratio, 3))
    }
}

fn p_value(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// Writes the table, if there are coefficients.
pub(super) fn write_table(f: &mut fmt::Formatter<'_>, coefficients: &[Coefficient]) -> fmt::Result {
    if coefficients.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "\n{:>6}  {:<24}{:>12}{:>12}{:>9}{:>10}{:>12}",
        "output", "feature", "coefficient", "std. error", "z", "p", "odds ratio"
    )?;
    coefficients.iter().try_for_each(|coefficient| writeln!(f, "{coefficient}"))
}
