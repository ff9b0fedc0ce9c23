//! The plan of a session of predictions: what its beginning and each lane's batches cost.

use super::{Cost, ENDLESS, MAX_WORK, PlanError, Recorder};
use crate::{
    job::Job,
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{Batches, Predictor, Serving},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;
use symbolon_core::{
    correlation::Dry,
    kernel::Nothing,
    link::Error,
    party::Role,
    word::{Word, word_bytes},
};

/// Most batches of a lane in a session.
const MOST_BATCHES: u32 = 1 << 20;

/// The plan of a session of predictions: public, and the same at every party.
#[derive(Clone, Debug, Serialize)]
pub struct ServingPlan {
    /// Over the job, the answer, and the requests and exchanges of the beginning and a batch.
    #[serde(serialize_with = "super::as_hex")]
    pub hash: [u8; 32],
    /// Masking and opening the weights, all lanes together; rounds of the lane that has the most.
    pub setup: Cost,
    /// Lane by lane: what its dealer sends before its first batch, in bytes.
    pub setup_dealt: Vec<u64>,
    /// Lane by lane: a batch.
    pub batches: Vec<Cost>,
    /// Batches of a lane until the session ends, since its request numbers do.
    pub most_batches: u32,
    /// Bytes of the largest arena that a lane needs.
    pub arena_bytes: u64,
    /// Bytes of the dealer's largest buffer for a lane.
    pub deal_bytes: u64,
}

/// A source of this many batches, for dry runs.
pub(crate) struct DryBatches(pub(crate) u32);

impl<W: Word> Batches<W> for DryBatches {
    fn next(&mut self, _: &mut [W]) -> ControlFlow<()> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        if left.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn answer(&mut self, _: &mut [W]) {}
}

/// Makes the plan of predictions by a model of `job`.
///
/// # Errors
///
/// [`PlanError`].
///
/// # Panics
///
/// If the job's model answers no such predictions: [`Serving::check`].
pub fn serving_plan(job: &Job, serving: &Serving) -> Result<ServingPlan, PlanError> {
    assert!(serving.check(job).is_ok(), "predictions that the model does not answer");
    match job.numbers.ring_bits {
        32 => plan_for::<u32>(job, serving),
        _ => plan_for::<u64>(job, serving),
    }
}

fn plan_for<W: Word>(job: &Job, serving: &Serving) -> Result<ServingPlan, PlanError> {
    let count = serving.batches.len();
    let recorders: Vec<Recorder<W>> = (0..count).map(|_| Recorder::new(MAX_WORK / count as u64)).collect();
    let mut sinks = recorders.clone();
    let lanes = (0u16..).zip(sinks.iter_mut().zip(&recorders)).map(|(lane, (sink, recorder))| {
        Some(Lane {
            link: Box::new(recorder.clone()),
            correlations: Box::new(Dry::new(lane, sink)),
            trace: Box::new(recorder.clone()),
            arena: Secret::zeros(ENDLESS),
        })
    });
    let mut lanes = Lanes::<W::Dry>::new(Role::Server0, &Nothing, lanes.collect(), 1);
    let failed = |error| match error {
        Error::RequestsSpent => PlanError::Work { most: MAX_WORK },
        Error::Scratch { .. } => PlanError::Memory,
        error => unreachable!("a dry run cannot fail otherwise: {error:?}"),
    };
    let model = vec![W::Dry::default(); job.model_words()];
    let predictor = Predictor::open(&mut lanes, job, serving.answer, &model).map_err(failed)?;
    let costs = || -> Vec<(Cost, u64)> {
        let tallies = recorders.iter().map(Recorder::tally);
        let sum = |mut sum: Cost, cost: &Cost| {
            sum += *cost;
            sum
        };
        tallies.map(|tally| (tally.by_label.values().fold(Cost::default(), sum), tally.numbers)).collect()
    };
    let (setup, rounds) = (costs(), lanes.count().rounds);
    let mut marks = Vec::new();
    // The second batch says how many numbers each takes.
    for _ in 0..2 {
        let sources = serving.batches.iter().map(|rows| (usize::from(*rows), DryBatches(1))).collect();
        predictor.run(&mut lanes, sources).map_err(failed)?;
        marks.push(costs());
    }
    let arena_bytes = (lanes.arena_peak() * word_bytes::<W>()) as u64;
    drop(lanes);
    let mut total = Cost::default();
    setup.iter().for_each(|(cost, _)| total += *cost);
    let mut hash = Sha256::new();
    hash.update(b"symbolon serving plan v1");
    hash.update(job.hash().expect("a valid job encodes"));
    hash.update(postcard::to_stdvec(serving).expect("numbers encode"));
    recorders.iter().for_each(|recorder| hash.update(recorder.hash()));
    let most = marks[0].iter().zip(&marks[1]).map(|((_, first), (_, second))| {
        let left = (1u64 << 32).saturating_sub(*first);
        u32::try_from(left / (second - first).max(1)).unwrap_or(u32::MAX)
    });
    Ok(ServingPlan {
        hash: hash.finalize().into(),
        setup: Cost { rounds, ..total },
        setup_dealt: setup.iter().map(|(cost, _)| cost.dealer_bytes).collect(),
        batches: marks[0].iter().zip(&setup).map(|((batch, _), (setup, _))| *batch - *setup).collect(),
        most_batches: most.min().unwrap_or(0).min(MOST_BATCHES),
        arena_bytes,
        deal_bytes: recorders.iter().map(|r| r.deal_words() * word_bytes::<W>()).max().unwrap_or(0) as u64,
    })
}
