//! From `[data.reports]`, a schema and a manifest to what a job says about reports.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use symbolon_core::layer::Shape;
use symbolon_core::report::{
    header::DeviceId,
    schema::{Field, Kind, Schema, SchemaError},
};

use super::one_or_more::OneOrMore;
use super::{
    Affine, Column, Data, Format, Held, Invalid, Place, Records, Reports, Rule, Scale, Senders, Set, Target, Task,
};

/// What a job that learns from reports takes from outside of its file. All of it is public.
pub struct Source<'a> {
    /// Schema of the records.
    pub schema: Schema<'a>,
    /// Schema of the reports about them, if the job file names one.
    pub label_schema: Option<Schema<'a>>,
    /// Digest of the manifest.
    pub manifest: [u8; 32],
    /// Who sent each record of the manifest, in its order.
    pub senders: &'a mut dyn Iterator<Item = DeviceId>,
    /// The device of a name that is no id.
    pub named: &'a dyn Fn(&str) -> Option<DeviceId>,
}

/// `[data.reports]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportsFile {
    /// The schema's file, beside the job file.
    pub(super) schema: String,
    /// The schema's file of reports about the records, if labels come in reports of their own.
    pub(super) label_schema: Option<String>,
    /// Fields that are features, in this order; all readings but the label, if left out.
    features: Option<Vec<String>>,
    /// The field to predict: a label, or a reading for a regression.
    label: String,
    /// Devices to train on, by name or id; all but those for testing, if left out.
    train_devices: Option<Vec<String>>,
    /// Devices to test on, by name or id; at most one of `test_devices` and `test_every`.
    test_devices: Option<Vec<String>>,
    /// Each `n`-th record is for testing; 2 or more.
    test_every: Option<u64>,
}

/// The keys of `[data]` that mean something to reports.
pub(super) struct Rest {
    pub(super) classes: Option<usize>,
    pub(super) target: Option<OneOrMore<Affine>>,
    pub(super) scale: Scale,
    pub(super) shape: Option<Shape>,
}

fn broken(key: &str, rule: Rule) -> Invalid {
    Invalid { key: key.to_owned(), rule }
}

/// How many names an error lists.
const MAX_LISTED: usize = 32;

fn field<'a>(schema: &Schema<'a>, key: &str, name: &str) -> Result<(usize, Field<'a>), Invalid> {
    let mut fields = schema.fields.iter().copied().enumerate().filter(|(_, field)| field.name == name);
    match (fields.next(), fields.next()) {
        (Some(field), None) => Ok(field),
        (Some(_), Some(_)) => Err(broken(key, Rule::Duplicate { got: name.to_owned() })),
        (None, _) => {
            let known = schema.fields.iter().take(MAX_LISTED).map(|field| field.name.to_owned()).collect();
            Err(broken(key, Rule::Field { got: name.to_owned(), known }))
        }
    }
}

fn records(schema: &Schema<'_>, key: &str) -> Result<Records, Invalid> {
    let layout = schema.layout().map_err(|error| broken(key, Rule::Schema { error }))?;
    let bytes =
        u32::try_from(layout.record_bytes()).map_err(|_| broken(key, Rule::Schema { error: SchemaError::Long }))?;
    Ok(Records { schema: schema.hash(), bytes })
}

/// Where the codes of field `index` stand.
fn places(schema: &Schema<'_>, index: usize) -> impl Iterator<Item = Place> {
    let place = schema.place(index);
    place.into_iter().flat_map(|place| {
        let at = move |i: usize| u32::try_from(place.at_bit + i * place.bits as usize);
        (0..place.count).filter_map(move |i| Some(Place { bits: place.bits, at: at(i).ok()? }))
    })
}

impl ReportsFile {
    pub(super) fn resolve(self, rest: Rest, source: Source<'_>) -> Result<Data, Invalid> {
        let records = self::records(&source.schema, "data.reports.schema")?;
        let about = match (&self.label_schema, &source.label_schema) {
            (None, None) => None,
            (Some(_), Some(schema)) => Some(self::records(schema, "data.reports.label_schema")?),
            (Some(_), None) => return Err(broken("data.reports.label_schema", Rule::NeedsManifest)),
            (None, Some(_)) => return Err(broken("data.reports.label_schema", Rule::NeededBy { by: "the manifest" })),
        };
        let (target, task) = self.target(&rest, source.label_schema.as_ref().unwrap_or(&source.schema))?;
        let columns = self.columns(&source.schema)?;
        let (train, test) = self.split(source.named)?;
        let mut reports = Reports { records, about, manifest: source.manifest, columns, target, train, test };
        let [train_records, test_records] = counts(&reports, source.senders);
        if train_records == 0 {
            return Err(broken("data.reports.train_devices", Rule::NoRecords));
        }
        if test_records == 0 {
            match reports.test {
                Held::None => {}
                // Fewer records than that: as if nothing had been held back.
                Held::Every(_) => reports.test = Held::None,
                Held::Of(_) => return Err(broken("data.reports.test_devices", Rule::NoRecords)),
            }
        }
        let features = u32::try_from(reports.columns.len()).unwrap_or(u32::MAX);
        let shape = rest.shape.unwrap_or(Shape::vector(features));
        if shape.words() != reports.columns.len() {
            return Err(broken("data.shape", Rule::ShapeOf { got: shape, features: reports.columns.len() }));
        }
        Ok(Data {
            format: Format::Reports(reports),
            shape,
            train_records,
            test_records,
            task,
            labels_per_record: 1,
            scale: rest.scale,
            augment: None,
        })
    }

