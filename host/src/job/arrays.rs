//! Files of arrays: CIFAR's binary format, NPY and NPZ. Names are relative to the data directory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Features of a CIFAR record: 3 channels of 32 rows of 32 pixels.
pub const CIFAR_FEATURES: usize = 3 * 32 * 32;

/// Files of CIFAR-10's binary version, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cifar10 {
    /// Files with the training records.
    pub train: Vec<String>,
    /// Files with the test records; none, if left out.
    #[serde(default)]
    pub test: Vec<String>,
}

/// Files of CIFAR-100's binary version, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cifar100 {
    /// Files with the training records.
    pub train: Vec<String>,
    /// Files with the test records; none, if left out.
    #[serde(default)]
    pub test: Vec<String>,
    /// Which of a record's two labels is the class.
    pub label: Cifar100Label,
}

/// The labels of a CIFAR-100 record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cifar100Label {
    /// One of 20 groups of classes.
    Coarse,
    /// One of 100 classes.
    Fine,
}

/// NPY files, in C or Fortran order. The first dimension counts records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Npy {
    /// Features of the training records.
    pub train_features: String,
    /// Labels of the training records, one number a record.
    pub train_labels: String,
    /// Features of the test records, if there are any.
    pub test_features: Option<String>,
    /// Labels of the test records.
    pub test_labels: Option<String>,
}

/// The arrays of an NPZ file, by name, with or without `.npy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Npz {
    /// The file.
    pub file: String,
    /// Array with the features of the training records.
    pub train_features: String,
    /// Array with the labels of the training records, one number a record.
    pub train_labels: String,
    /// Array with the features of the test records, if there are any.
    pub test_features: Option<String>,
    /// Array with the labels of the test records.
    pub test_labels: Option<String>,
}

impl Npz {
    /// The arrays, as if they were files.
    pub fn members(&self) -> Npy {
        let Self { train_features, train_labels, test_features, test_labels, .. } = self.clone();
        Npy { train_features, train_labels, test_features, test_labels }
    }
}
