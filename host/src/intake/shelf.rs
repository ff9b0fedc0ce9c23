//! Stored records as jobs read them.

use super::{
    Intake,
    manifest::{FIRST, LAST, schema, stored},
    store::{RECORDS, Record, RecordKey, Store, StoreError, id_of, record_key},
};
use crate::{
    data::{Shelf, ShelfError, Stored, Take},
    job::Reports,
    schema::SchemaFile,
};
use redb::ReadTransaction;
use symbolon_core::report::{header::ReportId, schema::SchemaHash};

impl Shelf for Intake {
    /// Walks the records, and those about them, as they lie in the database: no look-up but one a span.
    fn read(&self, reports: &Reports, take: &mut Take<'_>) -> Result<(), ShelfError> {
        let mut ended = None;
        let read = self.store.read(|view| match read(view, reports, take) {
            Err(Ended::Store(error)) => Err(error),
            Err(Ended::Shelf(error)) => {
                ended = Some(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        });
        read.map_err(|error| ShelfError::Store(Box::new(error)))?;
        ended.map_or(Ok(()), Err)
    }

    fn schema(&self, hash: &SchemaHash) -> Option<SchemaFile> {
        self.rules().known_schema(hash).cloned()
    }
}

impl Store {
    /// Gives each record of a schema, in the order of their names: name, time in milliseconds since 1970, this server's share.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn records(
        &self,
        schema_hash: &SchemaHash,
        mut each: impl FnMut(ReportId, u64, &[u8]),
    ) -> Result<(), StoreError> {
        self.read(|view| {
            let Some((number, bytes)) = schema(view, schema_hash)? else { return Ok(()) };
            let table = view.open_table(RECORDS)?;
            for entry in table.range::<&RecordKey>(&record_key(number, &FIRST)..=&record_key(number, &LAST))? {
                let (key, value) = entry?;
                let stored = Record::time_ms(value.value()).zip(Record::share(value.value(), bytes as usize));
                let (time_ms, share) = stored.ok_or(StoreError::Damaged("records"))?;
                each(id_of(key.value()), time_ms, share);
            }
            Ok(())
        })
    }
}

/// Why the reading ended early.
enum Ended {
    Store(StoreError),
    Shelf(ShelfError),
}

impl<E> From<E> for Ended
where
    StoreError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

fn read(view: &ReadTransaction, reports: &Reports, take: &mut Take<'_>) -> Result<(), Ended> {
    let digest = reports.manifest;
    let manifest = stored(view, &digest)?.ok_or(Ended::Shelf(ShelfError::Manifest { digest }))?;
    let differ = |job, manifest| Ended::Shelf(ShelfError::Schema { job, manifest });
    if manifest.schema != reports.records.schema {
        return Err(differ(reports.records.schema, manifest.schema));
    }
    let about = match (reports.about, manifest.labels) {
        (None, _) => None,
        (Some(about), Some(hash)) if about.schema == hash => Some(known(view, &hash)?),
        (Some(about), other) => return Err(differ(about.schema, other.unwrap_or_default())),
    };
    let (number, bytes) = known(view, &manifest.schema)?;
    let table = view.open_table(RECORDS)?;
    let range = |keys: std::ops::RangeInclusive<RecordKey>| table.range::<&RecordKey>(keys.start()..=keys.end());
    for span in &manifest.spans {
        let mut records = range(span.keys(number))?;
        let mut labels = match about {
            None => None,
            Some((number, bytes)) => span.label_keys(number).map(range).transpose()?.map(|labels| (labels, bytes)),
        };
        for i in 0..span.count {
            let report = ReportId { sequence: span.first + i, ..span.start() };
            let missing = || Ended::Shelf(ShelfError::Missing { report });
            let (key, value) = records.next().transpose()?.ok_or_else(missing)?;
            if id_of(key.value()) != report {
                return Err(missing());
            }
            let share = |value, bytes: u32| Record::share(value, bytes as usize).ok_or(StoreError::Damaged("records"));
            let record = share(value.value(), bytes)?;
            let stored = Stored { device: report.device, record, about: &[] };
            match &mut labels {
                None => take(stored),
                Some((labels, bytes)) => {
                    let (_, label) = labels.next().transpose()?.ok_or_else(missing)?;
                    take(Stored { about: share(label.value(), *bytes)?, ..stored })
                }
            }
            .map_err(Ended::Shelf)?;
        }
    }
    Ok(())
}

/// A schema of records that the manifest says are here.
fn known(view: &ReadTransaction, hash: &[u8; 32]) -> Result<(u32, u32), StoreError> {
    schema(view, hash)?.ok_or(StoreError::Damaged("schemas"))
}
