//! Jobs with metrics by name: the secure engine equals the clear one bit for bit and costs what the
//! plan says; figures agree with each other; jobs with one score stay as they were.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use symbolon::{
    data::Lengths,
    job::{Job, Noise, Rule, When},
    kernel::HostWord,
    report::{EpochResult, MetricResult},
    train::{Inputs, epoch_result},
};
use symbolon_core::{metric::AnyMetric, word::Word};
use symbolon_tests::{
    jobs::{OPTIMIZERS, Shape},
    play::{Game, Keys, Outputs, Played},
    stored::Task,
};

const OF_CLASSES: &str = "metrics = [\"accuracy\", { kind = \"top-k\", k = 2 }, \"confusion\", \"log-loss\",
     { kind = \"auc\", thresholds = 7 }, { kind = \"auc\", thresholds = 3, largest = 2 }, \"perplexity\"]\n";
const OF_TARGETS: &str = "metrics = [\"mean-squared-error\", \"mean-absolute-error\", \"r2\"]\n";

/// Metrics of a job file's first lines.
fn metrics(lines: &str, regression: bool) -> Vec<AnyMetric> {
    let toml = lines.to_owned() + &Shape { regression, ..Shape::default() }.toml();
    Job::parse(&toml, std::path::Path::new("metrics.toml")).unwrap().metrics
}

/// Plays a job on shares and in the clear; returns what each epoch opens.
fn agree<W: HostWord + Word>(job: &Job, inputs: &dyn Fn() -> Inputs<W>) -> Vec<Outputs> {
    let mut game = Game::new(job.clone());
    game.recording = false;
    let keys = Keys::new(5);
    let Played { result, counts, dealt_bytes, dithers, .. } = game.secure(inputs(), &keys, 2);
    let clear = game.replay(inputs(), &keys, &dithers, 1);
    assert_eq!(result.epochs, clear.epochs, "{job:?}");
    assert!(W::bytes(&result.parameters) == W::bytes(&clear.parameters), "parameters differ: {job:?}");
    let silent = result.alarm.is_some_and(|alarm| W::bytes(&[alarm]).iter().all(|byte| *byte == 0));
    assert!(silent, "a false alarm: {job:?}");
    let total = game.plan.total;
    for count in counts {
        assert_eq!((count.rounds, count.bytes), (total.rounds, total.bytes_each_way), "{job:?}");
    }
    assert_eq!(dealt_bytes, total.dealer_bytes, "{job:?}");
    result.epochs
}

fn agree_in(ring_bits: u32, job: &Job, shape: &Shape<'_>) -> Vec<Outputs> {
    match ring_bits {
        32 => agree::<u32>(job, &|| shape.inputs()),
        _ => agree::<u64>(job, &|| shape.inputs()),
    }
}

fn last(job: &Job, epochs: &[Outputs]) -> EpochResult {
    let (loss, score) = epochs.last().unwrap().clone();
    epoch_result(job, &Lengths::default(), job.training.epochs, loss, score).unwrap()
}

fn value(results: &[MetricResult], at: usize) -> f64 {
    results[at].value.unwrap()
}

/// Figures of one set of predictions agree, but for the rounding of ties.
fn consistent(result: &EpochResult, records: f64) {
    let metrics = &result.metrics;
    let accuracy = result.accuracy.unwrap();
    assert!((accuracy - value(metrics, 0)).abs() < 1e-12 && result.scored.map(|n| n as f64) == Some(records));
    assert!(value(metrics, 1) >= accuracy - 0.05, "two guesses are better than one");
    assert!((value(metrics, 2) - accuracy).abs() <= 2.0 / records, "{metrics:?}");
    assert!((0.0..3.0).contains(&value(metrics, 3)), "{metrics:?}");
    assert!((value(metrics, 6) / value(metrics, 3).exp() - 1.0).abs() < 0.1, "{metrics:?}");
    let all = |at: usize| metrics[at].table.as_ref().unwrap().iter().flatten().sum::<f64>();
    assert_eq!([all(2), all(4), all(5)], [records, 3.0 * records, 3.0 * records]);
    assert!((value(metrics, 4) - value(metrics, 5)).abs() < 0.3, "{metrics:?}");
}

#[test]
fn secure_equals_clear_with_all_metrics_of_classes() {
    for (ring_bits, lanes) in [(32, 1), (32, 3), (64, 2), (64, 3)] {
        let shape = Shape { ring_bits, lanes, epochs: 2, records: 148, ..Shape::default() };
        let job = Job { metrics: metrics(OF_CLASSES, false), ..shape.job() };
        job.validate().unwrap();
        consistent(&last(&job, &agree_in(ring_bits, &job, &shape)), 37.0);
    }
}

/// Fewer test records than lanes, one record a lane.
#[test]
fn secure_equals_clear_with_few_records() {
    let shape = Shape { lanes: 3, batch: 2, records: 8, ..Shape::default() };
    let job = Job { metrics: metrics(OF_CLASSES, false), ..shape.job() };
    agree::<u64>(&job, &|| shape.inputs());
}

/// Records without a class are in no sum.
#[test]
fn secure_equals_clear_where_labels_may_name_no_class() {
    for (ring_bits, lanes) in [(32, 2), (64, 1), (64, 3)] {
        let task = Task { ring_bits, lanes, records: 213, regression: false, optimizer: OPTIMIZERS[0] };
        let mut job = Job { metrics: metrics(OF_CLASSES, false), ..task.job() };
        job.reveal.noise = None;
        job.validate().unwrap();
        let epochs = match ring_bits {
            32 => agree::<u32>(&job, &|| task.inputs()),
            _ => agree::<u64>(&job, &|| task.inputs()),
        };
        let records = epochs[0].1.as_ref().unwrap().records.unwrap() as f64;
        assert!(records < job.data.test_records as f64, "some records have no class");
        consistent(&last(&job, &epochs), records);
    }
}

#[test]
fn secure_equals_clear_with_all_metrics_of_a_regression() {
    for (ring_bits, lanes) in [(32, 1), (64, 2), (32, 3)] {
        let shape = Shape { ring_bits, lanes, regression: true, records: 148, ..Shape::default() };
        let job = Job { metrics: metrics(OF_TARGETS, true), ..shape.job() };
        let result = last(&job, &agree_in(ring_bits, &job, &shape));
        let (_, test) = shape.records();
        let symbolon::data::Targets::Values(targets) = &test.targets else { panic!("no targets") };
        let mean = targets.iter().map(|y| f64::from(*y)).sum::<f64>() / targets.len() as f64;
        let variance = targets.iter().map(|y| (f64::from(*y) - mean).powi(2)).sum::<f64>() / targets.len() as f64;
        let (error, r2) = (result.mean_squared_error.unwrap(), result.r2.unwrap());
        assert!((r2 - (1.0 - error / variance)).abs() < 0.02, "{result:?}");
        let magnitude = value(&result.metrics, 1);
        assert!(magnitude > 0.0 && magnitude * magnitude <= error + 0.01, "{result:?}");
    }
}

/// Terms are clamped to the limits that noise needs.
#[test]
fn secure_equals_clear_with_noise() {
    for (ring_bits, regression) in [(32, true), (64, true), (32, false), (64, false)] {
        let shape = Shape { ring_bits, regression, lanes: 2, records: 48, ..Shape::default() };
        let lines = if regression { OF_TARGETS } else { OF_CLASSES };
        let mut job = Job { metrics: metrics(lines, regression), ..shape.job() };
        job.reveal.when = When::End;
        job.reveal.noise = Some(Noise { epsilon_milli: 1000, largest_loss: 1 });
        job.validate().unwrap();
        let result = last(&job, &agree_in(ring_bits, &job, &shape));
        let defined = result.metrics.iter().filter(|metric| metric.value.is_some());
        assert!(defined.clone().count() >= 2 && defined.clone().all(|metric| metric.standard_error.unwrap() > 0.0));
    }
}

/// `ε` is split over the numbers that the replacement of a record changes, not over all.
#[test]
fn a_matrix_spends_no_more_than_two_counts() {
    use symbolon::job::form::{Kind, outputs};
    let scale = |lines: &str, epochs| {
        let mut job = Job { metrics: metrics(lines, false), ..Shape::default().job() };
        job.reveal.noise = Some(Noise { epsilon_milli: 1000, largest_loss: 8 });
        job.training.epochs = epochs;
        let form = Kind::Metric { metric: 0, sum: 0 }.form(&job).unwrap();
        (form.scale().unwrap().deviation(), outputs(&job) - 2 - u64::from(epochs))
    };
    let (one, counted) = scale("metrics = [\"accuracy\"]\n", 1);
    let (two, cells) = scale("metrics = [\"confusion\"]\n", 1);
    assert_eq!((counted, cells), (1, 9));
    let (other, both) = scale("metrics = [\"accuracy\"]\n", 2);
    assert_eq!((two, both), (other, 2), "two cells, or one count twice");
    assert!(two > 1.9 * one);
    let (of_areas, _) = scale("metrics = [{ kind = \"auc\", thresholds = 100 }]\n", 1);
    assert_eq!(of_areas, scale("metrics = [\"accuracy\"]\n", 6).0, "two cells of each of three curves");
    // Two sums of a coefficient of determination are opened once.
    let mut job = Job {
        metrics: metrics(OF_TARGETS, true)[2..].to_vec(),
        ..Shape { regression: true, ..Shape::default() }.job()
    };
    job.training.epochs = 5;
    assert_eq!(outputs(&job) - 2, 5 + 5 + 2);
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    let parse = |lines: &str| {
        let toml = lines.to_owned() + &Shape::default().toml();
        Job::parse(&toml, std::path::Path::new("metrics.toml")).map_err(|error| error.to_string())
    };
    for (lines, told) in [
        ("metrics = []", "metrics: is 0; give an integer from 1 to 16"),
        ("metrics = [\"accurate\"]", "metrics[0]: is the unknown metric \"accurate\"; give one of: accuracy, top-k, "),
        ("metrics = [\"accuracy\", \"top-k\"]", "metrics[1]: cannot be read as `top-k`: missing field `k`"),
        ("metrics = [{ kind = \"auc\", k = 1 }]", "metrics[0]: cannot be read as `auc`: unknown field `k`"),
        ("metrics = [{ k = 1 }]", "metrics[0]: has no key `kind` with a name"),
        ("metrics = [{ kind = \"top-k\", k = 3 }]", "metrics[0]: `top-k` has k = 3; give an integer from 1 to 2"),
        ("metrics = [\"r2\"]", "metrics[0]: `r2` needs the target of a regression"),
        ("metrics = [\"accuracy\", \"accuracy\"]", "metrics[1]: repeats \"accuracy\"; list each metric once"),
    ] {
        let error = parse(&format!("{lines}\n")).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
    let mut job = parse("metrics = [\"confusion\"]\n").unwrap();
    job.data.task = symbolon::job::Task::Classes(255);
    job.reveal.noise = Some(Noise { epsilon_milli: 1000, largest_loss: 8 });
    job.network =
        symbolon::job::Network::chain([symbolon_core::layer::AnyLayer::Dense(symbolon_core::layer::Dense::new(255))]);
    let invalid = job.validate().unwrap_err();
    assert_eq!(
        (&*invalid.key, invalid.rule),
        ("metrics (sums with noise)", Rule::Between { got: 65_025, min: 0, max: 4096 })
    );
}

/// A sum and its count of records.
type Pinned = Option<(u64, Option<u64>)>;
/// A job's name, its costs, and each epoch's loss and score.
type Pin = (&'static str, [u64; 3], &'static [(Pinned, Pinned)]);

/// Jobs (bits, whether regression, whether with noise; or on stored reports): rounds, bytes each
/// way and dealt, as they were when a job had one score, and each epoch's loss and score.
const PINS: [Pin; 10] = [
    (
        "32 false false",
        [151, 33_004, 133_576],
        &[(Some((116_944, None)), Some((7, None))), (Some((94_193, None)), Some((8, None)))],
    ),
    ("32 false true", [147, 32_444, 130_108], &[(None, None), (Some((88_109, None)), Some((8, None)))]),
    (
        "32 true false",
        [105, 21_748, 56_224],
        &[(Some((19_909, None)), Some((7874, None))), (Some((8240, None)), Some((4020, None)))],
    ),
    ("32 true true", [107, 21_980, 58_276], &[(None, None), (Some((8248, None)), Some((4031, None)))]),
    ("stored 32", [191, 34_248, 119_436], &[(Some((179_775, Some(75))), Some((4, Some(14))))]),
    (
        "64 false false",
        [169, 92_216, 399_440],
        &[(Some((233_877, None)), Some((7, None))), (Some((190_351, None)), Some((9, None)))],
    ),
    ("64 false true", [165, 89_168, 390_296], &[(None, None), (Some((178_064, None)), Some((9, None)))]),
    (
        "64 true false",
        [109, 49_832, 116_624],
        &[(Some((39_787, None)), Some((15_731, None))), (Some((16_484, None)), Some((8036, None)))],
    ),
    ("64 true true", [112, 50_744, 131_192], &[(None, None), (Some((16_481, None)), Some((8022, None)))]),
    ("stored 64", [220, 86_920, 329_408], &[(Some((360_254, Some(75))), Some((2, Some(14))))]),
];

fn hold<W: HostWord + Word>(name: &str, job: Job, inputs: &dyn Fn() -> Inputs<W>) {
    let mut game = Game::new(job);
    game.recording = false;
    let epochs = game.secure(inputs(), &Keys::new(5), 2).result.epochs;
    let total = game.plan.total;
    let (_, costs, pinned) = PINS.iter().find(|pin| pin.0 == name).unwrap();
    assert_eq!([total.rounds, total.bytes_each_way, total.dealer_bytes], *costs, "{name}");
    let got: Vec<(Pinned, Pinned)> = epochs
        .into_iter()
        .map(|(loss, score)| (loss.map(|s| (s.total, s.records)), score.map(|s| (s.sums[0], s.records))))
        .collect();
    assert_eq!(got, *pinned, "{name}");
}

#[test]
fn jobs_with_one_score_are_as_they_were() {
    for ring_bits in [32, 64] {
        for (regression, noise) in [(false, false), (false, true), (true, false), (true, true)] {
            let shape = Shape { ring_bits, regression, epochs: 2, records: 48, lanes: 3, ..Shape::default() };
            let mut job = shape.job();
            if noise {
                job.reveal.when = When::End;
                job.reveal.noise = Some(Noise { epsilon_milli: 1000, largest_loss: 1 });
            }
            let name = format!("{ring_bits} {regression} {noise}");
            match ring_bits {
                32 => hold::<u32>(&name, job, &|| shape.inputs()),
                _ => hold::<u64>(&name, job, &|| shape.inputs()),
            }
        }
        let task = Task { ring_bits, lanes: 2, records: 113, regression: false, optimizer: OPTIMIZERS[0] };
        match ring_bits {
            32 => hold::<u32>("stored 32", task.job(), &|| task.inputs()),
            _ => hold::<u64>("stored 64", task.job(), &|| task.inputs()),
        }
    }
}
