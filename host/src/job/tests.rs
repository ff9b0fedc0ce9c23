#![allow(clippy::unwrap_used)]

mod arrays;
mod augment;
mod encoding;
mod lengths;
mod optimizer;
mod reports;

use std::path::PathBuf;
use symbolon_core::optimizer as core;

use super::*;
use symbolon_core::layer::{AnyLayer, Dense, Misfit, Reason};

/// A valid job that edits start from; it leaves every default out.
const BASE: &str = r#"
version = 2
name = "base"
loss = "softmax-cross-entropy"
data.shape = [4]
data.train_records = 80
data.test_records = 20
data.classes = 3
data.scale.divide = 2
data.csv.train = "a.csv"
data.csv.test_every = 5
data.csv.label = "y"
network.layers = [{ kind = 'dense', units = 8 }, { kind = 'relu' }, { kind = 'dense', units = 3 }]
training = { epochs = 1, batch = 16, seed = 1 }
optimizer.kind = "adam"
"#;

fn base() -> Job {
    parse(BASE).unwrap()
}

fn parse(text: &str) -> Result<Job, JobError> {
    Job::parse(text, Path::new("base.toml"))
}

/// `BASE` with lines replaced that start as the given ones do up to `=`; others are added in front.
fn edited(lines: &str) -> String {
    let key = |line: &str| line.split('=').next().unwrap().trim().to_owned();
    let mut text: Vec<String> = BASE.lines().map(str::to_owned).collect();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match text.iter_mut().find(|old| key(old) == key(line)) {
            Some(old) => *old = line.to_owned(),
            None => text.insert(0, line.to_owned()),
        }
    }
    text.join("\n")
}

fn invalid(lines: &str) -> Invalid {
    match parse(&edited(lines)) {
        Err(JobError::Invalid { file, invalid }) => {
            assert_eq!(file, Path::new("base.toml"));
            invalid
        }
        other => panic!("{lines}: {other:?}"),
    }
}

#[track_caller]
fn refused(lines: &str, key: &str, rule: Rule) {
    assert_eq!(invalid(lines), Invalid { key: key.to_owned(), rule });
}

fn out_of(got: u64, min: u64, max: u64) -> Rule {
    Rule::Between { got, min, max }
}

fn job_files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Jobs that learn from reports need a manifest: `host/tests/report_jobs.rs`.
    let reports = |file: &PathBuf| Draft::load(file).unwrap().schema().is_some();
    files.retain(|file| !file.to_string_lossy().ends_with(".schema.toml") && !reports(file));
    files.sort();
    files
}

#[test]
fn a_last_batch_may_be_left_out() {
    let job = |lines: &str| parse(&edited(lines)).unwrap();
    let figures = |job: &Job| {
        let batches: Vec<usize> = (0..job.steps_per_epoch()).map(|step| job.batch(step).len()).collect();
        (job.steps_per_epoch(), job.smallest_batch(), batches)
    };
    let short = "training = { epochs = 1, batch = 32, seed = 1 }";
    assert_eq!(figures(&job(short)), (3, 16, vec![32, 32, 16]));
    let dropped = "training = { epochs = 1, batch = 32, drop_last = true, seed = 1 }";
    assert_eq!(figures(&job(dropped)), (2, 32, vec![32, 32]));
    let even = "training = { epochs = 1, batch = 16, drop_last = true, seed = 1 }";
    assert_eq!(figures(&job(even)), (5, 16, vec![16; 5]));
}

#[test]
fn all_job_files_are_valid_and_differ() {
    let files = job_files();
    let names: Vec<_> = files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    for name in ["boston", "digits", "mnist-adam", "mnist-adam-32", "mnist-adam-bias", "mnist-sgd-32"] {
        assert!(names.iter().any(|n| n == name), "{name}");
    }
    let mut hashes = std::collections::BTreeSet::new();
    // Those that learn from reports need records: they have tests of their own (`host/tests/report_jobs.rs`).
    let from_files = |file: &PathBuf| Draft::load(file).unwrap().schema().is_none();
    let is_job = |file: &PathBuf| !file.to_string_lossy().ends_with(".schema.toml");
    for (file, name) in files.iter().zip(&names).filter(|(file, _)| is_job(file) && from_files(file)) {
        let job = Job::load(file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&job.name, name);
        assert!(hashes.insert(job.hash().unwrap()));
        assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
    }
}

