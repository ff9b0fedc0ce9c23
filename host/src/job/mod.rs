//! The description of a job: what is trained, on what, in which numbers, and what may be revealed.
//!
//! A job is public. It is written as TOML (see `host/jobs/`), checked once by [`Job::validate`],
//! and sent to the servers and the dealer as [`Job::encode`]. Its [`Job::hash`] covers every field,
//! so two parties with one hash agree on shapes, numbers, hyper-parameters, batch order and
//! reveals. Default values are filled in before hashing: a job that spells them out has the same
//! hash as one that leaves them out.
//!
//! Record counts stand in the job, so that a plan can be made where the data is not.

mod arrays;
mod augment;
mod checkpoint;
mod closed_form;
mod csv;
mod early_stop;
mod error;
mod evaluation;
mod file;
pub mod form;
mod kind;
mod lengths;
mod loss;
mod metrics;
pub mod migrate;
mod model_version;
mod network;
mod newton;
mod one_or_more;
mod optimizer;
mod reports;
mod reveal;
mod rounding;
mod scale;
mod source;
#[cfg(test)]
mod tests;
mod validate;

use std::{ops::Range, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use symbolon_core::{
    layer::{AnyLayer, Node, Origin, Shape},
    loss::{AnyLoss, Describe},
    metric::AnyMetric,
    prg::Seed,
};

pub use arrays::{CIFAR_FEATURES, Cifar10, Cifar100, Cifar100Label, Npy, Npz};
pub use augment::Augment;
pub use checkpoint::{Checkpoint, Pace};
pub use closed_form::ClosedForm;
pub use early_stop::{EarlyStop, Watched};
pub use error::{Invalid, JobError, Rule};
pub use file::{Draft, job_schema};
pub use lengths::LengthsMisfit;
pub use model_version::ModelVersion;
pub use network::{Laid, Network};
pub use newton::{Curvature, Newton};
pub use optimizer::{Adam, Dyadic, Optimizer, Refinements, Schedule};
pub(crate) use reports::pow2;
pub use reports::{Column, Held, Line, Place, Records, Reports, Senders, Set, Sorter, Target};
pub(crate) use reveal::EpsilonFile;
pub use reveal::{MILLI, Noise, Reveal, RevealLoss, When};
use rounding::Asked;
pub use rounding::Constant;
pub use scale::{Affine, ColumnScale, Scale};
pub use source::Source;

/// No encoded job is longer; a peer that sends more is refused before anything is read.
pub const MAX_ENCODED_BYTES: usize = 1 << 21;

/// Version of the job format: `version` in a job file.
pub const VERSION: u8 = 2;

/// Version of the encoding: the first byte of an encoded job. Servers keep encoded jobs with
/// models, so it changes whenever the encoding does; a test holds that.
const ENCODING: u8 = 4;

/// Changes with [`ENCODING`].
const HASH_DOMAIN: &[u8] = b"symbolon job v4";

/// Checks the name of a job or model: some letters, digits, `.`, `_`, `-`.
///
/// # Errors
///
/// [`JobError::Sent`].
pub fn check_name(name: &str) -> Result<(), JobError> {
    validate::name(name).map_err(JobError::Sent)
}

/// A training job. Every field is public and enters the hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Short name for logs and reports: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// Where records come from and how they become numbers.
    pub data: Data,
    /// Word size, fixed point and generator.
    pub numbers: Numbers,
    /// The model.
    pub network: Network,
    /// What is minimised.
    pub loss: AnyLoss,
    /// Epochs, batches and their order.
    pub training: Training,
    /// How weights are updated.
    pub optimizer: Optimizer,
    /// Clipping, weight decay and the schedule of the learning rate.
    pub refinements: Refinements,
    /// How work is cut; fixed by the job, so that no machine changes the plan.
    pub lanes: Lanes,
    /// The metrics that are measured on the test records, if [`Reveal::metrics`] says that they
    /// are opened.
    pub metrics: Vec<AnyMetric>,
    /// What is opened, and to nobody but the analyst.
    pub reveal: Reveal,
    /// The client's kept model whose parameters the job begins with; `None` for fresh ones. With
    /// no training records, the job [evaluates](Self::is_evaluation) it.
    pub from: Option<ModelVersion>,
}

/// The records: format, counts, task and public scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Files, or reports.
    pub format: Format,
    /// Shape of a record: channels, height, width.
    pub shape: Shape,
    /// Records to train on; 0 for a job that evaluates a kept model.
    pub train_records: usize,
    /// Records to evaluate on; 0 for none.
    pub test_records: usize,
    /// What is predicted.
    pub task: Task,
    /// Labels of a record: 1, or one for each step of a sequence.
    pub labels_per_record: usize,
    /// Public scale of the features.
    pub scale: Scale,
    /// Moved and mirrored copies of the training images; `None` for the records as they are.
    pub augment: Option<Augment>,
}

