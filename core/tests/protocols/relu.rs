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
    for (z, y) in z.iter().zip(got.outputs[0].clone().words()) {
        let y = as_i64(y);
        assert!(if *z >= 0 { rounds_to(y, *z, job.frac_bits) } else { y == 0 }, "relu({z}) gave {y}");
    }
    for (d, out) in gradients.iter().zip(&got.outputs[1..]) {
        for ((d, z), out) in d.iter().zip(z).zip(out.clone().words()) {
            let out = as_i64(out);
            assert!(if *z >= 0 { rounds_to(out, *d, job.back_bits) } else { out == 0 }, "{d} behind {z} gave {out}");
        }
    }
    got
}

fn relus<W: Word>([sign_bits, sign_dealt]: [usize; 2]) {
    let (k, mut values) = (W::BITS, Values(8));
    for (salt, n) in (0u64..).zip(LENGTHS) {
        for (frac_bits, back_bits) in [(0, 3), (11, 0), (k / 3, k / 2), (k - 2, 1)] {
            let [z, d, e] = [0; 3].map(|_| (0..n).map(|_| values.signed(k - 2)).collect::<Vec<_>>());
            let job = Relu { frac_bits, back_bits };
            let got = check::<W>(&z, &[d, e], &job, salt);
            let (bytes, plane) = (k as usize / 8, plane_words::<W>(n));
            let carry = |f: u32| packed_words::<W>(n, f + 1);
            let dealt = 3 * n + 2 * carry(frac_bits) + sign_dealt * plane + 2 * (2 * n + 2 * carry(back_bits));
            let cost = Cost {
                bytes: ((n + (sign_bits + 1) * plane + 2 * n) * bytes) as u64,
                rounds: 4 + 1 + 1,
                dealt_bytes: (dealt * bytes) as u64,
            };
            assert_eq!(got.cost, cost);
        }
    }
    // 12.3 and 6 bytes each way an element.
    let got = check::<W>(&vec![5; 6400], &[], &Relu { frac_bits: 2, back_bits: 0 }, 0);
    assert_eq!(got.cost.bytes, 6400 * (u64::from(k) + sign_bits as u64 + 1) / 8);
}

#[test]
fn relu_and_gradient() {
    relus::<u32>([15, 147]);
    relus::<u64>([33, 325]);
}

#[test]
fn edges_of_relu() {
    fn at_edges<W: Word>() {
        let edge = 1i64 << (W::BITS - 2);
        let near = [0, 1, 2, 1023, 1024, 1025, edge / 2, edge - 1025, edge - 1024, edge - 1];
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
        let words = |z: [i64; 3]| Shared::Words(z.map(W::from_i64).to_vec());
        assert_uniform(&Relu { frac_bits: 4, back_bits: 2 }, &[words([0, -5, 77]), words([1, 1, -1])]);
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
            let [z, d] = [0; 2].map(|_| (0..1_000_000).map(|_| values.signed(W::BITS - 2)).collect::<Vec<_>>());
            check::<W>(&z, &[d], &Relu { frac_bits: 12, back_bits: 9 }, salt);
        }
    }
    many::<u32>();
    many::<u64>();
}
