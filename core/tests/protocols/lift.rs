//! From narrow rings to the wide one; the exact truncation.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    kernel::{packed_words, plane_words},
    link::Error,
    party::Party,
    protocol::{exact::floor, lift::lift},
    word::Word,
};

struct Lift(u32);

impl Job for Lift {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut x = inputs.remove(0);
        lift(party, &mut x, self.0)?;
        Ok(vec![Shared::Words(x)])
    }
}

/// Rounds, bits opened beside `c`, and bits dealt beside a word and a narrower one.
fn lift_cost(bits: u32) -> [usize; 3] {
    match bits {
        1 => [2, 1, 1],
        4 => [2, 1, 15],
        8 => [3, 5, 22],
        11 => [3, 7, 39],
        16 => [3, 7, 75],
        31 => [4, 24, 109],
        32 => [4, 24, 113],
        _ => unreachable!(),
    }
}

fn lifts<W: Word>(widths: &[u32]) {
    let (k, mut values) = (W::BITS, Values(12));
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for bits in widths {
            // The shares hold noise above these bits.
            let x: Vec<W> = (0..n).map(|_| W::from_u64(values.next())).collect();
            let got = play(&Lift(*bits), &[Shared::Words(x.clone())], salt);
            for (x, got) in x.iter().zip(got.outputs[0].clone().words()) {
                assert_eq!(as_u64(got), as_u64(*x) & ((1 << bits) - 1));
            }
            let ([rounds, opened, dealt], plane) = (lift_cost(*bits), plane_words::<W>(n));
            let bytes = |words: usize| words as u64 * u64::from(k / 8);
            let cost = Cost {
                bytes: bytes(packed_words::<W>(n, *bits) + opened * plane),
                rounds: rounds as u64,
                dealt_bytes: bytes(n + packed_words::<W>(n, k - bits) + dealt * plane),
            };
            assert_eq!(got.cost, cost, "{bits} bits, {n} words");
        }
    }
    // Every code, under many masks.
    for salt in 0..4 {
        let codes: Vec<W> = (0..256).map(W::from_u64).collect();
        let got = play(&Lift(8), &[Shared::Words(codes)], salt);
        assert!((0u64..).zip(got.outputs[0].clone().words()).all(|(code, word)| code == as_u64(word)));
    }
}

#[test]
fn lifting_is_exact() {
    lifts::<u32>(&[1, 8, 16, 31]);
    lifts::<u64>(&[1, 8, 16, 32]);
}

#[test]
fn eight_bits_lift_for_thirteen() {
    fn bytes<W: Word>() -> u64 {
        play::<W>(&Lift(8), &[Shared::Words(vec![W::default(); 6400])], 1).cost.bytes
    }
    assert_eq!((bytes::<u32>(), bytes::<u64>()), (6400 * 13 / 8, 6400 * 13 / 8));
}

struct Floor(u32);

impl Job for Floor {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut z = inputs.remove(0);
        floor(party, &mut z, self.0)?;
        Ok(vec![Shared::Words(z)])
    }
}

fn floors<W: Word>() {
    let (k, mut values) = (W::BITS, Values(13));
    let check = |z: &[i64], frac_bits, salt| {
        let words = Shared::Words(z.iter().map(|z| W::from_i64(*z)).collect());
        let got = play::<W>(&Floor(frac_bits), &[words], salt);
        for (z, y) in z.iter().zip(got.outputs[0].clone().words()) {
            assert_eq!(as_i64(y), z >> frac_bits, "{z} >> {frac_bits}");
        }
        got.cost
    };
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for frac_bits in [0, 1, 4, 11, 16, k - 2] {
            let z: Vec<i64> = (0..n).map(|_| values.signed(k - 2)).collect();
            let cost = check(&z, frac_bits, salt);
            if frac_bits > 0 && frac_bits < k - 2 {
                // A lift, then a truncation.
                let ([rounds, opened, dealt], plane) = (lift_cost(frac_bits), plane_words::<W>(n));
                let packed = |bits| packed_words::<W>(n, bits);
                let bytes = |words: usize| words as u64 * u64::from(k / 8);
                let floor = Cost {
                    bytes: bytes(packed(frac_bits) + opened * plane + packed(k - frac_bits)),
                    rounds: rounds as u64 + 1,
                    dealt_bytes: bytes(n + packed(k - frac_bits) + dealt * plane + 2 * packed(frac_bits + 1)),
                };
                assert_eq!(cost, floor);
            }
        }
    }
    let edge = 1i64 << (k - 2);
    let near: Vec<i64> = (-9..9).chain(edge - 9..edge).chain(-edge..9 - edge).collect();
    for (salt, frac_bits) in (0..60).zip([1, 2, 3, 9].into_iter().cycle()) {
        check(&near, frac_bits, salt);
    }
}

#[test]
fn exact_truncation_rounds_down() {
    floors::<u32>();
    floors::<u64>();
}

#[test]
fn what_lifting_opens_is_uniform() {
    fn check<W: Word>() {
        let x = |n: usize| Shared::Words((0..n).map(|i| W::from_u64((i % 3) as u64)).collect());
        // As many words as fill the packed ones: what pads them is 0.
        assert_uniform(&Lift(8), &[x(W::BITS as usize)]);
        assert_uniform(&Lift(1), &[x(W::BITS as usize)]);
        assert_uniform(&Floor(11), &[x(W::BITS as usize)]);
    }
    check::<u32>();
    check::<u64>();
}
