//! Our figures beside the published ones.

use super::study::{Published, Study};
use crate::report::{Summary, human_bytes, human_seconds, write_atomic};
use serde::{Deserialize, Serialize};
use std::{fmt, io, path::Path};

/// A mean over runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The mean.
    pub mean: f64,
    /// Its standard error; null for a single run.
    pub standard_error: Option<f64>,
}

impl Figure {
    /// The mean of `values`; `None` of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt());
        (!values.is_empty()).then_some(Self { mean, standard_error })
    }
}

/// The figures of one row on one engine, over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Score on the test records; null if a run has none.
    pub score: Option<Figure>,
    /// Seconds of the training steps.
    pub seconds: Figure,
    /// Seconds from the start to the first step.
    pub seconds_setup: f64,
    /// Bytes that server 0 sent to server 1.
    pub bytes_each_way: u64,
    /// Bytes that the dealer sent.
    pub dealt: u64,
    /// Rounds between the servers.
    pub rounds: u64,
    /// Training steps.
    pub steps: u64,
    /// Number of seeds.
    pub runs: usize,
    /// The factor by which tables multiply the seconds: other than 1 for an extrapolation to more
    /// records.
    #[serde(default = "one")]
    pub scale: f64,
    /// Peak memory of the larger server, where the system tells.
    #[serde(default)]
    pub server_rss_bytes: Option<u64>,
}

fn one() -> f64 {
    1.0
}

impl Measured {
    /// Of runs whose score is the metric `score`; `None` of no runs.
    #[must_use]
    pub fn of(runs: &[Summary], score: &str, (steps, scale): (u64, f64)) -> Option<Self> {
        let first = runs.first()?;
        let scores: Option<Vec<f64>> = runs.iter().map(|run| score_of(run, score)).collect();
        let seconds: Vec<f64> = runs.iter().map(|run| run.seconds_train).collect();
        Some(Self {
            score: scores.and_then(|scores| Figure::of(&scores)),
            seconds: Figure::of(&seconds)?,
            seconds_setup: runs.iter().map(|run| run.seconds_setup).sum::<f64>() / runs.len() as f64,
            bytes_each_way: first.bytes_sent.server_0,
            dealt: first.dealer_bytes,
            rounds: first.rounds,
            steps,
            runs: runs.len(),
            scale,
            server_rss_bytes: runs
                .iter()
                .filter_map(|run| run.peak_rss_bytes.server_0.max(run.peak_rss_bytes.server_1))
                .max(),
        })
    }
}

