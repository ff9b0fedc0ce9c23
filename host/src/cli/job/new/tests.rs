#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    cli::{exit::Failure, train::clear_stored},
    data::{Targets, dataset_dir, load},
    engine::clear::Audit,
    job::{Columns as Names, Format, Optimizer, Scale},
    kernel::HostWord,
    report::Summary,
    storage::Storage,
    train::{Inputs, Loaded},
};
use std::{fmt::Write as _, fs};
use symbolon_core::word::Word;

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("symbolon-job-new-{}-{test}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn with(test: &str, file: &str, text: &str) -> Self {
        let dir = Self::new(test);
        fs::write(dir.0.join(file), text).unwrap();
        dir
    }

    fn args(&self, file: &str) -> Args {
        let (csv, out) = (self.0.join(file), Some(self.0.join("job.toml")));
        Args { csv, label: None, out, delimiter: ',', no_header: false, missing: Vec::new() }
    }

    /// The job that the command writes.
    fn job(&self, args: &Args) -> Job {
        run(args).unwrap_or_else(|error| panic!("{error}"));
        Job::load(args.out.as_ref().unwrap()).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.0.join("job.toml")).unwrap()
    }

    fn refused(&self, args: &Args) -> String {
        let Err(Failure::Input(text)) = run(args) else { panic!("accepted") };
        assert!(!self.0.join("job.toml").exists());
        text
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Uniform numbers from -1 to 1, the same in each run.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    f64::from(u32::try_from(*state >> 33).unwrap()) / f64::from(1u32 << 30) - 1.0
}

/// Trains in the clear.
fn summary<W: HostWord + Word>(job: &Job, dir: &Path) -> Result<Summary, Failure> {
    let Loaded { inputs, variance, .. } = Inputs::<W>::load(job, dir, &Storage::default(), &|_| {}).unwrap();
    clear_stored(job, variance, inputs, 2, &Audit::default()).map(|trained| trained.summary)
}

/// Accuracy or R² after training in the clear.
fn score(job: &Job, dir: &Path) -> f64 {
    let summary = if job.numbers.ring_bits == 32 { summary::<u32>(job, dir) } else { summary::<u64>(job, dir) };
    let summary = summary.unwrap_or_else(|error| panic!("{error}"));
    summary.r2.or(summary.accuracy).unwrap()
}

/// The public data sets; a skip outside of CI, a failure there.
fn datasets() -> Option<PathBuf> {
    let dir = dataset_dir();
    if dir.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs the data sets: set SYMBOLON_DATA");
        eprintln!("skipped: no data sets; set SYMBOLON_DATA to their folder");
    }
    dir
}

/// A target of three columns at very different scales, one of them nonlinear.
fn regression() -> String {
    let (mut seed, mut text) = (1, String::from("id,pressure,light,site,share,kind,output\n"));
    for row in 0..1000 {
        let [a, b, c] = std::array::from_fn(|_| uniform(&mut seed));
        let (pressure, light, share) = (1013.0 + 9.0 * a, 5e4 * (b + 1.0), 0.01 * c);
        let output = 300.0 + 40.0 * a - 25.0 * b.abs() + 10.0 * c + 2.0 * uniform(&mut seed);
        writeln!(text, "{row},{pressure:.2},{light:.0},roof {row},{share:.5},7,{output:.2}").unwrap();
    }
    text
}

