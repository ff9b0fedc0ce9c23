//! Convolution: filters over windows of an image, and a bias for each filter.
//!
//! - **Formula:** `z[f][p] = b[f] + Σ w[f][c][i] x[c][p, i]` ([`Filters`]).
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** no round and no byte beyond the openings of `x` and of the parameters: the image is
//!   opened once, not its windows. Dealt: a word for each output, and in training a word for each
//!   word of `dx` and, for each lane, of the weights' gradient.
//! - **Result:** exact, with `2 f` fraction bits.
//! - **Needs:** `|z| < 2^(k-2)`.
//! - **Memory:** scratch for a share of `x` and of `w`, and for the windows of one image; nothing
//!   between the passes.
//! - **Source:** [`crate::protocol::convolution`].

use super::{
    Backward, Describe, Init, Input, Kept, Layer, Misfit, Parameter, Saved, Shape, Site, Size, Takes, between, only,
    size::{output, windows},
    taken_masked,
};
use crate::{
    kernel::{Convolved, Filters},
    link::Error,
    party::Party,
    protocol::{convolution::convolve, masked::Masked},
    word::Word,
};
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// A convolution. Parameters: weights as `filters, channels / groups, height, width`, then a bias a
/// filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Number of filters, 1 to 65,536: the channels of the output.
    pub filters: u32,
    /// Height and width of a filter, one number for both or a list of two.
    pub kernel: Size,
    /// Rows and columns from one window to the next; 1, if left out.
    #[serde(default = "one")]
    pub stride: Size,
    /// Rows and columns of zeros around the image; 0, if left out.
    #[serde(default = "zero")]
    pub padding: Size,
    /// Groups that channels and filters are cut into, each filter seeing its own group: 1, if left
    /// out; as many as channels for a depthwise convolution.
    #[serde(default = "one_group")]
    pub groups: u32,
}

fn one() -> Size {
    Size::ONE
}

fn zero() -> Size {
    Size::ZERO
}

fn one_group() -> u32 {
    1
}

impl Convolution {
    /// Most filters.
    pub const MAX_FILTERS: u32 = 1 << 16;
    /// Most words of the unfolded windows of an image's group.
    pub const MAX_UNFOLDED: usize = 1 << 26;

    /// Filters over images of the shape `input`.
    ///
    /// # Errors
    ///
    /// The number that does not fit.
    pub fn over(&self, input: Shape) -> Result<Filters, Misfit> {
        between("filters", self.filters, 1, Self::MAX_FILTERS)?;
        let groups = self.groups;
        for channels in [input.0[0], self.filters] {
            if groups == 0 || !channels.is_multiple_of(groups) {
                return Err(Misfit::Groups { channels, groups });
            }
        }
        let windows = windows(input, self.kernel, self.stride, self.padding)?;
        Ok(Filters { windows, count: self.filters as usize, groups: groups as usize })
    }

    fn filters<W>(&self, site: &Site<'_, W>) -> Filters {
        super::fits(self.over(site.input()))
    }
}

/// The weights among a layer's open parameters.
fn weights<'a, W: Word>(site: &Site<'a, W>, filters: Filters) -> Masked<'a, W> {
    let n = filters.weights();
    Masked { words: &site.open.words[..n], mask: site.open.mask.slice(0, n) }
}

impl Describe for Convolution {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        let filters = self.over(only(inputs)?)?;
        if filters.matrix_words() > Self::MAX_UNFOLDED {
            return Err(Misfit::Unfolded { words: filters.matrix_words(), most: Self::MAX_UNFOLDED });
        }
        Ok(output(self.filters, &filters.windows))
    }

    fn parameters(&self, input: Shape, each: &mut dyn FnMut(Parameter)) {
        let [height, width] = self.kernel.0.map(u32::from);
        let channels = input.0[0] / self.groups.max(1);
        let fans = channels.saturating_add(self.filters).saturating_mul(height).saturating_mul(width);
        let dims = [self.filters, channels, height, width];
        each(Parameter {
            name: "weight",
            dims,
            axes: 4,
            transposed: false,
            init: Init::Glorot { fans },
            extra_bits: 0,
        });
        let dims = [self.filters, 1, 1, 1];
        each(Parameter { name: "bias", dims, axes: 1, transposed: false, init: Init::Glorot { fans }, extra_bits: 0 });
    }

    fn is_affine(&self) -> bool {
        true
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
        "Conv"
    }
}

impl<W: Word> Layer<W> for Convolution {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let filters = self.filters(site);
        convolve(party, (filters, Convolved::Output), x[0].masked(), weights(site, filters), z)?;
        let ([bias], party) = party.scratch([filters.count])?;
        bias.copy_from_slice(&site.shares[filters.weights()..]);
        party.kernels.scale(bias, W::from_u64(1 << site.frac_bits));
        if size_of::<W>() > 0 {
            let places = z.chunks_exact_mut(filters.windows.count());
            places.zip(bias.iter().cycle()).for_each(|(z, bias)| party.kernels.add_constant(z, *bias));
        }
        Ok(())
    }
}

impl<W: Word> Backward<W> for Convolution {
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
        let filters = self.filters(site);
        convolve(party, (filters, Convolved::Input), dz.masked(), weights(site, filters), dx)
    }

    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Range<usize>,
        x: Masked<'_, W>,
        dz: Option<Masked<'_, W>>,
        _: Kept<'_, W>,
        gradient: &mut [W],
    ) -> Result<(), Error> {
        let filters = self.filters(site);
        let dz = taken_masked(dz);
        let (weights, bias) = gradient.split_at_mut(filters.weights());
        convolve(party, (filters, Convolved::Weights), dz, x, weights)?;
        let places = filters.windows.count();
        let ([shares, sums], party) = party.scratch([dz.words.len(), dz.words.len() / places])?;
        dz.share(&party, shares); // free: no round, nothing dealt
        party.kernels.sum_rows(sums, shares, places);
        bias.fill(W::default());
        sums.chunks_exact(filters.count).for_each(|row| party.kernels.add(bias, row));
        party.kernels.scale(bias, W::from_u64(1 << site.frac_bits));
        Ok(())
    }
}
