//! Losses: gradients and terms against their formulas in floating point; what they cost.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    correlation::View,
    kernel::{packed_words, plane_words},
    link::Error,
    loss::{AnyLoss, Describe, Huber, Logistic, Loss, Numbers, SoftmaxCrossEntropy, SquaredError, Target},
    party::Party,
    protocol::{
        masked::{Masked, mask_and_open},
        scaled::Dyadic,
    },
    word::Word,
};

/// A loss in a job's numbers, but for the ring.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) loss: AnyLoss,
    outputs: usize,
    frac_bits: u32,
    output_frac_bits: u32,
    label_frac_bits: u32,
    weights: bool,
    terms: bool,
}

impl Case {
    pub(crate) fn new(loss: impl Into<AnyLoss>, outputs: usize, frac_bits: u32) -> Self {
        Self {
            loss: loss.into(),
            outputs,
            frac_bits,
            output_frac_bits: 2 * frac_bits,
            label_frac_bits: 0,
            weights: false,
            terms: true,
        }
    }
    pub(crate) fn numbers<W: Word>(&self) -> Numbers {
        let Self { outputs, frac_bits, label_frac_bits, .. } = *self;
        Numbers { ring_bits: W::BITS, outputs, frac_bits, output_frac_bits: self.output_frac_bits, label_frac_bits }
    }
}

fn open<W: Word>(party: &mut Party<'_, W>, x: &mut [W]) -> Result<View<'static>, Error> {
    let mask = party.draw()?.mask(x.len());
    mask_and_open(party, x, mask)
}

/// Inputs: outputs of `2 f` fraction bits, labels, weights. Outputs: gradient, terms.
impl Job for Case {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let loss = self.loss.build(&self.numbers::<W>()).unwrap();
        let (mut z, mut labels) = (inputs.remove(0), inputs.remove(0));
        let mask = open(party, &mut labels)?;
        let labels = Masked { words: &labels, mask };
        let mut weights = if self.weights { inputs.remove(0) } else { vec![] };
        let mask = if self.weights { Some(open(party, &mut weights)?) } else { None };
        let weights = mask.map(|mask| Masked { words: &weights, mask });
        let rows = z.len() / self.outputs;
        let mut terms = vec![W::default(); if self.terms { rows * self.loss.terms(self.outputs) } else { 0 }];
        loss.gradient(party, &mut z, Target { labels, weights }, self.terms.then_some(&mut terms[..]))?;
        Ok(vec![Shared::Words(z), Shared::Words(terms)])
    }
}

/// Outputs, labels and weights in units.
#[derive(Clone)]
pub(crate) struct Data {
    z: Vec<i64>,
    labels: Vec<i64>,
    weights: Vec<i64>,
}

impl Data {
    /// Rows with one label each, the first output's where a row is `None`.
    pub(crate) fn classes(z: Vec<i64>, classes: usize, label: impl Fn(usize) -> Option<usize>) -> Self {
        let rows = z.len() / classes;
        let labels = (0..rows).flat_map(|row| (0..classes).map(move |c| (row, c)));
        let weights = (0..rows).map(|row| i64::from(label(row).is_some())).collect();
        Self { z, labels: labels.map(|(row, c)| i64::from(label(row) == Some(c))).collect(), weights }
    }
    fn inputs<W: Word>(&self, case: &Case) -> Vec<Shared<W>> {
        let words = |units: &[i64]| Shared::Words(units.iter().map(|u| W::from_i64(*u)).collect());
        let mut inputs = vec![words(&self.z), words(&self.labels)];
        if case.weights {
            inputs.push(words(&self.weights));
        }
        inputs
    }
    /// Outputs as reals.
    fn z(&self, case: &Case) -> Vec<f64> {
        self.z.iter().map(|z| *z as f64 * (-f64::from(case.output_frac_bits)).exp2()).collect()
    }
    fn labels(&self, case: &Case) -> Vec<f64> {
        self.labels.iter().map(|y| *y as f64 * (-f64::from(case.label_frac_bits)).exp2()).collect()
    }
    /// A weight an output.
    fn weights(&self, case: &Case) -> Vec<f64> {
        let weight = |w: &i64| if case.weights { *w as f64 } else { 1.0 };
        self.weights.iter().flat_map(|w| std::iter::repeat_n(weight(w), case.outputs)).collect()
    }
}

