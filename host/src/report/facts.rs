//! Facts that a reader of a model needs beside its tensors: in the model's metadata and in the
//! run's JSON.

use crate::job::{Affine, Columns, Format, Job, Scale, Task};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use symbolon_core::layer::{AnyLayer, CellKind, Origin, Parameter, Shape};
use symbolon_core::loss::Describe as _;

/// How to evaluate a model: scale the features, apply the layers in order, and scale a regression's
/// output back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Axes of each layer's tensors, `NAME.weight` and `NAME.bias`: as in PyTorch, a dense layer's
    /// weight is `units, inputs`.
    pub layout: String,
    /// Axes of each tensor of parameters and running statistics, by its name; of a recurrent layer
    /// with the order of its gates.
    #[serde(default)]
    pub tensors: BTreeMap<String, String>,
    /// Shape of a record: channels, height, width.
    pub shape: Shape,
    /// In topological order; the last layer gives the output.
    pub layers: Vec<LayerFacts>,
    /// The function from the last layer to the result: `softmax`, `sigmoid` or `identity`.
    pub output: String,
    /// Scale of the features: `{"divide": d}` for `x / d`; `{"columns": [{offset, divide}, ...]}`
    /// for `(x - offset) / divide`, with an entry `{above}` for 1 where `x > above`, else 0;
    /// `{"ranges": [[least, greatest], ...]}` for `(x - least) /
    /// (greatest - least)`.
    pub scale: Scale,
    /// A regression's targets are `offset + divide * output`, an entry an output; null for classes.
    pub target: Option<Vec<Affine>>,
    /// Classes, each an output in its order; null for a regression.
    pub classes: Option<usize>,
    /// Names of the features in their order, where the job gives them; else null.
    pub columns: Option<Vec<String>>,
    /// Columns of the file that are no features, the label last, where the job does not give names;
    /// else null.
    pub except: Option<Vec<String>>,
}

/// A layer of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Its name, which its tensors' names begin with.
    pub name: String,
    /// Names of the layers that it reads, or `data`.
    pub inputs: Vec<String>,
    /// Shape of its output.
    pub shape: Shape,
    /// Its kind and numbers, as in a job file.
    #[serde(flatten)]
    pub layer: AnyLayer,
}

impl ModelFacts {
    /// Of the model of `job`.
    pub fn of(job: &Job) -> Self {
        let (columns, except) = match &job.data.format {
            Format::Csv(csv) => match &csv.columns {
                Columns::Only(columns) => (Some(columns.clone()), None),
                Columns::All => (None, Some(csv.labels.clone())),
                Columns::Except(except) => (None, Some([&except[..], &csv.labels[..]].concat())),
            },
            Format::Idx(_)
            | Format::Reports(_)
            | Format::Cifar10(_)
            | Format::Cifar100(_)
            | Format::Npy(_)
            | Format::Npz(_) => (None, None),
        };
        let (target, classes) = match &job.data.task {
            Task::Classes(classes) => (None, Some(*classes)),
            Task::Regression(targets) => (Some(targets.clone()), None),
        };
        Self {
            layout: "units, inputs".to_owned(),
            tensors: tensors(job),
            shape: job.data.shape,
            layers: layers(job),
            output: job.loss.activation().name().to_owned(),
            scale: job.data.scale.clone(),
            target,
            classes,
            columns,
            except,
        }
    }
}

/// The axes of each tensor.
fn tensors(job: &Job) -> BTreeMap<String, String> {
    let laid = job.network();
    let (graph, mut tensors) = (laid.graph(), BTreeMap::new());
    for (i, (name, node)) in job.network.names.iter().zip(graph.nodes).enumerate() {
        let mut add = |parameter: Parameter| {
            tensors.insert(format!("{name}.{}", parameter.name), axes(&node.layer, parameter.name));
        };
        graph.parameters_of(i, |parameter, _| add(parameter));
        graph.statistics_of(i, |statistic, _| add(statistic));
    }
    tensors
}

/// The axes of a layer's tensor, as model files have them.
fn axes(layer: &AnyLayer, tensor: &str) -> String {
    let gates = match layer {
        AnyLayer::Recurrent(layer) => match layer.cell {
            CellKind::Simple => "units",
            CellKind::Gru => "gates r, z, n of units",
            CellKind::Lstm => "gates i, f, g, o of units",
        },
        _ => "units",
    };
    match (layer, tensor) {
        (AnyLayer::Convolution(_), "weight") => "filters, channels of a group, height, width".to_owned(),
        (AnyLayer::Convolution(_), _) => "filters".to_owned(),
        (AnyLayer::BatchNorm(_), _) => "channels".to_owned(),
        (AnyLayer::Embedding(_), _) => "codes, units".to_owned(),
        (AnyLayer::Recurrent(_), "weight") => format!("{gates}; features"),
        (AnyLayer::Recurrent(_), "recurrent_weight") => format!("{gates}; units"),
        (AnyLayer::Recurrent(_), "recurrent_bias") => "units of gate n".to_owned(),
        (_, "weight") => "units, inputs".to_owned(),
        _ => gates.to_owned(),
    }
}

fn layers(job: &Job) -> Vec<LayerFacts> {
    let (laid, names) = (job.network(), &job.network.names);
    let name = |origin| match origin {
        Origin::Data => "data".to_owned(),
        Origin::Node(j) => names[usize::from(j)].clone(),
    };
    let graph = laid.graph();
    let layers = names.iter().zip(graph.nodes).zip(graph.places);
    layers
        .map(|((own, node), place)| LayerFacts {
            name: own.clone(),
            inputs: node.origins().map(name).collect(),
            shape: place.output,
            layer: node.layer,
        })
        .collect()
}
