//! Batch normalisation, channel by channel.
//!
//! - **Formula:** over the `n` values of a channel in a batch, with mean `μ` and variance `V`:
//!   `z = γ r (x - μ) + β`, `r = (V + ε)^(-1/2)`. Backward, with `s = γ r`, `M = Σ dz` and
//!   `A = Σ dz (x - μ)`: `dx = s dz - s M / n - s r^2 A / n (x - μ)`, `dγ = r A`, `dβ = M`. In
//!   inference `μ` and `V` are running means.
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. The number of rows is public.
//! - **Cost:** of an element, beyond a network without it: forward a truncation and an opening of
//!   `x`, backward an opening of `dz` and a truncation of `dx`; dealt three words, and in narrow
//!   rings an eighth of a truncation. Of a channel: at most 13 rounds forward and 6 backward a
//!   batch, 2 more each if `n` is not a power of two; 8 in each evaluation. In inference after a
//!   convolution or a dense layer that no other node reads: nothing of an element. There `s` is
//!   folded into that layer's parameters `w`, with 4 fraction bits more than they have; of such a
//!   parameter a truncation in each evaluation, and an opening of all. That is where the ring has
//!   room for `|γ w| < 8` at the largest `r`: `2 f + 9 + e / 2 <= k`, for `ε = 2^(-e)`.
//! - **Result:** `r` is [one of eight constants an octave](crate::function::inverse_sqrt), so it
//!   and `z - β` are within 2.2 %, and what a unit of `V` makes; the same `r` serves both passes. A
//!   channel of constant values has `V = 0`, within units, and takes the `r` of `ε`. The running
//!   variance is that of the batch, without the factor `n / (n - 1)` of PyTorch.
//! - **Needs:** `2 <= n`; `E[x^2] < 128`, so that means are below 11.3, and below 8 for `k = 32`
//!   and
//!   `f = 12`; `V + ε < 2^16 ε`, since larger variances take the last constant. `|x| < 2^b` units,
//!   below which squares cannot wrap: `b = 14` for `k = 32` where they are truncated in groups. The
//!   range alarm samples it. `z` in the ring with `2 f + 4` fraction bits, `dx` with `2 f + guard`;
//!   `|A|` and `|r A|` below `2^(k-2-2f)`, `|s r^2 A| < 2^10`; `|M| < 2^(k-10-f)` if `n` is not a
//!   power of two.
//! - **Memory:** kept: nine words a channel, and two more for each lane. Scratch: about four words
//!   an element.
//! - **Source:** Ioffe and Szegedy, ICML 2015, algorithms 1 and 2. The backward form with the
//!   centred value is derived here; `core/tests/protocols/resnet8.py` computes it in floating
//!   point. `x` is masked and opened after its truncation: a word each way, which saves dealing the
//!   products with parts of a truncated word, two words in all. In a narrow ring squares are added
//!   eight at a time and truncated, so that no sum needs a wider ring.

mod counts;
mod slopes;
mod statistics;

use super::{
    Backward, Describe, Fraction, GradientSplit, Init, Input, Kept, Layer, MASKS, Meeting, MeetingLens, Meets, Misfit,
    Numbers, Parameter, Saved, Shape, Site, Takes, between, only,
};
use crate::{
    correlation::{Mask, Rows, View},
    function::{inverse_sqrt::InverseSqrt, pow2},
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        rows::multiply_rows,
        truncate::truncate,
    },
    word::Word,
};
use core::ops::Range;
use counts::Counts;
use serde::{Deserialize, Serialize};

/// Batch normalisation. Parameters: `weight` (`γ`) and `bias` (`β`) of each channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// The power of two `ε = 2^epsilon_log2` that is added to variances; for 32-bit rings -14 to 0,
    /// or less at 12 fraction bits. Variances above `2^(epsilon_log2 + 16)` saturate. -8, if left
    /// out.
    #[serde(default = "epsilon_log2")]
    pub epsilon_log2: i8,
    /// Weight of a batch in the running statistics, rounded to 1/256 to 255/256; 0.125, if left
    /// out.
    #[serde(default = "momentum")]
    pub momentum: Fraction,
    /// Extra fraction bits of the input's gradient, 4 to 12 and at most `frac_bits + 4`. They keep
    /// terms of the size of one over the batch's values, so larger batches need more. 8, if left
    /// out.
    #[serde(default = "guard_bits")]
    pub guard_bits: u8,
}

