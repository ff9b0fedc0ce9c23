//! `symbolon bench records`: training on more records than memory holds. The cost of a step and
//! a server's memory must not depend on their number.

use super::write_json;
use crate::{
    cli::{
        exit::Failure,
        local::{Local, ServerOptions},
        secure::secure_run,
        train::{Trained, everything},
    },
    data::create_npy,
    job::Job,
    report::{human_bytes, human_seconds},
    storage::{Storage, StorageConfig},
    train::{Inputs, Loaded},
    values::Values,
};
use serde::Serialize;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

/// Test records, besides those to train on.
const TEST_RECORDS: u32 = 10_000;

/// Arguments of `symbolon bench records`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Numbers of training records, a run each; ten million of 100 attributes take three times 4 GB
    /// of disk
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100_000, 1_000_000],
          value_parser = clap::value_parser!(u32).range(1000..=200_000_000))]
    records: Vec<u32>,
    /// Attributes of a record
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    attributes: u32,
    /// Records of a step
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    batch: u32,
    /// Most MiB of tables in a server's memory; the others are on its disk
    #[arg(long, default_value_t = 64)]
    memory_mib: u64,
    /// Where the records are written, in a new folder; scratch files of the servers go to $TMPDIR
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::cli::out_file())]
    json: Option<PathBuf>,
}

/// One run.
#[derive(Debug, Serialize)]
struct Row {
    records: u32,
    /// Bytes of a server's tables.
    table_bytes: u64,
    /// From files to the client's tables.
    seconds_reading: f64,
    /// Sending shares, masking and opening the data.
    seconds_sharing: f64,
    seconds_epoch: f64,
    ms_per_step: f64,
    r2: Option<f64>,
    /// The larger server's.
    server_rss_bytes: Option<u64>,
    dealer_rss_bytes: Option<u64>,
}

/// Measures an epoch for each number of records.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    say!(
        "Linear regression on {} attributes, one epoch in batches of {}, all roles on this machine; \
         each server has {} MiB of memory for tables.\n",
        args.attributes,
        args.batch,
        args.memory_mib
    );
    say!(
        "{:>10}{:>12}{:>12}{:>12}{:>12}{:>10}{:>8}{:>12}",
        "records",
        "tables",
        "reading",
        "sharing",
        "an epoch",
        "a step",
        "R²",
        "a server"
    );
    let mut rows = Vec::new();
    for records in &args.records {
        let row = measure(args, *records)?;
        let rss = row.server_rss_bytes.map_or_else(|| "unknown".to_owned(), human_bytes);
        say!(
            "{:>10}{:>12}{:>12}{:>12}{:>12}{:>7.2} ms{:>8.3}{:>12}",
            row.records,
            human_bytes(row.table_bytes),
            human_seconds(row.seconds_reading),
            human_seconds(row.seconds_sharing),
            human_seconds(row.seconds_epoch),
            row.ms_per_step,
            row.r2.unwrap_or(f64::NAN),
            rss
        );
        rows.push(row);
    }
    write_json(&rows, args.json.as_deref())
}

fn measure(args: &Args, records: u32) -> Result<Row, Failure> {
    let folder = tempfile::tempdir_in(&args.dir).map_err(|error| Failure::write(&args.dir, &error))?;
    let mut values = Values(1);
    let weights: Vec<f32> = (0..args.attributes).map(|_| values.unit()).collect();
    for (set, records) in [("train", records), ("test", TEST_RECORDS)] {
        write_set(folder.path(), set, records, &weights, &mut values)?;
    }
    let job = job(args, records)?;
    let storage = Storage::new(StorageConfig { memory_bytes: args.memory_mib << 20, ..StorageConfig::default() });
    let started = Instant::now();
    let Loaded { inputs, variance, .. } = Inputs::<u32>::load(&job, folder.path(), &storage, &|_| {})?;
    let seconds_reading = started.elapsed().as_secs_f64();
    drop(folder); // the records are in the client's tables
    let local =
        Local::start(ServerOptions { policy: &everything(), threads: None, memory_mib: Some(args.memory_mib) }, false)?;
    let Trained { summary, .. } = secure_run::<u32>(&job, variance, Some(inputs), &local.client)?;
    local.stop();
    let rss = summary.peak_rss_bytes;
    #[allow(clippy::cast_precision_loss)]
    let steps = job.steps_per_epoch() as f64;
    Ok(Row {
        records,
        table_bytes: Inputs::<u32>::bytes(&job, u64::MAX).iter().sum(),
        seconds_reading,
        seconds_sharing: summary.seconds_setup,
        seconds_epoch: summary.seconds_train,
        ms_per_step: summary.seconds_train / steps * 1e3,
        r2: summary.r2,
        server_rss_bytes: rss.server_0.max(rss.server_1),
        dealer_rss_bytes: rss.dealer,
    })
}

/// Writes attributes from -1 to 1 and a noisy linear target of them.
fn write_set(dir: &Path, set: &str, records: u32, weights: &[f32], values: &mut Values) -> Result<(), Failure> {
    let path = |what: &str| dir.join(format!("{set}-{what}.npy"));
    let written = (|| {
        let mut features = create_npy(&path("features"), "<f4", &format!("{records}, {}", weights.len()))?;
        let mut targets = create_npy(&path("targets"), "<f4", &format!("{records},"))?;
        for _ in 0..records {
            let mut target = 0.2 * values.unit();
            for weight in weights {
                let value = values.unit();
                target += weight * value;
                features.write_all(&value.to_le_bytes())?;
            }
            targets.write_all(&target.to_le_bytes())?;
        }
        features.flush()?;
        targets.flush()
    })();
    written.map_err(|error: io::Error| Failure::write(dir, &error))
}

fn job(args: &Args, records: u32) -> Result<Job, Failure> {
    let Args { attributes, batch, .. } = args;
    // Targets are sums of products of two uniform numbers from -1 to 1, each of variance 1/9.
    let deviation = (f64::from(*attributes) / 9.0).sqrt();
    let text = format!(
        r#"
        version = 2
        name = "records-{records}"
        loss = "squared-error"
        [data]
        shape = [{attributes}]
        train_records = {records}
        test_records = {TEST_RECORDS}
        target = {{ offset = 0, divide = {deviation} }}
        scale = {{ divide = 1 }}
        [data.npy]
        train_features = "train-features.npy"
        train_labels = "train-targets.npy"
        test_features = "test-features.npy"
        test_labels = "test-targets.npy"
        [numbers]
        ring_bits = 32
        frac_bits = 11
        grad_frac_bits = 15
        [network]
        layers = [{{ kind = "dense", units = 1 }}]
        [training]
        epochs = 1
        batch = {batch}
        drop_last = true
        seed = 1
        [optimizer]
        kind = "momentum"
        learning_rate = 0.05
        momentum = 0.9
        [lanes]
        lanes = 2
        tile = 65_536
        [reveal]
        metrics = true
        loss = "never"
        "#
    );
    Ok(Job::parse(&text, Path::new("bench records"))?)
}
