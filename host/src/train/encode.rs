//! From data sets to ring words, and from opened words back to reals.

use super::Inputs;
use crate::{
    data::{Dataset, Targets, augmented},
    job::Job,
    report::Tensor,
    secret::Secret,
};
use std::fmt;
use symbolon_core::{
    fixed::{RangeError, decode, encode},
    layer::Parameter,
    loss::{Activation, Describe as _},
    word::{Word, word_bytes},
};

/// Data that the job's numbers cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EncodeError {
    /// A value.
    Value {
        /// `training` or `test`.
        set: &'static str,
        /// Record, from 0.
        record: usize,
        /// Feature, from 0; none for a target.
        feature: Option<usize>,
        /// The problem with it.
        error: RangeError,
    },
    /// A target of a logistic loss that is not from 0 to 1.
    Probability {
        /// The scaled target.
        got: f64,
    },
    /// Targets whose errors' squares leave their words.
    Squares {
        /// Least scaled target of both sets.
        least: f64,
        /// Greatest scaled target of both sets.
        greatest: f64,
        /// The bound of errors.
        limit: f64,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { set, record, feature: Some(feature), error } => {
                write!(f, "{set} record {record}, feature {feature}: {error}")
            }
            Self::Value { set, record, feature: None, error } => write!(f, "{set} record {record}, target: {error}"),
            Self::Probability { got } => write!(
                f,
                "a target is {got} after scaling, and loss = \"logistic\" takes targets from 0 to 1; change data.target"
            ),
            Self::Squares { least, greatest, limit } => write!(
                f,
                "targets go from {least} to {greatest} after scaling, and words with these fraction bits hold squares of errors of \
                 less than {limit}; divide by more (data.target.divide), take fewer fraction bits or ring_bits = 64, or reveal \
                 neither loss nor metrics"
            ),
        }
    }
}

impl std::error::Error for EncodeError {}

impl<W: Word> Inputs<W> {
    /// Whole values of `train` and `test` in the job's numbers.
    ///
    /// # Errors
    ///
    /// The first value that does not fit; a range of targets that squared errors do not fit.
    pub fn encode(job: &Job, train: &Dataset, test: &Dataset) -> Result<Self, EncodeError> {
        squares_fit(job, [train, test])?;
        Self::encode_any_targets(job, train, test)
    }

    /// [`Self::encode`] of targets whose squared errors may not fit: for an audit, which says so.
    ///
    /// # Errors
    ///
    /// The first value that does not fit.
    pub(crate) fn encode_any_targets(job: &Job, train: &Dataset, test: &Dataset) -> Result<Self, EncodeError> {
        let copies = augmented(job, train);
        let train = copies.as_ref().unwrap_or(train);
        Ok(Self {
            train: features(job, "training", train)?,
            train_labels: labels(job, "training", train)?,
            test: features(job, "test", test)?,
            test_labels: labels(job, "test", test)?,
        })
    }
}

/// Holds the largest error of a prediction that is 0, as an untrained network's nearly is, or a
/// target, to what its square leaves room for.
fn squares_fit(job: &Job, sets: [&Dataset; 2]) -> Result<(), EncodeError> {
    let targets = sets.into_iter().filter_map(|set| match &set.targets {
        Targets::Values(values) => Some(values),
        Targets::Classes(_) => None,
    });
    let ends =
        |[least, greatest]: [f64; 2], target: &f32| [least.min(f64::from(*target)), greatest.max(f64::from(*target))];
    let [least, greatest] = targets.flatten().fold([f64::INFINITY, f64::NEG_INFINITY], ends);
    if job.loss.activation() == Activation::Sigmoid && (least < 0.0 || (greatest > 1.0 && greatest.is_finite())) {
        return Err(EncodeError::Probability { got: if least < 0.0 { least } else { greatest } });
    }
    let limit = job.error_limit();
    if greatest.max(0.0) - least.min(0.0) >= limit {
        return Err(EncodeError::Squares { least, greatest, limit });
    }
    Ok(())
}

fn features<W: Word>(job: &Job, set: &'static str, data: &Dataset) -> Result<Secret<W>, EncodeError> {
    let word = |(i, v): (usize, &f32)| {
        encode(f64::from(*v), job.numbers.frac_bits).map_err(|error| EncodeError::Value {
            set,
            record: i / data.cols,
            feature: Some(i % data.cols),
            error,
        })
    };
    data.features.iter().enumerate().map(word).collect::<Result<Vec<_>, _>>().map(Secret::from)
}

fn labels<W: Word>(job: &Job, set: &'static str, data: &Dataset) -> Result<Secret<W>, EncodeError> {
    match &data.targets {
        Targets::Classes(classes) => {
            let outputs = job.outputs();
            let mut hot = vec![W::default(); classes.len() * outputs];
            for (row, class) in hot.chunks_exact_mut(outputs).zip(classes) {
                row[*class as usize] = W::from_u64(1);
            }
            Ok(hot.into())
        }
        Targets::Values(values) => {
            let outputs = job.outputs();
            let word = |(i, v): (usize, &f32)| {
                encode(f64::from(*v), job.numbers.frac_bits).map_err(|error| EncodeError::Value {
                    set,
                    record: i / outputs,
                    feature: None,
                    error,
                })
            };
            values.iter().enumerate().map(word).collect::<Result<Vec<_>, _>>().map(Secret::from)
        }
    }
}

/// An opened word as a signed number.
pub fn signed<W: Word>(word: W) -> i64 {
    let mut bytes = [0; 8];
    bytes[..word_bytes::<W>()].copy_from_slice(W::bytes(&[word]));
    let shift = 64 - W::BITS;
    (u64::from_le_bytes(bytes) << shift).cast_signed() >> shift
}

/// An opened word as a real.
pub fn real<W: Word>(job: &Job, word: W) -> f64 {
    decode(signed(word), job.numbers.frac_bits)
}

/// The opened model, parameters and then running statistics, as named tensors: the layer's name,
/// then `weight` or `bias`, `running_mean` or `running_var`, with axes as PyTorch has them.
#[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
pub fn tensors<W: Word>(job: &Job, model: &[W]) -> Vec<Tensor> {
    let (laid, mut tensors) = (job.network(), Vec::new());
    for (i, layer) in job.network.names.iter().enumerate() {
        let (parameters, statistics) = model.split_at(job.parameters());
        let mut add = |parameter: Parameter, words: &[W]| {
            let frac_bits = job.numbers.frac_bits + parameter.extra_bits;
            let values: Vec<f32> = words.iter().map(|w| decode(signed(*w), frac_bits) as f32).collect();
            let shape: Vec<usize> = parameter.dims[..parameter.axes].iter().map(|d| *d as usize).collect();
            let name = format!("{layer}.{}", parameter.name);
            tensors.push(match (&shape[..], parameter.transposed) {
                (&[rows, cols], true) => Tensor { name, shape: vec![cols, rows], values: transposed(&values, cols) },
                _ => Tensor { name, shape, values },
            });
        };
        laid.graph().parameters_of(i, |parameter, range| add(parameter, &parameters[range]));
        laid.graph().statistics_of(i, |statistic, range| add(statistic, &statistics[range]));
    }
    tensors
}

/// The columns of a matrix of `cols` columns, one after the other.
fn transposed(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols).copied()).collect()
}