fn epsilon_log2() -> i8 {
    -8
}

fn momentum() -> Fraction {
    Fraction { factor: 1, shift: 3 }
}

fn guard_bits() -> u8 {
    8
}

/// Fraction bits that `s` has beyond values.
const SCALE_BITS: u32 = 4;
/// Bits before the point of `γ w`, for parameters `w` that a normalisation is folded into.
const FOLDED_BITS: u32 = 3;
/// Most guard bits.
const MAX_GUARD: u32 = 12;
/// Fraction bits of the weight of a batch in the running statistics.
const MOMENTUM_BITS: u32 = 8;

/// Fraction bits of variances: as many as a ring of 32 bits has room for, where values have few.
fn variance_bits(frac_bits: u32) -> u32 {
    (frac_bits + 2).max(14).min(2 * frac_bits)
}

impl BatchNorm {
    /// The weight of a batch in the running statistics, in units of `2^-8`.
    fn momentum_units(&self) -> u64 {
        let (factor, shift) = (u64::from(self.momentum.factor), u32::from(self.momentum.shift));
        ((factor << MOMENTUM_BITS) + (1 << shift >> 1)) >> shift
    }

    /// The `r` that inference takes for a running variance which is public: the constant of its
    /// cell. For exported and imported models; a variance that the ring does not hold saturates.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // saturates
    pub fn vartime_public_root(&self, variance: f64, frac_bits: u32) -> f64 {
        let root = self.root(frac_bits);
        let scaled = variance * pow2(root.in_frac_bits);
        root.vartime_public((scaled + 0.5) as i64) as f64 / pow2(frac_bits)
    }

    fn root(&self, frac_bits: u32) -> InverseSqrt {
        let in_frac_bits = variance_bits(frac_bits);
        InverseSqrt { in_frac_bits, out_frac_bits: frac_bits, epsilon_log2: self.epsilon_log2.into() }
    }
}

/// Where words of [`Met`](super::Met) begin, in channels: open `μ`, `s`, `r` and `r 2^L / n`,
/// shares of `β - s μ`, open `-s r^2 A / n`, shares of the rest of `dx`, and of `dγ` and `dβ`.
mod at {
    pub(super) const MEAN: usize = 0;
    pub(super) const SCALE: usize = 1;
    pub(super) const ROOT: usize = 2;
    pub(super) const SHIFT: usize = 4;
    pub(super) const SLOPE: usize = 5;
    pub(super) const REST: usize = 6;
    pub(super) const GRADIENT: usize = 7;
    pub(super) const END: usize = 9;
}

/// The open words, each with a mask.
const OPEN: [usize; MASKS] = [at::MEAN, at::SCALE, at::ROOT, at::SLOPE];

impl Describe for BatchNorm {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        self.momentum.check("momentum")?;
        let units = u32::try_from(self.momentum_units()).unwrap_or(u32::MAX);
        between("momentum (times 256)", units, 1, (1 << MOMENTUM_BITS) - 1)?;
        between("guard_bits", u32::from(self.guard_bits), SCALE_BITS, MAX_GUARD)?;
        only(inputs)
    }

    fn parameters(&self, input: Shape, each: &mut dyn FnMut(Parameter)) {
        for (name, init) in [("weight", Init::One), ("bias", Init::Zero)] {
            each(Parameter { name, dims: [input.0[0], 1, 1, 1], axes: 1, transposed: false, init, extra_bits: 0 });
        }
    }

    fn statistics(&self, input: Shape, frac_bits: u32, each: &mut dyn FnMut(Parameter)) {
        let tensor = |name, init, extra_bits| {
            let dims = [input.0[0], 1, 1, 1];
            Parameter { name, dims, axes: 1, transposed: false, init, extra_bits }
        };
        each(tensor("running_mean", Init::Zero, 0));
        each(tensor("running_var", Init::One, variance_bits(frac_bits) - frac_bits));
    }

    fn takes(&self, _: Shape) -> Takes {
        Takes::Masked
    }

    fn gives(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        2 * frac_bits + SCALE_BITS
    }

    fn takes_gradient(&self, _: Shape) -> Takes {
        Takes::Masked
    }

    fn gives_gradient(&self, _: Shape, _: u32, frac_bits: u32) -> u32 {
        2 * frac_bits + u32::from(self.guard_bits)
    }

    fn check(&self, input: Shape, numbers: &Numbers) -> Result<(), Misfit> {
        let Numbers { ring_bits, frac_bits, batches } = *numbers;
        between("guard_bits", u32::from(self.guard_bits), SCALE_BITS, MAX_GUARD.min(frac_bits + SCALE_BITS))?;
        Counts::check_epsilon(self.epsilon_log2.into(), ring_bits, frac_bits)?;
        Counts::check(input.words() / input.channels().max(1), batches, ring_bits, frac_bits)
    }

    fn onnx(&self) -> &'static str {
        "BatchNormalization"
    }
}

