//! A job on all three engines in one process: two servers and a dealer on threads, over real connections, under seeds that the test
//! knows; the clear engine under the same seeds; and the plan. Everything that passes is on tape.

use crate::{noise::Dice, watch::Watch};
use std::{
    net::TcpListener,
    ops::ControlFlow,
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, SystemTime},
};
use symbolon::{
    engine::{
        dealer::deal_lane,
        plan::{Plan, plan_from},
        secure::{Fault, NetCorrections, NetLink},
    },
    job::{self, Job},
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    net::{ClientTls, Connection, Deployment, Hosts, Role, ServerTls, Timeouts, accept, connect},
    secret::Secret,
    storage::Storage,
    train::{self, Inputs, Orders, Position, Scores, Start, Sum},
};
use symbolon_core::{
    correlation::{Corrections, Server as Source, Whole, receiver},
    kernel::Kernels,
    link::{Alone, Count, Error, Fold, Link, Part},
    party::{NoTrace, Role as Party},
    prg::{Aes128Prg, ChaCha20Prg, MaskId, Prg, Seed},
    share::{expand, split},
    word::{Word, word_bytes},
};
use symbolon_parties::dither::{DitherRecorder, DitherReplay, Dithers, MaskTracker};

/// How long anything here may take without a byte moved.
const PATIENCE: Timeouts = Timeouts {
    connect: Duration::from_secs(20),
    handshake: Duration::from_secs(20),
    idle: Duration::from_secs(30),
    close: Duration::from_millis(500),
};

/// The seeds of a session. In tests alone does one place know both.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Each server's.
    pub seeds: [[u8; 32]; 2],
    /// The session's name.
    pub session: [u8; 16],
}

impl Keys {
    /// Keys that depend on `salt`, and the session too.
    #[must_use]
    pub fn new(salt: u64) -> Self {
        let mut keys = Self { seeds: [[1; 32], [2; 32]], session: [3; 16] };
        for seed in &mut keys.seeds {
            seed[..8].copy_from_slice(&salt.to_le_bytes());
        }
        keys.session[..8].copy_from_slice(&salt.to_le_bytes());
        keys
    }

    /// The streams of server `j`.
    #[must_use]
    pub fn prg(&self, job: &Job, j: usize) -> Box<dyn Prg> {
        let seed = Seed::from_bytes(&self.seeds[j]);
        match job.numbers.prg {
            job::Prg::Aes128Ctr => Box::new(Aes128Prg::new(&seed, &self.session)),
            job::Prg::ChaCha20 => Box::new(ChaCha20Prg::new(&seed, &self.session)),
        }
    }
}

/// What happens on a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happening {
    /// This party's share of a mask was expanded; and of a dealt value, on lanes whose corrections
    /// the other server receives.
    Expanded {
        /// The stream.
        id: MaskId,
        /// First byte.
        at: u64,
        /// Bytes.
        len: u64,
    },
    /// A round.
    Exchanged {
        /// Bytes each way.
        len: u64,
        /// Whether narrow words were among them, packed.
        packed: bool,
    },
}

/// All that one server's lane received, and in which order it expanded and exchanged.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// From the other server: words and bit planes.
    pub received: Vec<u8>,
    /// From the other server: narrow words, packed, with the padding that goes with them.
    pub packed: Vec<u8>,
    /// From the dealer.
    pub dealt: Vec<u8>,
    /// What both servers know after the rounds: masked words and planes.
    pub opened: Vec<u8>,
}

/// What a server's recorders write: each lane's tape, and what happened in which order.
#[derive(Default)]
struct Studio {
    recording: bool,
    /// Of a server that deviates: it sends noise at every opening.
    noise: Option<Mutex<Dice>>,
    tapes: Vec<Mutex<Tape>>,
    happened: Mutex<Vec<Happening>>,
}

/// Records one lane.
struct Recorder<'a, T> {
    inner: T,
    studio: &'a Studio,
    lane: usize,
}