#[test]
fn job_files_hold_the_measured_stacks() {
    let load = |name: &str| Job::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(name)).unwrap();
    let rate = Dyadic { factor: 1, shift: 0 };
    let adam = Adam {
        first_threshold_log2: 12,
        buckets: 7,
        shift: 3,
        rate,
        refresh_every: 1,
        lazy_second_moment: false,
        precise: false,
        bias_correction: false,
    };
    assert_eq!(load("mnist-adam.toml").optimizer, Optimizer::Adam(adam));
    assert_eq!(load("mnist-adam-bias.toml").optimizer, Optimizer::Adam(Adam { bias_correction: true, ..adam }));
    let narrow = load("mnist-adam-32.toml");
    assert_eq!(
        narrow.optimizer,
        Optimizer::Adam(Adam {
            first_threshold_log2: 4,
            buckets: 7,
            shift: 0,
            rate,
            refresh_every: 4,
            lazy_second_moment: true,
            precise: false,
            bias_correction: false
        })
    );
    assert_eq!((narrow.numbers.ring_bits, narrow.numbers.frac_bits, narrow.numbers.grad_frac_bits), (32, 11, 15));
    assert_eq!((load("mnist-adam.toml").grad_shift(), narrow.grad_shift()), (Some(12), Some(14)));
    assert_eq!(narrow.parameters(), 785 * 128 + 129 * 128 + 129 * 10);
    assert_eq!((narrow.parameters(), narrow.steps_per_epoch(), narrow.outputs()), (118_282, 469, 10));
    assert_eq!(Job::digits().unwrap(), load("digits.toml"));
    assert_eq!(load("boston.toml").outputs(), 1);
}

#[test]
fn defaults_are_what_they_say() {
    let job = base();
    let numbers = Numbers { ring_bits: 64, frac_bits: 12, grad_frac_bits: 19, prg: Prg::Aes128Ctr };
    assert_eq!(job.numbers, numbers);
    assert_eq!(job.lanes, Lanes { lanes: 2, tile: 16_384 });
    let (loss, when) = (RevealLoss::Epoch, When::Epoch);
    let (metrics, alarm, noise) = (true, true, None);
    let want = Reveal { metrics, loss, model: false, alarm, when, noise, standard_errors: false };
    assert_eq!(job.reveal, want);
    let Format::Csv(csv) = &job.data.format else { panic!("not CSV") };
    assert_eq!((csv.delimiter, csv.header, &csv.columns), (',', true, &Columns::All));
    assert_eq!((&csv.missing[..], csv.on_missing), (&[String::new()][..], OnMissing::Refuse));
    let narrow = parse(&edited("numbers.ring_bits = 32")).unwrap();
    assert_eq!((narrow.numbers.frac_bits, narrow.numbers.grad_frac_bits), (11, 15));
}

#[test]
fn the_hash_ignores_spelling_and_nothing_else() {
    let hash = |lines: &str| parse(&edited(lines)).unwrap().hash().unwrap();
    let same = hash(
        "numbers = { ring_bits = 64, frac_bits = 12, prg = \"aes128-ctr\" }\nlanes.lanes = 2\nreveal.metrics = true",
    );
    assert_eq!(same, base().hash().unwrap());
    let changes = [
        "version = 2\nname = \"other\"",
        "data.train_records = 81",
        "data.scale.divide = 3",
        "data.csv.train = \"b.csv\"",
        "data.csv.test_every = 6",
        "data.csv.delimiter = \";\"",
        "data.csv.header = false",
        "data.csv.label = \"z\"",
        "data.csv.except = [\"b\"]",
        "data.csv.missing = []",
        "data.csv.on_missing = \"skip\"",
        "numbers.prg = \"chacha20\"",
        "numbers.ring_bits = 32",
        "numbers.frac_bits = 13",
        "numbers.grad_frac_bits = 18",
        "network.layers = [{ kind = 'dense', units = 9 }, { kind = 'relu' }, { kind = 'dense', units = 3 }]",
        "network.layers = [{ kind = 'dense', units = 8 }, { kind = 'dense', units = 3 }]",
        "loss = \"squared-error\"",
        "training = { epochs = 2, batch = 16, seed = 1 }",
        "training = { epochs = 1, batch = 8, seed = 1 }",
        "training = { epochs = 1, batch = 16, seed = 2 }",
        "optimizer.kind = \"amsgrad\"",
        "optimizer.refresh_every = 2",
        "optimizer.first_threshold_log2 = 13",
        "optimizer.buckets = 7",
        "optimizer.learning_rate = 0.002",
        "optimizer.learning_rate = 0.0015",
        "optimizer.warm_up_steps = 3",
        "optimizer.schedule = \"cosine\"",
        "optimizer.schedule = { kind = \"step\", every_epochs = 1, factor = 0.5 }",
        "optimizer.clip = 0.5",
        "optimizer.kind = \"adamw\"",
        "optimizer.kind = \"adamw\"\noptimizer.weight_decay = 0.1",
        "optimizer.bias_correction = true",
        "lanes.lanes = 3",
        "lanes.tile = 64",
        "reveal.metrics = false",
        "reveal.loss = \"never\"",
        "reveal.model = true",
        "reveal.alarm = false",
    ];
    let mut hashes: std::collections::BTreeSet<_> = changes.iter().map(|lines| hash(lines)).collect();
    hashes.insert(same);
    assert_eq!(hashes.len(), changes.len() + 1);
}

