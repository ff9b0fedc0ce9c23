//! A prediction of the device's own record, by a model that the two servers hold as shares.
//!
//! A query is sealed as a report is, with a number of its own kind
//! ([`QUERY`](super::header::QUERY)). The device sends it again until both servers have answered:
//! the same query draws the same answer, so that a lost answer costs a pause. Each server's part is
//! its share of the answer, sealed to this device; the device joins parts of one query alone.
//!
//! - **Adversary:** as for reports. What lies between the device and the servers sees that it asks,
//!   when and how often. A malicious server can make its part wrong, and so the joined answer,
//!   without notice.
//! - **Memory:** of a question: the sealed record, both parts (130 bytes each at most) and about
//!   130 bytes. A program that asks nothing links none of this.
//! - **Timing:** free of record and answer.

use super::{
    Reason,
    frame::{Frame, Predicted, Refuse},
    node::{Node, SubmitError},
    outbox::{Pace, Slot},
};
use heapless::Vec;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Most words of an answer.
pub const MAX_WORDS: usize = 16;

/// A server's share of an answer: fraction bits, or [`Self::CLASSES`]; bytes of a word, 4 or 8;
/// then little-endian words, which add up to the answer's.
pub struct Part;

impl Part {
    /// Stands for the fraction bits of an answer whose words are classes.
    pub const CLASSES: u8 = u8::MAX;
    /// Bytes before the words.
    pub const HEAD_BYTES: usize = 2;
    /// Most bytes of a part.
    pub const MAX_BYTES: usize = Self::HEAD_BYTES + 8 * MAX_WORDS;
}

/// An answer: classes, or values. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Prediction {
    frac_bits: u8,
    len: usize,
    words: [i64; MAX_WORDS],
}

impl Prediction {
    /// Joins both servers' parts; `None` if they are of different answers or lengths.
    fn join(ours: &[u8], theirs: &[u8]) -> Option<Self> {
        let (&[frac_bits, bytes], ours) = ours.split_first_chunk()?;
        let (head, theirs) = theirs.split_first_chunk::<{ Part::HEAD_BYTES }>()?;
        let each = usize::from(bytes);
        let is_whole = matches!(each, 4 | 8) && ours.len().is_multiple_of(each) && ours.len() / each <= MAX_WORDS;
        if *head != [frac_bits, bytes] || ours.len() != theirs.len() || !is_whole {
            return None;
        }
        let mut joined = Self { frac_bits, len: ours.len() / each, words: [0; MAX_WORDS] };
        let parts = ours.chunks_exact(each).zip(theirs.chunks_exact(each));
        for (word, (a, b)) in joined.words.iter_mut().zip(parts) {
            *word = sum(a, b);
        }
        Some(joined)
    }

    /// The first class, if the answer is of classes.
    pub fn class(&self) -> Option<u32> {
        let word = self.words().first().filter(|_| self.frac_bits().is_none())?;
        u32::try_from(*word).ok()
    }

    /// Fraction bits of values; `None` for classes.
    pub fn frac_bits(&self) -> Option<u8> {
        (self.frac_bits != Part::CLASSES).then_some(self.frac_bits)
    }

    /// Classes, or values in units of `2^-frac_bits`.
    pub fn words(&self) -> &[i64] {
        &self.words[..self.len]
    }
}

/// The sum of two words of 4 or 8 bytes, in their ring.
fn sum(a: &[u8], b: &[u8]) -> i64 {
    match (a.try_into(), b.try_into()) {
        (Ok(a), Ok(b)) => i64::from_le_bytes(a).wrapping_add(i64::from_le_bytes(b)),
        _ => {
            let half = |bytes: &[u8]| bytes.first_chunk().map_or(0, |half| i32::from_le_bytes(*half));
            half(a).wrapping_add(half(b)).into()
        }
    }
}

