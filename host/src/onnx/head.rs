//! Behind the last layer: probabilities, predicted classes, and the graph's outputs.

use super::{
    OnnxError,
    constant::{Values, texts},
    reader::{Known, Layout, Op, Reader, Scaled, Value},
    writer::Form,
};
use crate::job::Affine;
use std::rc::Rc;
use symbolon_core::{
    function::scalar::AnyScalar,
    layer::{AnyLayer, Dense, Origin, Shape},
};

/// The function from outputs to predictions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Head {
    /// The softmax of all outputs.
    Softmax,
    /// The logistic function of each output.
    Sigmoid,
}

impl Head {
    /// Its name in model files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// `Softmax` or its logarithm, over the last axis.
pub fn read_softmax(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["axis"])?;
    let value = reader.formed(op, 0, &[Form::Vector, Form::Sequence])?;
    let last = if value.layout == Layout::Rows(Form::Vector) { 1 } else { 2 };
    if ![-1, last].contains(&op.int("axis", -1)) {
        return Err(op.attribute_error("axis"));
    }
    reader.give(op, 0, Known::Head(value, Head::Softmax))
}

/// The class of the greatest output.
pub fn read_label(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["axis", "keepdims", "select_last_index"])?;
    reader.known(op, 0)?;
    reader.give(op, 0, Known::Label)
}

/// The names of the classes, where the predicted one is looked up.
pub fn read_classes(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let Known::Label = reader.known(op, 1)? else { return Err(op.input_error("the predicted class as its index")) };
    let names = reader.constant(op, 0).map(|constant| match &constant.values {
        Values::Ints(numbers) => numbers.iter().map(ToString::to_string).collect(),
        Values::Texts(names) => names.clone(),
        Values::Floats(numbers) => numbers.iter().map(ToString::to_string).collect(),
    });
    reader.classes = names;
    reader.give(op, 0, Known::Label)
}

/// Probabilities under the names of the classes.
pub fn read_zip_map(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["classlabels_int64s", "classlabels_strings"])?;
    let known = reader.known(op, 0)?;
    if let Some(numbers) = op.ints("classlabels_int64s").filter(|numbers| !numbers.is_empty()) {
        reader.classes = Some(numbers.iter().map(ToString::to_string).collect());
    }
    if let Some(names) = op.attribute("classlabels_strings").filter(|names| !names.strings.is_empty()) {
        reader.classes = Some(texts(&names.strings));
    }
    reader.give(op, 0, known)
}

fn is_sigmoid(layer: &AnyLayer) -> bool {
    matches!(layer, AnyLayer::Activation(layer) if matches!(layer.function.scalar, AnyScalar::Sigmoid(_)))
}

impl Reader {
    /// Takes off the last layer, and forgets its values.
    fn pop(&mut self) {
        let Some(last) = self.network.nodes.len().checked_sub(1) else { return };
        self.network.nodes.pop();
        self.network.names.pop();
        self.shapes.pop();
        self.parameters.pop();
        let gone = |value: &Value| value.origin == origin(last);
        self.values.retain(|_, known| match known {
            Known::Value(value) | Known::Head(value, _) | Known::Above(value, _) => !gone(value),
            Known::Label | Known::Lengths => true,
        });
    }
}

impl Reader {
    /// Gives a dense layer of one unit a second one, before it, whose output is 0.
    fn double(&mut self, i: usize) {
        self.network.nodes[i].layer = AnyLayer::Dense(Dense::new(2));
        self.shapes[i] = Shape::vector(2);
        for (_, dims, values) in &mut self.parameters[i] {
            let zeros = vec![0.0; values.len()];
            dims[0] = 2;
            *values = [&zeros[..], &values[..]].concat();
        }
    }
}

fn origin(node: usize) -> Origin {
    Origin::Node(u16::try_from(node).unwrap_or(u16::MAX))
}

