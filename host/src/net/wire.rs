//! Moves bytes between a TLS session and its socket, both ways at once.
//!
//! One loop serves sending, receiving and exchanging. It encrypts a chunk, writes what the socket takes, reads what has
//! arrived, and waits only when neither direction can move. What arrives before it is due waits in `early`, of which there
//! is never more than one inbox: the loop reads only while something is due.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::error::Cause;
use super::records::{CHUNK, Inbox, Outbox, Outgoing, Records, Standing};
use super::role::Role;
use super::tls;

/// Bytes that a connection has moved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Bytes sent by the caller, messages' length prefixes included.
    pub payload_sent: u64,
    /// Bytes received by the caller.
    pub payload_received: u64,
    /// Bytes written to TCP: payload, records' overhead, handshake.
    pub wire_sent: u64,
    /// Bytes read from TCP.
    pub wire_received: u64,
}

/// What is to be moved: the source and the destination of a transfer.
pub(super) trait Transfer {
    /// Bytes to send.
    fn to_send(&self) -> usize;

    /// Bytes to receive.
    fn to_receive(&self) -> usize;

    /// How many bytes may have been received once `sent` are encrypted.
    fn receivable(&self, sent: usize) -> usize;

    /// The bytes to send next, from `from`; at most `CHUNK`.
    fn outgoing(&self, from: usize) -> &[u8];

    /// Takes some of `bytes`, which arrived for position `at`, and says how many.
    fn incoming(&mut self, at: usize, bytes: &[u8]) -> usize;
}

/// When to give up waiting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// When not a byte has moved for this long.
    Idle(Duration),
    /// At this time, which is this long after the start.
    Until(Instant, Duration),
    /// As `Idle`, and also at `end`, which is `allowed` after the start.
    Upload { idle: Duration, end: Instant, allowed: Duration },
}

/// A TLS session and its socket. Used within a tokio runtime.
pub(super) struct Wire {
    pub(super) socket: TcpStream,
    pub(super) records: Box<dyn Records>,
    pub(super) limit: Limit,
    pub(super) traffic: Traffic,
    pub(super) aborted: Arc<AtomicBool>,
    /// The role that the peer should have, for the errors of the handshake.
    pub(super) wanted: Option<Role>,
    inbox: Inbox,
    outbox: Outbox,
    early: Early,
}

