//! Words whose bits are dealt.

use crate::{correlation::View, kernel::pair_words, word::Word};
use serde::Serialize;

/// Words whose bits are dealt, named by the masks that hide them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Words<'a> {
    /// The words of one mask.
    Mask(View<'a>),
    /// In each row of a mask, the difference `r_i - r_j` of all pairs `i < j`; see
    /// [`pairs`](crate::kernel::portable::pairs) for their order.
    Pairs(View<'a>),
    /// The differences of all pairs of columns, where a flat mask has one column of `rows` words
    /// after the other; see
    /// [`pairs_of_columns`](crate::kernel::portable::pairs_of_columns).
    Columns {
        /// Names the mask.
        mask: View<'a>,
        /// Words of a column.
        rows: usize,
        /// Whether a last column of zeros is added.
        zero: bool,
    },
}

impl Words<'_> {
    /// Elements, among them those that only fill planes of pairs.
    pub fn len<W: Word>(&self) -> usize {
        match self {
            Self::Mask(view) => view.len(),
            Self::Pairs(view) => pair_words::<W>(view.rows.len(), view.cols),
            Self::Columns { mask, rows, zero } => {
                pair_words::<W>(*rows, mask.len().checked_div(*rows).unwrap_or(0) + usize::from(*zero))
            }
        }
    }
    /// Whether there are no elements.
    pub fn is_empty<W: Word>(&self) -> bool {
        self.len::<W>() == 0
    }
    /// Words that [`WholeMasks::words`](super::super::WholeMasks::words) needs beside its output.
    pub(crate) fn scratch(&self) -> usize {
        match self {
            Self::Mask(_) => 0,
            Self::Pairs(view) | Self::Columns { mask: view, .. } => view.len(),
        }
    }
}
