//! Checkpoints: the steps after which servers store their state.
//!
//! Both servers must store the same steps, since a job goes on from a step that both have. Steps
//! that are counted are the same by themselves. A rule by time has no common clock, and servers do
//! not talk about it: each measures its own mean time of a step. So stored steps are multiples of a
//! power of two, the [spacing](Pace::spacing). Where one server's spacing is twice the other's, its
//! steps are every other step of the other server. Among the last three steps that each has stored,
//! there is then a common one, even if one server stops before it stores the last (derived here:
//! of two steps in a row that the server with the smaller spacing stores, the other stores one).

use super::{Invalid, Job, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A day.
const MAX_SECONDS: u64 = 86_400;
/// The spacing of steps that take no time.
const MAX_SPACING_LOG2: u32 = 32;

/// The steps after which servers store their state. Unless it is `"off"`, they also store it at
/// each epoch's end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// About as often as this, in seconds: 1 to 86,400. Steps between two checkpoints are a power
    /// of two, the largest that takes no longer.
    EverySeconds(u32),
    /// After each multiple of this number of steps: 1 to 4,294,967,295.
    Steps(u32),
    /// Never: an interrupted job starts again, and fails if outputs have left.
    Off,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self::EverySeconds(300)
    }
}

/// The steps of a run so far and their time, as one server measures it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    /// Steps that this run has made.
    pub steps: u64,
    /// The time that they took.
    pub elapsed: Duration,
}

impl Pace {
    /// Returns the steps between two checkpoints: the largest power of two that takes at most
    /// `seconds` by the mean time of the steps so far, at least 1.
    pub fn spacing(&self, seconds: u32) -> u64 {
        let allowed = Duration::from_secs(seconds.into()).as_nanos().saturating_mul(self.steps.into());
        let steps = allowed / self.elapsed.as_nanos().max(1);
        1 << steps.max(1).ilog2().min(MAX_SPACING_LOG2)
    }
}

impl Checkpoint {
    /// Returns whether the rule names step `done`, counted from 1 over the whole job; `pace` is
    /// this run's up to that step. The ends of epochs are no part of it.
    fn names(self, done: u64, pace: &Pace) -> bool {
        match self {
            Self::EverySeconds(seconds) => done.is_multiple_of(pace.spacing(seconds)),
            Self::Steps(steps) => done.is_multiple_of(steps.into()),
            Self::Off => false,
        }
    }
}

impl Job {
    /// Returns whether a server stores its state after step `done`, counted from 1 over the whole
    /// job: at an epoch's end, or as the job's rule says of this server's `pace`.
    pub fn stores_step(&self, done: u64, pace: &Pace) -> bool {
        let rule = self.training.checkpoint;
        let ends_epoch = done.is_multiple_of(self.steps_per_epoch().max(1) as u64);
        rule != Checkpoint::Off && (ends_epoch || rule.names(done, pace))
    }
}

