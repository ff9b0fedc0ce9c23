//! `symbolon audit`: trains in the clear, prints how much room each word has, and recommends
//! settings that it has run.

mod advice;
mod outcome;
mod records;
#[cfg(test)]
mod tests;

use super::{exit::Failure, plan::constants, stored};
use crate::{
    engine::clear::Range,
    intake::manifest,
    job::{Draft, Job},
    net::{Config, Role},
    report::write_atomic,
};
use advice::{Advice, Change, Trial, advise};
use outcome::{MARGIN_BITS, Outcome, Verdict};
use records::{Facts, Records};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `symbolon audit`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("records").args(["data", "synthetic", "config"]).required(true))]
pub(super) struct Args {
    /// Job file (TOML; `host/jobs` has some)
    job: PathBuf,
    /// Directory of the data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// For a job that learns from reports: train on N records of random codes within the schema's
    /// ranges
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    synthetic: Option<u32>,
    /// For a job that learns from reports: the client's configuration; counts come from the
    /// servers' manifest, codes are random
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Digest of the manifest to take counts from; of all reports that both servers hold now, if
    /// not given
    #[arg(long, value_name = "DIGEST", value_parser = digest, requires = "config")]
    manifest: Option<[u8; 32]>,
    /// Further runs at most that recommendations are tried in
    #[arg(long, value_name = "N", default_value_t = 8)]
    tries: usize,
    /// Write the audit as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::cli::out_file())]
    json: Option<PathBuf>,
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    manifest::parse_digest(text).ok_or_else(|| "a digest has 64 hexadecimal digits".to_owned())
}

/// Runs the audit and prints it.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let (job, records) = open(args)?;
    constants(&job);
    let facts = records.facts(&job)?;
    let outcome = outcome::play(&job, &records, &facts)?;
    print_ranges(&outcome);
    print_moments(&job, &outcome);
    print_verdict(&outcome);
    let advice = advise(&job, &records, &facts, &outcome, args.tries)?;
    print_advice(&advice);
    let Some(path) = &args.json else { return Ok(()) };
    let value = to_json(&job, &outcome, &advice);
    write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}

/// The job and the records that it is run on.
fn open(args: &Args) -> Result<(Job, Records), Failure> {
    let draft = Draft::load(&args.job)?;
    match (draft.schema().is_some(), &args.data, args.synthetic, &args.config) {
        (false, Some(dir), ..) => Ok((draft.resolve(None)?, Records::Files(dir.clone()))),
        (false, ..) => {
            Err(Failure::Input("the job learns from files: give --data with the directory of the data".to_owned()))
        }
        (true, Some(_), ..) => {
            Err(Failure::Input("--data: the job learns from reports; give --synthetic or --config".to_owned()))
        }
        (true, None, Some(count), _) => Ok((records::synthetic(draft, count)?, Records::Codes)),
        (true, None, None, config) => {
            let config = config.as_deref().ok_or_else(|| Failure::Input("give --synthetic or --config".to_owned()))?;
            let config = Config::load(config, &[Role::Client])?;
            Ok((stored::resolve(draft, &config, args.manifest)?, Records::Codes))
        }
    }
}

fn print_ranges(outcome: &Outcome) {
    for (table, title) in [(false, "opened words"), (true, "indices of tables")] {
        let mut ranges = outcome.ranges.iter().filter(|range| range.table == table).peekable();
        if ranges.peek().is_none() {
            continue;
        }
        say!("{:>5}  {title:<24}{:>24}{:>24}{:>16}", "layer", "least", "greatest", "headroom, bits");
        for Range { layer, name, least, greatest, headroom_bits, .. } in ranges {
            let room = if *headroom_bits < 0.0 { "none".to_owned() } else { format!("{headroom_bits:.1}") };
            say!("{layer:>5}  {name:<24}{least:>24}{greatest:>24}{room:>16}");
        }
        say!("");
    }
    say!("Headroom is how often words may double within their range. Ring and fraction bits move no table's.\n");
}

