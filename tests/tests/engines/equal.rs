//! One job, three engines: the secure one equals the clear one bit for bit and costs what the plan says; what servers receive is
//! uniform; no mask hides two values.
#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, path::Path};
use symbolon::{
    data::{dataset_dir, digits, load},
    engine::plan::plan,
    job::{self, Job, Noise, Optimizer, Prg, RevealLoss, When},
    kernel::HostWord,
    storage::Storage,
    train::Inputs,
};
use symbolon_core::layer::{AnyLayer, Dense};
use symbolon_core::loss::SquaredError;
use symbolon_core::{correlation::receiver, party::Role as Party, prg::MaskId, word::Word};
use symbolon_tests::{
    jobs::{OPTIMIZERS, Shape},
    play::{Game, Happening, Keys, Played, shares_in},
    statistics::{bits_are_fair, bytes_are_uniform},
    stored::Task,
};

/// Plays a job on shares and in the clear, and holds both against each other and the plan.
fn agree<W: HostWord + Word>(job: Job, inputs: &dyn Fn() -> Inputs<W>) {
    let mut game = Game::new(job);
    game.recording = false; // nobody looks at it here
    let keys = Keys::new(u64::from(W::BITS));
    let Played { result, counts, dealt_bytes, dithers, .. } = game.secure(inputs(), &keys, 64);
    let clear = game.replay(inputs(), &keys, &dithers, 1);
    let (job, total) = (&game.job, game.plan.total);
    assert_eq!(result.epochs.len(), job.training.epochs as usize, "{job:?}");
    for (epoch, (loss, score)) in (1..).zip(&result.epochs) {
        let opens = job.opens_numbers(epoch);
        assert_eq!((loss.is_some(), score.is_some()), (opens, opens && job.reveal.metrics), "{job:?}");
    }
    assert_eq!(format!("{:?}", result.epochs), format!("{:?}", clear.epochs), "{job:?}");
    let silent = |alarm: Option<W>| alarm.map(|alarm| W::bytes(&[alarm]).iter().all(|byte| *byte == 0));
    assert_eq!([result.alarm, clear.alarm].map(silent), [Some(true); 2], "a false alarm: {job:?}");
    assert!(W::bytes(&result.parameters) == W::bytes(&clear.parameters), "parameters differ: {job:?}");
    assert_eq!(result.parameters.len(), job.parameters(), "{job:?}");
    for count in counts {
        assert_eq!((count.rounds, count.bytes), (total.rounds, total.bytes_each_way), "{job:?}");
    }
    assert_eq!(dealt_bytes, total.dealer_bytes, "{job:?}");
}

fn shape_agrees<W: HostWord + Word>(shape: &Shape<'_>) {
    agree::<W>(shape.job(), &|| shape.inputs());
}

/// More steps than those in which Adam always chooses buckets anew, a shorter last batch, two
/// epochs.
fn long(ring_bits: u32, optimizer: &str) -> Shape<'_> {
    Shape { ring_bits, optimizer, epochs: 2, batch: 8, records: 84, hidden: 12, ..Shape::default() }
}

#[test]
fn secure_equals_clear_in_64_bits() {
    OPTIMIZERS.iter().for_each(|optimizer| shape_agrees::<u64>(&long(64, optimizer)));
}

#[test]
fn secure_equals_clear_without_the_last_batch() {
    let shape = long(64, OPTIMIZERS[3]);
    let (mut job, inputs) = (shape.job(), || shape.inputs::<u64>());
    job.training.drop_last = true;
    agree::<u64>(job, &inputs);
}

/// One evaluation after the last epoch, of epochs that the plan runs and of those that repeat.
/// Terms are clamped for their noise.
#[test]
fn secure_equals_clear_where_numbers_open_at_the_end() {
    for (ring_bits, regression) in [(32, false), (64, false), (64, true)] {
        for epochs in [1, 2, 7] {
            let shape = Shape { ring_bits, regression, epochs, records: 48, ..Shape::default() };
            let mut job = shape.job();
            job.reveal.when = When::End;
            job.reveal.noise = Some(Noise { epsilon_milli: 1000, largest_loss: 1 });
            match ring_bits {
                32 => agree::<u32>(job, &|| shape.inputs()),
                _ => agree::<u64>(job, &|| shape.inputs()),
            }
        }
    }
}

#[test]
fn secure_equals_clear_in_32_bits() {
    OPTIMIZERS.iter().for_each(|optimizer| shape_agrees::<u32>(&long(32, optimizer)));
}

