//! Networks over sequences: secure equals clear at the plan's cost, and a task that needs memory is
//! learnt.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use symbolon::{
    data::{Dataset, Lengths, SetLengths, Targets},
    job::{Job, JobError},
    kernel::HostWord,
    train::{EncodeError, Inputs, epoch_result},
};
use symbolon_tests::{
    jobs::Values,
    play::{Game, Keys},
};

/// A job on sequences: its ring, its data, its layers, epochs and lanes.
pub fn toml(ring_bits: u32, data: &str, layers: &str, [epochs, lanes]: [u32; 2]) -> String {
    format!(
        "version = 2\nname = 'sequences'\nloss = 'softmax-cross-entropy'\nmetrics = ['accuracy', 'perplexity', 'confusion']\n\
         [data]\ntrain_records = 96\ntest_records = 24\nscale = {{ divide = 1 }}\n{data}\n\
         [data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\ntest_labels = 'd'\n\
         [numbers]\nring_bits = {ring_bits}\n[network]\nlayers = [{layers}]\n\
         [training]\nepochs = {epochs}\nbatch = 16\nseed = 3\n[optimizer]\nkind = 'adam'\nlearning_rate = 0.0156\n\
         [lanes]\nlanes = {lanes}\n[reveal]\nmetrics = true\nloss = 'epoch'\nmodel = true\n"
    )
}

pub fn parsed(text: &str) -> Result<Job, JobError> {
    Job::parse(text, Path::new("sequences.toml"))
}

pub const READINGS: &str = "shape = [6, 2]\nclasses = 2";
pub const CODES: &str = "shape = [6, 1]\nclasses = 4\nlabels_per_record = 3";

/// Records of `cols` features without lengths.
pub fn set(features: Vec<f32>, classes: Vec<u32>, cols: usize) -> Dataset {
    let rows = features.len() / cols;
    let (targets, lengths) = (Targets::Classes(classes), SetLengths::default());
    Dataset { features, targets, lengths, rows, cols, held: rows as u64, skipped: 0 }
}

/// Records whose class is the sign of the first feature of the first step: to be remembered.
pub fn readings(records: usize, salt: u64) -> Dataset {
    let mut values = Values(salt);
    #[allow(clippy::cast_possible_truncation)]
    let features: Vec<f32> = (0..records * 12).map(|_| values.unit() as f32).collect();
    let classes = features.chunks_exact(12).map(|row| u32::from(row[0] > 0.0)).collect();
    set(features, classes, 12)
}

/// Records of three random codes and three blanks (code 4); the labels are the codes in reverse
/// order.
pub fn codes(records: usize, salt: u64) -> Dataset {
    let mut values = Values(salt);
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..records {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 3
        let row: [u32; 3] = std::array::from_fn(|_| (values.unit().abs() * 3.999) as u32);
        features.extend(row.iter().chain(&[4, 4, 4]).map(|code| f32::from(u8::try_from(*code).unwrap())));
        labels.extend(row.iter().rev());
    }
    set(features, labels, 6)
}

/// Both engines' figures of the last epoch: loss, accuracy, perplexity.
pub fn played<W: HostWord>(job: &Job, train: &Dataset, test: &Dataset) -> [f64; 3] {
    let clear = Game::agreed(job, &Keys::new(7), || Inputs::<W>::encode(job, train, test).unwrap());
    let (loss, scores) = clear.epochs.last().unwrap().clone();
    let lengths = Lengths { train: train.lengths.clone(), test: test.lengths.clone() };
    let last = epoch_result(job, &lengths, job.training.epochs, loss, scores).unwrap();
    [last.loss.unwrap(), last.metrics[0].value.unwrap(), last.metrics[1].value.unwrap()]
}

pub fn recurrent(cell: &str, more: &str) -> String {
    format!("{{ kind = 'recurrent', cell = '{cell}', units = 6{more} }}")
}

