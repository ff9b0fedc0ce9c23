//! The client's part of a session: data owner before the job, analyst after it.

use super::{
    STACK_BYTES, SessionError, SessionId,
    message::{Answer, Ask, Data, Decision, MAX_MESSAGE_BYTES, Order, Update},
    one_line, prg, random_bytes, random_seed,
    server::{MAX_LENGTHS, piece_words, table_stream},
};
pub use super::{
    heartbeat::{Alive, Phase},
    message::{Dealt, Keep, Report},
};
use crate::{
    data::Lengths,
    job::{Job, form::Kind},
    net::{AbortHandle, ClientTls, Config, Connection, Role, connect},
    report::EpochResult,
    secret::Secret,
    train::{EarlyStop, Impossible, Inputs, Scores, Sum, epoch_result, sound_parameters},
};
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::{
    share::{join, split},
    wipe::wipe_stack,
    word::{Word, word_bytes},
};
use zeroize::Zeroizing;

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
/// is sent its share and no more.
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
    mut inputs: Inputs<W>,
    news: &mut dyn FnMut(News),
) -> Result<Outcome<W>, SessionError> {
    let request = request.into();
    let job = request.job;
    assert!(!job.data.is_stored(), "a job that learns from reports takes no inputs from a client");
    let started = Instant::now();
    let (session, [mut server0, mut server1]) = order(config, tls, request)?;
    share(job, &session, &mut inputs, [&mut server0, &mut server1], news)?;
    wipe_stack::<STACK_BYTES>(); // the seed of server 0's shares
    let lengths = std::mem::take(&mut inputs.lengths);
    drop(inputs);
    listen(job, &lengths, [server0, server1], (config.timeouts.close, started), news)
}

/// Splits the data and sends each server its share: server 0 a seed, server 1 the words.
#[inline(never)] // the caller wipes the stack below its own frame
fn share<W: Word>(
    job: &Job,
    session: &SessionId,
    inputs: &mut Inputs<W>,
    [server0, server1]: [&mut Connection; 2],
    news: &mut dyn FnMut(News),
) -> Result<(), SessionError> {
    if Lengths::bytes(&job.data) > 0 {
        send_lengths(&inputs.lengths, [&mut *server0, &mut *server1])?;
    }
    let seed = random_seed()?;
    server1.send(&Data::Words)?;
    let stream = prg(job.numbers.prg, &seed, session);
    let (storage, mut done) = (inputs.storage.clone(), 0);
    let planned = inputs.tables().iter().map(|table| table.len() * word_bytes::<W>()).sum::<usize>() as u64;
    for (i, table) in (0u32..).zip(inputs.tables()) {
        let (len, mut piece) = (table.len(), Secret::zeros(piece_words::<W>().min(table.len())));
        for at in (0..len).step_by(piece_words::<W>()) {
            let words = &mut piece[..piece_words::<W>().min(len - at)];
            table.read(at, words).map_err(|_| storage.failure())?;
            split(&*stream, table_stream(i), at, words);
            server1.send_bytes(W::bytes(words))?;
            server0.send(&Data::Wait)?;
            done += W::bytes(words).len() as u64;
            news(News::Sharing { done, planned });
        }
    }
    server0.send(&Data::Seed(Zeroizing::new(*seed.expose())))?;
    Ok(())
}

/// Sends both servers the public lengths of the sequences, piece by piece in turn: each has a
/// deadline.
fn send_lengths(lengths: &Lengths, servers: [&mut Connection; 2]) -> Result<(), SessionError> {
    let (lists, mut servers) = (lengths.lists(), servers);
    for server in &mut servers {
        server.send(&Data::Lengths { counts: lists.map(|list| list.len() as u64) })?;
    }
    for part in lists.into_iter().flat_map(|list| list.chunks(MAX_LENGTHS)) {
        let bytes: Vec<u8> = part.iter().flat_map(|length| length.to_le_bytes()).collect();
        for server in &mut servers {
            server.send_bytes(&bytes)?;
        }
    }
    Ok(())
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
    let request = request.into();
    let job = request.job;
    assert!(job.data.is_stored(), "a job that learns from files needs inputs");
    let started = Instant::now();
    let (_, servers) = order(config, tls, request)?;
    listen(job, &Lengths::default(), servers, (config.timeouts.close, started), news)
}

