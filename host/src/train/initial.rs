//! Public randomness of a job: initial weights and batch order, both from the job's seed.

use crate::{job::Job, secret::Secret};
use symbolon_core::{
    fixed::encode,
    layer::Init,
    party::Role,
    prg::{ChaCha20Prg, MaskId, Prg},
    word::Word,
};

/// Streams of public randomness, keyed by the job's seed. Nothing secret may come from here.
fn public_stream(job: &Job) -> ChaCha20Prg {
    ChaCha20Prg::new(&job.public_seed(), b"public, no mask.")
}

/// The public stream of dropout masks, another than that of weights and orders.
pub(super) fn dropout_stream(job: &Job) -> ChaCha20Prg {
    ChaCha20Prg::new(&job.public_seed(), b"public, dropout.")
}

/// Numbers that are expanded at a time, to bound the memory.
const PIECE: usize = 1024;

/// `n` uniform 64-bit numbers of stream (`request`, `part`), a piece in memory at a time.
fn numbers(job: &Job, request: u32, part: u16, n: usize) -> impl Iterator<Item = u64> {
    let (stream, id) = (public_stream(job), MaskId { lane: 0, request, part });
    (0..n).step_by(PIECE).flat_map(move |at| {
        let mut bytes = vec![0; 8 * PIECE.min(n - at)];
        stream.fill_bytes(id, 8 * at as u64, &mut bytes);
        bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect::<Vec<_>>()
    })
}

/// Parameters before the first step, in the flat order of the network: of each layer as its
/// [`Parameter`](symbolon_core::layer::Parameter)s say, from a stream of its own.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub fn initial_weights(job: &Job) -> impl Iterator<Item = f64> {
    let (laid, mut layers) = (job.network(), Vec::new());
    let is_solved = job.newton().is_some() || job.closed_form().is_some();
    for i in 0..laid.graph().nodes.len() {
        let mut tensors = Vec::new();
        laid.graph().parameters_of(i, |parameter, range| tensors.push((parameter.init, range.len())));
        if !tensors.is_empty() {
            layers.push(tensors);
        }
    }
    (0u16..).zip(layers).flat_map(move |(part, tensors)| {
        let total = tensors.iter().map(|(_, len)| len).sum();
        let inits = tensors.into_iter().flat_map(|(init, len)| std::iter::repeat_n(init, len));
        let unit = |n: u64| (n >> 11) as f64 / (1u64 << 52) as f64 - 1.0; // in [-1, 1)
        numbers(job, 0, part, total).zip(inits).map(move |(n, init)| match init {
            // The curvature of a logistic loss is largest at 0, so the first step is not too long.
            Init::Glorot { .. } if is_solved => 0.0,
            Init::Glorot { fans } => unit(n) * (6.0 / f64::from(fans)).sqrt(),
            Init::Zero => 0.0,
            Init::One => 1.0,
        })
    })
}

/// Returns this party's shares of the initial weights; dry words need none.
pub(super) fn initial_shares<W: Word>(job: &Job, role: Role) -> Secret<W> {
    let mut shares = Secret::<W>::zeros(job.parameters());
    if size_of::<W>() > 0 {
        let encoded = |w| encode(w, job.numbers.frac_bits).expect("initial weights are small");
        shares.iter_mut().zip(initial_weights(job)).for_each(|(share, w)| *share = role.first(encoded(w)));
    }
    shares
}

/// The order of the training records in `epoch`: a shuffle (Fisher and Yates) of the numbers of
/// their rows, those of the epoch's copy; without `training.shuffle` as they are. Four bytes a
/// record.
#[allow(clippy::cast_possible_truncation)] // records are counted in 32 bits
pub fn batch_order(job: &Job, epoch: u32) -> Vec<u32> {
    let n = job.data.train_records;
    let first = (epoch as usize).saturating_sub(1) % job.data.copies() * n;
    let mut order: Vec<u32> = (first as u32..(first + n) as u32).collect();
    if !job.training.shuffle {
        return order;
    }
    for (i, random) in (1..n).rev().zip(numbers(job, epoch, 0, n)) {
        // The bias of reducing 64 bits to less than 32 is below 2^-32 and of no matter for a public order.
        order.swap(i, (random % (i as u64 + 1)) as usize);
    }
    order
}
