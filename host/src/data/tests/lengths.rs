//! Lengths of sequences and of their labels beside NPY arrays.

use super::{numpy::npy, *};
use crate::job::Npy;

/// Three sequences of four steps of one feature; four labels each, or two.
fn job(labels: usize, label_lengths: bool) -> Job {
    let mut job = super::numpy::npy_job();
    (job.data.shape, job.data.labels_per_record) = (Shape([1, 4, 1]), labels);
    let [train_features, train_labels] = ["x.npy", "y.npy"].map(str::to_owned);
    let train_lengths = Some("n.npy".to_owned());
    let train_label_lengths = label_lengths.then(|| "m.npy".to_owned());
    job.data.format =
        Format::Npy(Npy { train_features, train_labels, train_lengths, train_label_lengths, ..Npy::default() });
    job
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

const NAN: f32 = f32::NAN;

fn folder(lengths: &[u8]) -> Dir {
    let values = floats(&[2.0, NAN, NAN, f32::INFINITY, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, -1e30, NAN]);
    let labels = [1, 255, 9, 200, 0, 1, 2, 0, 2, 1, 77, 3];
    Dir::new()
        .with("x.npy", npy("<f4", false, "(3, 4)", &values))
        .with("y.npy", npy("|u1", false, "(3, 4)", &labels))
        .with("n.npy", lengths)
}

#[test]
fn padding_may_be_anything() {
    let (job, dir) = (job(4, false), folder(&npy("<i8", false, "(3, 1)", &words(&[1, 4, 2]))));
    let (train, _) = load(&job, &dir.0).unwrap();
    assert_eq!(train.lengths, SetLengths { records: vec![1, 4, 2], labels: vec![] });
    assert_eq!(train.features, [1.0, 0.0, 0.0, 0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 0.0]);
    assert!(train.targets == Targets::Classes(vec![1, 0, 0, 0, 0, 1, 2, 0, 2, 1, 0, 0]));
}

fn words(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn labels_have_lengths_of_their_own() {
    let (job, dir) = (job(2, true), folder(&npy("|u1", false, "(3,)", &[1, 4, 2])));
    let dir = dir.with("y.npy", npy("|u1", false, "(3, 2)", &[9, 9, 0, 1, 2, 9]));
    let dir = dir.with("m.npy", npy("|u1", false, "(3,)", &[0, 2, 1]));
    let (train, _) = load(&job, &dir.0).unwrap();
    assert_eq!(train.lengths, SetLengths { records: vec![1, 4, 2], labels: vec![0, 2, 1] });
    assert!(train.targets == Targets::Classes(vec![0, 0, 0, 1, 2, 0]));
    let dir = dir.with("m.npy", npy("|u1", false, "(3,)", &[0, 3, 1]));
    let error = load(&job, &dir.0).unwrap_err().to_string();
    assert!(error.contains("m.npy, record 1: 3 is not a length; give a whole number from 0 to 2"), "{error}");
}

/// Records behind those that the job uses have lengths too, which may be any.
#[test]
fn lengths_of_records_that_are_left_out_are_passed_over() {
    let mut job = job(4, false);
    job.data.train_records = 2;
    let dir = folder(&npy("<f4", false, "(3,)", &floats(&[3.0, 4.0, NAN])));
    let dir = dir.with("x.npy", npy("<f4", false, "(3, 4)", &floats(&[1.0; 12])));
    let (train, _) = load(&job, &dir.with("y.npy", npy("|u1", false, "(3, 4)", &[0; 12])).0).unwrap();
    assert_eq!((train.lengths.records, train.rows), (vec![3, 4], 2));
}

#[test]
fn lengths_out_of_range_name_file_record_and_value() {
    for (wrong, said) in [(0.0, "0"), (5.0, "5"), (1.5, "1.5"), (-1.0, "-1"), (NAN, "NaN"), (1e9, "1000000000")] {
        let error = load(&job(4, false), &folder(&npy("<f4", false, "(3,)", &floats(&[1.0, wrong, 1.0]))).0);
        let error = error.unwrap_err().to_string();
        let want = format!("n.npy, record 1: {said} is not a length; give a whole number from 1 to 4");
        assert!(error.ends_with(&want), "{error}");
    }
    for (shape, bytes, want) in [
        ("(2,)", &[1; 2][..], "holds 2 records of 1 numbers; give a length for each of the 3 records"),
        ("(3, 2)", &[1; 6], "holds 3 records of 2 numbers; give a length for each of the 3 records"),
    ] {
        let error = load(&job(4, false), &folder(&npy("|u1", false, shape, bytes)).0).unwrap_err();
        assert!(matches!(error, DataError::Lengths { want: 3, .. }) && error.to_string().contains(want), "{error}");
    }
    let behind = folder(&npy("|u1", false, "(3,)", &[1, 2, 2, 4]));
    assert!(matches!(load(&job(4, false), &behind.0), Err(DataError::Trailing { .. })));
    assert!(matches!(load(&job(4, false), &folder(&npy("|u1", false, "(3,)", &[1])).0), Err(DataError::Short { .. })));
}
