//! Jobs that begin with a kept model: fine-tuning and evaluation. Secure equals clear bit for bit,
//! at the cost of the plan, which is that of a fresh start.
#![allow(clippy::unwrap_used)]

use symbolon::{
    job::{Job, ModelVersion, When},
    kernel::HostWord,
    train::{Inputs, Start, real},
};
use symbolon_core::word::Word;
use symbolon_tests::{
    jobs::{OPTIMIZERS, Shape, Values},
    play::{Game, Keys, Played, Trained, shares},
};

fn model() -> ModelVersion {
    "kept:1".parse().unwrap()
}

/// Plays `job` from whole `parameters`, split for the servers; holds the engines against each other
/// and against the plan.
fn begins<W: HostWord + Word>(job: &Job, parameters: &[W], inputs: &dyn Fn() -> Inputs<W>, salt: u64) -> Trained<W> {
    let mut game = Game::new(job.clone());
    game.recording = false;
    let mut values = Values(salt);
    let mut own = vec![W::default(); parameters.len()];
    W::bytes_mut(&mut own).iter_mut().for_each(|byte| *byte = values.next().to_le_bytes()[0]);
    let rest: Vec<W> = parameters.iter().zip(&own).map(|(whole, own)| whole.sub(*own)).collect();
    let starts = [Start::From(own.into()), Start::From(rest.into())];
    let keys = Keys::new(salt);
    let shares = shares(job, inputs(), &keys);
    let Played { result, counts, dealt_bytes, dithers, .. } = game.secure_from(shares, starts, &keys, 64);
    let start = Start::From(parameters.to_vec().into());
    let (clear, _) = game.replay_from((inputs(), start), &keys, &dithers, 1);
    assert_eq!(format!("{:?}", result.epochs), format!("{:?}", clear.epochs), "{job:?}");
    assert!(W::bytes(&result.parameters) == W::bytes(&clear.parameters), "{job:?}");
    let total = game.plan.total;
    for count in counts {
        assert_eq!((count.rounds, count.bytes), (total.rounds, total.bytes_each_way), "{job:?}");
    }
    assert_eq!(dealt_bytes, total.dealer_bytes, "{job:?}");
    clear
}

/// Trains a job, evaluates its model, and trains it further.
fn evaluated_and_tuned<W: HostWord + Word>(job: &Job, inputs: &dyn Fn() -> Inputs<W>) {
    let trained = Game::agreed::<W>(job, &Keys::new(1), inputs);
    let kept = &trained.parameters[..job.initial_words()];
    let evaluation = job.evaluation(model(), job.data.test_records).unwrap();
    let of_tests = || {
        let (mut own, mut whole) = (Inputs::in_memory(&evaluation), inputs());
        std::mem::swap(&mut own.test, &mut whole.test);
        std::mem::swap(&mut own.test_labels, &mut whole.test_labels);
        own
    };
    let evaluated = begins(&evaluation, kept, &of_tests, 2);
    assert!(W::bytes(&evaluated.parameters[..kept.len()]) == W::bytes(kept), "an evaluation changes nothing");
    assert_eq!(evaluated.epochs.len(), 1);

    let tuning = Job { from: Some(model()), ..job.clone() };
    let tuned = begins(&tuning, kept, inputs, 3);
    assert_ne!(format!("{:?}", trained.epochs), format!("{:?}", tuned.epochs), "it does not begin afresh");
    let moved = |from: &[W], to: &[W]| {
        let apart = |(a, b): (&W, &W)| (real(job, *a) - real(job, *b)).abs();
        from.iter().zip(to).map(apart).fold(0.0, f64::max)
    };
    assert!(moved(kept, &tuned.parameters) < 8.0, "it begins where the model is");
}

#[test]
fn every_optimizer_begins_with_a_kept_model() {
    for (ring_bits, lanes, optimizer) in [(64, 1, 0), (32, 3, 1), (64, 3, 2), (32, 2, 3), (64, 2, 4), (32, 1, 5)] {
        let shape = Shape { ring_bits, lanes, optimizer: OPTIMIZERS[optimizer], epochs: 2, ..Shape::default() };
        match ring_bits {
            32 => evaluated_and_tuned::<u32>(&shape.job(), &|| shape.inputs()),
            _ => evaluated_and_tuned::<u64>(&shape.job(), &|| shape.inputs()),
        }
    }
}

#[test]
fn a_regression_is_evaluated_at_its_end() {
    let shape = Shape { regression: true, epochs: 2, ..Shape::default() };
    let mut job = shape.job();
    job.reveal.when = When::End;
    evaluated_and_tuned::<u64>(&job, &|| shape.inputs());
}

/// Running statistics are part of the model.
#[test]
fn statistics_come_with_the_model() {
    let shape = Shape { epochs: 2, ..Shape::default() };
    let text = shape.toml().replacen("{ kind = 'relu' }", "{ kind = 'batch-norm' }, { kind = 'relu' }", 1);
    let job = Job::parse(&text, std::path::Path::new("normalised.toml")).unwrap();
    assert!(job.initial_words() > job.parameters(), "{text}");
    evaluated_and_tuned::<u64>(&job, &|| shape.inputs());
}
