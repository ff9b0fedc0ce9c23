//! A client's requests about its jobs.

use super::{
    SessionError,
    message::{Ask, JobsRequest, No},
    one_line,
};
use crate::{
    job_store::{JobId, JobState, JobStatus},
    net::{ClientTls, Config, Role, Timeouts, connect},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Most bytes of an encoded answer.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The time for a server's answer: it may first end a run.
const ANSWER: Duration = Duration::from_secs(30);
/// The time to connect to a server for a list.
const SOON: Duration = Duration::from_secs(3);

/// A server that does not answer, and the error.
pub type Away = (Role, SessionError);

/// A job, as each server has it.
pub type Both = [Option<JobFacts>; 2];

/// A job's facts, as a server lists them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobFacts {
    /// The job's number.
    pub id: JobId,
    /// The job's name.
    pub name: String,
    /// When all its data had arrived, in seconds since 1970.
    pub received_at: i64,
    /// Its state.
    pub status: JobStatus,
    /// Steps that its run has done.
    pub step: u64,
    /// Steps of all its epochs.
    pub steps: u64,
    /// Its place among the jobs that wait for their turn, of all clients, from 1.
    pub place: Option<u32>,
    /// The reason why it waits now.
    pub waits_for: Option<WaitsFor>,
}

impl JobFacts {
    /// Returns how many of a hundred parts of the steps a running job has done.
    #[must_use]
    pub fn percent(&self) -> Option<u64> {
        let runs = self.status.state == JobState::Running && self.steps > 0;
        runs.then(|| self.step.min(self.steps).saturating_mul(100) / self.steps)
    }
}

/// The thing or role that a job waits for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum WaitsFor {
    /// A place: as many jobs run as the policy permits.
    Place,
    /// Memory, which the jobs that run have.
    Memory,
    /// Another role; the client, where the client decides whether training goes on.
    Role(Role),
    /// The next attempt, after a run failed for this reason.
    Lost(String),
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place => f.write_str("a place"),
            Self::Memory => f.write_str("memory"),
            Self::Role(Role::Client) => f.write_str("its client's decision"),
            Self::Role(role) => role.fmt(f),
            Self::Lost(reason) => f.write_str(&one_line(reason)),
        }
    }
}

/// Returns the client's jobs, each as server 0 and as server 1 has it, and the error of a server
/// that does not answer.
///
/// # Errors
///
/// If neither answers.
pub fn list(config: &Config, tls: &ClientTls) -> Result<(BTreeMap<JobId, Both>, Option<Away>), SessionError> {
    let (mut both, mut away): (BTreeMap<JobId, Both>, Option<Away>) = (BTreeMap::new(), None);
    for (i, server) in [Role::Server0, Role::Server1].into_iter().enumerate() {
        match request::<Vec<JobFacts>>(&hasty(config), tls, server, JobsRequest::List) {
            Ok(listed) => listed.into_iter().for_each(|facts| {
                let id = facts.id;
                both.entry(id).or_default()[i] = Some(facts);
            }),
            Err(error) if away.is_some() => return Err(error),
            Err(error) => away = Some((server, error)),
        }
    }
    Ok((both, away))
}

/// Ends a job at both servers.
///
/// # Errors
///
/// A server's refusal, or its loss; the other server has then been asked all the same.
pub fn cancel(config: &Config, tls: &ClientTls, job: &JobId) -> Result<(), SessionError> {
    let [a, b] = [Role::Server0, Role::Server1].map(|server| cancel_at(config, tls, server, job));
    a.and(b)
}

/// Ends a job at both servers and deletes its outputs, also those of a job that is done.
///
/// # Errors
///
/// A server's loss, or its refusal unless only the other server has something to discard. The
/// other server has then been asked all the same.
pub fn discard(config: &Config, tls: &ClientTls, job: &JobId) -> Result<(), SessionError> {
    let ask = |server| request::<()>(&hasty(config), tls, server, JobsRequest::Discard(*job));
    match [Role::Server0, Role::Server1].map(ask) {
        [Ok(()), Err(error)] | [Err(error), Ok(())] if has_nothing(&error) => Ok(()),
        [a, b] => a.and(b),
    }
}

/// Returns whether a server that refused to discard a job has no outputs of it.
fn has_nothing(error: &SessionError) -> bool {
    let codes = ["job-unknown:", "job-ended:"];
    matches!(error, SessionError::Refused { reason, .. } if codes.iter().any(|code| reason.starts_with(code)))
}

/// Ends a job at one server.
pub(super) fn cancel_at(config: &Config, tls: &ClientTls, server: Role, job: &JobId) -> Result<(), SessionError> {
    request(&hasty(config), tls, server, JobsRequest::Cancel(*job))
}

/// The configuration with a short time to connect.
fn hasty(config: &Config) -> Config {
    let timeouts = Timeouts { connect: config.timeouts.connect.min(SOON), ..config.timeouts };
    Config { timeouts, ..config.clone() }
}

/// Sends a request and returns the answer.
pub(super) fn request<T: DeserializeOwned>(
    config: &Config,
    tls: &ClientTls,
    server: Role,
    request: JobsRequest,
) -> Result<T, SessionError> {
    let mut connection = connect(config.peer(server)?, tls, server, &config.timeouts)?;
    connection.set_idle_timeout(ANSWER);
    connection.send(&Ask::Jobs(request))?;
    let answer: Result<T, No> = connection.recv(MAX_ANSWER_BYTES)?;
    let _ = connection.close(); // the answer is here
    answer.map_err(|no| no.from(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(state: JobState, step: u64, steps: u64) -> JobFacts {
        let status = JobStatus { arrival: 1, state, since: 0, runs: 1, finished: None, kept: None };
        let (name, place, waits_for) = (String::new(), None, None);
        JobFacts { id: [1; 16], name, received_at: 0, status, step, steps, place, waits_for }
    }

    #[test]
    fn a_running_job_has_a_percentage() {
        for (step, steps, percent) in [(0, 9, 0), (5, 9, 55), (9, 9, 100), (u64::MAX, 9, 100)] {
            assert_eq!(facts(JobState::Running, step, steps).percent(), Some(percent));
        }
        assert_eq!(facts(JobState::Running, 0, 0).percent(), None, "a job that does not decode");
        assert_eq!(facts(JobState::Queued, 5, 9).percent(), None);
    }

    #[test]
    fn reasons_to_wait_read_as_nouns() {
        let said = [
            (WaitsFor::Place, "a place"),
            (WaitsFor::Memory, "memory"),
            (WaitsFor::Role(Role::Dealer), "dealer"),
            (WaitsFor::Role(Role::Client), "its client's decision"),
            (WaitsFor::Lost("server1: lost\n\u{1b}[2J".to_owned()), "server1: lost \\u{1b}[2J"),
        ];
        for (waits_for, text) in said {
            assert_eq!(waits_for.to_string(), text);
        }
    }
}
