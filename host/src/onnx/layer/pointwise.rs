//! `Relu`, `LeakyRelu`, and a square as `Mul` of a value by itself.

use super::super::{
    OnnxError,
    proto::AttributeProto,
    reader::{Op, Reader, Value as Read},
    writer::{Placed, Value, Writer, float},
};
use symbolon_core::layer::{AnyLayer, Fraction, LeakyRelu, Relu, Square};

/// Writes an operator of each element.
pub fn write(w: &mut Writer, operator: &str, attributes: Vec<AttributeProto>, at: &Placed<'_>) -> Value {
    let x = &at.inputs[0];
    let name = w.node(operator, &[&x.name], attributes);
    at.gives(name, x.form)
}

#[allow(clippy::cast_possible_truncation)] // eight significant bits
pub fn write_leaky(w: &mut Writer, layer: LeakyRelu, at: &Placed<'_>) -> Value {
    write(w, "LeakyRelu", vec![float("alpha", layer.slope.value() as f32)], at)
}

pub fn write_square(w: &mut Writer, at: &Placed<'_>) -> Value {
    let x = &at.inputs[0];
    let name = w.node("Mul", &[&x.name, &x.name], vec![]);
    at.gives(name, x.form)
}

/// Reads an operator of each element.
pub fn read(reader: &mut Reader, op: &Op<'_>, layer: AnyLayer) -> Result<(), OnnxError> {
    let x = reader.plain(op, 0)?;
    give(reader, op, &x, layer)
}

fn give(reader: &mut Reader, op: &Op<'_>, x: &Read, layer: AnyLayer) -> Result<(), OnnxError> {
    let value = reader.layer(op, layer, &[x], x.layout, vec![])?;
    reader.give_value(op, value)
}

pub fn read_relu(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    read(reader, op, AnyLayer::Relu(Relu {}))
}

/// The slope is rounded to eight significant bits.
pub fn read_leaky(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["alpha"])?;
    let slope = Fraction::nearest(f64::from(op.float("alpha", 0.01)));
    let slope = slope.ok_or_else(|| op.attribute_error("alpha"))?;
    read(reader, op, AnyLayer::LeakyRelu(LeakyRelu { slope }))
}

/// `x x`, whose factors are one value.
pub fn read_square(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    if op.input(0) != op.input(1) {
        return Err(op.input_error("one value twice, or a constant"));
    }
    let x = reader.plain(op, 0)?;
    give(reader, op, &x, AnyLayer::Square(Square {}))
}
