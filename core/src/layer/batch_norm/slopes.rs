//! The backward meeting: the gradient of the parameters, and the line in `x` that each `dx` takes
//! off `s dz`.

use super::{BatchNorm, Counts, SCALE_BITS, add_up, at, open_at, open_words, over_ratio};
use crate::{
    layer::{Meeting, Site},
    link::Error,
    party::Party,
    protocol::{
        dots::dots,
        masked::{Masked, mask_and_open},
        product::multiply,
        times::times_masked,
        truncate::{Cut, open, open_two, truncate, truncated},
    },
    word::Word,
};

/// Bits of `s r^2 A` before the point.
const SLOPE_BITS: u32 = 10;

/// Sums over some rows: of `dz`, and of `dz x`, channel by channel.
pub(super) fn sums<W: Word>(
    party: &mut Party<'_, W>,
    counts: Counts,
    x: Masked<'_, W>,
    dz: Masked<'_, W>,
    sums: &mut [W],
) -> Result<(), Error> {
    let (c, rows) = (counts.channels, x.mask.rows.len());
    let (total, product) = sums.split_at_mut(c);
    let ([each], mut party) = party.scratch([rows * c])?;
    {
        let ([shares], party) = party.scratch([dz.words.len()])?;
        dz.share(&party, shares);
        party.kernels.sum_rows(each, shares, counts.places);
        add_up(&party, total, each);
    }
    dots(&mut party, x, dz, counts.places, each)?;
    add_up(&party, product, each);
    Ok(())
}

impl BatchNorm {
    /// `dβ = M`, `dγ = r A`, the slope `-s r^2 A / n` and the rest `s r^2 A / n μ - s M / n`, from
    /// the sums `M` and `Σ dz x`.
    pub(super) fn gradients_and_slopes<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        counts: Counts,
        sums: &mut [W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let (c, frac_bits) = (counts.channels, site.frac_bits);
        let (total, a) = sums.split_at_mut(c);
        let bias = &mut met.words[(at::GRADIENT + 1) * c..][..c];
        bias.copy_from_slice(total);
        party.kernels.scale(bias, W::from_u64(1).shl(frac_bits));
        let ([own, product], mut party) = party.scratch([c; 2])?;
        own.copy_from_slice(total);
        let mask = party.draw()?.mask(c);
        let mask = mask_and_open(&mut party, own, mask)?;
        let mean = open_at(met.words, met.masks, c, at::MEAN);
        multiply(&mut party, mean, Masked { words: own, mask }, product)?;
        party.kernels.sub(a, product); // Σ dz (x - μ)
        over_ratio(&mut party, counts, total)?; // M 2^L / n
        self.divide(&mut party, site, counts, [&mut *a, &mut *total], met)?;
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

    /// From `A` with `2 f` fraction bits and `M 2^L / n` with `f`, in place: `-s r^2 A / n` with
    /// `f + guard`, `s M / n` with `2 f + guard`. Leaves `r A`, the gradient of `γ`.
    ///
    /// The division by `2^L` has two steps: the first makes room for the product with `s`, and
    /// leaves the bits that `n` values of it add up to.
    fn divide<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        site: &Site<'_, W>,
        counts: Counts,
        [a, m]: [&mut [W]; 2],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let (c, frac_bits, log2, guard) = (counts.channels, site.frac_bits, counts.log2(), u32::from(self.guard_bits));
        let early = log2.saturating_sub(guard);
        let room = (2 * frac_bits + SCALE_BITS + SLOPE_BITS).saturating_sub(W::BITS - 2);
        let early_slope = early.max(log2.min(room));
        let late = (log2 - early + SCALE_BITS).saturating_sub(guard);
        let ([first, second], mut party) = party.scratch([c; 2])?;
        let [root, scale] = [at::ROOT, at::SCALE].map(|at| open_at(met.words, met.masks, c, at));
        let over_n = Masked { words: &met.words[(at::ROOT + 1) * c..][..c], mask: met.masks[2].slice(c, c) };

        let mut draw = party.draw()?;
        let cuts = [(&*a, Cut::signed(frac_bits)), (&*m, Cut::signed(early))];
        let [word, sum] = open_two(&mut party, &mut draw, cuts, [&mut *first, &mut *second])?;
        truncated(&mut party, &mut draw, &word, a)?;
        truncated(&mut party, &mut draw, &sum, m)?;
        times_masked(&mut party, &mut draw, &word, root, a)?; // r A
        times_masked(&mut party, &mut draw, &sum, scale, m)?; // s M

        let gradient: &mut [W] = &mut *first;
        gradient.copy_from_slice(a);
        let mut draw = party.draw()?;
        let ([c1, c2], mut lower) = party.scratch([c; 2])?;
        let cuts = [(&*a, Cut::signed(frac_bits)), (&*m, Cut::signed(late))];
        let [word, sum] = open_two(&mut lower, &mut draw, cuts, [c1, c2])?;
        truncated(&mut lower, &mut draw, &word, a)?;
        truncated(&mut lower, &mut draw, &sum, m)?;
        lower.kernels.scale(m, W::from_u64(1).shl((late + guard) - (log2 - early + SCALE_BITS)));
        times_masked(&mut lower, &mut draw, &word, over_n, a)?; // r^2 A 2^L / n

        let mut draw = party.draw()?;
        let word = open(&mut party, &mut draw, a, Cut::signed(frac_bits + early_slope), second)?;
        truncated(&mut party, &mut draw, &word, a)?;
        times_masked(&mut party, &mut draw, &word, scale, a)?;
        truncate(&mut party, a, frac_bits + SCALE_BITS + log2 - early_slope - guard)?;
        party.kernels.scale(a, W::from_i64(-1));
        met.words[at::GRADIENT * c..][..c].copy_from_slice(first);
        Ok(())
    }
}
