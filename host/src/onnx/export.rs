//! From a job and its model's tensors to a graph.

use super::{
    OnnxError, PRODUCER, layer,
    proto::{
        Dimension, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto, TensorType,
        TypeProto, ValueInfoProto, data_type,
    },
    scale,
    writer::{Form, Placed, Value, Writer, int},
};
use crate::{
    job::{Job, Task},
    report::Tensor,
};
use prost::{Message, bytes::Bytes};
use std::collections::BTreeMap;
use symbolon_core::{
    function::{Numbers, method::Function, scalar::Scalar as _},
    layer::{AnyLayer, Origin, Shape},
    loss::{Activation, Describe as _},
};

/// The graph's inputs.
const RECORDS: &str = "records";
pub const LENGTHS: &str = "lengths";

/// The version of the format: the least that has the operators' version.
const IR_VERSION: i64 = 8;

/// Writes the network of `job` with its opened `tensors`, and `notes` as the file's metadata.
///
/// # Errors
///
/// [`OnnxError::NoOperator`] for a layer that ONNX lacks, [`OnnxError::Missing`] for a tensor.
pub fn export(job: &Job, tensors: &[Tensor], notes: &BTreeMap<String, String>) -> Result<Vec<u8>, OnnxError> {
    let mut w = Writer::new();
    let form = form(job);
    let records = Value { name: RECORDS.to_owned(), shape: job.data.shape, form };
    let lengths = takes_lengths(job)?;
    let scaled = scale::write(&mut w, &job.data, records);
    let last = layers(&mut w, job, tensors, (scaled, lengths.then_some(LENGTHS)))?;
    let outputs = outputs(&mut w, job, &last);
    let mut inputs = vec![value(RECORDS, data_type::FLOAT, &form.dims(job.data.shape))];
    if lengths {
        inputs.push(value(LENGTHS, data_type::INT32, &[]));
    }
    let graph = GraphProto {
        node: w.nodes.iter().map(encoded).collect(),
        name: job.name.clone(),
        initializer: w.tensors.iter().map(encoded).collect(),
        input: inputs.iter().map(encoded).collect(),
        output: outputs.iter().map(encoded).collect(),
        sparse_initializer: Vec::new(),
    };
    let mut notes = notes.clone();
    notes.insert("approximations".to_owned(), approximations(job));
    let model = ModelProto {
        ir_version: IR_VERSION + i64::from(w.opset >= 20),
        producer_name: PRODUCER.to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(encoded(&graph)),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: w.opset }],
        metadata_props: notes.into_iter().map(|(key, value)| StringStringEntryProto { key, value }).collect(),
    };
    Ok(model.encode_to_vec())
}

