//! Sequences of various lengths: padding counts for nothing, on all engines and at the plan's cost.
#![allow(clippy::unwrap_used)]

use crate::sequences::{CODES, READINGS, codes, parsed, played, readings, recurrent, set, toml, translator};
use symbolon::{
    data::{Dataset, SetLengths, Targets},
    engine::plan::plan,
    job::Job,
    train::Inputs,
};
use symbolon_tests::play::{Game, Keys};

/// A label a step: whether the first feature is positive.
const TAGGED: &str = "shape = [6, 2]\nclasses = 2\nlabels_per_record = 6";

/// The job of `text` with lengths of records, labels or both.
fn padded(text: &str, [records, labels]: [bool; 2]) -> Job {
    let mut keys = "test_labels = 'd'\n".to_owned();
    if records {
        keys += "train_lengths = 'e'\ntest_lengths = 'f'\n";
    }
    if labels {
        keys += "train_label_lengths = 'g'\ntest_label_lengths = 'h'\n";
    }
    let text = text.replace("test_labels = 'd'\n", &keys);
    parsed(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn tagger(cell: &str, more: &str) -> String {
    format!(
        "{}, {{ kind = 'dense', units = 2, each_step = true }}",
        recurrent(cell, &format!(", states = 'all'{more}"))
    )
}

fn tagged(records: usize, salt: u64) -> Dataset {
    let all = readings(records, salt);
    let classes = all.features.chunks_exact(2).map(|step| u32::from(step[0] > 0.0)).collect();
    set(all.features, classes, 12)
}

/// Gives record `i` a length of 1 to `most`, and `i mod (labels + 1)` labels if they have lengths.
fn cut(mut data: Dataset, most: u16, labels: Option<u16>) -> Dataset {
    let rows = u16::try_from(data.rows).unwrap();
    let of_labels = |labels: u16| (0..rows).map(|i| i % (labels + 1)).collect();
    data.lengths =
        SetLengths { records: (0..rows).map(|i| 1 + i * 5 % most).collect(), labels: labels.map_or(vec![], of_labels) };
    data
}

/// Overwrites the padding of sequences of two features, and its labels.
fn spoilt(mut data: Dataset) -> Dataset {
    let Targets::Classes(classes) = &mut data.targets else { panic!("no classes") };
    let per_record = classes.len() / data.rows;
    for (i, length) in data.lengths.records.iter().map(|length| usize::from(*length)).enumerate() {
        let garbage = [f32::NAN, 1e30, -7.5, f32::INFINITY];
        let padding = &mut data.features[i * 12 + 2 * length..(i + 1) * 12];
        padding.iter_mut().zip(garbage.iter().cycle()).for_each(|(x, garbage)| *x = *garbage);
        if per_record == 6 {
            classes[i * 6 + length..(i + 1) * 6].fill(1);
        }
    }
    data
}

#[test]
fn secure_equals_clear_with_lengths() {
    let cases = [
        (64, 1, tagger("simple", ""), TAGGED),
        (64, 2, tagger("gru", ", reverse = true"), TAGGED),
        (32, 3, tagger("lstm", ", clip_gradient = 0.25"), TAGGED),
        (64, 2, format!("{}, {{ kind = 'dense', units = 2 }}", recurrent("lstm", ", reverse = true")), READINGS),
        (32, 1, format!("{}, {{ kind = 'dense', units = 2 }}", recurrent("gru", "")), READINGS),
    ];
    for (ring_bits, lanes, layers, data) in cases {
        let job = padded(&toml(ring_bits, data, &layers, [2, lanes]), [true, false]);
        let make = if data == TAGGED { tagged } else { readings };
        let [train, test] = [make(96, 5), make(24, 6)].map(|data| cut(data, 6, None));
        let _ = if ring_bits == 64 { played::<u64>(&job, &train, &test) } else { played::<u32>(&job, &train, &test) };
    }
}

/// With five lanes, batches of two and a last one of one, most lanes have no rows.
#[test]
fn lanes_without_rows_have_no_lengths() {
    let text = toml(64, TAGGED, &tagger("lstm", ""), [1, 5]).replace("batch = 16", "batch = 2").replace("= 96", "= 7");
    let _ = played::<u64>(&padded(&text, [true, false]), &cut(tagged(7, 5), 6, None), &cut(tagged(24, 6), 6, None));
}

#[test]
fn a_translation_has_lengths_of_both_sides() {
    for lengths in [[true, true], [false, true], [true, false]] {
        let job = padded(&toml(64, CODES, &translator(), [1, 2]), lengths);
        let [train, test] = [codes(96, 1), codes(24, 2)].map(|data| {
            let mut data = cut(data, 6, Some(3).filter(|_| lengths[1]));
            if !lengths[0] {
                data.lengths.records.clear();
            }
            data
        });
        let _ = played::<u64>(&job, &train, &test);
    }
}

/// Bit for bit: features and labels behind the lengths may be anything.
#[test]
fn garbage_in_the_padding_changes_nothing() {
    let last = format!("{}, {{ kind = 'dense', units = 2 }}", recurrent("gru", ""));
    for (layers, data, make) in
        [(tagger("gru", ""), TAGGED, tagged as fn(usize, u64) -> Dataset), (last, READINGS, readings)]
    {
        let job = padded(&toml(64, data, &layers, [3, 2]), [true, false]);
        let game = Game::new(job.clone());
        let run = |spoil: &dyn Fn(Dataset) -> Dataset| {
            let [train, test] = [make(96, 5), make(24, 6)].map(|data| spoil(cut(data, 6, None)));
            game.clear(Inputs::<u64>::encode(&job, &train, &test).unwrap(), &Keys::new(7), 2)
        };
        let zeros = |mut data: Dataset| {
            data = spoilt(data);
            data.features.iter_mut().filter(|x| !(-2.0..=2.0).contains(*x)).for_each(|x| *x = 0.0);
            data
        };
        let (plain, garbage) = (run(&zeros), run(&spoilt));
        assert!(plain == garbage && plain == run(&|data| data));
    }
}

/// Where all steps are alike, means over some labels are means over all of them: labels that do not
/// count are neither in the sums nor in the numbers by which these are divided.
#[test]
fn means_are_over_the_labels_that_count() {
    let text = toml(64, TAGGED, &tagger("gru", ""), [1, 2]);
    let text = text.replace("kind = 'adam'\nlearning_rate = 0.0156", "kind = 'sgd'\nlearning_rate = 0.001");
    let alike = |records, lengths: bool| {
        let mut data = tagged(records, 5);
        data.features.fill(0.0);
        data.targets = Targets::Classes(vec![1; data.rows * 6]);
        if lengths { cut(data, 3, None) } else { data }
    };
    let of_all = played::<u64>(&parsed(&text).unwrap(), &alike(96, false), &alike(24, false));
    let of_some = played::<u64>(&padded(&text, [true, false]), &alike(96, true), &alike(24, true));
    for (some, all) in of_some.iter().zip(of_all) {
        assert!((some - all).abs() < 0.1 * all, "{of_some:?} {of_all:?}");
    }
    assert!((of_some[1] - 1.0).abs() < 1e-9, "{of_some:?}"); // the accuracy
}

/// Lengths that cut nothing give, bit for bit, the job without them; and no plan knows them.
#[test]
fn full_lengths_are_those_of_a_job_without() {
    let text = toml(64, TAGGED, &tagger("lstm", ""), [2, 2]);
    let (plain, job) = (parsed(&text).unwrap(), padded(&text, [true, false]));
    let full = |mut data: Dataset| {
        data.lengths.records = vec![6; data.rows];
        data
    };
    let run = |job: &Job, train: Dataset, test: Dataset| {
        Game::new(job.clone()).clear(Inputs::<u64>::encode(job, &train, &test).unwrap(), &Keys::new(7), 2)
    };
    let (without, with) =
        (run(&plain, tagged(96, 5), tagged(24, 6)), run(&job, full(tagged(96, 5)), full(tagged(24, 6))));
    assert!(without == with);
    let [plain, plan] = [plain, job].map(|job| plan(&job).unwrap());
    assert_eq!((plan.total, plan.setup, plan.arena_bytes), (plain.total, plain.setup, plain.arena_bytes));
}

/// Shorter sequences are learnt as well as whole ones: what the last step of each shows.
#[test]
fn the_last_step_of_each_sequence_is_found() {
    let layers = format!("{}, {{ kind = 'dense', units = 2 }}", recurrent("gru", ""));
    let of_last = |mut data: Dataset| {
        let length = |i: usize| usize::from(data.lengths.records[i]);
        let last = |i: usize| data.features[i * 12 + 2 * (length(i) - 1)];
        data.targets = Targets::Classes((0..data.rows).map(|i| u32::from(last(i) > 0.0)).collect());
        data
    };
    let [train, test] = [readings(96, 5), readings(24, 6)].map(|data| of_last(cut(data, 6, None)));
    let text = toml(64, READINGS, &layers, [20, 2]);
    let [loss, accuracy, _] = played::<u64>(&padded(&text, [true, false]), &train, &test);
    assert!(loss < 0.25 && accuracy > 0.9, "{loss} {accuracy}");
}
