//! The buffers of a training step: what the passes of all lanes leave for the gradients.

use crate::{job::Laid, lanes::Lanes, secret::Secret};
use std::ops::Range;
use symbolon_core::{
    correlation::{Mask, View},
    layer::{AnyLayer, Backward, Describe, GradientSplit, Graph, Kept, Model, NodeState, Pass, Saved, Takes, Tensor},
    link::Error,
    protocol::masked::Masked,
    word::Word,
};

/// Values that are open for a whole batch.
struct Opened<W> {
    words: Vec<W>,
    cols: usize,
    mask: View<'static>,
}

impl<W: Word> Opened<W> {
    fn new(batch: usize, cols: usize) -> Self {
        Self { words: vec![W::default(); batch * cols], cols, mask: Mask::empty().view() }
    }

    /// The first `rows` rows, and the right to hide them, cut at the ends of `parts`.
    fn cut(&mut self, lanes: &mut Lanes<'_, W>, parts: &[Range<usize>]) -> Result<Vec<(&mut [W], Mask)>, Error> {
        let (cols, rows) = (self.cols, parts.last().map_or(0, |part| part.end));
        let mask = lanes.draw()?.mask(rows * cols);
        self.mask = mask.view();
        Ok(split(&mut self.words[..rows * cols], mask, parts.iter().map(|part| part.len() * cols)))
    }

    /// Some rows of the open values.
    fn rows(&self, rows: Range<usize>) -> Masked<'_, W> {
        let words = rows.start * self.cols..rows.end * self.cols;
        let mask = self.mask.slice(words.start, words.len()).matrix(self.cols);
        Masked { words: &self.words[words], mask }
    }
}

/// Splits `mask` and `words` at the ends of `parts`, which follow each other.
pub(super) fn split<W>(
    mut words: &mut [W],
    mut mask: Mask,
    lens: impl Iterator<Item = usize>,
) -> Vec<(&mut [W], Mask)> {
    lens.map(|len| {
        let (own, others) = std::mem::replace(&mut mask, Mask::empty()).split_at(len);
        let (head, tail) = std::mem::take(&mut words).split_at_mut(len);
        (words, mask) = (tail, others);
        (head, own)
    })
    .collect()
}

/// One lane's buffers.
struct LaneTape<W: Word> {
    /// Outputs and gradients of nodes, while they live.
    slabs: [Secret<W>; 2],
    /// Words between the passes, node by node.
    saved: Vec<Secret<W>>,
    /// Names of the masks that hide some of them.
    masks: Vec<[Option<View<'static>>; 2]>,
    /// Gradients of the parameters that are cut by rows, in the order of their nodes.
    partial: Secret<W>,
}

/// All buffers of a step.
pub(super) struct Tape<W: Word> {
    /// The records of the batch.
    data: Vec<W>,
    /// Open outputs and open gradients of each node, where they are wanted.
    values: Vec<Option<Opened<W>>>,
    gradients: Vec<Option<Opened<W>>>,
    lanes: Vec<LaneTape<W>>,
}

/// The buffers that one lane's passes work on.
pub(super) struct LaneStates<'a, W: Word> {
    /// The lane's part of the records, to be gathered.
    pub(super) data: &'a mut [W],
    /// Slabs of outputs and of gradients.
    pub(super) slabs: [&'a mut [W]; 2],
    /// The state of each node.
    pub(super) states: Vec<NodeState<'a, W>>,
}

impl<W: Word> Tape<W> {
    /// Buffers for batches of `batch` records, of which the lanes have `rows`.
    pub(super) fn new(laid: &Laid, pass: &Pass<'_, W>, batch: usize, rows: &[usize]) -> Self {
        let graph = laid.graph();
        let opened = |wanted: &dyn Fn(usize) -> bool| {
            let places = graph.places.iter().enumerate();
            places.map(|(i, place)| wanted(i).then(|| Opened::new(batch, place.output.words()))).collect()
        };
        let lane = |rows: &usize| LaneTape {
            slabs: [Secret::zeros(graph.slab_words(*rows)), Secret::zeros(graph.gradient_words(*rows))],
            saved: (0..graph.nodes.len()).map(|i| Secret::zeros(graph.saved_words(i, pass, *rows))).collect(),
            masks: vec![[None; 2]; graph.nodes.len()],
            partial: Secret::zeros(by_rows(&graph, pass).map(|i| graph.places[i].parameters).sum()),
        };
        Self {
            data: vec![W::default(); batch * graph.input.words()],
            values: opened(&|i| graph.places[i].is_opened),
            gradients: opened(&|i| graph.places[i].parameters > 0 && takes_masked(&graph, i)),
            lanes: rows.iter().map(lane).collect(),
        }
    }

    /// Words of all buffers.
    pub(super) fn words(&self) -> usize {
        let opened = |all: &[Option<Opened<W>>]| all.iter().flatten().map(|opened| opened.words.len()).sum::<usize>();
        let lane = |lane: &LaneTape<W>| {
            let saved: usize = lane.saved.iter().map(|saved| saved.len()).sum();
            lane.slabs.iter().map(|slab| slab.len()).sum::<usize>() + saved + lane.partial.len()
        };
        let lanes: usize = self.lanes.iter().map(lane).sum();
        self.data.len() + opened(&self.values) + opened(&self.gradients) + lanes
    }

