//! A microcontroller as one of the two parties, on emulated boards: bit for bit what two parties on the host compute.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

use std::{path::Path, time::Duration};
use symbolon::{
    data::{self, Targets},
    job::Job,
    train::{Inputs, real},
};
use symbolon_core::{
    layer::{Graph, Placement},
    word::Word,
};
use symbolon_firmware::compute::{
    job::{self, ARENA_WORDS, DOMAIN, ELEMENTS, FRAC_BITS, IMAGE, OUTPUTS, PARAMETERS, RECORDS, RELU_BITS},
    seeds::Sender,
};
use symbolon_tests::{
    compute::{Harm, Joint, Node, Secrets, Tape, against_device, join, on_the_host},
    emulator::{Board, Emulated, Files, sizes},
    play::{Game, Keys},
};

const LONG: Duration = Duration::from_secs(60);
const BOARDS: [Board; 2] = [Board::CortexM4, Board::RiscV32];

/// What a compute node may take on Cortex-M4.
const FLASH_BYTES: u64 = 64 * 1024;
const RAM_BYTES: u64 = 24 * 1024;

fn boot(board: Board, secrets: &Secrets) -> Emulated {
    let files = Files { seed: Some([9; 32]), blob: Some(secrets.blob()), ..Files::default() };
    Emulated::boot(board, "compute_node", files)
}

/// Small values, positive and negative, in order of the job's inputs.
fn inputs() -> Vec<i64> {
    let mut state = 1u64;
    let mut next = |bound: i64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as i64 % (2 * bound) - bound
    };
    let bounds = [440, 100_000, 256, 256]; // the first is within the mapping's domain
    let mut inputs = Vec::new();
    for (len, bound) in job::INPUT.iter().zip(bounds) {
        inputs.extend((0..*len).map(|_| next(bound)));
    }
    inputs[..6].copy_from_slice(&[0, 1, -1, 440, -440, -512]);
    inputs
}

fn words(values: &[i64]) -> Vec<u32> {
    values.iter().map(|v| u32::from_i64(*v)).collect()
}

fn signed(words: &[u32]) -> Vec<i64> {
    words.iter().map(|w| i64::from(w.cast_signed())).collect()
}

/// The outputs are what they should be, not only the same at two places.
fn assert_right(inputs: &[i64], outputs: &[Vec<u32>]) {
    let [x, y] = [&inputs[..ELEMENTS], &inputs[ELEMENTS..2 * ELEMENTS]];
    let product: Vec<i64> = x.iter().zip(y).map(|(x, y)| x * y).collect();
    assert_eq!(signed(&outputs[0]), product);
    for (i, x) in x.iter().enumerate() {
        assert_eq!(outputs[1][0] >> i & 1 == 1, *x >= 0, "sign of {x}");
        let relu = signed(&outputs[2])[i];
        let whole = (*x).max(0) >> RELU_BITS;
        assert!(relu == whole || *x > 0 && relu == whole + 1, "relu({x}) gave {relu}");
        let (mapped, exact) = (signed(&outputs[3])[i] as f64, 256.0 / (1.0 + (-*x as f64 / 256.0).exp()));
        let cell = f64::from(1 << DOMAIN.shift) / 4.0; // the logistic function is at most so steep
        assert!((mapped - exact).abs() <= cell + 1.0, "{x} was mapped to {mapped}, not {exact}");
    }
    for (score, exact) in signed(&outputs[4]).iter().zip(scores(&inputs[2 * ELEMENTS..])) {
        assert!((*score as f64 - exact).abs() < 8.0, "score {score}, not {exact}");
    }
}

/// The network, in floating point: 4 filters of 3 by 3, means of 2 by 2, ReLU, 10 units.
fn scores(inputs: &[i64]) -> Vec<f64> {
    let scale = f64::from(1 << FRAC_BITS);
    let reals: Vec<f64> = inputs.iter().map(|v| *v as f64 / scale).collect();
    let (records, parameters) = reals.split_at(RECORDS * IMAGE.words());
    let (filters, dense) = parameters.split_at(4 * 10);
    let filtered = |x: &[f64], f: usize, row: usize, column: usize| {
        let element = |e: usize| filters[f * 9 + e] * x[(row + e / 3) * 8 + column + e % 3];
        (0..9).map(element).sum::<f64>() + filters[36 + f]
    };
    let pooled = |x: &[f64], at: usize| {
        let (f, row, column) = (at / 9, at / 3 % 3 * 2, at % 3 * 2);
        let window = [(0, 0), (0, 1), (1, 0), (1, 1)];
        (window.iter().map(|(i, j)| filtered(x, f, row + i, column + j)).sum::<f64>() / 4.0).max(0.0)
    };
    let score = |hidden: &[f64], unit: usize| {
        let weighed = hidden.iter().enumerate().map(|(i, h)| h * dense[i * OUTPUTS + unit]);
        (weighed.sum::<f64>() + dense[36 * OUTPUTS + unit]) * scale
    };
    let of = |x: &[f64]| {
        let hidden: Vec<f64> = (0..36).map(|at| pooled(x, at)).collect();
        (0..OUTPUTS).map(|unit| score(&hidden, unit)).collect::<Vec<_>>()
    };
    records.chunks(IMAGE.words()).flat_map(of).collect()
}

