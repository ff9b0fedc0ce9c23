//! Batch normalisation, channel by channel.
//!
//! - **Formula:** over the `n` values of a channel in a batch, with mean `μ` and variance `V`:
//!   `z = γ r (x - μ) + β`, `r = (V + ε)^(-1/2)`. Backward, with `s = γ r`, `M = Σ dz` and
//!   `A = Σ dz (x - μ)`: `dx = s dz - s M / n - s r^2 A / n (x - μ)`, `dγ = r A`, `dβ = M`. In
//!   inference `μ` and `V` are running means.
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. The number of rows is public.
//! - **Cost:** of an element, beyond a network without it: forward a truncation and an opening of
//!   `x`, backward an opening of `dz` and a truncation of `dx`; dealt three words, and four beside
//!   rings of 64 bits an eighth of a truncation. Of a channel, once a batch: 12 rounds forward and 6
//!   backward, 2 more each where `n` is no power of two.
//! - **Result:** `r` is [one of eight constants an octave](crate::function::inverse_root), so it
//!   and `z - β` are within 2.2 %; the same `r` serves both passes. A channel of constant values
//!   has `V = 0` and takes the `r` of `ε`.
//! - **Needs:** `2 <= n`; means below 16 and variances below 128 in a ring of 32 bits, where the
//!   sum of the squares of eight values, with `2 f` fraction bits, stays below `2^31`; `z`, `dx` and
//!   the sums `A`, `s M` in the ring with `2 f + 4` fraction bits.
//! - **Memory:** nine words a channel for the batch; no word an element beyond the openings.
//! - **Source:** Ioffe and Szegedy, ICML 2015, algorithms 1 and 2; the backward form with the
//!   centred value is derived in DESIGN's `reference/batchnorm.py`. Departures: `x` is masked and
//!   opened, which costs a word each way and saves dealing the products with parts of a truncated
//!   word, two words in all; in a ring of 32 bits the squares are added eight at a time and
//!   truncated, so that no sum needs a wider ring.

use super::{
    Backward, Describe, Fraction, GradientSplit, Init, Input, Layer, MASKS, Meeting, MeetingLens, Meets, Misfit,
    Numbers, Parameter, Saved, Shape, Site, Takes, between, only,
};
use crate::{
    correlation::{Mask, Rows, View},
    function::inverse_root::{InverseRoot, OCTAVES},
    link::Error,
    party::Party,
    protocol::{
        dots::dots,
        masked::{Masked, mask_and_open},
        product::multiply,
        rows::multiply_rows,
        times::times_masked,
        truncate::{Cut, open, open_two, truncate, truncate_two, truncate_unsigned, truncated},
    },
    word::Word,
};
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// Batch normalisation. Parameters: `weight` (`γ`) and `bias` (`β`) of each channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "files", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// `ε = 2^epsilon_log2`, which is added to variances; -8, if left out.
    #[serde(default = "epsilon_log2")]
    pub epsilon_log2: i8,
    /// The weight of a batch in the running mean and variance, from 0 to below 1; 0.125, if left
    /// out.
    #[serde(default = "momentum")]
    pub momentum: Fraction,
    /// Fraction bits that gradients have beyond a product's, 4 to 12; 8, if left out. They hold
    /// what each of the `n` values takes off a gradient, about `1 / n` of it.
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
/// Bits of `s r^2 A` before the point.
const SLOPE_BITS: u32 = 10;
/// Most guard bits.
const MAX_GUARD: u32 = 12;
/// Fraction bits of variances: as many as a ring of 32 bits has room for, where values have few.
fn variance_bits(frac_bits: u32) -> u32 {
    (frac_bits + 2).max(14).min(2 * frac_bits)
}

/// Bits of a mean square before the point.
const SQUARE_BITS: u32 = 8;
/// Fewest fraction bits of sums of squares.
const LEAST_SQUARE_BITS: u32 = 4;
/// Squares of a row that are added before they are truncated, where the ring is narrow.
const GROUP: usize = 8;
/// Bits of a mean before the point, the sign among them.
const MEAN_BITS: u32 = 5;
/// Most bits of the running means' momentum.
const MOMENTUM_SHIFT: u32 = 8;

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

/// Public numbers of a channel in a batch.
#[derive(Clone, Copy)]
struct Counts {
    channels: usize,
    /// Values of a channel in a row.
    places: usize,
    /// Values of a channel in the batch, `n`, at least 2.
    values: usize,
}

impl Counts {
    fn of<W>(site: &Site<'_, W>, batch: usize) -> Self {
        let channels = site.input().channels();
        let places = site.input().words() / channels.max(1);
        Self { channels, places, values: (batch * places).max(2) }
    }

