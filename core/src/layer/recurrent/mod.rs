//! Recurrent cells over the steps of a sequence: simple, GRU and LSTM.
//!
//! A row is a sequence of shape `[1, steps, features]`. One layer holds all steps, which share its
//! parameters: `a_t = x_t W + b` of all steps is one product, and so is each gradient of the
//! parameters, over rows and steps together.
//!
//! | file | cell | a step |
//! | --- | --- | --- |
//! | [`simple`] | Elman | `h' = tanh(a + h U)` |
//! | [`gru`] | GRU | `r, z = σ(a + h U)`, `n = tanh(a + r (h U + c))`, `h' = n + z (h - n)` |
//! | [`lstm`] | LSTM | `i, f, o = σ(a + h U)`, `g = tanh(a + h U)`, `c' = f c + i g`, |
//! | | | `h' = o tanh(c')` |
//!
//! In the backward pass the local derivatives of a step do not depend on the incoming gradient, so
//! those of all steps are computed together. Only one or two products a step
//! remain sequential.
//!
//! **Lengths.** A row may have a public [length](super::RowLengths), and is padded from there on. A
//! padded step keeps the hidden state and the cell state: after each step, a party copies the old
//! shares back in the rows that it pads. So the last state is that of the row's last step, and with
//! `reverse` the padded steps come first and keep the initial state. Backward, a padded step passes
//! the gradients of both states on as they are, and its own gradients are zero. All that is local.
//! Rounds, bytes and requests are those without lengths.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. The number of steps is
//!   public, and so are lengths.
//! - **Cost:** in rounds, for `T` steps, `s` and `t` rounds of the sigmoid and the tanh:
//!
//!   | cell | forward | backward, all steps at once | backward, a step |
//!   | --- | --- | --- | --- |
//!   | simple | `T (2 + t)` | 1 | 4 |
//!   | GRU | `T (6 + s + t)` | 5 | 4 |
//!   | LSTM | `T (6 + s + 2 t)` | 3 | 6 |
//!
//!   Step 0 saves the last round of its backward pass, unless the layer takes an initial state. A
//!   [clipped gradient](Recurrent::clip_gradient) adds a [`clamp`] a step, two in an LSTM. Words
//!   for each hidden unit and step, besides those of the sigmoid and the tanh:
//!
//!   | cell | forward: opened, truncated | backward: opened, truncated |
//!   | --- | --- | --- |
//!   | simple | 1, 1 | 3, 2 |
//!   | GRU | 5, 5 | 13, 10 |
//!   | LSTM | 7, 6 | 16, 12 |
//! - **Result:** each truncation errs by less than `2^-f`, 0 in the mean; sigmoid and tanh add the
//!   errors of their methods.
//! - **Needs:** pre-activations below `2^(k-2-2f)`. Gradients of states may grow from step to step
//!   until they leave the ring, sooner in 32 bits; `clip_gradient` prevents that.
//! - **Memory:** kept, in words for each hidden unit and step: simple 3, GRU 12, LSTM 16.
//! - **Source:** Elman (1990); Cho and others (EMNLP 2014), with the reset after the product, as
//!   PyTorch and ONNX's `linear_before_reset` have it; Hochreiter and Schmidhuber (1997) with the
//!   forget gate of Gers and others (2000). The order of the gates is PyTorch's. The backward form
//!   by products of derivatives is derived here; `core/tests/protocols/recurrent.rs`
//!   has the forward formulas, and holds gradients to finite differences.

pub mod gru;
pub mod lstm;
pub mod simple;
pub mod single;
mod steps;
mod through_time;

use super::{
    Backward, BackwardThroughTime, Describe, Fraction, Init, Input, Kept, Layer, Misfit, Numbers, Parameter, Saved,
    Shape, Site, Takes, between,
};
use crate::{
    function::{
        self,
        method::{Elementwise, Function, Method, periodic::Periodic},
        scalar::{AnyScalar, Sigmoid, Tanh},
    },
    link::Error,
    party::Party,
    protocol::{clamp::clamp, masked::Masked},
    word::Word,
};
use core::ops::Range;
use serde::{Deserialize, Serialize};
use steps::{OpenedTensors, StepOpenings};

