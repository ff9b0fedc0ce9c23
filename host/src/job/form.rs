//! The form of a count or a sum as it leaves the servers: its range, its noise, its bits.
//!
//! A server adds its noise to its share of the number, refreshes the share and cuts it to
//! `ceil(log2(n))` bits. `n` is the number of values that the number can have with its noise. The
//! client adds both shares modulo `2^bits` and gets the number, if it is in range.
//!
//! - **Adversary:** a client, together with a server that deviates. Through one output it learns as
//!   many bits as the form has, not a word.
//! - **Cost:** 0 bytes and 0 rounds. A sum of clamped terms costs a
//!   [`clamp`](symbolon_core::protocol::clamp) for each term.
//! - **Privacy:** as in [`crate::noise`], for the replacement of one record *that the number is
//!   about*, with the model as it is. The training records' influence on the model is not covered.
//!   `ε` is split evenly over the numbers that one replacement changes: of a metric's sums that is
//!   not all of them, but as many as [`moved`](symbolon_core::metric::Describe::moved) says.

use super::{Job, MILLI, RevealLoss, When};
use crate::noise::Scale;
use symbolon_core::{
    loss::Describe,
    metric::{AnyMetric, Terms},
};

/// The form of one number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Form {
    /// The least value without noise.
    least: i128,
    /// The greatest value without noise.
    greatest: i128,
    /// The scale of one server's noise; `None` without noise.
    scale: Option<Scale>,
}

impl Form {
    /// Returns the scale of one server's noise; `None` without noise.
    pub fn scale(&self) -> Option<Scale> {
        self.scale
    }

    /// Returns the least and the greatest value, both servers' noise included.
    pub fn limits(&self) -> [i128; 2] {
        let noise = self.scale.map_or(0, |scale| 2 * i128::from(scale.bound()));
        [self.least - noise, self.greatest + noise]
    }

    /// Returns the number of bits that leave a server.
    pub fn bits(&self) -> u32 {
        let [low, high] = self.limits();
        (i128::BITS - (high - low).leading_zeros()).min(64)
    }

    fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.bits()).min(63)
    }

    /// Returns the least value, noise included, modulo `2^64`.
    fn low(&self) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // modulo 2^64
        let low = self.limits()[0] as u64;
        low
    }

    /// Cuts a server's share to the form's bits; subtracts the least value from the first server's
    /// share.
    pub fn cut(&self, share: u64, is_first: bool) -> u64 {
        share.wrapping_sub(if is_first { self.low() } else { 0 }) & self.mask()
    }

    /// Joins both servers' shares and returns the number.
    pub fn join(&self, shares: [u64; 2]) -> i64 {
        let word = shares[0].wrapping_add(shares[1]) & self.mask();
        word.wrapping_add(self.low()).cast_signed()
    }
}

/// A number that a job opens once or in each epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The sum of the training loss.
    Loss,
    /// The count of training records with a class.
    LossRecords,
    /// A sum of a metric on the test records.
    Metric {
        /// Place of the metric in the job's list.
        metric: usize,
        /// Number of the sum.
        sum: usize,
    },
    /// The count of test records with a class.
    TestRecords,
}

impl Kind {
    /// Returns all numbers that `job` may open, in the order of their noise.
    pub fn all(job: &Job) -> impl Iterator<Item = Self> {
        let set = job.test_set();
        let sums: Vec<usize> = job.measured().iter().map(|metric| metric.describe().sums(&set)).collect();
        let of_metric = |(metric, sums)| (0..sums).map(move |sum| Self::Metric { metric, sum });
        let metrics = sums.into_iter().enumerate().flat_map(of_metric);
        [Self::Loss, Self::LossRecords].into_iter().chain(metrics).chain([Self::TestRecords])
    }

    fn is_of_training(self) -> bool {
        matches!(self, Self::Loss | Self::LossRecords)
    }

    /// Returns the terms of the number, of a sum of a metric.
    fn terms(self, job: &Job) -> Option<Terms> {
        let Self::Metric { metric, sum } = self else { return None };
        Some(job.measured().get(metric)?.describe().terms(&job.test_set(), sum))
    }

