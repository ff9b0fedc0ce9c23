//! `symbolon share`: a data owner's file, shared here and reported as a device reports its sensor's readings.

use super::exit::Failure;
use crate::{
    data::Dialect,
    device::{
        ArrayFiles, ArrayRows, BootCounter, CsvRows, Device, DeviceError, Headings, KeyFile, Options, Row, RowsError,
        Way,
    },
    job::{Csv, OnMissing},
    net::Broker,
    report::Progress,
    schema::SchemaFile,
};
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use symbolon_core::report::node::Status;

/// Arguments of `symbolon share`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("file").required(true).args(["csv", "idx", "npy", "npz"]))]
#[command(group = clap::ArgGroup::new("way").required(true).args(["gateway", "mqtt"]))]
pub(super) struct Args {
    /// Key file of the data owner, as `symbolon provision` wrote it; its boot counter lies beside it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the records hold; the key file was provisioned for it
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Where the gateway hears devices: HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<String>,
    /// The MQTT 5 broker that the gateway listens to, in place of the gateway: HOST[:PORT], port
    /// 1883 if not given
    #[arg(long, value_name = "ADDRESS")]
    mqtt: Option<String>,
    /// Reports go to the topic PREFIX/DEVICE/up, answers come from PREFIX/DEVICE/down
    #[arg(long, value_name = "PREFIX", default_value = "symbolon", requires = "mqtt")]
    mqtt_prefix: String,
    /// Name to log in with at the broker
    #[arg(long, value_name = "NAME", requires = "mqtt", requires = "mqtt_password_file")]
    mqtt_user: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", requires = "mqtt_user")]
    mqtt_password_file: Option<PathBuf>,
    /// A CSV file with a header, plain or gzip
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Column of a field that the file names otherwise
    #[arg(long = "column", value_name = "FIELD=COLUMN", value_parser = pair, requires = "csv")]
    columns: Vec<(String, String)>,
    /// Character between cells, for example ";"; a tab is written "tab"
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter, default_value = ",", requires = "csv")]
    delimiter: char,
    /// A cell that stands for a missing value, several times for several; the empty cell if not
    /// given
    #[arg(long, value_name = "TEXT", requires = "csv")]
    missing: Vec<String>,
    /// Whether a row in which a used cell is missing is refused or skipped
    #[arg(long, value_name = "POLICY", value_parser = on_missing, default_value = "refuse", requires = "csv")]
    on_missing: OnMissing,
    /// Column with the time: seconds since 1970, or a date and time (2026-11-28 14:05, UTC without
    /// an offset); the time of sharing if not given
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    time: Option<String>,
    /// Rows label other devices' reports, which the columns `device`, `boot` and `sequence` name
    #[arg(long, requires = "csv")]
    about: bool,
    /// Rows that both servers hold already, as an earlier run said that ended too soon: 1-500,503-503
    #[arg(long, value_name = "ROWS", value_parser = span, value_delimiter = ',')]
    stored: Vec<RangeInclusive<u64>>,
    /// An IDX file of unsigned bytes with the features, plain or gzip
    #[arg(long, value_name = "FILE")]
    idx: Option<PathBuf>,
    /// The IDX file with their labels
    #[arg(long, value_name = "FILE", requires = "idx")]
    idx_labels: Option<PathBuf>,
    /// An NPY file with the features, plain or gzip
    #[arg(long, value_name = "FILE")]
    npy: Option<PathBuf>,
    /// The NPY file with their labels
    #[arg(long, value_name = "FILE", requires = "npy")]
    npy_labels: Option<PathBuf>,
    /// An NPZ file
    #[arg(long, value_name = "FILE", requires = "npz_features")]
    npz: Option<PathBuf>,
    /// Array of the NPZ file with the features
    #[arg(long, value_name = "NAME", requires = "npz")]
    npz_features: Option<String>,
    /// Array of the NPZ file with their labels
    #[arg(long, value_name = "NAME", requires = "npz")]
    npz_labels: Option<String>,
    /// Give up after so long without progress
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(field, column)| !field.is_empty() && !column.is_empty());
    parts.map(|(a, b)| (a.to_owned(), b.to_owned())).ok_or_else(|| "give FIELD=COLUMN".to_owned())
}

pub(super) fn delimiter(text: &str) -> Result<char, String> {
    let text = if text == "tab" { "\t" } else { text };
    let mut chars = text.chars();
    let one = chars.next().filter(|c| chars.next().is_none() && Csv::is_delimiter(*c));
    one.ok_or_else(|| "give one ASCII character that is no letter, digit, quote, point or sign, or `tab`".to_owned())
}

fn on_missing(text: &str) -> Result<OnMissing, String> {
    match text {
        "refuse" => Ok(OnMissing::Refuse),
        "skip" => Ok(OnMissing::Skip),
        _ => Err("give refuse or skip".to_owned()),
    }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        Self::Input(error.to_string())
    }
}

