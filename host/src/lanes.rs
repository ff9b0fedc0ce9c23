//! Lanes: a tensor's tiles side by side, each lane with its own connection, correction stream and arena.
//!
//! Lanes and tiles are fixed by the job, never by the machine: `--threads` bounds how many lanes run at once and changes nothing
//! that a peer sees. A lane that waits for the network overlaps one that computes.
//!
//! The code of a job runs once; where work is cut over lanes it calls [`Lanes::each`], which returns when all lanes are done. A dealer, whose
//! dry lanes never wait for each other, runs the whole job once a lane and leaves the others out.

use crate::{alarms::Collector, secret::Secret};
use std::{cell::Cell, ops::Range, thread};
use symbolon_core::{
    correlation::{Correlations, Draw, Requests},
    kernel::Kernels,
    link::{Count, Error, Link, Part},
    party::{Alarms, Party, Role, Trace},
    prg::Prg,
    protocol::alarm::{self, SUBSETS},
    word::Word,
};

/// The lane number under which masks that several lanes use are drawn.
pub const COMMON_LANE: u16 = u16::MAX;

/// What one lane of a party owns.
pub struct Lane<'a, W: Word> {
    /// To the same lane of the other server.
    pub link: Box<dyn Link<W> + Send + 'a>,
    /// Masks and dealt values of this lane.
    pub correlations: Box<dyn Correlations<W> + Send + 'a>,
    /// Follows the job.
    pub trace: Box<dyn Trace<W> + Send + 'a>,
    /// Scratch.
    pub arena: Secret<W>,
}

/// A lane with its counters.
struct Counted<'a, W: Word> {
    lane: Lane<'a, W>,
    alarms: Option<Collector<'a, W>>,
    count: Count,
    low_water: usize,
}

/// A link that counts what passes.
struct Counting<'a, W> {
    link: &'a mut (dyn Link<W> + Send),
    count: &'a mut Count,
}

impl<W: Word> Link<W> for Counting<'_, W> {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        Link::<W>::exchange(self.count, parts)?;
        self.link.exchange(parts)
    }
}

/// Returns the part of `0..n`, in units of `unit`, that a lane `i` of `lanes` has: see
/// [`Lanes::part`].
pub(crate) fn part([i, lanes]: [usize; 2], n: usize, unit: usize) -> Range<usize> {
    let units = n.div_ceil(unit);
    let at = |i: usize| (units * i / lanes * unit).min(n);
    at(i)..at(i + 1)
}

/// The lanes of one party.
pub struct Lanes<'a, W: Word> {
    role: Role,
    kernels: &'a dyn Kernels<W>,
    lanes: Vec<Option<Counted<'a, W>>>,
    common: Requests,
    /// Where range alarms take their subsets and places from.
    choices: Option<&'a dyn Prg>,
    threads: usize,
    rounds: u64,
}

impl<'a, W: Word> Lanes<'a, W> {
    /// A party of `lanes`, of which at most `threads` run at once. A dealer leaves out all lanes but one.
    pub fn new(role: Role, kernels: &'a dyn Kernels<W>, lanes: Vec<Option<Lane<'a, W>>>, threads: usize) -> Self {
        let lanes = lanes
            .into_iter()
            .map(|lane| {
                lane.map(|lane| Counted { low_water: lane.arena.len(), lane, alarms: None, count: Count::default() })
            })
            .collect();
        let (common, threads) = (Requests::new(COMMON_LANE), threads.max(1));
        Self { role, kernels, lanes, common, choices: None, threads, rounds: 0 }
    }

    /// The same, with the secret stream that range alarms take their choices from: known to both
    /// servers alone. Dry lanes need none.
    #[must_use]
    pub fn choosing(self, choices: &'a dyn Prg) -> Self {
        Self { choices: Some(choices), ..self }
    }

    /// Has all lanes collect range alarms from here on.
    ///
    /// # Panics
    ///
    /// If the lanes have words and no stream to choose by.
    pub(crate) fn watch(&mut self) {
        assert!(self.choices.is_some() || size_of::<W>() == 0, "range alarms need a stream that both servers know");
        for (i, lane) in (0u16..).zip(&mut self.lanes) {
            if let Some(lane) = lane {
                lane.alarms = Some(Collector::new(self.choices, i));
            }
        }
    }

    /// Compares the words that lanes have kept: three rounds where there are any.
    ///
    /// # Errors
    ///
    /// The first lane's that failed.
    pub(crate) fn check_kept(&mut self) -> Result<(), Error> {
        self.each(vec![(); self.len()], |party, ()| alarm::check_kept(party, 1))
    }

    /// Writes the range alarms of all lanes to `words`, which are none in a job without alarms.
    pub(crate) fn save_alarms(&self, words: &mut [W]) {
        let each = words.len() / self.len();
        for (lane, words) in self.lanes.iter().zip(words.chunks_exact_mut(each.max(1))) {
            if let Some(alarms) = lane.as_ref().and_then(|lane| lane.alarms.as_ref()) {
                alarms.save(words);
            }
        }
    }

