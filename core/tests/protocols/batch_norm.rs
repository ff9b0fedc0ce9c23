//! Batch normalisation against its formulas in floating point, with the root of the value's cell:
//! outputs, running statistics, gradients of its parameters and of those below.

use crate::{
    harness::*,
    layers::{Network, chain},
};
use symbolon_core::{
    layer::{AnyLayer, BatchNorm, Convolution, Describe, Fraction, Misfit, Numbers, Shape, Size},
    word::Word,
};

const NORM: BatchNorm = BatchNorm { epsilon_log2: -8, momentum: Fraction { factor: 1, shift: 2 }, guard_bits: 8 };

/// One channel of the batch, and what is below: `x = w y + b`, for the records `y`.
struct Channel {
    y: Vec<f64>,
    dz: Vec<f64>,
    w: f64,
    b: f64,
    gamma: f64,
    beta: f64,
}

/// The results: outputs, gradients of `w`, `b`, `γ`, `β`, mean and variance.
struct Results {
    z: Vec<f64>,
    gradients: [f64; 4],
    statistics: [f64; 2],
    /// The factor of an error of the mean in the gradient of `b`.
    bend: f64,
}

impl Channel {
    /// `off` is the place of the cell beside that of the exact variance.
    fn results(&self, off: f64) -> Results {
        let n = self.y.len() as f64;
        let x: Vec<f64> = self.y.iter().map(|y| self.w * y + self.b).collect();
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let epsilon = f64::from(NORM.epsilon_log2).exp2();
        let cell = (((variance + epsilon) / epsilon).log2() * 8.0).clamp(0.0, 127.5);
        let cell = (cell.floor() + off).clamp(0.0, 127.0);
        let r = (epsilon * ((cell + 0.5) / 8.0).exp2()).sqrt().recip();
        let s = self.gamma * r;
        let m = self.dz.iter().sum::<f64>();
        let a = x.iter().zip(&self.dz).map(|(x, dz)| (x - mean) * dz).sum::<f64>();
        let dx = |(x, dz): (&f64, &f64)| s * dz - s * m / n - s * r * r * a / n * (x - mean);
        let dx: Vec<f64> = x.iter().zip(&self.dz).map(dx).collect();
        let dw = dx.iter().zip(&self.y).map(|(dx, y)| dx * y).sum();
        Results {
            z: x.iter().map(|x| s * (x - mean) + self.beta).collect(),
            gradients: [dw, dx.iter().sum(), r * a, m],
            statistics: [mean / 4.0, variance / 4.0],
            bend: (s * r * r * a).abs(),
        }
    }
}

