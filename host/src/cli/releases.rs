//! `symbolon releases`: the released outputs and the remaining budgets.

use super::{exit::Failure, roles::waiting};
use crate::{
    intake::{hex, manifest::print_digest, validity::UnixSeconds},
    job::MILLI,
    net::{ClientTls, Config, Role},
    release::ledger::{Entry, Ledger, LedgerError, State},
    report::write_atomic,
    session::releases::{Releases, releases},
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `symbolon releases`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The client's configuration, for its own releases; or a server's, on its machine, for all
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also print the remaining budgets for a manifest
    #[arg(long, value_name = "DIGEST", value_parser = super::train::digest)]
    manifest: Option<[u8; 32]>,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    json: Option<PathBuf>,
}

/// Most jobs that are listed from a server's own ledger.
const MOST_LISTED: usize = 10_000;

/// `symbolon releases`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Client, Role::Server0, Role::Server1])?;
    let value = if config.role == Role::Client { of_client(args, &config)? } else { of_server(&config)? };
    match &args.json {
        Some(path) => {
            write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(|error| Failure::write(path, &error))
        }
        None => Ok(()),
    }
}

fn of_server(config: &Config) -> Result<Value, Failure> {
    let ledger = Ledger::open(&config.policy_files.ledger).map_err(ledger)?;
    let entries = ledger.entries(None, MOST_LISTED).map_err(self::ledger)?;
    list(&entries, true);
    Ok(json!({ config.role.name(): entries.iter().map(entry).collect::<Vec<_>>() }))
}

fn ledger(error: crate::intake::store::StoreError) -> Failure {
    Failure::Other(LedgerError::Store(error).to_string())
}

fn of_client(args: &Args, config: &Config) -> Result<Value, Failure> {
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let mut out = serde_json::Map::new();
    for server in [Role::Server0, Role::Server1] {
        let told = releases(config, &tls, server, args.manifest)?;
        say!("{server}:");
        list(&told.entries, false);
        left(&told, args.manifest);
        let (jobs_per_day, outputs_per_manifest, epsilon_milli) = told.limits;
        let value = json!({
            "jobs": told.entries.iter().map(entry).collect::<Vec<_>>(),
            "jobs_today": told.spent.jobs,
            "jobs_per_day": jobs_per_day,
            "outputs_of_manifest": args.manifest.map(|_| told.spent.outputs),
            "outputs_per_manifest": outputs_per_manifest,
            "epsilon_today": args.manifest.map(|_| epsilon(told.spent.epsilon_milli)),
            "epsilon": epsilon_milli.map(|milli| epsilon(u64::from(milli))),
        });
        out.insert(server.name().to_owned(), value);
    }
    Ok(out.into())
}

#[allow(clippy::cast_precision_loss)] // thousandths, few of them
fn epsilon(milli: u64) -> f64 {
    milli as f64 / f64::from(MILLI)
}

fn list(entries: &[Entry], clients: bool) {
    say!("  {:<22}{:<20}{:>9}{:>9}{:>9}  records", "admitted", "job", "outputs", "charged", "epsilon");
    for Entry { charge, released, state } in entries {
        let source = charge.selection.as_ref().map_or("the client's own".to_owned(), |selection| {
            format!("manifest {}", &print_digest(&selection.manifest)[..16])
        });
        let state = match state {
            State::Open => ", not ended",
            State::Ended => "",
            State::Adopted => ", known from the other server",
        };
        let [train, test] = charge.records;
        say!(
            "  {:<22}{:<20}{released:>9}{:>9}{:>9}  {train} + {test}, {source}{}{state}",
            UnixSeconds(charge.at).utc(),
            charge.job,
            charge.outputs,
            epsilon(u64::from(charge.epsilon_milli)),
            if clients { format!(", client {}", charge.client) } else { String::new() },
        );
    }
}

/// Prints the budgets, and the remaining part of each.
fn left(told: &Releases, manifest: Option<[u8; 32]>) {
    let (jobs, outputs, most) = told.limits;
    say!("  left today: {} of {jobs} jobs", jobs.saturating_sub(told.spent.jobs));
    if manifest.is_some() {
        say!("  left of the manifest: {} of {outputs} outputs", outputs.saturating_sub(told.spent.outputs));
        if let Some(most) = most.map(u64::from) {
            let left = most.saturating_sub(told.spent.epsilon_milli);
            say!("  left of its schema today: epsilon {} of {}", epsilon(left), epsilon(most));
        }
    }
}

fn entry(Entry { charge, released, state }: &Entry) -> Value {
    json!({
        "admitted": UnixSeconds(charge.at).utc(),
        "client": charge.client,
        "job": charge.job,
        "job_hash": hex::print(&charge.hash),
        "session": hex::print(&charge.session),
        "manifest": charge.selection.as_ref().map(|selection| print_digest(&selection.manifest)),
        "train_records": charge.records[0],
        "test_records": charge.records[1],
        "outputs": released,
        "charged": charge.outputs,
        "epsilon": epsilon(u64::from(charge.epsilon_milli)),
        "state": format!("{state:?}").to_lowercase(),
    })
}
