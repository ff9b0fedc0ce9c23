//! Element-wise kernels. `first` is all ones at the party that adds public terms (server 0, the clear engine) and 0 at server 1.
//!
//! Notation of [`crate::protocol::truncate`]: a value `y` is opened as `c = y + offset + r mod
//! 2^n`; `h = r mod 2^(n-1)`, `m = msb(r)`; `y = C - h + Q m`, with public `C = c - offset` and
//! `Q = (1 - 2 msb(c)) 2^(n-1)`.
//!
//! All slices of one call have the same length, except planes (see the [module](super)).

use super::{Opening, plane_words};
use crate::word::Word;

/// `z += x`.
#[inline(always)]
pub fn add<W: Word>(z: &mut [W], x: &[W]) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = z.add(*x);
    }
}

/// `z -= x`.
#[inline(always)]
pub fn sub<W: Word>(z: &mut [W], x: &[W]) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = z.sub(*x);
    }
}

/// `z ^= x`.
#[inline(always)]
pub fn xor<W: Word>(z: &mut [W], x: &[W]) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = z.xor(*x);
    }
}

/// `z += s`.
#[inline(always)]
pub fn add_constant<W: Word>(z: &mut [W], s: W) {
    for z in z {
        *z = z.add(s);
    }
}

/// `z *= s`.
#[inline(always)]
pub fn scale<W: Word>(z: &mut [W], s: W) {
    for z in z {
        *z = z.mul(s);
    }
}

/// `z = z mod 2^bits`.
#[inline(always)]
pub fn keep_low<W: Word>(z: &mut [W], bits: u32) {
    let low = W::low_mask(bits);
    for z in z {
        *z = z.and(low);
    }
}

/// `z += s x`.
#[inline(always)]
pub fn add_scaled<W: Word>(z: &mut [W], x: &[W], s: W) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = z.add(x.mul(s));
    }
}

/// `z += x y`, element by element.
#[inline(always)]
pub fn mul_add<W: Word>(z: &mut [W], x: &[W], y: &[W]) {
    for (z, (x, y)) in z.iter_mut().zip(x.iter().zip(y)) {
        *z = z.add(x.mul(*y));
    }
}

/// `c += (z + offset) >> shift`: a mask's share becomes the share of the word to be opened.
#[inline(always)]
pub fn blind<W: Word>(c: &mut [W], z: &[W], offset: W, shift: u32) {
    for (c, z) in c.iter_mut().zip(z) {
        *c = c.add(z.add(offset).shr(shift));
    }
}

/// The opened word of whole values: from whole masks `r`, in place, to `(z + offset - u) >> shift`
/// plus the lower `bits` bits of `r`, modulo `2^bits`. The dither `u` is the upper `shift` bits of
/// `r`.
#[inline(always)]
pub fn blind_clear<W: Word>(c: &mut [W], z: &[W], offset: W, shift: u32, bits: u32) {
    let low = W::low_mask(bits);
    for (c, z) in c.iter_mut().zip(z) {
        let dither = c.shr(W::BITS - shift);
        *c = c.add(z.add(offset).sub(dither).shr(shift)).and(low);
    }
}

/// `C` and `Q` of one opened word of `n` bits.
#[inline(always)]
fn parts<W: Word>(c: W, offset: W, n: u32) -> (W, W) {
    (c.sub(offset), W::from_u64(1).shl(n - 1).sub(c.shr(n - 1).shl(n)))
}

/// `z = C - [h] + Q [m]`: shares of the truncated value.
#[inline(always)]
pub fn truncated<W: Word>(z: &mut [W], o: Opening<'_, W>, h: &[W], m: &[W], first: W) {
    for ((z, c), (h, m)) in z.iter_mut().zip(o.c).zip(h.iter().zip(m)) {
        let (public, carry) = parts(*c, o.offset, o.bits);
        *z = public.and(first).sub(*h).add(carry.mul(*m));
    }
}

/// The truncated value itself, in place of the whole mask: `C - h + Q m`, also where a word has
/// left its range.
#[inline(always)]
pub fn truncated_clear<W: Word>(r: &mut [W], o: Opening<'_, W>) {
    let (n, low) = (o.bits, W::low_mask(o.bits - 1));
    for (r, c) in r.iter_mut().zip(o.c) {
        let (public, carry) = parts(*c, o.offset, n);
        let top = r.shr(n - 1).mask_from_bit();
        *r = public.sub(r.and(low)).add(carry.and(top));
    }
}

/// Each word as one of `Z_2^(2k)`: two words, the lower half first.
#[inline(always)]
pub fn widen<W: Word>(z: &mut [W], x: &[W]) {
    for (z, x) in z.as_chunks_mut::<2>().0.iter_mut().zip(x) {
        *z = [*x, W::default()];
    }
}

/// `z -= x` in `Z_2^(2k)`, two words each, the lower half first.
#[inline(always)]
pub fn sub_wide<W: Word>(z: &mut [W], x: &[W]) {
    for ([low, high], [x_low, x_high]) in z.as_chunks_mut::<2>().0.iter_mut().zip(x.as_chunks::<2>().0) {
        let difference = low.sub(*x_low);
        let borrow = low.not().and(*x_low).or(low.xor(*x_low).not().and(difference)).shr(W::BITS - 1);
        (*low, *high) = (difference, high.sub(*x_high).sub(borrow));
    }
}

/// From masks `r` of `n` bits to `h` (in place) and `m`. Bits above are ignored.
#[inline(always)]
pub fn mask_parts<W: Word>(r: &mut [W], m: &mut [W], n: u32) {
    let low = W::low_mask(n - 1);
    for (r, m) in r.iter_mut().zip(m) {
        *m = r.shr(n - 1).and(W::from_u64(1));
        *r = r.and(low);
    }
}

