//! `symbolon train`.

use super::{
    Engine,
    exit::{Failure, INTERRUPTED},
    jobs::find_ticket,
    local::{Local, ServerOptions, on_interrupt},
    secure::{SecureRun, secure_run, tell},
    stored,
};
use crate::{
    engine::{
        clear::{self, Audit, Range},
        memory::fit,
        plan::{hex, plan},
    },
    intake::{manifest, validity::UnixSeconds},
    job::{Draft, Job, check_name},
    kernel::HostWord,
    model_store::ModelVersion,
    net::{Config, Jobs, Policy, Reveal, Role},
    onnx::write_model_file,
    report::{Curve, EpochResult, Model, ModelFacts, Progress, Roles, Summary, coefficients, peak_rss},
    session::{
        client::{Keep, News, Ticket, TrainRequest},
        random_bytes, random_seed,
    },
    storage::Storage,
    train::{Deciding, EarlyStop, Event, Impossible, Inputs, Loaded, Start, epoch_result, sound_parameters, tensors},
};
use std::{
    cell::Cell,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};
use symbolon_core::{link::Count, metric::Kind, word::Word};

/// Arguments of `symbolon train`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").args(["local", "config"]))]
pub(super) struct Args {
    /// Job file (TOML; `host/jobs` has some)
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    job: Option<PathBuf>,
    /// Go on with an interrupted job, or watch a detached one, by its number
    #[arg(long, value_name = "JOB-ID", requires = "config", conflicts_with_all = ["local", "data", "keep", "no_keep", "detach", "seed", "engine", "manifest", "from"])]
    resume: Option<String>,
    /// Return once both servers have the job; `symbolon jobs fetch` brings its results later
    #[arg(long, requires = "config", conflicts_with_all = ["json", "model", "curve", "local"])]
    detach: bool,
    /// Directory of the data; the job names files relative to it. Jobs that learn from reports have none
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Start two servers and a dealer on this machine, with fresh certificates
    #[arg(long)]
    local: bool,
    /// Start an auditor too, which checks the dealer's corrections before any output leaves
    #[arg(long, requires = "local")]
    auditor: bool,
    /// Use the servers that this client configuration names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Digest of the manifest to learn from; of all reports that both servers hold now, if not given
    #[arg(long, value_name = "DIGEST", value_parser = digest, requires = "config")]
    manifest: Option<[u8; 32]>,
    /// Name under which the servers keep the model's shares; the job's name, if not given
    #[arg(long, value_name = "NAME", requires = "config", conflicts_with = "local", value_parser = model_name)]
    keep: Option<String>,
    /// Keep no model on the servers
    #[arg(long, requires = "config", conflicts_with = "keep")]
    no_keep: bool,
    /// Begin with the parameters of your kept model NAME:VERSION, in place of fresh ones
    #[arg(long, value_name = "MODEL", requires = "config")]
    from: Option<ModelVersion>,
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
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    json: Option<PathBuf>,
    /// Write the trained model as safetensors, or as ONNX if FILE ends in .onnx; the job must
    /// reveal it
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    model: Option<PathBuf>,
    /// Write the learning curve as SVG
    #[arg(long, value_name = "FILE", value_parser = super::out_file())]
    curve: Option<PathBuf>,
}

pub(super) fn model_name(name: &str) -> Result<String, String> {
    let rule = "give 1 to 64 letters, digits, `.`, `_` or `-`; the servers count the versions";
    check_name(name).map(|()| name.to_owned()).map_err(|_| rule.to_owned())
}

pub(super) fn digest(text: &str) -> Result<[u8; 32], String> {
    manifest::parse_digest(text).ok_or_else(|| "a digest has 64 hexadecimal digits".to_owned())
}

/// What a run gave, on any engine.
pub(super) struct Trained<W> {
    pub(super) summary: Summary,
    pub(super) parameters: Option<Vec<W>>,
    /// Why the servers do not keep the model, if they should.
    pub(super) not_kept: Option<String>,
}

