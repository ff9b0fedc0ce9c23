//! Largest element of each window, fused with the truncation before it and, if asked for, with a
//! ReLU behind it.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost, result, needs:** as [`crate::protocol::pool`]. A ReLU in the pool (`relu = true`)
//!   costs one comparison an element more, and no round in windows of three to nine elements; a
//!   layer of its own costs an opening and three or four rounds for each window.
//! - **Memory:** a word and a bit an element of a window between the passes.

use super::{
    Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Size, Takes, between, only,
    size::{output, windows},
};
use crate::{
    kernel::Windows,
    link::Error,
    party::Party,
    protocol::{
        masked::Masked,
        pool::{Pool, maximum_backward, maximum_forward},
    },
    word::Word,
};
use serde::{Deserialize, Serialize};

/// A maximum pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// Height and width of a window, one number for both or a list of two; 2 to 16 elements in all.
    pub window: Size,
    /// Rows and columns from one window to the next; the window's, if left out.
    #[serde(default)]
    pub stride: Option<Size>,
    /// Whether a ReLU follows, as part of the pool; false, if left out.
    #[serde(default)]
    pub relu: bool,
}

impl MaxPool {
    /// Most elements of a window: all pairs are compared.
    pub const MAX_AREA: u32 = 16;

    fn windows(self, input: Shape) -> Result<Windows, Misfit> {
        let area = self.window.0.iter().fold(1u32, |n, side| n.saturating_mul((*side).into()));
        between("window (elements)", area, 2, Self::MAX_AREA)?;
        windows(input, self.window, self.stride.unwrap_or(self.window), Size::ZERO)
    }

    fn pool<W>(self, site: &Site<'_, W>, frac_bits: u32) -> (Windows, Pool) {
        let windows = super::fits(self.windows(site.input()));
        (windows, Pool { area: windows.area(), frac_bits: frac_bits - site.frac_bits, relu: self.relu })
    }
}

impl Describe for MaxPool {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        let input = only(inputs)?;
        Ok(output(input.0[0], &self.windows(input)?))
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
        "MaxPool"
    }
}

impl<W: Word> Layer<W> for MaxPool {
    fn saved(&self, site: &Site<'_, W>, rows: usize) -> usize {
        let (windows, pool) = self.pool(site, site.frac_bits);
        let n = rows * windows.output_words() * pool.area;
        n + pool.bits::<W>(n)
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
        let (windows, pool) = self.pool(site, frac_bits);
        let n = z.len() * pool.area;
        let ([places], mut party) = party.scratch([n])?;
        party.kernels.gather_windows(places, x, windows);
        let (rho, bits) = saved.words.split_at_mut(n);
        saved.masks[0] = Some(maximum_forward(&mut party, pool, places, (bits, rho), z)?);
        Ok(())
    }
}

impl<W: Word> Backward<W> for MaxPool {
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
        let (windows, pool) = self.pool(site, frac_bits);
        let n = dz.len() * pool.area;
        let (rho, bits) = saved.words.split_at(n);
        let Some(mask) = saved.masks[0] else { panic!("the forward pass names the mask") };
        let ([places], mut party) = party.scratch([n])?;
        maximum_backward(&mut party, pool, dz, (bits, mask, rho), places)?;
        party.kernels.scatter_windows(dx, places, windows);
        Ok(())
    }
}