#[test]
fn secure_equals_clear_for_every_cell() {
    let stacked = format!("{}, {}", recurrent("gru", ", states = 'all', reverse = true"), recurrent("lstm", ""));
    let limited = recurrent("lstm", ", clip_gradient = 0.25");
    let cases = [
        (64, recurrent("simple", ", reverse = true")),
        (64, recurrent("gru", "")),
        (64, stacked),
        (32, limited),
        (
            32,
            recurrent("gru", ", sigmoid = { method = 'segments', parts = 3 }, tanh = { bits = 6, interval = [-4, 4] }"),
        ),
    ];
    for (lanes, (ring_bits, layers)) in (1..=3).cycle().zip(cases) {
        let text = toml(ring_bits, READINGS, &format!("{layers}, {{ kind = 'dense', units = 2 }}"), [2, lanes]);
        let job = parsed(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let (train, test) = (readings(96, 5), readings(24, 6));
        let _ = if ring_bits == 64 { played::<u64>(&job, &train, &test) } else { played::<u32>(&job, &train, &test) };
    }
}

/// A lane may have no rows; a cell that begins with another's state has two inputs.
#[test]
fn lanes_without_rows_run_along() {
    let carry = recurrent("lstm", ", name = 'carry', states = 'carry'");
    let begun = recurrent("lstm", ", input = ['data', 'carry'], initial_state = true");
    for layers in [recurrent("simple", ""), recurrent("gru", ""), format!("{carry}, {begun}")] {
        let layers = format!("{layers}, {{ kind = 'dense', units = 2 }}");
        let text = toml(64, READINGS, &layers, [1, 5]).replace("batch = 16", "batch = 2").replace("= 96", "= 7");
        let _ = played::<u64>(&parsed(&text).unwrap(), &readings(7, 5), &readings(24, 6));
    }
}

#[test]
fn the_first_step_is_remembered() {
    let text = toml(64, READINGS, &format!("{}, {{ kind = 'dense', units = 2 }}", recurrent("gru", "")), [20, 2]);
    let [loss, accuracy, _] = played::<u64>(&parsed(&text).unwrap(), &readings(96, 5), &readings(24, 6));
    assert!(loss < 0.4 && accuracy > 0.8, "{loss} {accuracy}");
}

/// An encoder and a decoder over one embedding.
pub fn translator() -> String {
    format!(
        "{{ kind = 'embedding', name = 'e', codes = 5, units = 4 }}, {{ kind = 'slice', name = 'a', input = 'e', steps = 3 }}, \
         {{ kind = 'slice', name = 'b', input = 'e', from = 3, steps = 3 }}, \
         {}, {}, {{ kind = 'dense', units = 4, each_step = true }}",
        recurrent("lstm", ", name = 'read', input = 'a', states = 'carry'"),
        recurrent("lstm", ", input = ['b', 'read'], states = 'all', initial_state = true")
    )
}

/// Two vocabularies: each part of a record has an embedding of its own.
fn vocabularies() -> String {
    format!(
        "{{ kind = 'slice', name = 'a', input = 'data', steps = 3 }}, {{ kind = 'embedding', codes = 4, units = 3 }}, {}, \
         {{ kind = 'slice', name = 'b', input = 'data', from = 3, steps = 3 }}, {{ kind = 'embedding', codes = 5, units = 3 }}, \
         {}, {{ kind = 'dense', units = 4, each_step = true }}",
        recurrent("gru", ", name = 'read'"),
        recurrent("gru", ", input = ['embedding2', 'read'], states = 'all', initial_state = true")
    )
}

#[test]
fn parts_of_a_record_have_embeddings_of_their_own() {
    let job = parsed(&toml(64, CODES, &vocabularies(), [1, 2])).unwrap();
    assert_eq!(job.codes(), [(0..3, 4), (3..6, 5)]);
    let _ = played::<u64>(&job, &codes(96, 1), &codes(24, 2));
}

#[test]
fn a_sequence_is_translated() {
    for lanes in [1, 2] {
        let text = toml(64, CODES, &translator(), [if lanes == 1 { 1 } else { 12 }, lanes]);
        let job = parsed(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let [loss, accuracy, _] = played::<u64>(&job, &codes(96, 1), &codes(24, 2));
        if lanes == 2 {
            assert!(loss < 1.1 && accuracy > 0.45, "{loss} {accuracy}"); // by chance 1.39 and 0.25
        }
    }
}

#[test]
fn features_that_are_not_codes_are_refused() {
    let job = parsed(&toml(64, CODES, &translator(), [1, 1])).unwrap();
    for wrong in [5.0, -1.0, 0.5] {
        let mut train = codes(96, 1);
        train.features[7] = wrong;
        let Err(error) = Inputs::<u64>::encode(&job, &train, &codes(24, 2)) else { panic!("{wrong} was taken") };
        let want = EncodeError::Code { set: "training", record: 1, feature: 1, got: wrong, codes: 5 };
        assert_eq!(error, want);
        assert!(error.to_string().contains("from 0 to 4"), "{error}");
    }
}

#[test]
fn jobs_that_do_not_fit_say_so() {
    let dense = "{ kind = 'dense', units = 2 }";
    let refused = |data: &str, layers: &str, want: &str| {
        let error = parsed(&toml(64, data, layers, [1, 1])).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    refused("shape = [12]\nclasses = 2", &format!("{}, {dense}", recurrent("gru", "")), "[1, steps, features]");
    refused(READINGS, dense, "takes a vector");
    refused(READINGS, &format!("{}, {dense}", recurrent("gru", ", tanh = { function = 'sine' }")), "function");
    refused(READINGS, &format!("{}, {dense}", recurrent("gru", ", initial_state = true")), "takes 2 inputs");
    refused(
        "shape = [6, 2]\nclasses = 2\nlabels_per_record = 6",
        &format!("{}, {dense}", recurrent("gru", "")),
        "[1, 6, 2]",
    );
    refused("shape = [6, 2]\ntarget = { divide = 1 }\nlabels_per_record = 2", dense, "data.labels_per_record");
    refused(READINGS, "{ kind = 'embedding', codes = 5, units = 2 }", "a sequence of codes");
    refused("shape = [6, 1]\nclasses = 4", "{ kind = 'slice', from = 4, steps = 3 }", "from = 4");
}
