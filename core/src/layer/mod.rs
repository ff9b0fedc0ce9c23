//! Layers and the graphs that they make: one file a layer.
//!
//! A layer is its own description: a few public numbers, `Copy`, serialisable without an allocator.
//! It holds no parameter, no buffer and no word type. So the struct that a job file spells is the
//! struct whose methods run in the plan, at the dealer, at both servers, in the clear engine and on
//! a microcontroller.
//!
//! **Values have forms.** A value is a share with some number of fraction bits, or it is masked and
//! open. Linear layers take masked values and give sums of products; nonlinear layers take shares
//! of any scale. Gradients go through the same forms backwards. The [graph](Graph) alone puts a
//! truncation or an opening between two layers, exactly where their forms differ. So each value is
//! truncated once and opened once, in every network.
//!
//! | file | layer | forward, rounds | kind |
//! | --- | --- | --- | --- |
//! | [`dense`] | `z = x w + b` | 0 | linear |
//! | [`embedding`] | a learnt vector a code | 2 | nonlinear |
//! | [`convolution`] | filters over windows | 0 | linear |
//! | [`batch_norm`] | `γ (x - μ) / √(V + ε) + β` over the batch | 0, and at most 15 a batch |
//! linear |
//! | [`average_pool`] | means of windows, or of images | 0 | local |
//! | [`flatten`] | rows as vectors | 0 | local |
//! | [`join`] | sum and concatenation of two inputs | 0 | local |
//! | [`dropout`] | public masks | 0 | local |
//! | [`slice`](mod@slice) | some steps of a sequence | 0 | local |
//! | [`square`] | `x^2` | 0 | linear |
//! | [`relu`] | `max(0, x)` | 3 or 4 | nonlinear |
//! | [`max_pool`] | maxima of windows, and a ReLU | 4 or more | nonlinear |
//! | [`activation`] | any function, by any method | as the function | nonlinear |
//! | [`recurrent`] | GRU, LSTM or simple cell over a sequence | by the step | nonlinear |
//! | [`leaky_relu`] | `max(0, x) + slope min(0, x)` | 3 or 4 | nonlinear |
//!
//! To add a layer, write its file and add its line to [`AnyLayer`]'s list.
//!
//! **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Graphs, shapes and scales are
//! public.

pub mod activation;
mod any;
pub mod average_pool;
mod backward;
pub mod batch_norm;
pub mod convolution;
pub mod dense;
pub mod dropout;
pub mod embedding;
pub mod flatten;
mod forward;
mod fraction;
mod graph;
pub mod join;
pub mod leaky_relu;
mod lengths;
pub mod max_pool;
mod meeting;
mod misfit;
pub mod recurrent;
pub mod relu;
mod size;
pub mod slice;
pub mod square;
pub mod upsample;

pub use activation::Activation;
pub use any::AnyLayer;
pub use average_pool::{AveragePool, GlobalAveragePool};
pub use batch_norm::BatchNorm;
pub use convolution::Convolution;
pub use dense::Dense;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use forward::{Model, Moment, NodeState, Pass, Tensor};
pub use fraction::Fraction;
pub use graph::{Fault, Graph, Node, Origin, Placement, Reason};
pub use join::{Add, Concat};
pub use leaky_relu::LeakyRelu;
pub use lengths::RowLengths;
pub use max_pool::MaxPool;
pub use meeting::{MASKS, Meeting, MeetingLens, Meets, Met};
pub use misfit::Misfit;
pub use recurrent::{CellKind, Recurrent, States};
pub use relu::Relu;
pub use size::Size;
pub use slice::Slice;
pub use square::Square;
pub use upsample::Upsample;

use crate::{correlation::View, link::Error, party::Party, prg::Prg, protocol::masked::Masked, word::Word};
use core::{fmt, ops::Range};
use serde::{Deserialize, Serialize};

/// One row of a tensor: channels, height, width. A vector of `n` words is `[n, 1, 1]`, a sequence
/// `[1, steps, features]`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
pub struct Shape(pub [u32; 3]);

