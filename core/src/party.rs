//! What a protocol function is given: role, link, correlations, kernels, arena. No type parameter but the word.

use crate::{
    correlation::{Correlations, Draw, Request, View, request::Deal},
    kernel::Kernels,
    link::{Error, Fold, Link, Part},
    word::Word,
};
use core::cell::Cell;

/// Which shares a party holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Holds the first shares and adds public terms.
    Server0,
    /// Holds the second shares.
    Server1,
    /// Holds whole values: the clear engine. Every protocol begins with what it ideally does on them.
    Clear,
}

impl Role {
    /// `w`, at the one party that adds public terms to its shares; 0 at server 1.
    #[inline(always)]
    pub fn first<W: Word>(self, w: W) -> W {
        if self == Self::Server1 { W::default() } else { w }
    }
    /// All bits set at the party that adds public terms, 0 at server 1: the `first` of the kernels.
    pub fn first_mask<W: Word>(self) -> W {
        self.first(W::default().not())
    }
}

/// Follows a job: where it is, and (in the clear engine) how large its words become.
pub trait Trace<W: Word> {
    /// What follows belongs to layer `layer`, operation `name`.
    fn enter(&mut self, layer: u16, name: &'static str);
    /// Whole words about to be opened: they wrap unless `0 <= word + offset < 2^(bits-1)`; called
    /// by the clear engine alone.
    fn opened(&mut self, words: &[W], offset: W, bits: u32) {
        let _ = (words, offset, bits);
    }
    /// Whole words about to index a table: they wrap unless `0 <= word + offset < 2^width`; called by the clear engine alone.
    fn indexed(&mut self, words: &[W], offset: W, width: u32) {
        let _ = (words, offset, width);
    }
    /// Whole words that should be below `2^bits` in magnitude, since their squares or sums of them
    /// wrap elsewhere; called by the clear engine alone.
    fn bounded(&mut self, words: &[W], bits: u32) {
        let _ = (words, bits);
    }
    /// Reports the second moments of the parameters at the end of a job. The clear engine alone
    /// calls it.
    fn moments(&mut self, second: &[W]) {
        let _ = second;
    }
}

/// Follows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl<W: Word> Trace<W> for NoTrace {
    fn enter(&mut self, _: u16, _: &'static str) {}
}

/// Collects the range alarms of one lane; see [`crate::protocol::alarm`].
pub trait Alarms<W: Word> {
    /// Takes in XOR shares of alarms: planes of `rows` elements each, one after the other. Padding
    /// bits are cleared.
    fn raise(&mut self, kernels: &dyn Kernels<W>, planes: &mut [W], rows: usize);
    /// Offers shares of words that are opened and not compared; the collector keeps a few of them,
    /// each increased by `shift`.
    fn offer(&mut self, words: &[W], shift: W);
    /// Number of words kept since the last [`Self::take`]; public.
    fn kept(&self) -> usize;
    /// Moves the kept words to `out`, whose length is their number.
    fn take(&mut self, out: &mut [W]);
}

/// A party in a protocol, on one lane.
pub struct Party<'a, W: Word> {
    /// Which shares it holds.
    pub role: Role,
    /// To the other server.
    pub link: &'a mut dyn Link<W>,
    /// Masks and dealt values.
    pub correlations: &'a mut dyn Correlations<W>,
    /// The heavy loops.
    pub kernels: &'a dyn Kernels<W>,
    /// Follows the job.
    pub trace: &'a mut dyn Trace<W>,
    /// The collector of range alarms, if the job has them.
    pub alarms: Option<&'a mut dyn Alarms<W>>,
    /// What is left of the caller's static buffer.
    pub arena: &'a mut [W],
    /// The fewest words that were ever left of it; a dry run's tells the arena's peak.
    pub low_water: &'a Cell<usize>,
}

impl<W: Word> Party<'_, W> {
    /// Slices for this call, and the party that the callee may use with what is left of the arena. Their contents are stale.
    ///
    /// # Errors
    ///
    /// [`Error::Scratch`] if the arena is too small.
    pub fn scratch<const N: usize>(&mut self, lens: [usize; N]) -> Result<([&mut [W]; N], Party<'_, W>), Error> {
        let want = lens.iter().fold(0usize, |a, b| a.saturating_add(*b));
        let got = self.arena.len();
        let left = got.checked_sub(want).ok_or(Error::Scratch { want, got })?;
        self.low_water.set(self.low_water.get().min(left));
        let mut rest: &mut [W] = self.arena;
        let slices = lens.map(|n| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(n);
            rest = tail;
            head
        });
        let party = Party {
            role: self.role,
            link: self.link,
            correlations: self.correlations,
            kernels: self.kernels,
            trace: self.trace,
            alarms: self.alarms.as_mut().map(|alarms| &mut **alarms as &mut dyn Alarms<W>),
            arena: rest,
            low_water: self.low_water,
        };
        Ok((slices, party))
    }

    /// Whether this is the clear engine, which holds whole values.
    pub fn is_clear(&self) -> bool {
        self.role == Role::Clear
    }

    /// The next request number.
    ///
    /// # Errors
    ///
    /// [`Error::RequestsSpent`].
    pub fn draw(&mut self) -> Result<Draw, Error> {
        self.correlations.draw()
    }

    /// Takes this party's shares of the values that `request` names into `out`.
    ///
    /// # Errors
    ///
    /// The dealer's, and [`Error::Scratch`].
    pub fn take<'r>(
        &mut self,
        draw: &mut Draw,
        request: impl Deal + Into<Request<'r>>,
        out: &mut [&mut [W]],
    ) -> Result<(), Error> {
        // Of this kind alone: a microcontroller does not link what other kinds need.
        let ([scratch], party) = self.scratch([request.scratch::<W>().max(request.packed::<W>())])?;
        party.correlations.take(draw, &request.into(), out, scratch)
    }

    /// This party's share of a mask of words.
    pub fn expand(&self, view: View<'_>, out: &mut [W]) {
        self.correlations.expand(view, out);
    }

    /// One round: sends `parts` and folds in the peer's.
    ///
    /// # Errors
    ///
    /// The link's.
    pub fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        self.link.exchange(parts)
    }

    /// Opens additive shares in place: one round.
    ///
    /// # Errors
    ///
    /// The link's.
    pub fn open(&mut self, words: &mut [W]) -> Result<(), Error> {
        self.link.exchange(&mut [(Fold::Add, words)])
    }

    /// Opens XOR-shared planes in place: one round.
    ///
    /// # Errors
    ///
    /// The link's.
    pub fn open_bits(&mut self, planes: &mut [W]) -> Result<(), Error> {
        self.link.exchange(&mut [(Fold::Xor, planes)])
    }
}
