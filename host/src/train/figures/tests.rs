#![allow(clippy::unwrap_used)]

use super::*;
use crate::data::SetLengths;
use std::path::Path;
use symbolon_core::metric::Kind as Metric;

/// 84 training records, 20 to test on.
fn job(ring_bits: u32, regression: bool) -> Job {
    let (loss, task, outputs) = match regression {
        true => ("squared-error", "target = { divide = 10 }", 1),
        false => ("softmax-cross-entropy", "classes = 3", 3),
    };
    let text = format!(
        "version = 2\nname = \"j\"\nloss = \"{loss}\"\n\
         data = {{ shape = [3], train_records = 84, test_records = 20, {task}, scale.divide = 2, \
         csv = {{ train = \"a.csv\", test_every = 5, label = \"y\" }} }}\n\
         numbers = {{ ring_bits = {ring_bits} }}\nnetwork.layers = [{{ kind = 'dense', units = {outputs} }}]\n\
         optimizer = {{ kind = \"sgd\", learning_rate = 0.5 }}\n\
         training = {{ epochs = 1, batch = 32, seed = 1 }}\n"
    );
    Job::parse(&text, Path::new("j.toml")).unwrap()
}

fn sum(total: i64, records: Option<i64>) -> Option<Sum<u64>> {
    Some(Sum { total: total.cast_unsigned(), records: records.map(i64::cast_unsigned) })
}

fn scores(total: i64, records: Option<i64>) -> Option<Scores<u64>> {
    Some(Scores { sums: vec![total.cast_unsigned()], records: records.map(i64::cast_unsigned) })
}

#[test]
fn a_loss_is_the_mean_over_the_records_that_were_learnt_from() {
    let mut job = job(64, false);
    let each = 1i64 << job.numbers.frac_bits;
    let loss =
        |job: &Job, total, records| epoch_result(job, &Lengths::default(), 1, sum(total, records), None).unwrap().loss;
    assert_eq!(loss(&job, 84 * each, None), Some(1.0));
    job.training.drop_last = true;
    assert_eq!(loss(&job, 64 * each, None), Some(1.0));
    assert_eq!(loss(&job, 16 * each, Some(16)), Some(1.0), "records without a class do not count");
    assert_eq!(loss(&job, 0, Some(0)), None);
}

#[test]
fn an_accuracy_counts_records_that_have_a_class() {
    let job = job(64, false);
    let score = |total, records| epoch_result(&job, &Lengths::default(), 1, None, scores(total, records)).unwrap();
    assert_eq!((score(15, None).accuracy, score(15, None).scored), (Some(0.75), Some(20)));
    assert_eq!((score(15, Some(15)).accuracy, score(15, Some(15)).scored), (Some(1.0), Some(15)));
    assert_eq!((score(0, Some(0)).accuracy, score(0, Some(0)).scored), (None, Some(0)));
}

/// A job on 84 sequences of four steps and labels, 20 to test on, that knows which labels count.
fn sequences() -> (Job, Lengths) {
    let text = "version = 2\nname = 's'\nloss = 'softmax-cross-entropy'\nmetrics = ['accuracy']\n\
        [data]\ntrain_records = 84\ntest_records = 20\nclasses = 3\nscale = { divide = 1 }\n\
        shape = [4, 2]\nlabels_per_record = 4\n\
        [data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\ntest_labels = 'd'\n\
        train_lengths = 'e'\ntest_lengths = 'f'\n\
        [network]\nlayers = [{ kind = 'recurrent', cell = 'gru', units = 2, states = 'all' }, \
        { kind = 'dense', units = 3, each_step = true }]\n\
        [training]\nepochs = 2\nbatch = 32\nseed = 1\n[optimizer]\nkind = 'adam'\n";
    let lengths = |records: u16| (0..records).map(|i| 1 + i % 4).collect();
    let set = |records| SetLengths { records: lengths(records), labels: Vec::new() };
    (Job::parse(text, Path::new("s.toml")).unwrap(), Lengths { train: set(84), test: set(20) })
}

