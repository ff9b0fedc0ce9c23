//! Holds a job to the schema of its records. Features must be whole readings with their declared
//! lines, labels must be declared labels with all of their classes. Otherwise a job could call any
//! bits of any reading the label, and count them.

use crate::{
    job::{Column, Format, Job, Place, Target, Task},
    net::Refusal,
    schema::SchemaFile,
};
use symbolon_core::report::schema::{Kind, Schema, SchemaHash};

/// Checks `job` against its records' schemas, which `known` returns by hash.
///
/// # Errors
///
/// The first code of the job that is not a whole field; an unknown schema; another number of
/// classes.
pub fn hold(job: &Job, known: &dyn Fn(&SchemaHash) -> Option<SchemaFile>) -> Result<(), Refusal> {
    let Format::Reports(reports) = &job.data.format else { return Ok(()) };
    let find = |hash: &SchemaHash| known(hash).ok_or(Refusal::UnknownSchema(*hash));
    let records = find(&reports.records.schema)?;
    let about = reports.about.map(|about| find(&about.schema)).transpose()?;
    records.borrow(|schema| reports.columns.iter().try_for_each(|column| reading(&schema, column, false)))?;
    about.as_ref().unwrap_or(&records).borrow(|schema| match (reports.target, &job.data.task) {
        (Target::Reading(column), _) => reading(&schema, &column, true),
        (Target::Label(place), Task::Classes(classes)) => label(&schema, place, *classes as u64),
        (Target::Label(place), Task::Regression(_)) => Err(no_field(place, true)),
    })
}

fn no_field(Place { at, bits }: Place, label: bool) -> Refusal {
    Refusal::Field { at, bits, label }
}

/// Returns the kind of the field that has a code at this place.
fn kind<'a>(schema: &Schema<'a>, wanted: Place) -> Option<Kind<'a>> {
    schema.fields.iter().enumerate().find_map(|(index, field)| {
        let place = schema.place(index)?;
        let offset = (wanted.at as usize).checked_sub(place.at_bit)?;
        let whole = place.bits == wanted.bits && offset.is_multiple_of(place.bits as usize);
        (whole && offset / (place.bits as usize) < place.count).then_some(field.kind)
    })
}

fn reading(schema: &Schema<'_>, column: &Column, label: bool) -> Result<(), Refusal> {
    match kind(schema, column.place) {
        Some(Kind::Reading { offset, step, .. })
            if offset.to_bits() == column.offset.to_bits() && step.to_bits() == column.step.to_bits() =>
        {
            Ok(())
        }
        _ => Err(no_field(column.place, label)),
    }
}

fn label(schema: &Schema<'_>, place: Place, classes: u64) -> Result<(), Refusal> {
    match kind(schema, place) {
        Some(Kind::Label { classes: declared, .. }) if u64::from(declared) == classes => Ok(()),
        Some(Kind::Label { classes: declared, .. }) => {
            Err(Refusal::Classes { schema: u64::from(declared), job: classes })
        }
        _ => Err(no_field(place, true)),
    }
}
