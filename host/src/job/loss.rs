//! The loss of a job: how a job file names it, and the numbers that it is computed in.

use super::{Invalid, Job, Rule, Task, kind::KindFile};
use symbolon_core::loss::{Activation, AnyLoss, Describe, Numbers};

const KEY: &str = "loss";

fn broken(rule: Rule) -> Invalid {
    Invalid { key: KEY.to_owned(), rule }
}

/// Returns the loss that a file names.
pub(super) fn resolve(file: KindFile) -> Result<AnyLoss, Invalid> {
    let (name, numbers) = file.parts().map_err(broken)?;
    let loss = AnyLoss::read(&name, numbers).ok_or_else(|| broken(Rule::LossKind { got: name.clone() }))?;
    loss.map_err(|error| broken(Rule::KindNumbers { kind: name, error: error.to_string() }))
}

/// Checks the loss of a job whose network is valid.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    if job.loss.needs_classes() && !matches!(job.data.task, Task::Classes(_)) {
        return Err(broken(Rule::LossNeedsClasses { kind: job.loss.kind() }));
    }
    if job.loss.activation() == Activation::Sigmoid
        && let Some(line) = job.data.target_line()
    {
        let [least, greatest] = line.ends();
        if least < 0.0 || greatest > 1.0 {
            return Err(Invalid { key: "data.target".to_owned(), rule: Rule::Probabilities { least, greatest } });
        }
    }
    job.loss.check(&job.loss_numbers()).map_err(|error| broken(Rule::Loss { error }))
}

impl Job {
    /// The numbers that the loss is computed in.
    pub fn loss_numbers(&self) -> Numbers {
        let frac_bits = self.numbers.frac_bits;
        Numbers {
            ring_bits: self.numbers.ring_bits,
            outputs: self.outputs(),
            frac_bits,
            output_frac_bits: self.laid().map_or(2 * frac_bits, |laid| laid.graph().output_frac_bits()),
            label_frac_bits: match self.data.task {
                Task::Classes(_) => 0,
                Task::Regression(_) => frac_bits,
            },
        }
    }

    /// The terms that a record adds to the loss.
    pub fn loss_terms(&self) -> usize {
        self.loss.terms(self.outputs())
    }
}
