//! What the operator of a server permits.
//!
//! A job is public; before it starts, each server holds it to its own policy. A refusal names the rule, its limit and what
//! the job asked for, and travels to whoever sent the job.

use core::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The hash of a job.
pub type JobHash = [u8; 32];

/// Something that a job may open.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reveal {
    /// The score on the test set: the count of correct predictions and, where labels may name no
    /// class, of the records that have one; or the sum of squared errors.
    Accuracy,
    /// The mean loss of an epoch and, where labels may name no class, the count of the records that
    /// have one.
    Loss,
    /// The trained model, to the client alone.
    Model,
    /// Predictions for single records, to the client alone.
    Predictions,
}

impl fmt::Display for Reveal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::Model => "model",
            Self::Predictions => "predictions",
        })
    }
}

/// The jobs that a server takes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Jobs {
    /// Any job within the other rules.
    #[default]
    Any,
    /// Jobs with these hashes.
    Listed(Vec<JobHash>),
}

/// The resources that a role gives to jobs: the part of a policy that dealer and auditor have too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Jobs that run at a time; at least 1.
    pub places: usize,
    /// Most bytes of memory for one job.
    pub largest_memory_bytes: u64,
}

impl Default for Limits {
    /// Two places of 8 GiB each.
    fn default() -> Self {
        Self { places: 2, largest_memory_bytes: 8 << 30 }
    }
}

/// A server's rules.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Which jobs.
    pub jobs: Jobs,
    /// What they may open.
    pub reveals: Vec<Reveal>,
    /// Fewest records a step: an update of few records says more about each. Records count whether
    /// or not their label names a class, here and below.
    pub smallest_batch: u64,
    /// Fewest records to learn from, and fewest to open a score of: a score of few says something about each.
    pub smallest_records: u64,
    /// Whether a job must open the range alarm.
    pub require_alarm: bool,
    /// The resources that jobs get.
    pub limits: Limits,
}

impl Default for Policy {
    /// Any job of at least 100 records in batches of at least 16, within the default limits, that opens the accuracy and the loss. The model
    /// must be permitted in so many words.
    fn default() -> Self {
        Self {
            jobs: Jobs::Any,
            reveals: vec![Reveal::Accuracy, Reveal::Loss],
            smallest_batch: 16,
            smallest_records: 100,
            require_alarm: false,
            limits: Limits::default(),
        }
    }
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facts<'a> {
    /// The job's hash.
    pub job: &'a JobHash,
    /// Everything that it opens.
    pub reveals: &'a [Reveal],
    /// Records of its smallest step: the last of an epoch may have fewer than the batch.
    pub batch: u64,
    /// Its training records.
    pub records: u64,
    /// The records that it opens a score of; none if it opens none.
    pub scored: Option<u64>,
    /// Whether it opens the range alarm, one bit a job, which every policy permits beside another
    /// output.
    pub alarm: bool,
    /// What it needs on this server, by its plan.
    pub memory_bytes: u64,
}

impl Policy {
    /// Permits a job, or names the first rule against it.
    ///
    /// # Errors
    ///
    /// The rule, its limit and what the job asks for.
    pub fn check(&self, facts: &Facts<'_>) -> Result<(), Refusal> {
        match &self.jobs {
            Jobs::Listed(jobs) if !jobs.contains(facts.job) => return Err(Refusal::Job(*facts.job)),
            _ => {}
        }
        if let Some(reveal) = facts.reveals.iter().find(|reveal| !self.reveals.contains(reveal)) {
            return Err(Refusal::Reveal(*reveal));
        }
        if facts.batch < self.smallest_batch {
            return Err(Refusal::Batch { smallest: self.smallest_batch, job: facts.batch });
        }
        if facts.records < self.smallest_records {
            return Err(Refusal::Records { smallest: self.smallest_records, job: facts.records });
        }
        if let Some(scored) = facts.scored.filter(|scored| *scored < self.smallest_records) {
            return Err(Refusal::Scored { smallest: self.smallest_records, job: scored });
        }
        if self.require_alarm && !facts.alarm {
            return Err(Refusal::Alarm);
        }
        self.limits.check_memory(facts.memory_bytes)
    }
}

impl Limits {
    /// Permits a job that needs `memory_bytes`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Memory`].
    pub fn check_memory(&self, memory_bytes: u64) -> Result<(), Refusal> {
        match self.largest_memory_bytes {
            largest if memory_bytes > largest => Err(Refusal::Memory { largest, job: memory_bytes }),
            _ => Ok(()),
        }
    }
}

