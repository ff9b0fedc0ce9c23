//! Newton's method: its keys, and what it asks of a job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use symbolon_core::{
    function::{self, linear_system},
    layer::AnyLayer,
    loss::AnyLoss,
    optimizer as core,
};

use super::{Dyadic, Invalid, Job, Refinements, Rule};

/// Newton's method, on all training records in each step. Public.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Newton {
    /// Adds `ridge / 2` times the weights' squares, but not the biases', to the records' summed
    /// loss.
    pub ridge: Dyadic,
    /// The curvature.
    pub curvature: Curvature,
}

/// The curvature that a step divides the gradient by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Curvature {
    /// A bound of the loss's curvature, the same in all steps: one step solves a squared error,
    /// others take tens, cheap ones.
    Fixed,
    /// The curvature at the weights, for a logistic loss, of each output by itself: few steps, each
    /// as costly as the first.
    Exact,
}

impl Newton {
    /// The ridge of a job that names none.
    pub const RIDGE: Dyadic = Dyadic { factor: 1, shift: 0 };
    /// Inputs of the layer, at most: a step solves a system of one more.
    const MAX_INPUTS: usize = 255;
}

/// Returns `log2(1 / c)` for the bound `c` on the loss's curvature; `None` where none is known.
fn curvature_bound_shift(loss: &AnyLoss) -> Option<u32> {
    match loss {
        AnyLoss::SquaredError(_) | AnyLoss::Huber(_) => Some(0),
        // Weights of classes would scale it.
        AnyLoss::SoftmaxCrossEntropy(own) => own.class_weights.units.is_empty().then_some(1),
        AnyLoss::Logistic(_) => Some(2),
    }
}

impl Job {
    /// Newton's method, if the job has it.
    pub(crate) fn newton(&self) -> Option<core::Newton> {
        let super::Optimizer::Newton(newton) = self.optimizer else { return None };
        let frac_bits = self.numbers.frac_bits;
        let curvature = match newton.curvature {
            Curvature::Fixed => core::Curvature::Fixed { shift: curvature_bound_shift(&self.loss).unwrap_or(0) },
            Curvature::Exact => core::Curvature::Exact { label_frac_bits: self.loss_numbers().label_frac_bits },
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
        let ridge = (newton.ridge.value() * f64::from(frac_bits).exp2()).round() as u64;
        Some(core::Newton {
            numbers: function::Numbers { ring_bits: self.numbers.ring_bits, frac_bits },
            inputs: self.data.features(),
            outputs: self.outputs(),
            count_log2: self.data.train_records.next_power_of_two().ilog2(),
            ridge,
            curvature,
        })
    }

    /// Whether the curvature is the information about the coefficients, not a bound of it: that of
    /// a squared error, and an exact one.
    fn has_information(&self) -> bool {
        match (self.newton().map(|newton| newton.curvature), &self.loss) {
            (Some(core::Curvature::Exact { .. }), _) => true,
            (Some(core::Curvature::Fixed { .. }), loss) => matches!(loss, AnyLoss::SquaredError(_)),
            (None, _) => false,
        }
    }

    /// Records of a step, but for the last of an epoch.
    pub fn step_records(&self) -> usize {
        match self.optimizer {
            super::Optimizer::Newton(_) | super::Optimizer::ClosedForm(_) => self.data.train_records,
            _ => self.training.batch,
        }
    }
}

/// Checks that the job suits its Newton's method.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    let refuse = |key: &str, rule| Err(Invalid { key: key.to_owned(), rule });
    if job.reveal.standard_errors && !(job.reveal.model && job.has_information()) {
        return refuse("reveal.standard_errors", Rule::StandardErrors);
    }
    let Some(newton) = job.newton() else { return Ok(()) };
    let laid = job.network();
    let nodes = laid.graph().nodes;
    if !matches!(nodes, [node] if matches!(node.layer, AnyLayer::Dense(dense) if !dense.each_step))
        || newton.inputs > Newton::MAX_INPUTS
    {
        return refuse("network.layers", Rule::NewtonLayers { most: Newton::MAX_INPUTS });
    }
    let exact = matches!(newton.curvature, core::Curvature::Exact { .. });
    if curvature_bound_shift(&job.loss).is_none() || exact && !matches!(job.loss, AnyLoss::Logistic(_)) {
        return refuse("optimizer.curvature", Rule::NewtonCurvature);
    }
    if job.refinements != Refinements::default() {
        return refuse("optimizer", Rule::NewtonAlone);
    }
    if job.data.copies() > 1 || job.data.may_lack_class() {
        return refuse("data", Rule::NewtonRecords);
    }
    if linear_system::check(&newton.numbers).is_err() || !newton.fits() {
        return refuse("numbers", Rule::NewtonNumbers);
    }
    Ok(())
}
