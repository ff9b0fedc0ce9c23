//! From a graph to a network, its tensors, and the scales around it.

use super::{
    LEAST_OPSET, MAX_BYTES, OnnxError, PRODUCER,
    constant::Constant,
    head::{self, Head},
    proto::{Dimension, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type, fields},
    reader::{Known, Layout, Op, Parameter, Reader, Scaled, Value},
    scale::reader_of,
    writer::Form,
};
use crate::job::Network;
use prost::{Message, bytes::Bytes};
use std::collections::BTreeMap;
use symbolon_core::layer::{Origin, Shape};

/// Most nodes of a graph.
const MAX_NODES: usize = 4096;
/// Most tensors of a graph.
const MAX_TENSORS: usize = 8192;
/// Most fields of a message, of the graph too.
const MAX_FIELDS: usize = 1 << 15;
/// Most bytes of a node; larger constants are tensors of the graph.
const MAX_NODE_BYTES: usize = 1 << 24;
/// Most bytes of the type of an input or output.
const MAX_TYPE_BYTES: usize = 1 << 12;
/// Most words of a record.
const MAX_RECORD_WORDS: usize = 1 << 24;

/// A network of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The shape of a record.
    pub input: Shape,
    /// The layers, without the function behind the last one.
    pub network: Network,
    /// The shape of each layer's result.
    pub shapes: Vec<Shape>,
    /// The function behind the last layer; `None` if the file does not say.
    pub head: Option<Head>,
    /// The classes' names, where the file has them.
    pub classes: Option<Vec<String>>,
    /// The file's metadata, if this program wrote it.
    pub notes: BTreeMap<String, String>,
    /// Arithmetic on the records before the first layer, a word each.
    pub(super) scale: Option<Vec<Scaled>>,
    /// Arithmetic behind the last layer.
    pub(super) target: Option<Vec<Scaled>>,
    /// The parameters of each layer.
    pub(super) parameters: Vec<Vec<Parameter>>,
}

/// Reads an ONNX file.
///
/// # Errors
///
/// [`OnnxError`].
pub fn import(bytes: &[u8]) -> Result<Imported, OnnxError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(OnnxError::TooLarge { len_bytes: bytes.len() as u64 });
    }
    let model: ModelProto = decoded_one(&Bytes::copy_from_slice(bytes))?;
    versions(&model)?;
    let graph: GraphProto = decoded_one(model.graph.as_ref().ok_or(OnnxError::Malformed)?)?;
    if let Some(node) = graph.node.iter().find(|node| node.len() > MAX_NODE_BYTES) {
        return Err(OnnxError::TooMany { of: "bytes in a node", got: node.len(), most: MAX_NODE_BYTES });
    }
    let nodes: Vec<NodeProto> = decoded(&graph.node, "nodes", MAX_NODES)?;
    let mut reader = Reader::new();
    if let Some(sparse) = graph.sparse_initializer.first() {
        return Err(OnnxError::Tensor {
            tensor: String::from_utf8_lossy(&sparse[..sparse.len().min(32)]).into_owned(),
        });
    }
    for tensor in decoded::<TensorProto>(&graph.initializer, "tensors", MAX_TENSORS)? {
        let constant = Constant::read(&tensor)?;
        if reader.constants.insert(tensor.name.clone(), constant).is_some() {
            return Err(OnnxError::Twice { value: tensor.name });
        }
    }
    let input = inputs(&mut reader, &small(&graph.input)?)?;
    let outputs: Vec<String> = small(&graph.output)?.into_iter().map(|output| output.name).collect();
    for name in nodes.iter().flat_map(|node| &node.input).chain(&outputs).filter(|name| !name.is_empty()) {
        *reader.uses.entry(name.clone()).or_default() += 1;
    }
    for node in &nodes {
        let op = Op::new(node);
        let read = reader_of(&op.operator).ok_or_else(|| op.operator_error())?;
        read(&mut reader, &op)?;
    }
    let (head, target) = head::finish(&mut reader, &outputs)?;
    let is_own = model.producer_name == PRODUCER;
    let notes = model.metadata_props.into_iter().filter(|_| is_own).map(|entry| (entry.key, entry.value)).collect();
    Ok(Imported {
        input,
        network: reader.network,
        shapes: reader.shapes,
        head,
        classes: reader.classes,
        notes,
        scale: reader.scale.flatten().map(|scaled| scaled.to_vec()),
        target: target.map(|scaled| scaled.to_vec()),
        parameters: reader.parameters,
    })
}

