//! Plays a job on all three engines and holds them against each other:
//! the two servers (threads, with a dealer's corrections), the clear engine under the same masks, and the dry run.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};
use symbolon_core::{
    correlation::{Corrections, Dry, Request, Server, Sink, Whole, WholeMasks, correct},
    kernel::{Nothing, Portable, plane_words},
    link::{Alone, Count, Error, Fold, Link, Part, Peer},
    party::{NoTrace, Party, Role},
    prg::{Aes128Prg, MaskId, Prg, Seed, fill},
    word::Word,
};

/// A shared value as it goes into and comes out of a job.
#[derive(Clone, Debug)]
pub enum Shared<W> {
    /// Additive shares of words.
    Words(Vec<W>),
    /// XOR shares of planes of so many elements each.
    Planes(Vec<W>, usize),
    /// Public words, equal at both servers.
    Public(Vec<W>),
}

impl<W: Word> Shared<W> {
    pub fn words(self) -> Vec<W> {
        match self {
            Self::Words(w) | Self::Planes(w, _) | Self::Public(w) => w,
        }
    }
    /// Bits of plane `i`, element by element.
    pub fn bits(&self, i: usize) -> Vec<bool> {
        let Self::Planes(words, n) = self else { panic!("not planes") };
        let lanes = plane_words::<W>(*n);
        (0..*n).map(|e| as_u64(words[i * lanes + e % lanes]) >> (e / lanes) & 1 == 1).collect()
    }
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Words(a), Self::Words(b)) => Self::Words(a.iter().zip(&b).map(|(a, b)| a.add(*b)).collect()),
            (Self::Planes(a, n), Self::Planes(b, _)) => {
                Self::Planes(a.iter().zip(&b).map(|(a, b)| a.xor(*b)).collect(), n)
            }
            (Self::Public(a), Self::Public(b)) => {
                assert_eq!(format!("{a:?}"), format!("{b:?}"), "public words differ");
                Self::Public(a)
            }
            _ => panic!("shapes differ"),
        }
    }
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Planes(a, n), Self::Planes(b, _)) => {
                let lanes = plane_words::<W>(*n).max(1);
                a.len() == b.len() && (0..a.len() / lanes).all(|i| self.bits(i) == other.bits(i))
            }
            (Self::Words(a), Self::Words(b)) => W::bytes(a) == W::bytes(b),
            _ => true, // public words are masked in one engine and plain in the other
        }
    }
}

pub fn as_u64<W: Word>(w: W) -> u64 {
    let mut bytes = [0; 8];
    bytes[..W::BITS as usize / 8].copy_from_slice(W::bytes(&[w]));
    u64::from_le_bytes(bytes)
}

pub fn as_i64<W: Word>(w: W) -> i64 {
    let shift = 64 - W::BITS;
    (as_u64(w) << shift).cast_signed() >> shift
}

/// What is tested: a function over a party and its shares of the inputs.
pub trait Job: Sync {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error>;
}

/// What a job cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cost {
    pub bytes: u64,
    pub rounds: u64,
    pub dealt_bytes: u64,
}

pub struct Outcome<W> {
    pub outputs: Vec<Shared<W>>,
    pub cost: Cost,
    /// All that server 0 sent, in order: uniform words.
    pub sent: Vec<u8>,
    /// All that both servers opened, in order (packed words: the sum of what was packed): uniform words too.
    pub opened: Vec<u8>,
}

struct Wire {
    to: SyncSender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
    count: Count,
    sent: Vec<u8>,
    opened: Vec<u8>,
}

impl<W: Word> Link<W> for Wire {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        Link::<W>::exchange(&mut self.count, parts)?;
        for (fold, words) in parts {
            self.sent.extend_from_slice(W::bytes(words));
            self.to.send(W::bytes(words).to_vec()).map_err(|_| Error::Lost(Peer::Server))?;
            let bytes = self.from.recv().map_err(|_| Error::Lost(Peer::Server))?;
            let mut theirs = vec![W::default(); words.len()];
            W::bytes_mut(&mut theirs).copy_from_slice(&bytes);
            for (w, t) in words.iter_mut().zip(theirs) {
                let opened = if *fold == Fold::Xor { w.xor(t) } else { w.add(t) };
                self.opened.extend_from_slice(W::bytes(&[opened]));
                *w = if *fold == Fold::Swap { t } else { opened };
            }
        }
        Ok(())
    }
}