#[test]
fn syntax_errors_say_where() {
    let at = |text: &str| match parse(text) {
        Err(JobError::Syntax { line, column, message, .. }) => (line, column, message),
        other => panic!("{other:?}"),
    };
    let (line, column, message) = at("version = 2\nname = \"x\"\ndata = = 1\n");
    assert_eq!((line, column), (3, 8), "{message}");
    let (line, _, message) = at(&edited("data.colour = 1"));
    assert_eq!(line, 1);
    assert!(message.contains("unknown field `colour`") && message.contains("train_records"), "{message}");
    let (_, _, message) = at(&edited("training = { epochs = 1, batch = -1, seed = 1 }"));
    assert!(message.contains("-1"), "{message}");
    let (_, _, message) = at(&edited("network.layers = [{ kind = 'conv' }]"));
    assert!(message.contains("`conv`") && message.contains("dense") && message.contains("relu"), "{message}");
    let (_, _, message) = at(&edited("numbers.prg = \"rc4\""));
    assert!(message.contains("aes128-ctr"), "{message}");
    let (_, _, message) = at(&edited("network.layers = [{ kind = 'dense', units = 3, unit = 3 }]"));
    assert!(message.contains("unknown field `unit`"), "{message}");
    let (_, _, message) = at("version = 2\nname = \"x\"");
    assert!(message.contains("missing field"), "{message}");
    for key in
        ["extra", "numbers.extra", "network.extra", "optimizer.extra", "lanes.extra", "reveal.extra", "data.csv.extra"]
    {
        let (_, _, message) = at(&edited(&format!("{key} = 1")));
        assert!(message.contains("unknown field `extra`"), "{key}: {message}");
    }
    let old = edited("").replace("version = 2\n", "");
    let old = parse(&old).unwrap_err().to_string();
    assert!(old.contains("symbolon job migrate"), "{old}");
    let new = parse(&edited("version = 3")).unwrap_err().to_string();
    assert!(new.contains("version = 3") && new.contains("reads version 2"), "{new}");
    let missing = Job::load(Path::new("no-such-job.toml")).unwrap_err();
    assert!(missing.to_string().contains("no-such-job.toml"));
}

