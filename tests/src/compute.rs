//! The other end of a compute node: the host party, the dealer and the data owner; and both parties on the host, to compare.

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use symbolon_core::{
    kernel::Portable,
    link::{Count, Error, Link, Part, Peer},
    party::Party,
    prg::{ChaCha20Prg, MaskId, Seed, fill},
    share::split,
    word::Word,
};
use symbolon_firmware::compute::{
    PAD,
    frames::{Frames, Kind, Line, apply},
    functions, job,
    seeds::{KeyPair, SEALED_BYTES, Sender},
    sequence,
};
use symbolon_parties::{MemoryLink, Parties, Planned, Program, dither::Dithers, planned};

/// How long the board may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// Shares, or values.
pub type Words = Vec<u32>;

/// All keys and seeds, which in tests alone one place knows.
pub struct Secrets {
    /// The dealer's, the owner's and the device's key pairs.
    pub keys: [KeyPair; 3],
    /// Of server 0 and of server 1, made by the dealer.
    pub seeds: [[u8; 32]; 2],
    /// Of the data owner.
    pub owner: [u8; 32],
    rng: ChaCha20Rng,
}

impl Secrets {
    /// Secrets that depend on `salt`.
    #[must_use]
    pub fn new(salt: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([salt; 32]);
        let keys = [0; 3].map(|_| KeyPair::random(&mut rng));
        let [zero, one, owner] = [0; 3].map(|_| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        });
        Self { keys, seeds: [zero, one], owner, rng }
    }

    /// The device's key blob.
    #[must_use]
    pub fn blob(&self) -> Vec<u8> {
        let [dealer, owner, device] = &self.keys;
        device.blob(dealer, owner).to_vec()
    }

    /// A sealed seed for the device.
    ///
    /// # Panics
    ///
    /// If HPKE fails.
    pub fn seal(&mut self, sender: Sender, session: &[u8; 16]) -> [u8; SEALED_BYTES] {
        let [dealer, owner, device] = &self.keys;
        let (pair, seed) = match sender {
            Sender::Dealer => (dealer, self.seeds[0]),
            Sender::Owner => (owner, self.owner),
        };
        pair.seal(sender, device, session, &Seed::from_bytes(&seed), &mut self.rng).unwrap()
    }

    fn prgs(&self, session: &[u8; 16]) -> [ChaCha20Prg; 3] {
        [self.seeds[0], self.seeds[1], self.owner].map(|seed| ChaCha20Prg::new(&Seed::from_bytes(&seed), session))
    }
}

/// A line on tape, and what is to happen to a byte that goes out.
pub struct Tape {
    stream: TcpStream,
    /// All bytes, either way.
    pub bytes: Vec<u8>,
    sent: usize,
    harm: Option<Harm>,
}

/// What happens to a byte on its way to the board.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// A bit of byte so and so flips.
    Flip(usize),
    /// Byte so and so is lost.
    Lose(usize),
}

impl Tape {
    /// Tapes a line.
    ///
    /// # Panics
    ///
    /// If the system refuses a time limit.
    #[must_use]
    pub fn new(stream: TcpStream, harm: Option<Harm>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, bytes: vec![], sent: 0, harm }
    }
}

impl Line for &mut Tape {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut bytes = bytes.to_vec();
        let sent = self.sent;
        self.sent += bytes.len();
        match self.harm {
            Some(Harm::Flip(at)) if (sent..self.sent).contains(&at) => bytes[at - sent] ^= 4,
            Some(Harm::Lose(at)) if (sent..self.sent).contains(&at) => drop(bytes.remove(at - sent)),
            _ => {}
        }
        self.bytes.extend_from_slice(&bytes);
        self.stream.write_all(&bytes).map_err(|_| Error::Lost(Peer::Server))
    }
    fn receive(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.stream.read_exact(bytes).map_err(|_| Error::Lost(Peer::Server))?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// The link of the party that answers: it hears the device out before it speaks.
struct SecondLink<'a, L>(&'a mut Frames<L>);

impl<W: Word, L: Line> Link<W> for SecondLink<'_, L> {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let mut theirs: Vec<Vec<W>> = parts.iter().map(|(_, words)| vec![W::default(); words.len()]).collect();
        let len = parts.iter().map(|(_, words)| W::bytes(words).len()).sum();
        let mut frame = self.0.receive(Kind::Round, len)?;
        for words in &mut theirs {
            frame.take(W::bytes_mut(words))?;
        }
        frame.finish()?;
        self.0.send(Kind::Round, parts.iter().map(|(_, words)| W::bytes(words)))?;
        for ((fold, words), theirs) in parts.iter_mut().zip(theirs) {
            apply(*fold, words, &theirs);
        }
        Ok(())
    }
}

/// What the host was left with.
pub struct Joint {
    /// The session that the device chose.
    pub session: [u8; 16],
    /// Its shares of the outputs.
    pub device: Words,
    /// The host party's.
    pub host: Words,
}

