//! Optimizers and their public constants.

use serde::{Deserialize, Serialize};

use super::{ClosedForm, Invalid, Job, Newton, Numbers, Rule, kind::KindFile, rounding::close};
use schemars::JsonSchema;
pub use symbolon_core::dyadic::Dyadic;
use symbolon_core::optimizer as core;

/// No decay of a 64-bit ring has a larger factor: where 1 - decay is small, it takes more bits.
pub(super) const MAX_DECAY: u32 = u16::MAX as u32;

/// The constant for a decay: as [`Dyadic::nearest`], but in a 64-bit ring with up to 16 bits where
/// 1 - decay needs them. `None` outside of `(0, 1)` or where it would round to 1.
pub(super) fn decay(value: f64, ring_bits: u32) -> Option<Dyadic> {
    let nearest = Dyadic::nearest(value).filter(|_| value < 1.0)?;
    let holds = |decay: &Dyadic| close(1.0 - value, 1.0 - decay.value());
    let longer = (9..=16).filter(|_| ring_bits > 32).map(|shift| Dyadic::rounded(value, shift).reduced(0));
    let finest = Dyadic::rounded(value, if ring_bits > 32 { 16 } else { 8 }).reduced(0);
    let mut all = std::iter::once(nearest).chain(longer);
    all.find(holds).or(Some(finest)).filter(|decay| decay.factor > 0 && decay.value() < 1.0)
}

/// How weights follow gradients.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Optimizer {
    /// `w -= learning_rate * g`.
    Sgd {
        /// Public step size.
        learning_rate: Dyadic,
    },
    /// `u = momentum * u + g`, `w -= learning_rate * u`.
    Momentum {
        /// Public step size.
        learning_rate: Dyadic,
        /// Below 1.
        momentum: Dyadic,
    },
    /// `u = momentum * u + g`, `w -= learning_rate * (g + momentum * u)`.
    Nesterov {
        /// Public step size.
        learning_rate: Dyadic,
        /// Below 1.
        momentum: Dyadic,
    },
    /// Adam with buckets for the inverse square root.
    Adam(Adam),
    /// The same with the running maximum of the second moment.
    AmsGrad(Adam),
    /// Adam, and a weight decay that does not go through its moments.
    AdamW(Adam),
    /// Newton's method on all records at once, for one dense layer.
    Newton(Newton),
    /// Logistic regression from category counts, for one dense layer.
    ClosedForm(ClosedForm),
}

impl Optimizer {
    /// Adam's constants, of all optimizers that have them.
    pub fn adam(&self) -> Option<&Adam> {
        match self {
            Self::Adam(adam) | Self::AmsGrad(adam) | Self::AdamW(adam) => Some(adam),
            Self::Sgd { .. }
            | Self::Momentum { .. }
            | Self::Nesterov { .. }
            | Self::Newton(_)
            | Self::ClosedForm(_) => None,
        }
    }

    /// [`Self::adam`], to change it.
    pub fn adam_mut(&mut self) -> Option<&mut Adam> {
        match self {
            Self::Adam(adam) | Self::AmsGrad(adam) | Self::AdamW(adam) => Some(adam),
            Self::Sgd { .. }
            | Self::Momentum { .. }
            | Self::Nesterov { .. }
            | Self::Newton(_)
            | Self::ClosedForm(_) => None,
        }
    }

    /// The learning rate, of optimizers that multiply by it.
    pub fn learning_rate_mut(&mut self) -> Option<&mut Dyadic> {
        match self {
            Self::Sgd { learning_rate }
            | Self::Momentum { learning_rate, .. }
            | Self::Nesterov { learning_rate, .. } => Some(learning_rate),
            Self::Adam(_) | Self::AmsGrad(_) | Self::AdamW(_) | Self::Newton(_) | Self::ClosedForm(_) => None,
        }
    }
}

/// Clipping, weight decay and the schedule of the learning rate. Public.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Refinements {
    /// Steps in which the learning rate rises to its full size; 0 for none.
    pub warm_up_steps: u32,
    /// The learning rate after them.
    pub schedule: Schedule,
    /// The bound of each mean gradient.
    pub clip: Option<Dyadic>,
    /// The largest norm of the whole mean gradient.
    pub clip_norm: Option<Dyadic>,
    /// Added to the gradient times the weight; of AdamW, taken off the weight times the learning
    /// rate.
    pub weight_decay: Option<Dyadic>,
}

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// It does not.
    #[default]
    Constant,
    /// Times `factor` after each `every_epochs` epochs.
    Step {
        /// 1 at least.
        every_epochs: u32,
        /// Below 1.
        factor: Dyadic,
    },
    /// Half a cosine down to almost 0 in the job's last step.
    Cosine,
}

