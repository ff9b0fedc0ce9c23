//! The plan of a job: its requests, rounds and bytes, from the job's own code run on dry words.
//!
//! Epochs repeat: they differ in names, rows and public constants, not in what is asked for. So only as many are run as differ ([`Job::rhythm`]), and the others' costs follow from theirs. The hash is over
//! what is run, and over the job, which says the rest: also the order of records, which a plan only
//! counts.
//!
//! The plan [from a position](plan_from) is that of a run which begins at a checkpoint. It counts
//! the set-up and the steps that are left. The first epoch of such a run is unlike others: it may
//! have fewer steps, and makes again the values that states leave out.
//!
//! A plan takes memory for its counts alone, whatever the size of the job, and time by its requests
//! and exchanges, of which it makes a bounded number ([`PlanError::Work`]).

mod recorder;
mod serving;
#[cfg(test)]
mod tests;

pub(crate) use serving::DryBatches;
pub use serving::{ServingPlan, serving_plan};

use crate::{
    job::{Job, When},
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{self, Event, Observer, Orders, Position, Start},
};
use recorder::{Recorder, Tally};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, ops::ControlFlow};
use symbolon_core::{
    correlation::Dry,
    kernel::Nothing,
    link::{Count, Error},
    party::Role,
    word::{Word, word_bytes},
};

/// What one operation costs, over a whole job.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Cost {
    /// Exchanges, on the lane that has the most.
    pub rounds: u64,
    /// Payload bytes from each server to the other.
    pub bytes_each_way: u64,
    /// Payload bytes from the dealer to both servers.
    pub dealer_bytes: u64,
    /// Those of them that go to server 0: see [`receiver`](symbolon_core::correlation::receiver).
    pub dealer_bytes_server0: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.rounds = self.rounds.saturating_add(other.rounds);
        self.bytes_each_way = self.bytes_each_way.saturating_add(other.bytes_each_way);
        self.dealer_bytes = self.dealer_bytes.saturating_add(other.dealer_bytes);
        self.dealer_bytes_server0 = self.dealer_bytes_server0.saturating_add(other.dealer_bytes_server0);
    }
}

impl std::ops::Sub for Cost {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            rounds: self.rounds - other.rounds,
            bytes_each_way: self.bytes_each_way - other.bytes_each_way,
            dealer_bytes: self.dealer_bytes - other.dealer_bytes,
            dealer_bytes_server0: self.dealer_bytes_server0 - other.dealer_bytes_server0,
        }
    }
}

/// Where in the network an operation is, and its name.
pub type Label = (u16, &'static str);

/// A network between the servers, for predicting times.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Network {
    /// What it is called.
    pub name: &'static str,
    /// Bits a second into each server, and out of the dealer.
    pub bits_per_second: f64,
    /// Seconds from one server to the other and back. In a round both send at once, so that it
    /// waits for half of this.
    pub round_trip_seconds: f64,
}

/// 1 Gb/s, 0.2 ms there and back.
pub const LAN: Network = Network { name: "LAN", bits_per_second: 1e9, round_trip_seconds: 0.2e-3 };
/// 100 Mb/s, 40 ms there and back.
pub const WAN: Network = Network { name: "WAN", bits_per_second: 1e8, round_trip_seconds: 40e-3 };

/// Seconds of computing for a byte dealt, where two cores hold both servers and the dealer: the
/// least and the most of the MNIST jobs in `host/jobs` (README, "What it costs"). What is dealt
/// follows the arithmetic more closely than any other public count.
const COMPUTING: [f64; 2] = [2.1e-9, 3.5e-9];

impl Cost {
    /// About the least and the most seconds of computing where two cores hold both servers and the
    /// dealer. It overlaps with the network's time.
    #[allow(clippy::cast_precision_loss)]
    pub fn computing_seconds(&self) -> [f64; 2] {
        COMPUTING.map(|seconds| seconds * self.dealer_bytes as f64)
    }

    /// The most that one server receives from the dealer.
    pub fn dealt_to_one(&self) -> u64 {
        self.dealer_bytes_server0.max(self.dealer_bytes - self.dealer_bytes_server0)
    }