/// A kind of cell.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CellKind {
    /// `h' = tanh(x W + h U + b)`.
    Simple,
    /// Gated recurrent unit: reset, update and candidate.
    Gru,
    /// Long short-term memory: input, forget, cell and output gates, and a cell state.
    Lstm,
}

/// The states that a recurrent layer gives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum States {
    /// The last one: a vector of `units`.
    #[default]
    Last,
    /// Those of all steps: `[1, steps, units]`.
    All,
    /// The last hidden state and, for an LSTM, the last cell state behind it: a vector of `units`
    /// or `2 units`, for another layer's `initial_state`.
    Carry,
}

/// A recurrent layer on `[1, steps, features]`. Parameters, in this order: `features` rows of
/// `gates × units` weights, `units` rows of `gates × units` recurrent weights, `gates × units`
/// biases; a GRU adds `units` recurrent biases of the candidate. Gates: simple 1; GRU 3 (`r, z,
/// n`); LSTM 4 (`i, f, g, o`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    /// The cell.
    pub cell: CellKind,
    /// Number of units, 1 to 4,096.
    pub units: u32,
    /// Hidden states that the layer gives; `last`, if left out.
    #[serde(default)]
    pub states: States,
    /// Runs from the last step to the first, so that `last` is the state after the first step;
    /// `all` keeps the order of the input. False, if left out.
    #[serde(default)]
    pub reverse: bool,
    /// Takes the first state from a second input, a vector of `units` words (`2 units` for an LSTM:
    /// hidden state, then cell state). Zeros, if left out.
    #[serde(default)]
    pub initial_state: bool,
    /// Clips each element of the gradient of a state to `[-clip_gradient, clip_gradient]`, at each
    /// step and for each record, before the mean over the batch; above 0 and below 1. Off, if left
    /// out. An LSTM needs it in 32-bit rings, and simple cells may: 0.25.
    #[serde(default)]
    pub clip_gradient: Option<Fraction>,
    /// Method of the gates' sigmoid, by the keys of an activation layer without `function`; a
    /// series of 5 sines on `[-8, 8]`, if left out.
    #[serde(default = "sigmoid", with = "sigmoid_form")]
    #[cfg_attr(feature = "files", schemars(with = "function::method::FunctionFile"))]
    pub sigmoid: Function,
    /// Method of the tanh of candidate and output, likewise; a series of 5 sines on `[-4, 4]`, if
    /// left out.
    #[serde(default = "tanh", with = "tanh_form")]
    #[cfg_attr(feature = "files", schemars(with = "function::method::FunctionFile"))]
    pub tanh: Function,
}

/// A series of 5 sines: one opening gives value and slope. Values are within 0.0013 of the sigmoid
/// and 0.0025 of the tanh.
const fn series(scalar: AnyScalar, interval: [f64; 2]) -> Function {
    Function { scalar, method: Method::Periodic(Periodic { terms: 5, interval, raw: false }) }
}

const fn sigmoid() -> Function {
    series(AnyScalar::Sigmoid(Sigmoid {}), [-8.0, 8.0])
}

const fn tanh() -> Function {
    series(AnyScalar::Tanh(Tanh {}), [-4.0, 4.0])
}

