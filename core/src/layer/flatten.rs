//! Rows as vectors: the words stay as they lie, channel after channel.
//!
//! - **Adversary:** none; no message is sent.
//! - **Cost:** none.
//! - **Result:** exact.
//! - **Memory:** none between the passes.

use super::{Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes, only};
use crate::{link::Error, party::Party, protocol::masked::Masked, word::Word};
use serde::{Deserialize, Serialize};

/// An image as a vector.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Describe for Flatten {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        let input = only(inputs)?;
        u32::try_from(input.words()).map(Shape::vector).map_err(|_| Misfit::Large { got: input })
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
        "Flatten"
    }
}

impl<W: Word> Layer<W> for Flatten {
    fn forward(
        &self,
        _: &mut Party<'_, W>,
        _: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        z.copy_from_slice(x[0].shares().0);
        Ok(())
    }
}

impl<W: Word> Backward<W> for Flatten {
    fn backward(
        &self,
        _: &mut Party<'_, W>,
        _: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        _: Kept<'_, W>,
    ) -> Result<(), Error> {
        dx.copy_from_slice(dz.shares().0);
        Ok(())
    }
}
