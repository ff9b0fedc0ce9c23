//! The rules of jobs that learn from reports. All places and lines are checked, so that nothing a peer sends leads out of a record or of the ring.

use std::collections::BTreeSet;

use symbolon_core::report::schema::MAX_RECORD_BYTES;

use super::{Checked, MAX_RECORDS, between, divisor, hold, real, wide};
use crate::job::{
    Column, Data, Held, Line, Numbers, Place, Records, Reports, Rule, Scale, Senders, Target, Task, pow2,
};

/// Bounds each list of devices.
const MAX_DEVICES: usize = 1 << 14;
const MAX_LABEL_BITS: u32 = 8;

/// All but what needs the numbers.
pub(super) fn reports(reports: &Reports, data: &Data) -> Checked {
    if let Scale::Columns(columns) = &data.scale {
        let threshold = columns.iter().position(|own| own.affine().is_none());
        let by = "[data.reports], whose readings are shared at their devices";
        threshold.map_or(Ok(()), |i| hold(false, &format!("data.scale.columns[{i}].above"), Rule::UnusedBy { by }))?;
    }
    records("data.reports.schema", reports.records)?;
    reports.about.map_or(Ok(()), |about| records("data.reports.label_schema", about))?;
    let (key, features) = ("data.reports.features", data.features());
    let got = reports.columns.len();
    hold(got == features && features <= 8 * MAX_RECORD_BYTES, key, Rule::PerFeature { got, features })?;
    let mut seen = BTreeSet::new();
    for (i, column) in reports.columns.iter().enumerate() {
        self::column(&format!("{key}[{i}]"), column, reports.records)?;
        hold(seen.insert(column.place.at), key, Rule::Duplicate { got: format!("bit {}", column.place.at) })?;
    }
    target(reports, data, &seen)?;
    split(reports)
}

/// What needs the numbers too, which are valid: each line stays inside of the ring.
pub(super) fn lines(data: &Data, numbers: &Numbers) -> Checked {
    let line = |key: &str, line: Line| {
        let (ring_bits, frac_bits) = (numbers.ring_bits, numbers.frac_bits);
        hold(line.bits < ring_bits, key, Rule::TooWide { bits: line.bits, ring_bits })?;
        let far = Rule::TooFar { reach: line.reach(), limit: pow2(ring_bits - 2 - frac_bits) };
        // A slope that is 0 after scaling would be no reading.
        let kept = line.slope != 0.0 && line.extra_bits(ring_bits, frac_bits).is_some();
        hold(kept, key, far)
    };
    let mut lines = data.lines().into_iter().enumerate();
    lines.try_for_each(|(i, own)| line(&format!("data.reports.features[{i}]"), own))?;
    data.target_line().map_or(Ok(()), |own| line("data.reports.label", own))
}

fn records(key: &str, records: Records) -> Checked {
    between(&format!("{key} (bytes of a record)"), u64::from(records.bytes), 1, wide(MAX_RECORD_BYTES))
}

fn place(key: &str, place: Place, records: Records) -> Checked {
    let Place { at, bits } = place;
    // Codes end within the byte that they start in, or are whole bytes.
    let shape = if bits < 8 { at % 8 + bits <= 8 } else { at.is_multiple_of(8) };
    let inside = at.checked_add(bits).is_some_and(|end| end <= 8 * records.bytes);
    hold(shape && inside, key, Rule::NoPlace { at, bits, record_bytes: records.bytes })
}

fn column(key: &str, column: &Column, records: Records) -> Checked {
    let Place { at, bits } = column.place;
    let none = Rule::NoPlace { at, bits, record_bytes: records.bytes };
    hold(matches!(bits, 1 | 8 | 16 | 32), key, none)?;
    place(key, column.place, records)?;
    real(key, column.offset)?;
    divisor(key, column.step)
}

fn target(reports: &Reports, data: &Data, features: &BTreeSet<u32>) -> Checked {
    let key = "data.reports.label";
    let records = reports.about.unwrap_or(reports.records);
    let place = match (reports.target, &data.task) {
        (Target::Label(place), Task::Classes(classes)) => {
            between(key, u64::from(place.bits), 1, u64::from(MAX_LABEL_BITS))?;
            self::place(key, place, records)?;
            between("data.classes", wide(*classes), 2, 1 << place.bits)?;
            place
        }
        (Target::Reading(column), Task::Regression(targets)) => {
            hold(targets.len() == 1, "data.target", Rule::Labels { got: 1, want: targets.len() })?;
            self::column(key, &column, records)?;
            column.place
        }
        _ => return hold(false, key, Rule::TargetTask),
    };
    let own = reports.about.is_none() && features.contains(&place.at);
    hold(!own, key, Rule::Duplicate { got: format!("bit {}", place.at) })
}

fn split(reports: &Reports) -> Checked {
    let (train_key, test_key) = ("data.reports.train_devices", "data.reports.test_devices");
    let list = |key: &str, devices: &[u64]| {
        between(key, wide(devices.len()), 1, wide(MAX_DEVICES))?;
        hold(devices.is_sorted_by(|a, b| a < b), key, Rule::NotAscending)
    };
    if let Senders::Only(devices) = &reports.train {
        list(train_key, devices)?;
    }
    match &reports.test {
        Held::None => Ok(()),
        Held::Every(every) => between("data.reports.test_every", *every, 2, wide(MAX_RECORDS)),
        Held::Of(devices) => {
            list(test_key, devices)?;
            let Senders::Only(train) = &reports.train else { return Ok(()) };
            let both = devices.iter().find(|device| train.binary_search(device).is_ok());
            both.map_or(Ok(()), |device| hold(false, test_key, Rule::BothSets { device: *device }))
        }
    }
}