#[test]
fn names_and_data_follow_their_rules() {
    refused("version = 2\nname = \"a b\"", "name", Rule::Name { got: "a b".into() });
    refused("version = 2\nname = \"\"", "name", Rule::Name { got: String::new() });
    refused("data.shape = [0]", "data.shape (features)", out_of(0, 1, 1 << 16));
    refused("data.train_records = 0", "data.train_records", out_of(0, 1, 1 << 28));
    refused("data.test_records = 300_000_000", "data.test_records", out_of(300_000_000, 0, 1 << 28));
    let cells = 65_536 * (200_000_000 + 20);
    let big = "data.shape = [65_536]\ndata.train_records = 200_000_000";
    refused(big, "data (features times records)", out_of(cells, 1, 1 << 34));
    refused("data.classes = 1", "data.classes", out_of(1, 2, 255));
    refused("data.target.divide = 1", "data", Rule::ExactlyOne { of: &["classes", "target"] });
    let idx = "data.idx = { train_images = \"a\", train_labels = \"b\", test_images = \"c\", test_labels = \"d\" }";
    let Invalid { key, rule: Rule::ExactlyOne { of } } = invalid(idx) else { panic!("both accepted") };
    assert!(key == "data" && of.contains(&"[data.idx]") && of.contains(&"[data.npz]") && of.len() == 7);
    refused("data.scale.divide = 0", "data.scale.divide", Rule::Zero);
    refused("data.test_records = 0", "data.test_records", Rule::TestRecords { got: 0 });
    refused("data.csv.test_every = 1", "data.csv.test_every", out_of(1, 2, 1 << 28));
    let two = Rule::AtMostOne { of: &["test", "test_every", "test_fraction"] };
    refused("data.csv.test_fraction = 0.1", "data.csv", two);
    let two = Rule::AtMostOne { of: &["columns", "except"] };
    refused("data.csv.columns = [\"a\"]\ndata.csv.except = [\"b\"]", "data.csv", two);
    for name in ["", "../a.csv", "/a.csv", "a/../../b", "a\\\\b"] {
        let Invalid { key, rule } = invalid(&format!("data.csv.train = \"{name}\""));
        assert!(key == "data.csv.train" && matches!(rule, Rule::RelativePath { .. }), "{name}");
    }
    for delimiter in ["a", "\\\"", "\\n", "é", "1", "."] {
        let rule = invalid(&format!("data.csv.delimiter = \"{delimiter}\"")).rule;
        assert!(matches!(rule, Rule::Delimiter { .. }), "{delimiter}");
    }
    refused("data.csv.label = \"\"", "data.csv.label", Rule::Empty);
    refused("data.csv.columns = []", "data.csv.columns", out_of(0, 1, (1 << 16) + 1));
    refused("data.csv.except = [\"a\", \"a\"]", "data.csv.except", Rule::Duplicate { got: "a".into() });
    refused("data.csv.except = [\"y\"]", "data.csv.except", Rule::Duplicate { got: "y".into() });
    refused("data.csv.columns = [\"a\"]", "data.csv.columns", Rule::PerFeature { got: 1, features: 4 });
    let many = format!("data.csv.missing = [{}]", "\"\", ".repeat(1025));
    refused(&many, "data.csv.missing", out_of(1025, 0, 1024));
    let long = format!("data.csv.missing = [\"{}\"]", "x".repeat(1 << 18));
    refused(&long, "data.csv (bytes of names)", out_of((1 << 18) + 1, 1, 1 << 18));
}

#[test]
fn scales_follow_their_rules() {
    let mut job = base();
    let mut rule = |scale: Scale| {
        job.data.scale = scale;
        job.validate().unwrap_err().rule
    };
    assert!(matches!(rule(Scale::Divide(f64::NAN)), Rule::RealBetween { .. }));
    assert!(matches!(rule(Scale::Divide(f64::INFINITY)), Rule::RealBetween { .. }));
    let unit = Affine { offset: 0.0, divide: 1.0 };
    assert_eq!(rule(Scale::Columns(vec![unit.into(); 3])), Rule::PerFeature { got: 3, features: 4 });
    assert_eq!(rule(Scale::Columns(vec![Affine { divide: 0.0, ..unit }.into(); 4])), Rule::Zero);
    assert!(matches!(rule(Scale::Columns(vec![Affine { offset: 1e31, ..unit }.into(); 4])), Rule::RealBetween { .. }));
    assert_eq!(rule(Scale::Ranges(vec![(0.0, 1.0); 5])), Rule::PerFeature { got: 5, features: 4 });
    assert_eq!(rule(Scale::Ranges(vec![(1.0, 1.0); 4])), Rule::Order { least: 1.0, greatest: 1.0 });
    let ranges = edited("data.scale.ranges = [[0, 1], [0, 2.5], [-1, 1], [0, 1]]").replace("data.scale.divide = 2", "");
    let ranges = parse(&ranges).unwrap().data.scale;
    assert_eq!(ranges, Scale::Ranges(vec![(0.0, 1.0), (0.0, 2.5), (-1.0, 1.0), (0.0, 1.0)]));
    job.data.scale = Scale::Divide(1.0);
    job.data.task = Task::Regression(vec![Affine { offset: f64::NAN, divide: 1.0 }]);
    assert_eq!(job.validate().unwrap_err().key, "data.target.offset");
    job.data.task = Task::Regression(vec![Affine { offset: 0.0, divide: 0.0 }]);
    assert_eq!(job.validate().unwrap_err().key, "data.target.divide");
    job = base();
    let Format::Csv(csv) = &mut job.data.format else { panic!("not CSV") };
    csv.test = TestSet::Fraction(1.0);
    assert_eq!(job.validate().unwrap_err().key, "data.csv.test_fraction");
}

