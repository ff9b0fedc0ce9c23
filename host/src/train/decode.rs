//! From opened words back to reals.

use crate::{job::Job, report::Tensor};
use symbolon_core::{
    fixed::decode,
    layer::Parameter,
    word::{Word, word_bytes},
};

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
        if job.reveal.standard_errors {
            let variances = &statistics[laid.graph().statistics()..];
            laid.graph().parameters_of(i, |parameter, range| {
                let extra_bits = job.newton().map_or(0, |newton| newton.count_log2);
                add(Parameter { name: variance(parameter.name), extra_bits, ..parameter }, &variances[range]);
            });
        }
    }
    tensors
}

/// The name of a dense parameter's variances.
fn variance(name: &str) -> &'static str {
    if name == "bias" { "bias_variance" } else { "weight_variance" }
}

/// The columns of a matrix of `cols` columns, one after the other.
fn transposed(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols).copied()).collect()
}
