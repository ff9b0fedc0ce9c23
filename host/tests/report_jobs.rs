//! The job files that learn from reports, on records as devices make them of real recordings: what the schema packs is what is learnt.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs)]

use std::{fs::File, io::Read, ops::ControlFlow, path::Path, path::PathBuf};

use flate2::read::GzDecoder;
use symbolon::{
    data::{Lengths, Pile, dataset_dir},
    engine::clear::{self, Audit},
    job::{Draft, Job, Source},
    schema::SchemaFile,
    storage::Storage,
    train::{Event, Inputs, Start, epoch_result},
};
use symbolon_core::{
    link::Count,
    prg::Seed,
    report::{header::DeviceId, record, window::Window},
};

/// A job file with its schema.
struct Task {
    draft: Draft,
    schema: SchemaFile,
}

impl Task {
    fn load(name: &str) -> Self {
        let draft = Draft::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(name)).unwrap();
        let schema = SchemaFile::load(&draft.schema().unwrap()).unwrap();
        Self { draft, schema }
    }

    fn job(self, pile: &Pile, named: &dyn Fn(&str) -> Option<DeviceId>) -> Job {
        let mut senders = pile.records.iter().map(|(device, ..)| *device);
        self.schema.borrow(|schema| {
            let source = Source { schema, label_schema: None, manifest: [0; 32], senders: &mut senders, named };
            self.draft.resolve(Some(source)).unwrap()
        })
    }
}

/// Accuracy on the test records after the last epoch, in the clear engine.
fn accuracy(job: &Job, pile: &Pile) -> f64 {
    let seeds = [[1; 32], [2; 32]].each_ref().map(Seed::from_bytes);
    let mut accuracy = None;
    let mut watch = |event: Event<u64>, _: Count| {
        if let Event::Epoch { epoch, loss, score } = event {
            accuracy = epoch_result(job, &Lengths::default(), epoch, loss, score).unwrap().accuracy;
        }
        ControlFlow::Continue(())
    };
    let inputs = Inputs::stored(job, pile, &Storage::default()).unwrap();
    clear::run(job, (inputs, Start::Fresh), [&seeds[0], &seeds[1]], &[0; 16], 1, &Audit::default(), &mut watch)
        .unwrap();
    accuracy.unwrap()
}

const TRAIN: DeviceId = DeviceId(1);
const TEST: DeviceId = DeviceId(2);

/// Records of the occupancy job out of rows of a CSV file, from `device`.
fn climate(
    schema: &SchemaFile,
    device: DeviceId,
    csv: impl Read,
) -> impl Iterator<Item = (DeviceId, Vec<u8>, Vec<u8>)> {
    const COLUMNS: [&str; 5] = ["temperature_c", "humidity_pct", "co2_ppm", "humidity_ratio", "occupancy"];
    let mut rows = csv::Reader::from_reader(csv);
    let header = rows.headers().unwrap().clone();
    let columns = COLUMNS.map(|name| header.iter().position(|column| column == name).unwrap());
    rows.into_records().map(move |row| {
        let row = row.unwrap();
        (device, schema.record(&columns.map(|at| row[at].parse().unwrap())).unwrap(), Vec::new())
    })
}

fn occupancy(train: impl Read, test: impl Read) -> (Job, Pile) {
    let task = Task::load("occupancy.toml");
    let records = climate(&task.schema, TRAIN, train).chain(climate(&task.schema, TEST, test)).collect();
    let pile = Pile { records, ..Pile::default() };
    let job = task.job(&pile, &|name| (name == "test").then_some(TEST));
    (job, pile)
}

#[test]
fn occupancy_learns_from_the_embedded_excerpt() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let open = |name| GzDecoder::new(File::open(data.join(name)).unwrap());
    let (job, pile) = occupancy(open("occupancy_train.csv.gz"), open("occupancy_test.csv.gz"));
    assert_eq!((job.data.train_records, job.data.test_records, pile.records[0].1.len()), (2715, 889, 9));
    let accuracy = accuracy(&job, &pile);
    assert!(accuracy >= 0.87, "{accuracy}");
}

fn datasets() -> Option<PathBuf> {
    let dir = dataset_dir();
    if dir.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no data sets: set SYMBOLON_DATA to their folder");
        eprintln!("skipped: no data sets; set SYMBOLON_DATA to their folder, with sensors/ in it");
    }
    dir
}

#[test]
fn occupancy_learns_from_the_whole_recordings() {
    let Some(dir) = datasets() else { return };
    let open = |name| File::open(dir.join("sensors/occupancy").join(name)).unwrap();
    let (job, pile) = occupancy(open("occupancy_train.csv"), open("occupancy_test1.csv"));
    assert_eq!((job.data.train_records, job.data.test_records), (8143, 2665));
    let accuracy = accuracy(&job, &pile);
    assert!(accuracy >= 0.87, "{accuracy}");
}

/// Raw samples in, as from a phone's sensors; a record has what [`Window`] makes of 128 rows.
#[test]
fn hapt_learns_from_features_that_devices_compute() {
    const ROWS: usize = 128;
    const LABEL_AT_BIT: usize = 8 * 60;
    let Some(dir) = datasets() else { return };
    let dir = dir.join("sensors/hapt");
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(dir.join("hapt_raw_i16le.bin.gz")).unwrap()).read_to_end(&mut bytes).unwrap();
    let words: Vec<i16> = bytes.as_chunks::<2>().0.iter().map(|word| i16::from_le_bytes(*word)).collect();
    let rows = words.as_chunks::<6>().0;

    let task = Task::load("hapt.toml");
    let mut records = Vec::new();
    for row in csv::Reader::from_path(dir.join("windows.csv")).unwrap().into_records() {
        let row = row.unwrap();
        let [start, label, user] = [0, 1, 2].map(|at| row[at].parse::<usize>().unwrap());
        let mut window = Window::<6, ROWS>::new();
        let features = rows[start..start + ROWS].iter().find_map(|row| window.push(row)).unwrap();
        let mut packed = vec![0; task.schema.layout().record_bytes()];
        for (i, code) in features.as_flattened().iter().enumerate() {
            record::put(&mut packed, 16 * i, 16, u32::from(*code));
        }
        record::put(&mut packed, LABEL_AT_BIT, 3, u32::try_from(label).unwrap());
        // What the schema says of the codes is what the sensor measured.
        let (reals, first) = (task.schema.reals(&packed).unwrap(), f64::from(rows[start][0]) / 720.0);
        assert!((reals[12] - 1e-9..=reals[18] + 1e-9).contains(&first), "least and greatest enclose a sample");
        records.push((DeviceId(user as u64), packed, Vec::new()));
    }
    let pile = Pile { records, ..Pile::default() };
    let job = task.job(&pile, &|name| Some(DeviceId(name.strip_prefix("person-")?.parse().ok()?)));
    assert_eq!((job.data.train_records, job.data.test_records, pile.records[0].1.len()), (7415, 2996, 61));
    let accuracy = accuracy(&job, &pile);
    assert!(accuracy >= 0.88, "{accuracy}");
}
