//! Words of the rings `Z_2^32` and `Z_2^64`, and the *dry* word.
//!
//! Everything in this crate is generic over [`Word`] and over nothing else. A dry word has no bytes: the same protocol
//! code run on dry words counts what a job costs and names what the dealer must deal, without touching data.
//!
//! - **Timing:** all operations are free of data-dependent branches; `mul` on `u64` is as constant in time as the
//!   target's 32-bit multiplication (not on Cortex-M3).

use core::fmt::Debug;
use zeroize::Zeroize;

#[cfg(target_endian = "big")]
compile_error!(
    "words travel as their little-endian memory image; big-endian targets need a byte swap in `Word::bytes`"
);

/// A word of `Z_2^BITS`.
///
/// There is deliberately no way to read a value back except through [`Word::bytes`], which is empty on dry words:
/// control flow cannot come to depend on data.
pub trait Word: Copy + Default + Send + Sync + Debug + Zeroize + 'static {
    /// Width `k` of the ring in bits.
    const BITS: u32;
    /// The word of the same ring that is not there.
    type Dry: Word;
    /// The word of the other ring: values may be truncated into it ([`crate::protocol::into_ring`]).
    type Other: Word;
    /// The word of 64 bits, for sums that a narrower ring cannot hold
    /// ([`crate::protocol::into_ring::widen`]).
    type Wide: Word;

    /// The low `BITS` bits of `v`.
    fn from_u64(v: u64) -> Self;
    /// `v mod 2^BITS`, two's complement.
    #[inline(always)]
    fn from_i64(v: i64) -> Self {
        Self::from_u64(v.cast_unsigned())
    }
    /// `self + o mod 2^BITS`.
    fn add(self, o: Self) -> Self;
    /// `self - o mod 2^BITS`.
    fn sub(self, o: Self) -> Self;
    /// `self * o mod 2^BITS`.
    fn mul(self, o: Self) -> Self;
    /// `self << n`; 0 when `n >= BITS`.
    fn shl(self, n: u32) -> Self;
    /// Logical `self >> n`; 0 when `n >= BITS`.
    fn shr(self, n: u32) -> Self;
    /// Arithmetic `self >> n`, the sign when `n >= BITS`.
    fn sar(self, n: u32) -> Self;
    /// Bitwise and.
    fn and(self, o: Self) -> Self;
    /// Bitwise or.
    fn or(self, o: Self) -> Self;
    /// Bitwise exclusive or.
    fn xor(self, o: Self) -> Self;
    /// Bitwise complement.
    fn not(self) -> Self;
    /// The little-endian bytes of `words`; empty for dry words.
    fn bytes(words: &[Self]) -> &[u8];
    /// The little-endian bytes of `words`, to be overwritten; empty for dry words.
    fn bytes_mut(words: &mut [Self]) -> &mut [u8];

    /// All bits set if the lowest bit of `self` is, else 0.
    #[inline(always)]
    fn mask_from_bit(self) -> Self {
        Self::default().sub(self.and(Self::from_u64(1)))
    }
    /// The lowest `n` bits set, `n <= BITS`.
    #[inline(always)]
    fn low_mask(n: u32) -> Self {
        Self::from_u64(1).shl(n).sub(Self::from_u64(1))
    }
}

/// `k / 8`: bytes of a word of the ring, also when the word itself is dry.
pub const fn word_bytes<W: Word>() -> usize {
    W::BITS as usize / 8
}

