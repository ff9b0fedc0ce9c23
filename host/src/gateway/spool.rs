//! Parts that wait on disk for a server that is away: first in, first out, each once.
//!
//! - **Durability:** what [`Spool::push`] took is there after any death of the process or the machine, until [`Spool::remove`].
//! - **Cost:** one durable transaction a call.
//! - **Memory:** [`CACHE_BYTES`], a batch, and who sent the parts, which alone grows with the disk's share: an entry in the [`Pool`] for each source, and 16 bytes for each run of parts of
//!   one source. A flood, and all that was there when the file was opened, is one run. At worst sources take turns and each part is a run: 32 bytes with the table's room to grow, 48 while
//!   it grows, where the part takes some 140 on disk or more. The table keeps the room that it once had.
//! - **Sources** are kept in memory alone: what was on disk when the file was opened, at the start or anew after an error, is [`Source::Past`]'s.

use super::{
    pool::{Pool, Source},
    queue::{KEY_BYTES, Load, Waiting},
    runs::Runs,
};
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

/// What a part of so many bytes takes in the file.
fn taken(len: usize) -> u64 {
    PART_BYTES + len as u64
}

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
    /// Who sent each part, in order.
    sources: Runs,
    pool: Pool,
}

/// A transaction of two phases: devices choose bytes under the root's checksum, which is no cryptographic one.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_two_phase_commit(true);
    Ok(write)
}

impl Open {
    fn new(path: &Path, limit_bytes: u64) -> Result<Self, redb::Error> {
        let database = create(path, CACHE_BYTES)?;
        let write = begin(&database)?;
        let (mut next, mut sources, mut pool) = (0, Runs::default(), Pool::new(limit_bytes));
        {
            write.open_table(KEYS)?;
            let parts = write.open_table(PARTS)?;
            for entry in parts.iter()? {
                let (number, part) = entry?;
                next = number.value() + 1;
                sources.push(Source::Past);
                pool.put(Source::Past, taken(part.value().len() - KEY_BYTES));
            }
        }
        write.commit()?;
        Ok(Self { database, next, sources, pool })
    }

    /// Writes those of `parts` for whose source there is room; says which stay. After an error this is out of step with the disk.
    fn push(&mut self, parts: &VecDeque<Waiting>) -> Result<Vec<bool>, redb::Error> {
        // A source that has its share must not have the disk written to for nothing.
        if !parts.iter().any(|part| self.pool.has_room(part.source)) {
            return Ok(vec![true; parts.len()]);
        }
        let mut stays = Vec::with_capacity(parts.len());
        let write = begin(&self.database)?;
        {
            let (mut queue, mut keys) = (write.open_table(PARTS)?, write.open_table(KEYS)?);
            let mut value = Vec::new();
            for Waiting { key, source, bytes } in parts {
                let has_room = self.pool.has_room(*source);
                stays.push(!has_room);
                if !has_room || keys.get(key)?.is_some() {
                    continue;
                }
                value.clear();
                value.extend_from_slice(key);
                value.extend_from_slice(bytes);
                queue.insert(self.next, &value[..])?;
                keys.insert(key, ())?;
                self.next += 1;
                self.sources.push(*source);
                self.pool.put(*source, taken(bytes.len()));
            }
        }
        write.commit()?;
        Ok(stays)
    }

    fn front(&self) -> Result<Load, redb::Error> {
        let read = self.database.begin_read()?;
        let mut load = Load::default();
        for (entry, source) in read.open_table(PARTS)?.iter()?.zip(self.sources.iter()) {
            let (_, value) = entry?;
            // Written by `push`: no value is shorter.
            let Some((key, part)) = value.value().split_first_chunk::<KEY_BYTES>() else { continue };
            if load.add(Waiting { key: *key, source, bytes: part.to_vec() }).is_err() {
                break;
            }
        }
        Ok(load)
    }