/// Where records come from. File names are relative to the data directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Format {
    /// IDX, the format of MNIST; gzip is recognised by content.
    Idx(Idx),
    /// Delimited text; gzip is recognised by content.
    Csv(Csv),
    /// Reports that the servers hold.
    Reports(Reports),
    /// CIFAR-10's binary version; gzip is recognised by content.
    Cifar10(Cifar10),
    /// CIFAR-100's binary version; gzip is recognised by content.
    Cifar100(Cifar100),
    /// Arrays in the format of numpy; gzip is recognised by content.
    Npy(Npy),
    /// Arrays in a zip archive, as numpy writes them.
    Npz(Npz),
}

/// The four files of an IDX data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idx {
    /// Features of the training records.
    pub train_images: String,
    /// Labels of the training records.
    pub train_labels: String,
    /// Features of the test records.
    pub test_images: String,
    /// Labels of the test records.
    pub test_labels: String,
}

/// How a CSV file is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Csv {
    /// The file with the training records.
    pub train: String,
    /// Where the test records are.
    pub test: TestSet,
    /// An ASCII character between cells.
    pub delimiter: char,
    /// Whether the first row names the columns; without it they are named `0`, `1`, ...
    pub header: bool,
    /// Which columns are features, in this order.
    pub columns: Columns,
    /// The column that holds the class index, or those that hold the targets of a regression, one
    /// an output.
    pub labels: Vec<String>,
    /// Cell texts, after trimming, that mean a missing value.
    pub missing: Vec<String>,
    /// What happens to a row with a missing value in a column that is used.
    pub on_missing: OnMissing,
}

impl Csv {
    /// Whether a character may separate cells: ASCII, and part of neither a number nor a quoted
    /// cell.
    pub fn is_delimiter(c: char) -> bool {
        c.is_ascii() && !c.is_ascii_alphanumeric() && !"\"\r\n\0.-+".contains(c)
    }
}

/// Where the test records of a CSV job come from. Rows are counted after incomplete ones are
/// skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TestSet {
    /// There are none.
    None,
    /// A file with the same columns.
    File(String),
    /// Each `n`-th row of the training file: `n - 1`, `2n - 1`, ...
    Every(usize),
    /// This fraction of the training file, spread evenly: row `i` if `floor((i + 1) x) > floor(i
    /// x)`.
    Fraction(f64),
}

/// Feature columns of a CSV file, by name. The label is never one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Columns {
    /// All, in file order.
    All,
    /// These, in this order.
    Only(Vec<String>),
    /// All but these, in file order.
    Except(Vec<String>),
}

/// Policy for missing cells.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// Stop with the cell's place.
    Refuse,
    /// Leave the row out.
    Skip,
}

/// What a network predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// One of this many classes; labels are `0 .. classes`.
    Classes(usize),
    /// Real numbers, one an output, each scaled by public constants.
    Regression(Vec<Affine>),
}

/// The numbers that servers compute in.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// `k`: 32 or 64.
    pub ring_bits: u32,
    /// `f`: fraction bits of values.
    pub frac_bits: u32,
    /// `fg`: fraction bits of the mean gradient; Adam's second moment has twice as many.
    pub grad_frac_bits: u32,
    /// Expands seeds.
    pub prg: Prg,
}

/// Pseudo-random generator of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Prg {
    /// AES-128 in counter mode: fastest where there are AES instructions.
    #[serde(rename = "aes128-ctr")]
    Aes128Ctr,
    /// ChaCha20: fast everywhere.
    #[serde(rename = "chacha20")]
    ChaCha20,
}

impl Data {
    /// Features a record.
    pub fn features(&self) -> usize {
        self.shape.words()
    }
}

/// Length and order of training.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training records.
    pub epochs: u32,
    /// Records a step: a power of two up to 65,536, since the division by it is part of a
    /// truncation. The last batch of an epoch may be shorter and is divided by the same number.
    pub batch: usize,
    /// Records of one forward and backward pass, a power of two, 1 to `batch`. A step sums the
    /// gradients of its passes: fewer records need less memory and more rounds. Evaluation takes
    /// as many. Not for networks with `batch-norm`. The whole batch, if left out.
    #[serde(default)]
    pub micro_batch: Option<usize>,
    /// Most MiB that a server may take for the job. A job that would take more with passes of whole
    /// batches takes smaller passes, the largest that fit; none fit, it is refused.
    #[serde(default)]
    pub memory_limit_mib: Option<u32>,
    /// Leaves out of each epoch the records that do not fill a batch; the order of the epoch
    /// decides which. Servers could else refuse a last batch of too few records
    /// (`policy.smallest_batch`).
    #[serde(default)]
    pub drop_last: bool,
    /// Takes the records of each epoch in a new order; `false` takes them in the order of the data,
    /// as comparisons with other systems need it. True, if left out.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// Public seed of initial weights, batch order, dropout and augmentation. Derives nothing
    /// secret.
    pub seed: u64,
    /// Ends training once a number that the job reveals stops improving; without it, all epochs
    /// run. Servers, dealer and auditor learn after which epoch training ended.
    #[serde(default)]
    pub early_stop: Option<EarlyStop>,
    /// When servers store their state, so that an interrupted job can go on:
    /// `{ every_seconds = 300 }`, `{ steps = 100 }`, or `"off"`; and at each epoch's end, unless it
    /// is off. Every 300 seconds, if left out.
    #[serde(default)]
    pub checkpoint: Checkpoint,
}

