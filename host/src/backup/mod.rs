//! Encrypted backups of a server, whose key may be split among keepers.
//!
//! | module | what |
//! | --- | --- |
//! | `sources` | the table of the files and folders that a configuration names |
//! | `manifest` | the list of a backup's files, with their digests |
//! | `seal` | the encrypted stream |
//! | `write`, `restore` | a server's files into a backup, and back into a folder |
//! | `key`, `split` | the key pair of backups; shares of its secret |
//! | `error` | refusals, each with a code |
//!
//! A backup is a `tar` archive, whose last entry is the manifest, in an encrypted stream:
//!
//! | bytes | what |
//! | --- | --- |
//! | 16 | `symbolon backup` and the version, 1 |
//! | 8 | the key's id |
//! | 32 | the encapsulated key of HPKE (RFC 9180): X25519, HKDF-SHA256, base mode, export only |
//! | 8 | length of the file, little-endian |
//! | | pieces of 65,536 bytes and a tag: XChaCha20-Poly1305 in STREAM (Hoang et al. 2015) |
//!
//! HPKE's exporter gives the stream's key and its 19 bytes of nonce.
//! The length only serves to name the cause of an error: STREAM itself detects a missing end.
//!
//! - **Secret:** everything. A backup shows its key's id and its size.
//! - **Adversary:** storage that reads and changes backups. It learns nothing, and a changed,
//!   shortened or mixed file is refused. Everyone with the recipient file can make a backup,
//!   so the file does not prove its origin.
//! - **Keepers:** fewer than `k` shares are independent of the secret; the key's id, which each
//!   share names, is a hash of the public key.
//! - **Consistency:** a backup holds the lock that a running server holds. Files that change or
//!   that other commands write meanwhile are refused.
//! - **Memory:** a few pieces, and a line a file.

mod error;
mod key;
mod manifest;
mod restore;
mod seal;
mod sources;
mod split;
#[cfg(test)]
mod tests;
mod write;

pub use error::{BackupError, EntryFault, KeyFault, ShareFault, SourceFault};
pub use key::{BackupSecret, KeyId, RECIPIENT_FILE, Recipient};
pub use manifest::{Manifest, StoredFile};
pub use restore::{Restored, restore};
pub use split::{Split, combine, write_shares};
pub use write::{Written, write};
