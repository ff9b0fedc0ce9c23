//! From the sensor to the trained network, by the program as it is run: devices, gateway, two servers, dealer, client.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs)]

mod ask;
mod demo;
mod hapt;
mod labels;
mod meter;
mod mqtt;
mod occupancy;
mod share;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use symbolon::{
    data::{Lengths, Pile},
    device::{Device, Options},
    job::{Draft, Source},
    storage::Storage,
    train::{Inputs, epoch_result},
};
use symbolon_core::report::{header::DeviceId, identity::Identity};
use symbolon_tests::{
    dir::TempDir,
    fleet::{Fleet, Stores},
    play::{Game, Keys},
    program::{finish, symbolon},
};

/// How long a training may take on a busy machine.
const TRAINING: Duration = Duration::from_secs(300);
/// Milliseconds since 1970 of a device's first record, and from one to the next.
const TIMES_MS: (u64, usize) = (1_423_000_000_000, 60_000);

/// One fleet at a time: machines are small.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A job file that comes with the program.
fn job_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/jobs").join(name)
}

/// Devices as threads of this process: each sends its records, until both servers hold them.
fn send_all(devices: &[(&Identity, Vec<Vec<u8>>)], gateway: &str) {
    let send = |identity: &Identity, records: &[Vec<u8>]| {
        let mut device = Device::new(identity, 1, gateway, Options::default()).unwrap();
        let (first, step) = TIMES_MS;
        for (time_ms, record) in (first..).step_by(step).zip(records) {
            device.send(time_ms, None, &mut record.clone()).unwrap();
        }
        let status = device.finish().unwrap();
        assert_eq!((status.refused, status.dropped), (0, 0), "{:?}", status.last_reason);
    };
    thread::scope(|scope| {
        for (identity, records) in devices {
            scope.spawn(|| send(identity, records));
        }
    });
}

/// Accuracy after `symbolon train` of a job file at the fleet's servers.
fn train(fleet: &Fleet, job: &Path) -> f64 {
    run_job(fleet, job).1["accuracy"].as_f64().unwrap()
}

/// The output of `symbolon train` of a job file at the fleet's servers, and its results.
fn run_job(fleet: &Fleet, job: &Path) -> (String, serde_json::Value) {
    let dir = TempDir::new();
    let results = dir.join("run.json");
    let mut command = symbolon(["train"]);
    command.arg(job).arg("--config").arg(fleet.config(symbolon::net::Role::Client)).arg("--json").arg(&results);
    let output = finish(command.spawn().unwrap(), TRAINING);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("manifest "), "{said}");
    (said.into_owned(), serde_json::from_str(&fs::read_to_string(results).unwrap()).unwrap())
}

/// Accuracy of the clear engine on what the servers' disks hold in the end.
fn clear_accuracy(fleet: &Fleet, job: &Path, stores: &Stores, named: &dyn Fn(&str) -> Option<DeviceId>) -> f64 {
    let records = stores.both.iter().map(|(id, (_, record))| (id.device, record.clone(), Vec::new()));
    let pile = Pile { records: records.collect(), ..Pile::default() };
    let mut senders = pile.records.iter().map(|(device, ..)| *device);
    let draft = Draft::load(job).unwrap();
    let job = fleet.schema.borrow(|schema| {
        let source = Source { schema, label_schema: None, manifest: [0; 32], senders: &mut senders, named };
        draft.resolve(Some(source)).unwrap()
    });
    let inputs = Inputs::<u64>::stored(&job, &pile, &Storage::default()).unwrap();
    let trained = Game::new(job.clone()).clear(inputs, &Keys::new(1), 1);
    let (loss, score) = trained.epochs.last().unwrap().clone();
    epoch_result(&job, &Lengths::default(), 1, loss, score).unwrap().accuracy.unwrap()
}

/// Asserts that both disks hold what each device was given, all of it, once and in its order, and nothing else.
fn assert_stored(stores: &Stores, devices: &[(&Identity, Vec<Vec<u8>>)]) {
    assert_eq!(stores.only, [vec![], vec![]], "one server alone holds records");
    for (identity, records) in devices {
        let own = stores.both.iter().filter(|(id, _)| id.device == identity.device);
        let own: Vec<_> = own.map(|(_, (_, record))| record).collect();
        assert!(own.iter().copied().eq(records), "{}: {} records of {}", identity.device, own.len(), records.len());
    }
    let given: usize = devices.iter().map(|(_, records)| records.len()).sum();
    assert_eq!(stores.both.len(), given);
}
