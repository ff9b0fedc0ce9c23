//! Layers and operators that pass words on: flattening, slices of a sequence, dropout, and other
//! forms of a value.

use super::super::{
    OnnxError,
    constant::{Constant, Values},
    proto::data_type,
    reader::{Known, Layout, Op, Reader, Value as Read},
    writer::{Form, Placed, Value, Writer, int},
};
use symbolon_core::layer::{AnyLayer, Dropout, Flatten, Fraction, Shape, Slice};

pub fn write_flatten(w: &mut Writer, at: &Placed<'_>) -> Value {
    let name = w.node("Flatten", &[&at.inputs[0].name], vec![int("axis", 1)]);
    at.gives(name, Form::Vector)
}

#[allow(clippy::cast_possible_truncation)] // eight significant bits
pub fn write_dropout(w: &mut Writer, layer: Dropout, at: &Placed<'_>) -> Value {
    let ratio = w.floats("ratio", &[], &[layer.rate.value() as f32]);
    let name = w.node("Dropout", &[&at.inputs[0].name, &ratio], vec![]);
    at.gives(name, at.inputs[0].form)
}

pub fn write_slice(w: &mut Writer, layer: Slice, at: &Placed<'_>) -> Value {
    let x = w.formed(&at.inputs[0], Form::Sequence);
    let [from, to] = [layer.from, layer.from + layer.steps].map(i64::from);
    let [from, to, axes] = [w.ints(&[from]), w.ints(&[to]), w.ints(&[1])];
    let name = w.node("Slice", &[&x, &from, &to, &axes], vec![]);
    at.gives(name, Form::Sequence)
}

/// A value as vectors: a layer, unless it is one already.
fn flattened(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let value = reader.value(op, 0)?;
    let vector = Layout::Rows(Form::Vector);
    if !matches!(value.layout, Layout::Rows(_)) {
        return Err(op.input_error("rows as its input"));
    }
    if let Shape([_, 1, 1]) = value.shape {
        return reader.give_value(op, Read { layout: vector, ..value });
    }
    let is_codes = matches!(value.shape, Shape([1, _, 1])) && value.is_code;
    if is_codes {
        let shape = Shape::vector(value.shape.0[1]);
        return reader.give_value(op, Read { layout: vector, shape, ..value });
    }
    let value = reader.plain(op, 0)?;
    let value = reader.layer(op, AnyLayer::Flatten(Flatten {}), &[&value], vector, vec![])?;
    reader.give_value(op, value)
}

pub fn read_flatten(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["axis"])?;
    op.fixed("axis", 1)?;
    flattened(reader, op)
}

/// A constant's other dimensions.
fn reshaped(reader: &mut Reader, op: &Op<'_>, dims: &[i64]) -> Result<bool, OnnxError> {
    let Some(constant) = reader.constant(op, 0).cloned() else { return Ok(false) };
    let words: usize = constant.dims.iter().product();
    let mut own: Vec<usize> = Vec::new();
    for (i, dim) in dims.iter().enumerate() {
        let known = dims.iter().filter(|dim| **dim > 0).try_fold(1i64, |n, dim| n.checked_mul(*dim));
        own.push(match dim {
            0 => constant.dims.get(i).copied().unwrap_or_default(),
            -1 => words / usize::try_from(known.unwrap_or(1)).unwrap_or(1).max(1),
            dim => usize::try_from(*dim).unwrap_or_default(),
        });
    }
    if own.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim)) != Some(words) {
        return Err(op.input_error("as many elements in its new shape"));
    }
    give_constant(reader, op, Constant { dims: own, ..constant })?;
    Ok(true)
}

pub fn give_constant(reader: &mut Reader, op: &Op<'_>, constant: Constant) -> Result<(), OnnxError> {
    let Some(name) = op.output(0) else { return Ok(()) };
    reader.take(constant.values.len())?;
    if reader.values.contains_key(name) || reader.constants.insert(name.to_owned(), constant).is_some() {
        return Err(OnnxError::Twice { value: name.to_owned() });
    }
    Ok(())
}

