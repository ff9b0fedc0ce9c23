//! Devices that report as fast as they are answered.

use super::Load;
use crate::{
    cli::exit::Failure,
    device::{Device, DeviceError, Options},
};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use symbolon_core::report::identity::Identity;

/// What the devices heard.
pub(super) struct Heard {
    seconds: f64,
    /// Of each report that both servers hold: from the record to the second acknowledgement.
    waits: Vec<Duration>,
    sent_bytes: u64,
    sent: u64,
}

impl Heard {
    /// Rates and quantiles. No processor times.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn figures(mut self) -> Load {
        self.waits.sort_unstable();
        let last = self.waits.len().saturating_sub(1);
        let quantile = |hundredth: usize| self.waits.get(last * hundredth / 100).map_or(0.0, Duration::as_secs_f64);
        let reports = self.waits.len() as u64;
        Load {
            seconds: self.seconds,
            reports,
            reports_per_second: reports as f64 / self.seconds,
            median_ms: 1000.0 * quantile(50),
            p99_ms: 1000.0 * quantile(99),
            sent_bytes_per_report: self.sent_bytes as f64 / (self.sent.max(1)) as f64,
            cpu_seconds: Vec::new(),
        }
    }
}

/// Runs all devices, in boot `boot`, for as long as `meanwhile` takes. What is then on its way is forgotten.
pub(super) fn load(
    identities: &[Identity],
    boot: u32,
    gateway: &str,
    record_bytes: usize,
    meanwhile: impl FnOnce(),
) -> Result<Heard, Failure> {
    let is_over = AtomicBool::new(false);
    let started = Instant::now();
    let device = |identity| device(identity, boot, gateway, record_bytes, &is_over);
    let (all, seconds) = thread::scope(|scope| {
        let threads: Vec<_> = identities.iter().map(|identity| scope.spawn(move || device(identity))).collect();
        meanwhile();
        is_over.store(true, Ordering::Relaxed);
        let seconds = started.elapsed().as_secs_f64();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        (ended.collect::<Result<Vec<_>, _>>(), seconds)
    });
    let mut heard = Heard { seconds, waits: Vec::new(), sent_bytes: 0, sent: 0 };
    for (waits, sent, sent_bytes) in all? {
        heard.waits.extend(waits);
        heard.sent += sent;
        heard.sent_bytes += sent_bytes;
    }
    Ok(heard)
}

/// One device: waits of its reports, how many it sent, in how many bytes.
fn device(
    identity: &Identity,
    boot: u32,
    gateway: &str,
    record_bytes: usize,
    is_over: &AtomicBool,
) -> Result<(Vec<Duration>, u64, u64), DeviceError> {
    // Whoever waits for the load to end waits no longer than this for a device.
    let options = Options { patience: Duration::from_secs(10), ..Options::default() };
    let mut device = Device::new(identity, boot, gateway, options)?;
    let (mut on_way, mut waits, mut sent) = (HashMap::new(), Vec::new(), 0u64);
    while !is_over.load(Ordering::Relaxed) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut record = vec![0; record_bytes];
        let sequence = match device.send(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), None, &mut record) {
            // A server that was killed on purpose answers nobody.
            Err(DeviceError::Stalled { .. }) if is_over.load(Ordering::Relaxed) => break,
            sequence => sequence?,
        };
        sent += 1;
        on_way.insert(sequence, Instant::now());
        waits.extend(device.take_stored().iter().filter_map(|stored| Some(on_way.remove(stored)?.elapsed())));
    }
    Ok((waits, sent, device.sent_bytes()))
}
