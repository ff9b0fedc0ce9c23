//! Facts that a reader of a model needs beside its tensors: in the model's metadata and in the
//! run's JSON.

use crate::job::{Affine, Columns, Format, Job, Layer, Loss, Scale, Task};
use serde::{Deserialize, Serialize};

/// How to evaluate a model: scale the features, apply the layers in order, and scale a regression's
/// output back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Axes of each `layers.I.weight`: `units, inputs`, as in PyTorch's `Linear`. A layer computes
    /// `weight x + bias`.
    pub layout: String,
    /// First to last.
    pub layers: Vec<LayerFacts>,
    /// From the last layer to the result: `softmax` of its outputs, or `identity`.
    pub output: String,
    /// Scale of the features: `{"divide": d}` for `x / d`; `{"columns": [{offset, divide}, ...]}`
    /// for `(x - offset) / divide`; `{"ranges": [[least, greatest], ...]}` for `(x - least) /
    /// (greatest - least)`.
    pub scale: Scale,
    /// A regression's target is `offset + divide * output`; null for classes.
    pub target: Option<Affine>,
    /// Classes, each an output in its order; null for a regression.
    pub classes: Option<usize>,
    /// Names of the features in their order, where the job gives them; else null.
    pub columns: Option<Vec<String>>,
    /// Columns of the file that are no features, the label last, where the job does not give names;
    /// else null.
    pub except: Option<Vec<String>>,
}

/// A dense layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Its weight's name.
    pub weight: String,
    /// Its bias's name.
    pub bias: String,
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub units: usize,
    /// `relu` or `identity`.
    pub activation: String,
}

impl ModelFacts {
    /// Of the model of `job`.
    pub fn of(job: &Job) -> Self {
        let (columns, except) = match &job.data.format {
            Format::Csv(csv) => match &csv.columns {
                Columns::Only(columns) => (Some(columns.clone()), None),
                Columns::All => (None, Some(vec![csv.label.clone()])),
                Columns::Except(except) => (None, Some([&except[..], std::slice::from_ref(&csv.label)].concat())),
            },
            Format::Idx(_)
            | Format::Reports(_)
            | Format::Cifar10(_)
            | Format::Cifar100(_)
            | Format::Npy(_)
            | Format::Npz(_) => (None, None),
        };
        let (target, classes) = match job.data.task {
            Task::Classes(classes) => (None, Some(classes)),
            Task::Regression(target) => (Some(target), None),
        };
        let output = if job.loss == Loss::SoftmaxCrossEntropy { "softmax" } else { "identity" };
        Self {
            layout: "units, inputs".to_owned(),
            layers: layers(job),
            output: output.to_owned(),
            scale: job.data.scale.clone(),
            target,
            classes,
            columns,
            except,
        }
    }
}

fn layers(job: &Job) -> Vec<LayerFacts> {
    let mut layers: Vec<LayerFacts> = Vec::new();
    let mut shapes = job.dense_shapes().into_iter().enumerate();
    for layer in &job.network.layers {
        match (layer, layers.last_mut()) {
            (Layer::Relu, Some(last)) => "relu".clone_into(&mut last.activation),
            (Layer::Relu, None) => {}
            (Layer::Dense { .. }, _) => layers.extend(shapes.next().map(|(i, (inputs, units))| LayerFacts {
                weight: format!("layers.{i}.weight"),
                bias: format!("layers.{i}.bias"),
                inputs,
                units,
                activation: "identity".to_owned(),
            })),
        }
    }
    layers
}
