//! Other settings, tried before they are recommended, and what made these fail.

use super::{Buckets, Facts, Failure, Outcome, Records, Verdict, outcome::play};
use crate::job::{Adam, Affine, ColumnScale, Dyadic, Job, Scale, Task};
use std::fmt;

/// Scaled targets above this are named as a cause.
const LARGE_TARGET: f64 = 8.0;
/// Scaled features above this are named as a cause.
const LARGE_FEATURE: f64 = 16.0;
/// Fewest fraction bits with which training keeps its accuracy.
const LEAST_FRAC_BITS: u32 = 8;
/// Features that a list of scales is printed for.
const MAX_COLUMNS: usize = 64;
/// Fraction bits of values and of the gradient in a ring of 64 and of 32 bits, as a job has that
/// leaves them out.
const DEFAULTS: [(u32, u32, u32); 2] = [(64, 12, 19), (32, 11, 15)];

/// A key of the job file, and its new value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) key: String,
    pub(super) value: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, self.value)
    }
}

/// Settings that were run and hold.
pub(super) struct Trial {
    pub(super) changes: Vec<Change>,
    pub(super) least_bits: f64,
    /// The last loss over that of predicting nothing, which does not depend on scales.
    pub(super) loss: Option<f64>,
}

/// The advice that an audit prints.
pub(super) struct Advice {
    /// Whether the job's own settings do not hold.
    pub(super) needed: bool,
    pub(super) causes: Vec<String>,
    /// The recommended settings first.
    pub(super) verified: Vec<Trial>,
    pub(super) tried: usize,
}

/// A job with other settings.
pub(super) struct Candidate {
    pub(super) job: Job,
    pub(super) changes: Vec<Change>,
}

/// Tries settings in at most `tries` runs: until one holds, and then until one holds in the smaller
/// ring.
pub(super) fn advise(
    job: &Job,
    records: &Records,
    facts: &Facts,
    outcome: &Outcome,
    tries: usize,
) -> Result<Advice, Failure> {
    let needed = outcome.verdict != Verdict::Holds;
    let mut advice = Advice { needed, causes: Vec::new(), verified: Vec::new(), tried: 0 };
    if needed {
        advice.causes = causes(job, facts, outcome);
    }
    for candidate in candidates(job, facts, outcome) {
        let narrow = candidate.job.numbers.ring_bits == 32;
        // One recommendation in each ring.
        if advice.tried == tries || advice.verified.iter().any(|trial| has_ring(job, trial) == narrow) {
            continue;
        }
        advice.tried += 1;
        let facts = records.facts(&candidate.job)?;
        let outcome = play(&candidate.job, records, &facts)?;
        if outcome.verdict == Verdict::Holds {
            let least_bits = outcome.least().map_or(f64::INFINITY, |range| range.headroom_bits);
            let loss = outcome.loss.map(|loss| loss / facts.baseline);
            advice.verified.push(Trial { changes: candidate.changes, least_bits, loss });
        }
    }
    let slower = |trial: &Trial| trial.changes.iter().any(|change| change.key == "optimizer.learning_rate");
    if needed && advice.verified.first().is_some_and(slower) {
        advice.causes.push("the learning rate: with a smaller one these settings hold".to_owned());
    }
    Ok(advice)
}

/// Whether a trial ran in the ring of 32 bits.
fn has_ring(job: &Job, trial: &Trial) -> bool {
    let given = trial.changes.iter().find(|change| change.key == "numbers.ring_bits");
    given.map_or(job.numbers.ring_bits == 32, |change| change.value == "32")
}

/// Data and settings beyond what numbers are made for.
fn causes(job: &Job, facts: &Facts, outcome: &Outcome) -> Vec<String> {
    let mut causes = Vec::new();
    if let Some(largest) = facts.target.filter(|largest| *largest > LARGE_TARGET) {
        causes.push(format!("targets reach {largest} after scaling: data.target.divide should bring them near 1"));
    }
    let mut large: Vec<_> = facts.features.iter().enumerate().filter(|(_, most)| **most > LARGE_FEATURE).collect();
    large.sort_by(|a, b| b.1.total_cmp(a.1));
    for (i, most) in large.iter().take(3) {
        let name = facts.names.get(*i).map(|name| format!(" ({name})")).unwrap_or_default();
        causes.push(format!("feature {i}{name} reaches {most} after scaling: data.scale should bring it near 1"));
    }
    if large.len() > 3 {
        causes.push(format!("so do {} other features", large.len() - 3));
    }
    if let Some(Buckets { lowest, top, parameters }) = Buckets::of(job, outcome) {
        if 10 * top > parameters {
            causes.push(format!("Adam left its buckets above: {top} of {parameters} parameters are in the top one"));
        }
        if 2 * lowest > parameters && parameters > 0 {
            causes.push(format!(
                "Adam left its buckets below: {lowest} of {parameters} parameters are in the lowest one"
            ));
        }
    }
    causes
}

