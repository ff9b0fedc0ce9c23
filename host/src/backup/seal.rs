//! The encrypted stream of a backup; the parent module has its bytes.

use super::key::{BackupSecret, KeyId, Recipient};
use crate::device::system_rng;
use aead_stream::{DecryptorBE32, EncryptorBE32};
use chacha20poly1305::XChaCha20Poly1305;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _, setup_receiver, setup_sender_with_rng};
use std::io::{self, Read, Seek, SeekFrom, Write};
use zeroize::Zeroizing;

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ExportOnlyAead;
type Public = <Kem as hpke::Kem>::PublicKey;
type Private = <Kem as hpke::Kem>::PrivateKey;
type Encapsulated = <Kem as hpke::Kem>::EncappedKey;

const MAGIC: &[u8; 15] = b"symbolon backup";
const VERSION: u8 = 1;
const LENGTH_AT: u64 = 56;
const HEADER_BYTES: usize = 64;
/// Bytes of a piece before encryption.
pub(super) const PIECE_BYTES: usize = 1 << 16;
const TAG_BYTES: usize = 16;

/// Key and nonce of the stream.
type Exported = (Zeroizing<[u8; 32]>, [u8; 19]);

fn exported(export: impl Fn(&[u8], &mut [u8]) -> Result<(), hpke::HpkeError>) -> io::Result<Exported> {
    let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 19]);
    export(b"key", &mut *key).and_then(|()| export(b"nonce", &mut nonce)).map_err(|_| invalid())?;
    Ok((key, nonce))
}

/// The error of a key or a length that the program never makes.
fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Context of the key agreement: format, version and key.
fn info(id: KeyId) -> Vec<u8> {
    [&MAGIC[..], &[VERSION], &id.0].concat()
}

/// Encrypts what is written, in pieces.
pub(super) struct Sealer<W: Write + Seek> {
    to: W,
    stream: EncryptorBE32<XChaCha20Poly1305>,
    /// The piece that is being filled; the program's allocator wipes it.
    piece: Vec<u8>,
    written: u64,
    /// A piece was not written: nothing may follow.
    failed: bool,
}

impl<W: Write + Seek> Sealer<W> {
    pub(super) fn new(mut to: W, recipient: &Recipient) -> io::Result<Self> {
        let mut rng = system_rng().map_err(io::Error::other)?;
        let public = Public::from_bytes(&recipient.public.0).map_err(|_| invalid())?;
        let (encapsulated, context) =
            setup_sender_with_rng::<Aead, Kdf, Kem>(&OpModeS::Base, &public, &info(recipient.id()), &mut rng)
                .map_err(|_| invalid())?;
        let (key, nonce) = exported(|info, out| context.export(info, out))?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend(info(recipient.id()));
        header.extend(encapsulated.to_bytes());
        header.extend([0; 8]);
        to.write_all(&header)?;
        let stream = EncryptorBE32::new((&*key).into(), (&nonce).into());
        let piece = Vec::with_capacity(PIECE_BYTES + TAG_BYTES);
        Ok(Self { to, stream, piece, written: HEADER_BYTES as u64, failed: false })
    }

    /// Encrypts and writes a full piece.
    fn put(&mut self) -> io::Result<()> {
        // `tar` goes on after an error, when its archive is dropped.
        if std::mem::replace(&mut self.failed, true) {
            return Err(invalid());
        }
        self.stream.encrypt_next_in_place(&[], &mut self.piece).map_err(|_| invalid())?;
        self.to.write_all(&self.piece)?;
        self.written += self.piece.len() as u64;
        self.piece.clear();
        self.failed = false;
        Ok(())
    }

    /// Writes the last piece and the length; returns the writer and the file's length.
    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        if self.failed {
            return Err(invalid());
        }
        self.stream.encrypt_last_in_place(&[], &mut self.piece).map_err(|_| invalid())?;
        self.to.write_all(&self.piece)?;
        let written = self.written + self.piece.len() as u64;
        self.to.seek(SeekFrom::Start(LENGTH_AT))?;
        self.to.write_all(&written.to_le_bytes())?;
        self.to.flush()?;
        Ok((self.to, written))
    }
}

impl<W: Write + Seek> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE_BYTES {
            self.put()?;
        }
        let n = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The reason why a stream cannot be read.
