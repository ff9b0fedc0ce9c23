//! Truncation with a public factor, and what optimizers do element by element. Notation as in the kernels on words.
//!
//! For a public `factor` below 2^16, `F(x) = floor(factor x / 2^f)` of a number `0 <= x < 2^(k-1)`. With `c = z + r + offset` and the lower `k - 1` bits
//! `c'`, `r'` of `c` and `r`,
//! `F(c') - F(r') + (msb(c) ^ msb(r)) factor 2^(k-1-f) - factor (offset >> f) = floor((factor z + 2^f - 1 - u) / 2^f)` with `u = factor c mod 2^f`:
//! the product itself, which may need more than `k` bits, never exists.

use super::Opening;
use crate::word::Word;

/// `F`, for a word below `2^(k-1)`.
#[derive(Clone, Copy)]
struct Scale<W> {
    factor: W,
    /// Bits that the product with the lower part leaves room for, at most `frac_bits`.
    split: u32,
    frac_bits: u32,
}

impl<W: Word> Scale<W> {
    #[inline(always)]
    fn new(factor: u32, frac_bits: u32) -> Self {
        let width = u32::BITS - factor.leading_zeros();
        Self { factor: W::from_u64(u64::from(factor)), split: frac_bits.min(W::BITS - width), frac_bits }
    }
    /// Lower part first, so that no product wraps that is shifted afterwards: the floor of a floor is the floor.
    #[inline(always)]
    fn floor(self, x: W) -> W {
        let low = self.factor.mul(x.and(W::low_mask(self.split))).shr(self.split);
        self.factor.mul(x.shr(self.split)).add(low).shr(self.frac_bits - self.split)
    }
    /// `factor 2^(k-1-f)`: what a carry into the top bit is worth.
    #[inline(always)]
    fn carry(self) -> W {
        self.factor.shl(W::BITS - 1 - self.frac_bits)
    }
}

/// `x` without its top bit.
#[inline(always)]
fn below<W: Word>(x: W) -> W {
    x.shl(1).shr(1)
}

/// Shares of `factor z / 2^f` from those of `h = F(r')` and `m = msb(r)`.
#[inline(always)]
pub fn scaled<W: Word>(z: &mut [W], o: Opening<'_, W>, factor: u32, h: &[W], m: &[W], first: W) {
    let by = Scale::<W>::new(factor, o.frac_bits);
    let (offset, carry) = (by.factor.mul(o.offset.shr(o.frac_bits)), by.carry());
    for ((z, c), (h, m)) in z.iter_mut().zip(o.c).zip(h.iter().zip(m)) {
        let msb = carry.and(c.shr(W::BITS - 1).mask_from_bit());
        let public = by.floor(below(*c)).sub(offset).add(msb);
        *z = public.and(first).sub(*h).add(carry.sub(msb.shl(1)).mul(*m));
    }
}

/// The same on whole values, in place.
#[inline(always)]
pub fn scaled_clear<W: Word>(z: &mut [W], o: Opening<'_, W>, factor: u32) {
    let by = Scale::<W>::new(factor, o.frac_bits);
    let (offset, carry) = (by.factor.mul(o.offset.shr(o.frac_bits)), by.carry());
    for (z, c) in z.iter_mut().zip(o.c) {
        let r = c.sub(*z).sub(o.offset);
        let differ = carry.and(c.xor(r).shr(W::BITS - 1).mask_from_bit());
        *z = by.floor(below(*c)).sub(by.floor(below(r))).sub(offset).add(differ);
    }
}

/// From masks `r` to `F(r')` (in place) and `m = msb(r)`: what is dealt.
#[inline(always)]
pub fn scaled_parts<W: Word>(r: &mut [W], m: &mut [W], factor: u32, frac_bits: u32) {
    let by = Scale::<W>::new(factor, frac_bits);
    for (r, m) in r.iter_mut().zip(m) {
        *m = r.shr(W::BITS - 1);
        *r = by.floor(below(*r));
    }
}

/// Truncates whole values in place, with the dither of the opened words: `truncated_clear` for a caller that still holds them.
#[inline(always)]
pub fn truncated_whole<W: Word>(z: &mut [W], o: Opening<'_, W>) {
    let f = o.frac_bits;
    let low = W::low_mask(f);
    for (z, c) in z.iter_mut().zip(o.c) {
        *z = z.sar(f).add(z.and(low).add(low).sub(c.and(low)).shr(f));
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
