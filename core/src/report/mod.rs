//! From a reading to a sealed report, and from a sealed report to a share: what devices and the servers' intake have in common.
//!
//! A device packs its readings' codes into a record, splits the record in the readings' narrow rings, seals a part to each server, and keeps the
//! report until both servers say that they hold it. Lower never imports higher:
//!
//! | module | what |
//! | --- | --- |
//! | [`schema`] | the fields of a record, their widths and meaning; a hash; where each code stands |
//! | [`record`] | packed codes: put, get, split in the narrow rings, expand |
//! | [`header`] | who, which boot, which report, when: what the seals bind |
//! | [`frame`] | what crosses a line: postcard, CRC-32, COBS |
//! | [`identity`] | what is flashed: keys, schema, servers |
//! | [`session`] | one HPKE session a boot and server: sealing, opening, answers |
//! | [`outbox`] | reports that wait for both servers |
//! | [`node`] | a device as a state machine: no IO, no clock |
//! | [`question`] | a prediction of the device's own record, for devices that ask |
//!
//! **Who supplies what.** Readings come from the device. Its time is whatever clock it has and is public, as is which device reported when. A label
//! is a field of the device's own record, or comes later from a data owner, in a report *about* the device's ([`header::Header::about`]).
//!
//! **Adversary.** Devices and whatever lies between may be malicious. A device can lie about its own readings within their declared ranges: *any*
//! words that it sends are codes of these widths. What lies between can delay and drop, and sees who sends how much when; it can neither read,
//! change, nor invent reports or answers. Each server alone sees uniform words.

pub mod frame;
pub mod header;
pub mod identity;
pub mod node;
pub mod outbox;
pub mod question;
pub mod record;
pub mod schema;
pub mod session;
pub mod window;

use core::fmt;

/// Why a server does not take a report. The codes are stable: they stand in frames, stores and logs.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Reason {
    /// No report: a part, header or length that none has.
    Malformed = 1,
    /// A protocol version that this server does not speak.
    Version = 2,
    /// A device that the server does not know.
    UnknownDevice = 3,
    /// A device, or a key of it, that may not report (any more).
    Revoked = 4,
    /// A schema that the server does not know or the device may not use.
    Schema = 5,
    /// A part that is meant for the other server.
    OtherServer = 6,
    /// Sealed to a key that this server does not have or that is out of its time.
    Key = 7,
    /// The seal does not fit: another key, another header, or changed on the way.
    Forged = 8,
    /// The server knows no session of this boot: start it again.
    NoSession = 9,
    /// An older boot, or the same boot with another session.
    ReplayedBoot = 10,
    /// Another report of the same number is stored.
    ReplayedSequence = 11,
    /// A record that is longer or shorter than the schema's.
    Length = 12,
    /// More than the device may send for now.
    Quota = 13,
    /// The server cannot store anything for now.
    Full = 14,
    /// A label about a report of another task.
    About = 15,
    /// A query that is older than the device's newest, or whose answer the server no longer keeps.
    ReplayedQuery = 16,
    /// No model, or more than one, is published for devices of this schema.
    NoModel = 17,
    /// The model cannot answer for now: a server or the dealer is away, or too many queries wait.
    Unanswered = 18,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Malformed,
        Self::Version,
        Self::UnknownDevice,
        Self::Revoked,
        Self::Schema,
        Self::OtherServer,
        Self::Key,
        Self::Forged,
        Self::NoSession,
        Self::ReplayedBoot,
        Self::ReplayedSequence,
        Self::Length,
        Self::Quota,
        Self::Full,
        Self::About,
        Self::ReplayedQuery,
        Self::NoModel,
        Self::Unanswered,
    ];

    /// The reason with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == code)
    }

    /// The code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether the same report can never be taken. A device that is told so, authentically, gives the report up and counts it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Malformed | Self::Version | Self::ReplayedSequence | Self::Length | Self::About)
    }

    /// Whether a server that refuses a start for this reason refuses it for ever: neither waiting
    /// nor the operator can change that.
    pub const fn ends_boot(self) -> bool {
        matches!(self, Self::Malformed | Self::Version | Self::ReplayedBoot)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::UnknownDevice => "unknown-device",
            Self::Revoked => "revoked",
            Self::Schema => "schema",
            Self::OtherServer => "other-server",
            Self::Key => "key",
            Self::Forged => "forged",
            Self::NoSession => "no-session",
            Self::ReplayedBoot => "replayed-boot",
            Self::ReplayedSequence => "replayed-sequence",
            Self::Length => "length",
            Self::Quota => "quota",
            Self::Full => "full",
            Self::About => "about",
            Self::ReplayedQuery => "replayed-query",
            Self::NoModel => "no-model",
            Self::Unanswered => "unanswered",
        })
    }
}

impl core::error::Error for Reason {}
