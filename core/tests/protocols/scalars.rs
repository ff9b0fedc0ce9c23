//! Functions of one number by every method: their errors over their whole domains, beyond them and
//! at the extremes of the dither; secure equals clear; what they cost.

use crate::harness::*;
use symbolon_core::{
    function::{
        Numbers,
        method::{
            Function, Method,
            limit::Limit,
            mapping::Mapping,
            periodic::Periodic,
            polynomial::{Fit, Polynomial},
            segments::Segments,
        },
        scalar::{
            Absolute, AnyScalar, Cosine, Erf, Exponential, Gelu, InverseSquareRoot, Logarithm, Power, RangeReduction,
            Reciprocal, Scalar, Sigmoid, Sine, Softplus, SquareRoot, Tanh,
        },
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

/// Values in units: `count` over the domain, its ends, octaves, and far beyond.
fn values(function: &Function, numbers: &Numbers, count: i64) -> Vec<i64> {
    let one = f64::from(1u32 << numbers.frac_bits);
    let (edge, octaves) = (1i64 << (numbers.ring_bits - 3), numbers.octaves());
    let [low, high] = function.domain(numbers).map(|x| (x * one).round() as i64);
    let [low, high] = [low.max(-edge / 2), high.min(edge / 2)];
    let step = ((high - low) / count).max(1);
    let mut all: Vec<i64> = (0..=(high - low) / step + 1).map(|i| low - step / 2 + i * step).collect();
    let mut values = Values(5);
    let below = |values: &mut Values| values.next() as i64 & ((1 << octaves) - 1);
    all.extend((0..count / 2).map(|_| below(&mut values) >> (values.next() % u64::from(octaves))));
    all.extend(-20..20);
    // Below the domain, where values round up into it, and above.
    all.extend((0..40).flat_map(|i| [low - i * ((high - low) / 4096), high + i * ((high - low) / 4096)]));
    all.extend([low, high].into_iter().flat_map(|x| {
        let times = |by: i64| x.saturating_mul(by);
        [x - 1, x, x + 1, times(10), times(-10), times(1000), times(-1000)]
    }));
    all.extend([edge - 1, -edge]);
    let most = if function.scalar.range_reduction() == RangeReduction::Periodic { high } else { edge };
    all.retain(|x| (-most..most).contains(x));
    all
}

/// Holds results to the promise: the largest error of results up to 1, in units.
fn held<W: Word>(job: &Apply, x: &[i64], y: Vec<W>) -> f64 {
    let Apply { function, numbers, .. } = job;
    let (bound, one) = (function.bound(numbers), f64::from(1u32 << numbers.frac_bits));
    let mut units = 0f64;
    let is_raw = matches!(function.method, Method::Periodic(periodic) if periodic.raw);
    for (x, y) in x.iter().zip(y) {
        if is_raw && x.unsigned_abs() > 1 << 53 {
            continue; // double precision has no such argument, and the series goes on
        }
        let x = *x as f64 / one;
        // A polynomial that is cut off is cut off at a truncated value.
        let low = function.domain(numbers)[0];
        let is_cut = matches!(function.method, Method::Polynomial(polynomial) if polynomial.zero_below);
        if function.is_blurred(x) || is_cut && (x - low).abs() < 8.0 / one {
            continue;
        }
        let expected = function.ideal(numbers, x) * one;
        let error = (as_i64(y) as f64 - expected).abs();
        assert!(
            error <= bound.units + (bound.relative + f64::EPSILON) * expected.abs(),
            "{function:?} {numbers:?} at {x}: {error} units"
        );
        if expected.abs() <= one {
            units = units.max(error);
        }
    }
    units
}

/// Sweeps one function in one ring, under random dithers and both extremes.
fn sweep<W: Word>(function: Function, frac_bits: u32, count: i64) -> f64 {
    let job = Apply { function, numbers: Numbers { ring_bits: W::BITS, frac_bits }, slope: false };
    let x = values(&function, &job.numbers, count);
    let words = || x.iter().map(|x| W::from_i64(*x)).collect();
    let largest = held(&job, &x, clear::<W>(&job, words()));
    [0, 0xff].into_iter().fold(largest, |largest, byte| {
        largest.max(held(&job, &x, clear_under::<W>(&job, words(), [&Constant(byte), &Constant(0)])))
    })
}

/// Results up to 1 of default methods are within three units, of tanh within six.
fn sweep_all<W: Word>(frac_bits: u32, count: i64) {
    let numbers = Numbers { ring_bits: W::BITS, frac_bits };
    for function in Function::catalogue(&numbers) {
        let largest = sweep::<W>(function, frac_bits, count);
        let most = if matches!(function.scalar, AnyScalar::Tanh(_)) { 6.0 } else { 3.0 };
        let is_default = function == Function::by_default(function.scalar, &numbers);
        assert!(!is_default || largest <= most, "{function:?} {numbers:?}: {largest} units");
    }
}

#[test]
fn errors_are_what_is_promised() {
    [8, 11, 13].into_iter().for_each(|frac_bits| sweep_all::<u32>(frac_bits, 700));
    [8, 12, 20, 24].into_iter().for_each(|frac_bits| sweep_all::<u64>(frac_bits, 700));
}

/// Every argument where there are at most 2^20, every number of fraction bits.
#[test]
#[ignore = "a quarter of an hour and more: cargo test --release -p symbolon-core --test protocols -- --ignored"]
fn errors_are_what_is_promised_everywhere() {
    (8..=13).for_each(|frac_bits| sweep_all::<u32>(frac_bits, 1 << 20));
    (8..=24).for_each(|frac_bits| sweep_all::<u64>(frac_bits, 1 << 16));
}

/// Both results and slopes, at every edge; and the slopes are those of the function, or of the
/// polynomial or line in its place.
fn equal_everywhere<W: Word>(frac_bits: u32) {
    let numbers = Numbers { ring_bits: W::BITS, frac_bits };
    let one = f64::from(1u32 << frac_bits);
    for function in Function::catalogue(&numbers) {
        let job = Apply { function, numbers, slope: true };
        let x = values(&function, &numbers, 150);
        let got = play(&job, &[Shared::Words(x.iter().map(|x| W::from_i64(*x)).collect())], 4);
        let own = !matches!(function.method, Method::Polynomial(_) | Method::Segments(_) | Method::Limit(_));
        let [low, high] = function.domain(&numbers);
        for (x, slope) in x.iter().zip(got.outputs[1].clone().words()).filter(|_| own) {
            let x = *x as f64 / one;
            let exact = function.scalar.derivative(x);
            // Where the slope changes by no more than itself from one argument to the next.
            if x <= low.max(8.0 / one) || x >= high * 0.9 || exact.abs() > 16.0 {
                continue;
            }
            let error = (as_i64(slope) as f64 / one - exact).abs();
            assert!(error < 0.1 + 0.15 * exact.abs(), "{function:?} at {x}: slope off by {error}");
        }
    }
}

#[test]
fn secure_equals_clear_with_slopes() {
    equal_everywhere::<u32>(11);
    equal_everywhere::<u64>(16);
}

fn cost<W: Word>(scalar: AnyScalar, method: Option<Method>, frac_bits: u32) -> Cost {
    let numbers = Numbers { ring_bits: W::BITS, frac_bits };
    let function = method.map_or(Function::by_default(scalar, &numbers), |method| Function { scalar, method });
    play(&Apply { function, numbers, slope: false }, &[Shared::Words(vec![W::default(); 640])], 3).cost
}

/// Slopes of the direct protocols of functions of `e^-|x|` and `e^(-x^2)`: all over the interval.
#[test]
fn direct_slopes_are_derivatives() {
    fn near<W: Word>(scalar: AnyScalar, frac_bits: u32) {
        let numbers = Numbers { ring_bits: W::BITS, frac_bits };
        let one = f64::from(1u32 << frac_bits);
        let x: Vec<i64> = (-600..=600).map(|i| i * (1 << frac_bits) / 100 + i % 7).collect();
        let job = Apply { function: Function { scalar, method: Method::Direct }, numbers, slope: true };
        let got = play(&job, &[Shared::Words(x.iter().map(|x| W::from_i64(*x)).collect())], 4);
        let most = if W::BITS == 32 { 12.0 } else { 6.0 };
        for (x, slope) in x.iter().zip(got.outputs[1].clone().words()) {
            let x = *x as f64 / one;
            let error = as_i64(slope) as f64 - scalar.derivative(x) * one;
            // Public factors have 12 fraction bits.
            assert!(error.abs() < most + one / 4096.0, "{scalar:?} {frac_bits} at {x}: slope off by {error} units");
        }
    }
    let scalars = [AnyScalar::Erf(Erf {}), AnyScalar::Gelu(Gelu {}), AnyScalar::Softplus(Softplus {})];
    for scalar in scalars.into_iter().chain([AnyScalar::Sigmoid(Sigmoid {}), AnyScalar::Tanh(Tanh {})]) {
        (8..=13).for_each(|frac_bits| near::<u32>(scalar, frac_bits));
        (8..=24).for_each(|frac_bits| near::<u64>(scalar, frac_bits));
    }
}

/// Rounds and bytes each way, at most.
#[test]
fn costs_are_bounded() {
    let exponential = AnyScalar::Exponential(Exponential {});
    let (sigmoid, tanh) = (AnyScalar::Sigmoid(Sigmoid {}), AnyScalar::Tanh(Tanh {}));
    let (reciprocal, root) = (AnyScalar::Reciprocal(Reciprocal {}), AnyScalar::InverseSquareRoot(InverseSquareRoot {}));
    for frac_bits in 11..=13 {
        for scalar in [exponential, sigmoid, tanh, reciprocal, root] {
            let Cost { rounds, bytes, .. } = cost::<u32>(scalar, None, frac_bits);
            assert!(rounds <= 10 && bytes <= 640 * 40, "{scalar:?}: {rounds} rounds, {} bytes", bytes / 640);
        }
    }
    for scalar in [reciprocal, root, exponential, sigmoid, tanh] {
        let Cost { rounds, bytes, .. } = cost::<u64>(scalar, Some(Method::Direct), 20);
        assert!(rounds <= 24 && bytes <= 640 * 160, "{scalar:?}: {rounds} rounds, {} bytes", bytes / 640);
    }
    for scalar in [AnyScalar::Sine(Sine {}), AnyScalar::Cosine(Cosine {})] {
        assert!(cost::<u64>(scalar, None, 20).rounds <= 6);
    }
}

/// The rounds that the methods' documentation states.
#[test]
fn rounds_are_those_of_the_documentation() {
    let direct = |scalar, frac_bits| cost::<u64>(scalar, Some(Method::Direct), frac_bits).rounds;
    let narrow = |scalar| cost::<u32>(scalar, Some(Method::Direct), 11).rounds;
    let exponential = AnyScalar::Exponential(Exponential {});
    let (sigmoid, tanh) = (AnyScalar::Sigmoid(Sigmoid {}), AnyScalar::Tanh(Tanh {}));
    let (reciprocal, root) = (AnyScalar::Reciprocal(Reciprocal {}), AnyScalar::InverseSquareRoot(InverseSquareRoot {}));
    // Newton's steps, degrees of the exponential, the logarithm, softplus and the normal
    // distribution's tail, by fraction bits.
    let degrees = [(12, 2, 5, 2, 5, 6), (16, 2, 6, 3, 6, 8), (20, 2, 7, 3, 7, 8), (24, 2, 8, 3, 8, 11)];
    for (frac_bits, steps, degree, logarithm, softplus, tail) in degrees {
        assert_eq!(direct(AnyScalar::Softplus(Softplus {}), frac_bits), 10 + degree + softplus);
        assert_eq!(direct(AnyScalar::Erf(Erf {}), frac_bits), 8 + tail);
        assert_eq!(direct(AnyScalar::Gelu(Gelu {}), frac_bits), 9 + tail);
        assert_eq!(direct(reciprocal, frac_bits), 9 + 2 * (steps + u64::from(frac_bits > 20)));
        assert_eq!(direct(root, frac_bits), 9 + 3 * steps);
        assert_eq!(direct(AnyScalar::SquareRoot(SquareRoot {}), frac_bits), 9 + 3 * steps + 1);
        assert_eq!(direct(AnyScalar::Logarithm(Logarithm {}), frac_bits), 11 + logarithm);
        assert_eq!(direct(exponential, frac_bits), 9 + degree);
        assert_eq!([direct(sigmoid, frac_bits), direct(tanh, frac_bits)], [12 + degree + 2 * steps; 2]);
        assert_eq!(direct(AnyScalar::Power(Power { exponent: 3 }), frac_bits), 4 + 3);
        assert_eq!(direct(AnyScalar::Absolute(Absolute {}), frac_bits), 4);
    }
    assert_eq!([narrow(reciprocal), narrow(root), narrow(exponential), narrow(sigmoid)], [13, 12, 13, 18]);
    let by = |scalar, method| cost::<u64>(scalar, Some(method), 12).rounds;
    for degree in 1..=4 {
        // A mapping's two rounds, a mask, a truncation a degree.
        let mapping = |interval| Method::Mapping(Mapping { bits: 8, degree, interval });
        assert_eq!(by(AnyScalar::Sine(Sine {}), mapping([0.0; 2])), 2 + 1 + u64::from(degree));
        // The leading one, the mantissa's cells, the weight.
        assert_eq!(by(reciprocal, mapping([0.0; 2])), 4 + 2 + 1 + u64::from(degree) + 1);
        let cut =
            |zero_below| Polynomial { degree, fit: Fit::Interpolation, interval: [-1.0, 0.0], raw: false, zero_below };
        let raw = Polynomial { raw: true, ..cut(false) };
        assert_eq!(by(exponential, Method::Polynomial(cut(false))), 4 + 1 + u64::from(degree));
        assert_eq!(by(exponential, Method::Polynomial(cut(true))), 4 + 1 + u64::from(degree) + 1);
        assert_eq!(by(exponential, Method::Polynomial(raw)), 1 + u64::from(degree));
        assert_eq!(by(exponential, Method::Limit(Limit { squarings: degree })), 4 + 1 + u64::from(degree));
    }
    assert_eq!(by(tanh, Method::Segments(Segments::named(&tanh, 3).unwrap())), 4 + 1);
    // A clamp, the opening of the phase, the truncation.
    assert_eq!([by(tanh, periodic(8, [-4.0, 4.0], false)), by(tanh, periodic(8, [-4.0, 4.0], true))], [4 + 2, 2]);
    assert_eq!(by(AnyScalar::Sine(Sine {}), periodic(1, Mapping::UNSET, false)), 2);
}

fn periodic(terms: u8, interval: [f64; 2], raw: bool) -> Method {
    Method::Periodic(Periodic { terms, interval, raw })
}

/// Bits each way and dealt of series without a clamp: a phase and a truncation; dealt sines, and a
/// truncation's bits.
#[test]
fn series_cost_what_is_documented() {
    let bits = |cost: Cost| [cost.rounds, cost.bytes * 8, cost.dealt_bytes * 8].map(|x| x as usize);
    let (sigmoid, sine) = (AnyScalar::Sigmoid(Sigmoid {}), AnyScalar::Sine(Sine {}));
    let series = Some(periodic(5, [-8.0, 8.0], true));
    let narrow = bits(cost::<u32>(sigmoid, series, 12));
    assert_eq!(narrow, [2, 640 * (17 + 14), 640 * (2 * 5 * 32 + 2 * (18 + 1))]);
    let wide = bits(cost::<u64>(sigmoid, series, 20));
    assert_eq!(wide, [2, 640 * (25 + 22), 640 * (2 * 5 * 52 + 2 * (42 + 1))]);
    let wave = Some(periodic(1, Mapping::UNSET, false));
    let narrow = bits(cost::<u32>(sine, wave, 12));
    assert_eq!(narrow, [2, 640 * (18 + 15), 640 * (2 * 32 + 2 * (17 + 1))]);
    let wide = bits(cost::<u64>(sine, wave, 20));
    assert_eq!(wide, [2, 640 * (26 + 23), 640 * (2 * 53 + 2 * (41 + 1))]);
}

/// The approximation of series, which their promise leaves out; and raw ones, which turn back
/// beyond the interval, where others stay.
#[test]
fn series_are_near_their_functions() {
    let (sigmoid, tanh, erf) = (AnyScalar::Sigmoid(Sigmoid {}), AnyScalar::Tanh(Tanh {}), AnyScalar::Erf(Erf {}));
    let numbers = Numbers { ring_bits: 64, frac_bits: 20 };
    for (scalar, terms, half, most) in [
        (sigmoid, 5, 8.0, 1.3e-3),
        (sigmoid, 8, 8.0, 9e-5),
        (tanh, 8, 4.0, 1.8e-4),
        (erf, 6, 4.0, 1.7e-4),
        (erf, 9, 4.0, 2e-7),
    ] {
        let [held, raw] = [false, true].map(|raw| Function { scalar, method: periodic(terms, [-half, half], raw) });
        for i in -1000..=1000 {
            let x = half * f64::from(i) / 1000.0;
            let error = (held.ideal(&numbers, x) - scalar.value(x)).abs();
            assert!(error < most, "{held:?} at {x}: {error}");
            assert!((raw.ideal(&numbers, 2.0 * half - x) - held.ideal(&numbers, x)).abs() < 1e-12);
        }
        assert_eq!(held.ideal(&numbers, 3.0 * half).to_bits(), held.ideal(&numbers, half).to_bits());
        assert_eq!([raw.check(&numbers), held.check(&numbers)], [Ok(()); 2]);
        sweep::<u64>(raw, 20, 300);
        sweep::<u32>(raw, 12, 300);
    }
    // The function's own interval, where a file has none.
    let resolved = Function { scalar: tanh, method: periodic(8, Mapping::UNSET, false) }.resolved(&numbers);
    assert_eq!(resolved.method, periodic(8, [-8.0, 8.0], false));
}

/// A power of every exponent, directly and by octaves.
#[test]
fn powers_are_what_is_promised() {
    for exponent in (-8..=8).filter(|exponent| *exponent != 0) {
        let scalar = AnyScalar::Power(Power { exponent });
        for frac_bits in [12, 16] {
            let numbers = Numbers { ring_bits: 64, frac_bits };
            let function = Function::by_default(scalar, &numbers);
            if function.check(&numbers).is_ok() {
                sweep::<u64>(function, frac_bits, 300);
            }
        }
    }
}

/// Functions and numbers that a ring has no room for are refused, and edges of those it has room
/// for keep their promise: coarse cells, constant polynomials, narrow knots.
#[test]
fn what_does_not_fit_is_refused() {
    let narrow = Numbers { ring_bits: 32, frac_bits: 12 };
    let exponential = AnyScalar::Exponential(Exponential {});
    let (sigmoid, power) = (AnyScalar::Sigmoid(Sigmoid {}), |exponent| AnyScalar::Power(Power { exponent }));
    let mapping = |bits, degree, interval| Method::Mapping(Mapping { bits, degree, interval });
    let polynomial = |degree, interval| {
        Method::Polynomial(Polynomial { degree, fit: Fit::Interpolation, interval, raw: false, zero_below: false })
    };
    for (scalar, method) in [
        (exponential, mapping(8, 0, [0.0, 16.0])),
        (exponential, polynomial(7, [-32.0, 4.0])),
        (sigmoid, polynomial(3, [f64::NAN, 1.0])),
        (sigmoid, mapping(6, 1, [f64::NEG_INFINITY, 8.0])),
        (power(-8), Method::Mapping(Mapping::of_octaves(&narrow))),
        (power(0), Method::Direct),
        (AnyScalar::Reciprocal(Reciprocal {}), mapping(2, 3, [0.0; 2])),
        (power(i8::MIN), Method::Direct),
        (sigmoid, Method::Segments(Segments::new(&[[0.0, 0.0], [1e-300, 1024.0], [1.0, 3.0]]).unwrap())),
        (sigmoid, Method::Segments(Segments { count: 9, knots: [[0.0; 2]; 8] })),
        (sigmoid, Method::Limit(Limit { squarings: 3 })),
        (sigmoid, periodic(0, [-8.0, 8.0], false)),
        (sigmoid, periodic(13, [-8.0, 8.0], false)),
        (sigmoid, periodic(5, [-8.0, 4.0], false)),
        (sigmoid, periodic(5, [-6.0, 6.0], false)),
        (sigmoid, periodic(5, [f64::NAN; 2], true)),
        (sigmoid, periodic(5, Mapping::UNSET, true)),
        (sigmoid, periodic(5, [-2048.0, 2048.0], false)),
        (exponential, periodic(5, [-8.0, 8.0], false)),
        (power(3), periodic(5, [-8.0, 8.0], true)),
        (AnyScalar::Sine(Sine {}), periodic(2, Mapping::UNSET, false)),
        (AnyScalar::Cosine(Cosine {}), periodic(1, [-8.0, 8.0], false)),
    ] {
        assert!(Function { scalar, method }.check(&narrow).is_err(), "{scalar:?} {method:?}");
    }
    let wide = Numbers { ring_bits: 64, frac_bits: 12 };
    for (scalar, method) in [
        (sigmoid, mapping(1, 3, [-8.0, 8.0])),
        (sigmoid, polynomial(3, [64.0, 128.0])),
        (power(2), mapping(6, 3, [-2.0, 2.0])),
        (AnyScalar::Erf(Erf {}), mapping(1, 4, [-4.0, 4.0])),
        (sigmoid, Method::Segments(Segments::new(&[[0.001, 0.0], [0.002, 0.5], [1.0, 1.0]]).unwrap())),
        (sigmoid, periodic(12, [-0.0625, 0.0625], false)),
        (sigmoid, periodic(1, [-1024.0, 1024.0], false)),
        (sigmoid, periodic(12, [-1.0, 1.0], true)),
    ] {
        let function = Function { scalar, method };
        assert_eq!(function.check(&wide), Ok(()), "{function:?}");
        sweep::<u64>(function, 12, 500);
    }
    for frac_bits in 4..=24 {
        for ring_bits in [32, 64] {
            let numbers = Numbers { ring_bits, frac_bits: if ring_bits == 32 { frac_bits.min(13) } else { frac_bits } };
            for scalar in AnyScalar::all().chain((-8..=8).map(power)) {
                // None panics, whatever it says.
                let _ = Function::by_default(scalar, &numbers).check(&numbers);
                let _ = Function { scalar, method: Method::Direct }.check(&numbers);
            }
        }
    }
}
