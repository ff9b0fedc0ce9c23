//! Every layer in a small network, forward and backward: secure equals clear bit for bit, and both
//! equal a reference in floating point, whose gradients are finite differences.

use crate::harness::*;
use symbolon_core::{
    correlation::{Mask, View},
    function::{
        self,
        method::{
            Function, Method,
            mapping::Mapping,
            polynomial::{Fit, Polynomial},
        },
        scalar::{Absolute, AnyScalar, Sigmoid, Softplus, Tanh},
    },
    layer::{
        Activation, Add, AnyLayer, AveragePool, Backward, BatchNorm, Concat, Convolution, Dense, Describe, Dropout,
        Flatten, Fraction, GlobalAveragePool, Graph, LeakyRelu, MASKS, MaxPool, Meeting, Met, Model, Moment, Node,
        NodeState, Origin, Pass, Placement, Relu, Saved, Shape, Size, Square, Tensor, Upsample,
    },
    link::Error,
    party::Party,
    prg::{ChaCha20Prg, Seed},
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

/// The passes of a network on one lane: outputs, and the gradient of all parameters for a given
/// gradient of the outputs.
pub struct Network {
    pub nodes: Vec<Node<AnyLayer>>,
    pub input: Shape,
    pub frac_bits: u32,
    /// The training step; `None` for none, in which dropouts pass all on.
    pub step: Option<u32>,
}

impl Network {
    pub fn graph<T>(&self, f: impl FnOnce(&Graph<'_, AnyLayer>) -> T) -> T {
        let mut places = vec![Placement::default(); self.nodes.len()];
        f(&Graph::new(&self.nodes, self.input, self.frac_bits, &mut places).unwrap())
    }
}

/// Opens `words` under a fresh mask.
fn open<'a, W: Word>(party: &mut Party<'_, W>, words: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
    let mask = party.draw()?.mask(words.len());
    let mask = mask_and_open(party, words, mask)?;
    Ok(Masked { words, mask })
}

impl Job for Network {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        self.passes(party, inputs, None)
    }
}

/// A network over sequences of these lengths. A dry run, as a plan's, has no lengths.
pub struct Padded<'a>(pub &'a Network, pub &'a [u16]);

impl Job for Padded<'_> {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        self.0.passes(party, inputs, Some(self.1).filter(|_| size_of::<W>() > 0))
    }
}

