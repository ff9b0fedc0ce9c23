//! Pools: `MaxPool` (and `Relu` behind it), `AveragePool` and `GlobalAveragePool`, without padding.

use super::{
    super::{
        OnnxError,
        reader::{Layout, Op, Reader},
        writer::{Form, Placed, Value, Writer, ints},
    },
    convolution::{numbers, padding, size},
};
use crate::onnx::proto::AttributeProto;
use symbolon_core::layer::{AnyLayer, AveragePool, GlobalAveragePool, MaxPool, Size};

fn attributes(window: Size, stride: Option<Size>) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", numbers(window)), ints("strides", numbers(stride.unwrap_or(window)))]
}

pub fn write_max(w: &mut Writer, layer: MaxPool, at: &Placed<'_>) -> Value {
    let x = w.formed(&at.inputs[0], Form::Image);
    let mut name = w.node("MaxPool", &[&x], attributes(layer.window, layer.stride));
    if layer.relu {
        name = w.node("Relu", &[&name], vec![]);
    }
    at.gives(name, Form::Image)
}

pub fn write_average(w: &mut Writer, layer: AveragePool, at: &Placed<'_>) -> Value {
    let x = w.formed(&at.inputs[0], Form::Image);
    let name = w.node("AveragePool", &[&x], attributes(layer.window, layer.stride));
    at.gives(name, Form::Image)
}

pub fn write_global(w: &mut Writer, at: &Placed<'_>) -> Value {
    let x = w.formed(&at.inputs[0], Form::Image);
    let name = w.node("GlobalAveragePool", &[&x], vec![]);
    at.gives(name, Form::Image)
}

/// Reads a pool's window and stride; `None` for a stride that is the window.
fn windows(reader: &mut Reader, op: &Op<'_>, more: &'static str) -> Result<(Size, Option<Size>), OnnxError> {
    op.knows(&["kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode", more])?;
    op.fixed("ceil_mode", 0)?;
    let window = size(op, "kernel_shape", Size::ZERO)?;
    let stride = size(op, "strides", Size::ONE)?;
    let image = reader.value(op, 0)?.shape;
    if padding(op, image, window, stride)? != Size::ZERO {
        return Err(op.attribute_error("pads"));
    }
    Ok((window, Some(stride).filter(|stride| *stride != window)))
}

fn give(reader: &mut Reader, op: &Op<'_>, layer: AnyLayer) -> Result<(), OnnxError> {
    let x = reader.formed(op, 0, &[Form::Image])?;
    let value = reader.layer(op, layer, &[&x], Layout::Rows(Form::Image), vec![])?;
    reader.give_value(op, value)
}

pub fn read_max(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let (window, stride) = windows(reader, op, "storage_order")?;
    if op.output(1).is_some() {
        return Err(op.attribute_error("Indices"));
    }
    give(reader, op, AnyLayer::MaxPool(MaxPool { window, stride, relu: false }))
}

pub fn read_average(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let (window, stride) = windows(reader, op, "count_include_pad")?;
    give(reader, op, AnyLayer::AveragePool(AveragePool { window, stride }))
}

pub fn read_global(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    give(reader, op, AnyLayer::GlobalAveragePool(GlobalAveragePool {}))
}

/// The mean over the last two axes of images.
pub fn read_mean(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["axes", "keepdims", "noop_with_empty_axes"])?;
    let axes = match reader.constant(op, 1).and_then(|axes| axes.ints()) {
        Some(axes) => Some(axes.to_vec()),
        None => op.ints("axes").map(<[i64]>::to_vec),
    };
    let mut axes = axes.unwrap_or_default();
    axes.iter_mut().for_each(|axis| *axis = if *axis < 0 { *axis + 4 } else { *axis });
    axes.sort_unstable();
    if axes != [2, 3] {
        return Err(op.attribute_error("axes"));
    }
    let x = reader.formed(op, 0, &[Form::Image])?;
    let form = if op.int("keepdims", 1) == 0 { Form::Vector } else { Form::Image };
    let layer = AnyLayer::GlobalAveragePool(GlobalAveragePool {});
    let value = reader.layer(op, layer, &[&x], Layout::Rows(form), vec![])?;
    reader.give_value(op, value)
}