impl Shape {
    /// The shape of a vector.
    pub const fn vector(words: u32) -> Self {
        Self([words, 1, 1])
    }

    /// Words of a row.
    pub const fn words(self) -> usize {
        let Self([c, h, w]) = self;
        (c as usize).saturating_mul(h as usize).saturating_mul(w as usize)
    }

    /// Number of channels.
    pub const fn channels(self) -> usize {
        self.0[0] as usize
    }

    /// Height and width; of a sequence, steps and features.
    pub const fn image(self) -> [usize; 2] {
        [self.0[1] as usize, self.0[2] as usize]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([c, h, w]) = self;
        write!(f, "[{c}, {h}, {w}]")
    }
}

/// The form in which a layer takes a value or a gradient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takes {
    /// Shares of any scale.
    Any,
    /// Shares with the job's fraction bits.
    Truncated,
    /// Public words under a mask, with the job's fraction bits.
    Masked,
}

/// A value or gradient in the form that a layer asked for.
#[derive(Clone, Copy)]
pub enum Input<'a, W> {
    /// Shares and their fraction bits.
    Shares(&'a [W], u32),
    /// Public words under a mask, as a matrix of the rows.
    Masked(Masked<'a, W>),
}

impl<'a, W> Input<'a, W> {
    /// The masked value.
    ///
    /// # Panics
    ///
    /// If the graph gave shares.
    pub fn masked(self) -> Masked<'a, W> {
        let Self::Masked(x) = self else { panic!("the layer takes masked values") };
        x
    }

    /// The shares and their fraction bits.
    ///
    /// # Panics
    ///
    /// If the graph gave a masked value.
    pub fn shares(self) -> (&'a [W], u32) {
        let Self::Shares(x, frac_bits) = self else { panic!("the layer takes shares") };
        (x, frac_bits)
    }
}

/// A layer's place in a network: the shapes around it, its parameters, the fraction bits of values.
#[derive(Clone, Copy)]
pub struct Site<'a, W> {
    /// Number of its node.
    pub node: u16,
    /// Shape of each input; the second is that of the first if there is one.
    pub inputs: [Shape; 2],
    /// Shape of the output.
    pub output: Shape,
    /// Shares of its parameters, with the job's fraction bits.
    pub shares: &'a [W],
    /// The same parameters, masked and open.
    pub open: Masked<'a, W>,
    /// The job's fraction bits of values, `f`.
    pub frac_bits: u32,
    /// The public randomness of a training step; `None` in inference.
    pub moment: Option<Moment<'a>>,
    /// The words that its rows have found together, if they meet.
    pub met: Met<'a, W>,
    /// The lengths of the rows' sequences; `None` where all steps count.
    pub lengths: Option<RowLengths<'a>>,
}

impl<W> Site<'_, W> {
    /// Shape of the first input.
    pub fn input(&self) -> Shape {
        self.inputs[0]
    }
}

/// Words and mask names that a pass leaves for later passes.
#[derive(Default)]
pub struct Saved<'a, W> {
    /// [`Layer::saved`] words.
    pub words: &'a mut [W],
    /// Names of masks: of the forward pass, and of one [through time](BackwardThroughTime).
    pub masks: [Option<View<'static>>; 2],
}

impl<W> Saved<'_, W> {
    /// Returns the saved words and mask names, read-only.
    pub fn kept(&self) -> Kept<'_, W> {
        Kept { words: self.words, masks: self.masks }
    }
}

/// The read-only form of [`Saved`], for the backward pass and the gradients.
#[derive(Clone, Copy)]
pub struct Kept<'a, W> {
    /// [`Layer::saved`] words.
    pub words: &'a [W],
    /// Names of masks.
    pub masks: [Option<View<'static>>; 2],
}

impl<W> Default for Kept<'_, W> {
    fn default() -> Self {
        Self { words: &[], masks: [None; 2] }
    }
}