/// Settings in the order in which they are recommended: the larger ring, public scales, both,
/// fraction bits, learning rate.
pub(super) fn candidates(job: &Job, facts: &Facts, outcome: &Outcome) -> Vec<Candidate> {
    let numbers = &job.numbers;
    let narrow = numbers.ring_bits == 32;
    let mut jobs = Vec::new();
    let default = |job: &Job, ring: usize| {
        let (ring_bits, frac_bits, grad_frac_bits) = DEFAULTS[ring];
        with_numbers(job, ring_bits, frac_bits, grad_frac_bits)
    };
    if outcome.verdict == Verdict::Holds {
        // Half the bytes, if they do.
        jobs.extend((!narrow).then(|| default(job, 1)).flatten());
    } else {
        let scaled = with_scales(job, facts);
        jobs.extend(narrow.then(|| default(job, 0)).flatten());
        jobs.extend(scaled.clone());
        jobs.extend(scaled.as_ref().filter(|_| narrow).and_then(|scaled| default(scaled, 0)));
        let base = scaled.as_ref().unwrap_or(job);
        jobs.extend(fewer_bits(base, outcome));
        jobs.extend([4.0, 16.0].into_iter().filter_map(|by| with_rate(base, by)));
        jobs.extend(narrow.then(|| default(base, 0).and_then(|wide| with_rate(&wide, 16.0))).flatten());
    }
    jobs.retain(|other| other != job && other.validate().is_ok());
    jobs.into_iter().map(|other| Candidate { changes: changes(job, &other), job: other }).collect()
}

/// Fewer fraction bits, of the mean gradient first where the optimizer's words are the ones that
/// lack room.
fn fewer_bits(job: &Job, outcome: &Outcome) -> Vec<Job> {
    let numbers = &job.numbers;
    let (k, f, fg) = (numbers.ring_bits, numbers.frac_bits, numbers.grad_frac_bits);
    let optimizer = match outcome.verdict {
        Verdict::Wrapped { name, .. } | Verdict::Tight { name, .. } => name == "optimizer",
        _ => false,
    };
    let gradient = [1, 2, 3].into_iter().filter_map(|by| with_numbers(job, k, f, fg.checked_sub(by)?));
    let values = [1, 2].into_iter().filter_map(|by| {
        let less = f.checked_sub(by).filter(|less| *less >= LEAST_FRAC_BITS)?;
        with_numbers(job, k, less, fg.checked_sub(by)?)
    });
    if optimizer { gradient.chain(values).collect() } else { values.chain(gradient).collect() }
}

/// Other numbers. Adam's buckets keep the second moments that they stand for.
fn with_numbers(job: &Job, ring_bits: u32, frac_bits: u32, grad_frac_bits: u32) -> Option<Job> {
    let (old, mut job) = (&job.numbers, job.clone());
    if grad_frac_bits < frac_bits {
        return None;
    }
    if let Some(adam) = job.optimizer.adam_mut() {
        let finer = i64::from(grad_frac_bits) - i64::from(old.grad_frac_bits);
        let coarser = i64::from(frac_bits) - i64::from(old.frac_bits);
        let whole =
            adam.first_threshold_log2 == Adam::FIRST_THRESHOLD_LOG2 && adam.buckets == adam.most_buckets(old.ring_bits);
        let moved = if whole { 0 } else { finer };
        adam.first_threshold_log2 = u32::try_from(i64::from(adam.first_threshold_log2) + 2 * moved).ok()?;
        adam.shift = i32::try_from(i64::from(adam.shift) + moved - coarser).ok()?;
        if whole {
            adam.buckets = adam.most_buckets(ring_bits);
        }
    }
    job.numbers.ring_bits = ring_bits;
    job.numbers.frac_bits = frac_bits;
    job.numbers.grad_frac_bits = grad_frac_bits;
    Some(job)
}

/// The learning rate divided; `None` for Adam, whose words do not grow with it.
fn with_rate(job: &Job, by: f64) -> Option<Job> {
    let mut job = job.clone();
    let learning_rate = job.optimizer.learning_rate_mut()?;
    *learning_rate = Dyadic::nearest(learning_rate.value() / by)?;
    Some(job)
}

