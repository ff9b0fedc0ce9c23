//! `symbolon demo`: the whole system on one machine, on a small real data set.

use super::{
    exit::Failure,
    local::Local,
    train::{clear_run, everything, secure_run},
};
use crate::{
    data::{DIGITS_SOURCE, digits},
    engine::clear::Audit,
    job::Job,
    net::Role,
    report::human_bytes,
};
use std::path::Path;

/// Trains the embedded digits on shares and in the clear, and says who saw what.
pub(super) fn run(json: Option<&Path>) -> Result<(), Failure> {
    let job = Job::digits()?;
    if job.numbers.ring_bits == 32 { run_in::<u32>(&job, json) } else { run_in::<u64>(&job, json) }
}

fn run_in<W: crate::kernel::HostWord + symbolon_core::word::Word>(
    job: &Job,
    json: Option<&Path>,
) -> Result<(), Failure> {
    let (train, test) = digits(job)?;
    say!("Data: {DIGITS_SOURCE}.");
    say!(
        "Job: {} training and {} test records, {} features; network {:?}; {} epochs, batch {}, {}-bit ring.\n",
        train.rows,
        test.rows,
        train.cols,
        job.dense_shapes(),
        job.training.epochs,
        job.training.batch,
        job.numbers.ring_bits
    );
    let local = Local::start(&everything(), None)?;
    for (role, id) in &local.processes {
        say!("{role} is process {id}");
    }
    say!("client is process {} (this one): owns the data, receives the results\n", std::process::id());
    let secure = secure_run::<W>(job, &train, &test, &local.client)?;
    local.stop();
    let clear = clear_run::<W>(job, &train, &test, usize::from(job.lanes.lanes), &Audit::default())?;
    say!("{}", secure.summary);
    let s = &secure.summary;
    let data = human_bytes(crate::session::client::data_bytes::<W>(job) as u64);
    say!("What each role saw:");
    say!("  client   the data, the accuracy, the loss of each epoch, the model");
    say!(
        "  {}  a 32-byte seed that stands for its share of the data, and {} of masked words",
        Role::Server0,
        human_bytes(s.bytes_sent.server_1)
    );
    say!(
        "  {}  {data} of shares, {} of masked words, {} of corrections",
        Role::Server1,
        human_bytes(s.bytes_sent.server_0),
        human_bytes(s.dealer_bytes)
    );
    say!("  {}   the job; no data, no share, no masked word\n", Role::Dealer);
    let percent = |accuracy: Option<f64>| accuracy.map_or("not revealed".to_owned(), |a| format!("{:.2} %", 100.0 * a));
    say!(
        "accuracy on shares {}, in the clear engine {} (the same arithmetic with its own rounding)",
        percent(s.accuracy),
        percent(clear.summary.accuracy)
    );
    match json {
        Some(path) => s.write_json(path).map_err(|error| Failure::write(path, &error)),
        None => Ok(()),
    }
}
