//! The network of a job as ranges of one flat parameter buffer.

use crate::job::{Job, Layer};
use std::ops::Range;

/// A dense layer: `z = x w + bias`, then a ReLU unless it is the last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dense {
    /// Columns of `x`.
    pub inputs: usize,
    /// Columns of `z`.
    pub units: usize,
    /// First parameter: `inputs` rows of `units` weights, then `units` biases.
    pub at: usize,
    /// Whether a ReLU follows.
    pub relu: bool,
}

impl Dense {
    /// The weights in the flat buffer, row after row.
    pub fn weights(&self) -> Range<usize> {
        self.at..self.at + self.inputs * self.units
    }
    /// The biases in the flat buffer.
    pub fn bias(&self) -> Range<usize> {
        self.weights().end..self.weights().end + self.units
    }
}

/// The dense layers of `job`, first to last.
pub fn layers(job: &Job) -> Vec<Dense> {
    let mut at = 0;
    let relu = |i: usize| {
        let dense = job.network.layers.iter().enumerate().filter(|(_, l)| matches!(l, Layer::Dense { .. }));
        dense.map(|(j, _)| j).nth(i).and_then(|j| job.network.layers.get(j + 1)) == Some(&Layer::Relu)
    };
    let shapes = job.dense_shapes().into_iter().enumerate();
    shapes
        .map(|(i, (inputs, units))| {
            let layer = Dense { inputs, units, at, relu: relu(i) };
            at = layer.bias().end;
            layer
        })
        .collect()
}
