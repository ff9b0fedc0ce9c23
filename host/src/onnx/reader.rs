//! A graph that is being read: what each value is, and the layers so far.

use super::{
    OnnxError,
    constant::Constant,
    head::Head,
    proto::{AttributeProto, NodeProto},
    writer::Form,
};
use crate::job::{Affine, Network};
use std::{collections::HashMap, ops::Range, rc::Rc};
use symbolon_core::layer::{AnyLayer, Describe as _, Node, Origin, Shape};

/// The layout of a value that a layer gave or takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// Rows in one of these forms.
    Rows(Form),
    /// A sequence, steps before rows.
    StepsFirst,
    /// States of all steps: steps, one direction, rows, units.
    OfSteps,
    /// A state: one direction, rows, units.
    OfDirection,
}

/// The value of a node of the network, or words of it.
#[derive(Clone, Debug)]
pub struct Value {
    pub(super) origin: Origin,
    pub(super) shape: Shape,
    pub(super) layout: Layout,
    /// The words of the row that it is, of a vector.
    pub(super) part: Option<Range<usize>>,
    /// Arithmetic behind it: `(x - offset) / divide`, an entry a word.
    pub(super) scaled: Option<Rc<[Scaled]>>,
    /// Whether a sum that follows is the layer's bias.
    pub(super) lacks_bias: bool,
    /// Whether another node or output reads it, or the layer before.
    pub(super) is_shared: bool,
    /// Whether it was cast to integers.
    pub(super) is_code: bool,
}

/// Arithmetic on one word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaled {
    /// `(x - offset) / divide`.
    By(Affine),
    /// 1 where `x` is above this, else 0.
    Above(f64),
}

/// Most words of a network's parameters.
const MAX_WORDS: usize = 1 << 26;

/// A name of the graph that is no constant.
#[derive(Clone, Debug)]
pub enum Known {
    /// A value of the network.
    Value(Value),
    /// A comparison of each feature with a threshold.
    Above(Value, Vec<f64>),
    /// The function behind the last layer.
    Head(Value, Head),
    /// The predicted class, or what follows from it.
    Label,
    /// The lengths of the records' sequences.
    Lengths,
}

/// A tensor of a layer: its parameter, dimensions and values.
pub type Parameter = (&'static str, Vec<usize>, Vec<f32>);

/// The network so far.
pub struct Reader {
    pub(super) constants: HashMap<String, Constant>,
    pub(super) values: HashMap<String, Known>,
    /// How often each name is read.
    pub(super) uses: HashMap<String, usize>,
    pub(super) network: Network,
    pub(super) shapes: Vec<Shape>,
    /// The parameters of each layer.
    pub(super) parameters: Vec<Vec<Parameter>>,
    /// Scale of the features, once a layer has read them.
    pub(super) scale: Option<Option<Rc<[Scaled]>>>,
    /// Words of parameters and of constants that nodes made.
    words: usize,
    /// Operations with a constant for each word.
    pub(super) arithmetic: usize,
    /// Names of the classes.
    pub(super) classes: Option<Vec<String>>,
}

/// A node of the graph.
pub struct Op<'a> {
    pub(super) node: &'a NodeProto,
    /// The operator, with its domain if that is not ONNX's own.
    pub(super) operator: String,
}

impl<'a> Op<'a> {
    pub(super) fn new(node: &'a NodeProto) -> Self {
        let operator = match &node.domain[..] {
            "" | "ai.onnx" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        };
        Self { node, operator }
    }

    /// The node's name in messages.
    pub(super) fn label(&self) -> String {
        let output = self.node.output.iter().find(|name| !name.is_empty());
        if self.node.name.is_empty() { output.cloned().unwrap_or_default() } else { self.node.name.clone() }
    }

    pub(super) fn attribute_error(&self, attribute: &str) -> OnnxError {
        OnnxError::Attribute { operator: self.operator.clone(), node: self.label(), attribute: attribute.to_owned() }
    }

