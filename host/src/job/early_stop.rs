//! Early stopping: the rule of a job.

use super::{Invalid, Job, RevealLoss, Rule, When};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use symbolon_core::{dyadic::Dyadic, metric::Kind};

const LOSS: &str = "loss";

/// Ends training before its last epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// The watched number: `loss`, or the kind of a metric that the job reveals in each epoch.
    pub metric: Watched,
    /// Epochs in a row without improvement after which training ends: 1 or more.
    pub patience: u32,
    /// The greatest change that does not yet count as an improvement; 0, if left out.
    #[serde(default)]
    pub least_gain: Dyadic,
}

/// The number that early stopping watches; its name in job files.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Watched {
    /// The mean training loss.
    Loss,
    /// The first metric of a kind.
    Metric(Kind),
}

impl TryFrom<String> for Watched {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == LOSS {
            return Ok(Self::Loss);
        }
        Kind::named(&name).map(Self::Metric).ok_or_else(|| {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            format!("cannot watch {name:?}; give \"{LOSS}\" or one of: {}", known.join(", "))
        })
    }
}

impl From<Watched> for String {
    fn from(watched: Watched) -> Self {
        match watched {
            Watched::Loss => LOSS.to_owned(),
            Watched::Metric(kind) => kind.name().to_owned(),
        }
    }
}

impl Job {
    /// Whether training may end after epoch `epoch`: not before its patience has passed, and not
    /// after the last epoch, which ends it anyway.
    pub fn may_end_after(&self, epoch: u32) -> bool {
        let least = self.training.early_stop.map_or(u32::MAX, |stop| stop.patience);
        (least..self.training.epochs).contains(&epoch)
    }

    /// Whether a higher number is better, of the one that early stopping watches.
    pub fn watches_higher(&self) -> bool {
        let Some(EarlyStop { metric: Watched::Metric(kind), .. }) = self.training.early_stop else { return false };
        self.measured().iter().any(|metric| metric.kind() == kind && metric.describe().higher_is_better())
    }
}

/// Holds the rule of a job, whose reveals are valid, to the rules.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    let Some(EarlyStop { metric, patience, least_gain }) = job.training.early_stop else { return Ok(()) };
    let broken = |key: &str, rule| Err(Invalid { key: format!("training.early_stop.{key}"), rule });
    let revealed = match metric {
        Watched::Loss => job.reveal.loss == RevealLoss::Epoch,
        Watched::Metric(kind) => job.measured().iter().any(|metric| metric.kind() == kind),
    };
    if !revealed || job.reveal.when != When::Epoch {
        return broken("metric", Rule::NotRevealed { got: metric.into() });
    }
    let (got, max) = (u64::from(patience), u64::from(job.training.epochs));
    if !(1..=max).contains(&got) {
        return broken("patience", Rule::Between { got, min: 1, max });
    }
    let Dyadic { factor, shift } = least_gain;
    if factor > Dyadic::MAX_FACTOR || shift > Dyadic::MAX_SHIFT || least_gain.reduced(0) != least_gain {
        return broken("least_gain", Rule::NotReduced { factor, shift });
    }
    Ok(())
}
