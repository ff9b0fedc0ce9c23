//! Who reports, in which boot, which report, when. Public; every seal binds it.

use super::{Reason, schema::SchemaHash};

/// Version of headers, sessions and frames.
pub const VERSION: u8 = 1;

/// Names a device.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeviceId(pub u64);

impl core::fmt::Display for DeviceId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names a report, for good: no device sends two of one name.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReportId {
    /// Who.
    pub device: DeviceId,
    /// Value of the device's durable counter of boots.
    pub boot: u32,
    /// Number of the report in this boot, from 1; of a query, from `QUERY + 1`.
    pub sequence: u32,
}

/// The bit of a [`ReportId::sequence`] that marks a query: the servers predict from its record and
/// store none of it. Reports are numbered below it.
pub const QUERY: u32 = 1 << 31;

impl ReportId {
    /// Whether it names a query.
    pub const fn is_query(&self) -> bool {
        self.sequence & QUERY != 0
    }

    /// Bytes of an encoded name.
    pub const ENCODED_BYTES: usize = 16;

    /// Big-endian, so that bytes sort as names do.
    pub fn to_bytes(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = [0; Self::ENCODED_BYTES];
        out[..8].copy_from_slice(&self.device.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.boot.to_be_bytes());
        out[12..].copy_from_slice(&self.sequence.to_be_bytes());
        out
    }

    /// The name that [`Self::to_bytes`] encoded.
    pub fn from_bytes(bytes: &[u8; Self::ENCODED_BYTES]) -> Self {
        let n = u128::from_be_bytes(*bytes);
        #[allow(clippy::cast_possible_truncation)] // the parts of a number
        Self { device: DeviceId((n >> 64) as u64), boot: (n >> 32) as u32, sequence: n as u32 }
    }
}

/// Header of a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Its name.
    pub id: ReportId,
    /// When the device took the readings, milliseconds by its own clock: since its start if it has no calendar.
    pub time_ms: u64,
    /// Records that the device had to give up since it started, for want of room.
    pub dropped: u32,
    /// The report that this one's labels are about, if it is another.
    pub about: Option<ReportId>,
}

/// An encoded header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeaderBytes {
    bytes: [u8; Header::LONG_BYTES],
    len: usize,
}

impl AsRef<[u8]> for HeaderBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Header {
    /// Bytes of a header without [`Header::about`].
    pub const BYTES: usize = 29;
    /// Bytes of a header with it.
    pub const LONG_BYTES: usize = Self::BYTES + ReportId::ENCODED_BYTES;

    /// Version (1 byte), device (8), boot (4), sequence (4), time (8), dropped (4), all little-endian; then what it is about, as [`ReportId::to_bytes`].
    pub fn to_bytes(&self) -> HeaderBytes {
        let mut bytes = [0; Self::LONG_BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.id.device.0.to_le_bytes());
        bytes[9..13].copy_from_slice(&self.id.boot.to_le_bytes());
        bytes[13..17].copy_from_slice(&self.id.sequence.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[25..29].copy_from_slice(&self.dropped.to_le_bytes());
        let Some(about) = self.about else { return HeaderBytes { bytes, len: Self::BYTES } };
        bytes[29..].copy_from_slice(&about.to_bytes());
        HeaderBytes { bytes, len: Self::LONG_BYTES }
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`Reason::Version`]; [`Reason::Malformed`] for a length that no header has, for sequence 0
    /// of reports or queries, or for a query about a report.
    pub fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let fixed: &[u8; Self::BYTES] = bytes.first_chunk().ok_or(Reason::Malformed)?;
        if fixed[0] != VERSION {
            return Err(Reason::Version);
        }
        let about = match &bytes[Self::BYTES..] {
            [] => None,
            rest => Some(ReportId::from_bytes(rest.try_into().map_err(|_| Reason::Malformed)?)),
        };
        let id = ReportId { device: device(fixed), boot: u32_at(fixed, 9), sequence: u32_at(fixed, 13) };
        let time_ms = u64::from(u32_at(fixed, 17)) | u64::from(u32_at(fixed, 21)) << 32;
        let header = Self { id, time_ms, dropped: u32_at(fixed, 25), about };
        let is_invalid = id.sequence & !QUERY == 0 || (id.is_query() && about.is_some());
        if is_invalid { Err(Reason::Malformed) } else { Ok(header) }
    }
}

/// Header of a session's start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StartHeader {
    /// Who.
    pub device: DeviceId,
    /// Which boot.
    pub boot: u32,
    /// What the records of this session hold.
    pub schema: SchemaHash,
    /// Which key of each server the session is sealed to.
    pub keys: [u32; 2],
    /// Random: tells this start from any other, also where a counter of boots went back. Servers join shares of one session alone.
    pub session: [u8; 16],
}

impl StartHeader {
    /// Bytes of an encoded header.
    pub const BYTES: usize = 69;

    /// Version (1 byte), device (8), boot (4), schema (32), keys (4 each), session (16); numbers are little-endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = VERSION;
        out[1..9].copy_from_slice(&self.device.0.to_le_bytes());
        out[9..13].copy_from_slice(&self.boot.to_le_bytes());
        out[13..45].copy_from_slice(&self.schema);
        out[45..49].copy_from_slice(&self.keys[0].to_le_bytes());
        out[49..53].copy_from_slice(&self.keys[1].to_le_bytes());
        out[53..].copy_from_slice(&self.session);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] for another length, [`Reason::Version`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().map_err(|_| Reason::Malformed)?;
        if bytes[0] != VERSION {
            return Err(Reason::Version);
        }
        let (mut schema, mut session) = ([0; 32], [0; 16]);
        schema.copy_from_slice(&bytes[13..45]);
        session.copy_from_slice(&bytes[53..]);
        let keys = [u32_at(bytes, 45), u32_at(bytes, 49)];
        Ok(Self { device: device(bytes), boot: u32_at(bytes, 9), schema, keys, session })
    }
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn device<const N: usize>(bytes: &[u8; N]) -> DeviceId {
    DeviceId(u64::from(u32_at(bytes, 1)) | u64::from(u32_at(bytes, 5)) << 32)
}