#[test]
fn numbers_and_network_follow_their_rules() {
    refused("numbers.ring_bits = 48", "numbers.ring_bits", Rule::RingBits { got: 48 });
    refused("numbers.frac_bits = 25", "numbers.frac_bits", out_of(25, 4, 24));
    refused("numbers = { ring_bits = 32, frac_bits = 13 }", "numbers.frac_bits", out_of(13, 4, 12));
    refused("numbers = { grad_frac_bits = 32 }", "numbers.grad_frac_bits", out_of(32, 12, 31));
    refused("numbers = { grad_frac_bits = 11 }", "numbers.grad_frac_bits", out_of(11, 12, 31));
    refused("network.layers = []", "network.layers", out_of(0, 1, 256));
    let none = Misfit::Number { key: "units", got: 0, min: 1, max: 1 << 16 };
    let none = Rule::Layer { reason: Reason::Misfit(none) };
    refused("network.layers = [{ kind = 'dense', units = 0 }]", "network.layers[0] (dense1)", none);
    let outputs = Rule::Outputs { got: Shape::vector(4), want: Shape::vector(3) };
    refused("network.layers = [{ kind = 'dense', units = 4 }]", "network.layers[0] (dense1)", outputs);
    let wide = "network.layers = [{ kind = 'dense', units = 65_536 }, { kind = 'dense', units = 65_536 }, { kind = 'dense', units = 3 }]";
    refused(wide, "network (parameters)", out_of(65_536 * 5 + 65_536 * 65_537 + 3 * 65_537, 1, 1 << 30));
    let regression = edited("data.target = { divide = 1 }\nnetwork.layers = [{ kind = 'dense', units = 1 }]")
        .replace("data.classes = 3", "");
    let Err(JobError::Invalid { invalid, .. }) = parse(&regression) else { panic!("valid") };
    assert_eq!(
        (invalid.key.as_str(), invalid.rule),
        ("loss", Rule::LossNeedsClasses { kind: "softmax-cross-entropy" })
    );
    let regression = regression.replace("softmax-cross-entropy", "squared-error");
    assert!(!parse(&regression).unwrap().reveal.metrics);
    assert!(parse(&format!("reveal.metrics = true\n{regression}")).unwrap().reveal.metrics);
    let untested = edited("reveal.metrics = true\ndata.test_records = 0").replace("data.csv.test_every = 5", "");
    let Err(JobError::Invalid { invalid, .. }) = parse(&untested) else { panic!("valid") };
    assert_eq!(invalid.rule, Rule::AccuracyNeedsTest);
    let text = edited("network.layers = [{ kind = 'dense', units = 3 }]");
    assert_eq!(parse(&text).unwrap().network, Network::chain([AnyLayer::Dense(Dense::new(3))]));
}

#[test]
fn training_and_lanes_follow_their_rules() {
    refused("training = { epochs = 0, batch = 16, seed = 1 }", "training.epochs", out_of(0, 1, 1 << 20));
    refused("training = { epochs = 1, batch = 0, seed = 1 }", "training.batch", out_of(0, 1, 1 << 16));
    refused("training = { epochs = 1, batch = 24, seed = 1 }", "training.batch", Rule::PowerOfTwo { got: 24 });
    let large = Rule::BatchTooLarge { got: 128, records: 80 };
    refused("training = { epochs = 1, batch = 128, seed = 1 }", "training.batch", large);
    refused("lanes.lanes = 0", "lanes.lanes", out_of(0, 1, 64));
    refused("lanes.tile = 0", "lanes.tile", out_of(0, 64, 1 << 22));
    refused("lanes.tile = 100", "lanes.tile", Rule::MultipleOf { got: 100, of: 64 });
}

