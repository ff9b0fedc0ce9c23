//! Logistic regression by category counts, against double precision.

use crate::{
    harness::*,
    newton::{decoded, encoded, exact},
};
use symbolon_core::{
    correlation::View,
    function::Numbers,
    link::Error,
    optimizer::{ClosedForm, FunctionOfCounts},
    party::Party,
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

/// A model from records and one-hot labels, `passes` records at a time.
struct Fit {
    method: ClosedForm,
    passes: usize,
}

impl Job for Fit {
    /// Returns moments, choice, counts and weights.
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let Self { method, passes } = self;
        let (mut x, mut labels) = (inputs.remove(0), inputs.remove(0));
        let rows: Vec<u32> = (0..method.records as u32).collect();
        let masked = |party: &mut Party<'_, W>, words: &mut [W], cols: usize| -> Result<View<'static>, Error> {
            let mask = party.draw()?.mask(words.len());
            Ok(mask_and_open(party, words, mask)?.matrix(cols))
        };
        let views = [masked(party, &mut x, method.inputs)?, masked(party, &mut labels, 2)?];
        let part = |rows| {
            let [first, end] = [rows_start(rows), rows_start(rows) + rows.len()];
            let x = Masked { words: &x[first * method.inputs..end * method.inputs], mask: views[0].gather(rows) };
            (x, Masked { words: &labels[first * 2..end * 2], mask: views[1].gather(rows) })
        };
        let (mut moments, mut own) =
            (vec![W::default(); method.moment_words()], vec![W::default(); method.moment_words()]);
        for rows in rows.chunks(*passes) {
            let (x, labels) = part(rows);
            method.moments(party, x, labels, &mut own)?;
            party.kernels.add(&mut moments, &own);
        }
        let mut choice = vec![W::default(); method.choice_words()];
        let mask = party.draw()?.mask(choice.len());
        let view = mask.view();
        method.choose(party, &moments, (&mut choice, mask))?;
        let choice = Masked { words: &choice, mask: view };
        let (mut counts, mut own) =
            (vec![W::default(); method.count_words()], vec![W::default(); method.count_words()]);
        for rows in rows.chunks(*passes) {
            method.count(party, part(rows), choice, &mut own)?;
            party.kernels.add(&mut counts, &own);
        }
        let mut weights = vec![W::default(); 2 * (method.inputs + 1)];
        method.fit(party, &counts, choice, &mut weights)?;
        let mut chosen = vec![W::default(); method.choice_words()];
        choice.share(party, &mut chosen);
        Ok([moments, chosen, counts, weights].map(Shared::Words).into())
    }
}

/// The first of rows that follow each other.
fn rows_start(rows: &[u32]) -> usize {
    rows[0] as usize
}

/// Bits of records, row after row, and the class of each.
struct Records {
    inputs: usize,
    x: Vec<bool>,
    y: Vec<bool>,
}