/// The rule that a job broke. Serialisable, so that the server can tell the client.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Refusal {
    /// The job is not listed.
    Job(JobHash),
    /// The job opens something that is not permitted.
    Reveal(Reveal),
    /// The job's batch is too small.
    Batch {
        /// The server's limit.
        smallest: u64,
        /// The job's batch.
        job: u64,
    },
    /// The job has too few records.
    Records {
        /// The server's limit.
        smallest: u64,
        /// The job's records.
        job: u64,
    },
    /// The job opens a score of too few records.
    Scored {
        /// The server's limit.
        smallest: u64,
        /// The job's test records.
        job: u64,
    },
    /// The job does not open the range alarm.
    Alarm,
    /// All places are taken.
    Places {
        /// The role's places.
        most: usize,
    },
    /// The job needs too much memory.
    Memory {
        /// The server's limit in bytes.
        largest: u64,
        /// The job's need in bytes.
        job: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(hash) => {
                f.write_str("policy.jobs does not list job ")?;
                hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Reveal(reveal) => write!(f, "policy.reveals does not permit `{reveal}`"),
            Self::Batch { smallest, job } => {
                write!(
                    f,
                    "policy.smallest_batch is {smallest}, the job's smallest step has {job} records; give training.batch as many at least, and training.drop_last = true if the last of an epoch is what is short"
                )
            }
            Self::Records { smallest, job } => {
                write!(f, "policy.smallest_records is {smallest}, the job has {job}")
            }
            Self::Scored { smallest, job } => {
                write!(f, "policy.smallest_records is {smallest}, the job opens a score of {job} test records")
            }
            Self::Alarm => f.write_str("policy.require_alarm is true; leave reveal.alarm = false out of the job"),
            Self::Places { most } => {
                write!(f, "policy.places is {most}, and as many jobs run here; try again when one has ended")
            }
            Self::Memory { largest, job } => {
                write!(f, "policy.largest_memory_mib is {}, the job needs {}", largest >> 20, job.div_ceil(1 << 20))
            }
        }
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HASH: JobHash = [7; 32];

    fn facts(reveals: &[Reveal]) -> Facts<'_> {
        let (job, scored, memory_bytes) = (&HASH, Some(10_000), 1 << 30);
        Facts { job, reveals, batch: 128, records: 60_000, scored, alarm: true, memory_bytes }
    }

    #[test]
    fn permits_what_no_rule_forbids() {
        let policy = Policy { jobs: Jobs::Listed(vec![[1; 32], HASH]), ..Policy::default() };
        policy.check(&facts(&[Reveal::Loss, Reveal::Accuracy])).unwrap();
    }

    #[test]
    fn names_the_rule() {
        let policy = Policy::default();
        let good = facts(&[Reveal::Accuracy]);
        let listed = Policy { jobs: Jobs::Listed(vec![[1; 32]]), ..Policy::default() };
        assert_eq!(listed.check(&good), Err(Refusal::Job(HASH)));
        assert_eq!(policy.check(&facts(&[Reveal::Loss, Reveal::Model])), Err(Refusal::Reveal(Reveal::Model)));
        let small = Facts { batch: 15, ..good };
        assert_eq!(policy.check(&small), Err(Refusal::Batch { smallest: 16, job: 15 }));
        let few = Facts { records: 99, ..good };
        assert_eq!(policy.check(&few), Err(Refusal::Records { smallest: 100, job: 99 }));
        let one = Facts { scored: Some(1), ..good };
        assert_eq!(policy.check(&one), Err(Refusal::Scored { smallest: 100, job: 1 }));
        assert_eq!(policy.check(&Facts { scored: None, ..good }), Ok(()));
        let silent = Facts { alarm: false, ..good };
        assert_eq!(policy.check(&silent), Ok(()));
        let strict = Policy { require_alarm: true, ..Policy::default() };
        assert_eq!((strict.check(&silent), strict.check(&good)), (Err(Refusal::Alarm), Ok(())));
        let large = Facts { memory_bytes: (8 << 30) + 1, ..good };
        let refusal = policy.check(&large).unwrap_err();
        assert_eq!(refusal.to_string(), "policy.largest_memory_mib is 8192, the job needs 8193");
    }
}
