//! Reports that wait until both servers hold them: a store-and-forward queue of fixed size.
//!
//! Reports stand in the order of their numbers; each leaves when both servers have acknowledged it, or one has refused it for good. A report that was sent is sent again
//! after a pause that doubles from [`Pace::first_ms`] to [`Pace::longest_ms`]. When all slots are taken, a new record is refused or the oldest is given up, as [`WhenFull`]
//! says; either is counted, and a report that was given up leaves a gap in the sequence numbers that the servers see.
//!
//! - **Memory:** `SLOTS * (BYTES + about 120)` bytes. Sealed bytes only: nothing in here is secret.

use super::{
    frame::{Frame, Tag},
    session::Sealed,
};
use heapless::Vec;

/// What happens to a record when all slots are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WhenFull {
    /// The new record is refused: readings of the past are kept.
    RefuseNew,
    /// The oldest report is given up: the latest readings are kept.
    DropOldest,
}

/// How often reports are sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Pause after a report was first sent.
    pub first_ms: u32,
    /// The longest pause.
    pub longest_ms: u32,
}

impl Default for Pace {
    /// From one second to a minute.
    fn default() -> Self {
        Self { first_ms: 1000, longest_ms: 60_000 }
    }
}

impl Pace {
    /// Pause after `sent` transmissions, a quarter more or less by `salt`, so that devices that lost a server together do not come back together.
    pub fn pause_ms(&self, sent: u8, salt: u32) -> u64 {
        let doubled = u64::from(self.first_ms) << sent.saturating_sub(1).min(20);
        let pause = doubled.min(u64::from(self.longest_ms)).max(1);
        // A multiplicative hash: neighbouring numbers land far apart.
        let spread = u64::from(salt.wrapping_mul(0x9e37_79b9) >> 16);
        pause - pause / 4 + pause * spread / (2 << 16)
    }
}

/// A report on its way.
pub(super) struct Slot<const BYTES: usize> {
    pub(super) report: Sealed,
    pub(super) sealed: Vec<u8, BYTES>,
    /// Bit `j`: server `j` holds it.
    held: u8,
    sent: u8,
    pub(super) due_ms: u64,
}

impl<const BYTES: usize> Slot<BYTES> {
    /// A report that is due at once; `None` if it is longer than `BYTES`.
    pub(super) fn new(report: Sealed, sealed: &[u8], now_ms: u64) -> Option<Self> {
        Some(Self { report, sealed: Vec::from_slice(sealed).ok()?, held: 0, sent: 0, due_ms: now_ms })
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.due_ms <= now_ms
    }

    /// Notes that it is sent now; it is due again after a pause.
    pub(super) fn transmit(&mut self, now_ms: u64, pace: &Pace) {
        self.sent = self.sent.saturating_add(1);
        self.due_ms = now_ms.saturating_add(pace.pause_ms(self.sent, self.report.sequence));
    }

    pub(super) fn frame(&self) -> Frame<'_> {
        let tags: [Tag; 2] = self.report.tags;
        Frame::Report { header: self.report.header.as_ref(), tags, sealed: &self.sealed }
    }
}

/// The queue.
pub(super) struct Outbox<const SLOTS: usize, const BYTES: usize> {
    slots: Vec<Slot<BYTES>, SLOTS>,
}

impl<const SLOTS: usize, const BYTES: usize> Outbox<SLOTS, BYTES> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.is_full()
    }

    /// Gives up the oldest report.
    pub(super) fn drop_oldest(&mut self) {
        // Not `slots.remove(0)`: that alone would link 1.6 kB of `memmove` into a device.
        if let Some(oldest) = self.slots.first().map(|slot| slot.report.sequence) {
            self.remove(oldest);
        }
    }

    /// Queues a report, to be sent at once. `false` if it does not fit.
    pub(super) fn push(&mut self, report: Sealed, sealed: &[u8], now_ms: u64) -> bool {
        Slot::new(report, sealed, now_ms).is_some_and(|slot| self.slots.push(slot).is_ok())
    }

    /// The oldest report that is due; it is due again after a pause.
    pub(super) fn due(&mut self, now_ms: u64, pace: &Pace) -> Option<&Slot<BYTES>> {
        let slot = self.slots.iter_mut().find(|slot| slot.is_due(now_ms))?;
        slot.transmit(now_ms, pace);
        Some(slot)
    }

    /// When something is due next.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.slots.iter().map(|slot| slot.due_ms).min()
    }

    /// Server `server` holds the reports `from + i` for the bits of `held`. Returns those that both hold now, in the same form.
    pub(super) fn acknowledge(&mut self, server: u8, from: u32, held: u64) -> u64 {
        let mut done = 0;
        self.slots.retain_mut(|slot| {
            let Some(i) = slot.report.sequence.checked_sub(from).filter(|i| *i < 64 && held >> i & 1 == 1) else {
                return true;
            };
            slot.held |= 1 << server;
            done |= u64::from(slot.held == 0b11) << i;
            slot.held != 0b11
        });
        done
    }

    /// Gives up the report that a server will never take. `false` if it is not here.
    pub(super) fn remove(&mut self, sequence: u32) -> bool {
        let before = self.slots.len();
        self.slots.retain(|slot| slot.report.sequence != sequence);
        self.slots.len() < before
    }

    /// All that wait are due again not before `at_ms`.
    pub(super) fn postpone(&mut self, at_ms: u64) {
        self.slots.iter_mut().for_each(|slot| slot.due_ms = slot.due_ms.max(at_ms));
    }

    /// All that were sent before are due at `at_ms`.
    pub(super) fn resend(&mut self, at_ms: u64) {
        self.slots.iter_mut().filter(|slot| slot.sent > 0).for_each(|slot| slot.due_ms = slot.due_ms.min(at_ms));
    }
}
