//! Sums that a job reveals, made in 64 bits whatever its ring: a loss over an epoch, a score over
//! the test records.
//!
//! A lane adds terms in the ring, as many as one word holds whatever they are, then begins another
//! word. When the sum is revealed, all these words are widened at once ([`widen`]) and added up.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** for 32 bits one round a sum, and 4 bytes each way and 16 dealt for each word: one
//!   for `2^(f-1)` terms. For 64 bits nothing.
//! - **Result:** exact.
//! - **Needs:** terms of magnitude `2^(k-2-f)` at most, as truncations by `f` give.
//! - **Clamped terms**, for sums with noise: each is clamped to public limits when the sum is
//!   revealed, [`CHUNK`] terms of a lane at a time. A chunk costs one [`clamp`], 4 rounds. Until
//!   then the lane keeps all terms, one word each.

use crate::job::Job;
use crate::lanes::Lanes;
use serde::{Deserialize, Serialize};
use symbolon_core::{
    link::Error,
    loss::Describe as _,
    metric::Terms,
    party::{NoTrace, Party},
    protocol::{clamp::clamp, into_ring::widen},
    word::Word,
};
use zeroize::Zeroizing;

/// Terms that are clamped at a time, which bounds the scratch.
const CHUNK: usize = 4096;

/// A sum of the loss over records. Words are this party's shares of it, or whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Sum<V> {
    /// The sum.
    pub total: V,
    /// The number of records in it: those whose label names a class. `None` where all records have
    /// one.
    pub records: Option<V>,
}

/// The sums of a job's metrics over the test records. Words are this party's shares, or whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scores<V> {
    /// Metric after metric, in the order of the job.
    pub sums: Vec<V>,
    /// The number of test records whose label names a class. `None` where all records have one.
    pub records: Option<V>,
}

/// One lane's part of a sum.
pub(super) struct Tally<W: Word> {
    /// The last one may take `room` terms more.
    words: Zeroizing<Vec<W>>,
    room: usize,
    /// Terms that a word holds.
    capacity: usize,
    records: W,
    /// Terms that await their clamp, with its limits.
    clamped: Option<Kept<W>>,
}

/// Terms with the limits of their clamp, in pieces of [`CHUNK`]. No piece grows beyond its
/// allocation, which would leave a copy that is not wiped.
struct Kept<W: Word> {
    limits: [W; 2],
    pieces: Vec<Zeroizing<Vec<W>>>,
}

impl<W: Word> Kept<W> {
    fn add(&mut self, mut terms: &[W]) {
        while !terms.is_empty() {
            if self.pieces.last().is_none_or(|piece| piece.len() == CHUNK) {
                self.pieces.push(Zeroizing::new(Vec::with_capacity(CHUNK)));
            }
            let Some(piece) = self.pieces.last_mut() else { return };
            let (now, later) = terms.split_at(terms.len().min(CHUNK - piece.len()));
            piece.extend_from_slice(now);
            terms = later;
        }
    }
}

impl<W: Word> Tally<W> {
    /// Makes the sum of a job's loss. With noise, each term is clamped.
    pub(super) fn of_loss(job: &Job) -> Self {
        let word = |limit| W::from_i64(limit << job.numbers.frac_bits);
        let clamped = job.loss_limits().map(|limits| Kept { limits: limits.map(word), pieces: Vec::new() });
        let [least, greatest] = job.loss.limits(&job.loss_numbers()).map(i128::unsigned_abs);
        // Below 2^(k-2) all together.
        let capacity = 1usize << (W::BITS - 3).saturating_sub(least.max(greatest).max(1).ilog2());
        Self { clamped, ..Self::new(capacity) }
    }

    /// Returns the words that a checkpoint stores of the sum of a job's loss after `terms` terms.
    pub(super) fn stored_words(job: &Job, terms: usize) -> usize {
        let empty = Self::of_loss(job);
        1 + if empty.clamped.is_some() { terms } else { terms.div_ceil(empty.capacity).max(1) }
    }

    /// Makes the sum of a job's loss after `terms` terms, of zeros.
    pub(super) fn after(job: &Job, terms: usize) -> Self {
        let mut tally = Self::of_loss(job);
        let capacity = tally.capacity;
        if let Some(kept) = &mut tally.clamped {
            (0..terms).step_by(CHUNK).for_each(|at| kept.add(&vec![W::default(); CHUNK.min(terms - at)]));
            return tally;
        }
        let words = terms.div_ceil(capacity).max(1);
        (tally.words, tally.room) = (Zeroizing::new(vec![W::default(); words]), words * capacity - terms);
        tally
    }

    /// The shares that a checkpoint stores: the number of records, then the terms that await their
    /// clamp, or the words.
    pub(super) fn durable(&mut self) -> Vec<&mut [W]> {
        let mut shares = vec![std::slice::from_mut(&mut self.records)];
        match &mut self.clamped {
            Some(kept) => shares.extend(kept.pieces.iter_mut().map(|piece| &mut piece[..])),
            None => shares.push(&mut self.words),
        }
        shares
    }