/// Orders a job at both servers, which accept it.
fn order(
    config: &Config,
    tls: &ClientTls,
    TrainRequest { job, keep }: TrainRequest<'_>,
) -> Result<(SessionId, [Connection; 2]), SessionError> {
    let session: SessionId = random_bytes()?;
    let encoded = job.encode().map_err(|_| SessionError::Encoding)?;
    let mut servers = [reach(config, tls, Role::Server0)?, reach(config, tls, Role::Server1)?];
    for server in &mut servers {
        let keep = keep.cloned();
        server.send(&Ask::Train(Order { session, job: encoded.clone(), keep }))?;
    }
    for server in &mut servers {
        let answer: Answer = server.recv(MAX_MESSAGE_BYTES)?;
        answer.map_err(|no| no.from(server.role()))?;
    }
    Ok((session, servers))
}

fn reach(config: &Config, tls: &ClientTls, role: Role) -> Result<Connection, SessionError> {
    let address = config.peer(role)?;
    Ok(connect(address, tls, role, &config.timeouts)?)
}

/// The results from one server's connection.
struct Ended<W> {
    plan_hash: Option<[u8; 32]>,
    report: Report,
    parameters: Vec<W>,
    bytes_sent: u64,
    kept: Option<Result<u32, String>>,
}

/// A message from a reader thread.
enum Told {
    Update(Role, Update),
    /// The server's part is over, without a result.
    Failed(Role),
}