    /// `L`, for `2^L <= n < 2^(L+1)`.
    fn log2(self) -> u32 {
        self.values.ilog2()
    }

    /// `2^L / n`.
    #[allow(clippy::cast_precision_loss)] // far fewer than 2^52 values
    fn ratio(self) -> f64 {
        (1u64 << self.log2()) as f64 / self.values as f64
    }

    /// Fraction bits of the sum of squares in a ring of `ring_bits` bits.
    fn square_bits(self, ring_bits: u32, frac_bits: u32) -> u32 {
        (ring_bits - 2 - SQUARE_BITS).saturating_sub(self.log2()).min(2 * frac_bits)
    }

    /// Sums of squares a row, if they are truncated before they are added.
    fn groups(self) -> usize {
        self.places.div_ceil(GROUP)
    }
}

impl Describe for BatchNorm {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, Misfit> {
        between("momentum (bits)", u32::from(self.momentum.shift), 0, MOMENTUM_SHIFT)?;
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
        let Numbers { ring_bits, frac_bits, batches: [least, most] } = *numbers;
        let places = input.words() / input.channels().max(1);
        if least * places < 2 {
            return Err(Misfit::OneValue);
        }
        between("guard_bits", u32::from(self.guard_bits), SCALE_BITS, MAX_GUARD.min(frac_bits + SCALE_BITS))?;
        // One unit of a variance at least, and room for the largest one.
        let unit = variance_bits(frac_bits);
        let epsilon = self.epsilon_log2.into();
        let (min, max) = (-i64::from(unit), i64::from(ring_bits - 2) - i64::from(unit + OCTAVES));
        if epsilon < min || epsilon > max {
            return Err(Misfit::Power { key: "epsilon_log2", got: epsilon, min, max });
        }
        // Room for the sums of means, and a few fraction bits for those of squares.
        let power = |bits: u32| 1usize << (ring_bits - 2).saturating_sub(bits + 1).min(31);
        let rows = power(frac_bits + MEAN_BITS).min(power(SQUARE_BITS + LEAST_SQUARE_BITS) / places);
        if most > rows { Err(Misfit::Batch { got: most, most: rows }) } else { Ok(()) }
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

/// `x 2^L / n`: nothing for a power of two, else two rounds. Within a unit and `2^-16`.
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

impl BatchNorm {
    fn root<W: Word>(&self, site: &Site<'_, W>) -> InverseRoot {
        InverseRoot {
            in_frac_bits: variance_bits(site.frac_bits),
            out_frac_bits: site.frac_bits,
            epsilon_log2: self.epsilon_log2.into(),
        }
    }

    /// Mean and variance of each channel, from the sums: in place, with their fraction bits. Leaves
    /// the mean open.
    fn mean_and_variance<W: Word>(
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        counts: Counts,
        sums: &mut [W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let (c, frac_bits) = (counts.channels, site.frac_bits);
        let (mean, square) = sums.split_at_mut(c);
        let by = counts.square_bits(W::BITS, frac_bits) + counts.log2() - variance_bits(frac_bits);
        truncate_two(party, [(&mut *mean, counts.log2() - counts.places.ilog2()), (&mut *square, by)])?;
        over_ratio(party, counts, sums)?;
        let (mean, variance) = sums.split_at_mut(c);
        Self::open_mean(party, mean, met)?;
        let ([squared], mut party) = party.scratch([c])?;
        let open = open_at(met.words, met.masks, c, at::MEAN);
        multiply(&mut party, open, open, squared)?;
        truncate(&mut party, squared, 2 * frac_bits - variance_bits(frac_bits))?;
        party.kernels.sub(variance, squared);
        Ok(())
    }

    fn open_mean<W: Word>(party: &mut Party<'_, W>, mean: &[W], met: &mut Meeting<'_, W>) -> Result<(), Error> {
        let open = &mut met.words[at::MEAN * mean.len()..][..mean.len()];
        open.copy_from_slice(mean);
        open_words(party, open, &mut met.rights[0])
    }

    /// `s` and `β - s μ`, from the open `r`; in training moves `statistics` towards `found` in the
    /// round of the same truncation.
    fn scale_and_shift<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        moved: Option<(&mut [W], &[W])>,
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let (c, frac_bits) = (site.input().channels(), site.frac_bits);
        let ([scale, shift], mut party) = party.scratch([c; 2])?;
        let gamma = Masked { words: &site.open.words[..c], mask: site.open.mask.slice(0, c) };
        multiply(&mut party, gamma, open_at(met.words, met.masks, c, at::ROOT), scale)?;
        let by = frac_bits - SCALE_BITS;
        match moved {
            None => truncate(&mut party, scale, by)?,
            Some((statistics, found)) => {
                let (factor, shift) = (u64::from(self.momentum.factor), u32::from(self.momentum.shift));
                party.kernels.scale(statistics, W::from_u64((1 << shift) - factor));
                party.kernels.add_scaled(statistics, found, W::from_u64(factor));
                truncate_two(&mut party, [(&mut *scale, by), (statistics, shift)])?;
            }
        }
        let open = &mut met.words[at::SCALE * c..][..c];
        open.copy_from_slice(scale);
        open_words(&mut party, open, &mut met.rights[1])?;
        let [scale, mean] = [at::SCALE, at::MEAN].map(|at| open_at(met.words, met.masks, c, at));
        multiply(&mut party, scale, mean, shift)?;
        let beta = &mut met.words[at::SHIFT * c..][..c];
        beta.copy_from_slice(&site.shares[c..2 * c]);
        party.kernels.scale(beta, W::from_u64(1).shl(frac_bits + SCALE_BITS));
        party.kernels.sub(beta, shift);
        Ok(())
    }

