//! What crosses a line: postcard and a CRC-32; on byte streams in COBS with a zero at the end.
//!
//! The CRC says that a frame is damaged; who made it is for the seals to say. On a byte stream a report of a 64-byte record takes 9 bytes beside header, tags
//! and sealed words, one of a kilobyte at most 14.

use super::header::{DeviceId, ReportId};
use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};

/// Ends a frame on a byte stream, and stands nowhere in one.
pub const DELIMITER: u8 = 0;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// Bytes of an encoded [`Predicted`] before the sealed ones.
pub const PREDICTED_HEAD_BYTES: usize = 45;

/// An authentication tag.
pub type Tag = [u8; TAG_BYTES];

/// A table of a kilobyte is much for a chip that checks a few frames a second.
#[cfg(target_os = "none")]
type Table = crc::NoTable;
#[cfg(not(target_os = "none"))]
type Table = crc::Table<1>;

pub(super) const CRC: Crc<u32, Table> = Crc::<u32, Table>::new(&CRC_32_ISO_HDLC);

/// From a device or to one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Frame<'a> {
    /// A device starts a session with both servers.
    Start {
        /// [`super::header::StartHeader`].
        header: &'a [u8],
        /// HPKE's encapsulated key for each server.
        enc: [[u8; 32]; 2],
        /// The device proves to each server that it has the session.
        tags: [Tag; 2],
    },
    /// A report.
    Report {
        /// [`super::header::Header`].
        header: &'a [u8],
        /// Of each server's part.
        tags: [Tag; 2],
        /// Server 1's share of the record, sealed. Server 0 makes its share itself.
        sealed: &'a [u8],
    },
    /// A server holds reports.
    Ack(Ack),
    /// A server does not take a report or a start.
    Refuse(Refuse),
    /// A server's part of the answer to a query: an encoded [`Predicted`].
    Predicted(&'a [u8]),
}

/// A server's part of the answer to a query, sealed to the device.
///
/// Its encoding has offsets of its own, so that a device that sends frames has no code for its
/// fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Predicted<'a> {
    /// 0 or 1.
    pub server: u8,
    /// The device that asked.
    pub device: u64,
    /// Of which boot.
    pub boot: u32,
    /// Which query.
    pub sequence: u32,
    /// Nonce of the seal, drawn for this answer.
    pub nonce: [u8; 12],
    /// Of the seal.
    pub tag: Tag,
    /// A [`super::question::Part`], sealed.
    pub sealed: &'a [u8],
}

/// [`Frame`] without those that devices send, and without answers to queries: a device that asks
/// nothing has no code to read them.
#[derive(Deserialize)]
enum Answer {
    Start,
    Report,
    Ack(Ack),
    Refuse(Refuse),
}

/// A server durably holds the session's start and these of its reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// 0 or 1.
    pub server: u8,
    /// Whose.
    pub device: u64,
    /// Of which boot.
    pub boot: u32,
    /// Sequence number of bit 0.
    pub from: u32,
    /// Bit `i`: the report `from + i` is held. A bit that is not set says nothing.
    pub held: u64,
    /// Authenticates all of it.
    pub tag: Tag,
}

/// A server does not take a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Refuse {
    /// 0 or 1.
    pub server: u8,
    /// Whose.
    pub device: u64,
    /// Of which boot.
    pub boot: u32,
    /// Which report; 0 for the start.
    pub sequence: u32,
    /// [`super::Reason`].
    pub reason: u8,
    /// Authenticates all of it; zeros if the server has no session to do so: then it is no more than a hint.
    pub tag: Tag,
}

