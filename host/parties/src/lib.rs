//! Two servers and a dealer in one process, for tests and for measuring.
//!
//! One process holds both shares here, so nothing is protected. The caller passes the streams; this
//! crate has no seed and makes none.
//!
//! - [`Program`]: a function of a party, which every engine can run.
//! - [`planned`]: its cost, by a dry run.
//! - [`Parties`]: its run at two servers and a dealer, or on whole values.
//! - [`MemoryLink`]: a link between two threads.
//! - [`dither`]: the servers' roundings for the clear engine.

pub mod dither;

use dither::{DitherRecorder, DitherReplay, Dithers, MaskTracker};
use std::{
    cell::Cell,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};
use symbolon_core::{
    correlation::{Corrections, Correlations, Dry, Request, Server, Sink, Whole},
    kernel::{Kernels, Nothing},
    link::{Alone, Count, Error, Fold, Link, Part, Peer},
    party::{NoTrace, Party, Role},
    prg::{MaskId, Prg},
    word::{Word, word_bytes},
};

/// A function of a party, which every engine can run.
pub trait Program: Sync {
    /// The result of one party, usually its shares.
    type Output<W: Word>: Send;

    /// Runs the program on one party's `inputs`: shares, whole values or dry words.
    ///
    /// # Errors
    ///
    /// Those of its protocols.
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Self::Output<W>, Error>;
}

/// The cost of a program.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Planned {
    /// Bytes each way and rounds.
    pub count: Count,
    /// Bytes from the dealer, all to server 1: a program has one lane, lane 0.
    pub dealt_bytes: u64,
    /// Words of arena at the peak.
    pub arena: usize,
}

/// The cost of `program` on words `W` and inputs of `lens` words, by a dry run.
///
/// # Errors
///
/// Those of the program.
pub fn planned<W: Word>(program: &impl Program, lens: &[usize]) -> Result<Planned, Error> {
    let mut sum = Sum::<W>(0, std::marker::PhantomData);
    let (count, arena) = dry::<W>(program, lens, &mut sum)?;
    Ok(Planned { count, dealt_bytes: sum.0, arena })
}

/// Adds up the corrections' bytes.
struct Sum<W>(u64, std::marker::PhantomData<fn() -> W>);

impl<W: Word> Sink for Sum<W> {
    fn request(&mut self, _: MaskId, request: &Request<'_>) -> Result<(), Error> {
        self.0 += (request.wire_words::<W>() * word_bytes::<W>()) as u64;
        Ok(())
    }
}

/// Runs `program` on words that take no memory. Returns the count and the arena's peak.
fn dry<W: Word>(program: &impl Program, lens: &[usize], sink: &mut (dyn Sink + Send)) -> Result<(Count, usize), Error> {
    const ENDLESS: usize = 1 << 40;
    let mut count = Count::default();
    let inputs = lens.iter().map(|len| vec![<W::Dry>::default(); *len]).collect();
    let party = (Role::Server0, &mut count as &mut dyn Link<W::Dry>);
    let (_, spare) = run(program, party, &mut Dry::new(0, sink), &Nothing, ENDLESS, inputs)?;
    Ok((count, ENDLESS - spare))
}

/// Sends what `program` is dealt, for inputs of `lens` words, to `sink`.
///
/// # Errors
///
/// Those of the program, and the sink's.
pub fn deal<W: Word>(program: &impl Program, lens: &[usize], sink: &mut (dyn Sink + Send)) -> Result<(), Error> {
    dry::<W>(program, lens, sink).map(|_| ())
}

