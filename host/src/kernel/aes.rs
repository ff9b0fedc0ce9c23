//! AES-128 in counter mode on 64 bytes at a time.
//!
//! The streams are those of [`Aes128Prg`]. Its general counter mode makes counters block by block, and half the time goes there; a short
//! stream costs as much again to set up.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_xor_si128,
    _mm512_add_epi64, _mm512_aesenc_epi128, _mm512_aesenclast_epi128, _mm512_broadcast_i32x4, _mm512_load_si512,
    _mm512_mask_storeu_epi8, _mm512_set_epi64, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_store_si512,
    _mm512_storeu_si512, _mm512_xor_si512,
};
use symbolon_core::prg::{Aes128Prg, MaskId, Prg, Seed};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a register: four blocks.
const BYTES: usize = 64;
/// Registers encrypted together, so that their rounds overlap.
const TOGETHER: usize = 8;
/// Keys of AES-128: one before the first of ten rounds, one after each.
const KEYS: usize = 11;

/// One key, four times.
#[derive(Clone, Copy, Zeroize)]
#[repr(align(64))]
struct Key([u64; 8]);

/// [`Aes128Prg`] on the vector instructions for AES.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Aes128Vector([Key; KEYS]);

impl Aes128Vector {
    /// The streams of `seed` in `session`, if this processor has the instructions.
    pub(super) fn new(seed: &Seed, session: &[u8; 16]) -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("aes");
        // SAFETY: the features were detected above.
        all.then(|| Self(unsafe { expand(&Aes128Prg::key(seed, session)) }))
    }
}

impl Prg for Aes128Vector {
    fn fill_bytes(&self, id: MaskId, at: u64, out: &mut [u8]) {
        let prefix = u64::from(id.lane) | u64::from(id.request) << 16 | u64::from(id.part) << 48;
        // SAFETY: a value of this type exists only where `new` found the features.
        unsafe { fill(&self.0, prefix, at, out) };
    }
}

/// The key schedule of FIPS 197, section 5.2.
#[target_feature(enable = "avx512f,aes")]
fn expand(key: &[u8; 16]) -> [Key; KEYS] {
    // SAFETY: 16 bytes are borrowed; no alignment is needed.
    let mut word = unsafe { _mm_loadu_si128(key.as_ptr().cast()) };
    let mut keys = [Key([0; 8]); KEYS];
    let next = |word: __m128i, assist: __m128i| {
        // Each of the four words is the sum of those before it and of the last one, rotated and substituted.
        let two = _mm_xor_si128(word, _mm_slli_si128::<4>(word));
        let four = _mm_xor_si128(two, _mm_slli_si128::<8>(two));
        _mm_xor_si128(four, _mm_shuffle_epi32::<0xff>(assist))
    };
    macro_rules! rounds {
        ($($i:literal: $constant:literal),*) => {
            store(&mut keys[0], word);
            $(word = next(word, _mm_aeskeygenassist_si128::<$constant>(word));
            store(&mut keys[$i], word);)*
        };
    }
    rounds!(1: 0x01, 2: 0x02, 3: 0x04, 4: 0x08, 5: 0x10, 6: 0x20, 7: 0x40, 8: 0x80, 9: 0x1b, 10: 0x36);
    keys
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(key: &mut Key, word: __m128i) {
    // SAFETY: `Key` is 64 aligned bytes, borrowed mutably.
    unsafe { _mm512_store_si512(key.0.as_mut_ptr().cast(), _mm512_broadcast_i32x4(word)) };
}

/// Writes the stream's bytes from `at` on over `out`.
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn fill(keys: &[Key; KEYS], prefix: u64, at: u64, out: &mut [u8]) {
    // SAFETY: `Key` is 64 aligned bytes.
    let keys = keys.each_ref().map(|k| unsafe { _mm512_load_si512(k.0.as_ptr().cast()) });
    // Blocks are the prefix, then the counter with its bytes reversed; the prefix is added together with the first key.
    let first = _mm512_xor_si512(keys[0], four(prefix.cast_signed(), 0));
    let mut counter = _mm512_add_epi64(_mm512_set_epi64(3, 0, 2, 0, 1, 0, 0, 0), four(0, (at / 16).cast_signed()));
    let step = four(0, 4);
    let reversed = four(-1, 0x0809_0a0b_0c0d_0e0f);
    let rounds = |counter: __m512i| _mm512_xor_si512(_mm512_shuffle_epi8(counter, reversed), first);

    let mut rest = out;
    let skip = (at % 16) as usize;
    if skip != 0 {
        let mut block = [_mm512_setzero_si512()];
        block[0] = rounds(counter);
        encrypt(&keys, &mut block);
        let mut bytes = [0u8; BYTES];
        // SAFETY: 64 bytes are borrowed; no alignment is needed.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), block[0]) };
        let (head, tail) = rest.split_at_mut(rest.len().min(BYTES - skip));
        head.copy_from_slice(&bytes[skip..][..head.len()]);
        (rest, counter) = (tail, _mm512_add_epi64(counter, step));
    }
    let mut next = || {
        let now = rounds(counter);
        counter = _mm512_add_epi64(counter, step);
        now
    };
    let mut groups = rest.chunks_exact_mut(TOGETHER * BYTES);
    for group in &mut groups {
        let mut blocks = [_mm512_setzero_si512(); TOGETHER];
        for block in &mut blocks {
            *block = next();
        }
        encrypt(&keys, &mut blocks);
        for (out, block) in group.chunks_exact_mut(BYTES).zip(blocks) {
            // SAFETY: 64 bytes are borrowed; no alignment is needed.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), block) };
        }
    }
    for out in groups.into_remainder().chunks_mut(BYTES) {
        let mut block = [next()];
        encrypt(&keys, &mut block);
        // SAFETY: only the bytes of the mask are written, which are the 1 to 64 borrowed.
        unsafe { _mm512_mask_storeu_epi8(out.as_mut_ptr().cast(), u64::MAX >> (BYTES - out.len()), block[0]) };
    }
}

/// `low` and `high` as the halves of each block.
#[inline]
#[target_feature(enable = "avx512f")]
fn four(low: i64, high: i64) -> __m512i {
    _mm512_set_epi64(high, low, high, low, high, low, high, low)
}

/// The ten rounds, on blocks to which the first key was added.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt<const N: usize>(keys: &[__m512i; KEYS], blocks: &mut [__m512i; N]) {
    for key in &keys[1..KEYS - 1] {
        for block in &mut *blocks {
            *block = _mm512_aesenc_epi128(*block, *key);
        }
    }
    for block in blocks {
        *block = _mm512_aesenclast_epi128(*block, keys[KEYS - 1]);
    }
}
