//! A small task whose records are stored reports: every width, labels with codes to spare, random words.

use crate::jobs::Values;
use std::path::Path;
use symbolon::{
    data::Pile,
    job::{Draft, Job, Source},
    schema::{OwnedField, OwnedKind, SchemaFile},
    storage::Storage,
    train::Inputs,
};
use symbolon_core::{
    report::{
        header::DeviceId,
        schema::{Field, Kind, Schema, Width},
    },
    word::Word,
};

const fn reading(name: &str, count: u16, width: Width, offset: f64, step: f64) -> Field<'_> {
    Field { name, count, kind: Kind::Reading { width, offset, step, unit: "1" } }
}

/// The fields of a record; the label's last code is no class.
pub const FIELDS: [Field<'static>; 6] = [
    reading("on", 3, Width::Bit, 0.0, 1.0),
    reading("temperature", 3, Width::Half, -4.0, 0.000_125),
    Field { name: "state", count: 1, kind: Kind::Label { bits: 2, classes: 3 } },
    reading("level", 2, Width::Byte, 1.0, -1.0 / 128.0),
    reading("counter", 1, Width::Word, 0.0, 1.0 / 4_294_967_296.0),
    reading("power", 1, Width::Half, -1.0, 1.0 / 32_768.0),
];

/// Devices that report in turn.
pub const DEVICES: [DeviceId; 3] = [DeviceId(3), DeviceId(1), DeviceId(0x1234_5678_9abc_def0)];

/// The schema, as servers read it from a file.
fn schema_file() -> SchemaFile {
    let fields = FIELDS.iter().map(|field| OwnedField {
        name: field.name.to_owned(),
        count: field.count,
        kind: match field.kind {
            Kind::Reading { width, offset, step, unit } => {
                OwnedKind::Reading { width, offset, step, unit: unit.to_owned() }
            }
            Kind::Label { bits, classes } => OwnedKind::Label { bits, classes },
        },
    });
    SchemaFile::new(Task::schema().task, fields.collect()).unwrap()
}

/// What is to be said about a job on such records that is not always the same.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// 32 or 64; 32 bits leave the counter out.
    pub ring_bits: u32,
    /// Lanes.
    pub lanes: u16,
    /// Records of the manifest; each fifth is for testing.
    pub records: usize,
    /// Whether the power is to be predicted, and not the state.
    pub regression: bool,
    /// The keys of `[optimizer]`.
    pub optimizer: &'a str,
}

impl Task<'_> {
    /// The schema.
    #[must_use]
    pub const fn schema() -> Schema<'static> {
        Schema { task: "small", fields: &FIELDS }
    }

    /// The job.
    ///
    /// # Panics
    ///
    /// If it is not valid.
    #[must_use]
    pub fn job(&self) -> Job {
        let Self { ring_bits, lanes, records, regression, optimizer } = self;
        let (loss, task, outputs) = match regression {
            false => ("softmax-cross-entropy", "label = \"state\"", 3),
            true => ("squared-error", "label = \"power\"", 1),
        };
        let target = if *regression { "target = { divide = 2 }\n" } else { "" };
        let counter = if *ring_bits == 64 { "\"counter\", " } else { "" };
        let toml = format!(
            "version = 2\nname = \"stored\"\nloss = \"{loss}\"\n\
             [data]\n{target}scale = {{ divide = 4 }}\n\
             [data.reports]\nschema = \"small.toml\"\nfeatures = [{counter}\"temperature\", \"on\", \"level\"]\n\
             {task}\ntest_every = 5\n\
             [numbers]\nring_bits = {ring_bits}\n\
             [network]\nlayers = [{{ kind = 'dense', units = 6 }}, {{ kind = 'relu' }}, {{ kind = 'dense', units = {outputs} }}]\n\
             [training]\nepochs = 1\nbatch = 16\nseed = 7\n\
             [optimizer]\n{optimizer}\n\
             [lanes]\nlanes = {lanes}\ntile = 64\n\
             [reveal]\nmetrics = true\nloss = \"epoch\"\nmodel = true\n"
        );
        let source = Source {
            schema: Self::schema(),
            label_schema: None,
            manifest: [9; 32],
            senders: &mut DEVICES.into_iter().cycle().take(*records),
            named: &|_| None,
        };
        Draft::parse(&toml, Path::new("stored.toml")).unwrap().resolve(Some(source)).unwrap()
    }

    /// Records of random bytes: any are codes.
    ///
    /// # Panics
    ///
    /// Not for this schema.
    #[must_use]
    pub fn pile(&self) -> Pile {
        let (mut values, bytes) = (Values(31), Self::schema().layout().unwrap().record_bytes());
        let mut record = || (0..bytes).map(|_| values.next().to_le_bytes()[0]).collect::<Vec<u8>>();
        let senders = DEVICES.into_iter().cycle().take(self.records);
        Pile { schemas: vec![schema_file()], records: senders.map(|device| (device, record(), Vec::new())).collect() }
    }

    /// The records' codes, with noise above them as shares have it.
    ///
    /// # Panics
    ///
    /// Not for this job.
    #[must_use]
    pub fn inputs<W: Word>(&self) -> Inputs<W> {
        let mut inputs = Inputs::<W>::stored(&self.job(), &self.pile(), &Storage::default()).unwrap();
        let mut values = Values(77);
        let tables = [&mut inputs.train, &mut inputs.train_labels, &mut inputs.test, &mut inputs.test_labels];
        for word in tables.into_iter().flat_map(|table| table.memory_mut().unwrap()) {
            // Above the widest code.
            *word = word.add(W::from_u64(values.next()).shl(W::BITS / 2));
        }
        inputs
    }
}