impl Network {
    fn passes<W: Word>(
        &self,
        party: &mut Party<'_, W>,
        mut inputs: Vec<Vec<W>>,
        lengths: Option<&[u16]>,
    ) -> Result<Vec<Shared<W>>, Error> {
        let [x, parameters, dz] = &mut inputs[..] else { panic!("three inputs") };
        let mut places = vec![Placement::default(); self.nodes.len()];
        let graph = Graph::new(&self.nodes, self.input, self.frac_bits, &mut places).unwrap();
        let rows = x.len() / self.input.words();
        let mut copy = parameters.clone();
        let open_parameters = open(party, &mut copy)?;
        let data = open(party, x)?;
        let data = Masked { mask: data.mask.matrix(self.input.words()), ..data };
        let stream = ChaCha20Prg::new(&Seed::from_bytes(&[7; 32]), &[0; 16]);
        let moment = self.step.map(|step| Moment { stream: &stream, step, row: 0 });
        let pass = Pass { model: Model { shares: parameters, open: open_parameters }, data, moment, met: &[], lengths };
        let zeros = |n: usize| vec![W::default(); n];
        let kept: Vec<_> = graph.places.iter().map(|p| [rows * p.output.words(); 2].map(zeros)).collect();
        let mut kept = kept;
        let mut saved: Vec<_> = (0..graph.nodes.len()).map(|i| zeros(graph.saved_words(i, &pass, rows))).collect();
        let mut states = Vec::new();
        for ((place, [value, gradient]), saved) in graph.places.iter().zip(&mut kept).zip(&mut saved) {
            let mut state = NodeState { saved: Saved { words: saved, masks: [None; 2] }, ..NodeState::default() };
            if place.is_opened {
                let mask = party.draw()?.mask(value.len());
                state.value = Tensor::kept(value, mask);
            }
            if place.parameters > 0 {
                let mask = party.draw()?.mask(gradient.len());
                state.gradient = Tensor::kept(gradient, mask);
            }
            states.push(state);
        }
        let (mut slab, mut gradients) = (zeros(graph.slab_words(rows)), zeros(graph.gradient_words(rows)));
        let nodes = 0..graph.nodes.len();
        let mut meetings = Meetings::new(&graph, &pass);
        let mut at = 0;
        for i in meetings.nodes(&graph).chain([graph.nodes.len()]) {
            graph.forward(party, &Pass { met: &meetings.met(), ..pass }, at..i, &mut slab, &mut states)?;
            if i < graph.nodes.len() {
                let mut sums = meetings.sums(i);
                graph.sums(party, &pass, (i, rows), &mut slab, &mut states, &mut sums)?;
                meetings.meet(party, &graph, &pass, (i, rows), &mut sums)?;
            }
            at = i;
        }
        let z = slab[graph.output_words(rows)].to_vec();
        gradients[graph.output_gradient(rows)].copy_from_slice(dz);
        graph.begin_backward(&mut states);
        let mut end = graph.nodes.len();
        for i in meetings.nodes(&graph).collect::<Vec<_>>().into_iter().rev() {
            graph.backward(party, &Pass { met: &meetings.met(), ..pass }, i + 1..end, &mut gradients, &mut states)?;
            let mut sums = meetings.sums(i);
            graph.backward_sums(party, &pass, i, &mut gradients, &mut states, &mut sums)?;
            meetings.meet_backward(party, &graph, &pass, (i, rows), &mut sums)?;
            end = i + 1;
        }
        graph.backward(party, &Pass { met: &meetings.met(), ..pass }, 0..end, &mut gradients, &mut states)?;
        let met = meetings.met();
        let pass = Pass { met: &met, ..pass };
        let mut gradient = zeros(graph.parameters());
        for i in nodes.filter(|i| graph.places[*i].parameters > 0) {
            let place = &graph.places[i];
            let [_, dz] = states[i].opened(place.output.words());
            let x = match graph.nodes[i].input {
                Origin::Data => data,
                Origin::Node(j) => states[usize::from(j)].opened(place.inputs[0].words())[0].unwrap_or(data),
            };
            let (site, part) = (graph.site(i, &pass), 0..place.parameters);
            graph.nodes[i].layer.gradient(
                party,
                &site,
                part,
                x,
                dz,
                states[i].saved.kept(),
                &mut gradient[place.range()],
            )?;
        }
        let statistics = meetings.statistics.clone();
        Ok(vec![Shared::Words(z), Shared::Words(gradient), Shared::Words(statistics)])
    }
}

