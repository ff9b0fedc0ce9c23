#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressDrawTarget, TermLike};

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("symbolon-report-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let dir = Dir::new();
    let path = dir.file("out");
    write_atomic(&path, b"old").unwrap();
    let failed = file::write_with(&path, |file| {
        io::Write::write_all(file, b"half")?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    });
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((fs::read(&path).unwrap(), dir.names()), (b"old".to_vec(), vec!["out".to_owned()]));
    write_atomic(&path, b"new").unwrap();
    assert_eq!((fs::read(&path).unwrap(), dir.names()), (b"new".to_vec(), vec!["out".to_owned()]));
    assert!(write_atomic(&dir.file("none/out"), b"x").is_err());
    assert!(write_atomic(Path::new("/"), b"x").is_err());
    // A folder in the way: the rename fails, and the temporary file goes.
    fs::create_dir(dir.file("folder")).unwrap();
    assert!(write_atomic(&dir.file("folder"), b"x").is_err());
    assert_eq!(dir.names(), ["folder", "out"]);
}

fn tensors() -> Vec<Tensor> {
    vec![
        Tensor { name: "dense1.bias".into(), shape: vec![2], values: vec![-0.5, f32::MIN_POSITIVE] },
        Tensor { name: "dense1.weight".into(), shape: vec![3, 2], values: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.5] },
    ]
}

fn without_notes(tensors: Vec<Tensor>) -> Model {
    Model { tensors, ..Model::default() }
}

