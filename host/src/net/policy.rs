//! What the operator of a server permits.
//!
//! A job is public; before it starts, each server holds it to its own policy. A refusal names the rule, its limit and what
//! the job asked for, and travels to whoever sent the job.

use core::fmt;

use crate::intake::validity::UnixSeconds;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use symbolon_core::metric::Kind;

/// The hash of a job.
pub type JobHash = [u8; 32];

/// Something that a job may open.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reveal {
    /// The sums of a metric on the test set and, where labels may name no class, the count of the
    /// records that have one. `accuracy` stands for `mean-squared-error` too.
    Metric(Kind),
    /// The mean loss of an epoch and, where labels may name no class, the count of the records that
    /// have one.
    Loss,
    /// The trained model, to the client alone.
    Model,
    /// Predictions for single records, to the client alone.
    Predictions,
    /// The standard errors of a regression's coefficients, with the model.
    StandardErrors,
}

impl fmt::Display for Reveal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metric(kind) => kind.name(),
            Self::Loss => "loss",
            Self::Model => "model",
            Self::Predictions => "predictions",
            Self::StandardErrors => "standard-errors",
        })
    }
}

impl Reveal {
    /// Returns all that jobs may open: metrics first, then the others.
    fn all() -> impl Iterator<Item = Self> {
        let metrics = Kind::ALL.iter().map(|kind| Self::Metric(*kind));
        metrics.chain([Self::Loss, Self::Model, Self::Predictions, Self::StandardErrors])
    }

    /// Returns whether a policy that names `self` permits `asked`.
    fn permits(self, asked: Self) -> bool {
        let [accuracy, error] = [Kind::Accuracy, Kind::SquaredError].map(Self::Metric);
        self == asked || (self == accuracy && asked == error)
    }
}

impl TryFrom<String> for Reveal {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::all().find(|reveal| reveal.to_string() == name).ok_or_else(|| {
            let known: Vec<String> = Self::all().map(|reveal| reveal.to_string()).collect();
            format!("`{name}` is no output of a job; give some of: {}", known.join(", "))
        })
    }
}

impl From<Reveal> for String {
    fn from(reveal: Reveal) -> Self {
        reveal.to_string()
    }
}

impl JsonSchema for Reveal {
    fn schema_name() -> Cow<'static, str> {
        "Reveal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<String> = Self::all().map(|reveal| reveal.to_string()).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// The jobs that a server takes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Jobs {
    /// Any job within the other rules.
    Any,
    /// Jobs that the operator has listed with `symbolon policy allow`.
    Listed,
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
    /// The jobs that the server takes. `None`: jobs that learn from reports must be listed, jobs on
    /// a client's own upload need not be.
    pub jobs: Option<Jobs>,
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
    /// Most bytes of scratch files for one job.
    pub largest_disk_bytes: u64,
    /// `ε` that a client may spend on the records of a schema in a day, in thousandths; outputs
    /// then need noise.
    /// `None`: outputs need no noise. This rule and those below bind jobs that learn from reports.
    pub epsilon_milli: Option<u32>,
    /// Most outputs of a job.
    pub outputs_per_job: u64,
    /// Most outputs about the records of a manifest, of all clients together.
    pub outputs_per_manifest: u64,
    /// Most jobs of a client in a day.
    pub jobs_per_day: u64,
    /// Fewest steps before a model is opened: after few steps, a model contains records.
    pub fewest_steps: u64,
    /// Fewest records by which the training or test sets of a client's two jobs differ, unless
    /// they are the same. The difference of their outputs is an output about those records.
    pub smallest_difference: u64,
}

