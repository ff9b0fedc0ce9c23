//! Arithmetic with constants: the scale of records before the first layer, that of targets behind
//! the last one, biases, and factors that go into the weights before them.

use super::{
    OnnxError,
    constant::Constant,
    layer::{READERS, Read},
    reader::{Known, Layout, Op, Reader, Scaled, Value as Input},
    writer::{Form, Value, Writer, int},
};
use crate::{
    job::{Affine, ColumnScale, Data, Scale},
    onnx::proto::data_type,
};
use std::rc::Rc;
use symbolon_core::{
    function::scalar::AnyScalar,
    layer::{AnyLayer, Origin},
};

/// Most words that constants of their own scale.
const MAX_WORDS: usize = 1 << 18;
/// Most operations with a constant for each word.
const MAX_OPERATIONS: usize = 16;

/// The scale of each feature of a job.
pub fn columns(data: &Data) -> Vec<ColumnScale> {
    let features = data.features();
    let column = |i| match &data.scale {
        Scale::Columns(columns) => columns.get(i).copied(),
        scale => scale.affine(i, features).map(ColumnScale::Affine),
    };
    (0..features).filter_map(column).collect()
}

/// The greatest 32-bit float that is not above `threshold`: records that exceed one exceed the
/// other.
#[allow(clippy::cast_possible_truncation)] // rounded downwards
pub fn threshold(threshold: f64) -> f32 {
    let near = threshold as f32;
    if f64::from(near) > threshold { near.next_down() } else { near }
}

/// Writes the scale of the records.
#[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
pub fn write(w: &mut Writer, data: &Data, x: Value) -> Value {
    w.prefix = "scale".to_owned();
    if let Scale::Divide(by) = data.scale {
        let name = divided(w, &x.name, &[], &[by as f32]);
        return Value { name, ..x };
    }
    let dims = match (&data.scale, x.form) {
        (Scale::Channels(channels), Form::Image) => vec![channels.len(), 1, 1],
        _ => x.form.dims(x.shape).iter().map(|dim| usize::try_from(*dim).unwrap_or_default()).collect(),
    };
    let columns = match (&data.scale, x.form) {
        (Scale::Channels(channels), Form::Image) => channels.iter().copied().map(ColumnScale::Affine).collect(),
        _ => columns(data),
    };
    let affine = |column: &ColumnScale| column.affine().unwrap_or(Affine { offset: 0.0, divide: 1.0 });
    let offsets: Vec<f32> = columns.iter().map(|column| affine(column).offset as f32).collect();
    let divisors: Vec<f32> = columns.iter().map(|column| affine(column).divide as f32).collect();
    let mut name = x.name.clone();
    if offsets.iter().any(|offset| *offset != 0.0) {
        let offsets = w.floats("offset", &dims, &offsets);
        name = w.node("Sub", &[&name, &offsets], vec![]);
    }
    name = divided(w, &name, &dims, &divisors);
    let name = thresholds(w, &x.name, name, (&dims, &columns));
    Value { name, ..x }
}

fn divided(w: &mut Writer, name: &str, dims: &[usize], divisors: &[f32]) -> String {
    if divisors.iter().all(|divisor| (*divisor - 1.0).abs() < f32::EPSILON) {
        return name.to_owned();
    }
    let divisors = w.floats("divide", dims, divisors);
    w.node("Div", &[name, &divisors], vec![])
}

/// Features that are comparisons with a threshold, among the `scaled` ones.
fn thresholds(w: &mut Writer, raw: &str, scaled: String, (dims, columns): (&[usize], &[ColumnScale])) -> String {
    let above = |column: &ColumnScale| match column {
        ColumnScale::Above(at) => Some(threshold(*at)),
        ColumnScale::Affine(_) => None,
    };
    if !columns.iter().any(|column| above(column).is_some()) {
        return scaled;
    }
    let at: Vec<f32> = columns.iter().map(|column| above(column).unwrap_or_default()).collect();
    let mask: Vec<u8> = columns.iter().map(|column| u8::from(above(column).is_some())).collect();
    let at = w.floats("above", dims, &at);
    let mask = w.constant("scale/is_above".to_owned(), dims, data_type::BOOL, mask);
    let above = w.node("Greater", &[raw, &at], vec![]);
    let bits = w.node("Cast", &[&above], vec![int("to", data_type::FLOAT.into())]);
    w.node("Where", &[&mask, &bits, &scaled], vec![])
}

