//! NPZ files: zip archives of NPY files, stored or deflated. `rawzip` finds a member; its bytes are
//! read, inflated and checked here, as a stream.

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::{Crc, read::DeflateDecoder};
use rawzip::{CompressionMethod, ErrorKind, FileReader, RangeReader, ReaderAt, ZipArchive, ZipLocator};

use super::{DataError, Source, table::shown};

/// Member names that an error lists.
const KNOWN_SHOWN: usize = 40;
const BUFFER_BYTES: usize = 1 << 16;

/// Faults of a zip archive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ZipProblem {
    /// There is no directory of a zip archive, or it cannot be read.
    NotZip,
    /// A member is missing, or there more than once.
    Member {
        /// Name in the job.
        name: String,
        /// Times it is in the archive.
        times: usize,
        /// The first members of the archive.
        known: Vec<String>,
    },
    /// A member is encrypted, or packed by another method than stored and deflate.
    Method {
        /// Name in the job.
        name: String,
    },
}

impl fmt::Display for ZipProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZip => f.write_str("is not a whole zip archive; fetch it again, or write it with numpy.savez"),
            Self::Member { name, times: 0, known } => {
                write!(f, "has no array {name:?}; it has {}", crate::plain::Plain(known.join(", ")))
            }
            Self::Member { name, times, .. } => {
                write!(f, "has {times} arrays named {name:?}; write it again with numpy.savez")
            }
            Self::Method { name } => write!(
                f,
                "has {name:?} encrypted or packed by another method than deflate; write it with \
                 numpy.savez_compressed"
            ),
        }
    }
}

/// Opens an array of the archive at `path`: `name`, or `name.npy`.
pub(crate) fn member(path: &Path, name: &str) -> Result<Source, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let len_bytes = file.metadata().map_err(failed)?.len();
    member_of(path, FileReader::from(file), len_bytes, name)
}

/// The same of an archive of `len_bytes` bytes that is open.
pub(super) fn member_of(
    path: &Path,
    file: impl ReaderAt + 'static,
    len_bytes: u64,
    name: &str,
) -> Result<Source, DataError> {
    let failed = |error: rawzip::Error| match error.into_kind() {
        ErrorKind::IO(source) => DataError::Read { path: path.to_owned(), source },
        _ => DataError::Zip { path: path.to_owned(), problem: ZipProblem::NotZip },
    };
    let refused = |problem| DataError::Zip { path: path.to_owned(), problem };
    let mut buffer = vec![0; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let located = ZipLocator::new().locate_in_reader(file, &mut buffer, len_bytes);
    let archive = located.map_err(|(_, error)| failed(error))?;
    let found = find(&archive, &mut buffer, name).map_err(failed)?;
    let Some(found) = found.only else {
        return Err(refused(ZipProblem::Member { name: name.to_owned(), times: found.times, known: found.known }));
    };
    let (start, end) = archive.get_entry(found.at).map_err(failed)?.compressed_data_range();
    let raw = RangeReader::new(archive.into_inner(), start..end);
    let reader: Box<dyn Read> = match found.method {
        Some(CompressionMethod::STORE) => Box::new(raw),
        Some(CompressionMethod::DEFLATE) => Box::new(DeflateDecoder::new(raw)),
        _ => return Err(refused(ZipProblem::Method { name: name.to_owned() })),
    };
    let checked = Checked { reader, sum: Crc::new(), want: found.crc, len_bytes: found.len_bytes, got_bytes: 0 };
    let path = path.join(file_name(name));
    Ok(Source { path, reader: Box::new(BufReader::with_capacity(BUFFER_BYTES, checked)) })
}

fn file_name(name: &str) -> String {
    if name.ends_with(".npy") { name.to_owned() } else { format!("{name}.npy") }
}

/// The search for a member.
#[derive(Default)]
struct Found {
    times: usize,
    known: Vec<String>,
    /// The one member of the name.
    only: Option<Member>,
}

/// A member, as the archive's directory describes it.
#[derive(Clone, Copy)]
struct Member {
    at: rawzip::ZipArchiveEntryWayfinder,
    /// `None` if it is encrypted.
    method: Option<CompressionMethod>,
    crc: u32,
    len_bytes: u64,
}

fn find(archive: &ZipArchive<impl ReaderAt>, buffer: &mut [u8], name: &str) -> Result<Found, rawzip::Error> {
    let (wanted, mut found) = (file_name(name), Found::default());
    let mut entries = archive.entries(buffer);
    while let Some(entry) = entries.next_entry()? {
        let path = entry.file_path();
        if path.as_bytes() == wanted.as_bytes() {
            found.times += 1;
            let member = Member {
                at: entry.wayfinder(),
                method: (!entry.flags().is_encrypted()).then_some(entry.compression_method()),
                crc: entry.crc32(),
                len_bytes: entry.uncompressed_size_hint(),
            };
            found.only = (found.times == 1).then_some(member);
        }
        if found.known.len() < KNOWN_SHOWN {
            let name = String::from_utf8_lossy(path.as_bytes());
            found.known.push(shown(name.strip_suffix(".npy").unwrap_or(&name)));
        }
    }
    Ok(found)
}

/// A member's bytes, whose sum and length are checked at their end.
struct Checked {
    reader: Box<dyn Read>,
    sum: Crc,
    want: u32,
    len_bytes: u64,
    got_bytes: u64,
}

impl Read for Checked {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(bytes)?;
        self.sum.update(&bytes[..got]);
        self.got_bytes += got as u64;
        let ended = got == 0 && !bytes.is_empty();
        if ended && (self.sum.sum(), self.got_bytes) != (self.want, self.len_bytes) {
            let foreign = "its bytes are not those that the zip archive's directory describes; fetch it again";
            return Err(io::Error::new(io::ErrorKind::InvalidData, foreign));
        }
        Ok(got)
    }
}