/// A tensor of parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parameter {
    /// Name in model files: `weight`, `bias`, `recurrent_weight` or `recurrent_bias`.
    pub name: &'static str,
    /// Lengths of the axes in the order in which the words lie; unused ones are 1.
    pub dims: [u32; 4],
    /// Number of axes.
    pub axes: usize,
    /// Whether the words lie as inputs by outputs, where exchange formats have outputs by inputs.
    pub transposed: bool,
    /// Initial values.
    pub init: Init,
    /// Fraction bits beyond the job's.
    pub extra_bits: u32,
}

impl Parameter {
    /// Rows and channels of the tensor as [`Meets::fold`] takes it: rows of channels of some words.
    pub fn rows_and_channels(&self) -> [usize; 2] {
        let [first, second, ..] = self.dims.map(|d| d as usize);
        if self.transposed { [first, second] } else { [1, first] }
    }

    /// Words of the tensor.
    pub fn words(&self) -> usize {
        self.dims.iter().fold(1usize, |n, d| n.saturating_mul(*d as usize))
    }
}

/// Initial values of a tensor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Init {
    /// Uniform in `±sqrt(6 / fans)`, for the sum of inputs and outputs of a unit (Glorot and
    /// Bengio, 2010, equation 16).
    Glorot {
        /// Inputs and outputs of a unit together.
        fans: u32,
    },
    /// All zeros.
    Zero,
    /// All ones.
    One,
}

/// The numbers of a job that a layer may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// `k`.
    pub ring_bits: u32,
    /// Fraction bits of values, `f`.
    pub frac_bits: u32,
    /// Rows of the smallest and of the largest batch.
    pub batches: [usize; 2],
}

/// Public numbers of a layer that follow from its description and the shapes around it.
pub trait Describe {
    /// The row that comes out.
    ///
    /// # Errors
    ///
    /// The reason why these rows do not go in.
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit>;

    /// Number of inputs, 1 or 2.
    fn inputs(&self) -> usize {
        1
    }

    /// Calls `each` with every tensor of parameters, in the order of the flat buffer.
    fn parameters(&self, input: Shape, each: &mut dyn FnMut(Parameter)) {
        let _ = (input, each);
    }

    /// Calls `each` with every tensor of running statistics, in the order of their flat buffer:
    /// shares that training moves on, without a gradient. The job has `frac_bits` fraction bits.
    fn statistics(&self, input: Shape, frac_bits: u32, each: &mut dyn FnMut(Parameter)) {
        let _ = (input, frac_bits, each);
    }

    /// Step of the input with which the output begins.
    fn first_step(&self) -> u32 {
        0
    }

    /// Whether the output is affine in the parameters, channel by channel: a tensor has its
    /// channels in its first axis or, if it is transposed, in its second.
    fn is_affine(&self) -> bool {
        false
    }

    /// Fills in what a job file may leave out and a ring decides.
    fn set_defaults(&mut self, numbers: &crate::function::Numbers) {
        let _ = numbers;
    }

    /// Holds the layer to the numbers of a job.
    ///
    /// # Errors
    ///
    /// The number that does not fit.
    fn check(&self, input: Shape, numbers: &Numbers) -> Result<(), Misfit> {
        let _ = (input, numbers);
        Ok(())
    }

    /// The form in which it takes its inputs.
    fn takes(&self, input: Shape) -> Takes;

    /// Fraction bits of the result, from those of the inputs (the most of them) and the job's.
    fn gives(&self, input: Shape, taken: u32, frac_bits: u32) -> u32;

    /// The form in which its backward pass takes the gradient of the result.
    fn takes_gradient(&self, input: Shape) -> Takes;

    /// Fraction bits of the gradient that it passes on, as [`Describe::gives`].
    fn gives_gradient(&self, input: Shape, taken: u32, frac_bits: u32) -> u32;

    /// The operator that stands for it in ONNX.
    fn onnx(&self) -> &'static str;
}

/// Inference by a layer.
pub trait Layer<W: Word>: Describe + Sync {
    /// Words that `rows` rows keep for the backward pass; scratch in inference.
    fn saved(&self, site: &Site<'_, W>, rows: usize) -> usize {
        let _ = (site, rows);
        0
    }

