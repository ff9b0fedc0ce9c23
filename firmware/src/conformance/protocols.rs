//! Vectors of protocols: what the dealer deals, what both servers send each other, and the shares that come out.
//!
//! Either server is played alone, against the messages that the vector has for the other; then the
//! dealer, from a dry run of the same call.
//!
//! A line `round` has all parts of a round, one after the other. Planes may be followed by their
//! numbers, `PLANESxELEMENTS`, where some have more elements than the vector: padding may hold
//! anything.

use super::{
    Wrong,
    case::{Case, Words, hold, read, same},
    functions::Applied,
};
use core::cell::Cell;
use symbolon_core::{
    correlation::{Corrections, Correlations, Dealt, Dry, Request, Server, Sink},
    kernel::{Kernels, Nothing, Portable, plane_words},
    link::{Count, Error, Fold, Link, Part, Peer},
    mapping::{Domain, Mapping, OneHot, map},
    party::{NoTrace, Party, Role},
    prg::{ChaCha20Prg, MaskId, Seed},
    protocol::{
        masked::{Masked, mask_and_open},
        product::multiply,
        relu::relu,
        truncate::{truncate, truncate_unsigned},
    },
    word::{Word, word_bytes},
};

/// Elements of the longest vector, and words of its result.
const ELEMENTS: usize = 40;
/// Words of an arena that every vector fits: of a protocol, and of a function.
const ARENA: [usize; 2] = [640, 1824];
/// Words of the dealer's buffer.
const DEALT: [usize; 2] = [4 * 328, 1896];
/// Entries and number of tables.
const CELLS: usize = 16;
const TABLES: usize = 2;

/// A call that is played.
pub trait Call {
    /// Words of the result.
    fn outputs(&self, n: usize) -> usize;

    /// Runs the call at a party.
    fn run<W: Word>(&self, party: &mut Party<'_, W>, x: &mut [W], y: &mut [W], out: &mut [W]) -> Result<(), Error>;
}

/// A call of one protocol.
#[allow(clippy::large_enum_variant)] // there is one at a time, and no heap for the tables
enum Protocol {
    Multiply,
    Truncate { frac_bits: u32, unsigned: bool },
    Relu { frac_bits: u32 },
    Map { domain: Domain, one_hot: OneHot, tables: [[i64; CELLS]; TABLES], len: usize },
}

pub fn protocol(case: &Case<'_>) -> Result<(), Wrong> {
    let mut head = case.head();
    let (kind, bits, n) = (head.word()?, head.number::<u32>()?, head.number()?);
    hold(n <= ELEMENTS).map_err(|_| Wrong::Vector)?;
    let call = match kind {
        "multiply" => Protocol::Multiply,
        "truncate" => Protocol::Truncate { frac_bits: head.number()?, unsigned: false },
        "truncate-unsigned" => Protocol::Truncate { frac_bits: head.number()?, unsigned: true },
        "relu" => Protocol::Relu { frac_bits: head.number()? },
        "map" => mapping(case, &mut head)?,
        // Of one width: for both, boards have too little flash.
        "function" if bits == 32 => {
            let call = Applied::read(&mut head, bits)?;
            return play::<u32, { ARENA[1] }, { DEALT[1] }, _>(case, &call, n);
        }
        _ => return Err(Wrong::Vector),
    };
    match bits {
        32 => play::<u32, { ARENA[0] }, { DEALT[0] }, _>(case, &call, n),
        64 => play::<u64, { ARENA[0] }, { DEALT[0] }, _>(case, &call, n),
        _ => Err(Wrong::Vector),
    }
}

fn mapping(case: &Case<'_>, head: &mut Words<'_>) -> Result<Protocol, Wrong> {
    let (shift, bits) = (head.number()?, head.number()?);
    let signed = head.word()? == "signed";
    let domain = Domain { shift, bits, signed };
    let one_hot = if head.word()? == "boolean" { OneHot::Boolean } else { OneHot::Arithmetic };
    let (mut tables, mut len) = ([[0; CELLS]; TABLES], 0);
    for line in case.each("table") {
        let mut words = Words::of(line);
        for entry in tables.get_mut(len).ok_or(Wrong::Vector)?.get_mut(..domain.cells()).ok_or(Wrong::Vector)? {
            *entry = words.number()?;
        }
        len += 1;
    }
    Ok(Protocol::Map { domain, one_hot, tables, len })
}

impl Call for Protocol {
    fn outputs(&self, n: usize) -> usize {
        if let Self::Map { len, .. } = self { len * n } else { n }
    }

