//! Networks as ONNX files: export and import.
//!
//! An exported graph takes raw records, scales them as the job does, and gives `logits` and
//! `probabilities` of classes, or `values` of a regression in the target's own unit.
//! A job with lengths of sequences gives the graph a second input, `lengths`. The graph's
//! `metadata_props` are those of the safetensors file. [`layer`] has the operators of each layer,
//! both ways.
//!
//! **Result.** The graph computes with 32-bit floats, without the fixed point's roundings. Where
//! it computes another function than the servers, the metadata's `approximations` name the layer
//! and a bound on the difference, at 4,096 points of the method's domain, relative to results
//! above 1: methods of activations ([`Bound`]), whose real function is exported. Average pools
//! over a number of elements that is not a power of two differ by a relative `2^-10` at most.
//!
//! Batch normalisation has no such difference: the servers' `r` is one of few constants, so that
//! the exported scale of a channel is `γ r √(V + ε)`. An imported one is divided by that factor.
//! Beyond the domain of a function (`log` of a negative number) results differ. A code without a
//! row in an embedding's table is an error in ONNX, and zeros at the servers.
//!
//! **Import** reads a file of a stranger: every operator, attribute and type that it does not know
//! is refused by name. It accepts at most [`MAX_BYTES`], and allocates a small multiple of the
//! file. Operators on constants are part of the neighbouring layer, of the input's scale or of the
//! target's.
//!
//! | file | |
//! | --- | --- |
//! | [`proto`] | the messages of the format |
//! | `writer`, `export` | from a job and its tensors to a graph |
//! | `reader`, `constant`, `import` | from a graph to a network, its tensors and scales |
//! | `scale`, `head` | arithmetic before the first and behind the last layer |
//! | [`layer`] | the operators of each layer |
//! | `fit` | an imported network as the model of a job |
//! | `job_file` | a job file for an imported network |
//! | `file` | model files of both formats |
//!
//! [`Bound`]: symbolon_core::function::method::Function::bound

mod constant;
mod error;
mod export;
mod file;
mod fit;
mod head;
mod import;
mod job_file;
pub mod layer;
pub mod proto;
mod reader;
mod scale;
#[cfg(test)]
mod tests;
mod writer;

pub use error::OnnxError;
pub use export::export;
pub use file::{ModelFileError, ModelFormat, read_onnx, write_model_file};
pub use fit::Remark;
pub use head::Head;
pub use import::{Imported, import};
pub use job_file::job_text;

/// Largest file that [`import`] reads.
pub const MAX_BYTES: u64 = 1 << 28;

/// Version of the operators that exported graphs use; 20 where a network has a GELU.
pub const OPSET: i64 = 17;

/// The least version of the operators that imported graphs may use.
pub const LEAST_OPSET: i64 = 13;

/// The `producer_name` of exported files.
pub const PRODUCER: &str = "symbolon";
