//! The memory that a job takes at a server, and the batches that keep it within the job's limit.

use super::plan::{Plan, PlanError, plan};
use crate::{
    alarms::CAPACITY,
    job::Job,
    storage::StorageConfig,
    train::{self, Inputs},
};
use std::fmt;
use symbolon_core::{
    layer::{AnyLayer, Backward},
    protocol::alarm::SUBSETS,
};

/// Bytes of a connection's buffers, and of the piece of a round that is gathered for it.
pub const CONNECTION_BYTES: u64 = 512 << 10;

/// Returns the memory that a job takes at a server:
/// - the allocations of a run, with `data_memory` bytes for tables, the lanes' arenas, and the
///   words that they keep for range alarms;
/// - the job itself, of `encoded` bytes;
/// - the buffers of connections: to client and dealer, and two a lane.
///
/// The plan takes less memory than its job.
pub fn server_bytes(job: &Job, encoded: usize, arena_bytes: u64, data_memory: u64) -> u64 {
    let (word, run) = match job.numbers.ring_bits {
        32 => (4, train::memory_bytes::<u32>(job, data_memory)),
        _ => (8, train::memory_bytes::<u64>(job, data_memory)),
    };
    let lanes = u64::from(job.lanes.lanes);
    let kept = if job.reveal.alarm { (CAPACITY + SUBSETS) as u64 * word } else { 0 };
    let connections = (2 * lanes + 2) * CONNECTION_BYTES;
    run + lanes * (arena_bytes.saturating_add(kept)) + 4 * encoded as u64 + connections
}

/// Returns the bytes of the scratch files of a job at a server that has `data_memory` bytes for
/// tables.
pub fn disk_bytes(job: &Job, data_memory: u64) -> u64 {
    let [_, filed] = match job.numbers.ring_bits {
        32 => Inputs::<u32>::bytes(job, data_memory),
        _ => Inputs::<u64>::bytes(job, data_memory),
    };
    filed
}

/// The reason why a job has no plan within its limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemoryError {
    /// It has no plan.
    Plan(PlanError),
    /// A server needs more than `training.memory_limit_mib`, whatever the passes.
    Limit {
        /// The limit, in MiB.
        limit_mib: u32,
        /// The least need, in bytes.
        need: u64,
        /// Records of a pass that needs it.
        rows: usize,
    },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(f),
            Self::Limit { limit_mib, need, rows } => write!(
                f,
                "training.memory_limit_mib is {limit_mib}, and a server needs {} with passes of {rows} records; raise \
                 the limit, or take fewer lanes or smaller layers",
                need.div_ceil(1 << 20)
            ),
        }
    }
}

impl std::error::Error for MemoryError {}

impl From<PlanError> for MemoryError {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

/// Plans `job`. If the job has a limit and no size of its passes, halves the passes until a server
/// needs no more than the limit.
///
/// # Errors
///
/// [`MemoryError`].
pub fn fit(job: &mut Job) -> Result<Plan, MemoryError> {
    let is_given = job.training.micro_batch.is_some();
    let divides = !is_given && job.network.nodes.iter().all(|node| meets(&node.layer).is_none());
    let data_memory = StorageConfig::default().memory_bytes;
    loop {
        let (plan, encoded) = (plan(job)?, job.encode().map_or(0, |bytes| bytes.len()));
        let (need, rows) = (server_bytes(job, encoded, plan.arena_bytes, data_memory), job.rows_at_once());
        match job.training.memory_limit_mib {
            Some(limit_mib) if need > u64::from(limit_mib) << 20 => {
                job.training.micro_batch = match job.training.micro_batch {
                    None => Some(rows), // evaluation takes no more than that, either
                    // Passes of less than a row a lane save nothing.
                    Some(_) if divides && rows > usize::from(job.lanes.lanes) => Some(rows / 2),
                    Some(_) => return Err(MemoryError::Limit { limit_mib, need, rows }),
                };
            }
            _ => return Ok(plan),
        }
    }
}

/// The layer as one that needs the whole batch.
fn meets(layer: &AnyLayer) -> Option<()> {
    Backward::<u64>::meets(layer).map(|_| ())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::path::Path;

    fn job(name: &str, limit_mib: Option<u32>) -> Job {
        let mut job = Job::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(name)).unwrap();
        job.training.memory_limit_mib = limit_mib;
        job
    }

    fn need(job: &mut Job) -> u64 {
        let plan = fit(job).unwrap();
        server_bytes(job, job.encode().unwrap().len(), plan.arena_bytes, 512 << 20)
    }

    #[test]
    fn passes_are_halved_until_a_job_fits() {
        let mut whole = job("mnist-lenet-small-32.toml", None);
        let most = need(&mut whole);
        assert_eq!(whole.training.micro_batch, None);
        let limit_mib = u32::try_from(most >> 20).unwrap() - 50;
        let mut cut = job("mnist-lenet-small-32.toml", Some(limit_mib));
        assert!(need(&mut cut) <= u64::from(limit_mib) << 20);
        let rows = cut.training.micro_batch.unwrap();
        assert!(rows.is_power_of_two() && rows <= 64, "{rows}");
        // The next larger passes would not have fitted.
        let mut larger = job("mnist-lenet-small-32.toml", None);
        larger.training.micro_batch = Some(2 * rows);
        assert!(need(&mut larger) > u64::from(limit_mib) << 20);
        assert_eq!(fit(&mut job("mnist-lenet-small-32.toml", Some(1 << 20))).unwrap().hash.len(), 32);
    }

    #[test]
    fn a_job_that_does_not_fit_is_refused_with_its_need() {
        let mut small = job("mnist-lenet-small-32.toml", Some(100));
        let error = fit(&mut small).unwrap_err();
        assert!(matches!(error, MemoryError::Limit { limit_mib: 100, rows: 2, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("memory_limit_mib is 100") && text.contains("passes of 2 records"), "{text}");
        // Its layers need the whole batch.
        let error = fit(&mut job("cifar-resnet.toml", Some(300))).unwrap_err();
        assert!(matches!(error, MemoryError::Limit { rows: 128, .. }), "{error:?}");
    }
}
