//! `symbolon plan`.

use super::{exit::Failure, stored};
use crate::{
    engine::{
        memory::{disk_bytes, fit, server_bytes},
        plan::{Cost, LAN, Network, Plan, WAN, hex},
    },
    job::{Constant, Draft, Job},
    net::{Config, Role},
    report::{human_bytes, human_seconds, write_atomic},
    storage::StorageConfig,
};
use serde_json::{Value, json};
use std::path::Path;

/// Makes, prints and perhaps writes the plan of a job.
pub(super) fn run(file: &Path, config: Option<&Path>, json: Option<&Path>, own: Link) -> Result<(), Failure> {
    let draft = Draft::load(file)?;
    let mut job = match (draft.schema(), config) {
        (Some(_), None) => {
            return Err(Failure::Input(
                "the job learns from reports: give --config, so that the servers can say which they hold".to_owned(),
            ));
        }
        (Some(_), Some(config)) => stored::resolve(draft, &Config::load(config, &[Role::Client])?, None)?,
        (None, _) => draft.resolve(None)?,
    };
    let plan = fit(&mut job).map_err(|error| Failure::Input(error.to_string()))?;
    let networks = own.networks();
    print(&job, &plan, &networks)?;
    let Some(path) = json else { return Ok(()) };
    let constant = |c: Constant| json!({ "key": c.key, "asked": c.asked, "effective": c.effective });
    let constants = job.constants().into_iter().map(constant).collect();
    let mut value = serde_json::to_value(&plan).map_err(|error| Failure::Other(error.to_string()))?;
    if let Value::Object(fields) = &mut value {
        fields.insert("constants".to_owned(), Value::Array(constants));
        for network in networks {
            let seconds = json!({ "total": plan.total.seconds(&network), "epoch": plan.epoch.seconds(&network) });
            fields.insert(format!("seconds_{}", network.name.to_lowercase()), seconds);
        }
    }
    write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}

/// A network that the user states, part by part.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Link {
    /// Plan for a network of this bandwidth into each server and out of the dealer, in bits a
    /// second: 100M, 2.5G
    #[arg(long, value_name = "BITS", value_parser = bandwidth)]
    bandwidth: Option<f64>,
    /// Plan for a network of this round-trip time between the servers: 40ms, 300us, 0.1s
    #[arg(long, value_name = "TIME", value_parser = round_trip)]
    rtt: Option<f64>,
}

impl Link {
    /// LAN and WAN, or the stated network; what is left out is the LAN's.
    fn networks(self) -> Vec<Network> {
        if self.bandwidth.is_none() && self.rtt.is_none() {
            return vec![LAN, WAN];
        }
        vec![Network {
            name: "stated",
            bits_per_second: self.bandwidth.unwrap_or(LAN.bits_per_second),
            round_trip_seconds: self.rtt.unwrap_or(LAN.round_trip_seconds),
        }]
    }
}

/// A positive number and one of `units`.
fn quantity(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(number * factor).filter(|value| value.is_finite() && *value > 0.0)
}

fn bandwidth(text: &str) -> Result<f64, String> {
    let units = [("k", 1e3), ("M", 1e6), ("G", 1e9), ("", 1.0)];
    quantity(text, &units).ok_or_else(|| "give bits a second with k, M or G, as in 100M".to_owned())
}

fn round_trip(text: &str) -> Result<f64, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    quantity(text, &units).ok_or_else(|| "give a time with us, ms or s, as in 40ms".to_owned())
}

fn row(name: &str, cost: &Cost, networks: &[Network]) {
    let times = networks.iter().fold(String::new(), |line, network| {
        let seconds = human_seconds(cost.seconds(network));
        line + &format!("{seconds:>14}")
    });
    say!(
        "{name:<34}{:>10}{:>12}{:>12}{times}",
        cost.rounds,
        human_bytes(cost.bytes_each_way),
        human_bytes(cost.dealer_bytes)
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

fn print(job: &Job, plan: &Plan, networks: &[Network]) -> Result<(), Failure> {
    let data_memory = StorageConfig::default().memory_bytes;
    say!("plan {} of job {}", hex(&plan.hash), job.name);
    say!("job hash {} (what a server lists in policy.jobs)", hex(&job.hash()?));
    say!(
        "{}-bit ring, {} lanes, {} requests, arena {} a lane",
        job.numbers.ring_bits,
        job.lanes.lanes,
        plan.requests,
        human_bytes(plan.arena_bytes)
    );
    say!(
        "a server takes up to {}, with passes of {} records",
        human_bytes(server_bytes(job, job.encode()?.len(), plan.arena_bytes, data_memory)),
        job.rows_at_once()
    );
    match disk_bytes(job, data_memory) {
        0 => say!(""),
        filed => say!("and {} of disk, with {} of memory for tables\n", human_bytes(filed), human_bytes(data_memory)),
    }
    constants(job);
    let names = networks.iter().fold(String::new(), |line, network| line + &format!("{:>14}", network.name));
    say!("{:<34}{:>10}{:>12}{:>12}{names}", "", "rounds", "each way", "dealt");
    let row = |name: &str, cost| row(name, cost, networks);
    row("whole job", &plan.total);
    row("opening data and weights", &plan.setup);
    row("an epoch's steps", &plan.epoch);
    row("a step", &plan.step);
    row("an evaluation", &plan.evaluation);
    say!("\nby layer and operation, over the whole job");
    for operation in &plan.operations {
        row(&format!("{:>3}  {}", operation.layer, operation.name), &operation.cost);
    }
    say!("");
    for Network { name, bits_per_second, round_trip_seconds } in networks {
        say!(
            "{name}: {} Mb/s into each server and out of the dealer, {} ms round trip",
            bits_per_second / 1e6,
            round_trip_seconds * 1e3
        );
    }
    say!(
        "Times are the network's alone: each round half a round trip and its bytes, while the dealer's arrive. Bytes \
         are payload; TLS adds about 1 %."
    );
    let computing = plan.total.computing_seconds();
    let [least, most] = computing.map(human_seconds);
    say!("\nComputing: about {least} to {most} where two cores hold both servers and the dealer, at the same time.");
    for network in networks {
        let expected = plan.total.seconds(network).max(computing[1]);
        say!("{}: expect {} for the whole job", network.name, human_seconds(expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{bandwidth, round_trip};

    #[test]
    fn networks_are_stated_with_units() {
        assert_eq!(bandwidth("100M"), Ok(1e8));
        assert_eq!(bandwidth("2.5G"), Ok(2.5e9));
        assert_eq!(bandwidth("64000"), Ok(64e3));
        assert_eq!(round_trip("40ms"), Ok(40.0 * 1e-3));
        assert_eq!(round_trip("0.5s"), Ok(0.5));
        for bad in ["", "M", "-1M", "0", "infG", "NaN", "1T"] {
            assert!(bandwidth(bad).is_err(), "{bad}");
        }
        for bad in ["", "40", "ms", "-1ms", "0s", "1e400s"] {
            assert!(round_trip(bad).is_err(), "{bad}");
        }
    }
}