/// Runs `program` as one party, on `arena` words of arena. Returns the unused words, too.
///
/// # Errors
///
/// Those of the program.
pub fn run<W: Word, P: Program>(
    program: &P,
    (role, link): (Role, &mut dyn Link<W>),
    correlations: &mut dyn Correlations<W>,
    kernels: &dyn Kernels<W>,
    arena: usize,
    inputs: Vec<Vec<W>>,
) -> Result<(P::Output<W>, usize), Error> {
    let low_water = Cell::new(arena);
    let mut party = Party {
        role,
        link,
        correlations,
        kernels,
        trace: &mut NoTrace,
        alarms: None,
        arena: &mut vec![W::default(); arena],
        low_water: &low_water,
    };
    let output = program.run(&mut party, inputs)?;
    Ok((output, low_water.get()))
}

/// A program, and the resources of the parties that run it.
#[derive(Clone, Copy)]
pub struct Parties<'a, W: Word, P> {
    /// The program.
    pub program: &'a P,
    /// The streams of server 0 and of server 1. The dealer has both.
    pub prgs: [&'a dyn Prg; 2],
    /// The kernels of all parties.
    pub kernels: &'a dyn Kernels<W>,
    /// Words of each party's arena, as in [`Planned`].
    pub arena: usize,
    /// Where server 0 writes its dithers, and the clear engine finds them; without it, the clear
    /// engine draws its own.
    pub dithers: Option<&'a Dithers>,
}

/// The state of a server after its run.
#[derive(Debug)]
pub struct Ended<T, L> {
    /// The program's result.
    pub output: T,
    /// The server's end of the link.
    pub link: L,
    /// Words of the arena that were never used.
    pub spare: usize,
}

/// Server 0's end and server 1's.
pub type Both<T, L> = [Ended<T, L>; 2];

impl<W: Word, P: Program> Parties<'_, W, P> {
    /// Runs all three parties, each on its own thread. `inputs` and the result have server 0 first.
    ///
    /// # Errors
    ///
    /// Those of the program. If two parties fail, the error that is not [`Error::Lost`].
    ///
    /// # Panics
    ///
    /// If corrections are left over.
    pub fn play<L: Link<W> + Send>(
        &self,
        links: [L; 2],
        inputs: [Vec<Vec<W>>; 2],
    ) -> Result<Both<P::Output<W>, L>, Error> {
        let ([link0, link1], [inputs0, inputs1]) = (links, inputs);
        thread::scope(|scope| {
            let first = scope.spawn(move || self.server(Role::Server0, link0, None, inputs0));
            let second = self.second(link1, inputs1);
            match (joined(first), second) {
                (Ok(first), Ok(second)) => Ok([first, second]),
                (Err(Error::Lost(_)) | Ok(_), Err(error)) | (Err(error), _) => Err(error),
            }
        })
    }

    /// Runs server 1 on this thread and the dealer on another. Server 0 is at the link's other end.
    ///
    /// # Errors
    ///
    /// Those of the program.
    ///
    /// # Panics
    ///
    /// If corrections are left over.
    pub fn second<L: Link<W>>(&self, link: L, inputs: Vec<Vec<W>>) -> Result<Ended<P::Output<W>, L>, Error> {
        let lens: Vec<usize> = inputs.iter().map(Vec::len).collect();
        let (to, from) = sync_channel(WAITING);
        thread::scope(|scope| {
            let dealing = scope.spawn(move || {
                let mut dealer = Dealer { prgs: self.prgs, kernels: self.kernels, buffer: Vec::new(), to };
                dry::<W>(self.program, &lens, &mut dealer).map(|_| ())
            });
            let mut stream = Stream(from);
            let ended = self.server(Role::Server1, link, Some(&mut stream), inputs)?;
            assert!(stream.0.recv().is_err(), "corrections are left over");
            joined(dealing).map(|()| ended)
        })
    }

    fn server<L: Link<W>>(
        &self,
        role: Role,
        mut link: L,
        stream: Option<&mut Stream<W>>,
        inputs: Vec<Vec<W>>,
    ) -> Result<Ended<P::Output<W>, L>, Error> {
        let stream = stream.map(|stream| stream as &mut (dyn Corrections<W> + Send));
        let prg = self.prgs[usize::from(role == Role::Server1)];
        let recording = self.dithers.filter(|_| role == Role::Server0);
        let (marked, recorder) =
            (MaskTracker(prg), recording.map(|dithers| DitherRecorder { inner: self.kernels, dithers }));
        let (prg, kernels) = match &recorder {
            Some(recorder) => (&marked as &dyn Prg, recorder as &dyn Kernels<W>),
            None => (prg, self.kernels),
        };
        let mut correlations = Server::new(prg, kernels, 0, stream);
        let (output, spare) = run(self.program, (role, &mut link), &mut correlations, kernels, self.arena, inputs)?;
        Ok(Ended { output, link, spare })
    }

    /// Runs the program on whole values.
    ///
    /// # Errors
    ///
    /// Those of the program.
    pub fn clear(&self, inputs: Vec<Vec<W>>) -> Result<P::Output<W>, Error> {
        let party = (Role::Clear, &mut Alone as &mut dyn Link<W>);
        let mut whole = Whole::new(self.prgs, self.kernels, 0);
        let ended = match self.dithers {
            Some(dithers) => {
                let mut replayed = DitherReplay { inner: whole, dithers };
                run(self.program, party, &mut replayed, self.kernels, self.arena, inputs)
            }
            None => run(self.program, party, &mut whole, self.kernels, self.arena, inputs),
        };
        ended.map(|(output, _)| output)
    }
}

