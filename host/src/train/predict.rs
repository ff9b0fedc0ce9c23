//! Predictions of a trained model: its weights are masked and opened once, each batch of rows costs
//! its activations alone.
//!
//! The asker splits rows and joins answers. The servers learn the number of rows, the dealer the
//! number of batches. None learns rows, answers or weights. Rows of a model that learned from
//! reports are codes in their narrow rings: a batch begins with the same lift as training does.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}.
//! - **Cost:** as [`serving_plan`](crate::engine::plan::serving_plan) counts it.
//! - **Result:** that of the clear engine, whose rounding it has.

use super::{
    evaluate::{infer, outputs_of},
    fold::{self, OpenParameters},
    lift::RowLines,
    meetings::Meetings,
    tape::described,
};
use crate::{
    data::Lengths,
    job::{Job, Laid, Task},
    lanes::Lanes,
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::ControlFlow};
use symbolon_core::{
    function::{
        classify,
        top_k::{Largest, top_k},
    },
    kernel::plane_words,
    layer::Pass,
    link::Error,
    loss::{Built, Describe as _, Loss as _},
    party::Party,
    protocol::{
        bit::bits_to_words,
        masked::{Masked, mask_and_open},
        truncate::truncate,
    },
    word::Word,
};

/// The kind of answer that an asker learns, prediction by prediction. Public.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum AnswerKind {
    /// The class of the largest output; of several, the first. One word.
    Class,
    /// The outputs through the loss's activation: probabilities or values, rounded to so many
    /// fraction bits, `f` of them at most. A word an output.
    Values {
        /// Fraction bits.
        frac_bits: u32,
    },
    /// The classes of the `k` largest outputs, the largest first; of equal ones, the first is the
    /// larger. `k` words.
    Top {
        /// From 2 up to the number of classes.
        k: u32,
    },
}

impl AnswerKind {
    /// Words of a record's answer.
    #[must_use]
    pub fn words(self, job: &Job) -> usize {
        match self {
            Self::Class => job.data.labels_per_record,
            Self::Values { .. } => job.label_words(),
            Self::Top { k } => job.data.labels_per_record * k as usize,
        }
    }
}

/// A session of predictions, as its parties agree on it. Public.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    /// The kind of its answers.
    pub answer: AnswerKind,
    /// Rows of a batch, lane by lane: 1 to [`MAX_BATCH_ROWS`].
    pub batches: Vec<u16>,
}

/// Most rows of a batch.
pub const MAX_BATCH_ROWS: u16 = 512;
/// Most lanes of a session of predictions.
pub const MAX_SERVING_LANES: usize = 16;

/// The reason why a model answers no predictions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotServed {
    /// The lanes, or the rows of a batch, are too few or too many.
    Batches,
    /// A regression has no classes.
    NoClasses,
    /// `k` is below 2 or above the number of classes.
    Top {
        /// The requested `k`.
        got: u32,
        /// The model's classes.
        most: usize,
    },
    /// More fraction bits than values have.
    FracBits {
        /// Those that were asked for.
        got: u32,
        /// Those of values.
        most: u32,
    },
    /// Its records are sequences of public lengths.
    Lengths,
    /// It learned from reports, whose records devices alone ask with.
    Reports,
    /// It learned from files, and devices ask with records of reports.
    Files,
    /// Another model answers the devices of its schema.
    SchemaTaken,
    /// Its answer is longer than an answer to a device.
    DeviceAnswer {
        /// Words of its answer.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// Too many clients are listed.
    Askers {
        /// The limit.
        most: usize,
    },
}

