//! Errors of job files and of jobs that peers send.

use std::fmt;
use std::io;
use std::path::PathBuf;

use symbolon_core::{
    function::method::FunctionError,
    layer::{Reason, Shape},
    loss::{AnyLoss, LossError},
    metric::{Kind, Misfit},
    report::schema::SchemaError,
};

use super::{LengthsMisfit, VERSION};

/// Why a job was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// The file could not be read.
    Read {
        /// The job file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or a value of another type.
    Syntax {
        /// The job file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// A file of another version of the format.
    Version {
        /// The job file.
        file: PathBuf,
        /// Its version; `None` for files of version 1, which give none.
        got: Option<String>,
    },
    /// A value that breaks a rule.
    Invalid {
        /// The job file.
        file: PathBuf,
        /// Key and rule.
        invalid: Invalid,
    },
    /// Bytes that are not an encoded job of this version. Peer's fault.
    Encoding,
    /// An encoded job that breaks a rule. Peer's fault.
    Sent(Invalid),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, source } => write!(f, "cannot read job file {}: {source}", file.display()),
            Self::Syntax { file, line, column, message } => {
                write!(f, "{}:{line}:{column}: {message}", file.display())
            }
            Self::Version { file, got: None } => write!(
                f,
                "{0}: a job file without `version = {VERSION}`; `symbolon job migrate {0}` writes a file of version 1 \
                 in the present form",
                file.display()
            ),
            Self::Version { file, got: Some(got) } => {
                write!(f, "{}: version = {got}; this program reads version {VERSION}", file.display())
            }
            Self::Invalid { file, invalid } => write!(f, "{}: {invalid}", file.display()),
            Self::Encoding => {
                write!(f, "the peer sent bytes that are no job of this version; run the same version on all hosts")
            }
            Self::Sent(invalid) => write!(f, "the peer sent a job that breaks a rule: {invalid}"),
        }
    }
}

impl std::error::Error for JobError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Invalid { invalid, .. } | Self::Sent(invalid) => Some(invalid),
            Self::Syntax { .. } | Self::Version { .. } | Self::Encoding => None,
        }
    }
}

/// A key and the rule that its value breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// As in the file, for example `network.layers[2]`.
    pub key: String,
    /// What was expected.
    pub rule: Rule,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.rule)
    }
}

impl std::error::Error for Invalid {}