impl Default for Policy {
    /// Permits jobs of at least 100 records, in batches of at least 16, that open the accuracy and
    /// the loss, within the default limits. The model must be permitted by name. Jobs on reports
    /// must be listed and have noise.
    fn default() -> Self {
        Self {
            jobs: None,
            reveals: vec![Reveal::Metric(Kind::Accuracy), Reveal::Loss],
            smallest_batch: 16,
            smallest_records: 100,
            require_alarm: false,
            limits: Limits::default(),
            largest_disk_bytes: 64 << 30,
            epsilon_milli: Some(1000),
            outputs_per_job: 128,
            outputs_per_manifest: 1024,
            jobs_per_day: 32,
            fewest_steps: 100,
            smallest_difference: 100,
        }
    }
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facts<'a> {
    /// The hash under which the job is listed.
    pub job: &'a JobHash,
    /// Whether it is listed.
    pub listed: bool,
    /// The facts for the rules on jobs that learn from reports; `None` for other jobs.
    pub stored: Option<StoredFacts>,
    /// Everything that it opens.
    pub reveals: &'a [Reveal],
    /// Records of its smallest step: the last of an epoch may have fewer than the batch.
    pub batch: u64,
    /// Its training records; none if it trains on none.
    pub records: Option<u64>,
    /// The records that it opens a score of; none if it opens none.
    pub scored: Option<u64>,
    /// Whether it opens the range alarm, one bit a job, which every policy permits beside another
    /// output.
    pub alarm: bool,
    /// What it needs on this server, by its plan.
    pub memory_bytes: u64,
    /// Bytes of its scratch files on this server.
    pub disk_bytes: u64,
}

/// The facts for the rules on a job that learns from reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredFacts {
    /// Number of outputs that it opens.
    pub outputs: u64,
    /// Number of its training steps.
    pub steps: u64,
    /// `ε` of its outputs, in thousandths; `None` without noise.
    pub epsilon_milli: Option<u32>,
    /// Whether it opens a number that needs noise.
    pub opens_numbers: bool,
}

impl Policy {
    /// Permits a job, or names the first rule against it.
    ///
    /// # Errors
    ///
    /// The rule, its limit and what the job asks for.
    pub fn check(&self, facts: &Facts<'_>) -> Result<(), Refusal> {
        let jobs = self.jobs.unwrap_or(if facts.stored.is_some() { Jobs::Listed } else { Jobs::Any });
        if jobs == Jobs::Listed && !facts.listed {
            return Err(Refusal::Job(*facts.job));
        }
        if let Some(reveal) = facts.reveals.iter().find(|asked| !self.reveals.iter().any(|own| own.permits(**asked))) {
            return Err(Refusal::Reveal(*reveal));
        }
        if facts.batch < self.smallest_batch {
            return Err(Refusal::Batch { smallest: self.smallest_batch, job: facts.batch });
        }
        if let Some(records) = facts.records.filter(|records| *records < self.smallest_records) {
            return Err(Refusal::Records { smallest: self.smallest_records, job: records });
        }
        if let Some(scored) = facts.scored.filter(|scored| *scored < self.smallest_records) {
            return Err(Refusal::Scored { smallest: self.smallest_records, job: scored });
        }
        if self.require_alarm && !facts.alarm {
            return Err(Refusal::Alarm);
        }
        self.limits.check_memory(facts.memory_bytes)?;
        if facts.disk_bytes > self.largest_disk_bytes {
            return Err(Refusal::Disk { largest: self.largest_disk_bytes, job: facts.disk_bytes });
        }
        facts.stored.map_or(Ok(()), |stored| self.check_stored(&stored, facts.reveals.contains(&Reveal::Model)))
    }