/// Reads both servers' updates to the end and joins their shares.
fn listen<W: Word>(
    job: &Job,
    lengths: &Lengths,
    servers: [Connection; 2],
    (grace, started): (Duration, Instant),
    news: &mut dyn FnMut(News),
) -> Result<Outcome<W>, SessionError> {
    let aborts = servers.each_ref().map(Connection::abort_handle);
    let (to, told) = mpsc::channel();
    let mut deciders = Vec::new();
    let readers = servers.map(|connection| {
        let (to, role) = (to.clone(), connection.role());
        let (decider, decisions) = mpsc::channel();
        deciders.push(decider);
        let asks = Asks { job: job.clone(), decisions };
        let words = if job.reveal.model { job.model_words() } else { 0 };
        thread::spawn(move || {
            let ended = read::<W>(connection, words, &to, &asks);
            if ended.is_err() {
                let _ = to.send(Told::Failed(role)); // nobody listens: then it is over anyway
            }
            ended
        })
    });
    drop(to);
    let (epochs, results, alarm) = (Vec::new(), Vec::new(), [None; 2]);
    let known = Kind::all(job).map(|kind| (kind, None)).collect();
    let mut heard = Heard {
        job,
        lengths,
        started,
        epochs,
        known,
        results,
        alarm,
        seconds_setup: 0.0,
        early_stop: EarlyStop::new(job),
        deciders,
    };
    let (mut failed, mut impossible): (Option<(Role, Instant)>, _) = (None, None);
    loop {
        let patience = failed.map_or(Duration::MAX, |(_, at)| grace.saturating_sub(at.elapsed()));
        match told.recv_timeout(patience) {
            Ok(Told::Update(role, update)) => {
                // Nothing right can follow; but ending here would tell the servers of an output.
                if let Err(error) = heard.hear(role, update, news) {
                    heard.decide(error.epoch, true);
                    impossible.get_or_insert(error);
                }
            }
            // The peers of a failed server fail soon; after `grace`, a silent one is aborted.
            Ok(Told::Failed(role)) => failed = failed.or(Some((role, Instant::now()))),
            Err(RecvTimeoutError::Timeout) => {
                aborts.iter().for_each(AbortHandle::abort);
                heard.deciders.clear(); // no reader waits for a decision
                failed = failed.map(|(role, _)| (role, Instant::now()));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let [a, b] = readers.map(|r| r.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    if let Some(error) = impossible {
        return Err(SessionError::Impossible(error));
    }
    let (mut a, b) = match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(a), Err(b)) if a.is_abort() => return Err(b),
        (Err(a), Err(b)) if b.is_abort() => return Err(a),
        // The first failure comes first: what follows is often its consequence.
        (Err(a), Err(b)) if matches!(failed, Some((Role::Server1, _))) => {
            return Err(SessionError::Both(Box::new([b, a])));
        }
        (Err(a), Err(b)) => return Err(SessionError::Both(Box::new([a, b]))),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let plan_hash = match (a.plan_hash, b.plan_hash) {
        (Some(x), Some(y)) if x == y => x,
        _ => return Err(SessionError::Unexpected { from: Role::Server1, wanted: "the same plan as server0's" }),
    };
    let kept = match (a.kept.take(), b.kept) {
        (a, b) if a == b => a,
        (Some(Err(reason)), _) | (_, Some(Err(reason))) => Some(Err(reason)),
        _ => return Err(SessionError::Unexpected { from: Role::Server1, wanted: "the version that server0 keeps" }),
    };
    heard.check_alarm()?;
    join(&mut a.parameters, &b.parameters);
    sound_parameters(job, &a.parameters).map_err(SessionError::Impossible)?;
    Ok(Outcome {
        plan_hash,
        epochs: heard.results,
        parameters: job.reveal.model.then_some(a.parameters),
        reports: [a.report, b.report],
        seconds_setup: heard.seconds_setup,
        bytes_sent: a.bytes_sent + b.bytes_sent,
        kept,
    })
}

/// Updates received from both servers so far.
struct Heard<'a> {
    job: &'a Job,
    lengths: &'a Lengths,
    started: Instant,
    /// Each epoch's shares, by server.
    epochs: Vec<[Option<Vec<u64>>; 2]>,
    /// All numbers of the job, with the last value of each.
    known: Vec<(Kind, Option<i64>)>,
    results: Vec<EpochResult>,
    /// Shares of the range alarm, by server.
    alarm: [Option<bool>; 2],
    seconds_setup: f64,
    early_stop: EarlyStop<'a>,
    /// To the readers, which send the decisions to their servers.
    deciders: Vec<mpsc::Sender<Decision>>,
}

impl Heard<'_> {
    /// Sends the decision after epoch `epoch` to both servers, if the job may end there.
    fn decide(&self, epoch: u32, goes_on: bool) {
        if self.job.may_end_after(epoch) {
            for decider in &self.deciders {
                let _ = decider.send(Decision { epoch, goes_on }); // a reader that has failed needs none
            }
        }
    }

    fn hear(&mut self, role: Role, update: Update, news: &mut dyn FnMut(News)) -> Result<(), Impossible> {
        let index = usize::from(role == Role::Server1);
        match update {
            Update::Ready { .. } if index == 0 => {
                self.seconds_setup = self.started.elapsed().as_secs_f64();
                news(News::Ready);
            }
            Update::Alive(alive) => news(News::Alive(role, alive)),
            Update::Step { done, bytes_sent } if index == 0 => news(News::Step { done, bytes_sent }),
            Update::Alarm { share } => self.alarm[index] = Some(share),
            Update::Epoch { epoch, numbers } => {
                let at = epoch.min(self.job.training.epochs) as usize;
                if at > self.epochs.len() {
                    self.epochs.resize(at, [None, None]);
                }
                let Some(pair) = at.checked_sub(1).and_then(|i| self.epochs.get_mut(i)) else { return Ok(()) };
                pair[index] = Some(numbers);
                if let [Some(a), Some(b)] = pair {
                    let shares = [std::mem::take(a), std::mem::take(b)];
                    let result = self.joined(epoch, &shares)?;
                    let goes_on = self.early_stop.goes_on(&result);
                    news(News::Epoch(result.clone()));
                    self.results.push(result);
                    self.decide(epoch, goes_on);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Heard<'_> {
    /// An error if the job's range alarm is set, or is due and did not come.
    fn check_alarm(&self) -> Result<(), SessionError> {
        let missing = |from| SessionError::Unexpected { from, wanted: "its share of the range alarm" };
        match (self.job.reveal.alarm, self.alarm) {
            (false, _) => Ok(()),
            (true, [None, _]) => Err(missing(Role::Server0)),
            (true, [_, None]) => Err(missing(Role::Server1)),
            (true, [Some(a), Some(b)]) if a == b => Ok(()),
            (true, _) => Err(SessionError::OutOfRange),
        }
    }
}

impl Heard<'_> {
    /// Joins both servers' shares of an epoch's numbers. The shares come together here alone.
    fn joined(&mut self, epoch: u32, [a, b]: &[Vec<u64>; 2]) -> Result<EpochResult, Impossible> {
        let job = self.job;
        let opened = self.known.iter_mut().filter(|(kind, _)| kind.is_opened(job, epoch));
        for ((kind, value), (a, b)) in opened.zip(a.iter().zip(b)) {
            *value = kind.form(job).map(|form| form.join([*a, *b]));
        }
        let opens = |kind: Kind| kind.is_opened(job, epoch);
        let word = |(_, value): &(Kind, Option<i64>)| value.map(i64::cast_unsigned);
        let (loss, score) = self.known.split_at(2);
        let loss = loss.first().filter(|(kind, _)| opens(*kind)).and_then(word);
        let loss = loss.map(|total| Sum { total, records: self.known.get(1).and_then(word) });
        let score = score.split_last().filter(|(_, sums)| sums.iter().any(|(kind, _)| opens(*kind)));
        let score = score.and_then(|(records, sums)| {
            let sums = sums.iter().map(word).collect::<Option<Vec<u64>>>()?;
            Some(Scores { sums, records: word(records) })
        });
        epoch_result(job, self.lengths, epoch, loss, score)
    }
}

/// The decisions for a server, in a job that may end early.
struct Asks {
    job: Job,
    decisions: mpsc::Receiver<Decision>,
}

fn read<W: Word>(
    mut connection: Connection,
    words: usize,
    to: &mpsc::Sender<Told>,
    asks: &Asks,
) -> Result<Ended<W>, SessionError> {
    let role = connection.role();
    let (mut plan_hash, mut kept, mut next) = (None, None, 1);
    loop {
        let update: Update = connection.recv(MAX_MESSAGE_BYTES)?;
        match update {
            Update::No(no) => return Err(no.from(role)),
            Update::Kept(version) => kept = Some(version.map_err(|reason| one_line(&reason))),
            Update::Done(report) => {
                let mut parameters = vec![W::default(); words];
                connection.recv_exact(W::bytes_mut(&mut parameters))?;
                let bytes_sent = connection.traffic().payload_sent;
                connection.close()?;
                return Ok(Ended { plan_hash, report, parameters, bytes_sent, kept });
            }
            other => {
                if let Update::Ready { plan_hash: hash } = &other {
                    plan_hash = Some(*hash);
                }
                let decides = match &other {
                    Update::Epoch { epoch, .. } => {
                        // Both readers wait for a decision about the same epoch, or for none.
                        if *epoch != next {
                            return Err(SessionError::Unexpected { from: role, wanted: "the next epoch's numbers" });
                        }
                        next += 1;
                        asks.job.may_end_after(*epoch)
                    }
                    _ => false,
                };
                // The listener may have given up; the other server's error says why.
                let _ = to.send(Told::Update(role, other));
                // The client decides once both servers' shares have arrived.
                if decides && let Ok(decision) = asks.decisions.recv() {
                    connection.send(&decision)?;
                }
            }
        }
    }
}

/// Bytes that each server holds of a job's data.
pub fn data_bytes<W: Word>(job: &Job) -> usize {
    Inputs::<W>::words(job) * word_bytes::<W>()
}
