//! Openings, products, truncation.

use crate::harness::*;
use symbolon_core::{
    correlation::{Mask, Rows},
    kernel::packed_words,
    link::Error,
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        product::{Factor, gather, matmul, multiply},
        truncate::{truncate, truncate_unsigned},
    },
    word::Word,
};

struct Truncate {
    frac_bits: u32,
    unsigned: bool,
}

impl Job for Truncate {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut z = inputs.remove(0);
        if self.unsigned {
            truncate_unsigned(party, &mut z, self.frac_bits)?;
        } else {
            truncate(party, &mut z, self.frac_bits)?;
        }
        Ok(vec![Shared::Words(z)])
    }
}

fn truncates<W: Word>() {
    let k = W::BITS;
    let mut values = Values(1);
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for frac_bits in [0, 1, 7, k / 3, k / 2, k - 2] {
            let z: Vec<W> = values.truncatable(n, frac_bits);
            let job = Truncate { frac_bits, unsigned: false };
            let got = play(&job, &[Shared::Words(z.clone())], salt);
            let dithers = if frac_bits == 0 { vec![0; n] } else { got.dithers.of(frac_bits) };
            for ((z, y), u) in z.iter().zip(got.outputs[0].clone().words()).zip(dithers) {
                assert_eq!(i128::from(as_i64(y)), rounded(as_i64(*z).into(), u, frac_bits), "{z:?} >> {frac_bits}");
            }
            assert_eq!(got.cost.bytes, (packed_words::<W>(n, k - frac_bits) * k as usize / 8) as u64);
            assert_eq!(got.cost.rounds, 1);
        }
        let z: Vec<W> =
            (0..n).map(|_| W::from_u64(values.next() >> (values.next() % 64)).and(W::low_mask(k - 2))).collect();
        let got = play(&Truncate { frac_bits: 9, unsigned: true }, &[Shared::Words(z.clone())], salt);
        for (z, y) in z.iter().zip(got.outputs[0].clone().words()) {
            assert!(as_u64(y) - (as_u64(*z) >> 9) <= 1);
        }
    }
    // k - f bits each way; f + 1 bits dealt, twice.
    let got = play(&Truncate { frac_bits: 11, unsigned: false }, &[Shared::Words(vec![W::default(); 640])], 5);
    let bits = |bits: u32| 640 * u64::from(bits) / 8;
    assert_eq!((got.cost.bytes, got.cost.dealt_bytes), (bits(k - 11), bits(2 * 12)));
    // Multiples stay what they are.
    let z: Vec<W> = (0..1000).map(|i| W::from_i64((i - 500) << 11)).collect();
    let got = play(&Truncate { frac_bits: 11, unsigned: false }, &[Shared::Words(z)], 6);
    assert!((-500..500).eq(got.outputs[0].clone().words().into_iter().map(as_i64)));
}

#[test]
fn truncation_rounds_to_a_neighbour() {
    truncates::<u32>();
    truncates::<u64>();
}

/// Dropped bits are uniform, whatever the value: chi-square of its bytes, and each bit fair.
#[test]
fn dithers_are_uniform() {
    for value in [0u32, 1, 1234 * 2048 + 700, 0u32.wrapping_sub(5)] {
        let got = play(&Truncate { frac_bits: 8, unsigned: false }, &[Shared::Words(vec![value; 100_000])], 7);
        let mut counts = [0u32; 256];
        got.dithers.of(8).into_iter().for_each(|u| counts[u as usize] += 1);
        let expected = 100_000.0 / 256.0;
        let chi: f64 = counts.iter().map(|c| (f64::from(*c) - expected).powi(2) / expected).sum();
        assert!((chi - 255.0).abs() < 6.0 * (2.0 * 255f64).sqrt(), "chi-square {chi} with 255 degrees of freedom");
    }
}

/// The clear engine's own dithers have the same distribution as the servers'.
#[test]
fn the_clear_engine_rounds_as_often() {
    let [secure, clear] = [true, false].map(|secure| {
        let z = vec![1234u32 * 2048 + 700; 100_000];
        let job = Truncate { frac_bits: 11, unsigned: false };
        let words = if secure { play(&job, &[Shared::Words(z)], 3).outputs.remove(0).words() } else { clear(&job, z) };
        words.iter().filter(|y| **y == 1235).count() as f64
    });
    let expected = 100_000.0 * 700.0 / 2048.0;
    for up in [secure, clear] {
        assert!((up - expected).abs() < 6.0 * expected.sqrt(), "{up} of 100000 rounded up, expected {expected}");
    }
}

#[test]
fn truncation_is_unbiased() {
    let z = vec![1234u32 * 2048 + 700; 100_000];
    let got = play(&Truncate { frac_bits: 11, unsigned: false }, &[Shared::Words(z)], 3);
    let up = got.outputs[0].clone().words().iter().filter(|y| **y == 1235).count();
    let expected = 100_000.0 * 700.0 / 2048.0;
    assert!((up as f64 - expected).abs() < 6.0 * expected.sqrt(), "{up} of 100000 rounded up, expected {expected}");
}