#[test]
fn secure_equals_clear_in_regression_and_other_shapes() {
    let regression = Shape { regression: true, ..Shape::default() };
    shape_agrees::<u64>(&regression);
    shape_agrees::<u32>(&Shape { ring_bits: 32, optimizer: OPTIMIZERS[2], ..regression.clone() });
    shape_agrees::<u64>(&Shape { lanes: 1, prg: "chacha20", ..regression });
    shape_agrees::<u32>(&Shape { ring_bits: 32, lanes: 3, prg: "chacha20", ..Shape::default() });
    shape_agrees::<u64>(&Shape { lanes: 5, batch: 2, records: 8, hidden: 1, ..Shape::default() });
}

fn stored_agree<W: HostWord + Word>(task: &Task<'_>) {
    agree::<W>(task.job(), &|| task.inputs());
}

/// Codes of every width, lifted first; tiles that the lanes' rows do not fill.
#[test]
fn secure_equals_clear_on_stored_reports() {
    let (wide, narrow) = (64, 32);
    let task = |ring_bits, lanes, regression| {
        let optimizer = OPTIMIZERS[usize::from(lanes)];
        Task { ring_bits, lanes, records: 113, regression, optimizer }
    };
    for lanes in 1..=3 {
        stored_agree::<u64>(&task(wide, lanes, lanes == 2));
        stored_agree::<u32>(&task(narrow, lanes, lanes == 3));
    }
    // Fewer test records than lanes.
    stored_agree::<u64>(&Task { records: 23, ..task(wide, 5, false) });
}

#[test]
fn secure_equals_clear_on_the_digits() {
    let mut job = Job::digits().unwrap();
    job.training.epochs = 1;
    let (train, test) = digits(&job).unwrap();
    agree::<u64>(job.clone(), &|| Inputs::encode(&job, &train, &test).unwrap());
    let numbers = job::Numbers { ring_bits: 32, frac_bits: 11, grad_frac_bits: 15, prg: Prg::ChaCha20 };
    let optimizer = Optimizer::Adam(job::Adam::for_numbers(&numbers));
    let narrow = Job { numbers, optimizer, ..job };
    agree::<u32>(narrow.clone(), &|| Inputs::encode(&narrow, &train, &test).unwrap());
}

#[test]
#[ignore = "a minute; run it with --release"]
fn secure_equals_clear_on_mnist() {
    let Some(dir) = dataset_dir() else { panic!("no data sets: put MNIST into DIR/mnist and set SYMBOLON_DATA=DIR") };
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/jobs");
    let job = |name| Job::load(&jobs.join(name)).unwrap();
    let narrow = job("mnist-adam-32.toml");
    let (train, test) = load(&narrow, &dir).unwrap();
    agree::<u32>(narrow.clone(), &|| Inputs::encode(&narrow, &train, &test).unwrap());
    let wide = job("mnist-adam.toml");
    agree::<u64>(wide.clone(), &|| Inputs::encode(&wide, &train, &test).unwrap());
}

#[test]
fn squared_error_learns_classes() {
    let mut job = Job::digits().unwrap();
    job.loss = SquaredError {}.into();
    let nearest = |value| job::Dyadic::nearest(value).unwrap();
    job.optimizer = Optimizer::Momentum { learning_rate: nearest(0.05), momentum: nearest(0.9) };
    let (train, test) = digits(&job).unwrap();
    let clear = Game::new(job.clone()).clear::<u64>(Inputs::encode(&job, &train, &test).unwrap(), &Keys::new(8), 2);
    let (_, score) = clear.epochs.last().unwrap();
    let right = score.as_ref().unwrap().sums[0];
    assert!(right * 100 > test.rows as u64 * 90, "{right} of {} are right", test.rows);
}

#[test]
fn threads_change_nothing_that_a_peer_sees() {
    let shape = Shape { lanes: 3, ..Shape::default() };
    let mut game = Game::new(shape.job());
    let keys = Keys::new(5);
    let [one, many] = [1, 3].map(|threads| game.secure::<u64>(shape.inputs(), &keys, threads));
    assert_eq!(one.result, many.result);
    assert_eq!((one.counts, one.dealt_bytes), (many.counts, many.dealt_bytes));
    for (one, many) in one.tapes.iter().flatten().zip(many.tapes.iter().flatten()) {
        assert!(one.received == many.received && one.dealt == many.dealt && !one.received.is_empty());
    }
}