fn yes() -> bool {
    true
}

/// How tensors are cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Threads, connections and correction streams of a role: 1 to 64.
    pub lanes: u16,
    /// Words a tile: a multiple of 64 up to 4,194,304.
    pub tile: usize,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { lanes: 2, tile: 16_384 }
    }
}

impl Job {
    /// Reads and checks a job file, unless it learns from reports: for that see [`Draft`].
    ///
    /// # Errors
    ///
    /// [`JobError::Read`], or what [`Job::parse`] says.
    pub fn load(path: &Path) -> Result<Self, JobError> {
        Draft::load(path)?.resolve(None)
    }

    /// Reads and checks a job; `file` is named in errors.
    ///
    /// # Errors
    ///
    /// [`JobError::Syntax`] with line and column, or [`JobError::Invalid`] with key and rule.
    pub fn parse(text: &str, file: &Path) -> Result<Self, JobError> {
        Draft::parse(text, file)?.resolve(None)
    }

    /// The job of the embedded 8x8 digits (`host/jobs/digits.toml`).
    ///
    /// # Errors
    ///
    /// As [`Job::parse`]; tests hold that there is none.
    pub fn digits() -> Result<Self, JobError> {
        Self::parse(include_str!("../../jobs/digits.toml"), Path::new("digits.toml"))
    }

    /// Holds the job to every rule. Callers who change a field check again.
    ///
    /// # Errors
    ///
    /// The first key that breaks a rule.
    pub fn validate(&self) -> Result<(), Invalid> {
        validate::validate(self, &Asked::default())
    }

    /// The one encoding, [`VERSION`] first: equal jobs have equal bytes. At most
    /// [`MAX_ENCODED_BYTES`] for a valid job.
    ///
    /// # Errors
    ///
    /// [`JobError::Encoding`]; not for a valid job.
    pub fn encode(&self) -> Result<Vec<u8>, JobError> {
        postcard::to_stdvec(&(ENCODING, self)).map_err(|_| JobError::Encoding)
    }