/// Files for the results of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutFiles<'a> {
    pub(super) json: Option<&'a Path>,
    pub(super) model: Option<&'a Path>,
    pub(super) curve: Option<&'a Path>,
}

impl<W: Word> Trained<W> {
    pub(super) fn new(job: &Job, summary: Summary, parameters: Option<Vec<W>>) -> Self {
        let coefficients = parameters.as_ref().map(|model| coefficients(job, model, summary.loss));
        let coefficients = coefficients.unwrap_or_default();
        Self { summary: Summary { coefficients, ..summary }, parameters, not_kept: None }
    }
}

/// `symbolon train`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    check_outputs(&args.files())?;
    let Some(job) = &args.job else { return resume(args) };
    let draft = Draft::load(job)?;
    if args.engine == Engine::Secure && !args.local && args.config.is_none() {
        return Err(Failure::Input(
            "give --local, or --config with the client configuration of `symbolon init`".to_owned(),
        ));
    }
    if args.config.is_some() && args.engine != Engine::Secure {
        let text = "--config: the clear engine uses no servers, and none keeps its model; leave it out";
        return Err(Failure::Input(text.to_owned()));
    }
    if draft.schema().is_some() {
        return run_stored(args, draft);
    }
    let mut job = draft.resolve(None)?;
    adjust(args, &mut job)?;
    let dir =
        args.data.as_deref().ok_or_else(|| Failure::Input("give --data with the directory of the data".to_owned()))?;
    if job.numbers.ring_bits == 32 { run_in::<u32>(args, &job, dir) } else { run_in::<u64>(args, &job, dir) }
}

/// Reads the records of `job` from `dir`; prints how many are left out.
pub(super) fn load<W: Word>(job: &Job, dir: &Path, storage: &Storage) -> Result<Loaded<W>, Failure> {
    let records = job.data.train_records + job.data.test_records;
    let progress = Progress::new("reading the data", records as u64);
    let loaded = Inputs::load(job, dir, storage, &|done| progress.update(done, 0));
    progress.finish();
    let loaded = loaded?;
    let used = [job.data.train_records, job.data.test_records];
    for (key, used, held) in [("train_records", used[0], loaded.held[0]), ("test_records", used[1], loaded.held[1])] {
        let left_out = held.records.saturating_sub(used as u64);
        if left_out > 0 {
            say!("data.{key}: the first {used} records are used; {left_out} more are left out");
        }
        if held.skipped > 0 {
            say!("{} rows with a missing cell are left out", held.skipped);
        }
    }
    Ok(loaded)
}

