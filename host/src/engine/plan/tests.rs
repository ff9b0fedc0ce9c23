#![allow(clippy::unwrap_used)]

use super::*;
use std::path::Path;
use symbolon_core::layer::{AnyLayer, Dense};
use symbolon_core::link::Link;

/// 1 second a round trip, 8 bits a second.
#[test]
fn a_cost_takes_the_time_of_its_slowest_line() {
    let network = Network { name: "slow", bits_per_second: 8.0, round_trip_seconds: 1.0 };
    let seconds = |rounds, bytes_each_way, [to_server0, to_server1]: [u64; 2]| {
        let dealer_bytes = to_server0 + to_server1;
        Cost { rounds, bytes_each_way, dealer_bytes, dealer_bytes_server0: to_server0 }.seconds(&network).to_string()
    };
    assert_eq!(seconds(0, 0, [0, 0]), "0");
    assert_eq!(seconds(6, 1, [0, 0]), "4", "half a round trip for each round");
    assert_eq!(seconds(6, 1, [2, 2]), "4.5", "the dealer's bytes come while servers wait");
    assert_eq!(seconds(6, 1, [0, 4]), "5", "and all do where they take as long");
    assert_eq!(seconds(6, 1, [0, 9]), "10", "the line into server 1 never rests");
    assert_eq!(seconds(6, 1, [9, 0]), "10", "nor that into server 0");
    assert_eq!(seconds(6, 1, [9, 9]), "18", "the dealer's line out is the slowest");
}

/// 11 steps an epoch, the last one shorter; 2 epochs before Adam's choices repeat.
fn job(optimizer: &str, epochs: u32) -> Job {
    let text = format!(
        "version = 2\nname = \"j\"\nloss = \"softmax-cross-entropy\"\n\
         data = {{ shape = [3], train_records = 84, test_records = 20, classes = 3, scale.divide = 2, \
         csv = {{ train = \"a.csv\", test_every = 5, label = \"y\" }} }}\n\
         network.layers = [{{ kind = 'dense', units = 5 }}, {{ kind = 'relu' }}, {{ kind = 'dense', units = 3 }}]\n\
         training = {{ epochs = {epochs}, batch = 8, seed = 1 }}\n\
         optimizer = {{ {optimizer} }}\n\
         lanes = {{ lanes = 2, tile = 64 }}\n\
         reveal = {{ metrics = true, loss = \"epoch\", model = true }}\n"
    );
    Job::parse(&text, Path::new("j.toml")).unwrap()
}

/// The plan of all epochs run one by one.
fn run(job: &Job) -> Plan {
    run_from(job, Position::START)
}

/// The same, from a position on.
fn run_from(job: &Job, position: Position) -> Plan {
    let all = Repetition { first: job.training.epochs, period: 0, times: 0, rest: 0 };
    plan_for::<u64>(job, position, all).unwrap()
}

/// Everything but the hash, which is over what was run.
fn figures(plan: &Plan) -> String {
    format!("{:?}", Plan { hash: [0; 32], ..plan.clone() })
}

const OPTIMIZERS: [(&str, (u32, u32)); 15] = [
    ("kind = \"sgd\", learning_rate = 0.5", (0, 1)),
    ("kind = \"momentum\", learning_rate = 0.5, momentum = 0.9", (0, 1)),
    ("kind = \"adam\"", (0, 1)),
    ("kind = \"adam\", refresh_every = 4, lazy_second_moment = true", (2, 4)),
    ("kind = \"adam\", refresh_every = 33", (2, 3)),
    ("kind = \"adam\", inverse_root = \"mapping\"", (0, 1)),
    ("kind = \"adam\", clip_norm = 1.0", (0, 1)),
    ("kind = \"amsgrad\", refresh_every = 5", (2, 5)),
    ("kind = \"adam\", bias_correction = true", (745, 1)),
    ("kind = \"adam\", refresh_every = 4, lazy_second_moment = true, bias_correction = true", (745, 4)),
    ("kind = \"nesterov\", learning_rate = 0.5, momentum = 0.9, weight_decay = 0.001, clip = 0.5", (0, 1)),
    ("kind = \"adamw\", learning_rate = 0.0015", (0, 1)),
    ("kind = \"sgd\", learning_rate = 0.05, warm_up_steps = 10", (1, 1)),
    ("kind = \"sgd\", learning_rate = 0.05, schedule = \"cosine\"", (u32::MAX, 1)),
    (
        "kind = \"adam\", refresh_every = 4, schedule = { kind = \"step\", every_epochs = 2, factor = 0.3 }",
        (u32::MAX, 4),
    ),
];

