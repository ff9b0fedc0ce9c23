//! The client's part: data owner before a job, analyst after it.
//!
//! A client orders a job at both servers and sends each its share of the data. From then on the job
//! does not need it, except to decide about early stopping. It watches the job on the same
//! connections, or later on others with the job's [`Ticket`]: the servers tell it all outputs from
//! the first on, sealed to the ticket's key.

mod predict;
mod ticket;
mod upload;
mod watch;

use super::{
    STACK_BYTES, SessionError, jobs,
    message::{Answer, Ask, Data, JobsRequest, MAX_MESSAGE_BYTES, Order, Update},
};
pub use super::{
    heartbeat::{Alive, Phase},
    message::{Dealt, Report},
};
pub use crate::model_store::Keep;
use crate::{
    job::Job,
    net::{ClientTls, Config, Connection, Role, connect},
    report::EpochResult,
    train::Inputs,
};
pub use predict::Predictions;
use std::{
    thread,
    time::{Duration, Instant},
};
use symbolon_core::{
    wipe::wipe_stack,
    word::{Word, word_bytes},
};
pub use ticket::{Ticket, TicketError};

/// Progress of a job.
#[derive(Clone, Debug)]
pub enum News {
    /// The client has sent part of server 1's shares.
    Sharing {
        /// Bytes sent.
        done: u64,
        /// Bytes of all shares.
        planned: u64,
    },
    /// All roles agree on the plan; data and weights are open.
    Ready,
    /// So many steps are done.
    Step {
        /// Steps.
        done: u64,
        /// Payload that server 0 has sent to its peer.
        bytes_sent: u64,
    },
    /// An epoch is evaluated.
    Epoch(EpochResult),
    /// A server lives.
    Alive(Role, Alive),
    /// A server, or its peer, is lost, for this reason; it is sought.
    Retry(Role, String),
}

/// The results of a finished session.
#[derive(Debug)]
pub struct Outcome<W> {
    /// Of the plan that all roles agreed on.
    pub plan_hash: [u8; 32],
    /// Each epoch's results.
    pub epochs: Vec<EpochResult>,
    /// The opened parameters, if the job reveals them.
    pub parameters: Option<Vec<W>>,
    /// The servers' figures.
    pub reports: [Report; 2],
    /// Seconds from the order until all was ready for the first step.
    pub seconds_setup: f64,
    /// Payload that this client sent.
    pub bytes_sent: u64,
    /// The version that both servers keep, or why they keep none; `None` if the client asked for
    /// none.
    pub kept: Option<Result<u32, String>>,
}

/// A job to run, and the wish that the servers keep its model.
#[derive(Clone, Copy, Debug)]
pub struct TrainRequest<'a> {
    /// The job.
    pub job: &'a Job,
    /// Name for the kept model; `None` keeps no model.
    pub keep: Option<&'a Keep>,
}

impl<'a> From<&'a Job> for TrainRequest<'a> {
    /// Keeps no model.
    fn from(job: &'a Job) -> Self {
        Self { job, keep: None }
    }
}

/// Runs a job on `inputs` at the servers that `config` names. The data is split here; each server
/// is sent its share and no more. The job's ticket is forgotten in the end.
///
/// # Errors
///
/// The error of any role, or of this client; an output that cannot be
/// ([`SessionError::Impossible`]).
///
/// # Panics
///
/// If the job learns from reports: that is [`run_stored`]'s.
pub fn run<'a, W: Word>(
    config: &Config,
    tls: &ClientTls,
    request: impl Into<TrainRequest<'a>>,
    inputs: Inputs<W>,
    news: &mut dyn FnMut(News),
) -> Result<Outcome<W>, SessionError> {
    let ticket = Ticket::new(request.into(), &inputs.lengths)?;
    order_and_follow(config, tls, &ticket, Some(inputs), news)
}

/// Runs a job on reports that the servers hold: nothing is sent to them but the job.
///
/// # Errors
///
/// The error of any role, or of this client.
///
/// # Panics
///
/// If the job learns from files: that is [`run`]'s.
pub fn run_stored<'a, W: Word>(
    config: &Config,
    tls: &ClientTls,
    request: impl Into<TrainRequest<'a>>,
    news: &mut dyn FnMut(News),
) -> Result<Outcome<W>, SessionError> {
    let ticket = Ticket::new(request.into(), &crate::data::Lengths::default())?;
    order_and_follow(config, tls, &ticket, None::<Inputs<W>>, news)
}

fn order_and_follow<W: Word>(
    config: &Config,
    tls: &ClientTls,
    ticket: &Ticket,
    inputs: Option<Inputs<W>>,
    news: &mut dyn FnMut(News),
) -> Result<Outcome<W>, SessionError> {
    let started = Instant::now();
    let ordered = order(config, tls, ticket, inputs, news).inspect_err(|_| {
        let _ = withdraw(config, tls, ticket); // nobody has the ticket
    })?;
    let outcome = follow(config, tls, ticket, Some((ordered, started)), news)?;
    let _ = fetched(config, tls, ticket); // they expire otherwise
    Ok(outcome)
}

/// A job that both servers have taken, and the connections on which they tell of it.
#[derive(Debug)]
pub struct Ordered([Connection; 2]);

