//! The optimizers against integer oracles written from their formulas alone.
#![allow(clippy::needless_range_loop)] // one element of many slices

use crate::harness::*;
use symbolon_core::{
    kernel::{packed_words, plane_words},
    link::Error,
    optimizer::{
        Adam, AmsGrad, AnyOptimizer, Dyadic, Kept, Moment, Moments, Momentum, Optimizer, Sgd, State as Durable, Turn,
    },
    party::Party,
    protocol::{
        buckets::buckets,
        masked::Masked,
        scaled::MAX_DROP_ERROR,
        truncate::{Cut, open},
    },
    word::Word,
};

/// Numbers for the two rings, with a window of seven buckets.
pub fn adam<W: Word>() -> Adam {
    let (grad_shift, first_threshold_log2, shift) = if W::BITS == 64 { (12, 12, 3) } else { (14, 4, 0) };
    Adam {
        grad_shift,
        first_threshold_log2,
        thresholds: 6,
        shift,
        second_shift: 10,
        lazy_second_moment: false,
        refresh_every: 1,
        mapped_root: None,
        bias_correction: false,
        rate: Dyadic::ONE,
    }
}

/// The same with buckets for every second moment that a word holds.
pub fn whole<W: Word>() -> Adam {
    let (adam, first_threshold_log2) = (adam::<W>(), 2);
    let thresholds = Adam::thresholds(W::BITS, adam.second_shift, first_threshold_log2);
    // Half of what `first_threshold_log2` moves down, the shift moves down.
    let shift = adam.shift - i32::try_from(adam.first_threshold_log2 - first_threshold_log2).unwrap() / 2;
    Adam { first_threshold_log2, thresholds, shift, ..adam }
}

pub fn grad_bits<W: Word>() -> u32 {
    if W::BITS == 64 { 19 } else { 15 }
}

/// `value` is `exact / 2^bits`, rounded up or down.
fn near(value: i64, exact: i128, bits: u32) -> bool {
    let excess = i128::from(value) - (exact >> bits);
    excess == 0 || excess == 1 && exact & ((1 << bits) - 1) != 0
}

struct Buckets {
    first_threshold_log2: u32,
    thresholds: usize,
}

impl Job for Buckets {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let u = inputs.remove(0);
        let mut c = vec![W::default(); u.len()];
        let mut t = vec![W::default(); self.thresholds * plane_words::<W>(u.len())];
        let mut draw = party.draw()?;
        let word = open(party, &mut draw, &u, Cut::unsigned(0), &mut c)?;
        buckets(party, &word, (self.first_threshold_log2, self.thresholds), &mut t)?;
        Ok(vec![Shared::Planes(t, u.len()), Shared::Public(c)])
    }
}

/// Checks thresholds on words of every size, the largest included, so that every digit counts.
fn cells_are_exact<W: Word>(first_threshold_log2: u32, thresholds: usize, opened: u64, dealt: u64) {
    let mut values = Values(u64::from(first_threshold_log2));
    let mut seen = vec![0; thresholds + 1];
    let job = Buckets { first_threshold_log2, thresholds };
    for n in LENGTHS.into_iter().chain([20_000]) {
        let mut draw = |_| {
            let e = 1u64 << (values.next() % u64::from(W::BITS));
            let u = match values.next() % 8 {
                0 => 0,
                1 => u64::MAX,
                2 | 3 => e + values.next() % 3,
                4 => 3 * (e / 4) + values.next() % 3,
                _ => values.next() % e,
            };
            W::from_u64(u.saturating_sub(1))
        };
        let u: Vec<W> = (0..n).map(&mut draw).collect();
        let got = play(&job, &[Shared::Words(u.clone())], n as u64);
        let bits: Vec<Vec<bool>> = (0..thresholds).map(|j| got.outputs[0].bits(j)).collect();
        let c = got.outputs[1].clone().words();
        for (e, u) in u.iter().enumerate() {
            let u = u128::from(as_u64(*u));
            let t: Vec<bool> = bits.iter().map(|b| b[e]).collect();
            assert!(t.is_sorted(), "{t:?}");
            seen[t.iter().filter(|t| **t).count()] += 1;
            for (j, bit) in (0u32..).zip(t) {
                let d = 1u128 << (first_threshold_log2 + 2 * j);
                let rounded = u + (d - 1 - u128::from(as_u64(c[e])) % d);
                assert_eq!(bit, rounded % (1 << W::BITS) < 4 * d, "{u} at threshold {j}");
                // Only the very largest words round up past the top.
                let past = rounded >> W::BITS != 0;
                assert!(past || if bit { u < 4 * d } else { u > 3 * d }, "{u} at threshold {j}");
            }
        }
    }
    assert!(seen.iter().all(|s| *s > 100), "{seen:?}");
    let n = 640u64;
    let got = play(&job, &[Shared::Words(vec![W::default(); n as usize])], 9);
    let word = u64::from(W::BITS / 8);
    let cost = Cost { bytes: n * word + n * opened / 8, rounds: 3, dealt_bytes: n * dealt / 8 };
    assert_eq!((got.cost, (got.cost.bytes - n * word) * 8 / n, got.cost.dealt_bytes * 8 / n), (cost, opened, dealt));
}

