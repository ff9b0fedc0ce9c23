//! Networks of every layer, trained: secure equals clear bit for bit, at the plan's cost, whatever
//! the lanes, the batch and the ring; and what a network must not be.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};
use symbolon::{
    job::{Job, JobError},
    kernel::HostWord,
    train::Inputs,
};
use symbolon_core::word::Word;
use symbolon_tests::{
    jobs::Values,
    play::{Game, Keys},
};

/// Every layer in one network of images of odd sizes; the last layer is dense.
pub const ALL: &str = "
    { name = 'stem', kind = 'convolution', filters = 4, kernel = [3, 2], padding = [1, 0] },
    { kind = 'batch-norm' },
    { kind = 'max-pool', window = 2, relu = true },
    { name = 'deep', kind = 'convolution', filters = 4, kernel = 3, padding = 1, groups = 4 },
    { kind = 'leaky-relu', slope = 0.125 },
    { name = 'sum', kind = 'add', input = ['leaky-relu1', 'max-pool1'] },
    { kind = 'dropout', rate = 0.5 },
    { name = 'both', kind = 'concat', input = ['dropout1', 'deep'] },
    { kind = 'upsample', factor = [1, 2] },
    { kind = 'average-pool', window = [1, 4] },
    { kind = 'relu' },
    { name = 'narrow', kind = 'convolution', filters = 3, kernel = 1, stride = [2, 1] },
    { kind = 'batch-norm', epsilon_log2 = -6, momentum = 0.25 },
    { kind = 'square' },
    { kind = 'activation', function = 'tanh' },
    { kind = 'activation', function = 'sigmoid', method = 'polynomial', degree = 3, interval = [-4, 4] },
    { kind = 'global-average-pool' },
    { kind = 'flatten' },
    { kind = 'dense', units = 3 },
";

#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub layers: &'a str,
    pub ring_bits: u32,
    lanes: u16,
    batch: usize,
    records: usize,
    optimizer: &'a str,
    /// More of `[data]`.
    data: &'a str,
    /// Rows that pass at once; 0 for all of a batch.
    micro_batch: usize,
}

impl<'a> Case<'a> {
    /// Two lanes of a few records.
    pub fn of(layers: &'a str, ring_bits: u32) -> Self {
        Self { layers, ring_bits, lanes: 2, batch: 8, records: 24, optimizer: SGD, data: "", micro_batch: 0 }
    }
}

impl Case<'_> {
    fn toml(&self) -> String {
        let Self { layers, ring_bits, lanes, batch, records, optimizer, data, micro_batch } = self;
        let micro_batch = if *micro_batch > 0 { format!("micro_batch = {micro_batch}\n") } else { String::new() };
        let frac_bits = if *ring_bits == 32 { 9 } else { 12 };
        format!(
            "version = 2\nname = 'layers'\nloss = 'softmax-cross-entropy'\n\
             [data]\nshape = [2, 7, 6]\ntrain_records = {records}\ntest_records = {}\nclasses = 3\nscale = {{ divide = 1 }}\n{data}\n\
             [data.csv]\ntrain = 'records.csv'\ntest_every = 5\nlabel = 'label'\n\
             [numbers]\nring_bits = {ring_bits}\nfrac_bits = {frac_bits}\ngrad_frac_bits = {}\n\
             [network]\nlayers = [{layers}]\n\
             [training]\nepochs = 2\nbatch = {batch}\n{micro_batch}seed = 3\n[optimizer]\n{optimizer}\n\
             [lanes]\nlanes = {lanes}\ntile = 64\n[reveal]\nmetrics = true\nloss = 'epoch'\nmodel = true\n",
            records / 4,
            frac_bits + 4,
        )
    }

    pub fn job(&self) -> Job {
        Job::parse(&self.toml(), Path::new("layers.toml")).unwrap()
    }

    fn inputs<W: Word>(&self) -> Inputs<W> {
        let (mut values, job) = (Values(5), self.job());
        let columns = job.data.features();
        let mut text = (0..columns).fold(String::new(), |text, i| text + &format!("f{i},")) + "label\n";
        for _ in 0..self.records + self.records / 4 {
            (0..columns).try_for_each(|_| write!(text, "{},", values.unit())).unwrap();
            writeln!(text, "{}", values.below(3)).unwrap();
        }
        let dir = symbolon_tests::dir::TempDir::new();
        let _ = dir.file("records.csv", &text);
        let (train, test) = symbolon::data::load(&job, &dir).unwrap();
        Inputs::encode(&job, &train, &test).unwrap()
    }

    /// Trains on shares and in the clear.
    fn agree<W: HostWord + Word>(&self) {
        let _ = Game::agreed(&self.job(), &Keys::new(u64::from(W::BITS)), || self.inputs::<W>());
    }
}

