//! The words of a table, in memory or in a scratch file.

use super::{
    Storage, StorageError,
    scratch::{ScratchFailed, ScratchFile},
};
use crate::secret::Secret;
use std::{ops::Range, sync::Arc};
use symbolon_core::{
    correlation::Rows,
    prg::{MaskId, Prg, fill},
    protocol::product::gather,
    word::{Word, word_bytes},
};

/// Words that a writer gathers for one write.
const WRITE_WORDS: usize = 1 << 16;

/// A table's words.
pub struct Words<W: Word>(Backing<W>);

enum Backing<W: Word> {
    Memory(Secret<W>),
    Disk(OnDisk),
}

struct OnDisk {
    file: ScratchFile,
    len: usize,
    content: Content,
    /// The version that is written next: each has a keystream of its own.
    next: u32,
}

impl OnDisk {
    /// Begins a new version; returns what was before it, and its number.
    fn begin(&mut self) -> (Content, u32) {
        let version = self.next;
        self.next += 1;
        (std::mem::replace(&mut self.content, Content::Version(version)), version)
    }
}

/// The present words of a table on disk.
#[derive(Clone)]
enum Content {
    Zeros,
    /// A stream's; the file has nothing yet.
    Stream(Arc<dyn Prg>, MaskId),
    /// Those of this version in the file.
    Version(u32),
}

impl Content {
    fn read<W: Word>(&self, file: &ScratchFile, at: usize, out: &mut [W]) -> Result<(), ScratchFailed> {
        match self {
            Self::Zeros => out.fill(W::default()),
            Self::Stream(stream, id) => fill(&**stream, *id, at, out),
            Self::Version(version) => file.read(*version, at, out)?,
        }
        Ok(())
    }
}

impl<W: Word> From<Secret<W>> for Words<W> {
    fn from(words: Secret<W>) -> Self {
        Self(Backing::Memory(words))
    }
}

impl<W: Word> Words<W> {
    /// `len` zeros in memory.
    pub fn zeros(len: usize) -> Self {
        Secret::zeros(len).into()
    }

    /// `len` zeros in a scratch file of `storage`.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or the disk has no room for it.
    pub fn on_disk(storage: &Storage, len: usize) -> Result<Self, StorageError> {
        let file = ScratchFile::new(storage, (len * word_bytes::<W>()) as u64)?;
        Ok(Self(Backing::Disk(OnDisk { file, len, content: Content::Zeros, next: 0 })))
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        match &self.0 {
            Backing::Memory(words) => words.len(),
            Backing::Disk(disk) => disk.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether they are in a scratch file.
    pub fn is_on_disk(&self) -> bool {
        matches!(self.0, Backing::Disk(_))
    }

    /// The words, if they are in memory.
    pub fn memory(&self) -> Option<&[W]> {
        match &self.0 {
            Backing::Memory(words) => Some(words),
            Backing::Disk(_) => None,
        }
    }

    /// The words, if they are in memory.
    pub fn memory_mut(&mut self) -> Option<&mut [W]> {
        match &mut self.0 {
            Backing::Memory(words) => Some(words),
            Backing::Disk(_) => None,
        }
    }

    /// Makes the words those of a stream, from its beginning. A table on disk makes them when they
    /// are read.
    pub fn expand(&mut self, stream: &Arc<dyn Prg>, id: MaskId) {
        match &mut self.0 {
            Backing::Memory(words) => fill(&**stream, id, 0, words),
            Backing::Disk(disk) => disk.content = Content::Stream(Arc::clone(stream), id),
        }
    }

    /// Records why the table failed, if it is on disk.
    pub(crate) fn failed(&self, error: StorageError) -> ScratchFailed {
        if let Backing::Disk(disk) = &self.0 {
            disk.file.note(error);
        }
        ScratchFailed
    }

    /// Copies the words from `at` on to `out`.
    ///
    /// # Errors
    ///
    /// The file failed.
    ///
    /// # Panics
    ///
    /// If there are fewer words.
    pub fn read(&self, at: usize, out: &mut [W]) -> Result<(), ScratchFailed> {
        match &self.0 {
            Backing::Memory(words) => {
                out.copy_from_slice(&words[at..][..out.len()]);
                Ok(())
            }
            Backing::Disk(OnDisk { file, len, content, .. }) => {
                assert!(at + out.len() <= *len, "read past the end of a table");
                content.read(file, at, out)
            }
        }
    }

    /// Copies rows of `cols` words to `out`, in the order of `records`.
    pub(crate) fn gather(&self, records: &[u32], cols: usize, out: &mut [W]) -> Result<(), ScratchFailed> {
        match &self.0 {
            Backing::Memory(words) => gather(words, cols, Rows::Which(records), 0, cols, out),
            Backing::Disk(OnDisk { file, content, .. }) => {
                let mut rest = out;
                // Records that follow each other are one read.
                for run in records.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
                    let (own, others) = rest.split_at_mut(run.len() * cols);
                    content.read(file, run[0] as usize * cols, own)?;
                    rest = others;
                }
            }
        }
        Ok(())
    }

    /// Returns a writer for each of `parts` equal parts. They rewrite all words: the words of a
    /// part that is not filled are unspecified.
    pub fn writers(&mut self, parts: usize) -> Vec<Writer<'_, W>> {
        let part = self.len().checked_div(parts).unwrap_or(0);
        match &mut self.0 {
            Backing::Memory(words) => {
                words.chunks_exact_mut(part.max(1)).map(|words| Writer(Sink::Memory(words))).collect()
            }
            Backing::Disk(disk) => {
                let ((_, version), buffer) = (disk.begin(), (WRITE_WORDS / parts.max(1)).max(1));
                let file = &disk.file;
                let writer = |i: usize| {
                    let (at, end) = (i * part, (i + 1) * part);
                    Writer(Sink::Disk { file, version, at, end, buffer: Secret::zeros(buffer), used: 0 })
                };
                (0..parts).map(writer).collect()
            }
        }
    }

