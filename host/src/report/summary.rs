//! The figures of a run, for scripts (`--json`) and for people.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use symbolon_core::metric::{Kind, Unit};

use super::{Coefficient, ModelFacts, coefficients, write_atomic};

/// One figure a role.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Roles<T> {
    /// Server 0.
    pub server_0: T,
    /// Server 1.
    pub server_1: T,
    /// The dealer.
    pub dealer: T,
    /// The command itself: data owner and analyst.
    pub client: T,
}

impl<T> Roles<T> {
    /// The figures with the roles' names.
    pub fn named(&self) -> [(&'static str, &T); 4] {
        let Self { server_0, server_1, dealer, client } = self;
        [("server 0", server_0), ("server 1", server_1), ("dealer", dealer), ("client", client)]
    }
}

/// The figure of a metric on the test records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricResult {
    /// The metric's kind, as job files name it.
    pub kind: String,
    /// Its name for people.
    pub name: String,
    /// The unit of the figure: `fraction`, `number`, `target` or `target-squared`.
    pub unit: Unit,
    /// The figure; null where it is not defined.
    pub value: Option<f64>,
    /// Standard error that noise gives to the figure; null without noise.
    pub standard_error: Option<f64>,
    /// The metric's sums, row after row, where they are a result of their own: a confusion matrix
    /// has a row for each class; an AUC has two for each curve, positives and negatives by cell.
    pub table: Option<Vec<Vec<f64>>>,
}

impl MetricResult {
    /// Returns whether the figure has a field of its own in results.
    fn has_field(&self) -> bool {
        matches!(Kind::named(&self.kind), Some(Kind::Accuracy | Kind::SquaredError | Kind::R2))
    }
}

impl fmt::Display for MetricResult {
    /// The figure with its unit and standard error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.value else { return f.write_str("not defined") };
        f.write_str(&match self.unit {
            Unit::Fraction => percent(value, self.standard_error),
            Unit::Number => with_error(value, self.standard_error),
            Unit::Target => with_error(value, self.standard_error) + " (in units of the target)",
            Unit::TargetSquared => with_error(value, self.standard_error) + " (in units of the target squared)",
        })
    }
}

/// The outputs of an epoch; null is not revealed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochResult {
    /// Number, from 1.
    pub epoch: u32,
    /// Mean training loss, over the records whose label names a class.
    pub loss: Option<f64>,
    /// Fraction of `scored` test records that are predicted right.
    pub accuracy: Option<f64>,
    /// Test records whose label names a class.
    pub scored: Option<u64>,
    /// Of a regression on the test records, in units of the target squared.
    pub mean_squared_error: Option<f64>,
    /// Coefficient of determination on the test records, where it is revealed or the client has the
    /// records.
    pub r2: Option<f64>,
    /// Standard error that noise gives to the loss; null without noise.
    #[serde(default)]
    pub loss_standard_error: Option<f64>,
    /// Standard error that noise gives to the accuracy; null without noise.
    #[serde(default)]
    pub accuracy_standard_error: Option<f64>,
    /// Standard error that noise gives to the mean squared error; null without noise.
    #[serde(default)]
    pub mean_squared_error_standard_error: Option<f64>,
    /// The figures of all metrics that the job reveals, in its order.
    #[serde(default)]
    pub metrics: Vec<MetricResult>,
}

impl EpochResult {
    /// Returns the same for an engine that adds no noise.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.metrics.iter_mut().for_each(|metric| metric.standard_error = None);
        Self {
            loss_standard_error: None,
            accuracy_standard_error: None,
            mean_squared_error_standard_error: None,
            ..self
        }
    }

    /// Returns whether the epoch reveals nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.loss.is_none() && self.accuracy.is_none() && self.mean_squared_error.is_none() && self.metrics.is_empty()
    }

    /// The same, with R² if the variance of the test records' targets is known: in units of the
    /// target squared, and not 0.
    #[must_use]
    pub fn with_variance(self, variance: Option<f64>) -> Self {
        let variance = variance.filter(|variance| *variance > 0.0);
        let computed = self.mean_squared_error.zip(variance).map(|(error, variance)| 1.0 - error / variance);
        Self { r2: self.r2.or(computed), ..self }
    }
}

impl fmt::Display for EpochResult {
    /// For a line of progress.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.epoch)?;
        let accuracy = |accuracy| percent(accuracy, self.accuracy_standard_error);
        self.accuracy.map_or(Ok(()), |value| write!(f, ", accuracy {}", accuracy(value)))?;
        self.r2.map_or(Ok(()), |r2| write!(f, ", R² {r2:.3}"))?;
        let error = |error| with_error(error, self.mean_squared_error_standard_error);
        self.mean_squared_error.map_or(Ok(()), |value| write!(f, ", mean squared error {}", error(value)))?;
        self.metrics
            .iter()
            .filter(|metric| !metric.has_field())
            .try_for_each(|metric| write!(f, ", {} {metric}", metric.name))?;
        self.loss.map_or(Ok(()), |loss| write!(f, ", loss {}", with_error(loss, self.loss_standard_error)))
    }
}

