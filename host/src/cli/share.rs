//! `symbolon share`: a data owner's file, shared here and reported as a device reports its sensor's readings.

use super::exit::Failure;
use crate::{
    device::{BootCounter, CsvRows, Device, Headings, IdxRows, KeyFile, Options, Row, RowsError},
    report::Progress,
    schema::SchemaFile,
};
use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Arguments of `symbolon share`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("file").required(true).args(["csv", "idx"]))]
pub(super) struct Args {
    /// Key file of the data owner, as `symbolon provision` wrote it; its boot counter lies beside it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the records hold; the key file was provisioned for it
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Where the gateway hears devices: HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    gateway: String,
    /// A CSV file with a header, plain or gzip
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Column of a field that the file names otherwise
    #[arg(long = "column", value_name = "FIELD=COLUMN", value_parser = pair, requires = "csv")]
    columns: Vec<(String, String)>,
    /// Column with the time in seconds since 1970; the time of sharing if not given
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    time: Option<String>,
    /// Rows label other devices' reports, which the columns `device`, `boot` and `sequence` name
    #[arg(long, requires = "csv")]
    about: bool,
    /// An IDX file of unsigned bytes with the features, plain or gzip
    #[arg(long, value_name = "FILE")]
    idx: Option<PathBuf>,
    /// The IDX file with their labels
    #[arg(long, value_name = "FILE", requires = "idx")]
    idx_labels: Option<PathBuf>,
    /// Give up after so long without progress
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(field, column)| !field.is_empty() && !column.is_empty());
    parts.map(|(a, b)| (a.to_owned(), b.to_owned())).ok_or_else(|| "give FIELD=COLUMN".to_owned())
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
    // All of the file is read before anything is sent: a row that cannot be shared stops it here.
    let records = records(args, &schema)?;
    let boot = BootCounter::beside(&args.key).raise()?;
    let options = Options { patience: Duration::from_secs(args.patience), ..Options::default() };
    let mut device = Device::new(&identity, boot, &args.gateway, options)?;
    let progress = Progress::new("sharing", records.len() as u64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    for (done, (row, mut record)) in (1..).zip(records) {
        device.send(row.time_ms.unwrap_or(now_ms), row.about, &mut record)?;
        progress.update(done, 0);
    }
    let status = device.finish()?;
    progress.finish();
    say!(
        "device {}, boot {boot}: both servers hold {} records{}",
        identity.device,
        status.acknowledged,
        if status.refused > 0 {
            format!("; {} were refused for good (`symbolon devices` says why)", status.refused)
        } else {
            String::new()
        }
    );
    if status.refused > 0 { Err(Failure::Refused("not all records were taken".to_owned())) } else { Ok(()) }
}

/// Rows and their packed records.
fn records(args: &Args, schema: &SchemaFile) -> Result<Vec<(Row, Vec<u8>)>, Failure> {
    let rows: Box<dyn Iterator<Item = Result<Row, RowsError>>> = match (&args.csv, &args.idx) {
        (Some(csv), _) => {
            let columns = args.columns.iter().cloned().collect();
            let headings = Headings { columns, time: args.time.clone(), about: args.about };
            Box::new(CsvRows::open(csv, schema, &headings)?)
        }
        (None, Some(idx)) => Box::new(IdxRows::open(idx, args.idx_labels.as_deref(), schema)?),
        (None, None) => return Err(Failure::Input("give --csv or --idx".to_owned())),
    };
    let mut records = Vec::new();
    for (number, row) in (1..).zip(rows) {
        let row = row?;
        let record = schema.record(&row.reals).map_err(|error| Failure::Input(format!("row {number}: {error}")))?;
        records.push((row, record));
    }
    Ok(records)
}
