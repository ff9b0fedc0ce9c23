//! Files found and unpacked.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::GzDecoder;

use super::DataError;

const BUFFER_BYTES: usize = 1 << 16;
/// The first two bytes of each gzip member.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file's name for errors, and its bytes without compression.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) reader: Box<dyn BufRead>,
}

impl Source {
    pub(crate) fn failed(&self, source: io::Error) -> DataError {
        DataError::Read { path: self.path.clone(), source }
    }
}

/// Opens the file `name` of a job: as it stands in `dir`, or by its last part; or either as
/// `NAME.gz`.
pub(super) fn open(dir: &Path, name: &str) -> Result<Source, DataError> {
    let mut tried = vec![dir.join(name)];
    tried.extend(Path::new(name).file_name().map(|last| dir.join(last)));
    tried.dedup();
    let packed = tried.iter().map(|path| packed_name(path));
    let Some(path) = tried.iter().cloned().chain(packed).find(|path| path.is_file()) else {
        return Err(DataError::Missing { tried });
    };
    open_file(path)
}

fn packed_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// Opens a file, unpacked if it is packed.
pub(crate) fn open_file(path: PathBuf) -> Result<Source, DataError> {
    match File::open(&path) {
        Ok(file) => unpacked(path, Box::new(BufReader::with_capacity(BUFFER_BYTES, file))),
        Err(source) => Err(DataError::Read { path, source }),
    }
}

/// Unpacks gzip, which is told by its two magic bytes, since names lie.
pub(crate) fn unpacked(path: PathBuf, mut raw: Box<dyn BufRead>) -> Result<Source, DataError> {
    match raw.fill_buf().map(|start| start.starts_with(&GZIP)) {
        Ok(false) => Ok(Source { path, reader: raw }),
        Ok(true) => {
            let members = Members { member: Some(GzDecoder::new(raw)) };
            Ok(Source { path, reader: Box::new(BufReader::with_capacity(BUFFER_BYTES, members)) })
        }
        Err(source) => Err(DataError::Read { path, source }),
    }
}

/// The members of a gzip file one after the other. Zeros behind the last are padding, as for gzip
/// itself.
struct Members {
    /// `None` at the end.
    member: Option<GzDecoder<Box<dyn BufRead>>>,
}

impl Read for Members {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let got = member.read(bytes)?;
            if got > 0 || bytes.is_empty() {
                return Ok(got);
            }
            self.member = match self.member.take() {
                Some(ended) => behind(ended.into_inner())?.map(GzDecoder::new),
                None => None,
            };
        }
        Ok(0)
    }
}

/// The rest of a file behind a gzip member: `None` if it is padding.
fn behind(mut rest: Box<dyn BufRead>) -> io::Result<Option<Box<dyn BufRead>>> {
    let mut zeros = 0;
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let here = bytes.iter().take_while(|byte| **byte == 0).count();
        let more = bytes.len() - here;
        zeros += here;
        let next = bytes.get(here) == GZIP.first();
        rest.consume(here);
        if more > 0 {
            let foreign = "other bytes follow its gzip stream; pack it again";
            return if zeros == 0 && next { Ok(Some(rest)) } else { Err(io::Error::other(foreign)) };
        }
    }
}
