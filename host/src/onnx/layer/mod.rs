//! The operators of each layer, both ways: a file has how a layer is written and how its operators
//! are read.
//!
//! To add a layer, write its file and add its lines to `write` and `READERS`.

mod activation;
mod batch_norm;
mod convolution;
mod dense;
mod embedding;
mod join;
mod pointwise;
mod pool;
mod recurrent;
mod rows;
mod upsample;

pub(super) use activation::{named, read_inverse};
pub(super) use batch_norm::parameters as batch_norm_parameters;
pub(super) use join::read_add;
pub(super) use pointwise::read_square;

use super::{
    OnnxError, head,
    reader::{Op, Reader},
    scale,
    writer::{Placed, Value, Writer},
};
use symbolon_core::layer::AnyLayer;

/// Writes a layer; returns its value.
///
/// # Errors
///
/// [`OnnxError::NoOperator`], [`OnnxError::Missing`].
pub(super) fn write(w: &mut Writer, layer: &AnyLayer, at: &Placed<'_>) -> Result<Value, OnnxError> {
    match layer {
        AnyLayer::Dense(layer) => dense::write(w, *layer, at),
        AnyLayer::Relu(_) => Ok(pointwise::write(w, "Relu", vec![], at)),
        AnyLayer::Convolution(layer) => convolution::write(w, layer, at),
        AnyLayer::MaxPool(layer) => Ok(pool::write_max(w, *layer, at)),
        AnyLayer::AveragePool(layer) => Ok(pool::write_average(w, *layer, at)),
        AnyLayer::GlobalAveragePool(_) => Ok(pool::write_global(w, at)),
        AnyLayer::Flatten(_) => Ok(rows::write_flatten(w, at)),
        AnyLayer::LeakyRelu(layer) => Ok(pointwise::write_leaky(w, *layer, at)),
        AnyLayer::Square(_) => Ok(pointwise::write_square(w, at)),
        AnyLayer::Dropout(layer) => Ok(rows::write_dropout(w, *layer, at)),
        AnyLayer::Add(_) => Ok(join::write_add(w, at)),
        AnyLayer::Concat(layer) => Ok(join::write_concat(w, *layer, at)),
        AnyLayer::Upsample(layer) => Ok(upsample::write(w, *layer, at)),
        AnyLayer::BatchNorm(layer) => batch_norm::write(w, *layer, at),
        AnyLayer::Activation(layer) => Ok(activation::write(w, layer, at)),
        AnyLayer::Recurrent(layer) => recurrent::write(w, layer, at),
        AnyLayer::Embedding(layer) => embedding::write(w, *layer, at),
        AnyLayer::Slice(layer) => Ok(rows::write_slice(w, *layer, at)),
    }
}

/// Reads a node.
pub(super) type Read = fn(&mut Reader, &Op<'_>) -> Result<(), OnnxError>;

/// The operators that are read.
pub(super) const READERS: &[(&str, Read)] = &[
    ("Gemm", dense::read_gemm),
    ("MatMul", dense::read_matmul),
    ("Conv", convolution::read),
    ("MaxPool", pool::read_max),
    ("AveragePool", pool::read_average),
    ("GlobalAveragePool", pool::read_global),
    ("ReduceMean", pool::read_mean),
    ("BatchNormalization", batch_norm::read),
    ("Relu", pointwise::read_relu),
    ("LeakyRelu", pointwise::read_leaky),
    ("Add", scale::read),
    ("Sub", scale::read),
    ("Mul", scale::read),
    ("Div", scale::read),
    ("ai.onnx.ml.Scaler", scale::read_scaler),
    ("Greater", scale::read_greater),
    ("Where", scale::read_where),
    ("Pow", activation::read_power),
    ("Sigmoid", activation::read),
    ("Tanh", activation::read),
    ("Exp", activation::read),
    ("Log", activation::read),
    ("Sqrt", activation::read),
    ("Reciprocal", activation::read),
    ("Softplus", activation::read),
    ("Gelu", activation::read),
    ("Erf", activation::read),
    ("Sin", activation::read),
    ("Cos", activation::read),
    ("Abs", activation::read),
    ("Sign", activation::read),
    ("Concat", join::read_concat),
    ("Resize", upsample::read),
    ("Gather", embedding::read),
    ("GRU", recurrent::read),
    ("LSTM", recurrent::read),
    ("RNN", recurrent::read),
    ("Flatten", rows::read_flatten),
    ("Reshape", rows::read_reshape),
    ("Squeeze", rows::read_squeeze),
    ("Unsqueeze", rows::read_unsqueeze),
    ("Transpose", rows::read_transpose),
    ("Slice", rows::read_slice),
    ("Dropout", rows::read_dropout),
    ("Identity", rows::read_identity),
    ("Cast", rows::read_cast),
    ("Constant", rows::read_constant),
    ("Softmax", head::read_softmax),
    ("LogSoftmax", head::read_softmax),
    ("ArgMax", head::read_label),
    ("ai.onnx.ml.ArrayFeatureExtractor", head::read_classes),
    ("ai.onnx.ml.ZipMap", head::read_zip_map),
];