#[test]
fn optimizers_follow_their_rules() {
    let shift = Rule::GradShift { shift: -3, min: 1, max: 31 };
    refused("numbers = { frac_bits = 6 }", "numbers.grad_frac_bits", shift);
    let squares = "numbers = { ring_bits = 32, frac_bits = 12 }\noptimizer.first_threshold_log2 = 4\n\
                   data.train_records = 512\ntraining = { epochs = 1, batch = 128, seed = 1 }";
    refused(squares, "numbers.grad_frac_bits", Rule::GradShift { shift: 16, min: 1, max: 15 });
    refused("optimizer.first_threshold_log2 = 1", "optimizer.first_threshold_log2", out_of(1, 2, 50));
    refused("optimizer.buckets = 1", "optimizer.buckets", out_of(1, 2, 27));
    refused("optimizer.buckets = 28", "optimizer.buckets", out_of(28, 2, 27));
    refused("optimizer.first_threshold_log2 = 12\noptimizer.buckets = 23", "optimizer.buckets", out_of(23, 2, 22));
    // With 7 buckets it is -6 at least: 0.016.
    let key = "optimizer.learning_rate";
    let seven = Rule::AdamRate { got: 0.032, min: 0.001 * (-49f64).exp2(), max: 0.016 };
    refused("optimizer.buckets = 7\noptimizer.learning_rate = 0.032", key, seven);
    for bad in ["0", "-1", "nan", "inf", "300", "1e-12"] {
        assert!(matches!(invalid(&format!("{key} = {bad}")).rule, Rule::RealBetween { .. }), "{bad}");
    }
    refused("optimizer.refresh_every = 0", "optimizer.refresh_every", out_of(0, 1, 1 << 8));
    refused(
        "optimizer.refresh_every = 2\noptimizer.lazy_second_moment = true",
        "optimizer.refresh_every",
        Rule::LazyRefresh { got: 2, want: 4 },
    );
    let unused = |by| Rule::UnusedBy { by };
    refused("optimizer.momentum = 0.1", "optimizer.momentum", unused("adam"));
    let sgd = "optimizer.kind = \"sgd\"\n";
    refused(sgd, "optimizer.learning_rate", Rule::NeededBy { by: "sgd" });
    let sgd = "optimizer.kind = \"sgd\"\noptimizer.learning_rate = 0.5\n";
    for (key, value) in [
        ("first_threshold_log2", "3"),
        ("buckets", "3"),
        ("refresh_every", "1"),
        ("bias_correction", "false"),
        ("inverse_root", "'mapping'"),
        ("momentum", "0.5"),
    ] {
        refused(&format!("{sgd}optimizer.{key} = {value}"), &format!("optimizer.{key}"), unused("sgd"));
    }
    assert_eq!(
        parse(&edited(sgd)).unwrap().optimizer,
        Optimizer::Sgd { learning_rate: Dyadic { factor: 1, shift: 1 } }
    );
    for rate in ["0", "-1", "nan", "inf", "300", "1e-10"] {
        let Invalid { key, rule } = invalid(&format!("optimizer.kind = \"sgd\"\noptimizer.learning_rate = {rate}"));
        assert!(key == "optimizer.learning_rate" && matches!(rule, Rule::RealBetween { .. }), "{rate}");
    }
    let momentum = "optimizer.kind = \"momentum\"\noptimizer.learning_rate = 0.5\n";
    refused(momentum, "optimizer.momentum", Rule::NeededBy { by: "momentum" });
    let one = Rule::RealBetween { got: 1.0, min: 0.0, max: 65_535.0 / 65_536.0 };
    refused(&format!("{momentum}optimizer.momentum = 1"), "optimizer.momentum", one);
    refused(&format!("{momentum}optimizer.refresh_every = 1"), "optimizer.refresh_every", unused("momentum"));
}

