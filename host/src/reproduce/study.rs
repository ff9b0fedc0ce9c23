//! A study: a published table, and the jobs that make ours.

use super::Generated;
use crate::job::{Draft, Job, JobError};
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path};
use symbolon_core::metric::Kind;

/// Files of a folder beside `src`, by name.
macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../", $folder, "/", $name, ".toml")))),*]
    };
}

/// The studies.
const STUDIES: &[(&str, &str)] = files!(
    "reproduce":
    "approximations",
    "boston",
    "diabetes",
    "inference",
    "logistic",
    "mnist-batch",
    "mnist-depth",
    "mnist-fixed-point",
    "mnist-regression-speed",
    "mnist-speed",
    "mnist-width",
    "networks",
    "tabular-10m",
);

/// The job files that studies name.
const JOBS: &[(&str, &str)] = files!(
    "jobs":
    "boston",
    "boston-all",
    "cancer-closed-form",
    "cancer-logistic",
    "cifar-alexnet",
    "cifar-resnet",
    "cifar-resnet-18",
    "cifar-vgg-16",
    "mnist-adam",
    "mnist-adam-32",
    "mnist-lenet-32",
    "mnist-lenet-small-32",
    "mnist-sgd-32",
    "pima-closed-form",
    "pima-logistic",
    "tabular",
);

/// A published table, and the runs of ours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Its title.
    pub title: String,
    /// The training, and the setting of the published measurements.
    pub about: String,
    /// The files that it needs.
    pub data: String,
    /// Minutes that the whole takes on two cores with AVX2.
    pub minutes: u32,
    /// The metric of the score column, as job files name it.
    pub score: String,
    /// Runs per row, with seeds from 1 on.
    #[serde(default = "three")]
    pub seeds: u64,
    /// Whether seconds are those of a step.
    #[serde(default)]
    pub per_step: bool,
    /// The records that the study makes itself, in place of data sets.
    pub generated: Option<Generated>,
    /// The number of records to whose epoch seconds are extrapolated; the job's, if left out.
    pub scaled_to: Option<u64>,
    /// Changes of `--quick` to each job; it takes one seed.
    pub quick: toml::Table,
    /// Figures of systems that have no run of ours.
    #[serde(default)]
    pub published: Vec<Published>,
    /// The rows.
    #[serde(rename = "run")]
    pub runs: Vec<Run>,
}

fn three() -> u64 {
    3
}

/// A row of ours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The row's name.
    pub name: String,
    /// A job file of `host/jobs`, without `.toml`.
    pub job: String,
    /// The keys that differ from the file.
    #[serde(default)]
    pub set: toml::Table,
    /// Keys of the job file to remove, such as `data.classes`.
    #[serde(default)]
    pub unset: Vec<String>,
    /// The metric of its score, if it is not the table's.
    pub score: Option<String>,
    /// Whether the job runs on shares; else in the clear engine alone.
    #[serde(default = "yes")]
    pub on_shares: bool,
    /// Whether words out of range are reported as `explodes`, instead of as an error.
    #[serde(default)]
    pub explodes: bool,
    /// Whether the row is part of the quick form.
    #[serde(default = "yes")]
    pub in_quick: bool,
    /// The published figures for the same work, those on shares first.
    #[serde(default)]
    pub published: Vec<Published>,
    /// The same training in floating point, as it was measured for this file.
    pub float: Option<Published>,
}

fn yes() -> bool {
    true
}

/// A published figure.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The system.
    pub system: String,
    /// Seconds of training, or of a step.
    pub seconds: Option<f64>,
    /// The score: a fraction, or a number where the metric is one.
    pub score: Option<f64>,
    /// Standard error of the score.
    pub standard_error: Option<f64>,
    /// Where it was published, or how it was measured.
    #[serde(default)]
    pub source: String,
}

impl Study {
    /// The names of all studies.
    pub fn names() -> impl Iterator<Item = &'static str> {
        STUDIES.iter().map(|(name, _)| *name)
    }

    /// The study of this name.
    ///
    /// # Errors
    ///
    /// [`StudyError::Unknown`], and what [`Self::parse`] finds.
    pub fn named(name: &str) -> Result<Self, StudyError> {
        let found = STUDIES.iter().find(|(own, _)| *own == name);
        let (_, text) = found.ok_or_else(|| StudyError::Unknown(name.to_owned()))?;
        Self::parse(name, text)
    }

    /// Reads a study's text.
    ///
    /// # Errors
    ///
    /// [`StudyError::Syntax`]; [`StudyError::Job`] for a run of an unknown job;
    /// [`StudyError::Score`] for a score that is no metric.
    pub fn parse(name: &str, text: &str) -> Result<Self, StudyError> {
        let study: Self = toml::from_str(text).map_err(|error| StudyError::Syntax(name.to_owned(), Box::new(error)))?;
        let scores = study.runs.iter().map(|run| study.score_of(run)).chain([&*study.score]);
        if let Some(score) = scores.into_iter().find(|score| Kind::named(score).is_none()) {
            return Err(StudyError::Score(score.to_owned()));
        }
        study.runs.iter().try_for_each(|run| text_of(&run.job).map(drop))?;
        Ok(Self { name: name.to_owned(), ..study })
    }

    /// The metric of a run's score.
    #[must_use]
    pub fn score_of<'a>(&'a self, run: &'a Run) -> &'a str {
        run.score.as_ref().unwrap_or(&self.score)
    }

    /// The job of a run with this seed.
    ///
    /// # Errors
    ///
    /// [`StudyError::Job`]; [`StudyError::Invalid`] if the result is an invalid job.
    pub fn job(&self, run: &Run, seed: u64, quick: bool) -> Result<Job, StudyError> {
        let text = text_of(&run.job)?;
        let syntax = |error| StudyError::Syntax(run.job.clone(), Box::new(error));
        let mut table: toml::Table = toml::from_str(text).map_err(syntax)?;
        run.unset.iter().for_each(|path| remove(&mut table, path));
        merge(&mut table, &run.set);
        if quick {
            merge(&mut table, &self.quick);
        }
        let invalid = |error| StudyError::Invalid(run.name.clone(), Box::new(error));
        let draft = Draft::parse(&table.to_string(), Path::new(&format!("{}.toml", run.job))).map_err(invalid)?;
        let mut job = draft.resolve(None).map_err(invalid)?;
        job.training.seed = seed;
        Ok(job)
    }
}

