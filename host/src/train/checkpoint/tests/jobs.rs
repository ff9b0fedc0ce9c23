//! Small jobs of every kind of state, and their runs in the clear.

use crate::{
    engine::plan::plan_from,
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{Event, Inputs, Observer, Position, Start, State, run},
};
use std::{ops::ControlFlow, path::Path};
use symbolon_core::{
    correlation::Whole,
    link::{Alone, Count},
    party::{NoTrace, Role},
    prg::{ChaCha20Prg, MaskId, Prg, Seed},
    word::{Word, word_bytes},
};

/// A job on made-up records.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// Words of 32 or 64 bits.
    pub ring_bits: u32,
    pub lanes: u16,
    /// More of `[data]`: the shape, and other keys.
    pub data: &'static str,
    pub layers: &'static str,
    pub optimizer: &'static str,
    /// More of `[training]`.
    pub training: &'static str,
    /// More of `[reveal]`.
    pub reveal: &'static str,
}

const VECTORS: &str = "shape = [6]";
const DENSE: &str = "{ kind = 'dense', units = 12 }, { kind = 'relu' }, { kind = 'dense', units = 3 }";
const SGD: &str = "kind = 'sgd'\nlearning_rate = 0.25";

/// Six steps an epoch, the last one shorter, four epochs.
pub const BASE: Case = Case {
    name: "sgd",
    ring_bits: 64,
    lanes: 1,
    data: VECTORS,
    layers: DENSE,
    optimizer: SGD,
    training: "",
    reveal: "",
};

const NORMALISED: &str = "{ kind = 'dense', units = 12 }, { kind = 'batch-norm' }, { kind = 'relu' }, \
     { kind = 'dropout', rate = 0.5 }, { kind = 'dense', units = 3 }";
const IMAGES: &str = "shape = [1, 2, 3]\naugment = { copies = 2, flip = true, shift = 1 }";
const FLAT: &str = "{ kind = 'flatten' }, { kind = 'dense', units = 3 }";
const SEQUENCES: &str = "shape = [3, 2]";
const GRU: &str = "{ kind = 'recurrent', cell = 'gru', units = 4 }, { kind = 'dense', units = 3 }";
const LSTM: &str = "{ kind = 'recurrent', cell = 'lstm', units = 4 }, { kind = 'dense', units = 3 }";

/// A job whose steps all choose again what is not stored.
pub const EXACT: [Case; 20] = [
    BASE,
    Case { name: "sgd on 3 lanes", lanes: 3, ..BASE },
    Case { name: "sgd, 32 bits", ring_bits: 32, lanes: 3, ..BASE },
    Case { name: "momentum", optimizer: "kind = 'momentum'\nlearning_rate = 0.05\nmomentum = 0.9", lanes: 3, ..BASE },
    Case {
        name: "nesterov",
        optimizer: "kind = 'nesterov'\nlearning_rate = 0.05\nmomentum = 0.9\nweight_decay = 0.0009765625\n\
                    warm_up_steps = 9",
        ..BASE
    },
    Case { name: "adam", optimizer: "kind = 'adam'\nlearning_rate = 0.01", lanes: 3, ..BASE },
    Case { name: "adam, 32 bits", optimizer: "kind = 'adam'\nlearning_rate = 0.01", ring_bits: 32, ..BASE },
    Case {
        name: "adam with its bias corrected and a mapped root",
        optimizer: "kind = 'adam'\nbias_correction = true\ninverse_root = 'mapping'",
        ..BASE
    },
    Case { name: "amsgrad", optimizer: "kind = 'amsgrad'\nlearning_rate = 0.01", lanes: 3, ..BASE },
    Case {
        name: "adamw on a cosine",
        optimizer: "kind = 'adamw'\nlearning_rate = 0.01\nschedule = 'cosine'\nwarm_up_steps = 3",
        ring_bits: 32,
        lanes: 3,
        ..BASE
    },
    Case {
        name: "clipping",
        optimizer: "kind = 'sgd'\nlearning_rate = 0.25\nclip_norm = 0.5\nclip = 0.25",
        lanes: 3,
        ..BASE
    },
    Case { name: "batch norm and dropout", layers: NORMALISED, lanes: 3, ..BASE },
    Case { name: "batch norm and dropout, 32 bits", layers: NORMALISED, ring_bits: 32, ..BASE },
    Case { name: "gru in parts", data: SEQUENCES, layers: GRU, training: "micro_batch = 4", lanes: 3, ..BASE },
    Case { name: "lstm", data: SEQUENCES, layers: LSTM, optimizer: "kind = 'adam'", ring_bits: 32, ..BASE },
    Case { name: "augmented images", data: IMAGES, layers: FLAT, training: "drop_last = true", lanes: 3, ..BASE },
    Case {
        name: "early stop",
        training: "early_stop = { metric = 'loss', patience = 1 }",
        reveal: "alarm = false",
        ..BASE
    },
    Case { name: "noise", reveal: "epsilon = 1\nlargest_loss = 1", lanes: 3, ..BASE },
    Case {
        name: "noise at the end, 32 bits",
        reveal: "epsilon = 1\nwhen = 'end'\nalarm = false",
        ring_bits: 32,
        lanes: 3,
        ..BASE
    },
    Case { name: "no loss, no test", reveal: "loss = 'never'\nmetrics = false\nalarm = false", ..BASE },
];

