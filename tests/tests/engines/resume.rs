//! Jobs that go on from a checkpoint, under fresh seeds: secure equals clear bit for bit, each from
//! its own state of the same step, at the cost of the plan from there.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use symbolon::{
    job::{Job, Noise, RevealLoss, When},
    kernel::HostWord,
    train::{Inputs, Position, Start, State, batch_order},
};
use symbolon_core::word::Word;
use symbolon_tests::{
    jobs::{OPTIMIZERS, Shape, Values},
    play::{Encoded, Game, Keys, Played, Trained, shares},
    stored::Task,
};

fn is_set<W: Word>(alarm: Option<W>) -> Option<bool> {
    alarm.map(|alarm| W::bytes(&[alarm]).iter().any(|byte| *byte != 0))
}

/// A game whose job stops and goes on.
struct Stopping<'a, W: Word> {
    game: Game,
    inputs: &'a dyn Fn() -> Inputs<W>,
    sessions: u64,
}

/// Both servers' states and the clear engine's, in the order of the stored positions.
type States = [Encoded; 3];

impl<W: HostWord + Word> Stopping<'_, W> {
    /// Plays from `position` on, or from the beginning, and stores the states at `storing`. Holds
    /// the engines against each other and against the plan.
    fn play(&mut self, states: Option<[&[u8]; 3]>, storing: &[u64]) -> (Trained<W>, States) {
        let (job, inputs) = (self.game.job.clone(), self.inputs);
        let start = |bytes: &[u8]| Start::At(State::<W>::from_bytes(&job, bytes).unwrap());
        let [first, second, whole] = match states {
            Some(states) => states.map(start),
            None => [(); 3].map(|()| Start::Fresh),
        };
        let total = self.game.move_to(first.position()).total;
        self.game.storing = storing.iter().map(|steps| Position::after(*steps)).collect();
        self.sessions += 1;
        let (keys, position) = (Keys::new(self.sessions), first.position());
        let shares = shares(&job, inputs(), &keys);
        let Played { result, counts, dealt_bytes, dithers, states: [a, b], .. } =
            self.game.secure_from(shares, [first, second], &keys, 64);
        let (clear, c) = self.game.replay_from((inputs(), whole), &keys, &dithers, 1);
        assert_eq!(format!("{:?}", result.epochs), format!("{:?}", clear.epochs), "{position}: {job:?}");
        assert!(W::bytes(&result.parameters) == W::bytes(&clear.parameters), "{position}: {job:?}");
        assert_eq!(is_set(result.alarm), is_set(clear.alarm), "{position}: {job:?}");
        for count in counts {
            assert_eq!((count.rounds, count.bytes), (total.rounds, total.bytes_each_way), "{position}: {job:?}");
        }
        assert_eq!(dealt_bytes, total.dealer_bytes, "{position}: {job:?}");
        assert_eq!([&a, &b, &c].map(Vec::len), [storing.len(); 3]);
        (clear, [a, b, c])
    }
}

/// Stops a job after each of `steps`, and goes on.
fn goes_on<W: HostWord + Word>(job: Job, inputs: &dyn Fn() -> Inputs<W>, steps: &[u64]) {
    let mut game = Game::new(job);
    game.recording = false;
    let mut stopping = Stopping { game, inputs, sessions: 0 };
    let (whole, states) = stopping.play(None, steps);
    for (i, steps) in steps.iter().enumerate() {
        let (again, _) = stopping.play(Some(states.each_ref().map(|own| &own[i][..])), &[]);
        assert_eq!(is_set(again.alarm), is_set(whole.alarm));
        assert_eq!(again.parameters.len(), whole.parameters.len());
        let (job, position) = (&stopping.game.job, Position::after(*steps));
        let (left, told) = (whole.epochs.len() - position.epochs(job) as usize, position.is_epoch_end(job));
        assert_eq!(again.epochs.len(), left + usize::from(told));
        if told {
            let same = &whole.epochs[whole.epochs.len() - again.epochs.len()];
            assert_eq!(again.epochs[0], *same, "the epoch's numbers are those of before");
        }
    }
}

/// 11 steps an epoch, the last one shorter: past those in which Adam always chooses its buckets.
fn long(ring_bits: u32, optimizer: &str) -> Shape<'_> {
    Shape { ring_bits, optimizer, epochs: 2, batch: 8, records: 84, hidden: 12, ..Shape::default() }
}

/// Within an epoch, at its end, where kept buckets would be reused, and at the job's end.
const STEPS: [u64; 4] = [5, 11, 18, 22];

