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

use super::{Job, Loss, MILLI, RevealLoss, Task, When};
use crate::noise::Scale;

/// Without a clamp, the cross-entropy of a row lies less than `ENTROPY_BELOW` below 0. It lies at
/// most `ENTROPY_ABOVE` above the largest difference of two logits, `ln 255` included.
const ENTROPY_BELOW: i128 = 1;
const ENTROPY_ABOVE: i128 = 7;

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
    /// The count of correct test predictions, or the sum of squared test errors.
    Score,
    /// The count of test records with a class.
    ScoreRecords,
}

impl Kind {
    /// All kinds, in the order of their noise.
    pub const ALL: [Self; 4] = [Self::Loss, Self::LossRecords, Self::Score, Self::ScoreRecords];

    fn is_of_training(self) -> bool {
        matches!(self, Self::Loss | Self::LossRecords)
    }

    /// Returns whether `job` opens this number in epoch `epoch`. A count of records with a class is
    /// opened once, unless each epoch trains on other records.
    pub fn is_opened(self, job: &Job, epoch: u32) -> bool {
        let first = if job.reveal.when == When::End { job.training.epochs } else { 1 };
        if !job.opens_numbers(epoch) {
            return false;
        }
        let (loss, score) = (job.reveal.loss == RevealLoss::Epoch, job.reveal.accuracy && job.data.test_records > 0);
        let counted = job.data.may_lack_class();
        match self {
            Self::Loss => loss,
            Self::LossRecords => loss && counted && (epoch == first || job.training.drop_last),
            Self::Score => score,
            Self::ScoreRecords => score && counted && epoch == first,
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
        let (records, terms) = match self {
            Self::Loss | Self::LossRecords => (job.records_per_epoch(), self.terms(job)),
            Self::Score | Self::ScoreRecords => (job.data.test_records, 1),
        };
        let [least, greatest] = self.term(job).map(|limit| limit * terms);
        let scale = match job.reveal.noise {
            None => None,
            Some(noise) => {
                let together: u64 = Self::ALL
                    .iter()
                    .filter(|k| k.is_of_training() == self.is_of_training())
                    .map(|k| k.times(job))
                    .sum();
                let change = u64::try_from(greatest - least).ok()?;
                let t = together.max(1).checked_mul(u64::from(MILLI))?;
                Some(Scale::new(change, t, u64::from(noise.epsilon_milli))?)
            }
        };
        let records = records as i128;
        Some(Form { least: least * records, greatest: greatest * records, scale })
    }

    /// Returns the number of terms that a record adds to the number.
    fn terms(self, job: &Job) -> i128 {
        match (self, job.loss) {
            (Self::Loss, Loss::MeanSquaredError) => job.outputs() as i128,
            _ => 1,
        }
    }

    /// Returns the least and the greatest term, in units of the sum.
    fn term(self, job: &Job) -> [i128; 2] {
        let (ring_bits, frac_bits) = (job.numbers.ring_bits, job.numbers.frac_bits);
        let one = 1i128 << frac_bits;
        // The greatest truncated square of an opened word.
        let square = (1i128 << (ring_bits - 2 - frac_bits)) + 1;
        let clamped = |limits: [i64; 2]| limits.map(|limit| i128::from(limit) * one);
        match (self, &job.data.task) {
            (Self::LossRecords | Self::ScoreRecords, _) | (Self::Score, Task::Classes(_)) => [0, 1],
            (Self::Score, Task::Regression(_)) => job.error_limits().map_or([0, square], clamped),
            (Self::Loss, _) => job.loss_limits().map_or_else(
                || match job.loss {
                    Loss::SoftmaxCrossEntropy => [-ENTROPY_BELOW * one, square + ENTROPY_ABOVE * one],
                    Loss::MeanSquaredError => [0, square],
                },
                clamped,
            ),
        }
    }
}

/// Counts the outputs that `job` opens: numbers, the model, the alarm.
pub fn outputs(job: &Job) -> u64 {
    let numbers: u64 = Kind::ALL.iter().map(|kind| kind.times(job)).sum();
    numbers + u64::from(job.reveal.model) + u64::from(job.reveal.alarm)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::job::Noise;

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
            assert_eq!(Kind::Score.form(&job).unwrap().bits(), bits, "{records} records");
        }
        let job = noisy(1000);
        let form = Kind::Score.form(&job).unwrap();
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
            for kind in Kind::ALL {
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
        let form = Kind::Score.form(&job).unwrap();
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
        let form = Kind::Score.form(&job).unwrap();
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
        assert_eq!(Kind::Score.form(&job).unwrap().scale(), Scale::new(1, 5000, 1000));
        assert_eq!(outputs(&job), 5 + 5 + 1 + u64::from(job.reveal.model));
        job.reveal.when = When::End;
        assert_eq!(Kind::Score.form(&job).unwrap().scale(), Scale::new(1, 1000, 1000));
        assert_eq!(outputs(&job), 3 + u64::from(job.reveal.model));
        (job.reveal.when, job.training.epochs) = (When::Epoch, u32::MAX);
        job.data.task = Task::Classes(10);
        assert!(Kind::Loss.form(&job).is_none_or(|form| form.bits() <= 64));
    }
}
