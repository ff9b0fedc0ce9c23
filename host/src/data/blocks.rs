//! Reads a set's records block by block, so that a file may be larger than memory.

use super::{DataError, Dataset};
use crate::job::Data;
use std::ops::ControlFlow;

/// Receives a set's records in file order, a block at a time. [`ControlFlow::Break`] ends the
/// reading.
pub(crate) type BlockSink<'a> = dyn FnMut(&Dataset) -> ControlFlow<()> + 'a;

/// Features in a block, over all its records; a block has at least one record.
const BLOCK_FEATURES: usize = 1 << 16;

/// Counts of the records in a set's file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReadCounts {
    /// Records for this set: the job's number, or more if the job uses only the first ones.
    pub records: u64,
    /// Rows of the set's file that were left out because a cell is missing; of a file that is
    /// split, the training set has them all.
    pub skipped: u64,
}

/// Gathers records and passes them on.
pub(super) struct RecordBlocks<'a> {
    /// The records that are not passed on yet.
    pub(super) block: Dataset,
    /// Records passed on.
    passed: usize,
    block_rows: usize,
    take: &'a mut BlockSink<'a>,
}

impl<'a> RecordBlocks<'a> {
    pub(super) fn new(data: &Data, take: &'a mut BlockSink<'a>) -> Result<Self, DataError> {
        let block_rows = (BLOCK_FEATURES / data.features().max(1)).max(1);
        Ok(Self { block: Dataset::with_rows(data, block_rows)?, passed: 0, block_rows, take })
    }

    /// Records so far.
    pub(super) fn rows(&self) -> usize {
        self.passed + self.block.rows
    }

    /// Ends a record, whose values are appended to the block.
    pub(super) fn end_record(&mut self) -> Result<(), DataError> {
        self.block.rows += 1;
        if self.block.rows == self.block_rows { self.pass() } else { Ok(()) }
    }

    /// Passes the last records on.
    pub(super) fn finish(mut self) -> Result<(), DataError> {
        if self.block.rows == 0 { Ok(()) } else { self.pass() }
    }

    fn pass(&mut self) -> Result<(), DataError> {
        let taken = (self.take)(&self.block);
        self.passed += self.block.rows;
        self.block.clear();
        if taken.is_break() { Err(DataError::Ended) } else { Ok(()) }
    }
}
