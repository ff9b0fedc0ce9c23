//! The sources of correlated randomness: a server's, the whole (clear engine, tests), and the dry one (plan, dealer).

use super::{Correlations, Dealt, Draw, Request, Requests, View, Words};
use crate::{
    kernel::Kernels,
    link::Error,
    party::Role,
    prg::{MaskId, Prg, fill},
    word::Word,
};

/// The server that is sent the corrections of `lane`; the other expands its shares of what is
/// dealt. Server 1 has the even lanes, server 0 the odd ones: with two lanes or any other even
/// number, both receive alike. Public, and no part of a share's distribution: either way both
/// shares are uniform.
pub const fn receiver(lane: u16) -> Role {
    if lane.is_multiple_of(2) { Role::Server1 } else { Role::Server0 }
}

/// Corrections of one lane, in plan order: the dealer's messages to the lane's [`receiver`].
pub trait Corrections<W: Word> {
    /// The next words of this lane's stream.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], [`Error::TimedOut`] or [`Error::Malformed`], all of [`crate::link::Peer::Dealer`].
    fn next(&mut self, out: &mut [W]) -> Result<(), Error>;
}

/// A server's source for one lane: its own streams and, at the lane's [`receiver`], the dealer's
/// corrections.
pub struct Server<'a, W: Word> {
    prg: &'a dyn Prg,
    kernels: &'a dyn Kernels<W>,
    corrections: Option<&'a mut (dyn Corrections<W> + Send)>,
    requests: Requests,
}

impl<'a, W: Word> Server<'a, W> {
    /// A source for one lane. `corrections` at the lane's [`receiver`] only: the other server
    /// expands its share of what is dealt.
    pub fn new(
        prg: &'a dyn Prg,
        kernels: &'a dyn Kernels<W>,
        lane: u16,
        corrections: Option<&'a mut (dyn Corrections<W> + Send)>,
    ) -> Self {
        Self { prg, kernels, corrections, requests: Requests::new(lane) }
    }
}

/// This stream's words in the order of `view`.
fn expand<W: Word>(prg: &dyn Prg, view: View<'_>, mut out: &mut [W]) {
    for (at, len) in view.runs() {
        let (head, tail) = out.split_at_mut(len);
        fill(prg, view.id, at, head);
        out = tail;
    }
}

impl<W: Word> Correlations<W> for Server<'_, W> {
    fn draw(&mut self) -> Result<Draw, Error> {
        self.requests.draw()
    }
    fn expand(&self, view: View<'_>, out: &mut [W]) {
        expand(self.prg, view, out);
    }
    fn expand_bits(&self, view: View<'_>, out: &mut [W]) {
        expand(self.prg, view, out);
    }
    fn take(
        &mut self,
        draw: &mut Draw,
        request: &Request<'_>,
        out: &mut [&mut [W]],
        scratch: &mut [W],
    ) -> Result<(), Error> {
        for (dealt, out) in request.dealt::<W>().into_iter().flatten().zip(out) {
            let id = draw.next();
            let mut get = |words: &mut [W]| match &mut self.corrections {
                None => {
                    fill(self.prg, id, 0, words);
                    Ok(())
                }
                Some(corrections) => corrections.next(words),
            };
            match dealt {
                Dealt::Narrow { bits, .. } => {
                    let packed = &mut scratch[..dealt.wire_words::<W>()];
                    get(packed)?;
                    self.kernels.unpack(out, packed, bits);
                }
                Dealt::Words(_) | Dealt::Planes(_) | Dealt::Wide(_) => get(out)?,
            }
        }
        Ok(())
    }
}

/// Both servers' streams: what the dealer knows, and what the clear engine's dithers come from.
pub struct WholeMasks<'a>(pub [&'a dyn Prg; 2]);

/// Words of the second stream that are expanded at a time, on the stack.
const CHUNK: usize = if cfg!(target_pointer_width = "64") { 512 } else { 64 };

