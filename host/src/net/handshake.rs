//! How two roles meet: TCP, TLS 1.3 with certificates on both ends, then a greeting.
//!
//! In TLS 1.3 the connecting end is done before the other has looked at its certificate. So each end greets the other inside
//! the tunnel, and a connection is made only when both greetings have arrived. A greeting is eight bytes:
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..4 | `SYMB` |
//! | 4..6 | protocol version, little-endian |
//! | 6 | 0: welcome; 1: no connections from your role; 2: no more of them now |
//! | 7 | 0 |

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use tokio::runtime::{Builder, Runtime};

use super::cancel::Cancel;
use super::connection::{AbortHandle, Connection, Copying, Timeouts};
use super::error::{Cause, CertificateFault, NetError, Operation, Peer};
use super::records::{Records, Session};
use super::role::Role;
use super::tls::{self, ClientTls, ServerTls};
use super::wire::{Limit, Traffic, Wire};

/// The version of the protocol between roles. Peers of different versions refuse each other.
pub const PROTOCOL_VERSION: u16 = 14;

const MAGIC: [u8; 4] = *b"SYMB";
const GREETING_LEN: usize = 8;
const WELCOME: u8 = 0;
const ROLE_REFUSED: u8 = 1;
const FULL: u8 = 2;

/// Longest single attempt to reach an address, so that one that swallows packets does not use up the whole time.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Longest pause between attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Connects to `peer` at `address` (`host:port`). Roles start in any order, so this goes on trying for
/// `timeouts.connect`.
///
/// # Errors
///
/// If nobody accepts in time; if whoever does is not certified as `peer`, is of another version, or refuses this end.
pub fn connect(address: &str, tls: &ClientTls, peer: Role, timeouts: &Timeouts) -> Result<Connection, NetError> {
    connect_until(&Cancel::default(), address, tls, peer, timeouts)
}

/// As [`connect`], until `cancel` is cancelled; `cancel` then guards the connection.
///
/// # Errors
///
/// As [`connect`]; [`Cause::Aborted`]. An attempt at an address that does not answer ends within 5
/// s of the cancellation.
pub fn connect_until(
    cancel: &Cancel,
    address: &str,
    tls: &ClientTls,
    peer: Role,
    timeouts: &Timeouts,
) -> Result<Connection, NetError> {
    let fault =
        |operation, cause| NetError { peer: Peer { role: Some(peer), address: address.to_owned() }, operation, cause };
    let stream = reach(address, timeouts.connect, cancel, || (tls.waiting)(peer, address))
        .map_err(|cause| fault(Operation::Connect, cause))?;
    let session = || {
        let inner = UnbufferedClientConnection::new(Arc::clone(&tls.config), tls::role_name(peer));
        Ok(Box::new(Session::new(inner.map_err(Cause::Tls)?)) as Box<dyn Records>)
    };
    Meeting::open(stream, session, Some(peer), timeouts)
        .and_then(|mut meeting| {
            cancel.guard(AbortHandle::new(&meeting.wire, &meeting.socket));
            meeting.run(async |wire| {
                wire.handshake().await?;
                greet(wire, WELCOME).await?;
                match welcome(wire).await? {
                    WELCOME => Ok(()),
                    ROLE_REFUSED => Err(Cause::RoleRefused { role: tls.role }),
                    FULL => Err(Cause::Full { role: tls.role }),
                    _ => Err(Cause::NotSymbolon),
                }
            })?;
            Ok(meeting.into_connection(address.to_owned(), peer, timeouts))
        })
        .map_err(|cause| fault(Operation::Handshake, cause))
}

/// Makes a connection of an accepted TCP stream, and says who is there.
///
/// # Errors
///
/// If the peer does not authenticate itself in time as one of the roles that `tls` accepts, or is of another version. The
/// peer is told why.
pub fn accept(stream: TcpStream, tls: &ServerTls, timeouts: &Timeouts) -> Result<(Connection, Role), NetError> {
    accept_if(stream, tls, timeouts, |_| Some(())).map(|(connection, role, ())| (connection, role))
}

/// As [`accept`], if `place` returns a place for the authenticated role.
///
/// # Errors
///
/// As [`accept`]; [`Cause::Full`].
pub(super) fn accept_if<P>(
    stream: TcpStream,
    tls: &ServerTls,
    timeouts: &Timeouts,
    place: impl FnOnce(Role) -> Option<P>,
) -> Result<(Connection, Role, P), NetError> {
    let address = stream.peer_addr().map_or_else(|_| "address unknown".to_owned(), |address| address.to_string());
    let (mut role, mut serial) = (None, String::new());
    let session = || {
        let inner = UnbufferedServerConnection::new(Arc::clone(&tls.config));
        Ok(Box::new(Session::new(inner.map_err(Cause::Tls)?)) as Box<dyn Records>)
    };
    let result = Meeting::open(stream, session, None, timeouts).and_then(|mut meeting| {
        let certified = meeting.run(async |wire| {
            wire.handshake().await?;
            let certified;
            (certified, serial) = certified_peer(wire)?;
            role = Some(certified);
            let place = match tls.accepted.contains(&certified) {
                true => place(certified).ok_or((FULL, Cause::Full { role: certified })),
                false => Err((ROLE_REFUSED, Cause::Unwelcome { role: certified })),
            };
            greet(wire, place.as_ref().map_or_else(|(status, _)| *status, |_| WELCOME)).await?;
            welcome(wire).await?;
            place.map(|place| (certified, place)).map_err(|(_, cause)| cause)
        })?;
        let (certified, place) = certified;
        let connection = meeting.into_connection(address.clone(), certified, timeouts).certified(serial);
        Ok((connection, certified, place))
    });
    result.map_err(|cause| NetError { peer: Peer { role, address }, operation: Operation::Handshake, cause })
}

