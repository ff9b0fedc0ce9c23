//! The files that a run writes: results that can be, under their names, and a model that others can
//! evaluate.

use super::alone;
use std::{fmt::Write, fs, path::Path, process::Command};
use symbolon::report::{LayerFacts, Model, read_model};
use symbolon_tests::{
    dir::TempDir,
    jobs::{Shape, Values},
    program::{assert_fails, run, symbolon},
};

/// `symbolon train` of the job in `dir`.
fn train(dir: &TempDir, more: &[&str]) -> Command {
    let mut command = symbolon(["train"]);
    command.arg(dir.join("job.toml")).arg("--data").arg(&**dir).args(more);
    command
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A model as its file says, and nothing else.
struct Reader(Model);

impl Reader {
    fn note<T: serde::de::DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_str(&self.0.notes[key]).unwrap()
    }

    fn tensor(&self, name: &str) -> &[f32] {
        &self.0.tensors.iter().find(|tensor| tensor.name == name).unwrap().values
    }

    /// The last layer's outputs for a record.
    fn outputs(&self, record: &[f64]) -> Vec<f64> {
        assert_eq!(self.0.notes["layout"], "units, inputs");
        let scale: serde_json::Value = self.note("scale");
        let divide = scale["divide"].as_f64().unwrap();
        let mut x: Vec<f64> = record.iter().map(|x| x / divide).collect();
        for layer in self.note::<Vec<LayerFacts>>("layers") {
            if layer.layer.kind() == "relu" {
                x.iter_mut().for_each(|x| *x = x.max(0.0));
                continue;
            }
            let weight = self.tensor(&format!("{}.weight", layer.name));
            assert_eq!(weight.len(), layer.shape.words() * x.len());
            let unit = |(row, bias): (&[f32], &f32)| {
                row.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*bias)
            };
            x = weight.chunks_exact(x.len()).zip(self.tensor(&format!("{}.bias", layer.name))).map(unit).collect();
        }
        x
    }
}

/// Trains in the clear; the model, the results, and the test rows of `csv`: each fifth.
fn trained(job: &str, csv: &str) -> (Reader, serde_json::Value, Vec<(Vec<f64>, f64)>) {
    let dir = TempDir::new();
    let _ = (dir.file("job.toml", job), dir.file("records.csv", csv));
    let (model, results) = (dir.join("model.safetensors"), dir.join("run.json"));
    let outputs = ["--engine", "clear", "--model", model.to_str().unwrap(), "--json", results.to_str().unwrap()];
    let output = run(&mut train(&dir, &outputs));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let row = |line: &str| {
        let mut row: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let label = row.pop().unwrap();
        (row, label)
    };
    let rows = csv.lines().skip(1).enumerate().filter(|(i, _)| i % 5 == 4).map(|(_, line)| row(line)).collect();
    (Reader(read_model(&model).unwrap()), json(&results), rows)
}

/// Two features, two classes, one layer: transposed, the weight would fit as well.
#[test]
fn a_square_layer_is_read_as_it_is_meant() {
    let mut values = Values(8);
    let mut csv = "a,b,label\n".to_owned();
    for _ in 0..500 {
        let (a, b) = (4.0 * values.unit(), values.unit());
        writeln!(csv, "{a:.3},{b:.3},{}", u8::from(a > 0.2)).unwrap();
    }
    let job = "version = 2\nname = \"square\"\nloss = \"softmax-cross-entropy\"\n\
        [data]\nshape = [2]\ntrain_records = 400\ntest_records = 100\nclasses = 2\nscale = { divide = 4 }\n\
        [data.csv]\ntrain = \"records.csv\"\ntest_every = 5\ncolumns = [\"a\", \"b\"]\nlabel = \"label\"\n\
        [network]\nlayers = [{ kind = 'dense', units = 2 }]\n[training]\nepochs = 10\nbatch = 16\nseed = 1\n\
        [optimizer]\nkind = \"momentum\"\nlearning_rate = 0.05\nmomentum = 0.9\n\
        [reveal]\nmetrics = true\nloss = \"epoch\"\nmodel = true\n";
    let (reader, results, rows) = trained(job, &csv);
    let right = rows.iter().filter(|(record, label)| {
        let outputs = reader.outputs(record);
        f64::from(u8::from(outputs[1] > outputs[0])) == *label
    });
    let accuracy = right.count() as f64 / rows.len() as f64;
    println!("by the metadata {accuracy:.2}, by the run {}", results["accuracy"]);
    assert!(accuracy > 0.9 && (accuracy - results["accuracy"].as_f64().unwrap()).abs() <= 0.02, "{accuracy}");
    let notes = &reader.0.notes;
    assert_eq!((&notes["output"][..], &notes["classes"][..], &notes["columns"][..]), ("softmax", "2", "[\"a\",\"b\"]"));
    for key in ["job_hash", "date"] {
        assert_eq!(notes[key], results[key].as_str().unwrap());
    }
    let history: serde_json::Value = reader.note("history");
    assert_eq!((&history, history.as_array().unwrap().len()), (&results["history"], 10));
    assert_eq!((&results["seed"], &notes["seed"][..]), (&1.into(), "1"));
}

