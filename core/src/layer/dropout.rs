//! Dropout under public masks (Srivastava et al., JMLR 2014): in training each element is 0 with
//! probability `rate`, and the others are multiplied by `1 / (1 - rate)`.
//!
//! The masks follow from the job's public seed, the step, the node and the row, so that every party
//! makes them by itself and lanes do not matter. In inference the layer passes values on.
//!
//! - **Adversary:** none; no message is sent.
//! - **Cost:** none: local on shares.
//! - **Result:** exact; the factor is rounded to `2^-7` unless it is a power of two, as of
//!   `rate = 0.5`.
//! - **Needs:** room for the factor; values are taken truncated where it has fraction bits.
//! - **Memory:** none between the passes: the mask is made again.

use super::{Backward, Describe, Fraction, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes, only};
use crate::{link::Error, party::Party, prg::MaskId, protocol::masked::Masked, word::Word};
use serde::{Deserialize, Serialize};

/// A dropout.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability that an element is dropped, from 0 to below 1.
    pub rate: Fraction,
}

/// Bytes of the public stream for an element.
const BYTES: usize = 2;
/// Elements whose bytes are made at a time, on the stack.
const CHUNK: usize = 256;
/// Fraction bits of the factor.
const SHIFT: u32 = 7;

impl Dropout {
    /// `factor / 2^shift`, for `1 / (1 - rate)`.
    fn factor(self) -> (u64, u32) {
        let (one, rate) = (1u64 << self.rate.shift, u64::from(self.rate.factor));
        let kept = one.saturating_sub(rate).max(1);
        let factor = ((one << SHIFT) + kept / 2) / kept;
        let reduce = factor.trailing_zeros().min(SHIFT);
        (factor >> reduce, SHIFT - reduce)
    }

    fn form(self) -> Takes {
        if self.factor().1 == 0 { Takes::Any } else { Takes::Truncated }
    }

    /// `z` from `x`: with the mask of the training step, or all of it.
    fn apply<W: Word>(self, party: &Party<'_, W>, site: &Site<'_, W>, x: &[W], z: &mut [W]) {
        z.copy_from_slice(x);
        let (factor, shift) = self.factor();
        let Some(moment) = site.moment else {
            return party.kernels.scale(z, W::from_u64(1).shl(shift));
        };
        party.kernels.scale(z, W::from_u64(factor));
        if size_of::<W>() == 0 {
            return; // a dry run: there is nothing to drop
        }
        let threshold = u32::from(self.rate.factor) << (u32::from(Fraction::MAX_SHIFT) - u32::from(self.rate.shift));
        let (id, first) = (MaskId { lane: 0, request: moment.step, part: site.node }, moment.row * site.output.words());
        for (i, z) in z.chunks_mut(CHUNK).enumerate() {
            let mut bytes = [0; BYTES * CHUNK];
            let at = (first + i * CHUNK) * BYTES;
            moment.stream.fill_bytes(id, at as u64, &mut bytes[..BYTES * z.len()]);
            for (z, random) in z.iter_mut().zip(bytes.as_chunks::<BYTES>().0) {
                if u32::from(u16::from_le_bytes(*random)) < threshold {
                    *z = W::default();
                }
            }
        }
    }
}

impl Describe for Dropout {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        self.rate.check("rate")?;
        only(inputs)
    }

    fn takes(&self, _: Shape) -> Takes {
        self.form()
    }

    fn gives(&self, _: Shape, taken: u32, _: u32) -> u32 {
        taken + self.factor().1
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        self.form()
    }

    fn gives_gradient(&self, _: Shape, taken: u32, _: u32) -> u32 {
        taken + self.factor().1
    }

    fn onnx(&self) -> &'static str {
        "Dropout"
    }
}

impl<W: Word> Layer<W> for Dropout {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        self.apply(party, site, x[0].shares().0, z);
        Ok(())
    }
}

impl<W: Word> Backward<W> for Dropout {
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
        self.apply(party, site, dz.shares().0, dx);
        Ok(())
    }
}
