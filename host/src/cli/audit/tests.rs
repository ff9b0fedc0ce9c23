#![allow(clippy::unwrap_used)]

use super::*;
use std::{fmt::Write as _, fs, path::Path};

/// A regression of targets around 150 that are not scaled.
const JOB: &str = r#"
version = 2
name = "advice"
loss = "squared-error"
data.shape = [4]
data.train_records = 320
data.test_records = 80
data.target.divide = 1
data.scale.divide = 1
data.csv = { train = "rows.csv", test_every = 5, label = "y" }
network.layers = [{ kind = 'dense', units = 16 }, { kind = 'relu' }, { kind = 'dense', units = 1 }]
training = { epochs = 20, batch = 32, seed = 1 }
reveal = { metrics = true, loss = "epoch", model = true }
"#;

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    /// With `rows.csv`: features around 1, the second of them times `wide`.
    fn new(name: &str, wide: f64) -> Self {
        let dir = std::env::temp_dir().join(format!("symbolon-audit-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(seed >> 33).unwrap()) / f64::from(1u32 << 30) - 1.0
        };
        let mut text = String::from("a,b,c,d,y\n");
        for _ in 0..400 {
            let [a, b, c, d] = std::array::from_fn(|_| 1.7 * next());
            writeln!(text, "{a:.3},{:.3},{c:.3},{d:.3},{:.0}", b * wide, 150.0 + 25.0 * a - 10.0 * b).unwrap();
        }
        fs::write(dir.join("rows.csv"), text).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn job(table: &toml::Table) -> Job {
    Job::parse(&table.to_string(), Path::new("advice.toml")).unwrap()
}

/// Writes a change into a job file.
fn apply(table: &mut toml::Table, Change { key, value }: &Change) {
    let value = format!("value = {value}").parse::<toml::Table>().unwrap()["value"].clone();
    let (path, last) = key.rsplit_once('.').unwrap();
    let inner = path
        .split('.')
        .fold(table, |table, part| table.entry(part).or_insert(toml::Table::new().into()).as_table_mut().unwrap());
    inner.insert(last.to_owned(), value);
}

fn audit(job: &Job, dir: &Folder) -> (Outcome, Advice) {
    let records = Records::Files(dir.0.clone());
    let facts = records.facts(job).unwrap();
    let outcome = outcome::play(job, &records, &facts).unwrap();
    let advice = advise(job, &records, &facts, &outcome, 8).unwrap();
    (outcome, advice)
}

/// Audits a job whose settings do not hold, follows the advice, and audits again.
#[track_caller]
fn follows(optimizer: &str, wide: f64, cause: &str) -> Vec<Change> {
    let dir = Folder::new(&format!("{}-{wide}", optimizer.len()), wide);
    let mut table: toml::Table = format!("{JOB}{optimizer}").parse().unwrap();
    let (first, advice) = audit(&job(&table), &dir);
    assert_ne!(first.verdict, Verdict::Holds);
    assert!(advice.causes.iter().any(|text| text.contains(cause)), "{:?}", advice.causes);
    let changes = advice.verified.first().expect("a setting that holds").changes.clone();
    changes.iter().for_each(|change| apply(&mut table, change));
    let (second, advice) = audit(&job(&table), &dir);
    assert_eq!(second.verdict, Verdict::Holds, "{changes:?}");
    assert!(!advice.needed);
    changes
}

#[test]
fn advice_for_a_narrow_ring_holds() {
    let optimizer = "numbers.ring_bits = 32\n\
                     optimizer = { kind = \"momentum\", learning_rate = 0.002, momentum = 0.9 }";
    let changes = follows(optimizer, 1.0, "targets reach");
    let wider = Change { key: "numbers.ring_bits".to_owned(), value: "64".to_owned() };
    assert_eq!(changes[0], wider, "the larger ring comes first");
}

#[test]
fn advice_for_targets_without_scale_holds() {
    // A learning rate that is far too large for targets of 150, though not for targets of 1.
    let optimizer = "optimizer = { kind = \"momentum\", learning_rate = 0.05, momentum = 0.9 }";
    let changes = follows(optimizer, 1.0, "targets reach");
    assert_eq!(changes[0].key, "data.target.divide");
}

#[test]
fn advice_for_a_column_without_scale_holds() {
    let optimizer = "optimizer = { kind = \"momentum\", learning_rate = 0.05, momentum = 0.9 }";
    let changes = follows(optimizer, 5000.0, "feature 1 reaches");
    assert!(changes.iter().any(|change| change.key == "data.scale"), "{changes:?}");
}

#[test]
fn advice_is_bounded_and_says_when_nothing_was_tried() {
    let dir = Folder::new("bounded", 1.0);
    let text = format!("{JOB}optimizer = {{ kind = \"sgd\", learning_rate = 200 }}");
    let (job, records) = (job(&text.parse().unwrap()), Records::Files(dir.0.clone()));
    let facts = records.facts(&job).unwrap();
    let outcome = outcome::play(&job, &records, &facts).unwrap();
    for tries in [0, 2] {
        let advice = advise(&job, &records, &facts, &outcome, tries).unwrap();
        assert!(advice.needed && advice.verified.is_empty());
        assert_eq!(advice.tried, tries);
    }
}

#[test]
fn second_moments_are_counted_by_cell() {
    let dir = Folder::new("buckets", 1.0);
    let job = job(&format!("{JOB}optimizer.kind = \"adam\"").parse().unwrap());
    let (outcome, _) = audit(&job, &dir);
    let buckets = Buckets::of(&job, &outcome).unwrap();
    assert_eq!(buckets.parameters, job.parameters() as u64);
    assert!(buckets.lowest + buckets.top <= buckets.parameters);
}

#[test]
fn reports_are_audited_on_random_codes() {
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
    let mut job = records::synthetic(Draft::load(&jobs.join("occupancy.toml")).unwrap(), 2000).unwrap();
    assert_eq!((job.data.train_records, job.data.test_records), (1000, 1000));
    job.training.epochs = 2;
    let facts = Records::Codes.facts(&job).unwrap();
    assert_eq!(facts.features.len(), 4);
    let outcome = outcome::play(&job, &Records::Codes, &facts).unwrap();
    assert!(outcome.ranges.iter().any(|range| !range.table));
}
