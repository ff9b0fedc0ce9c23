//! Correlated randomness: masks have names, functions of masks are dealt.
//!
//! A **mask** is the sum (for bit planes the exclusive or) of one stream of each server; it costs
//! nothing. The right to hide a value with it is a [`Mask`], which is not `Clone` and is consumed
//! by the opening; what stays is its public name, a [`MaskId`], and [`View`]s of it. A **function
//! of masks** is a [`Request`]: one server expands its share, the dealer sends the other the
//! difference, lane by lane in turn ([`receiver`]).
//!
//! A protocol call draws one request number ([`Draw`]); its masks and dealt values are numbered
//! parts of it. So the clear engine, which needs neither, draws the same numbers.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. A server's masks are uniform
//!   to its peer; the dealer sees no opened word.

pub mod request;
mod source;

pub use request::{Deal, Dealt, Request, Words};
pub use source::{Corrections, Dry, Server, Sink, Whole, WholeMasks, receiver};

use crate::{link::Error, prg::MaskId, word::Word};
use serde::Serialize;

/// One protocol call's request number, from which its masks and dealt values take their names in
/// order.
#[derive(Debug)]
pub struct Draw(MaskId);

/// Hands out the request numbers of one lane. A host that shares masks between lanes numbers them
/// by a lane of their own.
#[derive(Debug)]
pub struct Requests {
    lane: u16,
    next: Option<u32>,
}

impl Requests {
    /// All numbers of a lane. One session must not number a lane twice.
    pub fn new(lane: u16) -> Self {
        Self { lane, next: Some(0) }
    }
    /// The next number.
    ///
    /// # Errors
    ///
    /// [`Error::RequestsSpent`] after 2^32 of them.
    pub fn draw(&mut self) -> Result<Draw, Error> {
        let request = self.next.ok_or(Error::RequestsSpent)?;
        self.next = request.checked_add(1);
        Ok(Draw(MaskId { lane: self.lane, request, part: 0 }))
    }
}

impl Draw {
    /// The name of the next part.
    ///
    /// # Panics
    ///
    /// After 2^16 parts, which no protocol draws.
    pub(crate) fn next(&mut self) -> MaskId {
        let id = self.0;
        assert!(id.part < u16::MAX, "a protocol call has at most 2^16 parts");
        self.0.part += 1;
        id
    }
    /// A fresh mask of `len` words (or words of bit planes): free, nothing is sent.
    pub fn mask(&mut self, len: usize) -> Mask {
        Mask { id: self.next(), at: 0, rows: 1, cols: len, stride: len }
    }
}

/// The right to hide one value, once. Neither `Clone` nor `Copy`; openings consume it.
#[derive(Debug)]
pub struct Mask {
    id: MaskId,
    at: usize,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl Mask {
    /// A mask that hides nothing.
    pub fn empty() -> Self {
        Self { id: MaskId::default(), at: 0, rows: 1, cols: 0, stride: 0 }
    }
    /// Words that it can hide.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }
    /// Words of each of its rows.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// Whether it hides nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The first `at` words and the rest, as masks for two values: how lanes share one mask.
    ///
    /// # Panics
    ///
    /// If `at > len`, or the mask is a matrix of several rows.
    pub fn split_at(self, at: usize) -> (Self, Self) {
        assert!(self.rows == 1, "rows are split by columns");
        self.split_columns(at)
    }
    /// Returns a mask of one row as a matrix of `cols` columns.
    ///
    /// # Panics
    ///
    /// If the mask has several rows, or its length is no multiple of `cols`.
    #[must_use]
    pub fn matrix(self, cols: usize) -> Self {
        let rows = self.cols.checked_div(cols).unwrap_or(0);
        assert!(self.rows == 1 && rows * cols == self.cols, "not a matrix of so many columns");
        Self { rows, cols, stride: cols, ..self }
    }
    /// The first `at` columns and the rest, as masks for two values: how the steps of a sequence
    /// share one mask.
    ///
    /// # Panics
    ///
    /// If the mask has fewer than `at` columns.
    pub fn split_columns(self, at: usize) -> (Self, Self) {
        let Self { id, at: first, rows, cols, stride } = self;
        assert!(at <= cols, "a mask cannot be split past its end");
        (Self { cols: at, ..self }, Self { id, at: first + at, rows, cols: cols - at, stride })
    }
    /// The name that outlives the mask.
    pub fn view(&self) -> View<'static> {
        View { id: self.id, at: self.at, rows: Rows::All(self.rows), cols: self.cols, stride: self.stride }
    }
}