    fn check_stored(&self, facts: &StoredFacts, opens_model: bool) -> Result<(), Refusal> {
        let StoredFacts { outputs, steps, epsilon_milli, opens_numbers } = *facts;
        if outputs > self.outputs_per_job {
            return Err(Refusal::JobOutputs { limit: self.outputs_per_job, job: outputs });
        }
        if opens_model && steps < self.fewest_steps {
            return Err(Refusal::Steps { fewest: self.fewest_steps, job: steps });
        }
        match (self.epsilon_milli, epsilon_milli) {
            (Some(limit), None) if opens_numbers => Err(Refusal::NoNoise { limit: u64::from(limit) }),
            (Some(limit), Some(job)) if job > limit => {
                Err(Refusal::Epsilon { limit: u64::from(limit), spent: 0, job: u64::from(job) })
            }
            _ => Ok(()),
        }
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
    /// All places of the role are taken.
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
    /// The job opens too many outputs.
    JobOutputs {
        /// The server's limit.
        limit: u64,
        /// The job's number of outputs.
        job: u64,
    },
    /// The budget of outputs about a manifest does not cover the job.
    ManifestOutputs {
        /// The server's limit.
        limit: u64,
        /// Outputs that are spent already.
        spent: u64,
        /// The job's outputs.
        job: u64,
    },
    /// The client's budget of jobs for the day is spent.
    JobsPerDay {
        /// The server's limit.
        limit: u64,
        /// The client's jobs today.
        spent: u64,
    },
    /// The job opens a model after too few steps.
    Steps {
        /// The server's limit.
        fewest: u64,
        /// The job's steps.
        job: u64,
    },
    /// The job's outputs have no noise.
    NoNoise {
        /// The server's limit, in thousandths.
        limit: u64,
    },
    /// The budget of `ε` does not cover the job.
    Epsilon {
        /// The server's limit, in thousandths.
        limit: u64,
        /// Spent on the manifest today, in thousandths.
        spent: u64,
        /// The job's `ε`, in thousandths.
        job: u64,
    },
    /// The job's records differ too little from those of an earlier job.
    Difference {
        /// The server's limit.
        smallest: u64,
        /// Records by which the sets differ; 1 if the server lacks a manifest.
        got: u64,
        /// When the earlier job ran, in seconds since 1970.
        earlier: i64,
    },
    /// The server lacks the schema of the job's records, and cannot check the job against it.
    UnknownSchema([u8; 32]),
    /// A code of the job is not a field of the schema.
    Field {
        /// The code's first bit in the record.
        at: u32,
        /// The code's length in bits.
        bits: u32,
        /// Whether the code is the job's label; otherwise it is a feature.
        label: bool,
    },
    /// The job and the schema's label have different numbers of classes.
    Classes {
        /// The schema's number of classes.
        schema: u64,
        /// The job's number of classes.
        job: u64,
    },
    /// The job needs too much disk space.
    Disk {
        /// The server's limit in bytes.
        largest: u64,
        /// The job's need in bytes.
        job: u64,
    },
}

impl Refusal {
    /// Returns the rule's key in configurations. It is stable, for scripts.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Job(_) => "policy.jobs",
            Self::Reveal(_) => "policy.reveals",
            Self::Batch { .. } => "policy.smallest_batch",
            Self::Records { .. } | Self::Scored { .. } => "policy.smallest_records",
            Self::Alarm => "policy.require_alarm",
            Self::Memory { .. } => "policy.largest_memory_mib",
            Self::Disk { .. } => "policy.largest_disk_mib",
            Self::Places { .. } => "policy.places",
            Self::JobOutputs { .. } => "policy.outputs_per_job",
            Self::ManifestOutputs { .. } => "policy.outputs_per_manifest",
            Self::JobsPerDay { .. } => "policy.jobs_per_day",
            Self::Steps { .. } => "policy.fewest_steps",
            Self::NoNoise { .. } | Self::Epsilon { .. } => "policy.epsilon",
            Self::Difference { .. } => "policy.smallest_difference",
            Self::UnknownSchema(_) | Self::Field { .. } | Self::Classes { .. } => "intake.schemas",
        }
    }
}

