//! `max(0, x)`, fused with the truncation before it.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost, result, needs:** as [`crate::protocol::relu`]: forward 3 or 4 rounds, backward 1.
//! - **Memory:** a word and a bit an element between the passes.

use super::{Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes, only};
use crate::{
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        masked::Masked,
        relu::{relu, relu_backward},
        select::Selector,
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// Rectified linear unit, element by element.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Relu {}

impl Describe for Relu {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        only(inputs)
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Any
    }

    fn gives(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Any
    }

    fn gives_gradient(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits
    }

    fn onnx(&self) -> &'static str {
        "Relu"
    }
}

impl<W: Word> Layer<W> for Relu {
    fn saved(&self, site: &Site<'_, W>, rows: usize) -> usize {
        let n = rows * site.output.words();
        n + plane_words::<W>(n)
    }

    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let (x, frac_bits) = x[0].shares();
        z.copy_from_slice(x);
        let (rho, bit) = saved.words.split_at_mut(z.len());
        saved.masks[0] = Some(relu(party, z, frac_bits - site.frac_bits, bit, rho)?);
        Ok(())
    }
}

impl<W: Word> Backward<W> for Relu {
    fn backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        saved: Kept<'_, W>,
    ) -> Result<(), Error> {
        let (dz, frac_bits) = dz.shares();
        dx.copy_from_slice(dz);
        let (rho, open) = saved.words.split_at(dx.len());
        let Some(mask) = saved.masks[0] else { panic!("the forward pass names the mask") };
        relu_backward(party, dx, frac_bits - site.frac_bits, Selector { open, mask, rho })
    }
}
