//! Optimizers behind their trait, with schedules, decay and clipping, against floating point and
//! the stated costs.

use crate::{
    harness::*,
    optimizer::{adam, grad_bits, whole},
};
use symbolon_core::{
    link::Error,
    optimizer::{
        Adam, AdamW, AmsGrad, AnyOptimizer, Clip, Coupled, Decline, Dyadic, Momentum, Nesterov, Optimizer, Recipe,
        Schedule, Sgd, State,
    },
    party::Party,
    word::Word,
};

const FRAC_BITS: u32 = 11;
/// Bits of the summed gradient of 128 records beyond those of weights.
const SUM_SHIFT: u32 = FRAC_BITS + 7;
const STEPS: usize = 60;

fn grad_shift<W: Word>() -> u32 {
    FRAC_BITS + SUM_SHIFT - grad_bits::<W>()
}

fn momentum<W: Word>() -> Momentum {
    Momentum {
        learning_rate: Dyadic { factor: 205, shift: 12 },
        momentum: Dyadic { factor: 115, shift: 7 },
        grad_shift: grad_shift::<W>(),
        weight_shift: grad_bits::<W>() - FRAC_BITS,
        narrow: W::BITS == 32,
    }
}

/// Buckets for every `v`, and a learning rate of `1.5 * 2^-7`.
fn fast<W: Word>() -> Adam {
    let adam = whole::<W>();
    // 2^-7 = 2^(first_threshold_log2 / 2 - shift - 1 - f).
    let shift = 7 + adam.first_threshold_log2.cast_signed() / 2 - 1 - FRAC_BITS.cast_signed();
    let rate = Dyadic { factor: 3, shift: 1 };
    Adam { grad_shift: grad_shift::<W>(), shift, rate, bias_correction: true, ..adam }
}

const DECAY: Dyadic = Dyadic { factor: 1, shift: 6 };

/// The optimizers with everything that goes before their step.
fn recipes<W: Word>() -> Vec<Recipe> {
    let rate = Dyadic { factor: 205, shift: 12 };
    let schedule = Schedule { warm_up: 5, decline: Decline::Cosine { steps: STEPS as u64 - 5 } };
    let step = Decline::Step { every: 17, factor: Dyadic { factor: 1, shift: 1 } };
    let decay = Some(Coupled { units: DECAY.factor << (SUM_SHIFT - DECAY.shift) });
    let clip = Some(Clip { bound: 1 << (FRAC_BITS + SUM_SHIFT - 1) });
    let adamw = AdamW { adam: fast::<W>(), decay: Dyadic { factor: 3, shift: 14 } };
    let all = [
        Recipe { decay, ..Recipe::new(Sgd { learning_rate: rate, grad_shift: SUM_SHIFT }) },
        Recipe { decay, ..Recipe::new(momentum::<W>()) },
        Recipe { decay, ..Recipe::new(Nesterov(momentum::<W>())) },
        Recipe::new(fast::<W>()),
        Recipe::new(AmsGrad(fast::<W>())),
        Recipe::new(adamw),
    ];
    let with = |recipe: &Recipe, decline, clip| Recipe { schedule: Schedule { decline, ..schedule }, clip, ..*recipe };
    all.iter().flat_map(|all| [with(all, schedule.decline, None), with(all, step, clip)]).collect()
}

/// Steps towards `target`, the second input, from the first; gradients are `w - target`.
struct Towards {
    recipe: Recipe,
    steps: usize,
}

impl Job for Towards {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [mut w, target] = [0; 2].map(|_| inputs.remove(0));
        let state = Optimizer::<W>::state(&self.recipe.optimizer, w.len());
        let ([mut durable, mut volatile], mut mask) = (state.map(|n| vec![W::default(); n]), None);
        let mut out = vec![];
        for step in 0..self.steps as u64 {
            let mut gradient: Vec<W> = w.iter().zip(&target).map(|(w, t)| w.sub(*t).shl(SUM_SHIFT)).collect();
            let state = State { durable: &mut durable, volatile: &mut volatile, mask: &mut mask };
            self.recipe.step(party, step, &mut gradient, &mut w, state)?;
            out.push(Shared::Words(w.clone()));
        }
        Ok(out)
    }
}

fn real(constant: Dyadic) -> f64 {
    f64::from(constant.factor) * (-f64::from(constant.shift)).exp2()
}

/// The gradient at `w` in floating point.
fn slope(recipe: &Recipe, w: f64, target: f64) -> f64 {
    let unit = f64::from(FRAC_BITS + SUM_SHIFT).exp2();
    let bound = recipe.clip.map_or(f64::INFINITY, |clip| clip.bound as f64 / unit);
    let decay = recipe.decay.map_or(0.0, |decay| f64::from(decay.units) / f64::from(SUM_SHIFT).exp2());
    (w - target).clamp(-bound, bound) + decay * w
}

