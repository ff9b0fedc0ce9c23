//! The plan's times against a job of one lane on links that delay and limit, in virtual time:
//! nothing here depends on the machine. The dealer sends to one server, so that its line is that
//! server's.
#![allow(clippy::unwrap_used)]

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};
use symbolon::{
    engine::{
        dealer::deal_lane,
        plan::{LAN, Network, Plan, WAN, plan},
    },
    job::Job,
    kernel::best,
    lanes::{Lane, Lanes},
    secret::Secret,
    train::{self, Inputs, Orders, Position, Start},
};
use symbolon_core::{
    correlation::{Corrections, Server},
    link::{Error, Link, Part, Peer},
    party::{NoTrace, Role},
    prg::{ChaCha20Prg, Prg, Seed},
    word::{Word, word_bytes},
};
use symbolon_parties::MemoryLink;
use symbolon_tests::{
    jobs::{OPTIMIZERS, Shape},
    play::{Keys, shares},
};

/// Bits that the dealer is ahead of a server at most: what a connection buffers.
const AHEAD: f64 = 8.0 * 4e6;

/// The line into one server, on which its peer and the dealer send. While both do, each has half.
struct Line {
    network: Network,
    /// Seconds at the server.
    now: f64,
    /// Seconds up to which the line is accounted for.
    until: f64,
    /// Bits that the dealer has sent, of which the server has taken some, of those that it will.
    dealt: f64,
    taken: f64,
    all: f64,
}

impl Line {
    fn new(network: Network, dealt_bytes: u64) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let all = dealt_bytes as f64 * 8.0;
        Self { network, now: 0.0, until: 0.0, dealt: 0.0, taken: 0.0, all }
    }

    /// Bits that the dealer may send before the server takes more.
    fn room(&self) -> f64 {
        (self.taken + AHEAD).min(self.all) - self.dealt
    }

    /// The dealer has the line to itself until `time`.
    fn deal_until(&mut self, time: f64) {
        if time > self.until {
            self.dealt += self.room().min((time - self.until) * self.network.bits_per_second);
            self.until = time;
        }
    }

    /// A message of `bits` begins to arrive at `from`; the server waits for its end.
    fn receive(&mut self, from: f64, bits: f64) {
        self.deal_until(from);
        let together = self.room().min(bits);
        self.dealt += together;
        self.until += (bits + together) / self.network.bits_per_second;
        self.now = self.now.max(self.until);
    }

    /// The server waits until it can take `bits` of the dealer's.
    fn take(&mut self, bits: f64) {
        self.deal_until(self.now);
        // More than the connection buffers is taken while it arrives.
        let missing = (self.taken + bits - self.dealt).max(0.0);
        self.dealt += missing;
        self.until += missing / self.network.bits_per_second;
        self.taken += bits;
        self.now = self.now.max(self.until);
    }
}

/// A link that delays and limits.
struct SlowLink {
    inner: MemoryLink,
    /// When messages were sent.
    times: (Sender<f64>, Receiver<f64>),
    line: Arc<Mutex<Line>>,
}

fn bits(bytes: usize) -> f64 {
    f64::from(u32::try_from(8 * bytes).unwrap())
}

impl<W: Word> Link<W> for SlowLink {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let mut line = self.line.lock().unwrap();
        let lost = Error::Lost(Peer::Server);
        self.times.0.send(line.now).map_err(|_| lost)?;
        self.inner.exchange(parts)?;
        let sent = self.times.1.recv().map_err(|_| lost)?;
        let bytes = parts.iter().map(|(_, words)| W::bytes(words).len()).sum();
        let from = sent + line.network.round_trip_seconds / 2.0;
        line.receive(from, bits(bytes));
        Ok(())
    }
}

/// The dealer's stream over the same line.
struct SlowCorrections {
    from: Receiver<Vec<u8>>,
    line: Arc<Mutex<Line>>,
}

