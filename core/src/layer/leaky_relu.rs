//! `x` where `x >= 0`, else `slope x`; fused with the truncation before it.
//!
//! With `s = [x >= 0]`, `z = slope y + (1 - slope) s y`, for the truncated value `y` and its kept
//! part from the same opened word ([`crate::protocol::relu`]). The slope is `a / 2^t`, so that `z`
//! has `t` fraction bits more than `y`.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** that of a ReLU: forward 3 or 4 rounds, backward 1.
//! - **Result:** that of the slope which the job holds, rounded to 8 significant bits; `y` is
//!   within one unit, unbiased.
//! - **Needs:** as [`crate::protocol::relu`].
//! - **Memory:** a word and a bit an element between the passes.

use super::{Backward, Describe, Fraction, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes, only};
use crate::{
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        masked::Masked,
        relu::{relu_apart, relu_backward_apart},
        select::Selector,
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// A leaky rectified linear unit, element by element.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LeakyRelu {
    /// Factor of negative values, from 0 to below 1.
    pub slope: Fraction,
}

impl LeakyRelu {
    /// `slope y + (1 - slope) kept`, in `y`, with `t` fraction bits more.
    fn blend<W: Word>(self, party: &Party<'_, W>, y: &mut [W], kept: &[W]) {
        let (slope, one) = (u64::from(self.slope.factor), 1u64 << self.slope.shift);
        party.kernels.blend(y, W::from_u64(slope), kept, W::from_u64(one - slope));
    }
}

impl Describe for LeakyRelu {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        self.slope.check("slope")?;
        only(inputs)
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Any
    }

    fn gives(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits + u32::from(self.slope.shift)
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Any
    }

    fn gives_gradient(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits + u32::from(self.slope.shift)
    }

    fn onnx(&self) -> &'static str {
        "LeakyRelu"
    }
}

impl<W: Word> Layer<W> for LeakyRelu {
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
        let ([kept], mut party) = party.scratch([z.len()])?;
        saved.masks[0] = Some(relu_apart(&mut party, (z, kept), frac_bits - site.frac_bits, bit, rho)?);
        self.blend(&party, z, kept);
        Ok(())
    }
}

impl<W: Word> Backward<W> for LeakyRelu {
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
        let ([kept], mut party) = party.scratch([dx.len()])?;
        let bit = Selector { open, mask, rho };
        relu_backward_apart(&mut party, (dx, kept), frac_bits - site.frac_bits, bit)?;
        self.blend(&party, dx, kept);
        Ok(())
    }
}
