//! `symbolon jobs`: a client's jobs at the two servers.

use super::{
    exit::Failure,
    roles::waiting,
    train::{OutFiles, check_outputs, fetch},
};
use crate::{
    intake::validity::UnixSeconds,
    job_store::{JobId, JobState, job_hex},
    net::{ClientTls, Config, Role},
    report::write_atomic,
    session::{
        client::Ticket,
        jobs::{self, Both, JobFacts, WaitsFor},
    },
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Arguments of `symbolon jobs`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The client's configuration
    #[arg(long, value_name = "FILE", global = true, default_value = "client.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List this client's jobs, with their states at both servers
    List {
        /// Write the list as JSON
        #[arg(long, value_name = "FILE", value_parser = super::out_file())]
        json: Option<PathBuf>,
    },
    /// Print the state of a job at each server
    Show {
        /// The job's number, or its first digits
        job: String,
    },
    /// Watch a job to its end, and resume an interrupted one; its outputs stay at the servers
    Watch {
        /// The job's number, or its first digits
        job: String,
    },
    /// End a job, at both servers
    Cancel {
        /// The job's number, or its first digits
        job: String,
    },
    /// End a job at both servers and delete its outputs, also if it is done and its ticket lost
    Discard {
        /// The job's number, or its first digits
        job: String,
    },
    /// Write the results of a job that is done; the servers then delete its outputs
    Fetch {
        /// The job's number, or its first digits
        job: String,
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
    },
}

/// `symbolon jobs`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Client])?;
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    match &args.command {
        Command::List { json } => list(&config, &tls, json.as_deref()),
        Command::Show { job } => {
            let (id, both, away) = find(&config, &tls, job)?;
            show(&config, &id, &both, away);
            Ok(())
        }
        Command::Watch { job } => super::train::watch(&config, &find_ticket(&config, job)?),
        Command::Cancel { job } => {
            let (id, ..) = find(&config, &tls, job)?;
            jobs::cancel(&config, &tls, &id)?;
            say!("job {} is cancelled", job_hex(&id));
            Ok(())
        }
        Command::Discard { job } => {
            let (id, ..) = find(&config, &tls, job)?;
            jobs::discard(&config, &tls, &id)?;
            let _ = fs::remove_file(Ticket::path(&config.jobs.directory, &id)); // it opens nothing more
            say!("job {} is discarded; the servers have no outputs of it", job_hex(&id));
            Ok(())
        }
        Command::Fetch { job, json, model, curve } => {
            let files = OutFiles { json: json.as_deref(), model: model.as_deref(), curve: curve.as_deref() };
            check_outputs(&files)?;
            let (id, both, _) = find(&config, &tls, job)?;
            if let Some(waits) = both.iter().flatten().find(|facts| !facts.status.state.has_ended()) {
                let text = format!(
                    "job-not-done: the job is {}; wait for it with `symbolon train --resume {}`",
                    waits.status.state,
                    job_hex(&id)
                );
                return Err(Failure::Refused(text));
            }
            fetch(&config, &Ticket::load(&Ticket::path(&config.jobs.directory, &id))?, &files)
        }
    }
}

/// Lists all jobs; says which server does not answer.
fn listed(config: &Config, tls: &ClientTls) -> Result<(BTreeMap<JobId, Both>, Option<Role>), Failure> {
    let (all, away) = jobs::list(config, tls)?;
    let away = away.map(|(server, error)| {
        note!("symbolon: {error}");
        server
    });
    Ok((all, away))
}

/// Finds a job at the servers by its number or first digits.
fn find(config: &Config, tls: &ClientTls, digits: &str) -> Result<(JobId, Both, Option<Role>), Failure> {
    let (all, away) = listed(config, tls)?;
    let (id, both) = by_digits(all, digits)?.ok_or_else(|| {
        let text = format!("job-unknown: this client has no job {digits} at the servers; see `symbolon jobs list`");
        Failure::Refused(text)
    })?;
    Ok((id, both, away))
}

/// Finds the ticket of a job by the job's number or first digits.
pub(super) fn find_ticket(config: &Config, digits: &str) -> Result<Ticket, Failure> {
    let folder = &config.jobs.directory;
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let tickets = files.filter_map(|file| Some((Ticket::id_of(&file.path())?, file.path())));
    if let Some((_, path)) = by_digits(tickets, digits)? {
        return Ok(Ticket::load(&path)?);
    }
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    match find(config, &tls, digits) {
        Err(unknown @ Failure::Refused(_)) => Err(unknown),
        _ => Err(Failure::Input(format!(
            "job-ticket: no ticket of a job {digits} in {}; results can be read only where the job was ordered",
            folder.display()
        ))),
    }
}

