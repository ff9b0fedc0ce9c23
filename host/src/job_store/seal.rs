//! Outputs sealed to the client of a job.
//!
//! HPKE (RFC 9180), mode Base, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, one
//! message a context. `info` names the job, the server, and the output's place among the job's, so
//! that an output opens in its own place alone. A server that lies about its outputs is outside the
//! model, therefore the mode does not authenticate: TLS says which server sends.
//!
//! - **Adversary:** a reader of both servers' files after the job has ended.
//! - **Cost:** 48 bytes an output: the encapsulated key and the tag.

use crate::{device::system_rng, net::Role};
use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _, aead::AeadTag, setup_receiver, setup_sender_with_rng,
};
use std::fmt;
use symbolon_core::report::identity::SecretKey;
use zeroize::Zeroizing;

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;

const LABEL: &[u8] = b"symbolon output v1";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// The place of an output: it is sealed for this place alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutputPlace {
    /// The job.
    pub job: [u8; 16],
    /// The server whose share it is: 0 or 1.
    pub server: u8,
    /// Its number: an epoch's is the epoch.
    pub number: u32,
}

impl OutputPlace {
    /// Returns the place of an output of server `role`.
    #[must_use]
    pub fn of(job: [u8; 16], role: Role, number: u32) -> Self {
        Self { job, server: u8::from(role == Role::Server1), number }
    }

    /// Number of the job's last outputs: figures, alarm, and the version of the kept model.
    pub const END: u32 = u32::MAX;
    /// Number of the model's share.
    pub const MODEL: u32 = u32::MAX - 1;

    fn info(&self) -> Vec<u8> {
        let number = self.number.to_le_bytes();
        [LABEL, &self.job, &[self.server], &number].concat()
    }

    /// Seals `output` to the public key of the job's client.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn seal(&self, key: &[u8; 32], output: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut rng = system_rng().map_err(|_| SealError::Randomness)?;
        let key = <Kem as hpke::Kem>::PublicKey::from_bytes(key).map_err(|_| SealError::Key)?;
        let sender = setup_sender_with_rng::<Aead, Kdf, Kem>(&OpModeS::Base, &key, &self.info(), &mut rng);
        let (enc, mut sender) = sender.map_err(|_| SealError::Key)?;
        let mut sealed = vec![0; KEY_BYTES + output.len() + TAG_BYTES];
        let (head, rest) = sealed.split_at_mut(KEY_BYTES);
        let (body, tag) = rest.split_at_mut(output.len());
        enc.write_exact(head);
        body.copy_from_slice(output);
        sender.seal_inout_detached(body.into(), &[]).map_err(|_| SealError::Key)?.write_exact(tag);
        Ok(sealed)
    }

    /// Returns the length of a sealed output of `len` bytes.
    #[must_use]
    pub fn sealed_len(len: usize) -> usize {
        KEY_BYTES + len + TAG_BYTES
    }
}

/// The secret key of a job's outputs, which its client alone has.
pub struct OutputKey(SecretKey);

impl OutputKey {
    /// Draws a key.
    ///
    /// # Errors
    ///
    /// [`SealError::Randomness`].
    pub fn generate() -> Result<Self, SealError> {
        let mut rng = system_rng().map_err(|_| SealError::Randomness)?;
        Ok(Self(SecretKey::generate(&mut rng)))
    }

    /// Returns a key that was stored; the caller wipes `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SecretKey::from_bytes(bytes))
    }

    /// Returns the bytes, to be stored where nobody else reads.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public().0
    }

    /// Opens an output that was sealed in `place`.
    ///
    /// # Errors
    ///
    /// [`SealError::Foreign`].
    pub fn open(&self, place: &OutputPlace, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, rest) = sealed.split_at_checked(KEY_BYTES).ok_or(SealError::Foreign)?;
        let len = rest.len().checked_sub(TAG_BYTES).ok_or(SealError::Foreign)?;
        let (body, tag) = rest.split_at(len);
        let foreign = |_| SealError::Foreign;
        let secret = <Kem as hpke::Kem>::PrivateKey::from_bytes(self.expose()).map_err(foreign)?;
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(head).map_err(foreign)?;
        let tag = AeadTag::<Aead>::from_bytes(tag).map_err(foreign)?;
        let receiver = setup_receiver::<Aead, Kdf, Kem>(&OpModeR::Base, &secret, &enc, &place.info());
        let mut output = Zeroizing::new(body.to_vec());
        receiver.map_err(foreign)?.open_inout_detached((&mut output[..]).into(), &[], &tag).map_err(foreign)?;
        Ok(output)
    }
}

/// The reason why an output is not sealed or opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealError {
    /// The job's public key is invalid.
    Key,
    /// The output was sealed to another key, in another place, or has changed.
    Foreign,
    /// The operating system has no randomness.
    Randomness,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the job's public key for outputs is invalid; use the same version everywhere",
            Self::Foreign => "an output does not open with this job's key; fetch it where the job was ordered",
            Self::Randomness => "the operating system gives no random bytes; nothing can be sealed without them",
        })
    }
}

impl std::error::Error for SealError {}