    /// Seconds on `network`, computation left out.
    ///
    /// All rounds together wait `L`, half a round trip each, and receive for `E` seconds. The
    /// dealer is ahead, and its bytes take `D` on the same line. As long as some are left, they
    /// come while a server waits for its peer and have half the line while it receives. So from
    /// `D = L + E` on the line never rests, and the job takes `E + D`; before that it takes
    /// `L + E + D E / (L + E)`. No job is shorter than the dealer takes to send all that it deals,
    /// to both servers.
    #[allow(clippy::cast_precision_loss)]
    pub fn seconds(&self, network: &Network) -> f64 {
        let line = |bytes: u64| bytes as f64 * 8.0 / network.bits_per_second;
        let (received, dealt) = (line(self.bytes_each_way), line(self.dealt_to_one()));
        let rounds = self.rounds as f64 * network.round_trip_seconds / 2.0 + received;
        let servers = if dealt < rounds { rounds + dealt * received / rounds } else { received + dealt };
        servers.max(line(self.dealer_bytes))
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
    /// Over the job, and over requests and exchanges of all lanes in the epochs that are run.
    #[serde(serialize_with = "as_hex")]
    pub hash: [u8; 32],
    /// The whole run: opening the data, training, evaluation.
    pub total: Cost,
    /// Opening the data and the weights.
    pub setup: Cost,
    /// The steps of the first epoch that is run.
    pub epoch: Cost,
    /// One step, on the average of these.
    pub step: Cost,
    /// Evaluation after that epoch, or after the last alone, and the check of words that were
    /// kept for range alarms.
    pub evaluation: Cost,
    /// Requests to the dealer.
    pub requests: u64,
    /// Bytes of the largest arena that a lane needs.
    pub arena_bytes: u64,
    /// Bytes of the dealer's largest buffer for a lane.
    pub deal_bytes: u64,
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

/// Most units of work in the dry run of all lanes: planning a peer's job takes seconds at most.
const MAX_WORK: u64 = 1 << 24;

/// The reason why a job has no plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlanError {
    /// The dry run makes too many requests and exchanges.
    Work {
        /// Most requests and exchanges, all lanes together.
        most: u64,
    },
    /// A lane has more requests than there are request numbers.
    Requests,
    /// An operation takes more memory than any machine has.
    Memory,
    /// The job has no such position.
    Position {
        /// The position.
        got: Position,
        /// After the job's last step.
        last: Position,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work { most } => write!(
                f,
                "an epoch takes too long to plan: its requests and exchanges, of all lanes, may be {most} (the rule \
                 plan.work); take larger batches or tiles, or fewer lanes"
            ),
            Self::Memory => f.write_str(
                "an operation of the job takes more memory than any machine has (the rule plan.memory); take smaller \
                 layers or batches",
            ),
            Self::Requests => f.write_str(
                "the job has more than 2^32 requests a lane (the rule plan.requests); take fewer epochs, or larger \
                 batches or tiles",
            ),
            Self::Position { got, last } => {
                write!(f, "no run begins after {got} of a job that has {} steps; take another checkpoint", last.steps())
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// Words of an arena that is never too small; dry, it takes no memory.
pub(crate) const ENDLESS: usize = 1 << 40;

/// What a dry run has cost at one of its events.
#[derive(Clone, Default)]
struct Mark {
    total: Cost,
    lanes: Vec<Tally>,
}

impl Mark {
    /// Adds what was spent between `start` and `end`.
    fn add(&mut self, end: &Self, start: &Self) {
        self.total += end.total - start.total;
        for (lane, (end, start)) in self.lanes.iter_mut().zip(end.lanes.iter().zip(&start.lanes)) {
            for (label, cost) in &end.by_label {
                let before = start.by_label.get(label).copied().unwrap_or_default();
                *lane.by_label.entry(*label).or_default() += *cost - before;
            }
            lane.requests = lane.requests.saturating_add(end.requests - start.requests);
            lane.numbers = lane.numbers.saturating_add(end.numbers - start.numbers);
        }
    }
}

/// The marks of a dry run.
struct Marks<W> {
    recorders: Vec<Recorder<W>>,
    /// Epochs that were done before the run.
    done: u32,
    /// After the steps of the first epoch that is run, if there is one.
    trained: Option<Mark>,
    /// After that epoch and those that are wanted, with their evaluation if each has one; after
    /// `done`, data and weights are open.
    epochs: BTreeMap<u32, Mark>,
    /// After the evaluation that comes once, if it does, and after the alarm, if the job has one.
    end: Option<Mark>,
    when: When,
    wanted: [u32; 3],
}

impl<W: Word> Marks<W> {
    /// Costs so far: rounds as counted over lanes, bytes of all lanes.
    fn mark(&self, count: Count) -> Mark {
        let lanes: Vec<Tally> = self.recorders.iter().map(Recorder::tally).collect();
        let mut total = Cost::default();
        lanes.iter().flat_map(|lane| lane.by_label.values()).for_each(|cost| total += *cost);
        Mark { total: Cost { rounds: count.rounds, bytes_each_way: count.bytes, ..total }, lanes }
    }

    /// After `epoch` epochs, of which there is a mark.
    fn after(&self, epoch: u32) -> &Mark {
        &self.epochs[&epoch]
    }
}

impl<W: Word, D: Word> Observer<D> for Marks<W> {
    fn event(&mut self, event: Event<D>, count: Count) -> ControlFlow<()> {
        let (done, wanted) = (self.done, self.wanted);
        let is_wanted = |epoch| epoch == done + 1 || wanted.contains(&epoch);
        if matches!(event, Event::Trained { epoch } if epoch == done + 1) {
            self.trained = Some(self.mark(count));
        }
        let epochs = match (event, self.when) {
            (Event::Opened, _) => done,
            (Event::Epoch { epoch, .. }, When::Epoch) | (Event::Trained { epoch }, When::End) if is_wanted(epoch) => {
                epoch
            }
            (Event::Epoch { .. }, When::End) | (Event::Alarm { .. }, _) => {
                self.end = Some(self.mark(count));
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let mark = self.mark(count);
        self.epochs.insert(epochs, mark);
        ControlFlow::Continue(())
    }
}

/// Which epochs are run, and how the others follow: after `first` epochs, each `period` epochs cost what those before cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Repetition {
    first: u32,
    period: u32,
    /// How often the period comes.
    times: u32,
    /// Epochs of the period that come once more.
    rest: u32,
}

impl Repetition {
    fn of(job: &Job, position: Position) -> Self {
        let (first, period) = job.rhythm();
        // The epoch that goes on has fewer steps, or makes anew what is not stored.
        let own = if position == Position::START { 0 } else { position.epochs(job).saturating_add(1) };
        let (first, epochs) = (first.max(own), job.training.epochs);
        match epochs.checked_sub(first) {
            Some(more) if more > period => Self { first, period, times: more / period, rest: more % period },
            _ => Self { first: epochs, period: 0, times: 0, rest: 0 },
        }
    }

    /// The costs of all epochs, from those of the epochs that were run.
    fn all(&self, [first, period, rest]: [&Mark; 3]) -> Mark {
        let times = u64::from(self.times);
        let follow = |first: u64, period: u64, rest: u64| (period - first).saturating_mul(times).saturating_add(rest);
        let cost = |[first, period, rest]: [Cost; 3]| Cost {
            rounds: follow(first.rounds, period.rounds, rest.rounds),
            bytes_each_way: follow(first.bytes_each_way, period.bytes_each_way, rest.bytes_each_way),
            dealer_bytes: follow(first.dealer_bytes, period.dealer_bytes, rest.dealer_bytes),
            dealer_bytes_server0: follow(
                first.dealer_bytes_server0,
                period.dealer_bytes_server0,
                rest.dealer_bytes_server0,
            ),
        };
        let lane = |[first, period, rest]: [&Tally; 3]| {
            let at = |tally: &Tally, label| tally.by_label.get(label).copied().unwrap_or_default();
            let labels = period.by_label.keys();
            Tally {
                by_label: labels.map(|l| (*l, cost([first, period, rest].map(|tally| at(tally, l))))).collect(),
                requests: follow(first.requests, period.requests, rest.requests),
                numbers: follow(first.numbers, period.numbers, rest.numbers),
            }
        };
        let lanes = first.lanes.iter().zip(&period.lanes).zip(&rest.lanes);
        Mark {
            total: cost([first.total, period.total, rest.total]),
            lanes: lanes.map(|((first, period), rest)| lane([first, period, rest])).collect(),
        }
    }
}

/// Makes the plan of `job`, for words of its width.
///
/// # Errors
///
/// [`PlanError`].
pub fn plan(job: &Job) -> Result<Plan, PlanError> {
    plan_from(job, Position::START)
}

/// Makes the plan of a run of `job` from `position` on. The position enters the hash.
///
/// # Errors
///
/// [`PlanError`].
pub fn plan_from(job: &Job, position: Position) -> Result<Plan, PlanError> {
    let last = Position::last(job);
    if position > last {
        return Err(PlanError::Position { got: position, last });
    }
    let repetition = Repetition::of(job, position);
    // In each step, at least one lane makes a request and an exchange; and each passes all layers.
    let all = u64::from(repetition.first + repetition.period) * job.steps_per_epoch() as u64;
    let steps = all - position.steps();
    let layers = job.network.nodes.len() as u64;
    if steps.saturating_mul(layers.max(2)) > MAX_WORK / u64::from(job.lanes.lanes) {
        return Err(PlanError::Work { most: MAX_WORK });
    }
    match job.numbers.ring_bits {
        32 => plan_for::<u32>(job, position, repetition),
        _ => plan_for::<u64>(job, position, repetition),
    }
}

fn plan_for<W: Word>(job: &Job, position: Position, repetition: Repetition) -> Result<Plan, PlanError> {
    let Repetition { first, period, rest, .. } = repetition;
    let wanted = [first, first + period, first + rest];
    let mut shorter = job.clone();
    shorter.training.epochs = first + period;
    let count = usize::from(job.lanes.lanes);
    let recorders: Vec<Recorder<W>> = (0..count).map(|_| Recorder::new(MAX_WORK / count as u64)).collect();
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
    let mut marks = Marks {
        recorders: recorders.clone(),
        done: position.epochs(job),
        trained: None,
        epochs: BTreeMap::new(),
        end: None,
        when: job.reveal.when,
        wanted,
    };
    let (inputs, start) = (train::Inputs::in_memory(&shorter), Start::dry(&shorter, position));
    train::run_in(Orders::Counted, &mut lanes, &shorter, inputs, start, &mut marks).map_err(|halt| match halt {
        train::Halt::Protocol { error: Error::RequestsSpent, .. } => PlanError::Work { most: MAX_WORK },
        train::Halt::Protocol { error: Error::Scratch { .. }, .. } => PlanError::Memory,
        halt => unreachable!("a dry run cannot fail otherwise: {halt:?}"),
    })?;
    // Variances of Newton's method come after the last event of a job without an alarm.
    marks.end = Some(marks.mark(lanes.count()));
    let arena_bytes = (lanes.arena_peak() * word_bytes::<W>()) as u64;
    drop(lanes);
    let mut hash = Sha256::new();
    hash.update(b"symbolon plan v3");
    hash.update(job.hash().expect("a valid job encodes"));
    recorders.iter().for_each(|recorder| hash.update(recorder.hash()));
    if position != Position::START {
        hash.update(position.steps().to_le_bytes());
    }
    let mut all = repetition.all(wanted.map(|epochs| marks.after(epochs)));
    if let Some(end) = &marks.end {
        all.add(end, marks.after(first + period));
    }
    if all.lanes.iter().any(|lane| lane.numbers > 1 << 32) {
        return Err(PlanError::Requests);
    }
    let steps = (job.steps_per_epoch() - position.steps_of_epoch(job)).max(1) as u64; // an evaluation has none
    Ok(marks.plan(steps, hash.finalize().into(), arena_bytes, &all))
}

impl<W: Word> Marks<W> {
    /// Makes the plan; the first epoch that is run has `steps` steps.
    fn plan(&self, steps: u64, hash: [u8; 32], arena_bytes: u64, all: &Mark) -> Plan {
        let mut by_label = BTreeMap::<Label, Cost>::new();
        for (label, cost) in all.lanes.iter().flat_map(|lane| &lane.by_label) {
            let sum = by_label.entry(*label).or_default();
            sum.rounds = sum.rounds.max(cost.rounds);
            sum.bytes_each_way = sum.bytes_each_way.saturating_add(cost.bytes_each_way);
            sum.dealer_bytes = sum.dealer_bytes.saturating_add(cost.dealer_bytes);
            sum.dealer_bytes_server0 = sum.dealer_bytes_server0.saturating_add(cost.dealer_bytes_server0);
        }
        let setup = self.after(self.done).total;
        let epoch = self.trained.as_ref().map_or_else(Cost::default, |trained| trained.total - setup);
        Plan {
            hash,
            total: all.total,
            setup,
            epoch,
            step: Cost {
                rounds: epoch.rounds / steps,
                bytes_each_way: epoch.bytes_each_way / steps,
                dealer_bytes: epoch.dealer_bytes / steps,
                dealer_bytes_server0: epoch.dealer_bytes_server0 / steps,
            },
            evaluation: match (&self.end, self.when, &self.trained) {
                (Some(end), When::End, _) => end.total - self.after(self.wanted.into_iter().max().unwrap_or(1)).total,
                (.., Some(trained)) => self.after(self.done + 1).total - trained.total,
                (.., None) => Cost::default(),
            },
            requests: all.lanes.iter().fold(0, |sum, lane| sum.saturating_add(lane.requests)),
            arena_bytes,
            deal_bytes: self.recorders.iter().map(|r| r.deal_words() * word_bytes::<W>()).max().unwrap_or(0) as u64,
            operations: by_label.into_iter().map(|((layer, name), cost)| Operation { layer, name, cost }).collect(),
        }
    }
}