/// Public rows of a matrix.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Rows<'a> {
    /// The first so many.
    All(usize),
    /// These, in this order.
    #[serde(serialize_with = "as_bytes")]
    Which(&'a [u32]),
}

/// Plans hash the rows of each batch several times: byte by byte, that would be a third of their
/// time.
fn as_bytes<S: serde::Serializer>(rows: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(Word::bytes(rows))
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::All(n) => *n,
            Self::Which(rows) => rows.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Their numbers.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let which = *self;
        (0..self.len()).map(move |i| match which {
            Rows::All(_) => i,
            Rows::Which(rows) => rows[i] as usize,
        })
    }
}

/// Words of a mask as a public matrix: `cols` words from `at + row * stride` on, for each of
/// `rows`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct View<'a> {
    /// Which mask.
    pub id: MaskId,
    /// First word of row 0.
    pub at: usize,
    /// Which rows.
    pub rows: Rows<'a>,
    /// Words a row.
    pub cols: usize,
    /// Words from one row to the next.
    pub stride: usize,
}

impl<'a> View<'a> {
    /// Words seen.
    pub fn len(&self) -> usize {
        self.rows.len() * self.cols
    }
    /// Whether it sees nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The words `at..at + len` of a flat view.
    ///
    /// # Panics
    ///
    /// If the view is not flat or too short.
    pub fn slice(self, at: usize, len: usize) -> Self {
        assert!(self.rows == Rows::All(1) && at + len <= self.cols, "not a part of a flat view");
        Self { at: self.at + at, cols: len, stride: len, ..self }
    }
    /// A flat view as a matrix of `cols` columns.
    ///
    /// # Panics
    ///
    /// If the view is not flat or not whole rows.
    pub fn matrix(self, cols: usize) -> Self {
        let rows = self.cols.checked_div(cols).unwrap_or(0);
        assert!(self.rows == Rows::All(1) && rows * cols == self.cols, "not a matrix of so many columns");
        Self { rows: Rows::All(rows), cols, stride: cols, ..self }
    }
    /// Rows `which` of a matrix.
    ///
    /// # Panics
    ///
    /// If rows were chosen before, or one does not exist.
    pub fn gather(self, which: &'a [u32]) -> Self {
        let Rows::All(rows) = self.rows else { panic!("rows were chosen before") };
        assert!(which.iter().all(|w| (*w as usize) < rows), "no such row");
        Self { rows: Rows::Which(which), ..self }
    }
    /// Columns `from..from + cols` of a matrix.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn columns(self, from: usize, cols: usize) -> Self {
        assert!(from + cols <= self.cols, "no such columns");
        Self { at: self.at + from, cols, ..self }
    }
    /// Runs of neighbouring words: where each starts in the mask, and how long it is.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let whole = matches!(self.rows, Rows::All(_)) && self.cols == self.stride;
        let (rows, len) = if whole { (Rows::All(1), self.len()) } else { (self.rows, self.cols) };
        let (at, stride) = (self.at, self.stride);
        (0..rows.len()).map(move |i| {
            let row = match rows {
                Rows::All(_) => i,
                Rows::Which(which) => which[i] as usize,
            };
            (at + row * stride, len)
        })
    }
}

/// Where a party's correlated randomness comes from.
pub trait Correlations<W: Word> {
    /// The next request number of this lane.
    ///
    /// # Errors
    ///
    /// [`Error::RequestsSpent`] after 2^32 of them.
    fn draw(&mut self) -> Result<Draw, Error>;
    /// This party's share of a mask of words: any time, any order. The clear engine's is the whole
    /// mask.
    fn expand(&self, view: View<'_>, out: &mut [W]);
    /// This party's XOR share of a mask of bit planes.
    fn expand_bits(&self, view: View<'_>, out: &mut [W]);
    /// This party's shares of the values that `request` names, one slice of `out` for each of
    /// [`Request::dealt`]; strictly in plan order. Needs [`Request::scratch`] words.
    ///
    /// # Errors
    ///
    /// Those of the dealer's connection.
    fn take(
        &mut self,
        draw: &mut Draw,
        request: &Request<'_>,
        out: &mut [&mut [W]],
        scratch: &mut [W],
    ) -> Result<(), Error>;
}