/// `schedule` as a job file gives it.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum ScheduleFile {
    /// The learning rate stays as it is.
    #[default]
    Constant,
    /// Multiplies the learning rate by a factor after every few epochs.
    Step {
        /// Epochs between two changes: 1 or more.
        every_epochs: u32,
        /// Above 0 and below 1.
        factor: f64,
    },
    /// Half a cosine down to almost 0 in the job's last step.
    Cosine,
}

/// Reads a file's schedule.
pub(super) fn schedule(file: Option<KindFile>) -> Result<ScheduleFile, Invalid> {
    let Some(file) = file else { return Ok(ScheduleFile::Constant) };
    let broken = |rule| Invalid { key: "optimizer.schedule".to_owned(), rule };
    let (kind, mut table) = file.parts().map_err(broken)?;
    if let Some(table) = table.as_object_mut() {
        table.insert("kind".to_owned(), kind.clone().into());
    }
    serde_json::from_value(table).map_err(|error| broken(Rule::KindNumbers { kind, error: error.to_string() }))
}

impl Job {
    /// The optimizer with all that goes before its step, in this job's numbers.
    pub(crate) fn recipe(&self) -> core::Recipe {
        let grad_shift = self.grad_shift().unwrap_or(0);
        let by = |adam: Adam| core::Adam { mapped_root: adam.mapped_root(&self.numbers), ..adam.core(grad_shift) };
        let optimizer: core::AnyOptimizer = match self.optimizer {
            Optimizer::Sgd { learning_rate } => self.sgd(learning_rate).into(),
            Optimizer::Momentum { learning_rate, momentum } => self.momentum(learning_rate, momentum).into(),
            Optimizer::Nesterov { learning_rate, momentum } => {
                core::Nesterov(self.momentum(learning_rate, momentum)).into()
            }
            Optimizer::Adam(adam) => by(adam).into(),
            Optimizer::AmsGrad(adam) => core::AmsGrad(by(adam)).into(),
            Optimizer::AdamW(adam) => core::AdamW { adam: by(adam), decay: self.decoupled_decay() }.into(),
            Optimizer::Newton(_) => self.newton().expect("the job has it").into(),
            Optimizer::ClosedForm(_) => self.closed_form().expect("the job has it").into(),
        };
        let coupled = self.refinements.weight_decay.filter(|_| !matches!(self.optimizer, Optimizer::AdamW(_)));
        core::Recipe {
            optimizer,
            schedule: self.schedule(),
            clip: self.refinements.clip.map(|clip| core::Clip { bound: self.clip_bound(clip) }),
            decay: coupled.map(|decay| core::Coupled { units: self.decay_units(decay.value()) }),
        }
    }

    /// Clipping by norm, in this job's numbers. The gradient is a sum over the batch.
    pub(crate) fn norm_clip(&self) -> Option<core::NormClip> {
        let frac_bits = self.numbers.frac_bits + self.sum_shift();
        self.refinements.clip_norm.map(|clip| core::NormClip { frac_bits, bound: clip.value() })
    }

    /// The schedule in steps.
    fn schedule(&self) -> core::Schedule {
        let (warm_up, steps) = (self.refinements.warm_up_steps.into(), self.steps_per_epoch() as u64);
        let decline = match self.refinements.schedule {
            Schedule::Constant => core::Decline::Constant,
            Schedule::Step { every_epochs, factor } => {
                core::Decline::Step { every: u64::from(every_epochs) * steps, factor }
            }
            Schedule::Cosine => core::Decline::Cosine {
                steps: (u64::from(self.training.epochs) * steps).saturating_sub(warm_up).max(1),
            },
        };
        core::Schedule { warm_up, decline }
    }

    /// The schedule's factors in the first and in the last step.
    pub(super) fn first_and_last_rate(&self) -> [f64; 2] {
        let last = u64::from(self.training.epochs) * self.steps_per_epoch() as u64;
        [0, last.saturating_sub(1)].map(|step| self.schedule().rate(step).value())
    }

    /// Bits of a summed gradient beyond those of weights.
    pub(super) fn sum_shift(&self) -> u32 {
        self.numbers.frac_bits + self.batch_log2()
    }

    /// The bound of clipped gradients in units of their sum; `u64::MAX` where it has no room.
    pub(super) fn clip_bound(&self, clip: Dyadic) -> u64 {
        let units = clip.value() * f64::from(self.numbers.frac_bits + self.sum_shift()).exp2();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
        let units = units.round() as u64;
        units
    }

