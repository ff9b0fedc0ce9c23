#![allow(clippy::unwrap_used)]

mod jobs;

use super::*;
use crate::train::{Inputs, batch_order, real};
use jobs::{BASE, Case, EXACT, KEEPING, SOLVED, Watch, clear, inputs, solved};
use proptest::prelude::*;
use std::sync::LazyLock;

/// A whole run without dithers, with its states.
fn whole<W: HostWord + Word>(job: &Job) -> (Vec<W>, Watch) {
    let mut watch = Watch::default();
    let model = clear::<W>(job, inputs(job), Start::Fresh, None, &mut watch);
    (model, watch)
}

/// The run that goes on from an encoded state.
fn resumed<W: HostWord + Word>(job: &Job, bytes: &[u8], seed: Option<u8>) -> (Vec<W>, Watch) {
    let (mut watch, state) = (Watch::default(), State::from_bytes(job, bytes).unwrap());
    let model = clear::<W>(job, inputs(job), Start::At(state), seed, &mut watch);
    (model, watch)
}

/// All that a run tells after `position`: the end of an epoch is told again.
fn told_from(job: &Job, whole: &Watch, position: Position) -> Vec<String> {
    let asked = format!("stores {}?", position.steps());
    let at = whole.told.iter().position(|told| *told == asked).unwrap();
    let rest = whole.told[at + 1..].iter().cloned();
    let is_end = whole.told[at + 1].starts_with("epoch");
    assert_eq!(is_end, position.is_epoch_end(job));
    std::iter::once("opened".to_owned()).chain(rest).collect()
}

/// Holds runs from every state of a whole run against it, bit for bit.
fn goes_on_exactly<W: HostWord + Word>(name: &str, job: &Job) {
    let (model, watch) = whole::<W>(job);
    let last = Position::last(job);
    assert_eq!(
        watch.states.iter().map(|(at, _)| at.steps()).collect::<Vec<_>>(),
        (1..=last.steps()).collect::<Vec<_>>()
    );
    for (i, (position, bytes)) in watch.states.iter().enumerate() {
        let (again, other) = resumed::<W>(job, bytes, None);
        assert!(W::bytes(&again) == W::bytes(&model), "{name}: another model from {position}");
        assert_eq!(other.told, told_from(job, &watch, *position), "{name}: {position}");
        // Words that await the range alarm's check are others.
        if !job.reveal.alarm {
            assert!(other.states == watch.states[i + 1..], "{name}: other states from {position}");
        }
    }
}

fn each(cases: &[Case], wide: fn(&str, &Job), narrow: fn(&str, &Job)) {
    for case in cases {
        let check = if case.ring_bits == 32 { narrow } else { wide };
        check(case.name, &case.job());
    }
}

#[test]
fn every_job_goes_on_bit_by_bit_where_nothing_is_dithered() {
    each(&EXACT, goes_on_exactly::<u64>, goes_on_exactly::<u32>);
}

#[test]
fn solved_jobs_go_on_bit_by_bit() {
    for (lanes, keys) in (1..=3).cycle().zip(SOLVED) {
        goes_on_exactly::<u64>(keys, &solved(keys, lanes));
    }
}

/// The greatest distance of two models.
fn apart<W: Word>(job: &Job, a: &[W], b: &[W]) -> f64 {
    let value = |word: &W| real(job, *word);
    a.iter().zip(b).map(|(a, b)| (value(a) - value(b)).abs()).fold(0.0, f64::max)
}

/// Buckets that were kept are chosen again, so that a step or two may differ by a factor of two.
fn goes_on_nearly<W: HostWord + Word>(name: &str, job: &Job) {
    let (model, watch) = whole::<W>(job);
    let (mut differ, every) = (0, job.optimizer.adam().unwrap().refresh_every);
    for (position, bytes) in &watch.states {
        let (again, _) = resumed::<W>(job, bytes, None);
        let chooses = position.steps() < 16 || position.steps().is_multiple_of(every.into());
        let distance = apart(job, &model, &again);
        let most = if chooses { 0.0 } else { 0.125 };
        assert!(distance <= most, "{name}: {distance} apart from {position}");
        differ += usize::from(distance > 0.0);
    }
    println!("{name}: {differ} of {} models differ", watch.states.len());
}

#[test]
fn jobs_that_keep_buckets_choose_them_again() {
    each(&KEEPING, goes_on_nearly::<u64>, goes_on_nearly::<u32>);
}