/// The meetings of a network's nodes, on one lane.
struct Meetings<W> {
    words: Vec<Vec<W>>,
    rights: Vec<[Mask; MASKS]>,
    masks: Vec<[View<'static>; MASKS]>,
    lens: Vec<[usize; MASKS]>,
    sums: Vec<usize>,
    statistics: Vec<W>,
}

impl<W: Word> Meetings<W> {
    fn new(graph: &Graph<'_, AnyLayer>, pass: &Pass<'_, W>) -> Self {
        let lens = |i: usize| graph.nodes[i].layer.meets().map(|meets| meets.lens(&graph.site(i, pass)));
        let lens: Vec<_> = (0..graph.nodes.len()).map(lens).collect();
        let view = Mask::empty().view();
        Self {
            words: lens.iter().map(|lens| vec![W::default(); lens.map_or(0, |lens| lens.words)]).collect(),
            rights: lens.iter().map(|_| [(); MASKS].map(|()| Mask::empty())).collect(),
            masks: vec![[view; MASKS]; lens.len()],
            lens: lens.iter().map(|lens| lens.map_or([0; MASKS], |lens| lens.masks)).collect(),
            sums: lens.iter().map(|lens| lens.map_or(0, |lens| lens.sums)).collect(),
            statistics: vec![W::default(); graph.statistics()],
        }
    }
    fn nodes(&self, graph: &Graph<'_, AnyLayer>) -> impl Iterator<Item = usize> + use<W> {
        let count = graph.nodes.len();
        let meets: Vec<_> = (0..count).filter(|i| self.sums[*i] > 0).collect();
        meets.into_iter()
    }
    fn met(&self) -> Vec<Met<'_, W>> {
        self.words.iter().zip(&self.masks).map(|(words, masks)| Met { words, masks, is_folded: false }).collect()
    }
    fn sums(&self, i: usize) -> Vec<W> {
        vec![W::default(); self.sums[i]]
    }
    fn meet(
        &mut self,
        party: &mut Party<'_, W>,
        graph: &Graph<'_, AnyLayer>,
        pass: &Pass<'_, W>,
        (i, rows): (usize, usize),
        sums: &mut [W],
    ) -> Result<(), Error> {
        let mut draw = party.draw()?;
        self.rights[i] = self.lens[i].map(|words| draw.mask(words));
        self.masks[i] = self.rights[i].each_ref().map(Mask::view);
        let mut met = Meeting { words: &mut self.words[i], rights: &mut self.rights[i], masks: &self.masks[i] };
        let statistics = &mut self.statistics[graph.places[i].statistics_range()];
        let meets = Backward::<W>::meets(&graph.nodes[i].layer).unwrap();
        meets.meet(party, &graph.site(i, pass), rows, sums, statistics, &mut met)
    }
    fn meet_backward(
        &mut self,
        party: &mut Party<'_, W>,
        graph: &Graph<'_, AnyLayer>,
        pass: &Pass<'_, W>,
        (i, rows): (usize, usize),
        sums: &mut [W],
    ) -> Result<(), Error> {
        let mut met = Meeting { words: &mut self.words[i], rights: &mut self.rights[i], masks: &self.masks[i] };
        let meets = Backward::<W>::meets(&graph.nodes[i].layer).unwrap();
        meets.meet_backward(party, &graph.site(i, pass), rows, sums, &mut met)
    }
}

/// Batch normalisation of all rows, in floating point.
fn normalised(norm: &BatchNorm, x: &[f64], shape: Shape, parameters: &[f64]) -> Vec<f64> {
    let (channels, words) = (shape.channels(), shape.words());
    let (places, rows) = (words / channels, x.len() / words);
    let mut z = vec![0.0; x.len()];
    for c in 0..channels {
        let all: Vec<usize> = (0..rows).flat_map(|r| (0..places).map(move |p| r * words + c * places + p)).collect();
        let count = all.len() as f64;
        let mean = all.iter().map(|i| x[*i]).sum::<f64>() / count;
        let variance = all.iter().map(|i| (x[*i] - mean).powi(2)).sum::<f64>() / count;
        let root = (variance + f64::from(norm.epsilon_log2).exp2()).sqrt().recip();
        all.iter().for_each(|i| z[*i] = parameters[c] * root * (x[*i] - mean) + parameters[channels + c]);
    }
    z
}

