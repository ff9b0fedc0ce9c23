//! Sines and cosines of turns, in integers.
//!
//! A phase is an integer in units of `2^-64` turns, so that it wraps as the functions do. The
//! nearest quarter turn is taken off. Taylor's polynomials of the rest, at most an eighth of a
//! turn, give both functions, which the quarter turns then exchange and negate by masks. Odd
//! multiples of a phase follow by a recurrence.
//!
//! - **Result:** within `2^-55`; an exact quarter turn exchanges both values without an error. All
//!   parties compute the same bits: no floating point, no table.
//! - **Timing:** free of the phase where a 64-bit product is (not on Cortex-M3): the dealer's
//!   phases are masks.
//! - **Source:** derived here; Taylor's series and the recurrence of Chebyshev's polynomials.

use crate::word::Word;
use core::hint::black_box;

/// Fraction bits of [`sine_cosine`].
pub const FRAC_BITS: u32 = 62;

/// Fraction bits of the coefficients of [`Wave`].
pub const COEFFICIENT_BITS: u32 = 44;

/// `(-1)^i (π / 4)^n / n!` for odd `n = 2 i + 1`.
const SINE: [i64; 9] = [
    3_622_009_729_038_561_421,
    -372_372_949_609_452_720,
    11_484_917_819_725_252,
    -168_677_969_434_092,
    1_445_125_720_046,
    -8_103_874_527,
    32_044_085,
    -94_126,
    213,
];

/// The same for even `n = 2 i`.
const COSINE: [i64; 9] = [
    4_611_686_018_427_387_904,
    -1_422_359_894_497_287_770,
    73_115_257_680_538_683,
    -1_503_372_227_063_806,
    16_559_920_924_893,
    -113_499_908_640,
    530_397_347,
    -1_797_669,
    4_620,
];

/// `sin` and `cos` of `phase / 2^64` turns, with [`FRAC_BITS`].
pub fn sine_cosine(phase: u64) -> [i64; 2] {
    turned(phase, black_box(1))
}

/// [`sine_cosine`], for a 1 that the compiler does not know: masks made of it stay arithmetic.
#[inline(always)]
fn turned(phase: u64, one: u64) -> [i64; 2] {
    let quarters = phase.wrapping_add(1 << 61) >> 62;
    // In eighths of a turn: between -1 and 1.
    let x = phase.wrapping_sub(quarters << 62).cast_signed() << 1;
    let square = times(x, x);
    let (sine, cosine) = (times(x, horner(&SINE, square)), horner(&COSINE, square));
    let mask = |bit: u64| (bit & one).wrapping_neg().cast_signed();
    let exchanged = (sine ^ cosine) & mask(quarters);
    let negated = |x: i64, mask: i64| (x ^ mask).wrapping_sub(mask);
    [negated(sine ^ exchanged, mask(quarters >> 1)), negated(cosine ^ exchanged, mask((quarters + 1) >> 1))]
}

/// A product of numbers with [`FRAC_BITS`], rounded down.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "factors up to 1")]
fn times(a: i64, b: i64) -> i64 {
    ((i128::from(a) * i128::from(b)) >> FRAC_BITS) as i64
}

#[inline(always)]
fn horner(coefficients: &[i64; 9], x: i64) -> i64 {
    coefficients.iter().rev().fold(0, |sum, c| times(sum, x).wrapping_add(*c))
}

/// Sines and cosines of the odd multiples 1, 3, 5, … of a phase, without end: the recurrence of
/// Chebyshev's polynomials, `sin((j + 2) θ) = 2 cos(2 θ) sin(j θ) - sin((j - 2) θ)`, and the same
/// of cosines. The error grows with the square of `j`: within `2^-50` up to `j = 23`.
struct Multiples {
    /// `cos 2 θ`.
    double: i64,
    this: [i64; 2],
    before: [i64; 2],
}

impl Multiples {
    /// Those of the lower `bits` bits of `word`, of which `2^bits` are a turn.
    #[inline(always)]
    fn new<W: Word>(word: W, bits: u32, one: u64) -> Self {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(W::bytes(&[word])) {
            *to = *from;
        }
        let this @ [sine, cosine] = turned(u64::from_le_bytes(bytes) << (64 - bits), one);
        let double = (1i64 << FRAC_BITS).wrapping_sub(twice(sine, sine));
        Self { double, this, before: [-sine, cosine] }
    }
}

impl Iterator for Multiples {
    type Item = [i64; 2];

