//! A job at two servers, as a client orders and watches it.

use super::{
    exit::{Failure, INTERRUPTED},
    local::on_interrupt,
    roles::waiting,
    train::{Trained, summary},
};
use crate::{
    job::Job,
    job_store::{JobId, JobState, job_hex},
    kernel::HostWord,
    model_store::ModelVersion,
    net::{ClientTls, Config, Role},
    report::{Progress, Roles, Summary, human_bytes, peak_rss},
    session::{
        SessionError,
        client::{self, News, Ordered, Ticket, TrainRequest},
        jobs,
    },
    train::Inputs,
};
use std::{
    fs,
    io::{BufRead, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use symbolon_core::word::Word;

/// Shows how a job goes.
pub(super) fn tell(job: &Job, progress: &Progress, news: &News) {
    let per_step = job.records_per_epoch() as u64 / job.steps_per_epoch().max(1) as u64;
    match news {
        News::Sharing { done, planned } => {
            let [done, planned] = [*done, *planned].map(human_bytes);
            progress.label(format!("sharing the data, {done} of {planned}"));
        }
        News::Retry(Role::Client, reason) => progress.note(&format!("seeking the servers: {reason}")),
        News::Retry(server, reason) => progress.note(&format!("{server} will try again: {reason}")),
        News::Ready => progress.label("training"),
        News::Alive(server, alive) if alive.waits_for.is_some() => progress.label(format!("{server}: {alive}")),
        News::Alive(_, alive) => progress.label(alive.to_string()),
        News::Step { done, bytes_sent } => progress.update(done * per_step, *bytes_sent),
        News::Epoch(result) if result.is_empty() => {}
        News::Epoch(result) => progress.note(&result.to_string()),
    }
}

/// A client's run of a job.
pub(super) struct SecureRun {
    config: Config,
    tls: ClientTls,
    ordered: Option<(Ordered, Instant)>,
    /// The job, once the servers have it: an interrupt then asks whether it goes on.
    running: Arc<Mutex<Option<Running>>>,
}

/// A job that the servers have, and its progress on the terminal.
#[derive(Clone)]
struct Running(JobId, Progress);

impl SecureRun {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let tls = ClientTls::new(&config.identity()?).telling(waiting);
        Ok(Self { config: config.clone(), tls, ordered: None, running: Arc::default() })
    }

    /// Has an interrupt end the command, and ask whether the job goes on.
    pub(super) fn interruptible(&self) {
        let (config, running) = (self.config.clone(), Arc::clone(&self.running));
        on_interrupt(move || {
            let job = running.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(Running(id, progress)) = job {
                progress.suspend(|| leave(&config, &id));
            }
            std::process::exit(INTERRUPTED);
        });
    }

    fn runs(&self, running: Option<Running>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    /// Orders a job at both servers; stores its ticket before.
    pub(super) fn order<W: Word>(
        &mut self,
        request: TrainRequest<'_>,
        variance: Option<f64>,
        inputs: Option<Inputs<W>>,
    ) -> Result<Ticket, Failure> {
        let (job, started) = (request.job, Instant::now());
        let lengths = inputs.as_ref().map(|inputs| inputs.lengths.clone()).unwrap_or_default();
        let mut ticket = Ticket::new(request, &lengths)?;
        ticket.variance = variance;
        let path = ticket.store(&self.config.jobs.directory)?;
        let progress = Progress::new("sharing the data", job.records_per_epoch() as u64);
        let ordered = client::order(&self.config, &self.tls, &ticket, inputs, &mut |news| tell(job, &progress, &news));
        progress.finish();
        let ordered = ordered.inspect_err(|_| match client::withdraw(&self.config, &self.tls, &ticket) {
            true => drop(fs::remove_file(&path)), // the job is nowhere
            false => note!("symbolon: a server may have the job: `symbolon jobs cancel {}`", job_hex(&ticket.id)),
        })?;
        self.ordered = Some((ordered, started));
        self.runs(Some(Running(ticket.id, Progress::hidden())));
        Ok(ticket)
    }

    /// Prints the job's number, with which the user comes back if this command ends early.
    pub(super) fn announce(&self, ticket: &Ticket) {
        note!("symbolon: the servers have job {}; it goes on without this command", job_hex(&ticket.id));
    }

    /// Says how to come back to a job that goes on alone.
    pub(super) fn detach(&mut self, ticket: &Ticket) -> Result<(), Failure> {
        self.ordered = None; // before the servers send anything: they see it end in good order
        if ticket.job.training.early_stop.is_some() {
            note!("symbolon: the job stops early as its client decides: after each epoch it waits for `--resume`");
        }
        say!("{}", job_hex(&ticket.id));
        Ok(())
    }

    /// Watches a job to its end.
    pub(super) fn follow<W: HostWord + Word>(&mut self, ticket: &Ticket) -> Result<Trained<W>, Failure> {
        let (job, variance) = (&ticket.job, ticket.variance);
        let samples = job.records_per_epoch() as u64 * u64::from(job.training.epochs);
        let progress = Progress::new("waiting for its turn", samples);
        self.runs(Some(Running(ticket.id, progress.clone())));
        let news = &mut |news| match news {
            News::Epoch(result) => tell(job, &progress, &News::Epoch(result.with_variance(variance))),
            news => tell(job, &progress, &news),
        };
        let outcome = client::follow(&self.config, &self.tls, ticket, self.ordered.take(), news);
        progress.finish();
        let outcome = outcome.inspect_err(|error| self.explain(ticket, error))?;
        self.runs(None);
        let [a, b] = outcome.reports;
        let history = outcome.epochs.into_iter().map(|result| result.with_variance(variance)).collect();
        let (kept, not_kept) = match outcome.kept {
            Some(Ok(version)) => {
                let name = ticket.keep.as_ref().map(|keep| keep.name.clone()).unwrap_or_default();
                (Some(ModelVersion { name, version }.to_string()), None)
            }
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, None),
        };
        let summary = Summary {
            kept,
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
            ..summary(job, "secure", history, &outcome.plan_hash)?
        };
        Ok(Trained { not_kept, ..Trained::new(job, summary, outcome.parameters) })
    }

    /// Prints how to go on with a job whose watching failed. Deletes the ticket if no server can
    /// still give outputs.
    fn explain(&self, ticket: &Ticket, error: &SessionError) {
        if let (SessionError::OutOfRange | SessionError::Impossible(_), Some(keep)) = (error, &ticket.keep) {
            note!("symbolon: the servers may keep a draft of this run under {}; delete it", keep.name);
        }
        // What cannot be is so each time.
        let is_final = matches!(error, SessionError::OutOfRange | SessionError::Impossible(_));
        let is_lost = |facts: &Option<jobs::JobFacts>| {
            let state = facts.as_ref().map(|facts| &facts.status.state);
            state.is_none_or(|state| state.has_ended() && *state != JobState::Done)
        };
        let is_over = match jobs::list(&self.config, &self.tls) {
            Ok((mut jobs, None)) => jobs.remove(&ticket.id).is_none_or(|both| both.iter().all(&is_lost)),
            _ => false,
        };
        match is_final || is_over {
            true => self.forget(ticket),
            false => note!("symbolon: go on with `{}`", resume_command(&self.config, &ticket.id)),
        }
    }

    /// Forgets a job whose results are written.
    pub(super) fn fetched(&self, ticket: &Ticket) {
        if !client::fetched(&self.config, &self.tls, ticket) {
            note!("symbolon: a server did not hear that the results are here: it deletes its part after keep_days");
        }
        self.forget(ticket);
    }

    fn forget(&self, ticket: &Ticket) {
        // One that stays is of no use, and does no harm.
        let _ = fs::remove_file(Ticket::path(&self.config.jobs.directory, &ticket.id));
    }
}

/// Asks whether a job goes on whose client leaves; without a terminal, it does. Another interrupt
/// ends the command at once.
fn leave(config: &Config, id: &JobId) {
    let id_text = job_hex(id);
    let stays = format!("job {id_text} stays at the servers; come back with `{}`", resume_command(config, id));
    let again = stays.clone();
    on_interrupt(move || {
        note!("\nsymbolon: {again}");
        std::process::exit(INTERRUPTED);
    });
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        note!("\nsymbolon: the job stays at the servers. Enter lets it go on, c and Enter cancels it:");
        let mut line = String::new();
        let _ = std::io::stdin().lock().read_line(&mut line); // without an answer it goes on
        if line.trim().eq_ignore_ascii_case("c") {
            let tls = config.identity().map(|identity| ClientTls::new(&identity));
            match tls.map_err(SessionError::from).and_then(|tls| jobs::cancel(config, &tls, id)) {
                Ok(()) => return note!("symbolon: job {id_text} is cancelled"),
                Err(error) => note!("symbolon: {error}"),
            }
        }
    }
    note!("symbolon: {stays}");
}

/// The command that goes on with a job, or watches it.
fn resume_command(config: &Config, id: &JobId) -> String {
    format!("symbolon train --resume {} --config {}", job_hex(id), config.file.display())
}

/// Runs a job at the servers that `config` names, on `inputs`, and forgets it. `variance` is that
/// of the test targets, where they are known.
pub(super) fn secure_run<'a, W: HostWord + Word>(
    request: impl Into<TrainRequest<'a>>,
    variance: Option<f64>,
    inputs: Option<Inputs<W>>,
    config: &Config,
) -> Result<Trained<W>, Failure> {
    let mut run = SecureRun::new(config)?;
    let ticket = run.order(request.into(), variance, inputs)?;
    let trained = run.follow(&ticket)?;
    run.fetched(&ticket);
    Ok(trained)
}