/// The output of a layer for one row, in floating point; `length` steps of a sequence count.
fn reference(
    layer: &AnyLayer,
    (inputs, length): (&[(&[f64], Shape)], usize),
    output: Shape,
    parameters: &[f64],
) -> Vec<f64> {
    let (x, shape) = inputs[0];
    let windows = |window: Size, stride: Size| (window.0.map(usize::from), stride.0.map(usize::from));
    // Reduces the elements of each window in each channel.
    let pooled = |(window, stride): ([usize; 2], [usize; 2]), reduce: &dyn Fn(&[f64]) -> f64| {
        let ([height, width], [down, across]) = (shape.image(), output.image());
        let mut z = Vec::new();
        for (c, y, q) in
            (0..shape.channels()).flat_map(|c| (0..down * across).map(move |p| (c, p / across, p % across)))
        {
            let elements: Vec<f64> = (0..window[0] * window[1])
                .map(|e| (y * stride[0] + e / window[1], q * stride[1] + e % window[1]))
                .map(|(row, column)| x[(c * height + row) * width + column])
                .collect();
            z.push(reduce(&elements));
        }
        z
    };
    let mean = |elements: &[f64]| elements.iter().sum::<f64>() / elements.len() as f64;
    match layer {
        AnyLayer::Dense(dense) => {
            let units = dense.units as usize;
            let inputs = if dense.each_step { shape.image()[1] } else { x.len() };
            let sum =
                |x: &[f64], u: usize| x.iter().enumerate().map(|(i, x)| x * parameters[i * units + u]).sum::<f64>();
            let step = |x: &[f64]| (0..units).map(|u| sum(x, u) + parameters[inputs * units + u]).collect::<Vec<_>>();
            x.chunks_exact(inputs).flat_map(step).collect()
        }
        AnyLayer::Convolution(conv) => convolution(conv, (x, shape), output, parameters),
        AnyLayer::Relu(_) => x.iter().map(|x| x.max(0.0)).collect(),
        AnyLayer::Activation(activation) => {
            let numbers = function::Numbers { ring_bits: 64, frac_bits: 18 };
            x.iter().map(|x| activation.function.ideal(&numbers, *x)).collect()
        }
        AnyLayer::Embedding(layer) => {
            let units = layer.units as usize;
            x.iter().flat_map(|code| parameters[*code as usize * units..][..units].to_vec()).collect()
        }
        AnyLayer::Slice(slice) => {
            let features = shape.image()[1];
            x[slice.from as usize * features..][..slice.steps as usize * features].to_vec()
        }
        AnyLayer::Recurrent(layer) => crate::recurrent::reference(layer, inputs, length, parameters),
        AnyLayer::LeakyRelu(leaky) => x.iter().map(|x| x.max(leaky.slope.value() * x)).collect(),
        AnyLayer::Square(_) => x.iter().map(|x| x * x).collect(),
        AnyLayer::BatchNorm(_) => unreachable!("it takes all rows"),
        AnyLayer::Flatten(_) | AnyLayer::Dropout(_) => x.to_vec(),
        AnyLayer::Add(_) => x.iter().zip(inputs[1].0).map(|(a, b)| a + b).collect(),
        AnyLayer::Concat(Concat { each_step: true }) => {
            let [own, others] = [shape, inputs[1].1].map(|shape| shape.image()[1]);
            x.chunks_exact(own).zip(inputs[1].0.chunks_exact(others)).flat_map(|(a, b)| [a, b].concat()).collect()
        }
        AnyLayer::Concat(_) => [x, inputs[1].0].concat(),
        AnyLayer::AveragePool(pool) => pooled(windows(pool.window, pool.stride.unwrap_or(pool.window)), &mean),
        AnyLayer::Upsample(upsample) => {
            let ([height, width], [down, across]) = (shape.image(), upsample.factor.0.map(usize::from));
            let place = |i: usize| {
                let (row, column) = (i / (width * across) % (height * down), i % (width * across));
                (i / (width * across) / (height * down) * height + row / down) * width + column / across
            };
            (0..output.words()).map(|i| x[place(i)]).collect()
        }
        AnyLayer::GlobalAveragePool(_) => pooled((shape.image(), [1; 2]), &mean),
        AnyLayer::MaxPool(pool) => {
            let floor = if pool.relu { 0.0 } else { f64::NEG_INFINITY };
            let most = |elements: &[f64]| elements.iter().copied().fold(floor, f64::max);
            pooled(windows(pool.window, pool.stride.unwrap_or(pool.window)), &most)
        }
    }
}

