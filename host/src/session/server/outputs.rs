//! A run's observer at a server: progress, checkpoints, and the shares of outputs.
//!
//! The numbers of an epoch leave in this order, so that a crash at any point neither releases two
//! versions of a number nor loses one:
//!
//! 1. The auditor agrees, if there is one. So no run goes on from a state that a deviating dealer
//!    has
//!    touched, and a deployment with an auditor stores no other checkpoints.
//! 2. The share is refreshed, this server's noise is added, and the sum is cut to the output's
//!    range. The result is stored with the checkpoint at the epoch's end: a run that goes on from
//!    there sends the same words.
//! 3. Each server tells the other that it has the checkpoint. From then on both can go on from
//!    here, and neither ever goes on from before: the shares of two runs do not fit together.
//! 4. The ledger has the release.
//! 5. The output, sealed to the client, is in the job store; then it leaves.
//!
//! A job without checkpoints cannot go on once an output has left, and may lose the last one at one
//! server.

use super::{Server, Session, audit::Audit, dealing::Helper, heartbeats::Heartbeats};
use crate::{
    device::system_rng,
    job::{
        Job, Pace,
        form::{Form, Kind, numbers_after},
    },
    job_store::CheckpointName,
    kernel::HostWord,
    net::{Connection, Role},
    session::{
        SessionError,
        heartbeat::Phase,
        message::{self, Decision, MAX_MESSAGE_BYTES},
        veil::{Output, Veil},
    },
    train::{Event, Observer, Position, Scores, State, Sum, signed},
};
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};
use symbolon_core::{link::Count, word::Word};
use zeroize::Zeroizing;

/// Least time between two reports of steps.
const STEP_INTERVAL: Duration = Duration::from_millis(200);

/// Observes a run: posts its progress, stores checkpoints and releases outputs.
pub(super) struct RunObserver<'a> {
    server: &'a Server,
    session: &'a Session<'a>,
    heartbeats: &'a Heartbeats<'a>,
    dealer: &'a Helper,
    control: &'a mut Connection,
    outputs: Outputs<'a>,
    audit: Audit,
    /// Whether the auditor has agreed to the next release.
    is_confirmed: bool,
    told: Instant,
    /// Start of the timed steps.
    started: Instant,
    /// This run's steps and their time.
    pace: Pace,
    /// Seconds of the training steps alone.
    pub(super) seconds_train: f64,
    /// Epochs that ran.
    pub(super) epochs: u32,
    /// The refreshed share of the range alarm.
    pub(super) alarm: Option<bool>,
    /// The error that ends the run at this server.
    pub(super) error: Option<SessionError>,
}

