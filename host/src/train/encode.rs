//! From data sets to ring words, and from opened words back to reals.

use super::{Inputs, layers};
use crate::{
    data::{Dataset, Targets},
    job::Job,
    report::Tensor,
    secret::Secret,
};
use std::fmt;
use symbolon_core::{
    fixed::{RangeError, decode, encode},
    word::{Word, word_bytes},
};

/// A value that the job's numbers cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncodeError {
    /// `training` or `test`.
    pub set: &'static str,
    /// Record, from 0.
    pub record: usize,
    /// Feature, from 0; none for a target.
    pub feature: Option<usize>,
    /// What is wrong with it.
    pub error: RangeError,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.feature {
            Some(feature) => write!(f, "{} record {}, feature {feature}: {}", self.set, self.record, self.error),
            None => write!(f, "{} record {}, target: {}", self.set, self.record, self.error),
        }
    }
}

impl std::error::Error for EncodeError {}

impl<W: Word> Inputs<W> {
    /// Whole values of `train` and `test` in the job's numbers.
    ///
    /// # Errors
    ///
    /// The first value that does not fit.
    pub fn encode(job: &Job, train: &Dataset, test: &Dataset) -> Result<Self, EncodeError> {
        Ok(Self {
            train: features(job, "training", train)?,
            train_labels: labels(job, "training", train)?,
            test: features(job, "test", test)?,
            test_labels: labels(job, "test", test)?,
        })
    }
}

fn features<W: Word>(job: &Job, set: &'static str, data: &Dataset) -> Result<Secret<W>, EncodeError> {
    let word = |(i, v): (usize, &f32)| {
        encode(f64::from(*v), job.numbers.frac_bits).map_err(|error| EncodeError {
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
            let word = |(record, v): (usize, &f32)| {
                encode(f64::from(*v), job.numbers.frac_bits).map_err(|error| EncodeError {
                    set,
                    record,
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

/// The opened parameters as named tensors: `layers.I.weight` (inputs by units) and `layers.I.bias`.
#[allow(clippy::cast_possible_truncation)] // 32-bit floats are the format
pub fn tensors<W: Word>(job: &Job, parameters: &[W]) -> Vec<Tensor> {
    let values = |range: std::ops::Range<usize>| parameters[range].iter().map(|w| real(job, *w) as f32).collect();
    let layers = layers(job).into_iter().enumerate();
    layers
        .flat_map(|(i, layer)| {
            [
                Tensor {
                    name: format!("layers.{i}.weight"),
                    shape: vec![layer.inputs, layer.units],
                    values: values(layer.weights()),
                },
                Tensor { name: format!("layers.{i}.bias"), shape: vec![layer.units], values: values(layer.bias()) },
            ]
        })
        .collect()
}
