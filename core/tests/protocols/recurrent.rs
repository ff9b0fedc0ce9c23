//! Recurrent layers against floating point: alone, stacked, in both directions, and with a first
//! state; gradients are finite differences.

use crate::{
    harness::*,
    layers::{Network, Padded, chain, check, check_padded},
};
use symbolon_core::{
    correlation::Mask,
    function::{
        Numbers,
        method::{Function, Method, mapping::Mapping},
        scalar::Scalar,
    },
    layer::{
        AnyLayer, CellKind, Concat, Dense, Describe, Embedding, Flatten, Fraction, Graph, Model, Node, NodeState,
        Origin, Pass, Placement, Recurrent, Shape, Slice, States,
    },
    link::Error,
    party::Party,
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

/// The states of a row, in floating point. A step at `length` or behind it keeps the states.
pub fn reference(layer: &Recurrent, inputs: &[(&[f64], Shape)], length: usize, parameters: &[f64]) -> Vec<f64> {
    let ((x, shape), units) = (inputs[0], layer.units as usize);
    let [steps, features] = shape.image();
    let gates = match layer.cell {
        CellKind::Simple => 1,
        CellKind::Gru => 3,
        CellKind::Lstm => 4,
    };
    let (w, rest) = parameters.split_at(features * gates * units);
    let (u, biases) = rest.split_at(units * gates * units);
    let product = |x: &[f64], w: &[f64], g: usize, j: usize| -> f64 {
        x.iter().enumerate().map(|(i, x)| x * w[(i * gates + g) * units + j]).sum()
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut h, mut c) = (vec![0.0; units], vec![0.0; units]);
    if let Some((initial, _)) = inputs.get(1) {
        h.copy_from_slice(&initial[..units]);
        if let Some(memory) = initial.get(units..2 * units) {
            c.copy_from_slice(memory);
        }
    }
    let mut all = vec![0.0; steps * units];
    for i in 0..steps {
        let t = if layer.reverse { steps - 1 - i } else { i };
        let x = &x[t * features..][..features];
        let before = h.clone();
        for j in (0..units).filter(|_| t < length) {
            let a = |g: usize| product(x, w, g, j) + biases[g * units + j];
            let s = |g: usize| product(&before, u, g, j);
            match layer.cell {
                CellKind::Simple => h[j] = (a(0) + s(0)).tanh(),
                CellKind::Gru => {
                    let [r, z] = [0, 1].map(|g| sigmoid(a(g) + s(g)));
                    let n = (a(2) + r * (s(2) + biases[3 * units + j])).tanh();
                    h[j] = n + z * (before[j] - n);
                }
                CellKind::Lstm => {
                    let [i, f, o] = [0, 1, 3].map(|g| sigmoid(a(g) + s(g)));
                    c[j] = f * c[j] + i * (a(2) + s(2)).tanh();
                    h[j] = o * c[j].tanh();
                }
            }
        }
        all[t * units..][..units].copy_from_slice(&h);
    }
    match layer.states {
        States::Last => h,
        States::All => all,
        States::Carry if layer.cell == CellKind::Lstm => [h, c].concat(),
        States::Carry => h,
    }
}

const CELLS: [CellKind; 3] = [CellKind::Simple, CellKind::Gru, CellKind::Lstm];

fn precise(cell: CellKind, units: u32, ring_bits: u32) -> Recurrent {
    let mut layer = Recurrent::new(cell, units);
    for (function, interval) in [(&mut layer.sigmoid, [-8.0, 8.0]), (&mut layer.tanh, [-4.0, 4.0])] {
        // A mapping's slopes are constants.
        let mapping = Method::Mapping(Mapping { bits: 8, degree: 1, interval });
        function.method = if ring_bits == 64 { Method::Direct } else { mapping };
    }
    layer
}

/// Each cell alone, in both directions, stacked, side by side, and one that begins where another
/// ended.
fn networks(cell: CellKind, ring_bits: u32) -> Vec<(Vec<Node<AnyLayer>>, Shape)> {
    let (own, sequence) = (precise(cell, 3, ring_bits), Shape([1, 4, 2]));
    let any = AnyLayer::Recurrent;
    let reversed = |layer: Recurrent| Recurrent { reverse: true, ..layer };
    let all = |layer: Recurrent| Recurrent { states: States::All, ..layer };
    let dense = AnyLayer::Dense(Dense::new(2));
    let stacked = chain(&[any(all(reversed(own))), any(all(own)), any(own), dense]);
    let both = vec![
        Node::new(any(own), Origin::Data),
        Node::new(any(reversed(own)), Origin::Data),
        Node { second: Some(Origin::Node(1)), ..Node::new(AnyLayer::Concat(Concat::default()), Origin::Node(0)) },
        Node::new(dense, Origin::Node(2)),
    ];
    let join = AnyLayer::Concat(Concat { each_step: true });
    let mut all_steps = vec![
        Node::new(any(all(own)), Origin::Data),
        Node::new(any(all(reversed(Recurrent { units: 2, ..own }))), Origin::Data),
        Node { second: Some(Origin::Node(1)), ..Node::new(join, Origin::Node(0)) },
    ];
    all_steps.push(Node::new(any(own), Origin::Node(2)));
    let begun = Recurrent { initial_state: true, ..own };
    let encoded = vec![
        Node::new(any(Recurrent { states: States::Carry, ..reversed(own) }), Origin::Data),
        Node { second: Some(Origin::Node(0)), ..Node::new(any(begun), Origin::Data) },
    ];
    vec![
        (chain(&[any(own)]), Shape([1, 1, 2])),
        (chain(&[any(own), dense]), sequence),
        (chain(&[any(all(reversed(own))), AnyLayer::Flatten(Flatten {}), dense]), sequence),
        (stacked, sequence),
        (both, sequence),
        (all_steps, sequence),
        (encoded, sequence),
    ]
}

/// From a sequence to another: a vector for each code, and a prediction for each step.
fn translator(ring_bits: u32) -> (Vec<Node<AnyLayer>>, Shape) {
    let all = Recurrent { states: States::All, ..precise(CellKind::Gru, 3, ring_bits) };
    let embedding = AnyLayer::Embedding(Embedding { codes: 5, units: 2 });
    let dense = AnyLayer::Dense(Dense { units: 4, each_step: true });
    let (any, origin) = (AnyLayer::Recurrent, Origin::Node);
    let of_steps = |from, steps| AnyLayer::Slice(Slice { from, steps });
    // A sentence of two codes is read backwards; then three more codes are, each with a prediction.
    let read = Recurrent { states: States::Carry, reverse: true, ..all };
    let nodes = vec![
        Node::new(embedding, Origin::Data),
        Node::new(of_steps(0, 2), origin(0)),
        Node::new(of_steps(2, 3), origin(0)),
        Node::new(any(read), origin(1)),
        Node { second: Some(origin(3)), ..Node::new(any(Recurrent { initial_state: true, ..all }), origin(2)) },
        Node::new(dense, origin(4)),
    ];
    (nodes, Shape([1, 5, 1]))
}

#[test]
fn a_sequence_gives_another() {
    for salt in 0..3 {
        let (nodes, input) = translator(64);
        check::<u64>(&Network { nodes, input, frac_bits: 18, step: Some(0) }, 3, [300.0, 4000.0], salt);
        let (nodes, input) = translator(32);
        check::<u32>(&Network { nodes, input, frac_bits: 9, step: Some(0) }, 2, [40.0, 200.0], salt);
    }
}

#[test]
fn recurrent_layers_equal_the_reference() {
    for (salt, cell) in (1u64..).zip(CELLS) {
        for (nodes, input) in networks(cell, 64) {
            let network = Network { nodes, input, frac_bits: 18, step: Some(0) };
            check::<u64>(&network, 1, [300.0, 2000.0], salt);
            check::<u64>(&network, 3, [300.0, 4000.0], salt);
        }
        for (nodes, input) in networks(cell, 32) {
            check::<u32>(&Network { nodes, input, frac_bits: 9, step: Some(0) }, 2, [40.0, 200.0], salt);
        }
    }
}

/// Every cell, direction and form of states over sequences of other lengths: outputs and gradients
/// are those of the masked formula, through layers before, behind and beside, and into an initial
/// state.
#[test]
fn padded_steps_keep_their_states() {
    for (salt, cell) in (1u64..).zip(CELLS) {
        for (nodes, input) in networks(cell, 64) {
            let network = Network { nodes, input, frac_bits: 18, step: Some(0) };
            let steps = u16::try_from(input.image()[0]).unwrap();
            let lengths = [3, 1, 4, 2].map(|length: u16| length.min(steps));
            check_padded::<u64>(&network, &lengths, [300.0, 4000.0], salt);
        }
        for (nodes, input) in networks(cell, 32) {
            let steps = u16::try_from(input.image()[0]).unwrap();
            let lengths = [1, 3].map(|length: u16| length.min(steps));
            check_padded::<u32>(&Network { nodes, input, frac_bits: 9, step: Some(0) }, &lengths, [40.0, 200.0], salt);
        }
    }
}

/// Behind a slice a sequence is shorter by the steps before it: lengths of 2 leave it empty.
#[test]
fn lengths_are_counted_from_the_first_step_of_a_slice() {
    for salt in 0..2 {
        let (nodes, input) = translator(64);
        let network = Network { nodes, input, frac_bits: 18, step: Some(0) };
        check_padded::<u64>(&network, &[5, 4, 3, 2, 1], [300.0, 4000.0], salt);
    }
    let slice = |from, steps| AnyLayer::Slice(Slice { from, steps });
    let nodes = chain(&[slice(1, 5), slice(2, 2), AnyLayer::Recurrent(Recurrent::new(CellKind::Gru, 1))]);
    let mut places = vec![Placement::default(); nodes.len()];
    let graph = Graph::new(&nodes, Shape([1, 6, 1]), 12, &mut places).unwrap();
    assert_eq!(graph.places.iter().map(|place| place.first_step).collect::<Vec<_>>(), [0, 1, 3]);
}

/// Outputs and gradients of a run with 18 fraction bits, in floating point.
fn decoded(outputs: &[Shared<u64>]) -> [Vec<f64>; 2] {
    let real = |word: u64, bits: i32| word.cast_signed() as f64 / 2f64.powi(bits);
    [(0, 18), (1, 36)].map(|(i, bits)| outputs[i].clone().words().into_iter().map(|w| real(w, bits)).collect())
}

/// Plays `layer` over 5 steps of which `length` count, and over `length` steps.
fn compare_lengths(layer: Recurrent, length: usize) {
    let (steps, units) = (5, layer.units as usize);
    let network = |steps: usize| Network {
        nodes: chain(&[AnyLayer::Recurrent(layer)]),
        input: Shape([1, steps as u32, 2]),
        frac_bits: 18,
        step: Some(0),
    };
    let encode = |v: &[f64]| Shared::Words(v.iter().map(|x| ((x * 2f64.powi(18)) as i64).cast_unsigned()).collect());
    let (mut values, long) = (Values(length as u64), network(steps));
    let mut real = |n: usize| -> Vec<f64> { (0..n).map(|_| (values.next() % 1001) as f64 / 1000.0 - 0.5).collect() };
    let (parameters, words) = long.graph(|graph| (graph.parameters(), graph.output().words()));
    let own = if layer.states == States::All { length * units } else { words };
    let (x, w, c) = (real(steps * 2), real(parameters), real(own));
    // Padded steps have no gradient.
    let inputs = [encode(&x), encode(&w), encode(&[&c[..], &vec![0.0; words - own]].concat())];
    let padded = play::<u64>(&Padded(&long, &[length as u16]), &inputs, 3);
    assert_eq!(padded.cost, play::<u64>(&long, &inputs, 3).cost, "lengths cost nothing");
    let short = play::<u64>(&network(length), &[encode(&x[..length * 2]), encode(&w), encode(&c)], 3);
    let (padded, short) = (decoded(&padded.outputs), decoded(&short.outputs));
    let pairs = padded[0][..own].iter().zip(&short[0]).chain(padded[1].iter().zip(&short[1]));
    for (got, want) in pairs {
        assert!((got - want).abs() < 2e-3, "{layer:?}: {got}, not {want}");
    }
    // Padded steps repeat the last state, or the initial one.
    let kept = if layer.reverse { vec![0.0; units] } else { padded[0][own - units..own].to_vec() };
    assert!(padded[0][own..].chunks_exact(units).all(|state| state == kept), "{layer:?}");
}

#[test]
fn a_padded_sequence_equals_the_shorter_one() {
    let mut lengths = (1..=5).cycle();
    for cell in CELLS {
        for reverse in [false, true] {
            for states in [States::Last, States::All, States::Carry] {
                compare_lengths(Recurrent { reverse, states, ..precise(cell, 3, 64) }, lengths.next().unwrap());
            }
        }
    }
}

/// A code that stands in padded steps alone has no gradient, not even a unit of it.
#[test]
fn padded_inputs_have_no_gradient() {
    let embedding = AnyLayer::Embedding(Embedding { codes: 4, units: 2 });
    for (cell, reverse) in CELLS.into_iter().flat_map(|cell| [(cell, false), (cell, true)]) {
        let layer = Recurrent { reverse, states: States::All, ..precise(cell, 3, 64) };
        let nodes = chain(&[embedding, AnyLayer::Recurrent(layer)]);
        let network = Network { nodes, input: Shape([1, 4, 1]), frac_bits: 12, step: Some(0) };
        let parameters = network.graph(|graph| graph.parameters());
        let codes = [1, 2, 0, 0, 3, 0, 0, 0].map(|code: u64| code << 12);
        let words = |n: usize| Shared::Words((0..n as u64).map(|i| i * 977 % 4001).collect());
        let inputs = [Shared::Words(codes.to_vec()), words(parameters), words(2 * 4 * 3)];
        let gradient = play::<u64>(&Padded(&network, &[2, 1]), &inputs, 1).outputs[1].clone().words();
        assert_eq!(gradient[..2], [0, 0], "{layer:?}");
        assert!(gradient[2..8].iter().all(|g| *g != 0), "{layer:?}");
    }
}

/// The outputs of a network without a training step.
struct Inference(Network);

impl Job for Inference {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [x, parameters] = &mut inputs[..] else { panic!("two inputs") };
        let mut places = vec![Placement::default(); self.0.nodes.len()];
        let graph = Graph::new(&self.0.nodes, self.0.input, self.0.frac_bits, &mut places).unwrap();
        let (mut open, mask) = (parameters.clone(), party.draw()?.mask(parameters.len()));
        let mask = mask_and_open(party, &mut open, mask)?;
        let model = Model { shares: parameters, open: Masked { words: &open, mask } };
        let right: Mask = party.draw()?.mask(x.len());
        let mask = mask_and_open(party, x, right)?.matrix(self.0.input.words());
        let rows = mask.rows.len();
        let pass = Pass { model, data: Masked { words: x, mask }, moment: None, met: &[], lengths: None };
        let mut states: Vec<NodeState<'_, W>> = Vec::new();
        states.resize_with(graph.nodes.len(), NodeState::default);
        let mut out = vec![W::default(); rows * graph.output().words()];
        graph.infer(party, &pass, &mut states, &mut out)?;
        Ok(vec![Shared::Words(out)])
    }
}