/// Returns the only job of `all` whose number begins with `digits`, if there is one.
fn by_digits<T>(all: impl IntoIterator<Item = (JobId, T)>, digits: &str) -> Result<Option<(JobId, T)>, Failure> {
    let lower = digits.to_ascii_lowercase();
    let mut found: Vec<_> = all.into_iter().filter(|(id, _)| job_hex(id).starts_with(&lower)).collect();
    match found.len() {
        0 | 1 if !digits.is_empty() => Ok(found.pop()),
        jobs => Err(Failure::Input(format!("job-ambiguous: {jobs} jobs begin with {digits:?}; give more digits"))),
    }
}

/// Returns the state of a job at a server in a word, with its percentage or its place in the
/// queue.
fn state(facts: &Option<JobFacts>, server: Role, away: Option<Role>) -> String {
    let Some(facts) = facts else {
        return if away == Some(server) { "no answer" } else { "missing" }.to_owned();
    };
    let word = facts.status.state.word();
    match (facts.percent(), facts.place) {
        (Some(percent), _) => format!("{word} {percent} %"),
        (None, Some(place)) => format!("{word} ({place})"),
        (None, None) => word.to_owned(),
    }
}

/// Returns what a job waits for. Server 1 starts jobs, and knows it first.
fn waits_for(both: &Both) -> String {
    both.iter().rev().flatten().find_map(|facts| facts.waits_for.as_ref()).map_or_else(String::new, WaitsFor::to_string)
}

fn list(config: &Config, tls: &ClientTls, json: Option<&Path>) -> Result<(), Failure> {
    let (all, away) = listed(config, tls)?;
    if let Some(path) = json {
        let all: Vec<Value> = all.iter().map(|(id, both)| facts(id, both)).collect();
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        return write_atomic(path, text.as_bytes()).map_err(|error| Failure::write(path, &error));
    }
    if all.is_empty() {
        say!("no jobs");
        return Ok(());
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|(id, both)| (received(both), *id));
    say!("{:32}  {:20}  {:13}  {:13}  {:20}  waits for", "job", "name", "server0", "server1", "received");
    for (id, both) in &all {
        let name = both.iter().flatten().next().map_or("", |facts| &facts.name);
        let at = UnixSeconds(received(both)).utc();
        let [at0, at1] = [(0, Role::Server0), (1, Role::Server1)].map(|(i, role)| state(&both[i], role, away));
        let line = format!("{:32}  {name:20}  {at0:13}  {at1:13}  {at:20}  {}", job_hex(id), waits_for(both));
        say!("{}", line.trim_end());
    }
    Ok(())
}

fn received(both: &Both) -> i64 {
    both.iter().flatten().map(|facts| facts.received_at).min().unwrap_or_default()
}

fn facts(id: &JobId, both: &Both) -> Value {
    let at = |facts: &Option<JobFacts>| {
        facts.as_ref().map(|facts| {
            let reason = match &facts.status.state {
                JobState::Interrupted(reason) | JobState::Failed(reason) | JobState::Refused(reason) => Some(reason),
                _ => None,
            };
            let since = UnixSeconds(facts.status.since).utc();
            let waits_for = facts.waits_for.as_ref().map(WaitsFor::to_string);
            json!({ "state": facts.status.state.word(), "reason": reason, "since": since, "runs": facts.status.runs,
                    "steps": facts.step, "planned_steps": facts.steps, "percent": facts.percent(),
                    "place": facts.place, "waits_for": waits_for })
        })
    };
    let name = both.iter().flatten().next().map(|facts| &facts.name);
    let received = UnixSeconds(received(both)).utc();
    json!({ "job": job_hex(id), "name": name, "received": received, "server_0": at(&both[0]), "server_1": at(&both[1]) })
}

fn show(config: &Config, id: &JobId, both: &Both, away: Option<Role>) {
    let name = both.iter().flatten().next().map_or("", |facts| &facts.name);
    say!("job {} ({name}), received {}", job_hex(id), UnixSeconds(received(both)).utc());
    for (server, facts) in [Role::Server0, Role::Server1].iter().zip(both) {
        match facts {
            None if away == Some(*server) => say!("{server}: no answer"),
            None => say!("{server}: has no such job"),
            Some(facts @ JobFacts { status, step, steps, .. }) => {
                let since = UnixSeconds(status.since).utc();
                let percent = facts.percent().map_or_else(String::new, |percent| format!(" ({percent} %)"));
                say!(
                    "{server}: since {since}, runs {}, steps {step} of {steps}{percent}: {}",
                    status.runs,
                    status.state
                );
                if let Some(place) = facts.place {
                    say!("{server}: its place in the queue is {place}");
                }
                if let Some(waits_for) = &facts.waits_for {
                    say!("{server}: it waits for {waits_for}");
                }
                match &status.kept {
                    Some(Ok(version)) => say!("{server}: its model is kept as version {version}"),
                    Some(Err(reason)) => say!("{server}: its model is not kept: {reason}"),
                    None => {}
                }
            }
        }
    }
    if !Ticket::path(&config.jobs.directory, id).exists() {
        say!("its ticket is not here: its results can be read only where it was ordered");
    }
}
