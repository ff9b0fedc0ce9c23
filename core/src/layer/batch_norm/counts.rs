//! How many values a channel has, and how their sums fit into the ring.

use super::{super::Misfit, variance_bits};
use crate::{function::inverse_sqrt::OCTAVES, layer::Site, word::Word};

/// Bits of a mean square before the point: of a variance, too.
const SQUARE_BITS: u32 = 8;
/// Fewest fraction bits of sums of squares.
const LEAST_SQUARE_BITS: u32 = 4;
/// Bits of a mean before the point, the sign among them: of the root of a mean square.
const MEAN_BITS: u32 = 5;
/// Squares of a row that are added before they are truncated, where the ring is narrow.
const GROUP: usize = 8;
/// Most bits that a mean has beyond values while the variance is found.
const MOST_EXTRA: u32 = 6;

/// Public numbers of a channel in a batch.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) channels: usize,
    /// Values of a channel in a row.
    pub(super) places: usize,
    /// Values of a channel in the batch, `n`, at least 2.
    pub(super) values: usize,
    ring_bits: u32,
    frac_bits: u32,
}

impl Counts {
    pub(super) fn of<W: Word>(site: &Site<'_, W>, batch: usize) -> Self {
        let channels = site.input().channels();
        let places = site.input().words() / channels.max(1);
        Self {
            channels,
            places,
            values: batch.saturating_mul(places).max(2),
            ring_bits: W::BITS,
            frac_bits: site.frac_bits,
        }
    }

    /// `L`, for `2^L <= n < 2^(L+1)`.
    pub(super) fn log2(self) -> u32 {
        self.values.ilog2()
    }

    /// `2^L / n`.
    #[allow(clippy::cast_precision_loss)] // far fewer than 2^52 values
    pub(super) fn ratio(self) -> f64 {
        (1u64 << self.log2()) as f64 / self.values as f64
    }

    /// Bits that the sum of a row's values is truncated by, so that those of all rows fit.
    pub(super) fn mean_shift(self) -> u32 {
        (self.frac_bits + MEAN_BITS + self.log2() + 1).saturating_sub(self.ring_bits - 2)
    }

    /// Bits that the mean has beyond values while the variance is found: as many as its square has
    /// room for.
    pub(super) fn mean_extra(self) -> u32 {
        let room = (self.ring_bits - 2 - SQUARE_BITS).saturating_sub(2 * self.frac_bits);
        room.min(self.log2() - self.mean_shift()).min(MOST_EXTRA)
    }

    /// Fraction bits of the sum of all squares.
    pub(super) fn square_bits(self) -> u32 {
        (self.ring_bits - 2 - SQUARE_BITS).saturating_sub(self.log2()).min(2 * self.frac_bits)
    }

    /// Whether sums of squares are truncated before those of all rows are added.
    fn truncates_squares(self) -> bool {
        self.square_bits() < 2 * self.frac_bits
    }

    /// Sums of squares a row: one, or groups of eight at most if they are truncated.
    pub(super) fn square_sums(self) -> usize {
        if self.truncates_squares() { self.places.div_ceil(GROUP) } else { 1 }
    }

    /// `b`, such that sums of squares of values below `2^b` do not wrap before they are opened.
    pub(super) fn safe_bits(self) -> u32 {
        let added = if self.truncates_squares() { GROUP.min(self.places) } else { self.values };
        (self.ring_bits - 1 - added.next_power_of_two().ilog2()) / 2
    }

    /// Holds the `places` of an image and the batches `[least, most]` to what sums have room for.
    pub(super) fn check(
        places: usize,
        [least, most]: [usize; 2],
        ring_bits: u32,
        frac_bits: u32,
    ) -> Result<(), Misfit> {
        if least.saturating_mul(places) < 2 {
            return Err(Misfit::OneValue);
        }
        let power = |bits: u32| 1usize << (ring_bits - 2).saturating_sub(bits).min(31);
        let room = power(SQUARE_BITS + LEAST_SQUARE_BITS);
        for (got, most) in [(places, power(frac_bits + MEAN_BITS)), (most.saturating_mul(places), room)] {
            if got > most {
                return Err(Misfit::Values { got, most });
            }
        }
        Ok(())
    }

    /// Holds `ε` to a unit of a variance at least, and to room for the largest variance and for
    /// the root of `ε` times a weight.
    pub(super) fn check_epsilon(epsilon_log2: i64, ring_bits: u32, frac_bits: u32) -> Result<(), Misfit> {
        let unit = i64::from(variance_bits(frac_bits));
        let root = 2 * (i64::from(ring_bits) - 3 - 2 * i64::from(frac_bits));
        let (min, max) = ((-unit).max(-root), i64::from(ring_bits) - 2 - unit - i64::from(OCTAVES));
        if (min..=max).contains(&epsilon_log2) {
            return Ok(());
        }
        Err(Misfit::Power { key: "epsilon_log2", got: epsilon_log2, min, max })
    }
}