/// A word of each channel, `rows` times, as a matrix of one word for each channel of each row.
fn repeated<'a, W: Word>(word: Masked<'_, W>, rows: usize, words: &'a mut [W]) -> Masked<'a, W> {
    repeat(words, word.words);
    let cols = word.words.len();
    Masked { words, mask: View { rows: Rows::All(rows), cols, stride: 0, ..word.mask } }
}

fn repeat<W: Word>(out: &mut [W], words: &[W]) {
    out.chunks_exact_mut(words.len().max(1)).for_each(|out| out.copy_from_slice(words));
}

/// Adds `parts`, a row of channels after the other.
fn add_up<W: Word>(party: &Party<'_, W>, sum: &mut [W], parts: &[W]) {
    sum.fill(W::default());
    parts.chunks_exact(sum.len().max(1)).for_each(|part| party.kernels.add(sum, part));
}

/// Opens `words` in place, under the first words of a mask.
fn open_words<W: Word>(party: &mut Party<'_, W>, words: &mut [W], right: &mut Mask) -> Result<(), Error> {
    let (mask, _) = core::mem::replace(right, Mask::empty()).split_at(words.len());
    mask_and_open(party, words, mask)?;
    Ok(())
}

/// Multiplies by `2^L / n`, in two rounds; leaves `x` unchanged if `n` is a power of two. Within
/// two units and a relative `2^-16`. Needs `|x| < 2^(k-10)`.
fn over_ratio<W: Word>(party: &mut Party<'_, W>, counts: Counts, x: &mut [W]) -> Result<(), Error> {
    if counts.values.is_power_of_two() {
        return Ok(());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 16 bits
    let factor = (counts.ratio() * 65536.0 + 0.5) as u64;
    let ([low], mut party) = party.scratch([x.len()])?;
    low.copy_from_slice(x);
    party.kernels.scale(low, W::from_u64(factor & 255));
    truncate(&mut party, low, 8)?;
    party.kernels.scale(x, W::from_u64(factor >> 8));
    party.kernels.add(x, low);
    truncate(&mut party, x, 8)
}

/// The open words that a meeting left, from `at` on.
fn open_at<'a, W: Word>(words: &'a [W], masks: &[View<'static>], channels: usize, at: usize) -> Masked<'a, W> {
    let Some(mask) = OPEN.iter().position(|first| *first == at) else { panic!("a word that is open") };
    Masked { words: &words[at * channels..][..channels], mask: masks[mask].slice(0, channels) }
}

/// `out_ij = x_ij s_c`, for a masked word of each channel.
fn by_channel<W: Word>(
    party: &mut Party<'_, W>,
    x: Masked<'_, W>,
    scale: Masked<'_, W>,
    out: &mut [W],
) -> Result<(), Error> {
    let (rows, channels) = (x.mask.rows.len(), scale.words.len());
    let ([words], mut party) = party.scratch([rows * channels])?;
    multiply_rows(&mut party, x, repeated(scale, rows, words), out)
}

/// `z_ij += s_c`, for a share of each channel.
fn add_by_channel<W: Word>(
    party: &mut Party<'_, W>,
    (rows, places): (usize, usize),
    shift: &[W],
    z: &mut [W],
) -> Result<(), Error> {
    let ([words], party) = party.scratch([rows * shift.len()])?;
    repeat(words, shift);
    party.kernels.add_rows(z, words, places);
    Ok(())
}

impl<W: Word> Meets<W> for BatchNorm {
    fn lens(&self, site: &Site<'_, W>) -> MeetingLens {
        let channels = site.input().channels();
        let masks = [1, 1, 2, 1].map(|words| words * channels);
        MeetingLens { sums: 2 * channels, words: at::END * channels, masks }
    }

    fn sums(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        x: Masked<'_, W>,
        sums: &mut [W],
    ) -> Result<(), Error> {
        statistics::sums(party, (Counts::of(site, batch), site.frac_bits), x, sums)
    }

    fn meet(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        sums: &mut [W],
        statistics: &mut [W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let counts = Counts::of(site, batch);
        statistics::mean_and_variance(party, (counts, site.frac_bits), sums, met)?;
        let factors = [1.0, counts.ratio()];
        self.open_roots(party, site.frac_bits, &factors, &sums[counts.channels..], met)?;
        self.scale_and_shift(party, site, Some((statistics, sums)), met)
    }

    fn backward_sums(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: Masked<'_, W>,
        dz: Masked<'_, W>,
        sums: &mut [W],
    ) -> Result<(), Error> {
        slopes::sums(party, Counts::of(site, 1), x, dz, sums)
    }

    fn meet_backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        sums: &mut [W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        self.gradients_and_slopes(party, site, Counts::of(site, batch), sums, met)
    }

    fn settle(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        statistics: &[W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let (mean, variance) = statistics.split_at(site.input().channels());
        statistics::open_mean(party, mean, met)?;
        self.open_roots(party, site.frac_bits, &[1.0], variance, met)?;
        self.scale_and_shift(party, site, None, met)
    }

    fn folds(&self, frac_bits: u32) -> bool {
        let root_bits = self.epsilon_log2.min(0).unsigned_abs().div_ceil(2);
        2 * frac_bits + SCALE_BITS + 2 + u32::from(root_bits) + FOLDED_BITS <= W::BITS
    }

    fn fold(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        channels: Range<usize>,
        parameters: Masked<'_, W>,
        out: &mut [W],
    ) -> Result<(), Error> {
        let scale = open_at(site.met.words, site.met.masks, site.input().channels(), at::SCALE);
        let mask = scale.mask.slice(channels.start, channels.len());
        let scale = Masked { words: &scale.words[channels], mask };
        by_channel(party, parameters, scale, out)?;
        truncate(party, out, site.frac_bits)
    }
}

impl<W: Word> Layer<W> for BatchNorm {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let counts = Counts::of(site, 1);
        let (c, words) = (counts.channels, site.met.words);
        if site.met.is_folded {
            let (x, _) = x[0].shares();
            z.copy_from_slice(x);
            let rows = z.len() / site.input().words().max(1);
            return add_by_channel(party, (rows, counts.places), &words[at::SHIFT * c..][..c], z);
        }
        let x = x[0].masked();
        by_channel(party, x, open_at(words, site.met.masks, c, at::SCALE), z)?;
        add_by_channel(party, (x.mask.rows.len(), counts.places), &words[at::SHIFT * c..][..c], z)
    }
}

impl<W: Word> Backward<W> for BatchNorm {
    fn backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: Option<Masked<'_, W>>,
        dz: Input<'_, W>,
        _: usize,
        dx: &mut [W],
        _: Kept<'_, W>,
    ) -> Result<(), Error> {
        let (Some(x), dz, counts) = (x, dz.masked(), Counts::of(site, 1)) else { panic!("the input is open") };
        let (c, words, masks) = (counts.channels, site.met.words, site.met.masks);
        by_channel(party, dz, open_at(words, masks, c, at::SCALE), dx)?;
        party.kernels.scale(dx, W::from_u64(1).shl(u32::from(self.guard_bits) - SCALE_BITS));
        let ([other], mut party) = party.scratch([dx.len()])?;
        by_channel(&mut party, x, open_at(words, masks, c, at::SLOPE), other)?;
        party.kernels.add(dx, other);
        add_by_channel(&mut party, (x.mask.rows.len(), counts.places), &words[at::REST * c..][..c], dx)
    }

    fn split(&self, site: &Site<'_, W>) -> GradientSplit {
        GradientSplit::Parameters { units: 2 * site.input().channels(), each: 1 }
    }

    fn gradient(
        &self,
        _: &mut Party<'_, W>,
        site: &Site<'_, W>,
        part: Range<usize>,
        _: Masked<'_, W>,
        _: Option<Masked<'_, W>>,
        _: Kept<'_, W>,
        gradient: &mut [W],
    ) -> Result<(), Error> {
        // The meeting found it.
        let found = &site.met.words[at::GRADIENT * site.input().channels()..];
        gradient.copy_from_slice(&found[part]);
        Ok(())
    }

    fn meets(&self) -> Option<&dyn Meets<W>> {
        Some(self)
    }
}
