//! The clear engine: the job's own code on whole values, and the range audit that comes with it.

use super::{
    SessionId,
    plan::{ENDLESS, Label, plan_from},
    prg,
};
use crate::{
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{self, Halt, Inputs, Observer, Start, signed},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use symbolon_core::{
    correlation::Whole,
    link::Alone,
    party::{Role, Trace},
    prg::{ChaCha20Prg, Prg, Seed},
    word::{Word, word_bytes},
};

/// The largest words that an operation opened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Range {
    /// Dense layer, from 0.
    pub layer: u16,
    /// Operation.
    pub name: &'static str,
    /// Least and greatest word that it may open, or look up in a table.
    pub bounds: (i64, i64),
    /// Least word that it did.
    pub least: i64,
    /// Greatest word that it did.
    pub greatest: i64,
    /// Doublings that still fit; negative if a word left the bounds, and then it does not say by
    /// how much.
    pub headroom_bits: f64,
    /// Whether the words index a table, whose bounds do not follow from the ring.
    pub table: bool,
}

/// An operation and what it may open.
type Place = (Label, bool, (i64, i64));

/// Counts of second moments by their bits: entry `b` counts those below `2^b` and not below
/// `2^(b-1)`.
pub type Moments = [u64; 65];

/// Seen by all lanes.
struct Seen {
    /// Least and greatest word of each place.
    extremes: BTreeMap<Place, (i64, i64)>,
    /// The first operation that a word left the bounds of.
    wrapped: Option<Label>,
    moments: Moments,
}

/// Ranges by operation and bounds, and the optimizer's last state, collected by all lanes.
#[derive(Clone)]
pub struct Audit(Arc<Mutex<Seen>>);

impl Default for Audit {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Seen { extremes: BTreeMap::new(), wrapped: None, moments: [0; 65] })))
    }
}

impl Audit {
    /// What was seen, the least headroom first.
    pub fn ranges(&self) -> Vec<Range> {
        let seen = self.seen();
        let mut ranges = Vec::new();
        for (((layer, name), table, bounds), (least, greatest)) in &seen.extremes {
            ranges.push(Range {
                layer: *layer,
                name,
                bounds: *bounds,
                least: *least,
                greatest: *greatest,
                headroom_bits: headroom(*bounds, *least, *greatest),
                table: *table,
            });
        }
        ranges.sort_by(|a, b| a.headroom_bits.total_cmp(&b.headroom_bits));
        ranges
    }

    /// Layer and operation of the first word that left its bounds.
    pub fn wrapped(&self) -> Option<(u16, &'static str)> {
        self.seen().wrapped
    }

    /// The second moments of all parameters as the job ended; zeros for optimizers that have none.
    pub fn moments(&self) -> Moments {
        self.seen().moments
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `log2` of the factor by which words in `[least, greatest]` may grow before they leave `bounds`; negative if they have.
#[allow(clippy::cast_precision_loss)]
fn headroom(bounds: (i64, i64), least: i64, greatest: i64) -> f64 {
    if least < bounds.0 && bounds.0 == 0 {
        return -1.0;
    }
    let above = (bounds.1 as f64 + 1.0) / (greatest as f64 + 1.0).max(1.0);
    let below = if least < 0 { bounds.0 as f64 / least as f64 } else { f64::INFINITY };
    above.min(below).log2()
}

/// One lane's trace.
struct Watch {
    audit: Audit,
    label: Label,
}

impl<W: Word> Trace<W> for Watch {
    fn enter(&mut self, layer: u16, name: &'static str) {
        self.label = (layer, name);
    }
    fn opened(&mut self, words: &[W], offset: W, bits: u32) {
        self.see(words, offset, bits - 1, false);
    }
    fn indexed(&mut self, words: &[W], offset: W, width: u32) {
        self.see(words, offset, width, true);
    }
    fn bounded(&mut self, words: &[W], bits: u32) {
        self.see(words, W::from_u64(1).shl(bits), bits + 1, false);
    }
    fn moments(&mut self, second: &[W]) {
        count_bits(second, &mut self.audit.seen().moments);
    }
}

impl Watch {
    /// `words + offset` should be in `[0, 2^width)`.
    fn see<W: Word>(&mut self, words: &[W], offset: W, width: u32, table: bool) {
        let Some((least, greatest)) = extremes(words) else { return };
        let offset = signed(offset);
        let greatest_allowed = (1u64 << width.min(63)).wrapping_sub(1).cast_signed() - offset;
        let mut seen = self.audit.seen();
        if least < -offset || greatest > greatest_allowed {
            seen.wrapped.get_or_insert(self.label);
        }
        let place = (self.label, table, (-offset, greatest_allowed));
        let range = seen.extremes.entry(place).or_insert((least, greatest));
        *range = (range.0.min(least), range.1.max(greatest));
    }
}

/// Least and greatest of whole words.
fn extremes<W: Word>(words: &[W]) -> Option<(i64, i64)> {
    let bytes = W::bytes(words);
    let fold = |values: &mut dyn Iterator<Item = i64>| {
        values.fold(None, |range: Option<(i64, i64)>, v| {
            Some(range.map_or((v, v), |(least, greatest)| (least.min(v), greatest.max(v))))
        })
    };
    match W::BITS {
        32 => fold(&mut bytes.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b)))),
        _ => fold(&mut bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b))),
    }
}

/// Counts whole words, which are not negative, by their bits.
fn count_bits<W: Word>(words: &[W], counts: &mut Moments) {
    let mut count = |word: u64| counts[(u64::BITS - word.leading_zeros()) as usize] += 1;
    let bytes = W::bytes(words);
    match W::BITS {
        32 => bytes.as_chunks::<4>().0.iter().for_each(|b| count(u32::from_le_bytes(*b).into())),
        _ => bytes.as_chunks::<8>().0.iter().for_each(|b| count(u64::from_le_bytes(*b))),
    }
}

/// Trains on whole values, from the first step or from a state of this engine. `seeds` make its
/// masks and dithers, which are uniform, as the servers' are where server 0's share is. `threads`
/// bounds the lanes that run at once.
///
/// # Errors
///
/// [`Halt`].
pub fn run<W: HostWord + Word>(
    job: &Job,
    (inputs, start): (Inputs<W>, Start<W>),
    seeds: [&Seed; 2],
    session: &SessionId,
    threads: usize,
    audit: &Audit,
    observer: &mut dyn Observer<W>,
) -> Result<Vec<W>, Halt> {
    let choices = ChaCha20Prg::new(seeds[0], session);
    let prgs = seeds.map(|seed| prg(job.numbers.prg, seed, session));
    let prgs: [&dyn Prg; 2] = [&*prgs[0], &*prgs[1]];
    let plan = plan_from(job, start.position())
        .map_err(|_| Halt::Protocol { error: symbolon_core::link::Error::RequestsSpent, step: 0 })?;
    let arena = usize::try_from(plan.arena_bytes).unwrap_or(ENDLESS) / word_bytes::<W>();
    let lanes = (0..job.lanes.lanes).map(|lane| {
        Some(Lane {
            link: Box::new(Alone),
            correlations: Box::new(Whole::new(prgs, best::<W>(), lane)),
            trace: Box::new(Watch { audit: audit.clone(), label: (0, "") }),
            arena: Secret::zeros(arena),
        })
    });
    let mut lanes = Lanes::new(Role::Clear, best::<W>(), lanes.collect(), threads).choosing(&choices);
    train::run(&mut lanes, job, inputs, start, observer)
}
