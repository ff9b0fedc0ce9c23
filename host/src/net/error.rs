//! What can go wrong between two roles: with whom, during what, why, and what to do.

use core::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::connection::SLOWEST_BYTES_PER_SECOND;
use super::role::Role;

/// The other end of a connection, as far as it is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Certified by the handshake; on a connecting end, the role it was asked to be.
    pub role: Option<Role>,
    /// Where it was reached, or where it came from.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Some(role) => write!(f, "{role} ({})", self.address),
            None => write!(f, "an unknown peer ({})", self.address),
        }
    }
}

/// What was being done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Listening for connections.
    Listen,
    /// Reaching a peer over TCP.
    Connect,
    /// Authenticating each other.
    Handshake,
    /// Sending bytes or a message.
    Send,
    /// Receiving bytes or a message.
    Receive,
    /// Sending and receiving at once.
    Exchange,
    /// Ending a connection.
    Close,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listen => "listening",
            Self::Connect => "connecting",
            Self::Handshake => "authenticating",
            Self::Send => "sending",
            Self::Receive => "receiving",
            Self::Exchange => "exchanging",
            Self::Close => "closing",
        })
    }
}

/// A connection failed. It can be used no more; drop it, or close it to end in good order.
#[derive(Debug)]
pub struct NetError {
    /// With whom.
    pub peer: Peer,
    /// During what.
    pub operation: Operation,
    /// Why.
    pub cause: Cause,
}

impl NetError {
    /// Whether the same attempt may succeed later: the peer was away, or was lost.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.cause,
            Cause::Unreachable { .. }
                | Cause::Io(_)
                | Cause::Idle(_)
                | Cause::Late(_)
                | Cause::Slow(_)
                | Cause::Lost
                | Cause::Closed
                | Cause::Aborted
        )
    }

    /// Whether the peer ended the session in good order.
    pub fn is_closed(&self) -> bool {
        matches!(self.cause, Cause::Closed)
    }

    /// Whether this failure follows from another one: the peer ended the session in good order, for
    /// a reason of its own, or this side stopped the connection.
    pub fn is_consequence(&self) -> bool {
        matches!(self.cause, Cause::Closed | Cause::Aborted)
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, while {}: {}", self.peer, self.operation, self.cause)
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(error) | Cause::Unreachable { last: error, .. } => Some(error),
            Cause::Tls(error) => Some(error),
            Cause::Frame(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a connection failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Nobody accepted a connection in time; `last` is what the last attempt met.
    Unreachable {
        /// How long was tried.
        waited: Duration,
        /// What the last attempt met.
        last: io::Error,
    },
    /// The operating system refused an operation on the socket.
    Io(io::Error),
    /// Not a byte moved for this long.
    Idle(Duration),
    /// The peer sent more slowly than the slowest rate of an upload; the time that the upload had.
    Late(Duration),
    /// The peer did not authenticate itself in this time.
    Slow(Duration),
    /// The connection ended without notice: the peer was killed, or the network is down.
    Lost,
    /// The peer ended the session in good order, but earlier than expected.
    Closed,
    /// Stopped from this side, by an [`AbortHandle`](super::AbortHandle).
    Aborted,
    /// The connection failed earlier and can be used no more.
    Unusable,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer presented a certificate that does not do.
    Certificate(CertificateFault),
    /// The peer refused this end's certificate or handshake.
    Refused(AlertDescription),
    /// The peer takes no connections from this role.
    RoleRefused {
        /// The role of the connecting end.
        role: Role,
    },
    /// The peer is certified, but for a role that has no business here.
    Unwelcome {
        /// The peer's role.
        role: Role,
    },
    /// The listening end has no free place for connections of this role.
    Full {
        /// The role of the connecting end.
        role: Role,
    },
    /// The listening end has no free slot: connections that do not authenticate themselves hold
    /// all.
    Crowded,
    /// The peer speaks another version of the protocol.
    Version {
        /// What this program speaks.
        ours: u16,
        /// What the peer speaks.
        theirs: u16,
    },
    /// The peer authenticated itself but does not greet as Symbolon does.
    NotSymbolon,
    /// TLS failed in another way: records were altered, or the peer misbehaved.
    Tls(rustls::Error),
    /// A message is longer than what is accepted.
    TooLong {
        /// Bytes announced.
        len: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// A message does not decode as what is due here.
    Frame(postcard::Error),
    /// A message carries bytes behind its end.
    Trailing {
        /// How many.
        len: usize,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { waited, last } => write!(
                f,
                "nobody accepted a connection within {:.1} s ({last}); start the role there, or correct its address",
                waited.as_secs_f64()
            ),
            Self::Io(error) => write!(f, "{error}"),
            Self::Idle(limit) => write!(
                f,
                "not a byte moved for {:.1} s; see whether it still runs, or raise `timeouts.idle_ms`",
                limit.as_secs_f64()
            ),
            Self::Late(allowed) => write!(
                f,
                "not all that was due arrived within {:.1} s: `timeouts.idle_ms`, and a second for each {} KiB; \
                 send faster, or raise `timeouts.idle_ms`",
                allowed.as_secs_f64(),
                SLOWEST_BYTES_PER_SECOND >> 10
            ),
            Self::Slow(limit) => write!(f, "not authenticated within {:.1} s", limit.as_secs_f64()),
            Self::Lost => f.write_str("the connection was lost; see why it stopped there"),
            Self::Closed => f.write_str("it ended the session early; its own error says why"),
            Self::Aborted => f.write_str("stopped from this side"),
            Self::Unusable => f.write_str("the connection failed earlier"),
            Self::NotTls => f.write_str("it does not speak TLS; is the address that of a Symbolon role?"),
            Self::Certificate(fault) => write!(f, "its certificate {fault}"),
            Self::Refused(alert) => refused(f, *alert),
            Self::RoleRefused { role } => {
                write!(f, "it takes no connections from the role {role}; correct the address or the certificate")
            }
            Self::Unwelcome { role } => write!(f, "the role {role} has no business here; correct its addresses"),
            Self::Full { role } => write!(
                f,
                "the listening end serves as many connections from the role {role} as it may; try again when some have ended"
            ),
            Self::Crowded => f.write_str(
                "closed before a handshake: connections that are not authenticated hold all slots for such addresses; \
                 more of them are closed without a line",
            ),
            Self::Version { ours, theirs } => write!(
                f,
                "it speaks version {theirs} of the protocol, this program {ours}; run the same release on every role"
            ),
            Self::NotSymbolon => f.write_str("it does not speak the Symbolon protocol"),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::TooLong { len, max } => write!(f, "a message of {len} bytes, where at most {max} are accepted"),
            Self::Frame(error) => {
                write!(f, "a message that is not what was due ({error}); run the same release on every role")
            }
            Self::Trailing { len } => {
                write!(f, "a message with {len} bytes behind its end; run the same release on every role")
            }
        }
    }
}

/// What an alert in answer to the handshake says about this end.
fn refused(f: &mut fmt::Formatter<'_>, alert: AlertDescription) -> fmt::Result {
    let why = match alert {
        AlertDescription::CertificateExpired => "it finds our certificate expired; issue new ones, or set the clocks",
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "our certificate is not from its deployment; install the certificates of one `symbolon init` on all roles"
        }
        AlertDescription::BadCertificate => "it refused our certificate, perhaps as that of another role",
        AlertDescription::CertificateRequired => "it asks for a certificate and we sent none",
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
        other => return write!(f, "it refused the handshake ({other:?})"),
    };
    f.write_str(why)
}

