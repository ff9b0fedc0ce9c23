//! Fully connected: `z = x w + b`, of a vector or of each step of a sequence.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round and no byte beyond the openings of `x` and of the parameters. Dealt: a word
//!   for each output, and in training a word for each word of `dx` and of the weights' gradient.
//! - **Result:** exact, with `2 f` fraction bits.
//! - **Needs:** `|z| < 2^(k-2)`.
//! - **Memory:** scratch for a share of `x` and of `w`; nothing between the passes.
//! - **Source:** Beaver, CRYPTO '91, on masked values that are opened once
//!   ([`crate::protocol::product`]).

use super::{
    Backward, Describe, GradientSplit, Init, Input, Kept, Layer, Misfit, Parameter, Saved, Shape, Site, Takes, between,
    only, taken_masked,
};
use crate::{
    correlation::Rows,
    link::Error,
    party::Party,
    protocol::{
        masked::Masked,
        product::{Factor, gather, matmul},
    },
    word::Word,
};
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// A dense layer. Parameters: `inputs` rows of `units` weights, then `units` biases.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Number of outputs, 1 to 65,536.
    pub units: u32,
    /// Takes each step of a sequence, `[1, steps, features]`, by itself; false, if left out.
    #[serde(default)]
    pub each_step: bool,
}

impl Dense {
    /// Most outputs.
    pub const MAX_UNITS: u32 = 1 << 16;

    /// A layer that takes vectors.
    pub const fn new(units: u32) -> Self {
        Self { units, each_step: false }
    }

    /// Steps of a row, and inputs of a step.
    fn sizes(self, input: Shape) -> [usize; 2] {
        if self.each_step { input.image() } else { [1, input.words()] }
    }

    fn weights<'a, W: Word>(self, site: &Site<'a, W>) -> Masked<'a, W> {
        let [_, inputs] = self.sizes(site.input());
        let (units, n) = (self.units as usize, inputs * self.units as usize);
        Masked { words: &site.open.words[..n], mask: site.open.mask.slice(0, n).matrix(units) }
    }
}

impl Describe for Dense {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        between("units", self.units, 1, Self::MAX_UNITS)?;
        match only(inputs)? {
            Shape([1, steps, _]) if self.each_step => Ok(Shape([1, steps, self.units])),
            got if self.each_step => Err(Misfit::Sequence { got }),
            Shape([_, 1, 1]) => Ok(Shape::vector(self.units)),
            got => Err(Misfit::Vector { got }),
        }
    }

    fn parameters(&self, input: Shape, each: &mut dyn FnMut(Parameter)) {
        let (inputs, units) = (input.0[if self.each_step { 2 } else { 0 }], self.units);
        let init = Init::Glorot { fans: inputs.saturating_add(units) };
        each(Parameter { name: "weight", dims: [inputs, units, 1, 1], axes: 2, transposed: true, init, extra_bits: 0 });
        each(Parameter { name: "bias", dims: [units, 1, 1, 1], axes: 1, transposed: false, init, extra_bits: 0 });
    }

    fn is_affine(&self) -> bool {
        !self.each_step // units are no channels there
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
        "Gemm"
    }
}

impl<W: Word> Layer<W> for Dense {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let [steps, _] = self.sizes(site.input());
        matmul(party, Factor::plain(x[0].masked()).cut(steps), Factor::plain(self.weights(site)), z)?;
        let units = self.units as usize;
        let ([bias], party) = party.scratch([units])?;
        bias.copy_from_slice(&site.shares[site.shares.len() - units..]);
        party.kernels.scale(bias, W::from_u64(1 << site.frac_bits));
        if size_of::<W>() > 0 {
            z.chunks_exact_mut(units).for_each(|row| party.kernels.add(row, bias));
        }
        Ok(())
    }
}

impl<W: Word> Backward<W> for Dense {
    fn backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        _: Kept<'_, W>,
    ) -> Result<(), Error> {
        let [steps, _] = self.sizes(site.input());
        matmul(party, Factor::plain(dz.masked()).cut(steps), Factor::transposed(self.weights(site)), dx)
    }

    fn split(&self, site: &Site<'_, W>) -> GradientSplit {
        if self.each_step {
            return GradientSplit::Rows; // steps are rows: a view of some of their features is no matrix
        }
        GradientSplit::Parameters { units: site.input().words(), each: self.units as usize }
    }

    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        part: Range<usize>,
        x: Masked<'_, W>,
        dz: Option<Masked<'_, W>>,
        _: Kept<'_, W>,
        gradient: &mut [W],
    ) -> Result<(), Error> {
        let dz = taken_masked(dz);
        let ([steps, inputs], units, batch) = (self.sizes(site.input()), self.units as usize, x.mask.rows.len());
        let rows = part.start / units..inputs.min(part.end / units); // of the weights: columns of x
        let (weights, bias) = gradient.split_at_mut(rows.len() * units);
        if self.each_step {
            matmul(party, Factor::transposed(x).cut(steps), Factor::plain(dz).cut(steps), weights)?;
        } else if !rows.is_empty() {
            let ([own], mut party) = party.scratch([batch * rows.len()])?;
            gather(x.words, inputs, Rows::All(batch), rows.start, rows.len(), own);
            let own = Masked { words: own, mask: x.mask.columns(rows.start, rows.len()) };
            matmul(&mut party, Factor::transposed(own), Factor::plain(dz), weights)?;
        }
        if !bias.is_empty() {
            let ([shares], party) = party.scratch([dz.words.len()])?;
            dz.share(&party, shares); // free: no round, nothing dealt
            bias.fill(W::default());
            if size_of::<W>() > 0 {
                shares.chunks_exact(units).for_each(|row| party.kernels.add(bias, row));
            }
            party.kernels.scale(bias, W::from_u64(1 << site.frac_bits));
        }
        Ok(())
    }
}