/// Checks the rule of a job.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    let (key, got, max) = match job.training.checkpoint {
        Checkpoint::EverySeconds(seconds) => ("every_seconds", u64::from(seconds), MAX_SECONDS),
        Checkpoint::Steps(steps) => ("steps", u64::from(steps), u64::from(u32::MAX)),
        Checkpoint::Off => return Ok(()),
    };
    match (1..=max).contains(&got) {
        true => Ok(()),
        false => Err(Invalid { key: format!("training.checkpoint.{key}"), rule: Rule::Between { got, min: 1, max } }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, path::Path};

    fn pace(steps: u64, millis: u64) -> Pace {
        Pace { steps, elapsed: Duration::from_millis(millis) }
    }

    #[test]
    fn a_spacing_is_the_largest_power_of_two_that_is_in_time() {
        assert_eq!(pace(0, 0).spacing(300), 1, "nothing is known before the first step");
        assert_eq!(pace(1, 0).spacing(300), 1 << 32, "steps without time");
        assert_eq!(pace(1, 300_000).spacing(300), 1);
        assert_eq!(pace(1, 1_000_000).spacing(300), 1, "a step that takes longer");
        assert_eq!(pace(10, 1_500_000).spacing(300), 2);
        assert_eq!(pace(10, 1_500_001).spacing(300), 1);
        assert_eq!(pace(1000, 100_000).spacing(60), 512);
        assert_eq!(pace(u64::MAX, 1).spacing(86_400), 1 << 32);
        assert_eq!(Pace { steps: 1, elapsed: Duration::MAX }.spacing(1), 1);
    }

    fn job(training: &str) -> Job {
        let text = include_str!("../../jobs/digits.toml");
        let text = text.replace("[training]", &format!("[training]\n{training}"));
        Job::parse(&text, Path::new("digits.toml")).unwrap()
    }

    #[test]
    fn files_name_the_rule_and_leave_it_out() {
        let rule = |training| job(training).training.checkpoint;
        assert_eq!(rule(""), Checkpoint::EverySeconds(300));
        assert_eq!(rule("checkpoint = { every_seconds = 5 }"), Checkpoint::EverySeconds(5));
        assert_eq!(rule("checkpoint = { steps = 100 }"), Checkpoint::Steps(100));
        assert_eq!(rule("checkpoint = \"off\""), Checkpoint::Off);
        for training in ["", "checkpoint = { steps = 100 }", "checkpoint = \"off\""] {
            let job = job(training);
            assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
        }
        assert_ne!(job("").hash().unwrap(), job("checkpoint = \"off\"").hash().unwrap());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let refused = |checkpoint| {
            let mut job = job("");
            job.training.checkpoint = checkpoint;
            job.validate().err().map(|invalid| (invalid.key, invalid.rule))
        };
        let of = |key: &str, got, max| Some((format!("training.checkpoint.{key}"), Rule::Between { got, min: 1, max }));
        assert_eq!(refused(Checkpoint::EverySeconds(0)), of("every_seconds", 0, 86_400));
        assert_eq!(refused(Checkpoint::EverySeconds(86_401)), of("every_seconds", 86_401, 86_400));
        assert_eq!(refused(Checkpoint::Steps(0)), of("steps", 0, u32::MAX.into()));
        for valid in [Checkpoint::EverySeconds(1), Checkpoint::EverySeconds(86_400), Checkpoint::Steps(u32::MAX)] {
            assert_eq!(refused(valid), None);
        }
    }

    #[test]
    fn epochs_ends_are_stored_unless_checkpoints_are_off() {
        let steps = job("").steps_per_epoch() as u64;
        let stored = |training: &str, pace: Pace| {
            let job = job(training);
            (1..=2 * steps).filter(|done| job.stores_step(*done, &pace)).collect::<Vec<_>>()
        };
        assert_eq!(stored("checkpoint = \"off\"", pace(1, 1_000_000)), Vec::<u64>::new());
        assert_eq!(stored("", pace(1, 0)), [steps, 2 * steps]);
        assert_eq!(stored("", pace(1, 1_000_000)), (1..=2 * steps).collect::<Vec<_>>());
        let every: Vec<u64> = (1..=2 * steps).filter(|done| done % 7 == 0 || done % steps == 0).collect();
        assert_eq!(stored("checkpoint = { steps = 7 }", pace(1, 0)), every);
    }

    /// The last three steps up to `done` that a server stores.
    fn last_three(job: &Job, done: u64, pace: &Pace) -> BTreeSet<u64> {
        (1..=done).rev().filter(|done| job.stores_step(*done, pace)).take(3).collect()
    }

    proptest! {
        /// One server has stored step `done`, the other stopped before it did.
        #[test]
        fn servers_at_half_the_others_spacing_have_a_common_step(
            done in 1u64..5000,
            spacing_log2 in 0u32..10,
            seconds in 1u32..1000,
            records in 1usize..20_000,
            is_first_slow: bool,
        ) {
            let mut job = job("");
            (job.data.train_records, job.training.checkpoint) = (records, Checkpoint::EverySeconds(seconds));
            // A step that takes the time of the rule over the spacing.
            let of = |spacing_log2| pace(1u64 << spacing_log2, u64::from(seconds) * 1000);
            let mut paces = [of(spacing_log2), of(spacing_log2 + 1)];
            if is_first_slow {
                paces.reverse();
            }
            prop_assert_eq!(paces.map(|pace| pace.spacing(seconds).ilog2()).iter().sum::<u32>(), 2 * spacing_log2 + 1);
            for (a, b) in [(done, done), (done, done - 1), (done - 1, done)] {
                let [a, b] = [last_three(&job, a, &paces[0]), last_three(&job, b, &paces[1])];
                // Before the first common step, a job has lost little: it starts again.
                let is_early = done <= 2 * (2 << spacing_log2);
                prop_assert!(is_early || !a.is_disjoint(&b), "{:?} and {:?}", a, b);
            }
        }

        /// Two clocks that differ by a part in 200, on steps of any time: spacings change as the
        /// mean does, at each server by itself.
        #[test]
        fn servers_that_measure_alike_have_a_common_step(
            millis in proptest::collection::vec(1u64..400, 64..512),
            drift in 0u64..=5,
            seconds in 1u32..10,
        ) {
            let mut job = job("");
            (job.data.train_records, job.training.checkpoint) = (1 << 20, Checkpoint::EverySeconds(seconds));
            let mut elapsed = [0; 2];
            let mut stored: [Vec<u64>; 2] = Default::default();
            for (done, millis) in (1..).zip(millis) {
                for (j, stored) in stored.iter_mut().enumerate() {
                    elapsed[j] += millis * (1000 + drift * j as u64);
                    let pace = Pace { steps: done, elapsed: Duration::from_micros(elapsed[j]) };
                    if job.stores_step(done, &pace) {
                        stored.push(done);
                    }
                }
                let lasts = |stored: &Vec<u64>| stored.iter().rev().take(3).copied().collect::<BTreeSet<_>>();
                let [a, b] = stored.each_ref().map(lasts);
                prop_assert!(a.is_empty() || b.is_empty() || !a.is_disjoint(&b), "{:?} and {:?}", a, b);
            }
        }
    }
}
