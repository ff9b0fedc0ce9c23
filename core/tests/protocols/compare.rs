//! Comparison of public words with masks, and the sign.

use crate::harness::*;
use symbolon_core::{
    correlation::Words,
    kernel::{packed_words, plane_words},
    link::Error,
    party::Party,
    protocol::{
        compare::{difference_bit, less},
        sign::sign,
        truncate::{Cut, open, truncated},
    },
    word::Word,
};

struct Compare {
    bits: u32,
    difference: bool,
}

impl Job for Compare {
    /// Gives `c`, `r` and the shared plane: the first two belong to the test alone.
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let mut draw = party.draw()?;
        // Any bits, compared as they are.
        let mut c = vec![W::default(); n];
        let word = open(party, &mut draw, &inputs[0], Cut::unsigned(0), &mut c)?;
        let (c, mask) = (word.c, word.mask);
        let (mut r, mut out) = (vec![W::default(); n], vec![W::default(); plane_words::<W>(n)]);
        party.expand(mask, &mut r);
        let protocol = if self.difference { difference_bit } else { less };
        protocol(party, &mut draw, c, Words::Mask(mask), self.bits, &mut out)?;
        Ok(vec![Shared::Public(c.to_vec()), Shared::Words(r), Shared::Planes(out, n)])
    }
}

/// Differences of `c` and `r` that put the deciding bit anywhere, and ties.
fn differences<W: Word>(values: &mut Values, n: usize) -> Vec<W> {
    let k = u64::from(W::BITS);
    (0..n)
        .map(|_| {
            let bit = 1u64 << (values.next() % k);
            W::from_u64(match values.next() % 4 {
                0 => 0,
                1 => bit,
                2 => bit.wrapping_neg(),
                _ => values.next(),
            })
        })
        .collect()
}

/// Bits opened, rounds and bits dealt beyond the word: counted by hand, see the docs of the protocol.
fn cost(bits: u32) -> [u64; 3] {
    match bits {
        62 => [42, 2, 296],
        30 => [21, 2, 104],
        19 => [8, 1, 104],
        16 => [6, 1, 75],
        11 => [6, 1, 39],
        8 => [4, 1, 22],
        5 => [0, 0, 31],
        1 => [0, 0, 1],
        _ => unreachable!(),
    }
}

fn compares<W: Word>(widths: &[u32]) {
    let (k, mut values) = (W::BITS, Values(6));
    for (salt, n) in (0u64..).zip(LENGTHS) {
        let z = Shared::Words(differences::<W>(&mut values, n));
        for bits in 1..k {
            if !widths.contains(&bits) && n != 129 {
                continue;
            }
            for difference in [false, true] {
                let got = play(&Compare { bits, difference }, std::slice::from_ref(&z), salt);
                let [c, r] = [0, 1].map(|i| got.outputs[i].clone().words());
                for (e, got) in got.outputs[2].bits(0).into_iter().enumerate() {
                    let [c, r] = [c[e], r[e]].map(as_u64);
                    let low = (1 << bits) - 1;
                    let expected = if difference { (c.wrapping_sub(r)) >> bits & 1 == 1 } else { c & low < r & low };
                    assert_eq!(got, expected, "bits {bits}, c {c:x}, r {r:x}, difference {difference}");
                }
                if widths.contains(&bits) {
                    let ([opened, rounds, dealt], plane) =
                        (cost(bits), (plane_words::<W>(n) as u64) * u64::from(k / 8));
                    assert_eq!(got.cost.bytes, n as u64 * u64::from(k / 8) + opened * plane);
                    assert_eq!(got.cost.rounds, 1 + rounds);
                    assert_eq!(got.cost.dealt_bytes, (dealt + u64::from(difference)) * plane);
                }
            }
        }
    }
}

#[test]
fn comparison_is_exact() {
    compares::<u32>(&[1, 5, 8, 11, 16, 19, 30]);
    compares::<u64>(&[1, 8, 30, 62]);
}

/// Bits that are dropped.
struct Sign(u32);

impl Job for Sign {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let mut draw = party.draw()?;
        let (mut c, mut out) = (vec![W::default(); n], vec![W::default(); plane_words::<W>(n)]);
        let word = open(party, &mut draw, &inputs[0], Cut::signed(self.0), &mut c)?;
        sign(party, &mut draw, &word, &mut out)?;
        Ok(vec![Shared::Planes(out, n)])
    }
}

