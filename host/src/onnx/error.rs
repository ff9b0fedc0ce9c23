//! Reasons why a network is not written to or read from an ONNX file.

use super::{LEAST_OPSET, MAX_BYTES};
use crate::plain::Plain;
use std::fmt;
use symbolon_core::layer::Misfit;

/// Why a network cannot be exported or imported.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OnnxError {
    /// Longer than [`MAX_BYTES`].
    TooLarge {
        /// Its length.
        len_bytes: u64,
    },
    /// More of something than any network has.
    TooMany {
        /// The things, in the plural.
        of: &'static str,
        /// How many the file has.
        got: usize,
        /// The most that are read.
        most: usize,
    },
    /// Not the encoding of an ONNX model.
    Malformed,
    /// Operators of a version that is too old, or of an unknown domain.
    Opset {
        /// The domain; empty for ONNX's own.
        domain: String,
        /// The version.
        got: i64,
    },
    /// An operator that no layer has.
    Operator {
        /// The operator, with its domain if that is not ONNX's own.
        operator: String,
        /// The node.
        node: String,
    },
    /// An attribute, or a value of it, that no layer has.
    Attribute {
        /// The operator.
        operator: String,
        /// The node.
        node: String,
        /// The attribute.
        attribute: String,
    },
    /// An input of a node that is not of the kind which its layer takes.
    Input {
        /// The operator.
        operator: String,
        /// The node.
        node: String,
        /// The required kind of input.
        want: &'static str,
    },
    /// A constant that is neither part of a layer nor a scale.
    Arithmetic {
        /// The operator.
        operator: String,
        /// The node.
        node: String,
    },
    /// A value that no node gives.
    Unknown {
        /// The name.
        value: String,
    },
    /// A name that two nodes give.
    Twice {
        /// The name.
        value: String,
    },
    /// A dimension that is not fixed, other than the batch.
    Dynamic {
        /// The graph's input.
        input: String,
    },
    /// An input of a shape or type that no record has.
    Record {
        /// The graph's input.
        input: String,
    },
    /// A graph with another number of inputs than one.
    Inputs {
        /// Their number.
        got: usize,
    },
    /// Outputs that are not those of one network.
    Outputs {
        /// The output at fault.
        output: String,
    },
    /// A tensor whose values are in another file.
    External {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of a type that is not read, or of another length than its dimensions say.
    Tensor {
        /// The tensor.
        tensor: String,
    },
    /// A layer that does not take what reaches it.
    Layer {
        /// The node.
        node: String,
        /// The layer's reason.
        reason: Misfit,
    },
    /// A layer of a job for which ONNX has no operator.
    NoOperator {
        /// The layer.
        layer: String,
        /// The part of it that ONNX lacks.
        lacks: &'static str,
    },
    /// The model lacks a tensor.
    Missing {
        /// The tensor.
        tensor: String,
    },
    /// Another network than the job's.
    Network {
        /// The file's layer and the job's, from the first that differ.
        at: usize,
        /// The file's layer there.
        got: String,
        /// The job's.
        want: String,
    },
    /// Another scale of the features than the job's.
    Scale {
        /// The first feature that differs, from 0.
        feature: usize,
    },
    /// Another scale of the targets than the job's.
    Target,
    /// Another function behind the last layer than that of the job's loss.
    Head {
        /// The file's.
        got: &'static str,
        /// The job's.
        want: &'static str,
    },
}

