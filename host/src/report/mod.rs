//! What a person or a script sees of a run: progress, learning curve, summary, the opened model.

mod coefficients;
mod curve;
mod facts;
mod file;
mod model;
mod progress;
mod summary;
#[cfg(test)]
mod tests;

pub use coefficients::{Coefficient, coefficients};
pub use curve::Curve;
pub use facts::{LayerFacts, ModelFacts};
pub use file::write_atomic;
pub use model::{Model, ModelError, Tensor, read_model, write_model};
pub(crate) use model::{entries, notes_of};
pub use progress::Progress;
pub use summary::{EpochResult, MetricResult, Roles, Summary, human_bytes, human_seconds};

/// Peak resident memory of this process in bytes; `None` where the system does not tell (it does on Linux).
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
