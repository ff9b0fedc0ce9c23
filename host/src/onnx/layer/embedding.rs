//! Embeddings: `Gather` of a constant table's rows by codes.

use super::super::{
    OnnxError,
    proto::data_type,
    reader::{Layout, Op, Reader},
    writer::{Form, Placed, Value, Writer, int},
};
use symbolon_core::layer::{AnyLayer, Embedding, Shape, States};

pub fn write(w: &mut Writer, _: Embedding, at: &Placed<'_>) -> Result<Value, OnnxError> {
    let table = at.tensor("weight")?;
    let codes = w.node("Cast", &[&at.inputs[0].name], vec![int("to", data_type::INT64.into())]);
    let codes = Value { name: codes, shape: Shape::vector(at.inputs[0].shape.0[1]), form: at.inputs[0].form };
    let codes = w.formed(&codes, Form::Vector);
    let table = w.floats("weight", &table.shape, &table.values);
    let name = w.node("Gather", &[&table, &codes], vec![int("axis", 0)]);
    Ok(at.gives(name, Form::Sequence))
}

pub fn read(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["axis"])?;
    let Some(table) = reader.constant(op, 0).cloned() else { return read_last_step(reader, op) };
    op.fixed("axis", 0)?;
    let floats = table.floats().filter(|_| table.dims.len() == 2).map(<[f32]>::to_vec);
    let floats = floats.ok_or_else(|| op.input_error("a constant table of vectors"))?;
    let value = reader.value(op, 1)?;
    let mut codes = reader.settled(op, value)?;
    codes.shape = match (codes.shape, codes.layout) {
        (Shape([steps, 1, 1]), Layout::Rows(Form::Vector)) => Shape([1, steps, 1]),
        _ => return Err(op.input_error("one code a step as its input")),
    };
    let [codes_n, units] = [table.dims[0], table.dims[1]].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let layer = AnyLayer::Embedding(Embedding { codes: codes_n, units });
    let parameters = vec![("weight", table.dims, floats)];
    let value = reader.layer(op, layer, &[&codes], Layout::Rows(Form::Sequence), parameters)?;
    reader.give_value(op, value)
}

/// The state of the last step, of a recurrent layer whose other states nothing reads.
fn read_last_step(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let no = || op.input_error("a constant table, or the last step of a recurrent layer");
    let value = reader.plain(op, 0)?;
    let index = reader.constant(op, 1).and_then(|index| Some((index.dims.is_empty(), *index.ints()?.first()?)));
    let Some((i, AnyLayer::Recurrent(layer))) = reader.layer_of(&value) else { return Err(no()) };
    let steps = i64::try_from(value.shape.image()[0]).unwrap_or(i64::MAX);
    let is_last = index == Some((true, -1)) || index == Some((true, steps - 1));
    let is_axis = match value.layout {
        Layout::Rows(Form::Sequence) => [1, -2].contains(&op.int("axis", 0)),
        Layout::StepsFirst => op.int("axis", 0) == 0,
        _ => false,
    };
    let mut layer = *layer;
    if !is_last || !is_axis || value.is_shared || layer.states != States::All || layer.reverse {
        return Err(no());
    }
    layer.states = States::Last;
    reader.network.nodes[i].layer = AnyLayer::Recurrent(layer);
    reader.shapes[i] = Shape::vector(layer.units);
    let vector = Layout::Rows(Form::Vector);
    reader.give_value(op, super::super::reader::Value { shape: reader.shapes[i], layout: vector, ..value })
}