    /// Returns whether `job` opens this number in epoch `epoch`. A count of records with a class,
    /// and a sum about labels alone, is opened once, unless each epoch trains on other records.
    pub fn is_opened(self, job: &Job, epoch: u32) -> bool {
        let first = if job.reveal.when == When::End { job.training.epochs } else { 1 };
        if !job.opens_numbers(epoch) {
            return false;
        }
        let (loss, counted) = (job.reveal.loss == RevealLoss::Epoch, job.data.may_lack_class());
        match self {
            Self::Loss => loss,
            Self::LossRecords => loss && counted && (epoch == first || job.training.drop_last),
            Self::Metric { .. } => self.terms(job).is_some_and(|terms| epoch == first || !terms.once),
            Self::TestRecords => {
                let needed = job.measured().iter().any(|metric| metric.describe().needs_records());
                needed && counted && epoch == first
            }
        }
    }

    /// Returns how often `job` opens this number.
    pub fn times(self, job: &Job) -> u64 {
        let last = job.training.epochs;
        let opened = |epoch| u64::from(self.is_opened(job, epoch));
        // All epochs between the first and the last open the same numbers.
        match last {
            1 => opened(1),
            _ => opened(1) + opened(2) * u64::from(last - 2) + opened(last),
        }
    }

    /// Returns the number's form in `job`; `None` if its noise does not fit.
    pub fn form(self, job: &Job) -> Option<Form> {
        let records = if self.is_of_training() { job.predictions_per_epoch() } else { job.test_predictions() };
        let (terms, [least, greatest]) = self.term(job);
        let [least, greatest] = [least, greatest].map(|limit| limit * terms);
        let scale = match job.reveal.noise {
            None => None,
            Some(noise) => {
                let change = u64::try_from(greatest - least).ok()?;
                let t = self.together(job).max(1).checked_mul(u64::from(MILLI))?;
                Some(Scale::new(change, t, u64::from(noise.epsilon_milli))?)
            }
        };
        let records = records as i128;
        Some(Form { least: least * records, greatest: greatest * records, scale })
    }

    /// Returns the number of parts into which `ε` is split: as many as the numbers, about the same
    /// records, that the replacement of one record changes. Each of them spends one part.
    fn together(self, job: &Job) -> u64 {
        if self.is_of_training() {
            return Self::Loss.times(job) + Self::LossRecords.times(job);
        }
        let set = job.test_set();
        let often = u64::from(if job.reveal.when == When::End { 1 } else { job.training.epochs });
        let of_metric = |metric: &AnyMetric| {
            let moved = metric.describe().moved(&set);
            moved.often.saturating_mul(often).saturating_add(moved.once)
        };
        let metrics = job.measured().iter().map(of_metric).fold(0, u64::saturating_add);
        metrics.saturating_add(Self::TestRecords.times(job))
    }

    /// Returns how many terms a record adds to the number, and the least and the greatest term, in
    /// units of the sum.
    fn term(self, job: &Job) -> (i128, [i128; 2]) {
        if let Some(terms) = self.terms(job) {
            return (i128::from(terms.per_record), terms.limits().map(i128::from));
        }
        let one = 1i128 << job.numbers.frac_bits;
        if self != Self::Loss {
            return (1, [0, 1]);
        }
        let clamped = job.loss_limits().map(|limits| limits.map(|limit| i128::from(limit) * one));
        (job.loss_terms() as i128, clamped.unwrap_or_else(|| job.loss.limits(&job.loss_numbers())))
    }
}

/// Returns how many numbers `job` has opened once epoch `epoch` has ended.
pub fn numbers_after(job: &Job, epoch: u32) -> u64 {
    let of = |epoch| Kind::all(job).filter(|kind| kind.is_opened(job, epoch)).count() as u64;
    (1..=epoch).map(of).sum()
}

