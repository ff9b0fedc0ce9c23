//! The outputs of a job: sums that its ring does not hold, records whose label names no class, data
//! that its numbers do not hold.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::{fmt::Write, path::Path};
use symbolon::{
    data::{Dataset, Lengths, load},
    job::{Format, Job},
    kernel::HostWord,
    report::EpochResult,
    storage::Storage,
    train::{EncodeError, Inputs, epoch_result},
};
use symbolon_core::layer::{AnyLayer, Dense, Node};
use symbolon_core::loss::{AnyLoss, SoftmaxCrossEntropy, SquaredError};
use symbolon_core::word::Word;
use symbolon_tests::{
    dir::TempDir,
    jobs::OPTIMIZERS,
    play::{Game, Keys, Trained},
    stored::Task,
};

/// Steps whose errors are nearly the targets: these in turn.
fn line(ring_bits: u32, [train, test]: [usize; 2], targets: [f64; 2]) -> (Job, Dataset, Dataset) {
    let batch = train.min(128);
    let toml = format!(
        "version = 2\nname = \"line\"\nloss = \"squared-error\"\n\
         [data]\nshape = [1]\ntrain_records = {train}\ntest_records = {test}\ntarget = {{ divide = 1 }}\nscale = {{ divide = 1 }}\n\
         [data.csv]\ntrain = \"train.csv\"\ntest = \"test.csv\"\nlabel = \"y\"\n\
         [numbers]\nring_bits = {ring_bits}\n[network]\nlayers = [{{ kind = 'dense', units = 1 }}]\n\
         [training]\nepochs = 1\nbatch = {batch}\nseed = 1\n\
         [optimizer]\nkind = \"sgd\"\nlearning_rate = 0.03125\n\
         [reveal]\nmetrics = true\nloss = \"epoch\"\nmodel = true\n"
    );
    let job = Job::parse(&toml, Path::new("line.toml")).unwrap();
    let dir = TempDir::new();
    let rows = |n: usize| {
        (0..n).fold("x,y\n".to_owned(), |mut text, i| {
            let _ = writeln!(text, "0,{}", targets[i % 2]); // a String takes everything
            text
        })
    };
    let _ = (dir.file("train.csv", &rows(train)), dir.file("test.csv", &rows(test)));
    let (train, test) = load(&job, &dir).unwrap();
    (job, train, test)
}

fn same<W: Word>(a: &Trained<W>, b: &Trained<W>) -> bool {
    W::bytes(&a.parameters) == W::bytes(&b.parameters) && a.epochs == b.epochs
}

/// Plays a job on shares and in the clear; both give the same figures and cost what the plan says.
fn figures<W: HostWord + Word>(job: &Job, inputs: &dyn Fn() -> Inputs<W>) -> EpochResult {
    let mut game = Game::new(job.clone());
    game.recording = false;
    let keys = Keys::new(11);
    let played = game.secure(inputs(), &keys, 2);
    let clear = game.replay(inputs(), &keys, &played.dithers, 2);
    assert!(same(&played.result, &clear), "the engines differ");
    for count in played.counts {
        let total = game.plan.total;
        assert_eq!((count.rounds, count.bytes), (total.rounds, total.bytes_each_way));
    }
    assert_eq!(played.dealt_bytes, game.plan.total.dealer_bytes);
    let (loss, score) = clear.epochs.last().unwrap().clone();
    epoch_result(job, &Lengths::default(), 1, loss, score).unwrap()
}

/// 20,000 squared errors of about 56, and 65,536 halves of them, are more units of `2^-11` than 32
/// bits hold.
#[test]
fn sums_are_made_in_64_bits_whatever_the_ring() {
    let records = [65_536, 20_000];
    let [narrow, wide] = [32, 64].map(|ring_bits| {
        let (job, train, test) = line(ring_bits, records, [7.5, -7.5]);
        let near = match ring_bits {
            32 => figures::<u32>(&job, &|| Inputs::encode(&job, &train, &test).unwrap()),
            _ => figures::<u64>(&job, &|| Inputs::encode(&job, &train, &test).unwrap()),
        };
        (near.loss.unwrap(), near.mean_squared_error.unwrap())
    });
    println!("loss and squared error: 32 bits {narrow:?}, 64 bits {wide:?}");
    // More than a word holds, and what the larger ring says.
    assert!(narrow.0 * 65_536.0 > 2f64.powi(20) && narrow.1 * 20_000.0 > 2f64.powi(20));
    assert!((narrow.0 - wide.0).abs() < 0.1);
    // The bias soon is between the targets.
    for (loss, error) in [narrow, wide] {
        assert!((error / (2.0 * loss) - 1.0).abs() < 0.02, "loss {loss}, squared error {error}");
    }
}

