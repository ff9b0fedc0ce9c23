//! Softmax, its gradient and loss against floating point; what they cost.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    correlation::View,
    function::{
        Numbers,
        classify::{count_correct, one_hot, predict},
        method::{
            Function, Method,
            limit::Limit,
            polynomial::{Fit, Polynomial},
            segments::Segments,
        },
        scalar::{AnyScalar, Exponential, Reciprocal},
        softmax::{Labels, Shape, Softmax, gradient, probabilities},
        softmax_methods::Methods,
    },
    kernel::{packed_words, plane_words},
    link::Error,
    party::Party,
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

#[derive(Clone, Copy)]
struct Gradient {
    shape: Shape,
    methods: Methods,
    weights: bool,
    loss: bool,
}

fn open<W: Word>(party: &mut Party<'_, W>, x: &mut [W]) -> Result<View<'static>, Error> {
    let mask = party.draw()?.mask(x.len());
    mask_and_open(party, x, mask)
}

/// Inputs: logits, one-hot labels, weights.
impl Job for Gradient {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (logits, mut labels) = (inputs.remove(0), inputs.remove(0));
        let mut weights = if self.weights { inputs.remove(0) } else { vec![] };
        let cols = self.shape.classes as usize;
        let mask = open(party, &mut labels)?.matrix(cols);
        let one_hot = Masked { words: &labels, mask };
        let mask = if self.weights { Some(open(party, &mut weights)?) } else { None };
        let weights = mask.map(|mask| Masked { words: &weights, mask });
        let (mut delta, mut p) = (vec![W::default(); logits.len()], vec![W::default(); logits.len()]);
        let mut loss = vec![W::default(); logits.len() / cols];
        let asked = self.loss.then_some(&mut loss[..]);
        let softmax = Softmax::new(self.shape).by(self.methods);
        gradient(party, &softmax, &logits, Labels { one_hot, weights }, &mut delta, asked)?;
        if self.loss {
            probabilities(party, &softmax, &logits, &mut p)?;
        }
        Ok(vec![Shared::Words(delta), Shared::Words(loss), Shared::Words(p)])
    }
}

/// Logits in units, labels (the number of classes for none).
struct Data {
    units: Vec<i64>,
    labels: Vec<usize>,
}

impl Data {
    fn random(shape: &Shape, rows: usize, spread: u32, seed: u64) -> Self {
        let (mut values, cols) = (Values(seed), shape.classes as usize);
        let units = (0..rows * cols).map(|_| values.signed(shape.logit_frac_bits + spread)).collect();
        Self { units, labels: (0..rows).map(|_| (values.next() % (cols as u64)) as usize).collect() }
    }
    fn inputs<W: Word>(&self, cols: usize) -> Vec<Shared<W>> {
        let one = |label: usize| (0..cols).map(move |c| W::from_u64(u64::from(c == label)));
        vec![
            Shared::Words(self.units.iter().map(|u| W::from_i64(*u)).collect()),
            Shared::Words(self.labels.iter().flat_map(|l| one(*l)).collect()),
            Shared::Words(self.labels.iter().map(|l| W::from_u64(u64::from(*l < cols))).collect()),
        ]
    }
    /// Probabilities of each row, and the summed loss.
    fn exact(&self, shape: &Shape) -> (Vec<Vec<f64>>, f64) {
        let unit = (-f64::from(shape.logit_frac_bits)).exp2();
        let (mut p, mut loss) = (vec![], 0.0);
        for (row, label) in self.units.chunks(shape.classes as usize).zip(&self.labels) {
            let top = *row.iter().max().unwrap();
            let e: Vec<f64> = row.iter().map(|u| ((u - top) as f64 * unit).exp()).collect();
            let sum: f64 = e.iter().sum();
            if let Some(u) = row.get(*label) {
                loss += (top - u) as f64 * unit + sum.ln();
            }
            p.push(e.iter().map(|e| e / sum).collect());
        }
        (p, loss)
    }
}

fn reals<W: Word>(shared: &Shared<W>, frac_bits: u32) -> Vec<f64> {
    shared.clone().words().into_iter().map(|w| as_i64(w) as f64 * (-f64::from(frac_bits)).exp2()).collect()
}

