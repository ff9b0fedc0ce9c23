//! The public reals of a job as the servers compute with them.
//!
//! A rate or a decay becomes an integer over a power of two, with as many bits as the ring leaves
//! for it; the slope of a reading becomes an integer. A job whose numbers would become others is
//! refused when it is checked.

use symbolon_core::{loss::Describe as _, optimizer as core};

use super::{Adam, Dyadic, Invalid, Job, Line, Optimizer, Rule, Schedule};

/// A number may be computed as another within this fraction of it. The slack covers the rounding of
/// floats.
const TOLERANCE: f64 = (1.0 + 1e-9) / 64.0;

/// A public real of a job, and what the servers compute with instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Its key, as in the file.
    pub key: String,
    /// The number that the job gives; `None` for one that follows from other keys.
    pub asked: Option<f64>,
    /// The number that is computed with.
    pub effective: f64,
}

/// Reals as a job file gives them. A job holds them rounded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) learning_rate: Option<f64>,
    pub(super) momentum: Option<f64>,
    pub(super) weight_decay: Option<f64>,
}

/// Whether `effective` may stand for `asked`.
pub(super) fn close(asked: f64, effective: f64) -> bool {
    (effective - asked).abs() <= TOLERANCE * asked.abs()
}

impl Job {
    /// The public reals of this job, which is valid: the optimizer's first, then the slopes of
    /// readings.
    pub fn constants(&self) -> Vec<Constant> {
        let constant = |key: &str, asked, effective| Constant { key: key.to_owned(), asked, effective };
        let mut constants = match self.optimizer {
            Optimizer::Sgd { learning_rate } => {
                let (effective, _) = self.rate(self.sgd(learning_rate).grad_shift, learning_rate);
                vec![constant("optimizer.learning_rate", Some(learning_rate.value()), effective)]
            }
            Optimizer::Momentum { learning_rate, momentum } | Optimizer::Nesterov { learning_rate, momentum } => {
                let steps = self.momentum(learning_rate, momentum);
                let (effective, _) = self.rate(steps.above() + steps.weight_shift, learning_rate);
                vec![
                    constant("optimizer.learning_rate", Some(learning_rate.value()), effective),
                    constant("optimizer.momentum", Some(momentum.value()), momentum.value()),
                ]
            }
            Optimizer::Adam(adam) | Optimizer::AmsGrad(adam) | Optimizer::AdamW(adam) => {
                let beta1 = f64::from(Adam::BETA1_COMPLEMENT) * (-f64::from(Adam::BETA1_SHIFT)).exp2();
                let beta2 = (-f64::from(adam.second_shift())).exp2();
                vec![
                    constant(
                        "optimizer.learning_rate",
                        Some(adam.asked_rate(&self.numbers)),
                        adam.learning_rate(&self.numbers),
                    ),
                    constant("optimizer (1 - beta1)", None, beta1),
                    constant("optimizer (1 - beta2)", None, beta2),
                ]
            }
            Optimizer::Newton(newton) => {
                let unit = (-f64::from(self.numbers.frac_bits)).exp2();
                let effective = self.newton().map_or(0.0, |own| own.ridge as f64 * unit);
                vec![constant("optimizer.ridge", Some(newton.ridge.value()), effective)]
            }
            Optimizer::ClosedForm(own) => {
                let unit = (-f64::from(self.numbers.frac_bits)).exp2();
                let effective = self.closed_form().map_or(0.0, |own| own.effective_ridge() * unit);
                vec![constant("optimizer.ridge", Some(own.ridge.value()), effective)]
            }
        };
        let of_loss = self.loss.rounded(&self.loss_numbers());
        constants
            .extend(of_loss.map(|(key, asked, effective)| constant(&format!("loss.{key}"), Some(asked), effective)));
        constants.extend(self.refined());
        constants.extend(self.slopes());
        constants
    }

    /// The constants of clipping, weight decay and schedule: none of a job without them.
    fn refined(&self) -> Vec<Constant> {
        let own = &self.refinements;
        let unit = (-f64::from(self.numbers.frac_bits + self.sum_shift())).exp2();
        let constant = |key: &str, asked, effective| Constant { key: key.to_owned(), asked, effective };
        let mut all = Vec::new();
        if own.warm_up_steps > 0 || own.schedule != Schedule::Constant {
            let [first, last] = self.first_and_last_rate();
            all.push(constant("optimizer (first step's factor on the learning rate)", None, first));
            all.push(constant("optimizer (last step's factor on the learning rate)", None, last));
        }
        if let Some(clip) = own.clip {
            all.push(constant("optimizer.clip", Some(clip.value()), self.clip_bound(clip) as f64 * unit));
        }
        if let Some(clip) = own.clip_norm {
            all.push(constant("optimizer.clip_norm", Some(clip.value()), clip.value()));
        }
        if let Some(decay) = own.weight_decay {
            let (effective, _) = self.decay(decay.value());
            all.push(constant("optimizer.weight_decay", Some(decay.value()), effective));
        }
        all
    }

    /// The weight decay that is computed with in place of `decay`, and the nearest one that needs
    /// no rounding.
    fn decay(&self, decay: f64) -> (f64, f64) {
        let Optimizer::AdamW(adam) = self.optimizer else {
            let unit = (-f64::from(self.sum_shift())).exp2();
            let units = self.decay_units(decay);
            return (f64::from(units) * unit, f64::from(units.max(1)) * unit);
        };
        let Dyadic { factor, shift } = match self.numbers.ring_bits {
            32 => self.decoupled_decay().over::<u32>(0),
            _ => self.decoupled_decay().over::<u64>(0),
        };
        let rate = adam.asked_rate(&self.numbers);
        let real = |factor: u32| f64::from(factor) * (-f64::from(shift)).exp2() / rate;
        (real(factor), real(factor.max(1)))
    }

