//! An imported network as the model of a job.
//!
//! Networks are compared by what they compute on words: flattening and dropout do nothing in
//! inference, a ReLU before a maximum pool is one behind it, and a method of an activation, or how
//! a layer trains, are the job's own.

use super::{
    Head, Imported, OnnxError, layer,
    reader::{Parameter, Scaled},
    scale,
};
use crate::{
    job::{Affine, ColumnScale, Job, Network, Task},
    report::{Model, Tensor},
};
use std::fmt;
use symbolon_core::{
    layer::{AnyLayer, AveragePool, MaxPool, Origin, Shape},
    loss::{Activation, Describe as _},
};

/// A choice that an import made and the user should know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remark {
    /// The file scales no records: they come as the job's scale leaves them.
    Records,
    /// The file scales no outputs: they are as the job's scale makes targets.
    Targets,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Records => "the file does not scale its records: the network takes them as data.scale leaves them",
            Self::Targets => "the file does not scale its outputs: they are taken as targets that data.target scaled",
        })
    }
}

/// A layer, as networks are compared.
#[derive(Clone, Debug)]
struct Step {
    /// Its number in the network.
    index: usize,
    layer: AnyLayer,
    /// The steps that it reads; `None` is the records.
    inputs: Vec<Option<usize>>,
    /// Words of its result.
    words: usize,
}

/// The steps of a network, in order.
fn steps(network: &Network, shapes: &[Shape]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // The step that stands for each node.
    let mut of_node: Vec<Option<usize>> = Vec::new();
    let readers = |node: usize| {
        let reads = |origin| origin == Origin::Node(u16::try_from(node).unwrap_or(u16::MAX));
        network.nodes.iter().filter(|node| node.origins().any(reads)).count()
    };
    for (index, node) in network.nodes.iter().enumerate() {
        let step = |origin| match origin {
            Origin::Data => None,
            Origin::Node(i) => of_node.get(usize::from(i)).copied().flatten(),
        };
        let inputs: Vec<Option<usize>> = node.origins().map(step).collect();
        let before = inputs.first().copied().flatten();
        let alone = matches!(node.input, Origin::Node(i) if readers(usize::from(i)) == 1);
        let last = before.and_then(|i| steps.get(i)).map(|step| step.layer);
        match (node.layer, last) {
            (AnyLayer::Flatten(_) | AnyLayer::Dropout(_), _) => {
                of_node.push(before);
                continue;
            }
            (AnyLayer::Relu(_), Some(AnyLayer::MaxPool(pool))) if alone => {
                let at = before.unwrap_or_default();
                steps[at].layer = AnyLayer::MaxPool(MaxPool { relu: true, ..pool });
                of_node.push(before);
                continue;
            }
            (AnyLayer::MaxPool(pool), Some(AnyLayer::Relu(_))) if alone => {
                let at = before.unwrap_or_default();
                let layer = compared(AnyLayer::MaxPool(MaxPool { relu: true, ..pool }));
                steps[at] = Step { index, layer, inputs: steps[at].inputs.clone(), words: shapes[index].words() };
                of_node.push(before);
                continue;
            }
            _ => {}
        }
        steps.push(Step { index, layer: compared(node.layer), inputs, words: shapes[index].words() });
        of_node.push(Some(steps.len() - 1));
    }
    steps
}

/// A layer with what it leaves out filled in.
fn compared(layer: AnyLayer) -> AnyLayer {
    match layer {
        AnyLayer::MaxPool(pool) => {
            AnyLayer::MaxPool(MaxPool { stride: Some(pool.stride.unwrap_or(pool.window)), ..pool })
        }
        AnyLayer::AveragePool(pool) => {
            AnyLayer::AveragePool(AveragePool { stride: Some(pool.stride.unwrap_or(pool.window)), ..pool })
        }
        layer => layer,
    }
}

/// Whether two layers compute the same, but for their methods and how they train.
fn agree(a: &AnyLayer, b: &AnyLayer) -> bool {
    match (a, b) {
        (AnyLayer::Activation(a), AnyLayer::Activation(b)) => a.function.scalar == b.function.scalar,
        (AnyLayer::BatchNorm(_), AnyLayer::BatchNorm(_)) => true,
        (AnyLayer::Recurrent(a), AnyLayer::Recurrent(b)) => {
            (a.cell, a.units, a.states, a.reverse, a.initial_state)
                == (b.cell, b.units, b.states, b.reverse, b.initial_state)
        }
        (a, b) => a == b,
    }
}

/// Whether two numbers are the same but for the rounding to 32-bit floats.
fn near(a: f64, b: f64, size: f64) -> bool {
    (a - b).abs() <= 1e-6 * size.abs().max(a.abs())
}

fn same_affine(a: Affine, b: Affine) -> bool {
    near(a.divide, b.divide, 0.0) && near(a.offset, b.offset, b.divide)
}

const ONE: Affine = Affine { offset: 0.0, divide: 1.0 };

