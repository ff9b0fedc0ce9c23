//! One run of the clear engine, and whether its settings hold.

use super::{Facts, Failure, Records};
use crate::{
    engine::clear::{self, Audit, Moments, Range},
    job::Job,
    kernel::HostWord,
    train::{Event, Halt, Start, epoch_result},
};
use std::ops::ControlFlow;
use symbolon_core::{link::Count, prg::Seed, word::Word};

/// Doublings that settings leave for data that the audit has not seen.
pub(super) const MARGIN_BITS: f64 = 1.0;
/// A loss above this many times that of predicting nothing has not converged.
const DIVERGED: f64 = 2.0;
/// A run whose loss is above this many times that of predicting nothing is ended.
const HOPELESS: f64 = 100.0;

/// The results of a run.
pub(super) struct Outcome {
    /// The least headroom first.
    pub(super) ranges: Vec<Range>,
    /// Adam's second moments as it ended.
    pub(super) moments: Moments,
    /// Mean loss of the last epoch, where the job reveals it.
    pub(super) loss: Option<f64>,
    pub(super) verdict: Verdict,
}

/// Whether settings hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// With [`MARGIN_BITS`] to spare.
    Holds,
    /// With less than [`MARGIN_BITS`] to spare.
    Tight { layer: u16, name: &'static str, bits: f64 },
    /// Words left their range, here first.
    Wrapped { layer: u16, name: &'static str },
    /// The loss ended far above that of predicting nothing.
    Diverged { loss: f64, baseline: f64 },
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Tight { .. } => "tight",
            Self::Wrapped { .. } => "wrapped",
            Self::Diverged { .. } => "diverged",
        }
    }
}

impl Outcome {
    /// The opened words with the least headroom.
    pub(super) fn least(&self) -> Option<&Range> {
        self.ranges.iter().find(|range| !range.table)
    }

    /// Bits of the least and the greatest second moment; `None` without any.
    pub(super) fn moment_bits(&self) -> Option<(u32, u32)> {
        let mut seen = (0u32..).zip(&self.moments).filter(|(_, count)| **count > 0).map(|(bits, _)| bits);
        let first = seen.next()?;
        Some((first, seen.last().unwrap_or(first)))
    }
}

/// Runs `job` on `records` until it ends, or until a word leaves its range. The same job has the
/// same outcome.
pub(super) fn play(job: &Job, records: &Records, facts: &Facts) -> Result<Outcome, Failure> {
    match job.numbers.ring_bits {
        32 => play_in::<u32>(job, records, facts),
        _ => play_in::<u64>(job, records, facts),
    }
}

fn play_in<W: HostWord + Word>(job: &Job, records: &Records, facts: &Facts) -> Result<Outcome, Failure> {
    let audit = Audit::default();
    let inputs = records.inputs::<W>(job)?;
    let (mut loss, lengths) = (None, inputs.lengths.clone());
    let hopeless = |loss: &Option<f64>| loss.is_some_and(|loss| loss > HOPELESS * facts.baseline);
    let mut observer = |event: Event<W>, _: Count| {
        if let Event::Epoch { epoch, loss: Some(sum), .. } = event {
            let result = epoch_result(job, &lengths, epoch, Some(sum), None);
            loss = result.map_or_else(|error| Some(error.got), |result| result.loss);
        }
        if audit.wrapped().is_some() || hopeless(&loss) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    // Seeds decide roundings alone, of whole values. Fixed ones let a recommendation be run again.
    let seeds = [Seed::from_bytes(&[0; 32]), Seed::from_bytes(&[1; 32])];
    let threads = usize::from(job.lanes.lanes);
    match clear::run(
        job,
        (inputs, Start::Fresh),
        [&seeds[0], &seeds[1]],
        &Default::default(),
        threads,
        &audit,
        &mut observer,
    ) {
        Ok(_) | Err(Halt::Stopped) => {}
        Err(halt) => return Err(halt.into()),
    }
    let (ranges, moments) = (audit.ranges(), audit.moments());
    let mut outcome = Outcome { ranges, moments, loss, verdict: Verdict::Holds };
    outcome.verdict = verdict(&outcome, audit.wrapped(), facts);
    Ok(outcome)
}

fn verdict(outcome: &Outcome, wrapped: Option<(u16, &'static str)>, facts: &Facts) -> Verdict {
    if let Some((layer, name)) = wrapped {
        return Verdict::Wrapped { layer, name };
    }
    let baseline = facts.baseline;
    // A sum of losses that left its word may be negative.
    if let Some(loss) = outcome.loss.filter(|loss| !(-0.01 * baseline - 0.01..=DIVERGED * baseline).contains(loss)) {
        return Verdict::Diverged { loss, baseline };
    }
    match outcome.least() {
        Some(Range { layer, name, headroom_bits, .. }) if *headroom_bits < MARGIN_BITS => {
            Verdict::Tight { layer: *layer, name, bits: *headroom_bits }
        }
        _ => Verdict::Holds,
    }
}