/// Plaintext that arrived before it was due. Wiped when dropped.
#[derive(Default)]
struct Early {
    bytes: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl Early {
    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.is_empty() || self.taken > CHUNK {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Hands on what is due.
    fn deliver(&mut self, transfer: &mut dyn Transfer, received: &mut usize, due: usize) {
        let waiting = &self.bytes[self.taken..];
        let due = &waiting[..waiting.len().min(due - *received)];
        if !due.is_empty() {
            let taken = transfer.incoming(*received, due);
            *received += taken;
            self.taken += taken;
        }
    }
}

impl Wire {
    pub(super) fn new(socket: TcpStream, records: Box<dyn Records>, limit: Limit, wanted: Option<Role>) -> Self {
        Self {
            socket,
            records,
            limit,
            traffic: Traffic::default(),
            aborted: Arc::new(AtomicBool::new(false)),
            wanted,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            early: Early::default(),
        }
    }

    /// Runs the TLS handshake until this end may send, and all it had to say is sent.
    pub(super) async fn handshake(&mut self) -> Result<(), Cause> {
        loop {
            let standing = self.drive(Outgoing::Nothing).map_err(|cause| match cause {
                Cause::Tls(rustls::Error::InvalidMessage(_)) => Cause::NotTls,
                cause => cause,
            })?;
            let wrote = self.write()?;
            if standing != Standing::Handshaking && self.outbox.is_empty() {
                return Ok(());
            }
            let read = standing == Standing::Handshaking && self.read()?;
            if !wrote && !read {
                self.ready(standing == Standing::Handshaking).await?;
            }
        }
    }

    /// Moves all bytes of `transfer`; on return, what was sent is with the operating system.
    pub(super) async fn run(&mut self, transfer: &mut dyn Transfer) -> Result<(), Cause> {
        let (to_send, to_receive) = (transfer.to_send(), transfer.to_receive());
        let (mut sent, mut received) = (0, 0);
        loop {
            if sent < to_send && self.outbox.is_empty() {
                let chunk = transfer.outgoing(sent);
                self.drive(Outgoing::Plain(chunk))?;
                sent += chunk.len();
            }
            let due = transfer.receivable(sent);
            if !self.early.is_empty() {
                self.early.deliver(transfer, &mut received, due);
            }
            let wrote = self.write()?;
            let hungry = received < due;
            let read = hungry && self.read_into(transfer, &mut received, due)?;

            let to_write = !self.outbox.is_empty() || sent < to_send;
            if !to_write && received == to_receive {
                self.traffic.payload_sent += to_send as u64;
                self.traffic.payload_received += to_receive as u64;
                return Ok(());
            }
            match (wrote, read) {
                (false, false) => self.ready(received < due).await?,
                // One direction moves and the other seems stuck: look at the socket again, for tokio does so only
                // between polls.
                (true, false) if hungry && to_write => tokio::task::yield_now().await,
                (false, true) if !self.outbox.is_empty() => tokio::task::yield_now().await,
                _ => {}
            }
        }
    }

    /// Says goodbye and waits, not for long, until the peer has, too. Its last words are thrown away.
    pub(super) async fn close(&mut self, patience: Duration) -> Result<(), Cause> {
        self.limit = Limit::Until(Instant::now() + patience, patience);
        self.drive(Outgoing::CloseNotify)?;
        while !self.outbox.is_empty() {
            if !self.write()? {
                self.ready(false).await?;
            }
        }
        self.linger().await;
        Ok(())
    }

    /// Ends without a goodbye, and gives the peer time to take what was sent.
    pub(super) async fn end(&mut self, patience: Duration) {
        self.limit = Limit::Until(Instant::now() + patience, patience);
        self.linger().await;
    }

    /// Tells the peer why the handshake failed, as far as it listens.
    pub(super) async fn reject(&mut self) {
        self.records.alert(&mut self.inbox, &mut self.outbox);
        while !self.outbox.is_empty() {
            match self.write() {
                Ok(true) => {}
                Ok(false) if self.ready(false).await.is_ok() => {}
                _ => return,
            }
        }
        self.linger().await;
    }

    /// Sends a goodbye if that needs no waiting.
    pub(super) fn close_now(&mut self) {
        if self.drive(Outgoing::CloseNotify).is_ok() {
            let _ = self.write();
        }
    }

    /// Reads until the peer ends: a socket that is closed with unread bytes resets the connection, and the peer may lose
    /// what was sent last.
    async fn linger(&mut self) {
        use tokio::io::AsyncWriteExt;

        if self.socket.shutdown().await.is_err() {
            return;
        }
        let mut scrap = [0; 4096];
        let mut budget = 1 << 22; // A peer that goes on sending is cut off.
        loop {
            match self.socket.try_read(&mut scrap) {
                Ok(0) => return,
                Ok(len) if len < budget => budget -= len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.ready(true).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Decrypts what is in the inbox, for later, and encrypts `outgoing`.
    fn drive(&mut self, outgoing: Outgoing<'_>) -> Result<Standing, Cause> {
        let Self { records, inbox, outbox, early, .. } = self;
        records
            .drive(inbox, outbox, outgoing, &mut |plain| early.push(plain))
            .map_err(|error| tls::cause(error, self.wanted))
    }

    /// Writes what the socket takes; says whether it took anything.
    fn write(&mut self) -> Result<bool, Cause> {
        let mut wrote = false;
        while !self.outbox.is_empty() {
            match self.socket.try_write(self.outbox.pending()) {
                Ok(0) => return Err(self.lost()),
                Ok(len) => {
                    self.outbox.sent(len);
                    self.traffic.wire_sent += len as u64;
                    wrote = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(self.socket_failed(error)),
            }
        }
        Ok(wrote)
    }

    /// Reads once into the inbox; says whether anything had arrived.
    fn read(&mut self) -> Result<bool, Cause> {
        if self.records.peer_closed() {
            return Err(Cause::Closed);
        }
        let room = self.inbox.room();
        if room.is_empty() {
            return Err(Cause::NotTls); // no message of TLS is as long as the inbox
        }
        match self.socket.try_read(room) {
            Ok(0) => Err(self.lost()),
            Ok(len) => {
                self.inbox.filled(len);
                self.traffic.wire_received += len as u64;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.socket_failed(error)),
        }
    }

    /// Reads once and hands on what is due. Early bytes that were not taken stay in front.
    fn read_into(&mut self, transfer: &mut dyn Transfer, received: &mut usize, due: usize) -> Result<bool, Cause> {
        if !self.read()? {
            return Ok(false);
        }
        let Self { records, inbox, outbox, early, .. } = self;
        let mut sink = |plain: &[u8]| {
            let taken = match plain.len().min(due - *received) {
                len if len > 0 && early.is_empty() => transfer.incoming(*received, &plain[..len]),
                _ => 0,
            };
            *received += taken;
            if taken < plain.len() {
                early.push(&plain[taken..]);
                early.deliver(transfer, received, due);
            }
        };
        records.drive(inbox, outbox, Outgoing::Nothing, &mut sink).map_err(|error| tls::cause(error, self.wanted))?;
        Ok(true)
    }

    /// Waits until the socket takes bytes, if there are any to write, or has some, if they are wanted.
    async fn ready(&self, read: bool) -> Result<(), Cause> {
        let interest = match (read, self.outbox.is_empty()) {
            (true, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, _) => Interest::WRITABLE,
        };
        let (wait, timed_out) = match self.limit {
            Limit::Idle(limit) => (limit, Cause::Idle(limit)),
            Limit::Until(end, limit) => (end.saturating_duration_since(Instant::now()), Cause::Slow(limit)),
            Limit::Upload { idle, end, allowed } => match end.saturating_duration_since(Instant::now()) {
                left if left < idle => (left, Cause::Late(allowed)),
                _ => (idle, Cause::Idle(idle)),
            },
        };
        match tokio::time::timeout(wait, self.socket.ready(interest)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.socket_failed(error)),
            Err(_) => Err(timed_out),
        }
    }

    /// Returns the cause of an end without notice.
    pub(super) fn lost(&self) -> Cause {
        if self.aborted.load(Ordering::Acquire) { Cause::Aborted } else { Cause::Lost }
    }

    fn socket_failed(&self, error: io::Error) -> Cause {
        match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut => self.lost(),
            _ => Cause::Io(error),
        }
    }
}

/// The part of `bytes` that is sent next.
pub(super) fn chunk(bytes: &[u8], from: usize) -> &[u8] {
    let rest = &bytes[from..];
    &rest[..rest.len().min(CHUNK)]
}
