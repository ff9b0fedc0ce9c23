//! Adam learns as it does in floating point, whatever the size of the gradients, and all
//! optimizers learn.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::{fmt::Write, ops::ControlFlow, path::Path};
use symbolon::{
    data::{Lengths, digits, load},
    engine::clear::{self, Audit},
    job::Job,
    train::{Event, Inputs, Start, epoch_result, initial_weights, real},
};
use symbolon_core::layer::{AnyLayer, Dense};
use symbolon_core::{link::Count, prg::Seed};
use symbolon_tests::{
    dir::TempDir,
    play::{Game, Keys},
};

/// 32 equal rows (x = 1), one weight and a bias, ten steps towards `target`.
fn task(target: f64) -> (Job, Inputs<u64>) {
    let toml = "version = 2\nname = \"step\"\nloss = \"squared-error\"\n\
         [data]\nshape = [1]\ntrain_records = 32\ntest_records = 0\ntarget = { divide = 1 }\nscale = { divide = 1 }\n\
         [data.csv]\ntrain = \"rows.csv\"\nlabel = \"y\"\n\
         [numbers]\nring_bits = 64\n[network]\nlayers = [{ kind = 'dense', units = 1 }]\n\
         [training]\nepochs = 10\nbatch = 32\nseed = 1\n[optimizer]\nkind = \"adam\"\n\
         [reveal]\nloss = \"epoch\"\nmodel = true\n";
    let job = Job::parse(toml, Path::new("step.toml")).unwrap();
    let dir = TempDir::new();
    let rows = (0..32).fold("x,y\n".to_owned(), |mut text, _| {
        let _ = writeln!(text, "1,{target}"); // a String takes everything
        text
    });
    let _ = dir.file("rows.csv", &rows);
    let (train, test) = load(&job, &dir).unwrap();
    let inputs = Inputs::encode(&job, &train, &test).unwrap();
    (job, inputs)
}

/// How far the weight moves.
fn moved(target: f64) -> f64 {
    let (job, inputs) = task(target);
    let trained = Game::new(job.clone()).clear::<u64>(inputs, &Keys::new(3), 1);
    real(&job, trained.parameters[0]) - initial_weights(&job).next().unwrap()
}

/// Adam's steps do not depend on the scale of the loss: 0.055 in ten steps of the rate 0.001, in
/// floating point. With a fixed window of buckets it was 5 here, and 64 for the larger target.
#[test]
fn steps_do_not_grow_with_the_gradient() {
    for target in [10.0, 100.0, 1000.0] {
        let moved = moved(target);
        assert!((0.055 / 2.0..0.055 * 2.0).contains(&moved), "target {target}: {moved}");
    }
}

/// A gradient of 2^32 units has the square 0 in a word of 64 bits: the clear engine's audit sees it.
#[test]
fn gradients_whose_squares_wrap_are_seen() {
    let wrapped = |target| {
        let (job, inputs) = task(target);
        let (audit, keys) = (Audit::default(), Keys::new(4));
        let seeds = keys.seeds.each_ref().map(Seed::from_bytes);
        let mut watch = |_: Event<u64>, _: Count| ControlFlow::Continue(());
        clear::run(&job, (inputs, Start::Fresh), [&seeds[0], &seeds[1]], &keys.session, 1, &audit, &mut watch).unwrap();
        audit.ranges().iter().any(|range| !range.table && range.headroom_bits < 0.0)
    };
    assert!(!wrapped(1000.0));
    assert!(wrapped(8192.0));
}

/// Floating-point Adam reaches 92 to 95 % on these digits in batches of one record; a fixed window
/// of buckets 16 to 40 %.
#[test]
fn batches_of_one_record_learn() {
    let accuracy: Vec<f64> = (1..=3)
        .map(|seed| {
            let mut job = Job::digits().unwrap();
            job.network.nodes[0].layer = AnyLayer::Dense(Dense::new(32));
            (job.training.epochs, job.training.batch, job.training.seed) = (2, 1, seed);
            job.optimizer = symbolon::job::Optimizer::Adam(symbolon::job::Adam::for_numbers(&job.numbers));
            job.validate().unwrap();
            let (train, test) = digits(&job).unwrap();
            let inputs = Inputs::encode(&job, &train, &test).unwrap();
            let trained = Game::new(job.clone()).clear::<u64>(inputs, &Keys::new(seed), 2);
            let (loss, score) = trained.epochs.last().unwrap().clone();
            epoch_result(&job, &Lengths::default(), job.training.epochs, loss, score).unwrap().accuracy.unwrap()
        })
        .collect();
    println!("accuracy in batches of one record: {accuracy:?}");
    let mean = accuracy.iter().sum::<f64>() / accuracy.len() as f64;
    assert!(mean > 0.90, "{accuracy:?}");
}

/// Every optimizer learns the digits in four epochs, with what goes before its step.
#[test]
fn every_optimizer_learns_the_digits() {
    let base = include_str!("../../../host/jobs/digits.toml");
    let (head, _) = base.split_once("[optimizer]").unwrap();
    for (optimizer, least) in [
        ("kind = \"sgd\"\nlearning_rate = 0.3\nweight_decay = 0.0005\nschedule = \"cosine\"\nclip = 0.5", 0.90),
        ("kind = \"momentum\"\nlearning_rate = 0.05\nmomentum = 0.9\nweight_decay = 0.0005\nwarm_up_steps = 45", 0.93),
        ("kind = \"nesterov\"\nlearning_rate = 0.05\nmomentum = 0.9\nschedule = \"cosine\"\nclip = 0.5", 0.93),
        (
            "kind = \"adam\"\nlearning_rate = 0.003\nschedule = { kind = \"step\", every_epochs = 2, factor = 0.3 }",
            0.93,
        ),
        ("kind = \"amsgrad\"\nlearning_rate = 0.003\nbias_correction = true\nclip = 0.5", 0.93),
        (
            "kind = \"adamw\"\nlearning_rate = 0.003\nweight_decay = 0.02\nschedule = \"cosine\"\nwarm_up_steps = 20",
            0.93,
        ),
    ] {
        let text = format!("{head}[optimizer]\n{optimizer}\n[reveal]\nmetrics = true\nloss = \"epoch\"\n");
        let job = Job::parse(&text.replace("epochs = 8", "epochs = 4"), Path::new("digits.toml")).unwrap();
        let (train, test) = digits(&job).unwrap();
        let inputs = Inputs::encode(&job, &train, &test).unwrap();
        let trained = Game::new(job.clone()).clear::<u64>(inputs, &Keys::new(5), 2);
        let (loss, score) = trained.epochs.last().unwrap().clone();
        let accuracy =
            epoch_result(&job, &Lengths::default(), job.training.epochs, loss, score).unwrap().accuracy.unwrap();
        println!("{accuracy:.4} {optimizer:?}");
        assert!(accuracy > least, "{accuracy}: {optimizer}");
    }
}
