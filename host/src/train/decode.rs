//! From opened words back to reals, and from a model's file to words.

use crate::{
    job::Job,
    report::{Model, ModelFacts, Tensor, entries, notes_of},
};
use std::{fmt, ops::Range};
use symbolon_core::{
    fixed::{RangeError, decode, encode},
    layer::Parameter,
    word::{Word, word_bytes},
};

/// An opened word as a signed number.
pub fn signed<W: Word>(word: W) -> i64 {
    let mut bytes = [0; 8];
    bytes[..word_bytes::<W>()].copy_from_slice(W::bytes(&[word]));
    let shift = 64 - W::BITS;
    (u64::from_le_bytes(bytes) << shift).cast_signed() >> shift
}

/// An opened word as a real.
pub fn real<W: Word>(job: &Job, word: W) -> f64 {
    decode(signed(word), job.numbers.frac_bits)
}

/// Calls `each` with every parameter of a model file: the parameter, its tensor's name, and the
/// range of its words.
fn each_tensor(job: &Job, mut each: impl FnMut(Parameter, String, Range<usize>)) {
    let laid = job.network();
    let (graph, parameters) = (laid.graph(), job.parameters());
    let shifted = |range: Range<usize>, from: usize| range.start + from..range.end + from;
    for (i, layer) in job.network.names.iter().enumerate() {
        let mut add = |parameter: Parameter, range| each(parameter, format!("{layer}.{}", parameter.name), range);
        graph.parameters_of(i, &mut add);
        graph.statistics_of(i, |statistic, range| add(statistic, shifted(range, parameters)));
        if job.reveal.standard_errors {
            let from = parameters + graph.statistics();
            graph.parameters_of(i, |parameter, range| {
                let extra_bits = job.newton().map_or(0, |newton| newton.count_log2);
                let parameter = Parameter { name: variance(parameter.name), extra_bits, ..parameter };
                add(parameter, shifted(range, from));
            });
        }
    }
}

/// Returns a parameter's axes in files, and its rows and columns if files hold it transposed.
fn axes(parameter: &Parameter) -> (Vec<usize>, Option<[usize; 2]>) {
    let shape: Vec<usize> = parameter.dims[..parameter.axes].iter().map(|d| *d as usize).collect();
    match (&shape[..], parameter.transposed) {
        (&[rows, cols], true) => (vec![cols, rows], Some([rows, cols])),
        _ => (shape, None),
    }
}

/// The opened model, parameters and then running statistics, as named tensors: the layer's name,
/// then `weight` or `bias`, `running_mean` or `running_var`, with axes as PyTorch has them.
#[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
pub fn tensors<W: Word>(job: &Job, model: &[W]) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    each_tensor(job, |parameter, name, range| {
        let frac_bits = job.numbers.frac_bits + parameter.extra_bits;
        let values: Vec<f32> = model[range].iter().map(|w| decode(signed(*w), frac_bits) as f32).collect();
        let (shape, exchanged) = axes(&parameter);
        let values = match exchanged {
            Some([_, cols]) => transposed(&values, cols),
            None => values,
        };
        tensors.push(Tensor { name, shape, values });
    });
    tensors
}

fn facts_of(job: &Job) -> impl Iterator<Item = (String, serde_json::Value)> {
    entries(serde_json::to_value(ModelFacts::of(job)).unwrap_or_default())
}

/// The reason why a model's file is not the model of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelMismatch {
    /// It lacks a tensor.
    Missing {
        /// The name.
        tensor: String,
    },
    /// It has a tensor that the job's network lacks.
    Unknown {
        /// The name.
        tensor: String,
    },
    /// Its metadata say otherwise than the job.
    Fact {
        /// The key of the metadata.
        key: String,
        /// The value in the file.
        got: String,
        /// The job's.
        want: String,
    },
    /// A tensor has another shape.
    Shape {
        /// The name.
        tensor: String,
        /// The shape in the file.
        got: Vec<usize>,
        /// The network's.
        want: Vec<usize>,
    },
    /// A value is outside the job's range, or not a number.
    Value {
        /// The name.
        tensor: String,
        /// Index in the tensor, row by row, from 0.
        at: usize,
        /// The encoder's error.
        error: RangeError,
    },
}

impl fmt::Display for ModelMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { tensor } => write!(f, "the model lacks the tensor {tensor:?} of the job's network"),
            Self::Unknown { tensor } => write!(f, "the model has a tensor {tensor:?}, which the job's network lacks"),
            Self::Fact { key, got, want } => {
                write!(f, "the model's metadata have {key} = {got}; the job has {want}: give the model's own job")
            }
            Self::Shape { tensor, got, want } => {
                write!(f, "tensor {tensor:?} has the shape {got:?}; the job's network has {want:?} there")
            }
            Self::Value { tensor, at, error } => write!(f, "tensor {tensor:?}, value {at}: {error}"),
        }
    }
}

