//! Connections between two roles, for threads that compute.
//!
//! A protocol thread owns its connections and moves their bytes itself: every call blocks, and runs on a runtime of its own
//! on the calling thread. So no bytes change threads, and no arithmetic lands on a shared worker.

use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use zeroize::{Zeroize, Zeroizing};

use super::error::{Cause, NetError, Operation, Peer};
use super::records::CHUNK;
use super::role::Role;
use super::wire::{Limit, Traffic, Transfer, Wire, chunk};

/// Bytes that [`Connection::exchange_in_place`] folds at a time are a multiple of this, but for the end.
pub const GRANULE: usize = 64;

/// The slowest rate of an upload: a slower peer counts as one that only holds a place.
pub const SLOWEST_BYTES_PER_SECOND: u64 = 256 << 10;

/// How long the parts of a connection's life may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// To reach a peer that may not have started yet.
    pub connect: Duration,
    /// To authenticate each other, from the first byte to the last.
    pub handshake: Duration,
    /// Without a byte moved, while a call waits. Servers that work for a client send it heartbeats
    /// more often.
    pub idle: Duration,
    /// To wait, on closing, for the peer to close, too.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            close: Duration::from_secs(2),
        }
    }
}

/// An authenticated, encrypted, duplex connection to another role.
///
/// Every call blocks until its bytes have moved, or the idle time-out finds that none do. After an error the connection is
/// unusable. Dropped without [`close`](Self::close), it says goodbye if that needs no waiting, and the peer may lose what
/// was sent last; after an error it says nothing, and the peer finds the connection lost.
pub struct Connection {
    runtime: Runtime,
    wire: Wire,
    peer: Peer,
    role: Role,
    /// Serial number of the peer's certificate; empty if this end connected.
    serial: String,
    /// Bytes that [`buffer_bytes`](Self::buffer_bytes) keeps back.
    pending: Vec<u8>,
    failed: bool,
    close_patience: Duration,
    socket: Arc<TcpStream>,
}

impl Connection {
    pub(super) fn new(
        runtime: Runtime,
        mut wire: Wire,
        address: String,
        role: Role,
        socket: Arc<TcpStream>,
        timeouts: &Timeouts,
    ) -> Self {
        wire.limit = Limit::Idle(timeouts.idle);
        Self {
            runtime,
            wire,
            peer: Peer { role: Some(role), address },
            role,
            serial: String::new(),
            pending: Vec::new(),
            failed: false,
            close_patience: timeouts.close,
            socket,
        }
    }

    /// The role of the peer, certified.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the connection with the serial number of the peer's certificate.
    pub(super) fn certified(mut self, serial: String) -> Self {
        self.serial = serial;
        self
    }

