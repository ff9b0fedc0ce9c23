//! Who sees what: three processes, what they have open, and a recording of all that each receives.

use super::alone;
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};
use symbolon::{
    net::Role,
    session::client::{self, News, Outcome},
    train::{Inputs, Position, releases},
};
use symbolon_core::{
    prg::{Aes128Prg, MaskId, Seed, session_seed},
    share::expand,
};
use symbolon_tests::{
    dir::TempDir,
    jobs::{OPTIMIZERS, Shape},
    play::{Game, Keys},
    relay::{Relay, Talk},
    roles::{ANYTHING, CALM, Roles},
    statistics::{bytes_are_uniform, chi_square, padded_words_are_uniform},
    wire::{
        Answer, Beginning, Call, Data, DealerHello, Ended, JobRequest, LaneHello, No, Order, Paired, Reply,
        RunProposal, VeilSeed, take,
    },
};

/// What a process has open or mapped, by name, and where it works.
#[cfg(target_os = "linux")]
fn open_files(process: u32) -> Vec<String> {
    let of = format!("/proc/{process}");
    let mut names: Vec<String> = fs::read_dir(format!("{of}/fd"))
        .unwrap()
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_str()?.to_owned()))
        .collect();
    names.extend(fs::read_to_string(format!("{of}/maps")).unwrap().lines().map(str::to_owned));
    names.push(fs::read_link(format!("{of}/cwd")).unwrap().to_str().unwrap().to_owned());
    names
}

fn names(open: &[String], dir: &Path) -> bool {
    open.iter().any(|name| name.contains(dir.to_str().unwrap()))
}

fn train(roles: &Roles, shape: &Shape<'_>, news: &mut dyn FnMut(News)) -> Outcome<u64> {
    let (config, tls) = roles.client_config();
    client::run(&config, &tls, &shape.job(), shape.inputs(), news).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn three_processes_without_the_data() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, ANYTHING);
    let shape = Shape { epochs: 20, ..Shape::default() };
    let dir = TempDir::new();
    let _open = File::open(dir.file("records.csv", &shape.csv())).unwrap();
    let ids: Vec<u32> = roles.all().iter().map(|(_, process)| process.id()).collect();
    let me = std::process::id();
    assert_eq!(ids.iter().chain([&me]).collect::<HashSet<_>>().len(), 4, "four processes");
    let looked = AtomicBool::new(false);
    train(&roles, &shape, &mut |news| {
        if matches!(news, News::Step { .. }) && !looked.swap(true, Ordering::AcqRel) {
            assert!(names(&open_files(me), &dir), "this process has the data open");
            ids.iter().for_each(|id| assert!(!names(&open_files(*id), &dir), "process {id} has the data open"));
        }
    });
    assert!(looked.load(Ordering::Acquire), "nobody looked");
    // None has another's key either.
    for (role, process) in roles.all() {
        let arguments = fs::read_to_string(format!("/proc/{}/cmdline", process.id())).unwrap();
        assert!(arguments.contains(&format!("{role}.toml")), "{arguments}");
    }
}

/// All that passed in two jobs, each of one session.
struct Recording {
    relays: Vec<Relay>,
}

impl Recording {
    /// All conversations from `from` to `to`, greetings taken off.
    fn between(&self, from: Role, to: Role) -> Vec<Talk> {
        let relay = self.relays.iter().find(|relay| (relay.from, relay.to) == (from, to)).unwrap();
        relay.talks_after_greetings()
    }
}