/// Rows in another form, or as vectors.
pub fn read_reshape(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["allowzero"])?;
    op.fixed("allowzero", 0)?;
    let shape = reader.constant(op, 1).and_then(|shape| shape.ints()).map(<[i64]>::to_vec);
    let shape = shape.ok_or_else(|| op.input_error("a constant shape"))?;
    if reshaped(reader, op, &shape)? {
        return Ok(());
    }
    if !matches!(reader.known(op, 0)?, Known::Value(_)) {
        return read_identity(reader, op);
    }
    let value = reader.value(op, 0)?;
    let Layout::Rows(form) = value.layout else { return Err(op.input_error("rows as its input")) };
    let dims = row_dims(&shape, form.dims(value.shape)).ok_or_else(|| op.input_error("one shape a record"))?;
    let small = |dim: i64| u32::try_from(dim).unwrap_or(u32::MAX);
    let (form, shape) = match dims[..] {
        [] => (Form::Vector, Shape::vector(1)),
        [words] => (Form::Vector, Shape::vector(small(words))),
        [steps, features] => (Form::Sequence, Shape([1, small(steps), small(features)])),
        [channels, height, width] => (Form::Image, Shape([channels, height, width].map(small))),
        _ => return Err(op.input_error("a shape of at most three dimensions a record")),
    };
    if shape == value.shape {
        return reader.give_value(op, Read { layout: Layout::Rows(form), ..value });
    }
    if form == Form::Vector && shape.words() == value.shape.words() {
        return flattened(reader, op);
    }
    if let (Shape([words, 1, 1]), Shape([1, steps, 1])) = (value.shape, shape)
        && words == steps
        && value.origin == symbolon_core::layer::Origin::Data
    {
        return Err(op.input_error("sequences as the graph's input, where it makes them of vectors"));
    }
    Err(op.input_error("a shape that flattens its input"))
}

/// The dimensions of a row after a `Reshape` to `shape`, behind the batch.
fn row_dims(shape: &[i64], from: Vec<i64>) -> Option<Vec<i64>> {
    let words = from.iter().try_fold(1i64, |n, dim| n.checked_mul(*dim))?;
    let (batch, rest) = shape.split_first()?;
    let mut dims: Vec<i64> = Vec::new();
    for (i, dim) in rest.iter().enumerate() {
        dims.push(if *dim == 0 { *from.get(i)? } else { *dim });
    }
    let known = dims.iter().filter(|dim| **dim != -1).try_fold(1i64, |n, dim| n.checked_mul(*dim))?;
    let open = dims.iter().filter(|dim| **dim == -1).count();
    if open == 1 && *batch >= 0 && known > 0 {
        let rest = words.checked_div(known)?;
        dims.iter_mut().filter(|dim| **dim == -1).for_each(|dim| *dim = rest);
    } else if open > 0 || (known != words && *batch == -1) {
        return None;
    }
    (dims.iter().try_fold(1i64, |n, dim| n.checked_mul(*dim))? == words).then_some(dims)
}

/// The axes of `Squeeze` and `Unsqueeze`.
fn axes(reader: &Reader, op: &Op<'_>) -> Result<Vec<i64>, OnnxError> {
    let axes = reader.constant(op, 1).and_then(|axes| axes.ints());
    axes.map(<[i64]>::to_vec).ok_or_else(|| op.input_error("constant axes"))
}

pub fn read_squeeze(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let axes = axes(reader, op)?;
    let Known::Value(value) = reader.known(op, 0)? else { return read_identity(reader, op) };
    let value = match (value.layout, &axes[..], value.shape) {
        (Layout::OfSteps, [1], _) => Read { layout: Layout::StepsFirst, ..value },
        (Layout::OfDirection, [0], _) => Read { layout: Layout::Rows(Form::Vector), ..value },
        (Layout::Rows(Form::Sequence), [2 | -1], Shape([1, steps, 1])) => {
            Read { layout: Layout::Rows(Form::Vector), shape: Shape::vector(steps), ..value }
        }
        (Layout::Rows(Form::Image), [2, 3] | [-2, -1] | [3, 2], Shape([_, 1, 1])) => {
            Read { layout: Layout::Rows(Form::Vector), ..value }
        }
        (Layout::Rows(Form::Vector), [1 | -1], Shape([1, 1, 1])) => value,
        _ => return Err(op.input_error("axes of one element that a form lacks")),
    };
    reader.give_value(op, value)
}

pub fn read_unsqueeze(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let axes = axes(reader, op)?;
    if let Some(constant) = reader.constant(op, 0).cloned() {
        let mut dims = constant.dims.clone();
        for axis in &axes {
            let at = usize::try_from(*axis).unwrap_or(dims.len());
            if at > dims.len() {
                return Err(op.input_error("constant axes"));
            }
            dims.insert(at, 1);
        }
        return give_constant(reader, op, Constant { dims, ..constant });
    }
    let value = reader.value(op, 0)?;
    if value.layout != Layout::Rows(Form::Vector) || axes != [0] {
        return Err(op.input_error("a vector that becomes a state"));
    }
    reader.give_value(op, Read { layout: Layout::OfDirection, ..value })
}

pub fn read_transpose(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["perm"])?;
    if let Some(constant) = reader.constant(op, 0) {
        let transposed = constant.transposed().filter(|_| op.ints("perm").is_none_or(|perm| perm == [1, 0]));
        let transposed = transposed.ok_or_else(|| op.input_error("a constant matrix"))?;
        return give_constant(reader, op, transposed);
    }
    let value = reader.value(op, 0)?;
    let layout = match (value.layout, op.ints("perm")) {
        (Layout::Rows(Form::Sequence), Some([1, 0, 2])) => Layout::StepsFirst,
        (Layout::StepsFirst, Some([1, 0, 2])) => Layout::Rows(Form::Sequence),
        _ => return Err(op.attribute_error("perm")),
    };
    reader.give_value(op, Read { layout, ..value })
}

