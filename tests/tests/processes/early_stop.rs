//! Jobs that end before their last epoch.

use super::{alone, assert_useful};
use symbolon::{
    job::{EarlyStop, Job, Watched},
    session::client::{self, News},
};
use symbolon_core::{dyadic::Dyadic, metric::Kind};
use symbolon_tests::{
    jobs::Shape,
    roles::{ANYTHING, CALM, Roles},
};

/// A job of `epochs` epochs in which no epoch after the first is better by `least_gain`.
fn job(shape: &Shape<'_>, metric: Watched) -> Job {
    let mut job = shape.job();
    job.training.early_stop = Some(EarlyStop { metric, patience: 2, least_gain: Dyadic { factor: 255, shift: 0 } });
    job.validate().unwrap();
    job
}

/// All roles, the auditor too, end after the third of fifty epochs, and the model comes.
#[test]
fn all_roles_end_after_the_same_epoch() {
    let _alone = alone();
    let mut roles = Roles::start_audited(CALM, ANYTHING, &mut |_, _, _, port| port);
    let shape = Shape { epochs: 50, ..Shape::default() };
    let (config, tls) = roles.client_config();
    for metric in [Watched::Loss, Watched::Metric(Kind::Accuracy)] {
        let (job, mut seen) = (job(&shape, metric), 0);
        let outcome = client::run::<u64>(&config, &tls, &job, shape.inputs(), &mut |news| {
            seen += usize::from(matches!(news, News::Epoch(_)));
        });
        let outcome = outcome.unwrap();
        assert_eq!((outcome.epochs.len(), seen), (3, 3), "{metric:?}");
        assert_eq!(outcome.parameters.unwrap().len(), job.parameters());
        let whole = symbolon::engine::plan::plan(&job).unwrap().total;
        let dealt = outcome.reports[0].dealer.bytes_sent;
        assert!(dealt * 10 < whole.dealer_bytes && dealt * 30 > whole.dealer_bytes, "{dealt}");
    }
    assert_useful(&mut roles);
}

/// A job that becomes better to its last epoch runs all of them.
#[test]
fn a_job_that_learns_runs_to_its_end() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, ANYTHING);
    let shape = Shape { epochs: 4, ..Shape::default() };
    let (config, tls) = roles.client_config();
    let mut job = job(&shape, Watched::Loss);
    job.training.early_stop = Some(EarlyStop { metric: Watched::Loss, patience: 2, least_gain: Dyadic::ZERO });
    let outcome = client::run::<u64>(&config, &tls, &job, shape.inputs(), &mut |_| {}).unwrap();
    assert_eq!(outcome.epochs.len(), 4);
    assert_useful(&mut roles);
}
