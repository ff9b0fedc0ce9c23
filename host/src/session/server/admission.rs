//! Admission of a job: the policy, the plan, and a place.

use super::Server;
use crate::{
    alarms::CAPACITY,
    data::ShelfError,
    engine::plan::{Plan, plan},
    job::{Job, RevealLoss},
    net::{Facts, Refusal, Reveal, Role},
    session::{SessionError, message::Order},
    train,
};
use std::sync::{Mutex, PoisonError};
use symbolon_core::protocol::alarm::SUBSETS;

/// A job that the policy permits.
pub(super) struct Admitted<'a> {
    pub(super) job: Job,
    pub(super) hash: [u8; 32],
    pub(super) plan: Plan,
    pub(super) place: Place<'a>,
}

impl Server {
    /// Holds an order to the policy and makes its plan, which takes a place too: nobody plans without bounds.
    pub(super) fn admit(&self, order: &Order) -> Result<Admitted<'_>, SessionError> {
        let job = Job::decode(&order.job).map_err(SessionError::job(Role::Client))?;
        let hash = job.hash().map_err(SessionError::job(Role::Client))?;
        if job.data.is_stored() && self.shelf.is_none() {
            return Err(SessionError::Shelf(ShelfError::None));
        }
        let mut reveals = Vec::new();
        reveals.extend(job.reveal.accuracy.then_some(Reveal::Accuracy));
        reveals.extend((job.reveal.loss == RevealLoss::Epoch).then_some(Reveal::Loss));
        reveals.extend(job.reveal.model.then_some(Reveal::Model));
        let facts = Facts {
            job: &hash,
            reveals: &reveals,
            batch: job.smallest_batch() as u64,
            records: job.records_per_epoch() as u64,
            scored: (job.reveal.accuracy && job.data.test_records > 0).then_some(job.data.test_records as u64),
            alarm: job.reveal.alarm,
            memory_bytes: memory_bytes(&job, order.job.len(), 0),
        };
        self.config.policy.check(&facts).map_err(SessionError::Policy)?;
        let place = self.place()?;
        let plan = plan(&job)?;
        let memory_bytes = memory_bytes(&job, order.job.len(), plan.arena_bytes);
        self.config.policy.check(&Facts { memory_bytes, ..facts }).map_err(SessionError::Policy)?;
        Ok(Admitted { job, hash, plan, place })
    }

    /// A place for one session more.
    fn place(&self) -> Result<Place<'_>, SessionError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.config.policy.limits.places;
        if *running >= most {
            return Err(SessionError::Policy(Refusal::Places { most }));
        }
        *running += 1;
        Ok(Place(&self.running))
    }
}

/// A running session's place; freed when dropped.
pub(super) struct Place<'a>(&'a Mutex<usize>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

/// Buffers of a connection, and the piece of a round that is gathered for it.
pub(in crate::session) const CONNECTION_BYTES: u64 = 512 << 10;

/// Memory that a job takes at a server: what a run allocates, the lanes' arenas and the words that
/// they keep for range alarms, the job itself, and connections' buffers (to client and dealer, and
/// two a lane). The plan takes less than the job that it is of.
fn memory_bytes(job: &Job, encoded: usize, arena_bytes: u64) -> u64 {
    let (word, run) = match job.numbers.ring_bits {
        32 => (4, train::memory_bytes::<u32>(job)),
        _ => (8, train::memory_bytes::<u64>(job)),
    };
    let lanes = u64::from(job.lanes.lanes);
    let kept = if job.reveal.alarm { (CAPACITY + SUBSETS) as u64 * word } else { 0 };
    let connections = (2 * lanes + 2) * CONNECTION_BYTES;
    run + lanes * (arena_bytes.saturating_add(kept)) + 4 * encoded as u64 + connections
}