/// What the command line changes in a job.
fn adjust(args: &Args, job: &mut Job) -> Result<(), Failure> {
    if let Some(seed) = args.seed {
        job.training.seed = seed;
    }
    if let Some(from) = &args.from {
        job.from = Some(from.clone());
    }
    if job.from.is_some() && args.config.is_none() {
        let text = "from: only the servers of a deployment keep models; give --config";
        return Err(Failure::Input(text.to_owned()));
    }
    if args.model.is_some() && !job.reveal.model {
        return Err(Failure::Input("--model: the job does not reveal the model; set reveal.model = true".to_owned()));
    }
    if job.training.memory_limit_mib.is_some() {
        fit(job).map_err(|error| Failure::Input(error.to_string()))?;
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
    let config = Config::load(file, &[Role::Client])?;
    let mut job = stored::resolve(draft, &config, args.manifest)?;
    adjust(args, &mut job)?;
    let keep = keep(args, &job);
    let request = TrainRequest { job: &job, keep: keep.as_ref() };
    if job.numbers.ring_bits == 32 {
        at_servers::<u32>(args, request, None, None, &config)
    } else {
        at_servers::<u64>(args, request, None, None, &config)
    }
}

/// Runs a job at the servers of a deployment.
fn at_servers<W: HostWord + Word>(
    args: &Args,
    request: TrainRequest<'_>,
    variance: Option<f64>,
    inputs: Option<Inputs<W>>,
    config: &Config,
) -> Result<(), Failure> {
    let mut run = SecureRun::new(config)?;
    run.interruptible();
    let ticket = run.order(request, variance, inputs)?;
    if args.detach {
        return run.detach(&ticket);
    }
    run.announce(&ticket);
    let trained = run.follow::<W>(&ticket)?;
    tell_outcome(&args.files(), request.job, &trained, args.keep.is_some())?;
    run.fetched(&ticket);
    Ok(())
}

/// Goes on with a job, or watches it, and writes its results.
fn resume(args: &Args) -> Result<(), Failure> {
    let (Some(file), Some(id)) = (&args.config, &args.resume) else {
        return Err(Failure::Input("give --config with the client configuration of `symbolon init`".to_owned()));
    };
    let config = Config::load(file, &[Role::Client])?;
    let ticket = find_ticket(&config, id)?;
    fetch(&config, &ticket, &args.files())
}

/// Watches a job to its end and prints its results, which stay at the servers.
pub(super) fn watch(config: &Config, ticket: &Ticket) -> Result<(), Failure> {
    fn of<W: HostWord + Word>(config: &Config, ticket: &Ticket) -> Result<(), Failure> {
        let mut run = SecureRun::new(config)?;
        run.interruptible();
        let trained = run.follow::<W>(ticket)?;
        say!("{}", trained.summary);
        Ok(())
    }
    if ticket.job.numbers.ring_bits == 32 { of::<u32>(config, ticket) } else { of::<u64>(config, ticket) }
}

/// Watches a job to its end and writes its results.
pub(super) fn fetch(config: &Config, ticket: &Ticket, files: &OutFiles<'_>) -> Result<(), Failure> {
    fn of<W: HostWord + Word>(config: &Config, ticket: &Ticket, files: &OutFiles<'_>) -> Result<(), Failure> {
        let mut run = SecureRun::new(config)?;
        run.interruptible();
        let trained = run.follow::<W>(ticket)?;
        let required = ticket.keep.as_ref().is_some_and(|keep| keep.required);
        tell_outcome(files, &ticket.job, &trained, required)?;
        if ticket.job.reveal.model && files.model.is_none() {
            note!("symbolon: the model stays at the servers until it is fetched with --model, or expires");
            return Ok(());
        }
        run.fetched(ticket);
        Ok(())
    }
    if files.model.is_some() && !ticket.job.reveal.model {
        return Err(Failure::Input("--model: the job does not reveal the model".to_owned()));
    }
    if ticket.job.numbers.ring_bits == 32 { of::<u32>(config, ticket, files) } else { of::<u64>(config, ticket, files) }
}

fn run_in<W: HostWord + Word>(args: &Args, job: &Job, dir: &Path) -> Result<(), Failure> {
    let trained = match (args.engine, &args.config) {
        (Engine::Clear, _) => {
            on_interrupt(|| std::process::exit(INTERRUPTED));
            let Loaded { inputs, variance, .. } = load(job, dir, &Storage::default())?;
            let threads = args.threads.unwrap_or(usize::from(job.lanes.lanes));
            clear_stored::<W>(job, variance, inputs, threads, &Audit::default())?
        }
        (Engine::Secure, Some(file)) => {
            let config = Config::load(file, &[Role::Client])?;
            let Loaded { inputs, variance, .. } = load(job, dir, &Storage::new(config.storage.clone()))?;
            let keep = keep(args, job);
            let request = TrainRequest { job, keep: keep.as_ref() };
            return at_servers::<W>(args, request, variance, Some(inputs), &config);
        }
        (Engine::Secure, None) => {
            let Loaded { inputs, variance, .. } = load(job, dir, &Storage::default())?;
            let options = ServerOptions { policy: &everything(), threads: args.threads, memory_mib: None };
            let local = Local::start(options, args.auditor)?;
            let trained = secure_run::<W>(job, variance, Some(inputs), &local.client)?;
            local.stop();
            trained
        }
    };
    tell_outcome(&args.files(), job, &trained, false)
}

impl Args {
    fn files(&self) -> OutFiles<'_> {
        OutFiles { json: self.json.as_deref(), model: self.model.as_deref(), curve: self.curve.as_deref() }
    }
}