impl Records {
    /// Records whose class depends on the inputs, less on later ones.
    fn new(n: usize, inputs: usize, seed: u64) -> Self {
        let mut values = Values(seed);
        let mut real = || (values.next() % 20_001) as f64 / 10_000.0 - 1.0;
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let row: Vec<bool> = (0..inputs).map(|_| real() > 0.0).collect();
            let effect = |(j, bit): (usize, &bool)| if *bit { 2.0 / (1.0 + j as f64) } else { 0.0 };
            let z: f64 = row.iter().enumerate().map(effect).sum();
            y.push(z - 1.5 + 2.0 * real() > 0.0);
            x.extend(row);
        }
        Self { inputs, x, y }
    }

    fn rows(&self) -> impl Iterator<Item = (&[bool], bool)> {
        self.x.chunks_exact(self.inputs).zip(self.y.iter().copied())
    }

    /// `|n β_j - Y α_j|`.
    fn correlation(&self, j: usize) -> u64 {
        let sum = |of: &dyn Fn(&[bool], bool) -> bool| self.rows().filter(|(x, y)| of(x, *y)).count() as i64;
        let [beta, alpha, positive] = [sum(&|x, y| x[j] && y), sum(&|x, _| x[j]), sum(&|_, y| y)];
        (self.y.len() as i64 * beta - positive * alpha).unsigned_abs()
    }

    /// The `k` inputs with the largest correlation; of equal ones the first.
    fn chosen(&self, k: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.inputs).collect();
        all.sort_by_key(|j| (std::cmp::Reverse(self.correlation(*j)), *j));
        all.truncate(k);
        all
    }

    /// Records of class 1 and of class 0 in each category.
    fn counts(&self, chosen: &[usize]) -> [Vec<f64>; 2] {
        let mut counts = [(); 2].map(|()| vec![0.0; 1 << chosen.len()]);
        for (x, y) in self.rows() {
            let code: usize = chosen.iter().enumerate().map(|(t, j)| usize::from(x[*j]) << t).sum();
            counts[usize::from(!y)][code] += 1.0;
        }
        counts
    }

    /// Weights of the inputs that were chosen, and the bias.
    fn solution(&self, chosen: &[usize], ridge: f64) -> Vec<f64> {
        let (m, counts) = (chosen.len() + 1, self.counts(chosen));
        let (mut a, mut b) = (vec![0.0; m * m], vec![0.0; m]);
        let [positive, negative] = &counts;
        for (code, (y, n)) in positive.iter().zip(negative).enumerate() {
            let [y, n] = [y, n].map(|count| count + 0.5);
            let omega = y * n / (y + n);
            let bit = |i: usize| if i + 1 == m { 1.0 } else { (code >> i & 1) as f64 };
            for i in 0..m {
                b[i] += omega * (y / n).ln() * bit(i);
                (0..m).for_each(|j| a[i * m + j] += omega * bit(i) * bit(j));
            }
        }
        (0..m - 1).for_each(|i| a[i * (m + 1)] += ridge);
        exact(m, &a, &b)
    }

    /// Fits `k` features on all engines and holds them to double precision.
    fn check(&self, k: usize, functions: FunctionOfCounts, frac_bits: u32, passes: usize) -> Cost {
        let numbers = Numbers { ring_bits: 64, frac_bits };
        let (inputs, records) = (self.inputs, self.y.len());
        let method = ClosedForm {
            numbers,
            inputs,
            chosen: k,
            records,
            ridge: 1 << frac_bits,
            reciprocal: functions,
            logarithm: functions,
        };
        assert!(method.fits() && method.check().is_ok(), "{method:?}");
        assert!((method.effective_ridge() / method.ridge as f64 - 1.0).abs() < 1.0 / 16.0, "{method:?}");
        // Of so many records all of one class, the weights might all round to 0.
        let many = ClosedForm { chosen: 1, records: 1 << 22, ridge: 255 << 16, ..method };
        let of_bits = |frac_bits| ClosedForm { numbers: Numbers { ring_bits: 64, frac_bits }, ..many };
        assert!(!of_bits(16).fits() && !ClosedForm { chosen: 7, ..of_bits(16) }.fits());
        assert!(ClosedForm { chosen: 8, ridge: 255 << 20, ..of_bits(16) }.fits());
        let bit = |bit: &bool| u64::from(*bit);
        let labels = self.y.iter().flat_map(|y| [bit(&!y), bit(y)]).collect();
        let words = [self.x.iter().map(|x| bit(x) << frac_bits).collect(), labels].map(Shared::Words);
        let got = play(&Fit { method, passes }, &words, 9);
        let [moments, choice, counts, weights] = [0, 1, 2, 3].map(|i| got.outputs[i].clone().words());
        assert_eq!(moments[2 * inputs], self.y.iter().map(bit).sum::<u64>());
        let chosen = self.chosen(k);
        for (j, row) in choice.chunks_exact(k + 1).enumerate() {
            let place = chosen.iter().position(|chosen| *chosen == j);
            let hot = (0..k).map(|t| u64::from(place == Some(t)));
            assert!(
                row.iter().copied().eq(hot.chain([place.map_or(0, |t| 1 << t)])),
                "input {j} of {chosen:?}: {row:?}"
            );
        }
        let expected = self.counts(&chosen).concat();
        assert_eq!(counts.iter().map(|c| *c as f64).collect::<Vec<_>>(), expected);
        let solution = self.solution(&chosen, 1.0);
        let of = |j: usize| if j == inputs { Some(k) } else { chosen.iter().position(|chosen| *chosen == j) };
        let weights = decoded(weights, frac_bits);
        for (j, pair) in weights.chunks_exact(2).enumerate() {
            let expected = of(j).map_or(0.0, |t| solution[t]);
            // Some units of the last place over the least pivot, the ridge over the records.
            let most = 4.0 * records as f64 / f64::from(frac_bits).exp2();
            assert!((pair[1] - expected).abs() < most, "weight {j}, {method:?}: {} for {expected}", pair[1]);
            assert_eq!(pair[0].to_bits() ^ pair[1].to_bits(), if pair[1] == 0.0 { 0 } else { 1 << 63 });
        }
        got.cost
    }
}