impl fmt::Display for NotServed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batches => write!(
                f,
                "serve-batches: batches take 1 to {MAX_SERVING_LANES} lanes, each of 1 to {MAX_BATCH_ROWS} rows"
            ),
            Self::NoClasses => f.write_str("serve-classes: the model is a regression; publish it with --answer values"),
            Self::Top { got, most } => {
                write!(f, "serve-top: --k is {got}; give 2 to {most}, the number of classes")
            }
            Self::FracBits { got, most } => {
                write!(f, "serve-round: --round is {got}; give at most {most}, the job's fraction bits")
            }
            Self::Lengths => f.write_str("serve-lengths: models of sequences with lengths answer no predictions yet"),
            Self::Askers { most } => write!(
                f,
                "serve-askers: list at most {most} clients, by their serial numbers in lower case, or let all ask"
            ),
            Self::Reports => f.write_str(
                "serve-reports: models that learned from reports answer devices alone; publish it with --for-devices",
            ),
            Self::SchemaTaken => f.write_str(
                "serve-schema: another model answers the devices of this schema; have its owner retire that one first",
            ),
            Self::Files => f.write_str(
                "serve-files: devices ask models that learned from reports; publish this one without --for-devices",
            ),
            Self::DeviceAnswer { got, most } => write!(
                f,
                "serve-device-answer: an answer has {got} words, and one to a device has {most} at most; publish the model \
                 for classes"
            ),
        }
    }
}

impl std::error::Error for NotServed {}

impl Serving {
    /// Number of lanes.
    #[must_use]
    pub fn lanes(&self) -> u16 {
        u16::try_from(self.batches.len()).unwrap_or(u16::MAX)
    }

    /// Checks lanes and batches alone.
    ///
    /// # Errors
    ///
    /// [`NotServed::Batches`].
    pub fn check_batches(&self) -> Result<(), NotServed> {
        let rows = self.batches.iter().all(|rows| (1..=MAX_BATCH_ROWS).contains(rows));
        let lanes = (1..=MAX_SERVING_LANES).contains(&self.batches.len());
        if rows && lanes { Ok(()) } else { Err(NotServed::Batches) }
    }

    /// Checks that a model of `job` answers such predictions.
    ///
    /// # Errors
    ///
    /// [`NotServed`].
    pub fn check(&self, job: &Job) -> Result<(), NotServed> {
        self.check_batches()?;
        if Lengths::bytes(&job.data) > 0 {
            return Err(NotServed::Lengths);
        }
        match (self.answer, &job.data.task) {
            (AnswerKind::Class | AnswerKind::Top { .. }, Task::Regression(_)) => Err(NotServed::NoClasses),
            (AnswerKind::Top { k }, Task::Classes(most)) if !(2..=*most).contains(&(k as usize)) => {
                Err(NotServed::Top { got: k, most: *most })
            }
            (AnswerKind::Values { frac_bits }, _) if frac_bits > job.numbers.frac_bits => {
                Err(NotServed::FracBits { got: frac_bits, most: job.numbers.frac_bits })
            }
            _ => Ok(()),
        }
    }
}

/// Where a lane's batches come from, and where their answers go.
pub trait Batches<W: Word>: Send {
    /// Writes this party's shares of the next batch to `rows`: `f` fraction bits, or the codes of a
    /// model that learned from reports. Rows without a query are zeros. [`ControlFlow::Break`] ends
    /// the lane.
    fn next(&mut self, rows: &mut [W]) -> ControlFlow<()>;

    /// Takes this party's shares of the batch's answers.
    fn answer(&mut self, answers: &mut [W]);
}

/// One party's part of a model that is open for predictions.
pub struct Predictor<'j, W: Word> {
    job: &'j Job,
    answer: AnswerKind,
    laid: Laid,
    loss: Built,
    parameters: OpenParameters<W>,
    /// The same with layers folded into them.
    folded: Option<OpenParameters<W>>,
    meetings: Meetings<W>,
    lines: RowLines<W>,
}

impl<'j, W: Word> Predictor<'j, W> {
    /// Masks and opens this party's share `model` of a model of `job`: parameters, then running
    /// statistics.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's.
    ///
    /// # Panics
    ///
    /// If the share has another length.
    pub fn open(lanes: &mut Lanes<'_, W>, job: &'j Job, answer: AnswerKind, model: &[W]) -> Result<Self, Error> {
        let (laid, tile) = (job.network(), job.lanes.tile);
        assert!(model.len() == job.model_words(), "a model of another job");
        let (own, rest) = model.split_at(laid.graph().parameters());
        let mut shares = Secret::zeros(own.len());
        shares.copy_from_slice(own);
        let mut meetings = Meetings::new(&laid, &described(&shares), lanes);
        let statistics = meetings.statistics_mut();
        statistics.copy_from_slice(&rest[..statistics.len()]);
        let parameters = OpenParameters::new(lanes, ("open weights", tile), shares)?;
        let model = parameters.model();
        meetings.settle(lanes, &laid.graph(), &Pass { model, ..described(model.shares) })?;
        let folded = fold::fold(lanes, tile, (&laid, model), &meetings)?;
        let loss = job.loss.build(&job.loss_numbers()).expect("a valid job's loss can be computed");
        let lines = RowLines::new(job);
        Ok(Self { job, answer, laid, loss, parameters, folded, meetings, lines })
    }

