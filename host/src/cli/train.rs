//! `symbolon train`.

use super::{
    Engine,
    exit::{Failure, INTERRUPTED},
    local::{Local, on_interrupt},
    roles::waiting,
    stored,
};
use crate::{
    data::{self, Dataset, Targets},
    engine::{
        clear::{self, Audit},
        plan::{hex, plan},
    },
    intake::manifest,
    job::{Draft, Job},
    kernel::HostWord,
    net::{ClientTls, Config, Policy, Reveal, Role},
    report::{Curve, Point, Progress, Roles, Summary, peak_rss, write_model},
    session::{
        client::{self, EpochResult, News},
        random_bytes, random_seed,
    },
    train::{Event, Inputs, tensors},
};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};
use symbolon_core::{link::Count, word::Word};

/// Arguments of `symbolon train`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").args(["local", "config"]))]
pub(super) struct Args {
    /// Job file (TOML; `host/jobs` has some)
    job: PathBuf,
    /// Directory of the data; the job names files relative to it. Jobs that learn from reports have none
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Start two servers and a dealer on this machine, with fresh certificates
    #[arg(long)]
    local: bool,
    /// Use the servers that this client configuration names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Digest of the manifest to learn from; of all reports that both servers hold now, if not given
    #[arg(long, value_name = "DIGEST", value_parser = digest, requires = "config")]
    manifest: Option<[u8; 32]>,
    /// Which engine trains
    #[arg(long, value_enum, default_value_t = Engine::Secure)]
    engine: Engine,
    /// Lanes that run at once in the clear engine and at the servers of --local; all, if not given
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    threads: Option<usize>,
    /// Seed of the initial weights and the batch order, in place of the job's; masks never depend on it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the trained model as safetensors; the job must reveal it
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write the learning curve as SVG
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    manifest::parse_digest(text).ok_or_else(|| "a digest has 64 hexadecimal digits".to_owned())
}

/// What a run gave, on any engine.
pub(super) struct Trained<W> {
    pub(super) summary: Summary,
    pub(super) epochs: Vec<EpochResult>,
    pub(super) parameters: Option<Vec<W>>,
}

/// `symbolon train`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let draft = Draft::load(&args.job)?;
    if args.engine == Engine::Secure && !args.local && args.config.is_none() {
        return Err(Failure::Input(
            "give --local, or --config with the client configuration of `symbolon init`".to_owned(),
        ));
    }
    check_outputs(args)?;
    if draft.schema().is_some() {
        return run_stored(args, draft);
    }
    let mut job = draft.resolve(None)?;
    adjust(args, &mut job)?;
    let dir =
        args.data.as_deref().ok_or_else(|| Failure::Input("give --data with the directory of the data".to_owned()))?;
    let (train, test) = data::load(&job, dir)?;
    if job.numbers.ring_bits == 32 {
        run_in::<u32>(args, &job, &train, &test)
    } else {
        run_in::<u64>(args, &job, &train, &test)
    }
}

/// What the command line changes in a job.
fn adjust(args: &Args, job: &mut Job) -> Result<(), Failure> {
    if let Some(seed) = args.seed {
        job.training.seed = seed;
    }
    if args.model.is_some() && !job.reveal.model {
        return Err(Failure::Input("--model: the job does not reveal the model; set reveal.model = true".to_owned()));
    }
    Ok(())
}

/// Trains on reports that the servers hold.
fn run_stored(args: &Args, draft: Draft) -> Result<(), Failure> {
    let (Some(file), Engine::Secure) = (&args.config, args.engine) else {
        return Err(Failure::Input(
            "the job learns from reports, which only the servers of a deployment hold: give --config, and no other engine"
                .to_owned(),
        ));
    };
    if args.data.is_some() {
        return Err(Failure::Input("--data: the job learns from reports, not from files; leave it out".to_owned()));
    }
    on_interrupt(|| std::process::exit(INTERRUPTED));
    let config = Config::load(file, &[Role::Client])?;
    let mut job = stored::resolve(draft, &config, args.manifest)?;
    adjust(args, &mut job)?;
    let scorer = Scorer::of(job.data.test_records);
    if job.numbers.ring_bits == 32 {
        let trained = secure_run::<u32>(&job, scorer, None, &config)?;
        tell_outcome(args, &job, scorer, &trained)
    } else {
        let trained = secure_run::<u64>(&job, scorer, None, &config)?;
        tell_outcome(args, &job, scorer, &trained)
    }
}

