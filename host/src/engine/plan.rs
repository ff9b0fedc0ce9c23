//! The plan of a job: its requests, rounds and bytes, from the job's own code run on dry words.

use crate::{
    job::Job,
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{self, Event, Observer},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    marker::PhantomData,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use symbolon_core::{
    correlation::{Dry, Request, Sink},
    kernel::Nothing,
    link::{Count, Error, Link, Part},
    party::{Role, Trace},
    prg::MaskId,
    word::{Word, word_bytes},
};

/// What one operation costs, over a whole job.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Cost {
    /// Exchanges, on the lane that has the most.
    pub rounds: u64,
    /// Payload bytes from each server to the other.
    pub bytes_each_way: u64,
    /// Payload bytes from the dealer to server 1.
    pub dealer_bytes: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.bytes_each_way += other.bytes_each_way;
        self.dealer_bytes += other.dealer_bytes;
    }
}

impl std::ops::Sub for Cost {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            rounds: self.rounds - other.rounds,
            bytes_each_way: self.bytes_each_way - other.bytes_each_way,
            dealer_bytes: self.dealer_bytes - other.dealer_bytes,
        }
    }
}

/// Where in the network an operation is, and its name.
pub type Label = (u16, &'static str);

/// What a lane's dry run left: every exchange and request in the hash, their costs by operation.
#[derive(Default)]
struct Record {
    label: Label,
    /// Of the operation that goes on; not yet in `by_label`.
    current: Cost,
    hash: Sha256,
    by_label: BTreeMap<Label, Cost>,
    total: Cost,
    requests: u64,
    /// An encoded request: its memory serves the next one.
    encoded: Vec<u8>,
}

impl Record {
    /// Another operation begins, or the last one ends.
    fn enter(&mut self, label: Label) {
        let ended = std::mem::replace(&mut self.label, label);
        let cost = std::mem::take(&mut self.current);
        if cost != Cost::default() {
            *self.by_label.entry(ended).or_default() += cost;
        }
    }

    fn add(&mut self, cost: Cost) {
        self.total += cost;
        self.current += cost;
    }
}

/// One lane's recorder: link, sink and trace of the dry run, all of one record.
#[derive(Default)]
pub struct Recorder<W>(Arc<Mutex<Record>>, PhantomData<fn() -> W>);

impl<W> Recorder<W> {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W, D: Word> Link<D> for Recorder<W> {
    fn exchange(&mut self, parts: &mut [Part<'_, D>]) -> Result<(), Error> {
        let mut record = self.record();
        record.hash.update((16 * parts.len() as u64).to_le_bytes());
        for (fold, words) in parts.iter() {
            record.hash.update((*fold as u64).to_le_bytes());
            record.hash.update((words.len() as u64).to_le_bytes());
        }
        let words: usize = parts.iter().map(|(_, words)| words.len()).sum();
        record.add(Cost { rounds: 1, bytes_each_way: (words * word_bytes::<D>()) as u64, dealer_bytes: 0 });
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
        encoded = postcard::to_extend(&(first, request), encoded).expect("a request encodes: it holds numbers only");
        record.hash.update((encoded.len() as u64).to_le_bytes());
        record.hash.update(&encoded);
        record.encoded = encoded;
        let dealer_bytes = (request.wire_words::<W>() * word_bytes::<W>()) as u64;
        record.add(Cost { dealer_bytes, ..Cost::default() });
        record.requests += 1;
        if record.requests > MAX_REQUESTS { Err(Error::RequestsSpent) } else { Ok(()) }
    }
}

/// Requests a lane, so that nobody plans for hours because a peer asked for it: a minute on one core, or a thousand epochs of MNIST.
const MAX_REQUESTS: u64 = 1 << 26;

/// A network between the servers, for predicting times.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Network {
    /// What it is called.
    pub name: &'static str,
    /// Bits a second into each server.
    pub bits_per_second: f64,
    /// Seconds a round waits.
    pub round_seconds: f64,
}

/// 1 Gb/s, 0.2 ms a round.
pub const LAN: Network = Network { name: "LAN", bits_per_second: 1e9, round_seconds: 0.2e-3 };
/// 100 Mb/s, 40 ms a round.
pub const WAN: Network = Network { name: "WAN", bits_per_second: 1e8, round_seconds: 40e-3 };

impl Cost {
    /// Seconds on `network`, computation left out: rounds wait one after the other, and server 1 receives from its peer and from
    /// the dealer over one line.
    #[allow(clippy::cast_precision_loss)]
    pub fn seconds(&self, network: &Network) -> f64 {
        let bits = (self.bytes_each_way + self.dealer_bytes) as f64 * 8.0;
        self.rounds as f64 * network.round_seconds + bits / network.bits_per_second
    }
}

/// An operation's cost.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    /// Dense layer that it belongs to, from 0.
    pub layer: u16,
    /// Its name.
    pub name: &'static str,
    /// Its cost over the whole job.
    #[serde(flatten)]
    pub cost: Cost,
}

/// The plan of a job: public, and the same at every party.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Over job, requests and exchanges of all lanes.
    #[serde(serialize_with = "as_hex")]
    pub hash: [u8; 32],
    /// The whole job: opening the data, training, evaluation.
    pub total: Cost,
    /// Opening the data and the initial weights.
    pub setup: Cost,
    /// The first epoch's steps.
    pub epoch: Cost,
    /// One step, on the average of the first epoch.
    pub step: Cost,
    /// Evaluation after the first epoch.
    pub evaluation: Cost,
    /// Requests to the dealer.
    pub requests: u64,
    /// Bytes of the largest arena that a lane needs.
    pub arena_bytes: u64,
    /// By layer and operation.
    pub operations: Vec<Operation>,
}