impl<T> Recorder<'_, T> {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.studio.tapes[self.lane].lock().unwrap()
    }
    fn note(&self, happening: Happening) {
        if !self.studio.recording {
            return;
        }
        self.studio.happened.lock().unwrap().push(happening);
    }
}

impl Prg for Recorder<'_, &dyn Prg> {
    fn fill_bytes(&self, id: MaskId, at: u64, out: &mut [u8]) {
        self.note(Happening::Expanded { id, at, len: out.len() as u64 });
        self.inner.fill_bytes(id, at, out);
    }
}

impl<W: Word> Link<W> for Recorder<'_, NetLink<'_>> {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        if !self.studio.recording {
            return self.inner.exchange(parts);
        }
        if let Some(noise) = &self.studio.noise {
            let mut dice = noise.lock().unwrap();
            let bytes = parts.iter_mut().flat_map(|(_, words)| W::bytes_mut(words));
            bytes.for_each(|byte| *byte = dice.below(256).to_le_bytes()[0]);
        }
        let before: Vec<Vec<W>> = parts.iter().map(|(_, words)| words.to_vec()).collect();
        self.inner.exchange(parts)?;
        let mut tape = self.tape();
        let (mut len, mut packed) = (0, false);
        for ((fold, after), before) in parts.iter().zip(before) {
            len += W::bytes(after).len() as u64;
            let pairs = || after.iter().zip(&before);
            let (theirs, opened): (Vec<W>, Vec<W>) = match fold {
                Fold::Add => pairs().map(|(a, b)| (a.sub(*b), *a)).unzip(),
                Fold::Xor => pairs().map(|(a, b)| (a.xor(*b), *a)).unzip(),
                Fold::Swap => {
                    tape.packed.extend_from_slice(W::bytes(after));
                    packed = true;
                    continue;
                }
            };
            tape.received.extend_from_slice(W::bytes(&theirs));
            tape.opened.extend_from_slice(W::bytes(&opened));
        }
        drop(tape);
        self.note(Happening::Exchanged { len, packed });
        Ok(())
    }
}

impl<W: Word> Corrections<W> for Recorder<'_, NetCorrections<'_>> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        self.inner.next(out)?;
        if !self.studio.recording {
            return Ok(());
        }
        self.tape().dealt.extend_from_slice(W::bytes(out));
        Ok(())
    }
}

/// The connections of a session, for as many sessions as one likes.
pub(crate) struct Wires {
    pub(crate) servers: [Vec<Connection>; 2],
    pub(crate) dealer: Vec<Connection>,
    /// Each lane's end at the server that receives its corrections.
    pub(crate) streams: Vec<Connection>,
}

impl Wires {
    pub(crate) fn new(lanes: u16) -> Self {
        let deployment = Deployment::generate(&Hosts::default(), SystemTime::now(), 1).unwrap();
        let many = |from, to| (0..lanes).map(|_| meet(&deployment, from, to)).unzip();
        let (server1, server0) = many(Role::Server1, Role::Server0);
        let to_dealer = |lane| match receiver(lane) {
            Party::Server0 => Role::Server0,
            _ => Role::Server1,
        };
        let (streams, dealer) = (0..lanes).map(|lane| meet(&deployment, to_dealer(lane), Role::Dealer)).unzip();
        Self { servers: [server0, server1], dealer, streams }
    }
}

/// `from` connects to `to`; both ends.
fn meet(deployment: &Deployment, from: Role, to: Role) -> (Connection, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = ServerTls::new(&deployment.identity(to).unwrap(), &[from]);
    let accepting = thread::spawn(move || accept(listener.accept().unwrap().0, &tls, &PATIENCE).unwrap().0);
    let one = connect(&address, &ClientTls::new(&deployment.identity(from).unwrap()), to, &PATIENCE).unwrap();
    (one, accepting.join().unwrap())
}