    #[inline(always)]
    fn next(&mut self) -> Option<[i64; 2]> {
        let ([s, c], [s_before, c_before]) = (self.this, self.before);
        let next = |x, before| twice(self.double, x).wrapping_sub(before);
        (self.this, self.before) = ([next(s, s_before), next(c, c_before)], self.this);
        Some(self.before)
    }
}

/// Twice a product, modulo `2^64`: a difference of two such may fit where they do not.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^64")]
fn twice(a: i64, b: i64) -> i64 {
    ((i128::from(a) * i128::from(b)) >> (FRAC_BITS - 1)) as i64
}

/// Sines and cosines of the odd multiples of phases, all with `frac_bits`, to the nearest: multiple
/// after multiple, `phases.len()` words each. The lower `bits` bits of a phase count, `2^bits` of
/// which are a turn.
///
/// # Panics
///
/// If `bits` is not 1 to 64, or `frac_bits` above 61.
pub fn harmonics<W: Word>([sines, cosines]: [&mut [W]; 2], phases: &[W], bits: u32, frac_bits: u32) {
    assert!((1..=64).contains(&bits) && frac_bits < FRAC_BITS, "harmonics: bits out of range");
    if phases.is_empty() || size_of::<W>() == 0 {
        return; // no words, or dry ones
    }
    let (n, one, dropped) = (phases.len(), black_box(1), FRAC_BITS - frac_bits);
    let nearest = |x: i64| W::from_i64(x.wrapping_add(1 << (dropped - 1)) >> dropped);
    for (i, word) in phases.iter().enumerate() {
        let places = sines[i..].iter_mut().step_by(n).zip(cosines[i..].iter_mut().step_by(n));
        for ((sine, cosine), multiple) in places.zip(Multiples::new(*word, bits, one)) {
            [*sine, *cosine] = multiple.map(nearest);
        }
    }
}

/// A sum of waves, `Σ b_j sin((2 j - 1) θ + quarters π / 2)`. Public.
#[derive(Clone, Copy, Debug)]
pub struct Wave<'a> {
    /// `b_1, b_2, …` with [`COEFFICIENT_BITS`], below `2^63`.
    pub coefficients: &'a [i64],
    /// Quarter turns by which all waves are ahead.
    pub quarters: u8,
    /// Fraction bits of the factors that follow from coefficients and phases: at most 61.
    pub frac_bits: u32,
    /// Zeros below each factor.
    pub shift: u32,
}

