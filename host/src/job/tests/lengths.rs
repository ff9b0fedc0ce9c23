//! Lengths of sequences: which jobs may have them.

use super::*;

/// A job on sequences of 4 steps: layers, keys of `[data]`, of `[data.npz]`, and of the job.
fn sequences(layers: &str, data: &str, npz: &str, more: &str) -> Result<Job, JobError> {
    parse(&format!(
        "version = 2\nname = 's'\nloss = 'softmax-cross-entropy'\n{more}\n\
         [data]\ntrain_records = 80\ntest_records = 20\nclasses = 3\nscale = {{ divide = 1 }}\n{data}\n\
         [data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\ntest_labels = 'd'\n{npz}\n\
         [network]\nlayers = [{layers}]\n[training]\nepochs = 1\nbatch = 16\nseed = 1\n[optimizer]\nkind = 'adam'\n"
    ))
}

const SHAPE: &str = "shape = [4, 2]";
const EACH: &str = "shape = [4, 2]\nlabels_per_record = 4";
const GRU: &str = "{ kind = 'recurrent', cell = 'gru', units = 3 }";
const DENSE: &str = "{ kind = 'dense', units = 3 }";
const ALL: &str =
    "{ kind = 'recurrent', cell = 'gru', units = 3, states = 'all' }, { kind = 'dense', units = 3, each_step = true }";
const LENGTHS: &str = "train_lengths = 'n'\ntest_lengths = 'm'";
const LABELS: &str = "train_label_lengths = 'n'\ntest_label_lengths = 'm'";

/// Two labels, behind a slice of the states.
const TWO: &str = "shape = [4, 2]\nlabels_per_record = 2";
const SLICED: &str = "{ kind = 'recurrent', cell = 'gru', units = 3, states = 'all' }, { kind = 'slice', from = 2, steps = 2 }, \
                      { kind = 'dense', units = 3, each_step = true }";

#[test]
fn lengths_are_keys_of_arrays() {
    let job = sequences(&format!("{GRU}, {DENSE}"), SHAPE, LENGTHS, "").unwrap();
    assert!(job.data.has_lengths() && !job.data.has_label_lengths() && !job.data.labels_follow_lengths());
    assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
    let job = sequences(ALL, EACH, LENGTHS, "").unwrap();
    assert!(job.data.labels_follow_lengths());
    for npz in [LABELS.to_owned(), format!("{LENGTHS}\n{LABELS}")] {
        let job = sequences(SLICED, TWO, &npz, "").unwrap();
        assert!(job.data.has_label_lengths() && !job.data.labels_follow_lengths());
    }
    // Layers that keep the steps, and slices, may stand before.
    let slices = format!(
        "{{ kind = 'slice', from = 1, steps = 3 }}, {{ kind = 'dense', units = 2, each_step = true }}, {GRU}, {DENSE}"
    );
    sequences(&slices, SHAPE, LENGTHS, "").unwrap();
}

#[test]
fn jobs_that_lengths_do_not_suit_say_so() {
    let refused = |layers: &str, data: &str, npz: &str, more: &str, key: &str, want: &str| {
        let Err(JobError::Invalid { invalid, .. }) = sequences(layers, data, npz, more) else { panic!("{npz}: taken") };
        assert_eq!(invalid.key, format!("data.npz.{key}"));
        let said = invalid.rule.to_string();
        assert!(said.contains(want), "{said}");
    };
    let gru = &*format!("{GRU}, {DENSE}");
    refused(gru, SHAPE, "train_lengths = 'n'", "", "test_lengths", "train_lengths needs it");
    refused(gru, SHAPE, "test_lengths = 'n'", "", "train_lengths", "test_lengths needs it");
    refused(gru, SHAPE, "train_lengths = '../n'\ntest_lengths = 'm'", "", "train_lengths", "relative");
    refused(SLICED, TWO, "train_label_lengths = 'n'", "", "test_label_lengths", "train_label_lengths needs it");
    refused(
        &format!("{{ kind = 'flatten' }}, {DENSE}"),
        SHAPE,
        LENGTHS,
        "",
        "train_lengths",
        "without a recurrent layer",
    );
    refused(gru, SHAPE, LENGTHS, "reveal.epsilon = 1.0", "train_lengths", "reveal.epsilon");
    refused(gru, "shape = [4, 2]\naugment = { copies = 2 }", LENGTHS, "", "train_lengths", "data.augment");
    let norm = format!("{GRU}, {DENSE}, {{ kind = 'batch-norm' }}");
    refused(&norm, SHAPE, LENGTHS, "", "train_lengths", "layer batch-norm1, which would count the padding");
    refused(gru, SHAPE, LABELS, "", "train_label_lengths", "there are 1 for 4 steps");
    refused(ALL, EACH, LABELS, "", "train_label_lengths", "there are 4 for 4 steps");
    let pooled = format!("{{ kind = 'average-pool', window = [2, 1] }}, {GRU}, {DENSE}");
    refused(&pooled, SHAPE, LENGTHS, "", "train_lengths", "layer recurrent1, whose steps");
    // Two slices that begin at different steps, side by side.
    let joined = format!(
        "{{ kind = 'slice', name = 'a', input = 'data', steps = 3 }}, {{ kind = 'slice', name = 'b', input = 'data', from = 1, steps = 3 }}, \
         {{ kind = 'concat', input = ['a', 'b'], each_step = true }}, {GRU}, {DENSE}"
    );
    refused(&joined, SHAPE, LENGTHS, "", "train_lengths", "layer recurrent1, whose steps");
    let image = format!("{{ kind = 'convolution', filters = 1, kernel = [3, 1], padding = [1, 0] }}, {GRU}, {DENSE}");
    sequences(&image, SHAPE, LENGTHS, "").unwrap();
    refused(&image, "shape = [2, 4, 2]", LENGTHS, "", "train_lengths", "[steps, features]");
}

#[test]
fn lengths_without_a_test_set_are_those_of_training() {
    let text = |npz: &str| {
        let job = sequences(&format!("{GRU}, {DENSE}"), SHAPE, npz, "").map(drop);
        assert!(job.is_err(), "a test set has lengths too");
        format!(
            "version = 2\nname = 's'\nloss = 'softmax-cross-entropy'\n\
             [data]\ntrain_records = 80\ntest_records = 0\nclasses = 3\nscale = {{ divide = 1 }}\nshape = [4, 2]\n\
             [data.npy]\ntrain_features = 'a'\ntrain_labels = 'b'\n{npz}\n\
             [network]\nlayers = [{GRU}, {DENSE}]\n[training]\nepochs = 1\nbatch = 16\nseed = 1\n[optimizer]\nkind = 'adam'\n[reveal]\nmetrics = false\n"
        )
    };
    assert!(parse(&text("train_lengths = 'n'")).unwrap().data.has_lengths());
    let error = parse(&text("test_lengths = 'n'")).unwrap_err().to_string();
    assert!(error.contains("data.npy.test_lengths") && error.contains("a job without test records"), "{error}");
}
