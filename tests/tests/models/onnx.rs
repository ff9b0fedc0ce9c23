//! Exported and imported networks in onnxruntime: its outputs are those of the clear engine, within
//! the roundings of the fixed point and the methods of activations.
//!
//! Without onnxruntime the test is skipped, or fails where CI=true. `ONNX_PYTHON` names the Python
//! that has it; `tests/run.sh` makes one under `target/onnx-venv`.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use symbolon::{
    job::{Affine, Job, Task},
    onnx::{export, import, job_text},
    train::{model_words, tensors},
};
use symbolon_core::{fixed::encode, layer::AnyLayer};
use symbolon_tests::{dir::TempDir, infer::infer, jobs::Values};

/// Records of a run.
const RECORDS: usize = 16;

/// A network to export: name, shape of records, task, layers.
type Case = (&'static str, &'static str, &'static str, &'static str);

const CLASSES: &str = "classes = 3\nscale = { divide = 2 }";
const CODES: &str = "classes = 3\nscale = { divide = 1 }";
const TARGETS: &str = "target = [{ offset = 22.5, divide = 9 }, { divide = -2 }, { divide = 1 }]\n\
     scale = { columns = [{ offset = 0.1, divide = 3 }, { above = 0.2 }, { divide = 2 }, { divide = -0.5 }] }";
const CHANNELS: &str = "classes = 3\nscale = { channels = [{ offset = 0.5, divide = 0.25 }, { divide = 2 }] }";

const CASES: &[Case] = &[
    ("dense", "[5]", CLASSES, "{ kind = 'dense', units = 8 }, { kind = 'relu' }, { kind = 'dense', units = 3 }"),
    ("regression", "[4]", TARGETS, "{ kind = 'dense', units = 8 }, { kind = 'relu' }, { kind = 'dense', units = 3 }"),
    (
        "convolution",
        "[2, 8, 8]",
        CHANNELS,
        "{ kind = 'convolution', filters = 4, kernel = [3, 2], stride = [2, 1], padding = [1, 0], groups = 2 }, \
         { kind = 'relu' }, { kind = 'flatten' }, { kind = 'dense', units = 3 }",
    ),
    (
        "pools",
        "[2, 12, 12]",
        CLASSES,
        "{ kind = 'convolution', filters = 4, kernel = 3, padding = 1 }, { kind = 'max-pool', window = 3, stride = 2, relu = true }, \
         { kind = 'average-pool', window = [2, 1] }, { kind = 'global-average-pool' }, { kind = 'flatten' }, { kind = 'dense', units = 3 }",
    ),
    (
        "batch-norm",
        "[2, 6, 6]",
        CLASSES,
        "{ kind = 'convolution', filters = 4, kernel = 3 }, { kind = 'batch-norm' }, { kind = 'relu' }, { kind = 'flatten' }, \
         { kind = 'dense', units = 6 }, { kind = 'batch-norm', epsilon_log2 = -6 }, { kind = 'relu' }, { kind = 'dense', units = 3 }",
    ),
    (
        "residual",
        "[2, 6, 6]",
        CLASSES,
        "{ name = 'a', kind = 'convolution', filters = 2, kernel = 3, padding = 1 }, { kind = 'relu' }, \
         { kind = 'add', input = ['relu1', 'data'] }, { kind = 'concat', input = ['add1', 'a'] }, \
         { kind = 'upsample', factor = [1, 2] }, { kind = 'flatten' }, { kind = 'dense', units = 3 }",
    ),
    (
        "leaky-relu",
        "[5]",
        CLASSES,
        "{ kind = 'dense', units = 8 }, { kind = 'leaky-relu', slope = 0.01 }, { kind = 'dropout', rate = 0.5 }, { kind = 'dense', units = 3 }",
    ),
    ("square", "[5]", CLASSES, "{ kind = 'dense', units = 8 }, { kind = 'square' }, { kind = 'dense', units = 3 }"),
    (
        "activations",
        "[5]",
        CLASSES,
        "{ kind = 'dense', units = 8 }, { kind = 'activation', function = 'tanh' }, { kind = 'dense', units = 8 }, \
         { kind = 'activation', function = 'gelu' }, { kind = 'dense', units = 8 }, { kind = 'activation', function = 'sigmoid' }, \
         { kind = 'dense', units = 3 }",
    ),
    (
        "functions",
        "[5]",
        CLASSES,
        "{ kind = 'dense', units = 8 }, { kind = 'activation', function = 'sigmoid' }, { kind = 'activation', function = 'logarithm-2' }, \
         { kind = 'activation', function = 'exponential-2' }, { kind = 'activation', function = 'inverse-square-root' }, \
         { kind = 'activation', function = 'power', exponent = 3 }, { kind = 'activation', function = 'sine' }, { kind = 'dense', units = 3 }",
    ),
    ("gru", "[6, 2]", CLASSES, "{ kind = 'recurrent', cell = 'gru', units = 4 }, { kind = 'dense', units = 3 }"),
    (
        "lstm",
        "[6, 2]",
        CLASSES,
        "{ kind = 'recurrent', cell = 'lstm', units = 4, states = 'carry' }, \
         { kind = 'recurrent', cell = 'lstm', units = 4, initial_state = true, input = ['data', 'recurrent1'] }, { kind = 'dense', units = 3 }",
    ),
    (
        "bidirectional",
        "[6, 2]",
        CLASSES,
        "{ name = 'f', kind = 'recurrent', cell = 'simple', units = 2, states = 'all' }, \
         { name = 'r', kind = 'recurrent', cell = 'gru', units = 2, states = 'all', reverse = true, input = 'data' }, \
         { kind = 'concat', each_step = true, input = ['f', 'r'] }, { kind = 'slice', from = 1, steps = 4 }, \
         { kind = 'dense', units = 2, each_step = true }, { kind = 'flatten' }, { kind = 'dense', units = 3 }",
    ),
    (
        "embedding",
        "[6, 1]",
        CODES,
        "{ kind = 'embedding', codes = 5, units = 3 }, { kind = 'flatten' }, { kind = 'relu' }, { kind = 'dense', units = 3 }",
    ),
];