impl Imported {
    /// The tensors of the network as the model of `job`, under its layers' names, and remarks.
    ///
    /// # Errors
    ///
    /// [`OnnxError`] where network, scale or output are others than the job's.
    pub fn for_job(&self, job: &Job) -> Result<(Model, Vec<Remark>), OnnxError> {
        let laid = job.network();
        let shapes: Vec<Shape> = laid.graph().places.iter().map(|place| place.output).collect();
        let (mine, theirs) = (steps(&self.network, &self.shapes), steps(&job.network, &shapes));
        self.check_network(job, &mine, &theirs)?;
        self.check_head(job)?;
        let remarks = [self.check_scale(job)?, self.check_target(job)?].into_iter().flatten().collect();
        let mut tensors = Vec::new();
        for (mine, theirs) in mine.iter().zip(&theirs) {
            let (name, layer) = (&job.network.names[theirs.index], &job.network.nodes[theirs.index].layer);
            let parameters = own(self.parameters[mine.index].clone(), layer, job.numbers.frac_bits);
            let tensor = |(own, shape, values)| Tensor { name: format!("{name}.{own}"), shape, values };
            tensors.extend(parameters.into_iter().map(tensor));
        }
        tensors.sort_by(|a: &Tensor, b| a.name.cmp(&b.name));
        let mut notes = self.notes.clone();
        notes.remove("approximations");
        Ok((Model { tensors, notes }, remarks))
    }

    fn check_network(&self, job: &Job, mine: &[Step], theirs: &[Step]) -> Result<(), OnnxError> {
        let describe = |step: Option<&Step>| {
            step.map_or_else(|| "none".to_owned(), |step| format!("{:?} of {} words", step.layer, step.words))
        };
        let same = |a: &Step, b: &Step| agree(&a.layer, &b.layer) && a.inputs == b.inputs && a.words == b.words;
        let differ = (0..mine.len().max(theirs.len())).find(|i| match (mine.get(*i), theirs.get(*i)) {
            (Some(a), Some(b)) => !same(a, b),
            _ => true,
        });
        if let Some(at) = differ {
            return Err(OnnxError::Network { at, got: describe(mine.get(at)), want: describe(theirs.get(at)) });
        }
        let (got, want) = (self.input.words(), job.data.features());
        if got != want {
            let text = |words| format!("fed by records of {words} features");
            return Err(OnnxError::Network { at: 0, got: text(got), want: text(want) });
        }
        Ok(())
    }

    fn check_head(&self, job: &Job) -> Result<(), OnnxError> {
        let (Some(head), want) = (self.head, job.loss.activation()) else { return Ok(()) };
        let same = match head {
            Head::Softmax => want == Activation::Softmax,
            Head::Sigmoid => want == Activation::Sigmoid,
        };
        if same { Ok(()) } else { Err(OnnxError::Head { got: head.name(), want: want.name() }) }
    }

    fn check_scale(&self, job: &Job) -> Result<Option<Remark>, OnnxError> {
        let want = scale::columns(&job.data);
        let is_one = want.iter().all(|column| column.affine() == Some(ONE));
        let Some(scale) = &self.scale else { return Ok((!is_one).then_some(Remark::Records)) };
        let same = |(got, want): (&Scaled, &ColumnScale)| match (got, want) {
            (Scaled::By(got), ColumnScale::Affine(want)) => same_affine(*got, *want),
            (Scaled::Above(got), ColumnScale::Above(want)) => near(*got, scale::threshold(*want).into(), 0.0),
            _ => false,
        };
        match scale.iter().zip(&want).position(|pair| !same(pair)) {
            Some(feature) => Err(OnnxError::Scale { feature }),
            None => Ok(None),
        }
    }

    fn check_target(&self, job: &Job) -> Result<Option<Remark>, OnnxError> {
        let Task::Regression(want) = &job.data.task else {
            return if self.target.is_none() { Ok(None) } else { Err(OnnxError::Target) };
        };
        let is_one = want.iter().all(|target| *target == ONE);
        let Some(targets) = self.targets() else { return Ok((!is_one).then_some(Remark::Targets)) };
        let same = targets.len() == want.len() && targets.iter().zip(want).all(|(a, b)| same_affine(*a, *b));
        if same { Ok(None) } else { Err(OnnxError::Target) }
    }

    /// The scale of a regression's targets, one an output; `None` if the file has none.
    pub fn targets(&self) -> Option<Vec<Affine>> {
        // Outputs are `(x - offset) / divide` of the last layer's.
        let target = |scaled: &Scaled| match scaled {
            Scaled::By(Affine { offset, divide }) => Affine { offset: -offset / divide, divide: divide.recip() },
            Scaled::Above(_) => ONE,
        };
        self.target.as_ref().map(|scaled| scaled.iter().map(target).collect())
    }

    /// The scale of the features, one each; `None` if the file has none.
    pub fn scale(&self) -> Option<Vec<ColumnScale>> {
        let column = |scaled: &Scaled| match scaled {
            Scaled::By(affine) => ColumnScale::Affine(*affine),
            Scaled::Above(at) => ColumnScale::Above(*at),
        };
        self.scale.as_ref().map(|scaled| scaled.iter().map(column).collect())
    }
}

/// The parameters of a layer as the servers have them.
fn own(mut parameters: Vec<Parameter>, layer: &AnyLayer, frac_bits: u32) -> Vec<Parameter> {
    let AnyLayer::BatchNorm(layer) = layer else { return parameters };
    if let [(_, _, weights), _, _, (_, _, variances), (_, _, epsilon)] = &mut parameters[..] {
        let epsilon = epsilon.first().copied().unwrap_or_default();
        layer::batch_norm_parameters(*layer, frac_bits, epsilon, weights, variances);
    }
    parameters.truncate(4);
    parameters
}
