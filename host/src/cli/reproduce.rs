//! `symbolon reproduce`.

use super::{
    exit::{Failure, INTERRUPTED},
    local::{Local, ServerOptions, on_interrupt},
    secure::secure_run,
    train::{Trained, clear_stored, everything},
};
use crate::{
    engine::clear::Audit,
    intake::validity::UnixSeconds,
    job::Job,
    kernel::{HostWord, available},
    report::{Summary, write_atomic},
    reproduce::{Measured, Reproduction, Row, Run, Study},
    storage::{Storage, StorageConfig},
    train::{Inputs, Loaded},
};
use std::{
    env,
    path::{Path, PathBuf},
    thread,
};
use symbolon_core::word::Word;
use tempfile::TempDir;

/// Arguments of `symbolon reproduce`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of a published table
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// List the tables, with the minutes that they take
    #[arg(long, conflicts_with_all = ["name", "quick", "json", "html", "markdown", "data", "seeds", "clear"])]
    list: bool,
    /// Fewer records and one seed: shows that all works, and compares with nothing
    #[arg(long)]
    quick: bool,
    /// Train in the clear engine alone
    #[arg(long)]
    clear: bool,
    /// Number of seeds per row; the table's, if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// Directory of the data, in place of $SYMBOLON_DATA
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    json: Option<PathBuf>,
    /// Write one page with the table and charts
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    html: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    markdown: Option<PathBuf>,
}

/// `symbolon reproduce`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Some(name) = &args.name else { return list() };
    let study = Study::named(name).map_err(|error| Failure::Input(error.to_string()))?;
    let generated = generated(&study, args.quick)?;
    let data = generated.as_ref().map(|folder| folder.path().to_owned());
    let data = data.or_else(|| args.data.clone()).or_else(|| env::var_os("SYMBOLON_DATA").map(PathBuf::from));
    let data = data.ok_or_else(|| {
        Failure::Input(format!("give --data, or $SYMBOLON_DATA, with a directory that has {}", study.data))
    })?;
    on_interrupt(|| std::process::exit(INTERRUPTED));
    let seeds = args.seeds.unwrap_or(if args.quick { 1 } else { study.seeds });
    let mut done = Reproduction::new(&study, args.quick, machine());
    for run in study.runs.iter().filter(|run| run.in_quick || !args.quick) {
        note!("{name}: {}", run.name);
        let row = Rows { study: &study, run, data: &data, args, seeds }.measure()?;
        done.rows.push(row);
    }
    done.date = UnixSeconds::now().utc();
    say!("{done}");
    if let Some(path) = &args.json {
        done.write_json(path).map_err(|error| Failure::write(path, &error))?;
    }
    if let Some(path) = &args.html {
        done.write_html(path).map_err(|error| Failure::write(path, &error))?;
    }
    if let Some(path) = &args.markdown {
        write_atomic(path, done.markdown().as_bytes()).map_err(|error| Failure::write(path, &error))?;
    }
    Ok(())
}

/// Makes the records of a study that makes its own, as many as its longest run takes.
fn generated(study: &Study, quick: bool) -> Result<Option<TempDir>, Failure> {
    let Some(generated) = &study.generated else { return Ok(None) };
    let mut most = [0, 0];
    for run in study.runs.iter().filter(|run| run.in_quick || !quick) {
        let job = study.job(run, 1, quick).map_err(|error| Failure::Other(error.to_string()))?;
        most = [most[0].max(job.data.train_records), most[1].max(job.data.test_records)];
    }
    note!("{}: making {} records", study.name, most[0]);
    let parent = StorageConfig::default().directory;
    let folder = tempfile::tempdir_in(&parent).map_err(|error| Failure::write(&parent, &error))?;
    generated.write(folder.path(), most).map_err(|error| Failure::write(folder.path(), &error))?;
    Ok(Some(folder))
}

fn list() -> Result<(), Failure> {
    for name in Study::names() {
        let study = Study::named(name).map_err(|error| Failure::Other(error.to_string()))?;
        say!("{name:<24} {:>4} min  {}", study.minutes, study.title);
    }
    Ok(())
}

/// Cores and instruction set of this machine.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernels = available::<u64>().next().map_or("portable", |set| set.name);
    format!("{cores} cores, {kernels} kernels")
}

/// A row to measure.
struct Rows<'a> {
    study: &'a Study,
    run: &'a Run,
    data: &'a Path,
    args: &'a Args,
    seeds: u64,
}

impl Rows<'_> {
    fn measure(&self) -> Result<Row, Failure> {
        let (mut secure, mut clear, mut steps) = (Vec::new(), Vec::new(), (0, 1.0));
        let mut exploded = [false; 2];
        for seed in 1..=self.seeds {
            let job = self.study.job(self.run, seed, self.args.quick);
            let job = job.map_err(|error| Failure::Other(error.to_string()))?;
            let records = job.records_per_epoch().max(1) as f64;
            steps = (job.steps(), self.study.scaled_to.map_or(1.0, |to| to as f64 / records));
            // Alternating, so that both meet the same load of a shared machine.
            if self.run.on_shares && !self.args.clear {
                self.train(&job, true, &mut secure, &mut exploded[0])?;
            }
            self.train(&job, false, &mut clear, &mut exploded[1])?;
        }
        let score = self.study.score_of(self.run);
        Ok(Row {
            name: self.run.name.clone(),
            score: score.to_owned(),
            published: self.run.published.clone(),
            on_shares: Measured::of(&secure, score, steps),
            clear: Measured::of(&clear, score, steps),
            float: self.run.float.clone(),
            exploded,
        })
    }

    /// Trains, and adds the summary to `done`; if the row may explode, notes that it did.
    fn train(&self, job: &Job, on_shares: bool, done: &mut Vec<Summary>, exploded: &mut bool) -> Result<(), Failure> {
        let trained = match job.numbers.ring_bits {
            32 => self.train_words::<u32>(job, on_shares),
            _ => self.train_words::<u64>(job, on_shares),
        };
        match trained {
            Ok(summary) => done.push(summary),
            Err(Failure::Range(_)) if self.run.explodes => *exploded = true,
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn train_words<W: HostWord + Word>(&self, job: &Job, on_shares: bool) -> Result<Summary, Failure> {
        let loaded = Inputs::<W>::load(job, self.data, &Storage::default(), &|_| {});
        let Loaded { inputs, variance, .. } = loaded.map_err(|error| match error.into() {
            Failure::Input(text) => Failure::Input(format!("{text}\nThis table needs {}", self.study.data)),
            failure => failure,
        })?;
        let Trained { summary, .. } = if on_shares {
            let local = Local::start(ServerOptions { policy: &everything(), threads: None, memory_mib: None }, false)?;
            let trained = secure_run::<W>(job, variance, Some(inputs), &local.client)?;
            local.stop();
            trained
        } else {
            clear_stored::<W>(job, variance, inputs, usize::from(job.lanes.lanes), &Audit::default())?
        };
        Ok(summary)
    }
}
