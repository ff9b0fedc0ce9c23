//! A client that watches its job: it opens both servers' outputs and joins their shares.

use super::{News, Outcome, Report, Ticket};
use crate::{
    data::Lengths,
    job::{Job, form::Kind},
    job_store::{JobId, OutputKey, OutputPlace},
    net::{AbortHandle, Connection, Role},
    report::EpochResult,
    session::{
        SessionError,
        message::{Decision, MAX_MESSAGE_BYTES, Output, Update},
        one_line,
    },
    train::{EarlyStop, Impossible, Scores, Sum, epoch_result, sound_parameters},
};
use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use symbolon_core::{
    share::join,
    word::{Word, word_bytes},
};
use zeroize::Zeroizing;

/// The results from one server's connection.
struct Ended<W> {
    plan_hash: Option<[u8; 32]>,
    alarm: Option<bool>,
    report: Report,
    parameters: Vec<W>,
    bytes_sent: u64,
    kept: Option<Result<u32, String>>,
}

/// A message from a reader thread.
enum ReaderMessage {
    Update(Role, Update),
    /// Its share of an epoch's numbers.
    Epoch(Role, u32, Vec<u64>),
    /// The server's part is over, without a result.
    Failed(Role),
}

type Reader<W> = thread::JoinHandle<Result<Ended<W>, SessionError>>;

/// Reads both servers' updates to the end and joins their shares.
pub(super) fn listen<W: Word>(
    ticket: &Ticket,
    servers: [Connection; 2],
    (grace, started): (Duration, Instant),
    news: &mut dyn FnMut(News),
) -> Result<Outcome<W>, SessionError> {
    let aborts = servers.each_ref().map(Connection::abort_handle);
    let (to, messages) = mpsc::channel();
    let (readers, deciders) = start_readers::<W>(ticket, servers, to);
    let mut results = JoinedResults::new(ticket, started, deciders);
    let (failed, impossible) = results.follow(&messages, &aborts, grace, news);
    let ended = readers.map(|r| r.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    if let Some(error) = impossible {
        return Err(SessionError::Impossible(error));
    }
    results.outcome(both_ended(ended, failed)?)
}

/// Starts a thread for each server, which reads its updates; returns them, and the senders of the
/// client's decisions.
fn start_readers<W: Word>(
    ticket: &Ticket,
    servers: [Connection; 2],
    to: mpsc::Sender<ReaderMessage>,
) -> ([Reader<W>; 2], Vec<mpsc::Sender<Decision>>) {
    let mut deciders = Vec::new();
    let readers = servers.map(|connection| {
        let (to, role) = (to.clone(), connection.role());
        let (decider, decisions) = mpsc::channel();
        deciders.push(decider);
        let asks = Asks { job: ticket.job.clone(), id: ticket.id, key: Arc::clone(&ticket.key), decisions };
        thread::spawn(move || {
            let ended = read::<W>(connection, &to, &asks);
            if ended.is_err() {
                let _ = to.send(ReaderMessage::Failed(role)); // without a listener it is over anyway
            }
            ended
        })
    });
    (readers, deciders)
}

/// Returns both servers' results, or the error to report; `failed` is the server that failed first.
fn both_ended<W>(
    ended: [Result<Ended<W>, SessionError>; 2],
    failed: Option<Role>,
) -> Result<[Ended<W>; 2], SessionError> {
    match ended {
        [Ok(a), Ok(b)] => Ok([a, b]),
        [Err(a), Err(b)] if a.is_abort() => Err(b),
        [Err(a), Err(b)] if b.is_abort() => Err(a),
        // The first failure comes first: what follows is often its consequence.
        [Err(a), Err(b)] if failed == Some(Role::Server1) => Err(SessionError::Both(Box::new([b, a]))),
        [Err(a), Err(b)] => Err(SessionError::Both(Box::new([a, b]))),
        [Err(error), _] | [_, Err(error)] => Err(error),
    }
}

/// The results received from both servers so far.
struct JoinedResults<'a> {
    job: &'a Job,
    lengths: &'a Lengths,
    started: Instant,
    /// Each epoch's shares, by server.
    epochs: Vec<[Option<Vec<u64>>; 2]>,
    /// All numbers of the job, with the last value of each.
    known: Vec<(Kind, Option<i64>)>,
    results: Vec<EpochResult>,
    seconds_setup: f64,
    early_stop: EarlyStop<'a>,
    /// To the readers, which send the decisions to their servers.
    deciders: Vec<mpsc::Sender<Decision>>,
}

