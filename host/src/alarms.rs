//! A lane's range alarms ([`symbolon_core::protocol::alarm`]): their sums over random subsets, and
//! a sample of the words that no comparison serves.
//!
//! Of each [`STRATUM`] words that are offered one after the other, one is kept, at a random place.
//! How many are kept is public and part of the plan; the places and the subsets come from a seed
//! that the two servers alone share. So the dealer, whose requests name no place, and clients know
//! neither.
//!
//! - **Result:** a word that leaves its range is found for certain if a protocol compares it, else
//!   with probability 1/1024; of `n` such words, one is found with probability
//!   `1 - (1023/1024)^n` or more: 62 % for 1,000, 99 % for 5,000. What is found is missed by all
//!   subsets with probability `2^-40`.
//! - **Memory:** [`CAPACITY`] words a lane, and 40. While they are full, which takes 8 million
//!   words offered between two checks, no word is kept.

use crate::secret::Secret;
use symbolon_core::{
    kernel::{Kernels, plane_words},
    party::Alarms,
    prg::{MaskId, Prg, fill},
    protocol::alarm::SUBSETS,
    word::Word,
};
use zeroize::Zeroizing;

/// Offered words of which one is kept.
pub const STRATUM: usize = 1024;
/// Words that a lane keeps at most.
pub const CAPACITY: usize = 1 << 13;
/// Words that are worth a check of their own within an epoch.
pub const ENOUGH: usize = CAPACITY / 2;

/// Bytes of random places that are drawn at a time, two a stratum.
const PLACES: usize = 64;
/// Words of planes that are folded at a time.
const CHUNK: usize = 512;
/// Words of a stream that one name serves.
const STREAM: usize = 1 << 28;
/// Parts of a stream's name, beside those of [`crate::session`]'s shares of zero.
const SUBSETS_PART: u16 = 16;
const PLACES_PART: u16 = 17;

/// Returns the words that a checkpoint stores of a lane's alarms: the sums and, within an epoch,
/// room for all words that may be kept. At an epoch's end all kept words are checked.
pub(crate) fn stored_words(is_in_epoch: bool) -> usize {
    SUBSETS + if is_in_epoch { CAPACITY } else { 0 }
}

/// One lane's collector.
pub(crate) struct Collector<'a, W: Word> {
    /// Subsets and places; none in a dry run.
    choices: Option<&'a dyn Prg>,
    lane: u16,
    /// This party's shares of the sums over the subsets.
    sums: Secret<W>,
    /// Words of planes that were folded.
    folded: usize,
    kept: Secret<W>,
    len: usize,
    /// Words of the stratum that are still to come, and the place of the one that is kept.
    left: usize,
    place: usize,
    strata: u64,
    places: Zeroizing<[u8; PLACES]>,
}

impl<'a, W: Word> Collector<'a, W> {
    pub(crate) fn new(choices: Option<&'a dyn Prg>, lane: u16) -> Self {
        let (sums, kept) = (Secret::zeros(SUBSETS), Secret::zeros(CAPACITY));
        Self {
            choices,
            lane,
            sums,
            folded: 0,
            kept,
            len: 0,
            left: 0,
            place: 0,
            strata: 0,
            places: Zeroizing::new([0; PLACES]),
        }
    }

    /// This party's shares of the sums.
    pub(crate) fn sums(&self) -> &[W] {
        &self.sums
    }

    /// Writes the shares that a checkpoint stores: the sums, then the kept words, and zeros in the
    /// rest of their room, if there is any. The stratum that goes on is cut short.
    ///
    /// # Panics
    ///
    /// If more words are kept than there is room for.
    pub(crate) fn save(&self, words: &mut [W]) {
        let (sums, kept) = words.split_at_mut(SUBSETS);
        sums.copy_from_slice(&self.sums);
        kept.fill(W::default());
        kept[..self.len].copy_from_slice(&self.kept[..self.len]);
    }

    /// Reads [saved](Self::save) shares. Kept words, with zeros behind them, await their check.
    pub(crate) fn load(&mut self, words: &[W]) {
        let (sums, kept) = words.split_at(SUBSETS);
        self.sums.copy_from_slice(sums);
        self.kept[..kept.len()].copy_from_slice(kept);
        (self.len, self.left) = (kept.len(), 0);
    }