/// What is changed, and how.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Job));

#[test]
fn all_that_matters_enters_the_plans_hash() {
    let base = Shape { optimizer: OPTIMIZERS[2], ..Shape::default() }.job();
    let changes: [Change<'_>; 21] = [
        ("nothing", &|_| {}),
        ("k", &|job| {
            job.numbers.ring_bits = 32;
            (job.numbers.frac_bits, job.numbers.grad_frac_bits) = (11, 15);
            job.optimizer = Optimizer::Adam(job::Adam::for_numbers(&job.numbers));
        }),
        ("f", &|job| job.numbers.frac_bits -= 1),
        ("fg", &|job| job.numbers.grad_frac_bits -= 1),
        ("prg", &|job| job.numbers.prg = Prg::ChaCha20),
        ("lanes", &|job| job.lanes.lanes += 1),
        ("tile", &|job| job.lanes.tile += 64),
        ("batch order", &|job| job.training.seed += 1),
        ("shuffle", &|job| job.training.shuffle = false),
        ("batch", &|job| job.training.batch *= 2),
        ("last batch", &|job| job.training.drop_last = true),
        ("epochs", &|job| job.training.epochs += 1),
        ("accuracy", &|job| job.reveal.metrics = false),
        ("loss", &|job| job.reveal.loss = RevealLoss::Never),
        ("model", &|job| job.reveal.model = false),
        ("alarm", &|job| job.reveal.alarm = false),
        ("records", &|job| job.data.train_records += 1),
        ("test records", &|job| job.data.test_records += 1),
        ("layers", &|job| job.network.nodes[0].layer = AnyLayer::Dense(Dense::new(9))),
        ("buckets kept", &|job| job.optimizer = Optimizer::Adam(job::Adam { refresh_every: 2, ..adam(job) })),
        ("optimizer", &|job| job.optimizer = Optimizer::AmsGrad(adam(job))),
    ];
    let mut seen = HashSet::new();
    for (what, change) in changes {
        let mut job = base.clone();
        change(&mut job);
        job.validate().unwrap_or_else(|invalid| panic!("{what}: {invalid}"));
        let (one, other) = (plan(&job).unwrap(), plan(&job).unwrap());
        assert_eq!(one.hash, other.hash, "{what}: a job has one plan");
        assert!(seen.insert(one.hash), "{what} does not enter the hash");
    }
}

fn adam(job: &Job) -> job::Adam {
    match job.optimizer {
        Optimizer::Adam(adam) => adam,
        _ => panic!("another optimizer"),
    }
}

/// Two steps, each optimizer in turn, one session after the other.
fn two_steps(optimizer: &str) -> Shape<'_> {
    Shape { optimizer, batch: 8, records: 16, hidden: 4, ..Shape::default() }
}

/// Blocks of a stream.
type Blocks = HashSet<(MaskId, u64)>;

/// Bytes of the smallest word.
const BLOCK: u64 = 4;

fn blocks(id: MaskId, at: u64, len: u64) -> impl Iterator<Item = (MaskId, u64)> {
    (at / BLOCK..(at + len) / BLOCK).map(move |block| (id, block))
}

/// A server expands nothing but masks on the lanes whose corrections it receives, so both servers'
/// streams of a lane name its masks. Before each round a server must expand, for the first time in
/// its session, as many bytes of masks as the round opens: were a mask to hide a second value, the
/// second expansion would be no first one.
#[test]
fn no_two_openings_share_a_mask() {
    for (optimizer, ring_bits) in OPTIMIZERS.iter().flat_map(|o| [(o, 32), (o, 64)]) {
        let shape = Shape { ring_bits, ..two_steps(optimizer) };
        let mut game = Game::new(shape.job());
        let played = match ring_bits {
            32 => game.secure::<u32>(shape.inputs(), &Keys::new(1), 1).happened,
            _ => game.secure::<u64>(shape.inputs(), &Keys::new(1), 1).happened,
        };
        let names = mask_names(&played);
        let (mut masks, mut fresh, mut rounds) = (Blocks::new(), 0, 0);
        for happening in &played[1] {
            match *happening {
                Happening::Expanded { id, .. } if !names.contains(&id) => {}
                Happening::Expanded { id, at, len } => {
                    assert!(at % BLOCK == 0 && len % BLOCK == 0, "masks are whole words");
                    fresh += blocks(id, at, len).filter(|block| masks.insert(*block)).count() as u64 * BLOCK;
                }
                Happening::Exchanged { len, packed } => {
                    // Packed words take less than their masks.
                    let hidden = if packed { fresh >= len } else { fresh == len };
                    assert!(hidden, "{optimizer}, {ring_bits} bits: {fresh} fresh for round {rounds} of {len}");
                    (fresh, rounds) = (0, rounds + 1);
                }
            }
        }
        assert_eq!(fresh, 0, "a mask was expanded for nothing");
        assert!(rounds > 50, "{rounds} rounds");
        played.iter().for_each(|happened| dealt_values_are_expanded_once(happened, &masks));
    }
}

