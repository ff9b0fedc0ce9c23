//! The inference of one kind of cell: what a microcontroller links of a recurrent layer.
//!
//! [`Recurrent`] names its cell and its functions by values, so a program with it links all cells
//! and all methods of functions: 137 kB of Cortex-M4 code. Here both are types.

use super::{Cell, CellFunctions, Recurrent, step_words, steps::forward};
use crate::{
    function::{self, method::Elementwise},
    layer::{Describe, Input, Layer, Misfit, Parameter, Saved, Shape, Site, Takes},
    link::Error,
    party::Party,
    word::Word,
};

/// A recurrent layer that only infers, of cells `C` and with functions `F`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SingleCell<C, F> {
    /// The cell.
    pub cell: C,
    /// The layer that it computes, of the same kind of cell; its functions are not read.
    pub layer: Recurrent,
    /// The gates' sigmoid.
    pub sigmoid: F,
    /// The tanh.
    pub tanh: F,
}

impl<C, F> Describe for SingleCell<C, F> {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        self.layer.output(inputs)
    }
    fn inputs(&self) -> usize {
        self.layer.inputs()
    }
    fn parameters(&self, input: Shape, each: &mut dyn FnMut(Parameter)) {
        self.layer.parameters(input, each);
    }
    fn takes(&self, input: Shape) -> Takes {
        self.layer.takes(input)
    }
    fn gives(&self, input: Shape, taken: u32, frac_bits: u32) -> u32 {
        self.layer.gives(input, taken, frac_bits)
    }
    fn takes_gradient(&self, input: Shape) -> Takes {
        self.layer.takes_gradient(input)
    }
    fn gives_gradient(&self, input: Shape, taken: u32, frac_bits: u32) -> u32 {
        self.layer.gives_gradient(input, taken, frac_bits)
    }
    fn onnx(&self) -> &'static str {
        self.layer.onnx()
    }
}

impl<W: Word, C: Cell<W> + Sync, F: Elementwise<W>> Layer<W> for SingleCell<C, F> {
    fn inference_words(&self, site: &Site<'_, W>, rows: usize) -> usize {
        step_words::<W, C>(&self.layer.sizes(site, rows))
    }

    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        assert!(site.moment.is_none(), "this layer does not train");
        let numbers = function::Numbers { ring_bits: W::BITS, frac_bits: site.frac_bits };
        let functions = CellFunctions { numbers, sigmoid: &self.sigmoid, tanh: &self.tanh, limit: None };
        forward::<W, C>((&self.layer, &functions), party, site, x, z, saved)
    }
}