    fn run<W: Word>(&self, party: &mut Party<'_, W>, x: &mut [W], y: &mut [W], out: &mut [W]) -> Result<(), Error> {
        match self {
            Self::Multiply => {
                let x = masked(party, x)?;
                let y = masked(party, y)?;
                return multiply(party, x, y, out);
            }
            Self::Map { domain, one_hot, tables, len } => {
                let tables = tables.each_ref().map(|table| &table[..domain.cells()]);
                let mapping =
                    Mapping { domain: *domain, tables: &tables[..*len], one_hot: Some(*one_hot), beyond: None };
                return map(party, &mapping, x, out);
            }
            Self::Truncate { .. } | Self::Relu { .. } => out.copy_from_slice(x),
        }
        match *self {
            Self::Truncate { frac_bits, unsigned: false } => truncate(party, out, frac_bits),
            Self::Truncate { frac_bits, .. } => truncate_unsigned(party, out, frac_bits),
            Self::Relu { frac_bits } => {
                let ([bit, rho], mut party) = party.scratch([plane_words::<W>(x.len()), x.len()])?;
                relu(&mut party, out, frac_bits, bit, rho).map(|_| ())
            }
            Self::Multiply | Self::Map { .. } => Ok(()),
        }
    }
}

fn masked<'a, W: Word>(party: &mut Party<'_, W>, x: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
    let mask = party.draw()?.mask(x.len());
    let mask = mask_and_open(party, x, mask)?;
    Ok(Masked { words: x, mask })
}

/// Plays all three parties.
fn play<W: Word, const ARENA: usize, const DEALT: usize, C: Call>(
    case: &Case<'_>,
    call: &C,
    n: usize,
) -> Result<(), Wrong> {
    let session = case.bytes("session")?;
    let seeds = [case.bytes("seed0")?, case.bytes("seed1")?].each_ref().map(Seed::from_bytes);
    let streams = seeds.each_ref().map(|seed| ChaCha20Prg::new(seed, &session));
    server::<W, ARENA, C>(case, call, n, Role::Server0, &streams[0])?;
    server::<W, ARENA, C>(case, call, n, Role::Server1, &streams[1])?;
    dealer::<W, ARENA, DEALT, C>(case, call, n, &streams)
}

/// Plays one server against what the vector has for the other and the dealer.
#[inline(never)] // its stack is not needed with the dealer's
fn server<W: Word, const ARENA: usize, C: Call>(
    case: &Case<'_>,
    call: &C,
    n: usize,
    role: Role,
    stream: &ChaCha20Prg,
) -> Result<(), Wrong> {
    let me = usize::from(role == Role::Server1);
    let mut inputs = [[W::default(); ELEMENTS]; 2];
    for (key, words) in [["x0", "y0"], ["x1", "y1"]][me].into_iter().zip(&mut inputs) {
        let bytes = W::bytes_mut(&mut words[..n]);
        if let Some(value) = case.each(key).next() {
            hold(read(value, bytes)?.len() == n * word_bytes::<W>()).map_err(|_| Wrong::Vector)?;
        }
    }
    let ([x, y], mut out) = (&mut inputs, [W::default(); ELEMENTS]);
    let out = out.get_mut(..call.outputs(n)).ok_or(Wrong::Vector)?;
    let mut link = Written { me, n, rounds: case.each("round") };
    let mut dealt = Lines(case.each("dealt"));
    let corrections = (me == 1).then_some(&mut dealt as &mut (dyn Corrections<W> + Send));
    let mut correlations = Server::new(stream, &Portable, 0, corrections);
    let mut arena = [W::default(); ARENA];
    with_party(role, &mut link, &mut correlations, &Portable, &mut arena, |party| {
        call.run(party, &mut x[..n], &mut y[..n], out)
    })?;
    case.expect(["out0", "out1"][me], W::bytes(out))?;
    hold(link.rounds.next().is_none() && (me == 0 || dealt.0.next().is_none()))
}

