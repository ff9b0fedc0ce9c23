//! The clear engine: the job's own code on whole values, and the range audit that comes with it.

use super::plan::{ENDLESS, Label, plan};
use crate::{
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    session::{SessionId, prg},
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
    /// Whether its words are opened as never negative, with one bit more.
    pub unsigned: bool,
    /// Least word that it opened.
    pub least: i64,
    /// Greatest word that it opened.
    pub greatest: i64,
    /// Doublings that still fit; negative if a word wrapped.
    pub headroom_bits: f64,
}

/// Least and greatest word, by operation and by whether it is opened as never negative.
type Extremes = BTreeMap<(Label, bool), (i64, i64)>;

/// Ranges by operation and offset, collected by all lanes.
#[derive(Clone, Default)]
pub struct Audit(Arc<Mutex<Extremes>>);

impl Audit {
    /// What was seen, the least headroom first, for words of `ring_bits`.
    pub fn ranges(&self, ring_bits: u32) -> Vec<Range> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ranges: Vec<Range> = seen
            .iter()
            .map(|(((layer, name), unsigned), (least, greatest))| Range {
                layer: *layer,
                name,
                unsigned: *unsigned,
                least: *least,
                greatest: *greatest,
                headroom_bits: headroom(ring_bits, *unsigned, *least, *greatest),
            })
            .collect();
        ranges.sort_by(|a, b| a.headroom_bits.total_cmp(&b.headroom_bits));
        ranges
    }
}

/// `log2` of the factor by which words in `[least, greatest]` may grow before they leave what an opening holds.
#[allow(clippy::cast_precision_loss)]
fn headroom(ring_bits: u32, unsigned: bool, least: i64, greatest: i64) -> f64 {
    let limit = f64::from(ring_bits - if unsigned { 1 } else { 2 });
    if unsigned && least < 0 {
        return -1.0;
    }
    let magnitude = (greatest as f64 + 1.0).max(-(least as f64)).max(1.0);
    limit - magnitude.log2()
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
        let unsigned = signed(offset) == 0;
        let Some((least, greatest)) = extremes(words) else { return };
        let mut seen = self.audit.0.lock().unwrap_or_else(PoisonError::into_inner);
        let range = seen.entry((self.label, unsigned)).or_insert((least, greatest));
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
            arena: vec![W::default(); arena],
        })
    });
    let mut lanes = Lanes::new(Role::Clear, best::<W>(), lanes.collect(), threads);
    train::run(&mut lanes, job, inputs, observer)
}