fn convolution(conv: &Convolution, (x, shape): (&[f64], Shape), output: Shape, parameters: &[f64]) -> Vec<f64> {
    let ([height, width], [down, across]) = (shape.image(), output.image());
    let [kernel, stride, padding] = [conv.kernel, conv.stride, conv.padding].map(|size| size.0.map(usize::from));
    let (filters, groups) = (conv.filters as usize, conv.groups as usize);
    let (channels, area) = (shape.channels() / groups, kernel[0] * kernel[1]);
    let bias = &parameters[filters * channels * area..];
    let mut z = Vec::new();
    for (f, p) in (0..filters).flat_map(|f| (0..down * across).map(move |p| (f, p))) {
        let mut sum = bias[f];
        for (c, e) in (0..channels).flat_map(|c| (0..area).map(move |e| (c, e))) {
            let row = (p / across * stride[0] + e / kernel[1]).checked_sub(padding[0]).filter(|row| *row < height);
            let column = (p % across * stride[1] + e % kernel[1]).checked_sub(padding[1]).filter(|c| *c < width);
            let (Some(row), Some(column)) = (row, column) else { continue };
            let channel = f / (filters / groups) * channels + c;
            sum += parameters[(f * channels + c) * area + e] * x[(channel * height + row) * width + column];
        }
        z.push(sum);
    }
    z
}

/// Outputs of a network for all rows, in floating point; without `lengths`, all steps count.
fn outputs(graph: &Graph<'_, AnyLayer>, (x, lengths): (&[f64], &[u16]), parameters: &[f64]) -> Vec<f64> {
    let mut values: Vec<Vec<f64>> = Vec::new();
    for (node, place) in graph.nodes.iter().zip(graph.places) {
        let value = |origin| match origin {
            Origin::Data => x,
            Origin::Node(j) => &values[usize::from(j)][..],
        };
        let parameters = &parameters[place.range()];
        if let AnyLayer::BatchNorm(norm) = &node.layer {
            values.push(normalised(norm, value(node.input), place.output, parameters));
            continue;
        }
        let rows = (0..x.len() / graph.input.words()).flat_map(|row| {
            let of_row =
                |(origin, shape): (Origin, Shape)| (&value(origin)[row * shape.words()..][..shape.words()], shape);
            let inputs: Vec<(&[f64], Shape)> = node.origins().zip(place.inputs).map(of_row).collect();
            let length = lengths.get(row).map_or(usize::MAX, |length| usize::from(*length));
            let length = length.saturating_sub(place.first_step as usize);
            reference(&node.layer, (&inputs, length), place.output, parameters)
        });
        let rows = rows.collect();
        values.push(rows);
    }
    values.pop().unwrap()
}

/// Holds a network to the reference: `tolerance` in units of `2^-f`, of outputs and of gradients.
pub fn check<W: Word>(network: &Network, rows: usize, tolerance: [f64; 2], salt: u64) {
    check_job::<W>(network, (network, &[]), rows, tolerance, salt);
}

/// Holds a network over sequences of these lengths to the reference, as [`check`].
pub fn check_padded<W: Word>(network: &Network, lengths: &[u16], tolerance: [f64; 2], salt: u64) {
    check_job::<W>(&Padded(network, lengths), (network, lengths), lengths.len(), tolerance, salt);
}

