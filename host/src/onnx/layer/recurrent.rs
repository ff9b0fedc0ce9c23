//! Recurrent layers: `RNN`, `GRU` and `LSTM` of one direction.
//!
//! ONNX has the steps before the rows, and its gates in another order: `z, r, h` of a GRU, `i, o,
//! f, c` of an LSTM, where the servers have `r, z, n` and `i, f, g, o`. A GRU resets behind the
//! product (`linear_before_reset`). Both biases of a gate are added up, but those of a GRU's
//! candidate.

use super::super::{
    OnnxError,
    reader::{Known, Layout, Op, Parameter, Reader, Value as Read},
    writer::{Form, Placed, Value, Writer, int, ints, text},
};
use symbolon_core::layer::{AnyLayer, CellKind, Recurrent, States};

/// For each gate of ONNX, the servers' gate.
fn gates(cell: CellKind) -> &'static [usize] {
    match cell {
        CellKind::Simple => &[0],
        CellKind::Gru => &[1, 0, 2],
        CellKind::Lstm => &[0, 3, 1, 2],
    }
}

/// Blocks of `values`, a gate each, in the order `gates`.
fn ordered(values: &[f32], gates: &[usize]) -> Vec<f32> {
    let block = values.len() / gates.len();
    gates.iter().flat_map(|gate| &values[gate * block..][..block]).copied().collect()
}

/// Blocks of `values` in ONNX's order, in the servers'.
fn own_order(values: &[f32], gates: &[usize]) -> Vec<f32> {
    let from = |own: usize| gates.iter().position(|gate| *gate == own).unwrap_or(own);
    let inverse: Vec<usize> = (0..gates.len()).map(from).collect();
    ordered(values, &inverse)
}