/// Plays the host's side against a device: dealer, owner of `inputs`, and server 1.
///
/// # Errors
///
/// The line's.
pub fn against_device(tape: &mut Tape, secrets: &mut Secrets, node: Node, inputs: &[u32]) -> Result<Joint, Error> {
    let mut frames = Frames::new(tape);
    let mut session = [0; 16];
    frames.receive_all(Kind::Hello, &mut session)?;
    for sender in [Sender::Dealer, Sender::Owner] {
        frames.send(Kind::Seed, [&secrets.seal(sender, &session)[..]].into_iter())?;
    }
    let [zero, one, owner] = secrets.prgs(&session);
    let mut share = inputs.to_vec();
    split(&owner, MaskId::default(), 0, &mut share);
    let host = node.parties([&zero, &one]).second(SecondLink(&mut frames), vec![share])?.output;
    let mut device = vec![0u32; node.words()[1]];
    frames.receive_all(Kind::Result, u32::bytes_mut(&mut device))?;
    let mut pad = vec![0; device.len()];
    fill(&owner, PAD, 0, &mut pad);
    for (word, pad) in device.iter_mut().zip(pad) {
        *word = word.sub(pad);
    }
    Ok(Joint { session, device, host })
}

/// Both parties on the host, under the same seeds and session: their shares of the outputs.
///
/// # Panics
///
/// If a party fails.
#[must_use]
pub fn on_the_host(secrets: &Secrets, session: &[u8; 16], node: Node, inputs: &[u32]) -> [Words; 2] {
    let [zero, one, owner] = secrets.prgs(session);
    let inputs = both_shares(&owner, inputs);
    node.parties([&zero, &one]).play(MemoryLink::pair(), inputs).unwrap().map(|ended| ended.output)
}

/// Server 0's share of the inputs and server 1's.
fn both_shares(owner: &ChaCha20Prg, inputs: &[u32]) -> [Vec<Words>; 2] {
    let (mut own, mut other) = (vec![0; inputs.len()], inputs.to_vec());
    fill(owner, MaskId::default(), 0, &mut own);
    split(owner, MaskId::default(), 0, &mut other);
    [vec![own], vec![other]]
}

/// Outputs of one program by two engines.
#[derive(Debug, Eq, PartialEq)]
pub struct Engines {
    /// The servers' shares.
    pub shares: [Words; 2],
    /// The outputs of the clear engine, which rounded as server 0 did.
    pub clear: Words,
}

/// Runs `program` on shares and in the clear, on the host under the seeds of a device's session.
///
/// # Panics
///
/// If a party fails.
#[must_use]
pub fn by_both_engines<P: Program<Output<u32> = Words>>(
    secrets: &Secrets,
    session: &[u8; 16],
    program: &P,
    inputs: &[u32],
) -> Engines {
    let [zero, one, owner] = secrets.prgs(session);
    let (arena, dithers) = (planned::<u32>(program, &[inputs.len()]).unwrap().arena, Dithers::default());
    let parties = Parties { program, prgs: [&zero, &one], kernels: &Portable, arena, dithers: Some(&dithers) };
    let ended = parties.play(MemoryLink::pair(), both_shares(&owner, inputs)).unwrap();
    let clear = parties.clear(vec![inputs.to_vec()]).unwrap();
    Engines { shares: ended.map(|ended| ended.output), clear }
}

/// The values that two shares of the job's outputs make.
#[must_use]
pub fn join(zero: &[u32], one: &[u32]) -> Vec<Words> {
    let (mut words, mut at) = (zero.to_vec(), 0);
    job::OUTPUT
        .iter()
        .map(|(fold, len)| {
            let part = at..at + len;
            at += len;
            apply(*fold, &mut words[part.clone()], &one[part.clone()]);
            words[part].to_vec()
        })
        .collect()
}

/// A program of the firmware that takes part in a computation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Node {
    /// `compute_node`, which runs [`job`].
    Compute,
    /// `function_node`, which runs [`functions`].
    Function,
    /// `sequence_node`, which runs [`sequence`].
    Sequence,
}

impl Node {
    /// Its name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Compute => "compute_node",
            Self::Function => "function_node",
            Self::Sequence => "sequence_node",
        }
    }

    /// Words of its inputs, its outputs and its arena.
    #[must_use]
    pub fn words(self) -> [usize; 3] {
        match self {
            Self::Compute => [job::INPUT_WORDS, job::OUTPUT_WORDS, job::ARENA_WORDS],
            Self::Function => [functions::INPUT_WORDS, functions::OUTPUT_WORDS, functions::ARENA_WORDS],
            Self::Sequence => [sequence::INPUT_WORDS, sequence::OUTPUT_WORDS, sequence::ARENA_WORDS],
        }
    }

    /// Words of arena that it takes, by a dry run; and what it costs.
    ///
    /// # Panics
    ///
    /// If the dry run fails.
    #[must_use]
    pub fn dry_run(self) -> (usize, Count) {
        let Planned { arena, count, .. } = planned::<u32>(&self, &[self.words()[0]]).unwrap();
        (arena, count)
    }

    fn parties<'a>(&'a self, [zero, one]: [&'a ChaCha20Prg; 2]) -> Parties<'a, u32, Self> {
        Parties { program: self, prgs: [zero, one], kernels: &Portable, arena: self.words()[2], dithers: None }
    }
}

impl Program for Node {
    type Output<W: Word> = Vec<W>;

    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<W>, Error> {
        let mut outputs = vec![W::default(); self.words()[1]];
        match self {
            Self::Compute => job::run(party, &mut inputs[0], &mut outputs)?,
            Self::Function => functions::run(party, &mut inputs[0], &mut outputs)?,
            Self::Sequence => sequence::run(party, &mut inputs[0], &mut outputs)?,
        }
        Ok(outputs)
    }
}
