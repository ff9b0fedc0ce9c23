//! The text of vectors: a line at the margin begins one, indented lines belong to it, `#` begins a remark.

use super::Wrong;
use core::str::{FromStr, SplitWhitespace};

/// A vector.
pub struct Case<'a> {
    /// Where it begins, from 1.
    pub line: u32,
    head: &'a str,
    body: &'a str,
}

/// All vectors of a file, in order.
pub fn cases(text: &str) -> impl Iterator<Item = Case<'_>> {
    let (mut rest, mut line) = (text, 0);
    core::iter::from_fn(move || {
        loop {
            let (first, after) = rest.split_once('\n')?;
            let at = line + 1;
            (rest, line) = (after, at);
            if first.is_empty() || first.starts_with(['#', ' ']) {
                continue;
            }
            while let Some((_, after)) = rest.split_once('\n').filter(|(next, _)| next.starts_with(' ')) {
                (rest, line) = (after, line + 1);
            }
            let head = first.split_once('#').map_or(first, |(head, _)| head);
            return Some(Case { line: at, head, body: &after[..after.len() - rest.len()] });
        }
    })
}

impl<'a> Case<'a> {
    /// Words of the first line.
    pub fn head(&self) -> Words<'a> {
        Words(self.head.split_whitespace())
    }

    /// The values of all lines with this key, in order.
    pub fn each(&self, key: &'static str) -> impl Iterator<Item = &'a str> + Send + use<'a> {
        self.body.lines().filter_map(move |line| {
            let line = line.trim_start();
            let (found, value) = line.split_once(' ').unwrap_or((line, ""));
            (found == key).then_some(value)
        })
    }

    /// Keys and values of all lines.
    pub fn lines(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.body.lines().map(|line| line.trim_start().split_once(' ').unwrap_or((line.trim_start(), "")))
    }

    /// The value of the line with this key.
    pub fn get(&self, key: &'static str) -> Result<&'a str, Wrong> {
        self.each(key).next().ok_or(Wrong::Vector)
    }

    /// Exactly `N` bytes.
    pub fn bytes<const N: usize>(&self, key: &'static str) -> Result<[u8; N], Wrong> {
        hex(self.get(key)?)
    }

    /// Bytes, at the start of `buffer`.
    pub fn read<'b>(&self, key: &'static str, buffer: &'b mut [u8]) -> Result<&'b mut [u8], Wrong> {
        read(self.get(key)?, buffer)
    }

    /// Holds `found` against the bytes with this key.
    pub fn expect(&self, key: &'static str, found: &[u8]) -> Result<(), Wrong> {
        same(self.get(key)?, found)
    }
}

/// Words with a space between.
pub struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    /// The words of a value.
    pub fn of(value: &'a str) -> Self {
        Self(value.split_whitespace())
    }

    /// The next word.
    pub fn word(&mut self) -> Result<&'a str, Wrong> {
        self.0.next().ok_or(Wrong::Vector)
    }

    /// The next word, a decimal number.
    pub fn number<T: FromStr>(&mut self) -> Result<T, Wrong> {
        self.word()?.parse().map_err(|_| Wrong::Vector)
    }

    /// The next word, a hexadecimal number.
    pub fn bits(&mut self) -> Result<u64, Wrong> {
        u64::from_str_radix(self.word()?, 16).map_err(|_| Wrong::Vector)
    }

    /// The next word, as bytes.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        hex(self.word()?)
    }
}

/// The bytes of a string of hexadecimal digits; `None` where there is something else.
fn digits(hex: &str) -> impl Iterator<Item = Option<u8>> {
    hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => {
            let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
            Some(value(high)? << 4 | value(low)?)
        }
        _ => None,
    })
}

/// Reads hexadecimal bytes to the start of `buffer`.
pub fn read<'b>(hex: &str, buffer: &'b mut [u8]) -> Result<&'b mut [u8], Wrong> {
    let out = buffer.get_mut(..hex.len() / 2).ok_or(Wrong::Vector)?;
    let mut bytes = digits(hex);
    for out in out.iter_mut() {
        *out = bytes.next().flatten().ok_or(Wrong::Vector)?;
    }
    if bytes.next().is_none() { Ok(out) } else { Err(Wrong::Vector) }
}

fn hex<const N: usize>(text: &str) -> Result<[u8; N], Wrong> {
    let mut out = [0; N];
    if read(text, &mut out)?.len() == N { Ok(out) } else { Err(Wrong::Vector) }
}

/// Holds bytes against hexadecimal ones.
pub fn same(hex: &str, found: &[u8]) -> Result<(), Wrong> {
    hold(digits(hex).eq(found.iter().map(|byte| Some(*byte))))
}

/// What must hold.
pub fn hold(holds: bool) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(Wrong::Result) }
}