struct Multiply;

fn open<W: Word>(party: &mut Party<'_, W>, x: &mut [W]) -> Result<symbolon_core::correlation::View<'static>, Error> {
    let mask: Mask = party.draw()?.mask(x.len());
    mask_and_open(party, x, mask)
}

impl Job for Multiply {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (mut x, mut y) = (inputs.remove(0), inputs.remove(0));
        let (a, b) = (open(party, &mut x)?, open(party, &mut y)?);
        let mut z = vec![W::default(); x.len()];
        multiply(party, Masked { words: &x, mask: a }, Masked { words: &y, mask: b }, &mut z)?;
        Ok(vec![Shared::Words(z)])
    }
}

fn multiplies<W: Word>() {
    let mut values = Values(2);
    for n in LENGTHS {
        let (x, y): (Vec<W>, Vec<W>) = (values.words(n, W::BITS - 2), values.words(n, W::BITS - 2));
        let got = play(&Multiply, &[Shared::Words(x.clone()), Shared::Words(y.clone())], n as u64);
        for (i, z) in got.outputs[0].clone().words().iter().enumerate() {
            assert_eq!(as_u64(*z), as_u64(x[i].mul(y[i])));
        }
        let bytes = n as u64 * u64::from(W::BITS / 8);
        assert_eq!(got.cost, Cost { bytes: 2 * bytes, rounds: 2, dealt_bytes: bytes });
    }
}

#[test]
fn products_are_exact() {
    multiplies::<u32>();
    multiplies::<u64>();
}

/// `x[which] w`, then `x[which]^T z`, then `z w^T`: the three products of a dense layer, from two
/// openings and one of the result.
struct Dense {
    cols: usize,
    out: usize,
    which: Vec<u32>,
}

impl Job for Dense {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (mut x, mut w) = (inputs.remove(0), inputs.remove(0));
        let (cols, out, batch) = (self.cols, self.out, self.which.len());
        let (a, b) = (open(party, &mut x)?.matrix(cols), open(party, &mut w)?.matrix(out));
        let mut rows = vec![W::default(); batch * cols];
        gather(&x, cols, Rows::Which(&self.which), 0, cols, &mut rows);
        let x = Masked { words: &rows, mask: a.gather(&self.which) };
        let w = Masked { words: &w, mask: b };
        let plain = |value| Factor::plain(value);
        let turned = |value| Factor::transposed(value);
        let mut z = vec![W::default(); batch * out];
        matmul(party, plain(x), plain(w), &mut z)?;
        let result = z.clone();
        let c = open(party, &mut z)?.matrix(out);
        let z = Masked { words: &z, mask: c };
        let mut gradient = vec![W::default(); cols * out];
        matmul(party, turned(x), plain(z), &mut gradient)?;
        let mut back = vec![W::default(); batch * cols];
        matmul(party, plain(z), turned(w), &mut back)?;
        Ok(vec![Shared::Words(result), Shared::Words(gradient), Shared::Words(back)])
    }
}

fn dense<W: Word>() {
    let mut values = Values(3);
    for (rows, cols, out, batch) in [(3, 1, 1, 1), (5, 4, 3, 2), (40, 33, 17, 19), (7, 65, 10, 0)] {
        let (x, w): (Vec<W>, Vec<W>) = (values.words(rows * cols, 9), values.words(cols * out, 9));
        let which: Vec<u32> = (0..batch as u32).map(|i| (i * 7 + 2) % rows as u32).collect();
        let job = Dense { cols, out, which: which.clone() };
        let got = play(&job, &[Shared::Words(x.clone()), Shared::Words(w.clone())], rows as u64);
        let at = |b: usize, c: usize| x[which[b] as usize * cols + c];
        let z = |b: usize, o: usize| (0..cols).fold(W::default(), |s, c| s.add(at(b, c).mul(w[c * out + o])));
        let [result, gradient, back] = [0, 1, 2].map(|i| got.outputs[i].clone().words());
        for b in 0..batch {
            for o in 0..out {
                assert_eq!(as_u64(result[b * out + o]), as_u64(z(b, o)));
            }
            for c in 0..cols {
                let expected = (0..out).fold(W::default(), |s, o| s.add(z(b, o).mul(w[c * out + o])));
                assert_eq!(as_u64(back[b * cols + c]), as_u64(expected));
            }
        }
        for c in 0..cols {
            for o in 0..out {
                let expected = (0..batch).fold(W::default(), |s, b| s.add(at(b, c).mul(z(b, o))));
                assert_eq!(as_u64(gradient[c * out + o]), as_u64(expected));
            }
        }
    }
}

#[test]
fn matrix_products_are_exact() {
    dense::<u32>();
    dense::<u64>();
}