const SHAPES: [Shape; 5] = [
    Shape { classes: 10, frac_bits: 11, logit_frac_bits: 22 },
    Shape { classes: 10, frac_bits: 11, logit_frac_bits: 11 },
    Shape { classes: 2, frac_bits: 12, logit_frac_bits: 12 },
    Shape { classes: 3, frac_bits: 10, logit_frac_bits: 20 },
    Shape { classes: 17, frac_bits: 11, logit_frac_bits: 22 },
];

/// Every row within the stated error, its sum within as many units as there are classes.
fn close<W: Word>() {
    for (seed, shape) in (50..).zip(SHAPES) {
        for rows in [1, 33, 130] {
            let (data, cols) = (Data::random(&shape, rows, 4, seed), shape.classes as usize);
            let job = Gradient { shape, methods: Methods::default(), weights: false, loss: true };
            let got = play(&job, &data.inputs::<W>(cols)[..2], seed);
            let (delta, p) = (reals(&got.outputs[0], shape.frac_bits), reals(&got.outputs[2], shape.frac_bits));
            let (exact, loss) = data.exact(&shape);
            let unit = (-f64::from(shape.frac_bits)).exp2();
            for (i, (label, exact)) in data.labels.iter().zip(&exact).enumerate() {
                let (delta, p) = (&delta[i * cols..][..cols], &p[i * cols..][..cols]);
                for (j, exact) in exact.iter().enumerate() {
                    let y = if j == *label { 1.0 } else { 0.0 };
                    assert!((delta[j] - (exact - y)).abs() < 0.3, "{delta:?} for {exact}");
                    assert!((p[j] - exact).abs() < 0.3, "{p:?} for {exact}");
                }
                assert!(delta.iter().sum::<f64>().abs() <= cols as f64 * unit, "the gradient does not sum to zero");
            }
            let got = reals(&got.outputs[1], shape.frac_bits).iter().sum::<f64>();
            assert!(
                (got - loss).abs() <= if rows == 1 { 0.72 } else { 0.05 * rows as f64 },
                "loss {got}, exact {loss}, of {rows} rows"
            );
        }
    }
}

#[test]
fn gradients_are_close_and_sum_to_zero() {
    close::<u32>();
    close::<u64>();
}

/// The same rows, over and over: the mean over the dithers.
#[test]
fn the_mean_is_closer() {
    let shape = SHAPES[0];
    let rows = Data::random(&shape, 6, 1, 60);
    let times = 500;
    let data = Data { units: rows.units.repeat(times), labels: rows.labels.repeat(times) };
    let got = play(
        &Gradient { shape, methods: Methods::default(), weights: false, loss: true },
        &data.inputs::<u32>(10)[..2],
        61,
    );
    let delta = reals(&got.outputs[0], shape.frac_bits);
    let (exact, loss) = rows.exact(&shape);
    for (i, (label, exact)) in rows.labels.iter().zip(&exact).enumerate() {
        for (j, exact) in exact.iter().enumerate() {
            let mean = delta.iter().skip(i * 10 + j).step_by(60).sum::<f64>() / times as f64;
            let exact = exact - if j == *label { 1.0 } else { 0.0 };
            assert!((mean - exact).abs() < 0.04, "mean {mean}, exact {exact}");
        }
    }
    let mean = reals(&got.outputs[1], shape.frac_bits).iter().sum::<f64>() / times as f64;
    assert!((mean - loss).abs() < 0.03 * 6.0, "loss {mean}, exact {loss}");
}

/// Logits at multiples of a half, where no dither acts: only the reciprocal's last place is left.
#[test]
fn at_the_centres_it_is_exact() {
    let shape = Shape { classes: 4, frac_bits: 12, logit_frac_bits: 24 };
    let half = 1 << 23;
    let data = Data { units: [[0, -40, -50, -16], [7, 7, -99, 7], [3, 3, 3, 3]].concat(), labels: vec![0, 3, 2] };
    let data = Data { units: data.units.iter().map(|u| u * half).collect(), ..data };
    let got = play(
        &Gradient { shape, methods: Methods::default(), weights: false, loss: true },
        &data.inputs::<u64>(4)[..2],
        62,
    );
    let delta = reals(&got.outputs[0], shape.frac_bits);
    let third = 1.0 / 3.0;
    let expected = [[0.0, 0.0, 0.0, 0.0], [third, third, 0.0, third - 1.0], [0.25, 0.25, -0.75, 0.25]].concat();
    for (d, e) in delta.iter().zip(expected) {
        assert!((d - e).abs() < 0.001, "{delta:?}");
    }
    let loss = reals(&got.outputs[1], shape.frac_bits).iter().sum::<f64>();
    assert!((loss - 3f64.ln() - 4f64.ln()).abs() < 0.002, "{loss}");
}