/// Means are over the labels that count, of the records that an epoch takes.
#[test]
fn lengths_say_how_many_labels_a_mean_is_over() {
    let (mut job, lengths) = sequences();
    let each = 1i64 << job.numbers.frac_bits;
    let loss = |job: &Job, epoch, total| epoch_result(job, &lengths, epoch, sum(total, None), None).unwrap().loss;
    // 84 records, 1 to 4 labels each.
    assert_eq!(loss(&job, 1, 210 * each), Some(1.0));
    job.training.drop_last = true;
    for epoch in 1..=2 {
        let order = super::super::batch_order(&job, epoch);
        let counted: i64 = order[..64].iter().map(|record| i64::from(lengths.train.records[*record as usize])).sum();
        assert!(counted < 210);
        assert_eq!(loss(&job, epoch, counted * each), Some(1.0));
    }
    let result = epoch_result(&job, &lengths, 1, None, scores(25, None)).unwrap();
    assert_eq!((result.accuracy, result.scored), (Some(0.5), Some(50)));
    let error = epoch_result(&job, &lengths, 1, None, scores(51, None)).unwrap_err();
    assert!((error.got, error.greatest) == (51.0, 50.0), "{error}");
    let all = epoch_result(&job, &Lengths::default(), 1, None, scores(40, None)).unwrap();
    assert_eq!((all.accuracy, all.scored), (Some(0.5), Some(80)));
}

#[test]
fn a_squared_error_has_the_units_of_the_target() {
    let mut job = job(32, true);
    job.reveal.metrics = true;
    let result = epoch_result(&job, &Lengths::default(), 1, None, scores((20 * 9) << 11, None)).unwrap();
    assert_eq!((result.mean_squared_error, result.accuracy, result.scored), (Some(900.0), None, None));
    let error = |mean: f64| EpochResult { mean_squared_error: Some(mean), ..EpochResult::default() };
    assert_eq!(error(900.0).with_variance(Some(1800.0)).r2, Some(0.5));
    assert_eq!((error(900.0).with_variance(None).r2, error(900.0).with_variance(Some(0.0)).r2), (None, None));
}

#[test]
fn what_cannot_be_is_no_result() {
    let (classes, mut regression) = (job(32, false), job(32, true));
    regression.reveal.metrics = true;
    let unit = 1i64 << 11;
    type Sums = (Option<Sum<u64>>, Option<Scores<u64>>);
    let output = |job: &Job| {
        let (metric, set) = (job.measured()[0], job.test_set());
        Output::Metric { kind: metric.kind(), name: metric.describe().terms(&set, 0).name }
    };
    let [correct, squared_error] = [output(&classes), output(&regression)];
    assert!(matches!(squared_error, Output::Metric { kind: Metric::SquaredError, .. }));
    let cases: [(&Job, Sums, Output); 9] = [
        (&classes, (None, scores(21, None)), correct),
        (&classes, (None, scores(-1, None)), correct),
        (&classes, (None, scores(11, Some(10))), correct),
        (&classes, (None, scores(1, Some(21))), Output::Records),
        (&classes, (sum(-85 * unit, None), None), Output::Loss),
        (&classes, (sum(84 * 300 * unit, None), None), Output::Loss),
        (&regression, (sum(-1, None), None), Output::Loss),
        (&regression, (None, scores(-1, None)), squared_error),
        (&regression, (None, scores(20 * 257 * unit, None)), squared_error),
    ];
    for (job, (loss, score), output) in cases {
        let error = epoch_result(job, &Lengths::default(), 3, loss, score).unwrap_err();
        assert_eq!((error.output, error.epoch), (output, 3), "{error}");
        for words in ["epoch 3: the ", "words left their range", "numbers.ring_bits = 64", "symbolon audit"] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    for (job, loss, score) in
        [(&classes, sum(84 * 200 * unit, None), scores(20, None)), (&regression, None, scores(20 * 256 * unit, None))]
    {
        assert!(epoch_result(job, &Lengths::default(), 1, loss, score).is_ok());
    }
    assert!(sound_parameters(&classes, &[1u32 << 29, (1 << 30) - 1, 0u32.wrapping_sub(1 << 30)]).is_ok());
    let error = sound_parameters(&classes, &[5u32, 1 << 30]).unwrap_err();
    assert_eq!((error.output, error.got, error.greatest), (Output::Parameter, 524_288.0, 524_288.0));
}
