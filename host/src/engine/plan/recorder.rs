//! What a dry run leaves of a lane: its transcript in a hash, and what it costs by operation.

use super::{Cost, Label};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use symbolon_core::{
    correlation::{Request, Sink, receiver},
    link::{Error, Link, Part},
    party::{Role, Trace},
    prg::MaskId,
    word::{Word, word_bytes},
};

/// What comes next in a hash.
const EXCHANGE: u8 = 0;
const REQUEST: u8 = 1;
/// Bytes that SHA-256 takes at once.
const BLOCK: usize = 64;

/// What a lane has cost so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    pub(super) by_label: BTreeMap<Label, Cost>,
    pub(super) requests: u64,
    /// Request numbers that are used up.
    pub(super) numbers: u64,
}

/// A lane's dry run: every exchange and request in the hash, their costs by operation.
#[derive(Default)]
struct Record {
    label: Label,
    /// Of the operation that goes on; not yet in the tally.
    current: Cost,
    hash: Sha256,
    tally: Tally,
    /// Most words that the dealer's buffer needs for a request.
    deal_words: usize,
    /// An encoded request: its memory serves the next one.
    encoded: Vec<u8>,
    /// Units of work that are left: an exchange or a request is one, and so is each block that it hashes.
    work: u64,
}

impl Record {
    fn spend(&mut self, units: u64) -> Result<(), Error> {
        self.work = self.work.checked_sub(units).ok_or(Error::RequestsSpent)?;
        Ok(())
    }

    /// Another operation begins, or the last one ends.
    fn enter(&mut self, label: Label) {
        let ended = std::mem::replace(&mut self.label, label);
        let cost = std::mem::take(&mut self.current);
        if cost != Cost::default() {
            *self.tally.by_label.entry(ended).or_default() += cost;
        }
    }
}

/// One lane's recorder: link, sink and trace of the dry run, all of one record.
pub(super) struct Recorder<W>(Arc<Mutex<Record>>, PhantomData<fn() -> W>);

impl<W> Recorder<W> {
    /// For so many units of work.
    pub(super) fn new(work: u64) -> Self {
        Self(Arc::new(Mutex::new(Record { work, ..Record::default() })), PhantomData)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The costs so far; the operation that goes on is cut in two.
    pub(super) fn tally(&self) -> Tally {
        let mut record = self.record();
        let label = record.label;
        record.enter(label);
        record.tally.clone()
    }

    /// Most words that the dealer's buffer needs for a request so far.
    pub(super) fn deal_words(&self) -> usize {
        self.record().deal_words
    }

    /// The hash of the transcript so far.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.record().hash.clone().finalize().into()
    }
}

impl<W> Clone for Recorder<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<W, D: Word> Link<D> for Recorder<W> {
    fn exchange(&mut self, parts: &mut [Part<'_, D>]) -> Result<(), Error> {
        let mut record = self.record();
        record.hash.update([EXCHANGE]);
        record.hash.update((parts.len() as u64).to_le_bytes());
        for (fold, words) in parts.iter() {
            record.hash.update(((words.len() as u64) << 8 | *fold as u64).to_le_bytes());
        }
        record.spend(1)?;
        let words: usize = parts.iter().map(|(_, words)| words.len()).sum();
        record.current += Cost { rounds: 1, bytes_each_way: (words * word_bytes::<D>()) as u64, ..Cost::default() };
        Ok(())
    }
}

impl<W, D: Word> Trace<D> for Recorder<W> {
    fn enter(&mut self, layer: u16, name: &'static str) {
        self.record().enter((layer, name));
    }
}

impl<W: Word> Sink for Recorder<W> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let mut record = self.record();
        let mut encoded = std::mem::take(&mut record.encoded);
        encoded.clear();
        encoded.push(REQUEST);
        encoded = postcard::to_extend(&(first, request), encoded).expect("a request encodes: it holds numbers only");
        record.hash.update(&encoded);
        let blocks = (encoded.len() / BLOCK) as u64;
        record.encoded = encoded;
        let bytes = (request.wire_words::<W>() * word_bytes::<W>()) as u64;
        record.current.dealer_bytes += bytes;
        record.current.dealer_bytes_server0 += if receiver(first.lane) == Role::Server0 { bytes } else { 0 };
        record.deal_words = record.deal_words.max(request.deal_words::<W>());
        record.tally.requests += 1;
        record.tally.numbers = u64::from(first.request) + 1;
        record.spend(1 + blocks)
    }
}
