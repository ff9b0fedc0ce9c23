//! The rules of files of arrays.

use super::{Checked, MAX_PATH_BYTES, MAX_TEXT_BYTES, between, hold, path, wide};
use crate::job::{CIFAR_FEATURES, Invalid, Npy, Rule};

/// Files of a set. Their names fit into the text of a job.
const MAX_FILES: usize = MAX_TEXT_BYTES / MAX_PATH_BYTES / 2;

/// Whether there are test records.
pub(super) fn cifar(key: &str, [train, test]: [&Vec<String>; 2], features: usize) -> Result<bool, Invalid> {
    hold(features == CIFAR_FEATURES, "data.shape", Rule::FeaturesOf { got: features, want: CIFAR_FEATURES })?;
    for (set, names, least) in [("train", train, 1), ("test", test, 0)] {
        between(&format!("{key}.{set} (files)"), wide(names.len()), least, wide(MAX_FILES))?;
        names.iter().enumerate().try_for_each(|(i, name)| path(&format!("{key}.{set}[{i}]"), name))?;
    }
    Ok(!test.is_empty())
}

/// Whether there are test records.
pub(super) fn npy(key: &str, files: &Npy) -> Result<bool, Invalid> {
    let named = |name: &str, file: &str| -> Checked { path(&format!("{key}.{name}"), file) };
    named("train_features", &files.train_features)?;
    named("train_labels", &files.train_labels)?;
    lengths(key, files)?;
    let missing = |name: &str, by| hold(false, &format!("{key}.{name}"), Rule::NeededBy { by });
    match (&files.test_features, &files.test_labels) {
        (None, None) => return Ok(false),
        (Some(_), None) => missing("test_labels", "test_features")?,
        (None, Some(_)) => missing("test_features", "test_labels")?,
        (Some(features), Some(labels)) => {
            named("test_features", features)?;
            named("test_labels", labels)?;
        }
    }
    Ok(true)
}

/// Names of the arrays of lengths.
fn lengths(key: &str, files: &Npy) -> Checked {
    let names = [
        ("train_lengths", &files.train_lengths),
        ("test_lengths", &files.test_lengths),
        ("train_label_lengths", &files.train_label_lengths),
        ("test_label_lengths", &files.test_label_lengths),
    ];
    names
        .into_iter()
        .try_for_each(|(name, file)| file.as_deref().map_or(Ok(()), |file| path(&format!("{key}.{name}"), file)))
}
