//! `symbolon demo`: from devices to a trained network, the whole system on one machine, on real recordings.

use super::{
    boards::{self, Firmware},
    exit::Failure,
    local::{Fleet, Local},
    secure::secure_run,
    stored,
    train::{clear_stored, everything},
};
use crate::{
    data::{OCCUPANCY, OCCUPANCY_SOURCE, Pile},
    device::{CsvRows, Device, Headings, Options},
    engine::clear::Audit,
    job::{Draft, Job},
    net::Role,
    report::human_bytes,
    schema::SchemaFile,
    storage::Storage,
    train::Inputs,
};
use std::{
    io::Cursor,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};
use symbolon_core::report::{header::Header, identity::Identity};

const JOB: &str = include_str!("../../jobs/occupancy.toml");
pub(super) const SCHEMA: &str = include_str!("../../jobs/occupancy.schema.toml");

/// The demo's devices: three share the first recording, row by row in turn; the fourth has the second, which is for testing.
pub(super) const DEVICES: [&str; 4] = ["office-a", "office-b", "office-c", "test"];

/// Columns of the recordings that the schema names otherwise.
const COLUMNS: [(&str, &str); 5] = [
    ("temperature", "temperature_c"),
    ("humidity", "humidity_pct"),
    ("co2", "co2_ppm"),
    ("humidity_ratio", "humidity_ratio"),
    ("occupied", "occupancy"),
];

/// Arguments of `symbolon demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Put devices on boards that QEMU emulates, as many as there are
    #[arg(long)]
    qemu: bool,
    /// A built sensor_node (ELF), in place of building it; may be given once for each board
    #[arg(long, value_name = "FILE", requires = "qemu")]
    firmware: Vec<PathBuf>,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    json: Option<PathBuf>,
}

/// What was reported, for the lines at the end.
struct Reported {
    records: usize,
    seconds: f64,
}

/// Shares the embedded recordings on devices, stores, trains, and says who saw what.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let firmware = if args.qemu { Firmware::find(&args.firmware)? } else { Vec::new() };
    if firmware.len() >= DEVICES.len() {
        let most = DEVICES.len() - 1;
        return Err(Failure::Input(format!("--firmware: {most} devices can be on boards, not {}", firmware.len())));
    }
    let schema = SchemaFile::parse(SCHEMA).map_err(|error| Failure::Other(error.to_string()))?;
    let records = recordings(&schema)?;
    say!("Data: {OCCUPANCY_SOURCE}.");
    let (local, identities) =
        Local::start_with(&everything(), &Fleet { schema: &schema, schema_text: SCHEMA, names: &DEVICES })?;
    for (role, id) in &local.processes {
        say!("{role} is process {id}");
    }
    let gateway = local.gateway.clone().unwrap_or_default();
    let reported = report(&local, &firmware, &identities, &records, &gateway)?;
    say!(
        "{} devices reported {} records of {} bytes, sealed, in {:.1} s; both servers hold all\n",
        DEVICES.len(),
        reported.records,
        schema.layout().record_bytes(),
        reported.seconds
    );
    let draft = Draft::parse(JOB, Path::new("occupancy.toml"))?;
    let job = stored::resolve_with(draft, &schema, None, &local.client, None)?;
    let pile = pile(&identities, records);
    if job.numbers.ring_bits == 32 {
        train::<u32>(&job, &pile, local, &reported, args.json.as_deref())
    } else {
        train::<u64>(&job, &pile, local, &reported, args.json.as_deref())
    }
}

/// Each device's records, packed.
pub(super) fn recordings(schema: &SchemaFile) -> Result<[Vec<Vec<u8>>; DEVICES.len()], Failure> {
    let headings = Headings {
        columns: COLUMNS.map(|(field, column)| (field.to_owned(), column.to_owned())).into(),
        ..Headings::default()
    };
    let mut out: [Vec<Vec<u8>>; DEVICES.len()] = Default::default();
    for (set, (name, bytes)) in OCCUPANCY.into_iter().enumerate() {
        for (i, row) in CsvRows::read(name, Cursor::new(bytes), schema, &headings)?.enumerate() {
            let record = schema.record(&row?.reals).map_err(|error| Failure::Other(format!("{name}: {error}")))?;
            let device = if set == 0 { i % (DEVICES.len() - 1) } else { DEVICES.len() - 1 };
            out[device].push(record);
        }
    }
    Ok(out)
}

