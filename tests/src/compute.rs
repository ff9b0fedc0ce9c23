//! The other end of a compute node: the host party, the dealer and the data owner; and both parties on the host, to compare.

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::{
    cell::Cell,
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, Sender as Channel, channel},
    thread,
    time::Duration,
};
use symbolon_core::{
    correlation::{Corrections, Dry, Request, Server, Sink, WholeMasks, correct},
    kernel::{Nothing, Portable},
    link::{Count, Error, Link, Part, Peer},
    party::{NoTrace, Party, Role},
    prg::{ChaCha20Prg, MaskId, Prg, Seed, fill},
    share::split,
    word::Word,
};
use symbolon_firmware::compute::{
    frames::{Frames, Kind, Line, apply},
    job,
    seeds::{KeyPair, SEALED_BYTES, Sender},
};

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
pub fn against_device(tape: &mut Tape, secrets: &mut Secrets, inputs: &[u32]) -> Result<Joint, Error> {
    let mut frames = Frames::new(tape);
    let mut session = [0; 16];
    frames.receive_all(Kind::Hello, &mut session)?;
    for sender in [Sender::Dealer, Sender::Owner] {
        frames.send(Kind::Seed, [&secrets.seal(sender, &session)[..]].into_iter())?;
    }
    let [_, one, owner] = secrets.prgs(&session);
    let host = server(Role::Server1, &one, Some(deal(secrets, &session)), &mut SecondLink(&mut frames), {
        let mut share = inputs.to_vec();
        split(&owner, MaskId::default(), &mut share);
        share
    })?;
    let mut device = vec![0u32; job::OUTPUT_WORDS];
    frames.receive_all(Kind::Result, u32::bytes_mut(&mut device))?;
    let mut pad = vec![0; device.len()];
    fill(&owner, job::PAD, 0, &mut pad);
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
pub fn on_the_host(secrets: &Secrets, session: &[u8; 16], inputs: &[u32]) -> [Words; 2] {
    let [zero, one, owner] = secrets.prgs(session);
    let mut own = vec![0; inputs.len()];
    fill(&owner, MaskId::default(), 0, &mut own);
    let mut other = inputs.to_vec();
    split(&owner, MaskId::default(), &mut other);
    let corrections = deal(secrets, session);
    let ((to_one, from_zero), (to_zero, from_one)) = (channel(), channel());
    thread::scope(|scope| {
        let zero = scope.spawn(move || server(Role::Server0, &zero, None, &mut Wire(to_one, from_one), own));
        let one = server(Role::Server1, &one, Some(corrections), &mut Wire(to_zero, from_zero), other);
        [zero.join().unwrap().unwrap(), one.unwrap()]
    })
}

/// The values that two shares make.
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

/// Words of arena that the job takes, by a dry run; and what it costs.
///
/// # Panics
///
/// If the dry run fails.
#[must_use]
pub fn dry_run() -> (usize, Count) {
    let mut count = Count::default();
    let peak = dry(&mut count, &mut Uninterested);
    (peak, count)
}

struct Uninterested;

impl Sink for Uninterested {
    fn request(&mut self, _: MaskId, _: &Request<'_>) -> Result<(), Error> {
        Ok(())
    }
}

fn dry(link: &mut Count, sink: &mut (dyn Sink + Send)) -> usize {
    type Dry32 = <u32 as Word>::Dry;
    const ENDLESS: usize = 1 << 40; // dry words take no memory
    let mut arena = vec![Dry32::default(); ENDLESS];
    let low_water = Cell::new(ENDLESS);
    let mut party = Party {
        role: Role::Server0,
        link,
        correlations: &mut Dry::new(0, sink),
        kernels: &Nothing,
        trace: &mut NoTrace,
        arena: &mut arena,
        low_water: &low_water,
    };
    let mut inputs = [Dry32::default(); job::INPUT_WORDS];
    let mut outputs = [Dry32::default(); job::OUTPUT_WORDS];
    job::run(&mut party, &mut inputs, &mut outputs).unwrap();
    ENDLESS - low_water.get()
}

/// One party's run.
fn server(
    role: Role,
    prg: &dyn Prg,
    mut corrections: Option<Dealt>,
    link: &mut dyn Link<u32>,
    mut inputs: Words,
) -> Result<Words, Error> {
    let mut arena = vec![0; job::ARENA_WORDS];
    let low_water = Cell::new(arena.len());
    let corrections = corrections.as_mut().map(|c| c as &mut (dyn Corrections<u32> + Send));
    let mut party = Party {
        role,
        link,
        correlations: &mut Server::new(prg, &Portable, 0, corrections),
        kernels: &Portable,
        trace: &mut NoTrace,
        arena: &mut arena,
        low_water: &low_water,
    };
    let mut outputs = vec![0; job::OUTPUT_WORDS];
    job::run(&mut party, &mut inputs, &mut outputs)?;
    Ok(outputs)
}

/// A link of two threads.
struct Wire(Channel<Vec<u8>>, Receiver<Vec<u8>>);

impl Link<u32> for Wire {
    fn exchange(&mut self, parts: &mut [Part<'_, u32>]) -> Result<(), Error> {
        for (fold, words) in parts {
            self.0.send(u32::bytes(words).to_vec()).map_err(|_| Error::Lost(Peer::Server))?;
            let bytes = self.1.recv().map_err(|_| Error::Lost(Peer::Server))?;
            let mut theirs = vec![0; words.len()];
            u32::bytes_mut(&mut theirs).copy_from_slice(&bytes);
            apply(*fold, words, &theirs);
        }
        Ok(())
    }
}

/// Corrections, in plan order.
struct Dealt(VecDeque<Words>);

impl Corrections<u32> for Dealt {
    fn next(&mut self, out: &mut [u32]) -> Result<(), Error> {
        let words = self.0.pop_front().ok_or(Error::Lost(Peer::Dealer))?;
        assert_eq!(words.len(), out.len(), "corrections out of step");
        out.copy_from_slice(&words);
        Ok(())
    }
}

/// The dealer: a dry run whose requests it answers.
struct Dealer {
    prgs: [ChaCha20Prg; 2],
    dealt: Dealt,
}

fn deal(secrets: &Secrets, session: &[u8; 16]) -> Dealt {
    let [zero, one, _] = secrets.prgs(session);
    let mut dealer = Dealer { prgs: [zero, one], dealt: Dealt(VecDeque::new()) };
    dry(&mut Count::default(), &mut dealer);
    dealer.dealt
}

impl Sink for Dealer {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let dealt: Vec<_> = request.dealt::<u32>().into_iter().flatten().collect();
        let mut values: Vec<Words> = dealt.iter().map(|d| vec![0; d.len()]).collect();
        let prgs = self.prgs.each_ref().map(|prg| prg as &dyn Prg);
        let mut out: Vec<&mut [u32]> = values.iter_mut().map(|v| &mut v[..]).collect();
        request.evaluate(&WholeMasks(prgs), &Portable, &mut vec![0; request.scratch::<u32>()], &mut out);
        for (part, (dealt, mut values)) in (first.part..).zip(dealt.into_iter().zip(values)) {
            let mut wire = vec![0; dealt.wire_words::<u32>()];
            let mut scratch = vec![0; values.len()];
            correct(dealt, MaskId { part, ..first }, prgs[0], &Portable, &mut values, &mut wire, &mut scratch);
            self.dealt.0.push_back(wire);
        }
        Ok(())
    }
}