fn run_in<W: HostWord + Word>(args: &Args, job: &Job, train: &Dataset, test: &Dataset) -> Result<(), Failure> {
    let trained = match args.engine {
        Engine::Clear => {
            on_interrupt(|| std::process::exit(INTERRUPTED));
            clear_run::<W>(job, train, test, args.threads.unwrap_or(usize::from(job.lanes.lanes)), &Audit::default())?
        }
        Engine::Secure => match &args.config {
            Some(file) => {
                on_interrupt(|| std::process::exit(INTERRUPTED));
                let inputs = Inputs::encode(job, train, test)?;
                secure_run::<W>(job, Scorer::new(test), Some(inputs), &Config::load(file, &[Role::Client])?)?
            }
            None => {
                let local = Local::start(&everything(), args.threads)?;
                let inputs = Inputs::encode(job, train, test)?;
                let trained = secure_run::<W>(job, Scorer::new(test), Some(inputs), &local.client)?;
                local.stop();
                trained
            }
        },
    };
    tell_outcome(args, job, Scorer::new(test), &trained)
}

/// What a user who plays all parties permits.
pub(super) fn everything() -> Policy {
    Policy {
        reveals: vec![Reveal::Accuracy, Reveal::Loss, Reveal::Model],
        smallest_batch: 1,
        smallest_records: 1,
        ..Policy::default()
    }
}

/// Says before the training what could not be written after it.
fn check_outputs(args: &Args) -> Result<(), Failure> {
    for (option, path) in [("--model", &args.model), ("--json", &args.json), ("--curve", &args.curve)] {
        let Some(path) = path else { continue };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() || !folder.is_dir() {
            let path = path.display();
            return Err(Failure::Input(format!("{option}: {path} cannot be a file; name one in a folder that exists")));
        }
    }
    Ok(())
}

fn tell_outcome<W: Word>(args: &Args, job: &Job, scorer: Scorer, trained: &Trained<W>) -> Result<(), Failure> {
    say!("{}", trained.summary);
    if let (Some(path), Some(parameters)) = (&args.model, &trained.parameters) {
        let notes = [("job", job.name.clone()), ("plan_hash", trained.summary.plan_hash.clone())];
        write_model(path, &tensors(job, parameters), &notes)?;
    }
    if let Some(path) = &args.curve {
        write_curve(path, job, scorer, &trained.epochs)?;
    }
    match &args.json {
        Some(path) => trained.summary.write_json(path).map_err(|error| Failure::write(path, &error)),
        None => Ok(()),
    }
}

/// Writes the learning curve.
fn write_curve(path: &Path, job: &Job, scorer: Scorer, epochs: &[EpochResult]) -> Result<(), Failure> {
    let point = |e: &EpochResult| Point { epoch: f64::from(e.epoch), accuracy: scorer.accuracy(e.score), loss: e.loss };
    let curve = Curve { title: job.name.clone(), points: epochs.iter().map(point).collect() };
    curve.write(path).map(|_| ()).map_err(|error| Failure::write(path, &error))
}

/// Turns an epoch's score into what people read: a fraction of right predictions, or R².
#[derive(Clone, Copy)]
pub(super) struct Scorer {
    /// Test records, or the squared differences of their targets to the mean.
    whole: f64,
    classes: bool,
}

impl Scorer {
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn new(test: &Dataset) -> Self {
        match &test.targets {
            Targets::Classes(classes) => Self { whole: classes.len().max(1) as f64, classes: true },
            Targets::Values(values) => {
                let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len().max(1) as f64;
                let whole = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>();
                Self { whole: whole.max(f64::MIN_POSITIVE), classes: false }
            }
        }
    }

    /// For so many test records whose targets are not known here: accuracies alone.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn of(test_records: usize) -> Self {
        Self { whole: test_records.max(1) as f64, classes: true }
    }

    fn accuracy(self, score: Option<f64>) -> Option<f64> {
        score.filter(|_| self.classes).map(|correct| correct / self.whole)
    }

    fn r2(self, score: Option<f64>) -> Option<f64> {
        score.filter(|_| !self.classes).map(|squares| 1.0 - squares / self.whole)
    }

    /// For a line of progress.
    fn text(self, score: Option<f64>) -> String {
        let accuracy = self.accuracy(score).map(|a| format!(", accuracy {:.2} %", 100.0 * a));
        let r2 = self.r2(score).map(|r2| format!(", R² {r2:.3}"));
        accuracy.or(r2).unwrap_or_default()
    }
}

/// A summary with what every engine knows.
fn summary(job: &Job, engine: &str, scorer: Scorer, epochs: &[EpochResult], plan_hash: &[u8; 32]) -> Summary {
    let last = epochs.last().copied().unwrap_or_default();
    Summary {
        job: job.name.clone(),
        engine: engine.to_owned(),
        accuracy: scorer.accuracy(last.score),
        r2: scorer.r2(last.score),
        loss: last.loss,
        seconds_train: 0.0,
        seconds_setup: 0.0,
        bytes_sent: Roles::default(),
        rounds: 0,
        dealer_bytes: 0,
        peak_rss_bytes: Roles::default(),
        plan_hash: hex(plan_hash),
        ring_bits: job.numbers.ring_bits,
        samples: job.records_per_epoch() as u64,
        epochs: job.training.epochs,
    }
}