#[derive(Debug)]
pub(super) enum StreamFault {
    /// The system's error.
    Read(io::Error),
    /// It does not begin as a backup.
    Format,
    /// Another version.
    Version(u32),
    /// The file has fewer bytes than it was made with (0: than a header).
    Truncated { bytes: u64, whole: u64 },
    /// A piece was changed, or the file was extended.
    Changed,
    /// The stream was made for another key.
    Key(KeyId),
}

/// The first bytes of a backup.
pub(super) struct Header {
    id: KeyId,
    encapsulated: [u8; 32],
    /// Bytes of the pieces.
    rest: u64,
}

impl Header {
    /// Reads the header of a file of `bytes` bytes.
    pub(super) fn read(from: &mut impl Read, bytes: u64) -> Result<Self, StreamFault> {
        let mut header = [0; HEADER_BYTES];
        let mut got = 0;
        while got < HEADER_BYTES {
            match from.read(&mut header[got..]).map_err(StreamFault::Read)? {
                0 => break,
                n => got += n,
            }
        }
        if header[..got.min(15)] != MAGIC[..got.min(15)] || got == 0 {
            return Err(StreamFault::Format);
        }
        if got < HEADER_BYTES {
            return Err(StreamFault::Truncated { bytes, whole: 0 });
        }
        if header[15] != VERSION {
            return Err(StreamFault::Version(header[15].into()));
        }
        let field = |at: usize| header[at..].first_chunk().copied().unwrap_or_default();
        let whole = u64::from_le_bytes(field(56));
        match bytes.cmp(&whole) {
            std::cmp::Ordering::Less => return Err(StreamFault::Truncated { bytes, whole }),
            std::cmp::Ordering::Greater => return Err(StreamFault::Changed),
            std::cmp::Ordering::Equal => {}
        }
        let mut encapsulated = [0; 32];
        encapsulated.copy_from_slice(&header[24..56]);
        Ok(Self { id: KeyId(field(16)), encapsulated, rest: bytes - HEADER_BYTES as u64 })
    }

    /// The id of the key that decrypts.
    pub(super) fn id(&self) -> KeyId {
        self.id
    }
}

/// Decrypts a backup, in pieces. After an error, `fault` has its reason.
pub(super) struct Opener<R: Read> {
    from: R,
    stream: Option<DecryptorBE32<XChaCha20Poly1305>>,
    piece: Vec<u8>,
    at: usize,
    rest: u64,
    pub(super) fault: Option<StreamFault>,
}

impl<R: Read> Opener<R> {
    /// Reads the pieces of `from`, whose header was read.
    pub(super) fn new(header: &Header, from: R, secret: &BackupSecret) -> Result<Self, StreamFault> {
        if secret.id() != header.id {
            return Err(StreamFault::Key(header.id));
        }
        let changed = |_| StreamFault::Changed;
        let encapsulated = Encapsulated::from_bytes(&header.encapsulated).map_err(changed)?;
        let private = Private::from_bytes(secret.secret.expose()).map_err(changed)?;
        let context = setup_receiver::<Aead, Kdf, Kem>(&OpModeR::Base, &private, &encapsulated, &info(header.id))
            .map_err(changed)?;
        let (key, nonce) = exported(|info, out| context.export(info, out)).map_err(StreamFault::Read)?;
        let stream = Some(DecryptorBE32::new((&*key).into(), (&nonce).into()));
        let piece = Vec::with_capacity(PIECE_BYTES + TAG_BYTES);
        Ok(Self { from, stream, piece, at: 0, rest: header.rest, fault: None })
    }

    /// Decrypts the next piece; after the last one, the piece is empty.
    fn next(&mut self) -> Result<(), StreamFault> {
        self.piece.clear();
        self.at = 0;
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let bytes = self.rest.min((PIECE_BYTES + TAG_BYTES) as u64);
        self.rest -= bytes;
        let got = (&mut self.from).take(bytes).read_to_end(&mut self.piece).map_err(StreamFault::Read)?;
        if got as u64 != bytes {
            return Err(StreamFault::Changed);
        }
        if self.rest == 0 {
            return stream.decrypt_last_in_place(&[], &mut self.piece).map_err(|_| StreamFault::Changed);
        }
        stream.decrypt_next_in_place(&[], &mut self.piece).map_err(|_| StreamFault::Changed)?;
        self.stream = Some(stream);
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len()
            && let Err(fault) = self.next()
        {
            self.piece.clear(); // nothing unauthenticated is handed on
            self.at = 0;
            self.fault = Some(fault);
            return Err(invalid());
        }
        let n = out.len().min(self.piece.len() - self.at);
        out[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
