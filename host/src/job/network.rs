//! The network of a job: named layers, each with the origins of its inputs.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use symbolon_core::function;
use symbolon_core::layer::{AnyLayer, Backward, Describe as _, Fault, Graph, Node, Numbers, Origin, Placement, Shape};

use super::{Invalid, Job, Rule};

/// Most layers of a network.
const MAX_LAYERS: usize = 256;
/// Most bytes of a layer's name.
const MAX_NAME_BYTES: usize = 32;

/// A network: layers from the records to the outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Name of each layer; unique.
    pub names: Vec<String>,
    /// The layers in topological order; the last one gives the outputs.
    pub nodes: Vec<Node<AnyLayer>>,
}

impl Network {
    /// A chain of layers with default names.
    pub fn chain(layers: impl IntoIterator<Item = AnyLayer>) -> Self {
        let mut network = Self::default();
        for layer in layers {
            network.push(layer);
        }
        network
    }

    /// Appends a layer that reads the one before it.
    pub fn push(&mut self, layer: AnyLayer) {
        let input = last(&self.nodes);
        self.names.push(self.default_name(&layer));
        self.nodes.push(Node::new(layer, input));
    }

    /// The kind and its count, as `dense2`.
    fn default_name(&self, layer: &AnyLayer) -> String {
        let before = self.nodes.iter().filter(|node| node.layer.kind() == layer.kind()).count();
        format!("{}{}", layer.kind(), before + 1)
    }
}

/// The origin that a layer reads if it names none.
fn last(nodes: &[Node<AnyLayer>]) -> Origin {
    nodes.len().checked_sub(1).map_or(Origin::Data, |i| Origin::Node(u16::try_from(i).unwrap_or(u16::MAX)))
}

/// A network whose shapes fit, with what the graph says about each layer.
#[derive(Clone, Debug)]
pub struct Laid {
    nodes: Vec<Node<AnyLayer>>,
    places: Vec<Placement>,
    input: Shape,
    frac_bits: u32,
}

impl Laid {
    /// The graph.
    pub fn graph(&self) -> Graph<'_, AnyLayer> {
        Graph { nodes: &self.nodes, places: &self.places, input: self.input, frac_bits: self.frac_bits }
    }
}

impl Job {
    /// The graph of the job's network.
    ///
    /// # Errors
    ///
    /// The first layer that does not fit; not for a valid job.
    pub fn laid(&self) -> Result<Laid, Fault> {
        let (nodes, input, frac_bits) = (self.network.nodes.clone(), self.data.shape, self.numbers.frac_bits);
        let mut places = vec![Placement::default(); nodes.len()];
        Graph::new(&nodes, input, frac_bits, &mut places)?;
        Ok(Laid { nodes, places, input, frac_bits })
    }

    /// The graph of a valid job's network.
    ///
    /// # Panics
    ///
    /// If the job is invalid.
    pub fn network(&self) -> Laid {
        self.laid().expect("a valid job's layers fit")
    }

    /// Parameters of the network; 0 if its layers do not fit.
    pub fn parameters(&self) -> usize {
        self.laid().map_or(0, |laid| laid.graph().parameters())
    }

    /// Words of a model: parameters, running statistics, and variances; 0 if the layers do not fit.
    pub fn model_words(&self) -> usize {
        let variances = if self.reveal.standard_errors { self.parameters() } else { 0 };
        self.laid().map_or(0, |laid| laid.graph().parameters() + laid.graph().statistics() + variances)
    }

    /// Words of a model with which a run begins: parameters, then running statistics.
    pub fn initial_words(&self) -> usize {
        self.laid().map_or(0, |laid| laid.graph().parameters() + laid.graph().statistics())
    }

    /// Bytes of a share of the model.
    pub fn model_bytes(&self) -> u64 {
        self.model_words() as u64 * u64::from(self.numbers.ring_bits / 8)
    }
}

/// `[network]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkFile {
    /// From the records to the outputs. Each layer has a `kind` and its keys.
    layers: Vec<LayerFile>,
}

/// A layer in a job file.
#[derive(Deserialize, JsonSchema)]
struct LayerFile {
    /// A name for `input` keys, messages and model files; the kind and its count, if left out.
    name: Option<String>,
    /// The layer or layers that this one reads, or `"data"`; the one before it, if left out.
    input: Option<InputFile>,
    /// The layer and its own keys.
    #[serde(flatten)]
    layer: AnyLayer,
}

/// One name or two.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a layer's name or a list of two names")]
enum InputFile {
    /// One input.
    One(String),
    /// Two inputs.
    Two([String; 2]),
}

/// The name under which layers read the records.
const DATA: &str = "data";

fn broken(key: String, rule: Rule) -> Invalid {
    Invalid { key, rule }
}

impl NetworkFile {
    pub(super) fn resolve(self, numbers: &function::Numbers) -> Result<Network, Invalid> {
        let mut network = Network::default();
        // Names of later layers too, so that a cycle is not taken for a misspelling.
        let mut all = BTreeMap::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let Some(name) = &layer.name else { continue };
            if all.insert(name.clone(), i).is_some() {
                return Err(broken(format!("network.layers[{i}].name"), Rule::TakenName { got: name.clone() }));
            }
        }
        for (i, layer) in self.layers.into_iter().enumerate() {
            let name = layer.name.unwrap_or_else(|| network.default_name(&layer.layer));
            let key = format!("network.layers[{i}] ({name})");
            let origin = |input: String| origin(&network, &all, i, input).map_err(|rule| broken(key.clone(), rule));
            let (input, second) = match layer.input {
                None => (last(&network.nodes), None),
                Some(InputFile::One(input)) => (origin(input)?, None),
                Some(InputFile::Two([first, second])) => (origin(first)?, Some(origin(second)?)),
            };
            network.names.push(name);
            let mut layer = layer.layer;
            layer.set_defaults(numbers);
            network.nodes.push(Node { layer, input, second, tied: None });
        }
        Ok(network)
    }
}