impl<'a> JoinedResults<'a> {
    fn new(ticket: &'a Ticket, started: Instant, deciders: Vec<mpsc::Sender<Decision>>) -> Self {
        let (job, lengths) = (&ticket.job, &ticket.lengths);
        let (epochs, results) = (Vec::new(), Vec::new());
        let known = Kind::all(job).map(|kind| (kind, None)).collect();
        let early_stop = EarlyStop::new(job);
        Self { job, lengths, started, epochs, known, results, seconds_setup: 0.0, early_stop, deciders }
    }

    /// Takes in messages until both readers have ended. Returns the server that failed first, and
    /// the first result that cannot be.
    fn follow(
        &mut self,
        messages: &mpsc::Receiver<ReaderMessage>,
        aborts: &[AbortHandle; 2],
        grace: Duration,
        news: &mut dyn FnMut(News),
    ) -> (Option<Role>, Option<Impossible>) {
        let (mut failed, mut impossible): (Option<(Role, Instant)>, _) = (None, None);
        loop {
            let timeout = failed.map_or(Duration::MAX, |(_, at)| grace.saturating_sub(at.elapsed()));
            match messages.recv_timeout(timeout) {
                Ok(ReaderMessage::Update(role, update)) => self.hear(role, update, news),
                Ok(ReaderMessage::Epoch(role, epoch, numbers)) => {
                    // Nothing right can follow, but an end here would tell the servers of it.
                    if let Err(error) = self.hear_epoch(role, (epoch, numbers), news) {
                        self.decide(error.epoch, true);
                        impossible.get_or_insert(error);
                    }
                }
                // The peers of a failed server fail soon; after `grace`, a silent one is aborted.
                Ok(ReaderMessage::Failed(role)) => failed = failed.or(Some((role, Instant::now()))),
                Err(RecvTimeoutError::Timeout) => {
                    aborts.iter().for_each(AbortHandle::abort);
                    self.deciders.clear(); // no reader waits for a decision
                    failed = failed.map(|(role, _)| (role, Instant::now()));
                }
                Err(RecvTimeoutError::Disconnected) => return (failed.map(|(role, _)| role), impossible),
            }
        }
    }

    /// Compares both servers' results and joins their shares.
    fn outcome<W: Word>(self, [mut a, b]: [Ended<W>; 2]) -> Result<Outcome<W>, SessionError> {
        let differs = |wanted| SessionError::Unexpected { from: Role::Server1, wanted };
        let plan_hash = match (a.plan_hash, b.plan_hash) {
            (Some(x), Some(y)) if x == y => x,
            _ => return Err(differs("the same plan as server0's")),
        };
        let kept = match (a.kept.take(), b.kept) {
            (a, b) if a == b => a,
            (Some(Err(reason)), _) | (_, Some(Err(reason))) => Some(Err(reason)),
            _ => return Err(differs("the version that server0 keeps")),
        };
        check_alarm(self.job, [a.alarm, b.alarm])?;
        join(&mut a.parameters, &b.parameters);
        sound_parameters(self.job, &a.parameters).map_err(SessionError::Impossible)?;
        Ok(Outcome {
            plan_hash,
            epochs: self.results,
            parameters: self.job.reveal.model.then_some(a.parameters),
            reports: [a.report, b.report],
            seconds_setup: self.seconds_setup,
            bytes_sent: a.bytes_sent + b.bytes_sent,
            kept,
        })
    }

    /// Sends the decision after epoch `epoch` to both servers, if the job may end there.
    fn decide(&self, epoch: u32, goes_on: bool) {
        if self.job.may_end_after(epoch) {
            for decider in &self.deciders {
                let _ = decider.send(Decision { epoch, goes_on }); // a reader that has failed needs none
            }
        }
    }

    fn hear(&mut self, role: Role, update: Update, news: &mut dyn FnMut(News)) {
        match update {
            Update::Ready { .. } if role == Role::Server0 => {
                self.seconds_setup = self.started.elapsed().as_secs_f64();
                news(News::Ready);
            }
            Update::Alive(alive) => news(News::Alive(role, alive)),
            Update::Retry(reason) => news(News::Retry(role, one_line(&reason))),
            Update::Step { done, bytes_sent } if role == Role::Server0 => news(News::Step { done, bytes_sent }),
            _ => {}
        }
    }

    fn hear_epoch(
        &mut self,
        role: Role,
        (epoch, numbers): (u32, Vec<u64>),
        news: &mut dyn FnMut(News),
    ) -> Result<(), Impossible> {
        let at = epoch.min(self.job.training.epochs) as usize;
        if at > self.epochs.len() {
            self.epochs.resize(at, [None, None]);
        }
        let Some(pair) = at.checked_sub(1).and_then(|i| self.epochs.get_mut(i)) else { return Ok(()) };
        pair[usize::from(role == Role::Server1)] = Some(numbers);
        if let [Some(a), Some(b)] = pair {
            let shares = [std::mem::take(a), std::mem::take(b)];
            let result = self.joined(epoch, &shares)?;
            let goes_on = self.early_stop.goes_on(&result);
            news(News::Epoch(result.clone()));
            self.results.push(result);
            self.decide(epoch, goes_on);
        }
        Ok(())
    }
}

