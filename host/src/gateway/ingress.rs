//! From a line's bytes to the servers' queues.

use super::{
    Shared,
    news::count,
    pool::Source,
    queue::{Key, Offer},
    routes::{Answer, Line},
};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use symbolon_core::report::{
    frame::{DELIMITER, Damage, Decoder, Frame, Part},
    header::{DeviceId, Header, ReportId, StartHeader},
    schema::MAX_RECORD_BYTES,
};
use tokio::sync::mpsc::Receiver;

/// Bytes of a frame at most, on any line.
pub(super) const MAX_FRAME_BYTES: usize = MAX_RECORD_BYTES + 256;

/// A line that can wait does so for at most this long when a server cannot keep up.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
const WAIT: Duration = Duration::from_millis(2);
/// Answers that wait for a byte stream.
const WAITING_ANSWERS: usize = 1024;
/// Answers that are written at once.
const ANSWERS: usize = 64;

/// Where a line's frames go.
pub(super) struct Ingress {
    shared: Arc<Shared>,
    source: Source,
    line: Line,
}

impl Ingress {
    /// Opens a line of this source, for which so many answers wait at most.
    pub(super) fn open(shared: &Arc<Shared>, source: Source, waiting: usize) -> (Self, Receiver<Answer>) {
        let (line, answers) = shared.routes.open(waiting);
        (Self { shared: Arc::clone(shared), source, line }, answers)
    }

    /// Takes a device's frame; says whose it is. `from` is the device that alone may speak here, if the line says so.
    pub(super) fn take(&self, frame: Result<Frame<'_>, Damage>, from: Option<DeviceId>) -> Option<DeviceId> {
        let counters = &self.shared.counters;
        let taken = frame.ok().and_then(|frame| Some((name(&frame)?, frame.parts()?)));
        let Some((name, parts)) = taken.filter(|(name, _)| from.is_none_or(|from| from == name.device)) else {
            count(&counters.damaged, 1);
            return None;
        };
        count(&counters.frames, 1);
        self.line.heard(name.device);
        for (i, part) in parts.iter().enumerate() {
            let bytes = encode(part);
            if self.shared.queues[i].offer(key(&bytes), self.source, bytes) == Offer::Full {
                count(&counters.full[i], 1);
            }
        }
        Some(name.device)
    }

    /// Waits a little while a server cannot keep up with this source.
    pub(super) async fn yield_to_servers(&self) {
        let mut waited = Duration::ZERO;
        while waited < LONGEST_WAIT && self.shared.queues.iter().any(|queue| queue.is_pressed(self.source)) {
            tokio::time::sleep(WAIT).await;
            waited += WAIT;
        }
    }
}

/// A byte stream's frames.
pub(super) struct Stream {
    pub(super) ingress: Ingress,
    decoder: Box<Decoder<MAX_FRAME_BYTES>>,
}

impl Stream {
    /// Opens a line of this source.
    pub(super) fn open(shared: &Arc<Shared>, source: Source) -> (Self, Receiver<Answer>) {
        let (ingress, answers) = Ingress::open(shared, source, WAITING_ANSWERS);
        (Self { ingress, decoder: Box::default() }, answers)
    }

    /// Takes bytes; says whether a device's frame ended among them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let mut heard = false;
        for byte in bytes {
            if let Some(frame) = self.decoder.push(*byte) {
                heard |= self.ingress.take(frame, None).is_some();
            }
        }
        heard
    }
}

/// Waits for answers and writes them to `out` as a byte stream has them; false when the line is closed.
pub(super) async fn gather(answers: &mut Receiver<Answer>, out: &mut Vec<u8>) -> bool {
    let mut some = Vec::with_capacity(ANSWERS);
    let count = answers.recv_many(&mut some, ANSWERS).await;
    out.clear();
    for answer in some {
        out.extend(cobs::encode_vec(&answer.frame));
        out.push(DELIMITER);
    }
    count > 0
}

/// The report that a frame brings; number 0 for a start.
fn name(frame: &Frame<'_>) -> Option<ReportId> {
    match frame {
        Frame::Start { header, .. } => {
            StartHeader::parse(header).ok().map(|h| ReportId { device: h.device, boot: h.boot, sequence: 0 })
        }
        Frame::Report { header, .. } => Header::parse(header).ok().map(|h| h.id),
        Frame::Ack(_) | Frame::Refuse(_) | Frame::Predicted(_) => None,
    }
}

/// Names an encoded part by all of its bytes: one that differs from a genuine one anywhere has another key.
fn key(part: &[u8]) -> Key {
    Sha256::digest(part).into()
}

fn encode(part: &Part<'_>) -> Vec<u8> {
    let capacity = match part {
        Part::Start { header, .. } => header.len() + 56,
        Part::Report { header, sealed, .. } => header.len() + sealed.len() + 24,
    };
    // Into memory that grows: nothing of a part fails to encode.
    postcard::to_extend(part, Vec::with_capacity(capacity)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_copy_has_another_key() {
        let report = |sealed| encode(&Part::Report { server: 1, header: &[1; 29], tag: [2; 16], sealed });
        let start = |enc| encode(&Part::Start { server: 1, header: &[1; 69], enc, tag: [2; 16] });
        assert_eq!(key(&report(&[3; 9])), key(&report(&[3; 9])));
        assert_ne!(key(&report(&[3; 9])), key(&report(&[4; 9])));
        assert_ne!(key(&start([3; 32])), key(&start([4; 32])));
    }
}
