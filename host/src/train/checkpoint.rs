//! Checkpoints: a party's state after a step, from which the job can go on.
//!
//! A [`State`] is flat: a [`Position`], and this party's shares of all that a later step reads, in
//! this order:
//!
//! - each lane's sums of range alarms and, within an epoch, the words that it keeps for its next
//!   check;
//! - parameters, running statistics, and the optimizer's durable state; the curvature of Newton's
//!   method, if later steps or variances need it;
//! - within an epoch, each lane's loss so far; at an epoch's end, the loss and the scores that are
//!   about to leave.
//!
//! It holds additive shares (of bits: exclusive ors) alone. Masked and opened words, masks, bits of
//! masks and buckets are never stored: a run from a state makes them again under fresh seeds, so no
//! mask serves two values. Apart from the inputs, everything else follows from the job and the
//! position: batches and augmentation from the epoch, dropout and learning rate from the step.
//!
//! - **Revealed:** nothing. A party takes its state by itself: no round, no request, and no change
//!   to the plan. Both servers' states together give the model, so a state is as secret as a share.
//! - **Cost** of a run from a state, counted by [`plan_from`](crate::engine::plan::plan_from): the
//!   set-up, which opens data and weights under fresh masks; then Adam's choice of buckets, or the
//!   inverse of a fixed curvature. From within an epoch, a job with a range alarm also checks 8,192
//!   words a lane: the kept words, and zeros, so that the cost follows from the position alone.
//! - **Result:** values of the same distribution as without the interruption. Dithers are others;
//!   an Adam that keeps its buckets chooses them once more, and a lazy one then updates `v` once
//!   more, which its bias correction does not count.
//! - **Needs:** from the caller, who has to check them: the inputs of that run; seeds that no
//!   earlier run had; states of one run at both servers, since two runs reach a position with
//!   shares that do not fit together; and that no output is released twice, because a run from a
//!   state repeats events.

mod gather;
pub(super) mod layout;
#[cfg(test)]
mod tests;

pub(super) use layout::Outputs;

use crate::{job::Job, kernel::HostWord, secret::Secret};
use layout::Layout;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use symbolon_core::word::{Word, word_bytes};
use zeroize::Zeroizing;

/// The first bytes of an encoded state; they change with its format.
const FORMAT: &[u8; 16] = b"symbolon state 1";
/// The format, the job's hash and the position, which the digest of all follows.
const HEADER_BYTES: usize = FORMAT.len() + 32 + 8;
const DIGEST_BYTES: usize = 32;

/// A place in a job between two steps, named by the number of steps before it. The end of an epoch
/// is the place after the epoch's evaluation.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before the first step.
    pub const START: Self = Self(0);

    /// Returns the position after `steps` steps of the whole job.
    pub fn after(steps: u64) -> Self {
        Self(steps)
    }

    /// Returns the position after the last step of `job`.
    pub fn last(job: &Job) -> Self {
        Self(u64::from(job.training.epochs) * steps_per_epoch(job))
    }

    /// Returns the number of steps before the position.
    pub fn steps(self) -> u64 {
        self.0
    }

    /// Returns the number of epochs of `job` that end at the position or before it.
    pub fn epochs(self, job: &Job) -> u32 {
        u32::try_from(self.0 / steps_per_epoch(job)).unwrap_or(u32::MAX)
    }

    /// Returns the number of steps of the running epoch before the position; 0 at an epoch's end.
    pub fn steps_of_epoch(self, job: &Job) -> usize {
        usize::try_from(self.0 % steps_per_epoch(job)).unwrap_or(usize::MAX)
    }

    /// Returns whether an epoch of `job` ends at the position.
    pub fn is_epoch_end(self, job: &Job) -> bool {
        self != Self::START && self.steps_of_epoch(job) == 0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.0)
    }
}

fn steps_per_epoch(job: &Job) -> u64 {
    job.steps_per_epoch().max(1) as u64
}

/// One party's state of a job at a position: shares, wiped when dropped. It has no `Debug`.
pub struct State<W: Word> {
    /// The job's hash.
    job: [u8; 32],
    position: Position,
    words: Secret<W>,
}

impl<W: Word> State<W> {
    /// A state of zeros.
    fn zeros(job: &Job, position: Position) -> Self {
        Self { job: hash(job), position, words: Secret::zeros(Self::words(job, position)) }
    }

    /// Returns the number of words of a state of `job` at `position`.
    pub fn words(job: &Job, position: Position) -> usize {
        Layout::new::<W>(job, position).words()
    }

    /// Returns the number of words of the largest state of `job`: within an epoch or at its end.
    pub fn most_words(job: &Job) -> usize {
        let last = Position::last(job);
        let before = Position(last.0.saturating_sub(1));
        Self::words(job, last).max(Self::words(job, before))
    }

