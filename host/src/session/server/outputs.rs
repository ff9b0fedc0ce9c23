//! What leaves a server while a job runs: the shares of its outputs, and its progress.

use crate::{
    engine::plan::Plan,
    net::NetError,
    session::{
        heartbeat::{Heart, Phase},
        message::Update,
        veil::{Output, Veil},
    },
    train::{Event, Sum, signed},
};
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};
use symbolon_core::{link::Count, word::Word};

/// The client hears of steps this often.
const NEWS: Duration = Duration::from_millis(200);

/// Tells the client how the job goes.
pub(super) struct News<'a, 'c> {
    pub(super) heart: &'a Heart<'c>,
    pub(super) veil: &'a Veil,
    pub(super) plan: &'a Plan,
    pub(super) told: Instant,
    pub(super) error: Option<NetError>,
}

impl News<'_, '_> {
    pub(super) fn tell<W: Word>(&mut self, event: Event<W>, count: Count) -> ControlFlow<()> {
        let share = |output, sum: Sum<W::Wide>| {
            let mut words = [sum.total, sum.records.unwrap_or_default()];
            self.veil.draw(output, &mut words);
            let [total, records] = words.map(|word| signed(word).cast_unsigned());
            Sum { total, records: sum.records.map(|_| records) }
        };
        match event {
            Event::Trained { .. } => self.heart.begin(Phase::Evaluating, self.plan.evaluation.bytes_each_way, None),
            Event::Opened | Event::Epoch { .. } => {
                self.heart.begin(Phase::Training, self.plan.epoch.bytes_each_way, None);
            }
            Event::Step { .. } | Event::Alarm { .. } => {}
        }
        let update = match event {
            Event::Opened => Update::Ready { plan_hash: self.plan.hash },
            Event::Step { done } if self.told.elapsed() >= NEWS => {
                self.told = Instant::now();
                Update::Step { done, bytes_sent: count.bytes }
            }
            Event::Alarm { share } => Update::Alarm { share: self.veil.draw_bit(Output::Alarm, bit(share)) },
            Event::Step { .. } | Event::Trained { .. } => return ControlFlow::Continue(()),
            Event::Epoch { epoch, loss, score } => Update::Epoch {
                epoch,
                loss: loss.map(|sum| share(Output::Loss { epoch }, sum)),
                score: score.map(|sum| share(Output::Score { epoch }, sum)),
            },
        };
        match self.heart.send(&update) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// Bit 0 of a word.
fn bit<W: Word>(word: W) -> bool {
    W::bytes(&[word]).first().is_some_and(|byte| byte & 1 == 1)
}
