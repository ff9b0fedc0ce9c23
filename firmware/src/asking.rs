//! A node that also asks: for each record, unless a question is open, a prediction by the servers'
//! model.
//!
//! It has a [`Node`]'s functions, so that a program is the same with it and without. Answers go to
//! the log: the class, or values with their fraction bits. A question that no server answers stays
//! open, and is sent again at the node's pace.
//!
//! - **Memory:** a [`Question`] of the node's record size beside the node.

use symbolon_core::report::{
    frame::{Damage, Frame},
    header::ReportId,
    node::{Event, Node, Status, SubmitError},
    outbox::Pace,
    question::{Prediction, Question, Reply},
};

/// A node of `SLOTS` reports of at most `BYTES` bytes of record, and its open question.
pub struct Asking<const SLOTS: usize, const BYTES: usize> {
    node: Node<SLOTS, BYTES>,
    question: Option<Question<BYTES>>,
    pace: Pace,
}

impl<const SLOTS: usize, const BYTES: usize> Asking<SLOTS, BYTES> {
    /// A node that asks, and sends its questions again at this pace.
    pub fn new(node: Node<SLOTS, BYTES>, pace: Pace) -> Self {
        Self { node, question: None, pace }
    }

    /// As [`Node::status`].
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// As [`Node::has_room`].
    pub fn has_room(&self) -> bool {
        self.node.has_room()
    }

    /// Asks about a record, unless a question is open; then as [`Node::submit`].
    ///
    /// # Errors
    ///
    /// As [`Node::submit`].
    pub fn submit(
        &mut self,
        now_ms: u64,
        time_ms: u64,
        about: Option<ReportId>,
        record: &mut [u8],
    ) -> Result<u32, SubmitError> {
        if self.question.is_none() {
            self.ask(now_ms, time_ms, record);
        }
        self.node.submit(now_ms, time_ms, about, record)
    }

    #[inline(never)] // or its copy of the record would stay on the stack
    fn ask(&mut self, now_ms: u64, time_ms: u64, record: &[u8]) {
        let mut copy = zeroize::Zeroizing::new([0; BYTES]);
        let Some(copy) = copy.get_mut(..record.len()) else { return };
        copy.copy_from_slice(record);
        match self.node.ask(now_ms, time_ms, copy) {
            Ok(question) => self.question = Some(question),
            Err(error) => defmt::warn!("no question: {}", error),
        }
    }

    /// The next frame that is due: the node's, or else the question's.
    pub fn poll(&mut self, now_ms: u64) -> Option<Frame<'_>> {
        if self.node.next_due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            return self.node.poll(now_ms);
        }
        self.question.as_mut()?.poll(now_ms, &self.pace)
    }

    /// Takes an answer off the line: to the question, or else as [`Node::receive`].
    pub fn receive(&mut self, now_ms: u64, frame: Result<Frame<'_>, Damage>) -> Event {
        if let (Some(question), Ok(frame)) = (&mut self.question, &frame) {
            match self.node.answered(question, frame) {
                Reply::Other => {}
                Reply::Part => return Event::Nothing,
                Reply::Predicted(prediction) => {
                    self.question = None;
                    log(&prediction);
                    return Event::Nothing;
                }
                Reply::Refused(reason) => {
                    self.question = None;
                    defmt::warn!("unanswered: {}", reason);
                    return Event::Nothing;
                }
            }
        }
        self.node.receive(now_ms, frame)
    }
}

fn log(prediction: &Prediction) {
    match (prediction.class(), prediction.frac_bits()) {
        (Some(class), _) => defmt::info!("class {=u32}", class),
        (None, frac_bits) => defmt::info!("values {=[?]} of {} bits", prediction.words(), frac_bits),
    }
}
