//! Data that is masked and opened once a job: the source of the mini-batches' rows.

use super::{order::Batch, prefetch::Prefetcher};
use crate::{lanes::Lanes, storage::Words};
use std::sync::Arc;
use symbolon_core::{
    correlation::{Mask, Rows, View},
    link::Error,
    party::Party,
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

/// A matrix opened as `X = x - a`: public words, and the name of `a`.
pub struct Table<W: Word> {
    words: Arc<Words<W>>,
    view: View<'static>,
    cols: usize,
    /// Prefetches batches, if the words are on disk.
    prefetcher: Option<Prefetcher<W>>,
    /// The prefetched rows of the step's batch.
    batch: Vec<W>,
}

impl<W: Word> Table<W> {
    /// Opens the shares `words` of a matrix of `cols` columns, in place: lane by lane and tile by tile.
    ///
    /// # Errors
    ///
    /// The link's; [`Error::Storage`].
    pub fn open(lanes: &mut Lanes<'_, W>, mut words: Words<W>, cols: usize, tile: usize) -> Result<Self, Error> {
        let mut mask = lanes.draw()?.mask(words.len());
        let view = mask.view();
        let mut masks = Vec::new();
        for i in 0..lanes.len() {
            let (own, others) = mask.split_at(lanes.part(i, words.len(), cols.max(1)).len());
            masks.push(own);
            mask = others;
        }
        rewrite(lanes, &mut words, (cols, tile), masks, |party, mask, _, words| {
            party.trace.enter(0, "open the data");
            let (own, others) = std::mem::replace(mask, Mask::empty()).split_at(words.len());
            *mask = others;
            mask_and_open(party, words, own).map(drop)
        })?;
        let words = Arc::new(words);
        let prefetcher = words.is_on_disk().then(|| Prefetcher::new(Arc::clone(&words), cols)).transpose()?;
        Ok(Self { words, view, cols, prefetcher, batch: Vec::new() })
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Fetches the rows of a step's batch and prefetches those of the `next`. Must precede the
    /// step's first [`Self::rows_of`].
    pub(super) fn prepare(&mut self, rows: Batch<'_>, next: Option<Batch<'_>>) -> Result<(), Error> {
        let (Some(prefetcher), Batch::Listed { records, .. }) = (&mut self.prefetcher, rows) else { return Ok(()) };
        let next = next.and_then(|next| match next {
            Batch::Listed { records, .. } => Some(records),
            Batch::Counted(_) => None,
        });
        self.batch = prefetcher.take(records, next)?;
        Ok(())
    }

    /// Returns the rows `rows`, a part of the step's batch, gathered into `words`.
    pub(super) fn rows_of<'a>(&self, rows: Batch<'a>, words: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
        if let Batch::Listed { records, first } = rows {
            match &self.prefetcher {
                None => self.words.gather(records, self.cols, words)?,
                Some(_) => words.copy_from_slice(&self.batch[first * self.cols..][..words.len()]),
            }
        }
        Ok(self.masked(rows, words))
    }

    /// Returns the rows `records`, gathered into `words`.
    pub(super) fn listed<'a>(&self, records: &'a [u32], words: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
        self.words.gather(records, self.cols, words)?;
        Ok(Masked { words, mask: self.mask().gather(records) })
    }

    /// Returns the rows `rows`, which the caller has in `words`.
    pub(super) fn masked<'a>(&self, rows: Batch<'a>, words: &'a [W]) -> Masked<'a, W> {
        let mask = match rows {
            Batch::Listed { records, .. } => self.mask().gather(records),
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

/// Rewrites a table: each lane its rows of `cols` words, `tile` words at a time. `f` gets the
/// lane's state, the index of the tile's first word, and the words.
pub(super) fn rewrite<W: Word, T: Send>(
    lanes: &mut Lanes<'_, W>,
    words: &mut Words<W>,
    (cols, tile): (usize, usize),
    states: Vec<T>,
    f: impl Fn(&mut Party<'_, W>, &mut T, usize, &mut [W]) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let parts = (0..lanes.len()).map(|i| lanes.part(i, words.len(), cols.max(1))).collect();
    let work = words.parts(parts).into_iter().zip(states).collect();
    lanes.each(work, |party, (part, mut state)| part.rewrite(tile, |at, words| f(party, &mut state, at, words)))
}
