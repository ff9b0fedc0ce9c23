//! Loads a job's records from files into tables, block by block.

use super::{
    Inputs,
    encode::{EncodeError, Encoder, RecordError, squares_fit},
};
use crate::{
    data::{self, DataError, Dataset, ReadCounts},
    job::Job,
    storage::{Storage, StorageError},
};
use std::{cell::RefCell, fmt, ops::ControlFlow, path::Path};
use symbolon_core::word::Word;

/// A job's encoded records.
pub struct Loaded<W: Word> {
    /// Their tables.
    pub inputs: Inputs<W>,
    /// Counts of the records in the training and test files.
    pub held: [ReadCounts; 2],
    /// Variance of a regression's one test target, in units of the target squared; the reference
    /// of R². `None` for classes and for several targets.
    pub variance: Option<f64>,
}

/// An error of loading a job's records.
#[derive(Debug)]
pub enum LoadError {
    /// A file is missing, malformed, or does not match the job.
    Data(DataError),
    /// The job's numbers cannot hold them.
    Encode(EncodeError),
    /// The tables cannot be stored.
    Storage(StorageError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => error.fmt(f),
            Self::Encode(error) => error.fmt(f),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Data(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Storage(error) => Some(error),
        }
    }
}

impl From<EncodeError> for LoadError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl<W: Word> Inputs<W> {
    /// Reads the records of `job` from the files in `dir` into tables in `storage`. Calls
    /// `progress` with the number of records so far.
    ///
    /// # Errors
    ///
    /// - A file is missing, malformed, or does not match the job.
    /// - A value does not fit the job's numbers.
    /// - A scratch file cannot be created or written.
    pub fn load(job: &Job, dir: &Path, storage: &Storage, progress: &dyn Fn(u64)) -> Result<Loaded<W>, LoadError> {
        let mut inputs = Self::new(job, storage).map_err(LoadError::Storage)?;
        let load_error = |error| match error {
            RecordError::Encode(error) => LoadError::Encode(error),
            RecordError::Storage(_) => LoadError::Storage(storage.failure()),
        };
        let sets = Encoder::both(job, &mut inputs).map(RefCell::new);
        let stopped = RefCell::new(None);
        let take = |set: usize, block: &Dataset| {
            let taken = sets[set].borrow_mut().block(block);
            progress(sets.iter().map(|set| set.borrow().rows() as u64).sum());
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    *stopped.borrow_mut() = Some(load_error(error));
                    ControlFlow::Break(())
                }
            }
        };
        let held = data::stream(job, dir, &mut |block| take(0, block), &mut |block| take(1, block));
        if let Some(error) = stopped.into_inner() {
            return Err(error);
        }
        let held = held.map_err(LoadError::Data)?;
        let [train, test] = sets.map(|set| set.into_inner().finish().map_err(load_error));
        let ranges = [train?, test?];
        squares_fit(job, ranges)?;
        let [_, test] = ranges;
        Ok(Loaded { inputs, held, variance: test.variance(job) })
    }
}