/// What one session's recording holds, role by role.
struct Seen {
    /// The job, whose number names the streams of its data.
    job_id: [u8; 16],
    session: [u8; 16],
    data_seed: [u8; 32],
    /// Of the shares of zero on outputs.
    veil: [u8; 32],
    /// That each server drew, for dealer and auditor.
    drawn: [[u8; 32]; 2],
    /// Of each server's streams, derived from it.
    seeds: [[u8; 32]; 2],
    nonces: [[u8; 32]; 2],
    /// Server 1's share of the data.
    share: Vec<u64>,
    /// Masked words that each server received.
    masked: [Vec<u8>; 2],
    /// Each server's corrections.
    dealt: [Vec<u8>; 2],
    /// Everything that server 0, server 1, the dealer and the auditor received.
    received: [Vec<u8>; 4],
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// Reads job number `n` off the tapes. Each role receives what is read here and nothing else: every
/// byte is accounted for.
#[allow(clippy::too_many_lines)]
fn read(recording: &Recording, shape: &Shape<'_>, n: usize) -> Seen {
    let lanes = usize::from(shape.lanes);
    let mut received: [Vec<u8>; 4] = Default::default();
    let job = shape.job().encode().unwrap();
    // From the client: the order and the data, and in the end that it has the outputs.
    let from_client = [Role::Server0, Role::Server1].map(|to| recording.between(Role::Client, to));
    let [[to0, fetched0], [to1, fetched1]] =
        from_client.each_ref().map(|talks| [&talks[2 * n].asked[..], &talks[2 * n + 1].asked[..]]);
    received[0].extend([to0, fetched0].concat());
    received[1].extend([to1, fetched1].concat());
    let (mut rest0, mut rest1) = (to0, to1);
    let (order0, order1): (Order, Order) = (take(&mut rest0), take(&mut rest1));
    assert_eq!((order0.id, &order0.job, order0.output_key), (order1.id, &order1.job, order1.output_key));
    assert_eq!(order0.job, job);
    for mut fetched in [fetched0, fetched1] {
        let JobRequest { request, job } = take(&mut fetched);
        assert_eq!((request.ask, request.request, job, fetched.len()), (4, 3, order0.id, 0));
    }
    let data_seed = loop {
        match take(&mut rest0) {
            Data::Wait => {}
            Data::Seed(seed) => break seed,
            Data::Words | Data::Confirm | Data::Lengths { .. } => panic!("server 0 gets a seed"),
        }
    };
    assert!(matches!(take(&mut rest1), Data::Words), "server 1 gets no seed");
    assert!(rest0.is_empty(), "server 0 gets a seed and no more");
    let share = words(rest1);
    assert_eq!(share.len(), Inputs::<u64>::lens(&shape.job()).iter().sum::<usize>());
    // Between the servers: server 1 connects, to agree on the run, then lane by lane.
    let between = &recording.between(Role::Server1, Role::Server0)[n * (1 + lanes)..][..=lanes];
    let (session, veil) = read_control(&between[0], shape, &order0.id);
    for talk in between {
        received[0].extend(&talk.asked);
        received[1].extend(&talk.answered);
    }
    let mut masked = <[Vec<u8>; 2]>::default();
    for talk in &between[1..] {
        let (mut asked, mut answered) = (&talk.asked[..], &talk.answered[..]);
        let hello: LaneHello = take(&mut asked);
        assert_eq!((hello.hello, hello.session), (0, session));
        take::<Answer>(&mut answered).unwrap();
        masked[0].extend(asked);
        masked[1].extend(answered);
    }
    // With the dealer: each server once, and once more for each lane whose corrections it receives.
    let (mut joins, mut dealt) = (<[Option<JoinTalk>; 2]>::default(), <[Vec<u8>; 2]>::default());
    let per_session = [1 + lanes / 2, 1 + lanes.div_ceil(2)];
    for (j, role) in [Role::Server0, Role::Server1].into_iter().enumerate() {
        for talk in &recording.between(role, Role::Dealer)[n * per_session[j]..][..per_session[j]] {
            received[2].extend(&talk.asked);
            received[j].extend(&talk.answered);
            let mut asked = &talk.asked[..];
            match take(&mut asked) {
                DealerHello::Join { .. } => {
                    let (join, ended) = JoinTalk::read::<Ended>(talk);
                    assert!(ended.len() == 1 && ended[0].bytes_sent > 0);
                    joins[j] = Some(join);
                }
                DealerHello::Lane { session: of, lane } => {
                    assert_eq!((of, j), (session, usize::from(lane % 2 == 0)));
                    assert!(asked.is_empty(), "the dealer hears of a lane and no more");
                    dealt[j].extend(&talk.answered);
                }
            }
        }
        let talk = &recording.between(role, Role::Auditor)[n];
        received[3].extend(&talk.asked);
        received[j].extend(&talk.answered);
        let (join, hashes) = JoinTalk::read::<[u8; 32]>(talk);
        assert_eq!(Some(&join), joins[j].as_ref(), "dealer and auditor hear and say the same");
        assert_eq!(hashes.len() as u64, releases(&shape.job(), Position::START));
    }
    let joins = joins.map(Option::unwrap);
    let (drawn, nonces) = (joins.each_ref().map(|join| join.seed), joins.each_ref().map(|join| join.nonce));
    for join in &joins {
        assert_eq!((join.session, &join.job, join.position, join.both), (session, &job, 0, nonces));
    }
    let seeds = [0, 1].map(|j| {
        let (drawn, plan) = (Seed::from_bytes(&drawn[usize::from(j)]), &joins[0].plan_hash);
        *session_seed(&drawn, [&nonces[0], &nonces[1]], &session, plan, j).expose()
    });
    let job_id = order0.id;
    Seen { job_id, session, data_seed, veil, drawn, seeds, nonces, share, masked, dealt, received }
}

/// Reads the connection on which both servers agree on a run, to its end; returns the session and
/// the veil's seed. Beside them, each tells the other that it has each epoch's outputs, and the
/// results.
fn read_control(talk: &Talk, shape: &Shape<'_>, job: &[u8; 16]) -> ([u8; 16], [u8; 32]) {
    let (mut asked, mut answered) = (&talk.asked[..], &talk.answered[..]);
    let proposal: RunProposal = take(&mut asked);
    assert_eq!((proposal.hello, &proposal.job), (2, job));
    assert!(proposal.states.is_empty() && proposal.results.is_none() && proposal.last_epoch == 0);
    let beginning = take::<Result<Beginning, No>>(&mut answered).unwrap();
    assert_eq!(beginning, Beginning::Start);
    let veil = take::<VeilSeed>(&mut answered).0;
    for tape in [&mut asked, &mut answered] {
        for epoch in 1..=shape.epochs {
            assert_eq!(take::<u32>(tape), epoch);
        }
        assert_eq!(take::<[u8; 16]>(tape), proposal.session);
    }
    assert_eq!(take::<[u8; 16]>(&mut answered), proposal.session, "server 0 is done, and then server 1");
    assert_eq!((asked.len(), answered.len()), (0, 0), "bytes more");
    (proposal.session, veil)
}

/// A server's message on joining a session at dealer or auditor, and both nonces that it received.
#[derive(Debug, Eq, PartialEq)]
struct JoinTalk {
    session: [u8; 16],
    job: Vec<u8>,
    position: u64,
    plan_hash: [u8; 32],
    nonce: [u8; 32],
    seed: [u8; 32],
    both: [[u8; 32]; 2],
}

impl JoinTalk {
    /// Reads a conversation to its end; returns the results too.
    fn read<T: serde::de::DeserializeOwned>(talk: &Talk) -> (Self, Vec<T>) {
        let (mut asked, mut answered) = (&talk.asked[..], &talk.answered[..]);
        let DealerHello::Join { session, job, work: 0, position, plan_hash, nonce, seed } = take(&mut asked) else {
            panic!("a server joins first")
        };
        let both = take::<Paired>(&mut answered).unwrap();
        let (mut calls, mut results) = (0, Vec::new());
        while !asked.is_empty() {
            calls += usize::from(take::<Call>(&mut asked) == Call::Next);
        }
        while !answered.is_empty() {
            match take(&mut answered) {
                Reply::Alive => {}
                Reply::Next(result) => results.push(result),
                Reply::No(no) => panic!("{no:?}"),
            }
        }
        assert_eq!(calls, results.len(), "a result for each call");
        (Self { session, job, position, plan_hash, nonce, seed, both }, results)
    }
}

/// Whether any eight bytes of `secret` lie anywhere in `bytes`. Padding does not count.
fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    let windows: HashSet<&[u8]> = secret.windows(8).filter(|window| !window.contains(&0)).collect();
    bytes.windows(8).any(|window| windows.contains(window))
}