/// Decodes messages one by one.
fn decoded<M: Message + Default>(encoded: &[Bytes], of: &'static str, most: usize) -> Result<Vec<M>, OnnxError> {
    if encoded.len() > most {
        return Err(OnnxError::TooMany { of, got: encoded.len(), most });
    }
    encoded.iter().map(decoded_one).collect()
}

/// Decodes a message that has as many fields as a graph may have.
fn decoded_one<M: Message + Default>(encoded: &Bytes) -> Result<M, OnnxError> {
    let got = fields(encoded).ok_or(OnnxError::Malformed)?;
    if got > MAX_FIELDS {
        return Err(OnnxError::TooMany { of: "fields in a message", got, most: MAX_FIELDS });
    }
    M::decode(encoded.clone()).map_err(|_| OnnxError::Malformed)
}

/// Decodes the types of a graph's inputs or outputs.
fn small(encoded: &[Bytes]) -> Result<Vec<ValueInfoProto>, OnnxError> {
    match encoded.iter().find(|bytes| bytes.len() > MAX_TYPE_BYTES) {
        Some(long) => Err(OnnxError::TooMany { of: "bytes in a type", got: long.len(), most: MAX_TYPE_BYTES }),
        None => decoded(encoded, "inputs or outputs", MAX_TENSORS),
    }
}

/// Refuses operators that are too old or unknown.
fn versions(model: &ModelProto) -> Result<(), OnnxError> {
    let mut has_own = false;
    for set in &model.opset_import {
        match &set.domain[..] {
            "" | "ai.onnx" if set.version >= LEAST_OPSET => has_own = true,
            "" | "ai.onnx" => return Err(OnnxError::Opset { domain: String::new(), got: set.version }),
            _ => {} // its operators are refused where a node has them
        }
    }
    if has_own { Ok(()) } else { Err(OnnxError::Opset { domain: String::new(), got: 0 }) }
}

/// Reads the graph's inputs: the records, and lengths of their sequences. Returns a record's shape.
fn inputs(reader: &mut Reader, inputs: &[ValueInfoProto]) -> Result<Shape, OnnxError> {
    // Graphs of old list their tensors among the inputs.
    let own: Vec<&ValueInfoProto> = inputs.iter().filter(|input| !reader.constants.contains_key(&input.name)).collect();
    let (records, lengths) = match own[..] {
        [records] => (records, None),
        [records, lengths] if lengths.name == super::export::LENGTHS => (records, Some(lengths)),
        _ => return Err(OnnxError::Inputs { got: own.len() }),
    };
    if let Some(lengths) = lengths {
        reader.values.insert(lengths.name.clone(), Known::Lengths);
    }
    let fault = || OnnxError::Record { input: records.name.clone() };
    let tensor = records.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()).ok_or_else(fault)?;
    let dims = &tensor.shape.as_ref().ok_or_else(fault)?.dim;
    let dims = row_dims(records, dims)?;
    let is_code = [data_type::INT32, data_type::INT64].contains(&tensor.elem_type);
    if !is_code && ![data_type::FLOAT, data_type::DOUBLE].contains(&tensor.elem_type) {
        return Err(fault());
    }
    let (form, shape, input) = match (&dims[..], is_code) {
        (&[steps], true) => (Form::Vector, Shape::vector(steps), Shape([1, steps, 1])),
        (&[words], false) => (Form::Vector, Shape::vector(words), Shape::vector(words)),
        (&[steps, features], false) => (Form::Sequence, Shape([1, steps, features]), Shape([1, steps, features])),
        (&[channels, height, width], false) => {
            (Form::Image, Shape([channels, height, width]), Shape([channels, height, width]))
        }
        _ => return Err(fault()),
    };
    if shape.words() > MAX_RECORD_WORDS {
        return Err(OnnxError::TooMany { of: "words a record", got: shape.words(), most: MAX_RECORD_WORDS });
    }
    let value = Value {
        origin: Origin::Data,
        shape,
        layout: Layout::Rows(form),
        part: None,
        scaled: None,
        lacks_bias: false,
        is_shared: false,
        is_code,
    };
    reader.values.insert(records.name.clone(), Known::Value(value));
    Ok(input)
}

/// The dimensions behind the batch.
fn row_dims(records: &ValueInfoProto, dims: &[Dimension]) -> Result<Vec<u32>, OnnxError> {
    let dynamic = || OnnxError::Dynamic { input: records.name.clone() };
    let dim = |dim: &Dimension| {
        let value = dim.dim_value.filter(|_| dim.dim_param.is_none()).unwrap_or_default();
        u32::try_from(value).ok().filter(|value| *value > 0).ok_or_else(dynamic)
    };
    dims.iter().skip(1).take(8).map(dim).collect()
}