    /// Reads and checks what a peer encoded.
    ///
    /// # Errors
    ///
    /// [`JobError::Encoding`] if it is too long, is not a job or has trailing bytes;
    /// [`JobError::Sent`] if a rule is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, JobError> {
        if bytes.len() > MAX_ENCODED_BYTES {
            return Err(JobError::Encoding);
        }
        let [ENCODING, bytes @ ..] = bytes else { return Err(JobError::Encoding) };
        let (job, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| JobError::Encoding)?;
        if !rest.is_empty() {
            return Err(JobError::Encoding);
        }
        job.validate().map_err(JobError::Sent)?;
        Ok(job)
    }

    /// SHA-256 over a version tag and the encoding.
    ///
    /// # Errors
    ///
    /// As [`Job::encode`].
    pub fn hash(&self) -> Result<[u8; 32], JobError> {
        let mut hasher = Sha256::new();
        hasher.update(HASH_DOMAIN);
        hasher.update(self.encode()?);
        Ok(hasher.finalize().into())
    }

    /// Returns the hash under which policies list the job. For a job that learns from reports, it
    /// leaves out the manifest, the counts of records and what follows from them. So the job may
    /// run again when more records have arrived. For other jobs it is [`Job::hash`].
    ///
    /// # Errors
    ///
    /// As [`Job::encode`].
    pub fn listed_hash(&self) -> Result<[u8; 32], JobError> {
        let mut job = self.clone();
        if let Format::Reports(reports) = &mut job.data.format {
            reports.manifest = [0; 32];
            (job.data.train_records, job.data.test_records) = (0, 0);
            if job.training.memory_limit_mib.is_some() {
                job.training.micro_batch = None; // it follows from the counts
            }
        }
        job.hash()
    }

    /// Outputs of the network: the classes, or the targets.
    pub fn outputs(&self) -> usize {
        match &self.data.task {
            Task::Classes(classes) => *classes,
            Task::Regression(targets) => targets.len(),
        }
    }

    /// The features that embeddings read, directly or through slices, with their numbers of codes.
    pub fn codes(&self) -> Vec<(Range<usize>, u32)> {
        let nodes = &self.network.nodes;
        let read = |node: &Node<AnyLayer>| {
            let AnyLayer::Embedding(embedding) = node.layer else { return None };
            let (mut origin, mut from, mut len) = (node.input, 0, self.data.features());
            while let Origin::Node(i) = origin {
                let node = nodes.get(usize::from(i))?;
                let AnyLayer::Slice(slice) = node.layer else { return None };
                (origin, from, len) = (node.input, from + slice.from as usize, len.min(slice.steps as usize));
            }
            Some((from..from + len, embedding.codes))
        };
        nodes.iter().filter_map(read).collect()
    }

    /// Words of a record's labels: the outputs of all its predictions.
    pub fn label_words(&self) -> usize {
        self.outputs().saturating_mul(self.data.labels_per_record)
    }

    /// Predictions that an epoch learns from.
    pub fn predictions_per_epoch(&self) -> usize {
        self.records_per_epoch() * self.data.labels_per_record
    }

    /// Predictions that an evaluation measures.
    pub fn test_predictions(&self) -> usize {
        self.data.test_records * self.data.labels_per_record
    }

    /// `log2` of the divisor of sums over a batch: its records, times `labels_per_record`, rounded
    /// up to a power of two. With 6 labels a record, the result is 6/8 of the mean.
    pub fn batch_log2(&self) -> u32 {
        self.training.batch.ilog2() + self.data.labels_per_record.next_power_of_two().ilog2()
    }

    /// The seed of public randomness: initial weights, batch orders, dropout, augmentation. Nothing
    /// secret may come from it.
    pub(crate) fn public_seed(&self) -> Seed {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.training.seed.to_le_bytes());
        bytes[8..].copy_from_slice(b"symbolon job seed v1....");
        Seed::from_bytes(&bytes)
    }

    /// Steps an epoch, the shorter last one included.
    pub fn steps_per_epoch(&self) -> usize {
        self.records_per_epoch().div_ceil(self.step_records())
    }

    /// Returns the places of step `step`'s records in an epoch's order; steps are counted from 0.
    pub fn batch(&self, step: usize) -> std::ops::Range<usize> {
        let start = step * self.step_records();
        start..self.records_per_epoch().min(start + self.step_records())
    }

    /// Most records that pass the network at once.
    pub fn rows_at_once(&self) -> usize {
        self.training.micro_batch.unwrap_or(self.training.batch)
    }

    /// Records of the smallest step.
    pub fn smallest_batch(&self) -> usize {
        match self.records_per_epoch() % self.step_records() {
            0 => self.step_records(),
            rest => rest,
        }
    }

    /// Records that an epoch learns from.
    pub fn records_per_epoch(&self) -> usize {
        let (records, batch) = (self.data.train_records, self.step_records());
        if self.training.drop_last { records - records % batch } else { records }
    }

    /// Epochs that are unlike others, and the number of epochs after which those behind repeat.
    ///
    /// - Adam chooses its buckets in the first steps and in each `refresh_every`th, wherever an
    ///   epoch begins.
    /// - Its bias correction takes long to become 1.
    /// - A rate's bits decide how many bits its step opens. So epochs in which a schedule changes
    ///   it are unlike all others.
    #[must_use]
    pub fn rhythm(&self) -> (u32, u32) {
        let [first, period] = self.recipe().period::<u64>();
        let steps = self.steps_per_epoch().max(1) as u64;
        let epochs = |steps: u64| u32::try_from(steps).unwrap_or(u32::MAX);
        (epochs(first.div_ceil(steps)), epochs(period / gcd(period, steps)))
    }

    /// The bound below which errors of a scaled target stay, so that the words of the loss and of
    /// the metrics hold them: squares (`2 f` fraction bits) are below `2^(k-2)`. Infinite if the
    /// job reveals nothing that is made of errors.
    pub fn error_limit(&self) -> f64 {
        let set = self.test_set();
        let of_loss = (self.reveal.loss == RevealLoss::Epoch).then(|| self.loss.error_bits(&self.loss_numbers()));
        let of_metrics = self.measured().iter().filter_map(|metric| metric.describe().error_bits(&set));
        let bits = of_metrics.chain(of_loss).min();
        bits.map_or(f64::INFINITY, |bits| pow2(bits) / pow2(self.numbers.frac_bits))
    }

    /// Bits to truncate a batch's summed gradient (`2 f` fraction bits) by, to have its mean (less,
    /// if `labels_per_record` is no power of two) at `fg` bits: `2 f - fg` and
    /// [`batch_log2`](Self::batch_log2). `None` if negative, which no valid job has.
    pub fn grad_shift(&self) -> Option<u32> {
        (2 * self.numbers.frac_bits + self.batch_log2()).checked_sub(self.numbers.grad_frac_bits)
    }
}

/// The greatest common divisor.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
