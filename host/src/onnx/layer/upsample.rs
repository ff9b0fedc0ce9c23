//! Enlarged images: `Resize` to the nearest element, by whole factors.

use super::super::{
    OnnxError,
    reader::{Layout, Op, Reader},
    writer::{Form, Placed, Value, Writer, text},
};
use symbolon_core::layer::{AnyLayer, Size, Upsample};

pub fn write(w: &mut Writer, layer: Upsample, at: &Placed<'_>) -> Value {
    let x = w.formed(&at.inputs[0], Form::Image);
    let [down, across] = layer.factor.0.map(f32::from);
    let scales = w.floats("scales", &[4], &[1.0, 1.0, down, across]);
    let attributes = vec![
        text("mode", "nearest"),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"),
    ];
    let name = w.node("Resize", &[&x, "", &scales], attributes);
    at.gives(name, Form::Image)
}

/// With whole factors, both modes of rounding give each element its own window.
pub fn read(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let known = ["mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "extrapolation_value"];
    op.knows(&known)?;
    let is = |name, default: &'static [u8], texts: &[&[u8]]| {
        let got = op.text(name).unwrap_or(default);
        if texts.contains(&got) { Ok(()) } else { Err(op.attribute_error(name)) }
    };
    is("mode", b"nearest", &[b"nearest"])?;
    match op.text("coordinate_transformation_mode").unwrap_or(b"half_pixel") {
        b"asymmetric" => is("nearest_mode", b"round_prefer_floor", &[b"floor"])?,
        b"half_pixel" => is("nearest_mode", b"round_prefer_floor", &[b"round_prefer_floor", b"round_prefer_ceil"])?,
        _ => return Err(op.attribute_error("coordinate_transformation_mode")),
    }
    let x = reader.formed(op, 0, &[Form::Image])?;
    let factor = factors(reader, op, x.shape.image()).ok_or_else(|| op.input_error("whole factors of images"))?;
    let layer = AnyLayer::Upsample(Upsample { factor });
    let value = reader.layer(op, layer, &[&x], Layout::Rows(Form::Image), vec![])?;
    reader.give_value(op, value)
}

/// The factors, from `scales` or from `sizes`.
fn factors(reader: &Reader, op: &Op<'_>, image: [usize; 2]) -> Option<Size> {
    if let Some(scales) = reader.constant(op, 2).and_then(|scales| scales.floats()).filter(|scales| !scales.is_empty())
    {
        let &[rows, channels, down, across] = scales else { return None };
        return Some(Size([whole(down)?, whole(across)?]))
            .filter(|_| whole(rows) == Some(1) && whole(channels) == Some(1));
    }
    let &[_, _, height, width] = reader.constant(op, 3)?.ints()? else { return None };
    let times = |to: i64, from: usize| {
        let to = usize::try_from(to).ok()?;
        u16::try_from(to.checked_div(from)?).ok().filter(|_| to.is_multiple_of(from))
    };
    Some(Size([times(height, image[0])?, times(width, image[1])?]))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range
fn whole(value: f32) -> Option<u16> {
    ((1.0..=65535.0).contains(&value) && value.fract().abs() < f32::EPSILON).then_some(value as u16)
}