/// Declares the form of a function whose name follows from its key.
macro_rules! form {
    ($name:ident, $scalar:expr) => {
        mod $name {
            use crate::function::{method::Function, scalar::AnyScalar};
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(super) fn serialize<S: Serializer>(function: &Function, serializer: S) -> Result<S::Ok, S::Error> {
                #[cfg(feature = "files")]
                if serializer.is_human_readable() {
                    return crate::function::method::FunctionFile::from(*function).serialize(serializer);
                }
                function.serialize(serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Function, D::Error> {
                #[cfg(feature = "files")]
                if deserializer.is_human_readable() {
                    let file = crate::function::method::FunctionFile::deserialize(deserializer)?;
                    return file.of($scalar).map_err(serde::de::Error::custom);
                }
                let function = Function::deserialize(deserializer)?;
                if function.scalar != $scalar {
                    return Err(serde::de::Error::custom("another function than the key's"));
                }
                Ok(function)
            }
        }
    };
}
form!(sigmoid_form, AnyScalar::Sigmoid(crate::function::scalar::Sigmoid {}));
form!(tanh_form, AnyScalar::Tanh(crate::function::scalar::Tanh {}));

/// The sizes of a pass.
#[derive(Clone, Copy)]
struct SequenceSizes {
    rows: usize,
    steps: usize,
    features: usize,
    units: usize,
}

impl SequenceSizes {
    /// Words of a state of all rows.
    fn state(&self) -> usize {
        self.rows * self.units
    }

    /// Words of the states of all steps.
    fn all(&self) -> usize {
        self.steps * self.state()
    }
}

/// The functions of a cell, and the job's numbers that they need.
struct CellFunctions<'a, W> {
    numbers: function::Numbers,
    sigmoid: &'a dyn Elementwise<W>,
    tanh: &'a dyn Elementwise<W>,
    /// Bound of each element of a state's gradient.
    limit: Option<W>,
}

impl<W: Word> CellFunctions<'_, W> {
    fn frac_bits(&self) -> u32 {
        self.numbers.frac_bits
    }

    /// Clamps the gradient of a state to its bound.
    fn clamp_gradient(&self, party: &mut Party<'_, W>, gradient: &mut [W]) -> Result<(), Error> {
        match self.limit {
            Some(limit) => clamp(party, gradient, W::default().sub(limit), limit),
            None => Ok(()),
        }
    }
}

/// A cell: one step, and its derivatives.
trait Cell<W: Word> {
    /// Gates: blocks of `units` columns that products with input and state have.
    const GATES: usize;
    /// Words of a unit beside its hidden state: 1 for a cell state.
    const CELL_STATES: usize;
    /// Whether the last gate's product with the state has a bias of its own.
    const STATE_BIAS: bool;
    /// OpenedTensors that a step opens beside the state.
    const OPEN: usize;
    /// OpenedTensors of slopes that a step leaves.
    const SLOPES: usize;
    /// OpenedTensors of [`Cell::jacobian`].
    const JACOBIAN: usize;
    /// OpenedTensors of a step's gradients: those of the gates' inputs, and of the gates' products
    /// with the state where they differ.
    const DELTAS: usize;
    /// Where the gradients of the products with the state are: first gate, first tensor, how many.
    const STATE_DELTAS: &'static [[usize; 3]];

