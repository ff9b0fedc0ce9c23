//! The messages that leave a server while a job runs: shares of its outputs, and progress.
//!
//! An output passes the auditor's agreement, the ledger, this server's noise, the refreshment of
//! the share, the cut to the output's range, and the wire.

use super::{audit::Audit, dealing::Helper};
use crate::{
    device::system_rng,
    engine::plan::Plan,
    job::{
        Job,
        form::{Form, Kind},
    },
    net::Role,
    release::ledger::Account,
    session::{
        SessionError,
        heartbeat::{Heart, Phase},
        message::Update,
        veil::{Output, Veil},
    },
    train::{Event, Observer, signed},
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
    dealer: &'a Helper,
    outputs: Outputs<'a>,
    audit: Audit,
    told: Instant,
    /// Start of the timed steps.
    started: Instant,
    /// Seconds of the training steps alone.
    pub(super) seconds_train: f64,
    /// Epochs that ran.
    pub(super) epochs: u32,
    /// The error that ends the job at this server.
    pub(super) error: Option<SessionError>,
}

impl<'a, 'c> News<'a, 'c> {
    pub(super) fn new(
        heart: &'a Heart<'c>,
        plan: &'a Plan,
        dealer: &'a Helper,
        outputs: Outputs<'a>,
        audit: Audit,
    ) -> Self {
        let now = Instant::now();
        Self {
            heart,
            plan,
            dealer,
            outputs,
            audit,
            told: now,
            started: now,
            seconds_train: 0.0,
            epochs: 0,
            error: None,
        }
    }

    /// Waits for the auditor's agreement to all corrections of the job.
    pub(super) fn confirm(&mut self) -> Result<(), SessionError> {
        self.audit.confirm(self.heart)
    }

    /// Accounts for the release of the model, if the job reveals it. This comes before keeping:
    /// from then on the client may open the model.
    pub(super) fn account_for_model(&self) -> Result<(), SessionError> {
        match self.outputs.job.reveal.model {
            true => Ok(self.outputs.account.release(1)?),
            false => Ok(()),
        }
    }

    /// Refreshes `parameters`, this server's share of the model, if it leaves the job: if the job
    /// reveals the model, or `keeps` it.
    pub(super) fn refresh_model<W: Word>(&self, parameters: &mut [W], keeps: bool) {
        if self.outputs.job.reveal.model || keeps {
            self.outputs.veil.draw(Output::Model, parameters);
        }
    }

    /// Continues with what there is; notes an error and ends the job.
    fn or_break<T>(&mut self, result: Result<T, SessionError>) -> ControlFlow<(), T> {
        match result {
            Ok(value) => ControlFlow::Continue(value),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Receives the client's decision after epoch `epoch` and passes it on to dealer and auditor.
    fn decide(&mut self, epoch: u32) -> Result<bool, SessionError> {
        let decision = self.heart.wait_for(Role::Client, || self.heart.receive_decision())?;
        if decision.epoch != epoch {
            return Err(SessionError::Unexpected { from: Role::Client, wanted: "a decision about this epoch" });
        }
        self.dealer.decided(decision)?;
        self.audit.decided(decision)?;
        Ok(decision.goes_on)
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
                self.epochs = epoch;
                self.heart.begin(Phase::Training, self.plan.epoch.bytes_each_way, None);
                let word = |word: W::Wide| signed(word).cast_unsigned();
                let loss = loss.map(|sum| vec![word(sum.total), sum.records.map_or(0, word)]);
                let score = score.map(|score| {
                    let records = score.records.unwrap_or_default();
                    score.sums.into_iter().chain([records]).map(word).collect::<Vec<u64>>()
                });
                let numbers = self.outputs.numbers(epoch, [loss, score])?;
                self.started = Instant::now();
                Update::Epoch { epoch, numbers }
            }
            Event::Alarm { share } => Update::Alarm { share: self.outputs.alarm(bit(share))? },
        };
        let next = match &update {
            Update::Ready { .. } => Some(1),
            Update::Epoch { epoch, .. } => Some(epoch + 1),
            _ => None,
        };
        match next {
            Some(epoch) if self.outputs.job.may_end_after(epoch - 1) => self.heart.ask(&update)?,
            _ => self.heart.send(&update)?,
        }
        // After the message, whose time would tell how long the sampling took.
        next.map_or(Ok(()), |epoch| self.outputs.draw_noise(epoch))
    }
}

