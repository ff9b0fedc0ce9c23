//! Public lengths of sequences that are padded behind their end.
//!
//! A record has the same number of steps as all others, and its length says how many of them
//! count. Lengths are public: a layer chooses rows by them locally, on shares, so they change
//! neither a message nor a plan.

/// The lengths of a pass's records, as one layer sees them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RowLengths<'a> {
    /// Steps of each row's record that count, row by row.
    pub rows: &'a [u16],
    /// Step of the record with which the layer's input begins: not 0 behind a
    /// [slice](super::Slice).
    pub first_step: u32,
}

impl RowLengths<'_> {
    /// The rows whose records end before step `step` of the layer's input.
    pub fn padded(&self, step: usize) -> impl Iterator<Item = usize> {
        let step = step.saturating_add(self.first_step as usize);
        self.rows.iter().enumerate().filter(move |(_, length)| usize::from(**length) <= step).map(|(row, _)| row)
    }
}