/// Jobs that keep a choice from one step to the next.
pub const KEEPING: [Case; 3] = [
    Case {
        name: "adam with kept buckets",
        optimizer: "kind = 'adam'\nlearning_rate = 0.004\nrefresh_every = 4",
        lanes: 3,
        ..BASE
    },
    Case {
        name: "lazy adam",
        optimizer: "kind = 'adam'\nlearning_rate = 0.004\nrefresh_every = 4\nlazy_second_moment = true",
        ring_bits: 32,
        ..BASE
    },
    Case {
        name: "amsgrad with kept buckets",
        optimizer: "kind = 'amsgrad'\nlearning_rate = 0.004\nrefresh_every = 3\nbias_correction = true",
        reveal: "alarm = false",
        ..BASE
    },
];

/// Jobs of one step an epoch.
pub const SOLVED: [&str; 4] = [
    "loss = 'squared-error'\ntraining.epochs = 3\noptimizer = { kind = 'newton' }\nreveal.standard_errors = true",
    "loss = 'logistic'\ntraining.epochs = 4\noptimizer = { kind = 'newton', curvature = 'fixed' }",
    "loss = 'logistic'\ntraining.epochs = 3\noptimizer = { kind = 'newton', curvature = 'exact' }\n\
     reveal.standard_errors = true",
    "loss = 'logistic'\ntraining.epochs = 1\noptimizer = { kind = 'closed-form' }\nreveal.loss = 'never'",
];