/// Checks `rows` rows of `shape` against the formulas; `deviations` scales the values of each
/// channel.
fn check<W: Word>(shape: Shape, rows: usize, frac_bits: u32, deviations: &[f64], salt: u64) {
    let (mut values, unit) = (Values(salt), f64::from(1u32 << frac_bits));
    let mut real = |limit: f64| {
        let x = ((values.next() % 20_001) as f64 / 10_000.0 - 1.0) * limit;
        (x * unit).round() / unit
    };
    let (channels, places) = (shape.channels(), shape.words() / shape.channels());
    let mut all: Vec<Channel> = Vec::new();
    for deviation in deviations {
        let y = (0..rows * places).map(|_| real(deviation * 1.7)).collect();
        let dz = (0..rows * places).map(|_| real(0.25)).collect();
        all.push(Channel { y, dz, w: 1.0 + real(0.25), b: real(2.0), gamma: 1.0 + real(0.5), beta: real(1.0) });
    }
    let words = |of: &dyn Fn(&Channel) -> &Vec<f64>| -> Vec<f64> {
        let row = |r: usize| all.iter().flat_map(move |c| of(c)[r * places..(r + 1) * places].to_vec());
        (0..rows).flat_map(row).collect()
    };
    let each = |of: &dyn Fn(&Channel) -> f64| all.iter().map(of).collect::<Vec<_>>();
    let parameters = [each(&|c| c.w), each(&|c| c.b), each(&|c| c.gamma), each(&|c| c.beta)].concat();
    let depthwise = Convolution {
        filters: channels as u32,
        kernel: Size::ONE,
        stride: Size::ONE,
        padding: Size::ZERO,
        groups: channels as u32,
    };
    let nodes = chain(&[AnyLayer::Convolution(depthwise), AnyLayer::BatchNorm(NORM)]);
    let network = Network { nodes, input: shape, frac_bits, step: Some(0) };
    let encode = |v: &[f64]| Shared::Words(v.iter().map(|x| W::from_i64((x * unit).round() as i64)).collect());
    let inputs = [encode(&words(&|c| &c.y)), encode(&parameters), encode(&words(&|c| &c.dz))];
    let got = play::<W>(&network, &inputs, salt);
    let decode = |i: usize, bits: u32| -> Vec<f64> {
        let words = got.outputs[i].clone().words();
        words.into_iter().map(|w| as_i64(w) as f64 / f64::from(bits).exp2()).collect()
    };
    let (z, gradient) = (decode(0, 2 * frac_bits + 4), decode(1, 2 * frac_bits));
    let statistics = [decode(2, frac_bits), decode(2, (frac_bits + 2).max(14).min(2 * frac_bits))];
    // A variance that is near another cell may be in it; then all results are.
    for (c, channel) in all.iter().enumerate() {
        let near = |got: f64, want: f64, units: f64, what: &str| {
            let far = (got - want).abs() > units / unit + want.abs() * 16.0 / unit;
            if far { Err(format!("{what} is {got}, not {want}")) } else { Ok(()) }
        };
        let n = (rows * places) as f64;
        let fits = |want: Results| -> Result<(), String> {
            for (i, want) in want.z.iter().enumerate() {
                near(z[i / places * channels * places + c * places + i % places], *want, 48.0, "an output")?;
            }
            // Of a gradient, half a unit of the slope of `dx` is multiplied by `x y`, and a unit of
            // the mean by the slope of all.
            let slope = channel.y.iter().map(|y| y * y).sum::<f64>() / 64.0 + want.bend;
            for (i, want) in want.gradients.iter().enumerate() {
                near(gradient[i * channels + c], *want, 16.0 + 4.0 * n.sqrt() + slope, ["dw", "db", "dγ", "dβ"][i])?;
            }
            near(statistics[0][c], want.statistics[0], 4.0, "the mean")?;
            near(statistics[1][channels + c], want.statistics[1], 4.0, "the variance")
        };
        let exact = fits(channel.results(0.0));
        assert!(
            exact.is_ok() || [-1.0, 1.0].into_iter().any(|off| fits(channel.results(off)).is_ok()),
            "channel {c}, {rows} rows of {shape:?}, {frac_bits} bits of {}: {exact:?}",
            W::BITS
        );
    }
}

#[test]
fn it_is_its_formula() {
    let deviations = [0.25, 0.5, 0.75, 1.0, 1.5];
    for (salt, (shape, rows)) in (1..).zip([
        (Shape([5, 4, 4]), 16),
        (Shape([5, 3, 7]), 5),
        (Shape([5, 1, 1]), 64),
        (Shape([5, 1, 1]), 2),
        (Shape([5, 11, 11]), 3),
        (Shape([5, 16, 16]), 40),
    ]) {
        check::<u64>(shape, rows, 16, &deviations, salt);
        check::<u64>(shape, rows, 12, &deviations, salt);
        check::<u32>(shape, rows, 10, &deviations, salt);
        check::<u32>(shape, rows, 8, &deviations, salt);
    }
}