impl<W: Word> Corrections<W> for SlowCorrections {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let bytes = self.from.recv().map_err(|_| Error::Lost(Peer::Dealer))?;
        W::bytes_mut(out).copy_from_slice(&bytes);
        self.line.lock().unwrap().take(bits(bytes.len()));
        Ok(())
    }
}

/// Seconds of the whole job, on words `u64`.
fn simulated(job: &Job, plan: &Plan, inputs: Inputs<u64>, network: Network) -> f64 {
    let keys = Keys::new(1);
    let prgs = [keys.prg(job, 0), keys.prg(job, 1)];
    let choices = ChaCha20Prg::new(&Seed::from_bytes(&keys.seeds[0]), &keys.session);
    let [inputs0, inputs1] = shares(job, inputs, &keys);
    let [link0, link1] = MemoryLink::pair();
    let ((to1, from0), (to0, from1)) = (channel(), channel());
    let (deal, corrections) = channel();
    let dealt = [plan.total.dealer_bytes_server0, plan.total.dealer_bytes - plan.total.dealer_bytes_server0];
    let lines = dealt.map(|bytes| Arc::new(Mutex::new(Line::new(network, bytes))));
    let server = |j: usize, link, times, mut corrections: Option<SlowCorrections>, inputs| {
        let link = SlowLink { inner: link, times, line: Arc::clone(&lines[j]) };
        let corrections = corrections.as_mut().map(|c| c as &mut (dyn Corrections<u64> + Send));
        let lane = Lane {
            link: Box::new(link),
            correlations: Box::new(Server::new(&*prgs[j], best::<u64>(), 0, corrections)),
            trace: Box::new(NoTrace),
            arena: Secret::zeros(usize::try_from(plan.arena_bytes).unwrap() / word_bytes::<u64>()),
        };
        let role = [Role::Server0, Role::Server1][j];
        let mut lanes = Lanes::new(role, best::<u64>(), vec![Some(lane)], 1).choosing(&choices);
        train::run(&mut lanes, job, inputs, Start::Fresh, &mut |_, _| ControlFlow::Continue(())).unwrap();
    };
    thread::scope(|scope| {
        let both: [&dyn Prg; 2] = [&*prgs[0], &*prgs[1]];
        scope.spawn(move || {
            let outlet = |bytes: &[u8]| deal.send(bytes.to_vec()).map_err(|_| Error::Lost(Peer::Server));
            deal_lane::<u64>(job, Position::START, both, 0, Orders::Own, outlet, &mut |_, _| ControlFlow::Continue(()))
                .unwrap();
        });
        scope.spawn(|| server(0, link0, (to1, from1), None, inputs0));
        let corrections = SlowCorrections { from: corrections, line: Arc::clone(&lines[1]) };
        server(1, link1, (to0, from0), Some(corrections), inputs1);
    });
    lines.iter().map(|line| line.lock().unwrap().now).fold(0.0, f64::max)
}

/// Within 5 % on a LAN and on a WAN, and where rounds or bytes or neither outweigh.
#[test]
fn a_plan_says_what_a_network_shows() {
    let wide = Network { name: "wide", bits_per_second: 1e10, ..WAN };
    let narrow = Network { name: "narrow", bits_per_second: 1e7, ..LAN };
    for optimizer in [OPTIMIZERS[0], OPTIMIZERS[2]] {
        let shape = Shape { optimizer, lanes: 1, batch: 64, records: 256, hidden: 64, ..Shape::default() };
        let job = shape.job();
        let plan = plan(&job).unwrap();
        for network in [LAN, WAN, wide, narrow] {
            let (planned, shown) = (plan.total.seconds(&network), simulated(&job, &plan, shape.inputs(), network));
            println!("{optimizer:?}, {}: planned {planned:.3} s, shown {shown:.3} s", network.name);
            assert!((planned / shown - 1.0).abs() < 0.05, "{}: planned {planned} s, shown {shown} s", network.name);
        }
    }
}