fn encoded(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

/// Whether a layer takes sequences and nothing else.
fn takes_sequences(layer: &AnyLayer) -> bool {
    match layer {
        AnyLayer::Recurrent(_) | AnyLayer::Embedding(_) | AnyLayer::Slice(_) => true,
        AnyLayer::Dense(layer) => layer.each_step,
        AnyLayer::Concat(layer) => layer.each_step,
        _ => false,
    }
}

/// The form of the graph's input.
fn form(job: &Job) -> Form {
    match job.data.shape {
        Shape([_, 1, 1]) => Form::Vector,
        Shape([1, ..]) if job.network.nodes.iter().any(|node| takes_sequences(&node.layer)) => Form::Sequence,
        _ => Form::Image,
    }
}

/// Whether the graph takes the lengths of sequences.
fn takes_lengths(job: &Job) -> Result<bool, OnnxError> {
    let nodes = || job.network.names.iter().zip(&job.network.nodes);
    let recurs = nodes().any(|(_, node)| matches!(node.layer, AnyLayer::Recurrent(_)));
    let has = recurs && job.data.has_lengths();
    match nodes().find(|(_, node)| matches!(node.layer, AnyLayer::Slice(_))) {
        Some((name, _)) if has => {
            Err(OnnxError::NoOperator { layer: name.clone(), lacks: "lengths of sequences behind a slice" })
        }
        _ => Ok(has),
    }
}

/// Writes all layers; returns the last one's value.
fn layers(
    w: &mut Writer,
    job: &Job,
    tensors: &[Tensor],
    (data, lengths): (Value, Option<&str>),
) -> Result<Value, OnnxError> {
    let tensors: BTreeMap<&str, &Tensor> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let laid = job.network();
    let graph = laid.graph();
    let mut values: Vec<Value> = Vec::new();
    for ((name, node), place) in job.network.names.iter().zip(graph.nodes).zip(graph.places) {
        let origin = |origin| match origin {
            Origin::Data => data.clone(),
            Origin::Node(i) => values[usize::from(i)].clone(),
        };
        let inputs: Vec<Value> = node.origins().map(origin).collect();
        let output = place.output;
        w.prefix.clone_from(name);
        let at = Placed { name, inputs: &inputs, output, tensors: &tensors, frac_bits: job.numbers.frac_bits, lengths };
        values.push(layer::write(w, &node.layer, &at)?);
    }
    Ok(values.pop().unwrap_or(data))
}

/// Writes the function and the scale behind the last layer; returns the graph's outputs.
fn outputs(w: &mut Writer, job: &Job, last: &Value) -> Vec<ValueInfoProto> {
    let form = if last.form == Form::Image { Form::Sequence } else { last.form };
    let name = w.formed(last, form);
    let last = Value { name, shape: last.shape, form };
    let dims = last.form.dims(last.shape);
    let info = |name: &str| value(name, data_type::FLOAT, &dims);
    if let Task::Regression(targets) = &job.data.task {
        let scaled = scale::write_targets(w, targets, last.name);
        w.last("Identity", &scaled, vec![], "values");
        return vec![info("values")];
    }
    w.prefix = "output".to_owned();
    w.last("Identity", &last.name, vec![], "logits");
    match job.loss.activation() {
        Activation::Identity => return vec![info("logits")],
        Activation::Sigmoid => w.last("Sigmoid", &last.name, vec![], "probabilities"),
        Activation::Softmax => w.last("Softmax", &last.name, vec![int("axis", -1)], "probabilities"),
    }
    vec![info("logits"), info("probabilities")]
}

/// The type of a value with these dimensions behind the batch.
fn value(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let batch = Dimension { dim_value: None, dim_param: Some("batch".to_owned()) };
    let fixed = dims.iter().map(|dim| Dimension { dim_value: Some(*dim), dim_param: None });
    let shape = Some(TensorShapeProto { dim: [batch].into_iter().chain(fixed).collect() });
    let tensor_type = Some(TensorType { elem_type, shape });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}

/// Points at which a method is compared with its function.
const POINTS: u32 = 4096;

/// The greatest difference between a function and what the servers compute, over the domain,
/// relative to values above 1.
fn difference(function: &Function, numbers: &Numbers) -> f64 {
    let ([low, high], bound) = (function.domain(numbers), function.bound(numbers));
    let unit = f64::from(numbers.frac_bits).exp2().recip();
    let at = |i: u32| low + (high - low) * f64::from(i) / f64::from(POINTS - 1);
    let error = |x: f64| {
        let (ideal, real) = (function.ideal(numbers, x), function.scalar.value(x));
        let all = (ideal - real).abs() + bound.units * unit + bound.relative * ideal.abs();
        all / real.abs().max(1.0)
    };
    (0..POINTS).map(|i| error(at(i))).fold(0.0, f64::max)
}

/// The layers whose operator is another function than theirs, with the greatest difference of a
/// result: JSON.
fn approximations(job: &Job) -> String {
    let numbers = Numbers { ring_bits: job.numbers.ring_bits, frac_bits: job.numbers.frac_bits };
    let mut found = serde_json::Map::new();
    for (name, node) in job.network.names.iter().zip(&job.network.nodes) {
        let differences: Vec<f64> = match &node.layer {
            AnyLayer::Activation(layer) => vec![difference(&layer.function, &numbers)],
            AnyLayer::Recurrent(layer) => [&layer.sigmoid, &layer.tanh].map(|f| difference(f, &numbers)).to_vec(),
            _ => vec![],
        };
        if let Some(worst) = differences.into_iter().reduce(f64::max) {
            let digits = format!("{worst:.1e}").parse::<f64>().unwrap_or(worst);
            found.insert(name.clone(), digits.into());
        }
    }
    serde_json::Value::Object(found).to_string()
}
