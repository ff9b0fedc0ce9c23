//! The order of training records: a list for runs, only a count for plans.
//!
//! The order of an epoch takes four bytes a record, and time. The lanes of a dealer or an auditor
//! each run the job on their own thread, and share the order. No more than two orders are in
//! memory: a lane enters an epoch only when all have entered the one before. A server joins its
//! lanes more often than that, so no two lanes wait for each other.

use super::batch_order;
use crate::job::Job;
use std::{
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};
use symbolon_core::link::{Error, Peer};

/// The source of a run's order of records.
#[derive(Clone, Copy)]
pub enum Orders<'a> {
    /// Each run computes the order when an epoch begins.
    Own,
    /// All lanes share one order.
    Shared(&'a SharedOrders),
    /// Records are only counted: a plan's costs follow from their numbers.
    Counted,
}

impl Orders<'_> {
    /// Returns the order of `epoch`.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if another lane has failed.
    pub(super) fn of(&self, job: &Job, epoch: u32) -> Result<Order, Error> {
        match self {
            Self::Own => Ok(Order(Some(Arc::new(batch_order(job, epoch))))),
            Self::Shared(shared) => shared.enter(job, epoch).map(|order| Order(Some(order))),
            Self::Counted => Ok(Order(None)),
        }
    }
}

/// The records of an epoch in their order; `None` where they are only counted.
pub(super) struct Order(Option<Arc<Vec<u32>>>);

impl Order {
    /// Returns the records of step `step` of the epoch.
    pub(super) fn batch(&self, job: &Job, step: usize) -> Batch<'_> {
        match &self.0 {
            Some(order) => Batch::Listed { records: &order[job.batch(step)], first: 0 },
            None => Batch::Counted(job.batch(step).len()),
        }
    }
}

/// Records of a step.
#[derive(Clone, Copy)]
pub(super) enum Batch<'a> {
    /// These records, in this order.
    Listed {
        /// Their numbers.
        records: &'a [u32],
        /// Place of the first in the step's batch.
        first: usize,
    },
    /// This number of records; their identity does not matter.
    Counted(usize),
}

impl Batch<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Listed { records, .. } => records.len(),
            Self::Counted(rows) => *rows,
        }
    }

    /// Returns the records at the places `range`.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        match self {
            Self::Listed { records, first } => Self::Listed { first: first + range.start, records: &records[range] },
            Self::Counted(_) => Self::Counted(range.len()),
        }
    }
}

/// The orders that all lanes of a role share.
pub struct SharedOrders {
    lanes: usize,
    state: Mutex<State>,
    /// Notified when all lanes have entered an epoch, or one has failed.
    moved: Condvar,
}

/// The latest epoch that a lane has entered.
struct State {
    epoch: u32,
    /// Number of lanes that have entered it.
    entered: usize,
    /// The order of that epoch, until all lanes have entered it.
    order: Option<Arc<Vec<u32>>>,
    failed: bool,
}

impl SharedOrders {
    /// Makes the orders of `lanes` lanes.
    pub fn new(lanes: usize) -> Self {
        let state = State { epoch: 0, entered: lanes, order: None, failed: false };
        Self { lanes, state: Mutex::new(state), moved: Condvar::new() }
    }

    /// Records that a lane has failed: the others stop waiting.
    pub fn fail(&self) {
        self.lock().failed = true;
        self.moved.notify_all();
    }