#[test]
fn rows_without_a_label_weigh_nothing() {
    fn check<W: Word>() {
        let shape = SHAPES[0];
        let mut data = Data::random(&shape, 20, 2, 63);
        for label in data.labels.iter_mut().step_by(3) {
            *label = 10;
        }
        let got = play(
            &Gradient { shape, methods: Methods::default(), weights: true, loss: true },
            &data.inputs::<W>(10),
            64,
        );
        let delta = reals(&got.outputs[0], shape.frac_bits);
        let (exact, loss) = data.exact(&shape);
        for (i, (label, exact)) in data.labels.iter().zip(&exact).enumerate() {
            for (j, exact) in exact.iter().enumerate() {
                let d = delta[i * 10 + j];
                if *label == 10 {
                    // A product of 0 is truncated to 0 exactly.
                    assert_eq!(d, 0.0);
                } else {
                    let y = if j == *label { 1.0 } else { 0.0 };
                    assert!((d - (exact - y)).abs() < 0.3);
                }
            }
        }
        let got = reals(&got.outputs[1], shape.frac_bits).iter().sum::<f64>();
        assert!((got - loss).abs() <= 0.1 * 20.0, "loss {got}, exact {loss}");
    }
    check::<u32>();
    check::<u64>();
}

/// Bytes each way of a gradient, part by part.
fn bytes<W: Word>(rows: usize) -> u64 {
    let (cols, n, k) = (10, 10 * rows, u64::from(W::BITS));
    // Words of k - 11 bits: pairs compared, then open.
    let argmax = plane_words::<W>(rows) * 45 * if k == 32 { 8 + 1 } else { 36 + 1 };
    // Of k - 13 bits the differences' index keeps those above 10; digits above four of them.
    let index = W::BITS as usize - 22;
    // Joining the digits above the index; keeping 12 bits of the table.
    let planes = if k == 32 { 5 + 12 } else { 20 + 7 + 12 };
    let words = packed_words::<W>(n, W::BITS - 11) // the logits
        + argmax
        + plane_words::<W>(n) // which is the largest
        + packed_words::<W>(n, u32::try_from(index).unwrap()) // x
        + (planes + 12) * plane_words::<W>(n) // e
        + rows + packed_words::<W>(rows, 6) // S, and its index
        + n + rows // t, r
        + packed_words::<W>(n, W::BITS - 11); // the products
    assert_eq!(cols * rows, n);
    words as u64 * k / 8
}

fn costs<W: Word>() {
    let row = if W::BITS == 32 { 1615 } else { 4439 }; // as documented
    assert_eq!(bytes::<W>(128), 128 * row / 8);
    for (classes, fewer) in [(2, 1), (3, 0), (6, 0)] {
        let shape = Shape { classes, ..SHAPES[0] };
        let data = Data::random(&shape, 3, 3, 64);
        let inputs = data.inputs::<W>(classes as usize);
        let cost =
            play(&Gradient { shape, methods: Methods::default(), weights: false, loss: false }, &inputs[..2], 66).cost;
        assert_eq!(cost.rounds, if W::BITS == 32 { 10 } else { 12 } + 1 - fewer, "{classes} classes");
    }
    for rows in [128, 100] {
        let shape = SHAPES[0];
        let data = Data::random(&shape, rows, 3, 65);
        let cost = play(
            &Gradient { shape, methods: Methods::default(), weights: false, loss: false },
            &data.inputs::<W>(10)[..2],
            66,
        )
        .cost;
        let labels = 10 * rows as u64 * u64::from(W::BITS / 8);
        assert_eq!(cost.rounds, if W::BITS == 32 { 10 } else { 12 } + 1, "one for the labels");
        assert_eq!(cost.bytes - labels, bytes::<W>(rows));
        // Weights: as documented, beside a round and a word a row that open them.
        let word = u64::from(W::BITS / 8);
        let (n, own) = (10 * rows as u64 * word, rows as u64 * word);
        let weighed = |loss| {
            play(&Gradient { shape, methods: Methods::default(), weights: true, loss }, &data.inputs::<W>(10), 66).cost
        };
        let plain = |loss| {
            play(&Gradient { shape, methods: Methods::default(), weights: false, loss }, &data.inputs::<W>(10)[..2], 66)
                .cost
        };
        for (loss, more) in [(false, n), (true, n + own)] {
            let (with, without) = (weighed(loss), plain(loss));
            assert_eq!(with.rounds, without.rounds + 1);
            assert_eq!((with.bytes, with.dealt_bytes), (without.bytes + more + own, without.dealt_bytes + more));
        }
    }
}

