//! Jobs with every loss, of classes and of several targets: secure equals clear bit for bit, at the
//! plan's cost, and the loss falls.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};
use symbolon::{
    data::{Dataset, Lengths, Targets, load},
    job::{Job, JobError},
    kernel::HostWord,
    train::{Inputs, epoch_result},
};
use symbolon_core::word::Word;
use symbolon_tests::{
    dir::TempDir,
    jobs::Values,
    play::{Game, Keys},
};

/// Losses of three classes.
const OF_CLASSES: [&str; 6] = [
    "\"softmax-cross-entropy\"",
    "{ kind = \"softmax-cross-entropy\", label_smoothing = 0.046875 }",
    "{ kind = \"softmax-cross-entropy\", class_weights = [1, 0.5, 2] }",
    "\"squared-error\"",
    "\"logistic\"",
    "{ kind = \"huber\", delta = 0.25 }",
];
/// Losses of targets.
const OF_TARGETS: [&str; 3] = ["\"squared-error\"", "\"logistic\"", "{ kind = \"huber\", delta = 0.5 }"];
const CLASSES: &str = "classes = 3";
/// The second target is from 0 to 10.
const TARGETS: &str = "target = [{ divide = 1 }, { divide = 10 }]";
const DENSE: &str =
    "{ kind = 'flatten' }, { kind = 'dense', units = 6 }, { kind = 'relu' }, { kind = 'dense', units = OUTPUTS }";
/// Outputs have other fraction bits than products: the mean of six is a sum over eight.
const POOLED: &str =
    "{ kind = 'convolution', filters = OUTPUTS, kernel = 1 }, { kind = 'global-average-pool' }, { kind = 'flatten' }";

#[derive(Clone, Copy)]
struct Case<'a> {
    loss: &'a str,
    task: &'a str,
    layers: &'a str,
    ring_bits: u32,
    lanes: u16,
    epochs: u32,
}

impl Case<'_> {
    fn toml(&self) -> String {
        let Self { loss, task, layers, ring_bits, lanes, epochs } = self;
        let (outputs, label) = if *task == CLASSES { ("3", "'class'") } else { ("2", "['first', 'second']") };
        // Metrics of targets would take logits for predictions.
        let metrics = *task == CLASSES || !loss.contains("logistic");
        let (frac_bits, layers) = (if *ring_bits == 32 { 9 } else { 12 }, layers.replace("OUTPUTS", outputs));
        format!(
            "version = 2\nname = 'losses'\nloss = {loss}\n\
             [data]\nshape = [1, 2, 4]\ntrain_records = 51\ntest_records = 12\n{task}\nscale = {{ divide = 1 }}\n\
             [data.csv]\ntrain = 'records.csv'\ntest_every = 5\nlabel = {label}\n\
             columns = ['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7']\n\
             [numbers]\nring_bits = {ring_bits}\nfrac_bits = {frac_bits}\ngrad_frac_bits = {}\n\
             [network]\nlayers = [{layers}]\n\
             [training]\nepochs = {epochs}\nbatch = 8\nseed = 3\n[optimizer]\nkind = 'sgd'\nlearning_rate = 0.25\n\
             [lanes]\nlanes = {lanes}\ntile = 64\n[reveal]\nmetrics = {metrics}\nloss = 'epoch'\nmodel = true\n",
            frac_bits + 4,
        )
    }

    fn job(&self) -> Job {
        Job::parse(&self.toml(), Path::new("losses.toml")).unwrap_or_else(|error| panic!("{error}: {}", self.toml()))
    }

    fn records(&self) -> (Dataset, Dataset) {
        let mut values = Values(5);
        let mut text = (0..8).fold(String::new(), |text, i| text + &format!("f{i},")) + "class,first,second\n";
        for _ in 0..63 {
            let x: [f64; 8] = std::array::from_fn(|_| values.unit());
            x.iter().try_for_each(|x| write!(text, "{x},")).unwrap();
            let (sum, class) = (x.iter().sum::<f64>() / 8.0, usize::from(x[0] > 0.2) + usize::from(x[0] > -0.3));
            writeln!(text, "{class},{},{}", u8::from(sum > 0.0), 10 * u8::from(x[1] > 0.1)).unwrap();
        }
        let dir = TempDir::new();
        let _ = dir.file("records.csv", &text);
        load(&self.job(), &dir).unwrap()
    }

    fn inputs<W: Word>(&self) -> Inputs<W> {
        let (train, test) = self.records();
        Inputs::encode(&self.job(), &train, &test).unwrap()
    }

    /// Trains on shares and in the clear.
    fn agree<W: HostWord + Word>(&self) {
        let job = self.job();
        let clear = Game::agreed(&job, &Keys::new(u64::from(W::BITS)), || self.inputs::<W>());
        let result = |(epoch, (loss, score)): (u32, &(_, _))| {
            epoch_result::<u64>(&job, &Lengths::default(), epoch, *loss, Clone::clone(score))
        };
        let losses: Vec<f64> = (1..).zip(&clear.epochs).map(|own| result(own).unwrap().loss.unwrap()).collect();
        assert!(losses.len() < 2 || losses[losses.len() - 1] < losses[0], "{losses:?}: {}", self.toml());
    }
}

