//! Batch normalisation folded into the layer before: the same as after it, within roundings.

use crate::harness::*;
use symbolon_core::{
    correlation::Mask,
    layer::{
        Add, AnyLayer, Backward, BatchNorm, Convolution, Dense, Describe, Fraction, Graph, Meeting, Met, Model, Node,
        NodeState, Origin, Pass, Placement, Relu, Shape, Size,
    },
    link::Error,
    party::Party,
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};

const NORM: AnyLayer =
    AnyLayer::BatchNorm(BatchNorm { epsilon_log2: -8, momentum: Fraction { factor: 1, shift: 3 }, guard_bits: 8 });

/// A layer and its normalisation by running statistics, as they are and folded.
struct Folding {
    layer: AnyLayer,
    input: Shape,
    frac_bits: u32,
}

impl Folding {
    fn nodes(&self) -> [Node<AnyLayer>; 2] {
        [Node::new(self.layer, Origin::Data), Node::new(NORM, Origin::Node(0))]
    }
}

/// Opens `words` under a fresh mask.
fn open<'a, W: Word>(party: &mut Party<'_, W>, words: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
    let mask = party.draw()?.mask(words.len());
    let mask = mask_and_open(party, words, mask)?;
    Ok(Masked { words, mask })
}

impl Job for Folding {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let [x, shares, statistics] = &mut inputs[..] else { panic!("three inputs") };
        let (nodes, mut places) = (self.nodes(), [Placement::default(); 2]);
        let graph = Graph::new(&nodes, self.input, self.frac_bits, &mut places).unwrap();
        let mut copy = shares.clone();
        let model = Model { open: open(party, &mut copy)?, shares };
        let data = open(party, x)?;
        let data = Masked { mask: data.mask.matrix(self.input.words()), ..data };
        let pass = Pass { model, data, moment: None, met: &[], lengths: None };
        let norm = Backward::<W>::meets(&nodes[1].layer).unwrap();
        let lens = norm.lens(&graph.site(1, &pass));
        let (mut draw, mut words) = (party.draw()?, vec![W::default(); lens.words]);
        let mut rights = lens.masks.map(|words| draw.mask(words));
        let masks = rights.each_ref().map(Mask::view);
        let mut meeting = Meeting { words: &mut words, rights: &mut rights, masks: &masks };
        norm.settle(party, &graph.site(1, &pass), statistics, &mut meeting)?;
        let met = |is_folded| [Met::default(), Met { words: &words, masks: &masks, is_folded }];
        let rows = pass.rows();
        let infer = |party: &mut Party<'_, W>, pass: &Pass<'_, W>| {
            let mut out = vec![W::default(); rows * graph.output().words()];
            let mut states = [NodeState::default(), NodeState::default()];
            graph.infer(party, pass, &mut states, &mut out).map(|()| Shared::Words(out))
        };
        let unfolded = infer(party, &Pass { met: &met(false), ..pass })?;
        let (mut folded, mut tensors, mut at) = (shares.clone(), Vec::new(), 0);
        assert_eq!(graph.folds_into(1), Some(0));
        nodes[0].layer.parameters(self.input, &mut |tensor| tensors.push(tensor));
        for tensor in tensors {
            let ([rows, channels], range) = (tensor.rows_and_channels(), at..at + tensor.words());
            let mask = model.open.mask.slice(at, tensor.words()).matrix(tensor.words() / rows);
            let parameters = Masked { words: &model.open.words[range.clone()], mask };
            let met = met(false);
            let site = graph.site(1, &Pass { met: &met, ..pass });
            norm.fold(party, &site, 0..channels, parameters, &mut folded[range])?;
            at += tensor.words();
        }
        let mut copy = folded.clone();
        let folded = Model { open: open(party, &mut copy)?, shares: &folded };
        let folded = infer(party, &Pass { model: folded, met: &met(true), ..pass })?;
        Ok(vec![unfolded, folded])
    }
}