    /// `dγ` with `2 f` fraction bits and `-s r^2 A / n` with `f + guard`, from `A`; and `s M / n`
    /// with `2 f + guard`, from `s M`, in place.
    fn slopes<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        counts: Counts,
        [a, sum]: [&mut [W]; 2],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let (c, frac_bits, log2) = (counts.channels, site.frac_bits, counts.log2());
        let ([first, second, third], mut party) = party.scratch([c; 3])?;
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, a, Cut::signed(frac_bits), first)?;
        truncated(&mut party, &mut draw, &word, a)?;
        let root = open_at(met.words, met.masks, c, at::ROOT);
        times_masked(&mut party, &mut draw, &word, root, a)?; // r A
        let gradient = &mut met.words[at::GRADIENT * c..][..c];
        gradient.copy_from_slice(a);
        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, a, Cut::signed(frac_bits), first)?;
        truncated(&mut party, &mut draw, &word, a)?;
        let root = Masked { words: &met.words[at::ROOT * c..][c..2 * c], mask: met.masks[2].slice(c, c) };
        times_masked(&mut party, &mut draw, &word, root, a)?; // r^2 A 2^L / n
        let mut draw = party.draw()?;
        // Divided by 2^L in two steps: the first makes room for the product with s, and leaves the
        // bits that n values of it add up to.
        let guard = u32::from(self.guard_bits);
        let room = (2 * frac_bits + SCALE_BITS + SLOPE_BITS).saturating_sub(W::BITS - 2);
        let first_shift = log2.saturating_sub(guard).max(log2.min(room));
        let sum_shift = (log2 + SCALE_BITS).saturating_sub(guard);
        let cuts = [Cut::signed(frac_bits + first_shift), Cut::signed(sum_shift)];
        let [slope, mean] =
            open_two(&mut party, &mut draw, [(&*a, cuts[0]), (&*sum, cuts[1])], [&mut *second, &mut *third])?;
        truncated(&mut party, &mut draw, &slope, a)?;
        truncated(&mut party, &mut draw, &mean, sum)?;
        let scale = open_at(met.words, met.masks, c, at::SCALE);
        times_masked(&mut party, &mut draw, &slope, scale, a)?;
        truncate(&mut party, a, frac_bits + SCALE_BITS + log2 - first_shift - guard)?;
        party.kernels.scale(sum, W::from_u64(1).shl(sum_shift + guard - SCALE_BITS - log2));
        party.kernels.scale(a, W::from_i64(-1));
        Ok(())
    }
}

impl<W: Word> Meets<W> for BatchNorm {
    fn lens(&self, site: &Site<'_, W>) -> MeetingLens {
        let channels = site.input().channels();
        MeetingLens { sums: 2 * channels, words: at::END * channels, masks: [1, 1, 2, 1].map(|words| words * channels) }
    }