/// The wish of the command line that the servers keep the model.
fn keep(args: &Args, job: &Job) -> Option<Keep> {
    let keep = Keep { name: args.keep.as_ref().unwrap_or(&job.name).clone(), required: args.keep.is_some() };
    (!args.no_keep).then_some(keep)
}

/// What a user who plays all parties permits.
pub(super) fn everything() -> Policy {
    Policy {
        jobs: Some(Jobs::Any),
        reveals: Kind::ALL
            .iter()
            .map(|kind| Reveal::Metric(*kind))
            .chain([Reveal::Loss, Reveal::Model, Reveal::StandardErrors])
            .collect(),
        smallest_batch: 1,
        smallest_records: 1,
        ..Policy::default()
    }
}

/// Says before the training what could not be written after it.
pub(super) fn check_outputs(files: &OutFiles<'_>) -> Result<(), Failure> {
    for (option, path) in [("--model", files.model), ("--json", files.json), ("--curve", files.curve)] {
        let Some(path) = path else { continue };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() || !folder.is_dir() {
            let path = path.display();
            return Err(Failure::Input(format!("{option}: {path} cannot be a file; name one in a folder that exists")));
        }
    }
    Ok(())
}

fn tell_outcome<W: Word>(
    files: &OutFiles<'_>,
    job: &Job,
    trained: &Trained<W>,
    must_keep: bool,
) -> Result<(), Failure> {
    say!("{}", trained.summary);
    if let (Some(path), Some(parameters)) = (files.model, &trained.parameters) {
        write_model_file(path, None, job, &Model::new(tensors(job, parameters), &trained.summary))?;
    }
    if let Some(path) = files.curve {
        let curve = Curve { title: job.name.clone(), points: trained.summary.history.clone() };
        curve.write(path).map_err(|error| Failure::write(path, &error))?;
    }
    if let Some(path) = files.json {
        trained.summary.write_json(path).map_err(|error| Failure::write(path, &error))?;
    }
    let Some(reason) = &trained.not_kept else { return Ok(()) };
    let text = format!("the job is done, but no model is kept: {reason}");
    if must_keep {
        return Err(Failure::Other(text));
    }
    note!("symbolon: {text}");
    Ok(())
}

/// A summary with what every engine knows.
pub(super) fn summary(
    job: &Job,
    engine: &str,
    history: Vec<EpochResult>,
    plan_hash: &[u8; 32],
) -> Result<Summary, Failure> {
    let last = history.last().cloned().unwrap_or_default();
    Ok(Summary {
        job: job.name.clone(),
        engine: engine.to_owned(),
        accuracy: last.accuracy,
        scored: last.scored,
        mean_squared_error: last.mean_squared_error,
        r2: last.r2,
        loss: last.loss,
        metrics: last.metrics,
        seconds_train: 0.0,
        seconds_setup: 0.0,
        bytes_sent: Roles::default(),
        rounds: 0,
        dealer_bytes: 0,
        peak_rss_bytes: Roles::default(),
        plan_hash: hex(plan_hash),
        ring_bits: job.numbers.ring_bits,
        samples: job.records_per_epoch() as u64,
        test_samples: job.data.test_records as u64,
        epochs: match job.training.early_stop {
            Some(_) => history.last().map_or(0, |last| last.epoch),
            None => job.training.epochs,
        },
        planned_epochs: job.training.epochs,
        history,
        seed: job.training.seed,
        date: UnixSeconds::now().utc(),
        job_hash: hex(&job.hash()?),
        epsilon: job.reveal.noise.filter(|_| engine == "secure").map(|noise| f64::from(noise.epsilon_milli) / 1e3),
        model: ModelFacts::of(job),
        coefficients: Vec::new(),
        kept: None,
    })
}