/// Formats a fraction in percent, with its standard error.
fn percent(value: f64, error: Option<f64>) -> String {
    let error = error.map_or(String::new(), |error| format!(" ± {:.2}", 100.0 * error));
    format!("{:.2} %{error}", 100.0 * value)
}

/// Formats a value with its standard error.
fn with_error(value: f64, error: Option<f64>) -> String {
    format!("{value:.4}{}", error.map_or(String::new(), |error| format!(" ± {error:.4}")))
}

/// Everything public about a run that has ended. Keys may be added; none changes its meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the job.
    pub job: String,
    /// `secure` or `clear`.
    pub engine: String,
    /// Fraction of the test records with a class that are predicted right, if revealed.
    pub accuracy: Option<f64>,
    /// Test records whose label names a class, of a classifier whose accuracy is revealed.
    pub scored: Option<u64>,
    /// Mean squared error of a regression on the test records, in units of the target squared, if
    /// revealed.
    pub mean_squared_error: Option<f64>,
    /// R² on the test records: of the metric `r2`, or computed by a client that has the records.
    pub r2: Option<f64>,
    /// Mean training loss of the last epoch, if revealed.
    pub loss: Option<f64>,
    /// The figures of all metrics that the job reveals, after the last epoch.
    #[serde(default)]
    pub metrics: Vec<MetricResult>,
    /// The training steps alone.
    pub seconds_train: f64,
    /// From the start to the first step: processes, handshakes, sharing of the data.
    pub seconds_setup: f64,
    /// Link payload that each role sent.
    pub bytes_sent: Roles<u64>,
    /// Longest chain of dependent exchanges between the servers.
    pub rounds: u64,
    /// Corrections that the dealer sent.
    pub dealer_bytes: u64,
    /// Peak resident memory of each role's process; null where the system does not tell.
    pub peak_rss_bytes: Roles<Option<u64>>,
    /// Hash of the plan that all roles agreed on, in hexadecimal.
    pub plan_hash: String,
    /// Word size.
    pub ring_bits: u32,
    /// Training records; 0 of an evaluation.
    pub samples: u64,
    /// Test records.
    pub test_samples: u64,
    /// Epochs that ran.
    pub epochs: u32,
    /// Epochs of the job: more than `epochs` if it ended early.
    pub planned_epochs: u32,
    /// The outputs of each epoch.
    pub history: Vec<EpochResult>,
    /// Seed of the initial weights and the batch order.
    pub seed: u64,
    /// When the run ended, in UTC: `2026-12-31T23:59:59Z`.
    pub date: String,
    /// Hash of the job, in hexadecimal.
    pub job_hash: String,
    /// `ε` that the outputs spend together; null without noise.
    #[serde(default)]
    pub epsilon: Option<f64>,
    /// How to evaluate the model.
    pub model: ModelFacts,
    /// The coefficients of a regression whose standard errors are revealed; else empty.
    #[serde(default)]
    pub coefficients: Vec<Coefficient>,
    /// `NAME:VERSION` of the model that both servers keep; null if they keep none.
    #[serde(default)]
    pub kept: Option<String>,
}

impl Summary {
    /// As JSON, with a line feed at the end. Numbers that JSON cannot hold (NaN) become null.
    ///
    /// # Errors
    ///
    /// None for a summary; the type is serde's.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Writes the JSON, whole or not at all.
    ///
    /// # Errors
    ///
    /// What the system said; callers name `path`.
    pub fn write_json(&self, path: &Path) -> io::Result<()> {
        write_atomic(path, self.to_json()?.as_bytes())
    }
}

impl Summary {
    /// Lines of the score, by the name of what it is.
    fn scores(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        // Of several labels a record, lengths say how many count.
        let several = self.model.layers.last().is_some_and(|layer| layer.shape.image()[0] > 1);
        let scored = self.scored.filter(|_| !several);
        let without = scored.map_or(0, |scored| self.test_samples.saturating_sub(scored));
        let note = if without > 0 {
            format!(" ({without} of {} test records have no class)", self.test_samples)
        } else {
            String::new()
        };
        let last = self.history.last().cloned().unwrap_or_default();
        let accuracy = |accuracy| percent(accuracy, last.accuracy_standard_error);
        lines.extend(self.accuracy.map(|value| ("accuracy", accuracy(value) + &note)));
        lines.extend(self.r2.map(|r2| ("R²", format!("{r2:.3}"))));
        let error = |error| {
            let error = with_error(error, last.mean_squared_error_standard_error);
            ("test error", format!("{error} (mean square, in units of the target squared)"))
        };
        lines.extend(self.mean_squared_error.map(error));
        let mut lines: Vec<_> = lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let others = self.metrics.iter().filter(|metric| !metric.has_field());
        lines.extend(others.map(|metric| (metric.name.clone(), metric.to_string())));
        if lines.is_empty() {
            let name = if self.model.target.is_some() { "test error" } else { "accuracy" };
            lines.push((name.to_owned(), format!("not revealed{note}")));
        }
        lines
    }
}

