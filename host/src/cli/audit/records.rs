//! The records that an audit runs on: files, or random codes.

use super::Failure;
use crate::{
    data::{self, Dataset, Targets},
    job::{Columns, Draft, Format, Job, Reports, Source, Target, Task},
    schema::SchemaFile,
    train::Inputs,
    values::Values,
};
use std::{cell::RefCell, collections::BTreeMap, path::PathBuf};
use symbolon_core::loss::Describe as _;
use symbolon_core::{report::header::DeviceId, report::schema::Schema, word::Word};

/// Where the records come from.
pub(super) enum Records {
    /// A directory of files.
    Files(PathBuf),
    /// Random codes within the ranges of the job's schema.
    Codes,
}

/// Facts about the records, scaled as the job says.
pub(super) struct Facts {
    /// Largest magnitude of a regression's targets.
    pub(super) target: Option<f64>,
    /// Largest magnitude of each feature.
    pub(super) features: Vec<f64>,
    /// Names of the features, where the job has them.
    pub(super) names: Vec<String>,
    /// Mean loss of predicting nothing: 0, or all classes alike.
    pub(super) baseline: f64,
}

impl Records {
    /// The records in the numbers of `job`.
    pub(super) fn inputs<W: Word>(&self, job: &Job) -> Result<Inputs<W>, Failure> {
        match (self, &job.data.format) {
            (Self::Files(dir), _) => {
                let (train, test) = data::load(job, dir)?;
                Ok(Inputs::encode_any_targets(job, &train, &test)?)
            }
            (Self::Codes, Format::Reports(reports)) => Ok(codes(job, reports)),
            (Self::Codes, _) => Ok(Inputs::in_memory(job)),
        }
    }

    /// Looks at the records.
    pub(super) fn facts(&self, job: &Job) -> Result<Facts, Failure> {
        let (target, squares, features) = match self {
            Self::Files(dir) => {
                let (train, _) = data::load(job, dir)?;
                let (target, squares) = targets(&train);
                (target, squares, columns(&train))
            }
            Self::Codes => {
                let reach = job.data.target_line().map(|line| line.reach());
                // A uniform line's mean square is at least a twelfth of its range squared, at most
                // its reach squared.
                (reach, reach.map_or(0.0, |reach| reach * reach), job.data.lines().iter().map(|l| l.reach()).collect())
            }
        };
        let names = match &job.data.format {
            Format::Csv(csv) => match &csv.columns {
                Columns::Only(names) => names.clone(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let squares = if matches!(job.data.task, Task::Classes(_)) { 1.0 } else { squares };
        let baseline = job.loss.at_zero(job.outputs(), squares);
        Ok(Facts { target, features, names, baseline })
    }
}

/// The largest magnitude and the mean square.
fn targets(set: &Dataset) -> (Option<f64>, f64) {
    let Targets::Values(values) = &set.targets else { return (None, 0.0) };
    let wide = || values.iter().map(|v| f64::from(*v));
    let squares = wide().map(|v| v * v).sum::<f64>() / set.rows.max(1) as f64; // a count of records
    (wide().map(f64::abs).reduce(f64::max), squares)
}

/// The largest magnitude of each column.
fn columns(set: &Dataset) -> Vec<f64> {
    let mut largest = vec![0.0; set.cols];
    for row in set.features.chunks_exact(set.cols.max(1)) {
        for (most, v) in largest.iter_mut().zip(row) {
            *most = f64::max(*most, f64::from(v.abs()));
        }
    }
    largest
}

/// Uniform codes; the same for the same job.
fn codes<W: Word>(job: &Job, reports: &Reports) -> Inputs<W> {
    let mut inputs = Inputs::in_memory(job);
    let mut values = Values(1);
    for (table, targets) in [(&mut inputs.train, &mut inputs.train_labels), (&mut inputs.test, &mut inputs.test_labels)]
    {
        for (word, column) in table.memory_mut().unwrap_or_default().iter_mut().zip(reports.columns.iter().cycle()) {
            *word = W::from_u64(values.bits(column.place.bits));
        }
        for word in targets.memory_mut().unwrap_or_default() {
            *word = W::from_u64(match reports.target {
                Target::Label(_) => values.bits(32) % job.outputs() as u64,
                Target::Reading(column) => values.bits(column.place.bits),
            });
        }
    }
    inputs
}

/// The job of a file over `count` records that its schema allows: as many of each device that it
/// names, and of one more.
pub(super) fn synthetic(draft: Draft, count: u32) -> Result<Job, Failure> {
    let Some(schema) = draft.schema() else { return Ok(draft.resolve(None)?) };
    let schema = SchemaFile::load(&schema)?;
    let labels = draft.label_schema().map(|file| SchemaFile::load(&file)).transpose()?;
    let devices: RefCell<BTreeMap<String, u64>> = RefCell::default();
    let named = |name: &str| {
        let mut devices = devices.borrow_mut();
        let next = devices.len() as u64 + 1;
        Some(DeviceId(*devices.entry(name.to_owned()).or_insert(next)))
    };
    let senders = &mut (0..u64::from(count)).map(|i| DeviceId(i % (devices.borrow().len() as u64 + 1)));
    let resolve = |schema: Schema<'_>, label_schema: Option<Schema<'_>>| {
        draft.resolve(Some(Source { schema, label_schema, manifest: [0; 32], senders, named: &named }))
    };
    Ok(match labels {
        Some(labels) => schema.borrow(|schema| labels.borrow(|labels| resolve(schema, Some(labels)))),
        None => schema.borrow(|schema| resolve(schema, None)),
    }?)
}