impl<'a> RunObserver<'a> {
    pub(super) fn new(
        server: &'a Server,
        session: &'a Session<'a>,
        (heartbeats, control): (&'a Heartbeats<'a>, &'a mut Connection),
        (dealer, audit): (&'a Helper, Audit),
        outputs: Outputs<'a>,
    ) -> Self {
        let now = Instant::now();
        Self {
            server,
            session,
            heartbeats,
            dealer,
            control,
            outputs,
            audit,
            is_confirmed: false,
            told: now,
            started: now,
            pace: Pace::default(),
            seconds_train: 0.0,
            epochs: session.position.epochs(session.job),
            alarm: None,
            error: None,
        }
    }

    /// Waits for the auditor's agreement to all corrections of the run.
    pub(super) fn confirm(&mut self) -> Result<(), SessionError> {
        self.audit.confirm(self.heartbeats)
    }

    /// Refreshes `parameters`, this server's share of the model, if it leaves the job: if the job
    /// reveals the model, or it is kept.
    pub(super) fn refresh_model<W: Word>(&self, parameters: &mut [W]) {
        if self.session.model_leaves() {
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

    /// Waits for the client's decision after epoch `epoch` and passes it on to dealer and auditor.
    fn decide(&mut self, epoch: u32) -> Result<bool, SessionError> {
        let (board, cancel) = (self.session.board, &self.session.cancel);
        let timeout = self.server.config.timeouts.idle;
        let decided = self.heartbeats.wait_for(Role::Client, || board.decision(epoch, timeout, cancel));
        let absent = match cancel.is_cancelled() {
            true => SessionError::Stopped, // another run begins, or the job has ended
            false => SessionError::Absent { peer: Role::Client, waited_s: timeout.as_secs() },
        };
        let decision = Decision { epoch, goes_on: decided.ok_or(absent)? };
        self.dealer.decided(decision)?;
        self.audit.decided(decision)?;
        Ok(decision.goes_on)
    }

    fn begin_training(&mut self) {
        self.heartbeats.begin(Phase::Training, self.session.plan.epoch.bytes_each_way, None);
        self.started = Instant::now();
    }

    fn stop_clock(&mut self) {
        let elapsed = self.started.elapsed();
        self.seconds_train += elapsed.as_secs_f64();
        self.pace.elapsed += elapsed;
    }

    fn try_tell<W: HostWord + Word>(&mut self, event: Event<W>, count: Count) -> Result<(), SessionError> {
        if event.is_release() && !std::mem::take(&mut self.is_confirmed) {
            self.confirm()?;
        }
        let (session, board) = (self.session, self.session.board);
        match event {
            Event::Opened => {
                board.post_ready();
                let (job, position) = (session.job, session.position);
                self.outputs.draw_noise(position.epochs(job).saturating_add(1))?;
                self.begin_training();
            }
            Event::Step { done } => {
                self.pace.steps += 1;
                if self.told.elapsed() >= STEP_INTERVAL {
                    self.told = Instant::now();
                    board.post(|view| view.step = (done, count.bytes));
                }
            }
            Event::Trained { .. } => {
                self.stop_clock();
                self.heartbeats.begin(Phase::Evaluating, session.plan.evaluation.bytes_each_way, None);
            }
            Event::Epoch { epoch, loss, score } => {
                self.epochs = epoch;
                let numbers = self.outputs.take::<W>(epoch, (loss, score))?;
                self.release(epoch, numbers)?;
                self.begin_training();
                // After the output, whose time would tell how long the sampling took.
                self.outputs.draw_noise(epoch + 1)?;
            }
            Event::Alarm { share } => self.alarm = Some(self.outputs.veil.draw_bit(Output::Alarm, bit(share))),
        }
        Ok(())
    }

    /// Releases the numbers of an epoch, once both servers have them.
    fn release(&mut self, epoch: u32, numbers: Vec<u64>) -> Result<(), SessionError> {
        let (session, server) = (self.session, self.server);
        let theirs: u32 = self
            .heartbeats
            .wait_for(self.heartbeats.other(), || server.exchange(self.control, &epoch, MAX_MESSAGE_BYTES))?;
        if theirs != epoch {
            return Err(SessionError::Unexpected { from: self.heartbeats.other(), wanted: "the same epoch's end" });
        }
        session.account.release_up_to(numbers_after(session.job, epoch))?;
        let output = message::Output::Epoch { epoch, numbers };
        server.add_output(session.stored, epoch, &output)?;
        session.board.note_progress();
        session.board.post_stored();
        Ok(())
    }

    /// Stores a checkpoint; at an epoch's end with the numbers that are about to leave.
    fn store<W: HostWord + Word>(&mut self, state: &State<W>) -> Result<(), SessionError> {
        let (session, position) = (self.session, state.position());
        let job = session.job;
        if position.is_epoch_end(job) {
            self.confirm()?;
            self.is_confirmed = true;
        }
        let numbers = state.outputs(job).map(|(loss, score)| {
            let epoch = position.epochs(job);
            self.outputs.make::<W>(epoch, (loss, score))
        });
        let numbers = numbers.transpose()?;
        let name = CheckpointName { steps: position.steps(), session: session.id };
        let epoch = job.steps_per_epoch().max(1) as u64;
        let id = &session.stored.id;
        let stored = self.server.jobs.write_checkpoint(id, (name, epoch), numbers.as_deref(), &state.to_bytes());
        match (stored, numbers) {
            (Ok(()), Some(numbers)) => self.outputs.pending = Some((position.epochs(job), numbers)),
            (Ok(()), None) => session.board.note_progress(),
            // The earlier checkpoints still serve; but no output leaves without one.
            (Err(error), None) => self.server.tell_unstored(id, &error),
            (Err(error), Some(_)) => return Err(error.into()),
        }
        Ok(())
    }
}

impl<W: HostWord + Word> Observer<W> for RunObserver<'_> {
    fn event(&mut self, event: Event<W>, count: Count) -> ControlFlow<()> {
        let told = self.try_tell(event, count);
        self.or_break(told)
    }

    fn goes_on(&mut self, epoch: u32) -> ControlFlow<(), bool> {
        let decided = self.decide(epoch);
        self.or_break(decided)
    }

    fn wants_checkpoint(&mut self, position: Position) -> bool {
        let is_in_epoch = !position.is_epoch_end(self.session.job);
        if is_in_epoch && self.audit.is_audited() {
            return false;
        }
        let running = if is_in_epoch { self.started.elapsed() } else { Duration::ZERO };
        let pace = Pace { elapsed: self.pace.elapsed + running, ..self.pace };
        self.session.job.stores_step(position.steps(), &pace)
    }

    fn checkpoint(&mut self, state: State<W>) -> ControlFlow<()> {
        let stored = self.store(&state);
        self.or_break(stored)
    }
}

/// Makes this server's shares of outputs.
pub(super) struct Outputs<'a> {
    job: &'a Job,
    veil: &'a Veil,
    role: Role,
    /// All numbers of the job, with their forms.
    forms: Vec<(Kind, Option<Form>)>,
    /// Noise of the numbers of `noise_epoch`, in the order of `forms`. It is drawn before that epoch
    /// begins.
    noise: Zeroizing<Vec<i64>>,
    noise_epoch: u32,
    /// The numbers of an epoch that are stored with its checkpoint.
    pub(super) pending: Option<(u32, Vec<u64>)>,
}

/// An epoch's loss and scores, as a run tells them.
type Raw<W> = (Option<Sum<<W as Word>::Wide>>, Option<Scores<<W as Word>::Wide>>);

impl<'a> Outputs<'a> {
    pub(super) fn new(job: &'a Job, veil: &'a Veil, role: Role, pending: Option<(u32, Vec<u64>)>) -> Self {
        let forms: Vec<_> = Kind::all(job).map(|kind| (kind, kind.form(job))).collect();
        let noise = Zeroizing::new(vec![0; forms.len()]);
        Self { job, veil, role, forms, noise, noise_epoch: 0, pending }
    }

    /// Draws the noise of the numbers of `epoch`.
    fn draw_noise(&mut self, epoch: u32) -> Result<(), SessionError> {
        self.noise_epoch = epoch;
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

    /// Returns the numbers of `epoch`: those of its checkpoint, if it has one.
    fn take<W: Word>(&mut self, epoch: u32, raw: Raw<W>) -> Result<Vec<u64>, SessionError> {
        match self.pending.take() {
            Some((of, numbers)) if of == epoch => Ok(numbers),
            _ => self.make::<W>(epoch, raw),
        }
    }

    /// Returns the shares of the numbers that the job opens in `epoch`, in the order of
    /// [`Kind::all`], from shares of the loss and its count of records, and of all metrics' sums
    /// and their count of records.
    fn make<W: Word>(&mut self, epoch: u32, (loss, score): Raw<W>) -> Result<Vec<u64>, SessionError> {
        if self.forms.iter().all(|(kind, _)| !kind.is_opened(self.job, epoch)) {
            return Ok(Vec::new());
        }
        // Noise serves one epoch, once.
        if std::mem::take(&mut self.noise_epoch) != epoch {
            return Err(SessionError::Unexpected { from: self.role, wanted: "noise for this epoch" });
        }
        let word = |word: W::Wide| signed(word).cast_unsigned();
        let loss = loss.map(|sum| vec![word(sum.total), sum.records.map_or(0, word)]);
        let score = score.map(|score| {
            let records = score.records.unwrap_or_default();
            score.sums.into_iter().chain([records]).map(word).collect::<Vec<u64>>()
        });
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
}

/// Returns bit 0 of a word.
fn bit<W: Word>(word: W) -> bool {
    W::bytes(&[word]).first().is_some_and(|byte| byte & 1 == 1)
}