fn job((name, shape, task, layers): Case) -> Job {
    let loss = if task.starts_with("classes") { "softmax-cross-entropy" } else { "squared-error" };
    let text = format!(
        "version = 2\nname = '{name}'\nloss = '{loss}'\n[data]\nshape = {shape}\ntrain_records = 64\ntest_records = 16\n\
         {task}\n[data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\n\
         test_labels = 'd'\n[network]\nlayers = [{layers}]\n[training]\nepochs = 1\nbatch = 16\nseed = 3\n\
         [optimizer]\nkind = 'adam'\nlearning_rate = 0.0156\n[reveal]\nmetrics = true\nmodel = true\n"
    );
    Job::parse(&text, Path::new("net.toml")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A Python that has onnxruntime.
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/onnx-venv/bin/python");
    let python = env::var_os("ONNX_PYTHON").map_or(venv, PathBuf::from);
    let works = Command::new(&python).args(["-c", "import numpy, onnxruntime"]).output();
    if works.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(env::var("CI").as_deref() != Ok("true"), "no onnxruntime in {}", python.display());
    eprintln!("skipped: no onnxruntime in {}; tests/run.sh installs it", python.display());
    None
}

/// Random records; codes where the job embeds them.
fn records(job: &Job, values: &mut Values) -> Vec<f32> {
    let code = job.network.nodes.iter().find_map(|node| match node.layer {
        AnyLayer::Embedding(layer) => Some(layer.codes),
        _ => None,
    });
    let one = |values: &mut Values| match code {
        Some(codes) => values.below(codes as usize) as f32,
        None => 2.0 * values.unit() as f32,
    };
    (0..RECORDS * job.data.features()).map(|_| one(values)).collect()
}

/// A model of random parameters: below 0.6, and variances from 0.1 to 1.1.
fn words(job: &Job, values: &mut Values) -> Vec<u64> {
    let count = job.model_words();
    let mut words: Vec<u64> = (0..count).map(|_| encode(0.6 * values.unit(), job.numbers.frac_bits).unwrap()).collect();
    let mut statistics = job.parameters();
    let laid = job.network();
    let graph = laid.graph();
    for i in 0..graph.nodes.len() {
        graph.statistics_of(i, |tensor, range| {
            if tensor.name == "running_var" {
                let bits = job.numbers.frac_bits + tensor.extra_bits;
                let own = range.start + job.parameters()..range.end + job.parameters();
                words[own].fill_with(|| encode(0.1 + values.unit().abs(), bits).unwrap());
            }
            statistics += range.len();
        });
    }
    assert_eq!(statistics, count);
    words
}

fn write(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Runs all files of a directory in one process.
fn run_all(python: &Path, dir: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx.py");
    let output = Command::new(python).arg(script).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Bound of the difference from the clear engine's outputs: 24 units of the last place for
/// roundings in the layers and of the weights, relative to outputs above 1; and four times the
/// greatest difference
/// of an activation's method, which the metadata name, for the weights behind it.
fn tolerance(job: &Job, metadata: &BTreeMap<String, String>) -> f64 {
    let approximations: BTreeMap<String, f64> = serde_json::from_str(&metadata["approximations"]).unwrap();
    24.0 * f64::from(job.numbers.frac_bits).exp2().recip() + 4.0 * approximations.values().copied().fold(0.0, f64::max)
}

/// The greatest difference, relative to values above 1.
fn difference(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    assert!(want.iter().any(|x| x.abs() > 1e-2), "an output that says something: {want:?}");
    got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs() / want.abs().max(1.0)).fold(0.0, f64::max)
}

/// Outputs of the clear engine in the targets' units.
fn unscaled(job: &Job, outputs: Vec<f64>) -> Vec<f64> {
    let Task::Regression(targets) = &job.data.task else { return outputs };
    let real = |(i, y): (usize, f64)| {
        let Affine { offset, divide } = targets[i % targets.len()];
        offset + divide * y
    };
    outputs.into_iter().enumerate().map(real).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let greatest = logits.iter().copied().fold(f64::MIN, f64::max);
    let all: Vec<f64> = logits.iter().map(|x| (x - greatest).exp()).collect();
    all.iter().map(|x| x / all.iter().sum::<f64>()).collect()
}

#[test]
fn exported_networks_run_in_onnxruntime() {
    let Some(python) = python() else { return };
    let (dir, mut values) = (TempDir::new(), Values(15));
    let mut all = Vec::new();
    for case in CASES {
        let job = job(*case);
        let (words, records) = (words(&job, &mut values), records(&job, &mut values));
        let bytes = export(&job, &tensors(&job, &words), &BTreeMap::new()).unwrap();
        fs::write(dir.join(format!("{}.onnx", case.0)), &bytes).unwrap();
        write(&dir.join(format!("{}.records", case.0)), &records);
        all.push((job, words, records, import(&bytes).unwrap().notes));
    }
    run_all(&python, &dir);
    for (job, words, records, notes) in &all {
        let (name, clear) = (&job.name, infer(job, words, records));
        let output = if matches!(job.data.task, Task::Regression(_)) { "values" } else { "logits" };
        let got = read(&dir.join(format!("{name}.{output}")));
        let (found, most) = (difference(&got, &unscaled(job, clear.clone())), tolerance(job, notes));
        eprintln!("{name}: greatest difference {found:.2e} of {most:.2e}");
        assert!(found <= most, "{name}: {found} exceeds {most}");
        if output == "logits" {
            let want: Vec<f64> = clear.chunks(3).flat_map(softmax).collect();
            let found = difference(&read(&dir.join(format!("{name}.probabilities"))), &want);
            assert!(found <= most, "{name}: probabilities differ by {found}");
        }
    }
}

/// Foreign networks and the output that is compared with the clear engine's.
const FOREIGN: &[(&str, &[u8], &str, bool)] = &[
    ("sklearn-classifier", include_bytes!("../../vectors/onnx/sklearn-classifier.onnx"), "probabilities", false),
    ("sklearn-binary", include_bytes!("../../vectors/onnx/sklearn-binary.onnx"), "probabilities", false),
    ("sklearn-regressor", include_bytes!("../../vectors/onnx/sklearn-regressor.onnx"), "variable", true),
    ("mlp", include_bytes!("../../vectors/onnx/mlp.onnx"), "output", false),
    ("mlp-regression", include_bytes!("../../vectors/onnx/mlp-regression.onnx"), "output", true),
    ("lenet", include_bytes!("../../vectors/onnx/lenet.onnx"), "output", false),
    ("resnet-block", include_bytes!("../../vectors/onnx/resnet-block.onnx"), "output", false),
    ("gru", include_bytes!("../../vectors/onnx/gru.onnx"), "output", false),
    ("lstm-codes", include_bytes!("../../vectors/onnx/lstm-codes.onnx"), "output", false),
    ("logistic", include_bytes!("../../vectors/onnx/logistic.onnx"), "output", false),
];

#[test]
fn foreign_networks_are_imported() {
    let python = python();
    let (dir, mut values) = (TempDir::new(), Values(16));
    let mut all = Vec::new();
    for (name, bytes, output, regression) in FOREIGN {
        let imported = import(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = job_text(&imported, name, name, *regression);
        let job = Job::parse(&text, Path::new("job.toml")).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let (model, _) = imported.for_job(&job).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let words = model_words::<u64>(&job, &model).unwrap();
        let records = records(&job, &mut values);
        fs::write(dir.join(format!("{name}.onnx")), bytes).unwrap();
        write(&dir.join(format!("{name}.records")), &records);
        let again = export(&job, &model.tensors, &BTreeMap::new()).unwrap();
        let notes = import(&again).unwrap().notes;
        all.push((job, words, records, notes, *output));
    }
    let Some(python) = python else { return };
    run_all(&python, &dir);
    for (job, words, records, notes, output) in &all {
        let (name, clear) = (&job.name, unscaled(job, infer(job, words, records)));
        let got = read(&dir.join(format!("{name}.{output}")));
        let classes = job.outputs();
        let want: Vec<f64> = match (*output, job.loss.kind()) {
            ("probabilities", "softmax-cross-entropy") => clear.chunks(classes).flat_map(softmax).collect(),
            ("output", "logistic") => clear.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
            _ => clear,
        };
        let (found, most) = (difference(&got, &want), tolerance(job, notes));
        eprintln!("{name}: greatest difference {found:.2e} of {most:.2e}");
        assert!(found <= most, "{name}: {found} exceeds {most}");
    }
}
