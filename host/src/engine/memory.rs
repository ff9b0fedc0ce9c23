//! Both servers and the dealer in one process: for measuring, and for tests that know the dealer's seeds.
//!
//! Nothing is protected here: one process holds both shares. The program offers no way to train like this.

use super::dealer::Corrector;
use std::{
    cell::Cell,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};
use symbolon_core::{
    correlation::{Corrections, Dry, Request, Server, Sink},
    kernel::{Kernels, Nothing},
    link::{Count, Error, Fold, Link, Part, Peer},
    party::{NoTrace, Party, Role},
    prg::{MaskId, Prg},
    word::{Word, word_bytes},
};

/// Messages that wait in a channel at most.
const WAITING: usize = 64;

/// A link to the other server's thread.
pub struct MemoryLink {
    to: SyncSender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
}

impl MemoryLink {
    /// Two ends of one link.
    pub fn pair() -> [Self; 2] {
        let ((to1, from0), (to0, from1)) = (sync_channel(WAITING), sync_channel(WAITING));
        [Self { to: to1, from: from1 }, Self { to: to0, from: from0 }]
    }
}

impl<W: Word> Link<W> for MemoryLink {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let lost = |_| Error::Lost(Peer::Server);
        let mine: Vec<u8> = parts.iter().flat_map(|(_, words)| W::bytes(words)).copied().collect();
        self.to.send(mine).map_err(|_| Error::Lost(Peer::Server))?;
        let theirs = self.from.recv().map_err(lost)?;
        let mut at = 0;
        for (fold, words) in parts {
            let mut other = vec![W::default(); words.len()];
            let bytes = W::bytes_mut(&mut other);
            bytes.copy_from_slice(theirs.get(at..at + bytes.len()).ok_or(Error::Malformed(Peer::Server))?);
            at += bytes.len();
            for (w, o) in words.iter_mut().zip(other) {
                *w = match fold {
                    Fold::Add => w.add(o),
                    Fold::Xor => w.xor(o),
                    Fold::Swap => o,
                };
            }
        }
        Ok(())
    }
}

/// The dealer's end of a stream of corrections.
pub struct MemoryDealer<'a, W: Word> {
    corrector: Corrector<'a, W>,
    to: SyncSender<Vec<W>>,
}

/// Server 1's end.
pub struct MemoryStream<W>(Receiver<Vec<W>>);

/// A dealer of masks of `prgs`, and the stream it feeds.
pub fn dealing<'a, W: Word>(
    prgs: [&'a dyn Prg; 2],
    kernels: &'a dyn Kernels<W>,
) -> (MemoryDealer<'a, W>, MemoryStream<W>) {
    let (to, from) = sync_channel(WAITING);
    (MemoryDealer { corrector: Corrector::new(prgs, kernels), to }, MemoryStream(from))
}

impl<W: Word> Corrections<W> for MemoryStream<W> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let words = self.0.recv().map_err(|_| Error::Lost(Peer::Dealer))?;
        if words.len() != out.len() {
            return Err(Error::Malformed(Peer::Dealer));
        }
        out.copy_from_slice(&words);
        Ok(())
    }
}

impl<W: Word> Sink for MemoryDealer<'_, W> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let Self { corrector, to } = self;
        corrector.correct(first, request, |wire| to.send(wire.to_vec()).map_err(|_| Error::Lost(Peer::Server)))
    }
}

/// A function of a party that all engines can run.
pub trait Program: Sync {
    /// Runs it. Inputs are made within: zeros will do for measuring.
    ///
    /// # Errors
    ///
    /// Those of its protocols.
    fn run<W: Word>(&self, party: &mut Party<'_, W>) -> Result<(), Error>;
}

/// What a program costs, by a dry run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Planned {
    /// Bytes each way and rounds.
    pub count: Count,
    /// Bytes dealt.
    pub dealt_bytes: u64,
    /// Words of arena.
    pub arena: usize,
}

/// Adds up what requests put on the wire.
struct Sum<W>(u64, std::marker::PhantomData<fn() -> W>);

impl<W: Word> Sink for Sum<W> {
    fn request(&mut self, _: MaskId, request: &Request<'_>) -> Result<(), Error> {
        self.0 += (request.wire_words::<W>() * word_bytes::<W>()) as u64;
        Ok(())
    }
}

fn dry<W: Word>(
    program: &impl Program,
    link: &mut dyn Link<W::Dry>,
    sink: &mut (dyn Sink + Send),
) -> Result<usize, Error> {
    let arena = super::plan::ENDLESS;
    let low_water = Cell::new(arena);
    let mut party = Party::<W::Dry> {
        role: Role::Server0,
        link,
        correlations: &mut Dry::new(0, sink),
        kernels: &Nothing,
        trace: &mut NoTrace,
        alarms: None,
        arena: &mut vec![<W::Dry>::default(); arena],
        low_water: &low_water,
    };
    program.run(&mut party)?;
    Ok(arena - low_water.get())
}

/// The cost of `program` on words `W`.
///
/// # Errors
///
/// Those of the program.
pub fn planned<W: Word>(program: &impl Program) -> Result<Planned, Error> {
    let (mut count, mut sum) = (Count::default(), Sum::<W>(0, std::marker::PhantomData));
    let arena = dry::<W>(program, &mut count, &mut sum)?;
    Ok(Planned { count, dealt_bytes: sum.0, arena })
}

/// Runs `program` at two servers and a dealer, on three threads. `arena` is that of [`planned`].
///
/// # Errors
///
/// The first party's.
pub fn play<W: Word>(
    program: &impl Program,
    prgs: [&dyn Prg; 2],
    kernels: &dyn Kernels<W>,
    arena: usize,
) -> Result<(), Error> {
    let (mut dealer, mut stream) = dealing(prgs, kernels);
    let [mut link0, mut link1] = MemoryLink::pair();
    let server = |role, prg, link: &mut MemoryLink, stream: Option<&mut MemoryStream<W>>| {
        let corrections = stream.map(|s| s as &mut (dyn Corrections<W> + Send));
        let mut party = Party {
            role,
            link,
            correlations: &mut Server::new(prg, kernels, 0, corrections),
            kernels,
            trace: &mut NoTrace,
            alarms: None,
            arena: &mut vec![W::default(); arena],
            low_water: &Cell::new(arena),
        };
        program.run(&mut party)
    };
    thread::scope(|scope| {
        let dealt = scope.spawn(move || dry::<W>(program, &mut Count::default(), &mut dealer).map(|_| ()));
        let first = scope.spawn(move || server(Role::Server0, prgs[0], &mut link0, None));
        let second = scope.spawn(move || server(Role::Server1, prgs[1], &mut link1, Some(&mut stream)));
        let ended = [first, second, dealt].map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.into_iter().collect()
    })
}