/// The encoder of the other tests is for reals; bits are exact in it.
#[test]
fn bits_are_encoded_exactly() {
    assert_eq!(encoded(&[0.0, 1.0], 20), [0, 1 << 20]);
}

#[test]
fn models_match_double_precision() {
    let direct = FunctionOfCounts::Direct;
    for (n, inputs, k) in [(200, 6, 3), (150, 8, 8), (90, 17, 5), (64, 2, 1), (33, 3, 2)] {
        let records = Records::new(n, inputs, 3 * n as u64);
        for frac_bits in [16, 20, 24] {
            let cost = records.check(k, direct, frac_bits, n);
            // Words of 2 log2(n) - 1 bits are compared.
            let compared = match 2 * n.next_power_of_two().ilog2() - 1 {
                bits if bits > 20 => 2,
                bits if bits > 5 => 1,
                _ => 0,
            };
            let (steps, degree) = if frac_bits > 20 { (3, 3) } else { (2, 3) };
            let (reciprocal, logarithm) = (9 + 2 * steps, 11 + degree);
            let m = k as u64 + 1;
            let system = m * (reciprocal + 4) - 2 + 2 * m - 1;
            let fit = logarithm + reciprocal + system + 7;
            assert_eq!(cost.rounds, 2 + 9 + compared + 2 + fit, "{n} by {inputs}, {k} chosen, {frac_bits} bits");
        }
    }
}

/// Beside what records do not change: `2^k` words and `k` bits of each.
#[test]
fn a_record_takes_the_bytes_of_the_formula() {
    for k in [1, 3, 5] {
        let [some, more] = [192, 256].map(|n| Records::new(n, 6, 7).check(k, FunctionOfCounts::Direct, 20, n));
        // The harness opens records and labels: 6 words and 2.
        let record = 8 * (6 + 2) + 8 * (1 << k);
        assert_eq!(more.bytes - some.bytes, 64 * record + 8 * k as u64, "{k}");
        assert_eq!(more.rounds, some.rounds);
    }
}

#[test]
fn functions_of_counts_may_be_mappings() {
    let records = Records::new(180, 7, 41);
    for (bits, degree) in [(8, 3), (8, 2), (7, 1)] {
        records.check(4, FunctionOfCounts::Mapping { bits, degree }, 20, 60);
    }
}

#[test]
fn edges_are_fitted() {
    let (direct, base) = (FunctionOfCounts::Direct, Records::new(120, 5, 77));
    let with = |x: &dyn Fn(usize, usize) -> bool, y: &dyn Fn(usize) -> bool| Records {
        inputs: 5,
        x: (0..600).map(|at| x(at / 5, at % 5)).collect(),
        y: (0..120).map(y).collect(),
    };
    let own = |i: usize, j: usize| base.x[i * 5 + j];
    let cases = [
        // All labels of one class: no correlation at all.
        with(&own, &|_| true),
        with(&own, &|_| false),
        // A constant feature, and two that are always equal or opposite.
        with(&|i, j| if j == 2 { true } else { own(i, j) }, &|i| base.y[i]),
        with(&|i, j| own(i, if j == 3 { 0 } else { j }), &|i| base.y[i]),
        with(&|i, j| if j == 4 { !own(i, 1) } else { own(i, j) }, &|i| base.y[i]),
        // A feature that is the label, so that categories lack a class.
        with(&|i, j| if j == 3 { base.y[i] } else { own(i, j) }, &|i| base.y[i]),
        // All features equal: most categories are empty.
        with(&|i, _| own(i, 0), &|i| base.y[i]),
    ];
    for records in &cases {
        for k in [1, 3, 5] {
            records.check(k, direct, 20, 50);
        }
    }
    for n in [16, 121] {
        Records::new(n, 1, 5).check(1, direct, 20, n);
    }
}