/// Writes the scale of a regression's targets: `offset + divide * output`.
#[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
pub fn write_targets(w: &mut Writer, targets: &[Affine], mut name: String) -> String {
    w.prefix = "target".to_owned();
    let factors: Vec<f32> = targets.iter().map(|target| target.divide as f32).collect();
    let offsets: Vec<f32> = targets.iter().map(|target| target.offset as f32).collect();
    if factors.iter().any(|factor| (*factor - 1.0).abs() > f32::EPSILON) {
        let factors = w.floats("divide", &[factors.len()], &factors);
        name = w.node("Mul", &[&name, &factors], vec![]);
    }
    if offsets.iter().any(|offset| *offset != 0.0) {
        let offsets = w.floats("offset", &[offsets.len()], &offsets);
        name = w.node("Add", &[&name, &offsets], vec![]);
    }
    name
}

/// The words of a constant that is repeated over rows of `dims`.
fn repeated(constant: &Constant, dims: &[i64]) -> Option<Vec<f32>> {
    let dims: Vec<usize> = dims.iter().map(|dim| usize::try_from(*dim)).collect::<Result<_, _>>().ok()?;
    let words = dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim))?;
    let mut own = constant.dims.clone();
    while own.len() > dims.len() && own[0] == 1 {
        own.remove(0);
    }
    if words > MAX_WORDS || own.len() > dims.len() {
        return None;
    }
    let lead = dims.len() - own.len();
    let fits = own.iter().zip(&dims[lead..]).all(|(own, dim)| own == dim || *own == 1);
    let floats = constant.floats()?;
    let at = |word: usize| {
        let (mut rest, mut index, mut stride) = (word, 0, 1);
        for (i, dim) in dims.iter().enumerate().rev() {
            let place = rest % dim;
            rest /= dim;
            if i >= lead && own[i - lead] > 1 {
                index += place * stride;
                stride *= own[i - lead];
            }
        }
        index
    };
    if !fits { None } else { (0..words).map(|word| floats.get(at(word)).copied()).collect() }
}

/// Reads `Add`, `Sub`, `Mul` and `Div`: of two values, or of a value and a constant.
pub fn read(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let constant = [0, 1].map(|i| reader.constant(op, i).cloned());
    let (i, constant) = match (constant, &op.node.op_type[..]) {
        ([None, None], "Add") => return super::layer::read_add(reader, op),
        ([None, None], "Mul") => return super::layer::read_square(reader, op),
        ([None, Some(constant)], _) => (0, constant),
        ([Some(constant), None], "Div") if constant.one().is_some_and(|one| (one - 1.0).abs() < f32::EPSILON) => {
            return super::layer::read_inverse(reader, op);
        }
        ([Some(constant), None], "Add" | "Sub" | "Mul") => (1, constant),
        _ => return Err(op.arithmetic_error()),
    };
    let value = reader.value(op, i)?;
    if op.node.op_type == "Add" && value.lacks_bias && !value.is_shared && add_bias(reader, &value, &constant) {
        return reader.give_value(op, Input { lacks_bias: false, ..value });
    }
    let Layout::Rows(form) = value.layout else { return Err(op.arithmetic_error()) };
    let words = repeated(&constant, &form.dims(value.shape)).ok_or_else(|| op.arithmetic_error())?;
    let operator = if i == 1 && op.node.op_type == "Sub" { "from" } else { &op.node.op_type };
    with_constant(reader, op, value, operator, &words)
}