/// Gradient and terms as reals.
pub(crate) fn played<W: Word>(case: &Case, data: &Data, salt: u64) -> ([Vec<f64>; 2], Cost) {
    let got = play(case, &data.inputs::<W>(case), salt);
    let unit = (-f64::from(case.frac_bits)).exp2();
    let reals = |i: usize| got.outputs[i].clone().words().into_iter().map(|w| as_i64(w) as f64 * unit).collect();
    ([reals(0), reals(1)], got.cost)
}

fn close(got: &[f64], exact: &[f64], error: f64) {
    assert_eq!(got.len(), exact.len());
    for (i, (got, exact)) in got.iter().zip(exact).enumerate() {
        assert!((got - exact).abs() <= error, "{i}: {got} for {exact}, more than {error} apart");
    }
}

/// Rounds, bytes and dealt bytes of the loss alone: without what opens labels and weights.
fn cost<W: Word>(case: &Case, rows: usize) -> Cost {
    let n = rows * case.outputs;
    let (z, classes) = ((0..n as i64).map(|i| i << 9).collect(), case.outputs);
    let (_, mut cost) = played::<W>(case, &Data::classes(z, classes, |row| Some(row % classes)), 3);
    let words = n + if case.weights { rows } else { 0 };
    cost.bytes -= words as u64 * u64::from(W::BITS / 8);
    cost.rounds -= if case.weights { 2 } else { 1 };
    cost
}

/// Bytes of `words` words.
fn bytes<W: Word>(words: usize) -> u64 {
    words as u64 * u64::from(W::BITS / 8)
}

/// The gradient, exact in the error, and each term, for a loss of the error alone.
fn errors<W: Word>(case: &Case, gradient: fn(f64) -> f64, term: fn(f64) -> f64, steepest: f64) {
    let mut values = Values(80);
    let unit = (-f64::from(case.frac_bits)).exp2();
    for (salt, rows) in (0..).zip([0, 1, 33, 130]) {
        let n = rows * case.outputs;
        // Every third output is a multiple of the last place, where no dither acts.
        let mut z: Vec<i64> = (0..n).map(|_| values.signed(case.output_frac_bits + 2)).collect();
        let shift = case.output_frac_bits - case.frac_bits;
        z.iter_mut().step_by(3).for_each(|z| *z = *z >> shift << shift);
        let weights: Vec<i64> = (0..rows).map(|row| i64::from(row % 3 != 1)).collect();
        let label = |i: usize, v: i64| if case.weights && weights[i / case.outputs] == 0 { 0 } else { v };
        let labels = (0..n).map(|i| label(i, values.signed(case.label_frac_bits + 1))).collect();
        let data = Data { z, labels, weights: weights.clone() };
        let ([got, terms], _) = played::<W>(case, &data, salt);
        let error = data.z(case).iter().zip(data.labels(case)).map(|(z, y)| z - y).collect::<Vec<_>>();
        let error: Vec<f64> = error.iter().zip(data.weights(case)).map(|(e, w)| w * e).collect();
        let exact: Vec<f64> = error.iter().map(|e| gradient(*e)).collect();
        close(&got, &exact, unit);
        let at = |i: usize| (got[i], exact[i]);
        assert!((0..n).step_by(3).map(at).all(|(got, exact)| got == exact), "a multiple was rounded");
        if case.terms {
            close(&terms, &error.iter().map(|e| term(*e)).collect::<Vec<_>>(), (2.0 + steepest) * unit);
        }
    }
}

/// Every combination of labels, weights and terms.
fn variants(case: &Case) -> impl Iterator<Item = Case> {
    let (case, frac_bits) = (case.clone(), case.frac_bits);
    (0..8).map(move |i| Case {
        label_frac_bits: if i & 1 == 1 { frac_bits } else { 0 },
        weights: i & 2 == 2,
        terms: i & 4 == 4,
        ..case.clone()
    })
}

