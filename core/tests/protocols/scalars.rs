//! Functions of one number by every method: their errors over their whole domains.

use crate::harness::*;
use symbolon_core::{
    function::{
        Numbers,
        method::{
            Function, Method,
            limit::Limit,
            polynomial::{Fit, Polynomial},
            segments::Segments,
        },
        scalar::{AnyScalar, Exponential, Family, Power, Scalar, Sigmoid, Tanh},
    },
    link::Error,
    party::Party,
    word::Word,
};

struct Apply {
    function: Function,
    numbers: Numbers,
    slope: bool,
}

impl Job for Apply {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let x = inputs.remove(0);
        let (mut out, mut slope) = (vec![W::default(); x.len()], vec![W::default(); x.len()]);
        let wanted = self.slope.then_some(&mut slope[..]);
        self.function.apply(party, &self.numbers, (&x, &mut out), wanted)?;
        Ok(if self.slope { vec![Shared::Words(out), Shared::Words(slope)] } else { vec![Shared::Words(out)] })
    }
}

/// Values in units over a domain and far beyond.
fn values(function: &Function, numbers: &Numbers) -> Vec<i64> {
    let one = f64::from(1u32 << numbers.frac_bits);
    let edge = 1i64 << (numbers.ring_bits - 3);
    let octaves = numbers.octaves();
    let [low, high] = function.domain(numbers).map(|x| (x * one).round() as i64);
    let [low, high] = [low.max(-edge / 2), high.min(edge / 2)];
    let span = high - low;
    let step = (span / 20_000).max(1);
    let mut all: Vec<i64> = (0..=span / step + 1).map(|i| low - step / 2 + i * step).collect();
    let mut values = Values(5);
    all.extend((0..5000).map(|_| 1 + ((values.next() as i64 & ((1 << octaves) - 1)) >> (values.next() % u64::from(octaves)))));
    all.extend(-40..40);
    all.extend([low, high].into_iter().flat_map(|x| {
        let times = |by: i64| x.saturating_mul(by);
        [x - 1, x, x + 1, times(10), times(-10), times(1000), times(-1000)]
    }));
    all.extend([edge - 1, -edge]);
    let most = if function.scalar.family() == Family::Turns { 32 << numbers.frac_bits } else { edge };
    all.retain(|x| (-most..most).contains(x));
    all
}

fn sweep<W: Word>(function: Function, frac_bits: u32) {
    let numbers = Numbers { ring_bits: W::BITS, frac_bits };
    let name = format!("{:19} k {} f {frac_bits:2} {:?}", function.scalar.name(), W::BITS, function.method);
    if let Err(misfit) = function.check(&numbers) {
        println!("rounds {name}: {misfit}");
        return;
    }
    let job = Apply { function, numbers, slope: false };
    let x = values(&function, &numbers);
    let one = f64::from(1u32 << frac_bits);
    let y = clear::<W>(&job, x.iter().map(|x| W::from_i64(*x)).collect());
    let (mut units, mut relative, mut at) = (0f64, 0f64, [0.0; 2]);
    for (x, y) in x.iter().zip(y) {
        let x = *x as f64 / one;
        let expected = function.ideal(&numbers, x);
        let error = (as_i64(y) as f64 - expected * one).abs();
        if expected.abs() <= 1.0 && error > units {
            (units, at[0]) = (error, x);
        }
        if expected.abs() > 1.0 && error / expected.abs() > relative {
            (relative, at[1]) = (error / expected.abs(), x);
        }
    }
    let words: Vec<W> = x.iter().rev().take(640).map(|x| W::from_i64(*x)).collect();
    let with_slope = Apply { slope: true, ..job };
    play(&with_slope, &[Shared::Words(words.clone())], 4);
    let cost = play(&job, &[Shared::Words(words)], 3).cost;
    println!(
        "{name:110}: {units:6.2} units at {:.4}, 2^{:.1} at {:.4}; {} rounds {:.1} bytes {:.0} dealt",
        at[0],
        (relative / one).log2(),
        at[1],
        cost.rounds,
        cost.bytes as f64 / 640.0,
        cost.dealt_bytes as f64 / 640.0
    );
}

fn all(function: impl Fn(&Numbers) -> Function) {
    [8, 11, 13].into_iter().for_each(|frac_bits| sweep::<u32>(function(&Numbers { ring_bits: 32, frac_bits }), frac_bits));
    [8, 12, 16, 20, 24].into_iter().for_each(|frac_bits| sweep::<u64>(function(&Numbers { ring_bits: 64, frac_bits }), frac_bits));
}

#[test]
fn defaults() {
    for scalar in AnyScalar::all() {
        all(|numbers| Function::suited(scalar, numbers));
    }
}

#[test]
fn direct() {
    for scalar in AnyScalar::all() {
        let function = Function { scalar, method: Method::Direct };
        if function.check(&Numbers { ring_bits: 64, frac_bits: 12 }).is_ok() {
            all(|_| function);
        }
    }
    all(|_| Function { scalar: AnyScalar::Power(Power { exponent: 3 }), method: Method::Direct });
}

#[test]
fn literature() {
    let (sigmoid, tanh, exponential) = (AnyScalar::Sigmoid(Sigmoid {}), AnyScalar::Tanh(Tanh {}), AnyScalar::Exponential(Exponential {}));
    for fit in [Fit::Taylor, Fit::Interpolation, Fit::LeastSquares, Fit::Minimax] {
        for degree in [3, 5, 7] {
            let polynomial = Polynomial { degree, fit, interval: [-5.0, 5.0], raw: false, zero_below: false };
            all(|_| Function { scalar: sigmoid, method: Method::Polynomial(polynomial) });
        }
    }
    for (degree, low) in [(2, -1.0), (4, -1.596)] {
        let polynomial = Polynomial { degree, fit: Fit::Taylor, interval: [low, 0.0], raw: false, zero_below: true };
        all(|_| Function { scalar: exponential, method: Method::Polynomial(polynomial) });
    }
    for (scalar, parts) in [(sigmoid, 3), (sigmoid, 5), (tanh, 3), (exponential, 4), (exponential, 7)] {
        let segments = Segments::named(&scalar, parts).unwrap();
        all(|_| Function { scalar, method: Method::Segments(segments) });
    }
    all(|_| Function { scalar: exponential, method: Method::Limit(Limit { squarings: 3 }) });
}
