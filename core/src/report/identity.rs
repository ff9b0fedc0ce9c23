//! What is flashed to a device: who it is, what its records look like, and whom it seals them to.
//!
//! A device is authenticated by an X25519 key pair of its own ([`super::session`] says why). The host makes the pair, gives the public key to both servers'
//! registries, and writes the file that is flashed; it keeps no copy.

use super::{
    frame::CRC,
    header::DeviceId,
    schema::{Layout, SchemaHash},
};
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(super) type Kem = hpke::kem::X25519HkdfSha256;
pub(super) type HpkeSecret = <Kem as hpke::Kem>::PrivateKey;
pub(super) type HpkePublic = <Kem as hpke::Kem>::PublicKey;

const MAGIC: [u8; 5] = *b"SYMB\x01";

/// A public key, of a device or of a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PublicKey(pub [u8; 32]);

/// A secret key. Not `Clone`, no `Debug`, wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl PublicKey {
    pub(super) fn hpke(&self) -> Option<HpkePublic> {
        HpkePublic::from_bytes(&self.0).ok()
    }
}

impl SecretKey {
    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Self([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// A key that was stored; the caller wipes `bytes`.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The bytes, to be stored where nobody else reads.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its public key.
    pub fn public(&self) -> PublicKey {
        let mut out = [0; 32];
        if let Some(secret) = self.hpke() {
            Kem::sk_to_pk(&secret).write_exact(&mut out);
        }
        PublicKey(out)
    }

    /// Any 32 bytes are a key of this curve.
    pub(super) fn hpke(&self) -> Option<HpkeSecret> {
        HpkeSecret::from_bytes(&self.0).ok()
    }
}

/// A server's key, as a device knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerKey {
    /// Which of the server's keys: servers change theirs from time to time.
    pub id: u32,
    /// The key.
    pub key: PublicKey,
}

/// Everything that a device must be told.
pub struct Identity {
    /// Its name.
    pub device: DeviceId,
    /// Its key.
    pub secret: SecretKey,
    /// What its records hold.
    pub schema: SchemaHash,
    /// How they are laid out.
    pub layout: Layout,
    /// Keys of server 0 and server 1.
    pub servers: [ServerKey; 2],
}

/// Why bytes are no key file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IdentityError {
    /// Not as long as one.
    Length,
    /// Does not begin as one, or as one of another version.
    Magic,
    /// Was changed.
    Crc,
    /// Names a layout that no schema has.
    Layout,
}

impl core::fmt::Display for IdentityError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "not as long as a key file; take the one that was provisioned",
            Self::Magic => "no key file of this version; take the one that was provisioned",
            Self::Crc => "a damaged key file; take the one that was provisioned",
            Self::Layout => "a key file for records that no schema has; provision the device again",
        })
    }
}

impl core::error::Error for IdentityError {}

const LEN: usize = MAGIC.len() + 8 + 32 + 32 + Layout::ENCODED_BYTES + 2 * 36;

impl Identity {
    /// Bytes of a key file.
    pub const BYTES: usize = LEN + 4;

    /// The key file: `SYMB`, version 1; device (8 bytes), secret key (32), schema (32), layout (12); key id (4) and key (32) of each server; CRC-32. Secret: the
    /// caller wipes it.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let mut rest = &mut out[..];
        let mut put = |bytes: &[u8]| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            rest = tail;
        };
        put(&MAGIC);
        put(&self.device.0.to_le_bytes());
        put(self.secret.expose());
        put(&self.schema);
        put(&self.layout.to_bytes());
        for server in &self.servers {
            put(&server.id.to_le_bytes());
            put(&server.key.0);
        }
        let crc = crc(&out[..LEN]);
        out[LEN..].copy_from_slice(&crc);
        out
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().map_err(|_| IdentityError::Length)?;
        let mut rest = &bytes[..];
        if take(&mut rest) != MAGIC {
            return Err(IdentityError::Magic);
        }
        if crc(&bytes[..LEN]) != bytes[LEN..] {
            return Err(IdentityError::Crc);
        }
        Ok(Self {
            device: DeviceId(u64::from_le_bytes(take(&mut rest))),
            secret: SecretKey(take(&mut rest)),
            schema: take(&mut rest),
            layout: Layout::from_bytes(&take(&mut rest)).ok_or(IdentityError::Layout)?,
            servers: [(); 2].map(|()| {
                let id = u32::from_le_bytes(take(&mut rest));
                ServerKey { id, key: PublicKey(take(&mut rest)) }
            }),
        })
    }
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    CRC.checksum(bytes).to_le_bytes()
}

/// The next `N` bytes; zeros past the end, which the length rules out.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    match rest.split_first_chunk() {
        Some((head, tail)) => {
            *rest = tail;
            *head
        }
        None => [0; N],
    }
}
