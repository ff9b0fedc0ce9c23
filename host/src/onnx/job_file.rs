//! A job file with the network of an imported graph.

use super::{Head, Imported};
use crate::{
    job::{Affine, ColumnScale},
    plain::Plain,
};
use std::fmt::Write as _;
use symbolon_core::layer::{AnyLayer, Origin, Shape};

const HEAD: &str = "\
# Everything in this file becomes public: the servers, the dealer and the analyst get it.
#
# Network, scale and task are those of the ONNX file. For `models import` this file is complete. To
# train or fine-tune, put the data's counts and files into [data], and edit [training].
";

/// The text of a job that has the network of `imported`; `from` is the name of its file. Outputs
/// are classes, unless the file scales them or `regression` says that they are numbers.
#[must_use]
pub fn job_text(imported: &Imported, name: &str, from: &str, regression: bool) -> String {
    let Shape([first, labels, last]) = imported.shapes.last().copied().unwrap_or_default();
    let (labels, outputs) = if (labels, last) == (1, 1) { (1, first) } else { (labels, last) };
    let regression = imported.head.is_none() && (regression || imported.target.is_some() || outputs == 1);
    let loss = match (regression, imported.head) {
        (true, _) => "squared-error",
        (false, Some(Head::Sigmoid)) => "logistic",
        (false, _) => "softmax-cross-entropy",
    };
    let task = if regression { targets(imported, outputs) } else { classes(imported, outputs) };
    let labels = if labels > 1 { format!("labels_per_record = {labels}\n") } else { String::new() };
    let name = toml::Value::String(name.to_owned());
    [
        format!("# The network of {}, by `symbolon job from-onnx`.\n#\n{HEAD}", Plain(from.replace('\n', " "))),
        format!("version = 2\nname = {name}\nloss = \"{loss}\"\n"),
        format!("[data]\nshape = {}\ntrain_records = 1024\ntest_records = 256", shape(imported.input)),
        format!("{task}\n{labels}{}", scale(imported)),
        "[data.npz]\nfile = \"records.npz\"\ntrain_features = \"x_train\"\ntrain_labels = \"y_train\"".to_owned(),
        "test_features = \"x_test\"\ntest_labels = \"y_test\"\n".to_owned(),
        format!("[network]\nlayers = [\n{}]\n", layers(imported)),
        "[training]\nepochs = 4\nbatch = 32 # a power of two\nseed = 1\n".to_owned(),
        "[optimizer]\nkind = \"adam\"\n".to_owned(),
        "[reveal]\nmetrics = true\nloss = \"epoch\"\nmodel = true\n".to_owned(),
    ]
    .join("\n")
}

fn shape(Shape([channels, height, width]): Shape) -> String {
    match (channels, height, width) {
        (words, 1, 1) => format!("[{words}]"),
        (1, steps, features) => format!("[{steps}, {features}]"),
        _ => format!("[{channels}, {height}, {width}]"),
    }
}

fn classes(imported: &Imported, outputs: u32) -> String {
    let names = imported.classes.as_ref().map(|names| names.join(", ").chars().take(80).collect::<String>());
    let names = names.map(|names| format!(" # {}", Plain(names.replace('\n', " ")))).unwrap_or_default();
    format!("classes = {outputs}{names}")
}

/// A number as the file has it: a 32-bit float.
#[allow(clippy::cast_possible_truncation)] // it came from one
fn number(value: f64) -> String {
    format!("{:?}", value as f32)
}

fn affine(Affine { offset, divide }: Affine) -> String {
    if offset.abs() < f64::MIN_POSITIVE {
        return format!("{{ divide = {} }}", number(divide));
    }
    format!("{{ offset = {}, divide = {} }}", number(offset), number(divide))
}

fn targets(imported: &Imported, outputs: u32) -> String {
    let one = || vec![Affine { offset: 0.0, divide: 1.0 }; outputs as usize];
    let targets: Vec<String> = imported.targets().unwrap_or_else(one).into_iter().map(affine).collect();
    match &targets[..] {
        [target] => format!("target = {target}"),
        _ => format!("target = [{}]", targets.join(", ")),
    }
}

fn scale(imported: &Imported) -> String {
    let Some(columns) = imported.scale() else { return "scale = { divide = 1 }\n".to_owned() };
    let affines: Option<Vec<Affine>> = columns.iter().map(|column| column.affine()).collect();
    let equal = |affines: &[Affine]| affines.iter().all(|affine| *affine == affines[0]);
    if let Some(affines) = affines.filter(|affines| !affines.is_empty()) {
        if equal(&affines) && affines[0].offset.abs() < f64::MIN_POSITIVE {
            return format!("scale = {}\n", affine(affines[0]));
        }
        let places: usize = imported.input.image().iter().product();
        if places > 1 && affines.chunks(places).all(equal) {
            let channels: Vec<String> = affines.chunks(places).map(|channel| affine(channel[0])).collect();
            return format!("scale = {{ channels = [{}] }}\n", channels.join(", "));
        }
    }
    let mut text = "[data.scale]\ncolumns = [ # (value - offset) / divide\n".to_owned();
    for column in columns {
        let column = match column {
            ColumnScale::Affine(own) => affine(own),
            ColumnScale::Above(at) => format!("{{ above = {} }}", number(at)),
        };
        let _ = writeln!(text, "  {column},");
    }
    text + "]\n"
}

fn layers(imported: &Imported) -> String {
    let network = &imported.network;
    let name = |origin| match origin {
        Origin::Data => "\"data\"".to_owned(),
        Origin::Node(i) => format!("\"{}\"", network.names[usize::from(i)]),
    };
    let mut text = String::new();
    for (i, (own, node)) in network.names.iter().zip(&network.nodes).enumerate() {
        let before = i.checked_sub(1).map_or(Origin::Data, |i| Origin::Node(u16::try_from(i).unwrap_or(u16::MAX)));
        let inputs: Vec<String> = node.origins().map(name).collect();
        let inputs = match &inputs[..] {
            [_] if node.input == before => String::new(),
            [input] => format!(", input = {input}"),
            inputs => format!(", input = [{}]", inputs.join(", ")),
        };
        let keys = keys(&node.layer);
        let _ = writeln!(text, "  {{ name = \"{own}\", kind = \"{}\"{inputs}{keys} }},", node.layer.kind());
    }
    text
}

/// The layer's own keys; methods are left to the job's defaults.
fn keys(layer: &AnyLayer) -> String {
    let Ok(toml::Value::Table(table)) = toml::Value::try_from(layer) else { return String::new() };
    let is_key = |key: &str| match layer {
        AnyLayer::Activation(_) => ["function", "exponent"].contains(&key),
        AnyLayer::Recurrent(_) => !["kind", "sigmoid", "tanh"].contains(&key),
        _ => key != "kind",
    };
    table.iter().filter(|(key, _)| is_key(key)).map(|(key, value)| format!(", {key} = {value}")).collect()
}