impl Case {
    pub fn job(&self) -> Job {
        let Self { name, ring_bits, lanes, data, layers, optimizer, training, reveal } = self;
        let default = |key: &str, value: &str| if reveal.contains(key) { "" } else { value }.to_owned();
        let numbers = if *ring_bits == 32 { "frac_bits = 9\ngrad_frac_bits = 13" } else { "" };
        let reveals = default("metrics", "metrics = true\n") + &default("loss =", "loss = 'epoch'\n");
        let text = format!(
            "version = 2\nname = 'small'\nloss = 'softmax-cross-entropy'\n\
             [data]\n{data}\ntrain_records = 44\ntest_records = 12\nclasses = 3\nscale = {{ divide = 1 }}\n\
             [data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\n\
             test_labels = 'd'\n\
             [numbers]\nring_bits = {ring_bits}\n{numbers}\n[network]\nlayers = [{layers}]\n\
             [training]\nepochs = 4\nbatch = 8\nseed = 7\n{training}\n[optimizer]\n{optimizer}\n\
             [lanes]\nlanes = {lanes}\ntile = 64\n[reveal]\n{reveals}model = true\n{reveal}\n"
        );
        Job::parse(&text, Path::new("small.toml")).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// A job of [`SOLVED`].
pub fn solved(keys: &str, lanes: u16) -> Job {
    let is_line = keys.contains("squared-error");
    let task = if is_line { "data.target = { divide = 1 }" } else { "data.classes = 2" };
    let units = if is_line { 1 } else { 2 };
    let scale = if keys.contains("closed-form") {
        "data.scale = { columns = [{ above = 0.1 }, { above = 0.2 }, { above = 0.3 }, { above = 0.4 }] }"
    } else {
        "data.scale = { divide = 1 }"
    };
    let loss = if keys.contains("never") { "" } else { "reveal.loss = 'epoch'\n" };
    let text = format!(
        "version = 2\nname = 'solved'\n{keys}\n{task}\n{scale}\n{loss}data.shape = [4]\ndata.train_records = 51\n\
         data.test_records = 12\ndata.npz = {{ file = 'x.npz', train_features = 'a', train_labels = 'b', \
         test_features = 'c', test_labels = 'd' }}\n\
         numbers.frac_bits = 20\nnetwork.layers = [{{ kind = 'dense', units = {units} }}]\n\
         training.batch = 16\ntraining.seed = 3\nlanes = {{ lanes = {lanes}, tile = 64 }}\nreveal.metrics = true\n\
         reveal.model = true\n"
    );
    Job::parse(&text, Path::new("solved.toml")).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whole values for a job: features in `[-1, 1)`, or 0 and 1 if it counts; labels that follow from
/// them.
pub fn inputs<W: Word>(job: &Job) -> Inputs<W> {
    let (mut inputs, f) = (Inputs::<W>::in_memory(job), job.numbers.frac_bits);
    let (features, labels, mut seed) = (job.data.features(), job.label_words(), 5u64);
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let is_line = matches!(job.data.task, crate::job::Task::Regression(_));
    let counts = job.closed_form().is_some();
    let tables = [(&mut inputs.train, &mut inputs.train_labels), (&mut inputs.test, &mut inputs.test_labels)];
    for (table, hot) in tables {
        let [x, y] = [table, hot].map(|words| words.memory_mut().unwrap());
        for (x, y) in x.chunks_mut(features).zip(y.chunks_mut(labels)) {
            let codes: Vec<i64> = (0..features).map(|_| (next() % (2 << f)).cast_signed() - (1 << f)).collect();
            for (x, code) in x.iter_mut().zip(&codes) {
                *x = W::from_i64(if counts { i64::from(*code > 0) << f } else { *code });
            }
            if is_line {
                y[0] = W::from_i64(codes[0] / 2 - codes[1] / 4);
                continue;
            }
            let class = (usize::from(codes[0] > 0) + usize::from(codes[1] > codes[2])) % labels;
            y.fill(W::default());
            y[class] = W::from_u64(1);
        }
    }
    inputs
}

/// A stream of zeros: masks that hide nothing, and no dither. Values round alike wherever a run
/// begins.
pub struct Zeros;

impl Prg for Zeros {
    fn fill_bytes(&self, _: MaskId, _: u64, out: &mut [u8]) {
        out.fill(0);
    }
}

/// Keeps all that a run tells, and its states.
#[derive(Default)]
pub struct Watch {
    /// Events and questions, in order.
    pub told: Vec<String>,
    /// Encoded states, by the steps before them; none if `is_idle`.
    pub states: Vec<(Position, Vec<u8>)>,
    pub is_idle: bool,
    /// The epoch after which the job ends.
    pub last: Option<u32>,
}

impl<W: HostWord + Word> Observer<W> for Watch {
    fn event(&mut self, event: Event<W>, _: Count) -> ControlFlow<()> {
        self.told.push(match event {
            Event::Opened => "opened".to_owned(),
            Event::Step { done } => format!("step {done}"),
            Event::Trained { epoch } => format!("trained {epoch}"),
            Event::Epoch { epoch, loss, score } => format!("epoch {epoch}: {loss:?}, {score:?}"),
            Event::Alarm { share } => format!("alarm {}", W::bytes(&[share]).iter().any(|byte| *byte != 0)),
        });
        ControlFlow::Continue(())
    }
    fn goes_on(&mut self, epoch: u32) -> ControlFlow<(), bool> {
        self.told.push(format!("goes on after {epoch}?"));
        ControlFlow::Continue(self.last != Some(epoch))
    }
    fn wants_checkpoint(&mut self, position: Position) -> bool {
        self.told.push(format!("stores {}?", position.steps()));
        !self.is_idle
    }
    fn checkpoint(&mut self, state: State<W>) -> ControlFlow<()> {
        self.states.push((state.position(), state.to_bytes().to_vec()));
        ControlFlow::Continue(())
    }
}

/// Runs `job` in the clear, under streams of zeros or of a seed; returns its model.
pub fn clear<W: HostWord + Word>(
    job: &Job,
    inputs: Inputs<W>,
    start: Start<W>,
    seed: Option<u8>,
    watch: &mut Watch,
) -> Vec<W> {
    let prg = |seed: u8| ChaCha20Prg::new(&Seed::from_bytes(&[seed; 32]), &[9; 16]);
    let (streams, choices) = (seed.map(|seed| [prg(seed), prg(seed + 100)]), prg(seed.unwrap_or(0) + 50));
    let prgs: [&dyn Prg; 2] = match &streams {
        Some([first, second]) => [first, second],
        None => [&Zeros, &Zeros],
    };
    let arena = plan_from(job, start.position()).unwrap().arena_bytes;
    let lanes = (0..job.lanes.lanes).map(|lane| {
        Some(Lane {
            link: Box::new(Alone),
            correlations: Box::new(Whole::new(prgs, best::<W>(), lane)),
            trace: Box::new(NoTrace),
            arena: Secret::zeros(usize::try_from(arena).unwrap() / word_bytes::<W>()),
        })
    });
    let mut lanes = Lanes::new(Role::Clear, best::<W>(), lanes.collect(), 1).choosing(&choices);
    run(&mut lanes, job, inputs, start, watch).unwrap()
}