/// Appends arithmetic to a value.
fn with_constant(
    reader: &mut Reader,
    op: &Op<'_>,
    value: Input,
    operator: &str,
    words: &[f32],
) -> Result<(), OnnxError> {
    reader.arithmetic += 1;
    if reader.arithmetic > MAX_OPERATIONS {
        return Err(OnnxError::TooMany {
            of: "operations with constants",
            got: reader.arithmetic,
            most: MAX_OPERATIONS,
        });
    }
    let one = Scaled::By(Affine { offset: 0.0, divide: 1.0 });
    let before = value.scaled.clone().unwrap_or_else(|| vec![one; words.len()].into());
    let scaled = before.iter().zip(words).map(|(before, word)| {
        let (Scaled::By(Affine { offset, divide }), c) = (*before, f64::from(*word)) else { return None };
        let (offset, divide) = match operator {
            "Add" => (offset - c * divide, divide),
            "Sub" => (offset + c * divide, divide),
            "Mul" => (offset, divide / c),
            "Div" => (offset, divide * c),
            _ => (offset + c * divide, -divide), // c - x
        };
        let is_sound = offset.is_finite() && divide.is_finite() && divide != 0.0;
        is_sound.then_some(Scaled::By(Affine { offset, divide }))
    });
    let scaled: Rc<[Scaled]> = scaled.collect::<Option<_>>().ok_or_else(|| op.arithmetic_error())?;
    let is_one = scaled.iter().all(|scaled| *scaled == one);
    let scaled = Some(scaled).filter(|_| !is_one);
    reader.give_value(op, Input { scaled, lacks_bias: false, ..value })
}

/// Adds a constant to the biases of a dense layer; `false` if it is not one for each unit.
fn add_bias(reader: &mut Reader, value: &Input, constant: &Constant) -> bool {
    let Origin::Node(i) = value.origin else { return false };
    let (Some(floats), Some(parameters)) = (constant.floats(), reader.parameters.get_mut(usize::from(i))) else {
        return false;
    };
    let is_row = constant.dims.iter().rev().skip(1).all(|dim| *dim == 1);
    match parameters.iter_mut().find(|(name, ..)| *name == "bias") {
        Some((_, _, bias)) if is_row && (floats.len() == bias.len() || floats.len() == 1) => {
            bias.iter_mut().zip(floats.iter().cycle()).for_each(|(bias, c)| *bias += c);
            true
        }
        _ => false,
    }
}

impl Reader {
    /// Puts arithmetic behind a layer into its parameters; `None` where that is not the same.
    pub(super) fn fold(&mut self, value: &Input, scaled: &[Scaled]) -> Option<()> {
        let (i, layer) = self.layer_of(value).filter(|_| !value.is_shared)?;
        let layer = *layer;
        let affine = |scaled: &Scaled| match scaled {
            Scaled::By(affine) => Some(*affine),
            Scaled::Above(_) => None,
        };
        if is_binary_logarithm(&layer, scaled) {
            self.network.nodes[i].layer = super::layer::named("logarithm-2")?;
            return Some(());
        }
        // Words of one unit: neighbours in an image, one a step in a sequence.
        let (units, unit): (usize, Box<dyn Fn(usize) -> usize>) = match layer {
            AnyLayer::Dense(layer) => (layer.units as usize, Box::new(move |word| word % layer.units as usize)),
            AnyLayer::Convolution(layer) => {
                let places: usize = value.shape.image().iter().product();
                (layer.filters as usize, Box::new(move |word| word / places))
            }
            _ => return None,
        };
        let mut own: Vec<Option<Affine>> = vec![None; units];
        for (word, scaled) in scaled.iter().enumerate() {
            let (affine, own) = (affine(scaled)?, own.get_mut(unit(word))?);
            if *own.get_or_insert(affine) != affine {
                return None;
            }
        }
        let own: Vec<Affine> = own.into_iter().collect::<Option<_>>()?;
        for (name, _, values) in &mut self.parameters[i] {
            let each = values.len() / units;
            for (values, own) in values.chunks_exact_mut(each.max(1)).zip(&own) {
                let offset = if *name == "bias" { own.offset } else { 0.0 };
                #[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
                values.iter_mut().for_each(|x| *x = ((f64::from(*x) - offset) / own.divide) as f32);
            }
        }
        Some(())
    }
}