#[test]
fn cells_are_thresholds_with_a_public_dither() {
    cells_are_exact::<u64>(20, 6, 43, 265);
    cells_are_exact::<u32>(12, 6, 29, 107);
    cells_are_exact::<u32>(10, 6, 31, 116);
    cells_are_exact::<u32>(10, 10, 40, 133);
    cells_are_exact::<u64>(10, 26, 132, 641);
    cells_are_exact::<u64>(8, 27, 132, 653);
    cells_are_exact::<u64>(46, 6, 29, 95);
    cells_are_exact::<u32>(7, 1, 21, 131);
    cells_are_exact::<u64>(3, 15, 105, 644);
}

/// A word above all digits of a window was taken modulo them once: its step was up to 64 times too
/// large.
#[test]
fn words_above_the_window_are_in_the_topmost_cell() {
    let u: Vec<u64> = (0..4096u64).map(|i| (1 << 40) + (i << 20)).collect();
    let got = play(&Buckets { first_threshold_log2: 20, thresholds: 6 }, &[Shared::Words(u)], 7);
    assert!((0..6).all(|j| got.outputs[0].bits(j).iter().all(|bit| !bit)));
}

/// Steps on the inputs gradient, weights, `m`, `v`, then once more for each turn; gives weights, `m`, `v` and `P` after each step.
pub struct Steps<'a> {
    pub adam: Adam,
    pub maximum: bool,
    pub turns: &'a [Turn],
}

impl Job for Steps<'_> {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let n = inputs[0].len();
        let [mut w, mut m, mut v] = [0; 3].map(|_| inputs.remove(0));
        let mut passed = vec![W::default(); AmsGrad(self.adam).passed_words::<W>(n)];
        let (mut words, mut mask) = (vec![W::default(); n], None);
        let mut out = vec![];
        for (turn, gradient) in self.turns.iter().zip(&mut inputs) {
            let mut kept = Kept { words: &mut words, mask: &mut mask };
            let moments = Moments { first: &mut m, second: &mut v };
            let at = (&mut gradient[..], &mut w[..]);
            if self.maximum {
                AmsGrad(self.adam).turn(party, at, moments, &mut passed, &mut kept, *turn)?;
            } else {
                self.adam.turn(party, at, moments, &mut kept, *turn)?;
            }
            let mut p = vec![W::default(); n];
            Masked { words: &words, mask: mask.unwrap() }.share(party, &mut p);
            out.extend([w.clone(), m.clone(), v.clone(), p].map(Shared::Words));
            if self.maximum {
                v.fill(W::default()); // the maximum alone remembers
            }
        }
        Ok(out)
    }
}

pub const CHOOSE: Turn = Turn { choose: true, rate: Dyadic::ONE, decay: None };
const KEEP: Turn = Turn { choose: false, rate: Dyadic::ONE, decay: None };

struct State {
    w: i64,
    m: i64,
    v: i64,
}

/// The relation of `U`'s bucket to `P`.
#[derive(Clone, Copy)]
enum Cell {
    In,
    AtMost,
    Any,
}

