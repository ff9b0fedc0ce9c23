//! The shape of a job file. It is looser than [`Job`]: defaults are left out, and choices are keys.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use symbolon_core::{
    function::{self, method::FunctionFile},
    layer::Shape,
    loss::AnyLoss,
    metric::AnyMetric,
};

use super::csv::CsvFile;
use super::kind::{KindFile, KindOr};
use super::metrics;
use super::network::NetworkFile;
use super::one_or_more::OneOrMore;
use super::optimizer::{self, ScheduleFile};
use super::reveal::{RevealFile, RevealLoss};
use super::source::{ReportsFile, Rest, Source};
use super::{
    Adam, Affine, Asked, Augment, Cifar10, Cifar100, ClosedForm, Curvature, Data, Dyadic, Format, Idx, Invalid, Job,
    JobError, Lanes, Newton, Npy, Npz, Numbers, Optimizer, Prg, Refinements, Rule, Scale, Schedule, Task, Training,
    VERSION, loss, validate,
};

/// A job file: what is trained, on what, in which numbers, and what is revealed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JobFile {
    /// Version of the format: 2.
    #[serde(rename = "version")]
    _version: u8,
    /// Name for logs and reports: 1 to 64 letters, digits, `.`, `_` or `-`.
    name: String,
    /// The records: where they come from and how they become numbers. Exactly one of `idx`, `csv`,
    /// `cifar10`, `cifar100`, `npy`, `npz` and `reports`.
    data: DataFile,
    /// Word size, fixed point and generator.
    #[serde(default)]
    numbers: NumbersFile,
    /// The model.
    network: NetworkFile,
    /// The loss that training minimises: a kind, or a table with a `kind` and its numbers, as
    /// `{ kind = "huber", delta = 1.0 }`.
    #[schemars(with = "KindOr<AnyLoss>")]
    loss: KindFile,
    /// Epochs, batches and their order.
    training: Training,
    /// How weights follow gradients.
    optimizer: OptimizerFile,
    /// How work is cut.
    #[serde(default)]
    lanes: Lanes,
    /// The metrics that are measured on the test records: kinds, or tables with a `kind` and its
    /// numbers, as `{ kind = "top-k", k = 3 }`. The accuracy of classes or the mean squared error
    /// of a regression, if left out.
    #[schemars(with = "Option<Vec<KindOr<AnyMetric>>>")]
    metrics: Option<Vec<KindFile>>,
    /// The outputs, opened to the analyst alone.
    #[serde(default)]
    reveal: RevealFile,
    /// The kept model, `NAME:VERSION`, whose parameters training begins with; fresh ones, if left
    /// out. Its network, shape, scale, task and fraction bits have to be those of this job.
    from: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DataFile {
    /// Shape of a record: `[features]`, `[steps, features]` of a sequence, or
    /// `[channels, height, width]`; 65,536 features at most. Jobs that learn from reports take the
    /// number of features from the schema; a shape that they give has to have as many.
    shape: Option<Vec<u32>>,
    /// Records to train on; jobs that learn from reports take it from the manifest.
    train_records: Option<usize>,
    /// Records to evaluate on, 0 for none; jobs that learn from reports take it from the manifest.
    test_records: Option<usize>,
    /// Number of classes, 2 to 255, of a classification; labels are `0 .. classes`.
    classes: Option<usize>,
    /// Labels of a record, each a class: 1, if left out; 2 to 4,096 for a network whose output is
    /// `[labels_per_record, classes]`, one label a step. Needs `npy` or `npz`.
    labels_per_record: Option<usize>,
    /// Public scale of the target of a regression, `(raw - offset) / divide`; a list of them for
    /// several targets, one per output of the network.
    target: Option<OneOrMore<Affine>>,
    /// Public scale of the features.
    scale: Scale,
    /// Moved and mirrored copies of the training images, which the data owner makes.
    augment: Option<Augment>,
    /// IDX files, plain or gzip.
    idx: Option<Idx>,
    /// CSV files, plain or gzip.
    csv: Option<CsvFile>,
    /// Files of CIFAR-10's binary version, plain or gzip; `shape = [3072]`, `classes = 10`.
    cifar10: Option<Cifar10>,
    /// Files of CIFAR-100's binary version, plain or gzip; `shape = [3072]`.
    cifar100: Option<Cifar100>,
    /// NPY files of numpy, plain or gzip.
    npy: Option<Npy>,
    /// An NPZ file of numpy.
    npz: Option<Npz>,
    /// Reports of devices that the servers hold.
    reports: Option<ReportsFile>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NumbersFile {
    /// Bits of a word: 32 or 64; 64, if left out.
    ring_bits: Option<u32>,
    /// Fraction bits of values: 4 to 24 (12, if left out), at `ring_bits = 32` 4 to 12 (11).
    frac_bits: Option<u32>,
    /// Fraction bits of the mean gradient: from `frac_bits` to 31 (19 or `frac_bits`, if left out),
    /// at `ring_bits = 32` to 15 (15).
    grad_frac_bits: Option<u32>,
    /// The generator that expands seeds; `aes128-ctr`, if left out.
    prg: Option<Prg>,
}

#[derive(Clone, Copy, Eq, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// `w -= learning_rate * g`.
    Sgd,
    /// `u = momentum * u + g`, `w -= learning_rate * u`.
    Momentum,
    /// `u = momentum * u + g`, `w -= learning_rate * (g + momentum * u)`.
    Nesterov,
    /// Adam with buckets for the inverse square root.
    Adam,
    /// The same with the running maximum of the second moment.
    AmsGrad,
    /// Adam, and a weight decay that does not go through its moments.
    AdamW,
    /// Newton's method on all training records in each step, one an epoch; for a network of one
    /// dense layer. `training.batch` is how many records pass at a time.
    Newton,
    /// Logistic regression in closed form, from counts over all training records, in one epoch; for
    /// features that are 0 or 1, two classes and a network of one dense layer. `training.batch` is
    /// how many records pass at a time.
    #[serde(rename = "closed-form")]
    ClosedForm,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OptimizerFile {
    /// The optimizer. `sgd`, `momentum` and `nesterov` need `learning_rate`; the last two need
    /// `momentum`. The others take Adam's keys: `first_threshold_log2`, `buckets`, `refresh_every`,
    /// `lazy_second_moment`, `bias_correction`. `newton` takes only `ridge` and `curvature`;
    /// `closed-form` only `features`, `ridge`, `reciprocal` and `logarithm`.
    kind: Kind,
    /// Step size, above 0 and up to 255; of Adam, AMSGrad and AdamW 0.001, if left out. `symbolon
    /// plan` prints the number that is computed with.
    learning_rate: Option<f64>,
    /// Steps in which the learning rate rises linearly; 0, if left out.
    warm_up_steps: Option<u32>,
    /// The learning rate after the warm-up: `constant`, if left out, `cosine`, or
    /// `{ kind = "step", every_epochs = 2, factor = 0.5 }`.
    #[schemars(with = "Option<KindOr<ScheduleFile>>")]
    schedule: Option<KindFile>,
    /// Clips each element of the mean gradient to `[-clip, clip]`, by value and not by norm; above
    /// 0, up to 255. Off, if left out.
    clip: Option<f64>,
    /// Scales the mean gradient so that the norm of all its elements is at most this; needs
    /// `ring_bits = 64`, and `2 frac_bits + log2(batch)` of at most 50. A norm of 4,096 and more is
    /// not noticed. Off, if left out.
    clip_norm: Option<f64>,
    /// Above 0 and below 1. `sgd`, `momentum`, `nesterov`: adds `weight_decay * w` to the gradient;
    /// off, if left out. `adamw`: subtracts `learning_rate * weight_decay * w` from the weight;
    /// 0.01, if left out. `adam` and `amsgrad` do not take it.
    weight_decay: Option<f64>,
    /// Decay of the velocity, above 0 and below 1.
    momentum: Option<f64>,
    /// Base-two logarithm of the upper end of the lowest bucket, in units of `v`
    /// (`2^(-2 grad_frac_bits)`); 2, if left out.
    first_threshold_log2: Option<u32>,
    /// Number of Adam's buckets of the second moment `v`, each a factor of four wide. If left out,
    /// they cover every `v` of the ring. Fewer cost less; a `v` outside them counts as in the
    /// nearest bucket.
    buckets: Option<u32>,
    /// Steps between two choices of Adam's buckets, 1 to 256, after 16 steps that all choose; 1, if
    /// left out.
    refresh_every: Option<u32>,
    /// Updates `v` only in steps that choose buckets; needs `refresh_every = 4`. False, if left
    /// out.
    lazy_second_moment: Option<bool>,
    /// How `adam` and `adamw` find the inverse root of `v`: within a factor of two by "buckets", or
    /// by a "mapping", so that steps are within a few percent of those of floating point, for more
    /// rounds and bytes and without `buckets` and `first_threshold_log2`. "buckets", if left out.
    inverse_root: Option<InverseRoot>,
    /// Whether the first steps are enlarged by `sqrt(1 - beta2^t) / (1 - beta1^t)`. False, if left
    /// out.
    bias_correction: Option<bool>,
    /// Of `newton` and `closed-form`: half of this times the sum of the squared weights, without
    /// biases, is added to the loss summed over all records; above 0, up to 255. 1, if left out.
    ridge: Option<f64>,
    /// Of `newton`: "fixed" bounds the loss's curvature, so that its inverse is made once; one step
    /// solves a squared error, a logistic loss or a softmax take some tens. "exact" is for a
    /// logistic loss: few steps, each as costly as the first. "fixed", if left out.
    curvature: Option<Curvature>,
    /// Of `closed-form`: how many features are chosen, by their correlation with the class: 1 to 8.
    /// All, if left out.
    features: Option<usize>,
    /// Of `closed-form`: how the reciprocal of counts is computed: `{ method = "direct" }`, if left
    /// out, or a mapping's `{ bits = 8, degree = 3 }`.
    reciprocal: Option<FunctionFile>,
    /// Of `closed-form`: how the logarithm of counts is computed, as `reciprocal`.
    logarithm: Option<FunctionFile>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum InverseRoot {
    /// By the bucket of `v`, each a factor of four wide.
    Buckets,
    /// By a mapping behind the leading one.
    Mapping,
}

/// The weight decay of an AdamW job that names none.
const ADAMW_DECAY: f64 = 0.01;

/// A job file that was read but is no job yet: one that learns from reports takes its fields from a
/// schema and its counts from a manifest.
pub struct Draft {
    file: PathBuf,
    raw: JobFile,
}

impl Draft {
    /// Reads a job file.
    ///
    /// # Errors
    ///
    /// [`JobError::Read`], [`JobError::Syntax`].
    pub fn load(path: &Path) -> Result<Self, JobError> {
        let text = std::fs::read_to_string(path).map_err(|source| JobError::Read { file: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Reads a job file's text; `file` is named in errors, and other names are relative to it.
    ///
    /// # Errors
    ///
    /// [`JobError::Syntax`] with line and column, [`JobError::Version`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, JobError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| syntax(text, file, &error))?;
        if table.get("version").and_then(toml::Value::as_integer) != Some(VERSION.into()) {
            let got = table.get("version").map(ToString::to_string);
            return Err(JobError::Version { file: file.into(), got });
        }
        let raw = toml::from_str(text).map_err(|error| syntax(text, file, &error))?;
        Ok(Self { file: file.into(), raw })
    }

    /// The schema's file, if the job learns from reports.
    pub fn schema(&self) -> Option<PathBuf> {
        self.raw.data.reports.as_ref().map(|reports| self.beside(&reports.schema))
    }

    /// The file of the labels' schema, if labels come in reports of their own.
    pub fn label_schema(&self) -> Option<PathBuf> {
        self.raw.data.reports.as_ref()?.label_schema.as_ref().map(|name| self.beside(name))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }

    /// Fills in defaults and checks. `source` is for jobs that learn from reports, and for no
    /// others.
    ///
    /// # Errors
    ///
    /// [`JobError::Invalid`] with key and rule.
    pub fn resolve(self, source: Option<Source<'_>>) -> Result<Job, JobError> {
        let Self { file, raw } = self;
        let own = &raw.optimizer;
        let asked = Asked { learning_rate: own.learning_rate, momentum: own.momentum, weight_decay: own.weight_decay };
        let job = raw.resolve(source).and_then(|job| validate::validate(&job, &asked).map(|()| job));
        job.map_err(|invalid| JobError::Invalid { file, invalid })
    }
}

/// The keys of a job file, as a JSON schema made from the types that read it.
pub fn job_schema() -> Schema {
    schemars::schema_for!(JobFile)
}

fn syntax(text: &str, file: &Path, error: &toml::de::Error) -> JobError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().map_or(0, |last| last.chars().count());
    JobError::Syntax { file: file.into(), line, column, message: error.message().trim_end().to_owned() }
}

fn shape(numbers: &[u32]) -> Result<Shape, Invalid> {
    match *numbers {
        [features] => Ok(Shape::vector(features)),
        [steps, features] => Ok(Shape([1, steps, features])),
        [channels, height, width] => Ok(Shape([channels, height, width])),
        _ => Err(broken("data.shape", Rule::Shape { got: numbers.len() })),
    }
}

fn broken(key: &str, rule: Rule) -> Invalid {
    Invalid { key: key.to_owned(), rule }
}

impl JobFile {
    fn resolve(self, source: Option<Source<'_>>) -> Result<Job, Invalid> {
        let data = self.data.resolve(source)?;
        let numbers = self.numbers.resolve()?;
        validate::numbers(&numbers)?;
        let refinements = self.optimizer.refinements()?;
        let optimizer = self.optimizer.resolve(&numbers, data.features())?;
        let loss = if matches!(optimizer, Optimizer::ClosedForm(_)) { RevealLoss::Never } else { RevealLoss::Epoch };
        let reveal = self.reveal.resolve(&data, self.metrics.is_some(), loss)?;
        let metrics = metrics::resolve(self.metrics, &data)?;
        let own = function::Numbers { ring_bits: numbers.ring_bits, frac_bits: numbers.frac_bits };
        let network = self.network.resolve(&own)?;
        let parse = |from: String| from.parse().map_err(|_| broken("from", Rule::ModelVersion { got: from }));
        let from = self.from.map(parse).transpose()?;
        Ok(Job {
            name: self.name,
            data,
            numbers,
            network,
            loss: loss::resolve(self.loss)?,
            training: self.training,
            optimizer,
            refinements,
            lanes: self.lanes,
            metrics,
            reveal,
            from,
        })
    }
}

impl DataFile {
    fn resolve(self, source: Option<Source<'_>>) -> Result<Data, Invalid> {
        let Self { classes, target, scale, augment, .. } = self;
        let labels_per_record = self.labels_per_record.unwrap_or(1);
        let shape = self.shape.map(|shape| self::shape(&shape)).transpose()?;
        let counts = [("data.train_records", self.train_records), ("data.test_records", self.test_records)];
        let files = [
            self.idx.map(Format::Idx),
            self.csv.map(CsvFile::resolve).transpose()?.map(Format::Csv),
            self.cifar10.map(Format::Cifar10),
            self.cifar100.map(Format::Cifar100),
            self.npy.map(Format::Npy),
            self.npz.map(Format::Npz),
        ];
        let mut files = files.into_iter().flatten();
        let format = match (files.next(), files.next(), self.reports) {
            (Some(files), None, None) => files,
            (None, None, Some(reports)) => {
                if let Some((key, _)) = counts.iter().find(|(_, count)| count.is_some()) {
                    return Err(broken(key, Rule::UnusedBy { by: "[data.reports], which takes it from the manifest" }));
                }
                if self.labels_per_record.is_some() {
                    let by = "[data.reports], whose records have one label";
                    return Err(broken("data.labels_per_record", Rule::UnusedBy { by }));
                }
                if augment.is_some() {
                    let by = "[data.reports], whose records are split at their devices";
                    return Err(broken("data.augment", Rule::UnusedBy { by }));
                }
                let source = source.ok_or_else(|| broken("data.reports", Rule::NeedsManifest))?;
                return reports.resolve(Rest { classes, target, scale, shape }, source);
            }
            _ => {
                let of = &[
                    "[data.idx]",
                    "[data.csv]",
                    "[data.cifar10]",
                    "[data.cifar100]",
                    "[data.npy]",
                    "[data.npz]",
                    "[data.reports]",
                ];
                return Err(broken("data", Rule::ExactlyOne { of }));
            }
        };
        let task = match (classes, target) {
            (Some(classes), None) => Task::Classes(classes),
            (None, Some(target)) => Task::Regression(target.list()),
            _ => return Err(broken("data", Rule::ExactlyOne { of: &["classes", "target"] })),
        };
        let count = |(key, count): (&str, Option<usize>)| {
            count.ok_or_else(|| broken(key, Rule::NeededBy { by: "a job that learns from files" }))
        };
        let shape = shape.ok_or_else(|| broken("data.shape", Rule::NeededBy { by: "a job that learns from files" }))?;
        let [train_records, test_records] = counts.map(count);
        let (train_records, test_records) = (train_records?, test_records?);
        Ok(Data { format, shape, train_records, test_records, task, labels_per_record, scale, augment })
    }
}

impl NumbersFile {
    fn resolve(self) -> Result<Numbers, Invalid> {
        let ring_bits = self.ring_bits.unwrap_or(64);
        let (frac_bits, grad_frac_bits) = match ring_bits {
            64 => (12, 19),
            32 => (11, 15),
            got => return Err(broken("numbers.ring_bits", Rule::RingBits { got })),
        };
        Ok(Numbers {
            ring_bits,
            frac_bits: self.frac_bits.unwrap_or(frac_bits),
            grad_frac_bits: self.grad_frac_bits.unwrap_or(grad_frac_bits.max(self.frac_bits.unwrap_or(0))),
            prg: self.prg.unwrap_or(Prg::Aes128Ctr),
        })
    }
}

impl OptimizerFile {
    /// `inputs` are the features of a record.
    fn resolve(self, numbers: &Numbers, inputs: usize) -> Result<Optimizer, Invalid> {
        let rate = |by| dyadic("optimizer.learning_rate", self.learning_rate, by);
        self.only_of(&[Kind::Newton, Kind::ClosedForm], self.ridge.is_some(), "optimizer.ridge")?;
        self.only_of(&[Kind::Newton], self.curvature.is_some(), "optimizer.curvature")?;
        self.only_of(&[Kind::ClosedForm], self.features.is_some(), "optimizer.features")?;
        self.only_of(&[Kind::ClosedForm], self.reciprocal.is_some(), "optimizer.reciprocal")?;
        self.only_of(&[Kind::ClosedForm], self.logarithm.is_some(), "optimizer.logarithm")?;
        match self.kind {
            Kind::Sgd => {
                self.unused("sgd", self.momentum.is_some(), "optimizer.momentum")?;
                self.without_adam_keys("sgd")?;
                Ok(Optimizer::Sgd { learning_rate: rate("sgd")? })
            }
            Kind::Momentum => {
                self.without_adam_keys("momentum")?;
                let momentum = decay("optimizer.momentum", self.momentum, "momentum", numbers.ring_bits)?;
                Ok(Optimizer::Momentum { learning_rate: rate("momentum")?, momentum })
            }
            Kind::Nesterov => {
                self.without_adam_keys("nesterov")?;
                let momentum = decay("optimizer.momentum", self.momentum, "nesterov", numbers.ring_bits)?;
                Ok(Optimizer::Nesterov { learning_rate: rate("nesterov")?, momentum })
            }
            Kind::Adam => Ok(Optimizer::Adam(self.buckets("adam", numbers)?)),
            Kind::AmsGrad => Ok(Optimizer::AmsGrad(self.buckets("amsgrad", numbers)?)),
            Kind::AdamW => Ok(Optimizer::AdamW(self.buckets("adamw", numbers)?)),
            Kind::Newton => self.newton(),
            Kind::ClosedForm => self.closed_form(inputs),
        }
    }

    fn without_rates(&self, by: &'static str) -> Result<(), Invalid> {
        self.unused(by, self.learning_rate.is_some(), "optimizer.learning_rate")?;
        self.unused(by, self.momentum.is_some(), "optimizer.momentum")?;
        self.without_adam_keys(by)
    }

    fn closed_form(self, inputs: usize) -> Result<Optimizer, Invalid> {
        self.without_rates("closed-form")?;
        let ridge = self.ridge.map(|_| dyadic("optimizer.ridge", self.ridge, "closed-form")).transpose()?;
        let features = self.features.unwrap_or(inputs);
        ClosedForm::read(features, ridge, [self.reciprocal, self.logarithm]).map(Optimizer::ClosedForm)
    }

    fn newton(self) -> Result<Optimizer, Invalid> {
        self.without_rates("newton")?;
        let ridge = self.ridge.map(|_| dyadic("optimizer.ridge", self.ridge, "newton")).transpose()?;
        let curvature = self.curvature.unwrap_or(Curvature::Fixed);
        Ok(Optimizer::Newton(Newton { ridge: ridge.unwrap_or(Newton::RIDGE), curvature }))
    }

    /// Clipping, weight decay and schedule, which do not depend on the optimizer.
    fn refinements(&self) -> Result<Refinements, Invalid> {
        let given = |key: &str, value: Option<f64>| value.map(|_| dyadic(key, value, "the optimizer")).transpose();
        let weight_decay = match self.kind {
            Kind::Adam | Kind::AmsGrad if self.weight_decay.is_some() => {
                return Err(broken("optimizer.weight_decay", Rule::DecayOfAdam));
            }
            Kind::AdamW => Some(self.weight_decay.unwrap_or(ADAMW_DECAY)),
            _ => self.weight_decay,
        };
        let schedule = match optimizer::schedule(self.schedule.clone())? {
            ScheduleFile::Constant => Schedule::Constant,
            ScheduleFile::Cosine => Schedule::Cosine,
            ScheduleFile::Step { every_epochs, factor } => Schedule::Step {
                every_epochs,
                factor: dyadic("optimizer.schedule.factor", Some(factor), "a schedule")?,
            },
        };
        Ok(Refinements {
            warm_up_steps: self.warm_up_steps.unwrap_or(0),
            schedule,
            clip: given("optimizer.clip", self.clip)?,
            clip_norm: given("optimizer.clip_norm", self.clip_norm)?,
            weight_decay: given("optimizer.weight_decay", weight_decay)?,
        })
    }

    fn only_of(&self, kinds: &[Kind], given: bool, key: &str) -> Result<(), Invalid> {
        self.unused("this optimizer", given && !kinds.contains(&self.kind), key)
    }

    fn unused(&self, by: &'static str, given: bool, key: &str) -> Result<(), Invalid> {
        if given { Err(broken(key, Rule::UnusedBy { by })) } else { Ok(()) }
    }

    fn without_adam_keys(&self, by: &'static str) -> Result<(), Invalid> {
        self.unused(by, self.first_threshold_log2.is_some(), "optimizer.first_threshold_log2")?;
        self.unused(by, self.buckets.is_some(), "optimizer.buckets")?;
        self.unused(by, self.refresh_every.is_some(), "optimizer.refresh_every")?;
        self.unused(by, self.lazy_second_moment.is_some(), "optimizer.lazy_second_moment")?;
        self.unused(by, self.inverse_root.is_some(), "optimizer.inverse_root")?;
        self.unused(by, self.bias_correction.is_some(), "optimizer.bias_correction")
    }

    fn buckets(&self, by: &'static str, numbers: &Numbers) -> Result<Adam, Invalid> {
        self.unused(by, self.momentum.is_some(), "optimizer.momentum")?;
        let precise = self.inverse_root == Some(InverseRoot::Mapping);
        if precise {
            let by = "a mapped inverse root";
            self.unused(by, self.first_threshold_log2.is_some(), "optimizer.first_threshold_log2")?;
            self.unused(by, self.buckets.is_some(), "optimizer.buckets")?;
        }
        let (first_threshold_log2, lazy_second_moment) =
            (self.first_threshold_log2.unwrap_or(Adam::FIRST_THRESHOLD_LOG2), self.lazy_second_moment.unwrap_or(false));
        let all = Adam::all_buckets(numbers.ring_bits, Adam::second_shift_if(lazy_second_moment), first_threshold_log2);
        let got = self.learning_rate.unwrap_or(Adam::LEARNING_RATE);
        let (min, max) = ((-f64::from(Dyadic::MAX_SHIFT)).exp2(), f64::from(Dyadic::MAX_FACTOR));
        let steps = Adam::steps_of(got, numbers, first_threshold_log2).filter(|_| (min..=max).contains(&got));
        let out = || broken("optimizer.learning_rate", Rule::RealBetween { got, min, max });
        let (shift, rate) = steps.ok_or_else(out)?;
        Ok(Adam {
            first_threshold_log2,
            buckets: self.buckets.unwrap_or(all),
            shift,
            rate,
            refresh_every: self.refresh_every.unwrap_or(1),
            lazy_second_moment,
            precise,
            bias_correction: self.bias_correction.unwrap_or(false),
        })
    }
}

fn dyadic(key: &str, value: Option<f64>, by: &'static str) -> Result<Dyadic, Invalid> {
    let got = value.ok_or_else(|| broken(key, Rule::NeededBy { by }))?;
    let (min, max) = ((-f64::from(Dyadic::MAX_SHIFT)).exp2(), f64::from(Dyadic::MAX_FACTOR));
    Dyadic::nearest(got).ok_or_else(|| broken(key, Rule::RealBetween { got, min, max }))
}

fn decay(key: &str, value: Option<f64>, by: &'static str, ring_bits: u32) -> Result<Dyadic, Invalid> {
    let got = value.ok_or_else(|| broken(key, Rule::NeededBy { by }))?;
    optimizer::decay(got, ring_bits).ok_or_else(|| broken(key, Rule::below_one(got, ring_bits)))
}