/// The rules of a job. Each variant holds what was found and what is allowed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the sentences below say of them")]
pub enum Rule {
    /// An integer outside of its limits.
    Between { got: u64, min: u64, max: u64 },
    /// A real number outside of its limits, or not a number.
    RealBetween { got: f64, min: f64, max: f64 },
    /// A divisor of zero.
    Zero,
    /// Least value not below the greatest.
    Order { least: f64, greatest: f64 },
    /// A word size that does not exist.
    RingBits { got: u32 },
    /// Not a power of two.
    PowerOfTwo { got: u64 },
    /// Not a multiple.
    MultipleOf { got: u64, of: u64 },
    /// A list with another number of entries than there are features.
    PerFeature { got: usize, features: usize },
    /// A number of channels that does not divide the features.
    Channels { got: usize, features: usize },
    /// Another number of features than the format's records have.
    FeaturesOf { got: usize, want: usize },
    /// A name with other characters than letters, digits, `.`, `_`, `-`, or longer than 64.
    Name { got: String },
    /// Not the name and version of a kept model.
    ModelVersion { got: String },
    /// A job that evaluates a kept model and asks for more.
    Evaluation { reason: &'static str },
    /// A file name that leaves the data directory.
    RelativePath { got: String },
    /// A column named twice, or both as feature and label.
    Duplicate { got: String },
    /// Nothing where something is needed.
    Empty,
    /// Not a usable delimiter.
    Delimiter { got: char },
    /// None or several of keys that exclude each other.
    ExactlyOne { of: &'static [&'static str] },
    /// Several of keys that exclude each other.
    AtMostOne { of: &'static [&'static str] },
    /// A key that another choice needs.
    NeededBy { by: &'static str },
    /// A key that another choice has no use for.
    UnusedBy { by: &'static str },
    /// A shape that has not one, two or three axes.
    Shape { got: usize },
    /// Several labels a record, which other settings of the job do not allow.
    SeveralLabels,
    /// A shape of another number of words than there are features.
    ShapeOf { got: Shape, features: usize },
    /// A layer that does not fit into the network.
    Layer { reason: Reason },
    /// A layer's name with other characters than letters, digits, `.`, `_`, `-`, or too long.
    LayerName { got: String },
    /// Lengths of sequences that do not suit the job.
    Lengths { misfit: LengthsMisfit },
    /// A layer's name that another layer has.
    TakenName { got: String },
    /// An input that is no layer.
    NoLayer { got: String, known: Vec<String> },
    /// An input that comes later or is the layer itself.
    LaterLayer { got: String },
    /// A layer whose values or gradients have too many fraction bits for the ring.
    Scale { got: u32, most: u32 },
    /// A network without parameters.
    NoParameters,
    /// Last layer does not fit the task.
    Outputs { got: Shape, want: Shape },
    /// Another number of label columns than of targets.
    Labels { got: usize, want: usize },
    /// A loss of classes in a regression.
    LossNeedsClasses { kind: &'static str },
    /// A table without a kind.
    KindMissing,
    /// Targets of a logistic loss that may lie outside 0 to 1.
    Probabilities { least: f64, greatest: f64 },
    /// Metrics of targets where outputs are logits.
    MetricsOfLogits,
    /// A metric that stands in the list twice.
    DuplicateMetric { got: String },
    /// A number that the job does not reveal in each epoch.
    NotRevealed { got: String },
    /// A loss of an unknown kind.
    LossKind { got: String },
    /// A loss that the job's numbers do not hold.
    Loss { error: LossError },
    /// A target whose errors' squares the numbers do not hold.
    SquareTooFar { far: f64, limit: f64 },
    /// A metric of an unknown kind.
    MetricKind { got: String },
    /// Numbers of a kind that it does not take, or lacks.
    KindNumbers { kind: String, error: String },
    /// A metric that does not suit the task.
    Metric { kind: Kind, misfit: Misfit },
    /// Accuracy is counted over test records.
    AccuracyNeedsTest,
    /// The range alarm and nothing else would be revealed.
    AlarmAlone,
    /// Records to test and no file for them, or the other way round.
    TestRecords { got: usize },
    /// More records a batch than there are.
    BatchTooLarge { got: usize, records: usize },
    /// A constant `factor / 2^shift` that is not in lowest terms. Only a peer can send one.
    NotReduced { factor: u32, shift: u32 },
    /// A number that the ring would compute as another.
    Rounded { asked: f64, effective: f64, ring_bits: u32, works: f64 },
    /// A decay whose difference to 1 would be another.
    Forgets { asked: f64, effective: f64, ring_bits: u32 },
    /// A reading whose step would be computed as another.
    Slope { asked: f64, effective: f64, ring_bits: u32 },
    /// The mean gradient's precision does not fit.
    GradShift { shift: i64, min: u32, max: u32 },
    /// Adam's step would be shifted out of the word.
    AdamRate { got: f64, min: f64, max: f64 },
    /// A weight decay of Adam or AMSGrad.
    DecayOfAdam,
    /// AdamW without a weight decay. Only a peer can send one.
    DecayMissing,
    /// A weight decay that the numbers would compute as another.
    Decay { asked: f64, effective: f64, works: f64 },
    /// A bound on the norm of the gradient that the ring or the gradient's format has no room for.
    ClipNorm { got: f64, min: f64, max: f64 },
    /// A bound of gradients that the ring does not hold, or that is below one unit.
    Clip { got: f64, min: f64, max: f64, ring_bits: u32 },
    /// A warm-up as long as the job.
    WarmUp { got: u32, steps: u64 },
    /// A schedule's factor that does not lower the learning rate.
    ScheduleFactor { got: f64 },
    /// A lazy Adam keeps its buckets for another number of steps than an update of `v` stands for.
    LazyRefresh { got: u32, want: u32 },
    /// Newton's method needs one dense layer of few inputs.
    NewtonLayers { most: usize },
    /// Newton's method does not have this curvature of the loss.
    NewtonCurvature,
    /// Newton's method takes neither clipping nor decay nor a schedule.
    NewtonAlone,
    /// Newton's method needs the same records in all steps, and all of them have to count.
    NewtonRecords,
    /// The job has no standard errors to reveal.
    StandardErrors,
    /// The numbers or the ridge do not suit Newton's method.
    NewtonNumbers,
    /// A closed form needs one dense layer of few inputs and two classes.
    ClosedFormLayers { most: usize },
    /// A closed form takes neither clipping nor decay nor a schedule.
    ClosedFormAlone,
    /// A closed form has nothing to do in a second epoch.
    ClosedFormOnce,
    /// A closed form of readings, which may be anything but bits.
    ClosedFormReports,
    /// A closed form has no training loss.
    ClosedFormLoss,
    /// The numbers or the ridge do not suit a closed form.
    ClosedFormNumbers { least: u32 },
    /// A function of counts that the numbers do not hold.
    CountFunction { error: FunctionError },
    /// `reveal.epsilon` is invalid.
    Epsilon,
    /// The noise does not fit into a word.
    NoiseTooLarge,
    /// A job that learns from reports, and no manifest.
    NeedsManifest,
    /// A layer takes statistics over the whole batch.
    WholeBatch { layer: String },
    /// The records are not images.
    NeedsImages,
    /// The schema is none.
    Schema { error: SchemaError },
    /// A field that the schema does not have.
    Field { got: String, known: Vec<String> },
    /// A field that is no reading, as a feature.
    NotAReading { got: String },
    /// A field of several codes, as the target.
    NotOne { got: String },
    /// Not a device's id, nor a name that is known.
    Device { got: String },
    /// No record of the manifest is in a set.
    NoRecords,
    /// A list that is not in strictly ascending order. Only a peer can send one.
    NotAscending,
    /// A device both to train and to test on.
    BothSets { device: u64 },
    /// A place that is none of a packed record. Only a peer can send one.
    NoPlace { at: u32, bits: u32, record_bytes: u32 },
    /// A reading that the ring is too narrow for.
    TooWide { bits: u32, ring_bits: u32 },
    /// A reading whose greatest value the numbers do not hold.
    TooFar { reach: f64, limit: f64 },
    /// Label and task do not go together. Only a peer can send such.
    TargetTask,
}

impl Rule {
    /// Of a decay that rounds to 1.
    pub(super) fn below_one(got: f64, ring_bits: u32) -> Self {
        let bits = if ring_bits > 32 { 16 } else { 8 };
        Self::RealBetween { got, min: 0.0, max: 1.0 - f64::from(1u32 << bits).recip() }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between { got, min, max } => write!(f, "is {got}; give an integer from {min} to {max}"),
            Self::RealBetween { got, min, max } => write!(f, "is {got}; give a number from {min} to {max}"),
            Self::Zero => write!(f, "is 0; give a divisor other than 0"),
            Self::Order { least, greatest } => {
                write!(f, "goes from {least} to {greatest}; give the smaller number first")
            }
            Self::RingBits { got } => write!(f, "is {got}; give 32 or 64"),
            Self::PowerOfTwo { got } => {
                let above = got.checked_next_power_of_two().unwrap_or(1 << 63);
                write!(f, "is {got}; give a power of two ({} or {above}): a truncation divides by it", above / 2)
            }
            Self::MultipleOf { got, of } => write!(f, "is {got}; give a multiple of {of}"),
            Self::PerFeature { got, features } => {
                write!(f, "has {got} entries; give one for each of the {features} features")
            }
            Self::Channels { got, features } => {
                write!(f, "has {got} entries, which do not divide {features} features; give one for each channel")
            }
            Self::FeaturesOf { got, want } => write!(f, "is {got}; records of this format have {want}"),
            Self::Name { got } => write!(f, "is {got:?}; use 1 to 64 letters, digits, '.', '_' or '-'"),
            Self::ModelVersion { got } => write!(f, "is {got:?}; write NAME:VERSION, such as digits:1"),
            Self::Evaluation { reason } => {
                write!(f, "there are no training records, so the job evaluates a kept model: {reason}")
            }
            Self::RelativePath { got } => {
                write!(f, "is {got:?}; give a file name relative to the data directory, without '..'")
            }
            Self::Duplicate { got } => write!(f, "names {got:?} twice, or as feature and label; name each column once"),
            Self::Empty => write!(f, "is empty; give at least one entry"),
            Self::Delimiter { got } => {
                write!(f, "is {got:?}; give an ASCII character that is no quote, line break, letter or digit")
            }
            Self::ExactlyOne { of } => write!(f, "give exactly one of: {}", of.join(", ")),
            Self::AtMostOne { of } => write!(f, "give at most one of: {}", of.join(", ")),
            Self::NeededBy { by } => write!(f, "is missing; {by} needs it"),
            Self::UnusedBy { by } => write!(f, "means nothing to {by}; remove it"),
            Self::SeveralLabels => f.write_str(
                "is above 1: only jobs on [data.npy] or [data.npz] with data.classes and without reveal.noise take several \
                 labels a record",
            ),
            Self::Lengths { misfit } => misfit.fmt(f),
            Self::Shape { got } => {
                write!(
                    f,
                    "has {got} numbers; give [features], [steps, features] of a sequence, or [channels, height, width]"
                )
            }
            Self::ShapeOf { got, features } => {
                write!(f, "is {got}; give a shape of the {features} features that the reports have")
            }
            Self::Layer { reason } => reason.fmt(f),
            Self::LayerName { got } => {
                write!(f, "is {got:?}; use 1 to 32 letters, digits, '.', '_' or '-', and not \"data\"")
            }
            Self::TakenName { got } => write!(f, "is {got:?}, the name of another layer; give each its own"),
            Self::NoLayer { got, known } => {
                write!(f, "reads {got:?}, which is no layer; the names are {}", known.join(", "))
            }
            Self::LaterLayer { got } => write!(
                f,
                "reads {got:?}, which does not come before it; put layers in the order in which they are computed, \
                 without cycles"
            ),
            Self::Scale { got, most } => write!(
                f,
                "has values or gradients of {got} fraction bits, and the ring has room for {most}; put a layer that \
                 truncates before it, such as \"relu\", or take fewer numbers.frac_bits"
            ),
            Self::NoParameters => write!(f, "have nothing to train; add a layer with parameters, such as \"dense\""),
            Self::Outputs { got, want } => {
                write!(f, "is the last layer and gives the shape {got}; the task needs {want}")
            }
            Self::Labels { got, want } => write!(
                f,
                "names {got} columns, and the task has {want}: one for classes, or one for each entry of data.target"
            ),
            Self::LossNeedsClasses { kind } => {
                write!(
                    f,
                    "is {kind}, which needs classes; for a regression give squared-error, huber, or logistic (targets from 0 to 1)"
                )
            }
            Self::KindMissing => {
                write!(f, "has no key `kind` with a name; give, for example, {{ kind = \"huber\", delta = 1.0 }}")
            }
            Self::Probabilities { least, greatest } => write!(
                f,
                "lets targets go from {least} to {greatest}, and loss = \"logistic\" takes targets from 0 to 1; change it"
            ),
            Self::MetricsOfLogits => write!(
                f,
                "is true, and metrics of targets would compare them with the logits of loss = \"logistic\"; set it to \
                 false, or give data.classes"
            ),
            Self::DuplicateMetric { got } => write!(f, "repeats {got:?}; list each metric once"),
            Self::NotRevealed { got } => write!(
                f,
                "is {got:?}, which the job does not reveal in each epoch; reveal it (reveal.loss, reveal.metrics, metrics, \
                 reveal.when = \"epoch\"), or name another number"
            ),
            Self::LossKind { got } => {
                write!(f, "is the unknown loss {got:?}; give one of: {}", AnyLoss::KINDS.join(", "))
            }
            Self::Loss { error } => write!(f, "cannot be computed: {error}"),
            Self::SquareTooFar { far, limit } => write!(
                f,
                "allows errors of {far} after scaling, and words with these fraction bits hold squares of less than {limit}; \
                 divide by more (data.target.divide), take fewer fraction bits or ring_bits = 64, or reveal neither loss nor metrics"
            ),
            Self::MetricKind { got } => {
                let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                write!(f, "is the unknown metric {got:?}; give one of: {}", known.join(", "))
            }
            Self::KindNumbers { kind, error } => write!(f, "cannot be read as `{kind}`: {error}"),
            Self::Metric { kind, misfit } => write!(f, "`{kind}` {misfit}"),
            Self::AlarmAlone => write!(f, "is true in a job that reveals nothing else; set it to false"),
            Self::AccuracyNeedsTest => write!(f, "is true without test records; set it to false or give test records"),
            Self::TestRecords { got } => {
                write!(f, "is {got}; give 0 without a test set, and its size with one")
            }
            Self::BatchTooLarge { got, records } => write!(f, "is {got}; there are {records} training records"),
            Self::NotReduced { factor, shift } => write!(f, "is {factor} / 2^{shift}; give it in lowest terms"),
            Self::Rounded { asked, effective, ring_bits, works } => {
                write!(f, "is {asked}, and a ring of {ring_bits} bits would compute {effective}; give {works}")?;
                f.write_str(if *ring_bits < 64 { ", a smaller training.batch or numbers.ring_bits = 64" } else { "" })
            }
            Self::Forgets { asked, effective, ring_bits } => {
                write!(
                    f,
                    "is {asked}, and a ring of {ring_bits} bits would compute {effective}, whose difference to 1 is "
                )?;
                write!(
                    f,
                    "another; give {effective}{}",
                    if *ring_bits < 64 { " or numbers.ring_bits = 64" } else { "" }
                )
            }
            Self::Slope { asked, effective, ring_bits } => {
                write!(
                    f,
                    "has steps of {asked} after scaling, and a ring of {ring_bits} bits would compute {effective}; "
                )?;
                write!(f, "give data.scale an offset among the readings")?;
                f.write_str(if *ring_bits < 64 { ", or numbers.ring_bits = 64" } else { "" })
            }
            Self::GradShift { shift, min, max } => write!(
                f,
                "the summed gradient would be truncated by {shift} bits (2 frac_bits + log2(batch) - grad_frac_bits); \
                 choose them so that it is {min} to {max}"
            ),
            Self::AdamRate { got, min, max } => {
                write!(f, "is {got}; give a number from {min} to {max}, or another number of optimizer.buckets")
            }
            Self::DecayOfAdam => {
                write!(
                    f,
                    "would go through the moments of adam and amsgrad; set optimizer.kind = \"adamw\", or remove it"
                )
            }
            Self::DecayMissing => write!(f, "is missing; adamw needs it, or set optimizer.kind = \"adam\""),
            Self::Decay { asked, effective, works } => {
                write!(f, "is {asked}, and these numbers would compute {effective}; give {works}, ")?;
                write!(f, "more numbers.frac_bits or a larger training.batch")
            }
            Self::Clip { got, min, max, ring_bits } => {
                write!(
                    f,
                    "is {got}, and a ring of {ring_bits} bits clips at {min} to {max}; give a bound in between, "
                )?;
                write!(f, "or a smaller numbers.frac_bits or training.batch")?;
                f.write_str(if *ring_bits < 64 { ", or numbers.ring_bits = 64" } else { "" })
            }
            Self::ClipNorm { got, min, max } => {
                write!(f, "is {got}; a gradient of this format is clipped by norm at {min} to {max}, ")?;
                write!(
                    f,
                    "in a ring of 64 bits, and if 2 frac_bits + log2(batch) is at most 50; give such numbers and "
                )?;
                write!(f, "a bound in between, or clip by value with optimizer.clip")
            }
            Self::WarmUp { got, steps } => {
                write!(f, "is {got}; give fewer steps than the job's {steps}")
            }
            Self::ScheduleFactor { got } => write!(f, "is {got}; give a number above 0 and below 1"),
            Self::LazyRefresh { got, want } => {
                write!(f, "is {got}; but lazy_second_moment = true needs {want}; set it, or lazy_second_moment = false")
            }
            Self::NewtonLayers { most } => write!(
                f,
                "do not suit optimizer.kind = \"newton\", which trains one dense layer of at most {most} inputs (data.shape); \
                 give such a network, or another optimizer"
            ),
            Self::NewtonCurvature => write!(
                f,
                "does not suit this loss: \"exact\" needs the loss \"logistic\"; set \"fixed\", or remove class_weights from a softmax"
            ),
            Self::NewtonAlone => write!(
                f,
                "has keys that newton does not take; remove warm_up_steps, schedule, clip, clip_norm and weight_decay"
            ),
            Self::NewtonRecords => write!(
                f,
                "does not suit newton; remove data.augment.copies, declare every code of the label as a class, or take another \
                 optimizer"
            ),
            Self::StandardErrors => write!(
                f,
                "needs reveal.model = true and optimizer.kind = \"newton\", with the loss \"squared-error\", or \"logistic\" \
                 and optimizer.curvature = \"exact\""
            ),
            Self::NewtonNumbers => write!(
                f,
                "do not suit newton; set ring_bits = 64 and lower frac_bits until 2 frac_bits + log2(n) is at most 58, where n \
                 is the number of records, rounded up to a power of two; or raise optimizer.ridge: over the records (n), it \
                 must be at least 4 (inputs + 1) and 2^(3 frac_bits - 59) units of 2^-frac_bits"
            ),
            Self::ClosedFormLayers { most } => write!(
                f,
                "do not suit optimizer.kind = \"closed-form\", which trains one dense layer of at most {most} inputs and units = 2, \
                 with data.classes = 2 and the loss \"logistic\"; give such a network, or another optimizer"
            ),
            Self::ClosedFormAlone => write!(
                f,
                "has keys that closed-form does not take; remove warm_up_steps, schedule, clip, clip_norm and weight_decay"
            ),
            Self::ClosedFormOnce => write!(f, "is not 1; closed-form has the model after one epoch, so give 1"),
            Self::ClosedFormReports => {
                write!(
                    f,
                    "does not suit closed-form, whose features are 0 or 1; train on files, or take another optimizer"
                )
            }
            Self::ClosedFormLoss => write!(f, "is revealed, but closed-form computes no training loss; give \"never\""),
            Self::ClosedFormNumbers { least } => write!(
                f,
                "do not suit closed-form; set ring_bits = 64 and frac_bits from {least} to 24, with 2 log2(n) + frac_bits of at \
                 most 61, and features + frac_bits of at least 2 + log2(n), where n is the number of records, rounded up to a power of \
                 two; or raise optimizer.ridge: times 4 and \
                 over the records (n), it must be at least 4 (features + 1) and 2^(3 frac_bits - 62) units of \
                 2^-frac_bits"
            ),
            Self::CountFunction { error } => write!(f, "has a function of counts that {error}"),
            Self::Epsilon => write!(f, "is no epsilon; give 0.001 to 1000 in steps of 0.001, or \"off\""),
            Self::NoiseTooLarge => {
                write!(f, "is too small for so many outputs; give a larger one, or train fewer epochs")
            }
            Self::NeedsManifest => write!(f, "learns from reports; name a manifest that the servers agreed on"),
            Self::WholeBatch { layer } => {
                write!(f, "splits the batch, but layer {layer} needs the statistics of a whole batch; remove the key")
            }
            Self::NeedsImages => write!(f, "needs images; give their rows and columns in data.shape"),
            Self::Schema { error } => write!(f, "cannot be used: {error}; correct the schema"),
            Self::Field { got, known } => {
                write!(f, "names {got:?}, which the schema does not have; it has {}", known.join(", "))
            }
            Self::NotAReading { got } => write!(f, "names {got:?}, which is a label; features are readings"),
            Self::NotOne { got } => write!(f, "names {got:?}, which has several codes; predict one that has one"),
            Self::Device { got } => write!(f, "names {got:?}; give a device's name or its id of 16 hexadecimal digits"),
            Self::NoRecords => write!(f, "leaves none of the manifest's records; name devices that have reported"),
            Self::NotAscending => write!(f, "is not in ascending order; sort it and name each once"),
            Self::BothSets { device } => {
                write!(f, "names {device:016x} to train and to test on; leave it in one list")
            }
            Self::NoPlace { at, bits, record_bytes } => {
                write!(f, "is {bits} bits at bit {at} of a record of {record_bytes} bytes; take a place of the schema")
            }
            Self::TooWide { bits, ring_bits } => write!(
                f,
                "is a reading of {bits} bits, which a ring of {ring_bits} is too narrow for; set numbers.ring_bits = 64"
            ),
            Self::TooFar { reach, limit } => write!(
                f,
                "reaches {reach} after scaling, and numbers with these fraction bits hold less than {limit}; \
                 divide by more, or take fewer fraction bits or ring_bits = 64"
            ),
            Self::TargetTask => write!(f, "does not fit the task; a label names classes, a reading is a regression"),
        }
    }
}