    /// Answers batches on each lane until it ends: one source and its number of rows a lane.
    ///
    /// # Errors
    ///
    /// The link's and the dealer's, on any lane.
    ///
    /// # Panics
    ///
    /// If there is not one source a lane.
    pub fn run<B: Batches<W>>(&self, lanes: &mut Lanes<'_, W>, sources: Vec<(usize, B)>) -> Result<(), Error> {
        let own = self.parameters.model();
        let model = self.folded.as_ref().map_or(own, OpenParameters::model);
        let met = fold::met(&self.laid, &self.meetings);
        lanes.each(sources, |party, (rows, mut source)| {
            let (features, answers) = (self.job.data.features(), self.answer.words(self.job));
            let mut data = Secret::zeros(rows * features);
            let mut answered = Secret::zeros(rows * answers);
            while source.next(&mut data).is_continue() {
                self.lines.lift(party, &mut data, (features, self.job.lanes.tile))?;
                let mask = party.draw()?.mask(data.len());
                let mask = mask_and_open(party, &mut data, mask)?.matrix(features);
                let data = Masked { words: &data, mask };
                self.batch(party, &Pass { model, data, moment: None, met: &met, lengths: None }, &mut answered)?;
                source.answer(&mut answered);
            }
            Ok(())
        })
    }

    /// Writes this party's shares of the answers for the records of `pass`.
    fn batch(&self, party: &mut Party<'_, W>, pass: &Pass<'_, W>, answers: &mut [W]) -> Result<(), Error> {
        let (graph, rows) = (self.laid.graph(), pass.rows());
        match self.answer {
            AnswerKind::Class => {
                let classes = self.job.outputs();
                let ([outputs], mut party) = party.scratch([rows * self.job.label_words()])?;
                outputs_of(&mut party, &graph, pass, outputs)?;
                class_indices(&mut party, (outputs, graph.frac_bits), classes, answers)
            }
            AnswerKind::Top { k } => {
                let classes = self.job.outputs();
                let ([outputs], mut party) = party.scratch([rows * self.job.label_words()])?;
                outputs_of(&mut party, &graph, pass, outputs)?;
                let largest = Largest { indices: answers, ..Largest::default() };
                top_k(&mut party, (outputs, graph.frac_bits), (classes, k as usize), largest)
            }
            AnswerKind::Values { frac_bits } => {
                infer(party, &graph, pass, answers)?;
                self.loss.predict(party, answers)?;
                match graph.frac_bits.saturating_sub(frac_bits) {
                    0 => Ok(()),
                    more => truncate(party, answers, more),
                }
            }
        }
    }
}

/// Writes shares of the number of each row's largest output to `indices`; of several, the first:
/// [`classify::predict`], then [`bits_to_words`] of the bits of the numbers.
fn class_indices<W: Word>(
    party: &mut Party<'_, W>,
    (outputs, frac_bits): (&[W], u32),
    classes: usize,
    indices: &mut [W],
) -> Result<(), Error> {
    let (plane, bits) = (plane_words::<W>(indices.len()), usize::BITS - (classes - 1).leading_zeros());
    let ([hot, index], mut party) = party.scratch([classes * plane, bits as usize * plane])?;
    classify::predict(&mut party, (outputs, frac_bits), classes, hot)?;
    index.fill(W::default());
    // One class of a row is set: so a bit of its number is the sum of those that have the bit.
    for (class, hot) in hot.chunks_exact(plane).enumerate() {
        for (_, index) in index.chunks_exact_mut(plane).enumerate().filter(|(bit, _)| class >> bit & 1 == 1) {
            party.kernels.xor(index, hot);
        }
    }
    let shifts: Vec<u32> = (0..bits).collect();
    bits_to_words(&mut party, index, &shifts, indices)
}
