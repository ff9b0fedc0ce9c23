//! Graphs of layers: which node reads which, and everything that follows from that without data.

use super::{Describe, Misfit, Parameter, Shape, Takes};
use core::{fmt, ops::Range};
use serde::{Deserialize, Serialize};

/// The origin of an input.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Origin {
    /// The records.
    Data,
    /// The output of the node with this number.
    Node(u16),
}

/// A node of a network: a layer and the origins of its inputs. Nodes stand in topological order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Node<L> {
    /// The layer.
    pub layer: L,
    /// Origin of the first input.
    pub input: Origin,
    /// Origin of the second input, for layers that take two.
    pub second: Option<Origin>,
    /// The earlier node whose parameters this one uses, as the steps of a recurrent cell do; `None`
    /// for parameters of its own.
    pub tied: Option<u16>,
}

impl<L> Node<L> {
    /// A node with one input and parameters of its own.
    pub const fn new(layer: L, input: Origin) -> Self {
        Self { layer, input, second: None, tied: None }
    }

    /// The origins of all inputs.
    pub fn origins(&self) -> impl Iterator<Item = Origin> + use<L> {
        [Some(self.input), self.second].into_iter().flatten()
    }
}

/// A node as the graph sees it: shapes, scale, parameters, and the places of its words.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Placement {
    /// Shapes of the inputs; the second is that of the first if there is one.
    pub inputs: [Shape; 2],
    /// Step of the records with which the first input begins, if it is a sequence.
    pub first_step: u32,
    /// Shape of the output.
    pub output: Shape,
    /// Fraction bits of the output as the layer gives it.
    pub frac_bits: u32,
    /// First parameter in the flat buffer.
    pub parameter: usize,
    /// Number of parameters.
    pub parameters: usize,
    /// First word of its running statistics in their flat buffer.
    pub statistic: usize,
    /// Words of its running statistics.
    pub statistics: usize,
    /// Whether a later node takes the output masked.
    pub is_opened: bool,
    /// Whether the node or one before it has parameters, so that its gradient is wanted.
    pub trains: bool,
    /// Number of the last node that reads the output; the greatest number for the last node.
    pub last: u16,
    /// First word of the output in a slab of one row.
    pub value: usize,
    /// First word of the output's gradient in a slab of one row.
    pub gradient: usize,
}

impl Placement {
    /// The parameters in the flat buffer.
    pub fn range(&self) -> Range<usize> {
        self.parameter..self.parameter + self.parameters
    }

    /// The running statistics in their flat buffer.
    pub fn statistics_range(&self) -> Range<usize> {
        self.statistic..self.statistic + self.statistics
    }

    /// Words of the output in a slab of `rows` rows.
    pub(super) fn words(&self, rows: usize) -> Range<usize> {
        self.value * rows..(self.value + self.output.words()) * rows
    }

    /// Words of the output's gradient in a slab of `rows` rows.
    pub(super) fn gradient_words(&self, rows: usize) -> Range<usize> {
        self.gradient * rows..(self.gradient + self.output.words()) * rows
    }
}

/// The reason why nodes make no network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Number of the node.
    pub node: usize,
    /// The reason.
    pub reason: Reason,
}

/// The fault of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Its inputs do not fit.
    Misfit(Misfit),
    /// It reads a node that is not before it.
    Order,
    /// It reads one value twice.
    Twice,
    /// No node reads its output, and it is not the last.
    Unread,
    /// It uses the parameters of a node that is not the same layer, on another shape, or has none
    /// of its own.
    Tied,
    /// There are no nodes, or more than the buffer of places or numbers take.
    Count,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misfit(misfit) => misfit.fmt(f),
            Self::Order => f.write_str("reads a layer that does not come before it"),
            Self::Twice => f.write_str("reads the same layer twice"),
            Self::Unread => f.write_str(
                "has no reader: name it as the input of a later layer, or remove it; only the last layer is the output",
            ),
            Self::Tied => f.write_str("uses the parameters of a layer that is not the same"),
            Self::Count => f.write_str("is one too many, or there are no layers"),
        }
    }
}

impl From<Misfit> for Reason {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
    }
}

/// Most words of a row, of any value.
const MAX_WORDS: usize = 1 << 24;