/// A function alone, with its slope or without.
struct Apply(Function, Numbers, bool);

impl Job for Apply {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let (mut out, mut slope) = (inputs[0].clone(), inputs[0].clone());
        self.0.apply(party, &self.1, (&inputs[0], &mut out), self.2.then_some(&mut slope))?;
        Ok(vec![Shared::Words(out)])
    }
}

fn zeros(n: usize) -> Shared<u64> {
    Shared::Words(vec![0; n])
}

const ROWS: usize = 16;
const UNITS: u32 = 4;
/// Words of a state of all rows: so many are packed without a rest.
const STATE: usize = ROWS * UNITS as usize;

/// Rounds and bytes each way of an inference, and of a training step, beside the openings of
/// records and parameters.
fn costs(layer: Recurrent, steps: u32) -> [[u64; 2]; 2] {
    let network = || Network {
        nodes: chain(&[AnyLayer::Recurrent(layer)]),
        input: Shape([1, steps, 2]),
        frac_bits: 12,
        step: Some(0),
    };
    let (parameters, records) = (network().graph(|graph| graph.parameters()), ROWS * 2 * steps as usize);
    let opened = [2, 8 * (parameters + records) as u64];
    let inference = play::<u64>(&Inference(network()), &[zeros(records), zeros(parameters)], 3).cost;
    let training = play::<u64>(&network(), &[zeros(records), zeros(parameters), zeros(STATE)], 3).cost;
    [inference, training].map(|cost| [cost.rounds - opened[0], cost.bytes - opened[1]])
}