#[test]
fn epochs_that_are_not_run_cost_what_they_would_have() {
    for (optimizer, (first, period)) in OPTIMIZERS {
        assert_eq!(job(optimizer, 3).rhythm(), (first, period), "{optimizer}");
        let all = [0, 1, period, period + 1, 2 * period, 3 * period + 2];
        // Hundreds of epochs take their time: once is enough.
        for more in if first > 2 { &all[3..4] } else { &all } {
            // Epochs that never repeat are all run.
            let own = if first == u32::MAX { 1 } else { first.max(1) };
            let job = job(optimizer, own + *more);
            assert_eq!(figures(&plan(&job).unwrap()), figures(&run(&job)), "{optimizer}, {more} epochs more");
        }
    }
}

#[test]
fn a_plan_takes_no_longer_for_more_epochs() {
    let (few, many) = (job(OPTIMIZERS[3].0, 7), job(OPTIMIZERS[3].0, 300_000));
    assert_eq!(Repetition::of(&few, Position::START), Repetition { first: 2, period: 4, times: 1, rest: 1 });
    assert_eq!(Repetition::of(&many, Position::START), Repetition { first: 2, period: 4, times: 74_999, rest: 2 });
    let [few, many] = [few, many].map(|job| plan(&job).unwrap());
    assert!(many.total.rounds > 40_000 * few.total.rounds && many.requests > 40_000 * few.requests);
    assert_ne!(few.hash, many.hash);
}

#[test]
fn a_job_that_would_run_out_of_request_numbers_is_refused() {
    let mut job = job("kind = \"adam\"", 380_000);
    job.lanes.lanes = 1;
    assert!(plan(&job).is_ok());
    job.network.nodes[0].layer = AnyLayer::Dense(Dense::new(4000)); // 438 tiles
    job.validate().unwrap();
    assert_eq!(plan(&job).err(), Some(PlanError::Requests));
    job.training.epochs = 1000;
    assert!(plan(&job).is_ok());
}

#[test]
fn a_job_that_would_take_hours_to_plan_is_refused() {
    let lanes = |work| {
        let mut recorder = Recorder::<u64>::new(work);
        Link::<u64>::exchange(&mut recorder, &mut []).and_then(|()| Link::<u64>::exchange(&mut recorder, &mut []))
    };
    assert!(lanes(2).is_ok());
    assert!(matches!(lanes(1), Err(Error::RequestsSpent)));
    // Refused before any work.
    let mut job = job("kind = \"adam\"", 1);
    (job.data.train_records, job.lanes.lanes) = (1 << 25, 64);
    let started = std::time::Instant::now();
    assert_eq!(plan(&job).err(), Some(PlanError::Work { most: MAX_WORK }));
    assert!(started.elapsed() < std::time::Duration::from_millis(100));
}

/// Its memory and time follow from its steps, not from its records.
#[test]
fn a_job_of_many_records_is_planned_at_once() {
    let mut job = job("kind = \"adam\"", 1);
    (job.data.train_records, job.training.batch) = (1 << 25, 1 << 16);
    let many = plan(&job).unwrap();
    job.data.train_records = 1 << 16;
    let few = plan(&job).unwrap();
    // Range alarms are compared every few steps, and not after the only one.
    assert!((512..=530).contains(&(many.epoch.rounds / few.epoch.rounds)), "{:?}", many.epoch);
    assert!((512..=530).contains(&(many.epoch.dealer_bytes / few.epoch.dealer_bytes)), "{:?}", many.epoch);
}

#[test]
fn a_hash_is_over_all_that_a_job_says() {
    let hash = |optimizer, epochs| plan(&job(optimizer, epochs)).unwrap().hash;
    assert_eq!(hash(OPTIMIZERS[0].0, 5), hash(OPTIMIZERS[0].0, 5));
    assert_ne!(hash(OPTIMIZERS[0].0, 5), hash(OPTIMIZERS[0].0, 6));
    assert_ne!(hash(OPTIMIZERS[0].0, 5), hash("kind = \"sgd\", learning_rate = 0.25", 5));
}