impl WholeMasks<'_> {
    fn join<W: Word>(&self, view: View<'_>, out: &mut [W], fold: impl Fn(W, W) -> W) {
        let mut rest = out;
        let mut second = [W::default(); CHUNK];
        for (at, len) in view.runs() {
            let (head, tail) = rest.split_at_mut(len);
            for (i, head) in head.chunks_mut(CHUNK).enumerate() {
                let (at, second) = (at + i * CHUNK, &mut second[..head.len()]);
                // Chunk by chunk, so that the first is still in the cache when the second is added.
                fill(self.0[0], view.id, at, head);
                fill(self.0[1], view.id, at, second);
                for (o, s) in head.iter_mut().zip(second) {
                    *o = fold(*o, *s);
                }
            }
            rest = tail;
        }
    }
    /// The whole mask of words: the sum of both streams.
    pub fn words<W: Word>(&self, view: View<'_>, out: &mut [W]) {
        self.join(view, out, W::add);
    }
    /// Both servers' shares of a mask of words.
    pub fn apart<W: Word>(&self, view: View<'_>, out: [&mut [W]; 2]) {
        for (prg, out) in self.0.into_iter().zip(out) {
            expand(prg, view, out);
        }
    }
    /// The whole mask of planes: the exclusive or of both streams.
    pub fn planes<W: Word>(&self, view: View<'_>, out: &mut [W]) {
        self.join(view, out, W::xor);
    }
    /// The words whose bits are dealt.
    pub(crate) fn word_source<W: Word>(
        &self,
        words: Words<'_>,
        kernels: &dyn Kernels<W>,
        out: &mut [W],
        scratch: &mut [W],
    ) {
        match words {
            Words::Mask(view) => self.words(view, out),
            Words::Pairs(view) => {
                let r = &mut scratch[..view.len()];
                self.words(view, r);
                kernels.pairs(out, r, view.cols);
            }
            Words::Columns { mask, rows, zero } => {
                let r = &mut scratch[..mask.len()];
                self.words(mask, r);
                kernels.pairs_of_columns(out, r, rows, zero);
            }
        }
    }
}

impl Request<'_> {
    /// Words of the buffer that [`Request::deal`] needs.
    pub fn deal_words<W: Word>(&self) -> usize {
        self.deal_lens::<W>().iter().sum()
    }

    /// Lengths of both values, of the longer correction and of the scratch.
    fn deal_lens<W: Word>(&self) -> [usize; 4] {
        let dealt = self.dealt::<W>();
        let [a, b] = dealt.map(|dealt| dealt.map_or(0, Dealt::len));
        let wire = dealt.iter().flatten().map(|dealt| dealt.wire_words::<W>()).max().unwrap_or(0);
        [a, b, wire, self.scratch::<W>().max(a).max(b)]
    }

    /// Evaluates, at the dealer, the request on whole masks and passes the correction of each dealt
    /// value, in order, to `send`. The first value has the name `first`. `buffer` holds secrets
    /// afterwards.
    ///
    /// # Errors
    ///
    /// Those of `send`.
    ///
    /// # Panics
    ///
    /// If `buffer` is shorter than [`Request::deal_words`].
    pub fn deal<W: Word, E>(
        &self,
        first: MaskId,
        prgs: [&dyn Prg; 2],
        kernels: &dyn Kernels<W>,
        buffer: &mut [W],
        mut send: impl FnMut(Dealt, &[W]) -> Result<(), E>,
    ) -> Result<(), E> {
        let [len_a, len_b, len_wire, _] = self.deal_lens::<W>();
        let (a, rest) = buffer.split_at_mut(len_a);
        let (b, rest) = rest.split_at_mut(len_b);
        let (wire, scratch) = rest.split_at_mut(len_wire);
        let (masks, dealt) = (WholeMasks(prgs), self.dealt::<W>());
        let expanding = prgs[usize::from(receiver(first.lane) == Role::Server0)];
        match dealt {
            [None, _] => {}
            [Some(_), None] => self.evaluate(&masks, kernels, scratch, &mut [&mut *a]),
            [Some(_), Some(_)] => self.evaluate(&masks, kernels, scratch, &mut [&mut *a, &mut *b]),
        }
        for (part, (dealt, values)) in (first.part..).zip(dealt.into_iter().flatten().zip([a, b])) {
            let wire = &mut wire[..dealt.wire_words::<W>()];
            correct(dealt, MaskId { part, ..first }, expanding, kernels, values, wire, scratch);
            send(dealt, wire)?;
        }
        Ok(())
    }
}

