//! Buffers of shares, wiped when they go, and files that only their owner reads.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    ops::{Deref, DerefMut},
    path::Path,
};
use symbolon_core::word::Word;
use zeroize::Zeroize;

/// Words that tell something together with the other server's: overwritten when dropped, and without `Debug`.
#[derive(Default)]
pub struct Secret<W: Word>(Vec<W>);

impl<W: Word> Secret<W> {
    /// `n` zeros.
    pub fn zeros(n: usize) -> Self {
        Self(vec![W::default(); n])
    }

    /// The words, for whoever makes them public or wipes them.
    pub fn into_inner(mut self) -> Vec<W> {
        std::mem::take(&mut self.0)
    }
}

impl<W: Word> From<Vec<W>> for Secret<W> {
    fn from(words: Vec<W>) -> Self {
        Self(words)
    }
}

impl<W: Word> Deref for Secret<W> {
    type Target = [W];
    fn deref(&self) -> &[W] {
        &self.0
    }
}

impl<W: Word> DerefMut for Secret<W> {
    fn deref_mut(&mut self) -> &mut [W] {
        &mut self.0
    }
}

impl<W: Word> Drop for Secret<W> {
    fn drop(&mut self) {
        // By bytes: dry words have none, however many they are.
        W::bytes_mut(&mut self.0).zeroize();
    }
}

/// Writes a file for its owner alone (on Unix), onto the disk; refuses to replace one, and leaves none that is not whole.
pub(crate) fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path); // the error that matters is the one before
    }
    written
}