    /// Enters `epoch` for the calling lane and returns its order.
    fn enter(&self, job: &Job, epoch: u32) -> Result<Arc<Vec<u32>>, Error> {
        let mut state = self.lock();
        while state.epoch < epoch && state.entered < self.lanes && !state.failed {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed {
            return Err(Error::Lost(Peer::Server));
        }
        if state.epoch < epoch {
            (state.epoch, state.entered) = (epoch, 0);
            state.order = Some(Arc::new(batch_order(job, epoch)));
        }
        state.entered += 1;
        let order = if state.entered == self.lanes { state.order.take() } else { state.order.clone() };
        self.moved.notify_all();
        Ok(order.unwrap_or_else(|| Arc::new(batch_order(job, epoch))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        engine::plan::ENDLESS,
        lanes::{Lane, Lanes},
        report::peak_rss,
        secret::Secret,
        train::{Inputs, Start, run_in},
    };
    use std::{
        ops::ControlFlow,
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };
    use symbolon_core::layer::Shape;
    use symbolon_core::{
        correlation::{Dry, Request, Sink},
        kernel::Nothing,
        link::Count,
        party::{NoTrace, Role},
        prg::MaskId,
        word::Word,
    };

    fn job() -> Job {
        let mut job = Job::digits().unwrap();
        job.training.epochs = 3;
        job
    }

    #[test]
    fn lanes_share_an_order_and_none_runs_ahead() {
        let (job, orders) = (job(), SharedOrders::new(2));
        let first = orders.enter(&job, 1).unwrap();
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let (job, orders) = (&job, &orders);
            scope.spawn(move || tell.send(orders.enter(job, 2).unwrap()).unwrap());
            told.recv_timeout(Duration::from_millis(100)).unwrap_err();
            let same = orders.enter(job, 1).unwrap();
            assert!(Arc::ptr_eq(&first, &same) && *same == batch_order(job, 1));
            let ahead = told.recv().unwrap();
            assert!(*ahead == batch_order(job, 2) && Arc::ptr_eq(&ahead, &orders.enter(job, 2).unwrap()));
        });
        assert_eq!(Arc::strong_count(&first), 1, "an order that all lanes have passed is gone");
    }

    /// A sink that evaluates nothing.
    struct Nowhere;

    impl Sink for Nowhere {
        fn request(&mut self, _: MaskId, _: &Request<'_>) -> Result<(), Error> {
            Ok(())
        }
    }

    /// All but the masks of a dealer's 64 lanes: 43 GB before lanes shared an order.
    #[test]
    #[ignore = "takes a minute"]
    fn lanes_of_a_large_job_take_the_memory_of_one() {
        let mut job = job();
        (job.training.epochs, job.training.batch, job.lanes.lanes) = (2, 1 << 16, 64);
        (job.data.shape, job.data.train_records) = (Shape::vector(1), 1 << 25);
        let (orders, started) = (SharedOrders::new(64), Instant::now());
        thread::scope(|scope| {
            for lane in 0..64 {
                let (job, orders) = (&job, &orders);
                scope.spawn(move || {
                    let mut lanes: Vec<Option<Lane<'_, <u64 as Word>::Dry>>> = (0..64).map(|_| None).collect();
                    let mut sink = Nowhere;
                    lanes[usize::from(lane)] = Some(Lane {
                        link: Box::new(Count::default()),
                        correlations: Box::new(Dry::new(lane, &mut sink)),
                        trace: Box::new(NoTrace),
                        arena: Secret::zeros(ENDLESS),
                    });
                    let mut lanes = Lanes::new(Role::Server0, &Nothing, lanes, 1);
                    let (orders, inputs) = (Orders::Shared(orders), Inputs::in_memory(job));
                    run_in(orders, &mut lanes, job, inputs, Start::Fresh, &mut |_, _| ControlFlow::Continue(()))
                        .unwrap();
                });
            }
        });
        let peak = peak_rss().unwrap();
        println!("64 lanes, 2 epochs of 2^25 records: {} MiB, {:.1} s", peak >> 20, started.elapsed().as_secs_f64());
        assert!(peak < 700 << 20);
    }

    #[test]
    fn a_run_from_a_checkpoint_enters_a_later_epoch_first() {
        let (job, orders) = (job(), SharedOrders::new(2));
        let [first, second] = [(); 2].map(|()| orders.enter(&job, 3).unwrap());
        assert!(Arc::ptr_eq(&first, &second) && *first == batch_order(&job, 3));
    }

    #[test]
    fn a_failed_lane_is_not_waited_for() {
        let (job, orders) = (job(), SharedOrders::new(2));
        orders.enter(&job, 1).unwrap();
        let started = Instant::now();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| orders.enter(&job, 2));
            thread::sleep(Duration::from_millis(50));
            orders.fail();
            assert!(matches!(waiting.join().unwrap(), Err(Error::Lost(Peer::Server))));
        });
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