/// Orders a job at both servers and sends them its data. From the return on, the job runs without
/// this client.
///
/// # Errors
///
/// The refusal or the loss of a server; [`withdraw`] then ends what may have been taken.
///
/// # Panics
///
/// If a job on files comes without `inputs`, or one on reports with them.
pub fn order<W: Word>(
    config: &Config,
    tls: &ClientTls,
    ticket: &Ticket,
    inputs: Option<Inputs<W>>,
    news: &mut dyn FnMut(News),
) -> Result<Ordered, SessionError> {
    let job = &ticket.job;
    assert!(job.data.is_stored() == inputs.is_none(), "a job on files needs inputs, another takes none");
    let encoded = job.encode().map_err(|_| SessionError::Encoding)?;
    let mut servers = reach_both(config, tls)?;
    for server in &mut servers {
        let (keep, output_key) = (ticket.keep.clone(), ticket.key.public());
        server.send(&Ask::Train(Order { id: ticket.id, job: encoded.clone(), keep, output_key }))?;
    }
    accepted(&mut servers)?;
    if let Some(mut inputs) = inputs {
        let [server0, server1] = &mut servers;
        upload::share(job, &ticket.id, &mut inputs, [server0, server1], news)?;
        wipe_stack::<STACK_BYTES>(); // the seed of server 0's shares
    } else {
        // Each server knows now that the other one has accepted too.
        for server in &mut servers {
            server.send(&Data::Confirm)?;
        }
    }
    for server in &mut servers {
        loop {
            match server.recv(MAX_MESSAGE_BYTES)? {
                Update::Taken => break,
                Update::Alive(alive) => news(News::Alive(server.role(), alive)),
                Update::No(no) => return Err(no.from(server.role())),
                _ => return Err(SessionError::Unexpected { from: server.role(), wanted: "that it has the job" }),
            }
        }
    }
    Ok(Ordered(servers))
}

/// Ends a job whose order has failed, at the servers that may have taken it. Returns whether
/// neither has it now: otherwise its ticket is still needed.
#[must_use]
pub fn withdraw(config: &Config, tls: &ClientTls, ticket: &Ticket) -> bool {
    let is_gone = |server| match jobs::cancel_at(config, tls, server, &ticket.id) {
        Ok(()) => true,
        Err(SessionError::Refused { reason, .. }) => reason.starts_with("job-unknown"),
        Err(_) => false,
    };
    [Role::Server0, Role::Server1].map(is_gone) == [true; 2]
}

/// Watches a job to its end and returns its results: on the connections of its order, or on others.
/// A lost server is sought for the time of `jobs.retry_s`.
///
/// # Errors
///
/// The error of any role, or of this client; an output that cannot be
/// ([`SessionError::Impossible`]).
pub fn follow<W: Word>(
    config: &Config,
    tls: &ClientTls,
    ticket: &Ticket,
    ordered: Option<(Ordered, Instant)>,
    news: &mut dyn FnMut(News),
) -> Result<Outcome<W>, SessionError> {
    let started = ordered.as_ref().map_or_else(Instant::now, |(_, started)| *started);
    let (mut servers, mut lost_since, mut told) = (ordered.map(|(Ordered(servers), _)| servers), None, 0);
    loop {
        let mut is_heard = false;
        let mut once = |heard: News| {
            is_heard = true;
            match &heard {
                News::Epoch(result) if result.epoch <= told => return,
                News::Epoch(result) => told = result.epoch,
                _ => {}
            }
            news(heard);
        };
        let connected = servers.take().map_or_else(|| watch_both(config, tls, ticket), Ok);
        // A server that cannot read its jobs now, as on a full disk, still has them.
        let cannot_read = matches!(connected, Err(SessionError::Failed { .. }));
        let outcome =
            connected.and_then(|servers| watch::listen(ticket, servers, (config.timeouts.close, started), &mut once));
        let error = match outcome {
            Err(error) if cannot_read || error.loses_server() => error,
            outcome => return outcome,
        };
        if is_heard {
            lost_since = None;
        }
        let since: &mut Instant = lost_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= config.jobs.retry {
            return Err(error);
        }
        news(News::Retry(Role::Client, error.to_string()));
        thread::sleep(SEEK);
    }
}

/// The time between two attempts to reach a lost server.
const SEEK: Duration = Duration::from_millis(250);

/// Tells both servers that this client has the outputs of a job, so that they delete them. Returns
/// whether both have heard it: another deletes them when they expire.
pub fn fetched(config: &Config, tls: &ClientTls, ticket: &Ticket) -> bool {
    let tell = |server| jobs::request::<()>(config, tls, server, JobsRequest::Fetched(ticket.id)).is_ok();
    [Role::Server0, Role::Server1].map(tell) == [true; 2]
}

fn watch_both(config: &Config, tls: &ClientTls, ticket: &Ticket) -> Result<[Connection; 2], SessionError> {
    let mut servers = reach_both(config, tls)?;
    for server in &mut servers {
        server.send(&Ask::Jobs(JobsRequest::Watch(ticket.id)))?;
    }
    accepted(&mut servers)?;
    Ok(servers)
}

fn reach_both(config: &Config, tls: &ClientTls) -> Result<[Connection; 2], SessionError> {
    let reach = |role| Ok::<_, SessionError>(connect(config.peer(role)?, tls, role, &config.timeouts)?);
    Ok([reach(Role::Server0)?, reach(Role::Server1)?])
}

/// Receives both servers' answers.
fn accepted(servers: &mut [Connection; 2]) -> Result<(), SessionError> {
    for server in servers {
        let answer: Answer = server.recv(MAX_MESSAGE_BYTES)?;
        answer.map_err(|no| no.from(server.role()))?;
    }
    Ok(())
}

impl SessionError {
    /// Whether a connection to a server was lost, or none was made: the job may go on without this
    /// client.
    fn loses_server(&self) -> bool {
        match self {
            Self::Net(error) => error.is_passing(),
            Self::Both(errors) => errors.iter().any(Self::loses_server),
            _ => false,
        }
    }
}

/// Bytes that each server holds of a job's data.
pub fn data_bytes<W: Word>(job: &Job) -> usize {
    Inputs::<W>::words(job) * word_bytes::<W>()
}
