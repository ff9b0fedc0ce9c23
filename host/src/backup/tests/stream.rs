//! The encrypted stream: lengths, and every kind of damage.

use super::*;
use crate::backup::seal::{Header, Opener, PIECE_BYTES, Sealer, StreamFault};
use std::io::{Cursor, Read as _, Write as _};

const HEADER: usize = 64;
const SEALED: usize = PIECE_BYTES + 16;

fn seal(secret: &BackupSecret, content: &[u8]) -> Vec<u8> {
    let mut sealer = Sealer::new(Cursor::new(Vec::new()), &secret.recipient()).unwrap();
    sealer.write_all(content).unwrap();
    let (sealed, bytes) = sealer.finish().unwrap();
    assert_eq!(sealed.get_ref().len() as u64, bytes);
    sealed.into_inner()
}

fn open(secret: &BackupSecret, sealed: &[u8]) -> Result<Vec<u8>, StreamFault> {
    let mut from = sealed;
    let header = Header::read(&mut from, sealed.len() as u64)?;
    let (mut opener, mut content) = (Opener::new(&header, from, secret)?, Vec::new());
    match opener.read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(_) => Err(opener.fault.unwrap()),
    }
}

#[test]
fn content_of_any_length_comes_back() {
    let secret = BackupSecret::generate().unwrap();
    for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES + 7] {
        let content: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        let sealed = seal(&secret, &content);
        assert_eq!(sealed.len(), HEADER + bytes + 16 * bytes.div_ceil(PIECE_BYTES).max(1));
        assert_eq!(open(&secret, &sealed).unwrap(), content, "{bytes}");
        assert_ne!(sealed[HEADER..], seal(&secret, &content)[HEADER..], "fresh keys");
    }
}

/// A writer that fails after some bytes, as a full disk does.
struct Full(Cursor<Vec<u8>>);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.get_ref().len() > 100_000 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::io::Seek for Full {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn nothing_follows_a_piece_that_was_not_written() {
    let secret = BackupSecret::generate().unwrap();
    let mut sealer = Sealer::new(Full(Cursor::default()), &secret.recipient()).unwrap();
    let failed = (0..9).find_map(|_| sealer.write_all(&[1; PIECE_BYTES]).err());
    assert_eq!(failed.unwrap().kind(), std::io::ErrorKind::StorageFull);
    assert!(sealer.write_all(&[1; PIECE_BYTES]).is_err() && sealer.finish().is_err());
}

#[test]
fn damage_is_found_and_named() {
    let secret = BackupSecret::generate().unwrap();
    let sealed = seal(&secret, &vec![9; 2 * PIECE_BYTES + 100]);
    let fault = |sealed: &[u8]| open(&secret, sealed).unwrap_err();
    for at in (0..sealed.len()).step_by(4099).chain([15, 16, 24, 55, HEADER, HEADER + SEALED, sealed.len() - 1]) {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let found = fault(&changed);
        let fits = match at {
            0..15 => matches!(found, StreamFault::Format),
            15 => matches!(found, StreamFault::Version(0)),
            16..24 => matches!(found, StreamFault::Key(_)),
            _ => matches!(found, StreamFault::Changed),
        };
        assert!(fits, "{at}: {found:?}");
    }
    for len in [0, 1, 14] {
        let found = fault(&sealed[..len]);
        assert!(matches!(found, StreamFault::Format | StreamFault::Truncated { whole: 0, .. }), "{found:?}");
    }
    for len in [15, HEADER - 1, HEADER, HEADER + 1, HEADER + SEALED, HEADER + 2 * SEALED, sealed.len() - 1] {
        let found = fault(&sealed[..len]);
        assert!(matches!(found, StreamFault::Truncated { bytes, .. } if bytes == len as u64), "{len}: {found:?}");
        // With a length that hides it, the stream itself detects it.
        if len >= HEADER {
            let mut hidden = sealed[..len].to_vec();
            hidden[56..64].copy_from_slice(&(len as u64).to_le_bytes());
            assert!(matches!(fault(&hidden), StreamFault::Changed), "{len}");
        }
    }
    let longer = [&sealed[..], &[0]].concat();
    assert!(matches!(fault(&longer), StreamFault::Changed));
    let (head, pieces) = sealed.split_at(HEADER);
    let exchanged = [head, &pieces[SEALED..2 * SEALED], &pieces[..SEALED], &pieces[2 * SEALED..]].concat();
    assert!(matches!(fault(&exchanged), StreamFault::Changed));
    let other = BackupSecret::generate().unwrap();
    assert!(matches!(open(&other, &sealed), Err(StreamFault::Key(id)) if id == secret.id()));
}

/// Version 1 as it was first written: its bytes may not change.
#[test]
fn version_1_stays_readable() {
    let secret = BackupSecret { secret: symbolon_core::report::identity::SecretKey::from_bytes(&[1; 32]) };
    let text = include_str!("../../../testdata/backup_v1.txt");
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let sealed: Vec<u8> =
        (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect();
    assert_eq!(open(&secret, &sealed).unwrap(), b"two servers and a dealer");
    assert_eq!(secret.id().to_string(), "3a645b5a903f5c44");
}
