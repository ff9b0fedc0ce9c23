//! Logistic regression in closed form: its keys, and what it asks of a job.

use serde::{Deserialize, Serialize};
use symbolon_core::{
    function::{
        self,
        method::{Function, FunctionFile, Method, mapping::Mapping},
        scalar::{AnyScalar, Logarithm, Reciprocal},
    },
    layer::AnyLayer,
    loss::AnyLoss,
    optimizer::{self as core, FunctionOfCounts},
};

use super::{Dyadic, Format, Invalid, Job, Refinements, RevealLoss, Rule, Task};

/// Logistic regression in closed form, from counts over all training records. Public.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ClosedForm {
    /// Features that are chosen.
    pub features: usize,
    /// Adds `ridge / 2` times the weights' squares, but not the biases', to the records' summed
    /// loss.
    pub ridge: Dyadic,
    /// The reciprocal of a category's records.
    pub reciprocal: FunctionOfCounts,
    /// The logarithm of counts.
    pub logarithm: FunctionOfCounts,
}

/// The method that a file gives `scalar`; the direct protocol, if it is left out.
fn of_counts(key: &str, file: Option<FunctionFile>, scalar: AnyScalar) -> Result<FunctionOfCounts, Invalid> {
    let Some(file) = file else { return Ok(FunctionOfCounts::Direct) };
    let invalid = |error: String| {
        let rule = Rule::KindNumbers { kind: scalar.name().to_owned(), error };
        Invalid { key: key.to_owned(), rule }
    };
    let by_default = file.method.is_none();
    match FunctionFile::of(file, scalar).map_err(invalid)? {
        Function { method: Method::Direct, .. } => Ok(FunctionOfCounts::Direct),
        Function { method: Method::Auto, .. } if by_default => Ok(FunctionOfCounts::Direct),
        Function { method: Method::Mapping(Mapping { bits, degree, interval }), .. } if interval == Mapping::UNSET => {
            Ok(FunctionOfCounts::Mapping { bits, degree })
        }
        _ => Err(invalid("give method = \"direct\", or a mapping's bits and degree".to_owned())),
    }
}

impl ClosedForm {
    /// From the keys of a file.
    pub(super) fn read(
        features: usize,
        ridge: Option<Dyadic>,
        [reciprocal, logarithm]: [Option<FunctionFile>; 2],
    ) -> Result<Self, Invalid> {
        let reciprocal = of_counts("optimizer.reciprocal", reciprocal, AnyScalar::Reciprocal(Reciprocal {}))?;
        let logarithm = of_counts("optimizer.logarithm", logarithm, AnyScalar::Logarithm(Logarithm {}))?;
        Ok(Self { features, ridge: ridge.unwrap_or(super::Newton::RIDGE), reciprocal, logarithm })
    }
}

impl Job {
    /// Logistic regression in closed form, if the job has it.
    pub(crate) fn closed_form(&self) -> Option<core::ClosedForm> {
        let super::Optimizer::ClosedForm(own) = self.optimizer else { return None };
        let super::Numbers { ring_bits, frac_bits, .. } = self.numbers;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
        let ridge = (own.ridge.value() * f64::from(frac_bits).exp2()).round() as u64;
        Some(core::ClosedForm {
            numbers: function::Numbers { ring_bits, frac_bits },
            inputs: self.data.features(),
            chosen: own.features,
            records: self.data.train_records,
            ridge,
            reciprocal: own.reciprocal,
            logarithm: own.logarithm,
        })
    }
}

/// Whether the network is one dense layer of two logistic outputs, one for each class.
fn has_two_logits(job: &Job) -> bool {
    let laid = job.network();
    let is_dense =
        matches!(laid.graph().nodes, [node] if matches!(node.layer, AnyLayer::Dense(dense) if !dense.each_step));
    is_dense && matches!(job.loss, AnyLoss::Logistic(_)) && matches!(job.data.task, Task::Classes(2))
}

/// Checks that the job suits its closed form.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    let Some(method) = job.closed_form() else { return Ok(()) };
    let hold = |kept: bool, key: &str, rule| if kept { Ok(()) } else { Err(Invalid { key: key.to_owned(), rule }) };
    let most = core::ClosedForm::MAX_INPUTS;
    hold(has_two_logits(job) && method.inputs <= most, "network.layers", Rule::ClosedFormLayers { most })?;
    let (got, max) = (method.chosen as u64, method.inputs.min(core::ClosedForm::MAX_CHOSEN) as u64);
    hold((1..=max).contains(&got), "optimizer.features", Rule::Between { got, min: 1, max })?;
    hold(job.refinements == Refinements::default(), "optimizer", Rule::ClosedFormAlone)?;
    hold(job.training.epochs == 1, "training.epochs", Rule::ClosedFormOnce)?;
    hold(job.data.copies() == 1, "data.augment.copies", Rule::UnusedBy { by: "closed-form" })?;
    hold(!matches!(job.data.format, Format::Reports(_)), "data.reports", Rule::ClosedFormReports)?;
    hold(job.reveal.loss == RevealLoss::Never, "reveal.loss", Rule::ClosedFormLoss)?;
    hold(method.fits(), "numbers", Rule::ClosedFormNumbers { least: core::ClosedForm::MIN_FRAC_BITS })?;
    method.check().or_else(|error| hold(false, "optimizer", Rule::CountFunction { error }))
}
