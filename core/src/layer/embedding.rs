//! An embedding: a learnt vector for each code, looked up on shares.
//!
//! The codes of the steps become [one-hot rows](one_hot_scaled), which are opened under masks; the
//! vectors are their product with the table.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Neither codes nor vectors are
//!   opened.
//! - **Cost:** 2 rounds forward, none backward. Of a step with `v` codes of `b` bits: each way
//!   `v` words and `b` bits; dealt `2^b` words and one for each unit, and for the
//!   table a word for each weight and lane.
//! - **Result:** exact; zeros for a code that is not in the table.
//! - **Needs:** codes that are whole numbers from 0 to `codes - 1`; the data owner's program checks
//!   that.
//! - **Memory:** `v` words a step between the passes.
//! - **Source:** secure mapping ([`crate::mapping`]) with a shared table.

use super::{
    Backward, Describe, Init, Input, Kept, Layer, Misfit, Parameter, Saved, Shape, Site, Takes, between, only,
    taken_masked,
};
use crate::{
    function::classify::one_hot_scaled,
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::{Factor, matmul},
    },
    word::Word,
};
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// An embedding of a sequence of codes, `[1, steps, 1]`. Parameters: a row of `units` weights for
/// each code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Number of codes, 2 to 256: codes are whole numbers below it.
    pub codes: u32,
    /// Words of a code's vector, 1 to 4,096.
    pub units: u32,
}

impl Embedding {
    /// Most codes.
    pub const MAX_CODES: u32 = 1 << 8;

    /// Bits of a code.
    const fn bits(self) -> u32 {
        u32::BITS - (self.codes - 1).leading_zeros()
    }

    fn table<'a, W: Word>(self, site: &Site<'a, W>) -> Masked<'a, W> {
        Masked { mask: site.open.mask.matrix(self.units as usize), ..site.open }
    }

    /// The one-hot rows that the forward pass opened.
    fn hot<W: Word>(self, kept: Kept<'_, W>, steps: usize) -> Masked<'_, W> {
        let (codes, Some(mask)) = (self.codes as usize, kept.masks[0]) else {
            panic!("the forward pass names the mask")
        };
        let words = &kept.words[..steps * codes];
        Masked { words, mask: mask.slice(0, words.len()).matrix(codes) }
    }
}

impl Describe for Embedding {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        between("codes", self.codes, 2, Self::MAX_CODES)?;
        between("units", self.units, 1, 1 << 12)?;
        match only(inputs)? {
            Shape([1, steps, 1]) => Ok(Shape([1, steps, self.units])),
            got => Err(Misfit::Codes { got }),
        }
    }

    fn parameters(&self, _: Shape, each: &mut dyn FnMut(Parameter)) {
        let init = Init::Glorot { fans: self.codes.saturating_add(self.units) };
        let dims = [self.codes, self.units, 1, 1];
        each(Parameter { name: "weight", dims, axes: 2, transposed: false, init, extra_bits: 0 });
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Truncated
    }

    fn gives(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Masked
    }

    fn gives_gradient(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        frac_bits
    }

    fn onnx(&self) -> &'static str {
        "Gather"
    }
}

impl<W: Word> Layer<W> for Embedding {
    fn saved(&self, site: &Site<'_, W>, rows: usize) -> usize {
        rows * site.input().words() * self.codes as usize
    }

    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        saved: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let (x, _) = x[0].shares();
        let codes = self.codes as usize;
        let hot = &mut saved.words[..x.len() * codes];
        one_hot_scaled(party, (x, site.frac_bits), self.bits(), codes, hot)?; // a round
        let mask = party.draw()?.mask(hot.len());
        let mask = mask_and_open(party, hot, mask)?; // a round
        saved.masks[0] = Some(mask);
        matmul(party, Factor::plain(self.hot(saved.kept(), x.len())), Factor::plain(self.table(site)), z)
    }
}

impl<W: Word> Backward<W> for Embedding {
    /// Codes have no gradient.
    fn backward(
        &self,
        _: &mut Party<'_, W>,
        _: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        _: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        _: Kept<'_, W>,
    ) -> Result<(), Error> {
        dx.fill(W::default());
        Ok(())
    }

    fn gradient(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Range<usize>,
        x: Masked<'_, W>,
        dz: Option<Masked<'_, W>>,
        kept: Kept<'_, W>,
        gradient: &mut [W],
    ) -> Result<(), Error> {
        let (dz, steps) = (taken_masked(dz), site.input().words());
        let hot = self.hot(kept, x.mask.rows.len() * steps);
        matmul(party, Factor::transposed(hot), Factor::plain(dz).cut(steps), gradient)?;
        party.kernels.scale(gradient, W::from_u64(1).shl(site.frac_bits));
        Ok(())
    }
}