    pub(super) fn input_error(&self, want: &'static str) -> OnnxError {
        OnnxError::Input { operator: self.operator.clone(), node: self.label(), want }
    }

    pub(super) fn arithmetic_error(&self) -> OnnxError {
        OnnxError::Arithmetic { operator: self.operator.clone(), node: self.label() }
    }

    pub(super) fn operator_error(&self) -> OnnxError {
        OnnxError::Operator { operator: self.operator.clone(), node: self.label() }
    }

    /// The name of input `i`, if it is given.
    pub(super) fn input(&self, i: usize) -> Option<&'a str> {
        self.node.input.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The name of output `i`, if it is asked for.
    pub(super) fn output(&self, i: usize) -> Option<&'a str> {
        self.node.output.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// Refuses attributes that the layer does not know.
    pub(super) fn knows(&self, names: &[&str]) -> Result<(), OnnxError> {
        match self.node.attribute.iter().find(|attribute| !names.contains(&attribute.name.as_str())) {
            Some(other) => Err(self.attribute_error(&other.name)),
            None => Ok(()),
        }
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i.unwrap_or_default())
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f.unwrap_or_default())
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a [u8]> {
        self.attribute(name).map(|attribute| attribute.s.as_deref().unwrap_or_default())
    }

    /// A list; `None` without the attribute.
    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    /// Refuses an integer attribute of another value.
    pub(super) fn fixed(&self, name: &str, want: i64) -> Result<(), OnnxError> {
        if self.int(name, want) == want { Ok(()) } else { Err(self.attribute_error(name)) }
    }

    /// Refuses inputs from number `n` on.
    pub(super) fn takes(&self, n: usize) -> Result<(), OnnxError> {
        match (n..self.node.input.len()).any(|i| self.input(i).is_some()) {
            true => Err(self.input_error("so few inputs")),
            false => Ok(()),
        }
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            constants: HashMap::new(),
            values: HashMap::new(),
            uses: HashMap::new(),
            network: Network::default(),
            shapes: Vec::new(),
            parameters: Vec::new(),
            scale: None,
            words: 0,
            arithmetic: 0,
            classes: None,
        }
    }

    /// The constant that input `i` is; `None` if it is left out or no constant.
    pub(super) fn constant(&self, op: &Op<'_>, i: usize) -> Option<&Constant> {
        op.input(i).and_then(|name| self.constants.get(name))
    }

    /// The floats of input `i`, a constant of these dimensions.
    pub(super) fn floats(&self, op: &Op<'_>, i: usize, dims: &[usize]) -> Result<Vec<f32>, OnnxError> {
        let constant = self.constant(op, i).filter(|constant| constant.dims == dims);
        let floats = constant.and_then(Constant::floats);
        floats.map(<[f32]>::to_vec).ok_or_else(|| op.input_error("a constant of the right dimensions"))
    }

    /// The value that input `i` takes; it is no constant.
    pub(super) fn known(&self, op: &Op<'_>, i: usize) -> Result<Known, OnnxError> {
        let name = op.input(i).ok_or_else(|| op.input_error("all its inputs"))?;
        let known = self.values.get(name).cloned().ok_or_else(|| match self.constants.contains_key(name) {
            true => op.input_error("a value of the network where it has a constant"),
            false => OnnxError::Unknown { value: name.to_owned() },
        })?;
        let is_shared = self.uses.get(name).is_some_and(|uses| *uses > 1);
        Ok(match known {
            Known::Value(value) => Known::Value(Value { is_shared: value.is_shared || is_shared, ..value }),
            known => known,
        })
    }

    /// The value that input `i` is, with the arithmetic behind it.
    pub(super) fn value(&self, op: &Op<'_>, i: usize) -> Result<Value, OnnxError> {
        match self.known(op, i)? {
            Known::Value(value) => Ok(value),
            _ => Err(op.input_error("a layer's value as its input")),
        }
    }

    /// The value that input `i` is, for a layer: arithmetic goes into the scale of the features or
    /// into the layer before.
    pub(super) fn plain(&mut self, op: &Op<'_>, i: usize) -> Result<Value, OnnxError> {
        let value = self.value(op, i)?;
        if value.is_code || value.part.is_some() {
            return Err(op.input_error("a whole value as its input"));
        }
        self.settled(op, value)
    }

    /// The value without the arithmetic behind it.
    pub(super) fn settled(&mut self, op: &Op<'_>, mut value: Value) -> Result<Value, OnnxError> {
        let scaled = value.scaled.take();
        value.lacks_bias = false;
        if value.origin == Origin::Data {
            if *self.scale.get_or_insert_with(|| scaled.clone()) != scaled {
                return Err(op.arithmetic_error());
            }
        } else if let Some(scaled) = scaled {
            self.fold(&value, &scaled).ok_or_else(|| op.arithmetic_error())?;
        }
        Ok(value)
    }

    /// A value in a form, as a layer takes it.
    pub(super) fn formed(&mut self, op: &Op<'_>, i: usize, forms: &[Form]) -> Result<Value, OnnxError> {
        let value = self.plain(op, i)?;
        match value.layout {
            Layout::Rows(form) if forms.contains(&form) => Ok(value),
            _ => Err(op.input_error(match forms {
                [Form::Vector] => "vectors as its input",
                [Form::Image] => "images as its input",
                [Form::Sequence] => "sequences as its input",
                _ => "rows as its input",
            })),
        }
    }

    /// Counts words that a node copies: a tensor may be read by many.
    pub(super) fn take(&mut self, words: usize) -> Result<(), OnnxError> {
        self.words = self.words.saturating_add(words);
        match self.words > MAX_WORDS {
            true => Err(OnnxError::TooMany { of: "words of parameters", got: self.words, most: MAX_WORDS }),
            false => Ok(()),
        }
    }

    /// Appends a layer; returns its value.
    pub(super) fn layer(
        &mut self,
        op: &Op<'_>,
        layer: impl Into<AnyLayer>,
        inputs: &[&Value],
        layout: Layout,
        parameters: Vec<Parameter>,
    ) -> Result<Value, OnnxError> {
        let layer = layer.into();
        self.take(parameters.iter().map(|(_, _, values)| values.len()).sum())?;
        let shapes: Vec<Shape> = inputs.iter().map(|input| input.shape).collect();
        let shape = layer.output(&shapes).map_err(|reason| OnnxError::Layer { node: op.label(), reason })?;
        self.network.push(layer);
        let last = self.network.nodes.len() - 1;
        let origin = |i: usize| inputs.get(i).map(|input| input.origin);
        let input = origin(0).unwrap_or(Origin::Data);
        self.network.nodes[last] = Node { layer, input, second: origin(1), tied: None };
        self.shapes.push(shape);
        self.parameters.push(parameters);
        Ok(Value {
            origin: Origin::Node(u16::try_from(last).unwrap_or(u16::MAX)),
            shape,
            layout,
            part: None,
            scaled: None,
            lacks_bias: false,
            is_shared: false,
            is_code: false,
        })
    }

    /// Names output `i`, if it is asked for.
    pub(super) fn give(&mut self, op: &Op<'_>, i: usize, known: Known) -> Result<(), OnnxError> {
        let Some(name) = op.output(i) else { return Ok(()) };
        let twice = OnnxError::Twice { value: name.to_owned() };
        if self.constants.contains_key(name) || self.values.insert(name.to_owned(), known).is_some() {
            return Err(twice);
        }
        Ok(())
    }

    /// Gives a value as the only output.
    pub(super) fn give_value(&mut self, op: &Op<'_>, value: Value) -> Result<(), OnnxError> {
        self.give(op, 0, Known::Value(value))
    }

    /// The layer that gave a value.
    pub(super) fn layer_of(&self, value: &Value) -> Option<(usize, &AnyLayer)> {
        let Origin::Node(i) = value.origin else { return None };
        Some((usize::from(i), &self.network.nodes.get(usize::from(i))?.layer))
    }
}