#[test]
fn a_regression_is_proposed_and_learns() {
    let dir = Folder::with("regression", "rows.csv", &regression());
    let job = dir.job(&dir.args("rows.csv"));
    let Format::Csv(csv) = &job.data.format else { panic!("no CSV") };
    assert_eq!(csv.columns, Names::Only(["pressure", "light", "share"].map(str::to_owned).to_vec()));
    assert_eq!((csv.train.as_str(), &csv.labels[..]), ("rows.csv", &["output".to_owned()][..]));
    assert_eq!((job.data.train_records, job.data.test_records, job.numbers.ring_bits), (800, 200, 32));
    assert!(matches!(job.optimizer, Optimizer::Adam(_)) && matches!(job.data.task, Task::Regression(_)));
    let (train, _) = load(&job, &dir.0).unwrap();
    assert!(train.features.iter().all(|x| x.abs() < 1.2), "features in about -1 to 1");
    let Targets::Values(values) = &train.targets else { panic!("no numbers") };
    let n = values.len() as f32;
    let (mean, square) = (values.iter().sum::<f32>() / n, values.iter().map(|v| v * v).sum::<f32>() / n);
    assert!(mean.abs() < 0.1 && (square - 1.0).abs() < 0.15, "standardised: {mean}, {square}");
    let text = dir.text();
    for part in [
        "Everything in this file becomes public",
        "Exact private extremes do not belong here",
        "# left out: \"id\", which numbers the rows",
        "# left out: \"site\", which has \"roof 0\" in line 2, which is no number",
        "# left out: \"kind\", which has the value 7 in all rows",
        "}, # pressure",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let r2 = score(&job, &dir.0);
    assert!(r2 > 0.95, "R² {r2}");
}

/// No constant has more than two digits beside zeros at the place of its divisor.
#[test]
fn constants_are_rounded_to_two_digits_of_the_spread() {
    let dir = Folder::with("digits", "rows.csv", &regression());
    let job = dir.job(&dir.args("rows.csv"));
    let features = job.data.features();
    let columns: Vec<_> = (0..features).map(|i| job.data.scale.affine(i, features).unwrap()).collect();
    for affine in &columns {
        let place = 10f64.powf(affine.divide.log10().floor() - 1.0);
        for constant in [affine.offset, affine.divide] {
            let units = constant / place;
            assert!((units - units.round()).abs() < 1e-6, "{affine:?}");
        }
    }
    assert!((columns[0].offset - 1013.0).abs() < 1.0 && (columns[0].divide - 10.0).abs() < 1.0, "{columns:?}");
}

#[test]
fn classes_are_proposed_and_learn() {
    let (mut seed, mut text) = (7, String::from("class;a;b;flag\n"));
    for row in 0..900 {
        let [a, b] = std::array::from_fn(|_| uniform(&mut seed));
        let class = if a.hypot(b) < 0.5 { 0 } else { 1 + u8::from(a > 0.0) };
        let missing = if row % 100 == 99 { "NA".to_owned() } else { format!("{:.1}", 500.0 + 300.0 * b) };
        writeln!(text, "{class};{a:.3};{missing};{}", row % 2).unwrap();
    }
    let dir = Folder::with("classes", "circle.data.csv", &text);
    let args =
        Args { label: Some("class".into()), delimiter: ';', missing: vec!["NA".into()], ..dir.args("circle.data.csv") };
    let job = dir.job(&args);
    assert_eq!((job.name.as_str(), job.data.task.clone()), ("circle", Task::Classes(3)));
    let Format::Csv(csv) = &job.data.format else { panic!("no CSV") };
    assert_eq!((csv.on_missing, csv.missing.len(), csv.delimiter), (OnMissing::Skip, 2, ';'));
    assert_eq!((job.data.features(), job.data.train_records, job.data.test_records), (3, 713, 178));
    let Scale::Columns(columns) = &job.data.scale else { panic!("no columns") };
    assert_eq!(columns[2], crate::job::Affine { offset: 0.0, divide: 1.0 }.into());
    let accuracy = score(&job, &dir.0);
    assert!(accuracy > 0.93, "{accuracy}");
}

#[test]
fn whole_numbers_that_are_no_classes_are_a_regression() {
    let rows = |label: &dyn Fn(usize) -> usize| -> String {
        ["a,y\n".to_owned()].into_iter().chain((0..200).map(|i| format!("{},{}\n", i * i % 91, label(i)))).collect()
    };
    for (case, label, classes, hinted) in [
        ("gap", &(|i: usize| 2 * (i % 2)) as &dyn Fn(usize) -> usize, None, true),
        ("one", &|i| 1 + i % 3, None, true),
        ("many", &|i| i % 40, None, false),
        ("rows", &|i| i, None, false),
        ("two", &|i| i % 2, Some(2), false),
        ("ten", &|i| i * 7 % 10, Some(10), false),
    ] {
        let dir = Folder::with(case, "r.csv", &rows(label));
        let args = dir.args("r.csv");
        let open = || open_file(args.csv.clone());
        let (proposal, text) = propose(&args.csv, &open, args.dialect(), None).unwrap();
        let job = Job::parse(&text, Path::new("r.toml")).unwrap();
        let got = match job.data.task {
            Task::Classes(classes) => Some(classes),
            Task::Regression(_) => None,
        };
        assert_eq!((got, proposal.looks_like_classes), (classes, hinted), "{case}");
    }
}

#[test]
fn names_of_any_kind_give_a_job_that_reads_the_file() {
    let names = ["a \"quoted\" one", "back\\slash", "ümläut", "two words", "#5", "y]"];
    let header: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    let mut text = header.join(",") + "\n";
    let mut seed = 3;
    for row in 0..50 {
        let cells: Vec<String> = (0..5).map(|_| format!("{:.3}", uniform(&mut seed))).collect();
        writeln!(text, "{},{}", cells.join(","), row % 2).unwrap();
    }
    for file in ["1 ü.csv", "1\n=.csv"] {
        let dir = Folder::with("names", file, &text);
        let job = dir.job(&dir.args(file));
        assert_eq!((job.name.as_str(), load(&job, &dir.0).unwrap().0.rows), ("1--", 40));
    }
    let bare: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let dir = Folder::with("bare", "b.csv", &bare);
    let job = dir.job(&Args { no_header: true, ..dir.args("b.csv") });
    assert_eq!(load(&job, &dir.0).unwrap().1.rows, 10);
}

/// A target with one far outlier leaves words of 32 bits.
#[test]
fn a_target_that_32_bits_do_not_hold_takes_64() {
    let mut seed = 5;
    let mut text = String::from("a,y\n");
    for row in 0..500 {
        let a = uniform(&mut seed);
        writeln!(text, "{a:.3},{:.3}", if row == 77 { 300.0 } else { a }).unwrap();
    }
    let dir = Folder::with("far", "far.csv", &text);
    let job = dir.job(&dir.args("far.csv"));
    assert_eq!(job.numbers.ring_bits, 64);
    let (train, test) = load(&job, &dir.0).unwrap();
    Inputs::<u64>::encode(&job, &train, &test).unwrap();
}

#[test]
fn files_without_a_job_are_refused_by_name() {
    let rows = |head: &str, row: &dyn Fn(usize) -> String, n: usize| -> String {
        [head.to_owned() + "\n"].into_iter().chain((0..n).map(|i| row(i) + "\n")).collect()
    };
    let good = |i: usize| format!("{},{}", i * i % 17, i % 2);
    let cases: [(&str, String, Option<&str>, &str); 9] = [
        ("empty", String::new(), None, "holds no records"),
        ("few", rows("a,y", &good, 19), None, "19 rows have no missing cell, and a job takes 20 or more"),
        (
            "text",
            rows("a,y", &|i| format!("{i},red"), 30),
            None,
            "column \"y\" cannot be predicted: it has \"red\" in line 2",
        ),
        (
            "constant",
            rows("a,y", &|i| format!("{},4", i % 7), 30),
            None,
            "\"y\" cannot be predicted: it has the value 4",
        ),
        (
            "nothing",
            rows("a,y", &|i| format!("red,{}", i % 2), 30),
            None,
            "no column is left to learn from: \"a\" has \"red\"",
        ),
        ("absent", rows("a,y", &good, 30), Some("z"), "has no column \"z\"; it has a, y"),
        ("twice", rows("a,a,y", &|i| format!("{},{},{}", i % 5, i % 3, i % 2), 30), None, "has 2 columns named \"a\""),
        ("header", rows("1,2", &good, 30), None, "the first row holds numbers and no names; give --no-header"),
        (
            "infinite",
            rows("a,y", &|i| format!("{},{}", i % 5, if i == 9 { "inf" } else { "1" }), 30),
            None,
            "it has not a finite number in line 11",
        ),
    ];
    for (name, text, label, want) in cases {
        let dir = Folder::with(name, "r.csv", &text);
        let error = dir.refused(&Args { label: label.map(str::to_owned), ..dir.args("r.csv") });
        assert!(error.contains(want), "{name}: {error}");
    }
    let dir = Folder::with("exists", "r.csv", &rows("a,y", &good, 30));
    fs::write(dir.0.join("job.toml"), "mine").unwrap();
    let Err(Failure::Input(error)) = run(&dir.args("r.csv")) else { panic!("accepted") };
    assert!(error.contains("job.toml exists") && dir.text() == "mine");
}

#[test]
fn boston_and_occupancy_learn_as_they_are_proposed() {
    let Some(data) = datasets() else { return };
    for (file, folder, classes, bar) in [
        ("boston_housing.csv", "tabular", None, 0.75),
        ("occupancy_train.csv", "sensors/occupancy", Some(2), 0.97),
        ("digits_8x8.csv", "tabular", Some(10), 0.94),
        ("breast_cancer_wisconsin.csv", "tabular", Some(2), 0.94),
    ] {
        let dir = Folder::new(file);
        let folder = data.join(folder);
        let job = dir.job(&Args { csv: folder.join(file), ..dir.args(file) });
        let got = match job.data.task {
            Task::Classes(classes) => Some(classes),
            Task::Regression(_) => None,
        };
        assert_eq!((got, job.numbers.ring_bits), (classes, 32), "{file}");
        let score = score(&job, &folder);
        eprintln!("{file}: {score:.3}");
        assert!(score > bar, "{file}: {score}");
    }
}