/// The words of two factors, of records and of the parameters of a network that the clear engine
/// has trained on the digits; and the records' classes.
fn digits() -> (Vec<Vec<u32>>, Vec<u32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/jobs/digits-conv.toml");
    let job = Job::load(&path).unwrap();
    let (train, test) = data::digits(&job).unwrap();
    let game = Game::new(job.clone());
    let trained = game.clear::<u64>(Inputs::encode(&job, &train, &test).unwrap(), &Keys::new(1), 1);
    let word = |real: f64| u32::from_i64((real * f64::from(1 << FRAC_BITS)).round() as i64);
    let parameters: Vec<u32> = trained.parameters.iter().map(|w| word(real(&job, *w))).collect();
    assert_eq!(parameters.len(), PARAMETERS);
    let factors = words(&inputs()[..2 * ELEMENTS]);
    let pairs = test.features.chunks_exact(RECORDS * IMAGE.words());
    let inputs = pairs.map(|pair| {
        let pixels = pair.iter().map(|x| word(f64::from(*x)));
        factors.iter().copied().chain(pixels).chain(parameters.iter().copied()).collect()
    });
    let Targets::Classes(classes) = &test.targets else { panic!("digits have classes") };
    (inputs.collect(), classes.clone())
}

/// The class of each record.
fn classes(scores: &[u32]) -> Vec<u32> {
    let scores = signed(scores);
    let first_largest = |row: &[i64]| (0..).zip(row).max_by_key(|(_, score)| **score).map(|(class, _)| class).unwrap();
    scores.chunks(OUTPUTS).map(first_largest).collect()
}

#[test]
fn the_places_are_those_of_the_graph() {
    let mut places = [Placement::default(); job::NETWORK.len()];
    let graph = Graph::new(&job::NETWORK, IMAGE, FRAC_BITS, &mut places).unwrap();
    assert_eq!((graph.places, graph.parameters()), (&job::PLACES[..], PARAMETERS));
}

#[test]
fn boards_read_digits() {
    let (all, labels) = digits();
    let secrets = Secrets::new(6);
    let right = |inputs: &Vec<u32>, labels: &[u32]| {
        let [zero, one] = on_the_host(&secrets, &[1; 16], Node::Compute, inputs);
        classes(&join(&zero, &one)[4]).iter().zip(labels).filter(|(class, label)| class == label).count()
    };
    let right: usize = all.iter().zip(labels.chunks(RECORDS)).map(|(inputs, labels)| right(inputs, labels)).sum();
    println!("{right} of {} digits", all.len() * RECORDS);
    assert!(right * 100 >= all.len() * RECORDS * 90, "{right} of {} digits", all.len() * RECORDS);
    for board in BOARDS.into_iter().filter(|b| b.available()) {
        let mut secrets = Secrets::new(6);
        let device = boot(board, &secrets);
        let mut tape = Tape::new(device.serial.try_clone().unwrap(), None);
        let joint = against_device(&mut tape, &mut secrets, Node::Compute, &all[0]);
        let outcome = device.wait(LONG);
        assert_eq!(outcome.status, Some(0), "{board:?}: {outcome:?}");
        let joint = joint.unwrap();
        assert_eq!(classes(&join(&joint.device, &joint.host)[4]), labels[..RECORDS], "{board:?}");
    }
}

#[test]
fn the_arena_is_as_large_as_the_dry_run_says() {
    let (peak, count) = Node::Compute.dry_run();
    assert_eq!(ARENA_WORDS, peak);
    println!("{} rounds, {} bytes each way", count.rounds, count.bytes);
}

