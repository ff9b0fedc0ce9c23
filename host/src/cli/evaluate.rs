//! `symbolon evaluate`: the metrics of a model that stays shared, on records that stay with the
//! client.

use super::{exit::Failure, models, roles::waiting, secure::SecureRun, train::load};
use crate::{
    job::{Columns, Csv, Format, Job, OnMissing, TestSet},
    kernel::HostWord,
    model_store::ModelVersion,
    net::{ClientTls, Config, Role},
    session::{client::TrainRequest, models as kept},
    storage::Storage,
    train::{Inputs, Loaded},
};
use std::path::{Path, PathBuf};
use symbolon_core::word::Word;

/// Arguments of `symbolon evaluate`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("records").args(["data", "csv"]).required(true))]
pub(super) struct Args {
    /// Your model, NAME:VERSION
    model: ModelVersion,
    /// Directory with the data files of the model's job
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// CSV file with the columns of the model's job, labels included; every row is a test record
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Label column of --csv, for models whose job reads no CSV file; all other columns are
    /// features
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    label: Option<String>,
    /// Evaluate the first N test records; the job's number with --data, all rows with --csv, if not
    /// given
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    test_records: Option<usize>,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    json: Option<PathBuf>,
    /// The client's configuration
    #[arg(long, value_name = "FILE", default_value = "client.toml")]
    config: PathBuf,
}

/// `symbolon evaluate`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Client])?;
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let [entry, _] = kept::show(&config, &tls, &args.model)?;
    let source = models::job(&entry)?;
    match source.numbers.ring_bits {
        32 => evaluate::<u32>(args, source, &config),
        _ => evaluate::<u64>(args, source, &config),
    }
}

fn evaluate<W: HostWord + Word>(args: &Args, source: Job, config: &Config) -> Result<(), Failure> {
    let storage = Storage::new(config.storage.clone());
    let (job, dir) = match (&args.data, &args.csv) {
        (Some(dir), _) => {
            let records = args.test_records.unwrap_or(source.data.test_records);
            (source.evaluation(args.model.clone(), records)?, &**dir)
        }
        (None, Some(file)) => of_file::<W>(args, source, file, &storage)?,
        (None, None) => return Err(Failure::Input("give --data or --csv".to_owned())),
    };
    let Loaded { inputs, variance, .. } = load::<W>(&job, dir, &storage)?;
    let mut run = SecureRun::new(config)?;
    run.interruptible();
    let ticket = run.order(TrainRequest { job: &job, keep: None }, variance, Some(inputs))?;
    run.announce(&ticket);
    let evaluated = run.follow::<W>(&ticket)?;
    say!("{}", evaluated.summary);
    if let Some(path) = &args.json {
        evaluated.summary.write_json(path).map_err(|error| Failure::write(path, &error))?;
    }
    run.fetched(&ticket);
    Ok(())
}

/// The job that takes the rows of a CSV file as test records, and the file's folder.
fn of_file<'a, W: HostWord + Word>(
    args: &Args,
    mut source: Job,
    file: &'a Path,
    storage: &Storage,
) -> Result<(Job, &'a Path), Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name
        .ok_or_else(|| Failure::Input(format!("--csv {}: the path has no file name; give a CSV file", file.display())))?
        .to_owned();
    source.data.format = match (source.data.format, &args.label) {
        (Format::Csv(csv), None) => Format::Csv(Csv { train: name, test: TestSet::Every(1), ..csv }),
        (_, Some(label)) => Format::Csv(Csv {
            train: name,
            test: TestSet::Every(1),
            delimiter: ',',
            header: true,
            columns: Columns::All,
            labels: vec![label.clone()],
            missing: Vec::new(),
            on_missing: OnMissing::Refuse,
        }),
        (_, None) => {
            let text = "--csv: the model's job reads no CSV file; name the column of its labels with --label";
            return Err(Failure::Input(text.to_owned()));
        }
    };
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let records = match args.test_records {
        Some(records) => records,
        None => {
            let one = source.evaluation(args.model.clone(), 1)?;
            let [_, held] = Inputs::<W>::load(&one, dir, storage, &|_| ())?.held;
            usize::try_from(held.records).unwrap_or(usize::MAX)
        }
    };
    Ok((source.evaluation(args.model.clone(), records)?, dir))
}