/// Rounds and bytes each way of the functions of a step: the sigmoid of some gates at once, and
/// the tanh some times.
fn of_functions(layer: &Recurrent, [gates, tanhs]: [usize; 2], slope: bool) -> [u64; 2] {
    let numbers = Numbers { ring_bits: 64, frac_bits: 12 };
    let cost = |function, n: usize| match n {
        0 => [0; 2],
        _ => {
            let cost = play::<u64>(&Apply(function, numbers, slope), &[zeros(n * STATE)], 1).cost;
            [cost.rounds, cost.bytes]
        }
    };
    let ([s, t], times) = ([cost(layer.sigmoid, gates), cost(layer.tanh, 1)], tanhs as u64);
    [s[0] + times * t[0], s[1] + times * t[1]]
}

/// Bytes of opened and of truncated words of a state, with 12 fraction bits.
fn bytes([opened, truncated]: [u64; 2]) -> u64 {
    STATE as u64 * (64 * opened + 52 * truncated) / 8
}

#[test]
fn costs_are_those_of_the_formula() {
    let cells = [
        (CellKind::Simple, [0, 1], [2, 1, 4], [[1, 1], [3, 2]]),
        (CellKind::Gru, [2, 1], [6, 5, 4], [[5, 5], [13, 10]]),
        (CellKind::Lstm, [3, 2], [6, 3, 6], [[7, 6], [16, 12]]),
    ];
    for (cell, functions, [own, at_once, each], [forward, backward]) in cells {
        let layer = Recurrent::new(cell, UNITS);
        for steps in [1, 2, 5] {
            let ([inference, training], t) = (costs(layer, steps), u64::from(steps));
            let [plain, with_slopes] = [false, true].map(|slope| of_functions(&layer, functions, slope));
            assert_eq!(inference, [t * (own + plain[0]), t * (bytes(forward) + plain[1])], "{cell:?}");
            // Step 0 passes no gradient on.
            let rounds = t * (own + with_slopes[0]) + at_once + each * t - 1;
            let sent = t * (bytes(forward) + with_slopes[1] + bytes(backward)) - bytes([0, 1]);
            assert_eq!(training, [rounds, sent], "{cell:?}");
            let clipped = Recurrent { clip_gradient: Fraction::nearest(0.25), ..layer };
            let clamps = if cell == CellKind::Lstm { 2 } else { 1 };
            assert_eq!(costs(clipped, steps)[1][0] - rounds, 4 * clamps * t, "{cell:?}");
        }
    }
}