fn check_job<W: Word>(
    job: &impl Job,
    (network, lengths): (&Network, &[u16]),
    rows: usize,
    tolerance: [f64; 2],
    salt: u64,
) {
    let (mut values, unit) = (Values(salt), f64::from(1u32 << network.frac_bits));
    let mut real = |n: usize, limit: f64| -> Vec<f64> {
        // Multiples of the unit, so that nothing is lost before the network.
        (0..n)
            .map(|_| ((values.next() % 2001) as f64 / 1000.0 - 1.0) * limit)
            .map(|x| (x * unit).round() / unit)
            .collect()
    };
    let (parameters, output) = network.graph(|graph| (graph.parameters(), graph.output().words()));
    let mut x = real(rows * network.input.words(), 1.0);
    if let AnyLayer::Embedding(layer) = &network.nodes[0].layer {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = ((i * 5 + salt as usize) % layer.codes as usize) as f64);
    }
    let (w, c) = (real(parameters, 0.7), real(rows * output, 1.0));
    let encode = |v: &[f64], f: u32| {
        Shared::Words(v.iter().map(|x| W::from_i64((x * f64::from(1u32 << f)).round() as i64)).collect())
    };
    let f = network.frac_bits;
    let got = play::<W>(job, &[encode(&x, f), encode(&w, f), encode(&c, f)], salt);
    network.graph(|graph| {
        let decode = |words: &Shared<W>, bits: u32| -> Vec<f64> {
            words.clone().words().into_iter().map(|w| as_i64(w) as f64 / (f64::from(bits)).exp2()).collect()
        };
        let z = decode(&got.outputs[0], graph.output_frac_bits());
        for (i, (z, want)) in z.iter().zip(outputs(graph, (&x, lengths), &w)).enumerate() {
            assert!((z - want).abs() <= tolerance[0] / unit, "output {i} is {z}, not {want}: {:?}", network.nodes);
        }
        let loss = |w: &[f64]| outputs(graph, (&x, lengths), w).iter().zip(&c).map(|(z, c)| z * c).sum::<f64>();
        let gradient = decode(&got.outputs[1], 2 * f);
        assert_eq!(gradient.len(), w.len());
        let step = 1e-5;
        for (i, got) in gradient.iter().enumerate() {
            let at = |by: f64| {
                let mut w = w.clone();
                w[i] += by;
                loss(&w)
            };
            let want = (at(step) - at(-step)) / (2.0 * step);
            assert!(
                (got - want).abs() <= tolerance[1] / unit,
                "gradient {i} is {got}, not {want}: {:?}",
                network.nodes
            );
        }
    });
}

fn size(side: u16) -> Size {
    Size([side; 2])
}

fn conv(filters: u32, side: u16) -> Convolution {
    Convolution { filters, kernel: size(side), stride: Size::ONE, padding: Size::ZERO, groups: 1 }
}

/// A function by a method that both rings have room for.
fn activation(scalar: &AnyScalar, method: &str) -> AnyLayer {
    let method = match method {
        "direct" => Method::Direct,
        "mapping" => Method::Mapping(Mapping { bits: 8, degree: 1, interval: [-4.0, 4.0] }),
        _ => Method::Polynomial(Polynomial {
            degree: 4,
            fit: Fit::Interpolation,
            interval: [-4.0, 4.0],
            raw: false,
            zero_below: false,
        }),
    };
    AnyLayer::Activation(Activation { function: Function { scalar: *scalar, method } })
}

/// A chain of layers.
pub fn chain(layers: &[AnyLayer]) -> Vec<Node<AnyLayer>> {
    let origin = |i: usize| i.checked_sub(1).map_or(Origin::Data, |i| Origin::Node(i as u16));
    layers.iter().enumerate().map(|(i, layer)| Node::new(*layer, origin(i))).collect()
}