/// Runs devices on boards, as many as there is firmware for, and the others on threads, until both servers hold all records.
fn report(
    local: &Local,
    firmware: &[Firmware],
    identities: &[Identity],
    records: &[Vec<Vec<u8>>],
    gateway: &str,
) -> Result<Reported, Failure> {
    let started = Instant::now();
    let devices: Vec<_> = DEVICES.iter().zip(identities.iter().zip(records)).collect();
    let (on_boards, on_threads) = devices.split_at(firmware.len());
    let mut boards = Vec::new();
    for (firmware, (name, (identity, records))) in firmware.iter().zip(on_boards) {
        let board = firmware.boot(local, identity, records, gateway)?;
        say!("device {name} is a sensor node on {}, emulated: process {}", firmware.board.name, board.process);
        boards.push(board);
    }
    let names: Vec<_> = on_threads.iter().map(|(name, _)| **name).collect();
    say!("devices {} are threads of this process", names.join(", "));
    thread::scope(|scope| {
        let share = |(_, (identity, records)): &(_, (&Identity, &Vec<Vec<u8>>))| share(identity, records, gateway);
        let threads: Vec<_> = on_threads.iter().map(|device| scope.spawn(move || share(device))).collect();
        threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    boards::wait(local, &boards)?;
    Ok(Reported { records: records.iter().map(Vec::len).sum(), seconds: started.elapsed().as_secs_f64() })
}

/// Runs a device until both servers hold its records.
fn share(identity: &Identity, records: &[Vec<u8>], gateway: &str) -> Result<(), Failure> {
    let mut device = Device::new(identity, 1, gateway, Options::default())?;
    for (time_ms, record) in (0..).step_by(60_000).zip(records) {
        device.send(time_ms, None, &mut record.clone())?;
    }
    let status = device.finish()?;
    if status.refused > 0 {
        return Err(Failure::Other(format!("{} reports were refused: {:?}", status.refused, status.last_reason)));
    }
    Ok(())
}

/// The records themselves, in the manifest's order: what the clear engine compares with.
fn pile(identities: &[Identity], records: [Vec<Vec<u8>>; DEVICES.len()]) -> Pile {
    let mut devices: Vec<_> = identities.iter().map(|identity| identity.device).zip(records).collect();
    devices.sort_by_key(|(device, _)| *device);
    let own =
        devices.into_iter().flat_map(|(device, records)| records.into_iter().map(move |r| (device, r, Vec::new())));
    Pile { records: own.collect(), ..Pile::default() }
}

fn train<W: crate::kernel::HostWord + symbolon_core::word::Word>(
    job: &Job,
    pile: &Pile,
    local: Local,
    reported: &Reported,
    json: Option<&Path>,
) -> Result<(), Failure> {
    let secure = secure_run::<W>(job, None, None, &local.client)?;
    local.stop();
    let inputs =
        Inputs::<W>::stored(job, pile, &Storage::default()).map_err(|error| Failure::Other(error.to_string()))?;
    let clear = clear_stored::<W>(job, None, inputs, usize::from(job.lanes.lanes), &Audit::default())?;
    say!("{}", secure.summary);
    let s = &secure.summary;
    let stored = human_bytes((reported.records * pile.records.first().map_or(0, |r| r.1.len())) as u64);
    say!("What each role saw:");
    say!("  devices  their own readings, each");
    say!(
        "  gateway  {} sealed reports, and for each: which device, when, how long ({} bytes of header)",
        reported.records,
        Header::BYTES
    );
    say!(
        "  {}  {stored} of shares that it made itself from seeds, {} of masked words",
        Role::Server0,
        human_bytes(s.bytes_sent.server_1)
    );
    say!(
        "  {}  {stored} of shares, {} of masked words, {} of corrections",
        Role::Server1,
        human_bytes(s.bytes_sent.server_0),
        human_bytes(s.dealer_bytes)
    );
    say!("  {}   the job, the seeds of both servers' masks; no data, no share, no masked word", Role::Dealer);
    say!("  {}  the same", Role::Auditor);
    say!("  client   the manifest, the accuracy and the loss with their noise, the model\n");
    // Servers that had found one wrong would have sent no output.
    say!("The auditor evaluated all corrections again and found every one right, before any output left.");
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