/// Says that words left the range of an opening. What looks a word up in a table warns and goes on.
fn left_range(range: &Range) -> Option<Failure> {
    let said = format!(
        "layer {}, {}: words from {} to {} left their range, that of {}; results are wrong from there on. \
         Take fewer fraction bits or ring_bits = 64 (`symbolon audit` says which)",
        range.layer,
        range.name,
        range.least,
        range.greatest,
        if range.table { "a table" } else { "an opening" }
    );
    match range.headroom_bits < 0.0 {
        true if !range.table => Some(Failure::Range(said)),
        true => {
            note!("symbolon: {said}");
            None
        }
        false => None,
    }
}

/// Trains in the clear, with fresh randomness for the rounding, and audits ranges.
pub(super) fn clear_stored<W: HostWord + Word>(
    job: &Job,
    variance: Option<f64>,
    inputs: Inputs<W>,
    threads: usize,
    audit: &Audit,
) -> Result<Trained<W>, Failure> {
    let started = Instant::now();
    let seeds = [random_seed()?, random_seed()?];
    let progress = Progress::new("training", job.records_per_epoch() as u64 * u64::from(job.training.epochs));
    let (mut history, mut setup, mut seconds_train) = (Vec::new(), 0.0, 0.0);
    let mut impossible: Result<(), Impossible> = Ok(());
    let mut since = Instant::now();
    let (mut early_stop, goes_on) = (EarlyStop::new(job), Cell::new(true));
    let lengths = inputs.lengths.clone();
    let event = |event: Event<W>, count: Count| {
        match event {
            Event::Opened => {
                setup = started.elapsed().as_secs_f64();
                since = Instant::now();
            }
            Event::Step { done } => tell(job, &progress, &News::Step { done, bytes_sent: count.bytes }),
            Event::Trained { .. } => seconds_train += since.elapsed().as_secs_f64(),
            Event::Epoch { epoch, loss, score } => {
                match epoch_result(job, &lengths, epoch, loss, score) {
                    Ok(result) => {
                        let result = result.exact().with_variance(variance);
                        goes_on.set(early_stop.goes_on(&result));
                        tell(job, &progress, &News::Epoch(result.clone()));
                        history.push(result);
                    }
                    Err(error) => impossible = impossible.and(Err(error)),
                }
                since = Instant::now();
            }
            // The audit knows which words, and of all of them.
            Event::Alarm { .. } => {}
        }
        ControlFlow::Continue(())
    };
    let mut observer = Deciding(event, |_| ControlFlow::Continue(goes_on.get()));
    let seeds = [&seeds[0], &seeds[1]];
    let storage = inputs.storage.clone();
    let parameters = clear::run(job, (inputs, Start::Fresh), seeds, &random_bytes()?, threads, audit, &mut observer)
        .map_err(|halt| storage.take_fault().map_or_else(|| Failure::from(halt), Failure::from))?;
    progress.finish();
    let impossible = impossible.and_then(|()| sound_parameters(job, &parameters)).err().map(Failure::from);
    if let Some(wrong) = audit.ranges().iter().find_map(left_range).or(impossible) {
        return Err(wrong);
    }
    let hash = plan(job).map_err(|error| Failure::Input(error.to_string()))?.hash;
    let summary = Summary {
        seconds_train,
        seconds_setup: setup,
        peak_rss_bytes: Roles { client: peak_rss(), ..Roles::default() },
        ..summary(job, "clear", history, &hash)?
    };
    Ok(Trained::new(job, summary, job.reveal.model.then_some(parameters)))
}
