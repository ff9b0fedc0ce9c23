//! Takes consecutive steps of a sequence, so that one record can hold a sentence and its
//! translation.
//!
//! - **Adversary:** none; no message is sent.
//! - **Cost:** none.
//! - **Result:** exact.
//! - **Memory:** none between the passes.

use super::{Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes, between, only};
use crate::{link::Error, party::Party, protocol::masked::Masked, word::Word};
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// Steps `from`, ..., `from + steps - 1` of a sequence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// First step, from 0; 0, if left out.
    #[serde(default)]
    pub from: u32,
    /// Number of steps, from 1.
    pub steps: u32,
}

impl Slice {
    /// The words of a row that pass.
    fn words(self, input: Shape) -> Range<usize> {
        let [_, features] = input.image();
        let from = self.from as usize * features;
        from..from + self.steps as usize * features
    }
}

impl Describe for Slice {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        match only(inputs)? {
            Shape([1, steps, features]) => {
                between("steps", self.steps, 1, steps)?;
                between("from", self.from, 0, steps - self.steps)?;
                Ok(Shape([1, self.steps, features]))
            }
            got => Err(Misfit::Sequence { got }),
        }
    }

    fn first_step(&self) -> u32 {
        self.from
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
        "Slice"
    }
}

impl<W: Word> Layer<W> for Slice {
    fn forward(
        &self,
        _: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let (input, own) = (site.input(), self.words(site.input()));
        let rows = x[0].shares().0.chunks_exact(input.words());
        z.chunks_exact_mut(own.len()).zip(rows).for_each(|(z, x)| z.copy_from_slice(&x[own.clone()]));
        Ok(())
    }
}

impl<W: Word> Backward<W> for Slice {
    fn backward(
        &self,
        _: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        _: Kept<'_, W>,
    ) -> Result<(), Error> {
        let (input, own) = (site.input(), self.words(site.input()));
        let rows = dz.shares().0.chunks_exact(own.len());
        dx.fill(W::default());
        dx.chunks_exact_mut(input.words()).zip(rows).for_each(|(dx, dz)| dx[own.clone()].copy_from_slice(dz));
        Ok(())
    }
}
