//! A device on this host: a node, its line, its clock.

use super::{
    DeviceError,
    line::{Line, Way},
};
use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use std::{
    io,
    sync::mpsc::{RecvTimeoutError, TryRecvError},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::report::{
    Reason,
    frame::Frame,
    header::ReportId,
    identity::Identity,
    node::{Event, Node, Status},
    outbox::{Pace, WhenFull},
    question::{Prediction, Question, Reply},
    schema::MAX_RECORD_BYTES,
};
use symbolon_core::wipe::wipe_stack;
use zeroize::Zeroizing;

/// Reports on their way at a time: what an answer can name.
const SLOTS: usize = 64;
/// Stack that is wiped when the sessions have started: more than that uses, the outbox included.
const STACK_BYTES: usize = 512 << 10;
/// Between two tries to reach the gateway.
const REDIAL: Duration = Duration::from_millis(200);

/// How often a query is sent again: an evaluation takes tens of milliseconds.
const ASKING: Pace = Pace { first_ms: 40, longest_ms: 2000 };

/// How a device behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often reports are sent again.
    pub pace: Pace,
    /// Longest time without progress.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { pace: Pace { first_ms: 500, longest_ms: 10_000 }, patience: Duration::from_secs(60) }
    }
}

/// A device on this host.
pub struct Device {
    node: Box<Node<SLOTS, MAX_RECORD_BYTES>>,
    way: Way,
    password: Option<String>,
    line: Option<Line>,
    redial: Instant,
    refused: Option<io::Error>,
    epoch: Instant,
    progress: Instant,
    options: Options,
    stored: Vec<u32>,
    question: Option<Box<Question<MAX_RECORD_BYTES>>>,
    answer: Option<Result<Prediction, Reason>>,
    sent_bytes: u64,
}

impl Device {
    /// A device that reports on this way (`host:port` of a gateway, or a broker), in boot `boot` of
    /// a durable counter. It connects when it has something to send.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Submit`] for a key file with invalid keys, [`DeviceError::Randomness`],
    /// [`DeviceError::Address`], [`DeviceError::Private`] for the broker's password.
    pub fn new(identity: &Identity, boot: u32, way: impl Into<Way>, options: Options) -> Result<Self, DeviceError> {
        let way = way.into();
        way.resolve().map_err(|error| DeviceError::Address { way: Box::new(way.clone()), error })?;
        let password = way.password().map_err(|(path, error)| DeviceError::Private { path, error })?;
        let node = start(identity, boot, options.pace)?;
        wipe_stack::<STACK_BYTES>();
        let now = Instant::now();
        Ok(Self {
            node,
            way,
            password,
            line: None,
            redial: now,
            refused: None,
            epoch: now,
            progress: now,
            options,
            stored: Vec::new(),
            question: None,
            answer: None,
            sent_bytes: 0,
        })
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Bytes on the line to the gateway so far, those that were sent again among them.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Numbers of the reports that both servers have acknowledged since the last call.
    pub fn take_stored(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.stored)
    }

    /// Sends a record of packed codes, taken at `time_ms`, as soon as there is room; returns its number.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Submit`], [`DeviceError::Stalled`].
    pub fn send(&mut self, time_ms: u64, about: Option<ReportId>, record: &mut [u8]) -> Result<u32, DeviceError> {
        self.exchange(Duration::ZERO)?;
        while !self.node.has_room() {
            self.exchange(Duration::from_secs(1))?;
        }
        let sequence = self.node.submit(self.now_ms(), time_ms, about, record).map_err(DeviceError::Submit)?;
        Ok(sequence)
    }

    /// Waits until both servers hold all that was sent.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Stalled`].
    pub fn finish(&mut self) -> Result<Status, DeviceError> {
        while self.node.status().waiting > 0 {
            self.exchange(Duration::from_secs(1))?;
        }
        Ok(self.node.status())
    }

    /// Asks the servers for a prediction from a record of packed codes, and waits for it.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Unanswered`] if a server refuses, [`DeviceError::Stalled`],
    /// [`DeviceError::Submit`].
    pub fn ask(&mut self, time_ms: u64, record: &mut [u8]) -> Result<Prediction, DeviceError> {
        let question = self.node.ask(self.now_ms(), time_ms, record).map_err(DeviceError::Submit)?;
        (self.question, self.answer, self.progress) = (Some(Box::new(question)), None, Instant::now());
        loop {
            self.exchange(Duration::from_secs(1))?;
            if let Some(answer) = self.answer.take() {
                return answer.map_err(DeviceError::Unanswered);
            }
        }
    }

