//! Shares of a backup key by Shamir's scheme: any `k` of `n` give the key, and fewer are
//! independent of it.
//!
//! ```toml
//! key = "0011223344556677" # the key's id
//! needed = 3 # k
//! shares = 5 # n
//! number = 2
//! share = "..." # 64 hexadecimal digits: the secret's bytes, each shared in GF(256)
//! checksum = "..." # 16 hexadecimal digits
//! ```
//!
//! The checksum detects mistakes; a keeper who changes a share can also change the checksum.
//! The combined secret must give the key's id, so changed shares are never used.

use super::{
    error::{BackupError, ShareFault},
    key::{BackupSecret, KeyId, parse_secret, read_secret, write_new},
};
use crate::{device::system_rng, intake::hex};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};
use symbolon_core::report::identity::SecretKey;
use vsss_rs::{Gf256, IdentifierGf256};
use zeroize::Zeroizing;

/// Separates these checksums from all other hashes.
const CHECKSUM_DOMAIN: &[u8] = b"symbolon backup share v1";

/// The numbers of a split, written `K-OF-N`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Split {
    /// Shares that give the key, at least 2.
    pub needed: u8,
    /// All shares.
    pub shares: u8,
}

impl Split {
    fn new(needed: u8, shares: u8) -> Option<Self> {
        (2 <= needed && needed <= shares).then_some(Self { needed, shares })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.needed, self.shares)
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let numbers = lower.split_once("-of-").and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        let split = numbers.and_then(|(needed, shares)| Self::new(needed, shares));
        split.ok_or_else(|| "write K-OF-N, such as 3-of-5, with 2 <= K <= N <= 255".to_owned())
    }
}

/// A share of a key.
struct Share {
    key: KeyId,
    split: Split,
    number: u8,
    bytes: Zeroizing<[u8; 32]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    key: String,
    needed: u8,
    shares: u8,
    number: u8,
    share: Zeroizing<String>,
    checksum: String,
}

impl Share {
    fn checksum(&self) -> [u8; 8] {
        let mut hasher = Sha256::new();
        hasher.update(CHECKSUM_DOMAIN);
        hasher.update(self.key.0);
        hasher.update([self.split.needed, self.split.shares, self.number]);
        hasher.update(self.bytes.as_slice());
        let hash: [u8; 32] = hasher.finalize().into();
        hash.first_chunk().copied().unwrap_or_default()
    }

    fn load(path: &Path) -> Result<Self, BackupError> {
        let fault = |fault| BackupError::Share { path: path.to_owned(), fault };
        let bytes = read_secret(path)?;
        let raw: Raw = parse_secret(&bytes).map_err(|message| fault(ShareFault::Parse(message)))?;
        let (share, checksum) = Self::of(&raw).ok_or_else(|| fault(ShareFault::Numbers))?;
        if share.checksum() == checksum { Ok(share) } else { Err(fault(ShareFault::Checksum)) }
    }

    fn of(raw: &Raw) -> Option<(Self, [u8; 8])> {
        let split = Split::new(raw.needed, raw.shares)?;
        let number = Some(raw.number).filter(|number| (1..=split.shares).contains(number))?;
        let bytes = Zeroizing::new(hex::parse(&raw.share)?);
        Some((Self { key: KeyId(hex::parse(&raw.key)?), split, number, bytes }, hex::parse(&raw.checksum)?))
    }

    fn to_toml(&self) -> Zeroizing<String> {
        // Room for all of it, so that no copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(1024));
        let Self { key, split: Split { needed, shares }, number, bytes } = self;
        let digits = Zeroizing::new(hex::print(&**bytes));
        let _ = write!(
            text,
            "# Secret: share {number} of {shares} of the key of a server's backups. Any {needed} of them decrypt; fewer\n\
             # say nothing. For one keeper alone, who keeps no share of the other server's key.\n\
             key = \"{key}\"\nneeded = {needed}\nshares = {shares}\nnumber = {number}\nshare = \"{}\"\n\
             checksum = \"{}\"\n",
            *digits,
            hex::print(&self.checksum())
        ); // a String takes everything
        text
    }
}

/// Splits a key and writes each share into a file of its own in `folder`; returns the files.
///
/// # Errors
///
/// [`BackupError::Exists`], [`BackupError::Write`], [`BackupError::Randomness`]. The function then
/// removes the shares that it has written.
///
/// # Panics
///
/// Never: a [`Split`] has valid numbers.
pub fn write_shares(secret: &BackupSecret, split: Split, folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let rng = system_rng().map_err(|_| BackupError::Randomness)?;
    let numbers = (1..=split.shares).map(|number| IdentifierGf256(Gf256(number)));
    let (needed, shares) = (usize::from(split.needed), usize::from(split.shares));
    let split_bytes =
        Gf256::split_bytes_with_participant_ids_iter(needed, shares, secret.secret.expose(), rng, numbers);
    let points = Zeroizing::new(split_bytes.expect("a split has valid numbers"));
    let mut files = Vec::new();
    for (number, point) in (1..=split.shares).zip(&*points) {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&point[1..]);
        let share = Share { key: secret.id(), split, number, bytes };
        let path = folder.join(format!("backup-{}-{number}-of-{}.share", share.key, split.shares));
        if let Err(error) = write_new(&path, share.to_toml().as_bytes()) {
            for file in &files {
                let _ = fs::remove_file(file); // the error that matters is the one before
            }
            return Err(error);
        }
        files.push(path);
    }
    Ok(files)
}

/// Combines the shares in these files into key `needed`.
///
/// # Errors
///
/// [`BackupError::Read`], [`BackupError::Share`], which names the file, [`BackupError::TooFew`].
pub fn combine(files: &[PathBuf], needed: KeyId) -> Result<BackupSecret, BackupError> {
    let mut shares: BTreeMap<u8, (&Path, Share)> = BTreeMap::new();
    let mut first: Option<(&Path, Split)> = None;
    for path in files {
        let fault = |fault| BackupError::Share { path: path.clone(), fault };
        let share = Share::load(path)?;
        if share.key != needed {
            return Err(fault(ShareFault::Foreign { needed, got: share.key }));
        }
        let (other, split) = *first.get_or_insert((path, share.split));
        if split != share.split {
            return Err(fault(ShareFault::OtherSplit { other: other.to_owned() }));
        }
        if let Some((other, share)) = shares.get(&share.number) {
            return Err(fault(ShareFault::Repeated { other: other.to_path_buf(), number: share.number }));
        }
        shares.insert(share.number, (path, share));
    }
    let least = first.map_or(2, |(_, split)| split.needed);
    if shares.len() < usize::from(least) {
        return Err(BackupError::TooFew { key: needed, got: shares.len(), needed: least });
    }
    let secret = join(shares.values().map(|(_, share)| share));
    secret.filter(|secret| secret.id() == needed).ok_or_else(|| BackupError::Share {
        path: files.last().cloned().unwrap_or_default(),
        fault: ShareFault::Together,
    })
}

fn join<'a>(shares: impl Iterator<Item = &'a Share>) -> Option<BackupSecret> {
    let point = |share: &Share| [&[share.number][..], &*share.bytes].concat();
    let points = Zeroizing::new(shares.map(point).collect::<Vec<_>>());
    let joined = Zeroizing::new(Gf256::combine_bytes(&*points).ok()?);
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(&joined[..]).ok()?);
    Some(BackupSecret { secret: SecretKey::from_bytes(&bytes) })
}