    /// Returns the position.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the lengths of the sections.
    ///
    /// # Panics
    ///
    /// If this is another job's state.
    fn layout(&self, job: &Job) -> Layout {
        assert!(self.job == hash(job), "a state of another job");
        Layout::new::<W>(job, self.position)
    }
}

impl<W: HostWord + Word> State<W> {
    /// Encodes the state: its format, the job's hash, the steps, a SHA-256 of all other bytes, and
    /// the words, all little-endian. The hash tells of damage, not of an author.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let words = W::bytes(&self.words);
        // Of the final length from the start: growing would leave a copy behind that is not wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + DIGEST_BYTES + words.len()));
        bytes.extend_from_slice(FORMAT);
        bytes.extend_from_slice(&self.job);
        bytes.extend_from_slice(&self.position.0.to_le_bytes());
        let digest = digest([&bytes, words]);
        bytes.extend_from_slice(&digest);
        bytes.extend_from_slice(words);
        bytes
    }

    /// Decodes a state of `job`, whatever the bytes.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    ///
    /// # Panics
    ///
    /// If the job computes in words of another width.
    pub fn from_bytes(job: &Job, bytes: &[u8]) -> Result<Self, StateError> {
        assert!(W::BITS == job.numbers.ring_bits, "a job of another word");
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(StateError::Format)?;
        let (own, encoded) = rest.split_first_chunk::<DIGEST_BYTES>().ok_or(StateError::Format)?;
        let (format, of_job) = header.split_at(FORMAT.len());
        let (of_job, steps) = of_job.split_at(of_job.len() - 8);
        let steps = steps.try_into().map(u64::from_le_bytes).map_err(|_| StateError::Format)?;
        if format != FORMAT {
            return Err(StateError::Format);
        }
        if *of_job != hash(job) {
            return Err(StateError::Job);
        }
        let (position, last) = (Position(steps), Position::last(job));
        if !(Position(1)..=last).contains(&position) {
            return Err(StateError::Position { got: position, last });
        }
        let want = Self::words(job, position) * word_bytes::<W>();
        if encoded.len() != want {
            return Err(StateError::Length { want, got: encoded.len() });
        }
        if *own != digest([header, encoded]) {
            return Err(StateError::Digest);
        }
        let mut state = Self::zeros(job, position);
        W::bytes_mut(&mut state.words).copy_from_slice(encoded);
        Ok(state)
    }
}

fn hash(job: &Job) -> [u8; 32] {
    job.hash().expect("a valid job encodes")
}

fn digest(parts: [&[u8]; 2]) -> [u8; DIGEST_BYTES] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// The place where a run begins.
pub enum Start<W: Word> {
    /// Before the first step, with the job's initial weights.
    Fresh,
    /// Before the first step, with this party's shares of a model: parameters in the flat order of
    /// the network, then running statistics. They are masked afresh, as initial weights are, so one
    /// share may begin any number of runs.
    From(Secret<W>),
    /// At a state of this party.
    At(State<W>),
}

impl<W: Word> Start<W> {
    /// Returns the start of a dry run at `position`.
    ///
    /// # Panics
    ///
    /// If words have a size.
    pub(crate) fn dry(job: &Job, position: Position) -> Self {
        assert!(size_of::<W>() == 0, "a dry start has no words");
        if position == Position::START { Self::Fresh } else { Self::At(State::zeros(job, position)) }
    }

    /// Returns the position.
    pub fn position(&self) -> Position {
        match self {
            Self::Fresh | Self::From(_) => Position::START,
            Self::At(state) => state.position,
        }
    }
}

/// The reason why bytes are no state of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StateError {
    /// They are no state of this version.
    Format,
    /// They are another job's state.
    Job,
    /// The job has no such position, or it is the start.
    Position {
        /// The state's.
        got: Position,
        /// After the job's last step.
        last: Position,
    },
    /// The state is cut short or has bytes behind it.
    Length {
        /// Bytes of the job's shares at this position.
        want: usize,
        /// Bytes that there are.
        got: usize,
    },
    /// The bytes have changed since they were encoded.
    Digest,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("not a checkpoint of this version; start the job again"),
            Self::Job => f.write_str("a checkpoint of another job; a job goes on only as it began"),
            Self::Position { got, last } => write!(f, "a checkpoint after {got}; the job has {} steps", last.0),
            Self::Length { want, got } => {
                write!(f, "a checkpoint with {got} bytes of shares, not {want}; use an earlier one")
            }
            Self::Digest => f.write_str("a checkpoint whose bytes have changed; use an earlier one"),
        }
    }
}

impl std::error::Error for StateError {}