/// Two jobs that are alike with the same roles, every connection recorded in the clear.
#[test]
fn a_recording_of_all_that_each_received() {
    let _alone = alone();
    let mut relays = Vec::new();
    let mut roles = Roles::start_audited(CALM, ANYTHING, &mut |deployment, from, to, port| {
        relays.push(Relay::start(deployment, from, to, port));
        relays[relays.len() - 1].port
    });
    let shape = Shape { optimizer: OPTIMIZERS[2], epochs: 2, ..Shape::default() };
    let outcomes = [(); 2].map(|()| train(&roles, &shape, &mut |_| {}));
    let recording = Recording { relays };
    let sessions = [0, 1].map(|n| read(&recording, &shape, n));
    let mut game = Game::new(shape.job());
    for (seen, outcome) in sessions.iter().zip(&outcomes) {
        let total = game.plan.total;
        assert_eq!(outcome.plan_hash, game.plan.hash);
        assert_eq!(seen.masked.each_ref().map(|m| m.len() as u64), [total.bytes_each_way; 2]);
        let to_server0 = total.dealer_bytes_server0;
        let dealt = [to_server0, total.dealer_bytes - to_server0];
        assert_eq!(seen.dealt.each_ref().map(|d| d.len() as u64), dealt);
        holds_only_its_own(seen);
        let shares = shares_are_the_data(seen, &shape);
        // Whoever had both seeds and both shares could do what the servers did: bit for bit.
        let keys = Keys { seeds: seen.seeds, session: seen.session };
        let played = game.secure_shares::<u64>(shares, &keys, 1);
        assert_eq!(outcome.parameters.as_ref(), Some(&played.result.parameters));
        assert_eq!(outcome.epochs.len(), played.result.epochs.len());
        let clear = game.replay::<u64>(shape.inputs(), &keys, &played.dithers, 1);
        assert_eq!(clear.parameters, played.result.parameters);
        let names = ["masked, to server 0", "masked, to server 1", "dealt to server 0", "dealt to server 1"];
        for (bytes, name) in seen.masked.iter().chain(&seen.dealt).zip(names) {
            padded_words_are_uniform(bytes, name);
        }
        bytes_are_uniform(symbolon_core::word::Word::bytes(&seen.share), "server 1's share");
        assert!(
            chi_square(symbolon_core::word::Word::bytes(shape.inputs::<u64>().train.memory().unwrap()), 256) > 1e4,
            "the data is not"
        );
    }
    nothing_is_used_twice(&sessions);
    #[cfg(target_os = "linux")]
    for seen in &sessions {
        for (role, process) in roles.all() {
            keeps_no_seed(role, process.id(), seen);
        }
        keeps_no_seed(Role::Auditor, roles.auditor.as_ref().unwrap().id(), seen);
    }
}