    fn sums(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        x: Masked<'_, W>,
        sums: &mut [W],
    ) -> Result<(), Error> {
        let (counts, rows, frac_bits) = (Counts::of(site, batch), x.mask.rows.len(), site.frac_bits);
        let (c, places) = (counts.channels, counts.places);
        let [mean_bits, square_bits] = [places.ilog2(), 2 * frac_bits - counts.square_bits(W::BITS, frac_bits)];
        let groups = if square_bits > 0 { counts.groups() } else { 1 };
        let ([means, squares], mut party) = party.scratch([rows * c, rows * c * groups])?;
        let ([shares], lower) = party.scratch([x.words.len()])?;
        x.share(&lower, shares);
        lower.kernels.sum_rows(means, shares, places);
        dots(&mut party, x, x, places, squares)?;
        match [mean_bits, square_bits] {
            [0, 0] => {}
            [by, 0] => truncate(&mut party, means, by)?,
            [0, by] => truncate_unsigned(&mut party, squares, by)?,
            [by, squares_by] => {
                let (mean, cut) = (Cut::signed(by), Cut::unsigned(squares_by));
                let ([first, second], mut party) = party.scratch([means.len(), squares.len()])?;
                let mut draw = party.draw()?;
                let words = [(&*means, mean), (&*squares, cut)];
                let [mean, square] = open_two(&mut party, &mut draw, words, [first, second])?;
                truncated(&mut party, &mut draw, &mean, means)?;
                truncated(&mut party, &mut draw, &square, squares)?;
            }
        }
        let (mean, square) = sums.split_at_mut(c);
        add_up(&party, mean, means);
        let ([rows_squared], party) = party.scratch([rows * c])?;
        party.kernels.sum_rows(rows_squared, squares, groups);
        add_up(&party, square, rows_squared);
        Ok(())
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
        Self::mean_and_variance(party, site, counts, sums, met)?;
        let c = counts.channels;
        let roots = &mut met.words[at::ROOT * c..][..2 * c];
        self.root(site).apply(party, &[1.0, counts.ratio()], &sums[c..], roots)?;
        open_words(party, roots, &mut met.rights[2])?;
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
        let (c, rows) = (site.input().channels(), x.mask.rows.len());
        let places = site.input().words() / c.max(1);
        let (total, product) = sums.split_at_mut(c);
        let ([each], mut party) = party.scratch([rows * c])?;
        let ([shares], lower) = party.scratch([dz.words.len()])?;
        dz.share(&lower, shares);
        lower.kernels.sum_rows(each, shares, places);
        add_up(&lower, total, each);
        dots(&mut party, x, dz, places, each)?;
        add_up(&party, product, each);
        Ok(())
    }

    fn meet_backward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        batch: usize,
        sums: &mut [W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let (counts, frac_bits) = (Counts::of(site, batch), site.frac_bits);
        let c = counts.channels;
        let (total, a) = sums.split_at_mut(c);
        let bias = &mut met.words[(at::GRADIENT + 1) * c..][..c];
        bias.copy_from_slice(total);
        party.kernels.scale(bias, W::from_u64(1).shl(frac_bits));
        let ([own, product], mut party) = party.scratch([2 * c, c])?;
        repeat(own, total);
        over_ratio(&mut party, counts, &mut own[c..])?; // M 2^L / n
        let mask = party.draw()?.mask(2 * c);
        let mask = mask_and_open(&mut party, own, mask)?;
        let open = |from: usize| Masked { words: &own[from..from + c], mask: mask.slice(from, c) };
        multiply(&mut party, open_at(met.words, met.masks, c, at::MEAN), open(0), product)?;
        party.kernels.sub(a, product); // Σ dz (x - μ)
        multiply(&mut party, open_at(met.words, met.masks, c, at::SCALE), open(c), total)?;
        self.slopes(&mut party, site, counts, [&mut *a, &mut *total], met)?;
        let slope = &mut met.words[at::SLOPE * c..][..c];
        slope.copy_from_slice(a);
        open_words(&mut party, slope, &mut met.rights[3])?;
        let [slope, mean] = [at::SLOPE, at::MEAN].map(|at| open_at(met.words, met.masks, c, at));
        multiply(&mut party, slope, mean, product)?;
        let rest = &mut met.words[at::REST * c..][..c];
        rest.fill(W::default());
        party.kernels.sub(rest, total);
        party.kernels.sub(rest, product);
        Ok(())
    }

    fn settle(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        statistics: &[W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let c = site.input().channels();
        let (mean, variance) = statistics.split_at(c);
        Self::open_mean(party, mean, met)?;
        let roots = &mut met.words[at::ROOT * c..][..c];
        self.root(site).apply(party, &[1.0], variance, roots)?;
        open_words(party, roots, &mut met.rights[2])?;
        self.scale_and_shift(party, site, None, met)
    }
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

impl<W: Word> Layer<W> for BatchNorm {
    fn forward(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        x: &[Input<'_, W>],
        z: &mut [W],
        _: &mut Saved<'_, W>,
    ) -> Result<(), Error> {
        let (x, counts) = (x[0].masked(), Counts::of(site, 1));
        let (c, words) = (counts.channels, site.met.words);
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
        _: &Saved<'_, W>,
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
        _: Masked<'_, W>,
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