/// Steps of a sequence, or words of a vector that are a state.
pub fn read_slice(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let one = |i: usize| match reader.constant(op, i).and_then(|list| list.ints()) {
        Some(&[value]) => Some(value),
        _ => None,
    };
    let no = || op.input_error("one range of steps with stride 1");
    let (from, to, axis) = (one(1).ok_or_else(no)?, one(2).ok_or_else(no)?, one(3).ok_or_else(no)?);
    if op.input(4).is_some() && one(4) != Some(1) {
        return Err(no());
    }
    let value = reader.value(op, 0)?;
    let all = match value.layout {
        Layout::Rows(Form::Sequence) => value.shape.image()[0],
        Layout::Rows(Form::Vector) => value.shape.words(),
        _ => return Err(no()),
    };
    let all = i64::try_from(all).unwrap_or(i64::MAX);
    let end = |at: i64| if at < 0 { (at + all).max(0) } else { at.min(all) };
    let range = [end(from), end(to)].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
    if axis != 1 || range[0] >= range[1] || value.part.is_some() {
        return Err(no());
    }
    if value.layout == Layout::Rows(Form::Vector) {
        let part = Some(range[0] as usize..range[1] as usize);
        return reader.give_value(op, Read { part, ..value });
    }
    let value = reader.plain(op, 0)?;
    let layer = AnyLayer::Slice(Slice { from: range[0], steps: range[1] - range[0] });
    let value = reader.layer(op, layer, &[&value], value.layout, vec![])?;
    reader.give_value(op, value)
}

pub fn read_dropout(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["seed"])?;
    let trains = op.input(2).is_some() && reader.constant(op, 2).and_then(|c| c.ints()) != Some(&[0]);
    if trains || op.output(1).is_some() {
        return Err(op.attribute_error("training_mode"));
    }
    let ratio = if op.input(1).is_some() { reader.constant(op, 1).and_then(Constant::one) } else { Some(0.5) };
    let rate = ratio.and_then(|ratio| Fraction::nearest(ratio.into())).ok_or_else(|| op.attribute_error("ratio"))?;
    if rate.factor == 0 {
        return read_identity(reader, op);
    }
    super::pointwise::read(reader, op, AnyLayer::Dropout(Dropout { rate }))
}

pub fn read_identity(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    if let Some(constant) = reader.constant(op, 0).cloned() {
        return give_constant(reader, op, constant);
    }
    let known = reader.known(op, 0)?;
    reader.give(op, 0, known)
}

/// To floats: the value itself. To integers: codes.
pub fn read_cast(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["to", "saturate"])?;
    if reader.constant(op, 0).is_some() {
        return read_identity(reader, op);
    }
    let to = i32::try_from(op.int("to", 0)).unwrap_or_default();
    let known = reader.known(op, 0)?;
    let is_float = [data_type::FLOAT, data_type::DOUBLE].contains(&to);
    let is_int = [data_type::INT32, data_type::INT64].contains(&to);
    let known = match known {
        Known::Value(value) if is_float => Known::Value(Read { is_code: false, ..value }),
        Known::Value(value) if is_int && value.origin == symbolon_core::layer::Origin::Data => {
            Known::Value(Read { is_code: true, ..value })
        }
        Known::Value(value) if is_int && is_slice(reader, &value) => Known::Value(Read { is_code: true, ..value }),
        Known::Value(_) => return Err(op.attribute_error("to")),
        known => known,
    };
    reader.give(op, 0, known)
}

fn is_slice(reader: &Reader, value: &Read) -> bool {
    matches!(reader.layer_of(value), Some((_, AnyLayer::Slice(_))))
}

/// The value of a node that is a constant.
pub fn read_constant(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["value", "value_float", "value_floats", "value_int", "value_ints"])?;
    let constant = if let Some(tensor) = op.attribute("value").and_then(|value| value.t.as_ref()) {
        Constant::read(tensor)?
    } else if let Some(value) = op.attribute("value_float") {
        Constant { dims: vec![], values: Values::Floats(vec![value.f.unwrap_or_default()]) }
    } else if let Some(value) = op.attribute("value_int") {
        Constant { dims: vec![], values: Values::Ints(vec![value.i.unwrap_or_default()]) }
    } else if let Some(value) = op.attribute("value_floats") {
        Constant { dims: vec![value.floats.len()], values: Values::Floats(value.floats.clone()) }
    } else if let Some(value) = op.attribute("value_ints") {
        Constant { dims: vec![value.ints.len()], values: Values::Ints(value.ints.clone()) }
    } else {
        return Err(op.attribute_error("value"));
    };
    give_constant(reader, op, constant)
}