/// Names of the masks: the receiver of a lane's corrections expands nothing else there.
fn mask_names(played: &[Vec<Happening>; 2]) -> HashSet<MaskId> {
    let own = |(server, happened): (Party, &Vec<Happening>)| {
        let expanded = happened.iter().filter_map(|happening| match happening {
            Happening::Expanded { id, .. } if receiver(id.lane) == server => Some(*id),
            _ => None,
        });
        expanded.collect::<Vec<_>>()
    };
    [Party::Server0, Party::Server1].into_iter().zip(played).flat_map(own).collect()
}

/// A server expands masks, as often as it likes, and its shares of dealt values, each once: they
/// have other names.
fn dealt_values_are_expanded_once(happened: &[Happening], masks: &Blocks) {
    let mut dealt = Blocks::new();
    for happening in happened {
        if let Happening::Expanded { id, at, len } = *happening {
            for block in blocks(id, at, len).filter(|block| !masks.contains(block)) {
                assert!(dealt.insert(block), "a dealt value was expanded twice: {block:?}");
            }
        }
    }
    assert!(!dealt.is_empty());
}

/// Equal values under one mask differ by the same amount in all runs, and values of a step by nearly the same. Masks of their own make all
/// differences between two runs unrelated, within a session and from one to the next over the same connections.
#[test]
fn opened_words_are_unrelated_within_and_across_sessions() {
    let shape = two_steps(OPTIMIZERS[2]);
    let mut game = Game::new(shape.job());
    let mut opened = |salt| {
        let Played { tapes: [tapes, _], .. } = game.secure::<u64>(shape.inputs(), &Keys::new(salt), 1);
        let bytes: Vec<u8> = tapes.into_iter().flat_map(|tape| tape.opened).collect();
        bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<u64>>()
    };
    let (one, other) = ([opened(1), opened(2)].concat(), [opened(3), opened(4)].concat());
    let mut masks: Vec<u64> = one.iter().zip(&other).map(|(a, b)| a.wrapping_sub(*b)).collect();
    assert!(masks.len() > 4000 && !any_two_near(&mut masks), "two words are hidden by one mask");
    masks.push(masks[17].wrapping_add(12345));
    assert!(any_two_near(&mut masks), "such a thing is found");
}

/// Whether two of `words` differ by less than what training values vary by: by chance, once in 10^5 for so many words.
fn any_two_near(words: &mut [u64]) -> bool {
    words.sort_unstable();
    words.windows(2).any(|pair| pair[1] - pair[0] < 1 << 20)
}

/// Runs of the statistical test.
const RUNS: u64 = 160;

/// Leaves out bytes with bits that no run sets: padding is zero, wherever it is.
fn without_padding(runs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let any = runs.iter().fold(vec![0; runs[0].len()], |any, run| any.iter().zip(run).map(|(a, b)| a | b).collect());
    let full: Vec<usize> = any.iter().enumerate().filter(|(_, any)| **any == 0xff).map(|(i, _)| i).collect();
    assert!(full.len() * 4 > runs[0].len(), "mostly padding");
    runs.iter().map(|run| full.iter().map(|i| run[*i]).collect()).collect()
}