/// What a job gave: whole values, joined from both servers' shares on the secure engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained<W> {
    /// In the flat order of the network.
    pub parameters: Vec<W>,
    /// Loss and scores of each epoch.
    pub epochs: Vec<Outputs>,
    /// The range alarm, if the job has one.
    pub alarm: Option<W>,
}

/// Loss and scores of an epoch.
pub type Outputs = (Option<Sum<u64>>, Option<Scores<u64>>);

/// A secure run.
#[derive(Debug)]
pub struct Played<W> {
    /// What it gave.
    pub result: Trained<W>,
    /// What each server counted.
    pub counts: [Count; 2],
    /// What the dealer sent.
    pub dealt_bytes: u64,
    /// Server by server, lane by lane.
    pub tapes: [Vec<Tape>; 2],
    /// At each server, in order if its lanes ran on one thread.
    pub happened: [Vec<Happening>; 2],
    /// Bits that server 0 dropped of its shares.
    pub dithers: Dithers,
    /// Server by server, its states at the positions that the game stores.
    pub states: [Encoded; 2],
}

/// Encoded states of a party, by position.
pub type Encoded = Vec<Vec<u8>>;

/// One server's part: shares, what it counted, and its states.
type ServerPart<W> = (Trained<W>, Count, Encoded);

/// A job, its plan, and connections to play it over.
pub struct Game {
    /// The job.
    pub job: Job,
    /// Its plan, from the position on.
    pub plan: Plan,
    /// The position that runs begin at.
    position: Position,
    /// The positions whose states runs store.
    pub storing: Vec<Position>,
    /// Whether to keep all that servers receive; a large job has gigabytes of it.
    pub recording: bool,
    /// A server, 0 or 1, that sends noise at every opening.
    pub deviating: Option<usize>,
    wires: Wires,
}

impl Game {
    /// Connects two servers and a dealer for `job`.
    #[must_use]
    pub fn new(job: Job) -> Self {
        let wires = Wires::new(job.lanes.lanes);
        let (position, storing) = (Position::START, Vec::new());
        let plan = plan_from(&job, position).unwrap();
        Self { plan, position, storing, recording: true, deviating: None, wires, job }
    }

    /// Lets the next runs begin at `position`, and returns how they are planned.
    pub fn move_to(&mut self, position: Position) -> &Plan {
        (self.plan, self.position) = (plan_from(&self.job, position).unwrap(), position);
        &self.plan
    }

    /// Plays `job` on shares and on whole values; returns what both gave.
    ///
    /// # Panics
    ///
    /// If they differ, or the cost is not the plan's.
    pub fn agreed<W: HostWord + Word>(job: &Job, keys: &Keys, inputs: impl Fn() -> Inputs<W>) -> Trained<W> {
        let mut game = Self::new(job.clone());
        game.recording = false;
        let Played { result, counts, dealt_bytes, dithers, .. } = game.secure(inputs(), keys, 64);
        let clear = game.replay(inputs(), keys, &dithers, 1);
        assert_eq!(format!("{:?}", result.epochs), format!("{:?}", clear.epochs), "{job:?}");
        assert!(W::bytes(&result.parameters) == W::bytes(&clear.parameters), "parameters differ: {job:?}");
        let total = game.plan.total;
        for count in counts {
            assert_eq!((count.rounds, count.bytes), (total.rounds, total.bytes_each_way), "{job:?}");
        }
        assert_eq!(dealt_bytes, total.dealer_bytes, "{job:?}");
        clear
    }

    /// Plays the job on shares of `inputs`.
    pub fn secure<W: HostWord + Word>(&mut self, inputs: Inputs<W>, keys: &Keys, threads: usize) -> Played<W> {
        let shares = shares(&self.job, inputs, keys);
        self.secure_shares(shares, keys, threads)
    }