/// `symbolon share`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let schema = SchemaFile::load(&args.schema)?;
    let identity = KeyFile::read(&args.key)?;
    if identity.schema != schema.hash() {
        let (key, schema) = (args.key.display(), args.schema.display());
        return Err(Failure::Input(format!(
            "{key} was provisioned for another schema than {schema}; provision it again"
        )));
    }
    // Every run is a boot of its own: rows that were shared before are other records now.
    // All of the file is read before anything is sent: a row that cannot be shared stops it here.
    let mut records = records(args, &schema)?;
    if records.is_empty() {
        return Err(Failure::Input("the file has no rows".to_owned()));
    }
    records.retain(|(number, ..)| !args.stored.iter().any(|rows| rows.contains(number)));
    let way = way(args)?;
    let boot = BootCounter::beside(&args.key).raise()?;
    let options = Options { patience: Duration::from_secs(args.patience), ..Options::default() };
    let mut device = Device::new(&identity, boot.number, way, options)?;
    // The device numbers its reports from 1, in this order.
    let rows: Vec<u64> = records.iter().map(|(number, ..)| *number).collect();
    let mut stored = Vec::new();
    let sent = send(&mut device, records, &mut stored);
    let status = sent.inspect_err(|_| tell_stored(&rows, &stored, device.status().waiting))?;
    say!(
        "device {}, boot {}: both servers hold {} records{}",
        identity.device,
        boot.number,
        status.acknowledged,
        if status.refused > 0 {
            format!("; {} were refused for good (`symbolon devices` says why)", status.refused)
        } else {
            String::new()
        }
    );
    if status.refused > 0 { Err(Failure::Refused("not all records were taken".to_owned())) } else { Ok(()) }
}

/// How the gateway is reached.
fn way(args: &Args) -> Result<Way, Failure> {
    let Some(at) = &args.mqtt else { return Ok(Way::Tcp(args.gateway.clone().unwrap_or_default())) };
    let (user, file) = (args.mqtt_user.clone(), args.mqtt_password_file.clone());
    let broker = Broker::new(&format!("mqtt://{at}"), Some(args.mqtt_prefix.clone()), user, file);
    broker.map(Way::Mqtt).map_err(|(_, value)| {
        Failure::Input(format!("--mqtt: `{value}` will not do; give HOST[:PORT], and a prefix without wildcards"))
    })
}

/// Sends all records and waits until both servers hold them. `stored` gets the numbers of the reports that they do.
fn send(device: &mut Device, records: Vec<Numbered>, stored: &mut Vec<u32>) -> Result<Status, DeviceError> {
    let progress = Progress::new("sharing", records.len() as u64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let all = || {
        for (done, (_, row, mut record)) in (1..).zip(records) {
            device.send(row.time_ms.unwrap_or(now_ms), row.about, &mut record)?;
            progress.update(done, 0);
        }
        device.finish()
    };
    let status = all();
    stored.extend(device.take_stored());
    progress.finish();
    status
}

/// What to say next time, so that no record is stored twice.
fn tell_stored(rows: &[u64], stored: &[u32], waiting: usize) {
    let mut done: Vec<u64> = stored.iter().filter_map(|n| rows.get((*n as usize).checked_sub(1)?).copied()).collect();
    done.sort_unstable();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for row in done {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            _ => spans.push((row, row)),
        }
    }
    let spans: Vec<String> = spans.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    if !spans.is_empty() {
        note!("symbolon: both servers hold these rows; go on with --stored {}", spans.join(","));
    }
    if waiting > 0 {
        note!(
            "symbolon: {waiting} more rows were sent and may arrive yet, from the gateway's disk too. Shared again they would be stored twice: \
             see `symbolon devices` once all servers run, before you share the rest"
        );
    }
}

/// Reads rows, counted from 1.
fn span(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err("give rows as 1-500,503-503".to_owned()),
    }
}

/// A row, its number from 1, and its packed record.
type Numbered = (u64, Row, Vec<u8>);

fn records(args: &Args, schema: &SchemaFile) -> Result<Vec<Numbered>, Failure> {
    let Some(csv) = &args.csv else {
        let files = arrays(args)?;
        let (ArrayFiles::Idx { features: file, .. }
        | ArrayFiles::Npy { features: file, .. }
        | ArrayFiles::Npz { file, .. }) = files;
        return packed(file, ArrayRows::open(files, schema)?, schema);
    };
    let missing = if args.missing.is_empty() { vec![String::new()] } else { args.missing.clone() };
    let (delimiter, on_missing) = (args.delimiter, args.on_missing);
    let dialect = Dialect { delimiter, header: true, missing, on_missing };
    let columns = args.columns.iter().cloned().collect();
    let headings = Headings { dialect, columns, time: args.time.clone(), about: args.about };
    let mut rows = CsvRows::open(csv, schema, &headings)?;
    let records = packed(csv, &mut rows, schema)?;
    if rows.skipped() > 0 {
        say!("{} rows with a missing cell are left out", rows.skipped());
    }
    Ok(records)
}

fn arrays(args: &Args) -> Result<ArrayFiles<'_>, Failure> {
    match (&args.idx, &args.npy, &args.npz) {
        (Some(features), ..) => Ok(ArrayFiles::Idx { features, labels: args.idx_labels.as_deref() }),
        (None, Some(features), _) => Ok(ArrayFiles::Npy { features, labels: args.npy_labels.as_deref() }),
        (None, None, Some(file)) => {
            let features = args.npz_features.as_deref().unwrap_or_default();
            Ok(ArrayFiles::Npz { file, features, labels: args.npz_labels.as_deref() })
        }
        (None, None, None) => Err(Failure::Input("give --csv, --idx, --npy or --npz".to_owned())),
    }
}

fn packed(
    file: &Path,
    rows: impl Iterator<Item = Result<Row, RowsError>>,
    schema: &SchemaFile,
) -> Result<Vec<Numbered>, Failure> {
    let mut records = Vec::new();
    for row in rows {
        let row = row?;
        let record = schema.record(&row.reals);
        let record = record.map_err(|e| Failure::Input(format!("{}: row {}: {e}", file.display(), row.number)))?;
        records.push((row.number, row, record));
    }
    Ok(records)
}