impl<'a> Predicted<'a> {
    /// Writes server (1 byte), device (8), boot (4), sequence (4), nonce (12), tag (16) and the
    /// sealed bytes to the start of `out`; numbers are little-endian.
    ///
    /// # Errors
    ///
    /// [`Damage::Long`] if `out` is too short.
    pub fn write<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], Damage> {
        let out = out.get_mut(..PREDICTED_HEAD_BYTES + self.sealed.len()).ok_or(Damage::Long)?;
        out[0] = self.server;
        out[1..9].copy_from_slice(&self.device.to_le_bytes());
        out[9..13].copy_from_slice(&self.boot.to_le_bytes());
        out[13..17].copy_from_slice(&self.sequence.to_le_bytes());
        out[17..29].copy_from_slice(&self.nonce);
        out[29..45].copy_from_slice(&self.tag);
        out[45..].copy_from_slice(self.sealed);
        Ok(out)
    }

    /// Reads what [`Self::write`] wrote; `None` if it is too short.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, sealed) = bytes.split_first_chunk::<{ PREDICTED_HEAD_BYTES }>()?;
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (mut nonce, mut tag) = ([0; 12], [0; TAG_BYTES]);
        nonce.copy_from_slice(&head[17..29]);
        tag.copy_from_slice(&head[29..]);
        let device = u64::from(u32_at(1)) | u64::from(u32_at(5)) << 32;
        Some(Self { server: head[0], device, boot: u32_at(9), sequence: u32_at(13), nonce, tag, sealed })
    }
}

impl Ack {
    /// What the tag authenticates.
    pub fn message(&self) -> [u8; 26] {
        let mut out = [0; 26];
        (out[0], out[1]) = (0, self.server);
        out[2..10].copy_from_slice(&self.device.to_le_bytes());
        out[10..14].copy_from_slice(&self.boot.to_le_bytes());
        out[14..18].copy_from_slice(&self.from.to_le_bytes());
        out[18..].copy_from_slice(&self.held.to_le_bytes());
        out
    }
}

impl Refuse {
    /// What the tag authenticates.
    pub fn message(&self) -> [u8; 19] {
        let mut out = [0; 19];
        (out[0], out[1]) = (1, self.server);
        out[2..10].copy_from_slice(&self.device.to_le_bytes());
        out[10..14].copy_from_slice(&self.boot.to_le_bytes());
        out[14..18].copy_from_slice(&self.sequence.to_le_bytes());
        out[18] = self.reason;
        out
    }

    /// The report that is refused.
    pub fn id(&self) -> ReportId {
        ReportId { device: DeviceId(self.device), boot: self.boot, sequence: self.sequence }
    }
}

/// One server's part of a start or a report: all that this server is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Part<'a> {
    /// Of a start.
    Start {
        /// For which server, 0 or 1.
        server: u8,
        /// [`super::header::StartHeader`].
        header: &'a [u8],
        /// HPKE's encapsulated key.
        enc: [u8; 32],
        /// Proof of the session.
        tag: Tag,
    },
    /// Of a report.
    Report {
        /// For which server, 0 or 1.
        server: u8,
        /// [`super::header::Header`].
        header: &'a [u8],
        /// Of this part.
        tag: Tag,
        /// Server 1's share, sealed; empty for server 0.
        sealed: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// Both servers' parts of a start or a report; `None` for an answer.
    pub fn parts(&self) -> Option<[Part<'a>; 2]> {
        match *self {
            Self::Start { header, enc, tags } => {
                let part = |i: u8, enc, tag| Part::Start { server: i, header, enc, tag };
                Some([part(0, enc[0], tags[0]), part(1, enc[1], tags[1])])
            }
            Self::Report { header, tags, sealed } => {
                let part = |i: u8, tag, sealed| Part::Report { server: i, header, tag, sealed };
                Some([part(0, tags[0], &[]), part(1, tags[1], sealed)])
            }
            Self::Ack(_) | Self::Refuse(_) | Self::Predicted(_) => None,
        }
    }

    /// Writes the frame and its CRC to the start of `out`: for carriers that keep messages apart.
    ///
    /// # Errors
    ///
    /// [`Damage::Long`] if `out` is too short.
    pub fn encode<'o>(&self, out: &'o mut [u8]) -> Result<&'o mut [u8], Damage> {
        let len = postcard::to_slice(self, out).map_err(|_| Damage::Long)?.len();
        let crc = CRC.checksum(&out[..len]).to_le_bytes();
        out.get_mut(len..len + crc.len()).ok_or(Damage::Long)?.copy_from_slice(&crc);
        Ok(&mut out[..len + crc.len()])
    }

    /// Writes the frame for a byte stream, delimiter and all. `scratch` holds it for a moment and needs as many bytes as the frame.
    ///
    /// # Errors
    ///
    /// [`Damage::Long`] if a buffer is too short.
    pub fn encode_stream<'o>(&self, scratch: &mut [u8], out: &'o mut [u8]) -> Result<&'o [u8], Damage> {
        let frame = self.encode(scratch)?;
        let body = out.len().checked_sub(1).ok_or(Damage::Long)?;
        let len = cobs::try_encode(frame, &mut out[..body]).map_err(|_| Damage::Long)?;
        out[len] = DELIMITER;
        Ok(&out[..=len])
    }

    /// Reads a frame that [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// What the line did to it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Damage> {
        whole(checked(bytes)?)
    }
}

