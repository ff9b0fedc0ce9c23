//! The text of a proposed job file.

use super::proposal::{Constants, Proposal, TEST_EVERY};
use crate::{job::Task, plain::Plain};

/// Columns of a line in a list of names.
const WIDTH: usize = 100;

const HEAD: &str = "\
# Everything in this file becomes public: the servers, the dealer and the analyst get it.
#
# The constants of [data.scale] and data.target were computed from the file's own records, so they
# say something about them. Rounding to two digits protects little. Replace them by what is known
# without the records: a sensor's range, a unit's usual values, published figures. They need not be
# exact, as long as features come to lie in about -1 to 1. Exact private extremes do not belong here.
";

const OPTIMIZER: &str = "\
[optimizer]
kind = \"adam\"
# Choose buckets and update second moments in every fourth step only: fewer bytes.
refresh_every = 4
lazy_second_moment = true
";

/// A job file. The only place that knows how a proposal is spelled.
pub(super) fn job(proposal: &Proposal) -> String {
    let Proposal { name, file, features, train_records, test_records, epochs, batch, .. } = proposal;
    let target = proposal.target.as_ref().map(affine).unwrap_or_default();
    let (task, loss, outputs, of_accuracy) = match proposal.task {
        Task::Classes(classes) => (format!("classes = {classes}"), "softmax-cross-entropy", classes, ""),
        Task::Regression(_) => (
            format!("target = {target}"),
            "squared-error",
            1,
            " # for a regression: the summed squared test error, hence R²",
        ),
    };
    [
        format!("# A job for {}, proposed by `symbolon job new`.\n#\n{HEAD}", comment(file)),
        format!("version = 2\nname = {}\nloss = \"{loss}\"\n", string(name)),
        format!("[data]\nshape = [{}]\ntrain_records = {train_records}", features.len()),
        format!("test_records = {test_records}\n{task} # {}\n", comment(&proposal.label)),
        scale(proposal),
        csv(proposal),
        format!("[numbers]\n{}\n", numbers(proposal.ring_bits)),
        format!("[network]\n{}\n", network(proposal.hidden, outputs)),
        format!("[training]\nepochs = {epochs}\nbatch = {batch} # a power of two"),
        "seed = 1 # of the initial weights and the batch order; both are public\n".to_owned(),
        OPTIMIZER.to_owned(),
        format!("[reveal]\nmetrics = true{of_accuracy}\nloss = \"epoch\"\nmodel = true\n"),
    ]
    .join("\n")
}

/// The layers' line.
fn network(hidden: usize, outputs: usize) -> String {
    format!(
        "layers = [{{ kind = \"dense\", units = {hidden} }}, {{ kind = \"relu\" }}, {{ kind = \"dense\", units = {outputs} }}]"
    )
}

/// Words of 32 bits leave little room to squares of gradients: with two bits fewer than usual, they
/// have sixteen times as much, and the batches of a proposal still fit.
fn numbers(ring_bits: u32) -> &'static str {
    match ring_bits {
        32 => {
            "ring_bits = 32 # half the bytes of 64\n\
             grad_frac_bits = 13 # room for large gradients; up to 15 fits small ones"
        }
        _ => "ring_bits = 64 # squares of this target's errors do not fit 32",
    }
}

fn scale(proposal: &Proposal) -> String {
    let line = |(name, constants): &(String, Constants)| format!("  {}, # {}\n", affine(constants), comment(name));
    let lines: String = proposal.features.iter().map(line).collect();
    format!("[data.scale]\ncolumns = [ # (value - offset) / divide\n{lines}]\n")
}

fn csv(proposal: &Proposal) -> String {
    let dialect = &proposal.dialect;
    let mut text =
        format!("[data.csv] # relative to --data, the folder of the file\ntrain = {}\n", string(&proposal.file));
    text += &format!("test_every = {TEST_EVERY} # each fifth row is for testing; `test` names a file of its own\n");
    if dialect.delimiter != ',' {
        text += &format!("delimiter = {}\n", string(&dialect.delimiter.to_string()));
    }
    if !dialect.header {
        text += "header = false\n";
    }
    if dialect.missing.len() > 1 {
        text += &format!("missing = [{}]\n", list(&dialect.missing));
    }
    if proposal.skipped > 0 {
        text += &format!("on_missing = \"skip\" # {} rows lack a value\n", proposal.skipped);
    }
    for (name, fault) in &proposal.left_out {
        text += &format!("# left out: {}, which {}\n", comment(&format!("{name:?}")), comment(&fault.to_string()));
    }
    let names: Vec<String> = proposal.features.iter().map(|(name, _)| name.clone()).collect();
    text += &format!("columns = [{}]\nlabel = {}\n", list(&names), string(&proposal.label));
    text
}

fn affine(Constants { offset, divide }: &Constants) -> String {
    if offset == "0" {
        format!("{{ divide = {divide} }}")
    } else {
        format!("{{ offset = {offset}, divide = {divide} }}")
    }
}

/// The entries of a list, in lines of [`WIDTH`].
fn list(texts: &[String]) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for text in texts {
        let entry = string(text);
        if line.len() + entry.len() > WIDTH - 4 && !line.is_empty() {
            lines += &format!("\n  {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &format!("{entry},");
    }
    if lines.is_empty() { line.trim_end_matches(',').to_owned() } else { format!("{lines}\n  {line}\n") }
}

/// A text within a comment: it has no control character, and does not end the line.
fn comment(text: &str) -> String {
    Plain(text).to_string().replace('\n', " ")
}

/// A quoted string of TOML.
fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