const SGD: &str = "kind = 'sgd'\nlearning_rate = 0.25";
const MOMENTUM: &str = "kind = 'momentum'\nlearning_rate = 0.125\nmomentum = 0.5";

#[test]
fn secure_equals_clear_for_every_layer() {
    for lanes in 1..=5 {
        let case =
            Case { layers: ALL, ring_bits: 64, lanes, batch: 4, records: 11, optimizer: SGD, data: "", micro_batch: 0 };
        case.agree::<u64>();
        Case { ring_bits: 32, batch: 8, optimizer: MOMENTUM, ..case }.agree::<u32>();
    }
}

/// Normalisations folded into tensors of more words than a tile, for images and for vectors.
const FOLDED: &str = "
    { kind = 'convolution', filters = 10, kernel = 3, padding = 1, groups = 2 },
    { kind = 'batch-norm' },
    { kind = 'relu' },
    { kind = 'global-average-pool' },
    { kind = 'flatten' },
    { kind = 'dense', units = 12 },
    { kind = 'batch-norm' },
    { kind = 'relu' },
    { kind = 'dense', units = 3 },
";

#[test]
fn secure_equals_clear_for_folded_layers() {
    for lanes in 1..=5 {
        let case = Case {
            layers: FOLDED,
            ring_bits: 64,
            lanes,
            batch: 4,
            records: 11,
            optimizer: SGD,
            data: "",
            micro_batch: 0,
        };
        case.agree::<u64>();
        Case { ring_bits: 32, batch: 8, optimizer: MOMENTUM, ..case }.agree::<u32>();
    }
}

/// A step over several passes has the gradient of their sum.
#[test]
fn secure_equals_clear_in_parts_of_a_batch() {
    let layers = ALL
        .replace("    { kind = 'batch-norm' },\n", "")
        .replace("    { kind = 'batch-norm', epsilon_log2 = -6, momentum = 0.25 },\n", "");
    assert!(!layers.contains("norm"));
    let whole = Case {
        layers: &layers,
        ring_bits: 64,
        lanes: 3,
        batch: 8,
        records: 13,
        optimizer: SGD,
        data: "",
        micro_batch: 0,
    };
    for micro_batch in [1, 2, 4] {
        Case { micro_batch, ..whole }.agree::<u64>();
        Case { micro_batch, ring_bits: 32, optimizer: MOMENTUM, ..whole }.agree::<u32>();
    }
    let parameters = |case: Case<'_>| -> Vec<i64> {
        let (game, keys) = (Game::new(case.job()), Keys::new(1));
        let trained = game.clear::<u64>(case.inputs(), &keys, 1);
        trained.parameters.iter().map(|word| word.cast_signed()).collect()
    };
    let (once, parts) = (parameters(whole), parameters(Case { micro_batch: 2, ..whole }));
    let apart = once.iter().zip(&parts).map(|(a, b)| (a - b).abs()).max().unwrap();
    assert!((1..256).contains(&apart), "{apart} units apart, by other dithers alone");
    let refused = Job::parse(&Case { layers: ALL, micro_batch: 2, ..whole }.toml(), Path::new("layers.toml"));
    assert!(refused.unwrap_err().to_string().contains("batch-norm1"));
}

/// Both epochs take another copy of each record.
#[test]
fn secure_equals_clear_on_augmented_copies() {
    let data = "augment = { copies = 2, flip = true, shift = 2 }";
    let case =
        Case { layers: ALL, ring_bits: 64, lanes: 2, batch: 4, records: 11, optimizer: SGD, data, micro_batch: 0 };
    case.agree::<u64>();
    let (plain, copied) = (Case { data: "", ..case }.inputs::<u64>(), case.inputs::<u64>());
    let (rows, cols) = (11, 2 * 7 * 6);
    assert_eq!((plain.train.len(), copied.train.len()), (rows * cols, 2 * rows * cols));
    let [labels, plain_labels] = [&copied, &plain].map(|inputs| inputs.train_labels.memory().unwrap());
    assert_eq!(labels[..rows * 3], labels[rows * 3..]);
    assert_eq!(&labels[..rows * 3], plain_labels);
    let train = copied.train.memory().unwrap();
    assert_ne!(train[..rows * cols], train[rows * cols..]);
    assert_eq!(copied.test.memory(), plain.test.memory());
}

#[test]
fn secure_equals_clear_in_batches_of_one() {
    let case = Case {
        layers: ALL,
        ring_bits: 64,
        lanes: 2,
        batch: 1,
        records: 4,
        optimizer: MOMENTUM,
        data: "",
        micro_batch: 0,
    };
    case.agree::<u64>();
    Case { ring_bits: 32, optimizer: "kind = 'adam'", ..case }.agree::<u32>();
}

