//! Maximum (in progress).

use crate::{kernel::plane_words, word::Word};

/// Words of the pairs.
pub fn pair_words(_rows: usize, _cols: usize) -> usize {
    0
}

/// Pair differences.
pub(crate) fn pairs<W: Word>(_out: &mut [W], _r: &[W], _rows: usize, _cols: usize) {
    let _ = plane_words::<W>(0);
}
