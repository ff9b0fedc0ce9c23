//! A device's line to its gateway.

use super::DeviceError;
use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::report::{
    frame::{Decoder, Frame},
    header::ReportId,
    identity::Identity,
    node::{Event, Node, Status},
    outbox::{Pace, WhenFull},
    schema::MAX_RECORD_BYTES,
};
use zeroize::Zeroizing;

/// Reports on their way at a time: what an answer can name.
const SLOTS: usize = 64;
/// The longest frame on the line.
const FRAME_BYTES: usize = MAX_RECORD_BYTES + MAX_RECORD_BYTES / 254 + 128;
/// Answers fit much less.
const ANSWER_BYTES: usize = 128;
/// Answers that wait to be read.
const ANSWERS: usize = 256;
/// Between two tries to reach the gateway.
const REDIAL: Duration = Duration::from_millis(200);
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 32 << 10;

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

/// A connection and the thread that reads it.
struct Line {
    stream: TcpStream,
    answers: Receiver<Frame<'static>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        // Ends the reader; a line that is gone has ended it already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A device on this host.
pub struct Device {
    node: Box<Node<SLOTS, MAX_RECORD_BYTES>>,
    gateway: String,
    line: Option<Line>,
    redial: Instant,
    refused: Option<io::Error>,
    epoch: Instant,
    progress: Instant,
    options: Options,
    scratch: Box<[u8; FRAME_BYTES]>,
    out: Vec<u8>,
    stored: Vec<u32>,
    sent_bytes: u64,
}

impl Device {
    /// A device that reports to `gateway` (`host:port`), in boot `boot` of a durable counter. It connects when it has something to send.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Submit`] for a key file whose keys are none, [`DeviceError::Randomness`], [`DeviceError::Address`].
    pub fn new(identity: &Identity, boot: u32, gateway: &str, options: Options) -> Result<Self, DeviceError> {
        let address = |error| DeviceError::Address { gateway: gateway.to_owned(), error };
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        gateway.to_socket_addrs().map_err(address)?.next().ok_or_else(none).map_err(address)?;
        let mut rng = system_rng()?;
        let node =
            Node::new(identity, boot, WhenFull::RefuseNew, options.pace, &mut rng).map_err(DeviceError::Submit)?;
        let now = Instant::now();
        Ok(Self {
            node: Box::new(node),
            gateway: gateway.to_owned(),
            line: None,
            redial: now,
            refused: None,
            epoch: now,
            progress: now,
            options,
            scratch: Box::new([0; FRAME_BYTES]),
            out: Vec::with_capacity(WRITE_BYTES + FRAME_BYTES),
            stored: Vec::new(),
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

    /// Sends what is due and takes what has come; waits for it at most `wait`.
    fn exchange(&mut self, wait: Duration) -> Result<(), DeviceError> {
        self.transmit();
        let asked = wait;
        let due = self.node.next_due_ms().map(|due| Duration::from_millis(due.saturating_sub(self.now_ms())));
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
                answers.into_iter().for_each(|answer| self.take(answer));
            }
        }
        if self.node.status().waiting == 0 {
            self.progress = Instant::now();
        }
        let waited = self.progress.elapsed();
        if waited < self.options.patience {
            return Ok(());
        }
        let status = self.node.status();
        Err(DeviceError::Stalled {
            waited_s: waited.as_secs(),
            waiting: status.waiting,
            last: status.last_reason,
            connection: self.refused.take(),
        })
    }

    fn take(&mut self, answer: Frame<'static>) {
        match self.node.receive(self.now_ms(), Ok(answer)) {
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
            match dial(&self.gateway) {
                Ok(line) => (self.line, self.refused) = (Some(line), None),
                Err(error) => self.refused = Some(error),
            }
        }
        if self.line.is_none() {
            return;
        }
        let now = self.now_ms();
        let mut buffer = [0; FRAME_BYTES];
        while let Some(frame) = self.node.poll(now) {
            // Frames of records that the node took fit: its records are no longer than the buffers allow for.
            if let Ok(bytes) = frame.encode_stream(&mut self.scratch[..], &mut buffer) {
                self.out.extend_from_slice(bytes);
            }
            if self.out.len() >= WRITE_BYTES {
                break;
            }
        }
        if let Some(line) = self.line.as_mut().filter(|_| !self.out.is_empty()) {
            let written = line.stream.write_all(&self.out);
            self.sent_bytes += self.out.len() as u64;
            self.out.clear();
            if let Err(error) = written {
                self.hang_up(error);
            }
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

fn dial(gateway: &str) -> io::Result<Line> {
    let stream = TcpStream::connect(gateway)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let reader = stream.try_clone()?;
    let (to, answers) = sync_channel(ANSWERS);
    thread::Builder::new().name("answers".to_owned()).spawn(move || read(reader, &to))?;
    Ok(Line { stream, answers })
}

/// Reads answers until the line or the device is gone.
fn read(mut stream: TcpStream, to: &SyncSender<Frame<'static>>) {
    let mut decoder = Decoder::<ANSWER_BYTES>::new();
    let mut bytes = [0; 4096];
    loop {
        let read = match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        for byte in &bytes[..read] {
            let Some(Ok(answer)) = decoder.push_answer(*byte) else { continue };
            if to.send(answer).is_err() {
                return;
            }
        }
    }
}

/// A generator seeded by the operating system.
pub(crate) fn system_rng() -> Result<ChaCha20Rng, DeviceError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|_| DeviceError::Randomness)?;
    Ok(ChaCha20Rng::from_seed(*seed))
}
