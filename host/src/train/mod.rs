//! Training and evaluation: one code for the secure, the clear and the dry engine, generic over the
//! word alone.
//!
//! A step has three stages, with all lanes joined between them: forward and backward pass over the
//! lanes' rows, weight gradients over the lanes' inputs, optimizer and opening of the new weights
//! over the lanes' parameters. Data and labels are masked and opened once a job, weights once a
//! step, activations and their gradients once each; every product uses those openings.

pub mod checkpoint;
mod closed_form;
mod course;
mod decode;
mod early_stop;
mod encode;
mod evaluate;
mod figures;
mod fold;
mod initial;
mod inputs;
mod lengths;
mod lift;
mod load;
mod meetings;
mod narrow;
mod newton;
mod norm_clip;
mod optimize;
mod order;
mod pass;
mod predict;
mod prefetch;
mod step;
mod table;
mod tally;
mod tape;

pub use checkpoint::{Position, Start, State, StateError};
pub use decode::{ModelMismatch, model_words, real, signed, tensors};
pub use early_stop::EarlyStop;
pub use encode::{EncodeError, encode_rows};
pub use figures::{Impossible, Output, epoch_result, sound_parameters};
pub use initial::{batch_order, initial_weights};
pub use inputs::Inputs;
pub use load::{LoadError, Loaded};
pub use order::{Orders, SharedOrders};
pub use predict::{AnswerKind, Batches, MAX_BATCH_ROWS, NotServed, Predictor, Serving};
pub use tally::{Scores, Sum};

use crate::{
    data::Lengths,
    job::{Checkpoint, Job},
    lanes::Lanes,
};
use std::ops::ControlFlow;
use symbolon_core::{
    link::{Count, Error},
    metric::AnyMetric,
    party::Party,
    word::{Word, word_bytes},
};

/// Returns the bytes that a server allocates for `job`, except its lanes' arenas and connections:
/// - tables in memory, with one-hot labels and weights, up to `data_memory` bytes, and the rows
///   prefetched from scratch files;
/// - parameters, with their openings and gradients, those of an evaluation if layers are folded
///   into them, and the optimizer's state;
/// - the step's tape: values and gradients of a batch;
/// - an epoch's order, and the lengths of sequences;
/// - the copy of the model that leaves;
/// - a checkpoint, and its encoding;
/// - the model with which the job begins, twice, while a run begins.
pub fn memory_bytes<W: Word>(job: &Job, data_memory: u64) -> u64 {
    let (n, batch, lanes) = (job.parameters(), job.rows_at_once(), usize::from(job.lanes.lanes));
    let model = if job.reveal.model { job.model_words() } else { 0 };
    // Tapes of dry words have the lengths of others, and no memory.
    let rows = vec![batch.div_ceil(lanes); lanes];
    let (laid, nothing) = (job.network(), vec![W::Dry::default(); n]);
    let described = tape::described(&nothing);
    let tape = tape::Tape::<W::Dry>::new(&laid, &described, batch, &rows);
    let meetings = meetings::words(&laid, &described, lanes);
    let sum = if batch < job.step_records() { n } else { 0 };
    let evaluates = job.data.test_records > 0 && !job.measured().is_empty();
    let folded = if evaluates && fold::folds::<W>(&laid) { 2 * n } else { 0 };
    let [data, _] = Inputs::<W>::bytes(job, data_memory);
    let clipped = if job.refinements.clip_norm.is_some() { n } else { 0 };
    let curvature = newton::words(job, lanes) + closed_form::words(job, lanes);
    let words = 3 * n + sum + clipped + curvature + folded + model + tape.words() + meetings;
    // Terms that are kept for their clamp.
    let terms = if job.reveal.noise.is_some() {
        let set = job.test_set();
        let of_metric = |metric: &AnyMetric| metric.describe().words(&set, job.test_predictions());
        let of_metrics: usize = job.measured().iter().map(of_metric).sum();
        job.data.train_records * job.data.labels_per_record * job.loss_terms() + of_metrics
    } else {
        0
    };
    let states = if job.training.checkpoint == Checkpoint::Off { 0 } else { 2 * State::<W>::most_words(job) };
    // The model with which a run begins, and its file.
    let initial = if job.from.is_some() { 2 * job.initial_words() } else { 0 };
    let words = words + terms + states + initial;
    let order = 4 * job.data.train_records;
    data + (words * word_bytes::<W>() + order + Lengths::bytes(&job.data)) as u64
        + optimize::state_bytes::<W>(job)
        + norm_clip::tile_bytes::<W>(job)
}

/// Returns the bytes that a dry lane of `job` keeps of its tiles, except the values that it
/// evaluates.
pub(crate) fn dry_bytes(job: &Job) -> u64 {
    optimize::state_bytes::<<u64 as Word>::Dry>(job) + norm_clip::tile_bytes::<<u64 as Word>::Dry>(job)
}

/// Names what follows, for plans, audits and errors.
fn enter<W: Word>(party: &mut Party<'_, W>, layer: usize, name: &'static str) {
    party.trace.enter(u16::try_from(layer).unwrap_or(u16::MAX), name);
}