#[test]
fn every_optimizer_goes_on_in_64_bits() {
    for optimizer in OPTIMIZERS {
        let shape = long(64, optimizer);
        goes_on::<u64>(shape.job(), &|| shape.inputs(), &STEPS);
    }
}

#[test]
fn every_optimizer_goes_on_in_32_bits() {
    for (lanes, optimizer) in [1, 3].into_iter().cycle().zip(OPTIMIZERS) {
        let shape = Shape { lanes, ..long(32, optimizer) };
        goes_on::<u32>(shape.job(), &|| shape.inputs(), &STEPS);
    }
}

/// More lanes than rows; noise, whose terms wait for their clamp; numbers at the end alone; no
/// alarm.
#[test]
fn other_reveals_go_on() {
    for (ring_bits, when, lanes) in [(32, When::Epoch, 3), (64, When::End, 1), (32, When::End, 5)] {
        let shape = Shape { ring_bits, lanes, epochs: 3, batch: 4, records: 22, ..Shape::default() };
        let mut job = shape.job();
        (job.reveal.when, job.reveal.alarm) = (when, lanes > 1);
        job.reveal.noise = Some(Noise { epsilon_milli: 1000, largest_loss: 1 });
        match ring_bits {
            32 => goes_on::<u32>(job, &|| shape.inputs(), &[2, 6, 15, 18]),
            _ => goes_on::<u64>(job, &|| shape.inputs(), &[2, 6, 15, 18]),
        }
    }
    let shape = Shape { regression: true, lanes: 3, epochs: 2, ..Shape::default() };
    let mut job = shape.job();
    (job.reveal.loss, job.reveal.metrics, job.reveal.alarm) = (RevealLoss::Never, false, false);
    goes_on::<u64>(job, &|| shape.inputs(), &[1, 7, 14]);
}

/// Codes are lifted again. Labels may name no class, so records are counted with the loss.
#[test]
fn jobs_on_reports_go_on() {
    for (ring_bits, lanes) in [(64, 3), (32, 2)] {
        let task = Task { ring_bits, lanes, records: 113, regression: false, optimizer: OPTIMIZERS[5] };
        let mut job = task.job();
        job.training.epochs = 2;
        assert!(job.data.may_lack_class());
        let steps = job.steps_per_epoch() as u64;
        let steps = [2, steps - 1, steps, steps + 3, 2 * steps];
        match ring_bits {
            32 => goes_on::<u32>(job, &|| task.inputs(), &steps),
            _ => goes_on::<u64>(job, &|| task.inputs(), &steps),
        }
    }
}

/// The job of a file's text, with labels of `classes` and random features.
fn made_up<W: HostWord + Word>(text: &str, steps: &[u64]) {
    let job = Job::parse(text, Path::new("made-up.toml")).unwrap_or_else(|error| panic!("{error}: {text}"));
    let inputs = || {
        let (mut inputs, mut values) = (Inputs::<W>::in_memory(&job), Values(4));
        let (f, labels) = (job.numbers.frac_bits, job.label_words());
        for (x, y) in [(&mut inputs.train, &mut inputs.train_labels), (&mut inputs.test, &mut inputs.test_labels)] {
            let [x, y] = [x, y].map(|words| words.memory_mut().unwrap());
            x.iter_mut().for_each(|x| *x = W::from_i64((values.next() % (2 << f)).cast_signed() - (1 << f)));
            y.chunks_mut(labels).for_each(|row| row[values.below(labels)] = W::from_u64(1));
        }
        inputs
    };
    goes_on::<W>(job.clone(), &inputs, steps);
}

fn text(ring_bits: u32, lanes: u16, shape: &str, layers: &str, training: &str) -> String {
    let numbers = if ring_bits == 32 { "frac_bits = 9\ngrad_frac_bits = 13\n" } else { "" };
    format!(
        "version = 2\nname = 'made-up'\nloss = 'softmax-cross-entropy'\n\
         [data]\n{shape}\ntrain_records = 26\ntest_records = 7\nclasses = 3\nscale = {{ divide = 1 }}\n\
         [data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\ntest_labels = 'd'\n\
         [numbers]\nring_bits = {ring_bits}\n{numbers}[network]\nlayers = [{layers}]\n\
         [training]\nepochs = 2\nbatch = 8\nseed = 3\n{training}\n\
         [lanes]\nlanes = {lanes}\ntile = 64\n[reveal]\nmetrics = true\nloss = 'epoch'\nmodel = true\n"
    )
}

