//! `symbolon demo`: from devices to a trained network and back to a device that asks it, the whole
//! system on one machine, on real recordings.

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
    device::{CsvRows, Device, DeviceError, Headings, Options},
    engine::clear::Audit,
    job::{Draft, Job},
    model_store::{Askers, ModelVersion, Terms},
    net::{ClientTls, Config, Reveal, Role},
    report::human_bytes,
    schema::SchemaFile,
    session::{
        client::{Keep, TrainRequest},
        models,
    },
    storage::Storage,
    train::{AnswerKind, Inputs},
};
use std::{
    io::Cursor,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
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

/// A record of the second recording without its label, which its device asks about.
struct Question {
    record: Vec<u8>,
    /// The label.
    occupied: bool,
}

/// Questions that the device asks.
const QUESTIONS: usize = 5;
/// The time for which a model that was just published is asked again.
const BEGINS: Duration = Duration::from_secs(60);

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
    let mut policy = everything();
    policy.reveals.push(Reveal::Predictions);
    let (local, identities) =
        Local::start_with(&policy, &Fleet { schema: &schema, schema_text: SCHEMA, names: &DEVICES })?;
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
    let asking = Asking { device: &identities[DEVICES.len() - 1], gateway: &gateway, questions: questions(&schema)? };
    if job.numbers.ring_bits == 32 {
        train::<u32>(&job, &pile, (local, &asking), &reported, args.json.as_deref())
    } else {
        train::<u64>(&job, &pile, (local, &asking), &reported, args.json.as_deref())
    }
}

/// The device that asks, and its questions.
struct Asking<'a> {
    device: &'a Identity,
    gateway: &'a str,
    questions: Vec<Question>,
}

impl Asking<'_> {
    /// Publishes `model` for devices and has the device ask; returns what to say about its answers.
    fn ask(&self, config: &Config, model: &str) -> Result<String, Failure> {
        let model: ModelVersion = model.parse().map_err(Failure::Other)?;
        let tls = ClientTls::new(&config.identity()?);
        let terms = Terms { answer: AnswerKind::Class, per_day: None, askers: Askers::Devices };
        models::publish(config, &tls, &model, Some(&terms))?;
        // Its reports were those of boot 1.
        let mut device = Device::new(self.device, 2, self.gateway, Options::default())?;
        let (mut right, started) = (0, Instant::now());
        let mut first = None;
        for Question { record, occupied } in &self.questions {
            let class = loop {
                match device.ask(0, &mut record.clone()) {
                    Ok(prediction) => break prediction.class(),
                    // The model's session begins.
                    Err(DeviceError::Unanswered(_)) if first.is_none() && started.elapsed() < BEGINS => {
                        thread::sleep(Duration::from_millis(100));
                    }
                    Err(error) => return Err(error.into()),
                }
            };
            first.get_or_insert_with(Instant::now);
            right += usize::from(class == Some(u32::from(*occupied)));
        }
        let others = self.questions.len().max(2) as f64 - 1.0;
        let each = first.map_or(0.0, |first: Instant| first.elapsed().as_secs_f64()) / others;
        Ok(format!(
            "Device {} asked {model} about {} of its records, sealed, through the gateway: {right} answers are right, {:.0} ms \
             each.\nIt alone knows them: each server evaluated a share and sealed its part of the answer to the device.",
            DEVICES[DEVICES.len() - 1],
            self.questions.len(),
            each * 1e3
        ))
    }
}

/// Records of the second recording, evenly spread over it.
fn questions(schema: &SchemaFile) -> Result<Vec<Question>, Failure> {
    let (name, bytes) = OCCUPANCY[1];
    let rows = CsvRows::read(name, Cursor::new(bytes), schema, &headings())?.collect::<Result<Vec<_>, _>>()?;
    let spacing = rows.len().div_ceil(QUESTIONS).max(1);
    let questions = rows.into_iter().step_by(spacing).map(|mut row| {
        let label = row.reals.last_mut();
        let occupied = label.map(|label| std::mem::replace(label, 0.0)) == Some(1.0);
        let record = schema.record(&row.reals).map_err(|error| Failure::Other(format!("{name}: {error}")))?;
        Ok(Question { record, occupied })
    });
    questions.collect()
}

/// The recordings' columns.
fn headings() -> Headings {
    Headings {
        columns: COLUMNS.map(|(field, column)| (field.to_owned(), column.to_owned())).into(),
        ..Headings::default()
    }
}

/// Each device's records, packed.
pub(super) fn recordings(schema: &SchemaFile) -> Result<[Vec<Vec<u8>>; DEVICES.len()], Failure> {
    let headings = headings();
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
    (local, asking): (Local, &Asking<'_>),
    reported: &Reported,
    json: Option<&Path>,
) -> Result<(), Failure> {
    let keep = Keep { name: job.name.clone(), required: true };
    let secure = secure_run::<W>(TrainRequest { job, keep: Some(&keep) }, None, None, &local.client)?;
    let answered = asking.ask(&local.client, secure.summary.kept.as_deref().unwrap_or_default())?;
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
    say!("{answered}");
    match json {
        Some(path) => s.write_json(path).map_err(|error| Failure::write(path, &error)),
        None => Ok(()),
    }
}