fn is_binary_logarithm(layer: &AnyLayer, scaled: &[Scaled]) -> bool {
    let is = |scaled: &Scaled| match scaled {
        Scaled::By(Affine { offset, divide }) => offset.abs() < 1e-9 && (divide - std::f64::consts::LN_2).abs() < 1e-6,
        Scaled::Above(_) => false,
    };
    matches!(layer, AnyLayer::Activation(layer) if matches!(layer.function.scalar, AnyScalar::Logarithm(_)))
        && scaled.iter().all(is)
}

/// scikit-learn's scaling: `(x - offset) * scale`.
pub fn read_scaler(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&["offset", "scale"])?;
    let mut value = reader.value(op, 0)?;
    let Layout::Rows(form) = value.layout else { return Err(op.arithmetic_error()) };
    let dims = form.dims(value.shape);
    for (name, operator) in [("offset", "Sub"), ("scale", "Mul")] {
        let Some(floats) = op.attribute(name).map(|attribute| &attribute.floats).filter(|list| !list.is_empty()) else {
            continue;
        };
        let dims_own = if floats.len() == 1 { vec![] } else { vec![floats.len()] };
        let constant = Constant { dims: dims_own, values: super::constant::Values::Floats(floats.clone()) };
        let words = repeated(&constant, &dims).ok_or_else(|| op.attribute_error(name))?;
        with_constant(reader, op, value, operator, &words)?;
        value = match op.output(0).and_then(|output| reader.values.remove(output)) {
            Some(Known::Value(value)) => value,
            _ => return Err(op.operator_error()),
        };
    }
    reader.give_value(op, value)
}

/// A comparison of each feature with a constant.
pub fn read_greater(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let value = reader.value(op, 0)?;
    let constant = reader.constant(op, 1).cloned().ok_or_else(|| op.arithmetic_error())?;
    let Layout::Rows(form) = value.layout else { return Err(op.arithmetic_error()) };
    if value.origin != Origin::Data || value.scaled.is_some() {
        return Err(op.arithmetic_error());
    }
    let at = repeated(&constant, &form.dims(value.shape)).ok_or_else(|| op.arithmetic_error())?;
    reader.give(op, 0, Known::Above(value, at.into_iter().map(f64::from).collect()))
}

/// Comparisons where a constant says so, among scaled features.
pub fn read_where(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    op.knows(&[])?;
    let mask = reader.constant(op, 0).and_then(|mask| mask.ints()).map(<[i64]>::to_vec);
    let (Some(mask), Known::Above(_, at)) = (mask, reader.known(op, 1)?) else { return Err(op.arithmetic_error()) };
    let value = reader.value(op, 2)?;
    if value.origin != Origin::Data || mask.len() != at.len() {
        return Err(op.arithmetic_error());
    }
    let one = Scaled::By(Affine { offset: 0.0, divide: 1.0 });
    let before = value.scaled.clone().unwrap_or_else(|| vec![one; at.len()].into());
    let merged = before.iter().zip(mask.iter().zip(&at));
    let merged = merged.map(|(before, (mask, at))| if *mask == 0 { *before } else { Scaled::Above(*at) }).collect();
    reader.give_value(op, Input { scaled: Some(merged), ..value })
}

/// The reader of an operator.
pub fn reader_of(operator: &str) -> Option<Read> {
    READERS.iter().find(|(name, _)| *name == operator).map(|(_, read)| *read)
}