impl Wave<'_> {
    /// A sine and a cosine of a public angle, and the quarter turns.
    #[inline(always)]
    fn ahead(&self, [sine, cosine]: [i64; 2]) -> [i64; 2] {
        match self.quarters % 4 {
            0 => [sine, cosine],
            1 => [cosine, -sine],
            2 => [-sine, -cosine],
            _ => [-cosine, sine],
        }
    }

    /// Adds to `z` the wave at `θ = c - r`, for public phases `c` and shared
    /// [`harmonics`] of `r`: `sin(c - r) = sin c cos r - cos c sin r`. The result has the sum of
    /// the fraction bits of harmonics and factors, times `2^shift`.
    ///
    /// # Panics
    ///
    /// If `bits` is not 1 to 64.
    pub fn add<W: Word>(&self, z: &mut [W], c: &[W], bits: u32, [sines, cosines]: [&[W]; 2]) {
        assert!((1..=64).contains(&bits) && self.frac_bits < FRAC_BITS, "wave: bits out of range");
        if c.is_empty() || size_of::<W>() == 0 {
            return;
        }
        let (n, one) = (c.len(), black_box(1));
        let dropped = FRAC_BITS + COEFFICIENT_BITS - self.frac_bits;
        #[expect(clippy::cast_possible_truncation, reason = "a word of the ring holds the factor")]
        let factor = |b: i64, x: i64| {
            let product = i128::from(b) * i128::from(x);
            W::from_i64((product.wrapping_add(1 << (dropped - 1)) >> dropped) as i64).shl(self.shift)
        };
        for (i, (z, c)) in z.iter_mut().zip(c).enumerate() {
            let dealt = sines[i..].iter().step_by(n).zip(cosines[i..].iter().step_by(n));
            let public = Multiples::new(*c, bits, one).map(|multiple| self.ahead(multiple));
            for (([of_cosine, of_sine], b), (sine, cosine)) in public.zip(self.coefficients).zip(dealt) {
                *z = z.add(cosine.mul(factor(*b, of_cosine))).sub(sine.mul(factor(*b, of_sine)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    fn phases(count: usize) -> impl Iterator<Item = u64> {
        let edges = (0..8u64).flat_map(|eighth| [u64::MAX, 0, 1].map(|by| (eighth << 61).wrapping_add(by)));
        let mut state = 3u64;
        edges.chain((0..count).map(move |_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z ^ (z >> 29)
        }))
    }

    /// Products with twice the fraction bits hold the error to much less than double precision can.
    fn near(a: i128, b: i128, log2: i32) -> bool {
        (a - b).unsigned_abs() <= 1 << (2 * FRAC_BITS.cast_signed() + log2)
    }

    #[test]
    fn sines_are_those_of_double_precision() {
        for phase in phases(20_000) {
            let angle = phase as f64 / 2f64.powi(64) * 2.0 * core::f64::consts::PI;
            let [sine, cosine] = sine_cosine(phase).map(|x| x as f64 / 2f64.powi(62));
            assert!((sine - libm::sin(angle)).abs() < 2e-15, "{phase:#x}: {sine}");
            assert!((cosine - libm::cos(angle)).abs() < 2e-15, "{phase:#x}: {cosine}");
        }
    }

    /// The identities of sines and cosines hold to within the stated error: they are values of
    /// the same angle, and the angles add.
    #[test]
    fn identities_hold() {
        let wide = |phase: u64| sine_cosine(phase).map(i128::from);
        let mut before = 0x1234_5678_9abc_def0;
        for phase in phases(20_000) {
            let ([s, c], [t, d]) = (wide(phase), wide(before));
            assert!(near(s * s + c * c, 1 << 124, -54), "{phase:#x}");
            let [sum, _] = wide(phase.wrapping_add(before));
            assert!(near(s * d + c * t, sum << 62, -53), "{phase:#x} + {before:#x}");
            // Exact symmetries.
            assert_eq!(wide(phase.wrapping_add(1 << 62)), [c, -s], "{phase:#x}");
            assert_eq!(wide(phase.wrapping_add(1 << 63)), [-s, -c], "{phase:#x}");
            before = phase;
        }
        assert_eq!(sine_cosine(0), [0, 1 << 62]);
    }

    #[test]
    fn multiples_are_those_of_the_phase() {
        for phase in phases(5000) {
            for (j, [s, c]) in (0..12).zip(Multiples::new(phase, 64, 1)) {
                let [sine, cosine] = sine_cosine(phase.wrapping_mul(2 * j + 1));
                assert!((sine - s).abs() < 1 << 12 && (cosine - c).abs() < 1 << 12, "{phase:#x}, {j}: {s} {c}");
            }
        }
    }

    fn waves<W: Word>() {
        let (bits, coefficients) = (17, [1.25f64, -0.5, 0.125]);
        let units = [5 << 42, -(1 << 43), 1 << 41];
        let all: Vec<[u64; 2]> = phases(300).zip(phases(300).skip(7)).map(|(c, r)| [c >> 47, r >> 47]).collect();
        let [c, r] = [0, 1].map(|i| all.iter().map(|pair| W::from_u64(pair[i])).collect::<Vec<W>>());
        let n = all.len();
        let (mut sines, mut cosines) = (vec![W::default(); 3 * n], vec![W::default(); 3 * n]);
        harmonics([&mut sines, &mut cosines], &r, bits, 12);
        for quarters in 0..4 {
            let mut z = vec![W::default(); n];
            let wave = Wave { coefficients: &units, quarters, frac_bits: 14, shift: 2 };
            wave.add(&mut z, &c, bits, [&sines, &cosines]);
            for (z, [c, r]) in z.iter().zip(&all) {
                let angle = (*c as f64 - *r as f64) / 2f64.powi(17) * 2.0 * core::f64::consts::PI;
                let wave = |j: usize, b: &f64| {
                    b * libm::sin((2 * j + 1) as f64 * angle + f64::from(quarters) * core::f64::consts::FRAC_PI_2)
                };
                let exact: f64 = coefficients.iter().enumerate().map(|(j, b)| wave(j, b)).sum();
                let mut bytes = [0; 8];
                bytes[..W::BITS as usize / 8].copy_from_slice(W::bytes(&[*z]));
                let got = (u64::from_le_bytes(bytes) << (64 - W::BITS)).cast_signed() >> (64 - W::BITS);
                let error = (got as f64 / 2f64.powi(28) - exact).abs();
                assert!(error < 1.9 * 2f64.powi(-12) * 0.71 + 3.0 * 2f64.powi(-14) * 0.71, "{c} - {r}: {error}");
            }
        }
    }

    #[test]
    fn waves_are_those_of_the_difference() {
        waves::<u32>();
        waves::<u64>();
    }
}