/// Replaces whole dealt values by what their receiver must be sent: their difference to the share
/// that the other server expands. The result is written to `wire`, [`Dealt::wire_words`] long;
/// `values` is overwritten.
fn correct<W: Word>(
    dealt: Dealt,
    id: MaskId,
    expanding: &dyn Prg,
    kernels: &dyn Kernels<W>,
    values: &mut [W],
    wire: &mut [W],
    scratch: &mut [W],
) {
    fill(expanding, id, 0, wire);
    match dealt {
        Dealt::Words(_) => {
            kernels.sub(values, wire);
            wire.copy_from_slice(values);
        }
        Dealt::Planes(_) => kernels.xor(wire, values),
        Dealt::Wide(_) => {
            kernels.sub_wide(values, wire);
            wire.copy_from_slice(values);
        }
        Dealt::Narrow { len, bits } => {
            let own = &mut scratch[..len];
            kernels.unpack(own, wire, bits);
            kernels.sub(values, own);
            kernels.pack(wire, values, bits);
        }
    }
}

/// Whole masks as a party's source: for the clear engine, and for playing both servers alone in a test.
pub struct Whole<'a, W: Word> {
    masks: WholeMasks<'a>,
    kernels: &'a dyn Kernels<W>,
    requests: Requests,
}

impl<'a, W: Word> Whole<'a, W> {
    /// A source for one lane.
    pub fn new(prgs: [&'a dyn Prg; 2], kernels: &'a dyn Kernels<W>, lane: u16) -> Self {
        Self { masks: WholeMasks(prgs), kernels, requests: Requests::new(lane) }
    }
}

impl<W: Word> Correlations<W> for Whole<'_, W> {
    fn draw(&mut self) -> Result<Draw, Error> {
        self.requests.draw()
    }
    fn expand(&self, view: View<'_>, out: &mut [W]) {
        self.masks.words(view, out);
    }
    fn expand_bits(&self, view: View<'_>, out: &mut [W]) {
        self.masks.planes(view, out);
    }
    fn take(
        &mut self,
        draw: &mut Draw,
        request: &Request<'_>,
        out: &mut [&mut [W]],
        scratch: &mut [W],
    ) -> Result<(), Error> {
        for _ in request.dealt::<W>().into_iter().flatten() {
            draw.next();
        }
        request.evaluate(&self.masks, self.kernels, scratch, out);
        Ok(())
    }
}

/// Receives the requests of a dry run.
pub trait Sink {
    /// `request` was drawn; its dealt values are named `first`, and the following parts.
    ///
    /// # Errors
    ///
    /// The reason to stop the dry run; at a dealer, the lost connection to the lane's [`receiver`].
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error>;
}

/// The source of a dry run: every request goes to a [`Sink`], nothing is expanded.
pub struct Dry<'a> {
    sink: &'a mut (dyn Sink + Send),
    requests: Requests,
}

impl<'a> Dry<'a> {
    /// A source for one lane.
    pub fn new(lane: u16, sink: &'a mut (dyn Sink + Send)) -> Self {
        Self { sink, requests: Requests::new(lane) }
    }
}

impl<W: Word> Correlations<W> for Dry<'_> {
    fn draw(&mut self) -> Result<Draw, Error> {
        self.requests.draw()
    }
    fn expand(&self, _: View<'_>, _: &mut [W]) {}
    fn expand_bits(&self, _: View<'_>, _: &mut [W]) {}
    fn take(&mut self, draw: &mut Draw, request: &Request<'_>, out: &mut [&mut [W]], _: &mut [W]) -> Result<(), Error> {
        let dealt = request.dealt::<W>();
        let lens = dealt.iter().flatten().map(|d| d.len());
        assert!(lens.eq(out.iter().map(|o| o.len())), "outputs do not match the request");
        let mut first = None;
        for _ in dealt.into_iter().flatten() {
            first.get_or_insert(draw.next());
        }
        first.map_or(Ok(()), |first| self.sink.request(first, request))
    }
}