/// A network: nodes in topological order, and their places.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a, L> {
    /// The nodes.
    pub nodes: &'a [Node<L>],
    /// A place for each node.
    pub places: &'a [Placement],
    /// Shape of a record.
    pub input: Shape,
    /// Fraction bits of values, `f`.
    pub frac_bits: u32,
}

impl<'a, L: Describe> Graph<'a, L> {
    /// Finds a place for each node.
    ///
    /// # Errors
    ///
    /// The first node that does not fit.
    pub fn new(nodes: &'a [Node<L>], input: Shape, frac_bits: u32, places: &'a mut [Placement]) -> Result<Self, Fault>
    where
        L: PartialEq,
    {
        let count = nodes.len();
        if count == 0 || count > places.len() || count > usize::from(u16::MAX) {
            return Err(Fault { node: count.saturating_sub(1), reason: Reason::Count });
        }
        let places = &mut places[..count];
        let (mut parameters, mut statistics) = (0, 0);
        for i in 0..count {
            let place = describe(nodes, i, input, frac_bits, places, &mut parameters);
            let place = place.map_err(|reason| Fault { node: i, reason })?;
            places[i] = Placement { statistic: statistics, ..place };
            statistics += place.statistics;
        }
        lay(nodes, places)?;
        Ok(Self { nodes, places, input, frac_bits })
    }

