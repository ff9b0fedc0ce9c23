//! `Add` of two values, and `Concat`.

use super::super::{
    OnnxError, head,
    reader::{Layout, Op, Reader, Value as Read},
    writer::{Form, Placed, Value, Writer, int},
};
use symbolon_core::layer::{Add, AnyLayer, Concat};

pub fn write_add(w: &mut Writer, at: &Placed<'_>) -> Value {
    let [first, second] = [&at.inputs[0], &at.inputs[1]];
    let second = w.formed(second, first.form);
    let name = w.node("Add", &[&first.name, &second], vec![]);
    at.gives(name, first.form)
}

pub fn write_concat(w: &mut Writer, layer: Concat, at: &Placed<'_>) -> Value {
    let [first, second] = [&at.inputs[0], &at.inputs[1]];
    let (form, axis) = if layer.each_step {
        (Form::Sequence, 2)
    } else if first.form == Form::Vector {
        (Form::Vector, 1)
    } else {
        (Form::Image, 1)
    };
    let [first, second] = [w.formed(first, form), w.formed(second, form)];
    let name = w.node("Concat", &[&first, &second], vec![int("axis", axis)]);
    at.gives(name, form)
}

/// The sum of two values.
pub fn read_add(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let (first, second) = (reader.plain(op, 0)?, reader.plain(op, 1)?);
    if first.layout != second.layout {
        return Err(op.input_error("two values of one form"));
    }
    let value = reader.layer(op, AnyLayer::Add(Add {}), &[&first, &second], first.layout, vec![])?;
    reader.give_value(op, value)
}

/// Two values or more, of their channels or of each step's features; or the parts of a vector.
pub fn read_concat(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["axis"])?;
    if head::read_two_classes(reader, op)? || read_parts(reader, op)? {
        return Ok(());
    }
    let mut joined = reader.plain(op, 0)?;
    let axis = op.int("axis", 0);
    let each_step = match joined.layout {
        Layout::Rows(Form::Vector) if [1, -1].contains(&axis) => false,
        Layout::Rows(Form::Image) if [1, -3].contains(&axis) => false,
        Layout::Rows(Form::Sequence) if [2, -1].contains(&axis) => true,
        _ => return Err(op.attribute_error("axis")),
    };
    for i in 1..op.node.input.len() {
        let next = reader.plain(op, i)?;
        if next.layout != joined.layout {
            return Err(op.input_error("values of one form"));
        }
        let layout = joined.layout;
        joined = reader.layer(op, AnyLayer::Concat(Concat { each_step }), &[&joined, &next], layout, vec![])?;
    }
    reader.give_value(op, joined)
}

/// Hidden state and cell state, one behind the other, are a whole again.
fn read_parts(reader: &mut Reader, op: &Op<'_>) -> Result<bool, OnnxError> {
    let inputs: Result<Vec<Read>, _> = (0..op.node.input.len()).map(|i| reader.value(op, i)).collect();
    let Ok(parts) = inputs else { return Ok(false) };
    let Some(first) = parts.first().filter(|first| first.part.is_some()) else { return Ok(false) };
    let mut end = 0;
    for part in &parts {
        match &part.part {
            Some(range) if range.start == end && part.origin == first.origin => end = range.end,
            _ => return Err(op.input_error("the parts of one state in their order")),
        }
    }
    if end != first.shape.words() || ![1, -1].contains(&op.int("axis", 0)) {
        return Err(op.input_error("the parts of one state in their order"));
    }
    let value = Read { part: None, layout: Layout::Rows(Form::Vector), ..first.clone() };
    reader.give_value(op, value)?;
    Ok(true)
}