/// Holds one step of one parameter against the formulas: some rounding of `g`, one for `g` and
/// `g^2`, explains `m` and `v`, and `P` is a bucket of `U`.
fn check(adam: &Adam, gradient: i64, before: &State, after: &State, p: i64, bucket: Cell, updated: bool) {
    let bits = adam.grad_shift;
    let least_log2 = adam.first_threshold_log2 - 2;
    let explained = [gradient >> bits, (gradient >> bits) + 1].into_iter().any(|g| {
        let u = i128::from(before.v) * ((1 << adam.second_shift) - 1) + i128::from(g) * i128::from(g);
        let passed = adam.thresholds - p.ilog2();
        let least = if passed == 0 { 0 } else { 3 << (least_log2 + 2 * passed - 2) };
        let below = if passed == adam.thresholds { i128::MAX } else { 1 << (least_log2 + 2 * passed + 2) };
        // Of the truncated moment, which is the new one unless AMSGrad's test has put zeros there.
        let [v, up] = [0, 1].map(|up| (u >> adam.second_shift) + up);
        let fits = match bucket {
            Cell::In => [v, up].iter().any(|v| (least..below).contains(v)),
            Cell::AtMost => v < below,
            Cell::Any => true,
        };
        near(g, i128::from(gradient), bits)
            && near(after.m, 3686 * i128::from(before.m) + 410 * i128::from(g), 12)
            && (if updated { near(after.v, u, adam.second_shift) } else { after.v == before.v })
            && fits
            && p.count_ones() == 1
    });
    assert!(explained, "gradient {gradient}, m {} -> {}, v {} -> {}, P {p}", before.m, after.m, before.v, after.v);
    let step = i128::from(after.m) * i128::from(p);
    assert!(
        near(before.w - after.w, step, adam.thresholds.strict_add_signed(adam.shift)),
        "w {} -> {}",
        before.w,
        after.w
    );
}

fn states<W: Word>(outputs: &[Shared<W>], step: usize, e: usize) -> (State, i64) {
    let at = |i: usize| match &outputs[4 * step + i] {
        Shared::Words(w) => as_i64(w[e]),
        _ => panic!("not words"),
    };
    (State { w: at(0), m: at(1), v: at(2) }, at(3))
}

/// Weights, `m`, `v` and gradients of `steps` steps, edges among them: as large as words hold them.
fn inputs<W: Word>(values: &mut Values, n: usize, steps: usize) -> Vec<Vec<W>> {
    let (bits, second) = (W::BITS / 2 - 2, W::BITS - 13);
    let v = values.words::<W>(n, second).iter().map(|v| v.and(W::low_mask(second))).collect();
    let mut all = vec![values.words(n, 13), values.words(n, bits - 2), v];
    all.extend((0..steps).map(|_| values.words(n, bits + adam::<W>().grad_shift)));
    all
}

fn adam_follows_its_formulas<W: Word>(adam: Adam, lazy_second_moment: bool) {
    let adam = Adam { lazy_second_moment, second_shift: if lazy_second_moment { 8 } else { 10 }, ..adam };
    let turns = [CHOOSE, KEEP, KEEP, CHOOSE];
    let mut values = Values(21);
    for n in LENGTHS {
        let inputs = inputs::<W>(&mut values, n, turns.len());
        let shared: Vec<_> = inputs.iter().cloned().map(Shared::Words).collect();
        let got = play(&Steps { adam, maximum: false, turns: &turns }, &shared, n as u64);
        for e in 0..n {
            let mut before = State { w: as_i64(inputs[0][e]), m: as_i64(inputs[1][e]), v: as_i64(inputs[2][e]) };
            let mut kept = 0;
            for (i, turn) in turns.iter().enumerate() {
                let (after, p) = states(&got.outputs, i, e);
                check(
                    &adam,
                    as_i64(inputs[3 + i][e]),
                    &before,
                    &after,
                    p,
                    if turn.choose { Cell::In } else { Cell::Any },
                    turn.choose || !lazy_second_moment,
                );
                assert!(turn.choose || p == kept, "a kept bucket changed");
                (before, kept) = (after, p);
            }
        }
    }
}

#[test]
fn adam_on_64_bits() {
    for adam in [adam::<u64>(), whole::<u64>()] {
        adam_follows_its_formulas::<u64>(adam, false);
        adam_follows_its_formulas::<u64>(adam, true);
    }
}

#[test]
fn adam_on_32_bits() {
    for adam in [adam::<u32>(), whole::<u32>()] {
        adam_follows_its_formulas::<u32>(adam, false);
        adam_follows_its_formulas::<u32>(adam, true);
    }
}