/// A query on its way: servers answer a device's newest alone.
pub struct Question<const BYTES: usize> {
    slot: Slot<BYTES>,
    /// Parts that have come, by server.
    parts: [Vec<u8, { Part::MAX_BYTES }>; 2],
}

/// The meaning of a frame for a question.
pub enum Reply {
    /// None: the frame is for [`Node::receive`].
    Other,
    /// One server's part, or one that was here.
    Part,
    /// The answer. The question is done.
    Predicted(Prediction),
    /// A server does not answer it. The question is done; a new one may be asked.
    Refused(Reason),
}

impl<const BYTES: usize> Question<BYTES> {
    /// Its number.
    pub fn sequence(&self) -> u32 {
        self.slot.report.sequence
    }

    /// The query's frame, if it is due; it is due again after a pause.
    pub fn poll(&mut self, now_ms: u64, pace: &Pace) -> Option<Frame<'_>> {
        if !self.slot.is_due(now_ms) {
            return None;
        }
        self.slot.transmit(now_ms, pace);
        Some(self.slot.frame())
    }

    /// When [`Self::poll`] has the frame next.
    pub fn next_due_ms(&self) -> u64 {
        self.slot.due_ms
    }
}

impl<const BYTES: usize> Drop for Question<BYTES> {
    fn drop(&mut self) {
        self.parts.iter_mut().for_each(|part| part.as_mut_slice().zeroize());
    }
}

impl<const SLOTS: usize, const BYTES: usize> Node<SLOTS, BYTES> {
    /// Splits and seals a record of packed codes, which is overwritten, as a query. Label codes in
    /// it serve no model. `time_ms` is public, as a report's.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Seal`], [`SubmitError::Long`].
    pub fn ask(&mut self, now_ms: u64, time_ms: u64, record: &mut [u8]) -> Result<Question<BYTES>, SubmitError> {
        let sealed = self.sender.seal_query(time_ms, record).map_err(SubmitError::Seal)?;
        let slot = Slot::new(sealed, record, now_ms).ok_or(SubmitError::Long)?;
        Ok(Question { slot, parts: [Vec::new(), Vec::new()] })
    }

    /// Takes a frame off the line that may be about `question`; one that is not authentic is not.
    pub fn answered(&self, question: &mut Question<BYTES>, frame: &Frame<'_>) -> Reply {
        let sequence = question.sequence();
        match frame {
            Frame::Predicted(bytes) => match Predicted::parse(bytes) {
                Some(part) if part.sequence == sequence && self.is_ours(part.device, part.boot, part.server) => {
                    self.part(question, &part)
                }
                _ => Reply::Other,
            },
            Frame::Refuse(no) if no.sequence == sequence && self.is_ours(no.device, no.boot, no.server) => {
                self.no_answer(no)
            }
            _ => Reply::Other,
        }
    }

    fn part(&self, question: &mut Question<BYTES>, answer: &Predicted<'_>) -> Reply {
        let own = &mut question.parts[usize::from(answer.server)];
        if !own.is_empty() {
            return Reply::Part;
        }
        if own.resize_default(answer.sealed.len()).is_err() || !self.sender.open_answer(answer, own) {
            own.as_mut_slice().zeroize();
            own.clear();
            return Reply::Other;
        }
        let [ours, theirs] = &question.parts;
        if ours.is_empty() || theirs.is_empty() {
            return Reply::Part;
        }
        // Authentic parts that do not join: one of the servers is broken.
        Prediction::join(ours, theirs).map_or(Reply::Refused(Reason::Malformed), Reply::Predicted)
    }

    /// A refusal that anyone may have sent does not end a question.
    fn no_answer(&self, no: &Refuse) -> Reply {
        let is_authentic = self.sender.is_authentic(no.server, &no.message(), &no.tag);
        match Reason::from_code(no.reason) {
            Some(reason) if is_authentic => Reply::Refused(reason),
            _ => Reply::Other,
        }
    }
}
