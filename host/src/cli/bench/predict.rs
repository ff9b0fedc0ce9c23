//! `symbolon bench predict`: latency and throughput of a published model under many askers. Rows
//! are random; their values change nothing that is measured.

use super::write_json;
use crate::{
    cli::{exit::Failure, roles::waiting},
    engine::plan::serving_plan,
    job::Job,
    kernel::HostWord,
    model_store::ModelVersion,
    net::{ClientTls, Config, Role},
    session::{SessionError, client::Predictions},
    train::{Serving, encode_rows},
};
use serde::Serialize;
use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use symbolon_core::word::Word;

/// Arguments of `symbolon bench predict`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The published model, NAME:VERSION
    model: ModelVersion,
    /// Numbers of clients that ask side by side, a measurement each
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8, 64],
          value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: Vec<u16>,
    /// Rows of a request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    rows: u16,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Serial number of the certificate of the model's owner; your own model, if not given
    #[arg(long, value_name = "SERIAL")]
    owner: Option<String>,
    /// The client's configuration
    #[arg(long, value_name = "FILE", default_value = "client.toml")]
    config: PathBuf,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A measurement.
#[derive(Debug, Serialize)]
struct Figures {
    clients: u16,
    rows_per_request: u16,
    requests: usize,
    p50_ms: f64,
    p99_ms: f64,
    requests_per_second: f64,
    rows_per_second: f64,
}

/// The cost of a batch, from the plan.
#[derive(Debug, Serialize)]
struct Batch {
    rows: u16,
    rounds: u64,
    bytes_each_way: u64,
    dealt_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    batches: Vec<Batch>,
    figures: Vec<Figures>,
}

/// `symbolon bench predict`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Client])?;
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let connect = || Predictions::open(&config, &tls, args.owner.as_deref(), &args.model);
    let open = connect()?;
    let batches = batches(&open)?;
    say!("{:>6}  {:>6}  {:>12}  {:>12}", "batch", "rounds", "each way", "dealt");
    for Batch { rows, rounds, bytes_each_way, dealt_bytes } in &batches {
        say!("{rows:>6}  {rounds:>6}  {bytes_each_way:>10} B  {dealt_bytes:>10} B");
    }
    say!("{:>7}  {:>8}  {:>9}  {:>9}  {:>10}  {:>10}", "clients", "requests", "p50", "p99", "requests/s", "rows/s");
    let mut figures = Vec::new();
    for clients in &args.clients {
        let took = match open.job().numbers.ring_bits {
            32 => measure::<u32>(args, *clients, open.job(), &connect)?,
            _ => measure::<u64>(args, *clients, open.job(), &connect)?,
        };
        let own = Figures::of(*clients, args, took);
        let Figures { requests, p50_ms, p99_ms, requests_per_second, rows_per_second, .. } = own;
        say!(
            "{clients:>7}  {requests:>8}  {p50_ms:>6.2} ms  {p99_ms:>6.2} ms  {requests_per_second:>10.0}  {rows_per_second:>10.0}"
        );
        figures.push(own);
    }
    write_json(&Report { model: args.model.to_string(), batches, figures }, args.json.as_deref())
}

/// The costs of batches of one row and of as many as the servers take.
fn batches(open: &Predictions) -> Result<Vec<Batch>, Failure> {
    let rows = [1, open.most_rows];
    let serving = Serving { answer: open.answer, batches: rows.to_vec() };
    let plan = serving_plan(open.job(), &serving).map_err(SessionError::from)?;
    let batch = |(rows, cost): (u16, &crate::engine::plan::Cost)| Batch {
        rows,
        rounds: cost.rounds,
        bytes_each_way: cost.bytes_each_way,
        dealt_bytes: cost.dealer_bytes,
    };
    Ok(rows.into_iter().zip(&plan.batches).map(batch).collect())
}

/// Asks from so many clients for the time of a measurement; returns each request's seconds, sorted,
/// and the time that it took.
fn measure<W: HostWord + Word>(
    args: &Args,
    clients: u16,
    job: &Job,
    connect: &(dyn Fn() -> Result<Predictions, SessionError> + Sync),
) -> Result<(Vec<f64>, f64), Failure> {
    let len = usize::from(args.rows) * job.data.features();
    // 0 is a valid code of every embedding.
    let rows: Vec<W> = encode_rows(job, &vec![0.0; len])?;
    let opened: Vec<Predictions> = (0..clients).map(|_| connect()).collect::<Result<_, _>>()?;
    let started = Instant::now();
    let end = started + Duration::from_secs(args.seconds.into());
    let ask = |mut open: Predictions| {
        let mut took = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            open.ask(&rows)?;
            took.push(began.elapsed().as_secs_f64());
        }
        Ok(took)
    };
    let asked: Vec<Result<Vec<f64>, SessionError>> = thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = opened.into_iter().map(|open| scope.spawn(move || ask(open))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    let mut took = asked.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    took.sort_by(f64::total_cmp);
    Ok((took, seconds))
}

impl Figures {
    #[allow(clippy::cast_precision_loss)] // requests are few
    fn of(clients: u16, args: &Args, (took, seconds): (Vec<f64>, f64)) -> Self {
        let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied();
        let per_second = took.len() as f64 / seconds;
        Self {
            clients,
            rows_per_request: args.rows,
            requests: took.len(),
            p50_ms: at(50).unwrap_or_default() * 1e3,
            p99_ms: at(99).unwrap_or_default() * 1e3,
            requests_per_second: per_second,
            rows_per_second: per_second * f64::from(args.rows),
        }
    }
}