#[test]
fn kept_cells_equal_fresh_ones_when_nothing_changes() {
    fn run<W: Word>() {
        // Far from the thresholds' dithers, with v at its fixed point: g^2 = v.
        let adam = adam::<W>();
        let n = 7 * 20;
        let g: Vec<i64> = (0..n).map(|e| [0, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10][e % 7]).collect();
        let g: Vec<i64> = g.iter().map(|g| if W::BITS == 64 { g * 16 } else { *g }).collect();
        let word = |v: i64| W::from_i64(v);
        let gradient: Vec<W> = g.iter().map(|g| word(g << adam.grad_shift)).collect();
        let v: Vec<W> = g.iter().map(|g| word(g * g)).collect();
        let m: Vec<W> = g.iter().map(|g| word(*g)).collect();
        let run = |turns: &[Turn]| {
            let inputs = [vec![W::default(); n], m.clone(), v.clone(), gradient.clone(), gradient.clone()];
            let shared: Vec<_> = inputs.into_iter().map(Shared::Words).collect();
            let got = play(&Steps { adam, maximum: false, turns }, &shared, 1);
            (0..n).map(|e| states(&got.outputs, 1, e).1).collect::<Vec<_>>()
        };
        assert_eq!(run(&[CHOOSE, CHOOSE]), run(&[CHOOSE, KEEP]));
    }
    run::<u32>();
    run::<u64>();
}

/// `opened` and `dealt` bits of the buckets, and bytes each way and dealt of all.
fn adam_costs<W: Word>(plain: Adam, (opened, dealt): (u64, u64), figures: [f64; 2]) {
    let n = 640;
    let k = u64::from(W::BITS);
    let lazy_second_moment = Adam { lazy_second_moment: true, ..plain };
    let cost = |adam, maximum, turns: &[Turn]| {
        let inputs = vec![Shared::Words(vec![W::default(); n]); 3 + turns.len()];
        play(&Steps { adam, maximum, turns }, &inputs, 4).cost
    };
    let bits = |rounds, opened, dealt| Cost { rounds, bytes: n as u64 * opened / 8, dealt_bytes: n as u64 * dealt / 8 };
    let less = |a: Cost, b: Cost| Cost {
        rounds: a.rounds - b.rounds,
        bytes: a.bytes - b.bytes,
        dealt_bytes: a.dealt_bytes - b.dealt_bytes,
    };
    let (tg, moments) = (u64::from(plain.grad_shift), 12);
    let thresholds = u64::from(plain.thresholds);
    let step = u64::from(plain.thresholds.strict_add_signed(plain.shift));
    // Gradient, M, m' P; U with the gradient's square; m' P from M's word.
    let open = 3 * k - tg - moments - step;
    let lazily = 2 * (tg + 1 + moments + 1 + step + 1) + k + moments + 1;
    let kept = lazily + k + tg + 2 * (10 + 1);
    let full = cost(plain, false, &[CHOOSE]);
    // Then the buckets, the weights of their bits, P.
    let weights: u64 = (0..thresholds).map(|shift| k - shift).sum();
    assert_eq!(full, bits(7, open + 2 * k - 10 + opened + thresholds, kept + dealt + weights));
    assert_eq!(less(cost(plain, false, &[CHOOSE, KEEP]), full), bits(3, open + k - 10, kept));
    // There, v is updated where buckets are chosen alone.
    let full = cost(lazy_second_moment, false, &[CHOOSE]);
    assert_eq!(less(cost(lazy_second_moment, false, &[CHOOSE, KEEP]), full), bits(3, open, lazily));
    let full = cost(plain, false, &[CHOOSE]);
    assert_eq!(less(cost(plain, true, &[CHOOSE]), full), bits(1, 2 * thresholds, thresholds));
    // The figures of the module's docs.
    let each = |cost: Cost| [cost.bytes, cost.dealt_bytes].map(|bytes| bytes as f64 / n as f64);
    assert!(each(full).iter().zip(figures).all(|(got, stated)| (got - stated).abs() < 0.06), "{:?}", each(full));
}

#[test]
fn adam_costs_what_it_says() {
    adam_costs::<u32>(adam::<u32>(), (29, 107), [19.1, 58.4]);
    adam_costs::<u64>(adam::<u64>(), (43, 265), [40.75, 110.1]);
    adam_costs::<u32>(whole::<u32>(), (40, 133), [20.6, 74.6]);
    adam_costs::<u64>(whole::<u64>(), (132, 641), [52.5, 282.1]);
}

