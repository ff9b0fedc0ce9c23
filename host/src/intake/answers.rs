//! Answers of a batch: acknowledgements gathered in windows of 64 numbers, refusals, predictions.

use super::{queries::Answer, sessions::Sessions};
use std::collections::BTreeMap;
use symbolon_core::report::{
    Reason,
    frame::{Frame, Refuse, TAG_BYTES},
    header::{DeviceId, ReportId},
};

/// Numbers of an acknowledgement.
const WINDOW: u32 = 64;
/// No answer is longer.
const FRAME_BYTES: usize = 192;

/// What is answered once the batch is stored.
#[derive(Default)]
pub(super) struct Answers {
    /// Device, boot and first number -> which are held.
    held: BTreeMap<(DeviceId, u32, u32), u64>,
    refused: Vec<(ReportId, Refusal)>,
    predicted: Vec<(ReportId, Answer)>,
}

/// A part that is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// Whether the device itself sent the part. What anybody may have sent must not draw an authentic refusal: the device would give up the report of this number.
    pub(super) authentic: bool,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, authentic: false }
    }
}

impl Answers {
    /// The start of this boot is held.
    pub(super) fn confirm(&mut self, device: DeviceId, boot: u32) {
        self.held.entry((device, boot, 1)).or_default();
    }

    /// The report is held.
    pub(super) fn hold(&mut self, id: ReportId) {
        let at = id.sequence.saturating_sub(1); // numbers begin with 1
        let (first, bit) = (at - at % WINDOW + 1, at % WINDOW);
        *self.held.entry((id.device, id.boot, first)).or_default() |= 1 << bit;
    }

    pub(super) fn refuse(&mut self, id: ReportId, refusal: Refusal) {
        self.refused.push((id, refusal));
    }

    /// The query is answered.
    pub(super) fn predict(&mut self, id: ReportId, answer: Answer) {
        self.predicted.push((id, answer));
    }

    /// All that would have been acknowledged is refused: nothing was stored.
    pub(super) fn fail(&mut self, parts: &[ReportId]) {
        *self = Self::default();
        self.refused.extend(parts.iter().map(|id| (*id, Reason::Full.into())));
    }

    /// The frames.
    pub(super) fn frames(&self, server: u8, sessions: &Sessions) -> Vec<Vec<u8>> {
        let acks = self.held.iter().filter_map(|(&(device, boot, from), held)| {
            let session = sessions.peek(device, boot)?;
            Some(Frame::Ack(session.receiver.ack(from, *held)))
        });
        let refusals = self.refused.iter().map(|(id, Refusal { reason, authentic })| {
            let ReportId { device, boot, sequence } = *id;
            let session = sessions.peek(device, boot).filter(|_| *authentic);
            let hint =
                || Refuse { server, device: device.0, boot, sequence, reason: reason.code(), tag: [0; TAG_BYTES] };
            Frame::Refuse(session.map_or_else(hint, |session| session.receiver.refuse(sequence, *reason)))
        });
        let encode = |frame: Frame<'_>| frame.encode(&mut [0; FRAME_BYTES]).ok().map(|bytes| bytes.to_vec());
        let predicted = self.predicted.iter().filter_map(|(id, Answer { nonce, part })| {
            let session = sessions.peek(id.device, id.boot)?;
            let (mut part, mut bytes) = (part.clone(), [0; FRAME_BYTES]);
            let answer = session.receiver.predicted(id.sequence, *nonce, &mut part);
            encode(Frame::Predicted(answer.write(&mut bytes).ok()?))
        });
        acks.chain(refusals).filter_map(encode).chain(predicted).collect()
    }
}