/// The dealer: a dry run whose corrections are kept.
struct Dealer<W> {
    prgs: [Aes128Prg; 2],
    stream: VecDeque<Vec<W>>,
    bytes: u64,
}

impl<W: Word> Sink for Dealer<W> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let dealt: Vec<_> = request.dealt::<W>().into_iter().flatten().collect();
        let mut values: Vec<Vec<W>> = dealt.iter().map(|d| vec![W::default(); d.len()]).collect();
        let mut scratch = vec![W::default(); request.scratch::<W>()];
        let prgs: [&dyn Prg; 2] = [&self.prgs[0], &self.prgs[1]];
        let mut out: Vec<&mut [W]> = values.iter_mut().map(|v| &mut v[..]).collect();
        request.evaluate(&WholeMasks(prgs), &Portable, &mut scratch, &mut out);
        for (i, (dealt, mut values)) in (0u16..).zip(dealt.into_iter().zip(values)) {
            let mut wire = vec![W::default(); dealt.wire_words::<W>()];
            let mut own = vec![W::default(); values.len()];
            let id = MaskId { part: first.part + i, ..first };
            correct(dealt, id, prgs[0], &Portable, &mut values, &mut wire, &mut own);
            self.bytes += (wire.len() * W::BITS as usize / 8) as u64;
            self.stream.push_back(wire);
        }
        Ok(())
    }
}

struct Queue<W>(VecDeque<Vec<W>>);

impl<W: Word> Corrections<W> for Queue<W> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let words = self.0.pop_front().ok_or(Error::Lost(Peer::Dealer))?;
        assert_eq!(words.len(), out.len(), "corrections out of step");
        out.copy_from_slice(&words);
        Ok(())
    }
}

const SESSION: [u8; 16] = [7; 16];

/// The seeds of all runs with the same `salt` are the same, here in the tests alone.
fn prg(salt: u64, server: u8) -> Aes128Prg {
    let mut bytes = [server + 1; 32];
    bytes[..8].copy_from_slice(&salt.to_le_bytes());
    Aes128Prg::new(&Seed::from_bytes(&bytes), &SESSION)
}