impl Frame<'static> {
    /// Reads a server's acknowledgement or refusal; any other frame is [`Damage::Unknown`].
    ///
    /// # Errors
    ///
    /// What the line did to it.
    pub fn decode_answer(bytes: &[u8]) -> Result<Self, Damage> {
        match whole(checked(bytes)?)? {
            Answer::Ack(ack) => Ok(Self::Ack(ack)),
            Answer::Refuse(refuse) => Ok(Self::Refuse(refuse)),
            Answer::Start | Answer::Report => Err(Damage::Unknown),
        }
    }
}

/// What the CRC at the end is of.
fn checked(bytes: &[u8]) -> Result<&[u8], Damage> {
    let (frame, crc) = bytes.split_last_chunk().ok_or(Damage::Short)?;
    if CRC.checksum(frame).to_le_bytes() == *crc { Ok(frame) } else { Err(Damage::Crc) }
}

/// Reads all of `bytes`.
fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Damage> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Damage::Unknown),
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Damage {
    /// Longer than the buffer.
    Long,
    /// Shorter than any frame.
    Short,
    /// Zero bytes where none can be.
    Cobs,
    /// Changed on the way.
    Crc,
    /// Whole, but of another protocol or version.
    Unknown,
}

impl core::fmt::Display for Damage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Long => "a frame longer than the buffer",
            Self::Short => "a frame shorter than any",
            Self::Cobs => "a frame that COBS cannot read",
            Self::Crc => "a frame that was changed on the way",
            Self::Unknown => "a frame of another protocol or version",
        })
    }
}

impl core::error::Error for Damage {}

/// Gathers frames from a byte stream. `N` bounds their length on the line.
pub struct Decoder<const N: usize> {
    buffer: [u8; N],
    len: usize,
    /// The frame grew beyond the buffer: skip to its end.
    overlong: bool,
    /// The buffer holds a frame that was given out.
    spent: bool,
}

impl<const N: usize> Default for Decoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Decoder<N> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { buffer: [0; N], len: 0, overlong: false, spent: false }
    }

    /// Takes a byte; at a frame's end gives the frame, or says what is wrong with it. Empty frames are skipped.
    pub fn push(&mut self, byte: u8) -> Option<Result<Frame<'_>, Damage>> {
        Some(self.gather(byte)?.and_then(Frame::decode))
    }

    /// As [`Self::push`], for a device that asks nothing: see [`Frame::decode_answer`].
    pub fn push_answer(&mut self, byte: u8) -> Option<Result<Frame<'static>, Damage>> {
        Some(self.gather(byte)?.and_then(Frame::decode_answer))
    }

    /// The bytes of a frame, at its end.
    fn gather(&mut self, byte: u8) -> Option<Result<&[u8], Damage>> {
        if self.spent {
            (self.len, self.overlong, self.spent) = (0, false, false);
        }
        if byte != DELIMITER {
            match self.buffer.get_mut(self.len) {
                Some(free) => *free = byte,
                None => self.overlong = true,
            }
            self.len = N.min(self.len.saturating_add(1));
            return None;
        }
        if self.len == 0 {
            return None;
        }
        self.spent = true;
        if self.overlong {
            return Some(Err(Damage::Long));
        }
        let Ok(len) = cobs::decode_in_place(&mut self.buffer[..self.len]) else { return Some(Err(Damage::Cobs)) };
        Some(Ok(&self.buffer[..len]))
    }
}