    /// Computes step `i`. `products` are `x W + b` and `h U` (a GRU's last gate with its recurrent
    /// bias), gate after gate, with `2 f` fraction bits. `state` is the hidden state and the cell
    /// state, which become those after the step. `kept` holds the opened tensors, the slopes of
    /// this step (empty in inference) and `i`.
    fn step(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        products: [&mut [W]; 2],
        state: [&mut [W]; 2],
        kept: (&mut StepOpenings<'_, W>, &mut [W], usize),
    ) -> Result<(), Error>;

    /// Computes and opens the local derivatives of all steps from the opened tensors and the
    /// slopes; returns the mask's name.
    fn jacobian(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        open: &OpenedTensors<'_, W>,
        slopes: &[W],
        out: &mut [W],
    ) -> Result<crate::correlation::View<'static>, Error>;

    /// Takes the gradients of hidden state and cell state back through step `i`. Writes `deltas`,
    /// the gradients of the pre-activations (`f` fraction bits), and `passed`, the part of the
    /// previous hidden state's gradient that does not go through `U` (`2 f`). The cell state's
    /// gradient becomes that of the previous step.
    fn step_back(
        party: &mut Party<'_, W>,
        functions: &CellFunctions<'_, W>,
        i: usize,
        tensors: [&OpenedTensors<'_, W>; 2],
        gradients: [&mut [W]; 2],
        out: [&mut [W]; 2],
    ) -> Result<(), Error>;
}

/// A fraction in units of `2^-f`.
fn in_units(fraction: Fraction, frac_bits: u32) -> u64 {
    (u64::from(fraction.factor) << frac_bits) >> fraction.shift
}

/// Calls a generic function with the layer's cell.
macro_rules! with_cell {
    ($layer:expr, $run:ident :: <$W:ident, _>($($argument:expr),* $(,)?)) => {
        match $layer.cell {
            CellKind::Simple => $run::<$W, simple::Simple>($($argument),*),
            CellKind::Gru => $run::<$W, gru::Gru>($($argument),*),
            CellKind::Lstm => $run::<$W, lstm::Lstm>($($argument),*),
        }
    };
}

impl Recurrent {
    /// Most units.
    pub const MAX_UNITS: u32 = 1 << 12;

    /// A layer with what job files may leave out.
    pub const fn new(cell: CellKind, units: u32) -> Self {
        Self {
            cell,
            units,
            states: States::Last,
            reverse: false,
            initial_state: false,
            clip_gradient: None,
            sigmoid: sigmoid(),
            tanh: tanh(),
        }
    }

    /// Gates, words of hidden and cell state, and recurrent biases.
    const fn counts(&self) -> [u32; 3] {
        match self.cell {
            CellKind::Simple => [1, self.units, 0],
            CellKind::Gru => [3, self.units, self.units],
            CellKind::Lstm => [4, 2 * self.units, 0],
        }
    }

    fn sizes<W: Word>(&self, site: &Site<'_, W>, rows: usize) -> SequenceSizes {
        let [steps, features] = site.input().image();
        SequenceSizes { rows, steps, features, units: self.units as usize }
    }

    fn functions<W: Word>(&self, site: &Site<'_, W>) -> CellFunctions<'_, W> {
        let limit = self.clip_gradient.map(|limit| W::from_u64(in_units(limit, site.frac_bits)));
        let numbers = function::Numbers { ring_bits: W::BITS, frac_bits: site.frac_bits };
        CellFunctions { numbers, sigmoid: &self.sigmoid, tanh: &self.tanh, limit }
    }

    /// Position in the sequence of the `i`-th step that runs.
    fn position(&self, i: usize, steps: usize) -> usize {
        if self.reverse { steps - 1 - i } else { i }
    }
}

impl Describe for Recurrent {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        between("units", self.units, 1, Self::MAX_UNITS)?;
        let [_, whole, _] = self.counts();
        let first = *inputs.first().ok_or(Misfit::Inputs { want: self.inputs(), got: 0 })?;
        let Shape([1, steps, _]) = first else { return Err(Misfit::Sequence { got: first }) };
        between("units (times steps)", self.units.saturating_mul(steps), 1, 1 << 24)?;
        if let Some(second) = inputs.get(1)
            && *second != Shape::vector(whole)
        {
            return Err(Misfit::State { want: whole, got: *second });
        }
        Ok(match self.states {
            States::Last => Shape::vector(self.units),
            States::All => Shape([1, steps, self.units]),
            States::Carry => Shape::vector(whole),
        })
    }

    fn inputs(&self) -> usize {
        1 + usize::from(self.initial_state)
    }

    fn parameters(&self, input: Shape, each: &mut dyn FnMut(Parameter)) {
        let ([gates, ..], features) = (self.counts(), input.0[2]);
        let mut matrix = |name, inputs: u32| {
            let init = Init::Glorot { fans: inputs.saturating_add(self.units) };
            let dims = [inputs, gates * self.units, 1, 1];
            each(Parameter { name, dims, axes: 2, transposed: true, init, extra_bits: 0 });
        };
        matrix("weight", features);
        matrix("recurrent_weight", self.units);
        let mut bias = |name, units| {
            let dims = [units, 1, 1, 1];
            each(Parameter { name, dims, axes: 1, transposed: false, init: Init::Zero, extra_bits: 0 });
        };
        bias("bias", gates * self.units);
        let [_, _, own] = self.counts();
        if own > 0 {
            bias("recurrent_bias", own);
        }
    }

    fn set_defaults(&mut self, numbers: &function::Numbers) {
        self.sigmoid = self.sigmoid.resolved(numbers);
        self.tanh = self.tanh.resolved(numbers);
    }

    fn check(&self, _: Shape, numbers: &Numbers) -> Result<(), Misfit> {
        if let Some(limit) = self.clip_gradient {
            limit.check("clip_gradient")?;
            if in_units(limit, numbers.frac_bits) == 0 {
                return Err(Misfit::BelowUnit { key: "clip_gradient", frac_bits: numbers.frac_bits });
            }
        }
        let numbers = function::Numbers { ring_bits: numbers.ring_bits, frac_bits: numbers.frac_bits };
        for function in [self.sigmoid, self.tanh] {
            function.check(&numbers).map_err(|misfit| Misfit::Function { misfit })?;
        }
        Ok(())
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Masked
    }

    fn gives(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Truncated
    }

    fn gives_gradient(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        2 * frac_bits
    }

    fn onnx(&self) -> &'static str {
        match self.cell {
            CellKind::Simple => "RNN",
            CellKind::Gru => "GRU",
            CellKind::Lstm => "LSTM",
        }
    }
}

impl<W: Word> Layer<W> for Recurrent {
    fn saved(&self, site: &Site<'_, W>, rows: usize) -> usize {
        with_cell!(self, saved_words::<W, _>(&self.sizes(site, rows)))
    }

