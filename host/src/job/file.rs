//! The shape of a job file. It is looser than [`Job`]: defaults are left out, and choices are keys.

use std::path::Path;

use serde::Deserialize;

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
    features: usize,
    train_records: usize,
    test_records: usize,
    classes: Option<usize>,
    target: Option<Affine>,
    scale: Scale,
    idx: Option<Idx>,
    csv: Option<CsvFile>,
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevealFile {
    accuracy: Option<bool>,
    loss: Option<RevealLoss>,
    #[serde(default)]
    model: bool,
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

/// Reads, fills in defaults, checks.
pub(super) fn parse(text: &str, file: &Path) -> Result<Job, JobError> {
    let raw: JobFile = toml::from_str(text).map_err(|error| syntax(text, file, &error))?;
    let invalid = |invalid| JobError::Invalid { file: file.into(), invalid };
    let job = raw.resolve().map_err(invalid)?;
    job.validate().map_err(invalid)?;
    Ok(job)
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
    fn resolve(self) -> Result<Job, Invalid> {
        let data = self.data.resolve()?;
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
    fn resolve(self) -> Result<Data, Invalid> {
        let format = match (self.idx, self.csv) {
            (Some(idx), None) => Format::Idx(idx),
            (None, Some(csv)) => Format::Csv(csv.resolve()?),
            _ => return Err(broken("data", Rule::ExactlyOne { of: &["[data.idx]", "[data.csv]"] })),
        };
        let task = match (self.classes, self.target) {
            (Some(classes), None) => Task::Classes(classes),
            (None, Some(target)) => Task::Regression(target),
            _ => return Err(broken("data", Rule::ExactlyOne { of: &["classes", "target"] })),
        };
        let Self { features, train_records, test_records, scale, .. } = self;
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

impl RevealFile {
    fn resolve(self, data: &Data) -> Reveal {
        let counts = matches!(data.task, Task::Classes(_)) && data.test_records > 0;
        Reveal {
            accuracy: self.accuracy.unwrap_or(counts),
            loss: self.loss.unwrap_or(RevealLoss::Epoch),
            model: self.model,
        }
    }
}