    /// A coupled decay as the gradient holds it.
    pub(super) fn decay_units(&self, decay: f64) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
        let units = (decay * f64::from(self.sum_shift()).exp2()).round() as u32;
        units
    }

    /// AdamW's decay times its learning rate; the least constant where it has no other.
    pub(super) fn decoupled_decay(&self) -> Dyadic {
        let rate = self.optimizer.adam().map_or(0.0, |adam| adam.asked_rate(&self.numbers));
        let decay = self.refinements.weight_decay.map_or(0.0, Dyadic::value);
        Dyadic::nearest(rate * decay).unwrap_or(Dyadic { factor: 1, shift: Dyadic::MAX_SHIFT })
    }
}

/// Adam in powers of two: `m += 410/4096 (g - m)`, `v += (g^2 - v) / 2^10`, `w -= m >> s(v)`.
///
/// `s` is `shift` for `v < 2^first_threshold_log2`, one more for each factor of four above, and
/// `shift + buckets - 1` in the topmost bucket. `v` has `2 fg` fraction bits, `m` has `fg`, `w` has
/// `f`. The lowest bucket stands in for epsilon.
///
/// Left out, `first_threshold_log2 = 2` and `buckets` are as many as cover every `v` that the ring
/// holds. A learning rate of 0.001, the default, has `shift = 9 - f + first_threshold_log2 / 2`:
/// its step is that of Adam in floating point within a factor of two wherever `v` is 4 units or
/// more. Another rate has as many less in `shift` as it has doublings, `floor(log2(learning_rate /
/// 0.001))`, and the rest, from 1 to 2, is the public factor `rate`, in eight bits. A job that
/// declares fewer buckets costs less (7 buckets and `first_threshold_log2 = 2 fg - 26` fit a
/// classifier in batches of 128); there, second moments outside of the window are taken for its
/// ends, so that steps above it grow with the gradient and below it vanish: audit such a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Base-two logarithm of the first threshold on `v`.
    pub first_threshold_log2: u32,
    /// Buckets, one more than thresholds.
    pub buckets: u32,
    /// Shift of the lowest bucket.
    pub shift: i32,
    /// Multiplies all steps: from 1 to 2, 1 in a job that leaves the learning rate out.
    pub rate: Dyadic,
    /// Steps that a choice of buckets is kept for, after [`core::Adam::FRESH_STEPS`]; 1 chooses in
    /// each.
    pub refresh_every: u32,
    /// Whether `v` is updated only where buckets are chosen anew, by a larger step to match;
    /// `refresh_every` is 4 then.
    pub lazy_second_moment: bool,
    /// Whether the inverse root is mapped, not a bucket's; buckets are all then.
    pub precise: bool,
    /// Whether the first steps are enlarged by the public factors `sqrt(1 - beta2^t) / (1 -
    /// beta1^t)`.
    pub bias_correction: bool,
}

impl Adam {
    /// `1 - beta1` is this over 4096.
    pub const BETA1_COMPLEMENT: u32 = 410;
    /// Its denominator's logarithm.
    pub const BETA1_SHIFT: u32 = 12;
    /// `1 - beta2` is `2^-10`.
    pub const BETA2_SHIFT: u32 = 10;
    /// The first threshold on `v` where a job names none: 4 units.
    pub const FIRST_THRESHOLD_LOG2: u32 = 2;
    /// Steps that one update of `v` stands for in a lazy job.
    pub const LAZY_REFRESH: u32 = 4;
    /// The learning rate of a job that names none.
    pub const LEARNING_RATE: f64 = 0.001;
    /// Bits of [`Adam::rate`].
    const RATE_BITS: i32 = 7;

    /// Buckets from `2^first_threshold_log2` on that cover every `v` of a word.
    pub fn all_buckets(ring_bits: u32, second_shift: u32, first_threshold_log2: u32) -> u32 {
        core::Adam::thresholds(ring_bits, second_shift, first_threshold_log2) + 1
    }

    /// The default for these numbers.
    pub fn for_numbers(numbers: &Numbers) -> Self {
        Self {
            first_threshold_log2: Self::FIRST_THRESHOLD_LOG2,
            buckets: Self::all_buckets(numbers.ring_bits, Self::BETA2_SHIFT, Self::FIRST_THRESHOLD_LOG2),
            shift: Self::default_shift(numbers, Self::FIRST_THRESHOLD_LOG2),
            rate: Dyadic { factor: 1, shift: 0 },
            refresh_every: 1,
            lazy_second_moment: false,
            precise: false,
            bias_correction: false,
        }
    }