    /// Words of scratch that `rows` rows take in inference in place of [`Layer::saved`].
    fn inference_words(&self, site: &Site<'_, W>, rows: usize) -> usize {
        self.saved(site, rows)
    }

    /// Computes `z` from the inputs `x`.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, and [`Error::Scratch`].
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error>;
}

/// How the gradient of a layer's parameters is cut over lanes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GradientSplit {
    /// Each lane computes its own range of the gradient from all rows: `units` ranges of `each`
    /// parameters; the last lane also has the parameters that are left.
    Parameters {
        /// Ranges that lanes may have.
        units: usize,
        /// Parameters of a range.
        each: usize,
    },
    /// Each lane computes the whole gradient of its own rows; the lanes' shares are added.
    Rows,
}

/// Training of a layer. A trait of its own, so that a microcontroller links no backward pass.
pub trait Backward<W: Word>: Layer<W> {
    /// The gradient of input number `input` from that of the result. `x` are the inputs, if the
    /// layer takes them masked.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    #[allow(clippy::too_many_arguments)] // both passes' values meet here
    fn backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        input: usize,
        dx: &mut [W],
        saved: Kept<'_, W>,
    ) -> Result<(), Error>;

    /// How the work of [`Backward::gradient`] is cut.
    fn split(&self, site: &Site<'_, W>) -> GradientSplit {
        let _ = site;
        GradientSplit::Rows
    }

    /// The gradient of the parameters `part`, with twice the job's fraction bits, from the masked
    /// input and the gradient of the result, if the layer takes it masked; `kept` is empty if the
    /// split is by [`GradientSplit::Parameters`].
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    #[allow(clippy::too_many_arguments)] // both passes' values meet here
    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        part: Range<usize>,
        x: Masked<'_, W>,
        dz: Option<Masked<'_, W>>,
        kept: Kept<'_, W>,
        gradient: &mut [W],
    ) -> Result<(), Error> {
        let _ = (party, site, part, x, dz, kept, gradient);
        Ok(())
    }

    /// The layer's back-propagation through time; `None` for a layer without steps.
    fn through_time(&self) -> Option<&dyn BackwardThroughTime<W>> {
        None
    }

    /// The layer as one whose rows meet; `None` for a layer that takes each row by itself.
    fn meets(&self) -> Option<&dyn Meets<W>> {
        None
    }
}

/// A layer that back-propagates through time: the gradient passes its own steps before it reaches
/// parameters or inputs.
pub trait BackwardThroughTime<W: Word>: Sync {
    /// Takes the gradient `dz` of the result back through all steps: once, before
    /// [`Backward::backward`] and [`Backward::gradient`], which read what it leaves in `saved`.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    fn backward_through_time(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        dz: Input<'_, W>,
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error>;
}

/// The public stream of dropout masks: uniform, the same at all parties, and no secret.
pub type PublicStream<'a> = &'a dyn Prg;

/// Holds a number of a layer to its range.
pub(crate) fn between(key: &'static str, got: u32, min: u32, max: u32) -> Result<(), Misfit> {
    if (min..=max).contains(&got) { Ok(()) } else { Err(Misfit::Number { key, got, min, max }) }
}

/// The one input of a layer.
pub(crate) fn only(inputs: &[Shape]) -> Result<Shape, Misfit> {
    let &[input] = inputs else { return Err(Misfit::Inputs { want: 1, got: inputs.len() }) };
    Ok(input)
}

/// The gradient of a result that the layer takes masked.
pub(crate) fn taken_masked<W>(dz: Option<Masked<'_, W>>) -> Masked<'_, W> {
    let Some(dz) = dz else { panic!("the layer takes the gradient masked") };
    dz
}

/// A number that follows from shapes which the graph has checked. Without the error's text, which a
/// microcontroller would link.
pub(crate) fn fits<T>(number: Result<T, Misfit>) -> T {
    let Ok(number) = number else { panic!("the graph's shapes fit") };
    number
}