/// Runs `job` on `inputs` on all engines; checks that they agree, that the plan's cost is the counted one and that the dry arena suffices.
pub fn play<W: Word>(job: &impl Job, inputs: &[Shared<W>], salt: u64) -> Outcome<W> {
    // Plan and dealer: the job on dry words.
    let mut dealer = Dealer::<W> { prgs: [prg(salt, 0), prg(salt, 1)], stream: VecDeque::new(), bytes: 0 };
    let mut planned = Count::default();
    let arena_len = 1 << 40;
    let low_water = Cell::new(arena_len);
    {
        let mut arena = vec![<W::Dry>::default(); arena_len];
        let dry = inputs.iter().map(|i| vec![<W::Dry>::default(); i.clone().words().len()]).collect();
        let mut party = Party::<W::Dry> {
            role: Role::Server0,
            link: &mut planned,
            correlations: &mut Dry::new(0, &mut dealer),
            kernels: &Nothing,
            trace: &mut NoTrace,
            arena: &mut arena,
            low_water: &low_water,
        };
        job.run(&mut party, dry).expect("dry run");
    }
    let peak = arena_len - low_water.get();
    let dealt_bytes = dealer.bytes;

    // The two servers.
    let (to1, from0) = sync_channel(1 << 16);
    let (to0, from1) = sync_channel(1 << 16);
    let splitter = prg(salt ^ 0xdead, 9);
    let shares: Vec<[Vec<W>; 2]> = (0u32..)
        .zip(inputs)
        .map(|(i, input)| {
            let whole = input.clone().words();
            let mut own = vec![W::default(); whole.len()];
            fill(&splitter, MaskId { lane: 0, request: i, part: 0 }, 0, &mut own);
            let other = whole.iter().zip(&own);
            match input {
                Shared::Words(_) => [own.clone(), other.map(|(w, o)| w.sub(*o)).collect()],
                Shared::Planes(..) => [own.clone(), other.map(|(w, o)| w.xor(*o)).collect()],
                Shared::Public(_) => [whole.clone(), whole],
            }
        })
        .collect();
    let corrections = Mutex::new(Some(Queue(dealer.stream)));
    let server = |role: Role, index: u8, to, from| {
        let mut wire = Wire { to, from, count: Count::default(), sent: vec![], opened: vec![] };
        let prg = prg(salt, index);
        let mut queue = (role == Role::Server1).then(|| corrections.lock().unwrap().take().unwrap());
        let mut arena = vec![W::default(); peak];
        let low = Cell::new(peak);
        let own = shares.iter().map(|s| s[usize::from(index)].clone()).collect();
        let mut source = Server::new(&prg, &Portable, 0, queue.as_mut().map(|q| q as &mut (dyn Corrections<W> + Send)));
        let mut party = Party {
            role,
            link: &mut wire,
            correlations: &mut source,
            kernels: &Portable,
            trace: &mut NoTrace,
            arena: &mut arena,
            low_water: &low,
        };
        let out = job.run(&mut party, own).expect("secure run");
        assert_eq!(low.get(), 0, "the dry run's arena is not tight");
        assert!(queue.is_none_or(|q| q.0.is_empty()), "corrections left over");
        (out, wire)
    };
    let ((a, wire), (b, _)) = thread::scope(|s| {
        let first = s.spawn(|| server(Role::Server0, 0, to1, from1));
        let second = s.spawn(|| server(Role::Server1, 1, to0, from0));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(planned, wire.count, "plan and run differ");
    let secure: Vec<Shared<W>> = a.into_iter().zip(b).map(|(a, b)| a.join(b)).collect();

    // The clear engine under the same masks.
    let prgs = [prg(salt, 0), prg(salt, 1)];
    let mut arena = vec![W::default(); peak];
    let mut party = Party {
        role: Role::Clear,
        link: &mut Alone,
        correlations: &mut Whole::new([&prgs[0], &prgs[1]], &Portable, 0),
        kernels: &Portable,
        trace: &mut NoTrace,
        arena: &mut arena,
        low_water: &Cell::new(peak),
    };
    let clear = job.run(&mut party, inputs.iter().map(|i| i.clone().words()).collect()).expect("clear run");
    for (i, (s, c)) in secure.iter().zip(&clear).enumerate() {
        assert!(s.same(c), "output {i}: clear and secure differ");
    }
    let cost = Cost { bytes: wire.count.bytes, rounds: wire.count.rounds, dealt_bytes };
    Outcome { outputs: secure, cost, sent: wire.sent, opened: wire.opened }
}

/// Lengths at which loops over lanes and planes have their edges.
pub const LENGTHS: [usize; 12] = [0, 1, 15, 16, 17, 31, 33, 63, 64, 65, 129, 1025];

/// A small generator for test values.
pub struct Values(pub u64);

impl Values {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Values in `[-2^bits, 2^bits)`, every width and the edges among them.
    pub fn signed(&mut self, bits: u32) -> i64 {
        let edge = 1i64 << bits;
        match self.next() % 8 {
            0 => edge - 1,
            1 => -edge,
            2 => [0, 1, -1, 2, -2][(self.next() % 5) as usize],
            _ => {
                let width = (self.next() % u64::from(bits + 1)) as u32;
                let v = (self.next() & ((1u64 << width) - 1)).cast_signed();
                if self.next() & 1 == 0 { v } else { -v - 1 }
            }
        }
    }
    pub fn words<W: Word>(&mut self, n: usize, bits: u32) -> Vec<W> {
        (0..n).map(|_| W::from_i64(self.signed(bits))).collect()
    }
}