#[test]
fn amsgrad_never_comes_back_from_a_cell() {
    fn run<W: Word>() {
        let (adam, turns) = (adam::<W>(), [CHOOSE, CHOOSE, KEEP, CHOOSE]);
        let (mut values, mut lower, mut equal) = (Values(31), 0, 0);
        for n in [0, 1, 33, 200] {
            let inputs = inputs::<W>(&mut values, n, turns.len());
            let shared: Vec<_> = inputs.iter().cloned().map(Shared::Words).collect();
            let got = play(&Steps { adam, maximum: true, turns: &turns }, &shared, n as u64);
            for e in 0..n {
                let mut before = State { w: as_i64(inputs[0][e]), m: as_i64(inputs[1][e]), v: as_i64(inputs[2][e]) };
                let mut last = 64;
                for (i, turn) in turns.iter().enumerate() {
                    let (after, p) = states(&got.outputs, i, e);
                    // A bucket that was left is as if U were in the lowest one still allowed;
                    // otherwise U itself must be in the bucket.
                    let highest = if p == last { Cell::AtMost } else { Cell::In };
                    let bucket = if turn.choose { highest } else { Cell::Any };
                    check(&adam, as_i64(inputs[3 + i][e]), &before, &after, p, bucket, true);
                    assert!(p <= last);
                    (lower, equal) = (lower + u32::from(p < last), equal + u32::from(p == last && p < 64 && i > 0));
                    (before, last) = (State { v: 0, ..after }, p);
                }
            }
        }
        assert!(lower > 100 && equal > 100, "{lower} {equal}");
    }
    run::<u32>();
    run::<u64>();
}

#[test]
fn bias_correction_is_the_known_factor() {
    let adam = adam::<u64>();
    for t in (1..3000).chain([10_000, 100_000, 10_000_000, u64::MAX]) {
        let Dyadic { factor, shift } = adam.correction(t, t);
        let got = f64::from(factor) / f64::from(shift).exp2();
        let (beta1, beta2) = (3686.0 / 4096.0f64, 1023.0 / 1024.0f64);
        let expected = (1.0 - beta2.powf(t as f64)).sqrt() / (1.0 - beta1.powf(t as f64));
        assert!((got / expected - 1.0).abs() < 1.0 / 256.0 + 1e-4, "{t}: {got} for {expected}");
        assert!(factor < 256 && shift < 12);
    }
    assert_eq!(adam.correction(u64::MAX, u64::MAX), Dyadic::ONE);
    for second_shift in [8, 10] {
        let adam = Adam { second_shift, ..adam };
        let updates = 8 << second_shift;
        for t in updates..updates + 2000 {
            assert_eq!(adam.correction(t, t), Dyadic::ONE, "{t}");
        }
    }
}

struct Descend(Option<Momentum>, Sgd);

impl Job for Descend {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [mut gradient, mut w, mut velocity] = [0; 3].map(|_| inputs.remove(0));
        let optimizer = self.0.map_or(AnyOptimizer::from(self.1), AnyOptimizer::from);
        let state = Durable { durable: &mut velocity, volatile: &mut [], mask: &mut None };
        optimizer.step(party, Moment::constant(0), &mut gradient, &mut w, state)?;
        Ok(vec![Shared::Words(w), Shared::Words(velocity)])
    }
}