/// Networks that have every layer, in images of odd sizes, with each layer behind one that has
/// parameters, so that its backward pass matters.
fn networks() -> Vec<(Vec<Node<AnyLayer>>, Shape)> {
    let (dense, flatten) = (|units| AnyLayer::Dense(Dense::new(units)), AnyLayer::Flatten(Flatten {}));
    let (relu, image) = (AnyLayer::Relu(Relu {}), Shape([2, 7, 5]));
    let strided =
        Convolution { stride: Size([2, 1]), padding: Size([1, 2]), kernel: Size([3, 5]), groups: 2, ..conv(4, 3) };
    let depthwise = Convolution { groups: 4, padding: size(1), ..conv(4, 3) };
    let leaky = AnyLayer::LeakyRelu(LeakyRelu { slope: Fraction::nearest(0.125).unwrap() });
    let pool = |window, stride, relu| AnyLayer::MaxPool(MaxPool { window, stride, relu });
    let average = |window| AnyLayer::AveragePool(AveragePool { window, stride: None });
    let first = AnyLayer::Convolution(conv(3, 3)); // 3 by 5 by 3
    let mut all = vec![
        (chain(&[dense(5), relu, dense(3)]), Shape::vector(6)),
        (chain(&[dense(5), leaky, dense(1)]), Shape::vector(6)),
        (chain(&[dense(4), AnyLayer::Square(Square {}), dense(2)]), Shape::vector(3)),
        (chain(&[dense(5), activation(&AnyScalar::Tanh(Tanh {}), "direct"), dense(2)]), Shape::vector(6)),
        (chain(&[first, activation(&AnyScalar::Sigmoid(Sigmoid {}), "mapping"), flatten, dense(2)]), image),
        (chain(&[dense(5), activation(&AnyScalar::Softplus(Softplus {}), "polynomial"), dense(2)]), Shape::vector(6)),
        (chain(&[dense(5), activation(&AnyScalar::Absolute(Absolute {}), "direct"), dense(2)]), Shape::vector(6)),
        (chain(&[AnyLayer::Convolution(strided), AnyLayer::Convolution(depthwise), flatten]), image),
        (chain(&[first, average(size(2)), relu, flatten, dense(2)]), image),
        (chain(&[first, average(Size([3, 1])), flatten, dense(2)]), image),
        (chain(&[first, relu, AnyLayer::GlobalAveragePool(GlobalAveragePool {}), dense(2)]), image),
        (chain(&[first, AnyLayer::Upsample(Upsample { factor: Size([2, 3]) }), relu, flatten, dense(2)]), image),
        (chain(&[first, pool(size(2), None, true), flatten, dense(2)]), image),
        (chain(&[first, pool(Size([3, 2]), Some(Size([2, 1])), false), flatten, dense(2)]), image),
        (chain(&[first, pool(Size([1, 2]), None, false), flatten, dense(2)]), image),
    ];
    // A residual block: the input of two convolutions is added to their output; and a
    // concatenation.
    let padded = AnyLayer::Convolution(Convolution { padding: size(1), ..conv(3, 3) });
    let mut nodes = chain(&[first, relu, padded, relu, padded]);
    let join = |layer, a, b| Node { second: Some(Origin::Node(b)), ..Node::new(layer, Origin::Node(a)) };
    nodes.push(join(AnyLayer::Add(Add {}), 4, 1));
    nodes.push(join(AnyLayer::Concat(Concat::default()), 5, 2));
    nodes.push(Node::new(flatten, Origin::Node(6)));
    nodes.push(Node::new(dense(2), Origin::Node(7)));
    all.push((nodes, image));
    all
}

#[test]
fn layers_equal_the_reference_in_64_bits() {
    for (salt, (nodes, input)) in (1u64..).zip(networks()) {
        for rows in [1, 3] {
            check::<u64>(
                &Network { nodes: nodes.clone(), input, frac_bits: 18, step: Some(0) },
                rows,
                [600.0, 2500.0],
                salt,
            );
        }
    }
}

/// Networks with batch normalisation: of images, of vectors, of the records themselves, twice.
fn normalised_networks() -> Vec<(Vec<Node<AnyLayer>>, Shape)> {
    let (dense, flatten) = (|units| AnyLayer::Dense(Dense::new(units)), AnyLayer::Flatten(Flatten {}));
    let norm =
        AnyLayer::BatchNorm(BatchNorm { epsilon_log2: -6, momentum: Fraction::nearest(0.25).unwrap(), guard_bits: 8 });
    let (relu, first, image) = (AnyLayer::Relu(Relu {}), AnyLayer::Convolution(conv(3, 3)), Shape([2, 7, 5]));
    vec![
        (chain(&[first, norm]), image),
        (chain(&[first, norm, relu, flatten, dense(2)]), image),
        (chain(&[norm, AnyLayer::Convolution(conv(2, 2)), norm, relu, flatten, dense(2)]), image),
        (chain(&[dense(4), norm, dense(2)]), Shape::vector(6)),
    ]
}