/// Where Adam's second moments ended.
fn print_moments(job: &Job, outcome: &Outcome) {
    let (Some(buckets), Some(ends)) = (Buckets::of(job, outcome), outcome.moment_bits()) else { return };
    let Buckets { lowest, top, parameters } = buckets;
    // `v` has 2 fg fraction bits.
    let unit = 2 * i64::from(job.numbers.grad_frac_bits);
    say!(
        "Adam ended with second moments from 2^{} to 2^{}. Of {parameters} parameters {lowest} are in the lowest bucket, \
         whose steps vanish with the gradient, and {top} in the top bucket, whose steps grow with it.\n",
        i64::from(ends.0) - 1 - unit,
        i64::from(ends.1) - unit
    );
}

/// Parameters in the buckets at both ends of Adam's window, as the job ended.
struct Buckets {
    lowest: u64,
    top: u64,
    parameters: u64,
}

impl Buckets {
    fn of(job: &Job, outcome: &Outcome) -> Option<Self> {
        let (first_threshold_log2, top) = job.optimizer.adam()?.window();
        let below = |bits: u32| outcome.moments.iter().take(bits as usize + 1).sum::<u64>();
        let parameters = outcome.moments.iter().sum();
        Some(Self { lowest: below(first_threshold_log2), top: parameters - below(top), parameters })
    }
}

fn print_verdict(outcome: &Outcome) {
    match outcome.verdict {
        Verdict::Holds => say!("All words stay within their ranges, with {MARGIN_BITS} bit to spare."),
        Verdict::Tight { layer, name, bits } => {
            say!("Layer {layer}, {name}: {bits:.1} bits are left; other data may need {MARGIN_BITS}.");
        }
        Verdict::Wrapped { layer, name } => say!(
            "Layer {layer}, {name}: words left their range first, and later ones say nothing. How many bits lack \
             cannot be told from words that wrapped."
        ),
        Verdict::Diverged { loss, baseline } => {
            say!("Training does not converge: the loss ends at {loss:.4}, and predicting nothing has {baseline:.4}.")
        }
    }
}

fn print_advice(advice: &Advice) {
    if !advice.causes.is_empty() {
        say!("\nLikely causes:");
        advice.causes.iter().for_each(|cause| say!("  {cause}"));
    }
    for (i, Trial { changes, least_bits, loss }) in advice.verified.iter().enumerate() {
        let loss = loss
            .map(|loss| format!(", the loss ends at {:.1} % of that of predicting nothing", 100.0 * loss))
            .unwrap_or_default();
        let what = if i == 0 { "Recommended" } else { "Or" };
        say!("\n{what}, and tried: {least_bits:.1} bits are left{loss}");
        changes.iter().for_each(|change| say!("  {change}"));
    }
    if !advice.needed || !advice.verified.is_empty() {
        return;
    }
    match advice.tried {
        0 => say!("\nNothing was tried (--tries): no recommendation."),
        n => say!("\nNone of {n} other settings that were tried holds. Mend the causes above first."),
    }
}

fn to_json(job: &Job, outcome: &Outcome, advice: &Advice) -> Value {
    let buckets = Buckets::of(job, outcome);
    let buckets = buckets.map(|c| json!({ "lowest": c.lowest, "top": c.top, "parameters": c.parameters }));
    let changes = |trial: &Trial| {
        let changes = trial.changes.iter().map(|Change { key, value }| (key.clone(), Value::from(value.clone())));
        let changes = Value::Object(changes.collect());
        json!({ "changes": changes, "headroom_bits": trial.least_bits, "loss_ratio": trial.loss })
    };
    json!({
        "ranges": outcome.ranges,
        "verdict": outcome.verdict.name(),
        "adam_buckets": buckets,
        "causes": advice.causes,
        "verified": advice.verified.iter().map(changes).collect::<Vec<_>>(),
        "tried": advice.tried,
    })
}