#[test]
fn constants_round_to_eight_bits() {
    let dyadic = |factor, shift| Some(Dyadic { factor, shift });
    assert_eq!(Dyadic::nearest(0.05), dyadic(205, 12));
    assert_eq!(Dyadic::nearest(0.9), dyadic(115, 7));
    assert_eq!(Dyadic::nearest(1.0), dyadic(1, 0));
    assert_eq!(Dyadic::nearest(255.0), dyadic(255, 0));
    assert_eq!(Dyadic::nearest(0.998_046_875), dyadic(1, 0));
    assert_eq!(Dyadic::nearest((-24f64).exp2()), dyadic(1, 24));
    assert_eq!(Dyadic::nearest((-32f64).exp2()), dyadic(1, 32));
    assert_eq!(Dyadic::nearest((-34f64).exp2()), None);
    for i in 1..5000u32 {
        let value = f64::from(i) * 0.037;
        let error = (Dyadic::nearest(value).unwrap().value() - value).abs() / value;
        assert!(error <= 1.0 / 256.0, "{value}: {error}");
    }
}

#[test]
fn decays_keep_their_difference_to_one() {
    let dyadic = |factor, shift| Some(Dyadic { factor, shift });
    for ring_bits in [32, 64] {
        assert_eq!(super::optimizer::decay(0.9, ring_bits), dyadic(115, 7));
        assert_eq!(super::optimizer::decay(0.5, ring_bits), dyadic(1, 1));
    }
    for value in [0.8, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 0.9995] {
        let decay = super::optimizer::decay(value, 64).unwrap();
        let error = (1.0 - decay.value()) / (1.0 - value) - 1.0;
        assert!(error.abs() <= 1.0 / 64.0 + 1e-9 && decay.factor <= super::optimizer::MAX_DECAY, "{value}: {decay:?}");
    }
    assert_eq!([1.0, 0.0, 1.5, -0.5, 0.999_999].map(|value| super::optimizer::decay(value, 64)), [None; 5]);
}

/// Rates and decays that would be computed as others: asked, and what works.
#[test]
fn numbers_that_would_become_others_are_refused() {
    let sgd = |rate: f64| {
        format!(
            "numbers.ring_bits = 32\ndata.train_records = 512\ntraining = {{ epochs = 1, batch = 512, seed = 1 }}\n\
             optimizer = {{ kind = \"sgd\", learning_rate = {rate} }}"
        )
    };
    let text = |lines: &str| edited(lines).replace("optimizer.kind = \"adam\"", "");
    let rule = |lines: &str| match parse(&text(lines)) {
        Err(JobError::Invalid { invalid, .. }) => Some((invalid.key, invalid.rule)),
        other => other.map(|_| None).unwrap(),
    };
    // Computed as 2^-10 and as 0 before.
    for (asked, effective) in [(0.0005, 0.000_976_562_5), (0.0003, 0.0)] {
        let works = 0.000_976_562_5;
        let refused = Rule::Rounded { asked, effective, ring_bits: 32, works };
        assert_eq!(rule(&sgd(asked)), Some(("optimizer.learning_rate".to_owned(), refused)));
        assert_eq!(rule(&sgd(works)), None);
    }
    let message = parse(&text(&sgd(0.0005))).unwrap_err().to_string();
    for part in ["optimizer.learning_rate: is 0.0005", "would compute 0.0009765625", "ring_bits = 64"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(rule(&sgd(0.0005).replace("ring_bits = 32", "ring_bits = 64")), None);
    // Any rate is refused with one that works.
    for i in 1..400 {
        if let Some((_, Rule::Rounded { works, .. })) = rule(&sgd(f64::from(i) * 0.000_17)) {
            assert_eq!(rule(&sgd(works)), None, "{works}");
        }
    }
    let momentum = |ring: u32, value: f64| {
        format!(
            "numbers.ring_bits = {ring}\noptimizer = {{ kind = \"momentum\", learning_rate = 0.01, momentum = {value} }}"
        )
    };
    // 1 - 0.99 was computed as 0.0117.
    let forgets = Rule::Forgets { asked: 0.99, effective: 0.988_281_25, ring_bits: 32 };
    assert_eq!(rule(&momentum(32, 0.99)), Some(("optimizer.momentum".to_owned(), forgets)));
    assert_eq!((rule(&momentum(32, 0.988_281_25)), rule(&momentum(64, 0.99))), (None, None));
    let one = Rule::RealBetween { got: 0.999, min: 0.0, max: 255.0 / 256.0 };
    assert_eq!(rule(&momentum(32, 0.999)), Some(("optimizer.momentum".to_owned(), one)));
}

#[test]
fn effective_numbers_are_the_ones_of_the_optimizer() {
    let job = Job::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/mnist-sgd-32.toml")).unwrap();
    let constant = |key: &str, value: f64| Constant { key: key.to_owned(), asked: Some(value), effective: value };
    let expected = [constant("optimizer.learning_rate", 205.0 / 4096.0), constant("optimizer.momentum", 115.0 / 128.0)];
    assert_eq!(job.constants(), expected);
    let adam = base().constants();
    assert_eq!(adam.len(), 3);
    assert!((adam[0].effective - 0.001).abs() < 0.000_03 && adam[0].asked == Some(0.001), "{adam:?}");
    // The bias correction never loses a bit of its factor to the ring.
    for (ring_bits, shift) in [(32, 9), (64, 25)] {
        let (first_threshold_log2, thresholds, second_shift) = (4, 6, 10);
        let rate = core::Dyadic::ONE;
        let (lazy_second_moment, refresh_every, bias_correction) = (false, 1, true);
        let core = core::Adam {
            grad_shift: 1,
            first_threshold_log2,
            thresholds,
            shift,
            second_shift,
            lazy_second_moment,
            refresh_every,
            mapped_root: None,
            bias_correction,
            rate,
        };
        for step in 1..=core::Adam::CORRECTED_STEPS {
            let rate = core.correction(step, step);
            assert!(rate.shift.cast_signed() + 6 + shift <= ring_bits - 2, "{ring_bits} bits, step {step}: {rate:?}");
        }
    }
}

#[test]
fn cells_are_chosen_at_first_and_then_rarely() {
    let adam = core::Adam { refresh_every: 4, ..base().optimizer.adam().unwrap().core(1) };
    let chosen: Vec<u64> = (0..30).filter(|step| adam.refreshes(*step)).collect();
    assert_eq!(chosen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 24, 28]);
    assert!((0..100).all(|step| core::Adam { refresh_every: 1, ..adam }.refreshes(step)));
    for refresh_every in [1, 3, 4, 64] {
        let adam = core::Adam { refresh_every, ..adam };
        for steps in 0..200 {
            let counted = (0..steps).filter(|step| adam.refreshes(*step)).count();
            assert_eq!(adam.choices(steps), counted as u64, "refresh_every {refresh_every}, {steps} steps");
        }
    }
}