/// Probabilities `1 - p` and `p` of two classes, from one output: the softmax of 0 and that output.
/// Returns whether the node is that.
pub fn read_two_classes(reader: &mut Reader, op: &Op<'_>) -> Result<bool, OnnxError> {
    let inputs = [0, 1].map(|i| op.input(i).and_then(|name| reader.values.get(name)));
    let [Some(Known::Value(other)), Some(Known::Value(p))] = inputs else { return Ok(false) };
    let complement = [Scaled::By(Affine { offset: 1.0, divide: -1.0 })];
    let is_other = other.origin == p.origin && other.scaled.as_deref() == Some(&complement);
    let Some((last, layer)) = reader.layer_of(p) else { return Ok(false) };
    if !is_other || op.node.input.len() != 2 || !is_sigmoid(layer) || last + 1 != reader.network.nodes.len() {
        return Ok(false);
    }
    let input = reader.network.nodes[last].input;
    let (Origin::Node(i), vector) = (input, Layout::Rows(Form::Vector)) else { return Ok(false) };
    let i = usize::from(i);
    let AnyLayer::Dense(Dense { units: 1, each_step: false }) = reader.network.nodes[i].layer else {
        return Ok(false);
    };
    if i + 1 != last {
        return Ok(false); // another layer reads what the last one does
    }
    let value = Value { origin: input, shape: Shape::vector(2), layout: vector, scaled: None, ..p.clone() };
    reader.pop();
    reader.double(i);
    reader.give(op, 0, Known::Head(value, Head::Softmax))?;
    Ok(true)
}

/// The network's function behind the last layer, and the arithmetic behind that.
pub type Ending = (Option<Head>, Option<Rc<[Scaled]>>);

/// The last layer and the arithmetic behind it, from the graph's outputs.
///
/// # Errors
///
/// [`OnnxError::Outputs`] for one that is not of the last layer.
pub fn finish(reader: &mut Reader, outputs: &[String]) -> Result<Ending, OnnxError> {
    let mut ends: Vec<(&String, Value, Option<Head>)> = Vec::new();
    for output in outputs {
        match reader.values.get(output) {
            Some(Known::Value(value)) => ends.push((output, value.clone(), None)),
            Some(Known::Head(value, head)) => ends.push((output, value.clone(), Some(*head))),
            Some(Known::Label) => {}
            Some(Known::Above(..) | Known::Lengths) | None => {
                return Err(OnnxError::Outputs { output: output.clone() });
            }
        }
    }
    let sigmoid = taken_sigmoid(reader, &ends);
    if sigmoid {
        let last = reader.network.nodes.len() - 1;
        let below = reader.network.nodes[last].input;
        reader.pop();
        let is_single =
            matches!(reader.network.nodes[last - 1].layer, AnyLayer::Dense(dense) if dense == Dense::new(1));
        let function = if is_single { Head::Softmax } else { Head::Sigmoid };
        if is_single {
            reader.double(last - 1); // the softmax of 0 and the output
        }
        for (_, value, head) in ends.iter_mut().filter(|(_, value, _)| value.origin == origin(last)) {
            (value.origin, *head) = (below, Some(function));
        }
    }
    let none = OnnxError::Outputs { output: outputs.first().cloned().unwrap_or_default() };
    let last = origin(reader.network.nodes.len().checked_sub(1).ok_or_else(|| none.clone())?);
    let (mut head, mut scaled) = (None, None);
    for (output, value, own) in &ends {
        let is_rows = matches!(value.layout, Layout::Rows(Form::Vector | Form::Sequence));
        let is_other = own.is_some_and(|own| *head.get_or_insert(own) != own)
            || *scaled.get_or_insert_with(|| value.scaled.clone()) != value.scaled;
        if value.origin != last || value.part.is_some() || !is_rows || is_other {
            return Err(OnnxError::Outputs { output: (*output).clone() });
        }
    }
    let scaled = scaled.ok_or(none)?;
    if head.is_some() && scaled.is_some() {
        return Err(OnnxError::Outputs { output: ends[0].0.clone() });
    }
    Ok((head, scaled))
}

/// Whether the last layer is a logistic function that only outputs read.
fn taken_sigmoid(reader: &Reader, ends: &[(&String, Value, Option<Head>)]) -> bool {
    let Some(last) = reader.network.nodes.len().checked_sub(1).filter(|last| *last > 0) else { return false };
    let node = &reader.network.nodes[last];
    let reads = |value: &Value| value.origin == origin(last) || value.origin == node.input;
    is_sigmoid(&node.layer)
        && node.input == origin(last - 1)
        && ends.iter().all(|(_, value, head)| reads(value) && head.is_none() && value.scaled.is_none())
        && ends.iter().any(|(_, value, _)| value.origin == origin(last))
}
