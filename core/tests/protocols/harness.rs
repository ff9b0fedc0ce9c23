//! Plays a job on all three engines and holds them against each other:
//! the two servers (threads, with a dealer's corrections), the clear engine under the same masks, and the dry run.

use symbolon_core::{
    kernel::{Portable, plane_words},
    link::{Count, Error, Fold, Link, Part},
    party::Party,
    prg::{Aes128Prg, MaskId, Prg, Seed, fill},
    word::Word,
};
use symbolon_parties::{MemoryLink, Parties, Planned, Program, dither::Dithers, planned};

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

/// A job as all engines run it.
struct Playing<'a, J>(&'a J);

impl<J: Job> Program for Playing<'_, J> {
    type Output<W: Word> = Vec<Shared<W>>;

    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        self.0.run(party, inputs)
    }
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
    /// Bits that server 0 dropped.
    pub dithers: Dithers,
}

/// One server's end of the link, on tape.
struct Wire {
    inner: MemoryLink,
    count: Count,
    sent: Vec<u8>,
    opened: Vec<u8>,
}

impl Wire {
    fn pair() -> [Self; 2] {
        MemoryLink::pair().map(|inner| Self { inner, count: Count::default(), sent: vec![], opened: vec![] })
    }
}

impl<W: Word> Link<W> for Wire {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        Link::<W>::exchange(&mut self.count, parts)?;
        let own: Vec<Vec<W>> = parts.iter().map(|(_, words)| words.to_vec()).collect();
        self.inner.exchange(parts)?;
        for ((fold, words), own) in parts.iter().zip(own) {
            self.sent.extend_from_slice(W::bytes(&own));
            for (word, own) in words.iter().zip(own) {
                let opened = if *fold == Fold::Swap { own.add(*word) } else { *word };
                self.opened.extend_from_slice(W::bytes(&[opened]));
            }
        }
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
    let program = &Playing(job);
    let lens: Vec<usize> = inputs.iter().map(|input| input.clone().words().len()).collect();
    let Planned { count, dealt_bytes, arena } = planned::<W>(program, &lens).expect("dry run");
    let (prgs, dithers) = ([prg(salt, 0), prg(salt, 1)], Dithers::default());
    let parties =
        Parties { program, prgs: [&prgs[0] as &dyn Prg, &prgs[1]], kernels: &Portable, arena, dithers: Some(&dithers) };

    let ended = parties.play(Wire::pair(), split(inputs, salt)).expect("secure run");
    for server in &ended {
        assert_eq!(server.spare, 0, "the dry run's arena is not tight");
        assert_eq!(server.link.count, count, "plan and run differ");
    }
    let [a, b] = ended;
    let outputs: Vec<Shared<W>> = a.output.into_iter().zip(b.output).map(|(a, b)| a.join(b)).collect();

    // The clear engine under the same masks and dithers.
    let clear = parties.clear(inputs.iter().map(|input| input.clone().words()).collect()).expect("clear run");
    for (i, (s, c)) in outputs.iter().zip(&clear).enumerate() {
        assert!(s.same(c), "output {i}: clear and secure differ");
    }
    let cost = Cost { bytes: count.bytes, rounds: count.rounds, dealt_bytes };
    Outcome { outputs, cost, sent: a.link.sent, opened: a.link.opened, dithers }
}

/// `floor((z + 2^f - 1 - u) / 2^f)`, in wide integers.
pub fn rounded(z: i128, u: u64, frac_bits: u32) -> i128 {
    (z + (1 << frac_bits) - 1 - i128::from(u)) >> frac_bits
}

/// Runs a job of one input and output in the clear engine, under dithers of its own.
pub fn clear<W: Word>(job: &impl Job, input: Vec<W>) -> Vec<W> {
    let prgs = [prg(1, 0), prg(1, 1)];
    clear_under(job, input, [&prgs[0], &prgs[1]])
}

/// A stream of one byte over and over.
pub struct Constant(pub u8);

impl Prg for Constant {
    fn fill_bytes(&self, _: MaskId, _: u64, out: &mut [u8]) {
        out.fill(self.0);
    }
}

/// [`clear`] under given streams: constant ones give the extremes of every dither.
pub fn clear_under<W: Word>(job: &impl Job, input: Vec<W>, prgs: [&dyn Prg; 2]) -> Vec<W> {
    let program = &Playing(job);
    let arena = planned::<W>(program, &[input.len()]).expect("dry run").arena;
    let parties = Parties { program, prgs, kernels: &Portable, arena, dithers: None };
    parties.clear(vec![input]).expect("clear run").remove(0).words()
}

/// Both servers' shares.
fn split<W: Word>(inputs: &[Shared<W>], salt: u64) -> [Vec<Vec<W>>; 2] {
    let splitter = prg(salt ^ 0xdead, 9);
    let shares = (0u32..).zip(inputs).map(|(i, input)| {
        let whole = input.clone().words();
        let mut own = vec![W::default(); whole.len()];
        fill(&splitter, MaskId { lane: 0, request: i, part: 0 }, 0, &mut own);
        let other = whole.iter().zip(&own);
        match input {
            Shared::Words(_) => (own.clone(), other.map(|(w, o)| w.sub(*o)).collect()),
            Shared::Planes(..) => (own.clone(), other.map(|(w, o)| w.xor(*o)).collect()),
            Shared::Public(_) => (whole.clone(), whole),
        }
    });
    let (first, second) = shares.unzip();
    [first, second]
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
    /// Words that may be truncated by `frac_bits`: the largest too.
    pub fn truncatable<W: Word>(&mut self, n: usize, frac_bits: u32) -> Vec<W> {
        let largest = (1i64 << (W::BITS - 2)) - (1 << frac_bits);
        (0..n).map(|_| W::from_i64(self.signed(W::BITS - 2).min(largest))).collect()
    }
    pub fn words<W: Word>(&mut self, n: usize, bits: u32) -> Vec<W> {
        (0..n).map(|_| W::from_i64(self.signed(bits))).collect()
    }
}
