//! The opened model as safetensors: `f32` tensors with names, and metadata that say how to evaluate
//! them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;

use super::{Summary, file::write_atomic};

/// No model file is longer; bounds what reading one allocates.
const MAX_BYTES: u64 = 1 << 34;

/// Opened weights. `Debug` shows name and shape alone.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    /// For example `dense1.weight`.
    pub name: String,
    /// Its product is the number of values.
    pub shape: Vec<usize>,
    /// Row by row.
    pub values: Vec<f32>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor").field("name", &self.name).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A model as its file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Sorted by name.
    pub tensors: Vec<Tensor>,
    /// Metadata: public facts by name. Lists and structures are JSON.
    pub notes: BTreeMap<String, String>,
}

impl Model {
    /// The model of a run, with all that [`Summary`] says of the job and how it went, and
    /// [`ModelFacts`](super::ModelFacts) key by key.
    pub fn new(tensors: Vec<Tensor>, run: &Summary) -> Self {
        let keys = ["job", "job_hash", "plan_hash", "seed", "date", "epochs", "history"];
        let mut run = serde_json::to_value(run).unwrap_or_default();
        let facts = run["model"].take();
        let known = keys.iter().map(|key| ((*key).to_owned(), run[*key].take()));
        Self::with_notes(tensors, known.chain(entries(facts)))
    }

    /// A model with metadata: values that are not null, text as it is.
    pub fn with_notes(tensors: Vec<Tensor>, notes: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self { tensors, notes: notes_of(notes).collect() }
    }
}

/// Values as metadata: text as it is, and no null.
pub(crate) fn notes_of(values: impl IntoIterator<Item = (String, Value)>) -> impl Iterator<Item = (String, String)> {
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let known = values.into_iter().filter(|(_, value)| !value.is_null());
    known.map(move |(key, value)| (key, text(value)))
}

/// The entries of a JSON object.
pub(crate) fn entries(object: Value) -> impl Iterator<Item = (String, Value)> {
    match object {
        Value::Object(object) => object.into_iter(),
        _ => serde_json::Map::new().into_iter(),
    }
}

/// Why a model was not written or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelError {
    /// The system refused; no partial file is left.
    Write {
        /// The model file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    Read {
        /// The model file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Larger than any model of a job.
    TooLarge {
        /// The model file.
        path: PathBuf,
        /// Its size.
        len_bytes: u64,
    },
    /// Not a safetensors file, or a shape that does not fit its values.
    Format {
        /// The model file.
        path: PathBuf,
        /// What the parser said.
        source: SafeTensorError,
    },
    /// Two tensors of one name. The caller's fault.
    Twice {
        /// The name.
        name: String,
    },
    /// A tensor of other numbers than `f32`.
    NotF32 {
        /// The model file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, source } => {
                write!(f, "cannot write the model to {}: {source}; no partial file was left", path.display())
            }
            Self::Read { path, source } => write!(f, "cannot read the model {}: {source}", path.display()),
            Self::TooLarge { path, len_bytes } => {
                write!(f, "{} has {len_bytes} bytes; a model has at most {MAX_BYTES}", path.display())
            }
            Self::Format { path, source } => write!(f, "{} is not a safetensors model: {source}", path.display()),
            Self::Twice { name } => write!(f, "the model has two tensors named {name:?}; nothing was written"),
            Self::NotF32 { path, name } => write!(f, "{}: tensor {name:?} is not of type F32", path.display()),
        }
    }
}

impl std::error::Error for ModelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write { source, .. } | Self::Read { source, .. } => Some(source),
            Self::Format { source, .. } => Some(source),
            Self::TooLarge { .. } | Self::Twice { .. } | Self::NotF32 { .. } => None,
        }
    }
}

/// Writes `model` to `path`, whole or not at all.
///
/// # Errors
///
/// [`ModelError::Twice`], [`ModelError::Format`] for a shape that does not fit its values, [`ModelError::Write`] for a full disk and the like.
pub fn write_model(path: &Path, model: &Model) -> Result<(), ModelError> {
    let Model { tensors, notes } = model;
    let mut names = BTreeSet::new();
    if let Some(tensor) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        return Err(ModelError::Twice { name: tensor.name.clone() });
    }
    let format = |source| ModelError::Format { path: path.into(), source };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| t.values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .zip(&bytes)
        .map(|(tensor, bytes)| Ok((tensor.name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?)))
        .collect::<Result<_, _>>()
        .map_err(format)?;
    let notes: HashMap<String, String> = notes.clone().into_iter().collect();
    let file = safetensors::serialize(views, Some(notes)).map_err(format)?;
    // Nothing is written that could not be read again.
    SafeTensors::deserialize(&file).map_err(format)?;
    write_atomic(path, &file).map_err(|source| ModelError::Write { path: path.into(), source })
}

/// Reads a model.
///
/// # Errors
///
/// A file that cannot be read, is no safetensors file, or holds other numbers than `f32`.
pub fn read_model(path: &Path) -> Result<Model, ModelError> {
    let failed = |source| ModelError::Read { path: path.into(), source };
    let len_bytes = std::fs::metadata(path).map_err(failed)?.len();
    if len_bytes > MAX_BYTES {
        return Err(ModelError::TooLarge { path: path.into(), len_bytes });
    }
    parse(&std::fs::read(path).map_err(failed)?, path)
}

pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Model, ModelError> {
    let format = |source| ModelError::Format { path: path.into(), source };
    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let notes = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(ModelError::NotF32 { path: path.into(), name: name.to_owned() });
        }
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.push(Tensor { name: name.to_owned(), shape: view.shape().to_vec(), values });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Model { tensors, notes })
}