/// An error if the job's range alarm is set, or is due and did not come; `alarm` has its shares, by
/// server.
fn check_alarm(job: &Job, alarm: [Option<bool>; 2]) -> Result<(), SessionError> {
    let missing = |from| SessionError::Unexpected { from, wanted: "its share of the range alarm" };
    match (job.reveal.alarm, alarm) {
        (false, _) => Ok(()),
        (true, [None, _]) => Err(missing(Role::Server0)),
        (true, [_, None]) => Err(missing(Role::Server1)),
        (true, [Some(a), Some(b)]) if a == b => Ok(()),
        (true, _) => Err(SessionError::OutOfRange),
    }
}

impl JoinedResults<'_> {
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

/// A reader's input: the job, its key, and the decisions for its server.
struct Asks {
    job: Job,
    id: JobId,
    key: Arc<OutputKey>,
    decisions: mpsc::Receiver<Decision>,
}

impl Asks {
    /// Opens an output of server `from`.
    fn open(&self, from: Role, number: u32, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let place = OutputPlace::of(self.id, from, number);
        let wanted = "an output that opens with this job's ticket (job-seal)";
        self.key.open(&place, sealed).map_err(|_| SessionError::Unexpected { from, wanted })
    }
}

/// Reads a server's updates to the end.
fn read<W: Word>(
    mut connection: Connection,
    to: &mpsc::Sender<ReaderMessage>,
    asks: &Asks,
) -> Result<Ended<W>, SessionError> {
    let role = connection.role();
    let (mut plan_hash, mut end, mut next) = (None, None, 1);
    let unexpected = |wanted| SessionError::Unexpected { from: role, wanted };
    loop {
        let update: Update = connection.recv(MAX_MESSAGE_BYTES)?;
        match update {
            Update::No(no) => return Err(no.from(role)),
            Update::Output { number, sealed } => {
                let opened = asks.open(role, number, &sealed)?;
                match postcard::from_bytes(&opened).map_err(|_| unexpected("an output"))? {
                    Output::Epoch { epoch, numbers } => {
                        // Both readers wait for a decision about the same epoch, or for none.
                        if epoch != next || number != epoch {
                            return Err(unexpected("the next epoch's numbers"));
                        }
                        next += 1;
                        // The listener may have given up; the other server's error says why.
                        let _ = to.send(ReaderMessage::Epoch(role, epoch, numbers));
                        // The client decides once both servers' shares have arrived.
                        if asks.job.may_end_after(epoch)
                            && let Ok(decision) = asks.decisions.recv()
                        {
                            connection.send(&decision)?;
                        }
                    }
                    Output::End { alarm, report, kept } => end = Some((alarm, report, kept)),
                }
            }
            Update::Done { model_bytes } => {
                let (alarm, report, kept) = end.ok_or_else(|| unexpected("the job's last outputs"))?;
                let parameters = read_model(&mut connection, model_bytes, asks)?;
                let bytes_sent = connection.traffic().payload_sent;
                connection.close()?;
                let kept = kept.map(|kept| kept.map_err(|reason| one_line(&reason)));
                return Ok(Ended { plan_hash, alarm, report, parameters, bytes_sent, kept });
            }
            other => {
                if let Update::Ready { plan_hash: hash } = &other {
                    plan_hash = Some(*hash);
                }
                let _ = to.send(ReaderMessage::Update(role, other));
            }
        }
    }
}

/// Reads a server's sealed share of the model, of `bytes` bytes; none if the job does not reveal
/// it.
fn read_model<W: Word>(connection: &mut Connection, bytes: u64, asks: &Asks) -> Result<Vec<W>, SessionError> {
    let role = connection.role();
    let words = if asks.job.reveal.model { asks.job.model_words() } else { 0 };
    let len = if words == 0 { 0 } else { OutputPlace::sealed_len(words * word_bytes::<W>()) };
    if bytes != len as u64 {
        return Err(SessionError::Unexpected { from: role, wanted: "its share of the model" });
    }
    let mut parameters = vec![W::default(); words];
    if words > 0 {
        let mut sealed = vec![0; len];
        connection.recv_exact(&mut sealed)?;
        W::bytes_mut(&mut parameters).copy_from_slice(&asks.open(role, OutputPlace::MODEL, &sealed)?);
    }
    Ok(parameters)
}