/// The text of a job file.
fn text_of(job: &str) -> Result<&'static str, StudyError> {
    let found = JOBS.iter().find(|(name, _)| *name == job);
    found.map(|(_, text)| *text).ok_or_else(|| StudyError::Job(job.to_owned()))
}

/// Puts what `changes` has into `table`; tables are merged key by key.
fn merge(table: &mut toml::Table, changes: &toml::Table) {
    for (key, new) in changes {
        match (table.get_mut(key), new) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            _ => drop(table.insert(key.clone(), new.clone())),
        }
    }
}

/// Removes the key of this dotted path.
fn remove(table: &mut toml::Table, path: &str) {
    match path.split_once('.') {
        None => drop(table.remove(path)),
        Some((key, rest)) => {
            if let Some(toml::Value::Table(inner)) = table.get_mut(key) {
                remove(inner, rest);
            }
        }
    }
}

/// Why there is no such study, or a study's file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StudyError {
    /// No study has this name.
    Unknown(String),
    /// The file of this name is not TOML, or has a wrong key.
    Syntax(String, Box<toml::de::Error>),
    /// A run names a job that studies do not have.
    Job(String),
    /// The score is no metric.
    Score(String),
    /// The job of a run, with its changed keys, is invalid.
    Invalid(String, Box<JobError>),
}

impl fmt::Display for StudyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let names: Vec<_> = Study::names().collect();
                write!(f, "no table is called {name}; there are {}", names.join(", "))
            }
            Self::Syntax(name, error) => write!(f, "{name}: {error}"),
            Self::Job(job) => write!(f, "no job file is called {job}; add it to the jobs of studies"),
            Self::Score(score) => {
                write!(f, "score: {score} is no metric; give one of a job's reveal.metrics")
            }
            Self::Invalid(run, error) => write!(f, "run {run}: {error}"),
        }
    }
}

impl std::error::Error for StudyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax(_, error) => Some(&**error),
            Self::Invalid(_, error) => Some(&**error),
            Self::Unknown(_) | Self::Job(_) | Self::Score(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_studies_have_jobs_that_are_valid() {
        for name in Study::names() {
            let study = Study::named(name).unwrap();
            assert!(!study.runs.is_empty() && study.minutes > 0, "{name}");
            for run in &study.runs {
                for quick in [false, true] {
                    let job = study.job(run, 7, quick).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(job.training.seed, 7);
                    let kinds: Vec<_> = job.measured().iter().map(|metric| metric.kind().name()).collect();
                    // A client that has the records computes R² from the squared error.
                    let score = study.score_of(run);
                    let source = if score == "r2" { "mean-squared-error" } else { score };
                    assert!(kinds.contains(&source), "{name}, {}: {score} is not revealed", run.name);
                }
            }
        }
    }

    #[test]
    fn changes_reach_into_tables() {
        let mut table: toml::Table = toml::from_str("a = 1\n[b]\nc = 2\nd = [1, 2]").unwrap();
        merge(&mut table, &toml::from_str("e = 5\nb = { d = [3] }").unwrap());
        assert_eq!(table, toml::from_str::<toml::Table>("a = 1\ne = 5\nb = { c = 2, d = [3] }").unwrap());
        ["a", "b.c", "b.x.y", "z"].into_iter().for_each(|path| remove(&mut table, path));
        assert_eq!(table, toml::from_str::<toml::Table>("e = 5\nb = { d = [3] }").unwrap());
    }

    #[test]
    fn wrong_studies_are_named() {
        let good = STUDIES.iter().find(|(name, _)| *name == "mnist-speed").unwrap().1;
        let wrong = |from: &str, to: &str| Study::parse("x", &good.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(wrong("job = \"mnist-adam-32\"", "job = \"none\"").contains("no job file is called none"));
        assert!(wrong("score = \"accuracy\"", "score = \"beauty\"").contains("beauty is no metric"));
        assert!(wrong("minutes", "hours").contains("unknown field `hours`"));
        assert!(Study::named("none").unwrap_err().to_string().contains("mnist-speed"));
        let mut study = Study::parse("x", good).unwrap();
        study.runs[0].set = toml::from_str("training.batch = 0").unwrap();
        let error = study.job(&study.runs[0], 1, false).unwrap_err().to_string();
        assert!(error.contains(&study.runs[0].name) && error.contains("batch"), "{error}");
    }
}
