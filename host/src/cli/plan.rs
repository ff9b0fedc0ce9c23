//! `symbolon plan`.

use super::{exit::Failure, stored};
use crate::{
    engine::plan::{Cost, LAN, Network, Plan, WAN, hex, plan},
    job::{Constant, Draft, Job},
    net::{Config, Role},
    report::{human_bytes, human_seconds, write_atomic},
};
use serde_json::{Value, json};
use std::path::Path;

/// Makes, prints and perhaps writes the plan of a job.
pub(super) fn run(file: &Path, config: Option<&Path>, json: Option<&Path>) -> Result<(), Failure> {
    let draft = Draft::load(file)?;
    let job = match (draft.schema(), config) {
        (Some(_), None) => {
            return Err(Failure::Input(
                "the job learns from reports: give --config, so that the servers can say which they hold".to_owned(),
            ));
        }
        (Some(_), Some(config)) => stored::resolve(draft, &Config::load(config, &[Role::Client])?, None)?,
        (None, _) => draft.resolve(None)?,
    };
    let plan = plan(&job).map_err(|error| Failure::Input(error.to_string()))?;
    print(&job, &plan)?;
    let Some(path) = json else { return Ok(()) };
    let constant = |c: Constant| json!({ "key": c.key, "asked": c.asked, "effective": c.effective });
    let constants = job.constants().into_iter().map(constant).collect();
    let mut value = serde_json::to_value(&plan).map_err(|error| Failure::Other(error.to_string()))?;
    if let Value::Object(fields) = &mut value {
        fields.insert("constants".to_owned(), Value::Array(constants));
        for network in [LAN, WAN] {
            let seconds = json!({ "total": plan.total.seconds(&network), "epoch": plan.epoch.seconds(&network) });
            fields.insert(format!("seconds_{}", network.name.to_lowercase()), seconds);
        }
    }
    write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}

fn row(name: &str, cost: &Cost) {
    let time = |network: &Network| human_seconds(cost.seconds(network));
    say!(
        "{name:<34}{:>10}{:>12}{:>12}{:>14}{:>14}",
        cost.rounds,
        human_bytes(cost.bytes_each_way),
        human_bytes(cost.dealer_bytes),
        time(&LAN),
        time(&WAN)
    );
}

/// Prints the public reals of a job as they are computed with. Of the slopes of readings it prints
/// the one that rounding changes most.
pub(super) fn constants(job: &Job) {
    let (slopes, own): (Vec<Constant>, Vec<_>) =
        job.constants().into_iter().partition(|constant| constant.key.starts_with("data."));
    let change = |c: &Constant| c.asked.map_or(0.0, |asked| ((c.effective - asked) / asked).abs());
    let slope = slopes.into_iter().max_by(|a, b| change(a).total_cmp(&change(b)));
    for Constant { key, asked, effective } in own.into_iter().chain(slope) {
        match asked {
            Some(asked) if asked != effective => say!("{key}: {asked} is computed as {effective}"),
            _ => say!("{key}: computed as {effective}"),
        }
    }
    say!("");
}

fn print(job: &Job, plan: &Plan) -> Result<(), Failure> {
    say!("plan {} of job {}", hex(&plan.hash), job.name);
    say!("job hash {} (what a server lists in policy.jobs)", hex(&job.hash()?));
    say!(
        "{}-bit ring, {} lanes, {} requests, arena {} a lane\n",
        job.numbers.ring_bits,
        job.lanes.lanes,
        plan.requests,
        human_bytes(plan.arena_bytes)
    );
    constants(job);
    say!("{:<34}{:>10}{:>12}{:>12}{:>14}{:>14}", "", "rounds", "each way", "dealt", "LAN", "WAN");
    row("whole job", &plan.total);
    row("opening data and weights", &plan.setup);
    row("an epoch's steps", &plan.epoch);
    row("a step", &plan.step);
    row("an evaluation", &plan.evaluation);
    say!("\nby layer and operation, over the whole job");
    for operation in &plan.operations {
        row(&format!("{:>3}  {}", operation.layer, operation.name), &operation.cost);
    }
    say!(
        "\nLAN: 1 Gb/s and 0.2 ms a round; WAN: 100 Mb/s and 40 ms. Times are the network's alone: rounds, and what server 1 \
         receives. Bytes are payload; TLS adds about 1 %."
    );
    Ok(())
}
