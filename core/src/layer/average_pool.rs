//! Mean of windows, local on shares of any scale.
//!
//! `z = 2^s / n * sum / 2^s` for windows of `n` elements. Where `n` is a power of two the sum is
//! the mean with `log2 n` more fraction bits, so that nothing is rounded: behind a convolution the
//! next truncation takes them off too, once for `n` words. Other sums are multiplied by
//! `round(2^s / n)`, a constant of 10 bits.
//!
//! - **Adversary:** none; no message is sent.
//! - **Cost:** no round, no byte, nothing dealt.
//! - **Result:** exact for windows of a power of two; else with a relative error of at most
//!   `2^-10`.
//! - **Needs:** sums below `2^(k-2)`; windows of another size take truncated values.
//! - **Memory:** none between the passes.

use super::{
    Backward, Describe, Input, Kept, Layer, Misfit, Saved, Shape, Site, Takes, only,
    size::{Size, windows},
};
use crate::{kernel::Windows, link::Error, party::Party, protocol::masked::Masked, word::Word};
use serde::{Deserialize, Serialize};

/// An average pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AveragePool {
    /// Height and width of a window, one number for both or a list of two.
    pub window: Size,
    /// Rows and columns from one window to the next; the window's, if left out.
    #[serde(default)]
    pub stride: Option<Size>,
}

impl AveragePool {
    fn windows(self, input: Shape) -> Result<Windows, Misfit> {
        windows(input, self.window, self.stride.unwrap_or(self.window), Size([0; 2]))
    }
}

/// The mean over all places of each channel: an average pool whose window is the image.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePool {}

impl GlobalAveragePool {
    fn windows(input: Shape) -> Result<Windows, Misfit> {
        let Shape([_, height, width]) = input;
        let whole = Size::of([height, width])?;
        windows(input, whole, whole, Size([0; 2]))
    }
}

/// The constant `factor / 2^shift` that a sum of `n` elements is multiplied by: 1 / n.
fn reciprocal(n: usize) -> (u64, u32) {
    let shift = n.ilog2();
    if n.is_power_of_two() {
        return (1, shift);
    }
    // 512 < factor < 1024. In 16 bits of `n`, so that no device links a division of 64 bits.
    #[allow(clippy::cast_possible_truncation)] // 16 bits
    let top = (if shift > 15 { n >> (shift - 15) } else { n << (15 - shift) }) as u32;
    (u64::from(((1 << 25) + top / 2) / top), shift + 10)
}

fn takes(windows: Result<Windows, Misfit>) -> Takes {
    match windows {
        Ok(windows) if !windows.area().is_power_of_two() => Takes::Truncated,
        _ => Takes::Any,
    }
}

fn shift(windows: Result<Windows, Misfit>) -> u32 {
    windows.map_or(0, |windows| reciprocal(windows.area()).1)
}

fn forward<W: Word>(party: &Party<'_, W>, windows: Windows, x: Input<'_, W>, z: &mut [W]) {
    party.kernels.sum_windows(z, x.shares().0, windows);
    scale(party, windows, z);
}

fn backward<W: Word>(party: &mut Party<'_, W>, windows: Windows, dz: Input<'_, W>, dx: &mut [W]) -> Result<(), Error> {
    let dz = dz.shares().0;
    let ([scaled], party) = party.scratch([dz.len()])?;
    scaled.copy_from_slice(dz);
    scale(&party, windows, scaled);
    party.kernels.spread_windows(dx, scaled, windows);
    Ok(())
}

fn scale<W: Word>(party: &Party<'_, W>, windows: Windows, z: &mut [W]) {
    let (factor, _) = reciprocal(windows.area());
    if factor > 1 {
        party.kernels.scale(z, W::from_u64(factor));
    }
}

macro_rules! pool {
    ($layer:ident, $onnx:literal, $windows:expr) => {
        impl Describe for $layer {
            fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
                let input = only(inputs)?;
                let windows: Windows = $windows(self, input)?;
                Ok(super::size::output(input.0[0], &windows))
            }

            fn takes(&self, input: Shape) -> Takes {
                takes($windows(self, input))
            }

            fn gives(&self, input: Shape, taken: u32, _: u32) -> u32 {
                taken + shift($windows(self, input))
            }

            fn takes_gradient(&self, input: Shape) -> Takes {
                takes($windows(self, input))
            }

            fn gives_gradient(&self, input: Shape, taken: u32, _: u32) -> u32 {
                taken + shift($windows(self, input))
            }

            fn onnx(&self) -> &'static str {
                $onnx
            }
        }

        impl<W: Word> Layer<W> for $layer {
            fn forward(
                &self,
                party: &mut Party<'_, W>,
                site: &Site<'_, W>,
                x: &[Input<'_, W>],
                z: &mut [W],
                _: &mut Saved<'_, W>,
            ) -> Result<(), Error> {
                let windows = super::fits($windows(self, site.input()));
                forward(party, windows, x[0], z);
                Ok(())
            }
        }

        impl<W: Word> Backward<W> for $layer {
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
                let windows = super::fits($windows(self, site.input()));
                backward(party, windows, dz, dx)
            }
        }
    };
}
pool!(AveragePool, "AveragePool", |pool: &AveragePool, input| pool.windows(input));
pool!(GlobalAveragePool, "GlobalAveragePool", |_: &GlobalAveragePool, input| GlobalAveragePool::windows(input));
