//! Model files by the end of their names.

use super::{Imported, MAX_BYTES, OnnxError, export, import};
use crate::{
    job::Job,
    report::{Model, ModelError, write_atomic, write_model},
};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A format of model files.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum ModelFormat {
    /// Tensors with metadata.
    Safetensors,
    /// A graph that takes raw records.
    Onnx,
}

impl ModelFormat {
    /// The format of a file: ONNX if its name ends in `.onnx`, else safetensors.
    pub fn of(path: &Path) -> Self {
        let is_onnx = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("onnx"));
        if is_onnx { Self::Onnx } else { Self::Safetensors }
    }
}

/// Why a model's file was not written or read.
#[derive(Debug)]
pub enum ModelFileError {
    /// The file, or its safetensors form.
    Model(ModelError),
    /// Its ONNX form.
    Onnx {
        /// The file.
        path: PathBuf,
        /// Its fault.
        error: OnnxError,
    },
}

impl fmt::Display for ModelFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::Onnx { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ModelFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Model(error) => Some(error),
            Self::Onnx { error, .. } => Some(error),
        }
    }
}

impl From<ModelError> for ModelFileError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

/// Writes the model of `job` to `path`, whole or not at all. Without a `format`, the end of the
/// name says which.
///
/// # Errors
///
/// As [`write_model`] and [`export`].
pub fn write_model_file(
    path: &Path,
    format: Option<ModelFormat>,
    job: &Job,
    model: &Model,
) -> Result<(), ModelFileError> {
    match format.unwrap_or_else(|| ModelFormat::of(path)) {
        ModelFormat::Safetensors => Ok(write_model(path, model)?),
        ModelFormat::Onnx => {
            let bytes = export(job, &model.tensors, &model.notes)
                .map_err(|error| ModelFileError::Onnx { path: path.into(), error })?;
            write_atomic(path, &bytes).map_err(|source| ModelError::Write { path: path.into(), source })?;
            Ok(())
        }
    }
}

/// Reads an ONNX file.
///
/// # Errors
///
/// A file that cannot be read or is too large; as [`import`].
pub fn read_onnx(path: &Path) -> Result<Imported, ModelFileError> {
    let failed = |source| ModelError::Read { path: path.into(), source };
    let fault = |error| ModelFileError::Onnx { path: path.into(), error };
    let len_bytes = std::fs::metadata(path).map_err(failed)?.len();
    if len_bytes > MAX_BYTES {
        return Err(fault(OnnxError::TooLarge { len_bytes }));
    }
    import(&std::fs::read(path).map_err(failed)?).map_err(fault)
}
