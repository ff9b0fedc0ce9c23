//! Prefetches rows of a table on disk: a thread reads the next batch while a step runs. The order
//! of the batches is public.

use crate::storage::{StorageError, Words};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};
use symbolon_core::{link::Error, word::Word};

/// Batches of a table in memory at most: the step's, the next one, and one in the channel.
pub(super) const BATCHES: usize = 3;

/// Prefetches batches of rows on its own thread.
pub(super) struct Prefetcher<W: Word> {
    requests: SyncSender<Vec<u32>>,
    /// A mutex because lanes share the table; they never lock it.
    batches: Mutex<Receiver<Result<Vec<W>, Error>>>,
    /// Whether a requested batch is not taken yet.
    is_pending: bool,
}

impl<W: Word> Prefetcher<W> {
    /// Reads rows of `cols` words of `words`.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if the system starts no thread.
    pub(super) fn new(words: Arc<Words<W>>, cols: usize) -> Result<Self, Error> {
        let (requests, requested) = sync_channel::<Vec<u32>>(1);
        let (batch, batches) = sync_channel(1);
        let reader = Arc::clone(&words);
        // The thread ends when the prefetcher is dropped.
        let read = move || {
            for records in requested {
                let mut rows = vec![W::default(); records.len() * cols];
                let read = reader.gather(&records, cols, &mut rows).map(|()| rows).map_err(Error::from);
                if batch.send(read).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().spawn(read).map_err(|error| words.failed(StorageError::Thread(error)))?;
        Ok(Self { requests, batches: Mutex::new(batches), is_pending: false })
    }

    /// Returns the rows `records` and requests `next`, which must be the `records` of the next
    /// call.
    pub(super) fn take(&mut self, records: &[u32], next: Option<&[u32]>) -> Result<Vec<W>, Error> {
        if !self.is_pending {
            self.request(records)?;
        }
        let batches = self.batches.get_mut().unwrap_or_else(PoisonError::into_inner);
        let rows = batches.recv().map_err(|_| Error::Storage)??;
        self.is_pending = false;
        if let Some(next) = next {
            self.request(next)?;
        }
        Ok(rows)
    }

    fn request(&mut self, records: &[u32]) -> Result<(), Error> {
        self.is_pending = true;
        self.requests.send(records.to_vec()).map_err(|_| Error::Storage)
    }
}