#[test]
fn squared_errors_are_exact_in_the_error() {
    fn check<W: Word>() {
        for (outputs, more) in [(1, 0), (3, 0), (2, 3)] {
            for case in variants(&Case::new(SquaredError {}, outputs, 10)) {
                let case = Case { output_frac_bits: 20 + more, ..case };
                errors::<W>(&case, |e| e, |e| e * e / 2.0, 8.0);
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn squared_errors_cost_as_stated() {
    fn check<W: Word>() {
        let (k, f, rows) = (W::BITS, 10, 21);
        let n = 3 * rows;
        for case in variants(&Case::new(SquaredError {}, 3, f)) {
            let got = cost::<W>(&case, rows);
            let (terms, weights) = (usize::from(case.terms), usize::from(case.weights));
            assert_eq!(got.rounds, if case.terms { 3 } else { 1 });
            let open = packed_words::<W>(n, k - f) + terms * (n + packed_words::<W>(n, k - f - 1));
            assert_eq!(got.bytes, bytes::<W>(open));
            let dealt = 2 * packed_words::<W>(n, f + 1)
                + weights * (n + packed_words::<W>(n, f + 1))
                + terms * (n + 2 * packed_words::<W>(n, f + 2));
            assert_eq!(got.dealt_bytes, bytes::<W>(dealt));
        }
    }
    check::<u32>();
    check::<u64>();
}

const DELTA: f64 = 1.25;

pub(crate) fn huber(outputs: usize, frac_bits: u32) -> Case {
    Case::new(Huber { delta: Dyadic { factor: 5, shift: 2 } }, outputs, frac_bits)
}

#[test]
fn huber_is_the_clamped_error() {
    fn check<W: Word>() {
        for (outputs, more) in [(1, 0), (3, 0), (2, 3)] {
            for case in variants(&huber(outputs, 10)) {
                let case = Case { output_frac_bits: 20 + more, ..case };
                let term = |e: f64| if e.abs() <= DELTA { e * e / 2.0 } else { DELTA * (e.abs() - DELTA / 2.0) };
                errors::<W>(&case, |e| e.clamp(-DELTA, DELTA), term, DELTA);
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

/// Errors up to the edge of the range, without terms.
#[test]
fn huber_holds_large_errors() {
    fn check<W: Word>() {
        let case = Case { terms: false, ..huber(1, 10) };
        let edge = (1i64 << (W::BITS - 2)) - (1 << 22);
        let data = Data { z: vec![edge, -edge, 0, 5 << 18, -(5 << 18)], labels: vec![0; 5], weights: vec![1; 5] };
        let ([got, _], _) = played::<W>(&case, &data, 1);
        assert_eq!(got, [DELTA, -DELTA, 0.0, DELTA, -DELTA]);
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn huber_costs_as_stated() {
    fn check<W: Word>() {
        // Whole lanes, so that planes of both limits are one after the other.
        let (k, f, n) = (W::BITS, 11, 64);
        let signs = if k == 32 { [8, 21] } else { [36, 42] }; // of k - f - 2, and of k - 2 bits
        for case in variants(&huber(1, f)) {
            let got = cost::<W>(&case, n);
            let plain = if k == 32 { 3 } else { 4 };
            let rounds = if case.weights { 5 } else { plain } + if case.terms { 2 } else { 0 };
            let clamped = |bits: u32, sign: usize| packed_words::<W>(n, bits) + plane_words::<W>(2 * n) * (sign + 1);
            let error = if case.weights {
                packed_words::<W>(n, k - f) + clamped(k, signs[1])
            } else {
                clamped(k - f, signs[0])
            };
            let terms = if case.terms { 2 * n + packed_words::<W>(n, k - f - 1) } else { 0 };
            assert_eq!((got.rounds, got.bytes), (rounds, bytes::<W>(error + terms)));
        }
    }
    check::<u32>();
    check::<u64>();
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Gradients and terms of the logistic loss, weighed.
fn logistic(case: &Case, data: &Data) -> [Vec<f64>; 2] {
    let (z, y, w) = (data.z(case), data.labels(case), data.weights(case));
    let all = || z.iter().zip(&y).zip(&w);
    let gradient = all().map(|((z, y), w)| w * (sigmoid(*z) - y)).collect();
    [gradient, all().map(|((z, y), w)| w * (softplus(*z) - y * z)).collect()]
}

/// Labels of 0, 1 and, with fraction bits, halves; rows 1, 4, 7, … weigh nothing if rows have
/// weights.
fn binary(case: &Case, z: Vec<i64>) -> Data {
    let one = 1i64 << case.label_frac_bits;
    let weights: Vec<i64> = (0..z.len() / case.outputs).map(|row| i64::from(row % 3 != 1)).collect();
    let of = |i: usize| if case.weights { weights[i / case.outputs] } else { 1 };
    let labels = (0..z.len()).map(|i| of(i) * [0, one, (one / 2).max(1)][i % 3]).collect();
    Data { z, labels, weights }
}

/// Multiples of a quarter, where no dither acts, on both sides of the domain and far beyond.
#[test]
fn logistic_is_exact_at_the_centres() {
    fn check<W: Word>() {
        for case in variants(&Case::new(Logistic {}, 3, 11)) {
            let far = (1i64 << (W::BITS - 2 - 20)) - 1;
            let mut cells: Vec<i64> = (-40..41).chain([-far - 1, far, -500, 500, -1, 0]).collect();
            if W::BITS == 32 && case.terms && case.label_frac_bits > 0 {
                cells.retain(|cell| cell.abs() <= 500); // two bits more, truncated
            }
            cells.truncate(cells.len() / 3 * 3);
            let data = binary(&case, cells.iter().map(|cell| cell << 20).collect());
            let ([got, terms], _) = played::<W>(&case, &data, 7);
            let [gradient, loss] = logistic(&case, &data);
            let unit = (-11f64).exp2();
            close(&got, &gradient, 1.01 * unit);
            if case.terms {
                close(&terms, &loss, 2.01 * unit);
            }
            for row in (1..data.weights.len()).step_by(3).filter(|_| case.weights) {
                assert_eq!(got[3 * row..][..3], [0.0; 3]);
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn logistic_is_close_in_between() {
    fn check<W: Word>() {
        let mut values = Values(81);
        for case in variants(&Case::new(Logistic {}, 1, 12)) {
            for rows in [0, 1, 33, 129] {
                let z: Vec<i64> = (0..rows).map(|_| values.signed(24 + 4)).collect();
                let data = binary(&case, z);
                let ([got, terms], _) = played::<W>(&case, &data, rows as u64);
                let [gradient, loss] = logistic(&case, &data);
                close(&got, &gradient, (-4f64).exp2());
                if case.terms {
                    close(&terms, &loss, 0.25 + 0.001);
                }
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

/// The same outputs over and over: the mean over the dithers.
#[test]
fn logistic_is_closer_in_the_mean() {
    let case = Case::new(Logistic {}, 1, 12);
    let z: Vec<i64> = [-7.6, -2.2, -0.9, -0.1, 0.03, 1.36, 3.9, 7.9].map(|z: f64| (z * 24f64.exp2()) as i64).to_vec();
    let times = 6000;
    let data = binary(&case, z.repeat(times));
    let ([got, terms], _) = played::<u64>(&case, &data, 82);
    let [gradient, loss] = logistic(&case, &data);
    for i in 0..z.len() {
        let mean = |x: &[f64], y: &[f64]| {
            let at = |x: &[f64]| x.iter().skip(i).step_by(z.len()).sum::<f64>() / times as f64;
            at(x) - at(y)
        };
        // Four standard deviations of the mean beside the stated bias.
        assert!(mean(&got, &gradient).abs() < (-10f64).exp2() + 4.0 * 0.031 / (times as f64).sqrt());
        assert!(mean(&terms, &loss).abs() < 0.003 + 4.0 * 0.125 / (times as f64).sqrt());
    }
}

#[test]
fn logistic_costs_as_stated() {
    fn check<W: Word>() {
        let (k, f, n) = (W::BITS, 11, 64);
        let word = k - 2 * f + 2;
        // Bits a word, as documented: of the sign, of the digits above the index where they are
        // joined, and of saturating 12 planes of g, with 11 of h.
        let (sign, joined, saturated) = if k == 32 { (2, 0, [17, 33]) } else { (28, 20, [19, 37]) };
        for case in variants(&Case::new(Logistic {}, 1, f)) {
            let got = cost::<W>(&case, n);
            let more = u64::from(case.terms && case.label_frac_bits > f - 2);
            let rounds = if k == 32 { 4 } else { 6 } + u64::from(case.weights) + more;
            assert_eq!(got.rounds, rounds);
            let values = n * (1 + usize::from(case.terms));
            let weights = if case.weights { values } else { 0 };
            let truncated = if more == 1 { packed_words::<W>(n, k - 2) } else { 0 };
            let terms = usize::from(case.terms);
            let planes = sign + joined + saturated[terms] + 12 + 11 * terms + 1;
            let open = packed_words::<W>(n, word) + planes * plane_words::<W>(n);
            assert_eq!(got.bytes, bytes::<W>(open + weights + truncated));
        }
    }
    check::<u32>();
    check::<u64>();
}

pub(crate) fn smoothed(classes: usize) -> SoftmaxCrossEntropy {
    // A 64th for each wrong class.
    let label_smoothing = Dyadic { factor: classes as u32, shift: 6 };
    let mut loss = SoftmaxCrossEntropy { label_smoothing, ..Default::default() };
    loss.class_weights.units.extend((0..classes as u16).map(|c| [4, 6, 1, 3][usize::from(c) % 4]));
    loss.class_weights.bits = 2;
    loss
}

/// Probabilities less targets, and the loss of each row, both weighed.
fn cross_entropy(loss: &SoftmaxCrossEntropy, case: &Case, data: &Data) -> [Vec<f64>; 2] {
    let (z, y, w) = (data.z(case), data.labels(case), data.weights(case));
    let wrong = loss.label_smoothing.value() / case.outputs as f64;
    let right = 1.0 - wrong * case.outputs as f64;
    let (mut gradient, mut terms) = (vec![], vec![]);
    for (row, z) in z.chunks(case.outputs).enumerate() {
        let y = &y[row * case.outputs..][..case.outputs];
        let largest = z.iter().copied().fold(f64::MIN, f64::max);
        let log_sum = z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln() + largest;
        let class = loss.class_weights.units.iter().zip(y).map(|(c, y)| f64::from(*c) * y).sum::<f64>();
        let class = class * (-f64::from(loss.class_weights.bits)).exp2();
        let weight = if loss.class_weights.units.is_empty() { w[row * case.outputs] } else { class };
        let targets: Vec<f64> = y.iter().map(|y| y * right + wrong).collect();
        gradient.extend(z.iter().zip(&targets).map(|(z, y)| weight * ((z - log_sum).exp() - y)));
        terms.push(weight * z.iter().zip(&targets).map(|(z, y)| y * (log_sum - z)).sum::<f64>());
    }
    [gradient, terms]
}

/// All combinations of smoothing, class weights, weights of rows, terms.
fn softmaxes(classes: usize, frac_bits: u32) -> impl Iterator<Item = (SoftmaxCrossEntropy, Case)> {
    (0..16).map(move |i| {
        let (all, none) = (smoothed(classes), SoftmaxCrossEntropy::default());
        let mut loss = if i & 1 == 1 { all.clone() } else { none.clone() };
        if i & 2 == 2 {
            loss.class_weights = all.class_weights;
        } else {
            loss.class_weights = none.class_weights;
        }
        let case = Case { weights: i & 4 == 4, terms: i & 8 == 8, ..Case::new(loss.clone(), classes, frac_bits) };
        (loss, case)
    })
}

/// Outputs at multiples of a half, sums at multiples of a quarter: no dither but the last acts.
#[test]
fn softmax_is_exact_at_the_centres() {
    fn check<W: Word>() {
        for (loss, case) in softmaxes(4, 10) {
            let rows = [[0, -40, -50, -36], [7, 7, -33, 7], [3, 3, 3, 3], [0, 0, -44, -40]];
            let z: Vec<i64> = rows.concat().into_iter().map(|half| half << 19).collect();
            // A row without a label weighs nothing, by either kind of weight.
            let none = if case.weights || !loss.class_weights.units.is_empty() { None } else { Some(2) };
            let data = Data::classes(z, 4, |row| [Some(0), Some(3), Some(2), none][row]);
            let ([got, terms], _) = played::<W>(&case, &data, 90);
            let [gradient, exact] = cross_entropy(&loss, &case, &data);
            let unit = (-10f64).exp2();
            close(&got, &gradient, 3.0 * unit);
            if case.terms {
                close(&terms, &exact, 3.0 * unit);
            }
            if none.is_none() {
                assert_eq!(got[12..], [0.0; 4]);
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn softmax_is_close_and_sums_to_zero() {
    fn check<W: Word>() {
        let mut values = Values(91);
        for (loss, case) in softmaxes(3, 10) {
            let largest = if loss.class_weights.units.is_empty() { 1.0 } else { 1.5 };
            for rows in [0, 1, 33, 130] {
                let z = (0..3 * rows).map(|_| values.signed(20 + 2)).collect();
                let data = Data::classes(z, 3, |row| Some((row * 7 + row / 3) % 3));
                let ([got, terms], _) = played::<W>(&case, &data, rows as u64);
                let [gradient, exact] = cross_entropy(&loss, &case, &data);
                close(&got, &gradient, 0.3 * largest);
                for row in got.chunks(3) {
                    assert!(row.iter().sum::<f64>().abs() <= 3.0 * (-10f64).exp2(), "{row:?}");
                }
                if case.terms {
                    close(&terms, &exact, 0.72 * largest);
                }
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn constants_cost_no_round_and_nothing_where_they_are_left_out() {
    fn check<W: Word>() {
        let (n, rows, k) = (4 * 64, 64, W::BITS);
        let of = |smoothing, classes, weights, terms| {
            let find = |(loss, case): &(SoftmaxCrossEntropy, Case)| {
                let constants = (loss.label_smoothing.factor > 0, !loss.class_weights.units.is_empty());
                constants == (smoothing, classes) && (case.weights, case.terms) == (weights, terms)
            };
            cost::<W>(&softmaxes(4, 10).find(find).unwrap().1, rows)
        };
        for terms in [false, true] {
            let plain = of(false, false, false, terms);
            assert_eq!(plain.rounds, if k == 32 { 10 } else { 12 });
            let weighed = of(false, false, true, terms);
            let words = n + if terms { rows } else { 0 };
            let more = bytes::<W>(words);
            assert_eq!((weighed.bytes, weighed.dealt_bytes), (plain.bytes + more, plain.dealt_bytes + more));
            for (smoothing, classes, weights) in [
                (true, false, false),
                (true, false, true),
                (false, true, false),
                (true, true, false),
                (true, true, true),
            ] {
                let got = of(smoothing, classes, weights, terms);
                assert_eq!(got.rounds, plain.rounds);
                let extra = 6 * u32::from(smoothing) + 2 * u32::from(classes);
                let base = if weights || classes { weighed } else { plain };
                // The gradient loses bits of its opening, and what is dealt for it gains twice as
                // many.
                let open = |bits: u32| packed_words::<W>(n, k - bits);
                let parts = |bits: u32| 2 * packed_words::<W>(n, bits + 1);
                let (term_open, term_parts) = match terms {
                    true => (packed_words::<W>(rows, k - extra), 2 * packed_words::<W>(rows, extra + 1)),
                    false => (0, 0),
                };
                let own = if classes { rows } else { 0 };
                let sums = if smoothing && (weights || classes) { rows } else { 0 };
                assert_eq!(
                    got.bytes + bytes::<W>(open(10)),
                    base.bytes + bytes::<W>(open(10 + extra) + term_open + own)
                );
                assert_eq!(
                    got.dealt_bytes + bytes::<W>(parts(10)),
                    base.dealt_bytes + bytes::<W>(parts(10 + extra) + term_parts + sums)
                );
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn losses_send_noise() {
    fn check<W: Word>() {
        let rows = W::BITS as usize; // whole planes: nothing sent is padding
        let z: Vec<i64> = (0..3 * rows as i64).map(|i| (i - 50) << 15).collect();
        let cases = [Case::new(Logistic {}, 1, 10), huber(1, 10), Case::new(SquaredError {}, 1, 10)];
        for case in cases {
            let case = Case { weights: true, label_frac_bits: 10, ..case };
            let data = binary(&case, z[..rows].to_vec());
            assert_uniform(&case, &data.inputs::<W>(&case));
        }
        let case = Case { weights: false, ..Case::new(smoothed(3), 3, 10) };
        let data = Data::classes(z, 3, |row| Some(row % 3));
        assert_uniform(&case, &data.inputs::<W>(&case));
    }
    check::<u32>();
}