/// Under dithers: a run that goes on under others is no further from the whole run than another
/// whole run is.
fn goes_on_alike<W: HostWord + Word>(name: &str, job: &Job) {
    let mut watch = Watch::default();
    let mut run = |seed| clear::<W>(job, inputs(job), Start::Fresh, Some(seed), &mut watch);
    let others = [3, 4, 5].map(&mut run);
    watch.states.clear();
    let model = clear::<W>(job, inputs(job), Start::Fresh, Some(1), &mut watch);
    let spread = others.iter().map(|other| apart(job, &model, other)).fold(0.0, f64::max);
    let steps = Position::last(job).steps();
    for at in [1, steps / 3, steps / 2, steps - 1, steps] {
        let (_, bytes) = &watch.states[usize::try_from(at).unwrap() - 1];
        let (again, _) = resumed::<W>(job, bytes, Some(2));
        let distance = apart(job, &model, &again);
        assert!(distance <= 2.0 * spread, "{name}: {distance} apart from step {at}, others {spread}");
        assert_eq!(distance == 0.0, at == steps, "{name}: other dithers from step {at}");
    }
}

#[test]
fn every_job_goes_on_within_its_rounding() {
    each(&EXACT, goes_on_alike::<u64>, goes_on_alike::<u32>);
    each(&KEEPING, goes_on_alike::<u64>, goes_on_alike::<u32>);
}

#[test]
fn states_are_gathered_only_if_they_are_wanted() {
    let job = BASE.job();
    let mut watch = Watch { is_idle: true, ..Watch::default() };
    let model = clear::<u64>(&job, inputs(&job), Start::Fresh, None, &mut watch);
    assert!(watch.states.is_empty());
    let (same, stored) = whole::<u64>(&job);
    assert!(model == same && watch.told == stored.told, "a checkpoint changes nothing");
}

/// The client's decision after an epoch may be lost with the run: it is asked for again.
#[test]
fn an_epochs_end_is_told_again_once_and_decided_again() {
    let case = EXACT.iter().find(|case| case.name == "early stop").unwrap();
    let (job, steps) = (case.job(), case.job().steps_per_epoch() as u64);
    let (_, watch) = whole::<u64>(&job);
    let (_, bytes) = watch.states.iter().find(|(at, _)| at.steps() == 2 * steps).unwrap();
    for last in [None, Some(2), Some(3)] {
        let mut other = Watch { last, ..Watch::default() };
        let start = Start::At(State::from_bytes(&job, bytes).unwrap());
        let model = clear::<u64>(&job, inputs(&job), start, None, &mut other);
        let epochs = |watch: &Watch, epoch: u32| -> Vec<String> {
            watch.told.iter().filter(|told| told.starts_with(&format!("epoch {epoch}:"))).cloned().collect()
        };
        assert_eq!(epochs(&other, 2), epochs(&watch, 2), "{last:?}");
        assert_eq!(epochs(&other, 2).len(), 1);
        assert_eq!(other.told.iter().filter(|told| *told == "goes on after 2?").count(), 1);
        let ran = other.told.iter().filter(|told| told.starts_with("trained")).count();
        assert_eq!(
            ran,
            match last {
                Some(last) => last as usize - 2,
                None => 2,
            }
        );
        if last == Some(2) {
            assert!(
                u64::bytes(&model) == &bytes[HEADER_BYTES + DIGEST_BYTES..][..8 * model.len()],
                "nothing is trained"
            );
        }
    }
}

/// A word that left its range before the checkpoint is told of after it, though the data of the
/// rest are clean.
#[test]
fn an_alarm_of_before_is_told_after() {
    for (case, at) in [(BASE, 1), (Case { lanes: 3, ..BASE }, 4), (BASE, 6), (Case { ring_bits: 32, ..BASE }, 13)] {
        match case.ring_bits {
            32 => alarm_survives::<u32>(&case.job(), at),
            _ => alarm_survives::<u64>(&case.job(), at),
        }
    }
}

fn alarm_survives<W: HostWord + Word>(job: &Job, at: usize) {
    let (planted, clean) = (planted::<W>(job), inputs::<W>(job));
    let mut watch = Watch::default();
    let _ = clear::<W>(job, planted, Start::Fresh, Some(1), &mut watch);
    assert_eq!(watch.told.last().unwrap(), "alarm true");
    let (_, bytes) = &watch.states[at - 1];
    let mut other = Watch::default();
    let _ = clear(job, clean, Start::At(State::from_bytes(job, bytes).unwrap()), Some(2), &mut other);
    assert_eq!(other.told.last().unwrap(), "alarm true", "from step {at}");
    let (_, whole) = whole::<W>(job);
    assert_eq!(whole.told.last().unwrap(), "alarm false");
}

