//! The clear engine: the job's own code on whole values, and the range audit that comes with it.

use super::{
    SessionId,
    plan::{ENDLESS, Label, plan},
    prg,
};
use crate::{
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{self, Halt, Inputs, Observer, signed},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use symbolon_core::{
    correlation::Whole,
    link::Alone,
    party::{Role, Trace},
    prg::{Prg, Seed},
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
    /// Doublings that still fit; negative if a word wrapped.
    pub headroom_bits: f64,
}

impl Range {
    /// Whether words were opened, and not looked up in a table, whose range is shorter.
    pub fn is_opening(&self, ring_bits: u32) -> bool {
        self.bounds.1 >> (ring_bits - 3) != 0
    }
}

/// Least and greatest word, by operation and bounds.
type Extremes = BTreeMap<(Label, (i64, i64)), (i64, i64)>;

/// Ranges by operation and bounds, collected by all lanes.
#[derive(Clone, Default)]
pub struct Audit(Arc<Mutex<Extremes>>);

impl Audit {
    /// What was seen, the least headroom first.
    pub fn ranges(&self) -> Vec<Range> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ranges = Vec::new();
        for (((layer, name), bounds), (least, greatest)) in seen.iter() {
            ranges.push(Range {
                layer: *layer,
                name,
                bounds: *bounds,
                least: *least,
                greatest: *greatest,
                headroom_bits: headroom(*bounds, *least, *greatest),
            });
        }
        ranges.sort_by(|a, b| a.headroom_bits.total_cmp(&b.headroom_bits));
        ranges
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
    fn opened(&mut self, words: &[W], offset: W) {
        self.see(words, offset, W::BITS - 1);
    }
    fn indexed(&mut self, words: &[W], offset: W, width: u32) {
        self.see(words, offset, width);
    }
}

impl Watch {
    /// `words + offset` should be in `[0, 2^width)`.
    fn see<W: Word>(&mut self, words: &[W], offset: W, width: u32) {
        let Some((least, greatest)) = extremes(words) else { return };
        let offset = signed(offset);
        let greatest_allowed = (1u64 << width.min(63)).wrapping_sub(1).cast_signed() - offset;
        let mut seen = self.audit.0.lock().unwrap_or_else(PoisonError::into_inner);
        let range = seen.entry((self.label, (-offset, greatest_allowed))).or_insert((least, greatest));
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

/// Trains on whole values; rounds as servers with these seeds would. `threads` bounds the lanes that run at once.
///
/// # Errors
///
/// [`Halt`].
pub fn run<W: HostWord + Word>(
    job: &Job,
    inputs: Inputs<W>,
    seeds: [&Seed; 2],
    session: &SessionId,
    threads: usize,
    audit: &Audit,
    observer: &mut dyn Observer<W>,
) -> Result<Vec<W>, Halt> {
    let prgs = seeds.map(|seed| prg(job.numbers.prg, seed, session));
    let prgs: [&dyn Prg; 2] = [&*prgs[0], &*prgs[1]];
    let plan = plan(job).map_err(|error| Halt::Protocol { error, step: 0 })?;
    let arena = usize::try_from(plan.arena_bytes).unwrap_or(ENDLESS) / word_bytes::<W>();
    let lanes = (0..job.lanes.lanes).map(|lane| {
        Some(Lane {
            link: Box::new(Alone),
            correlations: Box::new(Whole::new(prgs, best::<W>(), lane)),
            trace: Box::new(Watch { audit: audit.clone(), label: (0, "") }),
            arena: Secret::zeros(arena),
        })
    });
    let mut lanes = Lanes::new(Role::Clear, best::<W>(), lanes.collect(), threads);
    train::run(&mut lanes, job, inputs, observer)
}