    /// Returns the serial number of the peer's certificate, in hexadecimal. At the end that
    /// connected, it is empty.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The peer, as errors name it.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What was moved so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.wire.traffic
    }

    /// Changes how long a call waits without a byte moved. For phases in which the peer computes for long.
    pub fn set_idle_timeout(&mut self, idle: Duration) {
        self.wire.limit = Limit::Idle(idle);
    }

    /// Bounds a transfer of `bytes` bytes, in either direction, that began at `since`. Until the
    /// next [`set_idle_timeout`](Self::set_idle_timeout), calls fail
    ///
    /// - with [`Cause::Late`] after `idle` plus a second for each [`SLOWEST_BYTES_PER_SECOND`],
    /// - with [`Cause::Idle`] when not a byte arrives for `idle`.
    pub fn set_transfer_limit(&mut self, idle: Duration, since: Instant, bytes: u64) {
        let seconds = bytes.div_ceil(SLOWEST_BYTES_PER_SECOND);
        let allowed = idle.saturating_add(Duration::from_secs(seconds));
        // If that time is past the clock's end, the idle time-out alone bounds the upload.
        self.wire.limit = match since.checked_add(allowed) {
            Some(end) => Limit::Upload { idle, end, allowed },
            None => Limit::Idle(idle),
        };
    }

    /// Checks, without waiting, that the peer is still connected. The peer must have nothing to
    /// send.
    ///
    /// # Errors
    ///
    /// [`Cause::Lost`] if the peer ended the connection, or sent something.
    pub fn check_peer(&self) -> Result<(), NetError> {
        self.check_socket(false)
    }

    /// As [`check_peer`](Self::check_peer), for a peer that may have sent something already.
    ///
    /// # Errors
    ///
    /// [`Cause::Lost`] if the peer ended the connection and had sent nothing before.
    pub fn check_open(&self) -> Result<(), NetError> {
        self.check_socket(true)
    }

    fn check_socket(&self, may_send: bool) -> Result<(), NetError> {
        use std::io::ErrorKind::{Interrupted, WouldBlock};
        let there = match self.socket.peek(&mut [0]) {
            Ok(bytes) => may_send && bytes > 0,
            Err(error) => matches!(error.kind(), WouldBlock | Interrupted),
        };
        match there && !self.wire.records.peer_closed() {
            true => Ok(()),
            false => Err(self.error(Operation::Receive, self.wire.lost())),
        }
    }

    /// A handle that ends this connection from another thread.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(&self.wire, &self.socket)
    }

    /// Sends `bytes`. They are with the operating system on return, not yet with the peer.
    ///
    /// Both ends may not send more than the sockets hold at the same time; use [`exchange`](Self::exchange) for that.
    ///
    /// # Errors
    ///
    /// If the peer is lost, closed, or takes nothing for the idle time-out.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        self.run(Operation::Send, &mut Copying { mine: bytes, theirs: &mut [] })
    }

    /// Queues `bytes` to be sent with what follows, so that many small pieces make few records. They leave when enough
    /// have gathered, on [`flush`](Self::flush), and before any other call moves bytes.
    ///
    /// # Errors
    ///
    /// As [`send_bytes`](Self::send_bytes).
    pub fn buffer_bytes(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        if self.pending.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        if bytes.len() >= CHUNK {
            return self.send_bytes(bytes);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what [`buffer_bytes`](Self::buffer_bytes) has queued.
    ///
    /// # Errors
    ///
    /// As [`send_bytes`](Self::send_bytes).
    pub fn flush(&mut self) -> Result<(), NetError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        let result = self.send_bytes(&pending);
        pending.clear();
        self.pending = pending;
        result
    }

    /// Fills `bytes` with what the peer sends.
    ///
    /// # Errors
    ///
    /// If the peer is lost, closed, or sends nothing for the idle time-out.
    pub fn recv_exact(&mut self, bytes: &mut [u8]) -> Result<(), NetError> {
        self.run(Operation::Receive, &mut Copying { mine: &[], theirs: bytes })
    }

    /// Sends `mine` and fills `theirs`, both at once: neither end waits for the other to finish sending.
    ///
    /// # Errors
    ///
    /// As [`send_bytes`](Self::send_bytes) and [`recv_exact`](Self::recv_exact).
    pub fn exchange(&mut self, mine: &[u8], theirs: &mut [u8]) -> Result<(), NetError> {
        self.run(Operation::Exchange, &mut Copying { mine, theirs })
    }

    /// Sends `bytes` and folds as many of the peer's into them, in place and as they arrive: `fold(mine, theirs)` gets
    /// matching parts, each exactly once and in order, none of `mine` before it is encrypted.
    ///
    /// Parts begin at multiples of [`GRANULE`] bytes, and all but the last are such multiples long, so they hold whole
    /// words. `theirs` may lie at any address.
    ///
    /// # Errors
    ///
    /// As [`exchange`](Self::exchange); `bytes` hold partly folded values then.
    pub fn exchange_in_place(
        &mut self,
        bytes: &mut [u8],
        fold: &mut dyn FnMut(&mut [u8], &[u8]),
    ) -> Result<(), NetError> {
        self.run(Operation::Exchange, &mut InPlace { bytes, fold })
    }

    /// Sends a message: its length in four bytes, little-endian, and its postcard encoding.
    ///
    /// # Errors
    ///
    /// As [`send_bytes`](Self::send_bytes), or if the message cannot be encoded or has 4 GiB.
    pub fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), NetError> {
        // Messages may carry seeds: a buffer that grew would leave a copy behind.
        let len = postcard::experimental::serialized_size(message);
        let len = len.map_err(|error| self.error(Operation::Send, Cause::Frame(error)))?;
        let mut frame = Vec::with_capacity(4 + len);
        frame.extend([0; 4]);
        let frame =
            postcard::to_extend(message, frame).map_err(|error| self.error(Operation::Send, Cause::Frame(error)))?;
        let mut frame = Zeroizing::new(frame);
        let len = frame.len() - 4;
        let Ok(prefix) = u32::try_from(len) else {
            return Err(self.error(Operation::Send, Cause::TooLong { len, max: u32::MAX as usize }));
        };
        frame[..4].copy_from_slice(&prefix.to_le_bytes());
        self.send_bytes(&frame)
    }

    /// Receives a message of at most `max_len` encoded bytes.
    ///
    /// # Errors
    ///
    /// As [`recv_exact`](Self::recv_exact), or if the message is longer or not a `T`.
    pub fn recv<T: DeserializeOwned>(&mut self, max_len: usize) -> Result<T, NetError> {
        let frame = self.recv_frame(max_len)?;
        match postcard::take_from_bytes(&frame) {
            Ok((message, [])) => Ok(message),
            Ok((_, rest)) => Err(self.fail(Operation::Receive, Cause::Trailing { len: rest.len() })),
            Err(error) => Err(self.fail(Operation::Receive, Cause::Frame(error))),
        }
    }

    fn recv_frame(&mut self, max_len: usize) -> Result<Zeroizing<Vec<u8>>, NetError> {
        let mut prefix = [0; 4];
        self.recv_exact(&mut prefix)?;
        let len = u32::from_le_bytes(prefix) as usize;
        if len > max_len {
            return Err(self.fail(Operation::Receive, Cause::TooLong { len, max: max_len }));
        }
        // Memory grows with what has arrived, not with what was announced.
        let mut frame = Zeroizing::new(Vec::new());
        while frame.len() < len {
            let start = frame.len();
            frame.resize(len.min(start + (1 << 20)), 0);
            self.recv_exact(&mut frame[start..])?;
        }
        Ok(frame)
    }

    /// Says goodbye and waits a little for the peer to do so, too.
    ///
    /// After an error there is no goodbye, and the peer finds the connection lost; but it still receives what was sent
    /// before.
    ///
    /// # Errors
    ///
    /// If queued bytes or the goodbye cannot be sent.
    pub fn close(mut self) -> Result<(), NetError> {
        if !self.failed {
            self.flush()?;
        }
        let Self { runtime, wire, close_patience, failed, .. } = &mut self;
        if *failed {
            runtime.block_on(wire.end(*close_patience));
            return Ok(());
        }
        let result = runtime.block_on(wire.close(*close_patience));
        self.failed = true; // nothing more to say when dropped
        result.map_err(|cause| self.error(Operation::Close, cause))
    }

    fn run(&mut self, operation: Operation, transfer: &mut dyn Transfer) -> Result<(), NetError> {
        if self.failed {
            return Err(self.error(operation, Cause::Unusable));
        }
        if !self.pending.is_empty() {
            self.flush()?;
        }
        if transfer.to_send() == 0 && transfer.to_receive() == 0 {
            return Ok(());
        }
        let Self { runtime, wire, .. } = self;
        runtime.block_on(wire.run(transfer)).map_err(|cause| self.fail(operation, cause))
    }

    fn fail(&mut self, operation: Operation, cause: Cause) -> NetError {
        self.failed = true;
        self.error(operation, cause)
    }

    fn error(&self, operation: Operation, cause: Cause) -> NetError {
        NetError { peer: self.peer.clone(), operation, cause }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.failed && !std::thread::panicking() {
            self.wire.close_now();
        }
        self.pending.zeroize();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).field("failed", &self.failed).finish_non_exhaustive()
    }
}