/// A record of the first step is so large that a compared word leaves its range.
fn planted<W: Word>(job: &Job) -> Inputs<W> {
    let (mut inputs, features) = (inputs::<W>(job), job.data.features());
    let record = batch_order(job, 1)[0] as usize;
    let words = inputs.train.memory_mut().unwrap();
    words[record * features..][..features].fill(W::from_u64(1 << (job.numbers.ring_bits - 5)));
    inputs
}

#[test]
fn positions_count_epochs_and_steps() {
    let job = BASE.job();
    assert_eq!((job.steps_per_epoch(), Position::last(&job)), (6, Position::after(24)));
    let places = |steps| {
        let at = Position::after(steps);
        (at.epochs(&job), at.steps_of_epoch(&job), at.is_epoch_end(&job))
    };
    assert_eq!(
        [0, 1, 5, 6, 7, 24].map(places),
        [(0, 0, false), (0, 1, false), (0, 5, false), (1, 0, true), (1, 1, false), (4, 0, true)]
    );
    assert_eq!(places(u64::MAX).0, u32::MAX, "a peer's position is any number");
    assert!(Position::START < Position::after(1));
    let encoded = postcard::to_stdvec(&Position::after(300)).unwrap();
    assert_eq!(postcard::from_bytes::<Position>(&encoded).unwrap(), Position::after(300));
    assert_eq!(postcard::to_stdvec(&300u64).unwrap(), encoded);
}

#[test]
fn releases_are_counted_from_a_position() {
    let mut job = BASE.job();
    let left = |job: &Job, steps| super::super::releases(job, Position::after(steps));
    assert_eq!([0, 1, 5, 6, 7, 18, 23, 24].map(|steps| left(&job, steps)), [6, 6, 6, 6, 5, 4, 3, 3]);
    job.reveal.alarm = false;
    assert_eq!([0, 24, u64::MAX].map(|steps| left(&job, steps)), [5, 2, 1]);
}

/// A job, another one with states as long, and states of the first within an epoch and at its end.
static STATES: LazyLock<([Job; 2], [Vec<u8>; 2])> = LazyLock::new(|| {
    let job = Case { reveal: "alarm = false", ..BASE }.job();
    let mut other = job.clone();
    other.training.seed += 1;
    let (_, watch) = whole::<u64>(&job);
    ([job, other], [3, 5].map(|i| watch.states[i].1.clone()))
});

fn read(job: &Job, bytes: &[u8]) -> Result<Position, StateError> {
    State::<u64>::from_bytes(job, bytes).map(|state| state.position())
}

#[test]
fn other_bytes_are_refused() {
    let ([job, other], states) = &*STATES;
    for (bytes, position) in states.iter().zip([4, 6]) {
        assert_eq!(read(job, bytes), Ok(Position::after(position)));
        assert_eq!(read(other, bytes), Err(StateError::Job));
        for len in 0..bytes.len() {
            let error = read(job, &bytes[..len]).unwrap_err();
            assert!(matches!(error, StateError::Format | StateError::Length { .. }), "{len}: {error:?}");
        }
        for more in [1, 7, 8, 800] {
            let longer = [&bytes[..], &vec![0; more]].concat();
            let want = bytes.len() - HEADER_BYTES - DIGEST_BYTES;
            assert_eq!(read(job, &longer), Err(StateError::Length { want, got: want + more }));
        }
    }
    let at = |steps: u64| {
        let mut bytes = states[0].clone();
        bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&steps.to_le_bytes());
        read(job, &bytes)
    };
    let last = Position::after(24);
    for steps in [0, 25, u64::MAX] {
        assert_eq!(at(steps), Err(StateError::Position { got: Position::after(steps), last }));
    }
    assert_eq!(at(5), Err(StateError::Digest), "a step with as many words");
    let same = State::<u64>::from_bytes(job, &states[0]).unwrap();
    assert!(same.to_bytes()[..] == states[0][..]);
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes: Vec<u8>, header in 0..=HEADER_BYTES, at: proptest::sample::Index, bit in 0u32..8) {
        let ([job, _], states) = &*STATES;
        let random = [&states[0][..header], &bytes[..]].concat();
        let _ = read(job, &random);
        let mut flipped = states[0].clone();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        prop_assert!(read(job, &flipped).is_err(), "bit {} of byte {}", bit, at);
    }
}

#[test]
#[should_panic(expected = "a state of another job")]
fn a_run_takes_no_other_jobs_state() {
    let ([job, other], states) = &*STATES;
    let state = State::<u64>::from_bytes(job, &states[0]).unwrap();
    let _ = clear(other, inputs(other), Start::At(state), None, &mut Watch::default());
}