fn agree<W: Word>(layer: AnyLayer, input: Shape, frac_bits: u32, salt: u64) {
    let folding = Folding { layer, input, frac_bits };
    let (nodes, mut places) = (folding.nodes(), [Placement::default(); 2]);
    let graph = Graph::new(&nodes, input, frac_bits, &mut places).unwrap();
    let (own, channels) = (graph.places[0].parameters, graph.output().channels());
    let (mut values, unit) = (Values(salt), f64::from(frac_bits).exp2());
    let mut reals = |n: usize, least: f64, greatest: f64, unit: f64| -> Shared<W> {
        let real = |i: u64| least + (greatest - least) * (i % 1001) as f64 / 1000.0;
        Shared::Words((0..n).map(|_| W::from_i64((real(values.next()) * unit).round() as i64)).collect())
    };
    let words = |parts: [Shared<W>; 2]| Shared::Words(parts.into_iter().flat_map(Shared::words).collect());
    let mut extra = 0;
    nodes[1].layer.statistics(graph.places[1].inputs[0], frac_bits, &mut |tensor| extra = tensor.extra_bits);
    let x = reals(5 * input.words(), -1.0, 1.0, unit);
    let parameters = words([reals(own, -0.7, 0.7, unit), reals(2 * channels, 0.3, 1.5, unit)]);
    // Deviations from 1/4 to 3: scales from 6 down to a tenth.
    let variance = reals(channels, 0.06, 9.0, unit * f64::from(extra).exp2());
    let statistics = words([reals(channels, -1.0, 1.0, unit), variance]);
    let got = play::<W>(&folding, &[x, parameters, statistics], salt);
    // Parameters and data, settling, an element's truncation and opening; two tensors' truncation,
    // their opening, and nothing of an element.
    assert_eq!(got.cost.rounds, 2 + 8 + 2 + 2 + 1);
    let [unfolded, folded] = [0, 1].map(|i| got.outputs[i].clone().words());
    let result = f64::from(graph.output_frac_bits()).exp2();
    for (i, (unfolded, folded)) in unfolded.into_iter().zip(folded).enumerate() {
        let [unfolded, folded] = [unfolded, folded].map(|word| as_i64(word) as f64 / result);
        // The value before is rounded to units, which a scale of 6 multiplies; the parameters are
        // rounded to sixteenths.
        assert!((unfolded - folded).abs() < 10.0 / unit, "{i}: {folded}, not {unfolded}: {layer:?}");
    }
}

#[test]
fn folded_is_as_unfolded() {
    let size = |height, width| Size([height, width]);
    let convolution = |groups| {
        let filters = 4;
        AnyLayer::Convolution(Convolution {
            filters,
            kernel: size(3, 3),
            stride: size(1, 2),
            padding: size(1, 1),
            groups,
        })
    };
    for salt in 0..4 {
        agree::<u64>(AnyLayer::Dense(Dense::new(5)), Shape::vector(7), 16, salt);
        agree::<u32>(AnyLayer::Dense(Dense::new(5)), Shape::vector(7), 9, salt);
        agree::<u64>(convolution(1), Shape([2, 4, 5]), 16, salt);
        agree::<u32>(convolution(2), Shape([2, 4, 5]), 9, salt);
    }
}

/// Into a layer whose output another one reads, or that has no parameters, nothing is folded.
#[test]
fn what_is_read_twice_is_not_folded() {
    let dense = Node::new(AnyLayer::Dense(Dense::new(3)), Origin::Data);
    let norm = Node::new(NORM, Origin::Node(0));
    let add = Node { second: Some(Origin::Node(1)), ..Node::new(AnyLayer::Add(Add {}), Origin::Node(0)) };
    let target = |nodes: &[Node<AnyLayer>], i| {
        let mut places = vec![Placement::default(); nodes.len()];
        Graph::new(nodes, Shape::vector(3), 10, &mut places).unwrap().folds_into(i)
    };
    assert_eq!(target(&[dense, norm], 1), Some(0));
    assert_eq!(target(&[dense, norm, add], 1), None);
    assert_eq!(target(&[Node::new(AnyLayer::Relu(Relu {}), Origin::Data), norm], 1), None);
    assert_eq!(target(&[Node::new(NORM, Origin::Data)], 0), None);
    let tied = Node { tied: Some(0), ..Node::new(dense.layer, Origin::Node(1)) };
    assert_eq!(target(&[dense, norm, tied], 1), None);
}