fn with_party<W: Word>(
    role: Role,
    link: &mut dyn Link<W>,
    correlations: &mut dyn Correlations<W>,
    kernels: &dyn Kernels<W>,
    arena: &mut [W],
    run: impl FnOnce(&mut Party<'_, W>) -> Result<(), Error>,
) -> Result<(), Wrong> {
    let low_water = Cell::new(usize::MAX);
    let trace = &mut NoTrace;
    let mut party = Party { role, link, correlations, kernels, trace, alarms: None, arena, low_water: &low_water };
    run(&mut party).map_err(|error| match error {
        Error::Scratch { .. } => Wrong::Vector,
        _ => Wrong::Result,
    })
}

/// The link to the other server, as it is written down.
struct Written<I> {
    me: usize,
    n: usize,
    rounds: I,
}

impl<'a, W: Word, I: Iterator<Item = &'a str>> Link<W> for Written<I> {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let other = Error::Malformed(Peer::Server);
        let (zero, rest) = self.rounds.next().and_then(|line| line.split_once(' ')).ok_or(other)?;
        let (one, planes) = rest.split_once(' ').unwrap_or((rest, ""));
        let (mut mine, mut theirs) = if self.me == 0 { (zero, one) } else { (one, zero) };
        for (fold, words) in parts {
            let len = 2 * word_bytes::<W>() * words.len();
            let ((own, mine_left), (peer, theirs_left)) =
                mine.split_at_checked(len).zip(theirs.split_at_checked(len)).ok_or(other)?;
            match fold {
                Fold::Xor => equal_planes(own, words, planes, self.n),
                _ => same(own, W::bytes(words)),
            }
            .map_err(|_| other)?;
            fold_in(*fold, words, peer).map_err(|_| other)?;
            (mine, theirs) = (mine_left, theirs_left);
        }
        if mine.is_empty() && theirs.is_empty() { Ok(()) } else { Err(other) }
    }
}

/// Folds the words that `peer` has as hexadecimal bytes into `words`.
fn fold_in<W: Word>(fold: Fold, words: &mut [W], peer: &str) -> Result<(), Wrong> {
    let size = 2 * word_bytes::<W>();
    for (i, word) in words.iter_mut().enumerate() {
        let mut peer_word = [W::default()];
        read(&peer[i * size..(i + 1) * size], W::bytes_mut(&mut peer_word))?;
        *word = match fold {
            Fold::Add => word.add(peer_word[0]),
            Fold::Xor => word.xor(peer_word[0]),
            Fold::Swap => peer_word[0],
        };
    }
    Ok(())
}

/// Holds planes against hexadecimal bytes, and only the bits that are an element's. `shape` lists
/// `PLANESxELEMENTS`; it is empty where all planes have `n` elements.
fn equal_planes<W: Word>(hex: &str, words: &[W], shape: &str, n: usize) -> Result<(), Wrong> {
    if shape.is_empty() {
        return equal_bits(hex, words, n);
    }
    let (mut hex, mut words) = (hex, words);
    for part in shape.split_whitespace() {
        let (planes, elements) = part.split_once('x').ok_or(Wrong::Vector)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| Wrong::Vector);
        let (planes, elements) = (number(planes)?, number(elements)?);
        let len = planes * plane_words::<W>(elements);
        let ((own, words_left), (own_hex, hex_left)) =
            words.split_at_checked(len).zip(hex.split_at_checked(2 * word_bytes::<W>() * len)).ok_or(Wrong::Result)?;
        equal_bits(own_hex, own, elements)?;
        (words, hex) = (words_left, hex_left);
    }
    hold(words.is_empty() && hex.is_empty())
}