/// Counts the outputs that `job` opens: numbers, the model, the alarm.
pub fn outputs(job: &Job) -> u64 {
    let numbers: u64 = Kind::all(job).map(|kind| kind.times(job)).sum();
    numbers + u64::from(job.reveal.model) + u64::from(job.reveal.alarm)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::job::{Noise, Task};

    /// The count of correct predictions.
    const SCORE: Kind = Kind::Metric { metric: 0, sum: 0 };

    fn noisy(epsilon_milli: u32) -> Job {
        let mut job = Job::digits().unwrap();
        job.reveal.noise = Some(Noise { epsilon_milli, largest_loss: 8 });
        job
    }

    /// A count of `n` leaves in `ceil(log2(n + 1 + 2 T))` bits.
    #[test]
    fn a_count_has_the_bits_of_its_range() {
        let mut job = Job::digits().unwrap();
        for (records, bits) in [(1, 1), (127, 7), (128, 8), (360, 9)] {
            job.data.test_records = records;
            assert_eq!(SCORE.form(&job).unwrap().bits(), bits, "{records} records");
        }
        let job = noisy(1000);
        let form = SCORE.form(&job).unwrap();
        let noise = 2 * u128::try_from(form.scale().unwrap().bound()).unwrap();
        let values = job.data.test_records as u128 + 1 + 2 * noise;
        assert_eq!(form.bits(), u128::BITS - (values - 1).leading_zeros());
    }

    /// Over the whole range and at its ends, the client gets the number; shares have no other bits.
    #[test]
    fn what_is_cut_is_joined_again() {
        let plain = Job::digits().unwrap();
        let mut narrow = plain.clone();
        (narrow.numbers.ring_bits, narrow.numbers.frac_bits) = (32, 11);
        for job in [plain, narrow, noisy(1), noisy(1000)] {
            for kind in Kind::all(&job) {
                let form = kind.form(&job).unwrap();
                let [low, high] = form.limits();
                for value in [low, low + 1, -1, 0, 1, high - 1, high] {
                    let Ok(value) = i64::try_from(value.clamp(low, high)) else { continue };
                    for share in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
                        let other = value.cast_unsigned().wrapping_sub(share);
                        let shares = [form.cut(share, true), form.cut(other, false)];
                        assert!(shares.iter().all(|share| share.leading_zeros() >= 64 - form.bits()));
                        assert_eq!(form.join(shares), value, "{kind:?}");
                    }
                }
            }
        }
    }

    /// Fifty labels of two bits in one word, as a deviating server would have it: the honest server
    /// passes on the bits of the count, and no more.
    #[test]
    fn a_word_full_of_labels_is_cut() {
        let job = Job::digits().unwrap();
        let form = SCORE.form(&job).unwrap();
        let labels = (0..50u64).fold(0, |word, i| word | ((i * 7) % 2) << i);
        let share = 0x9e37_79b9_7f4a_7c15u64;
        let got = form.join([form.cut(share, true), form.cut(labels.wrapping_sub(share), false)]);
        assert!(form.bits() <= 9 && got.unsigned_abs() < 1 << form.bits());
        assert_ne!(got.cast_unsigned(), labels);
    }

    /// A hundred labels, each the difference of two counts: with the noise of one server known, the
    /// best guess is right about as often as chance.
    #[test]
    fn labels_are_not_read_from_noisy_counts() {
        use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
        let mut job = noisy(1000);
        job.training.epochs = 101;
        let form = SCORE.form(&job).unwrap();
        let (scale, mut rng) = (form.scale().unwrap(), ChaCha20Rng::from_seed([3; 32]));
        let (mut right, runs) = (0, 40);
        for run in 0..runs {
            let labels: Vec<i64> = (0..100).map(|i| (i * 37 + run) % 2).collect();
            let (mut count, mut before, mut guesses) = (200i64, None, Vec::new());
            for label in std::iter::once(&0).chain(&labels) {
                count += label;
                let (share, own) = (0x9e37_79b9_7f4a_7c15u64, scale.sample(&mut rng));
                let other = count.wrapping_add(own).cast_unsigned().wrapping_sub(share);
                let seen = form.join([form.cut(share, true), form.cut(other, false)]);
                guesses.extend(before.map(|before: i64| i64::from(2 * (seen - before) > 1)));
                before = Some(seen);
            }
            right += guesses.iter().zip(&labels).filter(|(guess, label)| guess == label).count();
        }
        let rate = right as f64 / (100 * runs) as f64;
        assert!((0.45..0.55).contains(&rate), "{rate}");
    }

    #[test]
    fn epsilon_is_split_over_a_records_outputs() {
        let mut job = noisy(1000);
        job.training.epochs = 5;
        // Five losses, each about 9 units of 2^12 a record: t = 1000 * 5 * 9 * 4096, s = 1000.
        let form = Kind::Loss.form(&job).unwrap();
        assert_eq!(form.scale(), Scale::new(9 * 4096, 5000, 1000));
        assert_eq!(SCORE.form(&job).unwrap().scale(), Scale::new(1, 5000, 1000));
        assert_eq!(outputs(&job), 5 + 5 + 1 + u64::from(job.reveal.model));
        job.reveal.when = When::End;
        assert_eq!(SCORE.form(&job).unwrap().scale(), Scale::new(1, 1000, 1000));
        assert_eq!(outputs(&job), 3 + u64::from(job.reveal.model));
        (job.reveal.when, job.training.epochs) = (When::Epoch, u32::MAX);
        job.data.task = Task::Classes(10);
        assert!(Kind::Loss.form(&job).is_none_or(|form| form.bits() <= 64));
    }
}
