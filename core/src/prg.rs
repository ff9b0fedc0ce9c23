//! Keyed streams with random access: any part of any mask, at any time, in any order, with no state.
//!
//! A stream is addressed by [`MaskId`] and a byte offset; the key binds seed, session and cipher:
//! `HKDF-SHA256(seed, "symbolon prg v1" ‖ session ‖ cipher)`, without salt, `cipher` being `chacha20` or `aes128-ctr`. Two ciphers: ChaCha20
//! (RFC 8439 layout: 32-bit block counter, 96-bit nonce) for microcontrollers and portable hosts, AES-128 in counter mode for hosts with AES
//! instructions.
//!
//! Address: lane (2 bytes), request (4), part (2), little-endian. It begins ChaCha20's nonce, whose other 4 bytes are 0, and AES's counter block, which
//! ends in the number of the block, 8 bytes big-endian. A stream holds 2^32 - 1 blocks of 64 bytes under ChaCha20 and 2^64 of 16 under AES.

use crate::word::{Word, word_bytes};
use aes::{Aes128, cipher::KeyInit};
use chacha20::{
    ChaCha20,
    cipher::{InnerIvInit, KeyIvInit, StreamCipher, StreamCipherSeek},
};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Public name of a stream under a session's key: a mask, or the expanded share of a dealt value.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct MaskId {
    /// Lane that drew it.
    pub lane: u16,
    /// Number of the protocol call on that lane.
    pub request: u32,
    /// Which of that call's draws.
    pub part: u16,
}

/// Which cipher expands the seeds; public, part of the plan.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum Cipher {
    /// ChaCha20, 20 rounds.
    #[serde(rename = "chacha20")]
    ChaCha20,
    /// AES-128 in counter mode.
    #[serde(rename = "aes128-ctr")]
    Aes128Ctr,
}

/// 32 secret bytes that a party's streams grow from. Not `Clone`: a seed serves one session.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from the caller's generator, which must be seeded by the system or by hardware.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Self([0; 32]);
        rng.fill_bytes(&mut seed.0);
        seed
    }
    /// A seed received from its maker; the caller wipes `bytes`.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }
    /// The bytes, to be sent to the one party that may expand them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
    /// The stream key for one session and cipher.
    fn key<const N: usize>(&self, session: &[u8; 16], cipher: &[u8]) -> Zeroizing<[u8; N]> {
        let mut key = Zeroizing::new([0; N]);
        let hkdf = Hkdf::<Sha256>::new(None, &self.0);
        let done = hkdf.expand_multi_info(&[b"symbolon prg v1", session, cipher], key.as_mut());
        assert!(done.is_ok(), "a key is shorter than HKDF's limit");
        key
    }
}

/// Derives the seed of server `server`'s streams from the seed that it drew for this session:
/// `HKDF-SHA256(drawn, "symbolon seed v1" ‖ nonces ‖ session ‖ plan hash ‖ server)`.
///
/// The server, the dealer and an auditor all derive it. Both servers' nonces are fresh. So neither
/// a replayed session nor a seed that was drawn twice makes a mask hide two values.
pub fn session_seed(
    drawn: &Seed,
    nonces: [&[u8; 32]; 2],
    session: &[u8; 16],
    plan_hash: &[u8; 32],
    server: u8,
) -> Seed {
    let mut seed = Seed([0; 32]);
    let hkdf = Hkdf::<Sha256>::new(None, &drawn.0);
    let info: [&[u8]; 6] = [b"symbolon seed v1", nonces[0], nonces[1], session, plan_hash, &[server]];
    let done = hkdf.expand_multi_info(&info, &mut seed.0);
    assert!(done.is_ok(), "a seed is shorter than HKDF's limit");
    seed
}

/// A keyed stream.
pub trait Prg: Send + Sync {
    /// Writes the stream's bytes from `at` on over `out`.
    ///
    /// # Panics
    ///
    /// If the range passes the end of the stream (2^38 - 64 bytes under ChaCha20).
    fn fill_bytes(&self, id: MaskId, at: u64, out: &mut [u8]);
}

/// Writes words `at..` of the stream over `out`.
pub fn fill<W: Word>(prg: &dyn Prg, id: MaskId, at: usize, out: &mut [W]) {
    prg.fill_bytes(id, (at * word_bytes::<W>()) as u64, W::bytes_mut(out));
}

/// [`Cipher::ChaCha20`].
#[derive(ZeroizeOnDrop)]
pub struct ChaCha20Prg([u8; 32]);

impl ChaCha20Prg {
    /// The streams of `seed` in `session`.
    pub fn new(seed: &Seed, session: &[u8; 16]) -> Self {
        Self(*seed.key(session, b"chacha20"))
    }
}

impl Prg for ChaCha20Prg {
    fn fill_bytes(&self, id: MaskId, at: u64, out: &mut [u8]) {
        let mut nonce = [0; 12];
        nonce[..2].copy_from_slice(&id.lane.to_le_bytes());
        nonce[2..6].copy_from_slice(&id.request.to_le_bytes());
        nonce[6..8].copy_from_slice(&id.part.to_le_bytes());
        let mut cipher = ChaCha20::new((&self.0).into(), &nonce.into());
        cipher.seek(at);
        cipher.write_keystream(out);
    }
}

/// [`Cipher::Aes128Ctr`].
pub struct Aes128Prg(Aes128);

impl Aes128Prg {
    /// The streams of `seed` in `session`.
    pub fn new(seed: &Seed, session: &[u8; 16]) -> Self {
        Self(Aes128::new((&*Self::key(seed, session)).into()))
    }
    /// The key of these streams, for an implementation with other instructions.
    pub fn key(seed: &Seed, session: &[u8; 16]) -> Zeroizing<[u8; 16]> {
        seed.key(session, b"aes128-ctr")
    }
}

impl Prg for Aes128Prg {
    fn fill_bytes(&self, id: MaskId, at: u64, out: &mut [u8]) {
        let mut counter = [0; 16];
        counter[..2].copy_from_slice(&id.lane.to_le_bytes());
        counter[2..6].copy_from_slice(&id.request.to_le_bytes());
        counter[6..8].copy_from_slice(&id.part.to_le_bytes());
        counter[8..].copy_from_slice(&(at / 16).to_be_bytes());
        let core = ctr::CtrCore::<&Aes128, ctr::flavors::Ctr64BE>::inner_iv_init(&self.0, &counter.into());
        let mut cipher = chacha20::cipher::StreamCipherCoreWrapper::from_core(core);
        let skip = (at % 16) as usize;
        if skip != 0 {
            cipher.write_keystream(&mut Zeroizing::new([0; 16])[..skip]);
        }
        cipher.write_keystream(out);
    }
}