/// Inputs are the same in all runs; what each server receives is uniform in each of its bits, and unrelated to anything.
#[test]
fn what_servers_receive_is_uniform() {
    for optimizer in [OPTIMIZERS[1], OPTIMIZERS[2]] {
        let shape = Shape { batch: 32, records: 64, hidden: 4, lanes: 1, ..two_steps(optimizer) };
        let mut game = Game::new(shape.job());
        let mut received: [Vec<Vec<u8>>; 5] = Default::default();
        for salt in 0..RUNS {
            let Played { tapes: [tapes0, tapes1], .. } = game.secure::<u64>(shape.inputs(), &Keys::new(salt), 1);
            for (runs, tapes) in received.iter_mut().zip([&tapes0, &tapes1]) {
                runs.push(tapes.iter().flat_map(|tape| tape.received.clone()).collect());
            }
            for (runs, tapes) in received[2..].iter_mut().zip([&tapes0, &tapes1]) {
                runs.push(tapes.iter().flat_map(|tape| tape.packed.clone()).collect());
            }
            received[4].push(tapes1.iter().flat_map(|tape| tape.dealt.clone()).collect());
            assert!(tapes0.iter().all(|tape| tape.dealt.is_empty()), "server 0 gets nothing from the dealer on lane 0");
        }
        let [from1, from0, packed1, packed0, dealt] = received;
        for (runs, name) in [(from1, "server 0, from server 1"), (from0, "server 1, from server 0")] {
            bits_are_fair(&runs, name);
            bytes_are_uniform(&runs.concat(), name);
        }
        // With padding, which is zero.
        for (runs, name) in [(packed1, "server 0, packed"), (packed0, "server 1, packed"), (dealt, "server 1, dealt")] {
            bits_are_fair(&without_padding(&runs), name);
        }
    }
}

/// A server that deviates, with noise at every opening, still receives uniform words alone, and the
/// other goes on to the end.
#[test]
fn what_a_deviating_server_receives_is_uniform() {
    for deviating in [0, 1] {
        let shape = Shape { batch: 32, records: 64, hidden: 4, lanes: 1, ..two_steps(OPTIMIZERS[2]) };
        let mut game = Game::new(shape.job());
        game.deviating = Some(deviating);
        let [mut received, mut packed] = [Vec::new(), Vec::new()];
        for salt in 0..RUNS {
            let Played { tapes, .. } = game.secure::<u64>(shape.inputs(), &Keys::new(salt), 1);
            received.push(tapes[deviating].iter().flat_map(|tape| tape.received.clone()).collect());
            packed.push(tapes[deviating].iter().flat_map(|tape| tape.packed.clone()).collect::<Vec<u8>>());
        }
        let name = format!("deviating server {deviating}");
        bits_are_fair(&received, &name);
        bytes_are_uniform(&received.concat(), &name);
        bits_are_fair(&without_padding(&packed), &name);
    }
}

/// Plays a job on shares in memory and in scratch files.
fn filed_agrees<W: HostWord + Word>(job: Job, inputs: &dyn Fn() -> Inputs<W>) {
    let (mut game, keys) = (Game::new(job), Keys::new(11));
    game.recording = false;
    let storage = Storage::on_disk(std::env::temp_dir());
    let [memory, filed] = [Storage::default(), storage.clone()].map(|storage| {
        let shares = shares_in(&game.job, inputs(), &keys, &storage);
        game.secure_shares(shares, &keys, 64)
    });
    assert_eq!(format!("{:?}", memory.result.epochs), format!("{:?}", filed.result.epochs), "{:?}", game.job);
    assert!(W::bytes(&memory.result.parameters) == W::bytes(&filed.result.parameters), "{:?}", game.job);
    assert_eq!(memory.counts.map(|count| count.bytes), filed.counts.map(|count| count.bytes), "{:?}", game.job);
    assert!(storage.take_fault().is_none());
    let [_, on_disk] = Inputs::<W>::bytes(&game.job, 0);
    assert_eq!(on_disk, (Inputs::<W>::words(&game.job) * size_of::<W>()) as u64);
}

/// Where tables are changes nothing: batches of a part, batches whose last is short, codes that are
/// lifted, labels that become one-hot rows, and records without a class.
#[test]
fn tables_in_files_change_nothing() {
    let mut job = long(64, OPTIMIZERS[0]).job();
    filed_agrees::<u64>(job.clone(), &|| long(64, OPTIMIZERS[0]).inputs());
    job.training.micro_batch = Some(3);
    filed_agrees::<u64>(job, &|| long(64, OPTIMIZERS[0]).inputs());
    let shape = Shape { regression: true, lanes: 3, ..long(32, OPTIMIZERS[0]) };
    filed_agrees::<u32>(shape.job(), &|| shape.inputs());
    for (lanes, regression) in [(1, false), (3, false), (2, true)] {
        let task = Task { ring_bits: 64, lanes, records: 113, regression, optimizer: OPTIMIZERS[0] };
        filed_agrees::<u64>(task.job(), &|| task.inputs());
    }
}