fn refused(layers: &str) -> String {
    let case =
        Case { layers, ring_bits: 64, lanes: 1, batch: 4, records: 11, optimizer: SGD, data: "", micro_batch: 0 };
    match Job::parse(&case.toml(), Path::new("layers.toml")) {
        Err(error @ JobError::Invalid { .. }) => error.to_string(),
        other => panic!("{layers}: {other:?}"),
    }
}

/// Each pool adds two fraction bits: sums are not truncated between.
#[test]
fn scales_beyond_the_ring_are_refused() {
    let pools = "{ kind = 'average-pool', window = 2, stride = 1 }, ".repeat(5);
    let layers = format!(
        "{{ kind = 'convolution', filters = 2, kernel = 1, padding = 0 }}, {pools} {{ kind = 'relu' }}, \
         {{ kind = 'flatten' }}, {{ kind = 'dense', units = 3 }}"
    );
    let case = Case {
        layers: &layers,
        ring_bits: 32,
        lanes: 1,
        batch: 4,
        records: 11,
        optimizer: SGD,
        data: "",
        micro_batch: 0,
    };
    assert!(Job::parse(&case.toml(), Path::new("layers.toml")).is_ok(), "18 and 10 bits");
    let toml =
        case.toml().replace("frac_bits = 9", "frac_bits = 10").replace("grad_frac_bits = 13", "grad_frac_bits = 14");
    let refused = Job::parse(&toml, Path::new("layers.toml")).unwrap_err().to_string();
    for part in ["(average-pool5)", "30 fraction bits", "room for 28"] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn networks_that_do_not_fit_are_refused_with_the_layer_and_the_reason() {
    let last = "{ name = 'out', kind = 'dense', units = 3 }";
    let flat = "{ kind = 'flatten' }";
    let cases = [
        (last.to_owned(), ["(out)", "[2, 7, 6]", "flatten"]),
        (format!("{{ kind = 'max-pool', window = [8, 1] }}, {flat}, {last}"), ["(max-pool1)", "8 by 1", "[2, 7, 6]"]),
        (format!("{{ kind = 'max-pool', window = 5 }}, {flat}, {last}"), ["(max-pool1)", "25", "2 to 16"]),
        (
            format!("{{ name = 'c', kind = 'convolution', filters = 3, kernel = 3, groups = 2 }}, {flat}, {last}"),
            ["(c)", "2 groups", "3 channels"],
        ),
        (
            format!("{{ kind = 'convolution', filters = 3, kernel = 9, padding = 0 }}, {flat}, {last}"),
            ["(convolution1)", "9 by 9", "[2, 7, 6]"],
        ),
        (
            format!(
                "{flat}, {{ name = 'a', kind = 'dense', units = 2 }}, {{ name = 'b', kind = 'add', input = ['a', 'flatten1'] }}, {last}"
            ),
            ["(b)", "[2, 1, 1]", "[84, 1, 1]"],
        ),
        (
            format!("{flat}, {{ name = 'a', kind = 'relu', input = 'b' }}, {{ name = 'b', kind = 'relu' }}, {last}"),
            ["(a)", "\"b\"", "cycle"],
        ),
        (
            format!(
                "{flat}, {{ name = 'a', kind = 'dense', units = 2 }}, {{ name = 'out', kind = 'dense', units = 3, input = 'flatten1' }}"
            ),
            ["(a)", "no reader", "last layer"],
        ),
        (format!("{flat}, {{ kind = 'dense', units = 3, input = 'flaten' }}"), ["(dense1)", "\"flaten\"", "flatten1"]),
        (
            format!("{flat}, {{ kind = 'add', input = ['flatten1', 'flatten1'] }}, {last}"),
            ["(add1)", "same layer", "twice"],
        ),
        (format!("{flat}, {{ kind = 'add' }}, {last}"), ["(add1)", "takes 2 inputs", "given 1"]),
        (format!("{{ kind = 'batch-norm', epsilon_log2 = -20 }}, {flat}, {last}"), ["(batch-norm1)", "-20", "-14 to"]),
        (format!("{flat}, {{ kind = 'dense', units = 4 }}"), ["(dense1)", "[4, 1, 1]", "[3, 1, 1]"]),
        (
            format!("{{ name = 'x', kind = 'relu' }}, {{ name = 'x', kind = 'flatten' }}, {last}"),
            ["\"x\"", "name of another layer", "name"],
        ),
        (
            "{ kind = 'global-average-pool' }, { kind = 'concat', input = ['global-average-pool1', 'data'] }"
                .to_owned(),
            ["(concat1)", "height and width", "[2, 7, 6]"],
        ),
    ];
    for (layers, parts) in cases {
        let message = refused(&layers);
        for part in parts {
            assert!(message.contains(part), "{layers}: {message:?} lacks {part:?}");
        }
    }
}