/// A value that is not negative has a sign that is not; a negative one may round up to 0.
fn signs<W: Word>(values: Vec<i64>, dropped: u32, salt: u64) -> Cost {
    let z = values.iter().map(|z| W::from_i64(*z)).collect();
    let got = play::<W>(&Sign(dropped), &[Shared::Words(z)], salt);
    let dithers = if dropped == 0 { vec![0; values.len()] } else { got.dithers.of(dropped) };
    for ((z, got), u) in values.iter().zip(got.outputs[0].bits(0)).zip(dithers) {
        assert_eq!(got, rounded((*z).into(), u, dropped) >= 0, "sign of {z}, {dropped} bits dropped");
        assert!(got || *z < 0, "sign of {z}, {dropped} bits dropped");
    }
    got.cost
}

#[test]
fn sign_is_exact() {
    fn check<W: Word>(costs: [(u32, [u64; 3]); 2]) {
        let (mut values, k) = (Values(7), W::BITS);
        for (dropped, [opened, rounds, dealt]) in costs {
            let edge = (1i64 << (k - 2)) - (1 << dropped) + 1;
            for (salt, n) in (0u64..).zip(LENGTHS) {
                let z = values.truncatable::<W>(n, dropped).into_iter().map(as_i64).collect();
                let (bytes, plane) = (u64::from(k / 8), plane_words::<W>(n) as u64);
                let word = packed_words::<W>(n, k - dropped) as u64;
                let cost = Cost {
                    bytes: (word + opened * plane) * bytes,
                    rounds: 1 + rounds,
                    dealt_bytes: (dealt + 1) * plane * bytes,
                };
                assert_eq!(signs::<W>(z, dropped, salt), cost);
            }
            let near = [0, 1, 2, 15, 16, 17, 255, 256, edge / 2, edge - 2, edge - 1];
            signs::<W>(near.iter().flat_map(|z| [*z, -z, !z]).collect(), dropped, 99);
            // Every power of two and its neighbours, under many masks.
            let powers = (0..k - 2).flat_map(|i| [-1, 0, 1].map(|d| (1i64 << i) + d)).flat_map(|z| [z, !z]);
            let powers: Vec<i64> = powers.filter(|z| (-edge..edge).contains(z)).collect();
            for salt in 100..120 {
                signs::<W>(powers.clone(), dropped, salt);
            }
        }
    }
    check::<u32>([(0, cost(30)), (11, cost(19))]);
    check::<u64>([(0, cost(62)), (43, cost(19))]);
}

/// Sign and truncated value of words that are known to be small.
struct Small {
    range: u32,
    dropped: u32,
}

impl Job for Small {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let mut draw = party.draw()?;
        let [mut c, mut y] = [(); 2].map(|()| vec![W::default(); n]);
        let mut out = vec![W::default(); plane_words::<W>(n)];
        let word = open(party, &mut draw, &inputs[0], Cut::within(self.range, self.dropped), &mut c)?;
        truncated(party, &mut draw, &word, &mut y)?;
        sign(party, &mut draw, &word, &mut out)?;
        Ok(vec![Shared::Words(y), Shared::Planes(out, n)])
    }
}

/// Upper bits that are known are neither opened nor compared, and come back with the sign.
#[test]
fn small_words_open_few_bits() {
    fn check<W: Word>() {
        let (mut values, k) = (Values(15), W::BITS);
        for (range, dropped) in [(5, 0), (9, 3), (20, 11), (k - 3, 11), (k - 2, 7)] {
            for (salt, n) in (0u64..).zip(LENGTHS) {
                let most = (1i64 << range) - (1 << dropped);
                let z: Vec<i64> = (0..n).map(|_| values.signed(range).min(most)).collect();
                let words = z.iter().map(|z| W::from_i64(*z)).collect();
                let got = play::<W>(&Small { range, dropped }, &[Shared::Words(words)], salt);
                let dithers = if dropped == 0 { vec![0; n] } else { got.dithers.of(dropped) };
                let signs = got.outputs[1].bits(0);
                for (((z, y), u), sign) in z.iter().zip(got.outputs[0].clone().words()).zip(dithers).zip(signs) {
                    let want = rounded((*z).into(), u, dropped);
                    assert_eq!((i128::from(as_i64(y)), sign), (want, want >= 0), "{z} in 2^{range}, {dropped} dropped");
                }
                let bits = range + 2 - dropped;
                if range == 5 {
                    // Five bits are compared without a round.
                    let bytes = packed_words::<W>(n, bits) * k as usize / 8;
                    assert_eq!((got.cost.rounds, got.cost.bytes), (1, bytes as u64));
                }
            }
        }
    }
    check::<u32>();
    check::<u64>();
}