/// What is wrong with a certificate. Reads as a sentence behind "the certificate".
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Its time is over, for this long.
    Expired {
        /// How long ago it ended, where known.
        ago: Option<Duration>,
    },
    /// Its time has not begun.
    NotYetValid,
    /// Another authority signed it.
    UnknownCa,
    /// It is good, but for another role.
    WrongRole {
        /// The role that was due.
        wanted: Role,
        /// The names that it certifies instead.
        names: Vec<String>,
    },
    /// It names no role.
    NoRole,
    /// It names several roles.
    SeveralRoles,
    /// It is not meant for TLS on both ends.
    WrongUse,
    /// It is malformed, or wrong in another way.
    Invalid(CertificateError),
}

impl CertificateFault {
    /// The fault that rustls found in a certificate that should be `wanted`'s.
    pub(super) fn new(error: CertificateError, wanted: Option<Role>) -> Self {
        match (error, wanted) {
            (CertificateError::ExpiredContext { time, not_after }, _) => {
                let secs = time.as_secs().saturating_sub(not_after.as_secs());
                Self::Expired { ago: Some(Duration::from_secs(secs)) }
            }
            (CertificateError::Expired, _) => Self::Expired { ago: None },
            (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }, _) => Self::NotYetValid,
            // A signature fails where another authority goes by the same name.
            (CertificateError::UnknownIssuer | CertificateError::BadSignature, _) => Self::UnknownCa,
            (CertificateError::NotValidForNameContext { presented, .. }, Some(wanted)) => {
                Self::WrongRole { wanted, names: presented.iter().map(|name| bare(name).to_owned()).collect() }
            }
            (CertificateError::NotValidForName, Some(wanted)) => Self::WrongRole { wanted, names: Vec::new() },
            (CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }, _) => Self::WrongUse,
            (other, _) => Self::Invalid(other),
        }
    }
}

/// `server0` of `DnsName("server0")`, as rustls presents names.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner.trim_end_matches(')'));
    inner.trim_matches('"')
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { ago: Some(ago) } => {
                let hours = ago.as_secs() / 3600;
                write!(f, "expired {} days and {} hours ago; issue new ones, or set the clocks", hours / 24, hours % 24)
            }
            Self::Expired { ago: None } => f.write_str("has expired; issue new ones, or set the clocks"),
            Self::NotYetValid => f.write_str("is not valid yet; set the clocks"),
            Self::UnknownCa => {
                f.write_str("is from another authority; install the certificates of one `symbolon init` on all roles")
            }
            Self::WrongRole { wanted, names } => write!(
                f,
                "is not that of {wanted} but of {}; correct the address, or install the right certificate there",
                names.join(", ")
            ),
            Self::NoRole => f.write_str("names no role; issue one whose alternative name is the role's"),
            Self::SeveralRoles => f.write_str("names several roles; issue one for each role"),
            Self::WrongUse => f.write_str("is not for TLS on both ends; issue one for server and client use"),
            Self::Invalid(error) => write!(f, "is invalid: {error}"),
        }
    }
}
