//! ReLU and its gradient.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    kernel::{packed_words, plane_words},
    link::Error,
    party::Party,
    protocol::{
        relu::{relu, relu_backward},
        select::Selector,
    },
    word::Word,
};

struct Relu {
    frac_bits: u32,
    back_bits: u32,
}

impl Job for Relu {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (mut z, n) = (inputs.remove(0), inputs.first().map_or(0, Vec::len));
        let (mut bit, mut rho) = (vec![W::default(); plane_words::<W>(z.len())], vec![W::default(); z.len()]);
        let mask = relu(party, &mut z, self.frac_bits, &mut bit, &mut rho)?;
        let mut outputs = vec![Shared::Words(z)];
        for mut d in inputs {
            assert_eq!(d.len(), n);
            relu_backward(party, &mut d, self.back_bits, Selector { open: &bit, mask, rho: &rho })?;
            outputs.push(Shared::Words(d));
        }
        Ok(outputs)
    }
}

/// What truncation may give: the two neighbours.
fn rounds_to(y: i64, z: i64, frac_bits: u32) -> bool {
    let excess = y - (z >> frac_bits);
    excess == 0 || excess == 1 && frac_bits > 0
}

fn check<W: Word>(z: &[i64], gradients: &[Vec<i64>], job: &Relu, salt: u64) -> Outcome<W> {
    let words = |v: &[i64]| Shared::Words(v.iter().map(|z| W::from_i64(*z)).collect());
    let inputs: Vec<_> = core::iter::once(words(z)).chain(gradients.iter().map(|g| words(g))).collect();
    let got = play::<W>(job, &inputs, salt);
    // A negative value may round up to 0, and lets its gradient through then.
    let near = |z: i64| z > -(1 << job.frac_bits);
    for (z, y) in z.iter().zip(got.outputs[0].clone().words()) {
        let y = as_i64(y);
        assert!(if *z >= 0 { rounds_to(y, *z, job.frac_bits) } else { y == 0 }, "relu({z}) gave {y}");
    }
    for (d, out) in gradients.iter().zip(&got.outputs[1..]) {
        for ((d, z), out) in d.iter().zip(z).zip(out.clone().words()) {
            let out = as_i64(out);
            let passed = rounds_to(out, *d, job.back_bits);
            let fits = if *z >= 0 { passed } else { out == 0 || near(*z) && passed };
            assert!(fits, "{d} behind {z} gave {out}");
        }
    }
    got
}

/// Cases: bits truncated forward and backward, and rounds, bits opened and dealt of the comparison.
fn relus<W: Word>(cases: &[(u32, u32, [u64; 3])]) {
    let (k, mut values) = (W::BITS, Values(8));
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for (frac_bits, back_bits, [rounds, opened, compared]) in cases.iter().copied() {
            let mut signed = |f| values.truncatable::<W>(n, f).into_iter().map(as_i64).collect::<Vec<_>>();
            let (z, d, e) = (signed(frac_bits), signed(back_bits), signed(back_bits));
            let job = Relu { frac_bits, back_bits };
            let got = check::<W>(&z, &[d, e], &job, salt);
            let (bytes, plane) = (u64::from(k / 8), plane_words::<W>(n) as u64);
            let packed = |bits| packed_words::<W>(n, bits) as u64;
            let [words, carry] = [|f: u32| W::BITS - f, |f: u32| f + 1].map(|bits| [frac_bits, back_bits].map(bits));
            let words = words.map(packed);
            let carry = carry.map(packed);
            let dealt = 2 * n as u64 + 3 * carry[0] + (compared + 1) * plane + 2 * (n as u64 + 3 * carry[1]);
            let cost = Cost {
                bytes: (words[0] + (opened + 1) * plane + 2 * words[1]) * bytes,
                rounds: 2 + rounds + 1 + 1,
                dealt_bytes: dealt * bytes,
            };
            assert_eq!(got.cost, cost);
        }
    }
}

#[test]
fn relu_and_gradient() {
    relus::<u32>(&[(0, 3, [2, 21, 104]), (11, 0, [1, 8, 104]), (16, 16, [1, 6, 59]), (30, 1, [0, 0, 0])]);
    relus::<u64>(&[(0, 3, [2, 42, 296]), (12, 0, [2, 34, 216]), (43, 32, [1, 8, 104]), (62, 1, [0, 0, 0])]);
    // As documented: 3.75 bytes each way and 25.6 dealt.
    let got = check::<u32>(&vec![5; 6400], &[], &Relu { frac_bits: 11, back_bits: 0 }, 0);
    assert_eq!((got.cost.bytes, got.cost.dealt_bytes), (6400 * 30 / 8, 6400 * 205 / 8));
}

#[test]
fn edges_of_relu() {
    fn at_edges<W: Word>() {
        let edge = 1i64 << (W::BITS - 2);
        let near = [0, 1, 2, 1023, 1024, 1025, edge / 2, edge - 1025, edge - 1024];
        let z: Vec<i64> = near.iter().flat_map(|z| [*z, -z, !z]).chain([-edge]).collect();
        let d: Vec<i64> = z.iter().rev().copied().collect();
        for salt in 0..50 {
            check::<W>(&z, std::slice::from_ref(&d), &Relu { frac_bits: 10, back_bits: 10 }, salt);
        }
    }
    at_edges::<u32>();
    at_edges::<u64>();
}

#[test]
fn what_relu_opens_is_uniform() {
    fn check<W: Word>() {
        // As many words as fill whole planes: nothing sent is padding.
        let words = |z: [i64; 4]| Shared::Words(z.map(W::from_i64).repeat(W::BITS as usize / 4));
        assert_uniform(&Relu { frac_bits: 4, back_bits: 2 }, &[words([0, -5, 77, 9]), words([1, 1, -1, 0])]);
    }
    check::<u32>();
    check::<u64>();
}

#[test]
#[ignore = "ten million words of each width: some seconds when optimised"]
fn ten_million_relus() {
    fn many<W: Word>() {
        let mut values = Values(14);
        for salt in 0..10 {
            let [z, d] =
                [12, 9].map(|f| values.truncatable::<W>(1_000_000, f).into_iter().map(as_i64).collect::<Vec<_>>());
            check::<W>(&z, &[d], &Relu { frac_bits: 12, back_bits: 9 }, salt);
        }
    }
    many::<u32>();
    many::<u64>();
}
