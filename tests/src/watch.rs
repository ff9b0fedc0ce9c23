//! The results of a played run: its outputs, and the states that it stores.

use crate::play::{Encoded, Outputs, Trained};
use std::ops::ControlFlow;
use symbolon::{
    kernel::HostWord,
    train::{Event, Observer, Position, Scores, State, Sum, signed},
};
use symbolon_core::{link::Count, word::Word};

/// Keeps the outputs of each epoch, the range alarm, and states.
pub(crate) struct Watch<'a, W> {
    epochs: Vec<Outputs>,
    alarm: Option<W>,
    storing: &'a [Position],
    states: Encoded,
}

impl<'a, W: Word> Watch<'a, W> {
    pub(crate) fn new(storing: &'a [Position]) -> Self {
        Self { epochs: Vec::new(), alarm: None, storing, states: Vec::new() }
    }

    pub(crate) fn end(self, parameters: Vec<W>) -> (Trained<W>, Encoded) {
        (Trained { parameters, epochs: self.epochs, alarm: self.alarm }, self.states)
    }
}

impl<W: HostWord + Word> Observer<W> for Watch<'_, W> {
    fn event(&mut self, event: Event<W>, _: Count) -> ControlFlow<()> {
        let word = |w: W::Wide| signed(w).cast_unsigned();
        let words = |sum: Sum<W::Wide>| Sum { total: word(sum.total), records: sum.records.map(word) };
        let scores = |scores: Scores<W::Wide>| Scores {
            sums: scores.sums.into_iter().map(word).collect(),
            records: scores.records.map(word),
        };
        match event {
            Event::Epoch { loss, score, .. } => self.epochs.push((loss.map(words), score.map(scores))),
            Event::Alarm { share } => self.alarm = Some(share),
            _ => {}
        }
        ControlFlow::Continue(())
    }
    fn wants_checkpoint(&mut self, position: Position) -> bool {
        self.storing.contains(&position)
    }
    fn checkpoint(&mut self, state: State<W>) -> ControlFlow<()> {
        self.states.push(state.to_bytes().to_vec());
        ControlFlow::Continue(())
    }
}