pub fn write(w: &mut Writer, layer: &Recurrent, at: &Placed<'_>) -> Result<Value, OnnxError> {
    let (gates, units) = (gates(layer.cell), layer.units as usize);
    let mut inputs = vec![steps_first(w, &at.inputs[0])];
    for (name, columns) in [("weight", at.inputs[0].shape.image()[1]), ("recurrent_weight", units)] {
        let values = ordered(&at.tensor(name)?.values, gates);
        inputs.push(w.floats(name, &[1, gates.len() * units, columns], &values));
    }
    let mut biases = ordered(&at.tensor("bias")?.values, gates);
    biases.resize(2 * gates.len() * units, 0.0);
    if layer.cell == CellKind::Gru {
        let candidate = 5 * units;
        biases[candidate..].copy_from_slice(&at.tensor("recurrent_bias")?.values);
    }
    inputs.push(w.floats("biases", &[1, biases.len()], &biases));
    inputs.push(at.lengths.unwrap_or_default().to_owned());
    if layer.initial_state {
        initial_state(w, layer, &at.inputs[1], &mut inputs);
    }
    let mut attributes = vec![int("hidden_size", layer.units.into())];
    if layer.reverse {
        attributes.push(text("direction", "reverse"));
    }
    if layer.cell == CellKind::Gru {
        attributes.push(int("linear_before_reset", 1));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let operator = match layer.cell {
        CellKind::Simple => "RNN",
        CellKind::Gru => "GRU",
        CellKind::Lstm => "LSTM",
    };
    let carries = layer.states == States::Carry && layer.cell == CellKind::Lstm;
    let wanted = [layer.states == States::All, layer.states != States::All, carries];
    let [all, last, cell] = w.outputs(operator, &inputs, attributes, wanted);
    Ok(states(w, at, &all, &last, &cell))
}

/// Rows of steps as steps of rows.
fn steps_first(w: &mut Writer, x: &Value) -> String {
    let x = w.formed(x, Form::Sequence);
    w.node("Transpose", &[&x], vec![ints("perm", [1, 0, 2])])
}

/// The first state as ONNX takes it: one direction, rows, units; of an LSTM in two parts.
fn initial_state(w: &mut Writer, layer: &Recurrent, state: &Value, inputs: &mut Vec<String>) {
    let state = w.formed(state, Form::Vector);
    let (units, axis) = (i64::from(layer.units), w.ints(&[0]));
    if layer.cell != CellKind::Lstm {
        inputs.push(w.node("Unsqueeze", &[&state, &axis], vec![]));
        return;
    }
    for from in [0, units] {
        let [from, to, features] = [w.ints(&[from]), w.ints(&[from + units]), w.ints(&[1])];
        let part = w.node("Slice", &[&state, &from, &to, &features], vec![]);
        inputs.push(w.node("Unsqueeze", &[&part, &axis], vec![]));
    }
}

/// The layer's value from the operator's outputs.
fn states(w: &mut Writer, at: &Placed<'_>, all: &str, last: &str, cell: &str) -> Value {
    if !all.is_empty() {
        let direction = w.ints(&[1]);
        let steps = w.node("Squeeze", &[all, &direction], vec![]);
        let name = w.node("Transpose", &[&steps], vec![ints("perm", [1, 0, 2])]);
        return at.gives(name, Form::Sequence);
    }
    let direction = w.ints(&[0]);
    let mut name = w.node("Squeeze", &[last, &direction], vec![]);
    if !cell.is_empty() {
        let cell = w.node("Squeeze", &[cell, &direction], vec![]);
        name = w.node("Concat", &[&name, &cell], vec![int("axis", 1)]);
    }
    at.gives(name, Form::Vector)
}

pub fn read(reader: &mut Reader, op: &Op<'_>) -> Result<(), OnnxError> {
    let known = ["hidden_size", "direction", "linear_before_reset", "activations", "layout"];
    op.knows(&known)?;
    op.fixed("layout", 0)?;
    let (cell, functions): (_, &[&[u8]]) = match &op.node.op_type[..] {
        "GRU" => (CellKind::Gru, &[b"Sigmoid", b"Tanh"]),
        "LSTM" => (CellKind::Lstm, &[b"Sigmoid", b"Tanh", b"Tanh"]),
        _ => (CellKind::Simple, &[b"Tanh"]),
    };
    if cell == CellKind::Gru && op.int("linear_before_reset", 0) == 0 {
        return Err(op.attribute_error("linear_before_reset"));
    }
    if op.attribute("activations").is_some_and(|given| given.strings != functions) {
        return Err(op.attribute_error("activations"));
    }
    let reverse = match op.text("direction") {
        None | Some(b"forward") => false,
        Some(b"reverse") => true,
        Some(_) => return Err(op.attribute_error("direction")),
    };
    let x = reader.plain(op, 0)?;
    if x.layout != Layout::StepsFirst {
        return Err(op.input_error("steps before rows as its input: a Transpose by 1, 0, 2"));
    }
    let units = reader.constant(op, 2).and_then(|weight| weight.dims.last().copied()).unwrap_or_default();
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let parameters = parameters(reader, op, (cell, units as usize), x.shape.image()[1])?;
    if op.input(4).is_some() && reader.values.get(op.input(4).unwrap_or_default()).is_none_or(is_not_lengths) {
        return Err(op.input_error("the lengths of the records as its lengths"));
    }
    op.takes(if cell == CellKind::Lstm { 7 } else { 6 })?;
    let state = read_state(reader, op, (cell, units as usize))?;
    let states = asked(reader, op, cell)?;
    let layer = Recurrent { states, reverse, initial_state: state.is_some(), ..Recurrent::new(cell, units) };
    let inputs: Vec<&Read> = [&x].into_iter().chain(&state).collect();
    let value = reader.layer(op, AnyLayer::Recurrent(layer), &inputs, Layout::OfSteps, parameters)?;
    give(reader, op, &layer, &value)
}

fn is_not_lengths(known: &Known) -> bool {
    !matches!(known, Known::Lengths)
}

/// The tensors as the servers have them.
fn parameters(
    reader: &Reader,
    op: &Op<'_>,
    (cell, units): (CellKind, usize),
    features: usize,
) -> Result<Vec<Parameter>, OnnxError> {
    let gates = gates(cell);
    let rows = gates.len() * units;
    let mut parameters = Vec::new();
    for (i, name, columns) in [(1, "weight", features), (2, "recurrent_weight", units)] {
        let values = reader.floats(op, i, &[1, rows, columns])?;
        parameters.push((name, vec![rows, columns], own_order(&values, gates)));
    }
    let biases = match op.input(3) {
        Some(_) => reader.floats(op, 3, &[1, 2 * rows])?,
        None => vec![0.0; 2 * rows],
    };
    let (input, state) = biases.split_at(rows);
    let mut bias: Vec<f32> = input.iter().zip(state).map(|(input, state)| input + state).collect();
    let candidate = rows - rows.min(units);
    if cell == CellKind::Gru {
        bias[candidate..].copy_from_slice(&input[candidate..]);
    }
    parameters.push(("bias", vec![rows], own_order(&bias, gates)));
    if cell == CellKind::Gru {
        parameters.push(("recurrent_bias", vec![units], state[candidate..].to_vec()));
    }
    Ok(parameters)
}

/// The states that other nodes read.
fn asked(reader: &Reader, op: &Op<'_>, cell: CellKind) -> Result<States, OnnxError> {
    let read = [0, 1, 2].map(|i| op.output(i).is_some_and(|name| reader.uses.contains_key(name)));
    match (read, cell) {
        ([true, false, false], _) => Ok(States::All),
        ([false, true, false], _) => Ok(States::Last),
        ([false, true, true], CellKind::Lstm) => Ok(States::Carry),
        _ => Err(op.input_error("either all states or the last one as its output")),
    }
}

/// The first state; `None` for zeros.
fn read_state(reader: &mut Reader, op: &Op<'_>, (cell, units): (CellKind, usize)) -> Result<Option<Read>, OnnxError> {
    let inputs: &[usize] = if cell == CellKind::Lstm { &[5, 6] } else { &[5] };
    let is_zero = |i: usize| match (op.input(i), reader.constant(op, i).and_then(|c| c.floats())) {
        (None, _) => true,
        (Some(_), Some(values)) => values.iter().all(|value| value.abs() < f32::MIN_POSITIVE),
        _ => false,
    };
    if inputs.iter().all(|i| is_zero(*i)) {
        return Ok(None);
    }
    let no = || op.input_error("a vector as its first state: hidden state, then cell state");
    let mut whole = None;
    for (i, from) in inputs.iter().zip([0, units]) {
        let state = reader.value(op, *i)?;
        let words = inputs.len() * units;
        let part = state.part.clone().unwrap_or(0..state.shape.words());
        let fits = state.layout == Layout::OfDirection && state.shape.words() == words && part == (from..from + units);
        if !fits || whole.as_ref().is_some_and(|whole: &Read| whole.origin != state.origin) {
            return Err(no());
        }
        whole = Some(state);
    }
    let whole = whole.ok_or_else(no)?;
    let whole = Read { part: None, ..whole };
    reader.settled(op, whole).map(Some)
}

/// Names the operator's outputs.
fn give(reader: &mut Reader, op: &Op<'_>, layer: &Recurrent, value: &Read) -> Result<(), OnnxError> {
    if layer.states == States::All {
        return reader.give(op, 0, Known::Value(value.clone()));
    }
    let units = layer.units as usize;
    let direction = Read { layout: Layout::OfDirection, ..value.clone() };
    if layer.states == States::Last {
        return reader.give(op, 1, Known::Value(direction));
    }
    for (i, from) in [(1, 0), (2, units)] {
        let part = Read { part: Some(from..from + units), ..direction.clone() };
        reader.give(op, i, Known::Value(part))?;
    }
    Ok(())
}