#[test]
fn what_a_peer_sends_is_checked() {
    let bytes = base().encode().unwrap();
    for end in 0..bytes.len() {
        assert!(matches!(Job::decode(&bytes[..end]), Err(JobError::Encoding)), "{end}");
    }
    assert!(matches!(Job::decode(&[&bytes[..], &[0]].concat()), Err(JobError::Encoding)));
    assert!(matches!(Job::decode(&vec![0; MAX_ENCODED_BYTES + 1]), Err(JobError::Encoding)));
    let mut job = base();
    job.training.batch = 3;
    let Err(JobError::Sent(invalid)) = Job::decode(&job.encode().unwrap()) else { panic!("accepted") };
    assert_eq!(invalid.key, "training.batch");
    job = base();
    job.optimizer = Optimizer::Sgd { learning_rate: Dyadic { factor: 2, shift: 1 } };
    let Err(JobError::Sent(invalid)) = Job::decode(&job.encode().unwrap()) else { panic!("accepted") };
    assert_eq!(invalid.rule, Rule::NotReduced { factor: 2, shift: 1 });
    // No byte that a peer changes makes decoding panic, and what is accepted is valid.
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut mutated = bytes.clone();
            mutated[at] ^= 1 << bit;
            if let Ok(job) = Job::decode(&mutated) {
                job.validate().unwrap();
            }
        }
    }
}

#[test]
fn the_largest_job_fits_its_encoding() {
    let mut job = base();
    job.data.shape = Shape::vector(1 << 16);
    job.data.scale = Scale::Columns(vec![Affine { offset: 1.0, divide: 1.0 }.into(); 1 << 16]);
    let Format::Csv(csv) = &mut job.data.format else { panic!("not CSV") };
    csv.missing = vec!["x".repeat(255); 1024];
    job.validate().unwrap();
    assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
}

#[test]
fn errors_say_what_to_do() {
    let error = parse(&edited("training = { epochs = 1, batch = 24, seed = 1 }")).unwrap_err().to_string();
    assert!(error.starts_with("base.toml: training.batch: is 24; give a power of two"), "{error}");
}
