//! Activations: the operator of the real function.

use super::{
    super::{
        OnnxError,
        reader::{Op, Reader},
        writer::{Placed, Value, Writer},
    },
    pointwise,
};
use symbolon_core::{
    function::{
        Numbers,
        method::Function,
        scalar::{AnyScalar, Power},
    },
    layer::{Activation, AnyLayer},
};

/// The opset from which `Gelu` is an operator.
const OPSET_OF_GELU: i64 = 20;

pub fn write(w: &mut Writer, layer: &Activation, at: &Placed<'_>) -> Value {
    let x = at.inputs[0].name.as_str();
    let scalar = layer.function.scalar;
    let name = match scalar {
        AnyScalar::Exponential2(_) => {
            let base = w.scalar(2.0);
            w.node("Pow", &[&base, x], vec![])
        }
        AnyScalar::Logarithm2(_) => {
            let (logarithm, factor) = (w.node("Log", &[x], vec![]), w.scalar(std::f64::consts::LOG2_E));
            w.node("Mul", &[&logarithm, &factor], vec![])
        }
        AnyScalar::InverseSquareRoot(_) => power(w, x, -0.5),
        AnyScalar::Power(Power { exponent }) => power(w, x, exponent.into()),
        _ => {
            if matches!(scalar, AnyScalar::Gelu(_)) {
                w.opset = w.opset.max(OPSET_OF_GELU);
            }
            let known = OPERATORS.iter().find(|(name, _)| *name == scalar.name());
            w.node(known.map_or("Identity", |(_, operator)| operator), &[x], vec![])
        }
    };
    at.gives(name, at.inputs[0].form)
}

fn power(w: &mut Writer, x: &str, exponent: f64) -> String {
    let exponent = w.scalar(exponent);
    w.node("Pow", &[x, &exponent], vec![])
}

/// Functions that are one operator, by their names in job files.
const OPERATORS: &[(&str, &str)] = &[
    ("reciprocal", "Reciprocal"),
    ("exponential", "Exp"),
    ("logarithm", "Log"),
    ("square-root", "Sqrt"),
    ("sigmoid", "Sigmoid"),
    ("tanh", "Tanh"),
    ("softplus", "Softplus"),
    ("gelu", "Gelu"),
    ("erf", "Erf"),
    ("sine", "Sin"),
    ("cosine", "Cos"),
    ("absolute", "Abs"),
    ("sign", "Sign"),
];

/// The function under its name in job files, by its default method in 64-bit rings.
pub fn named(name: &str) -> Option<AnyLayer> {
    AnyScalar::all().find(|scalar| scalar.name() == name).map(of)
}

fn of(scalar: AnyScalar) -> AnyLayer {
    let function = Function::by_default(scalar, &Numbers { ring_bits: 64, frac_bits: 16 });
    AnyLayer::Activation(Activation { function })
}

pub fn read(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["approximate"])?;
    if op.text("approximate").is_some_and(|text| text != b"none") {
        return Err(op.attribute_error("approximate"));
    }
    let known = OPERATORS.iter().find(|(_, operator)| *operator == op.node.op_type);
    let layer = known.and_then(|(name, _)| named(name)).ok_or_else(|| op.operator_error())?;
    pointwise::read(reader, op, layer)
}

/// `1 / x`, with the 1 as input 0.
pub fn read_inverse(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let layer = named("reciprocal").ok_or_else(|| op.operator_error())?;
    let x = reader.plain(op, 1)?;
    let value = reader.layer(op, layer, &[&x], x.layout, vec![])?;
    reader.give_value(op, value)
}

/// A whole power of `x`, a root or its inverse, or a power of two.
#[allow(clippy::cast_possible_truncation)] // a whole number in range
pub fn read_power(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let one = |i| reader.constant(op, i).and_then(|constant| constant.one().or_else(|| whole(constant.ints()?)));
    let is = |value: f32, want: f32| (value - want).abs() < f32::EPSILON;
    if one(0).is_some_and(|base| is(base, 2.0)) {
        let layer = named("exponential-2").ok_or_else(|| op.operator_error())?;
        let x = reader.plain(op, 1)?;
        let value = reader.layer(op, layer, &[&x], x.layout, vec![])?;
        return reader.give_value(op, value);
    }
    let exponent = one(1).ok_or_else(|| op.input_error("a constant exponent"))?;
    let layer = if is(exponent, -0.5) {
        named("inverse-square-root")
    } else if is(exponent, 0.5) {
        named("square-root")
    } else if is(exponent, exponent.round()) && (1.0..=8.0).contains(&exponent.abs()) {
        Some(of(AnyScalar::Power(Power { exponent: exponent.round() as i8 })))
    } else {
        None
    };
    let layer = layer.ok_or_else(|| op.input_error("an exponent that an activation has"))?;
    pointwise::read(reader, op, layer)
}

#[allow(clippy::cast_precision_loss)] // exponents are small
fn whole(ints: &[i64]) -> Option<f32> {
    match ints {
        [value] => Some(*value as f32),
        _ => None,
    }
}
