//! A disk that can be full, lose what was not synced, and be read by the next process.

use chacha20::rand_core::Rng as _;
use redb::StorageBackend;
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use symbolon::intake::store::Store;

/// Bytes that outlive the database on them.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    live: Vec<u8>,
    /// As of the last sync.
    synced: Vec<u8>,
    /// Since then.
    writes: Vec<Write>,
    /// Writes that are still taken; all, if `None`.
    room: Option<u64>,
}

#[derive(Clone, Debug)]
enum Write {
    Length(u64),
    Bytes(u64, Vec<u8>),
}

fn apply(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Length(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Write::Bytes(at, data) => {
            let at = usize::try_from(*at).unwrap();
            if bytes.len() < at + data.len() {
                bytes.resize(at + data.len(), 0);
            }
            bytes[at..at + data.len()].copy_from_slice(data);
        }
    }
}

impl Disk {
    /// Takes this many writes more, then fails; `None`: all.
    pub fn room(&self, writes: Option<u64>) {
        self.0.lock().unwrap().room = writes;
    }

    /// The power fails: each write since the last sync is on the disk, or not.
    pub fn crash(&self, seed: u64) -> Self {
        let inner = self.0.lock().unwrap();
        let mut rng = crate::harness::rng(seed);
        let mut bytes = inner.synced.clone();
        for write in &inner.writes {
            if rng.next_u32() & 1 == 1 {
                apply(&mut bytes, write);
            }
        }
        let after = Inner { live: bytes.clone(), synced: bytes, ..Inner::default() };
        Self(Arc::new(Mutex::new(after)))
    }

    pub fn store(&self, server: u8) -> Store {
        let disk = self.clone();
        let open = move || redb::Database::builder().create_with_backend(disk.clone());
        Store::with(Box::new(open), server, Duration::ZERO).unwrap()
    }

    fn write(&self, write: Write) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        if let Some(room) = &mut inner.room {
            *room = room.checked_sub(1).ok_or_else(full)?;
        }
        apply(&mut inner.live, &write);
        inner.writes.push(write);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.0.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        let bytes = inner.live.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Disk::write(self, Write::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.synced = inner.live.clone();
        inner.writes.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Disk::write(self, Write::Bytes(offset, data.to_vec()))
    }
}
