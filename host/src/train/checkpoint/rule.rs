//! A rule for the steps after which two servers store their states, and each the last three.
//!
//! Both servers must store the same steps, since a job goes on from a step that both have. Steps
//! that are counted are the same by themselves. A rule by time has no common clock, and servers do
//! not talk about it: each measures its own mean time of a step. So stored steps are multiples of a
//! power of two, the [spacing](Pace::spacing). Where one server's spacing is twice the other's, its
//! steps are every other step of the other server. Among the last three steps that each has stored,
//! there is then a common one, even if one server stops before it stores the last (derived here:
//! of two steps in a row that the server with the smaller spacing stores, the other stores one).

use std::{num::NonZeroU32, time::Duration};

/// The spacing of steps that take no time.
const MAX_SPACING_LOG2: u32 = 32;

/// The steps after which servers store their state. Unless it is off, they also store it at each
/// epoch's end, however short the epochs are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckpointRule {
    /// About as often as this, in seconds. Steps between two checkpoints are a power of two, the
    /// largest that takes no longer.
    EverySeconds(u32),
    /// After each multiple of this number of steps.
    Steps(NonZeroU32),
    /// Never: an interrupted job starts again.
    Off,
}

impl Default for CheckpointRule {
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

impl CheckpointRule {
    /// Returns whether a server stores its state after step `done`, counted from 1 over a job of
    /// epochs of `epoch` steps; `pace` is this server's in this run up to that step.
    pub fn stores(self, done: u64, epoch: u64, pace: &Pace) -> bool {
        let names = match self {
            Self::EverySeconds(seconds) => done.is_multiple_of(pace.spacing(seconds)),
            Self::Steps(steps) => done.is_multiple_of(u64::from(steps.get())),
            Self::Off => return false,
        };
        names || done.is_multiple_of(epoch)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

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

    const EPOCH: u64 = 29;

    #[test]
    fn epochs_ends_are_stored_unless_checkpoints_are_off() {
        let stored = |rule: CheckpointRule, pace: Pace| {
            (1..=2 * EPOCH).filter(|done| rule.stores(*done, EPOCH, &pace)).collect::<Vec<_>>()
        };
        let steps = |steps| CheckpointRule::Steps(NonZeroU32::new(steps).unwrap());
        assert_eq!(stored(CheckpointRule::Off, pace(1, 1_000_000)), Vec::<u64>::new());
        assert_eq!(stored(CheckpointRule::default(), pace(1, 0)), [EPOCH, 2 * EPOCH]);
        assert_eq!(stored(CheckpointRule::default(), pace(1, 1_000_000)), (1..=2 * EPOCH).collect::<Vec<_>>());
        let every: Vec<u64> = (1..=2 * EPOCH).filter(|done| done % 7 == 0 || done % EPOCH == 0).collect();
        assert_eq!(stored(steps(7), pace(1, 0)), every);
    }

    /// The last three steps up to `done` that a server stores.
    fn last_three(seconds: u32, epoch: u64, done: u64, pace: &Pace) -> BTreeSet<u64> {
        let rule = CheckpointRule::EverySeconds(seconds);
        (1..=done).rev().filter(|done| rule.stores(*done, epoch, pace)).take(3).collect()
    }

    proptest! {
        /// One server has stored step `done`, the other stopped before it did.
        #[test]
        fn servers_at_half_the_others_spacing_have_a_common_step(
            done in 1u64..5000,
            spacing_log2 in 0u32..10,
            seconds in 1u32..1000,
            epoch in 1u64..20_000,
            is_first_slow: bool,
        ) {
            // A step that takes the time of the rule over the spacing.
            let of = |spacing_log2| pace(1u64 << spacing_log2, u64::from(seconds) * 1000);
            let mut paces = [of(spacing_log2), of(spacing_log2 + 1)];
            if is_first_slow {
                paces.reverse();
            }
            prop_assert_eq!(paces.map(|pace| pace.spacing(seconds).ilog2()).iter().sum::<u32>(), 2 * spacing_log2 + 1);
            for (a, b) in [(done, done), (done, done - 1), (done - 1, done)] {
                let [a, b] = [(a, &paces[0]), (b, &paces[1])].map(|(done, pace)| last_three(seconds, epoch, done, pace));
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
            let (rule, epoch) = (CheckpointRule::EverySeconds(seconds), 1 << 14);
            let mut elapsed = [0; 2];
            let mut stored: [Vec<u64>; 2] = Default::default();
            for (done, millis) in (1..).zip(millis) {
                for (j, stored) in stored.iter_mut().enumerate() {
                    elapsed[j] += millis * (1000 + drift * j as u64);
                    let pace = Pace { steps: done, elapsed: Duration::from_micros(elapsed[j]) };
                    if rule.stores(done, epoch, &pace) {
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