/// [`equal_planes`] of planes of `n` elements each.
fn equal_bits<W: Word>(hex: &str, words: &[W], n: usize) -> Result<(), Wrong> {
    let (size, lanes) = (2 * word_bytes::<W>(), plane_words::<W>(n).max(1));
    hold(hex.len() == size * words.len())?;
    for (i, word) in words.iter().enumerate() {
        let rows = n.saturating_sub(i % lanes).div_ceil(lanes);
        let used = W::low_mask(u32::try_from(rows).map_err(|_| Wrong::Vector)?);
        let mut wanted = [W::default()];
        read(&hex[i * size..(i + 1) * size], W::bytes_mut(&mut wanted))?;
        hold(W::bytes(&[wanted[0].and(used)]) == W::bytes(&[word.and(used)]))?;
    }
    Ok(())
}

/// What the dealer sends server 1.
struct Lines<I>(I);

impl<'a, W: Word, I: Iterator<Item = &'a str>> Corrections<W> for Lines<I> {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        let other = Error::Malformed(Peer::Dealer);
        let bytes = W::bytes_mut(out);
        let len = bytes.len();
        let line = self.0.next().ok_or(other)?;
        let read = read(dealt_line(line).0, bytes).map_err(|_| other)?;
        if read.len() == len { Ok(()) } else { Err(other) }
    }
}

/// A line's hexadecimal bytes, and the shape of its planes.
fn dealt_line(line: &str) -> (&str, &str) {
    line.split_once(' ').unwrap_or((line, ""))
}

/// Deals for a dry run of the call, and holds that against the vector. Counts rounds, too.
#[inline(never)] // as `server`
fn dealer<W: Word, const ARENA: usize, const DEALT: usize, C: Call>(
    case: &Case<'_>,
    call: &C,
    n: usize,
    streams: &[ChaCha20Prg; 2],
) -> Result<(), Wrong> {
    let mut deal = Deal { streams, n, lines: case.each("dealt"), found: Ok(()), buffer: [W::default(); DEALT] };
    let mut correlations = Dry::new(0, &mut deal);
    let [mut x, mut y, mut out] = [[<W::Dry>::default(); ELEMENTS]; 3];
    let mut count = Count::default();
    let mut arena = [<W::Dry>::default(); ARENA];
    let outputs = call.outputs(n);
    with_party(Role::Server0, &mut count, &mut correlations, &Nothing, &mut arena, |party| {
        call.run(party, &mut x[..n], &mut y[..n], &mut out[..outputs])
    })?;
    let rounds = case.each("round").count();
    deal.found?;
    hold(deal.lines.next().is_none() && count.rounds == rounds as u64)
}

struct Deal<'a, W, I, const DEALT: usize> {
    streams: &'a [ChaCha20Prg; 2],
    n: usize,
    lines: I,
    found: Result<(), Wrong>,
    buffer: [W; DEALT],
}

impl<'a, W: Word, I: Iterator<Item = &'a str>, const DEALT: usize> Sink for Deal<'_, W, I, DEALT> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        self.found = self.found.and(self.deal(first, request));
        self.found.map_err(|_| Error::Malformed(Peer::Dealer))
    }
}

impl<'a, W: Word, I: Iterator<Item = &'a str>, const DEALT: usize> Deal<'_, W, I, DEALT> {
    fn deal(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Wrong> {
        let Self { streams: [zero, one], n, lines, buffer, .. } = self;
        hold(request.deal_words::<W>() <= DEALT).map_err(|_| Wrong::Vector)?;
        request.deal(first, [zero, one], &Portable, buffer, |dealt, wire| {
            let (hex, shape) = dealt_line(lines.next().ok_or(Wrong::Result)?);
            match dealt {
                Dealt::Planes(_) => equal_planes(hex, wire, shape, *n),
                _ => same(hex, W::bytes(wire)),
            }
        })
    }
}