fn descends<W: Word>() {
    let mut values = Values(41);
    let (k, word) = (W::BITS, u64::from(W::BITS / 8));
    let rate = Dyadic { factor: 205, shift: 12 };
    let sgd = Sgd { learning_rate: rate, grad_shift: 18 };
    for n in LENGTHS {
        let (gradient, w): (Vec<W>, Vec<W>) = (values.words(n, k - 2), values.words(n, 13));
        let shared = [gradient.clone(), w.clone(), vec![]].map(Shared::Words);
        let got = play(&Descend(None, sgd), &shared, n as u64);
        for (e, after) in got.outputs[0].clone().words().iter().enumerate() {
            let step = as_i64(w[e].sub(*after));
            let exact = 205.0 * as_i64(gradient[e]) as f64 / f64::from(30).exp2();
            assert!((step as f64 - exact).abs() <= 1.0 + MAX_DROP_ERROR);
        }
        let bytes = packed_words::<W>(n, k - 20) as u64 * word; // 30 bits less 8 and 2
        assert_eq!((got.cost.rounds, got.cost.bytes), (1, bytes));
    }
    for narrow in [false, true] {
        for (grad_shift, momentum) in [(14, Dyadic { factor: 115, shift: 7 }), (3, Dyadic { factor: 1, shift: 5 })] {
            let weight_shift = 4;
            let momentum = Momentum { learning_rate: rate, momentum, grad_shift, weight_shift, narrow };
            for n in LENGTHS {
                let (gradient, w, u): (Vec<W>, Vec<W>, Vec<W>) =
                    (values.words(n, k - 10), values.words(n, 13), values.words(n, k - 22));
                let shared = [gradient.clone(), w.clone(), u.clone()].map(Shared::Words);
                let got = play(&Descend(Some(momentum), sgd), &shared, n as u64);
                let [w1, u1] = [0, 1].map(|i| got.outputs[i].clone().words());
                for e in 0..n {
                    let gradient = i128::from(as_i64(gradient[e]));
                    let decayed = i128::from(momentum.momentum.factor) * i128::from(as_i64(u[e]));
                    let rounded =
                        if narrow { [gradient >> grad_shift, (gradient >> grad_shift) + 1] } else { [gradient; 2] };
                    let scale = if narrow { 0 } else { grad_shift };
                    assert!(rounded.iter().any(|g| {
                        // In units of u / 2^32.
                        let word = (decayed << (32 - momentum.momentum.shift)) + (g << (32 - scale));
                        let u = as_i64(u1[e]);
                        near(u, word, 32) && near(as_i64(w[e].sub(w1[e])), 205 * i128::from(u), weight_shift + 12)
                    }));
                }
                let packed = |dropped| packed_words::<W>(n, k - dropped) as u64 * word;
                let first = if narrow { packed(grad_shift) } else { 0 };
                let cost = (if narrow { 2 } else { 1 }, first + packed(momentum.above()));
                assert_eq!((got.cost.rounds, got.cost.bytes), cost);
            }
        }
    }
}

#[test]
fn descent_and_momentum_round_their_exact_steps() {
    descends::<u32>();
    descends::<u64>();
}

/// Half a squared distance to `target`, in two hundred steps on shares.
struct Minimise {
    with: Method,
    grad_shift: u32,
}

#[derive(Clone, Copy)]
enum Method {
    Sgd,
    Momentum,
    Adam,
    AmsGrad,
}

const FRAC_BITS: u32 = 11;

impl Job for Minimise {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [mut w, target] = [0; 2].map(|_| inputs.remove(0));
        let n = w.len();
        let [mut m, mut v, mut words] = [(); 3].map(|()| vec![W::default(); n]);
        let (mut passed, mut mask) = (vec![W::default(); AmsGrad(adam::<W>()).passed_words::<W>(n)], None);
        let learning_rate = Dyadic { factor: 205, shift: 12 };
        // The gradient w - target with the scale of a sum over 128 records.
        let sum_shift = FRAC_BITS + 7;
        for step in 1..=200 {
            let mut gradient: Vec<W> = w.iter().zip(&target).map(|(w, t)| w.sub(*t).shl(sum_shift)).collect();
            let weight_shift = sum_shift - self.grad_shift;
            let momentum = Dyadic { factor: 115, shift: 7 };
            // Eight times the learning rate of 0.001, and bias correction.
            let adam = Adam { grad_shift: self.grad_shift, ..adam::<W>() };
            let rate = adam.correction(step, step).times(Dyadic { factor: 8, shift: 0 });
            let turn = Turn { choose: step < 16 || step % 4 == 0, rate, decay: None };
            let at = (&mut gradient[..], &mut w[..]);
            let moments = Moments { first: &mut m, second: &mut v };
            let mut kept = Kept { words: &mut words, mask: &mut mask };
            match self.with {
                Method::Sgd => {
                    let state = Durable { durable: &mut [], volatile: &mut [], mask: &mut None };
                    let sgd = Sgd { learning_rate, grad_shift: sum_shift };
                    sgd.step(party, Moment::constant(step), at.0, at.1, state)?;
                }
                Method::Momentum => {
                    let narrow = W::BITS == 32;
                    let grad_shift = self.grad_shift;
                    let momentum = Momentum { learning_rate, momentum, grad_shift, weight_shift, narrow };
                    let state = Durable { durable: moments.first, volatile: &mut [], mask: &mut None };
                    momentum.step(party, Moment::constant(step), at.0, at.1, state)?;
                }
                Method::Adam => adam.turn(party, at, moments, &mut kept, turn)?,
                Method::AmsGrad => AmsGrad(adam).turn(party, at, moments, &mut passed, &mut kept, turn)?,
            }
        }
        Ok(vec![Shared::Words(w)])
    }
}

