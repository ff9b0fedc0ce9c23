//! Range alarms of whole jobs: planted overflows are found, by both engines alike; clean jobs raise
//! none; what they cost.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use symbolon::{
    engine::plan::{Cost, plan},
    job::{Job, Network, RevealLoss},
    kernel::HostWord,
    train::Inputs,
};
use symbolon_core::layer::{AnyLayer, Dense};
use symbolon_core::word::Word;
use symbolon_tests::{
    jobs::{OPTIMIZERS, Shape, Values},
    play::{Game, Keys},
};

fn is_set<W: Word>(alarm: Option<W>) -> Option<bool> {
    alarm.map(|alarm| W::bytes(&[alarm]).iter().any(|byte| *byte != 0))
}

/// The alarm of a job on the secure and on the clear engine, which agree.
fn alarm<W: HostWord + Word>(job: &Job, inputs: &dyn Fn() -> Inputs<W>, salt: u64) -> Option<bool> {
    let mut game = Game::new(job.clone());
    game.recording = false;
    let keys = Keys::new(salt);
    let played = game.secure(inputs(), &keys, 4);
    let total = game.plan.total;
    for count in played.counts {
        assert_eq!((count.rounds, count.bytes), (total.rounds, total.bytes_each_way));
    }
    assert_eq!(played.dealt_bytes, total.dealer_bytes);
    let clear = game.replay(inputs(), &keys, &played.dithers, 1);
    let (secure, clear) = (is_set(played.result.alarm), is_set(clear.alarm));
    assert_eq!(secure, clear, "the engines disagree");
    secure
}

/// One record of 84, so large that its products leave the ring. Its sign is compared: it is found
/// in every run.
fn one_record<W: HostWord + Word>(ring_bits: u32) {
    let shape = Shape { ring_bits, records: 84, batch: 8, ..Shape::default() };
    let mut job = shape.job();
    let large = W::from_u64(1 << (ring_bits - 5));
    for salt in 0..6 {
        let planted = || {
            let mut inputs = shape.inputs::<W>();
            let features = job.data.features();
            inputs.train.memory_mut().unwrap()[40 * features..41 * features].fill(large);
            inputs
        };
        assert_eq!(alarm(&job, &planted, salt), Some(true));
        assert_eq!(alarm(&job, &|| shape.inputs::<W>(), salt), Some(false));
    }
    job.reveal.alarm = false;
    assert_eq!(alarm(&job, &|| shape.inputs::<W>(), 1), None);
}

#[test]
fn one_word_that_is_compared_is_found() {
    one_record::<u32>(32);
    one_record::<u64>(64);
}

/// A line without ReLU: nothing is compared. Squared errors that leave the ring, thousands of them,
/// are found by sample.
#[test]
fn words_that_are_not_compared_are_found_by_sample() {
    let shape = Shape { ring_bits: 32, regression: true, epochs: 64, batch: 16, ..Shape::default() };
    let mut job = shape.job();
    job.network = Network::chain([AnyLayer::Dense(Dense::new(1))]);
    job.reveal.loss = RevealLoss::Epoch;
    let inputs = |target: u64| {
        let shape = &shape;
        move || {
            let mut inputs = shape.inputs::<u32>();
            inputs.train_labels.memory_mut().unwrap().fill(u32::from_u64(target << 11));
            inputs
        }
    };
    // The square of 40 has 2^22 units of 2^-11 squared for each of its own: 2^32.6.
    assert_eq!(alarm(&job, &inputs(40), 3), Some(true));
    assert_eq!(alarm(&job, &inputs(1), 3), Some(false));
}

/// Differences of two logits, which are conjoined by no round, and of ten.
#[test]
fn overflows_before_the_maximum_are_found() {
    for classes in [2, 10] {
        let shape = Shape { ring_bits: 32, epochs: 48, ..Shape::default() };
        let mut job = shape.job();
        job.network = Network::chain([AnyLayer::Dense(Dense::new(u32::try_from(classes).unwrap()))]);
        job.data.task = symbolon::job::Task::Classes(classes);
        job.validate().unwrap();
        let inputs = |scale: u64| {
            let job = &job;
            move || {
                let (mut inputs, mut values) = (Inputs::<u32>::in_memory(job), Values(4));
                for (features, labels) in
                    [(&mut inputs.train, &mut inputs.train_labels), (&mut inputs.test, &mut inputs.test_labels)]
                {
                    let [features, labels] = [features, labels].map(|words| words.memory_mut().unwrap());
                    features.iter_mut().for_each(|x| *x = u32::try_from(values.next() % (scale << 11)).unwrap());
                    labels.chunks_mut(classes).for_each(|row| row[values.below(classes)] = 1);
                }
                inputs
            }
        };
        assert_eq!(alarm(&job, &inputs(1 << 12), 5), Some(true), "{classes} classes");
        assert_eq!(alarm(&job, &inputs(1), 5), Some(false), "{classes} classes");
    }
}

/// Alarms of a job take at most this part of its bytes.
const MOST: f64 = 0.01;

#[test]
#[allow(clippy::cast_precision_loss)]
fn alarms_take_one_percent_of_a_jobs_bytes() {
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/jobs");
    for name in ["mnist-adam-32.toml", "mnist-adam.toml", "mnist-sgd-32.toml"] {
        let mut job = Job::load(&jobs.join(name)).unwrap();
        let with = plan(&job).unwrap().total;
        job.reveal.alarm = false;
        let without = plan(&job).unwrap().total;
        let more = |part: fn(&Cost) -> u64| part(&with) as f64 / part(&without) as f64 - 1.0;
        let parts = [more(|c| c.bytes_each_way), more(|c| c.dealer_bytes), more(|c| c.rounds)];
        println!("{name}: each way, dealt, rounds: {parts:.5?}");
        let [each_way, dealt, rounds] = parts;
        assert!(each_way <= MOST && rounds <= MOST, "{name}: {parts:?}");
        assert!(dealt <= MOST, "{name}: {parts:?}");
    }
}

/// A million steps.
#[test]
#[ignore = "a minute; run it with --release"]
fn a_million_clean_steps_raise_no_alarm() {
    let shape = Shape {
        optimizer: OPTIMIZERS[0],
        lanes: 1,
        epochs: 100_000,
        batch: 2,
        records: 20,
        hidden: 2,
        ..Shape::default()
    };
    let job = shape.job();
    assert!(job.training.epochs as usize * job.steps_per_epoch() >= 1_000_000);
    let game = Game::new(job);
    assert_eq!(is_set(game.clear::<u64>(shape.inputs(), &Keys::new(1), 1).alarm), Some(false));
}
