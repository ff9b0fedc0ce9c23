//! Frames on a byte line: kind (1 byte), number (2), length (2), payload, CRC-32 of all before it; little-endian.
//!
//! Each direction counts its frames. What was damaged, lost, repeated or does not fit the plan is [`Error::Malformed`] or
//! [`Error::TimedOut`]: the job ends, nothing is sent again. Payloads are written and folded as they are, without a buffer.
//!
//! The device speaks first in each round, the host party answers when it has heard it: a line without flow control never has to take in a
//! frame while it sends one.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};
use symbolon_core::{
    link::{Error, Fold, Link, Part, Peer},
    word::Word,
};

const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
const HEADER_BYTES: usize = 5;
/// Words that are received at a time, on the stack.
const CHUNK: usize = 32;

/// What a frame carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// The session.
    Hello = 1,
    /// A sealed seed.
    Seed = 2,
    /// Words of one round.
    Round = 3,
    /// Shares of the outputs, padded.
    Result = 4,
}

/// Bytes that come and go, with patience.
pub trait Line {
    /// Sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    fn send(&mut self, bytes: &[u8]) -> Result<(), Error>;
    /// Fills `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] or [`Error::TimedOut`].
    fn receive(&mut self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// Both directions of a line.
pub struct Frames<L> {
    line: L,
    sent: u16,
    received: u16,
}

/// A frame whose payload is being received. Only [`Incoming::finish`] tells whether it was undamaged.
pub struct Incoming<'a, L> {
    line: &'a mut L,
    digest: Digest<'static, u32, NoTable>,
    left: usize,
}

const MALFORMED: Error = Error::Malformed(Peer::Server);

impl<L: Line> Frames<L> {
    /// Frames on a fresh line.
    pub fn new(line: L) -> Self {
        Self { line, sent: 0, received: 0 }
    }

    /// Sends one frame with the parts' bytes as payload.
    ///
    /// # Errors
    ///
    /// The line's.
    ///
    /// # Panics
    ///
    /// If the payload has more than 65,535 bytes.
    pub fn send<'p>(&mut self, kind: Kind, parts: impl Iterator<Item = &'p [u8]> + Clone) -> Result<(), Error> {
        let len: usize = parts.clone().map(<[u8]>::len).sum();
        let header = header(kind, self.sent, len);
        self.sent = self.sent.wrapping_add(1);
        let mut digest = CRC.digest();
        digest.update(&header);
        self.line.send(&header)?;
        for part in parts {
            digest.update(part);
            self.line.send(part)?;
        }
        self.line.send(&digest.finalize().to_le_bytes())
    }

    /// Begins to receive a frame that must have this kind and length.
    ///
    /// # Errors
    ///
    /// The line's, and [`Error::Malformed`].
    pub fn receive(&mut self, kind: Kind, len: usize) -> Result<Incoming<'_, L>, Error> {
        let mut bytes = [0; HEADER_BYTES];
        self.line.receive(&mut bytes)?;
        if bytes != header(kind, self.received, len) {
            return Err(MALFORMED);
        }
        self.received = self.received.wrapping_add(1);
        let mut digest = CRC.digest();
        digest.update(&bytes);
        Ok(Incoming { line: &mut self.line, digest, left: len })
    }

    /// Receives a whole frame.
    ///
    /// # Errors
    ///
    /// As [`Frames::receive`].
    pub fn receive_all(&mut self, kind: Kind, payload: &mut [u8]) -> Result<(), Error> {
        let mut frame = self.receive(kind, payload.len())?;
        frame.take(payload)?;
        frame.finish()
    }
}

fn header(kind: Kind, number: u16, len: usize) -> [u8; HEADER_BYTES] {
    let Ok(len) = u16::try_from(len) else { panic!("a frame has at most 65,535 bytes") };
    let ([n0, n1], [l0, l1]) = (number.to_le_bytes(), len.to_le_bytes());
    [kind as u8, n0, n1, l0, l1]
}

impl<L: Line> Incoming<'_, L> {
    /// The payload's next bytes.
    ///
    /// # Errors
    ///
    /// The line's.
    ///
    /// # Panics
    ///
    /// If fewer are left.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        assert!(bytes.len() <= self.left, "the frame has fewer bytes");
        self.left -= bytes.len();
        self.line.receive(bytes)?;
        self.digest.update(bytes);
        Ok(())
    }

    /// Receives the rest: says whether the frame was undamaged.
    ///
    /// # Errors
    ///
    /// The line's, and [`Error::Malformed`].
    ///
    /// # Panics
    ///
    /// If payload is left.
    pub fn finish(self) -> Result<(), Error> {
        assert!(self.left == 0, "payload is left");
        let mut crc = [0; 4];
        self.line.receive(&mut crc)?;
        if crc == self.digest.finalize().to_le_bytes() { Ok(()) } else { Err(MALFORMED) }
    }
}

/// The link of the party that speaks first, without a buffer: words are sent, then folded as the answer arrives.
pub struct FirstLink<'a, L>(pub &'a mut Frames<L>);

impl<W: Word, L: Line> Link<W> for FirstLink<'_, L> {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        self.0.send(Kind::Round, parts.iter().map(|(_, words)| W::bytes(words)))?;
        let len = parts.iter().map(|(_, words)| W::bytes(words).len()).sum();
        let mut frame = self.0.receive(Kind::Round, len)?;
        let mut theirs = [W::default(); CHUNK];
        for (fold, words) in parts {
            for words in words.chunks_mut(CHUNK) {
                let theirs = &mut theirs[..words.len()];
                frame.take(W::bytes_mut(theirs))?;
                apply(*fold, words, theirs);
            }
        }
        frame.finish()
    }
}

/// Folds the peer's words into `words`.
pub fn apply<W: Word>(fold: Fold, words: &mut [W], theirs: &[W]) {
    for (own, their) in words.iter_mut().zip(theirs) {
        *own = match fold {
            Fold::Add => own.add(*their),
            Fold::Xor => own.xor(*their),
            Fold::Swap => *their,
        };
    }
}
