//! The outputs that a job opens, and their noise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use symbolon_core::loss::Describe as _;

use super::{Data, Invalid, Job, Rule, Task};

/// Thousandths in a unit: `ε` and its budgets are counted in thousandths.
pub const MILLI: u32 = 1000;
/// The largest `ε` of a job.
const MAX_EPSILON: u32 = 1000;
/// The largest bound on a record's loss.
const MAX_LOSS: u32 = 64;

/// The outputs that a job opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reveal {
    /// The sums of all [metrics](Job::metrics) on the test records. Where a label may name no
    /// class, the count of test records with a class comes with them if a metric needs it.
    pub metrics: bool,
    /// The mean training loss.
    pub loss: RevealLoss,
    /// The trained weights, to the analyst alone.
    pub model: bool,
    /// One bit, after the last epoch: whether any word left its range, so that the results are
    /// wrong. On unless the job says otherwise.
    pub alarm: bool,
    /// When metrics and loss are opened.
    pub when: When,
    /// The noise of counts and sums; the model and the alarm have none.
    pub noise: Option<Noise>,
    /// The standard errors of a regression's coefficients, with the model.
    pub standard_errors: bool,
}

/// When a job opens its counts and sums.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// After each epoch.
    #[default]
    Epoch,
    /// After the last epoch alone: one number then gets the `ε` that all epochs' numbers would
    /// share.
    End,
}

/// Noise on the counts and sums that a job opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// `ε` of the whole job, in thousandths. The outputs about the training records spend it
    /// together; so do those about the test records.
    pub epsilon_milli: u32,
    /// The bound on a record's loss, in whole units; the bound on a squared test error is twice
    /// that.
    pub largest_loss: u32,
}

/// How often the loss is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevealLoss {
    /// Not at all.
    Never,
    /// Once an epoch.
    Epoch,
}

impl Reveal {
    /// Returns whether the job opens an output other than the range alarm, which must not stand
    /// alone.
    pub fn any_result(&self) -> bool {
        self.metrics || self.model || self.loss != RevealLoss::Never
    }
}

impl Job {
    /// Returns the limits to which a term of the loss is clamped, in whole units; `None` without
    /// noise.
    pub fn loss_limits(&self) -> Option<[i64; 2]> {
        let noise = self.reveal.noise?;
        // An approximate loss may be slightly below 0.
        let [least, _] = self.loss.limits(&self.loss_numbers());
        Some([if least < 0 { -1 } else { 0 }, i64::from(noise.largest_loss)])
    }

    /// Returns whether metrics and loss are opened after epoch `epoch`.
    pub fn opens_numbers(&self, epoch: u32) -> bool {
        self.reveal.when == When::Epoch || epoch == self.training.epochs
    }

    /// Returns the least number of steps before the model is opened: early stopping cannot end
    /// training before its patience has passed.
    pub fn steps(&self) -> u64 {
        let epochs = self.training.early_stop.map_or(u32::MAX, |stop| stop.patience).min(self.training.epochs);
        u64::from(epochs) * self.steps_per_epoch() as u64
    }
}

/// `[reveal]`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevealFile {
    /// The metrics on the test records; true for classes with test records and where the job lists
    /// metrics, if left out.
    metrics: Option<bool>,
    /// The mean training loss; `epoch`, if left out, and `never` for the optimizer `closed-form`.
    loss: Option<RevealLoss>,
    /// The trained weights.
    #[serde(default)]
    model: bool,
    /// The standard errors of the coefficients, with the model of a regression by Newton's method.
    #[serde(default)]
    standard_errors: bool,
    /// One bit: whether a word left the range of its opening; true, if left out, where the job
    /// reveals anything else.
    alarm: Option<bool>,
    /// When metrics and loss are opened; `epoch`, if left out.
    #[serde(default)]
    when: When,
    /// The `ε` of the whole job, 0.001 to 1000 in steps of 0.001, or `"off"`. Each server adds
    /// noise to metrics and loss. If left out, 1 for a job that learns from reports, else off.
    epsilon: Option<EpsilonFile>,
    /// With noise, the bound on a record's loss, 1 to 64; 8, if left out.
    largest_loss: Option<u32>,
}

/// An `ε` in a job or configuration file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number or \"off\"")]
pub(crate) enum EpsilonFile {
    /// `"off"`.
    Word(String),
    /// A number.
    Number(f64),
}

impl EpsilonFile {
    /// Returns thousandths; `Some(None)` for `"off"`, `None` for an invalid value.
    pub(crate) fn milli(&self) -> Option<Option<u32>> {
        match self {
            Self::Word(word) => (word == "off").then_some(None),
            Self::Number(number) => {
                let milli = (number * f64::from(MILLI)).round();
                let valid = (1.0..=f64::from(MAX_EPSILON * MILLI)).contains(&milli)
                    && (milli / f64::from(MILLI) - number).abs() < 1e-9;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, and whole
                valid.then_some(Some(milli as u32))
            }
        }
    }
}

impl RevealFile {
    /// `lists` says whether the job lists metrics, `loss` which loss it reveals by default.
    pub(super) fn resolve(self, data: &Data, lists: bool, loss: RevealLoss) -> Result<Reveal, Invalid> {
        let broken = |key: &str, rule| Invalid { key: key.to_owned(), rule };
        let counts = lists || matches!(data.task, Task::Classes(_)) && data.test_records > 0;
        if lists && self.metrics == Some(false) {
            return Err(broken("metrics", Rule::UnusedBy { by: "a job with reveal.metrics = false" }));
        }
        let (metrics, loss) = (self.metrics.unwrap_or(counts), self.loss.unwrap_or(loss));
        let carries = metrics || loss != RevealLoss::Never;
        let epsilon = match &self.epsilon {
            None => (data.is_stored() && carries).then_some(MILLI),
            Some(given) => given.milli().ok_or_else(|| broken("reveal.epsilon", Rule::Epsilon))?,
        };
        if epsilon.is_none() && self.largest_loss.is_some() {
            return Err(broken(
                "reveal.largest_loss",
                Rule::NeededBy { by: "noise (`reveal.epsilon`), and that is off" },
            ));
        }
        let noise = epsilon.map(|epsilon_milli| Noise { epsilon_milli, largest_loss: self.largest_loss.unwrap_or(8) });
        let (model, when, standard_errors) = (self.model, self.when, self.standard_errors);
        let reveal = Reveal { metrics, loss, model, alarm: false, when, noise, standard_errors };
        Ok(Reveal { alarm: self.alarm.unwrap_or(reveal.any_result()), ..reveal })
    }
}

/// Checks the limits of noise.
pub(super) fn validate(noise: &Noise) -> Result<(), Invalid> {
    let hold = |key: &str, got: u32, max: u32| match (1..=max).contains(&got) {
        true => Ok(()),
        false => {
            let rule = Rule::Between { got: u64::from(got), min: 1, max: u64::from(max) };
            Err(Invalid { key: key.to_owned(), rule })
        }
    };
    hold("reveal.epsilon (thousandths)", noise.epsilon_milli, MAX_EPSILON * MILLI)?;
    hold("reveal.largest_loss", noise.largest_loss, MAX_LOSS)
}