    /// [`core::Sgd`] with this job's numbers.
    pub(crate) fn sgd(&self, learning_rate: Dyadic) -> core::Sgd {
        let grad_shift = self.numbers.frac_bits + self.batch_log2();
        core::Sgd { learning_rate, grad_shift }
    }

    /// [`core::Momentum`] with this job's numbers.
    pub(crate) fn momentum(&self, learning_rate: Dyadic, momentum: Dyadic) -> core::Momentum {
        let numbers = &self.numbers;
        core::Momentum {
            learning_rate,
            momentum,
            grad_shift: self.grad_shift().unwrap_or(0),
            weight_shift: numbers.grad_frac_bits - numbers.frac_bits,
            narrow: numbers.ring_bits == 32,
        }
    }

    /// The learning rate that is computed with where a step truncates `bits` more than the rate's
    /// own, and the distance of two rates that the ring tells apart.
    fn rate(&self, bits: u32, rate: Dyadic) -> (f64, f64) {
        let Dyadic { factor, shift } = match self.numbers.ring_bits {
            32 => rate.over::<u32>(bits),
            _ => rate.over::<u64>(bits),
        };
        let effective = f64::from(factor) * (f64::from(bits) - f64::from(shift)).exp2();
        let finest = (f64::from(self.numbers.ring_bits - 2) - f64::from(bits)).min(f64::from(Dyadic::MAX_SHIFT));
        (effective, (-finest).exp2())
    }

    /// Each reading's slope. Readings of one width are scaled together.
    fn slopes(&self) -> Vec<Constant> {
        let (k, f) = (self.numbers.ring_bits, self.numbers.frac_bits);
        let slopes = |key: fn(usize) -> String, lines: Vec<Line>| {
            let extra = |bits: u32| {
                let own = lines.iter().filter(|line| line.bits == bits);
                own.filter_map(|line| line.extra_bits(k, f)).min().unwrap_or(0)
            };
            let extras = [1, 8, 16, 32].map(|bits| (bits, extra(bits)));
            let constant = |(i, line): (usize, &Line)| {
                let extra = extras.iter().find(|(bits, _)| *bits == line.bits).map_or(0, |(_, extra)| *extra);
                let unit = (-f64::from(f + extra)).exp2();
                let effective = line.integers(f + extra).0 as f64 * unit; // below 2^62; a float's rounding is finer
                Constant { key: key(i), asked: Some(line.slope), effective }
            };
            lines.iter().enumerate().map(constant).collect::<Vec<_>>()
        };
        let mut all = slopes(|i| format!("data.reports.features[{i}]"), self.data.lines());
        all.extend(slopes(|_| "data.reports.label".to_owned(), self.data.target_line().into_iter().collect()));
        all
    }

    /// Refuses a job that would compute with other numbers than the ones that it gives.
    pub(super) fn holds_numbers(&self, asked: &Asked) -> Result<(), Invalid> {
        let ring_bits = self.numbers.ring_bits;
        let refuse = |key: &str, rule| Err(Invalid { key: key.to_owned(), rule });
        let rate = |rate: Dyadic, (effective, finest): (f64, f64)| {
            let asked = asked.learning_rate.unwrap_or(rate.value());
            let works = (asked / finest).round().max(1.0) * finest;
            let rule = Rule::Rounded { asked, effective, ring_bits, works };
            if close(asked, effective) { Ok(()) } else { refuse("optimizer.learning_rate", rule) }
        };
        match self.optimizer {
            Optimizer::Sgd { learning_rate } => {
                rate(learning_rate, self.rate(self.sgd(learning_rate).grad_shift, learning_rate))?
            }
            Optimizer::Momentum { learning_rate, momentum } | Optimizer::Nesterov { learning_rate, momentum } => {
                let effective = momentum.value();
                let asked = asked.momentum.unwrap_or(effective);
                if !close(1.0 - asked, 1.0 - effective) {
                    return refuse("optimizer.momentum", Rule::Forgets { asked, effective, ring_bits });
                }
                let steps = self.momentum(learning_rate, momentum);
                rate(learning_rate, self.rate(steps.above() + steps.weight_shift, learning_rate))?;
            }
            Optimizer::Adam(_)
            | Optimizer::AmsGrad(_)
            | Optimizer::AdamW(_)
            | Optimizer::Newton(_)
            | Optimizer::ClosedForm(_) => {}
        }
        if let Some(decay) = self.refinements.weight_decay {
            let asked = asked.weight_decay.unwrap_or(decay.value());
            let (effective, works) = self.decay(decay.value());
            if !close(asked, effective) {
                return refuse("optimizer.weight_decay", Rule::Decay { asked, effective, works });
            }
        }
        let slopes = self.slopes();
        let other = slopes.iter().find(|slope| !close(slope.asked.unwrap_or(slope.effective), slope.effective));
        other.map_or(Ok(()), |slope| {
            let (asked, effective) = (slope.asked.unwrap_or_default(), slope.effective);
            refuse(&slope.key, Rule::Slope { asked, effective, ring_bits })
        })
    }
}