/// The weight after each step of the first three, in floating point, by the papers' formulas.
fn in_float(recipe: &Recipe, mut w: f64, target: f64) -> Vec<f64> {
    let mut u = 0.0;
    let mut one = |step: u64| {
        let (rate, g) = (real(recipe.schedule.rate(step)), slope(recipe, w, target));
        let mut velocity = |own: &Momentum| {
            u = real(own.momentum) * u + g;
            u
        };
        w -= rate
            * match recipe.optimizer {
                AnyOptimizer::Sgd(own) => real(own.learning_rate) * g,
                AnyOptimizer::Momentum(own) => real(own.learning_rate) * velocity(&own),
                AnyOptimizer::Nesterov(Nesterov(own)) => {
                    real(own.learning_rate) * (g + real(own.momentum) * velocity(&own))
                }
                _ => panic!("Adam's kind"),
            };
        w
    };
    (0..STEPS as u64).map(&mut one).collect()
}

/// Holds each step of Adam's kind against that of floating point from the same gradients: 0.86 to 2
/// times as long where `v` is 4 units or more, and the decay as it is. The slack is for roundings
/// of `m` and of rates.
fn follows_adam(recipe: &Recipe, mut w: f64, target: f64, own: &[f64]) -> usize {
    let unit = f64::from(FRAC_BITS).exp2();
    let (adam, maximum, decay) = match recipe.optimizer {
        AnyOptimizer::Adam(adam) => (adam, false, 0.0),
        AnyOptimizer::AmsGrad(AmsGrad(adam)) => (adam, true, 0.0),
        AnyOptimizer::AdamW(own) => (own.adam, false, real(own.decay)),
        _ => panic!("none of Adam's kind"),
    };
    let learning_rate =
        (f64::from(adam.first_threshold_log2) / 2.0 - f64::from(FRAC_BITS.cast_signed() + adam.shift + 1)).exp2();
    let (mut m, mut v, mut most, mut held) = (0.0, 0.0, 0.0f64, 0);
    for (step, after) in own.iter().enumerate() {
        let (rate, g, t) = (real(recipe.schedule.rate(step as u64)), slope(recipe, w, target), step as f64 + 1.0);
        m += 410.0 / 4096.0 * (g - m);
        v += (g * g - v) / 1024.0;
        most = most.max(v);
        let second = if maximum { most } else { v } / (1.0 - (1023.0 / 1024.0f64).powf(t));
        let first = m / (1.0 - (3686.0 / 4096.0f64).powf(t));
        let exact = learning_rate * real(adam.rate) * rate * first / second.sqrt();
        if second > 1e-4 {
            let moved = w - after - decay * rate * w;
            let [least, greatest] = [exact * 0.84, exact * 2.04].map(|end| end * unit);
            let (least, greatest) = (least.min(greatest) - 4.0, least.max(greatest) + 4.0);
            let moved = moved * unit;
            assert!((least..greatest).contains(&moved), "{recipe:?}, {step}: {moved}, not {least} to {greatest}");
            held += 1;
        }
        w = *after;
    }
    held
}

/// Paths of all optimizers, with a schedule and with decay: the first three are those of floating
/// point within 12 units, and 24 with momentum, after 60 steps.
fn paths<W: Word>() {
    let starts = [-1200i64, -900, -301, -1, 0, 77, 400, 999, 1500];
    let targets = [100i64, 500, -700, 650, 0, -1400, 1023, -1000, 1300];
    let unit = f64::from(FRAC_BITS).exp2();
    for (salt, recipe) in recipes::<W>().into_iter().enumerate() {
        let adam = Optimizer::<W>::second_moments(&recipe.optimizer, 1) != (0..0);
        // `v` of 60 large gradients does not fit 32 bits.
        let [starts, targets] = [starts, targets].map(|all| all.map(|x| if adam && W::BITS == 32 { x / 6 } else { x }));
        let inputs =
            [starts, targets].map(|all| Shared::Words(all.iter().map(|x| W::from_i64(*x)).collect::<Vec<W>>()));
        let got = play(&Towards { recipe, steps: STEPS }, &inputs, salt as u64);
        let mut held = 0;
        for (e, (start, target)) in starts.iter().zip(&targets).enumerate() {
            let (start, target) = (*start as f64 / unit, *target as f64 / unit);
            let own: Vec<f64> = got.outputs.iter().map(|w| as_i64(w.clone().words()[e]) as f64 / unit).collect();
            let allowed = match recipe.optimizer {
                AnyOptimizer::Sgd(_) => 12.0,
                AnyOptimizer::Momentum(_) | AnyOptimizer::Nesterov(_) => 24.0,
                _ => {
                    held += follows_adam(&recipe, start, target, &own);
                    continue;
                }
            };
            let steps = own.iter().zip(in_float(&recipe, start, target));
            let apart = steps.map(|(own, float)| (own - float).abs() * unit).fold(0.0, f64::max);
            assert!(apart <= allowed, "{recipe:?}: {start} to {target} is {apart} units apart");
            held += STEPS;
        }
        assert!(held > 5 * STEPS, "{recipe:?}: {held} steps");
    }
}