#[test]
fn a_model_says_how_it_is_evaluated() {
    let notes = Model::new(tensors(), &summary()).notes;
    let note = |key: &str| notes.get(key).map_or("", |note| &note[..]);
    assert_eq!((note("layout"), note("output"), note("classes")), ("units, inputs", "softmax", "10"));
    assert_eq!((note("seed"), note("date"), note("job")), ("7", "2026-11-28T22:00:00Z", "digits"));
    assert_eq!((note("scale"), note("job_hash")), (r#"{"divide":16.0}"#, &"cd".repeat(32)[..]));
    assert!(!notes.contains_key("target"), "nothing is said of what is not there");
    let layers: Vec<LayerFacts> = serde_json::from_str(note("layers")).unwrap();
    let kinds: Vec<_> = layers.iter().map(|layer| (&layer.name[..], layer.layer.kind(), layer.shape.words())).collect();
    assert_eq!(kinds, [("dense1", "dense", 64), ("relu1", "relu", 64), ("dense2", "dense", 10)]);
    assert_eq!((&layers[0].inputs[..], &layers[2].inputs[..]), (&["data".to_owned()][..], &["relu1".to_owned()][..]));
    let history: Vec<EpochResult> = serde_json::from_str(note("history")).unwrap();
    assert_eq!(history, summary().history);
}

#[test]
fn a_model_comes_back_as_it_was() {
    let dir = Dir::new();
    let path = dir.file("m.safetensors");
    let model = Model { tensors: tensors(), notes: [("job".to_owned(), "digits".to_owned())].into() };
    write_model(&path, &model).unwrap();
    assert_eq!(read_model(&path).unwrap(), model);
    let file = fs::read(&path).unwrap();
    assert!(String::from_utf8_lossy(&file).contains(r#""__metadata__":{"job":"digits"}"#));
    let one = without_notes(tensors()[..1].to_vec());
    write_model(&path, &one).unwrap();
    assert_eq!(read_model(&path).unwrap(), one);
}

#[test]
fn a_model_that_cannot_be_written_leaves_nothing() {
    let dir = Dir::new();
    let wrong = Tensor { shape: vec![4], ..tensors().remove(1) };
    let error = write_model(&dir.file("m"), &without_notes(vec![wrong])).unwrap_err();
    assert!(matches!(error, ModelError::Format { .. }), "{error}");
    let twice = without_notes(vec![tensors().remove(0), tensors().remove(0)]);
    assert!(matches!(write_model(&dir.file("m"), &twice), Err(ModelError::Twice { .. })));
    let error = write_model(&dir.file("none/m"), &without_notes(tensors())).unwrap_err();
    assert!(matches!(error, ModelError::Write { .. }));
    assert!(error.to_string().contains("none/m") && error.to_string().contains("no partial file"), "{error}");
    assert!(dir.names().is_empty());
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let dir = Dir::new();
    let path = dir.file("m");
    assert!(matches!(read_model(&path), Err(ModelError::Read { .. })));
    write_model(&path, &without_notes(tensors())).unwrap();
    let bytes = fs::read(&path).unwrap();
    for end in 0..bytes.len() {
        assert!(matches!(model::parse(&bytes[..end], &path), Err(ModelError::Format { .. })), "{end}");
    }
    let header = bytes.len() - 4 * 8;
    for at in 0..header {
        for bit in 0..8 {
            let mut mutated = bytes.clone();
            mutated[at] ^= 1 << bit;
            let _ = model::parse(&mutated, &path);
        }
    }
    let integers = String::from_utf8_lossy(&bytes[8..header]).replace("F32", "I32");
    fs::write(&path, [&bytes[..8], integers.as_bytes(), &bytes[header..]].concat()).unwrap();
    let error = read_model(&path).unwrap_err();
    assert!(matches!(error, ModelError::NotF32 { .. }), "{error}");
}

fn summary() -> Summary {
    Summary {
        job: "digits".into(),
        engine: "secure".into(),
        accuracy: Some(0.9637),
        scored: Some(359),
        mean_squared_error: None,
        r2: None,
        loss: None,
        metrics: Vec::new(),
        seconds_train: 2.0,
        seconds_setup: 0.25,
        bytes_sent: Roles { server_0: 1_000, server_1: 2_500_000, dealer: 3_210_000_000, client: 12 },
        rounds: 1234,
        dealer_bytes: 3_210_000_000,
        peak_rss_bytes: Roles { server_0: Some(50_000_000), ..Roles::default() },
        plan_hash: "ab".repeat(32),
        ring_bits: 64,
        samples: 1438,
        test_samples: 359,
        epochs: 5,
        planned_epochs: 5,
        history: vec![EpochResult { epoch: 1, accuracy: Some(0.9), scored: Some(359), ..EpochResult::default() }],
        seed: 7,
        date: "2026-11-28T22:00:00Z".into(),
        job_hash: "cd".repeat(32),
        epsilon: None,
        model: ModelFacts::of(&crate::job::Job::digits().unwrap()),
        coefficients: Vec::new(),
        kept: None,
    }
}

#[test]
fn the_summary_has_the_promised_keys() {
    let dir = Dir::new();
    let path = dir.file("s.json");
    summary().write_json(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = [
        "accuracy",
        "loss",
        "seconds_train",
        "seconds_setup",
        "bytes_sent",
        "rounds",
        "dealer_bytes",
        "peak_rss_bytes",
        "plan_hash",
        "ring_bits",
        "samples",
        "epochs",
        "planned_epochs",
        "history",
        "seed",
        "date",
        "job_hash",
        "model",
        "mean_squared_error",
        "scored",
    ];
    for key in keys {
        assert!(json.get(key).is_some(), "{key}");
    }
    assert_eq!((&json["accuracy"], &json["bytes_sent"]["server_1"]), (&0.9637.into(), &2_500_000.into()));
    assert!(json["loss"].is_null() && json["peak_rss_bytes"]["client"].is_null());
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary());
    let diverged = Summary { loss: Some(f64::NAN), ..summary() };
    assert!(serde_json::from_str::<serde_json::Value>(&diverged.to_json().unwrap()).unwrap()["loss"].is_null());
}

#[test]
fn the_summary_reads_well() {
    let text = summary().to_string();
    for part in ["96.37 %", "not revealed", "3595 samples/s", "3.21 GB", "50.0 MB", "unknown", "250 ms", "1234"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

/// A score has the name of what it is.
#[test]
fn a_regression_has_no_accuracy() {
    let known = Summary { accuracy: None, scored: None, mean_squared_error: Some(1800.5), r2: Some(0.25), ..summary() };
    let stored = Summary { r2: None, ..known.clone() };
    for (summary, with, without) in [(&known, "R²          0.250", "accuracy"), (&stored, "test error  1800.5", "R²")]
    {
        let text = summary.to_string();
        assert!(
            text.contains(with) && !text.contains(without) && text.contains("units of the target squared"),
            "{text}"
        );
        assert!(!text.contains("accuracy"), "{text}");
    }
    let line = EpochResult { epoch: 3, mean_squared_error: Some(4.0), loss: Some(0.5), ..EpochResult::default() };
    assert_eq!(line.to_string(), "epoch 3, mean squared error 4.0000, loss 0.5000");
    let some = Summary { scored: Some(300), ..summary() }.to_string();
    assert!(some.contains("96.37 % (59 of 359 test records have no class)"), "{some}");
}

#[test]
fn quantities_are_shown_in_fitting_units() {
    let bytes = [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (12_345_678, "12.3 MB"),
    ];
    for (n, text) in bytes {
        assert_eq!(human_bytes(n), text);
    }
    assert_eq!(human_bytes(u64::MAX), "18.4 EB");
    let seconds = [
        (0.0, "0 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (59.99, "59.99 s"),
        (60.0, "1 min 00 s"),
        (185.2, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7260.0, "2 h 01 min"),
        (f64::NAN, "unknown"),
        (-1.0, "unknown"),
    ];
    for (n, text) in seconds {
        assert_eq!(human_seconds(n), text);
    }
}

#[test]
fn the_curve_draws_what_was_opened() {
    let point = |epoch, accuracy, loss| EpochResult { epoch, accuracy, loss, ..EpochResult::default() };
    let curve = |points: &[EpochResult]| Curve { title: "digits <64-bit>".into(), points: points.to_vec() };
    assert_eq!(curve(&[]).svg(), None);
    assert_eq!(curve(&[point(1, None, Some(f64::NAN))]).svg(), None);
    let both = curve(&[point(1, Some(0.9), Some(0.4)), point(2, Some(0.95), Some(0.2))]).svg().unwrap();
    assert!(both.contains("test accuracy") && both.contains("training loss") && both.contains("digits &lt;64-bit"));
    assert!(both.ends_with("</svg>\n") && both.matches("<circle").count() == 4, "{both}");
    let loss = curve(&[point(1, None, Some(0.4))]).svg().unwrap();
    assert!(!loss.contains("accuracy") && loss.matches("<circle").count() == 1);
    let dir = Dir::new();
    assert!(curve(&[point(1, Some(0.5), None)]).write(&dir.file("c.svg")).unwrap());
    assert!(!curve(&[]).write(&dir.file("none.svg")).unwrap());
    assert_eq!(dir.names(), ["c.svg"]);
}

#[test]
fn the_curve_of_a_regression_shows_r2_or_the_error() {
    let point = |r2| EpochResult { epoch: 1, mean_squared_error: Some(4.0), r2, ..EpochResult::default() };
    let svg = |r2| Curve { title: "r".into(), points: vec![point(r2)] }.svg().unwrap();
    let (known, stored) = (svg(Some(0.8)), svg(None));
    assert!(known.contains("test R²") && !known.contains("squared"));
    assert!(stored.contains("mean squared test error") && !stored.contains("R²"));
    assert!(!known.contains("accuracy") && !stored.contains("accuracy"));
}

/// Keeps everything that was written.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<String>>);

impl TermLike for Written {
    fn width(&self) -> u16 {
        160
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn progress_shows_rate_bytes_and_time_left() {
    let term = Written::default();
    let progress = Progress::on("digits".into(), 1000, ProgressDrawTarget::term_like(Box::new(term.clone())));
    progress.update(250, 1_500_000);
    progress.label("epoch 1/2");
    progress.note("loss 0.5");
    let text = term.0.lock().unwrap().clone();
    for part in ["digits", "epoch 1/2", "250/1000 samples", "samples/s", "1.50 MB sent", "left", "loss 0.5"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    progress.finish();
}

#[test]
fn progress_is_lines_without_a_terminal() {
    let (written, pace) = (Arc::<Mutex<Vec<String>>>::default(), Duration::from_millis(30));
    let sink = Arc::clone(&written);
    let hidden = Progress::on("joining".into(), 1000, ProgressDrawTarget::hidden());
    let progress = hidden.in_lines(pace, move |line| sink.lock().unwrap().push(line.to_owned()));
    progress.update(0, 0);
    thread::sleep(2 * pace);
    progress.label("training");
    progress.update(50, 1); // too soon
    thread::sleep(2 * pace);
    progress.update(250, 1_500_000);
    progress.note("epoch 1: loss 0.5");
    let written = written.lock().unwrap();
    let [waits, trains, epoch] = &written[..] else { panic!("{written:?}") };
    assert!(waits.starts_with("training, after "), "{waits}");
    assert!(trains.starts_with("training: 250/1000 samples, ") && trains.ends_with(" left"), "{trains}");
    assert_eq!(epoch, "epoch 1: loss 0.5");
}

#[test]
fn progress_is_silent_when_hidden() {
    let progress = Progress::hidden();
    progress.update(1, 1);
    progress.note("nothing");
    progress.finish();
    assert!(progress.is_hidden());
}

#[test]
fn peak_memory_is_known_on_linux() {
    let peak = peak_rss();
    assert_eq!(peak.is_some(), cfg!(target_os = "linux"));
    assert!(peak.is_none_or(|bytes| bytes > 1 << 20));
}
