//! A device, as a state machine: records in, frames out, answers in. No IO and no clock: time is a parameter, any clock that does not go back.
//!
//! The device starts its sessions once a boot and sends the start until both servers have answered; reports follow it without waiting, since what lies between
//! may keep them for a server that is away. A server that missed the start says [`Reason::NoSession`], and is sent the start again.
//!
//! A report leaves the outbox when **both** servers, authentically, say that they durably hold it. What is not authentic changes nothing but the moment of sending again.
//! The outbox may be lost in a reset: the servers then see a gap.

use super::{
    Reason,
    frame::{Ack, Damage, Frame, Refuse},
    header::{ReportId, StartHeader},
    identity::Identity,
    outbox::{Outbox, Pace, WhenFull},
    session::{SealError, Sender, Start},
};
use rand_core::CryptoRng;

/// A hint that a session is missing has the start sent again after this pause, not at once: hints are not authentic.
const HINT_PAUSE_MS: u64 = 50;

/// A device of `SLOTS` reports, each of at most `BYTES` bytes of record.
pub struct Node<const SLOTS: usize, const BYTES: usize> {
    pub(super) sender: Sender,
    start: Start,
    /// Bit `j`: server `j` has the session.
    confirmed: u8,
    start_sent: u8,
    start_due_ms: u64,
    outbox: Outbox<SLOTS, BYTES>,
    when_full: WhenFull,
    pace: Pace,
    status: Status,
}

/// What became of a device's records since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Status {
    /// Reports that wait in the outbox.
    pub waiting: usize,
    /// Reports that both servers hold.
    pub acknowledged: u32,
    /// Records that were refused or given up for want of room. It stands in each report's header.
    pub dropped: u32,
    /// Reports that a server will never take.
    pub refused: u32,
    /// Answers that are not a server's.
    pub forged: u32,
    /// The last reason that a server gave, authentic or not.
    pub last_reason: Option<Reason>,
    /// Reason of a server that has not confirmed this boot to refuse its start; not authentic.
    /// Refusals of reports follow from it.
    pub start_refused: Option<Reason>,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// Nothing: not for this device and boot, not authentic, or known before.
    Nothing,
    /// Both servers now hold the reports `from + i` for each bit `i`.
    Stored {
        /// Number of the report of bit 0.
        from: u32,
        /// Which.
        bits: u64,
    },
    /// A server will never take this report; it was given up.
    Refused {
        /// Which.
        sequence: u32,
        /// Why.
        reason: Reason,
    },
    /// A server does not take reports for now.
    Later {
        /// Why.
        reason: Reason,
    },
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SubmitError {
    /// All slots are taken ([`WhenFull::RefuseNew`]); it was counted.
    Full,
    /// The record is longer than the outbox's slots: build the device with longer ones.
    Long,
    /// It cannot be sealed.
    Seal(SealError),
}