impl fmt::Display for Summary {
    /// A table of two columns, then one of roles.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trained = self.samples as f64 * f64::from(self.epochs);
        let hidden = || "not revealed".to_owned();
        let mut lines =
            vec![("job".to_owned(), format!("{} ({} engine, {}-bit ring)", self.job, self.engine, self.ring_bits))];
        lines.extend(self.scores());
        let of_loss = self.history.last().and_then(|last| last.loss_standard_error);
        if let Some(epsilon) = self.epsilon {
            lines.push((
                "noise".to_owned(),
                format!("epsilon {epsilon} for all outputs together; ± is the standard error of it"),
            ));
        }
        let ended_early = match self.planned_epochs > self.epochs {
            true => format!(", ended early of {} epochs", self.planned_epochs),
            false => String::new(),
        };
        let mut facts = match self.samples {
            0 => vec![("evaluated", format!("{} records", self.test_samples))],
            samples => vec![
                ("loss", self.loss.map_or_else(hidden, |loss| with_error(loss, of_loss))),
                (
                    "training",
                    format!("{} for {} x {samples} samples", human_seconds(self.seconds_train), self.epochs)
                        + &ended_early,
                ),
            ],
        };
        if self.seconds_train > 0.0 && self.samples > 0 {
            facts.push(("rate", format!("{:.0} samples/s", trained / self.seconds_train)));
        }
        facts.extend([
            ("set-up", human_seconds(self.seconds_setup)),
            ("rounds", self.rounds.to_string()),
            ("dealt", human_bytes(self.dealer_bytes)),
            ("plan", self.plan_hash.clone()),
            ("job hash", self.job_hash.clone()),
        ]);
        facts.extend(self.kept.as_ref().map(|model| ("kept", format!("{model}, a draft on both servers"))));
        lines.extend(facts.into_iter().map(|(name, value)| (name.to_owned(), value)));
        for (name, value) in lines {
            let gap = if name.chars().count() < 12 { "" } else { "  " };
            writeln!(f, "{name:<12}{gap}{value}")?;
        }
        self.metrics.iter().try_for_each(|metric| write_table(f, metric))?;
        coefficients::write_table(f, &self.coefficients)?;
        writeln!(f, "\n{:<12}{:>14}{:>16}", "role", "sent", "peak memory")?;
        for ((name, sent), (_, peak)) in self.bytes_sent.named().into_iter().zip(self.peak_rss_bytes.named()) {
            let peak = peak.map_or_else(|| "unknown".to_owned(), human_bytes);
            writeln!(f, "{name:<12}{:>14}{peak:>16}", human_bytes(*sent))?;
        }
        Ok(())
    }
}

/// Most columns of a table that is shown to people.
const SHOWN: usize = 16;

/// Writes the table of a metric, if it is a narrow one.
fn write_table(f: &mut fmt::Formatter<'_>, metric: &MetricResult) -> fmt::Result {
    let Some(table) = metric.table.as_ref().filter(|table| table.iter().all(|row| row.len() <= SHOWN)) else {
        return Ok(());
    };
    writeln!(f, "\n{}", metric.name)?;
    table.iter().try_for_each(|row| {
        row.iter().try_for_each(|cell| write!(f, "{cell:>8.0}"))?;
        writeln!(f)
    })
}

/// Bytes in decimal units, as networks and disks are sold: `1.23 GB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // The next unit as soon as this one would round to 1000.
    let mut value = bytes as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A duration as people say it: `35 ms`, `4.20 s`, `3 min 05 s`.
pub fn human_seconds(seconds: f64) -> String {
    if !(0.0..1e9).contains(&seconds) {
        return "unknown".to_owned();
    }
    if seconds < 0.9995 {
        return format!("{:.0} ms", 1e3 * seconds);
    }
    if seconds < 59.995 {
        return format!("{seconds:.2} s");
    }
    let whole = seconds.round();
    if whole < 3600.0 {
        format!("{:.0} min {:02.0} s", (whole / 60.0).floor(), whole % 60.0)
    } else {
        let minutes = (seconds / 60.0).round();
        format!("{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}