macro_rules! word {
    ($w:ty, $other:ty) => {
        impl Word for $w {
            const BITS: u32 = <$w>::BITS;
            type Dry = Dry<{ <$w>::BITS }>;
            type Other = $other;
            type Wide = u64;
            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, clippy::cast_lossless)] // the low bits are meant
            fn from_u64(v: u64) -> Self {
                v as $w
            }
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                self.wrapping_add(o)
            }
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                self.wrapping_sub(o)
            }
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                self.wrapping_mul(o)
            }
            #[inline(always)]
            fn shl(self, n: u32) -> Self {
                if n < Self::BITS { self << n } else { 0 }
            }
            #[inline(always)]
            fn shr(self, n: u32) -> Self {
                if n < Self::BITS { self >> n } else { 0 }
            }
            #[inline(always)]
            fn sar(self, n: u32) -> Self {
                (self.cast_signed() >> if n < Self::BITS { n } else { Self::BITS - 1 }).cast_unsigned()
            }
            #[inline(always)]
            fn and(self, o: Self) -> Self {
                self & o
            }
            #[inline(always)]
            fn or(self, o: Self) -> Self {
                self | o
            }
            #[inline(always)]
            fn xor(self, o: Self) -> Self {
                self ^ o
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn bytes(words: &[Self]) -> &[u8] {
                bytemuck::cast_slice(words)
            }
            #[inline(always)]
            fn bytes_mut(words: &mut [Self]) -> &mut [u8] {
                bytemuck::cast_slice_mut(words)
            }
        }
    };
}
word!(u32, u64);
word!(u64, u32);

/// A word of `Z_2^N` that is not there: `[Dry<64>]` has a length and no bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Dry<const N: u32>;

impl<const N: u32> Zeroize for Dry<N> {
    fn zeroize(&mut self) {}
}

macro_rules! dry {
    ($n:literal, $other:literal) => {
        impl Word for Dry<$n> {
            const BITS: u32 = $n;
            type Dry = Self;
            type Other = Dry<$other>;
            type Wide = Dry<64>;
            fn from_u64(_: u64) -> Self {
                Self
            }
            fn add(self, _: Self) -> Self {
                Self
            }
            fn sub(self, _: Self) -> Self {
                Self
            }
            fn mul(self, _: Self) -> Self {
                Self
            }
            fn shl(self, _: u32) -> Self {
                Self
            }
            fn shr(self, _: u32) -> Self {
                Self
            }
            fn sar(self, _: u32) -> Self {
                Self
            }
            fn and(self, _: Self) -> Self {
                Self
            }
            fn or(self, _: Self) -> Self {
                Self
            }
            fn xor(self, _: Self) -> Self {
                Self
            }
            fn not(self) -> Self {
                Self
            }
            fn bytes(_: &[Self]) -> &[u8] {
                &[]
            }
            fn bytes_mut(_: &mut [Self]) -> &mut [u8] {
                &mut []
            }
        }
    };
}
dry!(32, 64);
dry!(64, 32);

#[cfg(test)]
mod tests {
    use super::*;

    /// The laws of `Z_2^k`, for any word.
    macro_rules! ring_laws {
        ($name:ident, $w:ty) => {
            proptest::proptest! {
                #[test]
                fn $name(x: $w, y: $w, z: $w, n in 0u32..80) {
                    let zero = <$w>::default();
                    proptest::prop_assert_eq!(x.add(y).sub(y), x);
                    proptest::prop_assert_eq!(Word::add(x, y), Word::add(y, x));
                    proptest::prop_assert_eq!(Word::mul(x, Word::add(y, z)), Word::add(Word::mul(x, y), Word::mul(x, z)));
                    proptest::prop_assert_eq!(Word::add(x, Word::add(Word::not(x), 1)), zero);
                    proptest::prop_assert_eq!(Word::shl(x, n), if n < <$w>::BITS { x << n } else { 0 });
                    proptest::prop_assert_eq!(Word::sar(x, n), (x.cast_signed() >> n.min(<$w>::BITS - 1)).cast_unsigned());
                    proptest::prop_assert_eq!(x.mask_from_bit(), if x & 1 == 1 { <$w>::MAX } else { 0 });
                    proptest::prop_assert_eq!(<$w as Word>::bytes(&[x, y]).len(), 2 * word_bytes::<$w>());
                }
            }
        };
    }
    ring_laws!(laws_of_32_bits, u32);
    ring_laws!(laws_of_64_bits, u64);
}