fn origin(network: &Network, all: &BTreeMap<String, usize>, i: usize, input: String) -> Result<Origin, Rule> {
    if input == DATA {
        return Ok(Origin::Data);
    }
    let known = || network.names.iter().chain(all.keys()).cloned().chain([DATA.to_owned()]).collect();
    match network.names.iter().position(|name| *name == input) {
        Some(j) => Ok(Origin::Node(u16::try_from(j).unwrap_or(u16::MAX))),
        None => match all.get(&input) {
            Some(j) if *j >= i => Err(Rule::LaterLayer { got: input }),
            _ => Err(Rule::NoLayer { got: input, known: known() }),
        },
    }
}

/// Bits of a word that no scale takes: sign, range of an opening, and two for values.
const SPARE_BITS: u32 = 4;

/// Names are plain and unique.
fn names(names: &[String]) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let key = || format!("network.layers[{i}].name");
        let got = || name.chars().take(MAX_NAME_BYTES + 1).collect();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name == DATA || !name.chars().all(plain) {
            return Err(broken(key(), Rule::LayerName { got: got() }));
        }
        if !seen.insert(name) {
            return Err(broken(key(), Rule::TakenName { got: got() }));
        }
    }
    Ok(())
}

/// Holds the scale of every value and gradient to the ring; the first layer that passes it, with
/// its fraction bits.
fn scales(job: &Job, graph: &Graph<'_, AnyLayer>) -> Result<(), (usize, u32)> {
    let most = job.numbers.ring_bits - SPARE_BITS;
    if let Some((i, place)) = graph.places.iter().enumerate().find(|(_, place)| place.frac_bits > most) {
        return Err((i, place.frac_bits));
    }
    let (mut buffer, mut worst) = (vec![0; graph.nodes.len()], None);
    graph.gradient_frac_bits(&mut buffer, |i, bits| {
        if bits > most {
            worst.get_or_insert((i, bits));
        }
    });
    worst.map_or(Ok(()), Err)
}

fn layer_key(network: &Network, i: usize) -> String {
    format!("network.layers[{i}] ({})", network.names[i])
}

/// Holds the network to its rules: shapes fit, every output is read, the last has `outputs` words.
pub(super) fn validate(job: &Job, max_parameters: usize) -> Result<(), Invalid> {
    let network = &job.network;
    let count = network.nodes.len() as u64;
    if count == 0 || network.nodes.len() > MAX_LAYERS || network.names.len() != network.nodes.len() {
        let rule = Rule::Between { got: count, min: 1, max: MAX_LAYERS as u64 };
        return Err(broken("network.layers".to_owned(), rule));
    }
    names(&network.names)?;
    let key = |i: usize| layer_key(network, i);
    let laid = job.laid().map_err(|Fault { node, reason }| broken(key(node), Rule::Layer { reason }))?;
    let (graph, last) = (laid.graph(), network.nodes.len() - 1);
    let [outputs, labels] = [job.outputs(), job.data.labels_per_record].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let want = if labels == 1 { Shape::vector(outputs) } else { Shape([1, labels, outputs]) };
    let got = graph.output();
    if got != want {
        return Err(broken(key(last), Rule::Outputs { got, want }));
    }
    if !graph.places[last].trains {
        return Err(broken("network.layers".to_owned(), Rule::NoParameters));
    }
    scales(job, &graph)
        .map_err(|(i, got)| broken(key(i), Rule::Scale { got, most: job.numbers.ring_bits - SPARE_BITS }))?;
    let parameters = graph.parameters() as u64;
    if parameters > max_parameters as u64 {
        let rule = Rule::Between { got: parameters, min: 1, max: max_parameters as u64 };
        return Err(broken("network (parameters)".to_owned(), rule));
    }
    Ok(())
}

/// Holds each layer to the job's numbers and batches, which are in their ranges.
pub(super) fn validate_layers(job: &Job) -> Result<(), Invalid> {
    let (laid, network) = (job.network(), &job.network);
    let graph = laid.graph();
    let batches = [job.smallest_batch(), job.training.batch];
    let (ring_bits, frac_bits) = (job.numbers.ring_bits, job.numbers.frac_bits);
    for (i, node) in network.nodes.iter().enumerate() {
        let checked = node.layer.check(graph.places[i].inputs[0], &Numbers { ring_bits, frac_bits, batches });
        let meets = || Backward::<u64>::meets(&node.layer).is_some();
        if job.rows_at_once() < job.training.batch && meets() {
            return Err(broken(
                "training.micro_batch".to_owned(),
                Rule::WholeBatch { layer: network.names[i].clone() },
            ));
        }
        checked.map_err(|misfit| broken(layer_key(network, i), Rule::Layer { reason: misfit.into() }))?;
    }
    Ok(())
}