    /// Plays the job on these shares.
    pub fn secure_shares<W: HostWord + Word>(
        &mut self,
        shares: [Inputs<W>; 2],
        keys: &Keys,
        threads: usize,
    ) -> Played<W> {
        self.secure_from(shares, [Start::Fresh, Start::Fresh], keys, threads)
    }

    /// Plays the job on these shares, from both servers' starts on.
    ///
    /// # Panics
    ///
    /// If the starts are at other positions than the game.
    pub fn secure_from<W: HostWord + Word>(
        &mut self,
        shares: [Inputs<W>; 2],
        starts: [Start<W>; 2],
        keys: &Keys,
        threads: usize,
    ) -> Played<W> {
        let Self { job, plan, position, storing, recording, deviating, wires } = self;
        let (recording, deviating, position) = (*recording, *deviating, *position);
        let (job, plan, storing) = (&*job, &*plan, &storing[..]);
        assert!(starts.iter().all(|start| start.position() == position), "starts at another position");
        let prgs = [keys.prg(job, 0), keys.prg(job, 1)];
        // As the clear engine chooses.
        let choices = ChaCha20Prg::new(&Seed::from_bytes(&keys.seeds[0]), &keys.session);
        let studios: [Studio; 2] = std::array::from_fn(|server| Studio {
            recording,
            noise: (deviating == Some(server)).then(|| Mutex::new(Dice::new(17))),
            tapes: (0..job.lanes.lanes).map(|_| Mutex::default()).collect(),
            happened: Mutex::default(),
        });
        let dithers = Dithers::default();
        let before: u64 = sent(&wires.dealer);
        let Wires { servers: [ends0, ends1], dealer, streams } = wires;
        let mut both: [Vec<Option<&mut Connection>>; 2] = Default::default();
        for (lane, stream) in (0..).zip(streams) {
            let to = usize::from(receiver(lane) == Party::Server1);
            both[to].push(Some(stream));
            both[1 - to].push(None);
        }
        let [streams0, streams1] = both;
        let parts: [ServerPart<W>; 2] = thread::scope(|scope| {
            let (prgs, studios, choices, dithers) = (&prgs, &studios, &choices, &dithers);
            for (lane, connection) in (0u16..).zip(dealer.iter_mut()) {
                scope.spawn(move || deal::<W>((job, position), [&*prgs[0], &*prgs[1]], lane, connection));
            }
            let [inputs0, inputs1] = shares;
            let [start0, start1] = starts;
            let first = scope.spawn(move || {
                let prgs = (&*prgs[0], choices as &dyn Prg);
                let marked = MaskTracker(prgs.0);
                let prgs = (&marked as &dyn Prg, prgs.1);
                let kernels = DitherRecorder { inner: best::<W>(), dithers };
                let (ends, inputs) = ((&mut ends0[..], streams0), (inputs0, start0, storing));
                serve(job, plan, Party::Server0, ends, prgs, &kernels, inputs, &studios[0], threads)
            });
            let prgs = (&*prgs[1], choices as &dyn Prg);
            let kernels = best::<W>();
            let (ends, inputs) = ((&mut ends1[..], streams1), (inputs1, start1, storing));
            let second = serve(job, plan, Party::Server1, ends, prgs, kernels, inputs, &studios[1], threads);
            [first.join().unwrap(), second]
        });
        let [(a, count0, states0), (b, count1, states1)] = parts;
        let dealt_bytes = sent(&wires.dealer) - before;
        let taken = studios.map(|s| {
            let tapes = s.tapes.into_iter().map(|tape| tape.into_inner().unwrap()).collect();
            (tapes, s.happened.into_inner().unwrap())
        });
        let [(tapes0, happened0), (tapes1, happened1)] = taken;
        let (tapes, happened) = ([tapes0, tapes1], [happened0, happened1]);
        let (counts, states) = ([count0, count1], [states0, states1]);
        Played { result: join(a, b), counts, dealt_bytes, tapes, happened, dithers, states }
    }

