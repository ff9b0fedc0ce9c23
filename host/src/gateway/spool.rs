//! Parts that wait on disk for a server that is away: first in, first out, each once.
//!
//! - **Durability:** what [`Spool::push`] took is there after any death of the process or the machine, until [`Spool::remove`].
//! - **Cost:** one durable transaction a call.
//! - **Memory:** [`CACHE_BYTES`] and a batch.

use super::queue::{KEY_BYTES, Load, Waiting};
use crate::intake::store::create;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

/// Number in the queue to key and part.
const PARTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("parts");
/// Keys of the parts that wait.
const KEYS: TableDefinition<'_, &[u8; KEY_BYTES], ()> = TableDefinition::new("keys");

const CACHE_BYTES: usize = 8 << 20;
/// What a part takes in the file beside its bytes, about: key twice, number, the trees.
const PART_BYTES: u64 = 100;

/// A server's parts on disk.
pub(super) struct Spool {
    path: PathBuf,
    limit_bytes: u64,
    /// None after an error: what the database then has in memory may not be what the disk has.
    open: Option<Open>,
}

struct Open {
    database: Database,
    next: u64,
    held: Held,
}

/// A transaction of two phases: devices choose bytes under the root's checksum, which is no cryptographic one.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_two_phase_commit(true);
    Ok(write)
}

/// How much waits.
#[derive(Clone, Copy, Default)]
struct Held {
    parts: u64,
    bytes: u64,
}

impl Held {
    fn with(self, part: usize) -> Self {
        Self { parts: self.parts + 1, bytes: self.bytes + part as u64 + PART_BYTES }
    }

    fn without(self, part: usize) -> Self {
        Self { parts: self.parts - 1, bytes: self.bytes - part as u64 - PART_BYTES }
    }
}

impl Open {
    fn new(path: &Path) -> Result<Self, redb::Error> {
        let database = create(path, CACHE_BYTES)?;
        let write = begin(&database)?;
        let (mut next, mut held) = (0, Held::default());
        {
            write.open_table(KEYS)?;
            let parts = write.open_table(PARTS)?;
            for entry in parts.iter()? {
                let (number, part) = entry?;
                next = number.value() + 1;
                held = held.with(part.value().len() - KEY_BYTES);
            }
        }
        write.commit()?;
        Ok(Self { database, next, held })
    }

    /// Writes as many of `parts` as the limit permits; returns how many are done with, and what then is held.
    fn push(&self, parts: &VecDeque<Waiting>, limit_bytes: u64) -> Result<(usize, u64, Held), redb::Error> {
        let (mut done, mut next, mut held) = (0, self.next, self.held);
        let write = begin(&self.database)?;
        {
            let (mut queue, mut keys) = (write.open_table(PARTS)?, write.open_table(KEYS)?);
            let mut value = Vec::new();
            for Waiting { key, bytes } in parts {
                if keys.get(key)?.is_none() {
                    let with = held.with(bytes.len());
                    if with.bytes > limit_bytes {
                        break;
                    }
                    value.clear();
                    value.extend_from_slice(key);
                    value.extend_from_slice(bytes);
                    queue.insert(next, &value[..])?;
                    keys.insert(key, ())?;
                    (next, held) = (next + 1, with);
                }
                done += 1;
            }
        }
        write.commit()?;
        Ok((done, next, held))
    }

    fn front(&self) -> Result<Load, redb::Error> {
        let read = self.database.begin_read()?;
        let mut load = Load::default();
        for entry in read.open_table(PARTS)?.iter()? {
            let (_, value) = entry?;
            // Written by `push`: no value is shorter.
            let Some((key, part)) = value.value().split_first_chunk::<KEY_BYTES>() else { continue };
            if load.add(*key, part.to_vec()).is_err() {
                break;
            }
        }
        Ok(load)
    }

