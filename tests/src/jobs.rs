//! Small jobs and data sets for them.

use crate::dir::TempDir;
use std::{fmt::Write, path::Path};
use symbolon::{
    data::{Dataset, load},
    job::Job,
    train::Inputs,
};
use symbolon_core::word::Word;

/// A small generator of public test values.
#[derive(Clone, Debug)]
pub struct Values(pub u64);

impl Values {
    /// 64 bits that look random.
    #[allow(clippy::should_implement_trait)] // it never ends
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is small.
    #[allow(clippy::cast_possible_truncation)]
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In `[-1, 1)`, in steps of a thousandth.
    #[allow(clippy::cast_precision_loss)]
    pub fn unit(&mut self) -> f64 {
        self.below(2000) as f64 / 1000.0 - 1.0
    }
}

/// What is to be said about a job that is not always the same.
#[derive(Clone, Debug)]
pub struct Shape<'a> {
    /// 32 or 64.
    pub ring_bits: u32,
    /// The keys of `[optimizer]`.
    pub optimizer: &'a str,
    /// Lanes.
    pub lanes: u16,
    /// Epochs.
    pub epochs: u32,
    /// Records a step.
    pub batch: usize,
    /// Training records; a quarter as many more are for testing.
    pub records: usize,
    /// Units of the hidden layer.
    pub hidden: usize,
    /// `aes128-ctr` or `chacha20`.
    pub prg: &'a str,
    /// Whether a real number is predicted, with half the squared error as loss.
    pub regression: bool,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            ring_bits: 64,
            optimizer: "kind = \"sgd\"\nlearning_rate = 0.5",
            lanes: 2,
            epochs: 1,
            batch: 16,
            records: 112,
            hidden: 8,
            prg: "aes128-ctr",
            regression: false,
        }
    }
}

/// Features of a record of `csv`.
pub const FEATURES: usize = 6;
/// Classes of `csv`.
pub const CLASSES: usize = 3;

impl Shape<'_> {
    /// The job as a file's text.
    #[must_use]
    pub fn toml(&self) -> String {
        let Self { ring_bits, optimizer, lanes, epochs, batch, records, hidden, prg, regression } = self;
        let (loss, task, outputs) = match regression {
            false => ("softmax-cross-entropy", format!("classes = {CLASSES}"), CLASSES),
            true => ("squared-error", "target = { divide = 1 }".to_owned(), 1),
        };
        format!(
            "version = 2\nname = \"small\"\nloss = \"{loss}\"\n\
             [data]\nshape = [{FEATURES}]\ntrain_records = {records}\ntest_records = {}\n{task}\nscale = {{ divide = 1 }}\n\
             [data.csv]\ntrain = \"records.csv\"\ntest_every = 5\nlabel = \"label\"\n\
             [numbers]\nring_bits = {ring_bits}\nprg = \"{prg}\"\n\
             [network]\nlayers = [{{ kind = 'dense', units = {hidden} }}, {{ kind = 'relu' }}, {{ kind = 'dense', units = {outputs} }}]\n\
             [training]\nepochs = {epochs}\nbatch = {batch}\nseed = 7\n\
             [optimizer]\n{optimizer}\n\
             [lanes]\nlanes = {lanes}\ntile = 64\n\
             [reveal]\nmetrics = true\nloss = \"epoch\"\nmodel = true\n",
            records / 4
        )
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> Job {
        Job::parse(&self.toml(), Path::new("small.toml")).unwrap()
    }

    /// Records for it, as a CSV file's text: classes (or targets) follow from the features, so they can be learned.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut values = Values(99);
        let mut text: String = (0..FEATURES).fold(String::new(), |text, i| text + &format!("f{i},")) + "label\n";
        for _ in 0..self.records + self.records / 4 {
            let record: [f64; FEATURES] = std::array::from_fn(|_| values.unit());
            let _ = record.iter().try_for_each(|x| write!(text, "{x},")); // a String takes everything
            let label = match self.regression {
                true => format!("{}", record[0] - 0.5 * record[1]),
                false if record[0] > 0.3 => "2".to_owned(),
                false => u32::from(record[1] > record[2]).to_string(),
            };
            text += &label;
            text.push('\n');
        }
        text
    }

    /// The records, read as the job says.
    #[must_use]
    pub fn records(&self) -> (Dataset, Dataset) {
        let dir = TempDir::new();
        let _ = dir.file("records.csv", &self.csv());
        load(&self.job(), &dir).unwrap()
    }

    /// The records in the job's numbers.
    #[must_use]
    pub fn inputs<W: Word>(&self) -> Inputs<W> {
        let (train, test) = self.records();
        Inputs::encode(&self.job(), &train, &test).unwrap()
    }
}

/// All optimizers, with and without their options.
pub const OPTIMIZERS: [&str; 10] = [
    "kind = \"sgd\"\nlearning_rate = 0.5",
    "kind = \"momentum\"\nlearning_rate = 0.05\nmomentum = 0.9",
    "kind = \"adam\"",
    "kind = \"adam\"\nrefresh_every = 4\nlazy_second_moment = true",
    "kind = \"adam\"\nbias_correction = true",
    "kind = \"amsgrad\"",
    "kind = \"sgd\"\nlearning_rate = 0.5\nclip = 0.05\nschedule = { kind = \"step\", every_epochs = 1, factor = 0.3 }",
    "kind = \"nesterov\"\nlearning_rate = 0.05\nmomentum = 0.9\nweight_decay = 0.0009765625\nwarm_up_steps = 1",
    "kind = \"adamw\"\nlearning_rate = 0.0015\nschedule = \"cosine\"\nwarm_up_steps = 1",
    "kind = \"amsgrad\"\nlearning_rate = 0.003\nrefresh_every = 3\nclip = 0.25\nbias_correction = true",
];