    /// Plays the job on whole values, under dithers of the clear engine's own.
    #[must_use]
    pub fn clear<W: HostWord + Word>(&self, inputs: Inputs<W>, keys: &Keys, threads: usize) -> Trained<W> {
        self.replay(inputs, keys, &Dithers::default(), threads)
    }

    /// Plays the job on whole values, under the dithers of two servers.
    #[must_use]
    pub fn replay<W: HostWord + Word>(
        &self,
        inputs: Inputs<W>,
        keys: &Keys,
        dithers: &Dithers,
        threads: usize,
    ) -> Trained<W> {
        self.replay_from((inputs, Start::Fresh), keys, dithers, threads).0
    }

    /// Plays the job on whole values, from a start on, under the dithers of two servers. Returns
    /// the states at the positions that the game stores, too.
    #[must_use]
    pub fn replay_from<W: HostWord + Word>(
        &self,
        (inputs, start): (Inputs<W>, Start<W>),
        keys: &Keys,
        dithers: &Dithers,
        threads: usize,
    ) -> (Trained<W>, Encoded) {
        let prgs = [keys.prg(&self.job, 0), keys.prg(&self.job, 1)];
        let choices = ChaCha20Prg::new(&Seed::from_bytes(&keys.seeds[0]), &keys.session);
        let arena = usize::try_from(self.plan.arena_bytes).unwrap() / word_bytes::<W>();
        let lanes = (0..self.job.lanes.lanes).map(|lane| {
            let inner = Whole::new([&*prgs[0], &*prgs[1]], best::<W>(), lane);
            Some(Lane {
                link: Box::new(Alone),
                correlations: Box::new(DitherReplay { inner, dithers }),
                trace: Box::new(NoTrace),
                arena: Secret::zeros(arena),
            })
        });
        let mut lanes = Lanes::new(Party::Clear, best::<W>(), lanes.collect(), threads).choosing(&choices);
        let mut watch = Watch::new(&self.storing);
        let parameters = train::run(&mut lanes, &self.job, inputs, start, &mut watch).unwrap();
        watch.end(parameters)
    }
}

pub(crate) fn sent(connections: &[Connection]) -> u64 {
    connections.iter().map(|c| c.traffic().payload_sent).sum()
}

/// Splits all tables: server 0's shares are expanded, server 1's are the difference.
///
/// # Panics
///
/// If the inputs are not in memory.
#[must_use]
pub fn shares<W: Word>(job: &Job, inputs: Inputs<W>, keys: &Keys) -> [Inputs<W>; 2] {
    shares_in(job, inputs, keys, &Storage::default())
}

/// As [`shares`], with tables in `storage`.
///
/// # Panics
///
/// If the inputs are not in memory; if the storage fails.
#[must_use]
pub fn shares_in<W: Word>(job: &Job, mut inputs: Inputs<W>, keys: &Keys, storage: &Storage) -> [Inputs<W>; 2] {
    let stream = ChaCha20Prg::new(&Seed::from_bytes(&keys.seeds[0].map(|b| b ^ 0x5a)), &keys.session);
    let mut both = [(); 2].map(|()| Inputs::new(job, storage).unwrap());
    both.iter_mut().for_each(|server| server.lengths.clone_from(&inputs.lengths));
    let whole = [&mut inputs.train, &mut inputs.train_labels, &mut inputs.test, &mut inputs.test_labels];
    for (i, values) in (0u32..).zip(whole) {
        let (values, id) = (values.memory_mut().unwrap(), MaskId { lane: 0, request: i, part: 0 });
        let mut own = vec![W::default(); values.len()];
        split(&stream, id, 0, values);
        expand(&stream, id, 0, &mut own);
        for (server, words) in both.iter_mut().zip([&own, &*values]) {
            let Inputs { train, train_labels, test, test_labels, .. } = server;
            let mut writer = [train, train_labels, test, test_labels][i as usize].writer();
            writer.push(words).unwrap();
            writer.finish().unwrap();
        }
    }
    both
}