    /// Makes a sum of a metric's terms.
    pub(super) fn of(terms: &Terms) -> Self {
        let clamped = terms.clamp.map(|limits| Kept { limits: limits.map(W::from_i64), pieces: Vec::new() });
        Self { clamped, ..Self::new(terms.capacity(W::BITS)) }
    }

    /// Of counts, which are below `2^(k-2)` all together.
    pub(super) fn of_counts() -> Self {
        Self::new(usize::MAX)
    }

    fn new(capacity: usize) -> Self {
        Self {
            words: Zeroizing::new(vec![W::default()]),
            room: capacity,
            capacity,
            records: W::default(),
            clamped: None,
        }
    }

    /// Adds `terms`.
    pub(super) fn add(&mut self, terms: &[W]) {
        match &mut self.clamped {
            Some(kept) => kept.add(terms),
            None => self.add_up(terms),
        }
    }

    /// Clamps the waiting terms and adds them.
    fn clamp(&mut self, party: &mut Party<'_, W>) -> Result<(), Error> {
        let Some(Kept { limits: [low, high], pieces }) = self.clamped.take() else { return Ok(()) };
        for mut piece in pieces {
            clamp(party, &mut piece, low, high)?;
            self.add_up(&piece);
        }
        Ok(())
    }

    fn add_up(&mut self, mut terms: &[W]) {
        while !terms.is_empty() {
            if self.room == 0 {
                self.words.push(W::default());
                self.room = self.capacity;
            }
            let (now, later) = terms.split_at(self.room.min(terms.len()));
            if let Some(word) = self.words.last_mut() {
                *word = sum(*word, now);
            }
            self.room -= now.len();
            terms = later;
        }
    }

    /// Adds to the number of records.
    pub(super) fn count(&mut self, ones: &[W]) {
        self.records = sum(self.records, ones);
    }
}

/// `first` and all `words` together. A dry run, where nothing is there, costs nothing.
fn sum<W: Word>(first: W, words: &[W]) -> W {
    if size_of::<W>() == 0 { first } else { words.iter().fold(first, |sum, word| sum.add(*word)) }
}

/// This party's shares of the sum of all lanes' `tallies`; `counted` if records are counted.
///
/// # Errors
///
/// The link's and the dealer's.
pub(super) fn total<W: Word>(
    lanes: &mut Lanes<'_, W>,
    tallies: Vec<Tally<W>>,
    counted: bool,
) -> Result<Sum<W::Wide>, Error> {
    let with_records = |mut tally: Tally<W>| {
        let records = Tally { words: Zeroizing::new(vec![tally.records]), ..Tally::of_counts() };
        tally.records = W::default();
        if counted { vec![tally, records] } else { vec![tally] }
    };
    let mut sums = totals(lanes, tallies.into_iter().map(with_records).collect())?.into_iter();
    Ok(Sum { total: sums.next().unwrap_or_default(), records: sums.next() })
}

/// This party's shares of several sums over all lanes: `tallies` are lane by lane, of each lane as
/// many as there are sums. One widening for all of a lane.
///
/// # Errors
///
/// The link's and the dealer's.
pub(super) fn totals<W: Word>(lanes: &mut Lanes<'_, W>, tallies: Vec<Vec<Tally<W>>>) -> Result<Vec<W::Wide>, Error> {
    let zero = <W::Wide>::default();
    let sums = tallies.first().map_or(0, Vec::len);
    let mut parts = vec![vec![zero; sums]; tallies.len()];
    lanes.each(tallies.into_iter().zip(&mut parts).collect(), |party, (mut tallies, own)| {
        party.trace.enter(0, "clamp terms");
        tallies.iter_mut().try_for_each(|tally| tally.clamp(party))?;
        party.trace.enter(0, "sum outputs");
        let words = Zeroizing::new(tallies.iter().flat_map(|tally| tally.words.iter().copied()).collect::<Vec<W>>());
        let mut wide = Zeroizing::new(vec![zero; words.len()]);
        // By construction the words are in range if their terms are: nothing for an audit to see.
        let (mut unseen, ([], mut party)) = (NoTrace, party.scratch([])?);
        party.trace = &mut unseen;
        widen(&mut party, &words, &mut wide)?;
        let mut rest = &wide[..];
        for (tally, own) in tallies.iter().zip(own.iter_mut()) {
            let (head, tail) = rest.split_at(tally.words.len());
            (*own, rest) = (sum(zero, head), tail);
        }
        Ok(())
    })?;
    let add = |mut all: Vec<W::Wide>, part: Vec<W::Wide>| {
        all.iter_mut().zip(part).for_each(|(sum, part)| *sum = sum.add(part));
        all
    };
    Ok(parts.into_iter().fold(vec![zero; sums], add))
}