/// The score of a run, by the name of its metric.
fn score_of(run: &Summary, metric: &str) -> Option<f64> {
    match metric {
        "accuracy" => run.accuracy,
        "r2" => run.r2,
        "mean-squared-error" => run.mean_squared_error,
        metric => run.metrics.iter().find(|own| own.kind == metric)?.value,
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The metric of its scores.
    pub score: String,
    /// Published figures of the same work.
    pub published: Vec<Published>,
    /// Ours on shares; null where the row was trained in the clear alone.
    pub on_shares: Option<Measured>,
    /// The same arithmetic in the clear.
    pub clear: Option<Measured>,
    /// The same training in floating point, as it was measured for the study's file.
    pub float: Option<Published>,
    /// Whether words left their range in a run, on shares and in the clear: the row then has no
    /// figures, whatever its other seeds gave.
    #[serde(default)]
    pub exploded: [bool; 2],
}

/// A study that was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// Name of the study.
    pub study: String,
    /// Its title.
    pub title: String,
    /// The training, and the setting of the published measurements.
    pub about: String,
    /// The metric of the scores, but for rows that have another.
    pub score: String,
    /// Whether published seconds are those of a step; tables then print ours so too.
    pub per_step: bool,
    /// Whether it was the quick form, on fewer records: then no figure compares.
    pub quick: bool,
    /// When it ended, in UTC.
    pub date: String,
    /// Processor cores and instruction set of the machine.
    pub machine: String,
    /// Figures of systems that have no run of ours.
    pub published: Vec<Published>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Reproduction {
    /// Of `study`, without rows yet.
    #[must_use]
    pub fn new(study: &Study, quick: bool, machine: String) -> Self {
        Self {
            study: study.name.clone(),
            title: study.title.clone(),
            about: study.about.clone(),
            score: study.score.clone(),
            per_step: study.per_step,
            quick,
            date: String::new(),
            machine,
            published: study.published.clone(),
            rows: Vec::new(),
        }
    }

    /// Writes it as JSON, whole or not at all.
    ///
    /// # Errors
    ///
    /// The error of the system; callers name `path`.
    pub fn write_json(&self, path: &Path) -> io::Result<()> {
        write_atomic(path, (serde_json::to_string_pretty(self)? + "\n").as_bytes())
    }

    /// Seconds as the published figures count them.
    pub(super) fn seconds_of(&self, measured: &Measured) -> f64 {
        let steps = if self.per_step { measured.steps.max(1) as f64 } else { 1.0 };
        measured.seconds.mean * measured.scale / steps
    }

    fn measured_text(&self, metric: &str, measured: Option<&Measured>, exploded: bool) -> [String; 2] {
        if exploded {
            return ["explodes".to_owned(), none()];
        }
        let Some(measured) = measured else { return [none(), none()] };
        let score = measured.score.map_or_else(none, |score| score_text(metric, score.mean, score.standard_error));
        let about = if measured.scale == 1.0 { "" } else { "≈ " };
        [score, about.to_owned() + &seconds_text(self.seconds_of(measured))]
    }

    /// Headings and cells of the table, a row each; the published systems without a run of ours
    /// come first.
    #[must_use]
    pub fn cells(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let headings = vec![
            "",
            "published",
            "seconds",
            "on shares",
            "seconds",
            "clear engine",
            "seconds",
            "float",
            "seconds",
            "each way",
            "dealt",
            "rounds",
        ];
        let others = self.published.iter().map(|figure| {
            let mut cells = vec![figure.system.clone()];
            cells.extend(published_text(&self.score, Some(figure)));
            cells.resize(headings.len(), String::new());
            cells
        });
        let own = self.rows.iter().map(|row| {
            let mut cells = vec![row.name.clone()];
            cells.extend(published_text(&row.score, row.published.first()));
            cells.extend(self.measured_text(&row.score, row.on_shares.as_ref(), row.exploded[0]));
            cells.extend(self.measured_text(&row.score, row.clear.as_ref(), row.exploded[1]));
            cells.extend(published_text(&row.score, row.float.as_ref()));
            let costs = row.on_shares.as_ref().map_or([none(), none(), none()], |own| {
                [human_bytes(own.bytes_each_way), human_bytes(own.dealt), own.rounds.to_string()]
            });
            cells.extend(costs);
            cells
        });
        let rows = others.chain(own).collect();
        (headings, rows)
    }

    /// The table in Markdown, as the README has it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let (headings, rows) = self.cells();
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(headings.clone()) + &line(vec!["---"; headings.len()]);
        rows.iter().for_each(|cells| text += &line(cells.iter().map(String::as_str).collect()));
        text
    }

    /// The sources of the published figures, each once, in their order.
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        let rows = self.rows.iter().flat_map(|row| row.published.iter().chain(&row.float));
        let mut sources = Vec::new();
        for figure in self.published.iter().chain(rows).filter(|figure| !figure.source.is_empty()) {
            let source = format!("{}: {}", figure.system, figure.source);
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        sources
    }
}

/// A score of this metric with its standard error.
fn score_text(metric: &str, value: f64, error: Option<f64>) -> String {
    let with = |digits: usize, value: f64, error: Option<f64>| {
        let error = error.map_or(String::new(), |error| format!(" ± {error:.digits$}"));
        format!("{value:.digits$}{error}")
    };
    match metric {
        "accuracy" | "top-k" => with(2, 100.0 * value, error.map(|error| 100.0 * error)) + " %",
        _ => with(3, value, error),
    }
}

fn published_text(metric: &str, figure: Option<&Published>) -> [String; 2] {
    let seconds = figure.and_then(|figure| figure.seconds).map_or_else(none, seconds_text);
    let score = figure.and_then(|figure| Some(score_text(metric, figure.score?, figure.standard_error)));
    [score.unwrap_or_else(none), seconds]
}

fn none() -> String {
    "–".to_owned()
}

/// Seconds for a column of seconds.
fn seconds_text(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.1 => format!("{seconds:.4}"),
        seconds if seconds < 10.0 => format!("{seconds:.2}"),
        seconds if seconds < 100.0 => format!("{seconds:.1}"),
        seconds => format!("{seconds:.0}"),
    }
}

