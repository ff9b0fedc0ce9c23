//! Linear systems and Newton's steps, against double precision.

use crate::harness::*;
use symbolon_core::{
    correlation::View,
    function::{Numbers, linear_system::solve},
    link::Error,
    optimizer::{Curvature, CurvatureInverse, Newton},
    party::Party,
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

struct Solve {
    numbers: Numbers,
    order: usize,
}

impl Job for Solve {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (mut a, mut b) = (inputs.remove(0), inputs.remove(0));
        solve(party, &self.numbers, self.order, (&mut a, &mut b))?;
        Ok(vec![Shared::Words(b)])
    }
}

/// Real numbers from -1 to 1.
struct Real(Values);

impl Real {
    fn next(&mut self) -> f64 {
        (self.0.next() % 20_001) as f64 / 10_000.0 - 1.0
    }
    fn vector(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next()).collect()
    }
}

pub(crate) fn encoded(real: &[f64], frac_bits: u32) -> Vec<u64> {
    real.iter().map(|x| ((x * f64::from(frac_bits).exp2()).round() as i64).cast_unsigned()).collect()
}

pub(crate) fn decoded(words: Vec<u64>, frac_bits: u32) -> Vec<f64> {
    words.into_iter().map(|word| as_i64(word) as f64 / f64::from(frac_bits).exp2()).collect()
}

/// The solution by Gauss–Jordan elimination with partial pivoting.
pub(crate) fn exact(order: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let columns = b.len() / order;
    let row = |i: usize| [&a[i * order..][..order], &b[i * columns..][..columns]].concat();
    let mut rows: Vec<Vec<f64>> = (0..order).map(row).collect();
    for j in 0..order {
        let pivot = (j..order).max_by(|i, k| rows[*i][j].abs().total_cmp(&rows[*k][j].abs())).unwrap();
        rows.swap(j, pivot);
        let own = rows[j].clone();
        for row in rows.iter_mut().enumerate().filter(|(i, _)| *i != j).map(|(_, row)| row) {
            let factor = row[j] / own[j];
            row.iter_mut().zip(&own).for_each(|(x, y)| *x -= factor * y);
        }
    }
    let solved = |(i, row): (usize, &Vec<f64>)| row[order..].iter().map(|x| x / row[i]).collect::<Vec<_>>();
    rows.iter().enumerate().flat_map(solved).collect()
}

#[test]
fn systems_are_solved() {
    let mut real = Real(Values(11));
    for (order, columns, ridge) in [(1, 1, 0.5), (2, 1, 0.1), (5, 3, 0.01), (9, 1, 0.001), (9, 9, 0.01), (20, 2, 0.01)]
    {
        let x = real.vector(2 * order * order);
        let mut a = vec![0.0; order * order];
        for row in x.chunks_exact(order) {
            for i in 0..order {
                (0..order).for_each(|j| a[i * order + j] += row[i] * row[j] / (2 * order) as f64);
            }
        }
        (0..order).for_each(|i| a[i * (order + 1)] += ridge);
        let b = real.vector(order * columns);
        for frac_bits in [16, 20, 24] {
            let job = Solve { numbers: Numbers { ring_bits: 64, frac_bits }, order };
            let inputs = [&a, &b].map(|real| Shared::Words(encoded(real, frac_bits)));
            let got = play(&job, &inputs, 6);
            let expected = exact(order, &a, &b);
            let largest = expected.iter().fold(1f64, |most, x| most.max(x.abs()));
            let most = largest * (8.0 + order as f64) / ridge / f64::from(frac_bits).exp2();
            for (got, expected) in decoded(got.outputs[0].clone().words(), frac_bits).iter().zip(&expected) {
                assert!((got - expected).abs() < most, "{order} by {columns}, {frac_bits} bits: {got} for {expected}");
            }
            let order = order as u64;
            let reciprocal = 9 + 2 * if frac_bits > 20 { 3 } else { 2 };
            assert_eq!(got.cost.rounds, order * (reciprocal + 4) - 2 + 2 * order - 1);
        }
    }
}

/// One step on records, from weights.
struct Step(Newton);

