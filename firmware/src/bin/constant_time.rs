//! Runs everything of `symbolon-core` that touches secrets, each several times on different secrets and equal public
//! arguments, for `tests/tests/constant_time.rs` to compare the instructions that the emulator executed.
//!
//! Prints one line a case, its name, before its `SECRETS` runs; each run lies between `trace_begin` and `trace_end`.
//! To have a function checked, add a case.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use core::hint::black_box;

    use semihosting::println;
    use symbolon_core::{
        kernel::{Kernels, Matrix, Opening, Portable, Windows},
        prg::{ChaCha20Prg, MaskId, Seed},
        share,
        turns::{self, Wave},
        word::Word,
    };
    use symbolon_firmware::board::{self, Outcome};

    /// Words of a slice: as elements, more than fill a plane's first lane, for either word.
    const N: usize = 80;
    /// Slices that a case may use.
    const SLICES: usize = 7;

    /// What the secret words of a run are.
    const SECRETS: [fn(&mut u64) -> u64; 4] = [|_| 0, |_| u64::MAX, splitmix, splitmix];

    /// SplitMix64: different words from run to run.
    fn splitmix(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 29)
    }

    /// Where a run begins, for the reader of the trace.
    #[inline(never)]
    fn trace_begin() {
        black_box(0);
    }

    /// Where a run ends.
    #[inline(never)]
    fn trace_end() {
        black_box(1); // not as above, or the compiler makes the two one
    }

    /// Runs `body` once for each of [`SECRETS`], with fresh slices.
    fn case<W: Word>(name: &str, body: fn(&dyn Kernels<W>, [&mut [W]; SLICES])) {
        println!("{name} {}", W::BITS);
        let mut state = 0;
        for secret in SECRETS {
            let mut words = [[W::default(); N]; SLICES];
            words.as_flattened_mut().fill_with(|| W::from_u64(secret(&mut state)));
            let kernels: &dyn Kernels<W> = black_box(&Portable);
            trace_begin();
            body(kernels, words.each_mut().map(|w| black_box(&mut w[..])));
            trace_end();
            black_box(&words);
        }
    }

    fn opening<W: Word>(c: &[W]) -> Opening<'_, W> {
        Opening { c, offset: W::from_u64(1).shl(W::BITS - 13), bits: W::BITS - 11 }
    }

    fn matrix<W>(words: &[W], stride: usize) -> Matrix<'_, W> {
        Matrix { words, stride, transposed: false }
    }

    fn shares<W: Word>() {
        case::<W>("split", |_, [z, s, ..]| {
            let mut seed = [0; 32];
            seed.copy_from_slice(&W::bytes(s)[..32]);
            share::split(&ChaCha20Prg::new(&Seed::from_bytes(&seed), &[7; 16]), MaskId::default(), 0, z);
        });
        case::<W>("join", |_, [z, x, ..]| share::join(z, x));
    }

    fn words<W: Word>() {
        case::<W>("add", |k, [z, x, ..]| k.add(z, x));
        case::<W>("sub", |k, [z, x, ..]| k.sub(z, x));
        case::<W>("xor", |k, [z, x, ..]| k.xor(z, x));
        case::<W>("add_constant", |k, [z, x, ..]| k.add_constant(z, x[0]));
        case::<W>("scale", |k, [z, x, ..]| k.scale(z, x[0]));
        case::<W>("keep_low", |k, [z, ..]| k.keep_low(z, 11));
        case::<W>("add_scaled", |k, [z, x, s, ..]| k.add_scaled(z, x, s[0]));
        case::<W>("mul_add", |k, [z, x, y, ..]| k.mul_add(z, x, y));
        case::<W>("blind", |k, [c, z, ..]| k.blind(c, z, W::from_u64(1).shl(W::BITS - 2), 11));
        case::<W>("blind_clear", |k, [c, z, ..]| {
            k.blind_clear(c, z, W::from_u64(1).shl(W::BITS - 2), 11, W::BITS - 11)
        });
        case::<W>("truncated", |k, [z, c, h, m, f, ..]| k.truncated(z, opening(c), h, m, f[0]));
        case::<W>("truncated_clear", |k, [r, c, ..]| k.truncated_clear(r, opening(c)));
        case::<W>("widen", |k, [z, x, ..]| k.widen(z, x));
        case::<W>("sub_wide", |k, [z, x, ..]| k.sub_wide(z, x));
        case::<W>("mask_parts", |k, [r, m, ..]| k.mask_parts(r, m, 21));
        case::<W>("mask_carry_and_top", |k, [r, s, ..]| k.mask_carry_and_top(r, s, 21));
        case::<W>("mask_lower_share", |k, [r, o, ..]| k.mask_lower_share(r, o, 21));
        case::<W>("squared", |k, [z, c, h, m, hh, hm, f]| k.squared(z, opening(c), h, m, hh, hm, f[0]));
        case::<W>("times_masked", |k, [z, c, open, p, hp, mp, _]| k.times_masked(z, opening(c), open, p, hp, mp));
        case::<W>("selected", |k, [z, c, beta, rho, rh, rm, _]| k.selected(z, opening(c), beta, rho, rh, rm));
        case::<W>("bit_to_word", |k, [z, beta, rho, f, ..]| k.bit_to_word(z, beta, rho, 3, f[0]));
        case::<W>("spread", |k, [z, plane, ..]| k.spread(z, plane));
        case::<W>("keep_where", |k, [z, plane, ..]| k.keep_where(z, plane));
    }

    fn scaled<W: Word>() {
        case::<W>("scaled", |k, [z, c, h, m, f, ..]| k.scaled(z, opening(c), 921, 9, h, m, f[0]));
        case::<W>("scaled_clear", |k, [z, c, ..]| k.scaled_clear(z, opening(c), 921, 9));
        case::<W>("scaled_parts", |k, [r, m, ..]| k.scaled_parts(r, m, 921, 9, 21));
        case::<W>("multiply", |k, [z, x, ..]| k.multiply(z, x));
        case::<W>("blend", |k, [z, x, s, ..]| k.blend(z, s[0], x, s[1]));
    }

    fn planes<W: Word>() {
        case::<W>("to_planes", |k, [planes, x, ..]| k.to_planes(planes, x, 1));
        case::<W>("pack", |k, [z, x, ..]| k.pack(z, x, 11));
        case::<W>("unpack", |k, [z, x, ..]| k.unpack(z, x, 11));
        case::<W>("one_hot", |k, [hot, bits, ..]| k.one_hot(&mut hot[..30], &bits[..8], 4));
        case::<W>("digit_less_equal", |k, [lt, eq, c, hot, f, ..]| {
            k.digit_less_equal(&mut lt[..2], &mut eq[..2], &c[..10], &hot[..62], 5, f[0]);
        });
        case::<W>("subsets", |k, [z, masks, ..]| k.subsets(z, masks, 2, &[0b111, 0b1010]));
        case::<W>("conjunctions", |k, [z, open, shares, products, f, ..]| {
            k.conjunctions(&mut z[..4], open, shares, products, 2, &[0b111, 0b1010], f[0]);
        });
    }

    fn matrices<W: Word>() {
        case::<W>("pairs", |k, [out, x, ..]| k.pairs(&mut out[..60], &x[..40], 4));
        case::<W>("sum_rows", |k, [sums, x, ..]| k.sum_rows(&mut sums[..20], x, 4));
        case::<W>("interleave", |k, [plane, x, ..]| k.interleave(plane, x, 20, 4));
        case::<W>("add_rows", |k, [z, s, ..]| k.add_rows(z, s, 4));
        case::<W>("mul_add_rows", |k, [z, x, s, ..]| k.mul_add_rows(z, x, s, 4));
        case::<W>("gemm", |k, [z, x, y, ..]| k.gemm(&mut z[..28], matrix(x, 5), matrix(y, 7), [4, 5, 7]));
    }

    /// Two channels of 5 by 4, seen by windows of 2 by 3: as many words as a slice has, or fewer.
    const WINDOWS: Windows = Windows { channels: 2, image: [5, 4], window: [2, 3], stride: [2, 1], padding: [0, 0] };

    fn windows<W: Word>() {
        case::<W>("unfold", |k, [matrix, image, ..]| k.unfold(&mut matrix[..48], &image[..40], WINDOWS));
        case::<W>("fold", |k, [image, matrix, ..]| k.fold(&mut image[..40], &matrix[..48], WINDOWS));
        case::<W>("sum_windows", |k, [z, x, ..]| k.sum_windows(&mut z[..8], &x[..40], WINDOWS));
        case::<W>("spread_windows", |k, [x, z, ..]| k.spread_windows(&mut x[..40], &z[..8], WINDOWS));
        case::<W>("gather_windows", |k, [places, x, ..]| k.gather_windows(&mut places[..48], &x[..40], WINDOWS));
        case::<W>("scatter_windows", |k, [x, places, ..]| k.scatter_windows(&mut x[..40], &places[..48], WINDOWS));
        case::<W>("pairs_of_columns", |k, [out, x, ..]| k.pairs_of_columns(&mut out[..60], &x[..30], 10, true));
    }

    fn tables<W: Word>() {
        case::<W>("rotate_planes", |k, [hot, c, f, ..]| k.rotate_planes(hot, c, 3, f[0]));
        case::<W>("sum_planes", |k, [z, hot, ..]| {
            k.sum_planes(&mut z[..20], hot, &[[0b1101_0010, 0, 0, 0], [0b0011_0110, 0, 0, 0]]);
        });
        case::<W>("one_hot_words", |k, [hot, r, ..]| k.one_hot_words(hot, &r[..20], 3, 2));
        case::<W>("sum_words", |k, [z, hot, c, ..]| k.sum_words(&mut z[..20], hot, &c[..20], 3, &[5, -1, 7, 0]));
        case::<W>("unit_rows", |k, [z, hot, c, ..]| k.unit_rows(z, hot, &c[..20], 4));
        case::<W>("index_clear", |k, [c, r, ..]| k.index_clear(c, r, 3, 21));
        case::<W>("saturate_clear", |k, [z, index, s, ..]| k.saturate_clear(z, index, 2, s[0]));
        case::<W>("lookup", |k, [z, index, ..]| k.lookup(z, index, &[5, -1, 7, 0]));
    }

    fn digits<W: Word>() {
        case::<W>("digit_leaves", |k, [z, c, hot, f, ..]| k.digit_leaves(&mut z[..12], &c[..8], &hot[..30], 4, f[0]));
        case::<W>("digit_less", |k, [lt, hot, c, ..]| k.digit_less(&mut lt[..2], &mut hot[..30], &c[..8], 4));
        case::<W>("choose", |k, [z, bit, x, y, ..]| k.choose(z, bit, x, y));
        case::<W>("keep_planes", |k, [z, x, ..]| k.keep_planes(z, x));
        case::<W>("move_planes", |k, [a, b, kept, ..]| k.move_planes(a, b, kept));
        case::<W>("cells_clear", |k, [t, c, u, ..]| k.cells_clear(&mut t[..18], c, u, 8, W::BITS - 1));
    }

    fn sines<W: Word>() {
        case::<W>("harmonics", |_, [sines, cosines, r, ..]| turns::harmonics([sines, cosines], &r[..20], 17, 12));
        case::<W>("wave", |_, [z, c, sines, cosines, ..]| {
            let wave = Wave { coefficients: &[5 << 40, -(3 << 40)], quarters: 1, frac_bits: 14, shift: 2 };
            wave.add(&mut z[..20], &c[..20], 17, [sines, cosines]);
        });
    }

    fn alarms<W: Word>() {
        case::<W>("alarms", |k, [z, c, beta, rho, r, q, f]| k.alarms(&mut z[..40], c, beta, rho, r, q, f[0]));
        case::<W>("fold_alarms", |k, [sums, planes, random, ..]| k.fold_alarms(&mut sums[..40], &planes[..40], random));
    }

    fn all<W: Word + PartialEq>() {
        shares::<W>();
        words::<W>();
        scaled::<W>();
        planes::<W>();
        matrices::<W>();
        windows::<W>();
        alarms::<W>();
        tables::<W>();
        digits::<W>();
        sines::<W>();
        leaks::<W>();
    }

    /// What the check must find: a branch on a secret, a loop that ends early.
    fn leaks<W: Word + PartialEq>() {
        case::<W>("leak: branch", |k, [z, x, ..]| {
            if black_box(x[0]) == W::default() {
                k.add(z, x);
            }
        });
        case::<W>("leak: early end", |_, [x, y, ..]| {
            black_box(x.iter().zip(y.iter()).position(|(x, y)| black_box(*x) != *y));
        });
    }

    #[board::entry]
    fn main() -> ! {
        all::<u32>();
        all::<u64>();
        board::end(Outcome::Pass)
    }
}