#[test]
fn paths_are_those_of_floating_point() {
    paths::<u32>();
    paths::<u64>();
}

/// The figures of the optimizers' table: rounds, bytes each way and dealt a parameter.
fn costs<W: Word>(nesterov: [f64; 2], clip: [f64; 2], decay: [f64; 2]) {
    let n = 640;
    let cost = |recipe: Recipe| {
        play(&Towards { recipe, steps: 1 }, &[(); 2].map(|()| Shared::Words(vec![W::default(); n])), 5).cost
    };
    let more = |with: Recipe, than: Recipe| {
        let (with, than) = (cost(with), cost(than));
        let each = |with: u64, than: u64| (with - than) as f64 / n as f64;
        (with.rounds - than.rounds, [each(with.bytes, than.bytes), each(with.dealt_bytes, than.dealt_bytes)])
    };
    let near = |got: (u64, [f64; 2]), rounds: u64, figures: [f64; 2]| {
        let close = got.1.iter().zip(figures).all(|(got, stated)| (got - stated).abs() < 0.06);
        assert!(got.0 == rounds && close, "{got:?}, not {rounds}, {figures:?}");
    };
    let table = Momentum {
        grad_shift: if W::BITS == 32 { 14 } else { 12 },
        weight_shift: if W::BITS == 32 { 4 } else { 7 },
        narrow: false,
        ..momentum::<W>()
    };
    near(more(Recipe::new(Nesterov(table)), Recipe::new(table)), 0, nesterov);
    let plain = Recipe::new(table);
    near(more(Recipe { clip: Some(Clip { bound: 1 << 20 }), ..plain }, plain), 4, clip);
    near(more(Recipe { decay: Some(Coupled { units: 26 }), ..plain }, plain), 0, [0.0; 2]);
    let adam = adam::<W>();
    // 0.001 times 0.01, to eight bits.
    let own = AdamW { adam, decay: Dyadic { factor: 21, shift: 21 } };
    near(more(Recipe::new(own), Recipe::new(adam)), 0, decay);
    let schedule = Schedule { warm_up: 0, decline: Decline::Constant };
    near(more(Recipe { schedule, ..plain }, plain), 0, [0.0; 2]);
}

#[test]
fn costs_are_those_of_the_table() {
    costs::<u32>([0.0, 7.5], [9.5, 42.5], [2.25, 6.75]);
    costs::<u64>([0.0, 13.75], [18.75, 106.5], [6.25, 10.75]);
}

#[test]
fn gradients_are_clipped_exactly_and_decay_is_exact() {
    fn run<W: Word>() {
        let bound = 1u64 << (W::BITS - 4);
        let edge = bound.cast_signed();
        let gradient = [-edge - 1, -edge, 1 - edge, -1, 0, 1, edge - 1, edge, edge + 1, 2 * edge - 1, 1 - 2 * edge];
        struct Apply(Clip, Coupled);
        impl Job for Apply {
            fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
                let [mut gradient, weights] = [0; 2].map(|_| inputs.remove(0));
                self.0.apply(party, &mut gradient)?;
                self.1.apply(party, &weights, &mut gradient);
                Ok(vec![Shared::Words(gradient)])
            }
        }
        let weights: Vec<i64> = (0..gradient.len() as i64).map(|i| 100 * i - 513).collect();
        let words = |all: &[i64]| Shared::Words(all.iter().map(|x| W::from_i64(*x)).collect::<Vec<W>>());
        let got = play(&Apply(Clip { bound }, Coupled { units: 26 }), &[words(&gradient), words(&weights)], 9);
        for ((g, w), got) in gradient.iter().zip(&weights).zip(got.outputs[0].clone().words()) {
            assert_eq!(as_i64(got), (*g).clamp(-edge, edge) + 26 * w);
        }
    }
    run::<u32>();
    run::<u64>();
}

#[test]
fn periods_cover_schedule_cells_and_correction() {
    let adam = adam::<u64>();
    let period = |recipe: Recipe| recipe.period::<u64>();
    assert_eq!(period(Recipe::new(adam)), [0, 1]);
    assert_eq!(period(Recipe::new(Adam { refresh_every: 4, ..adam })), [16, 4]);
    assert_eq!(period(Recipe::new(AmsGrad(Adam { bias_correction: true, refresh_every: 3, ..adam }))), [8192, 3]);
    let warm = Schedule { warm_up: 100, decline: Decline::Constant };
    assert_eq!(period(Recipe { schedule: warm, ..Recipe::new(momentum::<u64>()) }), [100, 1]);
    let cosine = Schedule { warm_up: 0, decline: Decline::Cosine { steps: 9 } };
    assert_eq!(period(Recipe { schedule: cosine, ..Recipe::new(momentum::<u64>()) }), [u64::MAX, 1]);
}