/// From an epoch's end and from within: epochs that are not run cost what they would have.
#[test]
fn a_plan_from_a_position_is_that_of_all_epochs_run_from_there() {
    for (optimizer, (first, period)) in OPTIMIZERS {
        // The first epochs of a corrected bias are hundreds: a plan from behind them runs few.
        let (first, few) = if first == u32::MAX { (0, 1) } else { (first, 2) };
        for epochs in [few, 3 * period + 2] {
            let mut job = job(optimizer, first + epochs);
            for steps in [u64::from(first) * 11, u64::from(first) * 11 + 4, u64::from(job.training.epochs) * 11 - 1] {
                let position = Position::after(steps);
                assert_eq!(
                    figures(&plan_from(&job, position).unwrap()),
                    figures(&run_from(&job, position)),
                    "{optimizer}: {epochs} more epochs, from {position}"
                );
            }
            job.reveal.when = When::End;
            let position = Position::after(u64::from(first) * 11 + 7);
            assert_eq!(figures(&plan_from(&job, position).unwrap()), figures(&run_from(&job, position)));
        }
    }
}

#[test]
fn a_position_enters_the_hash_and_the_start_does_not() {
    let job = job(OPTIMIZERS[0].0, 5);
    let hash = |steps| plan_from(&job, Position::after(steps)).unwrap().hash;
    assert_eq!(hash(0), plan(&job).unwrap().hash);
    let mut hashes: Vec<_> = (0..=55).map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 56);
}

#[test]
fn a_position_behind_the_last_step_has_no_plan() {
    let job = job(OPTIMIZERS[0].0, 5);
    let last = Position::after(55);
    for got in [Position::after(56), Position::after(u64::MAX)] {
        assert_eq!(plan_from(&job, got).err(), Some(PlanError::Position { got, last }));
    }
    let end = plan_from(&job, last).unwrap();
    assert_eq!((end.epoch, end.step, end.evaluation), Default::default());
    assert!(end.total.rounds > end.setup.rounds, "the alarm is left");
}

/// Costs of steps, without those that depend on the steps before: what is left after a position is
/// what is missing before it.
#[test]
fn a_plan_is_cut_in_two_without_loss() {
    for optimizer in [OPTIMIZERS[0].0, OPTIMIZERS[1].0, OPTIMIZERS[2].0, OPTIMIZERS[10].0] {
        let mut job = job(optimizer, 5);
        job.reveal.alarm = false;
        let whole = plan(&job).unwrap().total;
        let costs = costs_by_step(&job);
        for position in [1, 5, 11, 12, 40, 54, 55].map(Position::after) {
            let rest = plan_from(&job, position).unwrap();
            let before = costs[usize::try_from(position.steps()).unwrap() - 1];
            let left = rest.total - rest.setup;
            assert_eq!(before.rounds + left.rounds, whole.rounds, "{optimizer}: {position}");
            assert_eq!(before.bytes + left.bytes_each_way, whole.bytes_each_way, "{optimizer}: {position}");
        }
        // With an alarm, where no word is kept: at an epoch's end.
        job.reveal.alarm = true;
        let whole = plan(&job).unwrap().total;
        let costs = costs_by_step(&job);
        for steps in [11, 44] {
            let rest = plan_from(&job, Position::after(steps)).unwrap();
            let left = rest.total - rest.setup;
            assert_eq!(costs[usize::try_from(steps).unwrap() - 1].rounds + left.rounds, whole.rounds);
        }
    }
}

/// The cost of a run of `job` after each step; at an epoch's end, after its evaluation.
fn costs_by_step(job: &Job) -> Vec<Count> {
    let mut sinks: Vec<_> = (0..job.lanes.lanes).map(|_| Recorder::<u64>::new(MAX_WORK)).collect();
    let lanes = (0u16..).zip(&mut sinks).map(|(lane, sink)| {
        Some(Lane::<<u64 as Word>::Dry> {
            link: Box::new(Count::default()),
            correlations: Box::new(Dry::new(lane, sink)),
            trace: Box::new(symbolon_core::party::NoTrace),
            arena: Secret::zeros(ENDLESS),
        })
    });
    let mut lanes = Lanes::new(Role::Server0, &Nothing, lanes.collect(), 1);
    let mut costs = Vec::new();
    let mut observer = |event: Event<_>, count| {
        match event {
            Event::Step { .. } => costs.push(count),
            Event::Epoch { .. } => *costs.last_mut().unwrap() = count,
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let inputs = train::Inputs::in_memory(job);
    train::run_in(Orders::Counted, &mut lanes, job, inputs, Start::Fresh, &mut observer).unwrap();
    costs
}
