//! Servers keep encoded jobs with models: the bytes change with their version alone.

use super::*;
use sha2::{Digest, Sha256};

/// The digits' job with the files of another format.
fn with(format: Format) -> Job {
    let mut job = Job::digits().unwrap();
    job.data.format = format;
    job
}

#[test]
fn encodings_change_with_their_version() {
    let file = |name: &str| Some(name.to_owned());
    let idx = Idx {
        train_images: "a".to_owned(),
        train_labels: "b".to_owned(),
        test_images: "c".to_owned(),
        test_labels: "d".to_owned(),
    };
    let npy = Npy {
        train_features: "a".to_owned(),
        train_labels: "b".to_owned(),
        test_features: file("c"),
        test_labels: file("d"),
        train_lengths: file("e"),
        test_lengths: file("f"),
        train_label_lengths: None,
        test_label_lengths: None,
    };
    let cifar10 = Cifar10 { train: vec!["a".to_owned()], test: vec!["b".to_owned()] };
    let jobs = [with(Format::Idx(idx)), with(Format::Npy(npy)), with(Format::Cifar10(cifar10)), Job::digits().unwrap()];
    let mut hasher = Sha256::new();
    for job in jobs {
        let encoded = job.encode().unwrap();
        assert_eq!(encoded[0], 4, "the version that the hash below is of");
        hasher.update(encoded);
    }
    assert_eq!(
        crate::engine::plan::hex(&hasher.finalize()),
        "ffb2a0390395054b6f500989e4d68021440f9fb7b00352e38c229c3a0d102945",
        "the encoding has changed: count ENCODING and HASH_DOMAIN up, and write the new hash here"
    );
}

/// An earlier version is refused, whatever follows.
#[test]
fn other_versions_are_refused() {
    let mut encoded = Job::digits().unwrap().encode().unwrap();
    for version in (0..=u8::MAX).filter(|version| *version != 4) {
        encoded[0] = version;
        assert!(matches!(Job::decode(&encoded), Err(JobError::Encoding)), "{version}");
    }
}
