//! Lengths of sequences: which a job has, and the rules for them.
//!
//! A job names the arrays of lengths and holds none: lengths are public inputs, which travel beside
//! the shares. So no plan depends on them.

use super::{Data, Format, Invalid, Job, Npy, Rule};
use std::fmt;
use symbolon_core::layer::{AnyLayer, Backward, Origin, Shape};

/// Most steps of a sequence with a length, which takes two bytes.
const MAX_STEPS: usize = u16::MAX as usize;

/// The reason why a job cannot have lengths.
#[derive(Clone, Debug, PartialEq)]
pub enum LengthsMisfit {
    /// The network has no recurrent layer.
    NoRecurrent,
    /// Another part of the job would count the padding.
    Beside {
        /// The part: a key of the job, or a layer.
        other: String,
    },
    /// The records are not sequences.
    Shape {
        /// Shape of a record.
        got: Shape,
    },
    /// The records have more steps than lengths can count.
    Steps {
        /// Steps of a record.
        got: usize,
    },
    /// A recurrent layer runs over other steps than those of the records.
    Layer {
        /// Name of the layer.
        name: String,
    },
    /// There is one label a record, or one a step.
    Labels {
        /// Labels of a record.
        labels: usize,
        /// Steps of a record.
        steps: usize,
    },
}

impl fmt::Display for LengthsMisfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecurrent => {
                f.write_str("means nothing to a network without a recurrent layer; add one, or remove the lengths")
            }
            Self::Beside { other } => {
                write!(f, "does not go with {other}, which would count the padding; remove one of the two")
            }
            Self::Shape { got } => {
                write!(f, "needs records that are sequences, and data.shape is {got}; give [steps, features]")
            }
            Self::Steps { got } => write!(f, "needs sequences of at most {MAX_STEPS} steps, and these have {got}"),
            Self::Layer { name } => write!(
                f,
                "does not suit layer {name}, whose steps are not those of the records; put nothing before it that changes \
                 the number of steps, except slices"
            ),
            Self::Labels { labels, steps } => write!(
                f,
                "is for several labels a record that are not one a step; there are {labels} for {steps} steps: remove it, and \
                 with one a step give train_lengths"
            ),
        }
    }
}

impl Data {
    /// Whether the records have lengths.
    pub fn has_lengths(&self) -> bool {
        match &self.format {
            Format::Npy(files) => files.train_lengths.is_some(),
            Format::Npz(set) => set.train_lengths.is_some(),
            _ => false,
        }
    }

    /// Whether the records' labels have lengths of their own.
    pub fn has_label_lengths(&self) -> bool {
        match &self.format {
            Format::Npy(files) => files.train_label_lengths.is_some(),
            Format::Npz(set) => set.train_label_lengths.is_some(),
            _ => false,
        }
    }

    /// Whether a record's length says how many of its labels count: there is one a step.
    pub fn labels_follow_lengths(&self) -> bool {
        self.has_lengths() && self.labels_per_record > 1 && self.labels_per_record == self.steps()
    }

    /// Steps of a record that is a sequence.
    pub fn steps(&self) -> usize {
        self.shape.image()[0]
    }
}

/// Holds a job with lengths to their rules; its network is valid.
pub(super) fn validate(job: &Job) -> Result<(), Invalid> {
    let (section, files) = match &job.data.format {
        Format::Npy(files) => ("data.npy", files.clone()),
        Format::Npz(set) => ("data.npz", set.members()),
        _ => return Ok(()),
    };
    let Npy { train_lengths, test_lengths, train_label_lengths, test_label_lengths, .. } = files;
    let has_test = job.data.test_records > 0;
    let lists = [
        ("train_lengths", train_lengths, "test_lengths", test_lengths),
        ("train_label_lengths", train_label_lengths, "test_label_lengths", test_label_lengths),
    ];
    for (train_key, train, test_key, test) in lists {
        let broken = |key: &str, rule| Err(Invalid { key: format!("{section}.{key}"), rule });
        match (train.is_some(), test.is_some()) {
            (false, false) => continue,
            (true, false) if has_test => return broken(test_key, Rule::NeededBy { by: train_key }),
            (_, true) if !has_test => return broken(test_key, Rule::UnusedBy { by: "a job without test records" }),
            (false, true) => return broken(train_key, Rule::NeededBy { by: test_key }),
            (true, _) => {}
        }
        let checked = if train_key == "train_lengths" { of_records(job) } else { of_labels(&job.data) };
        if let Err(misfit) = checked.and_then(|()| of_all(job)) {
            return broken(train_key, Rule::Lengths { misfit });
        }
    }
    Ok(())
}

/// The rules for all lengths.
fn of_all(job: &Job) -> Result<(), LengthsMisfit> {
    let nodes = &job.network.nodes;
    if !nodes.iter().any(|node| matches!(node.layer, AnyLayer::Recurrent(_))) {
        return Err(LengthsMisfit::NoRecurrent);
    }
    if job.reveal.noise.is_some() {
        return Err(LengthsMisfit::Beside { other: "reveal.epsilon".to_owned() });
    }
    if job.data.augment.is_some() {
        return Err(LengthsMisfit::Beside { other: "data.augment".to_owned() });
    }
    // Statistics over the batch would count the padding.
    match nodes.iter().position(|node| Backward::<u64>::meets(&node.layer).is_some()) {
        Some(i) => Err(LengthsMisfit::Beside { other: format!("layer {}", job.network.names[i]) }),
        None => Ok(()),
    }
}

/// The rules for lengths of labels.
fn of_labels(data: &Data) -> Result<(), LengthsMisfit> {
    let (labels, steps) = (data.labels_per_record, data.steps());
    if labels > 1 && labels != steps { Ok(()) } else { Err(LengthsMisfit::Labels { labels, steps }) }
}

/// The rules for lengths of records: each recurrent layer runs over their steps, or over a slice of
/// them.
fn of_records(job: &Job) -> Result<(), LengthsMisfit> {
    let steps = job.data.steps();
    let Shape([1, all, _]) = job.data.shape else { return Err(LengthsMisfit::Shape { got: job.data.shape }) };
    if steps > MAX_STEPS {
        return Err(LengthsMisfit::Steps { got: steps });
    }
    let (laid, network) = (job.network(), &job.network);
    let graph = laid.graph();
    // For each node the first step and the number of steps that its output has, if these are steps
    // of the records.
    let mut spans: Vec<Option<[u32; 2]>> = Vec::new();
    for (i, node) in network.nodes.iter().enumerate() {
        let span = |origin| match origin {
            Origin::Data => Some([0, all]),
            Origin::Node(j) => spans[usize::from(j)],
        };
        let first = span(node.input);
        let kept = |span: &[u32; 2]| matches!(graph.places[i].output, Shape([1, steps, _]) if steps == span[1]);
        let own = match node.layer {
            AnyLayer::Recurrent(_) if first.is_none() => {
                return Err(LengthsMisfit::Layer { name: network.names[i].clone() });
            }
            AnyLayer::Recurrent(_) => first.filter(kept),
            AnyLayer::Slice(slice) => first.map(|[from, _]| [from + slice.from, slice.steps]),
            _ => first.filter(|_| node.origins().all(|origin| span(origin) == first)).filter(kept),
        };
        spans.push(own);
    }
    Ok(())
}
