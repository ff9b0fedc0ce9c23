//! The messages that leave a server while a job runs: shares of its outputs, and progress.
//!
//! An output passes the auditor's agreement, the ledger, this server's noise, the refreshment of
//! the share, the cut to the output's range, and the wire.

use super::audit::Audit;
use crate::{
    device::system_rng,
    engine::plan::Plan,
    job::{Job, form::Kind},
    net::Role,
    release::ledger::Account,
    session::{
        SessionError,
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
use zeroize::Zeroizing;

/// Least time between two progress messages to the client.
const NEWS: Duration = Duration::from_millis(200);

/// Reports a job's progress to the client.
pub(super) struct News<'a, 'c> {
    heart: &'a Heart<'c>,
    plan: &'a Plan,
    outputs: Outputs<'a>,
    audit: Audit,
    told: Instant,
    /// Start of the timed steps.
    started: Instant,
    /// Seconds of the training steps alone.
    pub(super) seconds_train: f64,
    /// The error that ends the job at this server.
    pub(super) error: Option<SessionError>,
}

impl<'a, 'c> News<'a, 'c> {
    pub(super) fn new(heart: &'a Heart<'c>, plan: &'a Plan, outputs: Outputs<'a>, audit: Audit) -> Self {
        let now = Instant::now();
        Self { heart, plan, outputs, audit, told: now, started: now, seconds_train: 0.0, error: None }
    }

    /// Ends the job once the auditor agrees: if the job opens the model, `parameters` become this
    /// server's share of it, refreshed.
    pub(super) fn end<W: Word>(&mut self, parameters: &mut [W]) -> Result<(), SessionError> {
        self.audit.confirm(self.heart)?;
        self.outputs.model(parameters)
    }

    pub(super) fn tell<W: Word>(&mut self, event: Event<W>, count: Count) -> ControlFlow<()> {
        match self.try_tell(event, count) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn try_tell<W: Word>(&mut self, event: Event<W>, count: Count) -> Result<(), SessionError> {
        if event.is_release() {
            self.audit.confirm(self.heart)?;
        }
        let update = match event {
            Event::Opened => {
                self.started = Instant::now();
                self.heart.begin(Phase::Training, self.plan.epoch.bytes_each_way, None);
                Update::Ready { plan_hash: self.plan.hash }
            }
            Event::Step { done } if self.told.elapsed() >= NEWS => {
                self.told = Instant::now();
                Update::Step { done, bytes_sent: count.bytes }
            }
            Event::Step { .. } => return Ok(()),
            Event::Trained { .. } => {
                self.seconds_train += self.started.elapsed().as_secs_f64();
                self.heart.begin(Phase::Evaluating, self.plan.evaluation.bytes_each_way, None);
                return Ok(());
            }
            Event::Epoch { epoch, loss, score } => {
                self.heart.begin(Phase::Training, self.plan.epoch.bytes_each_way, None);
                let words = |sum: Option<Sum<W::Wide>>| {
                    let word = |word| signed(word).cast_unsigned();
                    sum.map(|sum| [sum.total, sum.records.unwrap_or_default()].map(word))
                };
                let [loss, score] = self.outputs.numbers(epoch, [words(loss), words(score)])?;
                self.started = Instant::now();
                Update::Epoch { epoch, loss, score }
            }
            Event::Alarm { share } => Update::Alarm { share: self.outputs.alarm(bit(share))? },
        };
        let next = match &update {
            Update::Ready { .. } => Some(1),
            Update::Epoch { epoch, .. } => Some(epoch + 1),
            _ => None,
        };
        self.heart.send(&update)?;
        // After the message, whose time would tell how long the sampling took.
        next.map_or(Ok(()), |epoch| self.outputs.draw_noise(epoch))
    }
}

/// Releases this server's shares of outputs.
pub(super) struct Outputs<'a> {
    job: &'a Job,
    account: &'a Account,
    veil: &'a Veil,
    role: Role,
    /// Noise of the next epoch's numbers, in the order of [`Kind::ALL`]. It is drawn before that
    /// epoch begins.
    noise: Zeroizing<[i64; 4]>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(job: &'a Job, account: &'a Account, veil: &'a Veil, role: Role) -> Self {
        Self { job, account, veil, role, noise: Zeroizing::default() }
    }

    /// Draws the noise of the numbers of `epoch`.
    fn draw_noise(&mut self, epoch: u32) -> Result<(), SessionError> {
        if self.job.reveal.noise.is_none() || epoch > self.job.training.epochs {
            return Ok(());
        }
        let mut rng = system_rng().map_err(|_| SessionError::Randomness)?;
        for (kind, noise) in Kind::ALL.into_iter().zip(self.noise.iter_mut()) {
            let scale = kind.form(self.job).and_then(|form| form.scale());
            *noise = scale.filter(|_| kind.is_opened(self.job, epoch)).map_or(0, |scale| scale.sample(&mut rng));
        }
        Ok(())
    }

    /// Returns the shares of the loss and the score of `epoch`, each a sum and a count.
    fn numbers(
        &mut self,
        epoch: u32,
        [loss, score]: [Option<[u64; 2]>; 2],
    ) -> Result<[Option<Sum<u64>>; 2], SessionError> {
        let released = Kind::ALL.iter().filter(|kind| kind.is_opened(self.job, epoch)).count();
        if released == 0 {
            return Ok([None; 2]);
        }
        self.account.release(released as u64)?;
        let sum = |output, words: Option<[u64; 2]>, [total, records]: [usize; 2]| {
            let mut words = Zeroizing::new(words?);
            self.veil.draw(output, &mut *words);
            let total = self.number(total, epoch, words[0])?;
            Some(Sum { total, records: self.number(records, epoch, words[1]) })
        };
        Ok([sum(Output::Loss { epoch }, loss, [0, 1]), sum(Output::Score { epoch }, score, [2, 3])])
    }

    /// Adds this server's noise to a share and cuts it to the number's range; `None` if the job
    /// does not open it in this epoch.
    fn number(&self, kind: usize, epoch: u32, share: u64) -> Option<u64> {
        let form = Kind::ALL[kind].form(self.job).filter(|_| Kind::ALL[kind].is_opened(self.job, epoch))?;
        let noisy = share.wrapping_add(self.noise[kind].cast_unsigned());
        Some(form.cut(noisy, self.role == Role::Server0))
    }

    /// Returns this server's share of the alarm, refreshed.
    fn alarm(&self, share: bool) -> Result<bool, SessionError> {
        self.account.release(1)?;
        Ok(self.veil.draw_bit(Output::Alarm, share))
    }

    /// Refreshes this server's share of the model in place, if the job opens it.
    fn model<W: Word>(&self, parameters: &mut [W]) -> Result<(), SessionError> {
        if !self.job.reveal.model {
            return Ok(());
        }
        self.account.release(1)?;
        self.veil.draw(Output::Model, parameters);
        Ok(())
    }
}

/// Returns bit 0 of a word.
fn bit<W: Word>(word: W) -> bool {
    W::bytes(&[word]).first().is_some_and(|byte| byte & 1 == 1)
}
