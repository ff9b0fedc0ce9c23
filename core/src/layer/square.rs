//! `x^2`, element by element: the activation of CryptoNets (Gilad-Bachrach et al., ICML 2016).
//!
//! `x` is open under a mask, so that its square and the gradient `2 x dz` are products of masked
//! values ([`crate::protocol::product`]).
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round and no byte beyond the openings of `x` and `dz`; a word dealt an element,
//!   forward and backward each.
//! - **Result:** exact, with `2 f` fraction bits.
//! - **Needs:** `|x| < 2^(k/2 - 1)` units, or the square leaves its range.
//! - **Memory:** the open `x` between the passes, which the graph keeps.

use super::{Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes, only};
use crate::{
    link::Error,
    party::Party,
    protocol::{alarm, masked::Masked, product::multiply},
    word::Word,
};
use serde::{Deserialize, Serialize};

/// The square of each element.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Square {}

impl Describe for Square {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        only(inputs)
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Masked
    }

    fn gives(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        2 * frac_bits
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Masked
    }

    fn gives_gradient(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        2 * frac_bits
    }

    fn onnx(&self) -> &'static str {
        "Mul"
    }
}

impl<W: Word> Layer<W> for Square {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        _: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let x = x[0].masked();
        let ([shares], mut own) = party.scratch([z.len()])?;
        x.share(&own, shares);
        alarm::squared(&mut own, shares)?;
        multiply(party, x, x, z)
    }
}

impl<W: Word> Backward<W> for Square {
    fn backward(
        &self,
        party: &mut Party<'_, W>,
        _: &Site<'_, W>,
        x: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        _: Kept<'_, W>,
    ) -> Result<(), Error> {
        let x = x.expect("the graph keeps masked inputs");
        multiply(party, x, dz.masked(), dx)?;
        party.kernels.scale(dx, W::from_u64(2));
        Ok(())
    }
}
