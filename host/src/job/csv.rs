//! The keys of `[data.csv]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Columns, Csv, Invalid, OnMissing, Rule, TestSet, one_or_more::OneOrMore};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CsvFile {
    /// The file with the training records, relative to the data directory.
    train: String,
    /// A file with the test records; at most one of `test`, `test_every` and `test_fraction`.
    test: Option<String>,
    /// Each `n`-th row of the training file is for testing; 2 or more.
    test_every: Option<usize>,
    /// This fraction of the training file, spread evenly, is for testing.
    test_fraction: Option<f64>,
    /// An ASCII character between cells.
    #[serde(default = "comma")]
    delimiter: char,
    /// Whether the first row names the columns; else they are named `0`, `1`, ...
    #[serde(default = "yes")]
    header: bool,
    /// The columns that are features, in this order; all but the label, if left out.
    columns: Option<Vec<String>>,
    /// The columns that are no features, in place of `columns`.
    except: Option<Vec<String>>,
    /// The column of the class index or of the target of a regression; a list of columns for
    /// several targets.
    label: OneOrMore<String>,
    /// Cell texts, after trimming, that mean a missing value.
    #[serde(default = "empty_cell")]
    missing: Vec<String>,
    /// The treatment of a row with a missing value in a column that is used.
    #[serde(default = "refuse")]
    on_missing: OnMissing,
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

fn broken(key: &str, rule: Rule) -> Invalid {
    Invalid { key: key.to_owned(), rule }
}

impl CsvFile {
    /// Returns the format that the keys describe.
    pub(super) fn resolve(self) -> Result<Csv, Invalid> {
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
        let labels = label.list();
        Ok(Csv { train, test, delimiter, header, columns, labels, missing, on_missing })
    }
}
