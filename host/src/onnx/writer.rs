//! A graph that is being written.

use super::{
    OPSET, OnnxError,
    proto::{AttributeProto, NodeProto, TensorProto, data_type, kind},
};
use crate::report::Tensor;
use prost::bytes::Bytes;
use std::collections::BTreeMap;
use symbolon_core::layer::Shape;

/// The dimensions in which a value lies, behind the batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `[n]`.
    Vector,
    /// `[steps, features]`.
    Sequence,
    /// `[channels, height, width]`.
    Image,
}

impl Form {
    /// The dimensions of a row.
    pub(super) fn dims(self, Shape([channels, height, width]): Shape) -> Vec<i64> {
        let dims: &[u32] = match self {
            Self::Vector => &[channels],
            Self::Sequence => &[height, width],
            Self::Image => &[channels, height, width],
        };
        dims.iter().map(|dim| i64::from(*dim)).collect()
    }
}

/// The result of a node.
#[derive(Clone, Debug)]
pub struct Value {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) form: Form,
}

/// A layer of a job, where it stands.
pub struct Placed<'a> {
    pub(super) name: &'a str,
    pub(super) inputs: &'a [Value],
    pub(super) output: Shape,
    /// The model's tensors by name.
    pub(super) tensors: &'a BTreeMap<&'a str, &'a Tensor>,
    /// The job's fraction bits.
    pub(super) frac_bits: u32,
    /// The graph's input with the lengths of sequences, if the job has them.
    pub(super) lengths: Option<&'a str>,
}

impl<'a> Placed<'a> {
    /// The tensor of the parameter `name`.
    pub(super) fn tensor(&self, name: &str) -> Result<&'a Tensor, OnnxError> {
        let tensor = format!("{}.{name}", self.name);
        self.tensors.get(tensor.as_str()).copied().ok_or(OnnxError::Missing { tensor })
    }

    /// Its result.
    pub(super) fn gives(&self, name: String, form: Form) -> Value {
        Value { name, shape: self.output, form }
    }
}

/// Nodes and constants of a graph.
pub struct Writer {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) tensors: Vec<TensorProto>,
    pub(super) opset: i64,
    /// The layer whose nodes are written; begins their names.
    pub(super) prefix: String,
    names: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), tensors: Vec::new(), opset: OPSET, prefix: String::new(), names: 0 }
    }

    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{}/{of}_{}", self.prefix, self.names)
    }

    /// Appends a node with one output, whose name it returns.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let [output] = self.outputs(operator, inputs, attributes, [true]);
        output
    }

    /// Appends a node with those outputs that are asked for; the others' names are empty.
    pub(super) fn outputs<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
        wanted: [bool; N],
    ) -> [String; N] {
        let name = self.name(operator);
        let mut number = 0;
        let outputs = wanted.map(|wanted| {
            number += 1;
            match (wanted, number) {
                (false, _) => String::new(),
                (true, 1) => name.clone(),
                (true, number) => format!("{name}.{number}"),
            }
        });
        let output = outputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: outputs[..output].to_vec(),
            name,
            op_type: operator.to_owned(),
            attribute,
            domain: String::new(),
        });
        outputs
    }

    /// Appends a node that gives an output of the graph.
    pub(super) fn last(&mut self, operator: &str, input: &str, attributes: Vec<AttributeProto>, output: &str) {
        self.node(operator, &[input], attributes);
        if let Some(node) = self.nodes.last_mut() {
            node.output = vec![output.to_owned()];
        }
    }

    /// Adds a constant of floats under a name that begins with the layer's.
    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let name = self.name(name);
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, dims, data_type::FLOAT, raw)
    }

    /// Adds a constant of one float.
    #[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
    pub(super) fn scalar(&mut self, value: f64) -> String {
        self.floats("constant", &[], &[value as f32])
    }

    /// Adds a list of integers.
    pub(super) fn ints(&mut self, values: &[i64]) -> String {
        let name = self.name("list");
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, &[values.len()], data_type::INT64, raw)
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, name: String, dims: &[usize], data_type: i32, raw: Vec<u8>) -> String {
        self.tensors.push(TensorProto {
            dims: dims.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect(),
            data_type,
            name: name.clone(),
            raw_data: Some(Bytes::from(raw)),
            ..TensorProto::default()
        });
        name
    }

    /// The name of `value` in another form: the same words.
    pub(super) fn formed(&mut self, value: &Value, form: Form) -> String {
        if value.form == form {
            return value.name.clone();
        }
        let dims: Vec<i64> = [-1].into_iter().chain(form.dims(value.shape)).collect();
        let dims = self.ints(&dims);
        self.node("Reshape", &[&value.name, &dims], vec![])
    }
}

/// An attribute that is a number.
pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: Some(i), r#type: kind::INT, ..AttributeProto::default() }
}

/// An attribute that is a list of numbers.
pub fn ints(name: &str, ints: impl IntoIterator<Item = i64>) -> AttributeProto {
    let ints = ints.into_iter().collect();
    AttributeProto { name: name.to_owned(), ints, r#type: kind::INTS, ..AttributeProto::default() }
}

/// An attribute that is a float.
pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), f: Some(f), r#type: kind::FLOAT, ..AttributeProto::default() }
}

/// An attribute that is a text.
pub fn text(name: &str, s: &str) -> AttributeProto {
    let s = Some(Bytes::copy_from_slice(s.as_bytes()));
    AttributeProto { name: name.to_owned(), s, r#type: kind::STRING, ..AttributeProto::default() }
}