impl core::fmt::Display for SubmitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full => f.write_str("the outbox is full; the record was refused and counted"),
            Self::Long => f.write_str("the schema's records are longer than the outbox's slots"),
            Self::Seal(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SubmitError {}

impl<const SLOTS: usize, const BYTES: usize> Node<SLOTS, BYTES> {
    /// Starts a device. `boot` must come from a durable counter that was raised *before* this call; `rng` must be seeded by hardware or by the system: a device without
    /// such a generator must not start.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Long`] if the schema's records do not fit, or a wrong key file.
    pub fn new(
        identity: &Identity,
        boot: u32,
        when_full: WhenFull,
        pace: Pace,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SubmitError> {
        if identity.layout.record_bytes() > BYTES {
            return Err(SubmitError::Long);
        }
        let (sender, start) = Sender::start(identity, boot, rng).map_err(SubmitError::Seal)?;
        Ok(Self {
            sender,
            start,
            confirmed: 0,
            start_sent: 0,
            start_due_ms: 0,
            outbox: Outbox::new(),
            when_full,
            pace,
            status: Status::default(),
        })
    }

    /// Whose device, which boot.
    pub fn header(&self) -> &StartHeader {
        self.sender.header()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        Status { waiting: self.outbox.len(), ..self.status }
    }

    /// Whether both servers have answered this boot.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed == 0b11
    }

    /// Whether a record can be taken without giving one up.
    pub fn has_room(&self) -> bool {
        !self.outbox.is_full()
    }

    /// Splits, seals and queues a record of packed codes ([`super::record::put`]), which is overwritten. Returns its number. `time_ms` says when it was taken, by
    /// whatever clock the device has; it is public.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`], counted; or a record of the wrong length, not counted.
    pub fn submit(
        &mut self,
        now_ms: u64,
        time_ms: u64,
        about: Option<ReportId>,
        record: &mut [u8],
    ) -> Result<u32, SubmitError> {
        if record.len() != self.sender.record_bytes() {
            return Err(SubmitError::Seal(SealError::Length));
        }
        if self.outbox.is_full() {
            self.status.dropped = self.status.dropped.saturating_add(1);
            match self.when_full {
                WhenFull::RefuseNew => return Err(SubmitError::Full),
                WhenFull::DropOldest => self.outbox.drop_oldest(),
            }
        }
        let report = self.sender.seal(time_ms, self.status.dropped, about, record).map_err(SubmitError::Seal)?;
        if self.outbox.push(report, record, now_ms) { Ok(report.sequence) } else { Err(SubmitError::Long) }
    }

    /// The next frame that is due, if any; it is due again after a pause, until it is answered.
    pub fn poll(&mut self, now_ms: u64) -> Option<Frame<'_>> {
        if !self.is_confirmed() && self.start_due_ms <= now_ms {
            self.start_sent = self.start_sent.saturating_add(1);
            self.start_due_ms = now_ms.saturating_add(self.pace.pause_ms(self.start_sent, self.sender.header().boot));
            let Start { header, enc, tags } = &self.start;
            return Some(Frame::Start { header, enc: *enc, tags: *tags });
        }
        self.outbox.due(now_ms, &self.pace).map(|slot| slot.frame())
    }

    /// When [`Self::poll`] has something next; `None` if only a new record changes that.
    pub fn next_due_ms(&self) -> Option<u64> {
        let start = (!self.is_confirmed()).then_some(self.start_due_ms);
        start.into_iter().chain(self.outbox.next_due_ms()).min()
    }

    /// Takes an answer off the line. Frames of other devices and damaged ones change nothing.
    pub fn receive(&mut self, now_ms: u64, frame: Result<Frame<'_>, Damage>) -> Event {
        match frame {
            Ok(Frame::Ack(ack)) if self.is_ours(ack.device, ack.boot, ack.server) => self.acknowledged(&ack),
            Ok(Frame::Refuse(no)) if self.is_ours(no.device, no.boot, no.server) => self.refused(now_ms, &no),
            _ => Event::Nothing,
        }
    }

    pub(super) fn is_ours(&self, device: u64, boot: u32, server: u8) -> bool {
        let header = self.sender.header();
        header.device.0 == device && header.boot == boot && server < 2
    }

    fn acknowledged(&mut self, ack: &Ack) -> Event {
        if !self.sender.is_authentic(ack.server, &ack.message(), &ack.tag) {
            self.status.forged = self.status.forged.saturating_add(1);
            return Event::Nothing;
        }
        self.confirmed |= 1 << ack.server;
        if self.is_confirmed() {
            self.status.start_refused = None;
        }
        let bits = self.outbox.acknowledge(ack.server, ack.from, ack.held);
        self.status.acknowledged = self.status.acknowledged.saturating_add(bits.count_ones());
        if bits == 0 { Event::Nothing } else { Event::Stored { from: ack.from, bits } }
    }

    fn refused(&mut self, now_ms: u64, no: &Refuse) -> Event {
        let Some(reason) = Reason::from_code(no.reason) else { return Event::Nothing };
        self.status.last_reason = Some(reason);
        if no.sequence == 0 && self.confirmed >> no.server & 1 == 0 {
            self.status.start_refused = Some(reason);
        }
        let authentic = self.sender.is_authentic(no.server, &no.message(), &no.tag);
        if authentic && reason.is_final() && self.outbox.remove(no.sequence) {
            self.status.refused = self.status.refused.saturating_add(1);
            return Event::Refused { sequence: no.sequence, reason };
        }
        if reason == Reason::NoSession {
            // Not known to be a server's word: it moves the next start, no more.
            self.confirmed &= !(1 << no.server);
            let soon = now_ms.saturating_add(HINT_PAUSE_MS);
            self.start_due_ms = self.start_due_ms.min(soon);
            self.outbox.resend(soon.saturating_add(HINT_PAUSE_MS));
        } else {
            let later = now_ms.saturating_add(u64::from(self.pace.first_ms));
            self.outbox.postpone(later);
        }
        Event::Later { reason }
    }
}
