//! Convolutions: `Conv` of images, with padding that is the same on opposite sides.

use super::super::{
    OnnxError,
    reader::{Layout, Op, Reader, Value as Read},
    writer::{Form, Placed, Value, Writer, int, ints},
};
use crate::onnx::constant::Constant;
use symbolon_core::layer::{AnyLayer, Convolution, Shape, Size};

pub fn write(w: &mut Writer, layer: &Convolution, at: &Placed<'_>) -> Result<Value, OnnxError> {
    let (weight, bias) = (at.tensor("weight")?, at.tensor("bias")?);
    let x = w.formed(&at.inputs[0], Form::Image);
    let weight = w.floats("weight", &weight.shape, &weight.values);
    let bias = w.floats("bias", &bias.shape, &bias.values);
    let padding = numbers(layer.padding);
    let attributes = vec![
        ints("kernel_shape", numbers(layer.kernel)),
        ints("strides", numbers(layer.stride)),
        ints("pads", [padding, padding].concat()),
        int("group", layer.groups.into()),
    ];
    let name = w.node("Conv", &[&x, &weight, &bias], attributes);
    Ok(at.gives(name, Form::Image))
}

/// Height and width as ONNX has them.
pub fn numbers(Size(size): Size) -> [i64; 2] {
    size.map(i64::from)
}

/// Height and width of an attribute; `default` without it.
pub fn size(op: &Op<'_>, name: &str, default: Size) -> Result<Size, OnnxError> {
    match op.ints(name) {
        None => Ok(default),
        Some(&[height, width]) => match [u16::try_from(height), u16::try_from(width)] {
            [Ok(height), Ok(width)] => Ok(Size([height, width])),
            _ => Err(op.attribute_error(name)),
        },
        Some(_) => Err(op.attribute_error(name)),
    }
}

/// The padding of a convolution or a pool: `pads`, or what `auto_pad` makes of the image.
pub fn padding(op: &Op<'_>, image: Shape, window: Size, stride: Size) -> Result<Size, OnnxError> {
    let ones = |list: &[i64]| list.iter().all(|n| *n == 1);
    if op.ints("dilations").is_some_and(|list| !ones(list)) {
        return Err(op.attribute_error("dilations"));
    }
    match op.text("auto_pad") {
        None | Some(b"NOTSET") => match op.ints("pads") {
            None => Ok(Size::ZERO),
            Some(&[top, left, bottom, right]) if top == bottom && left == right => {
                let size = [top, left].map(u16::try_from);
                let [Ok(height), Ok(width)] = size else { return Err(op.attribute_error("pads")) };
                Ok(Size([height, width]))
            }
            Some(_) => Err(op.attribute_error("pads")),
        },
        Some(b"VALID") => Ok(Size::ZERO),
        Some(b"SAME_UPPER" | b"SAME_LOWER") => {
            same(image, window, stride).ok_or_else(|| op.attribute_error("auto_pad"))
        }
        Some(_) => Err(op.attribute_error("auto_pad")),
    }
}

/// The padding with which the output has as many places as there are strides in the image.
fn same(image: Shape, window: Size, stride: Size) -> Option<Size> {
    let sides = [0, 1].map(|i| {
        let (image, window, stride) = (image.image()[i], usize::from(window.0[i]), usize::from(stride.0[i]));
        let places = image.div_ceil(stride.max(1));
        let all = ((places.max(1) - 1) * stride + window).saturating_sub(image);
        all.is_multiple_of(2).then_some(all / 2)
    });
    let [Some(height), Some(width)] = sides else { return None };
    Some(Size([u16::try_from(height).ok()?, u16::try_from(width).ok()?]))
}

pub fn read(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["kernel_shape", "strides", "pads", "dilations", "group", "auto_pad"])?;
    let x = reader.formed(op, 0, &[Form::Image])?;
    let weight = reader.constant(op, 1).cloned();
    let weight =
        weight.filter(|weight| weight.dims.len() == 4).ok_or_else(|| op.input_error("a constant of filters"))?;
    let &[filters, channels, height, width] = &weight.dims[..] else { return Err(op.operator_error()) };
    let small = |n: usize| u16::try_from(n).map_err(|_| op.input_error("filters of a size that layers have"));
    let kernel = Size([small(height)?, small(width)?]);
    if size(op, "kernel_shape", kernel)? != kernel {
        return Err(op.attribute_error("kernel_shape"));
    }
    let stride = size(op, "strides", Size::ONE)?;
    let groups = u32::try_from(op.int("group", 1)).map_err(|_| op.attribute_error("group"))?;
    if channels.checked_mul(groups as usize) != Some(x.shape.channels()) {
        return Err(op.input_error("filters of the image's channels"));
    }
    let bias = match op.input(2) {
        None => vec![0.0; filters],
        Some(_) => reader.floats(op, 2, &[filters])?,
    };
    let padding = padding(op, x.shape, kernel, stride)?;
    let filters = u32::try_from(filters).unwrap_or(u32::MAX);
    let layer = Convolution { filters, kernel, stride, padding, groups };
    give(reader, op, &x, layer, (&weight, bias))
}

fn give(
    reader: &mut Reader,
    op: &Op<'_>,
    x: &Read,
    layer: Convolution,
    (weight, bias): (&Constant, Vec<f32>),
) -> Result<(), OnnxError> {
    let floats = weight.floats().ok_or_else(|| op.input_error("a constant of filters"))?.to_vec();
    let parameters = vec![("weight", weight.dims.clone(), floats), ("bias", vec![bias.len()], bias)];
    let layout = Layout::Rows(Form::Image);
    let value = reader.layer(op, AnyLayer::Convolution(layer), &[x], layout, parameters)?;
    reader.give_value(op, value)
}