/// After a session its seeds are nowhere in a role's memory: not in a dead part of the stack
/// either.
#[cfg(target_os = "linux")]
fn keeps_no_seed(role: Role, process: u32, seen: &Seen) {
    let seeds = [
        ("the data's seed", &seen.data_seed),
        ("the veil's seed", &seen.veil),
        ("the seed that server 0 drew", &seen.drawn[0]),
        ("the seed that server 1 drew", &seen.drawn[1]),
        ("server 0's seed", &seen.seeds[0]),
        ("server 1's seed", &seen.seeds[1]),
    ];
    let mut memory = File::open(format!("/proc/{process}/mem")).unwrap();
    for region in fs::read_to_string(format!("/proc/{process}/maps")).unwrap().lines().filter(|l| l.contains(" rw")) {
        let (from, to) = region.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(from)).unwrap();
        // A region that has gone is read as far as it was there.
        let _ = memory.by_ref().take(to - from).read_to_end(&mut bytes);
        for (name, seed) in seeds {
            let at = bytes.windows(8).position(|window| window == &seed[8..16]);
            assert_eq!(at, None, "{role} keeps {name} in {region}");
        }
    }
}

/// No role receives what belongs to another.
fn holds_only_its_own(seen: &Seen) {
    let [server0, server1, dealer, auditor] = &seen.received;
    let share = symbolon_core::word::Word::bytes(&seen.share);
    let secrets: [(&str, &[u8], [bool; 4]); 9] = [
        ("the data's seed", &seen.data_seed, [true, false, false, false]),
        ("the veil's seed", &seen.veil, [false, true, false, false]),
        ("the seed that server 0 drew", &seen.drawn[0], [false, false, true, true]),
        ("the seed that server 1 drew", &seen.drawn[1], [false, false, true, true]),
        ("server 0's seed", &seen.seeds[0], [false; 4]),
        ("server 1's seed", &seen.seeds[1], [false; 4]),
        ("server 1's share", share, [false, true, false, false]),
        ("server 0's corrections", &seen.dealt[0], [true, false, false, false]),
        ("server 1's corrections", &seen.dealt[1], [false, true, false, false]),
    ];
    for (name, secret, knows) in secrets {
        for (received, (role, knows)) in
            [server0, server1, dealer, auditor].into_iter().zip(["0", "1", "dealer", "auditor"].iter().zip(knows))
        {
            assert_eq!(holds(received, secret), knows, "{role} and {name}");
        }
    }
    for masked in &seen.masked {
        assert!(!holds(dealer, masked) && !holds(auditor, masked), "neither dealer nor auditor hears a masked word");
    }
}

