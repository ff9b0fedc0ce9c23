//! Seeds on their way to a device: HPKE (RFC 9180), mode Auth, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, one
//! message each.
//!
//! The sender's static key authenticates it, the device's alone opens. `info` binds the protocol, the device's session and whose seed it
//! is: a sealed seed that is sent again, or in the other's place, does not open.

use hpke::{
    Deserializable, HpkeError, Kem as _, OpModeR, OpModeS, Serializable,
    aead::{AeadTag, ChaCha20Poly1305},
    inout::InOutBuf,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    single_shot_open_inout_detached, single_shot_seal_inout_detached_with_rng,
};
use rand_core::CryptoRng;
use symbolon_core::prg::Seed;
use zeroize::{Zeroize, Zeroizing};

type Kem = X25519HkdfSha256;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type PublicKey = <Kem as hpke::Kem>::PublicKey;

/// Encapsulated key, sealed seed, tag.
pub const SEALED_BYTES: usize = 32 + 32 + 16;
/// The key blob of a compute node: its private key, the dealer's and the owner's public keys.
pub const BLOB_BYTES: usize = 96;

/// Whose seed it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Sender {
    /// Masks and shares of dealt values grow from it.
    Dealer = 0,
    /// The device's shares of the inputs grow from it, and the pad of the outputs.
    Owner = 1,
}

/// Why there is no seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// No keys in the key blob. Flash the blob of a compute node.
    Blob,
    /// The sealed seed does not open: from someone else, for another device or session, or damaged. Restart both ends.
    Sealed,
}

/// What the device holds.
pub struct DeviceKeys {
    private: PrivateKey,
    senders: [PublicKey; 2],
}

impl DeviceKeys {
    /// Reads the key blob.
    ///
    /// # Errors
    ///
    /// [`Error::Blob`].
    pub fn from_blob(blob: &[u8; BLOB_BYTES]) -> Result<Self, Error> {
        let ([private, dealer, owner], []) = blob.as_chunks::<32>() else { return Err(Error::Blob) };
        let public = |bytes: &[u8; 32]| PublicKey::from_bytes(bytes).map_err(|_| Error::Blob);
        let private = PrivateKey::from_bytes(private).map_err(|_| Error::Blob)?;
        Ok(Self { private, senders: [public(dealer)?, public(owner)?] })
    }

    /// Opens a seed.
    ///
    /// # Errors
    ///
    /// [`Error::Sealed`].
    pub fn open(&self, sender: Sender, session: &[u8; 16], sealed: &[u8; SEALED_BYTES]) -> Result<Seed, Error> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&sealed[..32]).map_err(|_| Error::Sealed)?;
        let tag = AeadTag::<ChaCha20Poly1305>::from_bytes(&sealed[64..]).map_err(|_| Error::Sealed)?;
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&sealed[32..64]);
        single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Auth(self.senders[sender as usize].clone()),
            &self.private,
            &enc,
            &info(sender, session),
            InOutBuf::from(&mut seed[..]),
            &[],
            &tag,
        )
        .map_err(|_| Error::Sealed)?;
        Ok(Seed::from_bytes(&seed))
    }
}

/// A key pair of a sender or a device.
pub struct KeyPair {
    private: PrivateKey,
    public: PublicKey,
}

impl KeyPair {
    /// A fresh one.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let (private, public) = Kem::gen_keypair_with_rng(rng);
        Self { private, public }
    }

    /// The blob of the device that has this pair.
    pub fn blob(&self, dealer: &Self, owner: &Self) -> Zeroizing<[u8; BLOB_BYTES]> {
        let mut blob = Zeroizing::new([0; BLOB_BYTES]);
        self.private.write_exact(&mut blob[..32]);
        dealer.public.write_exact(&mut blob[32..64]);
        owner.public.write_exact(&mut blob[64..]);
        blob
    }

    /// Seals a seed to `device`.
    ///
    /// # Errors
    ///
    /// HPKE's, which this ciphersuite has none of for keys made here.
    pub fn seal(
        &self,
        sender: Sender,
        device: &Self,
        session: &[u8; 16],
        seed: &Seed,
        rng: &mut impl CryptoRng,
    ) -> Result<[u8; SEALED_BYTES], HpkeError> {
        let mut sealed = [0; SEALED_BYTES];
        let mut bytes = *seed.expose();
        let mode = OpModeS::Auth((self.private.clone(), self.public.clone()));
        let (enc, tag) = single_shot_seal_inout_detached_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &mode,
            &device.public,
            &info(sender, session),
            InOutBuf::from(&mut bytes[..]),
            &[],
            rng,
        )
        .inspect_err(|_| bytes.zeroize())?;
        enc.write_exact(&mut sealed[..32]);
        sealed[32..64].copy_from_slice(&bytes);
        tag.write_exact(&mut sealed[64..]);
        Ok(sealed)
    }
}

const LABEL: &[u8; 19] = b"symbolon compute v1";

fn info(sender: Sender, session: &[u8; 16]) -> [u8; 36] {
    let mut info = [0; 36];
    info[..19].copy_from_slice(LABEL);
    info[19..35].copy_from_slice(session);
    info[35] = sender as u8;
    info
}