const CLIPPED: &str = "[optimizer]\nkind = 'sgd'\nlearning_rate = 0.125\nclip_norm = 1.0";
const ADAM: &str = "[optimizer]\nkind = 'adam'\nrefresh_every = 4\ninverse_root = 'mapping'";

#[test]
fn networks_go_on() {
    let images = "shape = [1, 4, 3]\naugment = { copies = 2, flip = true, shift = 1 }";
    let normalised = "{ kind = 'convolution', filters = 4, kernel = 3 }, { kind = 'batch-norm' }, { kind = 'relu' }, \
                      { kind = 'dropout', rate = 0.5 }, { kind = 'flatten' }, { kind = 'dense', units = 3 }";
    made_up::<u64>(&text(64, 3, images, normalised, CLIPPED), &[1, 4, 7, 8]);
    made_up::<u32>(&text(32, 2, images, normalised, ADAM), &[3, 4, 6]);
    let gru = "{ kind = 'recurrent', cell = 'gru', units = 4 }, { kind = 'dense', units = 3 }";
    made_up::<u64>(&text(64, 2, "shape = [3, 2]", gru, &format!("micro_batch = 4\n{ADAM}")), &[2, 4, 6]);
}

/// Newton's method makes a fixed curvature's inverse again, from its sum.
#[test]
fn newton_goes_on() {
    let dense = "{ kind = 'dense', units = 3 }";
    let numbers = |text: String| text.replace("ring_bits = 64", "frac_bits = 20").replace("epochs = 2", "epochs = 3");
    for (curvature, errors, loss) in
        [("fixed", false, "softmax-cross-entropy"), ("exact", true, "logistic"), ("fixed", true, "squared-error")]
    {
        let optimizer = format!("[optimizer]\nkind = 'newton'\ncurvature = '{curvature}'");
        let text = numbers(text(64, 3, "shape = [4]", dense, &optimizer)).replace("softmax-cross-entropy", loss);
        let text = if errors { text + "standard_errors = true\nalarm = false\n" } else { text };
        made_up::<u64>(&text, &[1, 2, 3]);
    }
}

/// A run that has gone on stops again, in the same epoch and in the next one.
#[test]
fn a_job_goes_on_again_and_again() {
    let shape = long(64, OPTIMIZERS[3]);
    let (mut game, inputs) = (Game::new(shape.job()), || shape.inputs::<u64>());
    game.recording = false;
    let mut stopping = Stopping { game, inputs: &inputs, sessions: 100 };
    let (_, mut states) = stopping.play(None, &[13]);
    for stop in [14, 19, 22] {
        let own = states;
        (_, states) = stopping.play(Some(own.each_ref().map(|own| &own[0][..])), &[stop]);
    }
    let (end, _) = stopping.play(Some(states.each_ref().map(|own| &own[0][..])), &[]);
    assert_eq!(end.epochs.len(), 1, "only the last epoch is told again");
}

/// A record of the first step leaves the ring; what follows is trained on clean data.
#[test]
fn an_alarm_before_the_checkpoint_is_told() {
    for (ring_bits, lanes, steps) in [(64, 2, 3), (32, 3, 11)] {
        let shape = Shape { lanes, ..long(ring_bits, OPTIMIZERS[0]) };
        match ring_bits {
            32 => tells_alarm::<u32>(&shape, steps),
            _ => tells_alarm::<u64>(&shape, steps),
        }
    }
}

fn tells_alarm<W: HostWord + Word>(shape: &Shape<'_>, steps: u64) {
    let (job, clean) = (shape.job(), || shape.inputs::<W>());
    let planted = || {
        let (mut inputs, features) = (clean(), job.data.features());
        let record = batch_order(&job, 1)[0] as usize;
        let words = inputs.train.memory_mut().unwrap();
        words[record * features..][..features].fill(W::from_u64(1 << (shape.ring_bits - 5)));
        inputs
    };
    let mut game = Game::new(job.clone());
    game.recording = false;
    let mut stopping = Stopping { game, inputs: &planted, sessions: 200 };
    let (_, states) = stopping.play(None, &[steps]);
    let mut stopping = Stopping { game: stopping.game, inputs: &clean, sessions: 300 };
    let (again, _) = stopping.play(Some(states.each_ref().map(|own| &own[0][..])), &[]);
    assert_eq!(is_set(again.alarm), Some(true));
    let (whole, _) = stopping.play(None, &[]);
    assert_eq!(is_set(whole.alarm), Some(false));
}