    /// Sends what is due and takes what has come; waits for it at most `wait`.
    fn exchange(&mut self, wait: Duration) -> Result<(), DeviceError> {
        self.transmit();
        let asked = wait;
        let question = self.question.as_ref().map(|question| question.next_due_ms());
        let due = self.node.next_due_ms().into_iter().chain(question).min();
        let due = due.map(|due| Duration::from_millis(due.saturating_sub(self.now_ms())));
        let wait = due.map_or(wait, |due| due.min(wait));
        match &self.line {
            // Without a line nothing is due but the next try.
            None => thread::sleep(asked.min(self.redial.saturating_duration_since(Instant::now()))),
            Some(line) => {
                let mut answer = match wait {
                    Duration::ZERO => line.answers.try_recv().map_err(|error| error == TryRecvError::Disconnected),
                    _ => line.answers.recv_timeout(wait).map_err(|error| error == RecvTimeoutError::Disconnected),
                };
                let mut answers = Vec::new();
                while let Ok(one) = answer {
                    answers.push(one);
                    answer = line.answers.try_recv().map_err(|error| error == TryRecvError::Disconnected);
                }
                if answer.is_err_and(|lost| lost) {
                    self.hang_up(io::ErrorKind::ConnectionReset.into());
                }
                answers.iter().for_each(|answer| self.take(answer));
            }
        }
        let status = self.node.status();
        if let Some(reason) = status.start_refused.filter(|reason| reason.ends_boot()) {
            return Err(DeviceError::Refused { reason, waiting: status.waiting });
        }
        if status.waiting == 0 && self.question.is_none() {
            self.progress = Instant::now();
        }
        let waited = self.progress.elapsed();
        if waited < self.options.patience {
            return Ok(());
        }
        Err(DeviceError::Stalled {
            waited_s: waited.as_secs(),
            waiting: status.waiting,
            // Reports without a session are refused for other reasons: the start's comes first.
            last: status.start_refused.or(status.last_reason),
            way: Box::new(self.way.clone()),
            connection: self.refused.take(),
        })
    }

    fn take(&mut self, answer: &[u8]) {
        let answer = Frame::decode(answer);
        if let (Some(question), Ok(frame)) = (&mut self.question, &answer) {
            let answered = match self.node.answered(question, frame) {
                Reply::Other => None,
                Reply::Part => return,
                Reply::Predicted(prediction) => Some(Ok(prediction)),
                Reply::Refused(reason) => Some(Err(reason)),
            };
            if answered.is_some() {
                (self.question, self.answer) = (None, answered);
                return;
            }
        }
        match self.node.receive(self.now_ms(), answer) {
            Event::Stored { from, bits } => {
                self.progress = Instant::now();
                self.stored.extend((0..64).filter(|i| bits >> i & 1 == 1).map(|i| from + i));
            }
            Event::Refused { .. } => self.progress = Instant::now(),
            Event::Nothing | Event::Later { .. } => {}
        }
    }

    fn transmit(&mut self) {
        if self.line.is_none() && Instant::now() >= self.redial {
            self.redial = Instant::now() + REDIAL;
            match self.way.dial(self.node.header().device, self.password.as_deref()) {
                Ok(line) => (self.line, self.refused) = (Some(line), None),
                Err(error) => self.refused = Some(error),
            }
        }
        let now = self.now_ms();
        let Some(line) = &mut self.line else { return };
        let mut sent = Ok(());
        while let Some(frame) = self.node.poll(now).filter(|_| sent.is_ok()) {
            sent = line.send(&frame).map(|bytes| self.sent_bytes += bytes as u64);
        }
        if let Some(frame) = self.question.as_mut().filter(|_| sent.is_ok()).and_then(|own| own.poll(now, &ASKING)) {
            sent = line.send(&frame).map(|bytes| self.sent_bytes += bytes as u64);
        }
        if let Err(error) = sent.and_then(|()| line.flush()) {
            self.hang_up(error);
        }
    }

    /// The node sends again what was lost with the line.
    fn hang_up(&mut self, error: io::Error) {
        (self.line, self.refused) = (None, Some(error));
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Starts a device's sessions. A function of its own, whose stack is wiped when it has returned.
#[inline(never)]
fn start(identity: &Identity, boot: u32, pace: Pace) -> Result<Box<Node<SLOTS, MAX_RECORD_BYTES>>, DeviceError> {
    let node = Node::new(identity, boot, WhenFull::RefuseNew, pace, &mut system_rng()?);
    node.map(Box::new).map_err(DeviceError::Submit)
}

/// A generator seeded by the operating system.
pub(crate) fn system_rng() -> Result<ChaCha20Rng, DeviceError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|_| DeviceError::Randomness)?;
    Ok(ChaCha20Rng::from_seed(*seed))
}