    /// Returns the writer of all words.
    pub fn writer(&mut self) -> Writer<'_, W> {
        self.writers(1).pop().unwrap_or(Writer(Sink::Memory(&mut [])))
    }

    /// Returns the parts of these ranges, which follow each other and cover all words, to be
    /// rewritten side by side. The words of a part that is not rewritten are unspecified.
    pub(crate) fn parts(&mut self, ranges: Vec<Range<usize>>) -> Vec<TablePart<'_, W>> {
        match &mut self.0 {
            Backing::Memory(words) => {
                let mut rest = &mut words[..];
                let memory = |range: Range<usize>| {
                    let (own, others) = std::mem::take(&mut rest).split_at_mut(range.len());
                    rest = others;
                    TablePart(range, Rewritten::Memory(own))
                };
                ranges.into_iter().map(memory).collect()
            }
            Backing::Disk(disk) => {
                let ((before, version), file) = (disk.begin(), &disk.file);
                let disk = |range| TablePart(range, Rewritten::Disk { file, before: before.clone(), version });
                ranges.into_iter().map(disk).collect()
            }
        }
    }
}

/// Part of a table that is rewritten.
pub(crate) struct TablePart<'a, W: Word>(Range<usize>, Rewritten<'a, W>);

enum Rewritten<'a, W: Word> {
    Memory(&'a mut [W]),
    Disk { file: &'a ScratchFile, before: Content, version: u32 },
}

impl<W: Word> TablePart<'_, W> {
    /// Rewrites the words, `tile` at a time: `f` gets the index of a tile's first word, and the
    /// words.
    pub(crate) fn rewrite<E: From<ScratchFailed>>(
        self,
        tile: usize,
        mut f: impl FnMut(usize, &mut [W]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (Self(range, words), tile) = (self, tile.max(1));
        match words {
            Rewritten::Memory(words) => {
                let tiles = words.chunks_mut(tile).enumerate();
                tiles.into_iter().try_for_each(|(i, words)| f(range.start + i * tile, words))
            }
            Rewritten::Disk { file, before, version } => {
                let mut buffer = Secret::zeros(tile.min(range.len()));
                for at in range.clone().step_by(tile) {
                    let words = &mut buffer[..tile.min(range.end - at)];
                    before.read(file, at, words)?;
                    f(at, words)?;
                    file.write(version, at, words)?;
                }
                Ok(())
            }
        }
    }
}

/// Writes words one after the other.
pub struct Writer<'a, W: Word>(Sink<'a, W>);

enum Sink<'a, W: Word> {
    Memory(&'a mut [W]),
    Disk {
        file: &'a ScratchFile,
        version: u32,
        /// Index of the buffer's first word.
        at: usize,
        end: usize,
        buffer: Secret<W>,
        used: usize,
    },
}

impl<W: Word> Writer<'_, W> {
    /// Appends `words`.
    ///
    /// # Errors
    ///
    /// The file failed.
    ///
    /// # Panics
    ///
    /// If fewer words of the part are left.
    pub fn push(&mut self, mut words: &[W]) -> Result<(), ScratchFailed> {
        match &mut self.0 {
            Sink::Memory(rest) => {
                let (own, others) = std::mem::take(rest).split_at_mut(words.len());
                own.copy_from_slice(words);
                *rest = others;
                Ok(())
            }
            Sink::Disk { at, end, used, .. } => {
                assert!(*at + *used + words.len() <= *end, "more words than the table has");
                while let Sink::Disk { buffer, used, .. } = &mut self.0 {
                    let (own, others) = words.split_at(words.len().min(buffer.len() - *used));
                    buffer[*used..*used + own.len()].copy_from_slice(own);
                    *used += own.len();
                    words = others;
                    if words.is_empty() {
                        break;
                    }
                    self.flush()?;
                }
                Ok(())
            }
        }
    }

    /// Ends the writing.
    ///
    /// # Errors
    ///
    /// The file failed.
    pub fn finish(mut self) -> Result<(), ScratchFailed> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ScratchFailed> {
        if let Sink::Disk { file, version, at, buffer, used, .. } = &mut self.0 {
            let from = *at;
            // Even if the write fails, these words are not written again: the keystream serves
            // once.
            let words = &mut buffer[..std::mem::take(used)];
            *at += words.len();
            file.write(*version, from, words)?;
        }
        Ok(())
    }
}
