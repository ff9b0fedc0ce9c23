//! Progress while training runs: one line on a terminal, otherwise lines in a log.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{human_bytes, human_seconds};
use crate::plain::Plain;

/// Draws per second at most, so that a run on small batches is not slowed down.
const DRAWS_HZ: u8 = 10;
/// Time between two lines of a log.
const LINES: Duration = Duration::from_secs(10);
const TEMPLATE: &str = "{msg:<16} {bar:24} {pos}/{len} samples  {rate}  {sent} sent  {eta_precise} left";

/// Samples done, rate, bytes and time left, on standard error: one line that is drawn again on a
/// terminal, a line every 10 s elsewhere.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    sent: Arc<AtomicU64>,
    lines: Option<Arc<Lines>>,
}

/// Writes progress as lines of text.
struct Lines {
    write: Box<dyn Fn(&str) + Send + Sync>,
    pace: Duration,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    /// The time of the last line.
    last: Instant,
    /// The time at which the first samples were done, and their number.
    first: Option<(Instant, u64)>,
}

impl Progress {
    /// Progress of `samples` samples over all epochs.
    pub fn new(label: impl Into<String>, samples: u64) -> Self {
        let label = label.into();
        let progress = Self::on(label, samples, ProgressDrawTarget::stderr_with_hz(DRAWS_HZ));
        match progress.is_hidden() {
            false => progress,
            true => progress.in_lines(LINES, |line| {
                let _ = writeln!(std::io::stderr(), "{line}"); // a log that is closed gets none
            }),
        }
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
        Self { bar, sent, lines: None }
    }

    /// Writes lines with `write` instead: one each `pace`, and one for each note.
    pub(super) fn in_lines(self, pace: Duration, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let now = Instant::now();
        let state = Mutex::new(State { last: now, first: None });
        let lines = Lines { write: Box::new(write), pace, started: now, state };
        Self { lines: Some(Arc::new(lines)), ..self }
    }

    /// Whether nothing is drawn.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Replaces the label, for example by the epoch.
    pub fn label(&self, label: impl Into<String>) {
        self.bar.set_message(label.into());
        self.tick();
    }

    /// Samples done and bytes sent since the start.
    pub fn update(&self, samples: u64, bytes_sent: u64) {
        self.sent.store(bytes_sent, Ordering::Relaxed);
        self.bar.set_position(samples);
        self.tick();
    }

    /// A line above the bar, or in the log.
    pub fn note(&self, line: &str) {
        let line = Plain(line).to_string();
        match &self.lines {
            Some(lines) => (lines.write)(&line),
            None => self.bar.println(line),
        }
    }

    /// Clears the line, runs `work`, and draws the line again. Until `work` returns, updates of
    /// this progress wait: nothing overwrites a question on the terminal.
    pub fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a line if one is due.
    fn tick(&self) {
        let Some(lines) = &self.lines else { return };
        let mut state = lines.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, done) = (Instant::now(), self.bar.position());
        if done > 0 {
            state.first.get_or_insert((now, done));
        }
        if state.last.elapsed() >= lines.pace {
            state.last = now;
            (lines.write)(&Plain(self.line(lines.started, state.first)).to_string());
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn line(&self, started: Instant, first: Option<(Instant, u64)>) -> String {
        let (label, done, all) = (self.bar.message(), self.bar.position(), self.bar.length().unwrap_or(0));
        let sent = human_bytes(self.sent.load(Ordering::Relaxed));
        let Some((since, before)) = first.filter(|(_, before)| *before < done) else {
            return format!("{label}, after {}", human_seconds(started.elapsed().as_secs_f64()));
        };
        let rate = (done - before) as f64 / since.elapsed().as_secs_f64();
        let left = human_seconds(all.saturating_sub(done) as f64 / rate);
        format!("{label}: {done}/{all} samples, {rate:.0} samples/s, {sent} sent, about {left} left")
    }
}
