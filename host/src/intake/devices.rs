//! What became of each device's reports, for the operator.

use super::{
    Intake, IntakeError,
    ledger::Ledger,
    store::{DEVICES, RECORDS, STRANGERS, StoreError, id_of},
};
use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use symbolon_core::report::{Reason, header::DeviceId};

/// Gaps that are listed of a device; the others are counted.
const LISTED_GAPS: usize = 8;

/// All devices that are known or have sent something, by id, and what strangers sent.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct DeviceReports {
    /// Each device's.
    pub devices: Vec<DeviceReport>,
    /// Refused parts of devices that are not known, or that name none.
    pub strangers: Vec<Refused>,
}

/// What became of a device's reports at this server. Counts, never contents.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its id.
    pub device: u64,
    /// Its name in the registry; `None` if it is not there any more.
    pub name: Option<String>,
    /// Whether it is revoked.
    pub revoked: bool,
    /// The highest boot whose start was taken.
    pub newest_boot: Option<u32>,
    /// Records stored.
    pub stored: u64,
    /// Reports that came again.
    pub duplicates: u64,
    /// Records that it said it gave up since its last start.
    pub dropped: u32,
    /// When its last report or start was taken, milliseconds since 1970; 0: never.
    pub last_ms: u64,
    /// Refused parts that name it, whoever sent them.
    pub refused: Vec<Refused>,
    /// Numbers below the highest of each boot that are not here.
    pub missing: u64,
    /// The first such.
    pub gaps: Vec<Gap>,
}

/// Parts refused for one reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Code of the reason.
    pub reason: u8,
    /// How many.
    pub parts: u64,
}

impl Refused {
    /// The reason.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_code(self.reason)
    }
}

/// Numbers that are not here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Of which boot.
    pub boot: u32,
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Intake {
    /// What became of each device's reports. Walks through all records.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Store`], [`IntakeError::Busy`].
    pub fn devices(&self) -> Result<DeviceReports, IntakeError> {
        let _walk = self.walk()?;
        let rules = self.rules();
        let mut devices = BTreeMap::<DeviceId, DeviceReport>::new();
        for (id, device) in &*rules.devices {
            let name = Some(device.name.clone());
            devices.insert(*id, DeviceReport { name, revoked: device.revoked, ..DeviceReport::default() });
        }
        let mut counts = self.new_strangers();
        self.store.read(|view| {
            ledgers(view, &mut devices)?;
            gaps(view, &mut devices)?;
            for entry in view.open_table(STRANGERS)?.iter()? {
                let (reason, parts) = entry?;
                let count = counts.entry(reason.value()).or_default();
                *count = count.saturating_add(parts.value());
            }
            Ok(())
        })?;
        let strangers = counts.into_iter().map(|(reason, parts)| Refused { reason, parts }).collect();
        let devices = devices.into_iter().map(|(id, report)| DeviceReport { device: id.0, ..report }).collect();
        Ok(DeviceReports { devices, strangers })
    }

    /// Id and name of each registered device.
    pub fn names(&self) -> Vec<(u64, String)> {
        self.rules().devices.iter().map(|(id, device)| (id.0, device.name.clone())).collect()
    }
}

fn ledgers(view: &ReadTransaction, devices: &mut BTreeMap<DeviceId, DeviceReport>) -> Result<(), StoreError> {
    for entry in view.open_table(DEVICES)?.iter()? {
        let (device, ledger) = entry?;
        let ledger = Ledger::decode(ledger.value()).ok_or(StoreError::Damaged("devices"))?;
        let report = devices.entry(DeviceId(device.value())).or_default();
        report.newest_boot = ledger.newest_boot;
        report.stored = ledger.stored;
        report.duplicates = ledger.duplicates;
        report.dropped = ledger.dropped();
        report.last_ms = ledger.last_ms;
        report.refused = ledger.refused().map(|(reason, parts)| Refused { reason: reason.code(), parts }).collect();
    }
    Ok(())
}

/// Records of a boot follow each other in the table: what is skipped is missing.
fn gaps(view: &ReadTransaction, devices: &mut BTreeMap<DeviceId, DeviceReport>) -> Result<(), StoreError> {
    let (mut of, mut next) = ((DeviceId(0), 0), 1);
    for entry in view.open_table(RECORDS)?.iter()? {
        let id = id_of(entry?.0.value());
        if of != (id.device, id.boot) {
            (of, next) = ((id.device, id.boot), 1);
        }
        let count = id.sequence.saturating_sub(next);
        if count > 0 {
            let report = devices.entry(id.device).or_default();
            report.missing += u64::from(count);
            if report.gaps.len() < LISTED_GAPS {
                report.gaps.push(Gap { boot: id.boot, first: next, count });
            }
        }
        next = id.sequence.saturating_add(1);
    }
    Ok(())
}
