//! Early stopping: a job ends after an epoch from which on the watched number has not become
//! better.
//!
//! The analyst decides, who alone sees the number, and sends the decision to both servers; they
//! pass it to dealer and auditor. So all roles learn after which epoch training ended, and nothing
//! else of the number.

use crate::{
    job::{Job, Watched},
    report::EpochResult,
};

/// Watches a number of a job, epoch by epoch.
pub struct EarlyStop<'j> {
    job: &'j Job,
    /// The best value so far.
    best: Option<f64>,
    /// Epochs since then.
    since: u32,
}

impl<'j> EarlyStop<'j> {
    /// Watches the number that `job` names, if it names one.
    pub fn new(job: &'j Job) -> Self {
        Self { job, best: None, since: 0 }
    }

    /// Notes the result of an epoch; returns whether training goes on.
    pub fn goes_on(&mut self, result: &EpochResult) -> bool {
        let Some(rule) = self.job.training.early_stop else { return true };
        let value = match rule.metric {
            Watched::Loss => result.loss,
            Watched::Metric(kind) => {
                result.metrics.iter().find(|metric| metric.kind == kind.name()).and_then(|metric| metric.value)
            }
        };
        let higher = self.job.watches_higher();
        let gain = |value: f64, best: f64| if higher { value - best } else { best - value };
        let better =
            value.is_some_and(|value| self.best.is_none_or(|best| gain(value, best) > rule.least_gain.value()));
        if better {
            (self.best, self.since) = (value, 0);
        } else {
            self.since += 1;
        }
        self.since < rule.patience
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::job::EarlyStop as Rule;
    use symbolon_core::dyadic::Dyadic;

    /// The epoch after which training ends.
    fn ends(metric: Watched, patience: u32, least_gain: f64, values: &[f64]) -> Option<usize> {
        let mut job = Job::digits().unwrap();
        let least_gain = Dyadic::nearest(least_gain).unwrap_or(Dyadic::ZERO);
        job.training.early_stop = Some(Rule { metric, patience, least_gain });
        let mut stop = EarlyStop::new(&job);
        let result = |value: f64| EpochResult { loss: Some(value).filter(|v| v.is_finite()), ..EpochResult::default() };
        values.iter().position(|value| !stop.goes_on(&result(*value))).map(|at| at + 1)
    }

    #[test]
    fn a_loss_that_falls_no_more_ends_training() {
        assert_eq!(ends(Watched::Loss, 1, 0.0, &[3.0, 2.0, 2.0]), Some(3));
        assert_eq!(ends(Watched::Loss, 2, 0.0, &[3.0, 4.0, 2.0, 2.5, 2.0, 1.0]), Some(5));
        assert_eq!(ends(Watched::Loss, 2, 0.5, &[3.0, 2.8, 2.4, 2.0, 1.95]), Some(5));
        assert_eq!(ends(Watched::Loss, 2, 0.0, &[3.0, f64::NAN, 2.0, f64::NAN, f64::NAN]), Some(5));
        assert_eq!(ends(Watched::Loss, 3, 0.0, &[3.0, 2.0, 1.0, 0.5]), None);
    }
}
