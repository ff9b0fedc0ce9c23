//! The program as it is run: two servers, a dealer and a client as processes, in good days and bad ones.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

mod alive;
mod audit;
mod backup;
mod certificates;
mod command;
mod early_stop;
mod evaluate;
mod frames;
mod functions;
#[cfg(target_os = "linux")]
mod interrupt;
mod jobs;
mod kills;
mod lengths;
mod lost;
mod models;
mod outputs;
mod places;
mod predict;
mod predict_audited;
mod refused;
mod releases;
mod sees;
mod sees_predictions;
mod series;
mod storage;

use std::{
    path::Path,
    process::Output,
    sync::{Mutex, MutexGuard, PoisonError},
};
use symbolon_tests::{
    dir::TempDir,
    jobs::Shape,
    program::{run, symbolon},
    roles::Roles,
};

/// One test with processes at a time: time-outs are short, machines small.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder with a job, `job.toml`, and its records.
fn folder(shape: &Shape<'_>) -> TempDir {
    let dir = TempDir::new();
    let _ = dir.file("job.toml", &shape.toml());
    let _ = dir.file("records.csv", &shape.csv());
    dir
}

/// `symbolon train` of the job in `dir`, with the roles of `config`, and `more` arguments.
fn train(dir: &Path, config: &Path, more: &[&str]) -> Output {
    let mut command = symbolon(["train"]);
    command.arg(dir.join("job.toml")).arg("--data").arg(dir).arg("--config").arg(config).args(more);
    run(&mut command)
}

/// After whatever happened, the roles do their work for the next who asks.
fn assert_useful(roles: &mut Roles) {
    let dir = folder(&Shape::default());
    let output = train(&dir, &roles.client(), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    roles.assert_well();
}