fn join<W: Word>(mut a: Trained<W>, b: Trained<W>) -> Trained<W> {
    symbolon_core::share::join(&mut a.parameters, &b.parameters);
    let sum = |a: Option<Sum<u64>>, b: Option<Sum<u64>>| {
        let (a, b) = a.zip(b)?;
        let records = a.records.zip(b.records).map(|(a, b)| a.wrapping_add(b));
        Some(Sum { total: a.total.wrapping_add(b.total), records })
    };
    let scores = |a: Option<Scores<u64>>, b: Option<Scores<u64>>| {
        let (a, b) = a.zip(b)?;
        let sums = a.sums.iter().zip(&b.sums).map(|(a, b)| a.wrapping_add(*b)).collect();
        Some(Scores { sums, records: a.records.zip(b.records).map(|(a, b)| a.wrapping_add(b)) })
    };
    for (a, b) in a.epochs.iter_mut().zip(b.epochs) {
        *a = (sum(a.0, b.0), scores(a.1.take(), b.1));
    }
    a.alarm = a.alarm.zip(b.alarm).map(|(a, b)| a.xor(b));
    a
}

/// One server.
#[allow(clippy::too_many_arguments)]
fn serve<W: HostWord + Word>(
    job: &Job,
    plan: &Plan,
    role: Party,
    (peers, streams): (&mut [Connection], Vec<Option<&mut Connection>>),
    (prg, choices): (&dyn Prg, &dyn Prg),
    kernels: &dyn Kernels<W>,
    (inputs, start, storing): (Inputs<W>, Start<W>, &[Position]),
    studio: &Studio,
    threads: usize,
) -> ServerPart<W> {
    let fault = Fault::default();
    let prgs: Vec<_> = (0..peers.len()).map(|lane| Recorder { inner: prg, studio, lane }).collect();
    let mut corrections: Vec<_> = (0..)
        .zip(streams)
        .map(|(lane, c)| Some(Recorder { inner: NetCorrections::new(c?, fault.clone()), studio, lane }))
        .collect();
    let arena = usize::try_from(plan.arena_bytes).unwrap() / word_bytes::<W>();
    let ends = peers.iter_mut().zip(&prgs).zip(&mut corrections);
    let lanes = (0u16..).zip(ends).map(|(lane, ((peer, prg), corrections))| {
        let corrections = corrections.as_mut().map(|c| c as &mut (dyn Corrections<W> + Send));
        let link = NetLink::new(peer, fault.clone());
        Some(Lane {
            link: Box::new(Recorder { inner: link, studio, lane: usize::from(lane) }),
            correlations: Box::new(Source::new(prg, kernels, lane, corrections)),
            trace: Box::new(NoTrace),
            arena: Secret::zeros(arena),
        })
    });
    let mut lanes = Lanes::new(role, kernels, lanes.collect(), threads).choosing(choices);
    let mut watch = Watch::new(storing);
    let parameters = train::run(&mut lanes, job, inputs, start, &mut watch);
    let parameters = parameters.unwrap_or_else(|halt| panic!("{role:?}: {halt:?}, {:?}", fault.take()));
    let (trained, states) = watch.end(parameters);
    (trained, lanes.count(), states)
}

/// One lane of the dealer.
fn deal<W: HostWord + Word>(
    (job, position): (&Job, Position),
    prgs: [&dyn Prg; 2],
    lane: u16,
    connection: &mut Connection,
) {
    let outlet = |bytes: &[u8]| {
        connection.buffer_bytes(bytes).unwrap();
        Ok(())
    };
    deal_lane::<W>(job, position, prgs, lane, Orders::Own, outlet, &mut |_, _| ControlFlow::Continue(())).unwrap();
    connection.flush().unwrap();
}
