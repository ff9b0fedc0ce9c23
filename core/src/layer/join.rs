//! Layers of two inputs: the sum and the concatenation. Local on shares of any scale.
//!
//! Where the inputs' scales differ, the coarser one is multiplied by a power of two. In a residual
//! network the sum of a value with `f` fraction bits and an untruncated one with `2 f` is truncated
//! once, by the next layer.
//!
//! - **Adversary:** none; no message is sent.
//! - **Cost:** no round, no byte, nothing dealt.
//! - **Result:** exact.
//! - **Needs:** sums below `2^(k-2)`.
//! - **Memory:** none between the passes.

use super::{Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes};
use crate::{link::Error, party::Party, protocol::masked::Masked, word::Word};
use serde::{Deserialize, Serialize};

/// The sum of two inputs of one shape.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Add {}

/// The channels of the first input, then those of the second; images have one size. Or of each step
/// of two sequences, the features of the first, then those of the second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Concat {
    /// Joins the features of each step of two sequences, `[1, steps, features]`; false, if left
    /// out.
    #[serde(default)]
    pub each_step: bool,
}

fn both(inputs: &[Shape]) -> Result<[Shape; 2], Misfit> {
    let &[first, second] = inputs else { return Err(Misfit::Inputs { want: 2, got: inputs.len() }) };
    Ok([first, second])
}

/// Both inputs' shares, and the factors that bring them to the finer scale.
fn shares<'a, W: Word>(x: &[Input<'a, W>]) -> [(&'a [W], W); 2] {
    let [(a, a_bits), (b, b_bits)] = [x[0].shares(), x[1].shares()];
    let finest = a_bits.max(b_bits);
    let one = W::from_u64(1);
    [(a, one.shl(finest - a_bits)), (b, one.shl(finest - b_bits))]
}

macro_rules! join {
    ($layer:ident, $onnx:literal, |$this:ident, $first:ident, $second:ident| $output:expr) => {
        impl Describe for $layer {
            fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
                let ($this, [$first, $second]) = (self, both(inputs)?);
                $output
            }

            fn inputs(&self) -> usize {
                2
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
                $onnx
            }
        }
    };
}
join!(Add, "Add", |_this, first, second| if first == second {
    Ok(first)
} else {
    Err(Misfit::Differ { first, second })
});
join!(Concat, "Concat", |this, first, second| {
    if this.each_step {
        return match (first, second) {
            (Shape([1, a, features]), Shape([1, b, others])) if a == b => {
                Ok(Shape([1, a, features.saturating_add(others)]))
            }
            (Shape([1, ..]), Shape([1, ..])) => Err(Misfit::Images { first, second }),
            (Shape([1, ..]), got) | (got, _) => Err(Misfit::Sequence { got }),
        };
    }
    if first.image() != second.image() {
        return Err(Misfit::Images { first, second });
    }
    Ok(Shape([first.0[0].saturating_add(second.0[0]), first.0[1], first.0[2]]))
});

impl<W: Word> Layer<W> for Add {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        _: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        z.fill(W::default());
        for (x, factor) in shares(x) {
            party.kernels.add_scaled(z, x, factor);
        }
        Ok(())
    }
}

impl<W: Word> Backward<W> for Add {
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

impl Concat {
    /// Words of both inputs that lie together.
    fn widths(self, inputs: [Shape; 2]) -> [usize; 2] {
        inputs.map(|shape| if self.each_step { shape.image()[1] } else { shape.words() })
    }
}

impl<W: Word> Layer<W> for Concat {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        z.fill(W::default());
        let [(a, a_factor), (b, b_factor)] = shares(x);
        let [a_words, b_words] = self.widths(site.inputs);
        let rows = z.chunks_exact_mut(a_words + b_words);
        for ((z, a), b) in rows.zip(a.chunks_exact(a_words)).zip(b.chunks_exact(b_words)) {
            let (first, second) = z.split_at_mut(a_words);
            party.kernels.add_scaled(first, a, a_factor);
            party.kernels.add_scaled(second, b, b_factor);
        }
        Ok(())
    }
}

impl<W: Word> Backward<W> for Concat {
    fn backward(
        &self,
        _: &mut Party<'_, W>,
        site: &Site<'_, W>,
        _: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        input: usize,
        dx: &mut [W],
        _: Kept<'_, W>,
    ) -> Result<(), Error> {
        let [a_words, b_words] = self.widths(site.inputs);
        let (from, words) = if input == 0 { (0, a_words) } else { (a_words, b_words) };
        let rows = dz.shares().0.chunks_exact(a_words + b_words);
        dx.chunks_exact_mut(words).zip(rows).for_each(|(dx, dz)| dx.copy_from_slice(&dz[from..][..words]));
        Ok(())
    }
}
