//! Lines of text files, whatever ends them and in whatever encoding.
//!
//! A line ends in LF, CR LF or CR, mixed as they come. UTF-16 is recognised by its byte order mark,
//! or by a NUL beside the first character, and becomes UTF-8; all else passes as it is, so that a
//! byte of another encoding spoils no more than its own cell.

use std::{
    io::{self, BufRead, Cursor, Read},
    path::PathBuf,
};

use memchr::memchr2;

use super::{DataError, Source};

/// No line is longer.
const MAX_LINE_BYTES: usize = 16 << 20;
/// Bytes of UTF-16 that are decoded at a time; even.
const CHUNK_BYTES: u64 = 1 << 14;

/// A text file, line by line.
pub(super) struct Lines {
    pub(super) path: PathBuf,
    reader: Box<dyn BufRead>,
    /// The line in hand, ended by LF.
    line: Vec<u8>,
    number: u64,
    /// The line before ended in CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl Lines {
    /// Looks at the first bytes for the encoding.
    pub(super) fn new(mut source: Source) -> Result<Self, DataError> {
        let mut head = Vec::new();
        let read = source.reader.by_ref().take(4).read_to_end(&mut head);
        read.map_err(|error| source.failed(error))?;
        let Source { path, reader } = source;
        let (mark, little) = match head[..] {
            [0xef, 0xbb, 0xbf, ..] => (3, None),
            [0xff, 0xfe, ..] => (2, Some(true)),
            [0xfe, 0xff, ..] => (2, Some(false)),
            [a, 0, b, 0] if a != 0 && b != 0 => (0, Some(true)),
            [0, a, 0, b] if a != 0 && b != 0 => (0, Some(false)),
            _ => (0, None),
        };
        head.drain(..mark);
        let whole = Cursor::new(head).chain(reader);
        let reader: Box<dyn BufRead> = match little {
            None => Box::new(whole),
            Some(little) => Box::new(Utf16 { inner: whole, little, high: None, text: Vec::new(), at: 0 }),
        };
        Ok(Self { path, reader, line: Vec::new(), number: 0, after_cr: false })
    }

    /// The line in hand, with LF at its end.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Its number, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Goes to the next line; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, DataError> {
        self.line.clear();
        self.number += 1;
        loop {
            let read = self.reader.fill_buf();
            let bytes = read.map_err(|source| DataError::Read { path: self.path.clone(), source })?;
            let Some(first) = bytes.first() else { break };
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let end = memchr2(b'\n', b'\r', bytes);
            let content = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + content.len() > MAX_LINE_BYTES {
                let (path, line) = (self.path.clone(), self.number);
                return Err(DataError::LineTooLong { path, line, limit_bytes: MAX_LINE_BYTES });
            }
            self.line.extend_from_slice(content);
            let used = content.len() + usize::from(end.is_some());
            self.after_cr = end.is_some_and(|end| bytes[end] == b'\r');
            self.reader.consume(used);
            if end.is_some() {
                self.line.push(b'\n');
                return Ok(true);
            }
        }
        let more = !self.line.is_empty();
        self.line.push(b'\n');
        Ok(more)
    }
}

/// UTF-16 as UTF-8. What is no character becomes U+FFFD.
struct Utf16<R> {
    inner: R,
    little: bool,
    /// The first half of a pair whose second is still to be read.
    high: Option<u16>,
    text: Vec<u8>,
    /// Bytes of `text` that were taken.
    at: usize,
}

impl<R: BufRead> Utf16<R> {
    fn refill(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.inner.by_ref().take(CHUNK_BYTES).read_to_end(&mut bytes)?;
        let unit = |pair: &[u8]| match *pair {
            [a, b] if self.little => u16::from_le_bytes([a, b]),
            [a, b] => u16::from_be_bytes([a, b]),
            _ => 0xfffd,
        };
        let mut units: Vec<u16> = self.high.take().into_iter().chain(bytes.chunks(2).map(unit)).collect();
        if !bytes.is_empty() {
            self.high = units.pop_if(|last| (0xd800..0xdc00).contains(last));
        }
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        (self.text, self.at) = (text.into_bytes(), 0);
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(bytes)?;
        self.consume(got);
        Ok(got)
    }
}

impl<R: BufRead> BufRead for Utf16<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.text.len() {
            self.refill()?;
        }
        if self.text.is_empty() && self.high.is_some() {
            // One half of a pair was all that was read.
            self.refill()?;
        }
        Ok(&self.text[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}
