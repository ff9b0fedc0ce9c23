//! The course of a job: its epochs, their steps, evaluations and outputs, and the checkpoints
//! between them.

use super::{
    Event, Inputs, Observer, Orders, Position, Start, State, Stop, checkpoint::Outputs, order::Order, step::Trainer,
};
use crate::{
    job::{Job, RevealLoss, When},
    lanes::Lanes,
};
use std::ops::ControlFlow;
use symbolon_core::word::Word;

/// A run of a job.
struct Course<'a, 'l, W: Word> {
    job: &'a Job,
    trainer: Trainer<'a, W>,
    lanes: &'a mut Lanes<'l, W>,
    observer: &'a mut dyn Observer<W>,
    /// Steps of the job that are done.
    step: &'a mut u64,
}

/// Runs `job` from `start` on; counts its steps in `step`. See [`super::run_in`].
pub(super) fn run<W: Word>(
    orders: Orders<'_>,
    lanes: &mut Lanes<'_, W>,
    job: &Job,
    (inputs, start): (Inputs<W>, Start<W>),
    observer: &mut dyn Observer<W>,
    step: &mut u64,
) -> Result<Vec<W>, Stop> {
    if job.reveal.alarm {
        lanes.watch();
    }
    let trainer = Trainer::open(lanes, job, inputs, &start)?;
    let mut course = Course { job, trainer, lanes, observer, step };
    let ended = course.all(orders, start);
    course.trainer.trace_moments(course.lanes)?;
    ended.map(|()| course.trainer.into_model())
}

impl<W: Word> Course<'_, '_, W> {
    /// All that comes after `start`, once data and weights are open.
    fn all(&mut self, orders: Orders<'_>, start: Start<W>) -> Result<(), Stop> {
        let (job, position) = (self.job, start.position());
        self.tell(Event::Opened)?;
        let (done, mut from) = (position.epochs(job), position.steps_of_epoch(job));
        let outputs = match &start {
            Start::Fresh | Start::From(_) => None,
            Start::At(state) => state.outputs(job).map(|(loss, score)| Outputs { loss, score }),
        };
        drop(start); // the trainer has the shares
        let mut goes_on = outputs.map_or(Ok(true), |outputs| self.leave(done, outputs))?;
        for epoch in done.saturating_add(1)..=job.training.epochs {
            if !goes_on {
                break;
            }
            self.train(&orders.of(job, epoch)?, from)?;
            let outputs = self.evaluate(epoch)?;
            self.offer_state(Some(&outputs))?;
            goes_on = self.leave(epoch, outputs)?;
            from = 0;
        }
        self.trainer.newton_variances(self.lanes)?;
        if job.reveal.alarm {
            let share = self.lanes.alarm()?;
            self.tell(Event::Alarm { share })?;
        }
        Ok(())
    }

    /// The steps of an epoch, from its step `from` on.
    fn train(&mut self, order: &Order, from: usize) -> Result<(), Stop> {
        let (job, steps) = (self.job, self.job.steps_per_epoch());
        for i in from..steps {
            let next = (i + 1 < steps).then(|| order.batch(job, i + 1));
            self.trainer.prepare(order.batch(job, i), next)?;
            self.trainer.step(self.lanes, order.batch(job, i), *self.step)?;
            *self.step += 1;
            self.tell(Event::Step { done: *self.step })?;
            if i + 1 < steps {
                self.offer_state(None)?;
            }
        }
        Ok(())
    }

    /// The numbers that leave after the steps of `epoch`.
    fn evaluate(&mut self, epoch: u32) -> Result<Outputs<W>, Stop> {
        let job = self.job;
        if job.reveal.when == When::End {
            self.lanes.check_kept()?;
        }
        self.tell(Event::Trained { epoch })?;
        if !job.opens_numbers(epoch) {
            self.trainer.forget_loss(self.lanes);
            return Ok(Outputs { loss: None, score: None });
        }
        let takes_loss = job.reveal.loss == RevealLoss::Epoch;
        let loss = takes_loss.then(|| self.trainer.take_loss(self.lanes)).transpose()?;
        let score = self.trainer.evaluate(self.lanes)?;
        self.lanes.check_kept()?;
        Ok(Outputs { loss, score })
    }

    /// Tells the numbers of `epoch`; returns whether training goes on.
    fn leave(&mut self, epoch: u32, Outputs { loss, score }: Outputs<W>) -> Result<bool, Stop> {
        self.tell(Event::Epoch { epoch, loss, score })?;
        if !self.job.may_end_after(epoch) {
            return Ok(true);
        }
        match self.observer.goes_on(epoch) {
            ControlFlow::Continue(goes_on) => Ok(goes_on),
            ControlFlow::Break(()) => Err(Stop::Observer),
        }
    }

    /// Gives the observer the state after the last step, if it wants it. An epoch's end has
    /// `outputs`.
    fn offer_state(&mut self, outputs: Option<&Outputs<W>>) -> Result<(), Stop> {
        let position = Position::after(*self.step);
        if !self.observer.wants_checkpoint(position) {
            return Ok(());
        }
        let state = State::gather(&mut self.trainer, self.lanes, position, outputs);
        obey(self.observer.checkpoint(state))
    }

    fn tell(&mut self, event: Event<W>) -> Result<(), Stop> {
        obey(self.observer.event(event, self.lanes.count()))
    }
}

/// Ends the run if the observer says so.
fn obey(flow: ControlFlow<()>) -> Result<(), Stop> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stop::Observer),
    }
}
