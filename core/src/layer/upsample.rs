//! Each element repeated over a window, local on shares of any scale: nearest-neighbour
//! enlargement.
//!
//! `z[c, y, x] = x[c, floor(y / h), floor(x / w)]` for a factor of `[h, w]`. The gradient of an
//! element is the sum over its window.
//!
//! - **Adversary:** none; no message is sent.
//! - **Cost:** none.
//! - **Result:** exact.
//! - **Needs:** sums of `h w` gradients below `2^(k-2)`.
//! - **Memory:** none between the passes.

use super::{Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Size, Takes, only, size::windows};
use crate::{kernel::Windows, link::Error, party::Party, protocol::masked::Masked, word::Word};
use serde::{Deserialize, Serialize};

/// An enlarged image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Upsample {
    /// Rows and columns that an element becomes, one number for both or a list of two.
    pub factor: Size,
}

impl Upsample {
    /// The windows of the enlarged image, one an element.
    fn windows(self, input: Shape) -> Result<Windows, Misfit> {
        windows(self.enlarged(input)?, self.factor, self.factor, Size::ZERO)
    }

    fn enlarged(self, input: Shape) -> Result<Shape, Misfit> {
        for factor in self.factor.0 {
            super::between("factor", factor.into(), 1, u16::MAX.into())?;
        }
        let ([channels, height, width], [down, across]) = (input.0, self.factor.0.map(u32::from));
        let times = |size: u32, factor| size.checked_mul(factor).ok_or(Misfit::Large { got: input });
        Ok(Shape([channels, times(height, down)?, times(width, across)?]))
    }
}

impl Describe for Upsample {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        let input = only(inputs)?;
        self.windows(input)?;
        self.enlarged(input)
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Any
    }

    fn gives(&self, _: Shape, taken: u32, _: u32) -> u32 {
        taken
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Any
    }

    fn gives_gradient(&self, _: Shape, taken: u32, _: u32) -> u32 {
        taken
    }

    fn onnx(&self) -> &'static str {
        "Resize"
    }
}

impl<W: Word> Layer<W> for Upsample {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        party.kernels.spread_windows(z, x[0].shares().0, super::fits(self.windows(site.input())));
        Ok(())
    }
}

impl<W: Word> Backward<W> for Upsample {
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
        party.kernels.sum_windows(dx, dz.shares().0, super::fits(self.windows(site.input())));
        Ok(())
    }
}