/// Shows how a job goes.
fn tell(job: &Job, scorer: Scorer, progress: &Progress, news: &News) {
    let per_step = job.records_per_epoch() as u64 / job.steps_per_epoch().max(1) as u64;
    match news {
        News::Ready => progress.label("training"),
        News::Alive(server, alive) if alive.waits_for.is_some() => progress.label(format!("{server}: {alive}")),
        News::Alive(_, alive) => progress.label(alive.to_string()),
        News::Step { done, bytes_sent } => progress.update(done * per_step, *bytes_sent),
        News::Epoch(result) => {
            let loss = result.loss.map(|loss| format!(", loss {loss:.4}")).unwrap_or_default();
            progress.note(&format!("epoch {}{}{loss}", result.epoch, scorer.text(result.score)));
        }
    }
}

/// Trains on shares, at the servers that `config` names: of `inputs`, or of what they hold.
pub(super) fn secure_run<W: HostWord + Word>(
    job: &Job,
    scorer: Scorer,
    inputs: Option<Inputs<W>>,
    config: &Config,
) -> Result<Trained<W>, Failure> {
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let progress = Progress::new("sharing the data", job.records_per_epoch() as u64 * u64::from(job.training.epochs));
    let news = &mut |news| tell(job, scorer, &progress, &news);
    let outcome = match inputs {
        Some(inputs) => client::run(config, &tls, job, inputs, news),
        None => client::run_stored(config, &tls, job, news),
    };
    progress.finish();
    let outcome = outcome?;
    let [a, b] = outcome.reports;
    let summary = Summary {
        seconds_train: a.seconds_train.max(b.seconds_train),
        seconds_setup: outcome.seconds_setup,
        bytes_sent: Roles {
            server_0: a.bytes_sent,
            server_1: b.bytes_sent,
            dealer: a.dealer.bytes_sent,
            client: outcome.bytes_sent,
        },
        rounds: a.rounds,
        dealer_bytes: a.dealer.bytes_sent,
        peak_rss_bytes: Roles {
            server_0: a.peak_rss_bytes,
            server_1: b.peak_rss_bytes,
            dealer: a.dealer.peak_rss_bytes,
            client: peak_rss(),
        },
        ..summary(job, "secure", scorer, &outcome.epochs, &outcome.plan_hash)
    };
    Ok(Trained { summary, epochs: outcome.epochs, parameters: outcome.parameters })
}

/// Trains in the clear, with fresh randomness for the rounding, and audits ranges.
pub(super) fn clear_run<W: HostWord + Word>(
    job: &Job,
    train: &Dataset,
    test: &Dataset,
    threads: usize,
    audit: &Audit,
) -> Result<Trained<W>, Failure> {
    clear_stored(job, Scorer::new(test), Inputs::encode(job, train, test)?, threads, audit)
}

/// The same, on encoded inputs.
pub(super) fn clear_stored<W: HostWord + Word>(
    job: &Job,
    scorer: Scorer,
    inputs: Inputs<W>,
    threads: usize,
    audit: &Audit,
) -> Result<Trained<W>, Failure> {
    let started = Instant::now();
    let seeds = [random_seed()?, random_seed()?];
    let progress = Progress::new("training", job.records_per_epoch() as u64 * u64::from(job.training.epochs));
    let (mut epochs, mut setup, mut seconds_train) = (Vec::new(), 0.0, 0.0);
    let mut since = Instant::now();
    let mut observer = |event: Event<W>, count: Count| {
        match event {
            Event::Opened => {
                setup = started.elapsed().as_secs_f64();
                since = Instant::now();
            }
            Event::Step { done } => tell(job, scorer, &progress, &News::Step { done, bytes_sent: count.bytes }),
            Event::Trained { .. } => seconds_train += since.elapsed().as_secs_f64(),
            Event::Epoch { epoch, loss, score } => {
                let result = EpochResult::new(job, epoch, loss, score);
                tell(job, scorer, &progress, &News::Epoch(result));
                epochs.push(result);
                since = Instant::now();
            }
        }
        ControlFlow::Continue(())
    };
    let seeds = [&seeds[0], &seeds[1]];
    let parameters = clear::run(job, inputs, seeds, &random_bytes()?, threads, audit, &mut observer)?;
    progress.finish();
    if let Some(range) = audit.ranges().first().filter(|range| range.headroom_bits < 0.0) {
        eprintln!(
            "symbolon: layer {}, {}: words from {} to {} left the range of an opening; results are wrong from there on. \
             Take fewer fraction bits or the larger ring (`symbolon audit` says which)",
            range.layer, range.name, range.least, range.greatest
        );
    }
    let hash = plan(job).map_err(|error| Failure::Other(error.to_string()))?.hash;
    let summary = Summary {
        seconds_train,
        seconds_setup: setup,
        peak_rss_bytes: Roles { client: peak_rss(), ..Roles::default() },
        ..summary(job, "clear", scorer, &epochs, &hash)
    };
    Ok(Trained { summary, epochs, parameters: job.reveal.model.then_some(parameters) })
}
