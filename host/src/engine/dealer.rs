//! The dealer's program: every request of a dry run is evaluated on whole masks. The dealer sends
//! each lane's corrections to its receiver, the auditor hashes them.

use super::plan::DryBatches;
use crate::{
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{self, Halt, Observer, Orders, Position, Predictor, Serving, Start},
};
use symbolon_core::{
    correlation::{Dry, Request, Sink},
    kernel::{Kernels, Nothing},
    link::{Count, Error},
    party::{NoTrace, Role},
    prg::{MaskId, Prg},
    word::Word,
};

/// Evaluates the requests of one lane and passes their corrections, in order, to `outlet`. It holds
/// one request's values at a time; an outlet that blocks also blocks the evaluation.
pub struct Dealing<'a, W: Word, F> {
    prgs: [&'a dyn Prg; 2],
    kernels: &'a dyn Kernels<W>,
    /// Whole masks and values pass through here.
    buffer: Secret<W>,
    outlet: F,
}

impl<'a, W: Word, F: FnMut(&[u8]) -> Result<(), Error>> Dealing<'a, W, F> {
    /// Deals under both servers' streams, to the lane's
    /// [`receiver`](symbolon_core::correlation::receiver).
    pub fn new(prgs: [&'a dyn Prg; 2], kernels: &'a dyn Kernels<W>, outlet: F) -> Self {
        Self { prgs, kernels, buffer: Secret::zeros(0), outlet }
    }
}

impl<W: Word, F: FnMut(&[u8]) -> Result<(), Error>> Sink for Dealing<'_, W, F> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let Self { prgs, kernels, buffer, outlet } = self;
        let need = request.deal_words::<W>();
        if buffer.len() < need {
            *buffer = Secret::zeros(need);
        }
        request.deal(first, *prgs, *kernels, buffer, |_, wire| outlet(W::bytes(wire)))
    }
}

/// Runs `job` dry from `position` on, on records in the order of `orders`, and passes the
/// corrections of lane `lane` to `outlet`; `observer` receives the job's events.
///
/// # Errors
///
/// The errors of `outlet`; [`Halt::Stopped`] if `observer` stops the run.
pub fn deal_lane<W: HostWord + Word>(
    job: &Job,
    position: Position,
    prgs: [&dyn Prg; 2],
    lane: u16,
    orders: Orders<'_>,
    outlet: impl FnMut(&[u8]) -> Result<(), Error> + Send,
    observer: &mut dyn Observer<W::Dry>,
) -> Result<(), Halt> {
    let mut sink = Dealing::<W, _>::new(prgs, best::<W>(), outlet);
    let mut lanes = alone::<W>(&mut sink, lane, job.lanes.lanes);
    let (inputs, start) = (train::Inputs::in_memory(job), Start::dry(job, position));
    train::run_in(orders, &mut lanes, job, inputs, start, observer).map(drop)
}

/// Runs predictions by a model of `job` dry, for so many batches, and passes the corrections of
/// lane `lane` to `outlet`.
///
/// # Errors
///
/// The errors of `outlet`.
pub fn deal_serving_lane<W: HostWord + Word>(
    job: &Job,
    serving: &Serving,
    batches: u32,
    prgs: [&dyn Prg; 2],
    lane: u16,
    outlet: impl FnMut(&[u8]) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let mut sink = Dealing::<W, _>::new(prgs, best::<W>(), outlet);
    let count = u16::try_from(serving.batches.len()).unwrap_or(u16::MAX);
    let mut lanes = alone::<W>(&mut sink, lane, count);
    let model = vec![W::Dry::default(); job.model_words()];
    let predictor = Predictor::open(&mut lanes, job, serving.answer, &model)?;
    let sources = serving.batches.iter().map(|rows| (usize::from(*rows), DryBatches(batches)));
    predictor.run(&mut lanes, sources.collect())
}

/// One dry lane of `count`, whose requests `sink` takes.
fn alone<'a, W: HostWord + Word>(sink: &'a mut (dyn Sink + Send), lane: u16, count: u16) -> Lanes<'a, W::Dry> {
    let own = Lane {
        link: Box::new(Count::default()),
        correlations: Box::new(Dry::new(lane, sink)),
        trace: Box::new(NoTrace),
        arena: Secret::zeros(super::plan::ENDLESS),
    };
    let mut lanes: Vec<Option<Lane<'_, W::Dry>>> = (0..count).map(|_| None).collect();
    lanes[usize::from(lane)] = Some(own);
    Lanes::new(Role::Server0, &Nothing, lanes, 1)
}