impl<W: Word> Observer<W> for News<'_, '_> {
    fn event(&mut self, event: Event<W>, count: Count) -> ControlFlow<()> {
        let told = self.try_tell(event, count);
        self.or_break(told)
    }

    fn goes_on(&mut self, epoch: u32) -> ControlFlow<(), bool> {
        let decided = self.decide(epoch);
        self.or_break(decided)
    }
}

/// Releases this server's shares of outputs.
pub(super) struct Outputs<'a> {
    job: &'a Job,
    account: &'a Account,
    veil: &'a Veil,
    role: Role,
    /// All numbers of the job, with their forms.
    forms: Vec<(Kind, Option<Form>)>,
    /// Noise of the next epoch's numbers, in the order of `forms`. It is drawn before that epoch
    /// begins.
    noise: Zeroizing<Vec<i64>>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(job: &'a Job, account: &'a Account, veil: &'a Veil, role: Role) -> Self {
        let forms: Vec<_> = Kind::all(job).map(|kind| (kind, kind.form(job))).collect();
        let noise = Zeroizing::new(vec![0; forms.len()]);
        Self { job, account, veil, role, forms, noise }
    }

    /// Draws the noise of the numbers of `epoch`.
    fn draw_noise(&mut self, epoch: u32) -> Result<(), SessionError> {
        if self.job.reveal.noise.is_none() || epoch > self.job.training.epochs {
            return Ok(());
        }
        let mut rng = system_rng().map_err(|_| SessionError::Randomness)?;
        for ((kind, form), noise) in self.forms.iter().zip(self.noise.iter_mut()) {
            let scale = form.and_then(|form| form.scale());
            *noise = scale.filter(|_| kind.is_opened(self.job, epoch)).map_or(0, |scale| scale.sample(&mut rng));
        }
        Ok(())
    }

    /// Returns the shares of the numbers that the job opens in `epoch`, in the order of
    /// [`Kind::all`], from shares of the loss and its count of records, and of all metrics' sums
    /// and their count of records.
    fn numbers(&mut self, epoch: u32, [loss, score]: [Option<Vec<u64>>; 2]) -> Result<Vec<u64>, SessionError> {
        let opened = self.forms.iter().map(|(kind, _)| kind.is_opened(self.job, epoch));
        let released = opened.filter(|opened| *opened).count();
        if released == 0 {
            return Ok(Vec::new());
        }
        self.account.release(released as u64)?;
        let refreshed = |output, words: Option<Vec<u64>>, len| {
            let mut words = Zeroizing::new(words.unwrap_or_else(|| vec![0; len]));
            self.veil.draw(output, &mut words);
            words
        };
        let loss = refreshed(Output::Loss { epoch }, loss, 2);
        let score = refreshed(Output::Score { epoch }, score, self.forms.len() - 2);
        let words = loss.iter().chain(score.iter());
        let numbers = self.forms.iter().zip(words.zip(self.noise.iter()));
        let opened = numbers.filter(|((kind, _), _)| kind.is_opened(self.job, epoch));
        // A number without a form is in no job that was admitted.
        let number = |((_, form), (share, noise)): (&(Kind, Option<Form>), (&u64, &i64))| {
            let noisy = share.wrapping_add(noise.cast_unsigned());
            form.map_or(0, |form| form.cut(noisy, self.role == Role::Server0))
        };
        Ok(opened.map(number).collect())
    }

    /// Returns this server's share of the alarm, refreshed.
    fn alarm(&self, share: bool) -> Result<bool, SessionError> {
        self.account.release(1)?;
        Ok(self.veil.draw_bit(Output::Alarm, share))
    }
}

/// Returns bit 0 of a word.
fn bit<W: Word>(word: W) -> bool {
    W::bytes(&[word]).first().is_some_and(|byte| byte & 1 == 1)
}