    /// Reads the range alarms of all lanes, which watch, from [saved](Self::save_alarms) `words`.
    pub(crate) fn load_alarms(&mut self, words: &[W]) {
        let each = words.len() / self.len();
        for (lane, words) in self.lanes.iter_mut().zip(words.chunks_exact(each.max(1))) {
            if let Some(alarms) = lane.as_mut().and_then(|lane| lane.alarms.as_mut()) {
                alarms.load(words);
            }
        }
    }

    /// A share, in bit 0, of whether any lane raised an alarm so far: the first lane's work, in
    /// three rounds.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's.
    pub(crate) fn alarm(&mut self) -> Result<W, Error> {
        let mut sums = Secret::zeros(SUBSETS);
        for alarms in self.lanes.iter().flatten().filter_map(|lane| lane.alarms.as_ref()) {
            self.kernels.xor(&mut sums, alarms.sums());
        }
        let (mut share, mut work) = (W::default(), Vec::new());
        work.push(Some((&mut sums, &mut share)));
        work.resize_with(self.len(), || None);
        self.each(work, |party, work| {
            if let Some((sums, share)) = work {
                *share = alarm::any(party, sums)?;
            }
            Ok(())
        })?;
        Ok(share)
    }

    /// Number of lanes, also of those left out.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Which shares this party holds.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The kernels of this party.
    pub fn kernels(&self) -> &'a dyn Kernels<W> {
        self.kernels
    }

    /// A request number for masks that several lanes use.
    ///
    /// # Errors
    ///
    /// [`Error::RequestsSpent`].
    pub fn draw(&mut self) -> Result<Draw, Error> {
        self.common.draw()
    }

    /// Lane `i`'s part of `0..n`, in units of `unit`; the parts are nearly equal and follow each other.
    pub fn part(&self, i: usize, n: usize, unit: usize) -> Range<usize> {
        part([i, self.len()], n, unit)
    }

    /// Runs `f` on the first lane alone.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    ///
    /// # Panics
    ///
    /// If `f` does.
    pub fn on_first<T: Send>(
        &mut self,
        work: T,
        f: impl Fn(&mut Party<'_, W>, T) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let mut all = vec![Some(work)];
        all.resize_with(self.len(), || None);
        self.each(all, |party, work| work.map_or(Ok(()), |work| f(party, work)))
    }

    /// Runs `f` on each lane with its piece of `work`; returns when all are done.
    ///
    /// # Errors
    ///
    /// The first lane's that failed.
    ///
    /// # Panics
    ///
    /// If `work` is not one piece a lane, or if `f` does.
    pub fn each<T: Send>(
        &mut self,
        work: Vec<T>,
        f: impl Fn(&mut Party<'_, W>, T) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        assert!(work.len() == self.lanes.len(), "one piece of work a lane");
        let (role, kernels) = (self.role, self.kernels);
        let before: Vec<u64> = self.lanes.iter().flatten().map(|l| l.count.rounds).collect();
        let run = |lane: &mut Counted<'a, W>, work: T| {
            let low_water = Cell::new(lane.low_water);
            let mut party = Party {
                role,
                link: &mut Counting { link: &mut *lane.lane.link, count: &mut lane.count },
                correlations: &mut *lane.lane.correlations,
                kernels,
                trace: &mut *lane.lane.trace,
                alarms: lane.alarms.as_mut().map(|alarms| alarms as &mut dyn Alarms<W>),
                arena: &mut lane.lane.arena,
                low_water: &low_water,
            };
            let done = f(&mut party, work);
            lane.low_water = low_water.get();
            done
        };
        let mut present: Vec<_> =
            self.lanes.iter_mut().zip(work).filter_map(|(lane, work)| Some((lane.as_mut()?, work))).collect();
        let threads = self.threads.min(present.len()).max(1);
        let mut groups: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
        for (i, lane) in present.drain(..).enumerate() {
            groups[i % threads].push(lane);
        }
        let run_group = |group: Vec<(&mut Counted<'a, W>, T)>| group.into_iter().try_for_each(|(l, w)| run(l, w));
        let mut groups = groups.into_iter();
        let own = groups.next().unwrap_or_default();
        let result = thread::scope(|scope| {
            let others: Vec<_> = groups.map(|group| scope.spawn(|| run_group(group))).collect();
            let mut result = run_group(own);
            for other in others {
                let done = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(done);
            }
            result
        });
        let rounds = self.lanes.iter().flatten().zip(before).map(|(l, before)| l.count.rounds - before).max();
        self.rounds += rounds.unwrap_or(0);
        result
    }

    /// Payload bytes that each direction carried on all lanes, and the longest chain of rounds.
    pub fn count(&self) -> Count {
        Count { bytes: self.lanes.iter().flatten().map(|l| l.count.bytes).sum(), rounds: self.rounds }
    }

    /// The most words of an arena that any lane has used.
    pub fn arena_peak(&self) -> usize {
        self.lanes.iter().flatten().map(|l| l.lane.arena.len() - l.low_water).max().unwrap_or(0)
    }
}