#[test]
fn secure_equals_clear_for_every_loss() {
    let base = Case { loss: "", task: CLASSES, layers: DENSE, ring_bits: 64, lanes: 2, epochs: 3 };
    let classes = OF_CLASSES.map(|loss| Case { loss, ..base });
    let targets = OF_TARGETS.map(|loss| Case { loss, task: TARGETS, ..base });
    for (lanes, case) in (1..=5).cycle().zip(classes.into_iter().chain(targets)) {
        Case { lanes, ..case }.agree::<u64>();
        Case { lanes: 6 - lanes, ring_bits: 32, ..case }.agree::<u32>();
    }
}

#[test]
fn outputs_may_have_any_fraction_bits() {
    let base = Case { loss: "", task: CLASSES, layers: POOLED, ring_bits: 64, lanes: 2, epochs: 2 };
    assert_eq!(base_bits(&Case { loss: OF_CLASSES[0], ..base }), 27);
    let classes = OF_CLASSES.map(|loss| Case { loss, ..base });
    let targets = OF_TARGETS.map(|loss| Case { loss, task: TARGETS, ..base });
    for case in classes.into_iter().chain(targets) {
        case.agree::<u64>();
        Case { ring_bits: 32, ..case }.agree::<u32>();
    }
}

fn base_bits(case: &Case<'_>) -> u32 {
    case.job().loss_numbers().output_frac_bits
}

/// Each target is read, scaled and learned as its own.
#[test]
fn targets_are_read_row_by_row() {
    let case = Case { loss: OF_TARGETS[0], task: TARGETS, layers: DENSE, ring_bits: 64, lanes: 1, epochs: 1 };
    let (train, _) = case.records();
    let Targets::Values(values) = train.targets else { panic!("no targets") };
    assert_eq!(values.len(), 2 * 51);
    let ones = |at: usize| values.iter().skip(at).step_by(2).filter(|value| **value == 1.0).count();
    let zeros = values.iter().filter(|value| **value == 0.0).count();
    assert!(ones(0) > 10 && ones(1) > 10 && ones(0) + ones(1) + zeros == values.len());
}

#[test]
fn what_no_loss_can_be_is_refused() {
    let refused = |case: Case<'_>, edit: [&str; 2]| {
        let text = case.toml();
        assert!(text.contains(edit[0]), "{text}");
        match Job::parse(&text.replacen(edit[0], edit[1], 1), Path::new("losses.toml")) {
            Err(error @ JobError::Invalid { .. }) => error.to_string(),
            other => panic!("{edit:?}: {other:?}"),
        }
    };
    let classes = Case { loss: OF_CLASSES[0], task: CLASSES, layers: DENSE, ring_bits: 64, lanes: 1, epochs: 1 };
    let targets = Case { loss: OF_TARGETS[0], task: TARGETS, ..classes };
    let loss = OF_CLASSES[0];
    for (case, edit, words) in [
        (classes, [loss, "\"hinge\""], "\"hinge\"; give one of: softmax-cross-entropy, "),
        (classes, [loss, "{ delta = 1.0 }"], "has no key `kind`"),
        (classes, [loss, "{ kind = \"huber\" }"], "missing field `delta`"),
        (classes, [loss, "{ kind = \"huber\", delta = 300.0 }"], "a number from 2^-32"),
        (classes, [loss, "{ kind = \"huber\", delta = 0.0001 }"], "give a multiple of 2^-12"),
        (classes, [loss, "{ kind = \"logistic\", delta = 1.0 }"], "unknown field `delta`"),
        (classes, [loss, "{ kind = \"softmax-cross-entropy\", label_smoothing = 1 }"], "give 0, a number below 1"),
        (
            classes,
            [loss, "{ kind = \"softmax-cross-entropy\", class_weights = [1, 2] }"],
            "2 weights, and there are 3 classes",
        ),
        (targets, ["\"squared-error\"", loss], "needs classes; for a regression give squared-error, huber"),
        (targets, ["['first', 'second']", "'first'"], "names 1 columns, and the task has 2"),
        (targets, ["['first', 'second']", "['first', 'first']"], "names \"first\" twice"),
        (
            targets,
            ["units = 2", "units = 3"],
            "is the last layer and gives the shape [3, 1, 1]; the task needs [2, 1, 1]",
        ),
    ] {
        let error = refused(case, edit);
        assert!(error.contains(words), "{edit:?}: {error}");
    }
}
