//! `symbolon job check`: a job file held to its rules, and its network as a table.

use super::{Failure, print};
use crate::{
    engine::plan::{Cost, plan},
    job::{Draft, Job, RevealLoss},
    report::human_bytes,
};
use std::{fmt::Write, path::PathBuf};
use symbolon_core::layer::Origin;

/// Arguments of `symbolon job check`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    file: PathBuf,
}

/// Checks a job and prints its network. A job that learns from reports is read, no more: its counts
/// are in a manifest.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let draft = Draft::load(&args.file)?;
    if draft.schema().is_some() {
        return print("the file reads as a job that learns from reports; `symbolon plan --config` checks the rest\n");
    }
    print(&table(&draft.resolve(None)?)?)
}

/// Costs of a step of each layer: those of an epoch's steps without evaluation, divided.
pub(super) fn costs(job: &Job) -> Result<Vec<Cost>, Failure> {
    let mut job = job.clone();
    job.training.epochs = 1;
    (job.reveal.metrics, job.reveal.loss, job.reveal.alarm) = (false, RevealLoss::Never, false);
    let plan = plan(&job).map_err(|error| Failure::Input(error.to_string()))?;
    let mut costs = vec![Cost::default(); job.network.nodes.len()];
    let steps = job.steps_per_epoch() as u64;
    let once = ["open the data", "open weights", "optimizer", "sum outputs", "lift readings", "look up labels"];
    for operation in plan.operations.iter().filter(|operation| !once.contains(&operation.name)) {
        if let Some(cost) = costs.get_mut(usize::from(operation.layer)) {
            *cost += operation.cost;
        }
    }
    for cost in &mut costs {
        let each = |total: u64| total / steps.max(1);
        (cost.rounds, cost.bytes_each_way) = (each(cost.rounds), each(cost.bytes_each_way));
        cost.dealer_bytes = each(cost.dealer_bytes);
    }
    Ok(costs)
}

fn table(job: &Job) -> Result<String, Failure> {
    let (laid, costs) = (job.network(), costs(job)?);
    let (graph, names) = (laid.graph(), &job.network.names);
    let name = |origin| match origin {
        Origin::Data => "data",
        Origin::Node(j) => &names[usize::from(j)],
    };
    let mut rows = vec![
        ["layer", "kind", "reads", "shape", "parameters", "bits", "room", "rounds", "each way", "dealt"]
            .map(str::to_owned),
    ];
    for (i, (node, place)) in graph.nodes.iter().zip(graph.places).enumerate() {
        let room = job.numbers.ring_bits - 2 - place.frac_bits.min(job.numbers.ring_bits - 2);
        rows.push([
            names[i].clone(),
            node.layer.kind().to_owned(),
            node.origins().map(name).collect::<Vec<_>>().join(", "),
            place.output.to_string(),
            place.parameters.to_string(),
            place.frac_bits.to_string(),
            format!("2^{room}"),
            costs[i].rounds.to_string(),
            human_bytes(costs[i].bytes_each_way),
            human_bytes(costs[i].dealer_bytes),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = format!("{}: a valid job of {} parameters\n\n", job.name, graph.parameters());
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line = cells.fold(String::new(), |line, (i, (cell, width))| {
            line + &if i < 4 { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") }
        });
        let _ = writeln!(text, "{}", line.trim_end()); // a String takes everything
    }
    text += "\nbits: fraction bits of the output; room: outputs must stay below this in magnitude.\n\
             rounds and bytes are those of a training step of the full batch, openings of the layer's output included.\n";
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::path::Path;

    #[test]
    fn a_table_has_each_layer_with_its_shape_and_cost() {
        let text = include_str!("../../../jobs/digits-conv.toml");
        let table = table(&Job::parse(text, Path::new("digits-conv.toml")).unwrap()).unwrap();
        let row = |name: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
        };
        assert!(table.starts_with("digits-conv: a valid job of 410 parameters"), "{table}");
        assert_eq!(row("convolution1")[1..6], ["convolution", "data", "[4, 6, 6]", "40", "24"]);
        assert_eq!(row("average-pool1")[3..7], ["[4, 3, 3]", "0", "26", "2^36"]);
        let relu = row("relu1");
        // Forward three or four rounds and the opening of what the dense layer takes; backward one.
        assert!(["5", "6"].contains(&&relu[7][..]), "{table}");
        assert_eq!(row("dense1")[4], "370");
    }
}