    /// Each lane's buffers for its rows of a batch, with fresh masks.
    pub(super) fn states<'a>(
        &'a mut self,
        lanes: &mut Lanes<'_, W>,
        graph: &Graph<'_, AnyLayer>,
        pass: &Pass<'_, W>,
        parts: &[Range<usize>],
    ) -> Result<Vec<LaneStates<'a, W>>, Error> {
        let cols = graph.input.words();
        let mut data = &mut self.data[..];
        let mut all: Vec<LaneStates<'a, W>> = Vec::new();
        for (part, lane) in parts.iter().zip(&mut self.lanes) {
            let own = data.split_off_mut(..part.len() * cols).unwrap_or_default();
            let [values, gradients] = &mut lane.slabs;
            let slabs =
                [&mut values[..graph.slab_words(part.len())], &mut gradients[..graph.gradient_words(part.len())]];
            let saved = lane.saved.iter_mut().enumerate().map(|(i, words)| NodeState {
                saved: Saved { words: &mut words[..graph.saved_words(i, pass, part.len())], masks: [None; 2] },
                ..NodeState::default()
            });
            all.push(LaneStates { data: own, slabs, states: saved.collect() });
        }
        for (i, (value, gradient)) in self.values.iter_mut().zip(&mut self.gradients).enumerate() {
            if let Some(value) = value {
                for (lane, (words, mask)) in all.iter_mut().zip(value.cut(lanes, parts)?) {
                    lane.states[i].value = Tensor::kept(words, mask);
                }
            }
            if let Some(gradient) = gradient {
                for (lane, (words, mask)) in all.iter_mut().zip(gradient.cut(lanes, parts)?) {
                    lane.states[i].gradient = Tensor::kept(words, mask);
                }
            }
        }
        Ok(all)
    }

    /// The records of some rows of the batch.
    pub(super) fn rows(&self, rows: Range<usize>, cols: usize) -> &[W] {
        &self.data[rows.start * cols..rows.end * cols]
    }

    /// The open output of node `i`, some rows of it.
    pub(super) fn value(&self, i: usize, rows: Range<usize>) -> Masked<'_, W> {
        self.values[i].as_ref().expect("a layer's masked input is open").rows(rows)
    }

    /// The open gradient of node `i`, some rows of it, if its layer takes it masked.
    pub(super) fn gradient(&self, i: usize, rows: Range<usize>) -> Option<Masked<'_, W>> {
        self.gradients[i].as_ref().map(|gradient| gradient.rows(rows))
    }

    /// Keeps the names of the masks that each lane's passes drew.
    pub(super) fn keep_masks(&mut self, names: Vec<Vec<[Option<View<'static>>; 2]>>) {
        self.lanes.iter_mut().zip(names).for_each(|(lane, names)| lane.masks = names);
    }

    /// The words that the passes of lane `lane` left at node `i`.
    pub(super) fn kept(&self, lane: usize, i: usize) -> Kept<'_, W> {
        let LaneTape { saved, masks, .. } = &self.lanes[lane];
        Kept { words: &saved[i], masks: masks[i] }
    }

    /// Each lane's gradients of the parameters that are cut by rows, taken out of the tape.
    pub(super) fn take_partials(&mut self) -> Vec<Secret<W>> {
        self.lanes.iter_mut().map(|lane| std::mem::replace(&mut lane.partial, Secret::zeros(0))).collect()
    }

    /// Puts them back.
    pub(super) fn put_partials(&mut self, partials: Vec<Secret<W>>) {
        self.lanes.iter_mut().zip(partials).for_each(|(lane, partial)| lane.partial = partial);
    }
}

/// Whether node `i` takes the gradient of its result masked.
fn takes_masked(graph: &Graph<'_, AnyLayer>, i: usize) -> bool {
    graph.nodes[i].layer.takes_gradient(graph.places[i].inputs[0]) == Takes::Masked
}

/// The nodes whose parameters' gradients are cut by rows.
pub(super) fn by_rows<W: Word>(
    graph: &Graph<'_, AnyLayer>,
    pass: &Pass<'_, W>,
) -> impl Iterator<Item = usize> + use<W> {
    let with_parameters = (0..graph.nodes.len()).filter(|i| graph.places[*i].parameters > 0);
    let by_rows: Vec<_> =
        with_parameters.filter(|i| graph.nodes[*i].layer.split(&graph.site(*i, pass)) == GradientSplit::Rows).collect();
    by_rows.into_iter()
}

/// The pass of no records over parameters that are nothing: for numbers that follow from the
/// description alone.
pub(super) fn described<W: Word>(parameters: &[W]) -> Pass<'_, W> {
    let view = Mask::empty().view();
    let open = Masked { words: parameters, mask: View { cols: parameters.len(), stride: parameters.len(), ..view } };
    let model = Model { shares: parameters, open };
    Pass { model, data: Masked { words: &[], mask: view }, moment: None, met: &[], lengths: None }
}