#[test]
fn an_embedding_takes_two_rounds() {
    let nodes = chain(&[AnyLayer::Embedding(Embedding { codes: 5, units: 2 })]);
    let network = Network { nodes, input: Shape([1, 16, 1]), frac_bits: 12, step: None };
    let (codes, parameters) = (4 * 16, 5 * 2);
    let cost = play::<u64>(&Inference(network), &[zeros(codes), zeros(parameters)], 3).cost;
    assert_eq!(cost.rounds, 2 + 2);
    // Records and parameters are opened; then 3 bits of each code, and its one-hot row.
    assert_eq!(cost.bytes, (8 * (codes + parameters) + codes * 3 / 8 + 8 * codes * 5) as u64);
}

#[test]
fn default_functions_are_near() {
    let (layer, numbers) = (Recurrent::new(CellKind::Gru, 1), Numbers { ring_bits: 64, frac_bits: 12 });
    for (function, most) in [(layer.sigmoid, 0.0013), (layer.tanh, 0.0025)] {
        for x in (-12_000..=12_000).map(|x| f64::from(x) / 1000.0) {
            let (got, want) = (function.ideal(&numbers, x), function.scalar.value(x));
            assert!((got - want).abs() <= most, "{x}: {got} for {want}");
        }
    }
}

/// The gradient of a state is held to the limit at each step.
#[test]
fn a_limit_holds_the_gradient_of_each_state() {
    let limit = Fraction::nearest(0.25).unwrap();
    let layer = Recurrent { clip_gradient: Some(limit), ..precise(CellKind::Simple, 1, 64) };
    let network =
        Network { nodes: chain(&[AnyLayer::Recurrent(layer)]), input: Shape([1, 2, 1]), frac_bits: 16, step: Some(0) };
    let encode = |v: &[f64]| Shared::Words(v.iter().map(|x| ((x * 65536.0).round() as i64).cast_unsigned()).collect());
    let (w, u, x) = (0.5, 3.0, [0.25, -0.5]);
    let got = play::<u64>(&network, &[encode(&x), encode(&[w, u, 0.0]), encode(&[7.0])], 5);
    let first = (w * x[0]).tanh();
    let second = (w * x[1] + u * first).tanh();
    // 7 becomes 1/4, and so does what is left of it after the step back.
    let d2 = 0.25 * (1.0 - second * second);
    let d1 = (d2 * u).clamp(-0.25, 0.25) * (1.0 - first * first);
    let want = [d1 * x[0] + d2 * x[1], d2 * first, d1 + d2];
    let gradient: Vec<f64> =
        got.outputs[1].clone().words().into_iter().map(|g| as_i64(g) as f64 / 2f64.powi(32)).collect();
    for (got, want) in gradient.iter().zip(want) {
        assert!((got - want).abs() < 1e-3, "{gradient:?} {want}");
    }
    assert!(d2 * u > 0.25);
}

#[test]
fn descriptions_are_encoded_and_checked() {
    for cell in CELLS {
        let layer = AnyLayer::Recurrent(Recurrent { reverse: true, ..Recurrent::new(cell, 7) });
        let mut buffer = [0; 128];
        let bytes = postcard::to_slice(&layer, &mut buffer).unwrap();
        assert_eq!(postcard::from_bytes::<AnyLayer>(bytes).unwrap(), layer);
        assert!(!layer.onnx().is_empty());
    }
    let layer = Recurrent { initial_state: true, ..Recurrent::new(CellKind::Lstm, 4) };
    let (sequence, state) = (Shape([1, 5, 3]), Shape::vector(8));
    assert_eq!(layer.output(&[sequence, state]), Ok(Shape::vector(4)));
    assert!(layer.output(&[sequence, Shape::vector(4)]).unwrap_err().to_string().contains("first state of 8 words"));
    assert!(layer.output(&[state, state]).unwrap_err().to_string().contains("[1, steps, features]"));
    let none = Recurrent { units: 0, ..layer };
    assert!(none.output(&[sequence, state]).unwrap_err().to_string().contains("units = 0"));
}