/// Hidden layers, a ReLU and a scaled target.
#[test]
fn a_regression_is_evaluated_by_its_metadata() {
    let shape = Shape { regression: true, epochs: 12, records: 400, ..Shape::default() };
    let job = shape.toml().replace("target = { divide = 1 }", "target = { offset = -3, divide = 2 }");
    let csv = shape.csv();
    let (reader, results, rows) = trained(&job, &csv);
    let [target]: [symbolon::job::Affine; 1] = reader.note("target");
    let error =
        |(record, label): &(Vec<f64>, f64)| (target.offset + target.divide * reader.outputs(record)[0] - label).powi(2);
    let error = rows.iter().map(error).sum::<f64>() / rows.len() as f64;
    let mean = rows.iter().map(|row| row.1).sum::<f64>() / rows.len() as f64;
    let variance = rows.iter().map(|row| (row.1 - mean).powi(2)).sum::<f64>() / rows.len() as f64;
    let [told, r2] = ["mean_squared_error", "r2"].map(|key| results[key].as_f64().unwrap());
    println!("mean squared error by the metadata {error:.4}, by the run {told:.4}; R² {r2:.3}");
    assert!((error - told).abs() < 0.01 * variance, "{error}, not {told}");
    assert!((1.0 - told / variance - r2).abs() < 1e-3 && r2 > 0.5, "{r2}");
    assert!(results["accuracy"].is_null());
}

/// Weights that explode: what is opened in the end cannot be, and is no result.
#[test]
fn what_cannot_be_is_not_printed() {
    let _alone = alone();
    let shape = Shape { ring_bits: 32, regression: true, epochs: 40, ..Shape::default() };
    let dir = TempDir::new();
    let _ = dir.file("job.toml", &shape.toml().replace("learning_rate = 0.5", "learning_rate = 64"));
    let _ = dir.file("records.csv", &shape.csv());
    for (engine, said) in
        [("--local", "words left their range"), ("--engine=clear", "left their range, that of an opening")]
    {
        let results = dir.join("run.json");
        let output = run(&mut train(&dir, &[engine, "--json", results.to_str().unwrap()]));
        assert_fails(&output, 2, &[said, "ymbolon audit"]);
        assert!(!results.exists() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Before any role is started.
#[test]
fn targets_too_large_for_their_squares_are_refused() {
    let shape = Shape { ring_bits: 32, regression: true, ..Shape::default() };
    let dir = TempDir::new();
    let _ = dir.file("job.toml", &shape.toml().replace("target = { divide = 1 }", "target = { divide = 0.01 }"));
    let _ = dir.file("records.csv", &shape.csv());
    for engine in ["--local", "--engine=clear"] {
        assert_fails(
            &run(&mut train(&dir, &[engine])),
            2,
            &["targets go from -1", "less than 16", "data.target.divide"],
        );
    }
}

#[test]
fn a_job_of_fewer_records_takes_the_first_and_says_so() {
    let shape = Shape::default();
    let dir = TempDir::new();
    let toml = shape.toml();
    assert!(toml.contains("train_records = 112") && toml.contains("test_records = 28"));
    let _ = dir.file("job.toml", &toml.replace("train_records = 112", "train_records = 64"));
    let _ = dir.file("records.csv", &shape.csv());
    let output = run(&mut train(&dir, &["--engine", "clear"]));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("data.train_records: the first 64 records are used; 48 more are left out"), "{said}");
    assert!(!said.contains("data.test_records") && said.contains("1 x 64 samples"), "{said}");
}