    fn inference_words(&self, site: &Site<'_, W>, rows: usize) -> usize {
        with_cell!(self, step_words::<W, _>(&self.sizes(site, rows)))
    }

    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        use steps::forward;
        with_cell!(self, forward::<W, _>((self, &self.functions(site)), party, site, x, z, saved))
    }
}

/// Words that the steps leave for the backward pass: states, opened tensors, slopes, then
/// gradients, and that of the first hidden and cell state.
fn saved_words<W: Word, C: Cell<W>>(sizes: &SequenceSizes) -> usize {
    (1 + C::OPEN + C::SLOPES + C::DELTAS) * sizes.all() + (1 + C::CELL_STATES) * sizes.state()
}

/// Words that a step of inference opens beside the state.
fn step_words<W: Word, C: Cell<W>>(sizes: &SequenceSizes) -> usize {
    C::OPEN * sizes.state()
}

impl<W: Word> BackwardThroughTime<W> for Recurrent {
    fn backward_through_time(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        dz: Input<'_, W>,
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        use through_time::backward_through_time;
        with_cell!(self, backward_through_time::<W, _>(self, party, site, dz.shares().0, saved))
    }
}

impl<W: Word> Backward<W> for Recurrent {
    fn backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        _: Input<'_, W>,
        input: usize,
        dx: &mut [W],
        saved: Kept<'_, W>,
    ) -> Result<(), Error> {
        use through_time::input_gradient;
        with_cell!(self, input_gradient::<W, _>(self, party, site, input, dx, saved))
    }

    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Range<usize>,
        x: Masked<'_, W>,
        _: Option<Masked<'_, W>>,
        kept: Kept<'_, W>,
        gradient: &mut [W],
    ) -> Result<(), Error> {
        use through_time::parameter_gradient;
        with_cell!(self, parameter_gradient::<W, _>(self, party, site, x, kept, gradient))
    }

    fn through_time(&self) -> Option<&dyn BackwardThroughTime<W>> {
        Some(self)
    }
}
