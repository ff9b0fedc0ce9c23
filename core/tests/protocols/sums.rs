//! Sums of products and inverse roots: results over their range and costs as documented.

use crate::harness::*;
use symbolon_core::{
    function::inverse_sqrt::{InverseSqrt, THRESHOLDS},
    link::Error,
    party::Party,
    protocol::{
        dots::dots,
        masked::{Masked, mask_and_open},
    },
    word::{Word, word_bytes},
};

/// Sums of the products of both inputs, `sums` for each row of `cols`.
struct Dots {
    cols: usize,
    sums: usize,
}

impl Job for Dots {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [x, y] = &mut inputs[..] else { panic!("two inputs") };
        let mut open = |words: &mut [W]| {
            let mask = party.draw()?.mask(words.len());
            mask_and_open(party, words, mask)
        };
        let [a, b] = [open(x)?, open(y)?];
        let mut z = vec![W::default(); x.len() / self.cols * self.sums];
        dots(party, Masked { words: x, mask: a }, Masked { words: y, mask: b }, self.cols, &mut z)?;
        Ok(vec![Shared::Words(z)])
    }
}

fn sums<W: Word>() {
    for (rows, cols, sums) in [(1, 1, 1), (3, 7, 1), (2, 7, 3), (5, 8, 1), (4, 64, 8), (2, 5, 5)] {
        let mut values = Values(rows as u64);
        let [x, y] = [(); 2].map(|()| values.words::<W>(rows * cols, W::BITS - 3));
        let got = play::<W>(&Dots { cols, sums }, &[Shared::Words(x.clone()), Shared::Words(y.clone())], 1);
        let mut want = vec![W::default(); rows * sums];
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            let sum = &mut want[i / cols * sums + i % cols % sums];
            *sum = sum.add(x.mul(*y));
        }
        let z = got.outputs[0].clone().words();
        assert_eq!(W::bytes(&z), W::bytes(&want), "{rows} rows of {cols}, {sums} sums");
        // No round and no byte beyond both openings; a word dealt a sum.
        let bytes = |words: usize| (words * word_bytes::<W>()) as u64;
        assert_eq!((got.cost.rounds, got.cost.bytes), (2, bytes(2 * rows * cols)));
        assert_eq!(got.cost.dealt_bytes, bytes(rows * sums));
    }
}

#[test]
fn dots_are_exact_and_deal_a_word_a_sum() {
    sums::<u32>();
    sums::<u64>();
}

impl Job for InverseSqrt {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut out = vec![W::default(); 2 * inputs[0].len()];
        self.apply(party, &[1.0, 0.75], &inputs[0], &mut out)?;
        Ok(vec![Shared::Words(out)])
    }
}

/// From below 0 to beyond the last threshold: within half a cell where there are cells, saturated
/// outside.
fn roots<W: Word>(root: InverseSqrt) {
    let (unit, epsilon) = (f64::from(root.in_frac_bits).exp2(), f64::from(root.epsilon_log2).exp2());
    let top = epsilon * 65536.0;
    let mut units: Vec<i64> = vec![-(1 << 12), -1, 0, 1];
    units.extend((0..1000).map(|i| (epsilon * (f64::from(i) / 60.0).exp2() * unit) as i64));
    let words = units.iter().map(|x| W::from_i64(*x)).collect();
    let got = play::<W>(&root, &[Shared::Words(words)], 3);
    assert_eq!(got.cost.rounds, 4);
    const { assert!(THRESHOLDS == 127) };
    let out = got.outputs[0].clone().words();
    let result = f64::from(root.out_frac_bits).exp2();
    for (i, x) in units.iter().enumerate() {
        let x = (*x as f64 / unit).clamp(0.0, top - epsilon) + epsilon;
        // A unit of `x` more or less, half a cell, half a unit of the result.
        let ends = [x + 1.0 / unit, (x - 1.0 / unit).max(epsilon)];
        let [least, greatest] = [ends[0].powf(-0.5) / 1.0220, ends[1].powf(-0.5) * 1.0220];
        for (factor, got) in [(1.0, out[i]), (0.75, out[units.len() + i])] {
            let got = as_i64(got) as f64;
            let [least, greatest] = [least * factor * result - 1.0, greatest * factor * result + 1.0];
            assert!((least..=greatest).contains(&got), "{got} of {x}, not {least} to {greatest}");
        }
    }
}

#[test]
fn inverse_roots_are_within_half_a_cell_in_four_rounds() {
    roots::<u32>(InverseSqrt { in_frac_bits: 14, out_frac_bits: 9, epsilon_log2: -8 });
    roots::<u32>(InverseSqrt { in_frac_bits: 14, out_frac_bits: 10, epsilon_log2: -14 });
    roots::<u64>(InverseSqrt { in_frac_bits: 24, out_frac_bits: 20, epsilon_log2: -8 });
}
