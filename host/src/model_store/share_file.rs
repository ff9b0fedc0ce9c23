//! A server's share of a model's parameters in a file.
//!
//! | bytes | what |
//! | --- | --- |
//! | 16 | `symbolon share 1` |
//! | 1 | the server: 0 or 1 |
//! | 1 | bytes a word: 4 or 8 |
//! | 32 | digest of the model's public part |
//! | 8 | words, little-endian |
//! | | the words, little-endian |
//! | 32 | SHA-256 of all before |
//!
//! The hash detects torn and exchanged files; a party that can write them can also change the hash.

use crate::secret::{Secret, replace_private};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};
use symbolon_core::word::{Word, word_bytes};

const MAGIC: &[u8; 16] = b"symbolon share 1";
const HEADER_BYTES: usize = 58;

fn header<W: Word>(server: u8, digest: &[u8; 32], words: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(MAGIC);
    header[16] = server;
    header[17] = if word_bytes::<W>() == 4 { 4 } else { 8 };
    header[18..50].copy_from_slice(digest);
    header[50..].copy_from_slice(&(words as u64).to_le_bytes());
    header
}

/// Replaces the file at `path` with the share of `server`; a failure leaves no partial file.
pub(super) fn write<W: Word>(path: &Path, server: u8, digest: &[u8; 32], words: &[W]) -> io::Result<()> {
    let header = header::<W>(server, digest, words.len());
    let mut hasher = Sha256::new();
    hasher.update(header);
    hasher.update(W::bytes(words));
    replace_private(path, |file| {
        file.write_all(&header)?;
        file.write_all(W::bytes(words))?;
        file.write_all(&hasher.finalize())
    })
}

/// Reads a share of `words` words; `None` if the file is damaged or has another header.
pub(super) fn read<W: Word>(path: &Path, server: u8, digest: &[u8; 32], words: usize) -> io::Result<Option<Secret<W>>> {
    let (mut file, mut got) = (File::open(path)?, [0; HEADER_BYTES]);
    let wanted = header::<W>(server, digest, words);
    let len = (HEADER_BYTES + words * word_bytes::<W>() + 32) as u64;
    if file.metadata()?.len() != len {
        return Ok(None);
    }
    file.read_exact(&mut got)?;
    let (mut share, mut hash) = (Secret::zeros(words), [0; 32]);
    file.read_exact(W::bytes_mut(&mut share))?;
    file.read_exact(&mut hash)?;
    let mut hasher = Sha256::new();
    hasher.update(got);
    hasher.update(W::bytes(&share));
    Ok((got == wanted && hasher.finalize()[..] == hash).then_some(share))
}
