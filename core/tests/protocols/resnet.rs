//! ResNet-8, forward and backward, against floating point: `resnet8.txt`, which `resnet8.py` beside
//! it writes.

use crate::{harness::*, layers::Network};
use symbolon_core::layer::{
    Add, AnyLayer, BatchNorm, Convolution, Dense, Flatten, Fraction, GlobalAveragePool, Node, Origin, Relu, Shape, Size,
};

/// Fraction bits of values; the script's numbers are multiples of such a unit.
const FRAC_BITS: u32 = 16;
const ROWS: usize = 8;
const SIDE: u32 = 16;
const CLASSES: usize = 10;

/// The script's generator.
struct Reals(u64);

impl Reals {
    fn words(&mut self, count: usize, limit: f64, offset: f64) -> Vec<i64> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let real = ((self.0 >> 40) as f64 / f64::from(1 << 23) - 1.0) * limit;
            let unit = f64::from(1 << FRAC_BITS);
            ((real * unit).floor() + offset * unit) as i64
        };
        (0..count).map(|_| next()).collect()
    }
}

/// The network, and its parameters in their flat order.
#[derive(Default)]
struct ResNet {
    nodes: Vec<Node<AnyLayer>>,
    parameters: Vec<i64>,
}

impl ResNet {
    fn last(&self) -> Origin {
        self.nodes.len().checked_sub(1).map_or(Origin::Data, |i| Origin::Node(i as u16))
    }

    fn push(&mut self, layer: AnyLayer, input: Origin) -> Origin {
        self.nodes.push(Node::new(layer, input));
        self.last()
    }

    /// A convolution and its normalisation.
    fn filters(
        &mut self,
        reals: &mut Reals,
        [channels, filters]: [u32; 2],
        [side, stride]: [u16; 2],
        input: Origin,
    ) -> Origin {
        let layer = Convolution {
            filters,
            kernel: Size([side; 2]),
            stride: Size([stride; 2]),
            padding: Size([side / 2; 2]),
            groups: 1,
        };
        let fan = channels * u32::from(side * side);
        let (filters, weights) = (filters as usize, (filters * fan) as usize);
        self.parameters.extend(reals.words(weights, (6.0 / f64::from(fan)).sqrt(), 0.0));
        self.parameters.extend(reals.words(filters, 0.25, 0.0));
        let convolved = self.push(AnyLayer::Convolution(layer), input);
        self.parameters.extend(reals.words(filters, 0.5, 1.0));
        self.parameters.extend(reals.words(filters, 0.5, 0.0));
        let norm = BatchNorm { epsilon_log2: -8, momentum: Fraction { factor: 1, shift: 3 }, guard_bits: 8 };
        self.push(AnyLayer::BatchNorm(norm), convolved)
    }

    fn new(reals: &mut Reals) -> Self {
        let (mut net, relu) = (Self::default(), AnyLayer::Relu(Relu {}));
        let stem = net.filters(reals, [3, 16], [3, 1], Origin::Data);
        let mut value = net.push(relu, stem);
        for [channels, filters] in [[16, 16], [16, 32], [32, 64]] {
            let stride = if filters > channels { 2 } else { 1 };
            let first = net.filters(reals, [channels, filters], [3, stride], value);
            let first = net.push(relu, first);
            let body = net.filters(reals, [filters, filters], [3, 1], first);
            let shortcut = if stride > 1 { net.filters(reals, [channels, filters], [1, stride], value) } else { value };
            net.nodes.push(Node { second: Some(shortcut), ..Node::new(AnyLayer::Add(Add {}), body) });
            value = net.push(relu, net.last());
        }
        let pooled = net.push(AnyLayer::GlobalAveragePool(GlobalAveragePool {}), value);
        let flat = net.push(AnyLayer::Flatten(Flatten {}), pooled);
        net.push(AnyLayer::Dense(Dense::new(CLASSES as u32)), flat);
        net.parameters.extend(reals.words(64 * CLASSES, (6f64 / 74.0).sqrt(), 0.0));
        net.parameters.extend(reals.words(CLASSES, 0.25, 0.0));
        net
    }
}

#[test]
fn resnet_8_equals_floating_point() {
    let (mut reals, input) = (Reals(1), Shape([3, SIDE, SIDE]));
    let x = reals.words(ROWS * input.words(), 1.5, 0.0);
    let ResNet { nodes, parameters } = ResNet::new(&mut reals);
    let dz = reals.words(ROWS * CLASSES, 1.0, 0.0);
    let network = Network { nodes, input, frac_bits: FRAC_BITS, step: Some(0) };
    let words = |words: Vec<i64>| Shared::Words(words.into_iter().map(i64::cast_unsigned).collect());
    let got = play::<u64>(&network, &[words(x), words(parameters), words(dz)], 1);
    let decode = |i: usize| -> Vec<f64> {
        let words = got.outputs[i].clone().words();
        words.into_iter().map(|w| w.cast_signed() as f64 / f64::from(2 * FRAC_BITS).exp2()).collect()
    };
    let (z, gradient) = (decode(0), decode(1));
    let mut lines = include_str!("resnet8.txt").lines();
    let numbers = |text: &str| text.split(' ').map(|number| number.parse::<f64>().unwrap()).collect::<Vec<_>>();
    let outputs = numbers(lines.next().unwrap().strip_prefix("outputs ").unwrap());
    assert_eq!(z.len(), outputs.len());
    for (i, (got, want)) in z.iter().zip(&outputs).enumerate() {
        assert!((got - want).abs() < 0.005, "output {i} is {got}, not {want}");
    }
    let mut rest = &gradient[..];
    for (tensor, line) in lines.map(numbers).enumerate() {
        let [len, scale, some @ ..] = &line[..] else { panic!("a short line") };
        let own = rest.split_off(..*len as usize).unwrap();
        let root_mean_square = (own.iter().map(|g| g * g).sum::<f64>() / len).sqrt();
        assert!(
            (root_mean_square - scale).abs() < 0.01 * scale + 0.005,
            "tensor {tensor}: {root_mean_square}, {scale}"
        );
        for (i, (got, want)) in own.iter().step_by((own.len() / 8).max(1)).zip(some).enumerate() {
            assert!((got - want).abs() < 0.02 * scale + 0.01, "number {i} of tensor {tensor} is {got}, not {want}");
        }
    }
    assert!(rest.is_empty());
}
