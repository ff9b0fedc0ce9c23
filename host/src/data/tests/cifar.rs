//! CIFAR's binary format, and the scale by channels.

use super::*;
use crate::job::{Cifar10, Cifar100, Cifar100Label};
use symbolon_core::layer::Shape;

const PIXELS: usize = 3072;

fn job(train: &[&str], test: &[&str], counts: [usize; 2]) -> Job {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut job = idx_job();
    job.data = Data {
        format: Format::Cifar10(Cifar10 { train: names(train), test: names(test) }),
        shape: Shape([3, 32, 32]),
        train_records: counts[0],
        test_records: counts[1],
        task: Task::Classes(10),
        labels_per_record: 1,
        scale: Scale::Divide(255.0),
        augment: None,
    };
    job
}

/// Records with these label bytes; channels are filled with 1, 2 and 3 times the record's number.
fn records(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, label) in (1u8..).zip(labels) {
        bytes.extend(*label);
        (1..=3).for_each(|channel| bytes.extend([number * channel; 1024]));
    }
    bytes
}

#[test]
fn records_of_all_files_are_read_in_order() {
    let (a, b) = (records(&[&[7], &[0]]), records(&[&[9]]));
    let dir = Dir::new().with("a.bin", &a).with("b.bin", gzip(&b)).with("t.bin", records(&[&[3]]));
    let (train, test) = load(&job(&["a.bin", "b.bin"], &["t.bin"], [3, 1]), &dir.0).unwrap();
    assert_eq!((train.rows, train.cols, train.held, test.rows), (3, PIXELS, 3, 1));
    assert!(train.targets == Targets::Classes(vec![7, 0, 9]) && test.targets == Targets::Classes(vec![3]));
    let near = |row: &[f32], want: [f32; 3]| {
        let got = [row[0], row[1024], row[3071]];
        got.iter().zip(want).all(|(got, want)| (got * 255.0 - want).abs() < 1e-4)
    };
    assert!(near(train.row(1), [2.0, 4.0, 6.0]) && near(train.row(2), [1.0, 2.0, 3.0]));
    // The first records, and what the files hold.
    let (first, none) = load(&job(&["a.bin", "b.bin"], &[], [1, 0]), &dir.0).unwrap();
    assert_eq!((first.rows, first.held, none.rows), (1, 3, 0));
}

#[test]
fn each_label_of_cifar_100_can_be_the_class() {
    let dir = Dir::new().with("a.bin", records(&[&[19, 99], &[4, 7]]));
    for (label, classes, want) in [(Cifar100Label::Coarse, 20, [19, 4]), (Cifar100Label::Fine, 100, [99, 7])] {
        let mut job = job(&[], &[], [2, 0]);
        job.data.format = Format::Cifar100(Cifar100 { train: vec!["a.bin".into()], test: Vec::new(), label });
        job.data.task = Task::Classes(classes);
        let (train, _) = load(&job, &dir.0).unwrap();
        assert!(train.targets == Targets::Classes(want.to_vec()));
        assert!((train.row(1)[2048] - 6.0 / 255.0).abs() < 1e-6);
    }
}

#[test]
fn files_that_do_not_fit_are_refused_with_file_and_record() {
    let two = records(&[&[7], &[0]]);
    let error = |bytes: &[u8], rows| {
        let dir = Dir::new().with("a.bin", bytes);
        load(&job(&["a.bin"], &[], [rows, 0]), &dir.0).unwrap_err()
    };
    let has = |error: DataError, text: &str| assert!(error.to_string().contains(text), "{error}");
    has(error(&two[..two.len() - 1], 2), "a.bin ends inside of record 1, with 3072 bytes of 3073; fetch it again");
    has(error(&[&two[..], &[1, 2]].concat(), 2), "a.bin ends inside of record 2, with 2 bytes of 3073");
    has(error(b"", 1), "a.bin holds no records");
    has(error(&two, 3), "a.bin holds 2, the job says data.train_records = 3");
    has(error(&records(&[&[7], &[10]]), 2), "a.bin, record 1: 10 is not a class; the job has classes 0 to 9");
    let packed = gzip(&two);
    assert!(matches!(error(&packed[..packed.len() - 5], 2), DataError::Read { .. }));
    let mut tar = vec![0u8; 10_240];
    tar[..5].copy_from_slice(b"a.bin");
    tar[257..262].copy_from_slice(b"ustar");
    has(error(&gzip(&tar), 1), "a.bin is a tar archive; unpack it");
    let both = Dir::new().with("a.bin", &two).with("b.bin", &two);
    let count = load(&job(&["a.bin", "b.bin"], &[], [5, 0]), &both.0).unwrap_err();
    has(count, "a.bin, b.bin holds 4, the job says data.train_records = 5");
}

