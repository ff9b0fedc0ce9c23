//! The forward meeting: mean, variance and what follows from them for every row.

use super::{BatchNorm, Counts, MOMENTUM_BITS, SCALE_BITS, add_up, at, open_at, open_words, over_ratio, variance_bits};
use crate::{
    layer::{Meeting, Site},
    link::Error,
    party::Party,
    protocol::{
        alarm,
        dots::dots,
        masked::{Masked, mask_and_open},
        product::multiply,
        truncate::{Cut, open_two, truncate, truncate_two, truncate_unsigned, truncated},
    },
    word::Word,
};

/// Sums over some rows: of `x`, and of `x^2`, channel by channel.
pub(super) fn sums<W: Word>(
    party: &mut Party<'_, W>,
    (counts, frac_bits): (Counts, u32),
    x: Masked<'_, W>,
    sums: &mut [W],
) -> Result<(), Error> {
    let (rows, c, places) = (x.mask.rows.len(), counts.channels, counts.places);
    let lens = [rows * c, rows * c * counts.square_sums(), rows * c];
    let ([means, squares, each], mut party) = party.scratch(lens)?;
    {
        let ([shares], mut party) = party.scratch([x.words.len()])?;
        x.share(&party, shares);
        party.kernels.sum_rows(means, shares, places);
        alarm::bounded(&mut party, shares, counts.safe_bits())?;
    }
    dots(&mut party, x, x, places, squares)?;
    truncate_sums(&mut party, (means, counts.mean_shift()), (squares, 2 * frac_bits - counts.square_bits()))?;
    let (mean, square) = sums.split_at_mut(c);
    add_up(&party, mean, means);
    party.kernels.sum_rows(each, squares, counts.square_sums());
    add_up(&party, square, each);
    Ok(())
}

/// Truncates sums and sums of squares, which are never negative: one round, if any.
fn truncate_sums<W: Word>(
    party: &mut Party<'_, W>,
    (means, by): (&mut [W], u32),
    (squares, squares_by): (&mut [W], u32),
) -> Result<(), Error> {
    match [by, squares_by] {
        [0, 0] => Ok(()),
        [_, 0] => truncate(party, means, by),
        [0, _] => truncate_unsigned(party, squares, squares_by),
        _ => {
            let ([first, second], mut party) = party.scratch([means.len(), squares.len()])?;
            let mut draw = party.draw()?;
            let words = [(&*means, Cut::signed(by)), (&*squares, Cut::unsigned(squares_by))];
            let [mean, square] = open_two(&mut party, &mut draw, words, [first, second])?;
            truncated(&mut party, &mut draw, &mean, means)?;
            truncated(&mut party, &mut draw, &square, squares)
        }
    }
}

/// Mean and variance of each channel, from the sums: in place, with their fraction bits. Leaves the
/// mean open.
///
/// `V = E[x^2] - μ (2 m - μ)`, with the mean `m` before it is rounded to `μ`: the rounding counts
/// squared.
pub(super) fn mean_and_variance<W: Word>(
    party: &mut Party<'_, W>,
    (counts, frac_bits): (Counts, u32),
    sums: &mut [W],
    met: &mut Meeting<'_, W>,
) -> Result<(), Error> {
    let (c, extra, kept) = (counts.channels, counts.mean_extra(), variance_bits(frac_bits));
    let (mean, square) = sums.split_at_mut(c);
    let by = [counts.log2() - counts.mean_shift() - extra, counts.square_bits() + counts.log2() - kept];
    truncate_two(party, [(&mut *mean, by[0]), (&mut *square, by[1])])?;
    over_ratio(party, counts, sums)?;
    let (mean, variance) = sums.split_at_mut(c);
    let ([rest, product], mut party) = party.scratch([c; 2])?;
    rest.copy_from_slice(mean);
    if extra > 0 {
        truncate(&mut party, mean, extra)?;
    }
    open_mean(&mut party, mean, met)?;
    let open_rest;
    let rest = if extra > 0 {
        party.kernels.scale(rest, W::from_u64(2));
        party.kernels.add_scaled(rest, mean, W::from_i64(-(1 << extra)));
        let mask = party.draw()?.mask(c);
        open_rest = mask_and_open(&mut party, rest, mask)?;
        Masked { words: rest, mask: open_rest }
    } else {
        open_at(met.words, met.masks, c, at::MEAN)
    };
    multiply(&mut party, open_at(met.words, met.masks, c, at::MEAN), rest, product)?;
    truncate(&mut party, product, 2 * frac_bits + extra - kept)?;
    party.kernels.sub(variance, product);
    Ok(())
}

/// Opens the mean under its mask.
pub(super) fn open_mean<W: Word>(party: &mut Party<'_, W>, mean: &[W], met: &mut Meeting<'_, W>) -> Result<(), Error> {
    let open = &mut met.words[at::MEAN * mean.len()..][..mean.len()];
    open.copy_from_slice(mean);
    open_words(party, open, &mut met.rights[0])
}

impl BatchNorm {
    /// `r`, times each of `factors`, from the variance: open.
    pub(super) fn open_roots<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        frac_bits: u32,
        factors: &[f64],
        variance: &[W],
        met: &mut Meeting<'_, W>,
    ) -> Result<(), Error> {
        let c = variance.len();
        let root = self.root(frac_bits);
        let roots = &mut met.words[at::ROOT * c..][..factors.len() * c];
        root.apply(party, factors, variance, roots)?;
        open_words(party, roots, &mut met.rights[2])
    }

    /// `s` and `β - s μ`, from the open `r` and `μ`. In training moves the running statistics
    /// towards those of the batch, in the round of the same truncation.
    pub(super) fn scale_and_shift<W: Word>(
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
                let weight = self.momentum_units();
                party.kernels.scale(statistics, W::from_u64((1 << MOMENTUM_BITS) - weight));
                party.kernels.add_scaled(statistics, found, W::from_u64(weight));
                truncate_two(&mut party, [(&mut *scale, by), (statistics, MOMENTUM_BITS)])?;
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
}