#[test]
fn a_quadratic_is_minimised() {
    fn run<W: Word>() {
        let n = 65i64;
        let grad_shift = FRAC_BITS + 7 + FRAC_BITS - grad_bits::<W>();
        let start: Vec<W> = (0..n).map(|e| W::from_i64((e - 32) * 20)).collect();
        let target: Vec<W> = (0..n).map(|e| W::from_i64((e % 7 - 3) * 100)).collect();
        for with in [Method::Sgd, Method::Momentum, Method::Adam, Method::AmsGrad] {
            let inputs = [start.clone(), target.clone()].map(Shared::Words);
            let got = play(&Minimise { with, grad_shift }, &inputs, 77);
            let distance = |w: &[W]| -> i64 { w.iter().zip(&target).map(|(w, t)| as_i64(w.sub(*t)).pow(2)).sum() };
            let (before, after) = (distance(&start), distance(&got.outputs[0].clone().words()));
            assert!(after * 1000 < before, "{before} -> {after}");
        }
    }
    run::<u32>();
    run::<u64>();
}

/// Weights under gradients of constant sign, `scale` large: the ratio of their distance to that of
/// Adam in floating point with a rate of 2^-10.
pub fn path_against_float<W: Word>(adam: Adam, frac_bits: u32, scale: f64) -> Vec<f64> {
    const STEPS: usize = 40;
    let (n, mut values) = (48, Values(51));
    let mut real = || (1.0 + (values.next() % 1000) as f64 / 100.0) / 128.0 * scale;
    let magnitudes: Vec<f64> = (0..n).map(|_| real()).collect();
    let gradients: Vec<Vec<f64>> =
        (0..STEPS).map(|_| magnitudes.iter().map(|g| g * (0.5 + real() / scale)).collect()).collect();
    let zeros = || vec![W::default(); n];
    let unit = f64::from(adam.grad_shift).exp2();
    let words = |g: &Vec<f64>| g.iter().map(|g| W::from_i64((g * unit) as i64)).collect::<Vec<W>>();
    let inputs = [zeros(), zeros(), zeros()].into_iter().chain(gradients.iter().map(words)).map(Shared::Words);
    let turns = [CHOOSE; STEPS];
    let got = play(&Steps { adam, maximum: false, turns: &turns }, &inputs.collect::<Vec<_>>(), 52);
    (0..n)
        .map(|e| {
            let (mut m, mut v, mut w) = (0.0f64, 0.0f64, 0.0f64);
            for g in gradients.iter().map(|g| g[e]) {
                m += 410.0 / 4096.0 * (g - m);
                v += (g * g - v) / 1024.0;
                w -= m / v.sqrt() / 1024.0;
            }
            states(&got.outputs, STEPS - 1, e).0.w as f64 / f64::from(frac_bits).exp2() / w
        })
        .collect()
}

/// Adam's path does not depend on the scale of a loss. With a window of buckets it did: steps grew
/// with the gradients above, and vanished below.
#[test]
fn the_path_is_that_of_float_at_every_scale() {
    let within_two = |ratios: Vec<f64>, of: &str| {
        assert!(ratios.iter().all(|r| (0.5..=2.0).contains(r)), "{of}: {ratios:?}");
    };
    for exponent in (-8..=8).step_by(4) {
        // Units of 2^-22.
        let scale = f64::from(exponent + 22).exp2();
        within_two(path_against_float::<u64>(Adam { shift: -2, ..whole::<u64>() }, 12, scale), "64 bits");
    }
    for exponent in [14, 15, 16] {
        within_two(
            path_against_float::<u32>(Adam { shift: -1, ..whole::<u32>() }, 11, f64::from(exponent).exp2()),
            "32 bits",
        );
    }
    // The window of a classifier, half a million times above it.
    let outside = path_against_float::<u64>(adam::<u64>(), 12, f64::from(30).exp2());
    assert!(outside.iter().all(|r| *r > 30.0), "{outside:?}");
}
