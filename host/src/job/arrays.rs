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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// File with the public lengths of the training records: whole numbers from 1 to the steps of
    /// `data.shape = [steps, features]`. Steps behind a record's length are padding: recurrent
    /// layers keep their states there, and any features are encoded as zeros. With as many labels
    /// a record as steps, labels behind the length do not count. Both servers and the client know
    /// the lengths; the dealer does not. All steps count, if left out.
    pub train_lengths: Option<String>,
    /// File with the lengths of the test records, if there are any.
    pub test_lengths: Option<String>,
    /// File with the number of labels of each training record that count, from 0 to
    /// `labels_per_record`: the first ones. For several labels that are not one a step. Public, as
    /// `train_lengths`. All labels count, if left out.
    pub train_label_lengths: Option<String>,
    /// File with the same of the test records, if there are any.
    pub test_label_lengths: Option<String>,
}

/// The arrays of an NPZ file, by name, with or without `.npy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Array with the public lengths of the training records: whole numbers from 1 to the steps of
    /// `data.shape = [steps, features]`. Steps behind a record's length are padding: recurrent
    /// layers keep their states there, and any features are encoded as zeros. With as many labels
    /// a record as steps, labels behind the length do not count. Both servers and the client know
    /// the lengths; the dealer does not. All steps count, if left out.
    pub train_lengths: Option<String>,
    /// Array with the lengths of the test records, if there are any.
    pub test_lengths: Option<String>,
    /// Array with the number of labels of each training record that count, from 0 to
    /// `labels_per_record`: the first ones. For several labels that are not one a step. Public, as
    /// `train_lengths`. All labels count, if left out.
    pub train_label_lengths: Option<String>,
    /// Array with the same of the test records, if there are any.
    pub test_label_lengths: Option<String>,
}

impl Npz {
    /// The arrays, as if they were files.
    pub fn members(&self) -> Npy {
        let Self { train_features, train_labels, test_features, test_labels, .. } = self.clone();
        let Self { train_lengths, test_lengths, train_label_lengths, test_label_lengths, .. } = self.clone();
        Npy {
            train_features,
            train_labels,
            test_features,
            test_labels,
            train_lengths,
            test_lengths,
            train_label_lengths,
            test_label_lengths,
        }
    }
}
