//! Dense layers: `Gemm` of vectors; `MatMul` and `Add` of the steps of a sequence, and of foreign
//! networks.

use super::super::{
    OnnxError,
    reader::{Layout, Op, Parameter, Reader},
    writer::{Form, Placed, Value, Writer, int},
};
use crate::onnx::constant::Constant;
use symbolon_core::layer::{AnyLayer, Dense};

pub fn write(w: &mut Writer, layer: Dense, at: &Placed<'_>) -> Result<Value, OnnxError> {
    let (weight, bias) = (at.tensor("weight")?, at.tensor("bias")?);
    if layer.each_step {
        let x = w.formed(&at.inputs[0], Form::Sequence);
        let inputs = at.inputs[0].shape.image()[1];
        let columns = columns(&weight.values, inputs);
        let weight = w.floats("weight", &[inputs, layer.units as usize], &columns);
        let bias = w.floats("bias", &bias.shape, &bias.values);
        let products = w.node("MatMul", &[&x, &weight], vec![]);
        let name = w.node("Add", &[&products, &bias], vec![]);
        return Ok(at.gives(name, Form::Sequence));
    }
    let x = w.formed(&at.inputs[0], Form::Vector);
    let weight = w.floats("weight", &weight.shape, &weight.values);
    let bias = w.floats("bias", &bias.shape, &bias.values);
    let name = w.node("Gemm", &[&x, &weight, &bias], vec![int("transB", 1)]);
    Ok(at.gives(name, Form::Vector))
}

/// Columns of a matrix of `cols` columns, one after the other.
fn columns(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols).copied()).collect()
}

/// The weight that input 1 is, as `units, inputs`.
fn weight(reader: &Reader, op: &Op<'_>, is_transposed: bool) -> Result<Constant, OnnxError> {
    let constant = reader.constant(op, 1).filter(|constant| constant.dims.len() == 2 && constant.floats().is_some());
    let constant = constant.ok_or_else(|| op.input_error("a constant matrix of weights"))?;
    if is_transposed {
        return Ok(constant.clone());
    }
    constant.transposed().ok_or_else(|| op.input_error("a constant matrix of weights"))
}

fn parameters(weight: Constant, scale: f32, bias: Vec<f32>) -> Vec<Parameter> {
    let values = weight.floats().unwrap_or_default().iter().map(|w| w * scale).collect();
    vec![("weight", weight.dims, values), ("bias", vec![bias.len()], bias)]
}

fn units(weight: &Constant) -> u32 {
    u32::try_from(weight.dims[0]).unwrap_or(u32::MAX)
}

pub fn read_gemm(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["alpha", "beta", "transA", "transB"])?;
    op.fixed("transA", 0)?;
    let x = reader.formed(op, 0, &[Form::Vector])?;
    let weight = weight(reader, op, op.int("transB", 0) != 0)?;
    let beta = op.float("beta", 1.0);
    let rows = weight.dims[0];
    let bias = match op.input(2) {
        None => vec![0.0; rows],
        Some(_) => {
            let bias = reader.constant(op, 2).and_then(Constant::floats);
            let bias = bias.filter(|bias| bias.len() == rows || bias.len() == 1);
            let bias = bias.ok_or_else(|| op.input_error("a constant bias for each unit"))?;
            bias.iter().cycle().take(rows).map(|b| b * beta).collect()
        }
    };
    give(reader, op, &x, (weight, op.float("alpha", 1.0), bias), Dense::new)
}

pub fn read_matmul(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let x = reader.formed(op, 0, &[Form::Vector, Form::Sequence])?;
    let weight = weight(reader, op, false)?;
    let bias = vec![0.0; weight.dims[0]];
    let each_step = x.layout == Layout::Rows(Form::Sequence);
    give(reader, op, &x, (weight, 1.0, bias), |units| Dense { units, each_step })
}

/// Appends the layer, if its weights fit the value.
fn give(
    reader: &mut Reader,
    op: &Op<'_>,
    x: &super::super::reader::Value,
    (weight, scale, bias): (Constant, f32, Vec<f32>),
    layer: impl Fn(u32) -> Dense,
) -> Result<(), OnnxError> {
    let layer = layer(units(&weight));
    let inputs = if layer.each_step { x.shape.image()[1] } else { x.shape.words() };
    if weight.dims[1] != inputs {
        return Err(op.input_error("as many weights as inputs"));
    }
    let parameters = parameters(weight, scale, bias);
    let mut value = reader.layer(op, AnyLayer::Dense(layer), &[x], x.layout, parameters)?;
    value.lacks_bias = op.node.op_type == "MatMul";
    reader.give_value(op, value)
}
