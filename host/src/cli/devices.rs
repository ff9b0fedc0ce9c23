//! `symbolon devices`: what became of each device's reports, at both servers.

use super::{exit::Failure, roles::waiting};
use crate::{
    intake::devices::{DeviceReport, DeviceReports, Refused},
    net::{ClientTls, Config, Role},
    report::write_atomic,
    session::reports,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf};
use symbolon_core::report::header::DeviceId;

/// Arguments of `symbolon devices`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The client's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    json: Option<PathBuf>,
}

/// `symbolon devices`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Client])?;
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let at = [reports::devices(&config, &tls, Role::Server0)?, reports::devices(&config, &tls, Role::Server1)?];
    let mut ids: BTreeMap<u64, [Option<&DeviceReport>; 2]> = BTreeMap::new();
    for (i, reports) in at.iter().enumerate() {
        for report in &reports.devices {
            ids.entry(report.device).or_default()[i] = Some(report);
        }
    }
    say!(
        "{:<18}{:<16}{:>6}{:>20}{:>16}{:>10}{:>9}",
        "device",
        "name",
        "boot",
        "stored (0 / 1)",
        "missing (0/1)",
        "repeated",
        "dropped"
    );
    for (id, reports) in &ids {
        print(DeviceId(*id), *reports);
    }
    for (role, reports) in [Role::Server0, Role::Server1].iter().zip(&at) {
        if !reports.strangers.is_empty() {
            say!("{role}: strangers' parts refused: {}", refused(&reports.strangers));
        }
    }
    match &args.json {
        Some(path) => write(path, &at),
        None => Ok(()),
    }
}

fn print(id: DeviceId, at: [Option<&DeviceReport>; 2]) {
    let [a, b] = at.map(|report| report.cloned().unwrap_or_default());
    let name = a.name.as_ref().or(b.name.as_ref()).map_or("(not registered)", String::as_str);
    let boot = a.newest_boot.max(b.newest_boot).map_or("-".to_owned(), |boot| boot.to_string());
    say!(
        "{:<18}{name:<16}{boot:>6}{:>20}{:>16}{:>10}{:>9}{}",
        id.to_string(),
        format!("{} / {}", a.stored, b.stored),
        format!("{} / {}", a.missing, b.missing),
        a.duplicates + b.duplicates,
        a.dropped.max(b.dropped),
        if a.revoked || b.revoked { "  revoked" } else { "" }
    );
    for (role, report) in [Role::Server0, Role::Server1].iter().zip([&a, &b]) {
        for gap in &report.gaps {
            say!("    {role}: boot {}: {} missing from {}", gap.boot, gap.count, gap.first);
        }
        if !report.refused.is_empty() {
            say!("    {role}: refused: {}", refused(&report.refused));
        }
    }
}

fn refused(refused: &[Refused]) -> String {
    let one = |r: &Refused| match r.reason() {
        Some(reason) => format!("{reason} {}", r.parts),
        None => format!("reason {} {}", r.reason, r.parts),
    };
    refused.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Ids as everywhere else, and reasons by name: numbers of 64 bits do not survive every reader of JSON.
fn write(path: &std::path::Path, at: &[DeviceReports; 2]) -> Result<(), Failure> {
    let refused = |refused: &[Refused]| -> serde_json::Map<String, Value> {
        let name = |r: &Refused| r.reason().map_or(r.reason.to_string(), |reason| reason.to_string());
        refused.iter().map(|r| (name(r), r.parts.into())).collect()
    };
    let device = |d: &DeviceReport| {
        let gaps: Vec<Value> =
            d.gaps.iter().map(|g| json!({ "boot": g.boot, "first": g.first, "count": g.count })).collect();
        json!({
            "device": DeviceId(d.device).to_string(), "name": d.name, "revoked": d.revoked, "newest_boot": d.newest_boot,
            "stored": d.stored, "duplicates": d.duplicates, "dropped": d.dropped, "last_ms": d.last_ms,
            "missing": d.missing, "gaps": gaps, "refused": refused(&d.refused),
        })
    };
    let server = |reports: &DeviceReports| {
        let devices: Vec<Value> = reports.devices.iter().map(device).collect();
        json!({ "devices": devices, "strangers": refused(&reports.strangers) })
    };
    let value = json!({ "server0": server(&at[0]), "server1": server(&at[1]) });
    write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}