/// A number of thousandths, displayed as a decimal number.
struct Milli(u64);

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(milli) = *self;
        let text = format!("{}.{:03}", milli / 1000, milli % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule();
        let hex = |f: &mut fmt::Formatter<'_>, hash: &[u8]| hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        match self {
            Self::Job(hash) => {
                write!(f, "{rule} does not list job ")?;
                hex(f, hash)?;
                f.write_str(" (its operator lists a job with `symbolon policy allow`)")
            }
            Self::Reveal(reveal) => write!(f, "{rule} does not permit `{reveal}`"),
            Self::Batch { smallest, job } => write!(
                f,
                "{rule} is {smallest}, the job's smallest step has {job} records; give training.batch as many at least, and training.drop_last = true if the last of an epoch is what is short"
            ),
            Self::Records { smallest, job } => write!(f, "{rule} is {smallest}, the job has {job}"),
            Self::Scored { smallest, job } => {
                write!(f, "{rule} is {smallest}, the job opens a score of {job} test records")
            }
            Self::Alarm => write!(f, "{rule} is true; leave reveal.alarm = false out of the job"),
            Self::Memory { largest, job } | Self::Disk { largest, job } => {
                write!(f, "{rule} is {}, the job needs {}", largest >> 20, job.div_ceil(1 << 20))
            }
            Self::Places { most } => {
                write!(f, "{rule} is {most}, and as many jobs run here; try again when one has ended")
            }
            Self::JobOutputs { limit, job } => {
                write!(f, "{rule} is {limit}, the job opens {job}; train fewer epochs, or reveal less in each")
            }
            Self::ManifestOutputs { limit, spent, job } => {
                let left = limit.saturating_sub(*spent);
                write!(f, "{rule} is {limit}, of which {left} are left, and the job opens {job}; wait for new records")
            }
            Self::JobsPerDay { limit, spent } => {
                let left = limit.saturating_sub(*spent);
                write!(f, "{rule} is {limit}, of which {left} are left; more from midnight on, in UTC")
            }
            Self::Steps { fewest, job } => {
                write!(f, "{rule} is {fewest}, and the job opens a model after {job} steps; train longer")
            }
            Self::NoNoise { limit } => write!(
                f,
                "{rule} is {}, and the job's outputs have no noise; leave reveal.epsilon = \"off\" out of the job",
                Milli(*limit)
            ),
            Self::Epsilon { limit, spent, job } => write!(
                f,
                "{rule} is {}, of which {} are left today, and the job spends {}; give a smaller reveal.epsilon, or wait for midnight, in UTC",
                Milli(*limit),
                Milli(limit.saturating_sub(*spent)),
                Milli(*job)
            ),
            Self::Difference { smallest, got, earlier } => write!(
                f,
                "{rule} is {smallest}, and the job's records differ by {got} from those of a job of {}; use the same ones, or wait for more",
                UnixSeconds(*earlier).utc()
            ),
            Self::UnknownSchema(hash) => {
                write!(f, "{rule} has no schema ")?;
                hex(f, hash)?;
                f.write_str(", so that the job cannot be held to it; have the operator add it")
            }
            Self::Field { at, bits, label } => {
                let what = if *label { "label" } else { "feature" };
                write!(
                    f,
                    "{rule}: no field of the schema is the job's {what} of {bits} bits at bit {at}; take whole fields, and a declared label"
                )
            }
            Self::Classes { schema, job } => {
                write!(
                    f,
                    "{rule}: the label has {schema} classes, and the job {job}; leave data.classes out of the job"
                )
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

    const STORED: StoredFacts =
        StoredFacts { outputs: 20, steps: 1000, epsilon_milli: Some(1000), opens_numbers: true };

    fn facts(reveals: &[Reveal]) -> Facts<'_> {
        let (job, scored, memory_bytes) = (&HASH, Some(10_000), 1 << 30);
        Facts {
            job,
            listed: false,
            stored: None,
            reveals,
            batch: 128,
            records: Some(60_000),
            scored,
            alarm: true,
            memory_bytes,
            disk_bytes: 1 << 30,
        }
    }

    #[test]
    fn permits_what_no_rule_forbids() {
        let policy = Policy { jobs: Some(Jobs::Listed), ..Policy::default() };
        let job = Facts { listed: true, ..facts(&[Reveal::Loss, Reveal::Metric(Kind::Accuracy)]) };
        policy.check(&job).unwrap();
        policy.check(&Facts { stored: Some(STORED), ..job }).unwrap();
    }

    #[test]
    fn names_the_rule() {
        let policy = Policy::default();
        let good = facts(&[Reveal::Metric(Kind::Accuracy)]);
        let listed = Policy { jobs: Some(Jobs::Listed), ..Policy::default() };
        assert_eq!(listed.check(&good), Err(Refusal::Job(HASH)));
        // Other people's records: listed jobs alone, unless the operator says otherwise.
        let stored = Facts { stored: Some(STORED), ..good };
        assert_eq!(policy.check(&stored), Err(Refusal::Job(HASH)));
        assert_eq!(Policy { jobs: Some(Jobs::Any), ..policy.clone() }.check(&stored), Ok(()));
        assert_eq!(policy.check(&facts(&[Reveal::Loss, Reveal::Model])), Err(Refusal::Reveal(Reveal::Model)));
        let small = Facts { batch: 15, ..good };
        assert_eq!(policy.check(&small), Err(Refusal::Batch { smallest: 16, job: 15 }));
        let few = Facts { records: Some(99), ..good };
        assert_eq!(policy.check(&few), Err(Refusal::Records { smallest: 100, job: 99 }));
        let one = Facts { scored: Some(1), ..good };
        assert_eq!(policy.check(&one), Err(Refusal::Scored { smallest: 100, job: 1 }));
        assert_eq!(policy.check(&Facts { scored: None, ..good }), Ok(()));
        let silent = Facts { alarm: false, ..good };
        assert_eq!(policy.check(&silent), Ok(()));
        let strict = Policy { require_alarm: true, ..Policy::default() };
        assert_eq!((strict.check(&silent), strict.check(&good)), (Err(Refusal::Alarm), Ok(())));
        let large = Facts { disk_bytes: (64 << 30) + 1, ..good };
        let refusal = policy.check(&large).unwrap_err();
        assert_eq!(refusal.to_string(), "policy.largest_disk_mib is 65536, the job needs 65537");
        let large = Facts { memory_bytes: (8 << 30) + 1, ..good };
        let refusal = policy.check(&large).unwrap_err();
        assert_eq!(refusal.to_string(), "policy.largest_memory_mib is 8192, the job needs 8193");
    }

    #[test]
    fn other_peoples_records_have_rules_of_their_own() {
        let policy = Policy { reveals: vec![Reveal::Metric(Kind::Accuracy), Reveal::Model], ..Policy::default() };
        let check = |stored: StoredFacts, reveals: &[Reveal]| {
            let told = policy.check(&Facts { listed: true, stored: Some(stored), ..facts(reveals) });
            told.map_err(|refusal| refusal.rule())
        };
        let accuracy = &[Reveal::Metric(Kind::Accuracy)][..];
        assert_eq!(check(StoredFacts { outputs: 12_000, ..STORED }, accuracy), Err("policy.outputs_per_job"));
        assert_eq!(check(StoredFacts { steps: 1, ..STORED }, accuracy), Ok(()));
        assert_eq!(check(StoredFacts { steps: 1, ..STORED }, &[Reveal::Model]), Err("policy.fewest_steps"));
        let silent = StoredFacts { epsilon_milli: None, ..STORED };
        assert_eq!(check(silent, accuracy), Err("policy.epsilon"));
        assert_eq!(check(StoredFacts { opens_numbers: false, ..silent }, &[Reveal::Model]), Ok(()));
        assert_eq!(check(StoredFacts { epsilon_milli: Some(1001), ..STORED }, accuracy), Err("policy.epsilon"));
        assert_eq!(Milli(1250).to_string(), "1.25");
        assert_eq!(Milli(3000).to_string(), "3");
    }
}