    /// Begins a stratum, if there is room for its word.
    fn next_stratum(&mut self) -> bool {
        if self.len == CAPACITY {
            return false;
        }
        if let Some(choices) = self.choices {
            #[allow(clippy::cast_possible_truncation)] // the remainder is below PLACES
            let at = 2 * (self.strata % (PLACES as u64 / 2)) as usize;
            if at == 0 {
                let id = MaskId { lane: self.lane, request: 0, part: PLACES_PART };
                choices.fill_bytes(id, 2 * self.strata, &mut *self.places);
            }
            let place = u16::from_le_bytes([self.places[at], self.places[at + 1]]);
            self.place = usize::from(place) % STRATUM; // a power of two: no place is likelier
        }
        self.kept[self.len] = W::default();
        self.strata += 1;
        self.len += 1;
        self.left = STRATUM;
        true
    }
}

impl<W: Word> Alarms<W> for Collector<'_, W> {
    fn raise(&mut self, kernels: &dyn Kernels<W>, planes: &mut [W], rows: usize) {
        let Some(choices) = self.choices else { return };
        clear_padding(planes, rows);
        let mut stream = Zeroizing::new([W::default(); CHUNK + SUBSETS - 1]);
        for planes in planes.chunks(CHUNK) {
            let random = &mut stream[..planes.len() + SUBSETS - 1];
            if self.folded % STREAM + random.len() > STREAM {
                self.folded = self.folded.next_multiple_of(STREAM);
            }
            let request = u32::try_from(self.folded / STREAM).expect("fewer than 2^60 comparisons a lane");
            let id = MaskId { lane: self.lane, request, part: SUBSETS_PART };
            fill(choices, id, self.folded % STREAM, random);
            kernels.fold_alarms(&mut self.sums, planes, random);
            self.folded += planes.len();
        }
    }

    fn offer(&mut self, words: &[W], shift: W) {
        let mut rest = words;
        while !rest.is_empty() && (self.left > 0 || self.next_stratum()) {
            let (own, others) = rest.split_at(self.left.min(rest.len()));
            let passed = STRATUM - self.left;
            if let Some(word) = self.place.checked_sub(passed).and_then(|at| own.get(at)) {
                self.kept[self.len - 1] = word.add(shift);
            }
            self.left -= own.len();
            rest = others;
        }
    }

    fn kept(&self) -> usize {
        self.len
    }

    fn take(&mut self, out: &mut [W]) {
        out.copy_from_slice(&self.kept[..self.len]);
        (self.len, self.left) = (0, 0);
    }
}