/// The result of a thread, or its panic.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Greatest number of messages that wait in a channel.
const WAITING: usize = 64;

/// The dealer's end of a stream of corrections.
struct Dealer<'a, W: Word> {
    prgs: [&'a dyn Prg; 2],
    kernels: &'a dyn Kernels<W>,
    buffer: Vec<W>,
    to: SyncSender<Vec<W>>,
}

impl<W: Word> Sink for Dealer<'_, W> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let Self { prgs, kernels, buffer, to } = self;
        buffer.resize(buffer.len().max(request.deal_words::<W>()), W::default());
        request.deal(first, *prgs, *kernels, buffer, |_, wire| {
            to.send(wire.to_vec()).map_err(|_| Error::Lost(Peer::Server))
        })
    }
}

/// Server 1's end of a stream of corrections.
struct Stream<W>(Receiver<Vec<W>>);

impl<W: Word> Corrections<W> for Stream<W> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let words = self.0.recv().map_err(|_| Error::Lost(Peer::Dealer))?;
        if words.len() != out.len() {
            return Err(Error::Malformed(Peer::Dealer));
        }
        out.copy_from_slice(&words);
        Ok(())
    }
}

/// A link to the other server's thread.
#[derive(Debug)]
pub struct MemoryLink {
    to: SyncSender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
}

impl MemoryLink {
    /// Two ends of one link.
    #[must_use]
    pub fn pair() -> [Self; 2] {
        let ((to1, from0), (to0, from1)) = (sync_channel(WAITING), sync_channel(WAITING));
        [Self { to: to1, from: from1 }, Self { to: to0, from: from0 }]
    }
}

impl<W: Word> Link<W> for MemoryLink {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let mine: Vec<u8> = parts.iter().flat_map(|(_, words)| W::bytes(words)).copied().collect();
        let len = mine.len();
        self.to.send(mine).map_err(|_| Error::Lost(Peer::Server))?;
        let theirs = self.from.recv().map_err(|_| Error::Lost(Peer::Server))?;
        if theirs.len() != len {
            return Err(Error::Malformed(Peer::Server));
        }
        let mut rest = &theirs[..];
        for (fold, words) in parts {
            let mut other = vec![W::default(); words.len()];
            let (bytes, tail) = rest.split_at(W::bytes(&other).len());
            W::bytes_mut(&mut other).copy_from_slice(bytes);
            rest = tail;
            for (word, other) in words.iter_mut().zip(other) {
                *word = match fold {
                    Fold::Add => word.add(other),
                    Fold::Xor => word.xor(other),
                    Fold::Swap => other,
                };
            }
        }
        Ok(())
    }
}
