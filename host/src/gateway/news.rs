//! What a gateway says: changes of state, a line each, and figures now and then. Never what a report holds, which it does not know.

use super::Source;
use crate::net::{NetError, Role};
use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

/// Something that changed, or how things stand.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// Devices may connect here.
    Listening(SocketAddr),
    /// A server cannot be reached or was lost: its parts wait.
    Away {
        /// Which.
        server: Role,
        /// Why.
        error: Box<NetError>,
    },
    /// A server is there, for the first time or again.
    Here {
        /// Which.
        server: Role,
        /// Parts on disk that it gets first.
        on_disk: u64,
    },
    /// A server's half of the buffer has no room left for a source: its new parts stay with the devices. Told as that begins, once a minute at most, and not again while it lasts.
    Full {
        /// Which.
        server: Role,
        /// Whose: of those who have no room, who holds the most.
        source: Source,
    },
    /// The buffer cannot be read or written: parts wait in memory, as long as there is room.
    Buffer {
        /// Whose.
        server: Role,
        /// What the disk says.
        error: Box<redb::Error>,
    },
    /// A serial port is open, or open again.
    SerialHere(PathBuf),
    /// A serial port cannot be opened, or its device is gone; it is tried again.
    SerialAway {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The broker is there, for the first time or again.
    BrokerHere,
    /// The broker cannot be reached or was lost; it is tried again.
    BrokerAway(Box<rumqttc::v5::ConnectionError>),
    /// How things stand.
    Status(Status),
}

/// Counts since the gateway started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Frames of devices.
    pub frames: u64,
    /// Frames that were damaged, of another version, or no device's.
    pub damaged: u64,
    /// Connections that were refused because there were too many, or too many of one source.
    pub refused: u64,
    /// Parts of each server that were not taken for want of room.
    pub full: [u64; 2],
    /// Parts that wait in memory for each server.
    pub waiting: [u64; 2],
    /// Parts that wait on disk for each server.
    pub on_disk: [u64; 2],
    /// Parts that each server has answered for.
    pub delivered: [u64; 2],
    /// Answers that went to a line.
    pub answers: u64,
    /// Answers for devices that were not heard or whose line takes none.
    pub lost_answers: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, damaged, refused, full, waiting, on_disk, delivered, answers, lost_answers } = self;
        write!(f, "{frames} frames in, {damaged} damaged, {refused} connections refused")?;
        for i in 0..2 {
            write!(f, "; server{i}: {} delivered, {} waiting", delivered[i], waiting[i])?;
            write!(f, ", {} on disk, {} not taken", on_disk[i], full[i])?;
        }
        write!(f, "; {answers} answers out, {lost_answers} without a line")
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(address) => write!(f, "gateway listens on {address}"),
            Self::Away { server, error } => write!(f, "{server} is away, its parts wait: {error}"),
            Self::Here { server, on_disk } => write!(f, "{server} is there; {on_disk} parts on disk go first"),
            Self::Full { server, source } => {
                write!(f, "the buffer for {server} has no more room for {source}: its devices keep their reports; ")?;
                f.write_str("see whether it sends what it should, or raise gateway.buffer_mib")
            }
            Self::Buffer { server, error } => write!(f, "the buffer for {server}: {error}; check the disk"),
            Self::SerialHere(path) => write!(f, "{} is open", path.display()),
            Self::SerialAway { path, error } => write!(f, "{}: {error}; tried again each second", path.display()),
            Self::BrokerHere => f.write_str("the broker is there"),
            Self::BrokerAway(error) => write!(f, "the broker is away, tried again: {error}"),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

/// What is counted as it happens.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) full: [AtomicU64; 2],
    pub(super) on_disk: [AtomicU64; 2],
    pub(super) delivered: [AtomicU64; 2],
    pub(super) answers: AtomicU64,
    pub(super) lost_answers: AtomicU64,
}

/// Adds to a count.
pub(super) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    /// The counts now.
    pub(super) fn status(&self, waiting: [u64; 2]) -> Status {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let both = |counters: &[AtomicU64; 2]| [get(&counters[0]), get(&counters[1])];
        Status {
            frames: get(&self.frames),
            damaged: get(&self.damaged),
            refused: get(&self.refused),
            full: both(&self.full),
            waiting,
            on_disk: both(&self.on_disk),
            delivered: both(&self.delivered),
            answers: get(&self.answers),
            lost_answers: get(&self.lost_answers),
        }
    }
}
