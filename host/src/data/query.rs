//! Rows for predictions, from a CSV file: the job's features, and no label.

use super::{DataError, Dialect, Table, open_file, scale::feature};
use crate::job::{Columns, Format, Job, OnMissing};
use std::path::Path;

/// Reads the features of all rows of a CSV file, scaled as `job` says, row after row. A job on CSV
/// files finds its columns by their names, and takes no notice of its labels and of columns that it
/// leaves out; another job takes all columns in their order.
///
/// # Errors
///
/// A file that cannot be read, lacks a column or a value, or has another number of features.
pub fn read_rows(job: &Job, path: &Path) -> Result<Vec<f32>, DataError> {
    let data = &job.data;
    let dialect = match &data.format {
        Format::Csv(csv) => Dialect::from(csv),
        _ => Dialect::default(),
    };
    // A row that is left out would shift the answers of those behind it.
    let dialect = Dialect { on_missing: OnMissing::Refuse, ..dialect };
    let mut table = Table::open(open_file(path.to_owned())?, dialect)?;
    let all = 0..table.names().len();
    let columns: Vec<usize> = match &data.format {
        Format::Csv(csv) => match &csv.columns {
            Columns::Only(only) => only.iter().map(|name| table.find(name)).collect::<Result<_, _>>()?,
            Columns::All => all.filter(|i| !csv.labels.contains(&table.names()[*i])).collect(),
            Columns::Except(except) => {
                let is_left_out = |name: &String| csv.labels.contains(name) || except.contains(name);
                all.filter(|i| !is_left_out(&table.names()[*i])).collect()
            }
        },
        _ => all.collect(),
    };
    let (want, got) = (data.features() as u64, columns.len() as u64);
    if want != got {
        return Err(DataError::Count { path: path.to_owned(), key: "data.shape (features)", job: want, file: got });
    }
    table.take(columns.clone());
    let mut features = Vec::new();
    while table.advance()? {
        for (i, column) in columns.iter().enumerate() {
            let scaled = feature(data, i, table.number(*column)?);
            features.push(scaled.map_err(|problem| table.refused(*column, problem))?);
        }
    }
    if features.is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    Ok(features)
}