/// From both servers' shares of a mask of `n` bits, in place, to the carry `o` that their lower
/// `n - 1` bits make and to `m`. Bits above are ignored.
#[inline(always)]
pub fn mask_carry_and_top<W: Word>(r: &mut [W], s: &mut [W], n: u32) {
    let (low, one) = (W::low_mask(n - 1), W::from_u64(1));
    for (r, s) in r.iter_mut().zip(s) {
        let carry = r.and(low).add(s.and(low)).shr(n - 1);
        (*r, *s) = (carry, r.add(*s).shr(n - 1).and(one));
    }
}

/// From a server's share of a mask of `n` bits, in place, and its share of `o` to its share of
/// `h = r_0 mod 2^(n-1) + r_1 mod 2^(n-1) - 2^(n-1) o`.
#[inline(always)]
pub fn mask_lower_share<W: Word>(r: &mut [W], o: &[W], n: u32) {
    let low = W::low_mask(n - 1);
    for (r, o) in r.iter_mut().zip(o) {
        *r = r.and(low).sub(o.shl(n - 1));
    }
}

/// Shares of `y^2 = C^2 - 2 C [h] + 2 C Q [m] + [h^2] - 2 Q [h m]`, where `Q^2 = 0` since
/// `2 n - 2 >= k`.
#[inline(always)]
pub fn squared<W: Word>(z: &mut [W], o: Opening<'_, W>, h: &[W], m: &[W], hh: &[W], hm: &[W], first: W) {
    let dealt = h.iter().zip(m).zip(hh.iter().zip(hm));
    for ((z, c), ((h, m), (hh, hm))) in z.iter_mut().zip(o.c).zip(dealt) {
        let (public, carry) = parts(*c, o.offset, o.bits);
        let linear = carry.mul(*m).sub(*h).mul(public).sub(carry.mul(*hm)).shl(1);
        *z = public.mul(public).and(first).add(linear).add(*hh);
    }
}

/// `z = z P̂ + C [p] - [h p] + Q [m p]`: from shares of the truncated value `y` to shares of `y P`, for `P` opened as `P̂ = P - p`.
#[inline(always)]
pub fn times_masked<W: Word>(z: &mut [W], o: Opening<'_, W>, p_open: &[W], p: &[W], hp: &[W], mp: &[W]) {
    let factor = p_open.iter().zip(p).zip(hp.iter().zip(mp));
    for ((z, c), ((p_open, p), (hp, mp))) in z.iter_mut().zip(o.c).zip(factor) {
        let (public, carry) = parts(*c, o.offset, o.bits);
        *z = z.mul(*p_open).add(public.mul(*p)).sub(*hp).add(carry.mul(*mp));
    }
}

/// Runs `f` on each element of `z` with its index and its bit of `plane`, 0 or 1.
#[inline(always)]
fn with_bit<W: Word>(z: &mut [W], plane: &[W], mut f: impl FnMut(&mut W, usize, W)) {
    let lanes = plane_words::<W>(z.len());
    if lanes == 0 {
        return;
    }
    let plane = &plane[..lanes];
    // A mask made from what is known to be a bit becomes a branch on Cortex-M0.
    let one = core::hint::black_box(W::from_u64(1));
    for (row, z) in (0u32..).zip(z.chunks_mut(lanes)) {
        let base = row as usize * lanes;
        for (i, (z, bit)) in z.iter_mut().zip(plane).enumerate() {
            f(z, base + i, bit.shr(row).and(one));
        }
    }
}

/// `z = β z + (1 - 2 β) (C [ρ] - [ρ h] + Q [ρ m])`: from shares of the truncated value `y` to shares of `s y`, for the shared bit `s`
/// opened as `β = s ^ ρ`.
#[inline(always)]
pub fn selected<W: Word>(z: &mut [W], o: Opening<'_, W>, beta: &[W], rho: &[W], rho_h: &[W], rho_m: &[W]) {
    let n = z.len();
    let (c, rho, rho_h, rho_m) = (&o.c[..n], &rho[..n], &rho_h[..n], &rho_m[..n]);
    with_bit(z, beta, |z, i, bit| {
        let (public, carry) = parts(c[i], o.offset, o.bits);
        let masked = public.mul(rho[i]).sub(rho_h[i]).add(carry.mul(rho_m[i]));
        let all = W::default().sub(bit);
        // (1 - 2β) x is x or -x: complement and add one where β is set.
        *z = z.and(all).add(masked.xor(all)).sub(all);
    });
}

/// `z += (β + (1 - 2 β) [ρ]) 2^shift`: a bit opened as `β = s ^ ρ` becomes shares of the word `s`.
#[inline(always)]
pub fn bit_to_word<W: Word>(z: &mut [W], beta: &[W], rho: &[W], shift: u32, first: W) {
    let rho = &rho[..z.len()];
    with_bit(z, beta, |z, i, bit| {
        let all = W::default().sub(bit);
        let public = bit.and(first);
        *z = z.add(public.add(rho[i].xor(all).sub(all)).shl(shift));
    });
}

/// `z = bit`, 0 or 1: a public or whole plane as words.
#[inline(always)]
pub fn spread<W: Word>(z: &mut [W], plane: &[W]) {
    with_bit(z, plane, |z, _, bit| *z = bit);
}

/// `z = z bit`: words where the plane is set stay, the others become 0.
#[inline(always)]
pub fn keep_where<W: Word>(z: &mut [W], plane: &[W]) {
    with_bit(z, plane, |z, _, bit| *z = z.and(W::default().sub(bit)));
}
