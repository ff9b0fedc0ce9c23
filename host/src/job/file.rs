//! The shape of a job file. It is looser than [`Job`]: defaults are left out, and choices are keys.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::source::{ReportsFile, Rest, Source};
use super::{
    Adam, Affine, Columns, Csv, Data, Dyadic, Format, Idx, Invalid, Job, JobError, Lanes, Layer, Loss, Network,
    Numbers, OnMissing, Optimizer, Prg, Reveal, RevealLoss, Rule, Scale, Task, TestSet, Training, validate,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFile {
    name: String,
    data: DataFile,
    #[serde(default)]
    numbers: NumbersFile,
    network: NetworkFile,
    loss: Loss,
    training: Training,
    optimizer: OptimizerFile,
    #[serde(default)]
    lanes: Lanes,
    #[serde(default)]
    reveal: RevealFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataFile {
    features: Option<usize>,
    train_records: Option<usize>,
    test_records: Option<usize>,
    classes: Option<usize>,
    target: Option<Affine>,
    scale: Scale,
    idx: Option<Idx>,
    csv: Option<CsvFile>,
    reports: Option<ReportsFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CsvFile {
    train: String,
    test: Option<String>,
    test_every: Option<usize>,
    test_fraction: Option<f64>,
    #[serde(default = "comma")]
    delimiter: char,
    #[serde(default = "yes")]
    header: bool,
    columns: Option<Vec<String>>,
    except: Option<Vec<String>>,
    label: String,
    #[serde(default = "empty_cell")]
    missing: Vec<String>,
    #[serde(default = "refuse")]
    on_missing: OnMissing,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumbersFile {
    ring_bits: Option<u32>,
    frac_bits: Option<u32>,
    grad_frac_bits: Option<u32>,
    prg: Option<Prg>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkFile {
    layers: Vec<LayerFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum LayerFile {
    Dense(usize),
    Relu,
}

#[derive(Clone, Copy, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sgd,
    Momentum,
    Adam,
    AmsGrad,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OptimizerFile {
    kind: Kind,
    learning_rate: Option<f64>,
    momentum: Option<f64>,
    low: Option<u32>,
    shift: Option<u32>,
    keep: Option<u32>,
    lazy: Option<bool>,
    bias_correction: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevealFile {
    accuracy: Option<bool>,
    loss: Option<RevealLoss>,
    #[serde(default)]
    model: bool,
    #[serde(default = "yes")]
    alarm: bool,
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

fn empty_cell() -> Vec<String> {
    vec![String::new()]
}

fn refuse() -> OnMissing {
    OnMissing::Refuse
}

/// A job file that was read but is no job yet: one that learns from reports takes its fields from a schema and its counts from a manifest.
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
    /// [`JobError::Syntax`] with line and column.
    pub fn parse(text: &str, file: &Path) -> Result<Self, JobError> {
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

    /// Fills in defaults and checks. `source` is for jobs that learn from reports, and for no others.
    ///
    /// # Errors
    ///
    /// [`JobError::Invalid`] with key and rule.
    pub fn resolve(self, source: Option<Source<'_>>) -> Result<Job, JobError> {
        let Self { file, raw } = self;
        let job = raw.resolve(source).and_then(|job| job.validate().map(|()| job));
        job.map_err(|invalid| JobError::Invalid { file, invalid })
    }
}

fn syntax(text: &str, file: &Path, error: &toml::de::Error) -> JobError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().map_or(0, |last| last.chars().count());
    JobError::Syntax { file: file.into(), line, column, message: error.message().trim_end().to_owned() }
}

fn broken(key: &str, rule: Rule) -> Invalid {
    Invalid { key: key.to_owned(), rule }
}

impl JobFile {
    fn resolve(self, source: Option<Source<'_>>) -> Result<Job, Invalid> {
        let data = self.data.resolve(source)?;
        let numbers = self.numbers.resolve()?;
        validate::numbers(&numbers)?;
        let optimizer = self.optimizer.resolve(&numbers)?;
        let reveal = self.reveal.resolve(&data);
        let layers = self.network.layers.into_iter().map(|layer| match layer {
            LayerFile::Dense(units) => Layer::Dense { units },
            LayerFile::Relu => Layer::Relu,
        });
        Ok(Job {
            name: self.name,
            data,
            numbers,
            network: Network { layers: layers.collect() },
            loss: self.loss,
            training: self.training,
            optimizer,
            lanes: self.lanes,
            reveal,
        })
    }
}

impl DataFile {
    fn resolve(self, source: Option<Source<'_>>) -> Result<Data, Invalid> {
        let Self { classes, target, scale, .. } = self;
        let counts = [
            ("data.features", self.features),
            ("data.train_records", self.train_records),
            ("data.test_records", self.test_records),
        ];
        let format = match (self.idx, self.csv, self.reports) {
            (Some(idx), None, None) => Format::Idx(idx),
            (None, Some(csv), None) => Format::Csv(csv.resolve()?),
            (None, None, Some(reports)) => {
                if let Some((key, _)) = counts.iter().find(|(_, count)| count.is_some()) {
                    return Err(broken(key, Rule::UnusedBy { by: "[data.reports], which takes it from the manifest" }));
                }
                let source = source.ok_or_else(|| broken("data.reports", Rule::NeedsManifest))?;
                return reports.resolve(Rest { classes, target, scale }, source);
            }
            _ => {
                let of = &["[data.idx]", "[data.csv]", "[data.reports]"];
                return Err(broken("data", Rule::ExactlyOne { of }));
            }
        };
        let task = match (classes, target) {
            (Some(classes), None) => Task::Classes(classes),
            (None, Some(target)) => Task::Regression(target),
            _ => return Err(broken("data", Rule::ExactlyOne { of: &["classes", "target"] })),
        };
        let count = |(key, count): (&str, Option<usize>)| {
            count.ok_or_else(|| broken(key, Rule::NeededBy { by: "a job that learns from files" }))
        };
        let [features, train_records, test_records] = counts.map(count);
        let (features, train_records, test_records) = (features?, train_records?, test_records?);
        Ok(Data { format, features, train_records, test_records, task, scale })
    }
}

impl CsvFile {
    fn resolve(self) -> Result<Csv, Invalid> {
        let test = match (self.test, self.test_every, self.test_fraction) {
            (None, None, None) => TestSet::None,
            (Some(name), None, None) => TestSet::File(name),
            (None, Some(every), None) => TestSet::Every(every),
            (None, None, Some(fraction)) => TestSet::Fraction(fraction),
            _ => return Err(broken("data.csv", Rule::AtMostOne { of: &["test", "test_every", "test_fraction"] })),
        };
        let columns = match (self.columns, self.except) {
            (None, None) => Columns::All,
            (Some(only), None) => Columns::Only(only),
            (None, Some(except)) => Columns::Except(except),
            _ => return Err(broken("data.csv", Rule::AtMostOne { of: &["columns", "except"] })),
        };
        let Self { train, delimiter, header, label, missing, on_missing, .. } = self;
        Ok(Csv { train, test, delimiter, header, columns, label, missing, on_missing })
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
            grad_frac_bits: self.grad_frac_bits.unwrap_or(grad_frac_bits),
            prg: self.prg.unwrap_or(Prg::Aes128Ctr),
        })
    }
}

impl OptimizerFile {
    fn resolve(self, numbers: &Numbers) -> Result<Optimizer, Invalid> {
        let rate = |by| dyadic("optimizer.learning_rate", self.learning_rate, by);
        match self.kind {
            Kind::Sgd => {
                self.unused("sgd", self.momentum.is_some(), "optimizer.momentum")?;
                self.without_cells("sgd")?;
                Ok(Optimizer::Sgd { learning_rate: rate("sgd")? })
            }
            Kind::Momentum => {
                self.without_cells("momentum")?;
                let momentum = dyadic("optimizer.momentum", self.momentum, "momentum")?;
                Ok(Optimizer::Momentum { learning_rate: rate("momentum")?, momentum })
            }
            Kind::Adam => Ok(Optimizer::Adam(self.cells("adam", numbers)?)),
            Kind::AmsGrad => Ok(Optimizer::AmsGrad(self.cells("amsgrad", numbers)?)),
        }
    }

    fn unused(&self, by: &'static str, given: bool, key: &str) -> Result<(), Invalid> {
        if given { Err(broken(key, Rule::UnusedBy { by })) } else { Ok(()) }
    }

    fn without_cells(&self, by: &'static str) -> Result<(), Invalid> {
        self.unused(by, self.low.is_some(), "optimizer.low")?;
        self.unused(by, self.shift.is_some(), "optimizer.shift")?;
        self.unused(by, self.keep.is_some(), "optimizer.keep")?;
        self.unused(by, self.lazy.is_some(), "optimizer.lazy")?;
        self.unused(by, self.bias_correction.is_some(), "optimizer.bias_correction")
    }

    fn cells(&self, by: &'static str, numbers: &Numbers) -> Result<Adam, Invalid> {
        self.unused(by, self.learning_rate.is_some(), "optimizer.learning_rate")?;
        self.unused(by, self.momentum.is_some(), "optimizer.momentum")?;
        let default = Adam::for_numbers(numbers);
        let (Some(low), Some(shift)) = (self.low.or(default.map(|d| d.low)), self.shift.or(default.map(|d| d.shift)))
        else {
            let Numbers { frac_bits, grad_frac_bits, .. } = *numbers;
            return Err(broken("optimizer", Rule::AdamDefaults { frac_bits, grad_frac_bits }));
        };
        let (keep, bias_correction) = (self.keep.unwrap_or(1), self.bias_correction.unwrap_or(false));
        Ok(Adam { low, shift, keep, lazy: self.lazy.unwrap_or(false), bias_correction })
    }
}

fn dyadic(key: &str, value: Option<f64>, by: &'static str) -> Result<Dyadic, Invalid> {
    let got = value.ok_or_else(|| broken(key, Rule::NeededBy { by }))?;
    let (min, max) = ((-f64::from(Dyadic::MAX_SHIFT)).exp2(), f64::from(Dyadic::MAX_FACTOR));
    Dyadic::nearest(got).ok_or_else(|| broken(key, Rule::RealBetween { got, min, max }))
}

impl Default for RevealFile {
    fn default() -> Self {
        Self { accuracy: None, loss: None, model: false, alarm: true }
    }
}

impl RevealFile {
    fn resolve(self, data: &Data) -> Reveal {
        let counts = matches!(data.task, Task::Classes(_)) && data.test_records > 0;
        Reveal {
            accuracy: self.accuracy.unwrap_or(counts),
            loss: self.loss.unwrap_or(RevealLoss::Epoch),
            model: self.model,
            alarm: self.alarm,
        }
    }
}