#[test]
fn mutated_cifar_never_panics() {
    let files = [("a", records(&[&[7], &[0], &[1]])), ("b", records(&[&[3]]))];
    let accepted = survives(&job(&["a"], &["b"], [3, 1]), &files, 11);
    assert!(accepted > 100 && accepted < 2900, "{accepted}");
    let packed = files.map(|(name, bytes)| (name, gzip(&bytes)));
    assert!(survives(&job(&["a"], &["b"], [3, 1]), &packed, 12) < 2900);
}

#[test]
fn channels_have_one_scale_each() {
    let dir = Dir::new().with("a.bin", records(&[&[7], &[0]]));
    let mut job = job(&["a.bin"], &[], [2, 0]);
    let channel = |offset, divide| Affine { offset, divide };
    job.data.scale = Scale::Channels(vec![channel(1.0, 2.0), channel(0.0, 4.0), channel(-2.0, -1.0)]);
    let (train, _) = load(&job, &dir.0).unwrap();
    for (row, want) in [(0, [0.0, 0.5, -5.0]), (1, [0.5, 1.0, -8.0])] {
        let channels = train.row(row).chunks_exact(1024);
        assert!(channels.zip(want).all(|(channel, want)| channel.iter().all(|v| v.to_bits() == f32::to_bits(want))));
    }
    // One channel is one scale for all.
    job.data.scale = Scale::Channels(vec![channel(0.0, 2.0)]);
    let one = load(&job, &dir.0).unwrap().0;
    job.data.scale = Scale::Divide(2.0);
    assert!(load(&job, &dir.0).unwrap().0 == one);
}

#[test]
fn the_public_subset_has_its_known_figures() {
    let Some(dir) = datasets() else { return };
    let text = r#"
        version = 2
        name = "cifar"
        loss = "softmax-cross-entropy"
        network = { layers = [{ kind = 'flatten' }, { kind = 'dense', units = 10 }] }
        training = { epochs = 1, batch = 64, seed = 1 }
        optimizer = { kind = "adam" }
        [data]
        shape = [3, 32, 32]
        train_records = 10000
        test_records = 1000
        classes = 10
        cifar10 = { train = ["cifar10/data_batch_1.bin.gz"], test = ["cifar10/test_first1000.bin.gz"] }
        [data.scale]
        channels = [
          { offset = 125.3, divide = 63 },
          { offset = 123, divide = 62.1 },
          { offset = 113.9, divide = 66.7 },
        ]
    "#;
    let job = Job::parse(text, Path::new("cifar.toml")).unwrap();
    let (train, test) = load(&job, &dir).unwrap();
    assert_eq!((train.rows, train.held, test.rows, test.held), (10_000, 10_000, 1000, 1000));
    // `README.md` of the data has these counts, and the published means and deviations.
    let counts = |set: &Dataset| {
        let Targets::Classes(labels) = &set.targets else { panic!("no classes") };
        (0..10).map(|class| labels.iter().filter(|label| **label == class).count()).collect::<Vec<_>>()
    };
    assert_eq!(counts(&train), [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]);
    assert_eq!(counts(&test), [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]);
    for channel in 0..3 {
        let values = || (0..train.rows).flat_map(|i| &train.row(i)[1024 * channel..1024 * (channel + 1)]);
        let n = f64::from(10_000 * 1024);
        let mean = values().map(|v| f64::from(*v)).sum::<f64>() / n;
        let square = values().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.03, "{channel}: {mean}, {square}");
    }
}
