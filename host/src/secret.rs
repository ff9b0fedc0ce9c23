//! Buffers of shares, wiped when they go.

use std::ops::{Deref, DerefMut};
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