#[test]
fn boards_compute_what_the_host_computes() {
    for board in BOARDS.into_iter().filter(|b| b.available()) {
        let (mut secrets, inputs) = (Secrets::new(1), inputs());
        let device = boot(board, &secrets);
        let mut tape = Tape::new(device.serial.try_clone().unwrap(), None);
        let joint = against_device(&mut tape, &mut secrets, Node::Compute, &words(&inputs));
        let outcome = device.wait(LONG);
        assert_eq!(outcome.status, Some(0), "{board:?}: {outcome:?}");
        let Joint { session, device, host } = joint.unwrap();

        let [zero, one] = on_the_host(&secrets, &session, Node::Compute, &words(&inputs));
        assert_eq!(device, zero, "{board:?}: server 0's shares");
        assert_eq!(host, one, "{board:?}: server 1's shares");
        assert_right(&inputs, &join(&device, &host));

        for seed in [secrets.seeds[0], secrets.owner] {
            let seen = tape.bytes.windows(8).any(|w| seed.windows(8).any(|s| s == w));
            assert!(!seen, "{board:?}: a seed in the clear");
        }
        assert_eq!(outcome.number("arena words left"), Some(0), "{board:?}: {:?}", outcome.log);
        let sizes = sizes(&board.build("compute_node"));
        let stack = outcome.number("stack").unwrap();
        println!("{board:?}: {} bytes of flash, {} of RAM, {stack} of stack", sizes.flash_bytes, sizes.ram_bytes);
        if board == Board::CortexM4 {
            assert!(sizes.flash_bytes <= FLASH_BYTES && sizes.ram_bytes <= RAM_BYTES, "{sizes:?}");
        }
    }
}

#[test]
fn a_damaged_line_ends_the_job() {
    if !Board::CortexM4.available() {
        return;
    }
    // In the first seed: header, ciphertext, CRC. Then in rounds: header, words, CRC; and a byte that never comes.
    let harms = [
        Harm::Flip(1),
        Harm::Flip(40),
        Harm::Flip(86),
        Harm::Flip(180),
        Harm::Flip(700),
        Harm::Flip(1500),
        Harm::Lose(900),
    ];
    for harm in harms {
        let mut secrets = Secrets::new(2);
        let device = boot(Board::CortexM4, &secrets);
        let mut tape = Tape::new(device.serial.try_clone().unwrap(), Some(harm));
        let joint = against_device(&mut tape, &mut secrets, Node::Compute, &words(&inputs()));
        let outcome = device.wait(LONG);
        assert!(joint.is_err(), "{harm:?}: there is a result");
        assert_eq!(outcome.status, Some(1), "{harm:?}: {outcome:?}");
        let expected = if matches!(harm, Harm::Lose(_)) { ["Malformed", "TimedOut"] } else { ["Malformed"; 2] };
        assert!(outcome.log.iter().any(|l| expected.iter().any(|e| l.contains(e))), "{harm:?}: {outcome:?}");
    }
}

#[test]
fn seeds_open_once_for_one_device_and_purpose() {
    use symbolon_firmware::compute::frames::{Frames, Kind};
    type Forge = fn(&mut Secrets, [u8; 16]) -> [u8; 80];
    let forgeries: [(&str, Forge); 4] = [
        ("another session's", |s, mut session| {
            session[0] ^= 1;
            s.seal(Sender::Dealer, &session)
        }),
        ("the owner's", |s, session| s.seal(Sender::Owner, &session)),
        ("someone else's", |s, session| {
            let stranger = Secrets::new(4);
            [s.keys[0], ..] = stranger.keys;
            s.seal(Sender::Dealer, &session)
        }),
        ("damaged", |s, session| {
            let mut sealed = s.seal(Sender::Dealer, &session);
            sealed[50] ^= 1;
            sealed
        }),
    ];
    if !Board::CortexM4.available() {
        return;
    }
    for (whose, forge) in forgeries {
        let mut secrets = Secrets::new(3);
        let device = boot(Board::CortexM4, &secrets);
        let mut tape = Tape::new(device.serial.try_clone().unwrap(), None);
        let mut frames = Frames::new(&mut tape);
        let mut session = [0; 16];
        frames.receive_all(Kind::Hello, &mut session).unwrap();
        let forged = forge(&mut secrets, session);
        frames.send(Kind::Seed, [&forged[..]].into_iter()).unwrap();
        let outcome = device.wait(LONG);
        assert_eq!(outcome.status, Some(1), "{whose}: {outcome:?}");
        assert!(outcome.log.iter().any(|l| l.contains("Sealed")), "{whose}: {outcome:?}");
    }
}

#[test]
fn a_device_without_generator_or_keys_refuses_to_start() {
    if !Board::CortexM4.available() {
        return;
    }
    let blob = Some(Secrets::new(5).blob());
    for (files, why) in [
        (Files { blob: blob.clone(), ..Files::default() }, "NoEntropy"),
        (Files { seed: Some([1; 32]), ..Files::default() }, "NoBlob"),
        (Files { seed: Some([1; 32]), blob: Some(vec![7; 95]), ..Files::default() }, "Blob"),
    ] {
        let outcome = Emulated::boot(Board::CortexM4, "compute_node", files).wait(LONG);
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        assert!(outcome.log.iter().any(|l| l.contains(why)), "{why}: {outcome:?}");
    }
}
