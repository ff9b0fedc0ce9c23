//! Truncation with a public factor, and what optimizers do element by element. Notation as in the kernels on words.
//!
//! For a public `factor` below 2^16, `F(x) = floor(factor x / 2^f)` of a number `0 <= x < 2^(n-1)`.
//! With `c = y + offset + r mod 2^n` and the lower `n - 1` bits `c'`, `r'` of `c` and `r`,
//! `F(c') - F(r') + (msb(c) ^ msb(r)) factor 2^(n-1-f) - factor (offset >> f) = floor((factor y +
//! 2^f - 1 - u) / 2^f)` with `u = factor c mod 2^f`: the product itself, which may need more than
//! `k` bits, never exists.

use super::Opening;
use crate::word::Word;

/// `F`, for a word below `2^(n-1)`.
#[derive(Clone, Copy)]
struct Scale<W> {
    factor: W,
    /// Bits that the product with the lower part leaves room for, at most `frac_bits`.
    split: u32,
    frac_bits: u32,
    /// Bits `n` of the opened word.
    bits: u32,
}

impl<W: Word> Scale<W> {
    #[inline(always)]
    fn new(factor: u32, frac_bits: u32, bits: u32) -> Self {
        let width = u32::BITS - factor.leading_zeros();
        Self { factor: W::from_u64(u64::from(factor)), split: frac_bits.min(W::BITS - width), frac_bits, bits }
    }
    /// Lower part first, so that no product wraps that is shifted afterwards: the floor of a floor is the floor.
    #[inline(always)]
    fn floor(self, x: W) -> W {
        let low = self.factor.mul(x.and(W::low_mask(self.split))).shr(self.split);
        self.factor.mul(x.shr(self.split)).add(low).shr(self.frac_bits - self.split)
    }
    /// `F` of the bits below the top one.
    #[inline(always)]
    fn below(self, x: W) -> W {
        self.floor(x.and(W::low_mask(self.bits - 1)))
    }
    /// `factor 2^(n-1-f)`: the value of a carry into the top bit.
    #[inline(always)]
    fn carry(self) -> W {
        self.factor.shl(self.bits - 1 - self.frac_bits)
    }
    /// The value of the top bit of an opened word, or of a mask.
    #[inline(always)]
    fn top(self, x: W) -> W {
        self.carry().and(x.shr(self.bits - 1).mask_from_bit())
    }
    /// The value of the offset.
    #[inline(always)]
    fn offset(self, offset: W) -> W {
        self.factor.mul(offset.shr(self.frac_bits))
    }
}

/// Shares of `factor y / 2^f` from those of `h = F(r')` and `m = msb(r)`.
#[inline(always)]
pub fn scaled<W: Word>(z: &mut [W], o: Opening<'_, W>, factor: u32, frac_bits: u32, h: &[W], m: &[W], first: W) {
    let by = Scale::<W>::new(factor, frac_bits, o.bits);
    let (offset, carry) = (by.offset(o.offset), by.carry());
    for ((z, c), (h, m)) in z.iter_mut().zip(o.c).zip(h.iter().zip(m)) {
        let top = by.top(*c);
        let public = by.below(*c).sub(offset).add(top);
        *z = public.and(first).sub(*h).add(carry.sub(top.shl(1)).mul(*m));
    }
}

/// The same on whole values, in place of the whole mask.
#[inline(always)]
pub fn scaled_clear<W: Word>(r: &mut [W], o: Opening<'_, W>, factor: u32, frac_bits: u32) {
    let by = Scale::<W>::new(factor, frac_bits, o.bits);
    let offset = by.offset(o.offset);
    for (r, c) in r.iter_mut().zip(o.c) {
        *r = by.below(*c).sub(by.below(*r)).sub(offset).add(by.top(c.xor(*r)));
    }
}

/// From masks `r` to `F(r')` (in place) and `m = msb(r)`: what is dealt.
#[inline(always)]
pub fn scaled_parts<W: Word>(r: &mut [W], m: &mut [W], factor: u32, frac_bits: u32, bits: u32) {
    let by = Scale::<W>::new(factor, frac_bits, bits);
    for (r, m) in r.iter_mut().zip(m) {
        *m = r.shr(bits - 1).and(W::from_u64(1));
        *r = by.below(*r);
    }
}

/// `z = z x`, element by element.
#[inline(always)]
pub fn multiply<W: Word>(z: &mut [W], x: &[W]) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = z.mul(*x);
    }
}

/// `z = a z + b x`.
#[inline(always)]
pub fn blend<W: Word>(z: &mut [W], a: W, x: &[W], b: W) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = a.mul(*z).add(b.mul(*x));
    }
}