/// A constant channel takes the root of `ε`, one of variance about 35 that of its own cell.
#[test]
fn constant_channels_take_the_root_of_epsilon() {
    check::<u64>(Shape([3, 4, 4]), 8, 14, &[0.0, 0.0, 6.0], 1);
    check::<u32>(Shape([3, 4, 4]), 8, 9, &[0.0, 0.0, 6.0], 2);
}

#[test]
fn numbers_that_have_no_room_are_refused() {
    let numbers = Numbers { ring_bits: 32, frac_bits: 10, batches: [16, 128] };
    let check = |norm: BatchNorm, shape, numbers| norm.check(shape, &numbers);
    assert_eq!(check(NORM, Shape([16, 32, 32]), numbers), Ok(()));
    let one = Numbers { batches: [1, 128], ..numbers };
    assert_eq!(check(NORM, Shape::vector(4), one), Err(Misfit::OneValue));
    assert_eq!(check(NORM, Shape([4, 1, 2]), one), Ok(()));
    let small = BatchNorm { epsilon_log2: -15, ..NORM };
    let power = Misfit::Power { key: "epsilon_log2", got: -15, min: -14, max: 0 };
    assert_eq!(check(small, Shape::vector(4), numbers), Err(power));
    let many = Numbers { batches: [1, 512], ..numbers };
    assert_eq!(check(NORM, Shape([1, 32, 32]), many), Err(Misfit::Values { got: 1 << 19, most: 1 << 18 }));
    assert_eq!(check(NORM, Shape([1, 32, 32]), Numbers { ring_bits: 64, ..many }), Ok(()));
    let large = Misfit::Values { got: 1 << 16, most: 1 << 15 };
    assert_eq!(check(NORM, Shape([1, 256, 256]), Numbers { batches: [2, 2], ..numbers }), Err(large));
    let with = |factor, shift| BatchNorm { momentum: Fraction { factor, shift }, ..NORM }.output(&[Shape::vector(1)]);
    assert!(with(205, 11).is_ok(), "0.1 is 26 / 256");
    for (factor, shift) in [(0, 0), (65535, 0), (1, 10), (2, 3), (255, 8)] {
        assert_eq!(with(factor, shift).is_ok(), (factor, shift) == (255, 8), "{factor} / 2^{shift}");
    }
}

/// Rounds of a depthwise convolution's passes, with a normalisation behind it or without.
fn rounds<W: Word>(normalises: bool, rows: usize, frac_bits: u32) -> u64 {
    let (input, channels) = (Shape([3, 4, 4]), 3);
    let size = [Size::ONE, Size::ONE, Size::ZERO];
    let [kernel, stride, padding] = size;
    let depthwise = AnyLayer::Convolution(Convolution { filters: 3, kernel, stride, padding, groups: 3 });
    let layers = [depthwise, AnyLayer::BatchNorm(NORM)];
    let nodes = chain(&layers[..1 + usize::from(normalises)]);
    let words = |n: usize| Shared::Words(vec![W::from_u64(1 << (frac_bits - 1)); n]);
    let parameters = words(2 * channels * (1 + usize::from(normalises)));
    let network = Network { nodes, input, frac_bits, step: Some(0) };
    let values = rows * input.words();
    play::<W>(&network, &[words(values), parameters, words(values)], 1).cost.rounds
}

/// Of an element, two truncations and two openings, a round each; of a channel, 13 and 6 at most,
/// and 2 more each if the number of values is no power of two.
#[test]
fn rounds_are_those_of_the_documentation() {
    for (rows, more) in [(8, 0), (5, 4)] {
        let added = |frac_bits| {
            let narrow = rounds::<u32>(true, rows, frac_bits) - rounds::<u32>(false, rows, frac_bits);
            let wide = rounds::<u64>(true, rows, frac_bits) - rounds::<u64>(false, rows, frac_bits);
            narrow.max(wide)
        };
        assert_eq!([8, 9, 10].map(added).into_iter().max(), Some(4 + 13 + 6 + more));
    }
}
