//! Jobs on arrays, and the scale by channels.

use super::*;

/// `BASE` on other files.
fn on(files: &str, more: &str) -> String {
    let base: Vec<&str> = BASE.lines().filter(|line| !line.starts_with("data.csv")).collect();
    let mut text = base.join("\n");
    for line in more.lines().map(str::trim) {
        let key = line.split('=').next().unwrap().trim();
        text = text.lines().filter(|old| !old.starts_with(key)).collect::<Vec<_>>().join("\n");
        text = format!("{line}\n{text}");
    }
    format!("data.{files}\n{text}")
}

#[track_caller]
fn refused_on(files: &str, more: &str, key: &str, want: &str) {
    let Err(JobError::Invalid { invalid, .. }) = parse(&on(files, more)) else { panic!("{files}: accepted") };
    assert_eq!(invalid.key, key);
    assert!(invalid.rule.to_string().contains(want), "{}", invalid.rule);
}

const IMAGES: &str = "data.shape = [3072]";

#[test]
fn jobs_on_arrays_are_read_and_sent() {
    let none = "data.test_records = 0\nreveal.metrics = false";
    for (files, more) in [
        ("cifar10 = { train = [\"a.bin\", \"b.bin\"], test = [\"t.bin\"] }", IMAGES),
        ("cifar100 = { train = [\"a.bin\"], label = \"fine\" }", &format!("{IMAGES}\n{none}")),
        ("npy = { train_features = \"x\", train_labels = \"y\" }", none),
        (
            "npz = { file = \"s\", train_features = \"x\", train_labels = \"y\", \
             test_features = \"u\", test_labels = \"v\" }",
            "name = \"n\"",
        ),
    ] {
        let job = parse(&on(files, more)).unwrap_or_else(|error| panic!("{files}: {error}"));
        assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
        assert_ne!(job.hash().unwrap(), base().hash().unwrap());
    }
}

#[test]
fn arrays_follow_their_rules() {
    let cifar = "cifar10 = { train = [\"a.bin\"], test = [\"t.bin\"] }";
    refused_on(cifar, "data.shape = [784]", "data.shape", "records of this format have 3072");
    refused_on("cifar10 = { train = [] }", IMAGES, "data.cifar10.train (files)", "from 1 to 128");
    refused_on("cifar10 = { train = [\"a\"] }", IMAGES, "data.test_records", "give 0 without a test set");
    let outside = "cifar100 = { train = [\"a\"], test = [\"b\", \"../c\"], label = \"coarse\" }";
    refused_on(outside, IMAGES, "data.cifar100.test[1]", "without '..'");
    let half = "npy = { train_features = \"x\", train_labels = \"y\", test_features = \"u\" }";
    refused_on(half, "name = \"n\"", "data.npy.test_labels", "is missing; test_features needs it");
    let half = "npz = { file = \"s\", train_features = \"x\", train_labels = \"y\", test_labels = \"v\" }";
    refused_on(half, "name = \"n\"", "data.npz.test_features", "is missing; test_labels needs it");
    let absolute = "npz = { file = \"/s\", train_features = \"x\", train_labels = \"y\" }";
    refused_on(absolute, "name = \"n\"", "data.npz.file", "relative to the data directory");
    let labels = parse(&on("cifar100 = { train = [\"a\"], label = \"third\" }", IMAGES)).unwrap_err();
    assert!(labels.to_string().contains("expected `coarse` or `fine`"), "{labels}");
}

#[test]
fn channels_divide_the_features() {
    let mut job = base();
    let unit = Affine { offset: 0.0, divide: 1.0 };
    for (channels, rule) in [
        (0, Some(Rule::Empty)),
        (1, None),
        (2, None),
        (3, Some(Rule::Channels { got: 3, features: 4 })),
        (4, None),
        (8, Some(Rule::Channels { got: 8, features: 4 })),
    ] {
        job.data.scale = Scale::Channels(vec![unit; channels]);
        assert_eq!(job.validate().err().map(|invalid| invalid.rule), rule, "{channels}");
    }
    job.data.scale = Scale::Channels(vec![unit, Affine { divide: 0.0, ..unit }]);
    assert_eq!(job.validate().unwrap_err().key, "data.scale.channels[1].divide");
    let text = edited("data.scale.channels = [{ divide = 2 }, { offset = 1, divide = 4 }]");
    let job = parse(&text.replace("data.scale.divide = 2", "")).unwrap();
    let of = |column| job.data.scale.affine(column, 4).map(|affine| (affine.offset, affine.divide));
    assert_eq!([0, 1, 2, 3].map(of), [(0.0, 2.0), (0.0, 2.0), (1.0, 4.0), (1.0, 4.0)].map(Some));
    assert_eq!(of(4), None);
    assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
}