/// Logits further apart than any table reaches: the index of the exponential wrapped at 128 once,
/// and gave the smallest logit a large share.
#[test]
fn logits_far_apart_have_no_share() {
    fn check<W: Word>() {
        let shape = Shape { classes: 4, ..SHAPES[0] };
        let one = 1i64 << 22;
        let rows = [[0, -128, -129, -250], [200, 0, 100, 72], [0, -64, -8, -127]];
        let mut units: Vec<i64> = rows.concat().into_iter().map(|u| u * one).collect();
        units.extend([(1 << (W::BITS - 2)) - (1 << 11), 0, 0, 0]);
        let data = Data { units, labels: vec![0, 1, 2, 3] };
        let got = play(
            &Gradient { shape, methods: Methods::default(), weights: false, loss: true },
            &data.inputs::<W>(4)[..2],
            70,
        );
        let p = reals(&got.outputs[2], shape.frac_bits);
        let (exact, _) = data.exact(&shape);
        for (p, exact) in p.iter().zip(exact.concat()) {
            assert!((p - exact).abs() < 0.02, "{p} for {exact}");
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn gradients_cost_the_sum_of_their_parts() {
    costs::<u32>();
    costs::<u64>();
}

struct Accuracy;

impl Job for Accuracy {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (logits, mut labels) = (inputs.remove(0), inputs.remove(0));
        let mask = open(party, &mut labels)?;
        let rows = logits.len() / 10;
        let mut predicted = vec![W::default(); 10 * plane_words::<W>(rows)];
        predict(party, (&logits, 11), 10, &mut predicted)?;
        let correct = count_correct(party, &predicted, Masked { words: &labels, mask }, 10)?;
        Ok(vec![Shared::Words(vec![correct]), Shared::Planes(predicted, rows)])
    }
}

#[test]
fn predictions_are_counted() {
    fn check<W: Word>() {
        for rows in [0, 1, 70] {
            // Multiples of what is dropped.
            let mut data = Data::random(&SHAPES[1], rows, 2, 67);
            data.units.iter_mut().for_each(|unit| *unit <<= 11);
            let best = |row: &[i64]| (0..10).rev().max_by_key(|j| row[*j]).unwrap();
            let best: Vec<usize> = data.units.chunks(10).map(best).collect();
            for (label, best) in data.labels.iter_mut().zip(&best).step_by(2) {
                *label = *best;
            }
            let got = play(&Accuracy, &data.inputs::<W>(10)[..2], 68);
            let correct = data.labels.iter().zip(&best).filter(|(l, b)| l == b).count();
            assert_eq!(as_u64(got.outputs[0].clone().words()[0]), correct as u64);
            for (row, best) in best.iter().enumerate() {
                assert!(got.outputs[1].bits(*best)[row]);
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn gradients_send_noise() {
    fn check<W: Word>() {
        let shape = Shape { classes: 3, ..SHAPES[0] };
        // As many rows as fill whole planes: nothing sent is padding.
        let data = Data::random(&shape, W::BITS as usize, 2, 69);
        assert_uniform(
            &Gradient { shape, methods: Methods::default(), weights: true, loss: true },
            &data.inputs::<W>(3),
        );
    }
    check::<u32>();
    check::<u64>();
}

struct Codes(u32, usize);

impl Job for Codes {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut out = vec![W::default(); self.1 * inputs[0].len()];
        one_hot(party, &inputs[0], self.0, self.1, &mut out)?;
        Ok(vec![Shared::Words(out)])
    }
}

#[test]
fn codes_become_rows() {
    fn check<W: Word>() {
        let mut values = Values(71);
        for (bits, classes) in [(1, 2), (4, 10), (8, 256), (8, 3)] {
            for n in LENGTHS {
                // Noise above the code.
                let codes: Vec<W> = (0..n).map(|_| W::from_u64(values.next())).collect();
                let got = play(&Codes(bits, classes), &[Shared::Words(codes.clone())], n as u64);
                let got = got.outputs[0].clone().words();
                for (code, row) in codes.iter().zip(got.chunks(classes)) {
                    let code = as_u64(code.and(W::low_mask(bits)));
                    assert!((0..).zip(row).all(|(t, y)| as_u64(*y) == u64::from(code == t)));
                }
            }
        }
        let cost = play(&Codes(4, 10), &[Shared::Words(vec![W::default(); 64])], 1).cost;
        assert_eq!(cost, Cost { bytes: 64 * 4 / 8, rounds: 1, dealt_bytes: 64 * 16 * u64::from(W::BITS / 8) });
    }
    check::<u32>();
    check::<u64>();
}

/// Softmaxes of the literature.
fn methods() -> Vec<Methods> {
    let scalar = AnyScalar::Exponential(Exponential {});
    let taylor = |degree, low, raw, zero_below| {
        Method::Polynomial(Polynomial { degree, fit: Fit::Taylor, interval: [low, -low * 2.0], raw, zero_below })
    };
    let own = |method, raw| Methods { exponential: Some(Function { scalar, method }), raw, ..Methods::default() };
    let reciprocal = Function { scalar: AnyScalar::Reciprocal(Reciprocal {}), method: Method::Direct };
    vec![
        own(taylor(2, -1.0, false, true), false),
        own(taylor(4, -1.596, false, true), false),
        own(taylor(2, -4.0, true, false), true),
        own(Method::Segments(Segments::named(&scalar, 4).unwrap()), false),
        own(Method::Segments(Segments::named(&scalar, 7).unwrap()), false),
        own(Method::Limit(Limit { squarings: 3 }), false),
        own(Method::Direct, false),
        Methods { reciprocal: Some(reciprocal), ..own(Method::Auto, false) },
        Methods { reciprocal: Some(reciprocal), ..Methods::default() },
    ]
}

/// Each method gives the gradient of its own exponentials: `e / S - y`, and the entries of a row
/// sum to zero.
fn follows_its_methods<W: Word>() {
    let shape = SHAPES[0];
    let numbers = Numbers { ring_bits: W::BITS, frac_bits: shape.frac_bits };
    for (seed, methods) in (70..).zip(methods()) {
        let methods = methods.resolved(&numbers);
        methods.check(&numbers).unwrap();
        let (data, cols, unit) = (Data::random(&shape, 33, 1, seed), 10, (-f64::from(shape.frac_bits)).exp2());
        let job = Gradient { shape, methods, weights: false, loss: true };
        let got = play(&job, &data.inputs::<W>(cols)[..2], seed);
        let delta = reals(&got.outputs[0], shape.frac_bits);
        let exponential = |x: f64| methods.exponential.map_or(x.exp(), |function| function.ideal(&numbers, x));
        let rows = data.units.chunks(cols).zip(&data.labels).zip(delta.chunks(cols));
        for ((row, label), delta) in rows {
            let z: Vec<f64> = row.iter().map(|u| *u as f64 * (-f64::from(shape.logit_frac_bits)).exp2()).collect();
            let top = if methods.raw { 0.0 } else { z.iter().copied().fold(f64::MIN, f64::max) };
            let e: Vec<f64> = z.iter().map(|z| exponential(z - top)).collect();
            let sum: f64 = e.iter().sum();
            // A polynomial that is cut off jumps there.
            let jumps = z.iter().any(|z| (z - top + 1.0).abs() < 0.01 || (z - top + 1.596).abs() < 0.01);
            let most = if methods.exponential.is_none() { 0.3 } else { 0.02 };
            for (j, (e, delta)) in e.iter().zip(delta).enumerate() {
                let exact = e / sum - if j == *label { 1.0 } else { 0.0 };
                let cells = if methods.reciprocal.is_none() { 0.1 } else { 0.0 };
                assert!(jumps || (delta - exact).abs() < most + cells, "{methods:?}: {delta}, exact {exact}");
            }
            assert!(delta.iter().sum::<f64>().abs() <= 10.0 * unit, "{methods:?}: the gradient does not sum to zero");
        }
    }
}

#[test]
fn every_method_gives_its_own_gradient() {
    follows_its_methods::<u32>();
    follows_its_methods::<u64>();
}
