//! Learning rates, schedules, momentum, weight decay, clipping and early stopping in job files.

use super::*;
use crate::engine::plan::plan;

fn job(lines: &str) -> Job {
    parse(&edited(lines)).unwrap()
}

/// `BASE` with an optimizer that multiplies by its rate.
const SGD: &str = "optimizer.kind = \"sgd\"\noptimizer.learning_rate = 0.5\n";

/// Rounds, bytes each way and dealt bytes of the job files. A change that is not meant to change
/// costs leaves them as they are.
const PLANS: [(&str, [u64; 3]); 24] = [
    ("boston-all", [65_308, 253_085_624, 838_816_432]),
    ("boston-linear", [290, 121_496, 189_032]),
    ("boston", [5168, 17_971_864, 61_130_992]),
    ("cancer-closed-form", [181, 637_696, 1_141_512]),
    ("cancer-logistic", [10_867, 6_193_096, 15_477_128]),
    ("characters", [337_652, 30_591_297_936, 102_094_237_552]),
    ("cifar-alexnet", [60_194, 21_837_500_640, 44_442_006_368]),
    ("cifar-resnet-18", [339_865, 878_137_282_252, 1_966_786_522_480]),
    ("cifar-resnet-32", [393_103, 439_958_745_776, 993_318_064_696]),
    ("cifar-resnet", [108_735, 113_967_692_296, 256_499_597_216]),
    ("cifar-vgg-16", [184_703, 239_271_733_996, 564_477_811_456]),
    ("digits-conv", [15_838, 96_692_864, 336_399_152]),
    ("digits", [10_202, 151_407_264, 700_093_904]),
    ("hapt-gru", [357_085, 22_447_795_968, 59_200_931_344]),
    ("mnist-adam-32", [13_819, 1_325_119_924, 2_597_525_092]),
    ("mnist-adam-bias", [17_106, 3_764_879_368, 8_620_294_928]),
    ("mnist-adam", [17_106, 3_756_507_096, 8_195_536_008]),
    ("mnist-lenet-32", [19_053, 12_150_213_624, 63_560_122_440]),
    ("mnist-lenet-small-32", [18_693, 8_257_421_200, 43_664_936_192]),
    ("mnist-sgd-32", [12_803, 1_000_116_020, 1_819_904_936]),
    ("pima-closed-form", [181, 713_936, 1_470_256]),
    ("pima-logistic", [2687, 1_884_400, 6_545_880]),
    ("sentences", [892_851, 80_639_698_224, 268_968_238_352]),
    ("tabular", [28_060, 2_690_260_340, 7_703_874_472]),
];

#[test]
fn job_files_keep_their_plans() {
    let files = job_files();
    assert_eq!(files.len(), PLANS.len(), "give each job file its plan here");
    for (file, (name, figures)) in files.iter().zip(PLANS) {
        assert_eq!(file.file_stem().unwrap(), name);
        let total = plan(&Job::load(file).unwrap()).unwrap().total;
        assert_eq!([total.rounds, total.bytes_each_way, total.dealer_bytes], figures, "{name}");
    }
}

