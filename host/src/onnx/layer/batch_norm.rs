//! Batch normalisation: `BatchNormalization` by the running statistics.
//!
//! The servers take one of few constants `r` for `1 / √(V + ε)`. The graph's scale of a channel is
//! `γ r √(V + ε)`, so that both compute `γ r (x - μ) + β`; reading divides by that factor.

use super::super::{
    OnnxError,
    reader::{Layout, Op, Reader},
    writer::{Form, Placed, Value, Writer, float},
};
use symbolon_core::layer::{AnyLayer, BatchNorm, Fraction};

/// Names of the tensors, in the order of the operator's inputs.
const TENSORS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// `r √(V + ε)` of a running variance, with the `ε` of the graph.
fn factor(layer: BatchNorm, frac_bits: u32, (variance, epsilon): (f64, f64), own: f64) -> f64 {
    layer.vartime_public_root(own, frac_bits) * (variance + epsilon).max(0.0).sqrt()
}

#[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
pub fn write(w: &mut Writer, layer: BatchNorm, at: &Placed<'_>) -> Result<Value, OnnxError> {
    let form = if at.inputs[0].form == Form::Sequence { Form::Image } else { at.inputs[0].form };
    let x = w.formed(&at.inputs[0], form);
    let epsilon = f64::from(layer.epsilon_log2).exp2();
    let variances = &at.tensor("running_var")?.values;
    let mut names = Vec::new();
    for name in TENSORS {
        let tensor = at.tensor(name)?;
        let scaled = |(w, v): (&f32, &f32)| {
            let variance = f64::from(*v);
            (f64::from(*w) * factor(layer, at.frac_bits, (variance, epsilon), variance)) as f32
        };
        let values = match name {
            "weight" => tensor.values.iter().zip(variances).map(scaled).collect(),
            _ => tensor.values.clone(),
        };
        names.push(w.floats(name, &tensor.shape, &values));
    }
    let inputs: Vec<&str> = [&x].into_iter().chain(&names).map(String::as_str).collect();
    let attributes = vec![float("epsilon", epsilon as f32), float("momentum", 1.0 - layer.momentum.value() as f32)];
    let name = w.node("BatchNormalization", &inputs, attributes);
    Ok(at.gives(name, form))
}

pub fn read(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["epsilon", "momentum", "training_mode", "spatial"])?;
    op.fixed("training_mode", 0)?;
    op.fixed("spatial", 1)?;
    let x = reader.formed(op, 0, &[Form::Vector, Form::Image])?;
    let channels = x.shape.channels();
    let mut parameters = Vec::new();
    for (i, name) in TENSORS.into_iter().enumerate() {
        parameters.push((name, vec![channels], reader.floats(op, i + 1, &[channels])?));
    }
    let epsilon = op.float("epsilon", 1e-5);
    if !(1e-30..=1e6).contains(&epsilon) {
        return Err(op.attribute_error("epsilon"));
    }
    parameters.push(("epsilon", vec![1], vec![epsilon]));
    #[allow(clippy::cast_possible_truncation)] // in the range of powers that a 32-bit ring has
    let epsilon_log2 = f64::from(epsilon).log2().round().clamp(-14.0, 0.0) as i8;
    let momentum = Fraction::nearest(f64::from(1.0 - op.float("momentum", 0.9)));
    let momentum = momentum.filter(|m| m.factor > 0).unwrap_or(Fraction { factor: 1, shift: 3 });
    let layer = AnyLayer::BatchNorm(BatchNorm { epsilon_log2, momentum, guard_bits: 8 });
    let value = reader.layer(op, layer, &[&x], Layout::Rows(rows_form(x.layout)), parameters)?;
    reader.give_value(op, value)
}

fn rows_form(layout: Layout) -> Form {
    match layout {
        Layout::Rows(form) => form,
        _ => Form::Vector,
    }
}

/// The layer's tensors from those of a graph whose `ε` may be another: `weight` and `running_var`
/// as the servers need them, in place.
#[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
pub fn parameters(layer: BatchNorm, frac_bits: u32, epsilon: f32, weights: &mut [f32], variances: &mut [f32]) {
    let (own, epsilon) = (f64::from(layer.epsilon_log2).exp2(), f64::from(epsilon));
    for (weight, variance) in weights.iter_mut().zip(variances) {
        let given = f64::from(*variance);
        let kept = (given + epsilon - own).max(0.0);
        let kept = if (kept - given).abs() < 1e-6 * own { given } else { kept };
        *weight = (f64::from(*weight) / factor(layer, frac_bits, (given, epsilon), kept)) as f32;
        *variance = kept as f32;
    }
}
