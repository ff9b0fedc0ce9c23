//! `symbolon bench reports`: what two servers and a gateway on this machine take in, how soon a job begins on what they hold, and how soon a server is back after a crash.
//!
//! All roles are processes of their own, as in a deployment; devices are threads of this process. Everything is as durable as it always is: a report counts when both
//! servers have said that they hold it on their disks. Figures of this machine say most when nothing else runs on it.

mod fill;
mod fleet;

use super::write_json;
use crate::{
    cli::{
        exit::Failure,
        local::{Fleet, Local},
        stored,
        train::everything,
    },
    intake::Intake,
    job::{Draft, Job},
    net::{ClientTls, Role},
    report::human_bytes,
    schema::SchemaFile,
    session::client::{News, run_stored},
};
use serde::Serialize;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Records of 64 bytes: those of the occupancy job, and readings that it does not use.
const SCHEMA: &str = concat!(
    include_str!("../../../jobs/occupancy.schema.toml"),
    "\n[[field]]\nname = \"spectrum\"\nwidth = 8\ncount = 55\n"
);
const JOB: &str = include_str!("../../../jobs/occupancy.toml");
/// Appends whose time is measured.
const APPENDS: usize = 64;

/// Arguments of `symbolon bench reports`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the servers keep their stores, in a new folder; a folder in memory shows what the disk costs
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Devices, each with 64 reports on their way
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=1024))]
    devices: u16,
    /// Seconds of load
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Records that both servers hold before; then also measures a manifest, a job's start, and a server's return from a crash
    #[arg(long, default_value_t = 0, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(..=100_000_000))]
    stored: u32,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::cli::out_file())]
    json: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Figures {
    record_bytes: usize,
    devices: u16,
    append_ms: f64,
    load: Load,
    stored: Option<Stored>,
}

/// Under load.
#[derive(Debug, Default, Serialize)]
struct Load {
    seconds: f64,
    reports: u64,
    reports_per_second: f64,
    median_ms: f64,
    p99_ms: f64,
    sent_bytes_per_report: f64,
    /// Of each process, by role; the devices' is last.
    cpu_seconds: Vec<(String, f64)>,
}

/// With many records stored.
#[derive(Debug, Serialize)]
struct Stored {
    records: u64,
    fill_records_per_second: [f64; 2],
    store_bytes_per_record: u64,
    manifest_seconds: f64,
    job_ready_seconds: f64,
    recovery_seconds: f64,
}