impl Job for Step {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [mut x, mut delta, mut y, weights, mut gradient] = [(); 5].map(|()| inputs.remove(0));
        let masked = |party: &mut Party<'_, W>, words: &mut [W], cols: usize| -> Result<View<'static>, Error> {
            let mask = party.draw()?.mask(words.len());
            Ok(mask_and_open(party, words, mask)?.matrix(cols))
        };
        let u = self.0.outputs;
        let views = [masked(party, &mut x, self.0.inputs)?, masked(party, &mut delta, u)?, masked(party, &mut y, u)?];
        let [x, delta, y] =
            [(&x, views[0]), (&delta, views[1]), (&y, views[2])].map(|(words, mask)| Masked { words, mask });
        let matrix = self.0.order() * self.0.order();
        let mut sum = vec![W::default(); self.0.systems() * matrix];
        self.0.curvature(party, x, [delta, y], &mut sum)?;
        let (mut open, mut mask) = (vec![W::default(); matrix], None);
        let inverse = CurvatureInverse { open: &mut open, mask: &mut mask };
        self.0.direction(party, (&sum, inverse), &weights, &mut gradient)?;
        Ok(vec![Shared::Words(gradient)])
    }
}

#[test]
fn steps_match_double_precision() {
    let (mut real, d, n, f) = (Real(Values(7)), 4, 150, 20);
    let (x, weights) = (real.vector(n * d), real.vector(d + 1));
    let row = |i: usize, j: usize| if j < d { x[i * d + j] } else { 1.0 };
    let y: Vec<f64> = (0..n).map(|i| f64::from(u8::from(x[i * d] + real.next() > 0.0))).collect();
    let z = |i: usize| (0..=d).map(|j| row(i, j) * weights[j]).sum::<f64>();
    let p: Vec<f64> = (0..n).map(|i| 1.0 / (1.0 + (-z(i)).exp())).collect();
    let delta: Vec<f64> = p.iter().zip(&y).map(|(p, y)| p - y).collect();
    let sum: Vec<f64> = (0..=d).map(|j| (0..n).map(|i| delta[i] * row(i, j)).sum()).collect();
    for (curvature, ridge) in [(Curvature::Exact { label_frac_bits: 0 }, 1.0), (Curvature::Fixed { shift: 2 }, 0.25)] {
        let (numbers, units) = (Numbers { ring_bits: 64, frac_bits: f }, (ridge * f64::from(f).exp2()) as u64);
        let newton = Newton { numbers, inputs: d, outputs: 2, count_log2: 8, ridge: units, curvature };
        // The second output has the opposite labels, weights and gradient.
        let both = |all: &[f64], other: fn(f64) -> f64| all.iter().flat_map(|x| [*x, other(*x)]).collect::<Vec<_>>();
        let minus = |x: f64| -x;
        let words = [
            encoded(&x, f),
            encoded(&both(&delta, minus), f),
            encoded(&both(&y, |y| 1.0 - y), 0),
            encoded(&both(&weights, minus), f),
            encoded(&both(&sum, minus), 2 * f),
        ];
        let got = play(&Step(newton), &words.map(Shared::Words), 8);
        let weight = |i: usize| if curvature == (Curvature::Fixed { shift: 2 }) { 0.25 } else { p[i] * (1.0 - p[i]) };
        let entry = |j: usize, k: usize| (0..n).map(|i| weight(i) * row(i, j) * row(i, k)).sum::<f64>();
        let own = |j: usize| if j < d { ridge } else { 0.0 };
        let all = (0..=d).flat_map(|j| (0..=d).map(move |k| (j, k)));
        let a: Vec<f64> = all.map(|(j, k)| entry(j, k) + if j == k { own(j) } else { 0.0 }).collect();
        let b: Vec<f64> = (0..=d).map(|j| sum[j] + own(j) * weights[j]).collect();
        for (got, expected) in decoded(got.outputs[0].clone().words(), f).iter().zip(both(&exact(d + 1, &a, &b), minus))
        {
            assert!((got - expected).abs() < 1e-3, "{curvature:?}: {got} for {expected}");
        }
    }
}