fn as_hex<S: serde::Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(hash))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<W> Clone for Recorder<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

/// Words of an arena that is never too small; dry, it takes no memory.
pub(crate) const ENDLESS: usize = 1 << 40;

/// Costs at the events of a job's dry run.
struct Marks<W> {
    recorders: Vec<Recorder<W>>,
    marks: Vec<(Mark, Cost)>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Mark {
    Opened,
    Trained,
    Epoch,
}

impl<W: Word> Marks<W> {
    /// Costs so far: rounds as counted over lanes, bytes of all lanes.
    fn cost(&self, count: Count) -> Cost {
        let dealer_bytes = self.recorders.iter().map(|r| r.record().total.dealer_bytes).sum();
        Cost { rounds: count.rounds, bytes_each_way: count.bytes, dealer_bytes }
    }
    fn at(&self, mark: Mark) -> Cost {
        self.marks.iter().find(|(m, _)| *m == mark).map(|(_, c)| *c).unwrap_or_default()
    }
}

impl<W: Word, D: Word> Observer<D> for Marks<W> {
    fn event(&mut self, event: Event<D>, count: Count) -> ControlFlow<()> {
        let mark = match event {
            Event::Opened => Mark::Opened,
            Event::Trained { .. } => Mark::Trained,
            Event::Epoch { .. } => Mark::Epoch,
            Event::Step { .. } => return ControlFlow::Continue(()),
        };
        let cost = self.cost(count);
        self.marks.push((mark, cost));
        ControlFlow::Continue(())
    }
}

/// Makes the plan of `job`, for words of its width.
///
/// # Errors
///
/// [`Error::RequestsSpent`] for a job of more than 2^26 requests a lane.
pub fn plan(job: &Job) -> Result<Plan, Error> {
    if job.numbers.ring_bits == 32 { plan_for::<u32>(job) } else { plan_for::<u64>(job) }
}

fn plan_for<W: Word>(job: &Job) -> Result<Plan, Error> {
    let count = usize::from(job.lanes.lanes);
    let recorders: Vec<Recorder<W>> = (0..count).map(|_| Recorder(Arc::default(), PhantomData)).collect();
    let mut sinks = recorders.clone();
    let lanes = (0u16..)
        .zip(sinks.iter_mut().zip(&recorders))
        .map(|(lane, (sink, recorder))| {
            Some(Lane {
                link: Box::new(recorder.clone()),
                correlations: Box::new(Dry::new(lane, sink)),
                trace: Box::new(recorder.clone()),
                arena: Secret::zeros(ENDLESS),
            })
        })
        .collect();
    let mut lanes = Lanes::<W::Dry>::new(Role::Server0, &Nothing, lanes, 1);
    let mut marks = Marks { recorders: recorders.clone(), marks: Vec::new() };
    train::run(&mut lanes, job, train::Inputs::dry(job), &mut marks).map_err(|halt| match halt {
        train::Halt::Protocol { error, .. } => error,
        train::Halt::Stopped => unreachable!("the observer never stops a plan"),
    })?;
    let total = marks.cost(lanes.count());
    let arena_bytes = (lanes.arena_peak() * word_bytes::<W>()) as u64;
    drop(lanes);
    let mut hash = Sha256::new();
    hash.update(b"symbolon plan v1");
    hash.update(job.hash().unwrap_or_default());
    let mut by_label = BTreeMap::<Label, Cost>::new();
    let mut requests = 0;
    for recorder in &recorders {
        let mut record = recorder.record();
        record.enter(Label::default());
        hash.update(record.hash.clone().finalize());
        requests += record.requests;
        for (label, cost) in &record.by_label {
            let sum = by_label.entry(*label).or_default();
            sum.rounds = sum.rounds.max(cost.rounds);
            sum.bytes_each_way += cost.bytes_each_way;
            sum.dealer_bytes += cost.dealer_bytes;
        }
    }
    let epoch = marks.at(Mark::Trained) - marks.at(Mark::Opened);
    let steps = job.steps_per_epoch() as u64;
    Ok(Plan {
        hash: hash.finalize().into(),
        total,
        setup: marks.at(Mark::Opened),
        epoch,
        step: Cost {
            rounds: epoch.rounds / steps,
            bytes_each_way: epoch.bytes_each_way / steps,
            dealer_bytes: epoch.dealer_bytes / steps,
        },
        evaluation: marks.at(Mark::Epoch) - marks.at(Mark::Trained),
        requests,
        arena_bytes,
        operations: by_label.into_iter().map(|((layer, name), cost)| Operation { layer, name, cost }).collect(),
    })
}