/// The shift that a job file named before, and the learning rate that stands for it.
#[test]
fn adams_shift_follows_from_its_learning_rate() {
    let adam = |lines: &str| *job(lines).optimizer.adam().unwrap();
    let one = Dyadic { factor: 1, shift: 0 };
    for ring in ["numbers.ring_bits = 64\n", "numbers.ring_bits = 32\n"] {
        for first_threshold_log2 in [2, 4, 7, 12] {
            let base = adam(&format!("{ring}optimizer.first_threshold_log2 = {first_threshold_log2}"));
            let numbers = job(ring).numbers;
            assert_eq!((base.shift, base.rate), (Adam::default_shift(&numbers, first_threshold_log2), one));
            for doublings in -3..=3 {
                let rate = 0.001 * f64::from(doublings).exp2();
                let text = format!(
                    "{ring}optimizer.first_threshold_log2 = {first_threshold_log2}\noptimizer.learning_rate = {rate}"
                );
                let got = adam(&text);
                assert_eq!((got.shift, got.rate), (base.shift - doublings, one), "{rate}");
                assert!((got.asked_rate(&numbers) / rate - 1.0).abs() < 1e-12);
            }
        }
    }
    for i in 1..2000u32 {
        let asked = f64::from(i) * 0.000_007;
        let got = adam(&format!("optimizer.learning_rate = {asked}"));
        let numbers = base().numbers;
        assert!((got.asked_rate(&numbers) / asked - 1.0).abs() <= 1.0 / 256.0, "{asked}: {got:?}");
        assert!((1.0..2.0).contains(&got.rate.value()));
    }
    // Just below a doubling: the factor rounds up to 2, which is one less in the shift.
    let below = adam("optimizer.learning_rate = 0.001999");
    assert_eq!((below.shift, below.rate), (adam("").shift - 1, one));
}