    /// The shift of the lowest bucket for a learning rate of 0.001.
    pub fn default_shift(numbers: &Numbers, first_threshold_log2: u32) -> i32 {
        (9 + first_threshold_log2 / 2).cast_signed() - numbers.frac_bits.cast_signed()
    }

    /// Buckets from this optimizer's first threshold on that cover every `v` of a word.
    pub fn most_buckets(&self, ring_bits: u32) -> u32 {
        Self::all_buckets(ring_bits, self.second_shift(), self.first_threshold_log2)
    }

    /// Base-two logarithms of the first and the last threshold on `v`: below the first it is in the
    /// lowest bucket, from the last on in the top one.
    pub fn window(&self) -> (u32, u32) {
        (self.first_threshold_log2, self.first_threshold_log2 + 2 * self.buckets.saturating_sub(2))
    }

    /// The shift and the public factor that a learning rate becomes; `None` for one that is not
    /// positive and finite.
    pub fn steps_of(learning_rate: f64, numbers: &Numbers, first_threshold_log2: u32) -> Option<(i32, Dyadic)> {
        let ratio = learning_rate / Self::LEARNING_RATE;
        if !(ratio > 0.0 && ratio.is_finite()) {
            return None;
        }
        // Below 2^11 in size, since a float's exponent is.
        #[expect(clippy::cast_possible_truncation, reason = "a float's exponent")]
        let doublings = ratio.log2().floor() as i32;
        let rest = ratio * f64::from(Self::RATE_BITS - doublings).exp2();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "127 to 256")]
        let factor = rest.round() as u32;
        let carry = i32::from(factor == 1 << (Self::RATE_BITS + 1));
        let rate = Dyadic { factor: factor >> carry, shift: Self::RATE_BITS.cast_unsigned() }.reduced(0);
        Some((Self::default_shift(numbers, first_threshold_log2) - doublings - carry, rate))
    }

    /// The learning rate that a job file gives for these steps.
    pub fn asked_rate(&self, numbers: &Numbers) -> f64 {
        let doublings = f64::from(Self::default_shift(numbers, self.first_threshold_log2)) - f64::from(self.shift);
        Self::LEARNING_RATE * doublings.exp2() * self.rate.value()
    }

    /// The learning rate that the buckets stand for, where `v` is just above a threshold; at most
    /// twice this in the bucket.
    pub fn learning_rate(&self, numbers: &Numbers) -> f64 {
        let shift = f64::from(numbers.frac_bits + 1) + f64::from(self.shift);
        (f64::from(self.first_threshold_log2) / 2.0 - shift).exp2() * self.rate.value()
    }

    /// Low bits of `v` that a mapped inverse root drops: in a ring of 64 bits a gradient of 8 is
    /// the largest, root mean square, that has a root of its own.
    pub(crate) fn mapped_root(&self, numbers: &Numbers) -> Option<u32> {
        let dropped = if numbers.ring_bits == 32 { 4 } else { (2 * numbers.grad_frac_bits).saturating_sub(30) };
        self.precise.then_some(dropped)
    }

    /// Bits that a step's product loses beyond those of a bucket's.
    pub(super) fn surplus(&self, numbers: &Numbers) -> u32 {
        let core = core::Adam { mapped_root: self.mapped_root(numbers), ..self.core(0) };
        core.surplus(numbers.ring_bits)
    }

    /// [`core::Adam`] with this shift of the gradient, by buckets.
    pub(crate) fn core(&self, grad_shift: u32) -> core::Adam {
        core::Adam {
            grad_shift,
            first_threshold_log2: self.first_threshold_log2,
            thresholds: self.buckets - 1,
            shift: self.shift,
            second_shift: self.second_shift(),
            lazy_second_moment: self.lazy_second_moment,
            refresh_every: self.refresh_every,
            mapped_root: None,
            bias_correction: self.bias_correction,
            rate: self.rate,
        }
    }

    /// `1 - beta2` is `2^-second_shift`: [`Adam::BETA2_SHIFT`], or two less where one update of `v`
    /// stands for four.
    pub fn second_shift(&self) -> u32 {
        Self::second_shift_if(self.lazy_second_moment)
    }

    /// [`Self::second_shift`] of a lazy optimizer, or of another.
    pub fn second_shift_if(lazy_second_moment: bool) -> u32 {
        Self::BETA2_SHIFT - if lazy_second_moment { Self::LAZY_REFRESH.ilog2() } else { 0 }
    }
}