/// The root is within 2.2 %, so outputs around the bias and gradients are; each further
/// normalisation takes its own off again.
#[test]
fn batch_norm_equals_the_reference() {
    for (salt, (nodes, input)) in (1u64..).zip(normalised_networks()) {
        for rows in [4, 5, 8] {
            let network = Network { nodes: nodes.clone(), input, frac_bits: 18, step: Some(0) };
            check::<u64>(&network, rows, [18e3, 200e3], salt);
            let network = Network { frac_bits: 9, ..network };
            check::<u32>(&network, rows, [100.0, 900.0], salt);
        }
    }
}

#[test]
fn layers_equal_the_reference_in_32_bits() {
    for (salt, (nodes, input)) in (1u64..).zip(networks()) {
        check::<u32>(&Network { nodes, input, frac_bits: 9, step: Some(0) }, 2, [60.0, 300.0], salt);
    }
}

/// Elements fall away at the rate, the others are enlarged, and the gradient passes the same ones.
#[test]
fn dropout_drops_its_rate_of_values_and_gradients() {
    fn check<W: Word>() {
        const UNITS: usize = 4096;
        for (rate, step) in [(0.5, 0), (0.25, 1), (0.125, 70_000), (0.9, 3)] {
            let dropout = AnyLayer::Dropout(Dropout { rate: Fraction::nearest(rate).unwrap() });
            let nodes = chain(&[AnyLayer::Dense(Dense::new(UNITS as u32)), dropout]);
            let network = Network { nodes, input: Shape::vector(1), frac_bits: 6, step: Some(step) };
            let ones = |n: usize| Shared::Words(vec![W::from_u64(1 << 6); n]);
            // The input is 0 and each bias 1.
            let parameters = Shared::Words([vec![W::default(); UNITS], vec![W::from_u64(1 << 6); UNITS]].concat());
            let got = play::<W>(&network, &[Shared::Words(vec![W::default()]), parameters, ones(UNITS)], step.into());
            let bits = network.graph(|graph| graph.output_frac_bits());
            let reals = |words: &[W], bits: u32| -> Vec<f64> {
                words.iter().map(|word| as_i64(*word) as f64 / f64::from(bits).exp2()).collect()
            };
            let z = reals(&got.outputs[0].clone().words(), bits);
            let gradient = reals(&got.outputs[1].clone().words()[UNITS..], 12);
            let dropped = z.iter().filter(|z| **z == 0.0).count() as f64;
            let deviation = (UNITS as f64 * rate * (1.0 - rate)).sqrt();
            assert!((dropped - UNITS as f64 * rate).abs() < 5.0 * deviation, "{dropped} at {rate}");
            for (z, gradient) in z.iter().zip(&gradient) {
                let want = if *z == 0.0 { 0.0 } else { 1.0 / (1.0 - rate) };
                assert!((z - want).abs() < 0.05 * want + 1e-9, "{z} at {rate}");
                assert!((gradient - want).abs() < 0.05 * want + 1e-9, "{gradient} at {rate}");
            }
        }
    }
    check::<u32>();
    check::<u64>();
}

#[test]
fn a_description_is_encoded_by_its_number() {
    let layers = networks().into_iter().flat_map(|(nodes, _)| nodes).map(|node| node.layer);
    for layer in layers {
        let mut buffer = [0; 64];
        let bytes = postcard::to_slice(&layer, &mut buffer).unwrap();
        assert_eq!(bytes[0], layer.number());
        let (back, rest) = postcard::take_from_bytes::<AnyLayer>(bytes).unwrap();
        assert!(back == layer && rest.is_empty() && !layer.onnx().is_empty());
    }
    assert!(postcard::from_bytes::<AnyLayer>(&[255, 1]).is_err());
}
