//! Data that is masked and opened once a job: what mini-batches take their rows from.

use super::order::Batch;
use crate::{lanes::Lanes, secret::Secret};
use symbolon_core::{
    correlation::{Rows, View},
    link::Error,
    protocol::{
        masked::{Masked, mask_and_open},
        product::gather,
    },
    word::Word,
};

/// A matrix opened as `X = x - a`: public words, and the name of `a`.
pub struct Table<W> {
    words: Vec<W>,
    view: View<'static>,
    cols: usize,
}

impl<W: Word> Table<W> {
    /// Opens the shares `words` of a matrix of `cols` columns, in place: lane by lane and tile by tile.
    ///
    /// # Errors
    ///
    /// The link's.
    pub fn open(lanes: &mut Lanes<'_, W>, mut words: Secret<W>, cols: usize, tile: usize) -> Result<Self, Error> {
        let mut mask = lanes.draw()?.mask(words.len());
        let view = mask.view();
        let mut rest = &mut words[..];
        let mut work = Vec::new();
        for i in 0..lanes.len() {
            let part = lanes.part(i, view.cols, cols.max(1));
            let (own, others) = mask.split_at(part.len());
            let (slice, tail) = rest.split_at_mut(part.len());
            work.push((slice, own));
            (mask, rest) = (others, tail);
        }
        lanes.each(work, |party, (mut words, mut mask)| {
            party.trace.enter(0, "open the data");
            while !words.is_empty() {
                let n = tile.min(words.len());
                let (own, others) = mask.split_at(n);
                let (head, tail) = words.split_at_mut(n);
                mask_and_open(party, head, own)?;
                (words, mask) = (tail, others);
            }
            Ok(())
        })?;
        Ok(Self { words: words.into_inner(), view, cols })
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// Returns the rows of `batch`, gathered into `words`.
    pub(super) fn rows_of<'a>(&self, batch: Batch<'a>, words: &'a mut [W]) -> Masked<'a, W> {
        if let Batch::Listed(which) = batch {
            gather(&self.words, self.cols, Rows::Which(which), 0, self.cols, words);
        }
        self.masked(batch, words)
    }
    /// Returns the rows of `batch`, which the caller has in `words`.
    pub(super) fn masked<'a>(&self, batch: Batch<'a>, words: &'a [W]) -> Masked<'a, W> {
        let mask = match batch {
            Batch::Listed(which) => self.mask().gather(which),
            Batch::Counted(rows) => View { rows: Rows::All(rows), ..self.mask() },
        };
        Masked { words, mask }
    }
    /// Rows.
    pub fn rows(&self) -> usize {
        self.words.len().checked_div(self.cols).unwrap_or(0)
    }
    /// The mask as a matrix.
    pub fn mask(&self) -> View<'static> {
        self.view.matrix(self.cols)
    }
}