    fn target(&self, rest: &Rest, schema: &Schema<'_>) -> Result<(Target, Task), Invalid> {
        let key = "data.reports.label";
        let (index, field) = field(schema, key, &self.label)?;
        let mut places = places(schema, index);
        let (Some(place), None) = (places.next(), places.next()) else {
            return Err(broken(key, Rule::NotOne { got: self.label.clone() }));
        };
        match (field.kind, rest.classes, &rest.target) {
            (Kind::Label { classes, .. }, given, None) => {
                Ok((Target::Label(place), Task::Classes(given.unwrap_or(usize::from(classes)))))
            }
            (Kind::Label { .. }, _, Some(_)) => Err(broken("data.target", Rule::UnusedBy { by: "a label" })),
            (Kind::Reading { offset, step, .. }, None, Some(target)) => {
                let targets = target.clone().list();
                if targets.len() != 1 {
                    return Err(broken("data.target", Rule::Labels { got: 1, want: targets.len() }));
                }
                Ok((Target::Reading(Column { place, offset, step }), Task::Regression(targets)))
            }
            (Kind::Reading { .. }, Some(_), _) => Err(broken("data.classes", Rule::UnusedBy { by: "a reading" })),
            (Kind::Reading { .. }, None, None) => {
                Err(broken("data.target", Rule::NeededBy { by: "a reading as the target" }))
            }
        }
    }

    /// The chosen readings; without a choice all but the target.
    fn columns(&self, schema: &Schema<'_>) -> Result<Vec<Column>, Invalid> {
        let key = "data.reports.features";
        let own_label = self.label_schema.is_none();
        let mut chosen = Vec::new();
        match &self.features {
            None => {
                let reading = |field: &Field<'_>| matches!(field.kind, Kind::Reading { .. });
                let target = |field: &Field<'_>| own_label && field.name == self.label;
                let all = schema.fields.iter().enumerate();
                chosen.extend(all.filter(|(_, f)| reading(f) && !target(f)).map(|(index, field)| (index, *field)));
            }
            Some(names) => {
                let mut seen = BTreeSet::new();
                for name in names {
                    let twice = !seen.insert(name) || (own_label && *name == self.label);
                    if twice {
                        return Err(broken(key, Rule::Duplicate { got: name.clone() }));
                    }
                    chosen.push(field(schema, key, name)?);
                }
            }
        }
        let mut columns = Vec::new();
        for (index, field) in chosen {
            let Kind::Reading { offset, step, .. } = field.kind else {
                return Err(broken(key, Rule::NotAReading { got: field.name.to_owned() }));
            };
            columns.extend(places(schema, index).map(|place| Column { place, offset, step }));
        }
        Ok(columns)
    }

    fn split(&self, named: &dyn Fn(&str) -> Option<DeviceId>) -> Result<(Senders, Held), Invalid> {
        let devices = |key: &str, names: &[String]| {
            let mut ids = BTreeSet::new();
            for name in names {
                let id = named(name).or_else(|| id(name)).map(|DeviceId(id)| id);
                let id = id.ok_or_else(|| broken(key, Rule::Device { got: name.clone() }))?;
                if !ids.insert(id) {
                    return Err(broken(key, Rule::Duplicate { got: name.clone() }));
                }
            }
            Ok(ids.into_iter().collect())
        };
        let train = match &self.train_devices {
            None => Senders::All,
            Some(names) => Senders::Only(devices("data.reports.train_devices", names)?),
        };
        let test = match (&self.test_devices, self.test_every) {
            (None, None) => Held::None,
            (None, Some(every)) => Held::Every(every),
            (Some(names), None) => Held::Of(devices("data.reports.test_devices", names)?),
            (Some(_), Some(_)) => {
                return Err(broken("data.reports", Rule::AtMostOne { of: &["test_devices", "test_every"] }));
            }
        };
        Ok((train, test))
    }
}

/// The device of an id as it is written: 16 hexadecimal digits.
fn id(text: &str) -> Option<DeviceId> {
    let digits = text.len() == 16 && text.bytes().all(|c| c.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok().map(DeviceId)).flatten()
}

/// Records of both sets.
fn counts(reports: &Reports, senders: &mut dyn Iterator<Item = DeviceId>) -> [usize; 2] {
    let mut sorter = reports.sorter();
    senders.fold([0, 0], |[train, test], device| match sorter.next(device) {
        Some(Set::Train) => [train + 1, test],
        Some(Set::Test) => [train, test + 1],
        None => [train, test],
    })
}