impl fmt::Display for Reproduction {
    /// The table, with what it compares and the sources.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.title, self.about)?;
        if self.quick {
            writeln!(f, "Quick form, on fewer records: it shows that all works, and compares with nothing.\n")?;
        }
        let (headings, rows) = self.cells();
        let lines = || std::iter::once(headings.iter().map(|text| (*text).to_owned()).collect()).chain(rows.clone());
        let width = |column: usize| lines().map(|cells: Vec<String>| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for cells in lines() {
            let cells: Vec<String> = cells
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(i, (cell, width))| if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        writeln!(f)?;
        let setup: f64 = self.rows.iter().filter_map(|row| Some(row.on_shares.as_ref()?.seconds_setup)).sum();
        let rows = self.rows.iter().filter(|row| row.on_shares.is_some()).count();
        if rows > 0 {
            let mean = human_seconds(setup / rows as f64);
            writeln!(
                f,
                "Seconds are those of the training steps; starting roles and sharing the data took {mean} a run."
            )?;
        }
        let own =
            |row: &Row| [row.on_shares.as_ref(), row.clear.as_ref()].into_iter().flatten().any(|own| own.scale != 1.0);
        if self.rows.iter().any(own) {
            writeln!(f, "Seconds behind ≈ are measured on fewer records and multiplied.")?;
        }
        if let Some(most) = self.rows.iter().filter_map(|row| row.on_shares.as_ref()?.server_rss_bytes).max() {
            writeln!(f, "A server took at most {} of memory.", human_bytes(most))?;
        }
        writeln!(f, "This machine: {}. All roles run on it.", self.machine)?;
        self.sources().iter().try_for_each(|source| writeln!(f, "{source}."))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn figures_are_means_with_their_standard_error() {
        assert_eq!(Figure::of(&[]), None);
        assert_eq!(Figure::of(&[3.0]), Some(Figure { mean: 3.0, standard_error: None }));
        // Deviations of -2, 0 and 2: variance 4, of the mean 4 / 3.
        let figure = Figure::of(&[1.0, 3.0, 5.0]).unwrap();
        assert_eq!(figure.mean, 3.0);
        assert!((figure.standard_error.unwrap() - (4.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    /// A study's rows, with figures of their own.
    pub(in crate::reproduce) fn example() -> Reproduction {
        let study = Study::named("mnist-speed").unwrap();
        let measured = |seconds| Measured {
            score: Figure::of(&[0.96, 0.97]),
            seconds: Figure { mean: seconds, standard_error: None },
            seconds_setup: 1.5,
            bytes_each_way: 1_330_000_000,
            dealt: 2_600_000_000,
            rounds: 13_819,
            steps: 469,
            runs: 2,
            scale: 1.0,
            server_rss_bytes: Some(70_000_000),
        };
        let row = |(i, run): (usize, &super::super::Run)| Row {
            name: run.name.clone(),
            score: study.score_of(run).to_owned(),
            published: run.published.clone(),
            on_shares: Some(measured(7.3 + i as f64)),
            clear: Some(measured(1.0)),
            float: run.float.clone(),
            exploded: [false; 2],
        };
        let rows = study.runs.iter().enumerate().map(row).collect();
        Reproduction { rows, ..Reproduction::new(&study, false, "2 cores, <AVX2>".to_owned()) }
    }

    /// The tables that were run in full are in the README as they are.
    #[test]
    fn the_readme_has_the_tables() {
        let beside = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let readme = std::fs::read_to_string(beside("../README.md")).unwrap();
        let files = std::fs::read_dir(beside("reproduce/results")).unwrap();
        for file in files.map(|file| file.unwrap().path()) {
            let done: Reproduction = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let study = Study::named(&done.study).unwrap();
            assert!(!done.quick && done.rows.len() == study.runs.len(), "{}", file.display());
            assert!(
                readme.contains(&done.markdown()),
                "the README lacks what `symbolon reproduce {} --json {}` printed:\n{}",
                done.study,
                file.display(),
                done.markdown()
            );
        }
    }

    #[test]
    fn the_table_has_all_figures() {
        let text = example().to_string();
        for part in ["SecureML", "25283", "93.40 %", "96.50 ± 0.50 %", "7.30", "1.33 GB", "13819", "1.50 s a run"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let json = serde_json::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<Reproduction>(&json).unwrap(), example());
    }
}