/// The two shares make the data, and no less than both. Returns both servers'.
fn shares_are_the_data(seen: &Seen, shape: &Shape<'_>) -> [Inputs<u64>; 2] {
    let Inputs { train, train_labels, test, test_labels, .. } = shape.inputs::<u64>();
    let [mut first, mut second] = [(); 2].map(|()| Inputs::in_memory(&shape.job()));
    let tables = |inputs: &mut Inputs<u64>, at: u32, words: &[u64]| {
        let Inputs { train, train_labels, test, test_labels, .. } = inputs;
        let mut writer = [train, train_labels, test, test_labels][at as usize].writer();
        writer.push(words).unwrap();
    };
    let stream = Aes128Prg::new(&Seed::from_bytes(&seen.data_seed), &seen.job_id);
    let mut rest = &seen.share[..];
    for (i, table) in (0u32..).zip([train, train_labels, test, test_labels]) {
        let (theirs, tail) = rest.split_at(table.len());
        let mut own = vec![0u64; table.len()];
        expand(&stream, MaskId { lane: 0, request: i, part: 0 }, 0, &mut own);
        assert!(
            own.iter().zip(theirs).zip(table.memory().unwrap()).all(|((a, b), value)| a.wrapping_add(*b) == *value)
        );
        tables(&mut first, i, &own);
        tables(&mut second, i, theirs);
        rest = tail;
    }
    [first, second]
}

/// The same job on the same data, again: everything random is fresh, and no word passes twice.
fn nothing_is_used_twice(sessions: &[Seen; 2]) {
    let fresh = |f: &dyn Fn(&Seen) -> Vec<Vec<u8>>| {
        let all: Vec<Vec<u8>> = sessions.iter().flat_map(f).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    };
    fresh(&|seen| {
        seen.seeds
            .iter()
            .chain(&seen.drawn)
            .chain(&seen.nonces)
            .chain([&seen.data_seed, &seen.veil])
            .map(|bytes| bytes.to_vec())
            .collect()
    });
    fresh(&|seen| vec![seen.session.to_vec(), seen.job_id.to_vec()]);
    let [one, two] = sessions;
    let passed = |seen: &Seen| -> HashSet<u64> {
        let words =
            seen.masked.iter().chain(&seen.dealt).flat_map(|bytes| words(bytes)).chain(seen.share.iter().copied());
        words.filter(|word| !word.to_le_bytes().contains(&0)).collect() // no padding
    };
    let (one, two) = (passed(one), passed(two));
    assert!(one.len() > 10_000);
    assert!(one.is_disjoint(&two), "a word passed in both sessions");
}
