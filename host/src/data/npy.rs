//! NPY files, versions 1 to 3: a magic, a version, a header's length, the header, the elements.
//!
//! The header is a Python dictionary:
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }`.
//! Format: `numpy.lib.format`, NEP 1.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use super::array::{self, Array, Arrays, Element, Kind, fill};
use super::{DataError, Opener, ReadCounts, RecordBlocks, Source, table::shown};
use crate::job::{Data, Npy};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// No header is longer: what the first version can announce.
const MAX_HEADER_BYTES: u32 = 1 << 16;
/// As many as numpy has.
const MAX_DIMENSIONS: usize = 64;

/// Faults of an NPY file that keep it from being read at all.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NpyProblem {
    /// The first bytes are others.
    Magic,
    /// An unknown version of the format.
    Version {
        /// The version in the file.
        got: u8,
    },
    /// The header is longer than any real one.
    HeaderTooLong {
        /// The announced length.
        got_bytes: u32,
    },
    /// The header is no dictionary of `descr`, `fortran_order` and `shape`.
    Header,
    /// Elements are no numbers of a known type.
    Type {
        /// The beginning of the type's description.
        descr: String,
    },
    /// The array has no dimension that counts records.
    Scalar,
}

impl fmt::Display for NpyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("is not an NPY file: it begins with other bytes; write it with numpy.save"),
            Self::Version { got } => {
                write!(f, "is an NPY file of version {got}; versions 1 to 3 are read: write it with numpy.save")
            }
            Self::HeaderTooLong { got_bytes } => write!(
                f,
                "announces a header of {got_bytes} bytes, and at most {MAX_HEADER_BYTES} are read; \
                 fetch it again, or write it with numpy.save"
            ),
            Self::Header => f.write_str(
                "has an NPY header without a valid descr, fortran_order and shape; fetch it again, or write it with \
                 numpy.save",
            ),
            Self::Type { descr } => write!(
                f,
                "has elements of type {descr}; integers of 1 to 8 bytes, floats of 4 and 8 bytes and bool are read: \
                 convert it, for example with x.astype(\"float32\")"
            ),
            Self::Scalar => f.write_str("holds a single number; give an array whose first dimension counts records"),
        }
    }
}

/// Creates a file of version 1 for elements of the type `descr` (`|u1`, `<f4`), and writes its
/// header. `shape` is what stands between the parentheses, as `60000, 784`.
///
/// # Errors
///
/// The error of the system.
pub fn create_npy(path: &Path, descr: &str, shape: &str) -> io::Result<BufWriter<File>> {
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let len = (10 + dictionary.len() + 1).next_multiple_of(64) - 10;
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(MAGIC)?;
    file.write_all(&[1, 0])?;
    file.write_all(&u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes())?;
    writeln!(file, "{dictionary:<width$}", width = len - 1)?;
    Ok(file)
}

/// Reads both sets; the second is empty if the job names no files for it.
pub(super) fn load(
    data: &Data,
    files: &Npy,
    open: Opener<'_>,
    [train, test]: [&mut RecordBlocks<'_>; 2],
) -> Result<[ReadCounts; 2], DataError> {
    let array = |name: &str| self::open(open(name)?);
    let arrays = |features: &str, labels: &str, lengths: [&Option<String>; 2]| {
        let [of_records, of_labels] = lengths.map(|name| name.as_deref().map(array).transpose());
        Ok(Arrays { features: array(features)?, labels: array(labels)?, lengths: [of_records?, of_labels?] })
    };
    let of_train = [&files.train_lengths, &files.train_label_lengths];
    let own = arrays(&files.train_features, &files.train_labels, of_train)?;
    let train = array::load(data, train, (data.train_records, "data.train_records"), own)?;
    let test = match (&files.test_features, &files.test_labels) {
        (Some(features), Some(labels)) => {
            let own = arrays(features, labels, [&files.test_lengths, &files.test_label_lengths])?;
            array::load(data, test, (data.test_records, "data.test_records"), own)?
        }
        // A valid job has both or none.
        _ => ReadCounts::default(),
    };
    Ok([train, test])
}

/// Reads the header; memory for a record is taken with the first.
pub(crate) fn open(mut source: Source) -> Result<Array, DataError> {
    let mut start = [0; 8];
    fill(&mut source, &mut start, 0, 0)?;
    let [.., version, _] = start;
    if !start.starts_with(MAGIC) {
        return Err(refused(source, NpyProblem::Magic));
    }
    let mut len = [0; 4];
    let used = match version {
        1 => 2,
        2 | 3 => 4,
        got => return Err(refused(source, NpyProblem::Version { got })),
    };
    fill(&mut source, &mut len[..used], 0, 0)?;
    let got_bytes = u32::from_le_bytes(len);
    if got_bytes > MAX_HEADER_BYTES {
        return Err(refused(source, NpyProblem::HeaderTooLong { got_bytes }));
    }
    let mut text = vec![0; got_bytes as usize];
    fill(&mut source, &mut text, 0, 0)?;
    let Some(header) = Header::parse(&text) else { return Err(refused(source, NpyProblem::Header)) };
    let Some(element) = element(&header.descr) else {
        let descr = shown(&String::from_utf8_lossy(&header.descr));
        return Err(refused(source, NpyProblem::Type { descr }));
    };
    if header.shape.is_empty() {
        return Err(refused(source, NpyProblem::Scalar));
    }
    Ok(Array::new(source, element, &header.shape, header.fortran_order))
}

fn refused(source: Source, problem: NpyProblem) -> DataError {
    DataError::Npy { path: source.path, problem }
}

/// The type of a description such as `'<f4'`, quotes included.
fn element(descr: &[u8]) -> Option<Element> {
    let (quote, rest) = descr.split_first()?;
    let [order, kind @ ..] = rest.strip_suffix(&[*quote])? else { return None };
    let kind = match kind {
        b"b1" => Kind::Bool,
        b"u1" => Kind::U8,
        b"i1" => Kind::I8,
        b"u2" => Kind::U16,
        b"i2" => Kind::I16,
        b"u4" => Kind::U32,
        b"i4" => Kind::I32,
        b"u8" => Kind::U64,
        b"i8" => Kind::I64,
        b"f4" => Kind::F32,
        b"f8" => Kind::F64,
        _ => return None,
    };
    let big_endian = match order {
        b'<' => false,
        b'>' => true,
        // A single byte has no order.
        b'|' if matches!(kind, Kind::Bool | Kind::U8 | Kind::I8) => false,
        _ => return None,
    };
    Some(Element { kind, big_endian })
}

/// The dictionary of a header.
struct Header {
    /// A quoted string, or the text of another type's description.
    descr: Vec<u8>,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Header {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut text = Text(text);
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        text.expect(b'{')?;
        while !text.next_is(b'}') {
            let key = text.string()?;
            text.expect(b':')?;
            match &key[1..key.len() - 1] {
                b"descr" if descr.is_none() => descr = Some(text.value()?.to_vec()),
                b"fortran_order" if fortran_order.is_none() => {
                    fortran_order = Some(match text.value()? {
                        b"True" => true,
                        b"False" => false,
                        _ => return None,
                    });
                }
                b"shape" if shape.is_none() => shape = Some(text.sizes()?),
                _ => return None,
            }
            if !text.next_is(b',') && text.peek() != Some(b'}') {
                return None;
            }
        }
        text.peek().is_none().then_some(())?;
        Some(Self { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }
}

/// The rest of a header's text.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        self.0 = self.0.trim_ascii_start();
        self.0.first().copied()
    }

    /// Takes `byte` if it is next.
    fn next_is(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        if is {
            self.0 = &self.0[1..];
        }
        is
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.next_is(byte).then_some(())
    }

    /// Takes the first `len` bytes.
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a string, with its quotes. Escapes are unknown to the format.
    fn string(&mut self) -> Option<&'a [u8]> {
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'))?;
        let len = self.0[1..].iter().position(|byte| *byte == quote)?;
        self.take(len + 2)
    }

    /// Takes a value up to the comma or brace behind it, brackets within it included.
    fn value(&mut self) -> Option<&'a [u8]> {
        if matches!(self.peek()?, b'\'' | b'"') {
            return self.string();
        }
        let mut depth = 0usize;
        let ends = |byte: &u8| {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(byte, b',' | b'}')
        };
        let len = self.0.iter().position(ends)?;
        Some(self.take(len)?.trim_ascii_end())
    }

    /// Takes a tuple of sizes: `()`, `(3,)`, `(3, 4)`; Python 2 wrote `3L`.
    fn sizes(&mut self) -> Option<Vec<u64>> {
        let mut sizes = Vec::new();
        self.expect(b'(')?;
        while !self.next_is(b')') {
            self.peek()?;
            let len = self.0.iter().position(|byte| !byte.is_ascii_digit())?;
            let digits = str::from_utf8(self.take(len)?).ok()?;
            sizes.push(digits.parse().ok()?);
            self.next_is(b'L');
            if sizes.len() > MAX_DIMENSIONS || (!self.next_is(b',') && self.peek() != Some(b')')) {
                return None;
            }
        }
        Some(sizes)
    }
}