/// Targets and features divided where they are large; `None` where none is.
fn with_scales(job: &Job, facts: &Facts) -> Option<Job> {
    let mut other = job.clone();
    if let (Task::Regression(targets), Some(most)) = (&mut other.data.task, facts.target)
        && most > LARGE_TARGET
    {
        targets.iter_mut().for_each(|target| target.divide *= round_above(most));
    }
    let by = |most: &f64| if *most > LARGE_FEATURE { round_above(*most) } else { 1.0 };
    match &mut other.data.scale {
        Scale::Divide(divide) if facts.features.len() > MAX_COLUMNS => {
            *divide *= facts.features.iter().map(by).fold(1.0, f64::max);
        }
        Scale::Divide(divide) => {
            let factors: Vec<f64> = facts.features.iter().map(by).collect();
            if factors.iter().any(|by| *by > 1.0) {
                let columns = factors.iter().map(|by| Affine { offset: 0.0, divide: *divide * by }.into());
                other.data.scale = Scale::Columns(columns.collect());
            }
        }
        Scale::Columns(columns) => {
            for (column, most) in columns.iter_mut().zip(&facts.features) {
                // A threshold's feature is at most 1.
                if let ColumnScale::Affine(affine) = column {
                    affine.divide *= by(most);
                }
            }
        }
        Scale::Channels(channels) => {
            let each = (facts.features.len() / channels.len().max(1)).max(1);
            for (channel, features) in channels.iter_mut().zip(facts.features.chunks(each)) {
                channel.divide *= features.iter().map(by).fold(1.0, f64::max);
            }
        }
        Scale::Ranges(_) => {}
    }
    (other.data != job.data).then_some(other)
}

/// The least of 1, 2 and 5 times powers of ten that is not below `most`.
fn round_above(most: f64) -> f64 {
    let power = 10f64.powf(most.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|round| *round >= most).unwrap_or(most)
}

/// Reports the divisors that differ between two lists of the scale.
fn moved(list: &str, pairs: impl Iterator<Item = Option<(Affine, Affine)>>, change: &mut impl FnMut(&str, String)) {
    for (i, (from, to)) in pairs.enumerate().filter_map(|(i, pair)| Some((i, pair?))) {
        if from != to {
            change(&format!("data.scale.{list}[{i}].divide"), to.divide.to_string());
        }
    }
}

/// The keys that lead from one job to the other.
fn changes(old: &Job, new: &Job) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut change = |key: &str, value: String| changes.push(Change { key: key.to_owned(), value });
    let (from, to) = (&old.numbers, &new.numbers);
    for (key, from, to) in [
        ("numbers.ring_bits", from.ring_bits, to.ring_bits),
        ("numbers.frac_bits", from.frac_bits, to.frac_bits),
        ("numbers.grad_frac_bits", from.grad_frac_bits, to.grad_frac_bits),
    ] {
        if from != to {
            change(key, to.to_string());
        }
    }
    if let (Task::Regression(from), Task::Regression(to)) = (&old.data.task, &new.data.task)
        && from != to
    {
        match &to[..] {
            [only] => change("data.target.divide", only.divide.to_string()),
            more => {
                let entries: Vec<_> = more
                    .iter()
                    .map(|target| format!("{{ offset = {}, divide = {} }}", target.offset, target.divide))
                    .collect();
                change("data.target", format!("[{}]", entries.join(", ")));
            }
        }
    }
    match (&old.data.scale, &new.data.scale) {
        (Scale::Divide(from), Scale::Divide(to)) if from != to => change("data.scale.divide", to.to_string()),
        (Scale::Divide(_), Scale::Columns(to)) => {
            let divided = to.iter().filter_map(|column| column.affine());
            let entries: Vec<_> = divided.map(|column| format!("{{ divide = {} }}", column.divide)).collect();
            change("data.scale", format!("{{ columns = [{}] }}", entries.join(", ")));
        }
        (Scale::Columns(from), Scale::Columns(to)) => {
            let pairs = from.iter().zip(to).map(|(from, to)| from.affine().zip(to.affine()));
            moved("columns", pairs, &mut change);
        }
        (Scale::Channels(from), Scale::Channels(to)) => {
            moved("channels", from.iter().copied().zip(to.iter().copied()).map(Some), &mut change);
        }
        _ => {}
    }
    let (mut from, mut to) = (old.optimizer, new.optimizer);
    if let (Some(from), Some(to)) = (from.learning_rate_mut(), to.learning_rate_mut())
        && from != to
    {
        change("optimizer.learning_rate", to.value().to_string());
    }
    if let (Some(from), Some(to)) = (from.adam(), to.adam()) {
        // A value that a job has anyway where it leaves the key out is no change.
        for (key, from, to, default) in [
            (
                "optimizer.first_threshold_log2",
                from.first_threshold_log2,
                to.first_threshold_log2,
                Adam::FIRST_THRESHOLD_LOG2,
            ),
            ("optimizer.buckets", from.buckets, to.buckets, to.most_buckets(new.numbers.ring_bits)),
        ] {
            if from != to && to != default {
                change(key, to.to_string());
            }
        }
        let (before, after) = (from.asked_rate(&old.numbers), to.asked_rate(&new.numbers));
        if before != after {
            change("optimizer.learning_rate", after.to_string());
        }
    }
    changes
}