    /// Calls `each` with the number of each node that trains and the most fraction bits that the
    /// gradient of its output has.
    pub fn gradient_frac_bits(&self, scales: &mut [u32], mut each: impl FnMut(usize, u32)) {
        scales.fill(self.frac_bits);
        for (i, node) in self.nodes.iter().enumerate().rev() {
            let shape = self.places[i].inputs[0];
            if !self.places[i].trains {
                continue;
            }
            each(i, scales[i]);
            let taken = match node.layer.takes_gradient(shape) {
                Takes::Any => scales[i],
                Takes::Truncated | Takes::Masked => self.frac_bits,
            };
            let given = node.layer.gives_gradient(shape, taken, self.frac_bits);
            for origin in node.origins() {
                let Origin::Node(j) = origin else { continue };
                let scale = &mut scales[usize::from(j)];
                *scale = (*scale).max(given);
            }
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.places.iter().map(|place| place.range().end).max().unwrap_or(0)
    }

    /// Number of running statistics.
    pub fn statistics(&self) -> usize {
        self.places.iter().map(|place| place.statistics).sum()
    }

    /// Shape of the last output.
    pub fn output(&self) -> Shape {
        self.places.last().map_or(self.input, |place| place.output)
    }

    /// Fraction bits of the last output.
    pub fn output_frac_bits(&self) -> u32 {
        self.places.last().map_or(self.frac_bits, |place| place.frac_bits)
    }

    /// Words of a slab for the forward pass of `rows` rows.
    pub fn slab_words(&self, rows: usize) -> usize {
        self.places.iter().map(|place| place.words(rows).end).max().unwrap_or(0)
    }

    /// Words of a slab for the backward pass of `rows` rows.
    pub fn gradient_words(&self, rows: usize) -> usize {
        self.places.iter().map(|place| place.gradient_words(rows).end).max().unwrap_or(0)
    }

    /// Shape of the output of `origin`.
    pub fn shape(&self, origin: Origin) -> Shape {
        match origin {
            Origin::Data => self.input,
            Origin::Node(j) => self.places[usize::from(j)].output,
        }
    }

    /// Calls `each` with every tensor of the node's own parameters and its range in the flat
    /// buffer.
    pub fn parameters_of(&self, node: usize, mut each: impl FnMut(Parameter, Range<usize>)) {
        if self.nodes[node].tied.is_some() {
            return;
        }
        let place = &self.places[node];
        let mut at = place.parameter;
        self.nodes[node].layer.parameters(place.inputs[0], &mut |parameter| {
            let end = at + parameter.words();
            each(parameter, at..end);
            at = end;
        });
    }

    /// Calls `each` with every tensor of the node's running statistics and its range in their flat
    /// buffer.
    pub fn statistics_of(&self, node: usize, mut each: impl FnMut(Parameter, Range<usize>)) {
        let place = &self.places[node];
        let mut at = place.statistic;
        self.nodes[node].layer.statistics(place.inputs[0], self.frac_bits, &mut |statistic| {
            let end = at + statistic.words();
            each(statistic, at..end);
            at = end;
        });
    }
}

/// Shapes, scale, parameters and statistics of node `i`, from the places of those before it.
fn describe<L: Describe + PartialEq>(
    nodes: &[Node<L>],
    i: usize,
    data: Shape,
    frac_bits: u32,
    places: &mut [Placement],
    parameters: &mut usize,
) -> Result<Placement, Reason> {
    let node = &nodes[i];
    let before = |origin| match origin {
        Origin::Node(j) => usize::from(j) < i,
        Origin::Data => true,
    };
    if !node.origins().all(before) {
        return Err(Reason::Order);
    }
    if node.second == Some(node.input) {
        return Err(Reason::Twice);
    }
    let shape = |origin| match origin {
        Origin::Data => data,
        Origin::Node(j) => places[usize::from(j)].output,
    };
    let (mut inputs, mut count) = ([shape(node.input); 2], 1);
    if let Some(second) = node.second {
        (inputs[1], count) = (shape(second), 2);
    }
    let want = node.layer.inputs();
    if want != count {
        return Err(Misfit::Inputs { want, got: count }.into());
    }
    let output = node.layer.output(&inputs[..count])?;
    if output.words() > MAX_WORDS || output.words() == 0 {
        return Err(Misfit::Large { got: output }.into());
    }
    let takes = node.layer.takes(inputs[0]);
    let (mut taken, mut trains) = (frac_bits, false);
    for origin in node.origins() {
        let Origin::Node(j) = origin else { continue };
        if takes == Takes::Any {
            taken = taken.max(scale(nodes, places, usize::from(j), i, frac_bits));
        }
        let place = &mut places[usize::from(j)];
        place.is_opened |= takes == Takes::Masked;
        trains |= place.trains;
    }
    let mut own = 0usize;
    node.layer.parameters(inputs[0], &mut |parameter| own = own.saturating_add(parameter.words()));
    let mut statistics = 0usize;
    node.layer.statistics(inputs[0], frac_bits, &mut |statistic| {
        statistics = statistics.saturating_add(statistic.words());
    });
    let parameter = match node.tied {
        None => {
            *parameters = parameters.saturating_add(own);
            *parameters - own
        }
        Some(j) => {
            let j = usize::from(j);
            let same = |owner: &Node<L>| owner.tied.is_none() && owner.layer == node.layer;
            if j >= i || !same(&nodes[j]) || places[j].inputs[0] != inputs[0] {
                return Err(Reason::Tied);
            }
            places[j].parameter
        }
    };
    let first_step = match node.input {
        Origin::Data => 0,
        Origin::Node(j) => {
            let before = usize::from(j);
            places[before].first_step.saturating_add(nodes[before].layer.first_step())
        }
    };
    Ok(Placement {
        inputs,
        first_step,
        output,
        frac_bits: node.layer.gives(inputs[0], taken, frac_bits),
        parameter,
        parameters: own,
        statistics,
        trains: trains || own > 0,
        last: u16::try_from(i).unwrap_or(u16::MAX),
        ..Placement::default()
    })
}

/// Fraction bits of the output of node `j` when node `i` reads it: an earlier reader may have had
/// it truncated.
fn scale<L: Describe>(nodes: &[Node<L>], places: &[Placement], j: usize, i: usize, frac_bits: u32) -> u32 {
    let reads = |node: &Node<L>| node.origins().any(|origin| origin == number(j));
    let between = nodes[j + 1..i].iter().zip(&places[j + 1..i]);
    let truncated =
        between.filter(|(node, _)| reads(node)).any(|(node, at)| node.layer.takes(at.inputs[0]) != Takes::Any);
    if truncated { frac_bits } else { places[j].frac_bits }
}

#[allow(clippy::cast_possible_truncation)] // nodes are counted in 16 bits
fn number(i: usize) -> Origin {
    Origin::Node(i as u16)
}

/// Lays outputs and gradients into their slabs: two values that live at one time do not overlap.
fn lay<L: Describe>(nodes: &[Node<L>], places: &mut [Placement]) -> Result<(), Fault> {
    let count = nodes.len();
    for (j, place) in places.iter_mut().enumerate() {
        let reads = |node: &Node<L>| node.origins().any(|origin| origin == number(j));
        let last = (j + 1..count).rev().find(|i| reads(&nodes[*i]));
        if last.is_none() && j + 1 < count {
            return Err(Fault { node: j, reason: Reason::Unread });
        }
        place.last = last.and_then(|last| u16::try_from(last).ok()).unwrap_or(u16::MAX);
    }
    // An output lives from its node to the last reader, a gradient from that reader down to its
    // node.
    let lives = |places: &[Placement], j: usize| j..=usize::from(places[j].last).min(count);
    for i in 0..count {
        let (own, words) = (lives(places, i), places[i].output.words());
        let meets = |places: &[Placement], j: usize| lives(places, j).end() >= own.start() && j <= *own.end();
        let value = first_gap(words, i, |j| {
            meets(places, j).then(|| places[j].value..places[j].value + places[j].output.words())
        });
        let gradient = first_gap(words, i, |j| {
            meets(places, j).then(|| places[j].gradient..places[j].gradient + places[j].output.words())
        });
        (places[i].value, places[i].gradient) = (value, gradient);
    }
    Ok(())
}

/// The first place for `words` words beside the ranges `taken(0)`, ..., `taken(count - 1)`.
fn first_gap(words: usize, count: usize, taken: impl Fn(usize) -> Option<Range<usize>>) -> usize {
    let mut at = 0;
    // Each range is passed once at most.
    for _ in 0..count {
        let own = at..at + words;
        let hit = (0..count).filter_map(&taken).filter(|other| other.start < own.end && own.start < other.end);
        match hit.map(|other| other.end).max() {
            Some(end) => at = end,
            None => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::layer::{AnyLayer, Dense, Relu};

    fn dense(units: u32, input: Origin) -> Node<AnyLayer> {
        Node::new(AnyLayer::Dense(Dense::new(units)), input)
    }

    #[test]
    fn values_that_live_together_lie_apart() {
        let relu = |j| Node::new(AnyLayer::Relu(Relu {}), Origin::Node(j));
        let nodes = [dense(5, Origin::Data), relu(0), dense(7, Origin::Node(1)), relu(2), dense(3, Origin::Node(3))];
        let mut places = [Placement::default(); 5];
        let graph = Graph::new(&nodes, Shape::vector(4), 8, &mut places).unwrap();
        assert_eq!(graph.parameters(), 25 + 42 + 24);
        assert_eq!((graph.output(), graph.output_frac_bits()), (Shape::vector(3), 16));
        // Two neighbours live at a time. The first 7 words do not fit before the second 5, and lie
        // behind them; the next 7 fit before.
        assert_eq!(graph.slab_words(2), 2 * (5 + 5 + 7));
        for (i, place) in graph.places.iter().enumerate().skip(1) {
            let (a, b) = (place.words(3), graph.places[i - 1].words(3));
            assert!(a.end <= b.start || b.end <= a.start);
        }
        assert!(graph.places[1].is_opened && !graph.places[0].is_opened);
    }

    #[test]
    fn nodes_that_make_no_network_are_named() {
        let mut places = [Placement::default(); 4];
        let mut fault = |nodes: &[Node<AnyLayer>]| Graph::new(nodes, Shape([1, 2, 2]), 8, &mut places).unwrap_err();
        let misfit = Reason::Misfit(Misfit::Vector { got: Shape([1, 2, 2]) });
        assert_eq!(fault(&[dense(1, Origin::Data)]), Fault { node: 0, reason: misfit });
        assert_eq!(fault(&[]).reason, Reason::Count);
        let relu = |origin| Node::new(AnyLayer::Relu(Relu {}), origin);
        assert_eq!(fault(&[relu(Origin::Node(0))]), Fault { node: 0, reason: Reason::Order });
        assert_eq!(fault(&[relu(Origin::Data); 2]), Fault { node: 0, reason: Reason::Unread });
        let two = Node { second: Some(Origin::Data), ..relu(Origin::Data) };
        assert_eq!(fault(&[two]).reason, Reason::Twice);
        assert_eq!(
            fault(&[dense(0, Origin::Data)]).reason,
            Reason::Misfit(Misfit::Number { key: "units", got: 0, min: 1, max: 1 << 16 })
        );
    }
}