/// `symbolon bench reports`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let schema = SchemaFile::parse(SCHEMA).map_err(|error| Failure::Other(error.to_string()))?;
    let names: Vec<String> = (1..args.devices).map(|i| format!("device-{i}")).chain(["test".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet { schema: &schema, schema_text: SCHEMA, names: &names };
    let mut figures = Figures {
        record_bytes: schema.layout().record_bytes(),
        devices: args.devices,
        append_ms: append_ms(&args.dir)?,
        ..Figures::default()
    };
    say!("{} takes {:.2} ms to append 4 KiB durably", args.dir.display(), figures.append_ms);

    let mut filled = [0.0; 2];
    let (local, identities) = Local::start_in(&args.dir, &everything(), &fleet, |files, identities| {
        if args.stored > 0 {
            filled = fill::fill(files, identities, &schema, args.stored)?;
            say!(
                "filled with {} records: {:.0} and {:.0} a second at the two servers",
                args.stored,
                filled[0],
                filled[1]
            );
        }
        Ok(())
    })?;

    let gateway = local.gateway.clone().unwrap_or_default();
    let before = cpu_seconds(&local);
    let patience = || thread::sleep(Duration::from_secs(args.seconds));
    let heard = fleet::load(&identities, 2, &gateway, figures.record_bytes, patience)?;
    figures.load = heard.figures();
    let spent = cpu_seconds(&local).into_iter().zip(before).map(|((role, after), (_, before))| (role, after - before));
    figures.load.cpu_seconds = spent.collect();
    tell_load(&figures);

    if args.stored > 0 {
        let store_bytes = fs::metadata(&local.intakes()[0].store).map_or(0, |meta| meta.len());
        let (records, manifest_seconds, job_ready_seconds) = begin(&local, &schema)?;
        let recovery_seconds = recover(&local, || {
            fleet::load(&identities, 3, &gateway, figures.record_bytes, || {
                thread::sleep(Duration::from_secs(2));
                local.processes.iter().filter(|(role, _)| *role == Role::Server0).for_each(|(_, id)| local.kill(*id));
            })
        })?;
        let store_bytes_per_record = store_bytes / records.max(1);
        let stored = Stored {
            records,
            fill_records_per_second: filled,
            store_bytes_per_record,
            manifest_seconds,
            job_ready_seconds,
            recovery_seconds,
        };
        tell_stored(&stored);
        figures.stored = Some(stored);
    }
    local.stop();
    write_json(&figures, args.json.as_deref())
}

/// What an append takes that is on the disk when it returns: the least that any commit takes.
fn append_ms(dir: &Path) -> Result<f64, Failure> {
    let path = dir.join(format!("symbolon-append-{}", std::process::id()));
    let failed = |error: std::io::Error| Failure::write(&path, &error);
    let mut file = fs::File::create_new(&path).map_err(failed)?;
    let mut took = Vec::with_capacity(APPENDS);
    let mut append = || {
        let started = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
        Ok(())
    };
    let appended = (0..APPENDS).try_for_each(|_| append());
    let _ = fs::remove_file(&path); // the error that matters is the one above
    appended.map_err(failed)?;
    took.sort_by(f64::total_cmp);
    Ok(took[APPENDS / 2])
}

/// Makes a manifest of all records and starts a job on it; says how many records, and the seconds of both.
fn begin(local: &Local, schema: &SchemaFile) -> Result<(u64, f64, f64), Failure> {
    let started = Instant::now();
    let draft = Draft::parse(JOB, Path::new("occupancy.toml"))?;
    let job = stored::resolve_with(draft, schema, None, &local.client, None)?;
    let manifest_seconds = started.elapsed().as_secs_f64();
    let records = job.data.train_records + job.data.test_records;
    let ready = match job.numbers.ring_bits {
        32 => ready::<u32>(local, job),
        _ => ready::<u64>(local, job),
    }?;
    Ok((records as u64, manifest_seconds, ready))
}

/// Seconds until a job is ready for its first step. It goes on until the servers end.
fn ready<W: symbolon_core::word::Word>(local: &Local, job: Job) -> Result<f64, Failure> {
    let (config, tls) = (local.client.clone(), ClientTls::new(&local.client.identity()?));
    let (to, told) = mpsc::channel();
    let started = Instant::now();
    thread::spawn(move || {
        let news = &mut |news| {
            if matches!(news, News::Ready) {
                let _ = to.send(Ok(started.elapsed().as_secs_f64()));
            }
        };
        if let Err(error) = run_stored::<W>(&config, &tls, &job, news) {
            let _ = to.send(Err(error)); // of no interest once the job was ready
        }
    });
    let gone = || Failure::Other("the job ended before it was ready".to_owned());
    Ok(told.recv().map_err(|_| gone())??)
}

/// Seconds until a store that was killed at work can be used again; `crash` kills server 0's.
fn recover(local: &Local, crash: impl FnOnce() -> Result<fleet::Heard, Failure>) -> Result<f64, Failure> {
    crash()?;
    let started = Instant::now();
    Intake::open(&local.intakes()[0], Role::Server0).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(started.elapsed().as_secs_f64())
}

fn tell_load(figures: &Figures) {
    let Figures { devices, record_bytes, load, .. } = figures;
    say!(
        "{devices} devices, records of {record_bytes} bytes, {:.1} s: {:.0} reports/s on both servers' disks; {:.1} ms from record to both acknowledgements (median), \
         {:.1} ms (p99); {:.0} bytes a report on the line",
        load.seconds,
        load.reports_per_second,
        load.median_ms,
        load.p99_ms,
        load.sent_bytes_per_report
    );
    for (role, seconds) in &load.cpu_seconds {
        say!("  {role:<10}{seconds:>6.1} s of processor time, {:.0} % of a core", 100.0 * seconds / load.seconds);
    }
}

fn tell_stored(stored: &Stored) {
    say!(
        "{} records stored, {} each: manifest and job in {:.2} s, the job ready for its first step {:.2} s later; a server killed under load is back in {:.2} s",
        stored.records,
        human_bytes(stored.store_bytes_per_record),
        stored.manifest_seconds,
        stored.job_ready_seconds,
        stored.recovery_seconds
    );
}

/// Processor time of each role, and of the devices, which is this process. Empty where the system does not tell.
fn cpu_seconds(local: &Local) -> Vec<(String, f64)> {
    let processes = local.processes.iter().map(|(role, id)| (role.to_string(), *id));
    let all = processes.chain([("devices".to_owned(), std::process::id())]);
    all.filter_map(|(role, id)| Some((role, seconds_of(id)?))).collect()
}

/// From `/proc`, in ticks of 10 ms: fields 14 and 15, counted behind the name, which may hold spaces.
fn seconds_of(process: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<_> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |i: usize| fields.get(i)?.parse::<u32>().ok().map(f64::from);
    Some((ticks(11)? + ticks(12)?) / 100.0)
}