/// Squares of errors that the words cannot hold are refused with the data, before anything is
/// shared.
#[test]
fn targets_whose_squares_leave_their_words_are_refused() {
    let refused = |ring_bits, target| {
        let (job, train, test) = line(ring_bits, [64, 16], [target, -target]);
        match ring_bits {
            32 => Inputs::<u32>::encode(&job, &train, &test).err(),
            _ => Inputs::<u64>::encode(&job, &train, &test).err(),
        }
    };
    let error = refused(32, 150.0).unwrap();
    assert_eq!(error, EncodeError::Squares { least: -150.0, greatest: 150.0, limit: 16.0 });
    for words in
        ["targets go from -150 to 150", "squares of errors of less than 16", "data.target.divide", "ring_bits = 64"]
    {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(refused(32, 8.0).is_some() && refused(32, 7.75).is_none() && refused(64, 150.0).is_none());
    // Where no square is revealed, none is computed.
    let (mut job, train, test) = line(32, [64, 16], [150.0; 2]);
    job.reveal.metrics = false;
    job.reveal.loss = symbolon::job::RevealLoss::Never;
    assert!(Inputs::<u32>::encode(&job, &train, &test).is_ok());
}

const TASK: Task<'_> = Task { ring_bits: 64, lanes: 2, records: 113, regression: false, optimizer: OPTIMIZERS[0] };

/// Inputs of `job`, the features of records without a class being `noise` more; and how many
/// records of each set have one.
fn inputs<W: Word>(job: &Job, noise: u64) -> (Inputs<W>, [u64; 2]) {
    let Format::Reports(reports) = &job.data.format else { panic!("no reports") };
    let symbolon::job::Target::Label(place) = reports.target else { panic!("no label") };
    let mut inputs = Inputs::<W>::stored(job, &TASK.pile(), &Storage::default()).unwrap();
    let mut counts = [0; 2];
    let tables = [(&mut inputs.train, &inputs.train_labels), (&mut inputs.test, &inputs.test_labels)];
    for ((features, labels), count) in tables.into_iter().zip(&mut counts) {
        let rows = features.memory_mut().unwrap().chunks_exact_mut(job.data.features());
        for (row, label) in rows.zip(labels.memory().unwrap()) {
            let code = W::bytes(&[*label])[0] & ((1 << place.bits) - 1);
            match usize::from(code) < job.outputs() {
                true => *count += 1,
                false => row.iter_mut().for_each(|x| *x = x.add(W::from_u64(noise))),
            }
        }
    }
    (inputs, counts)
}

/// Whatever a record without a class holds, all results are the same, bit for bit.
fn teaches_nothing<W: HostWord + Word>(job: &Job) {
    let game = Game::new(job.clone());
    let play = |noise| -> Trained<W> { game.clear(inputs(job, noise).0, &Keys::new(3), 2) };
    let (one, other) = (play(0), play(77));
    assert!(same(&one, &other), "a record without a class was learnt from");
    let (_, [train, test]) = inputs::<W>(job, 0);
    assert!(train < 91 && test < 22, "some records have no class");
    let (loss, score) = one.epochs[0].clone();
    assert_eq!([loss.unwrap().records, score.unwrap().records], [Some(train), Some(test)]);
    let result = figures::<W>(job, &|| inputs(job, 0).0);
    assert_eq!(result.scored, Some(test));
    assert!(result.loss.unwrap() > 0.2 && result.accuracy.unwrap() <= 1.0, "{result:?}");
}

#[test]
fn records_without_a_class_teach_nothing() {
    for loss in [AnyLoss::from(SoftmaxCrossEntropy::default()), SquaredError {}.into()] {
        let with = |task: Task<'_>| Job { loss: loss.clone(), ..task.job() };
        teaches_nothing::<u64>(&with(TASK));
        // The counter, which is in the records, does not fit into 32 bits.
        teaches_nothing::<u32>(&with(Task { ring_bits: 32, lanes: 3, ..TASK }));
    }
}

/// Weights cost nothing where each code is a class.
#[test]
fn weights_cost_what_the_plan_says() {
    let plan = |classes| {
        let mut job = TASK.job();
        job.data.task = symbolon::job::Task::Classes(classes);
        if let Some(Node { layer: AnyLayer::Dense(Dense { units, .. }), .. }) = job.network.nodes.last_mut() {
            *units = u32::try_from(classes).unwrap();
        }
        job.validate().unwrap();
        (job.data.may_lack_class(), symbolon::engine::plan::plan(&job).unwrap())
    };
    let ((three, with), (four, without)) = (plan(3), plan(4));
    assert!(three && !four);
    assert_eq!(with.step.rounds, without.step.rounds);
    // Opened once a job: a word a training record.
    let data = |plan: &symbolon::engine::plan::Plan| {
        plan.operations.iter().find(|op| op.name == "open the data").unwrap().cost.bytes_each_way
    };
    assert_eq!(data(&without) - data(&with), 8 * (113 - 91));
}