impl OnnxError {
    /// Returns a code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } => "onnx-too-large",
            Self::Malformed => "onnx-malformed",
            Self::Opset { .. } => "onnx-opset",
            Self::Operator { .. } => "onnx-operator",
            Self::Attribute { .. } => "onnx-attribute",
            Self::Input { .. } => "onnx-input",
            Self::Arithmetic { .. } => "onnx-arithmetic",
            Self::Unknown { .. } | Self::Twice { .. } => "onnx-value",
            Self::Dynamic { .. } => "onnx-dynamic-shape",
            Self::Record { .. } | Self::Inputs { .. } => "onnx-record",
            Self::Outputs { .. } => "onnx-outputs",
            Self::External { .. } => "onnx-external-data",
            Self::Tensor { .. } => "onnx-tensor",
            Self::Layer { .. } => "onnx-layer",
            Self::NoOperator { .. } => "onnx-no-operator",
            Self::Missing { .. } => "onnx-missing-tensor",
            Self::Network { .. } => "onnx-network",
            Self::Scale { .. } => "onnx-scale",
            Self::Target => "onnx-target",
            Self::Head { .. } => "onnx-output-function",
        }
    }
}

impl fmt::Display for OnnxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        match self {
            Self::TooLarge { len_bytes } => write!(f, "{len_bytes} bytes; an ONNX file has at most {MAX_BYTES}"),
            Self::TooMany { of, got, most } => write!(f, "the file has {got} {of}; at most {most} are read"),
            Self::Malformed => f.write_str("the file is not an ONNX model"),
            Self::Opset { domain, got } if domain.is_empty() => {
                write!(f, "operators of opset {got}; export the model with opset {LEAST_OPSET} or later")
            }
            Self::Opset { domain, .. } => write!(f, "operators of the unknown domain {:?}", short(domain)),
            Self::Operator { operator, node } => {
                write!(
                    f,
                    "node {:?} has the operator {}, which no layer has; the README lists the supported ones",
                    short(node),
                    short(operator)
                )
            }
            Self::Attribute { operator, node, attribute } => write!(
                f,
                "node {:?} ({}) has a value of {} that its layer does not have",
                short(node),
                short(operator),
                short(attribute)
            ),
            Self::Input { operator, node, want } => {
                write!(f, "node {:?} ({}) does not have {want}", short(node), short(operator))
            }
            Self::Arithmetic { operator, node } => write!(
                f,
                "node {:?} ({}) computes with a constant that is neither a layer's nor a scale of records or targets",
                short(node),
                short(operator)
            ),
            Self::Unknown { value } => write!(f, "no node before it gives the value {:?}", short(value)),
            Self::Twice { value } => write!(f, "two nodes give the value {:?}", short(value)),
            Self::Dynamic { input } => {
                write!(f, "input {:?} has a dynamic dimension besides the batch: fix it when exporting", short(input))
            }
            Self::Record { input } => {
                write!(f, "input {:?} is no batch of records: floats of 2 to 4 dimensions, or codes of 2", short(input))
            }
            Self::Inputs { got } => write!(f, "the graph has {got} inputs; a network has one"),
            Self::Outputs { output } => write!(f, "output {:?} is not the one of the last layer", short(output)),
            Self::External { tensor } => {
                write!(f, "the values of tensor {:?} are in another file: export to one file", short(tensor))
            }
            Self::Tensor { tensor } => {
                write!(f, "tensor {:?} has a type or dimensions that are not read here", short(tensor))
            }
            Self::Layer { node, reason } => write!(f, "node {:?}: {reason}", short(node)),
            Self::NoOperator { layer, lacks } => write!(f, "layer {layer:?} has no operator in ONNX: {lacks}"),
            Self::Missing { tensor } => write!(f, "the model lacks the tensor {tensor:?}"),
            Self::Network { at, got, want } => {
                write!(f, "layer {at} of the file is {got}; the job has {want} there: give the model's own job")
            }
            Self::Scale { feature } => {
                write!(f, "the file scales feature {feature} otherwise than the job's data.scale")
            }
            Self::Target => f.write_str("the file scales its outputs otherwise than the job's data.target"),
            Self::Head { got, want } => write!(f, "the file ends with {got}; the job's loss has {want}"),
        }
    }
}

impl std::error::Error for OnnxError {}

/// A text of the file, short and safe for a terminal.
fn short(text: &str) -> String {
    Plain(&text.chars().take(80).collect::<String>()).to_string()
}
