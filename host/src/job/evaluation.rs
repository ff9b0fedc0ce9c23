//! Jobs that evaluate a kept model: they have no training records, begin with the model's
//! parameters, and open metrics on the test records alone.

use super::{
    Checkpoint, Dyadic, Format, Invalid, Job, JobError, ModelVersion, Optimizer, Refinements, RevealLoss, Rule,
};

impl Job {
    /// Returns whether the job evaluates a kept model instead of training: it has one epoch of no
    /// steps.
    #[must_use]
    pub fn is_evaluation(&self) -> bool {
        self.data.train_records == 0
    }

    /// Returns the job that measures this job's metrics on `test_records` records with the
    /// parameters of `model`, which it has trained. Noise and range alarm stay as they are.
    ///
    /// # Errors
    ///
    /// [`JobError::Sent`]: without test records; of a model that learned from reports, whose test
    /// records only the servers hold; of metrics that the job cannot measure.
    pub fn evaluation(&self, model: ModelVersion, test_records: usize) -> Result<Self, JobError> {
        let mut job = self.clone();
        job.from = Some(model);
        (job.data.train_records, job.data.test_records, job.data.augment) = (0, test_records, None);
        let training = &mut job.training;
        (training.epochs, training.drop_last, training.early_stop) = (1, false, None);
        training.checkpoint = Checkpoint::Off;
        // Never applied. The state of another optimizer would take memory.
        job.optimizer = Optimizer::Sgd { learning_rate: Dyadic { factor: 1, shift: 0 } };
        job.refinements = Refinements::default();
        (job.reveal.metrics, job.reveal.loss) = (true, RevealLoss::Never);
        (job.reveal.model, job.reveal.standard_errors) = (false, false);
        job.validate().map_err(JobError::Sent)?;
        Ok(job)
    }
}

/// Checks a job without training records.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    let (training, reveal) = (&job.training, &job.reveal);
    let rules = [
        ("from", job.from.is_some(), "name the model"),
        (
            "data.reports",
            !matches!(job.data.format, Format::Reports(_)),
            "a model that learned from reports is evaluated on a file: give --csv FILE --label COLUMN",
        ),
        ("training.epochs", training.epochs == 1, "set it to 1"),
        ("training.early_stop", training.early_stop.is_none(), "remove it"),
        ("training.checkpoint", training.checkpoint == Checkpoint::Off, "set it to \"off\""),
        ("optimizer.kind", matches!(job.optimizer, Optimizer::Sgd { .. }), "take \"sgd\", which keeps no state"),
        ("reveal.metrics", reveal.metrics, "set it to true"),
        ("reveal.loss", reveal.loss == RevealLoss::Never, "set it to \"never\""),
        ("reveal.model", !reveal.model && !reveal.standard_errors, "set it and reveal.standard_errors to false"),
    ];
    match rules.into_iter().find(|(_, kept, _)| !kept) {
        Some((key, _, reason)) => Err(Invalid { key: key.to_owned(), rule: Rule::Evaluation { reason } }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn model() -> ModelVersion {
        "digits:1".parse().unwrap()
    }

    #[test]
    fn every_job_on_files_has_an_evaluation() {
        let jobs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
        let mut seen = 0;
        for file in std::fs::read_dir(jobs).unwrap() {
            let path = file.unwrap().path();
            let Ok(job) = Job::load(&path) else { continue }; // schemas, and jobs on reports
            let evaluated = job.evaluation(model(), 7).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(evaluated.is_evaluation() && evaluated.steps_per_epoch() == 0, "{}", path.display());
            assert_eq!(Job::decode(&evaluated.encode().unwrap()).unwrap(), evaluated);
            assert_ne!(evaluated.hash().unwrap(), job.hash().unwrap());
            seen += 1;
        }
        assert!(seen > 15, "{seen} jobs");
    }

    #[test]
    fn an_evaluation_asks_for_no_more() {
        let good = Job::digits().unwrap().evaluation(model(), 7).unwrap();
        let broken = |change: &dyn Fn(&mut Job)| {
            let mut job = good.clone();
            change(&mut job);
            job.validate().unwrap_err().key
        };
        assert_eq!(broken(&|job| job.from = None), "data.train_records");
        assert_eq!(broken(&|job| job.data.test_records = 0), "data.test_records");
        assert_eq!(broken(&|job| job.training.epochs = 2), "training.epochs");
        assert_eq!(broken(&|job| job.reveal.loss = RevealLoss::Epoch), "reveal.loss");
        assert_eq!(broken(&|job| job.reveal.model = true), "reveal.model");
        assert_eq!(broken(&|job| job.training.checkpoint = Checkpoint::Steps(1)), "training.checkpoint");
        assert_eq!(broken(&|job| job.from = Some(ModelVersion { name: "a/b".to_owned(), version: 1 })), "name");
        assert_eq!(broken(&|job| job.from = Some(ModelVersion { name: "a".to_owned(), version: 0 })), "from (version)");
    }
}