#[test]
fn refinements_follow_their_rules() {
    let key = "optimizer.weight_decay";
    refused("optimizer.weight_decay = 0.1", key, Rule::DecayOfAdam);
    refused(&format!("{SGD}{key} = 1"), key, Rule::RealBetween { got: 1.0, min: 0.0, max: 255.0 / 256.0 });
    assert_eq!(job("optimizer.kind = \"adamw\"").refinements.weight_decay, Dyadic::nearest(0.01));
    // 16 bits below the weights': units of 2^-16.
    let rule = Rule::Decay { asked: 0.00004, effective: 3.0 / 65_536.0, works: 3.0 / 65_536.0 };
    refused(&format!("{SGD}{key} = 0.00004"), key, rule);
    assert!(job(&format!("{SGD}{key} = {}", 3.0 / 65_536.0)).refinements.weight_decay.is_some());

    let key = "optimizer.warm_up_steps";
    refused("optimizer.warm_up_steps = 5", key, Rule::WarmUp { got: 5, steps: 5 });
    assert_eq!(job("optimizer.warm_up_steps = 4").refinements.warm_up_steps, 4);

    let step = |every: u32, factor: f64| {
        format!("optimizer.schedule = {{ kind = \"step\", every_epochs = {every}, factor = {factor} }}")
    };
    let prefix = "optimizer.schedule";
    refused(&step(0, 0.5), &format!("{prefix}.every_epochs"), out_of(0, 1, 1 << 20));
    refused(&step(1, 1.5), &format!("{prefix}.factor"), Rule::ScheduleFactor { got: 1.5 });
    assert!(matches!(invalid(&step(1, 0.0)).rule, Rule::RealBetween { .. }));

    // 2 f + log2(batch) = 28 bits: 2^61 units in 64 bits are beyond the largest constant.
    let key = "optimizer.clip";
    assert!(job("optimizer.clip = 255").refinements.clip.is_some());
    // 26 bits in the ring of 32: up to 2^29 units, 8.
    let narrow = "numbers.ring_bits = 32\noptimizer.clip = ";
    assert!(job(&format!("{narrow}7.9")).refinements.clip.is_some());
    let (min, max) = ((-26f64).exp2(), (29f64.exp2() - 1.0) * (-26f64).exp2());
    refused(&format!("{narrow}8"), key, Rule::Clip { got: 8.0, min, max, ring_bits: 32 });
    assert!(matches!(invalid(&format!("{narrow}1e-9")).rule, Rule::Clip { .. }));
    let message = parse(&edited(&format!("{narrow}8"))).unwrap_err().to_string();
    for part in ["optimizer.clip: is 8", "a ring of 32 bits", "numbers.ring_bits = 64"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn plans_name_the_rates_that_are_computed_with() {
    let text = "optimizer.kind = \"adamw\"\noptimizer.schedule = \"cosine\"\noptimizer.warm_up_steps = 2\n\
                optimizer.clip = 0.3";
    let constants = job(text).constants();
    let of = |part: &str| constants.iter().find(|c| c.key.contains(part)).unwrap().effective;
    assert!((of("first step") - 0.5).abs() < 1e-9 && of("last step") < 0.3);
    assert!((of("clip") - 0.3).abs() < 0.3 / 256.0);
    assert!((of("weight_decay") - 0.01).abs() < 0.01 / 64.0);
    assert_eq!(base().constants().len(), 3, "a job without them names none of them");
}

#[test]
fn a_peer_cannot_send_what_a_file_may_not_say() {
    let sent = |change: &dyn Fn(&mut Job)| {
        let mut job = job(SGD);
        change(&mut job);
        match Job::decode(&job.encode().unwrap()) {
            Err(JobError::Sent(invalid)) => invalid.rule,
            other => panic!("{other:?}"),
        }
    };
    let adam = Adam::for_numbers(&base().numbers);
    assert_eq!(sent(&|job| job.optimizer = Optimizer::AdamW(adam)), Rule::DecayMissing);
    let rate = Dyadic { factor: 2, shift: 0 };
    assert!(matches!(sent(&|job| job.optimizer = Optimizer::Adam(Adam { rate, ..adam })), Rule::RealBetween { .. }));
    let precise = Adam { precise: true, ..adam };
    assert_eq!(sent(&|job| job.optimizer = Optimizer::AmsGrad(precise)), Rule::UnusedBy { by: "amsgrad" });
    let fewer = Adam { buckets: 7, ..precise };
    assert!(matches!(sent(&|job| job.optimizer = Optimizer::Adam(fewer)), Rule::Between { .. }));
    let even = Dyadic { factor: 2, shift: 3 };
    assert_eq!(sent(&|job| job.refinements.clip = Some(even)), Rule::NotReduced { factor: 2, shift: 3 });
    assert_eq!(sent(&|job| job.refinements.weight_decay = Some(even)), Rule::NotReduced { factor: 2, shift: 3 });
    let large = Dyadic { factor: 1, shift: 40 };
    assert!(matches!(sent(&|job| job.refinements.clip = Some(large)), Rule::Between { .. }));
}

/// A peer may send a momentum that no file gives; steps would truncate by more bits than words
/// have.
#[test]
fn a_momentum_that_no_file_gives_is_refused() {
    for ring_bits in [32, 64] {
        let lines = format!("numbers.ring_bits = {ring_bits}\noptimizer.kind = 'adam'");
        let mut job = parse(&edited(&lines)).unwrap();
        for shift in [18, 31, 32] {
            let (learning_rate, momentum) = (Dyadic { factor: 128, shift: 0 }, Dyadic { factor: 1, shift });
            for optimizer in
                [Optimizer::Momentum { learning_rate, momentum }, Optimizer::Nesterov { learning_rate, momentum }]
            {
                job.optimizer = optimizer;
                assert_eq!(job.validate().unwrap_err().key, "optimizer.momentum");
            }
        }
    }
}

/// A client may end such a job once its patience has passed: a model then has seen no more steps.
#[test]
fn steps_before_a_model_are_those_of_the_patience() {
    let job = |stop: &str| parse(&edited(&format!("training = {{ epochs = 9, batch = 16, seed = 1{stop} }}"))).unwrap();
    let each = job("").steps_per_epoch() as u64;
    assert_eq!(job("").steps(), 9 * each);
    let early = job(", early_stop = { metric = 'loss', patience = 2 }");
    assert_eq!(early.steps(), 2 * each);
    assert_eq!((1..=9).filter(|epoch| early.may_end_after(*epoch)).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
    let refused = |stop: &str| {
        let text = edited(&format!("training = {{ epochs = 9, batch = 16, seed = 1, early_stop = {{ {stop} }} }}"));
        parse(&text).unwrap_err().to_string()
    };
    assert!(refused("metric = 'loss', patience = 0").contains("an integer from 1 to 9"));
    assert!(refused("metric = 'auc', patience = 1").contains("does not reveal in each epoch"));
    assert!(refused("metric = 'bleu', patience = 1").contains("cannot watch \"bleu\""));
}