    fn remove(&self, count: usize) -> Result<Held, redb::Error> {
        let mut held = self.held;
        let write = begin(&self.database)?;
        {
            let (mut queue, mut keys) = (write.open_table(PARTS)?, write.open_table(KEYS)?);
            for _ in 0..count {
                let Some((_, value)) = queue.pop_first()? else { break };
                let Some((key, part)) = value.value().split_first_chunk::<KEY_BYTES>() else { continue };
                keys.remove(key)?;
                held = held.without(part.len());
            }
        }
        write.commit()?;
        Ok(held)
    }
}

impl Spool {
    /// Opens or makes the file.
    ///
    /// # Errors
    ///
    /// If it is no database of this kind, in use, or cannot be read or written.
    pub(super) fn open(path: PathBuf, limit_bytes: u64) -> Result<Self, redb::Error> {
        let open = Some(Open::new(&path)?);
        Ok(Self { path, limit_bytes, open })
    }

    /// Parts that wait here; `None` after an error, until a call has opened the file anew.
    pub(super) fn len(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.held.parts)
    }

    /// Takes parts off the front, durably on return: all, unless the limit is reached. Those that wait here already are dropped.
    ///
    /// # Errors
    ///
    /// What the disk says; `parts` then are as before. The next call opens the file anew.
    pub(super) fn push(&mut self, parts: &mut VecDeque<Waiting>) -> Result<(), redb::Error> {
        let limit = self.limit_bytes;
        let done = self.with(|open| {
            let (done, next, held) = open.push(parts, limit)?;
            (open.next, open.held) = (next, held);
            Ok(done)
        })?;
        drop(parts.drain(..done));
        Ok(())
    }

    /// The oldest parts, as many as a batch holds.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(super) fn front(&mut self) -> Result<Load, redb::Error> {
        self.with(|open| open.front())
    }

    /// Forgets the oldest parts.
    ///
    /// # Errors
    ///
    /// What the disk says; the parts may then be delivered again.
    pub(super) fn remove(&mut self, count: usize) -> Result<(), redb::Error> {
        self.with(|open| {
            open.held = open.remove(count)?;
            Ok(())
        })
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Open) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.path)?,
        };
        let result = act(&mut open)?;
        self.open = Some(open);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn waiting(numbers: std::ops::Range<u64>) -> VecDeque<Waiting> {
        let part = |n: u64| {
            let mut key = [7; KEY_BYTES];
            key[..8].copy_from_slice(&n.to_le_bytes());
            Waiting { key, bytes: n.to_le_bytes().to_vec() }
        };
        numbers.map(part).collect()
    }

    fn numbers(load: &Load) -> Vec<u64> {
        load.batch.parts.iter().map(|part| u64::from_le_bytes(part[..].try_into().unwrap())).collect()
    }

    fn scratch(test: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("symbolon-spool-{test}-{}.redb", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn parts_survive_in_order_and_once() {
        let path = scratch("order");
        let mut spool = Spool::open(path.clone(), 1 << 20).unwrap();
        let mut parts = waiting(0..10);
        spool.push(&mut parts).unwrap();
        spool.push(&mut waiting(5..12)).unwrap();
        assert!(parts.is_empty());
        spool.remove(3).unwrap();
        drop(spool);
        let mut spool = Spool::open(path.clone(), 1 << 20).unwrap();
        assert_eq!(spool.len(), Some(9));
        assert_eq!(numbers(&spool.front().unwrap()), (3..12).collect::<Vec<_>>());
        spool.remove(100).unwrap();
        assert_eq!((spool.len(), spool.front().unwrap().len()), (Some(0), 0));
        // Numbers go on; a part that was answered may come again.
        spool.push(&mut waiting(3..4)).unwrap();
        assert_eq!(spool.len(), Some(1));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_full_spool_takes_the_oldest_alone() {
        let path = scratch("full");
        let mut spool = Spool::open(path.clone(), 5 * (PART_BYTES + 8)).unwrap();
        let mut parts = waiting(0..9);
        spool.push(&mut parts).unwrap();
        assert_eq!((spool.len(), parts.len()), (Some(5), 4));
        spool.remove(2).unwrap();
        spool.push(&mut parts).unwrap();
        assert_eq!(numbers(&spool.front().unwrap()), (2..7).collect::<Vec<_>>());
        std::fs::remove_file(path).unwrap();
    }
}