/// Ends a [`Connection`] from another thread: what blocks there fails with [`Cause::Aborted`].
#[derive(Clone, Debug)]
pub struct AbortHandle {
    aborted: Arc<AtomicBool>,
    socket: Arc<TcpStream>,
}

impl AbortHandle {
    pub(super) fn new(wire: &Wire, socket: &Arc<TcpStream>) -> Self {
        Self { aborted: Arc::clone(&wire.aborted), socket: Arc::clone(socket) }
    }

    /// Ends the connection. The peer finds it lost.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        let _ = self.socket.shutdown(Shutdown::Both); // fails only if it has ended already
    }
}

/// Sends from one slice, receives into another.
pub(super) struct Copying<'a> {
    pub(super) mine: &'a [u8],
    pub(super) theirs: &'a mut [u8],
}

impl Transfer for Copying<'_> {
    fn to_send(&self) -> usize {
        self.mine.len()
    }

    fn to_receive(&self) -> usize {
        self.theirs.len()
    }

    fn receivable(&self, _sent: usize) -> usize {
        self.theirs.len()
    }

    fn outgoing(&self, from: usize) -> &[u8] {
        chunk(self.mine, from)
    }

    fn incoming(&mut self, at: usize, bytes: &[u8]) -> usize {
        self.theirs[at..at + bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }
}

/// Sends from a slice and folds what is received into its part that is encrypted already.
struct InPlace<'a, 'f> {
    bytes: &'a mut [u8],
    fold: &'f mut dyn FnMut(&mut [u8], &[u8]),
}

impl Transfer for InPlace<'_, '_> {
    fn to_send(&self) -> usize {
        self.bytes.len()
    }

    fn to_receive(&self) -> usize {
        self.bytes.len()
    }

    fn receivable(&self, sent: usize) -> usize {
        sent
    }

    fn outgoing(&self, from: usize) -> &[u8] {
        chunk(self.bytes, from)
    }

    fn incoming(&mut self, at: usize, bytes: &[u8]) -> usize {
        let whole = if at + bytes.len() == self.bytes.len() { bytes.len() } else { bytes.len() / GRANULE * GRANULE };
        if whole > 0 {
            (self.fold)(&mut self.bytes[at..at + whole], &bytes[..whole]);
        }
        whole
    }
}
