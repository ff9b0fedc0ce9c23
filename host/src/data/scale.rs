//! Raw values to what the network sees, by the job's public constants.

use super::{Dataset, Problem, Targets};
use crate::job::{Data, Scale, Task};

/// The scaled value of feature `column`.
pub(super) fn feature(data: &Data, column: usize, raw: f64) -> Result<f32, Problem> {
    match &data.scale {
        Scale::Divide(by) => finite(raw / by),
        Scale::Columns(_) | Scale::Channels(_) => finite(data.scale.apply(column, data.features(), raw)),
        Scale::Ranges(ranges) => {
            let (least, greatest) = ranges.get(column).copied().unwrap_or((f64::NAN, f64::NAN));
            if raw.is_finite() && !(least..=greatest).contains(&raw) {
                return Err(Problem::OutsideRange { got: raw, least, greatest });
            }
            finite((raw - least) / (greatest - least))
        }
    }
}

/// A checked class index, or the scaled target of output `output`, appended.
pub(super) fn push_target(data: &Data, set: &mut Dataset, output: usize, raw: f64) -> Result<(), Problem> {
    match (&data.task, &mut set.targets) {
        (Task::Classes(classes), Targets::Classes(labels)) => {
            // The job's classes are few, so the comparison in u32 is exact.
            let limit = u32::try_from(*classes).unwrap_or(u32::MAX);
            if !(raw >= 0.0 && raw < f64::from(limit) && raw.fract() == 0.0) {
                return Err(Problem::NotAClass { got: raw, classes: *classes });
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
            labels.push(raw as u32);
        }
        (Task::Regression(targets), Targets::Values(values)) => {
            values.push(finite(targets.get(output).map_or(f64::NAN, |target| target.apply(raw)))?);
        }
        // `Dataset::with_rows` makes the targets that the task has.
        (Task::Classes(_), Targets::Values(_)) | (Task::Regression(_), Targets::Classes(_)) => {}
    }
    Ok(())
}

fn finite(value: f64) -> Result<f32, Problem> {
    #[expect(clippy::cast_possible_truncation, reason = "rounded; overflow is infinite and refused")]
    let value = value as f32;
    if value.is_finite() { Ok(value) } else { Err(Problem::NotFinite) }
}
