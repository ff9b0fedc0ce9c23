//! An unnamed file, encrypted with a key that is only in memory. Its disk space is reserved when it
//! is created, where the system can do that, and freed however the program ends.
//!
//! Each version of a word has its own stream position and is written once. So the file reveals
//! nothing, not even the change from shares to opened words.

use super::{Storage, StorageError};
use crate::kernel::aes128_prg;
use std::{fs::File, io};
use symbolon_core::{
    prg::{MaskId, Prg, Seed, fill},
    word::{Word, word_bytes},
};
use zeroize::{Zeroize, Zeroizing};

/// A file of words.
pub(super) struct ScratchFile {
    file: File,
    stream: Box<dyn Prg>,
    bytes: u64,
    storage: Storage,
}

/// A scratch file failed: [`Storage::take_fault`] returns the error.
#[derive(Clone, Copy, Debug)]
pub struct ScratchFailed;

impl From<ScratchFailed> for symbolon_core::link::Error {
    fn from(_: ScratchFailed) -> Self {
        Self::Storage
    }
}

impl ScratchFile {
    /// Creates a file with room for `bytes` bytes.
    pub(super) fn new(storage: &Storage, bytes: u64) -> Result<Self, StorageError> {
        let directory = &storage.config.directory;
        let file = tempfile::tempfile_in(directory)
            .map_err(|source| StorageError::Create { directory: directory.clone(), source })?;
        reserve(&file, bytes).map_err(|error| StorageError::of(directory, bytes, error))?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|_| StorageError::Randomness)?;
        let stream = aes128_prg(&Seed::from_bytes(&seed), &[0; 16]);
        Ok(Self { file, stream, bytes, storage: storage.clone() })
    }

    /// Reads version `version` of the words from `at` on.
    pub(super) fn read<W: Word>(&self, version: u32, at: usize, out: &mut [W]) -> Result<(), ScratchFailed> {
        let from = (at * word_bytes::<W>()) as u64;
        self.noted(read_at(&self.file, W::bytes_mut(out), from))?;
        self.apply_keystream(version, at, out);
        Ok(())
    }

    /// Writes version `version` of the words from `at` on; encrypts `words`.
    pub(super) fn write<W: Word>(&self, version: u32, at: usize, words: &mut [W]) -> Result<(), ScratchFailed> {
        self.apply_keystream(version, at, words);
        self.noted(write_at(&self.file, W::bytes(words), (at * word_bytes::<W>()) as u64))
    }

    /// Encrypts or decrypts `words`, which are from word `at` on.
    fn apply_keystream<W: Word>(&self, version: u32, at: usize, words: &mut [W]) {
        const CHUNK: usize = 512;
        let mut pad = [W::default(); CHUNK];
        let id = MaskId { lane: 0, request: version, part: 0 };
        let used = words.len().min(CHUNK);
        for (i, words) in words.chunks_mut(CHUNK).enumerate() {
            let pad = &mut pad[..words.len()];
            fill(&*self.stream, id, at + i * CHUNK, pad);
            words.iter_mut().zip(pad).for_each(|(word, pad)| *word = word.xor(*pad));
        }
        W::bytes_mut(&mut pad[..used]).zeroize();
    }

    /// Records an error for [`Storage::take_fault`].
    pub(super) fn note(&self, error: StorageError) {
        self.storage.note(error);
    }

    /// Records an error of the system.
    fn noted<T>(&self, result: io::Result<T>) -> Result<T, ScratchFailed> {
        result.map_err(|error| {
            self.storage.note(StorageError::of(&self.storage.config.directory, self.bytes, error));
            ScratchFailed
        })
    }
}

/// Reserves disk space, so that a full disk does not end a job after hours. Systems that cannot
/// reserve only set the length.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            // A file system that cannot.
            Err(rustix::io::Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    file.set_len(bytes)
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// As [`std::os::unix::fs::FileExt::read_exact_at`].
#[cfg(windows)]
fn read_at(file: &File, mut out: &mut [u8], mut at: u64) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (out, at) = (&mut out[n..], at + n as u64),
        }
    }
    Ok(())
}

/// As [`std::os::unix::fs::FileExt::write_all_at`].
#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => (bytes, at) = (&bytes[n..], at + n as u64),
        }
    }
    Ok(())
}