/// Clears the bits that belong to none of the `rows` elements of each plane.
fn clear_padding<W: Word>(planes: &mut [W], rows: usize) {
    let lanes = plane_words::<W>(rows);
    for plane in planes.chunks_exact_mut(lanes.max(1)) {
        for (lane, word) in plane.iter_mut().enumerate() {
            let elements = u32::try_from((rows - lane).div_ceil(lanes)).unwrap_or(W::BITS);
            *word = word.and(W::low_mask(elements));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use symbolon_core::{
        kernel::Portable,
        prg::{ChaCha20Prg, Seed},
    };

    fn choices(seed: u8) -> ChaCha20Prg {
        ChaCha20Prg::new(&Seed::from_bytes(&[seed; 32]), &[9; 16])
    }

    #[test]
    fn one_word_of_each_stratum_is_kept_at_any_place() {
        let mut found = [0; STRATUM];
        let mut next = 1;
        for seed in 0..200 {
            let (mut kept, choices) = (vec![], choices(seed));
            let mut collector = Collector::<u64>::new(Some(&choices), u16::from(seed));
            // Offered in pieces of every length, in all 100 strata and a part of one.
            let words: Vec<u64> = (1..=100 * STRATUM as u64 + 7).collect();
            let mut rest = &words[..];
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(rest.len().min(next % 700));
                collector.offer(head, 1 << 40);
                (rest, next) = (tail, next + 1);
            }
            kept.resize(collector.kept(), 0);
            assert_eq!(kept.len(), 101, "how many are kept is public");
            collector.take(&mut kept);
            for (stratum, word) in kept[..100].iter().enumerate() {
                let at = usize::try_from(word - (1 << 40) - 1).unwrap();
                assert_eq!(at / STRATUM, stratum);
                found[at % STRATUM] += 1;
            }
            // The last stratum was cut short: its word, or 0.
            assert!(kept[100] == 0 || kept[100] > (1 << 40) + 100 * STRATUM as u64);
            assert_eq!(collector.kept(), 0);
        }
        // 20 each, with a deviation of 4.
        assert!(found.iter().all(|n| (2..60).contains(n)), "{found:?}");
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_same_in_a_dry_run() {
        type Dry = <u64 as Word>::Dry;
        let choices = choices(1);
        let mut collector = Collector::<u64>::new(Some(&choices), 0);
        let mut dry = Collector::<Dry>::new(None, 0);
        for n in (0..3000).map(|i| 1000 + i) {
            collector.offer(&vec![5; n], 0);
            dry.offer(&vec![Dry::default(); n], Dry::default());
            assert_eq!(collector.kept(), dry.kept());
            assert!(dry.kept() <= CAPACITY);
        }
        assert_eq!(dry.kept(), (0..3000).map(|i| 1000 + i).sum::<usize>().div_ceil(STRATUM));
        collector.offer(&vec![5; CAPACITY * STRATUM], 0);
        assert_eq!(collector.kept(), CAPACITY);
    }

    /// Within an epoch all kept words go on, behind them zeros; at its end, where none is kept, the
    /// sums alone.
    #[test]
    fn a_stored_collector_goes_on() {
        let first = choices(1);
        let mut collector = Collector::<u64>::new(Some(&first), 0);
        collector.raise(&Portable, &mut [1, 2, 3], 150);
        collector.offer(&vec![7; 5 * STRATUM + 9], 0);
        let mut words = vec![u64::MAX; stored_words(true)];
        collector.save(&mut words);
        assert_eq!(words[..SUBSETS], *collector.sums());
        assert_eq!(words[SUBSETS..][..5], [7; 5]);
        assert!(words[SUBSETS + 6..].iter().all(|word| *word == 0), "the sixth stratum was cut short");
        let second = choices(2);
        let mut other = Collector::<u64>::new(Some(&second), 0);
        other.load(&words);
        assert_eq!((other.sums(), other.kept()), (collector.sums(), CAPACITY));
        let mut kept = vec![1; CAPACITY];
        other.take(&mut kept);
        assert_eq!(kept, words[SUBSETS..]);
        // As often as a fresh collector keeps a word.
        other.offer(&vec![7; 2 * STRATUM], 0);
        assert_eq!(other.kept(), 2);
        other.take(&mut kept[..2]);
        let mut sums = vec![0; stored_words(false)];
        other.save(&mut sums);
        assert_eq!(sums, words[..SUBSETS]);
        other.load(&sums);
        assert_eq!(other.kept(), 0);
    }

    #[test]
    fn padding_raises_nothing_and_each_row_does() {
        for rows in [1, 31, 32, 33, 64, 65, 1000] {
            let lanes = plane_words::<u32>(rows);
            let sums = |planes: &mut [u32]| {
                let choices = choices(3);
                let mut collector = Collector::<u32>::new(Some(&choices), 0);
                collector.raise(&Portable, planes, rows);
                collector.sums.iter().any(|sum| sum.count_ones() % 2 == 1)
            };
            let mut padding = vec![u32::MAX; 2 * lanes];
            for plane in 0..2 {
                for row in 0..rows {
                    padding[plane * lanes + row % lanes] &= !(1 << (row / lanes));
                }
            }
            assert!(!sums(&mut padding), "{rows}");
            for row in 0..2 * rows {
                let mut one = vec![0; 2 * lanes];
                let (plane, row) = (row / rows, row % rows);
                one[plane * lanes + row % lanes] |= 1 << (row / lanes);
                assert!(sums(&mut one), "row {row} of {rows}");
            }
        }
    }
}
