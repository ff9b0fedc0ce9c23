//! One line on the terminal while training runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::human_bytes;
use crate::plain::Plain;

/// Draws per second at most, so that a run on small batches is not slowed down.
const DRAWS_HZ: u8 = 10;
const TEMPLATE: &str = "{msg:<16} {bar:24} {pos}/{len} samples  {rate}  {sent} sent  {eta_precise} left";

/// Samples done, rate, bytes and time left, on standard error. Silent when that is not a terminal.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    sent: Arc<AtomicU64>,
}

impl Progress {
    /// A line for `samples` samples over all epochs.
    pub fn new(label: impl Into<String>, samples: u64) -> Self {
        Self::on(label.into(), samples, ProgressDrawTarget::stderr_with_hz(DRAWS_HZ))
    }

    /// One that never draws.
    pub fn hidden() -> Self {
        Self::on(String::new(), 0, ProgressDrawTarget::hidden())
    }

    pub(super) fn on(label: String, samples: u64, target: ProgressDrawTarget) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&sent);
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style
            .with_key("sent", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&human_bytes(shown.load(Ordering::Relaxed)));
            })
            .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:.0} samples/s", state.per_sec());
            });
        let bar = ProgressBar::with_draw_target(Some(samples), target).with_style(style).with_message(label);
        Self { bar, sent }
    }

    /// Whether nothing is drawn.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Replaces the label, for example by the epoch.
    pub fn label(&self, label: impl Into<String>) {
        self.bar.set_message(label.into());
    }

    /// Samples done and bytes sent since the start.
    pub fn update(&self, samples: u64, bytes_sent: u64) {
        self.sent.store(bytes_sent, Ordering::Relaxed);
        self.bar.set_position(samples);
    }

    /// A line above the bar; nothing when hidden.
    pub fn note(&self, line: &str) {
        self.bar.println(Plain(line).to_string());
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