impl std::error::Error for ModelMismatch {}

/// The words of a model's tensors, as [`tensors`] names them: parameters, then running statistics
/// and variances. Metadata that the file has must be the job's [`ModelFacts`].
///
/// # Errors
///
/// [`ModelMismatch`].
pub fn model_words<W: Word>(job: &Job, model: &Model) -> Result<Vec<W>, ModelMismatch> {
    for (key, want) in notes_of(facts_of(job)) {
        if let Some(got) = model.notes.get(&key).filter(|got| **got != want) {
            return Err(ModelMismatch::Fact { key, got: got.clone(), want });
        }
    }
    let mut words = vec![W::default(); job.model_words()];
    let (mut known, mut misfit) = (Vec::new(), None);
    each_tensor(job, |parameter, name, range| {
        let filled = fill(job, model, &parameter, &name, &mut words[range]);
        misfit = misfit.take().or(filled.err());
        known.push(name);
    });
    let unknown = model.tensors.iter().find(|tensor| !known.contains(&tensor.name));
    match (misfit, unknown) {
        (Some(misfit), _) => Err(misfit),
        (None, Some(tensor)) => Err(ModelMismatch::Unknown { tensor: tensor.name.clone() }),
        (None, None) => Ok(words),
    }
}

/// Encodes the tensor `name` into its words.
fn fill<W: Word>(
    job: &Job,
    model: &Model,
    parameter: &Parameter,
    name: &str,
    words: &mut [W],
) -> Result<(), ModelMismatch> {
    let tensor = model.tensors.iter().find(|tensor| tensor.name == name);
    let tensor = tensor.ok_or_else(|| ModelMismatch::Missing { tensor: name.to_owned() })?;
    let (want, exchanged) = axes(parameter);
    if tensor.shape != want || tensor.values.len() != words.len() {
        return Err(ModelMismatch::Shape { tensor: name.to_owned(), got: tensor.shape.clone(), want });
    }
    let values = match exchanged {
        Some([rows, _]) => transposed(&tensor.values, rows),
        None => tensor.values.clone(),
    };
    let frac_bits = job.numbers.frac_bits + parameter.extra_bits;
    for (at, (word, value)) in words.iter_mut().zip(values).enumerate() {
        let value = f64::from(value);
        *word =
            encode(value, frac_bits).map_err(|error| ModelMismatch::Value { tensor: name.to_owned(), at, error })?;
    }
    Ok(())
}

/// The name of a dense parameter's variances.
fn variance(name: &str) -> &'static str {
    if name == "bias" { "bias_variance" } else { "weight_variance" }
}

/// The columns of a matrix of `cols` columns, one after the other.
fn transposed(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols).copied()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::{fs, path::Path};

    /// Every job of the repository that a file describes alone: the tensors of words are the words.
    #[test]
    fn a_model_is_read_as_it_was_written() {
        let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
        let mut tried = 0;
        for file in fs::read_dir(jobs).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_none_or(|end| end != "toml") || file.to_string_lossy().contains("schema") {
                continue;
            }
            let draft = crate::job::Draft::load(&file).unwrap();
            let Ok(job) = draft.resolve(None) else { continue }; // it learns from reports
            if job.model_words() > 1 << 20 {
                continue;
            }
            // Whole numbers of magnitude 2^19 at most, which a 32-bit float holds exactly.
            let words: Vec<u64> =
                (0..job.model_words() as u64).map(|i| (i * 7919 % (1 << 20)).wrapping_sub(1 << 19)).collect();
            let mut model = Model { tensors: tensors(&job, &words), ..Model::default() };
            assert_eq!(model_words::<u64>(&job, &model).unwrap(), words, "{}", file.display());
            let first = model.tensors[0].name.clone();
            model.tensors[0].shape.push(1);
            assert!(
                matches!(model_words::<u64>(&job, &model), Err(ModelMismatch::Shape { tensor, .. }) if tensor == first)
            );
            model.tensors[0].name = "extra".to_owned();
            assert!(
                matches!(model_words::<u64>(&job, &model), Err(ModelMismatch::Missing { tensor }) if tensor == first)
            );
            model.tensors = tensors(&job, &words);
            model.tensors.push(Tensor { name: "extra".to_owned(), shape: vec![1], values: vec![0.0] });
            assert!(
                matches!(model_words::<u64>(&job, &model), Err(ModelMismatch::Unknown { tensor }) if tensor == "extra")
            );
            tried += 1;
        }
        assert!(tried > 15, "{tried} jobs");
    }
}