/// A socket and its session before they are a connection.
struct Meeting {
    runtime: Runtime,
    wire: Wire,
    socket: Arc<TcpStream>,
}

impl Meeting {
    fn open(
        stream: TcpStream,
        session: impl FnOnce() -> Result<Box<dyn Records>, Cause>,
        wanted: Option<Role>,
        timeouts: &Timeouts,
    ) -> Result<Self, Cause> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(Cause::Io)?;
        stream.set_nodelay(true).map_err(Cause::Io)?;
        stream.set_nonblocking(true).map_err(Cause::Io)?;
        let socket = Arc::new(stream.try_clone().map_err(Cause::Io)?);
        let stream = {
            let _guard = runtime.enter();
            tokio::net::TcpStream::from_std(stream).map_err(Cause::Io)?
        };
        let limit = Limit::Until(Instant::now() + timeouts.handshake, timeouts.handshake);
        Ok(Self { runtime, wire: Wire::new(stream, session()?, limit, wanted), socket })
    }

    /// Runs `steps`; should they fail, tells the peer.
    fn run<T>(&mut self, steps: impl AsyncFnOnce(&mut Wire) -> Result<T, Cause>) -> Result<T, Cause> {
        let Self { runtime, wire, .. } = self;
        runtime.block_on(async {
            let result = steps(wire).await;
            if !matches!(result, Ok(_) | Err(Cause::Lost | Cause::Aborted | Cause::Io(_) | Cause::Slow(_))) {
                wire.reject().await;
            }
            result
        })
    }

    fn into_connection(self, address: String, role: Role, timeouts: &Timeouts) -> Connection {
        let Self { runtime, mut wire, socket } = self;
        wire.traffic = Traffic { payload_sent: 0, payload_received: 0, ..wire.traffic };
        Connection::new(runtime, wire, address, role, socket, timeouts)
    }
}

/// Returns the role that the peer's certificate certifies, and the certificate's serial number.
/// rustls has verified its chain.
fn certified_peer(wire: &Wire) -> Result<(Role, String), Cause> {
    let chain = wire.records.common().peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or(Cause::Certificate(CertificateFault::NoRole))?;
    let certified = tls::certified_role(leaf).and_then(|role| Ok((role, tls::serial(leaf)?)));
    certified.map_err(Cause::Certificate)
}

async fn greet(wire: &mut Wire, status: u8) -> Result<(), Cause> {
    let version = PROTOCOL_VERSION.to_le_bytes();
    let [a, b, c, d] = MAGIC;
    let greeting = [a, b, c, d, version[0], version[1], status, 0];
    wire.run(&mut Copying { mine: &greeting, theirs: &mut [] }).await
}

/// Receives the peer's greeting; returns its status.
async fn welcome(wire: &mut Wire) -> Result<u8, Cause> {
    let mut greeting = [0; GREETING_LEN];
    wire.run(&mut Copying { mine: &[], theirs: &mut greeting }).await?;
    let [a, b, c, d, low, high, status, _] = greeting;
    let theirs = u16::from_le_bytes([low, high]);
    match theirs {
        _ if [a, b, c, d] != MAGIC => Err(Cause::NotSymbolon),
        PROTOCOL_VERSION => Ok(status),
        _ => Err(Cause::Version { ours: PROTOCOL_VERSION, theirs }),
    }
}

/// Tries all addresses of `address` until one accepts, `limit` is over, or the session is
/// cancelled.
fn reach(address: &str, limit: Duration, cancel: &Cancel, tell: impl FnOnce()) -> Result<TcpStream, Cause> {
    let started = Instant::now();
    let end = started + limit;
    let mut pause = Duration::from_millis(10);
    let mut tell = Some(tell);
    loop {
        // What swallows packets is told of before the long attempt.
        let until = if tell.is_some() { end.min(Instant::now() + PAUSE) } else { end };
        let last = match attempt(address, until) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if cancel.is_cancelled() {
            return Err(Cause::Aborted);
        }
        if Instant::now() + pause >= end {
            return Err(Cause::Unreachable { waited: limit, last });
        }
        if started.elapsed() >= PAUSE
            && let Some(tell) = tell.take()
        {
            tell();
        }
        std::thread::sleep(pause);
        pause = PAUSE.min(pause * 2);
    }
}

fn attempt(address: &str, end: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, NoAddress);
    for address in address.to_socket_addrs()? {
        // A zero time-out is an error to the standard library.
        let left = end.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), ATTEMPT);
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A name that stands for no address.
#[derive(Debug)]
struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no address")
    }
}

impl std::error::Error for NoAddress {}