    /// After an error this is out of step with the disk.
    fn remove(&mut self, count: usize) -> Result<(), redb::Error> {
        let write = begin(&self.database)?;
        {
            let (mut queue, mut keys) = (write.open_table(PARTS)?, write.open_table(KEYS)?);
            for _ in 0..count {
                let Some(((_, value), source)) = queue.pop_first()?.zip(self.sources.pop()) else { break };
                let Some((key, part)) = value.value().split_first_chunk::<KEY_BYTES>() else { continue };
                keys.remove(key)?;
                self.pool.give_back(source, taken(part.len()));
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl Spool {
    /// Opens or makes the file.
    ///
    /// # Errors
    ///
    /// If it is no database of this kind, in use, or cannot be read or written.
    pub(super) fn open(path: PathBuf, limit_bytes: u64) -> Result<Self, redb::Error> {
        let open = Some(Open::new(&path, limit_bytes)?);
        Ok(Self { path, limit_bytes, open })
    }

    /// Parts that wait here; `None` after an error, until a call has opened the file anew.
    pub(super) fn len(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.sources.parts())
    }

    /// Takes parts, durably on return: all for whose source there is room. The others stay, in order. Those that wait here already are dropped.
    ///
    /// # Errors
    ///
    /// What the disk says; `parts` then are as before. The next call opens the file anew.
    pub(super) fn push(&mut self, parts: &mut VecDeque<Waiting>) -> Result<(), redb::Error> {
        let mut stays = self.with(|open| open.push(parts))?.into_iter();
        parts.retain(|_| stays.next().unwrap_or(true));
        Ok(())
    }

    /// Of the sources of these parts, the one that holds the most here.
    pub(super) fn heaviest(&self, parts: &VecDeque<Waiting>) -> Option<Source> {
        let held = |source: &Source| self.open.as_ref().map_or(0, |open| open.pool.held(*source));
        parts.iter().map(|part| part.source).max_by_key(held)
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
        self.with(|open| open.remove(count))
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Open) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.path, self.limit_bytes)?,
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
        from(Source::Broker, numbers)
    }

    fn from(source: Source, numbers: std::ops::Range<u64>) -> VecDeque<Waiting> {
        let part = |n: u64| {
            let mut key = [7; KEY_BYTES];
            key[..8].copy_from_slice(&n.to_le_bytes());
            Waiting { key, source, bytes: n.to_le_bytes().to_vec() }
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
    fn a_full_source_keeps_its_newest_and_others_pass_it() {
        let path = scratch("full");
        let mut spool = Spool::open(path.clone(), 8 * taken(8)).unwrap();
        let mut parts = waiting(0..9);
        parts.extend(from(Source::Serial(0), 20..24));
        spool.push(&mut parts).unwrap();
        // Half for the first, half of the rest for the second.
        let left = |parts: &VecDeque<Waiting>| parts.iter().map(|part| part.bytes[0]).collect::<Vec<_>>();
        assert_eq!((spool.len(), left(&parts)), (Some(6), vec![4, 5, 6, 7, 8, 22, 23]));
        assert_eq!(numbers(&spool.front().unwrap()), [0, 1, 2, 3, 20, 21]);
        // A full disk is not written to.
        let before = std::fs::read(&path).unwrap();
        spool.push(&mut parts).unwrap();
        assert!(std::fs::read(&path).unwrap() == before);
        spool.remove(2).unwrap();
        spool.push(&mut parts).unwrap();
        assert_eq!((spool.len(), left(&parts)), (Some(6), vec![5, 6, 7, 8, 23]));
        // Who holds the most, not who sent the oldest.
        parts.rotate_right(1);
        assert_eq!(spool.heaviest(&parts), Some(Source::Broker));
        assert_eq!(
            (spool.heaviest(&parts.split_off(1)), spool.heaviest(&parts)),
            (Some(Source::Broker), Some(Source::Serial(0)))
        );
        assert_eq!(spool.heaviest(&VecDeque::new()), None);
        assert_eq!(numbers(&spool.front().unwrap()), [2, 3, 20, 21, 4, 22]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_was_on_disk_when_it_was_opened_is_nobodys_and_leaves_room_when_it_goes() {
        let path = scratch("past");
        let mut spool = Spool::open(path.clone(), 8 * taken(8)).unwrap();
        spool.push(&mut waiting(0..9)).unwrap();
        drop(spool);
        let mut spool = Spool::open(path.clone(), 8 * taken(8)).unwrap();
        let mut parts = waiting(4..9);
        spool.push(&mut parts).unwrap();
        assert_eq!((spool.len(), parts.len()), (Some(6), 3));
        spool.remove(4).unwrap();
        spool.push(&mut parts).unwrap();
        assert_eq!((spool.len(), parts.len()), (Some(4), 1));
        spool.remove(4).unwrap();
        assert_eq!(spool.open.map(|open| open.pool.used()), Some(0));
        std::fs::remove_file(path).unwrap();
    }
}