/// What happens in a job. Words are this party's shares, so it has no `Debug`.
#[derive(Clone)]
pub enum Event<W: Word> {
    /// Data and weights are open.
    Opened,
    /// So many steps of the job are done.
    Step {
        /// Steps.
        done: u64,
    },
    /// The steps of an epoch are done.
    Trained {
        /// Number of the epoch, from 1.
        epoch: u32,
    },
    /// An epoch is evaluated.
    Epoch {
        /// Number of the epoch, from 1.
        epoch: u32,
        /// The training loss summed over the epoch, `f` fraction bits, if the job reveals it.
        loss: Option<Sum<W::Wide>>,
        /// The sums of the metrics on the test records, if the job reveals them.
        score: Option<Scores<W::Wide>>,
    },
    /// After the last epoch: whether any word of the job left its range, if the job reveals it.
    Alarm {
        /// An XOR share, in bit 0.
        share: W,
    },
}

impl<W: Word> Event<W> {
    /// Returns whether an output may leave after this event.
    pub fn is_release(&self) -> bool {
        matches!(self, Self::Epoch { .. } | Self::Alarm { .. })
    }
}

/// Counts the points at which outputs of `job` may leave from `position` on: each epoch's end, also
/// the one at the position, the range alarm, the job's end.
pub fn releases(job: &Job, position: Position) -> u64 {
    let epochs = job.training.epochs.saturating_sub(position.epochs(job));
    u64::from(epochs) + u64::from(position.is_epoch_end(job)) + u64::from(job.reveal.alarm) + 1
}

/// Watches a job and may end it.
pub trait Observer<W: Word> {
    /// Called after each event, with what was sent so far. [`ControlFlow::Break`] ends the job.
    fn event(&mut self, event: Event<W>, count: Count) -> ControlFlow<()>;

    /// Called after each epoch from which on the job may end early. Returns whether training goes
    /// on: otherwise the job ends as after its last epoch. [`ControlFlow::Break`] ends it at once.
    fn goes_on(&mut self, epoch: u32) -> ControlFlow<(), bool> {
        let _ = epoch;
        ControlFlow::Continue(true)
    }

    /// Called after each step that does not end its epoch, and at each epoch's end before its
    /// [`Event::Epoch`]. Returns whether the observer takes the state at `position`.
    fn wants_checkpoint(&mut self, position: Position) -> bool {
        let _ = position;
        false
    }

    /// Takes a state that the observer wants. [`ControlFlow::Break`] ends the job.
    fn checkpoint(&mut self, state: State<W>) -> ControlFlow<()> {
        let _ = state;
        ControlFlow::Continue(())
    }
}

impl<W: Word, F: FnMut(Event<W>, Count) -> ControlFlow<()>> Observer<W> for F {
    fn event(&mut self, event: Event<W>, count: Count) -> ControlFlow<()> {
        self(event, count)
    }
}

/// An observer of events and a decision after each epoch from which on the job may end early.
pub struct Deciding<F, G>(pub F, pub G);

impl<W, F, G> Observer<W> for Deciding<F, G>
where
    W: Word,
    F: FnMut(Event<W>, Count) -> ControlFlow<()>,
    G: FnMut(u32) -> ControlFlow<(), bool>,
{
    fn event(&mut self, event: Event<W>, count: Count) -> ControlFlow<()> {
        self.0(event, count)
    }
    fn goes_on(&mut self, epoch: u32) -> ControlFlow<(), bool> {
        self.1(epoch)
    }
}

/// Why a job ended early.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Halt {
    /// A protocol failed.
    Protocol {
        /// How.
        error: Error,
        /// Steps that were done before.
        step: u64,
    },
    /// The observer ended it.
    Stopped,
}

/// Runs `job` on this party's lanes, from `start` on; returns its shares of the trained parameters,
/// in the flat order of the network, then of the running statistics.
///
/// A run from an epoch's end begins, once data and weights are open, with that epoch's
/// [`Event::Epoch`]: its numbers are in the state. The caller releases no output twice.
///
/// # Errors
///
/// [`Halt`]; nothing is revealed by a job that ends early but what the observer saw.
///
/// # Panics
///
/// If `start` is a state of another job, or a model of another length.
pub fn run<W: Word>(
    lanes: &mut Lanes<'_, W>,
    job: &Job,
    inputs: Inputs<W>,
    start: Start<W>,
    observer: &mut dyn Observer<W>,
) -> Result<Vec<W>, Halt> {
    run_in(Orders::Own, lanes, job, inputs, start, observer)
}

/// As [`run`], on batches from `orders`. Counted orders are for dry words alone.
///
/// # Errors
///
/// As [`run`]; [`Error::Lost`] if a lane that shares the orders has failed.
///
/// # Panics
///
/// As [`run`].
pub fn run_in<W: Word>(
    orders: Orders<'_>,
    lanes: &mut Lanes<'_, W>,
    job: &Job,
    inputs: Inputs<W>,
    start: Start<W>,
    observer: &mut dyn Observer<W>,
) -> Result<Vec<W>, Halt> {
    let mut step = start.position().steps();
    course::run(orders, lanes, job, (inputs, start), observer, &mut step).map_err(|stop| match stop {
        Stop::Error(error) => Halt::Protocol { error, step },
        Stop::Observer => Halt::Stopped,
    })
}

enum Stop {
    Error(Error),
    Observer,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
